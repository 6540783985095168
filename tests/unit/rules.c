// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/rules.h: which connections the rules leave out; that these cost nothing else, and what was tracked before stays so.
 */
#include "host/host.h"

static struct rules *rules(void)
{
	return host_only(struct rules, nt_rules);
}

/* A tuple of IPv4: 10.0.0.N and 192.0.2.M. */
static struct flow_key tuple(__u8 n, __u8 m, __u16 sport, __u16 dport)
{
	struct flow_key key = { .src = { [10] = 0xff, 0xff, 10, 0, 0, n },
		                .dst = { [10] = 0xff, 0xff, 192, 0, 2, m },
		                .sport = sport,
		                .dport = dport };

	return key;
}

/* A rule for ports from first to last, of any address or, with bits, of those that have so many in common with it. */
static void add_rule(bool excludes, __u16 first, __u16 last, const __u8 *address, int bits)
{
	struct rule *rule = &rules()->rule[rules()->count++];
	int i;

	memset(rule, 0, sizeof(*rule));
	rule->first_port = first;
	rule->last_port = last;
	rule->excludes = excludes;
	rules()->selects += !excludes;
	for (i = 0; i < bits; i++)
		rule->mask[i / 8] |= 0x80 >> i % 8;
	if (address)
		memcpy(rule->address, address, 16);
}

/* The SYN of this tuple comes in. Is it an attempt? What is left out is counted, once a SYN. */
static bool is_tracked(struct flow_key key)
{
	struct talk t = { .key = key, .orig = 1000, .resp = 2000 };
	__u64 attempts = counted(attempts), left_out = counted(left_out);

	send_next(&t, ORIG, TCP_SYN, 0);
	CHECK_EQUAL(counted(attempts) - attempts + counted(left_out) - left_out, 1);
	CHECK_EQUAL(!!attempt_of(&key), counted(attempts) - attempts);
	return counted(attempts) > attempts;
}

static void without_rules_all_are_tracked(void)
{
	host_reset();
	CHECK(is_tracked(tuple(1, 1, 1024, 80)));
	CHECK_EQUAL(counted(left_out), 0);
}

static void those_that_select_leave_the_others_out(void)
{
	host_reset();
	add_rule(false, 443, 443, NULL, 0);
	add_rule(false, 8000, 8999, NULL, 0);
	CHECK(is_tracked(tuple(1, 1, 1024, 443)));
	CHECK(is_tracked(tuple(1, 1, 1024, 8000)));
	CHECK(is_tracked(tuple(1, 1, 1024, 8999)));
	CHECK(!is_tracked(tuple(1, 1, 1024, 442)));
	CHECK(!is_tracked(tuple(1, 1, 1024, 444)));
	CHECK(!is_tracked(tuple(1, 1, 1024, 7999)));
	CHECK(!is_tracked(tuple(1, 1, 1024, 9000)));
	/* The port is the responder's. */
	CHECK(!is_tracked(tuple(1, 1, 443, 80)));
}

static void one_that_excludes_is_stronger_wherever_it_stands(void)
{
	struct flow_key key = tuple(1, 1, 1024, 443), other = tuple(1, 2, 1024, 443);
	int first;

	for (first = 0; first < 2; first++) {
		host_reset();
		if (first)
			add_rule(true, 0, 65535, key.dst, 128);
		add_rule(false, 443, 443, NULL, 0);
		if (!first)
			add_rule(true, 0, 65535, key.dst, 128);
		CHECK(!is_tracked(key));
		CHECK(is_tracked(other));
	}
	host_reset();
	add_rule(true, 443, 443, NULL, 0);
	CHECK(!is_tracked(key));
	key.dport = 80;
	CHECK(is_tracked(key));
}

static void a_prefix_is_of_either_end(void)
{
	struct flow_key key = tuple(1, 1, 1024, 80);

	host_reset();
	add_rule(false, 0, 65535, key.src, 96 + 24);
	CHECK(is_tracked(key));
	CHECK(is_tracked(tuple(2, 1, 1024, 80)));
	add_rule(true, 0, 65535, key.dst, 128);
	CHECK(!is_tracked(tuple(3, 1, 1024, 80)));
	CHECK(is_tracked(tuple(3, 2, 1024, 80)));
}

/* Of what is left out nothing is counted but its SYN; of what nobody knows still is. */
static void what_is_left_out_leaves_no_trace(void)
{
	struct talk t = { .key = tuple(1, 1, 40000, 80), .orig = 1000, .resp = 2000 }, other = t;

	host_reset();
	add_rule(true, 80, 80, NULL, 0);
	send_next(&t, ORIG, TCP_SYN, 0);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	send_next(&t, ORIG, TCP_ACK, 0);
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 10);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 10);
	send_next(&t, ORIG, TCP_RST, 0);
	CHECK_EQUAL(counted(left_out), 1);
	CHECK_EQUAL(counted(attempts) + counted(no_record_fin) + counted(no_record_rst) + counted(logged), 0);
	other.key.dport = 81;
	send_next(&other, RESP, TCP_ACK | TCP_FIN, 10);
	CHECK_EQUAL(counted(no_record_fin), 1);
	conserved();
}

static void what_is_tracked_stays_so(void)
{
	struct talk moving, resting;

	host_reset();
	moving = open_talk(tuple(1, 1, 1024, 80), 1000, 2000);
	resting = rest_talk(tuple(2, 1, 1024, 80), 1000, 2000);
	add_rule(true, 0, 65535, NULL, 0);
	send_next(&moving, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&moving, RESP, TCP_ACK | TCP_FIN, 0);
	send_next(&resting, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&resting, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 2);
	conserved();
}

/* The SYN of an attempt that is tracked is sent again: it counts as ever, and the time-out begins anew. */
static void a_syn_that_is_sent_again_is_its_attempts(void)
{
	struct talk t = { .key = tuple(1, 1, 40000, 80), .orig = 1000, .resp = 2000 };

	host_reset();
	send_at(&t, ORIG, TCP_SYN, 0, 0, 0);
	add_rule(true, 80, 80, NULL, 0);
	host.now += 1000 * HOST_MS;
	send_next(&t, ORIG, TCP_SYN, 0);
	CHECK_EQUAL(attempt_of(&t.key)->flow.syn_retrans, 1);
	CHECK_EQUAL(attempt_of(&t.key)->flow.last_ns, host.now);
	CHECK_EQUAL(counted(left_out), 0);
}

/*
 * A new one on the tuple of a connection that is tracked, at rest or in motion, is tracked, too: else its segments would be the old
 * one's.
 */
static void a_successor_is_not_taken_for_its_predecessor(void)
{
	struct flow_key key = tuple(1, 1, 40000, 80);
	int at_rest;

	for (at_rest = 0; at_rest < 2; at_rest++) {
		struct talk next = { .key = key, .orig = 500000, .resp = 700000 };

		host_reset();
		if (at_rest)
			rest_talk(key, 1000, 2000);
		else
			open_talk(key, 1000, 2000);
		add_rule(true, 80, 80, NULL, 0);
		send_next(&next, ORIG, TCP_SYN, 0);
		send_next(&next, RESP, TCP_SYN | TCP_ACK, 0);
		send_next(&next, ORIG, TCP_ACK, 0);
		CHECK_EQUAL(counted(ended[S1]), 1);
		send_next(&next, ORIG, TCP_ACK | TCP_FIN, 5);
		send_next(&next, RESP, TCP_ACK | TCP_FIN, 100);
		CHECK_EQUAL(counted(ended[SF]), 1);
		CHECK_EQUAL(counted(left_out), 0);
		conserved();
		CHECK(!is_tracked(key));
	}
}

/* Bit by bit, as one would say it. */
static bool fits(const struct rule *rule, const struct flow_key *key)
{
	bool src = true, dst = true;
	int i;

	for (i = 0; i < 128; i++) {
		int mask = rule->mask[i / 8] >> (7 - i % 8) & 1, bit = rule->address[i / 8] >> (7 - i % 8) & 1;

		src = src && (!mask || (key->src[i / 8] >> (7 - i % 8) & 1) == bit);
		dst = dst && (!mask || (key->dst[i / 8] >> (7 - i % 8) & 1) == bit);
	}
	return (src || dst) && key->dport >= rule->first_port && key->dport <= rule->last_port;
}

static void any_rules_do_what_each_of_them_says(void)
{
	int n, i, all = 0, tracked = 0;

	for (n = 0; n < 2000; n++) {
		struct flow_key key = tuple(n * 7 % 5, n * 11 % 3, 1024 + n, 80 + n % 4);
		bool selects = false, selected = false, excluded = false;
		unsigned int seed = n;

		host_reset();
		for (i = rand_r(&seed) % (MAX_RULES + 1); i > 0; i--) {
			struct flow_key other = tuple(rand_r(&seed) % 5, rand_r(&seed) % 3, 0, 0);
			__u16 first = 79 + rand_r(&seed) % 6;

			add_rule(rand_r(&seed) % 3 == 0, first, first + rand_r(&seed) % 2,
			         rand_r(&seed) % 2 ? other.src : other.dst,
			         (int[]){ 0, 96, 104, 120, 125, 126, 127, 128 }[rand_r(&seed) % 8]);
		}
		for (i = 0; i < (int)rules()->count; i++) {
			bool fit = fits(&rules()->rule[i], &key);

			excluded = excluded || (fit && rules()->rule[i].excludes);
			selected = selected || (fit && !rules()->rule[i].excludes);
			selects = selects || !rules()->rule[i].excludes;
		}
		CHECK_EQUAL(is_tracked(key), !excluded && (selected || !selects));
		tracked += !excluded && (selected || !selects);
		all++;
	}
	CHECK(tracked > all / 10 && tracked < all * 9 / 10);
}

int main(void)
{
	RUN(without_rules_all_are_tracked);
	RUN(those_that_select_leave_the_others_out);
	RUN(one_that_excludes_is_stronger_wherever_it_stands);
	RUN(a_prefix_is_of_either_end);
	RUN(what_is_left_out_leaves_no_trace);
	RUN(what_is_tracked_stays_so);
	RUN(a_syn_that_is_sent_again_is_its_attempts);
	RUN(a_successor_is_not_taken_for_its_predecessor);
	RUN(any_rules_do_what_each_of_them_says);
	return unit_end();
}
