// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/sets.h, rest.h: who has to give way in a full set, what the gate lets go by, when a set is due, who has which slot.
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

/* The attempts in the set, a bit for each tuple. */
static __u32 those_alive(void)
{
	__u32 i, alive = 0;

	for (i = 0; i < 4 * SYN_WAYS; i++)
		if (attempt_of(&keys[i]))
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
	CHECK_EQUAL(moving_in(SET, false), SYN_WAYS);
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

static struct parts parts_of_set(void)
{
	struct parts parts;

	CHECK(find_parts(SET, &parts));
	return parts;
}

static void what_is_on_its_way_gives_way_to_nobody(void)
{
	struct parts parts;
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++)
		begin(i);
	parts = parts_of_set();
	slot_in(SET, 0)->flow.flags |= MOVING;
	CHECK_EQUAL(find_place_locked(scratch_here(), &parts, RANK_YOUNG, RANK_NOBODY), 1);
	for (i = 0; i < SYN_WAYS; i++)
		slot_in(SET, i)->flow.flags |= i % 2 ? MOVING | ESTABLISHED : ENDED;
	CHECK_EQUAL(find_place_locked(scratch_here(), &parts, RANK_YOUNG, RANK_NOBODY), NO_PLACE);
	begin(8);
	CHECK(!attempt_of(&keys[8]));
	CHECK_EQUAL(counted(syn_evicted), 1);
	CHECK_EQUAL(counted(close_evicted), 0);
	CHECK_EQUAL(counted(attempts), 9);
	/* Nor does a RST or the clock take it away. */
	send_at(&(struct talk){ .key = keys[1] }, ORIG, TCP_RST, 0, 0, 0);
	host.now += 100 * HOST_S;
	pass(10 * HOST_MS);
	CHECK_EQUAL(places_taken(set_at(SET)), SYN_WAYS);
	CHECK_EQUAL(counted_ends(), 0);
}

static void a_free_place_is_taken_before_anybody_gives_way(void)
{
	struct talk t[SYN_WAYS];
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++)
		t[i] = begin(i);
	send_at(&t[5], RESP, TCP_RST | TCP_ACK, 0, 0, 0);
	CHECK_EQUAL(places_taken(set_at(SET)), SYN_WAYS - 1);
	begin(8);
	CHECK_EQUAL(those_alive(), 0x1df);
	CHECK_EQUAL(counted(syn_evicted), 0);
	CHECK_EQUAL(counted(ended[REJ]), 1);
}

/* The n-th tuple's connection, young; or closing, its first FIN seen now. */
static struct talk connect(int n, bool closing)
{
	struct talk t = begin(n);

	answer(&t);
	send_next(&t, ORIG, TCP_ACK, 0);
	if (closing)
		send_next(&t, n % 2 ? RESP : ORIG, TCP_ACK | TCP_FIN, 0);
	host.now += HOST_MS;
	return t;
}

/* So that there is always room for what opens and closes. */
static void young_ones_go_to_rest_at_once_where_they_would_take_more_than_their_part(void)
{
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++) {
		connect(i, false);
		CHECK_EQUAL(moving_in(SET, true), i < SYN_WAYS - PLACES_KEPT ? i + 1 : SYN_WAYS - PLACES_KEPT);
	}
	CHECK_EQUAL(resting_connections(), PLACES_KEPT);
	conserved();
}

static void in_a_full_set_who_has_been_young_for_longest_goes_to_rest(void)
{
	int i;

	host_reset();
	for (i = 0; i < 3; i++)
		connect(i, false);
	for (; i < 5; i++)
		connect(i, true);
	for (; i < SYN_WAYS; i++)
		begin(i);
	for (; i < SYN_WAYS + 3; i++) {
		begin(i);
		CHECK_EQUAL(resting_connections(), i - SYN_WAYS + 1);
		CHECK(resting_of(&keys[i - SYN_WAYS]));
		CHECK(attempt_of(&keys[i]));
	}
	CHECK_EQUAL(counted(syn_evicted) + counted(close_evicted) + counted_ends(), 0);
	conserved();
	/* Then the attempts give way to each other, and none to whom is lost by it. */
	for (; i < 4 * SYN_WAYS; i++)
		begin(i);
	CHECK_EQUAL(counted(syn_evicted), 3 * SYN_WAYS - 3);
	CHECK_EQUAL(counted(close_evicted) + counted_ends(), 0);
	CHECK_EQUAL(moving_in(SET, true), 2);
	conserved();
}

static void where_all_are_closing_the_most_silent_one_ends_and_a_flood_ends_no_more(void)
{
	struct talk t[SYN_WAYS];
	int i;

	host_reset();
	for (i = 0; i < SYN_WAYS; i++)
		t[i] = connect(i, true);
	send_at(&t[0], RESP, TCP_ACK, 0, 0, 10); /* the first one is not silent: so the second one has been for longest */
	send_at(&t[2], RESP, TCP_RST, 5, 0, 0);
	CHECK_EQUAL(moving_in(SET, true), SYN_WAYS);
	for (i = SYN_WAYS; i < 4 * SYN_WAYS; i++) {
		begin(i);
		CHECK_EQUAL(counted(close_evicted), 1);
		CHECK_EQUAL(moving_in(SET, true), SYN_WAYS - 1);
		CHECK(attempt_of(&keys[i]));
	}
	CHECK(!connection_of(&keys[1]));
	CHECK_EQUAL(counted(ended[S3]), 1);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK_EQUAL(counted(syn_evicted), 3 * SYN_WAYS - 1);
	conserved();
	/* Nor does whoever is answered: it goes to rest. */
	for (i = SYN_WAYS; i < 2 * SYN_WAYS; i++)
		connect(i, false);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK_EQUAL(counted(close_evicted), 1);
	CHECK_EQUAL(resting_connections(), SYN_WAYS);
	conserved();
}

/* Its FIN wakes it: handshakes give way to it, young ones, and of closing ones the most silent. */
static void who_wakes_finds_a_place(void)
{
	struct talk t;
	int i, who;

	for (who = 0; who < 3; who++) {
		host_reset();
		t = connect(SYN_WAYS, false);
		pass(HOST_S);
		CHECK(resting_of(&t.key));
		for (i = 0; i < SYN_WAYS; i++) {
			if (who)
				connect(i, who == 2 || i > 2);
			else
				begin(i);
		}
		CHECK_EQUAL(places_taken(set_at(SET)), SYN_WAYS);
		send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
		CHECK(moving_of(&t.key, true) && !resting_of(&t.key));
		CHECK_EQUAL(counted(syn_evicted), who == 0);
		CHECK_EQUAL(resting_connections(), who == 1);
		CHECK_EQUAL(counted(close_evicted), who == 2);
		conserved();
		send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
		CHECK_EQUAL(counted(ended[SF]), 1);
		conserved();
	}
}

/* All are on their way: it stays where it is, and its FIN, sent again, finds it. */
static void who_finds_no_place_to_wake_in_stays_at_rest(void)
{
	struct talk t;
	int i;

	host_reset();
	t = connect(SYN_WAYS, false);
	pass(HOST_S);
	for (i = 0; i < SYN_WAYS; i++) {
		begin(i);
		slot_in(SET, i)->flow.flags |= MOVING | ESTABLISHED;
	}
	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 0, 0, 0);
	CHECK_EQUAL(counted(no_record_fin), 1);
	CHECK(resting_of(&t.key));
	conserved();
	for (i = 0; i < SYN_WAYS; i++)
		slot_in(SET, i)->flow.flags &= ~(MOVING | ESTABLISHED);
	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 0, 0, 0);
	CHECK(moving_of(&t.key, true));
	conserved();
}

static void a_slot_that_was_given_back_is_given_out_first_and_to_one(void)
{
	struct pool *pool;
	__u32 i;

	host_reset();
	pool = pool_of(SET);
	CHECK_EQUAL(take_slot(pool), 0);
	CHECK_EQUAL(take_slot(pool), 1);
	CHECK_EQUAL(take_slot(pool), 2);
	give_slot(pool, 1);
	give_slot(pool, 0);
	CHECK_EQUAL(take_slot(pool), 0);
	CHECK_EQUAL(take_slot(pool), 1);
	CHECK_EQUAL(take_slot(pool), 3);
	for (i = 4; i < POOL_SLOTS; i++)
		CHECK_EQUAL(take_slot(pool), i);
	CHECK_EQUAL(take_slot(pool), NO_SLOT);
	/* There are as many as places: nobody comes to that but for who is about to give his back. */
	begin(0);
	CHECK_EQUAL(counted(syn_evicted), 1);
	CHECK_EQUAL(places_taken(set_at(SET)), 0);
	give_slot(pool, 77);
	begin(1);
	CHECK_EQUAL(slot_in(SET, 0), &pool->slot[77]);
}

/* What is resting in a set is known in number, and by a bit each until none is left. */
static void the_filter_is_forgotten_when_the_last_one_has_left(void)
{
	struct syn_set *set;
	struct talk t[3];
	int i;

	host_reset();
	set = set_at(SET);
	for (i = 0; i < 3; i++) {
		t[i] = connect(i, false);
		CHECK(!may_rest(set, hash_key(&keys[i])) || i);
	}
	pass(HOST_S);
	CHECK_EQUAL(set->resting, 3);
	for (i = 0; i < 3; i++) {
		CHECK(may_rest(set, hash_key(&keys[i])));
		send_next(&t[i], ORIG, TCP_ACK | TCP_FIN, 0);
		CHECK_EQUAL(set->resting, 2 - i);
		conserved();
	}
	CHECK_EQUAL(set->filter, 0);
	for (i = 0; i < 3; i++)
		CHECK(!may_rest(set, hash_key(&keys[i])));
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
	CHECK(goes_by(hash_key(&keys[0]))); /* young */
	CHECK_EQUAL(gate_at(SET), 0);
	pass(HOST_S);
	CHECK(resting_of(&keys[0]));
	CHECK(goes_by(hash_key(&keys[0])));
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	CHECK(!goes_by(hash_key(&reply)));
	CHECK_EQUAL(gate_at(SET), gate_bit(hash_key(&keys[0])));
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK(goes_by(hash_key(&reply)));
	CHECK_EQUAL(gate_at(SET), 0);
}

/* With an equal tag, but another tuple: looked at, and found not to be one of the set's. */
static void a_tuple_with_the_same_tag_is_another_one(void)
{
	struct segment s = { .key = keys[1] };
	struct places found;
	struct parts parts;

	host_reset();
	begin(0);
	parts = parts_of_set();
	s.hash = hash_key(&keys[0]);
	find_locked(scratch_here(), &parts, &s, &found);
	CHECK(found.attempt == NO_PLACE && found.connection == NO_PLACE);
	s.key = keys[0];
	find_locked(scratch_here(), &parts, &s, &found);
	CHECK(found.attempt == 0 && found.connection == NO_PLACE && !found.reply);
	put_key(&s.key, &keys[0], true);
	find_locked(scratch_here(), &parts, &s, &found);
	CHECK(found.attempt == SYN_WAYS && found.reply);
	slot_in(SET, 0)->flow.flags |= ESTABLISHED;
	find_locked(scratch_here(), &parts, &s, &found);
	CHECK(found.attempt == NO_PLACE && found.connection == SYN_WAYS && found.from_resp);
	slot_in(SET, 0)->flow.flags |= ENDED;
	find_locked(scratch_here(), &parts, &s, &found);
	CHECK(found.attempt == NO_PLACE && found.connection == NO_PLACE);
}

static void the_earliest_time_of_a_set_is_when_it_is_due(void)
{
	struct slot out;
	struct talk t;
	__u64 begun;

	host_reset();
	begun = host.now;
	begin(0);
	CHECK_EQUAL(due_of(SET), begun + YOUNG_NS); /* it may be young by then */
	t = connect(1, false);
	CHECK_EQUAL(take_expired(SET, begun, false, &out), NOTHING_EXPIRED);
	CHECK_EQUAL(due_of(SET), connection_of(&t.key)->last_ns + YOUNG_NS);
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(take_expired(SET, begun, false, &out), NOTHING_EXPIRED);
	CHECK_EQUAL(due_of(SET), begun + HANDSHAKE_TIMEOUT_S * HOST_S);
	send_at(&t, RESP, TCP_RST, 1, 0, 0);
	CHECK_EQUAL(due_of(SET), host.now + RST_SILENCE_NS);
	CHECK_EQUAL(take_expired(SET, host.now + RST_SILENCE_NS - 1, false, &out), NOTHING_EXPIRED);
	CHECK_EQUAL(take_expired(SET, host.now + RST_SILENCE_NS, false, &out), CLOSING_EXPIRED);
	CHECK(same_key(&out.key, &keys[1]));
	CHECK_EQUAL(take_expired(SET, host.now + RST_SILENCE_NS, false, &out), NOTHING_EXPIRED);
	CHECK_EQUAL(due_of(SET), begun + HANDSHAKE_TIMEOUT_S * HOST_S);
	CHECK_EQUAL(take_expired(SET, begun + HANDSHAKE_TIMEOUT_S * HOST_S, false, &out), ATTEMPT_EXPIRED);
	CHECK(same_key(&out.key, &keys[0]));
	CHECK_EQUAL(take_expired(SET, ~0ULL, true, &out), NOTHING_EXPIRED);
	CHECK_EQUAL(due_of(SET), 0);
	CHECK_EQUAL(set_at(SET)->due_ns, 0);
	CHECK_EQUAL(places_taken(set_at(SET)), 0);
	CHECK_EQUAL(take_expired(SYN_SETS, ~0ULL, true, &out), NOTHING_EXPIRED); /* there is no such set */
}

int main(void)
{
	tuples_of_set(SET, keys, sizeof(keys) / sizeof(keys[0]));
	RUN(the_unanswered_handshake_that_waits_longest_gives_way_first);
	RUN(of_answered_handshakes_the_one_that_waits_longest_gives_way);
	RUN(what_is_on_its_way_gives_way_to_nobody);
	RUN(a_free_place_is_taken_before_anybody_gives_way);
	RUN(young_ones_go_to_rest_at_once_where_they_would_take_more_than_their_part);
	RUN(in_a_full_set_who_has_been_young_for_longest_goes_to_rest);
	RUN(where_all_are_closing_the_most_silent_one_ends_and_a_flood_ends_no_more);
	RUN(who_wakes_finds_a_place);
	RUN(who_finds_no_place_to_wake_in_stays_at_rest);
	RUN(a_slot_that_was_given_back_is_given_out_first_and_to_one);
	RUN(the_filter_is_forgotten_when_the_last_one_has_left);
	RUN(packets_go_by_unless_their_connection_opens_or_closes);
	RUN(a_tuple_with_the_same_tag_is_another_one);
	RUN(the_earliest_time_of_a_set_is_when_it_is_due);
	return unit_end();
}
