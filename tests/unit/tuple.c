// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/tuple.h, and which set a tuple gets: both directions of a connection are one.
 */
#include "host/host.h"

static struct flow_key any_key(void)
{
	struct flow_key key;

	if (any_below(2)) {
		map_ipv4(key.src, any64());
		map_ipv4(key.dst, any64());
	} else {
		__u64 words[4] = { any64(), any64(), any64(), any64() };

		memcpy(key.src, words, 16);
		memcpy(key.dst, words + 2, 16);
	}
	key.sport = any64();
	key.dport = any64();
	return key;
}

static void both_directions_have_one_hash(void)
{
	struct flow_key reply;
	int i;

	for (i = 0; i < 10000; i++) {
		struct flow_key key = any_key();

		put_key(&reply, &key, true);
		CHECK_EQUAL(hash_key(&reply), hash_key(&key));
		CHECK(opposite_key(&key, &reply));
		CHECK(opposite_key(&reply, &key));
		CHECK(!same_key(&key, &reply));
		CHECK(tag_of(hash_key(&key)));
		CHECK(set_index(hash_key(&key)) < SYN_SETS);
	}
}

static void turned_round_twice_a_tuple_is_as_before(void)
{
	struct flow_key key = any_key(), once, twice;

	put_key(&once, &key, true);
	put_key(&twice, &once, true);
	CHECK(!memcmp(&twice, &key, sizeof(key)));
	put_key(&once, &key, false);
	CHECK(!memcmp(&once, &key, sizeof(key)));
}

static void tuples_are_the_same_if_every_byte_is(void)
{
	size_t i;

	for (i = 0; i < sizeof(struct flow_key); i++) {
		struct flow_key key = any_key(), other = key, reply;

		CHECK(same_key(&key, &other));
		((__u8 *)&other)[i] ^= 1 << any_below(8);
		CHECK(!same_key(&key, &other));
		put_key(&reply, &other, true);
		CHECK(!opposite_key(&key, &reply));
	}
}

/* What find_segment() makes of an IPv4 packet is what hash_key() makes of the stored tuple. */
static void an_ipv4_packet_has_the_hash_of_its_mapped_tuple(void)
{
	int i;

	for (i = 0; i < 1000; i++) {
		struct flow_key key;
		__be32 src = any64(), dst = any64();

		map_ipv4(key.src, src);
		map_ipv4(key.dst, dst);
		key.sport = any64();
		key.dport = any64();
		CHECK(is_ipv4(key.src));
		CHECK_EQUAL(hash_key(&key), mix(src ^ dst, bpf_htons(key.sport), bpf_htons(key.dport)));
	}
}

/* A connection from an address and port to themselves is its own reply: it exists (TCP self-connect), and must be found. */
static void a_tuple_may_be_its_own_reply(void)
{
	struct flow_key key = tuple4(4000, 4000);

	memcpy(key.dst, key.src, 16);
	CHECK(same_key(&key, &key));
	CHECK(opposite_key(&key, &key));
	CHECK(tag_of(hash_key(&key)));
}

/* Neighbouring ports are what a client uses: its connections must not meet in a few sets. */
static void neighbouring_ports_are_spread_over_the_sets(void)
{
	static __u32 uses[SYN_SETS];
	__u32 port, most = 0;

	for (port = 32768; port < 61000; port++) {
		struct flow_key key = tuple4(port, 443);
		__u32 n = ++uses[set_index(hash_key(&key))];

		most = n > most ? n : most;
	}
	unit_check(most < 6 * (61000 - 32768) / SYN_SETS, "%u of %u connections of one client are in one set", most, 61000 - 32768);
}

int main(void)
{
	host_reset();
	RUN(both_directions_have_one_hash);
	RUN(turned_round_twice_a_tuple_is_as_before);
	RUN(tuples_are_the_same_if_every_byte_is);
	RUN(an_ipv4_packet_has_the_hash_of_its_mapped_tuple);
	RUN(a_tuple_may_be_its_own_reply);
	RUN(neighbouring_ports_are_spread_over_the_sets);
	return unit_end();
}
