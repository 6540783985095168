// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/sets.h: who has to give way in a full set, what the gate lets go by, when a set is due.
 */
#include "host/host.h"

#define SET 1234

/* More tuples of one set than it has ways. */
static struct flow_key keys[4 * SYN_WAYS];

/* The n-th tuple's SYN. */
static struct talk begin(int n)
{
	struct talk t = { .key = keys[n], .orig = 1000 * n, .resp = 2000 * n };

	send_next(&t, ORIG, TCP_SYN, 0);
	host.now += HOST_MS;
	return t;
}

static void answer(struct talk *t)
{
	send_next(t, RESP, TCP_SYN | TCP_ACK, 0);
	host.now += HOST_MS;
}

/* The handshakes of the set, a bit for each tuple. */
static __u32 those_alive(void)
{
	__u32 i, alive = 0;

	for (i = 0; i < 4 * SYN_WAYS; i++)
		if (handshake_of(&keys[i]))
			alive |= 1U << i;
	return alive;
}

static void the_unanswered_handshake_that_waits_longest_gives_way_first(void)
{
	struct talk t[SYN_WAYS];
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++)
		t[i] = begin(i);
	/* 0 and 3 are answered, 1 is asked again: 2 waits longest, then 4, 5, 6, 7, 1; last the answered ones, 3 before 0. */
	answer(&t[3]);
	answer(&t[0]);
	send_at(&t[1], ORIG, TCP_SYN, -1, 0, 0);
	host.now += HOST_MS;
	CHECK_EQUAL(those_alive(), 0xff);
	begin(8);
	CHECK_EQUAL(those_alive(), 0x1fb);
	begin(9);
	CHECK_EQUAL(those_alive(), 0x3eb);
	begin(10);
	begin(11);
	begin(12);
	CHECK_EQUAL(those_alive(), 0x1f0b);
	begin(13);
	CHECK_EQUAL(those_alive(), 0x3f09);
	CHECK_EQUAL(counted(syn_evicted), 6);
	begin(14);
	CHECK_EQUAL(those_alive(), 0x7e09); /* the newcomers have not been answered either */
	conserved();
	CHECK_EQUAL(set_at(SET)->live, SYN_WAYS);
}

static void of_answered_handshakes_the_one_that_waits_longest_gives_way(void)
{
	struct talk t[SYN_WAYS];
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++)
		t[i] = begin(i);
	for (i = SYN_WAYS - 1; i >= 0; i--)
		answer(&t[i]);
	begin(8);
	CHECK_EQUAL(those_alive(), 0x17f); /* 7, which was answered first, is gone */
	CHECK_EQUAL(counted(syn_evicted), 1);
	conserved();
}

static void what_is_on_its_way_to_conn_map_gives_way_to_nobody(void)
{
	struct syn_set *set;
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++)
		begin(i);
	set = set_at(SET);
	set->slot[0].flow.flags |= PROMOTING;
	CHECK_EQUAL(find_place_locked(scratch_here(), set), 1);
	for (i = 0; i < SYN_WAYS; i++)
		set->slot[i].flow.flags |= PROMOTING;
	CHECK_EQUAL(find_place_locked(scratch_here(), set), SYN_WAYS);
	begin(8);
	CHECK_EQUAL(those_alive(), 0xff);
	CHECK_EQUAL(counted(syn_evicted), 1);
	CHECK_EQUAL(counted(attempts), 9);
	conserved();
	/* Nor does a newer SYN on its tuple, a RST or the clock take it away. */
	send_at(&(struct talk){ .key = keys[0], .orig = 77 }, ORIG, TCP_SYN, 0, 0, 0);
	send_at(&(struct talk){ .key = keys[0] }, ORIG, TCP_RST, 0, 0, 0);
	pass(100 * HOST_S);
	CHECK_EQUAL(those_alive(), 0xff);
	CHECK_EQUAL(counted_ends(), 0);
}

static void a_free_slot_is_taken_before_anybody_gives_way(void)
{
	struct talk t[SYN_WAYS];
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++)
		t[i] = begin(i);
	send_at(&t[5], RESP, TCP_RST | TCP_ACK, 0, 0, 0);
	CHECK_EQUAL(set_at(SET)->live, SYN_WAYS - 1);
	begin(8);
	CHECK_EQUAL(those_alive(), 0x1df);
	CHECK_EQUAL(counted(syn_evicted), 0);
	CHECK_EQUAL(counted(ended[REJ]), 1);
}

static void the_watch_whose_time_is_nearest_gives_way(void)
{
	struct facts facts = {};
	struct watch victim;
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++)
		CHECK(!watch(&keys[i], 1, 1000 + (i * 5 + 3) % SYN_WAYS, NULL, &victim)); /* 1 has 1000, 6 has 1001 */
	CHECK_EQUAL(set_at(SET)->watched, SYN_WAYS);
	CHECK(!watch(&keys[1], 1, 2000, NULL, &victim)); /* it has a place; its time moves */
	CHECK_EQUAL(set_at(SET)->watched, SYN_WAYS);
	CHECK(watch(&keys[8], 1, 500, NULL, &victim));
	CHECK(same_key(&victim.key, &keys[6]));
	CHECK(watch(&keys[9], 1, 3000, NULL, &victim));
	CHECK(same_key(&victim.key, &keys[8])); /* however late it came */
	CHECK(!unwatch(&keys[1], 2, &facts));   /* it is another one's */
	CHECK_EQUAL(set_at(SET)->watched, SYN_WAYS);
	CHECK(!unwatch(&keys[1], 1, &facts));
	CHECK(!unwatch(&keys[1], 1, &facts));
	CHECK_EQUAL(set_at(SET)->watched, SYN_WAYS - 1);
	CHECK_EQUAL(find_watch_place_locked(scratch_here(), set_at(SET)), 1);
	CHECK(!watch(&keys[10], 1, 1, NULL, &victim));
	CHECK_EQUAL(*due_of(SET), 1);
}

static void a_connection_that_has_to_give_up_its_watch_is_ended(void)
{
	struct talk t[SYN_WAYS + 1];
	int i;

	host_reset();
	for (i = 0; i <= SYN_WAYS; i++) {
		t[i] = open_talk(keys[i], 1, 1);
		if (i == 2)
			continue;
		send_next(&t[i], ORIG, TCP_ACK | TCP_FIN, 0);
	}
	CHECK_EQUAL(live_connections(), SYN_WAYS + 1);
	send_next(&t[2], RESP, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(live_connections(), SYN_WAYS);
	CHECK(!connection_of(&keys[0]));
	CHECK_EQUAL(counted(close_evicted), 1);
	CHECK_EQUAL(counted(ended[S2]), 1);
	CHECK_EQUAL(set_at(SET)->watched, SYN_WAYS);
	conserved();
}

static void packets_go_by_unless_their_connection_opens_or_closes(void)
{
	struct flow_key reply;
	struct talk t;

	host_reset();
	CHECK(goes_by(hash_key(&keys[0])));
	t = begin(0);
	put_key(&reply, &keys[0], true);
	CHECK(!goes_by(hash_key(&keys[0])));
	CHECK(!goes_by(hash_key(&reply)));
	CHECK(goes_by(hash_key(&keys[1])));
	answer(&t);
	CHECK(!goes_by(hash_key(&keys[0])));
	send_next(&t, ORIG, TCP_ACK, 0);
	CHECK(goes_by(hash_key(&keys[0])));
	CHECK_EQUAL(*gate_of(SET), 0);
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	CHECK(!goes_by(hash_key(&reply)));
	CHECK_EQUAL(*gate_of(SET), gate_bit(hash_key(&keys[0])));
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK(goes_by(hash_key(&reply)));
	CHECK_EQUAL(*gate_of(SET), 0);
}

/* With an equal tag, but another tuple: looked at, and found not to be one of the set's. */
static void a_tuple_with_the_same_tag_is_another_one(void)
{
	struct segment s = { .key = keys[1] };
	struct syn_set *set;
	bool reply;

	host_reset();
	begin(0);
	set = set_at(SET);
	s.hash = hash_key(&keys[0]);
	CHECK_EQUAL(find_slot_locked(scratch_here(), set, &s, &reply), SYN_WAYS);
	s.key = keys[0];
	CHECK_EQUAL(find_slot_locked(scratch_here(), set, &s, &reply), 0);
	CHECK(!reply);
	put_key(&s.key, &keys[0], true);
	CHECK_EQUAL(find_slot_locked(scratch_here(), set, &s, &reply), 0);
	CHECK(reply);
}

static void the_earliest_time_of_a_set_is_when_it_is_due(void)
{
	struct watch watched, victim;
	struct syn_slot out;
	__u64 begun;

	host_reset();
	begun = host.now;
	begin(0);
	begin(1);
	CHECK_EQUAL(*due_of(SET), begun + HANDSHAKE_TIMEOUT_S * HOST_S);
	watch(&keys[2], 1, begun + 5, NULL, &victim);
	CHECK_EQUAL(*due_of(SET), begun + 5);
	CHECK_EQUAL(take_expired(SET, begun + 4, HOST_S, &out, &watched), NOTHING_EXPIRED);
	CHECK_EQUAL(*due_of(SET), begun + 5);
	CHECK_EQUAL(take_expired(SET, begun + 5, HOST_S, &out, &watched), WATCH_EXPIRED);
	CHECK(same_key(&watched.key, &keys[2]));
	CHECK_EQUAL(take_expired(SET, begun + 5, HOST_S, &out, &watched), NOTHING_EXPIRED);
	CHECK_EQUAL(*due_of(SET), begun + HOST_S);
	CHECK_EQUAL(take_expired(SET, begun + HOST_S, HOST_S, &out, &watched), HANDSHAKE_EXPIRED);
	CHECK(same_key(&out.key, &keys[0]));
	CHECK_EQUAL(take_expired(SET, begun + 2 * HOST_S, HOST_S, &out, &watched), HANDSHAKE_EXPIRED);
	CHECK(same_key(&out.key, &keys[1]));
	CHECK_EQUAL(take_expired(SET, ~0ULL, 0, &out, &watched), NOTHING_EXPIRED);
	CHECK_EQUAL(*due_of(SET), 0);
	CHECK_EQUAL(set_at(SET)->live, 0);
	CHECK_EQUAL(set_at(SET)->watched, 0);
	CHECK_EQUAL(take_expired(SYN_SETS, ~0ULL, 0, &out, &watched), NOTHING_EXPIRED); /* there is no such set */
}

int main(void)
{
	tuples_of_set(SET, keys, sizeof(keys) / sizeof(keys[0]));
	RUN(the_unanswered_handshake_that_waits_longest_gives_way_first);
	RUN(of_answered_handshakes_the_one_that_waits_longest_gives_way);
	RUN(what_is_on_its_way_to_conn_map_gives_way_to_nobody);
	RUN(a_free_slot_is_taken_before_anybody_gives_way);
	RUN(the_watch_whose_time_is_nearest_gives_way);
	RUN(a_connection_that_has_to_give_up_its_watch_is_ended);
	RUN(packets_go_by_unless_their_connection_opens_or_closes);
	RUN(a_tuple_with_the_same_tag_is_another_one);
	RUN(the_earliest_time_of_a_set_is_when_it_is_due);
	return unit_end();
}
