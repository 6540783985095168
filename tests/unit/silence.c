// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/silence.h: connections at rest of which nothing is heard, watched or asked for; and those that are half-closed and
 * silent.
 */
#include "host/host.h"

#define IDLE_S 20
#define CLOSE_S 4

static struct host_socket own;

static void begin(void)
{
	host_reset();
	settings()->idle_timeout = IDLE_S;
	settings()->close_timeout = CLOSE_S;
	memset(&own, 0, sizeof(own));
}

/* This host has the responder's socket of this connection, in this state. */
static void give_socket(const struct talk *t, __u32 state)
{
	host_responder(&own, t, state);
	host.sender = &own;
}

static void take_socket(void)
{
	host.sender = host.receiver = NULL;
}

/* A connection at rest whose responder is a socket of this host. */
static struct talk rest_own(struct flow_key key)
{
	struct host_socket listener = { .uid = 7 };
	struct talk t = { .key = key, .orig = 1000, .resp = 2000 };

	send_next(&t, ORIG, TCP_SYN, 0);
	give_socket(&t, BPF_TCP_NEW_SYN_RECV);
	listener.sk.src_port = key.dport;
	own.listener = &listener.sk;
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	own.listener = NULL;
	give_socket(&t, BPF_TCP_ESTABLISHED);
	send_next(&t, ORIG, TCP_ACK, 0);
	pass(YOUNG_NS + CLOCK_SLACK_NS);
	CHECK(resting_of(&key) && resting_of(&key)->flow.flags & HAS_OWNER);
	return t;
}

static void ack(const struct talk *t, enum side side)
{
	send_at(t, side, TCP_ACK, 0, 0, 0);
}

/* A packet of somebody else's, at this interface: its SYN is looked at. */
static void somebody_passes(__u32 ifindex)
{
	static __u16 port = 1024;
	struct packet p = { .key = tuple4(port++, 9), .flags = TCP_SYN, .dir = DIR_IN, .ifindex = ifindex };

	receive(&p);
}

static const struct record *last_record(void)
{
	__u32 last = (host_only(struct log_head, nt_log_head)->written - 1) % LOG_RECORDS;

	return host_lookup(host_map_of(&nt_log), &last);
}

static struct silence *silence_now(void)
{
	return host_only(struct silence, nt_silence);
}

static struct rest *rest_of(const struct flow_key *key)
{
	return host_lookup(host_map_of(&nt_rest), &resting_of(key)->place);
}

/*
 * Watched
 */

static void who_is_silent_for_long_is_watched_and_ends_when_it_stays_so(void)
{
	struct talk t;
	__u64 rested;

	begin();
	t = rest_talk(tuple4(40000, 80), 1, 1);
	rested = rest_of(&t.key)->alive_s;
	CHECK(rested && rested <= host.now / HOST_S);
	pass((IDLE_S - 2) * HOST_S);
	CHECK_EQUAL(silence_now()->watched, 0);
	CHECK_EQUAL(gate_at(set_index(hash_key(&t.key))), 0);
	pass(4 * HOST_S);
	CHECK_EQUAL(silence_now()->watched, 1);
	CHECK_EQUAL(gate_at(set_index(hash_key(&t.key))), gate_bit(hash_key(&t.key)));
	pass((IDLE_S - 4) * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	conserved();
	pass(5 * HOST_S);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted(ended[S1]), 1);
	CHECK_EQUAL(counted(expired), 1);
	CHECK_EQUAL(counted(logged), 1);
	CHECK_EQUAL(last_record()->end_ns / HOST_S, rested); /* the last that was known of it */
	CHECK_EQUAL(silence_now()->watched, 0);
	CHECK_EQUAL(gate_at(set_index(hash_key(&t.key))), 0);
	conserved();
	/* Nobody is at rest: the clock sleeps. */
	pass(3 * HOST_S);
	CHECK_EQUAL(host.timer_due, 0);
}

/* A packet of either side, at any time. */
static void the_first_packet_shows_that_it_lives_and_no_other_is_looked_at(void)
{
	struct talk t;
	int i;

	begin();
	t = rest_talk(tuple4(40000, 80), 1, 1);
	for (i = 0; i < 8; i++) {
		pass((IDLE_S + 2) * HOST_S);
		CHECK_EQUAL(silence_now()->watched, 1);
		if (i % 2)
			pass((IDLE_S - 4) * HOST_S);
		CHECK_EQUAL(gate_at(set_index(hash_key(&t.key))), gate_bit(hash_key(&t.key)));
		ack(&t, i % 2 ? ORIG : RESP);
		pass(2 * HOST_S);
		CHECK_EQUAL(silence_now()->watched, 0);
		CHECK_EQUAL(gate_at(set_index(hash_key(&t.key))), 0);
		CHECK(rest_of(&t.key)->alive_s + 3 >= host.now / HOST_S);
		CHECK_EQUAL(counted_ends(), 0);
		conserved();
	}
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	conserved();
}

/* With one that shares its place and lives, one that does not. */
static void those_that_share_a_place_are_watched_one_after_the_other(void)
{
	struct talk dead = { .key = tuple4(1024, 80) }, lives = { 0 };
	__u32 index = watch_index(hash_key(&dead.key)), port, n;

	begin();
	for (n = 0, port = 1; !n && port < 65536 * 64; port++) {
		lives.key = tuple4(port & 0xffff, 81 + (port >> 16));
		n = watch_index(hash_key(&lives.key)) == index && tag_of(hash_key(&lives.key)) != tag_of(hash_key(&dead.key));
	}
	CHECK_EQUAL(n, 1);
	dead = rest_talk(dead.key, 1, 1);
	lives = rest_talk(lives.key, 1, 1);
	for (n = 0; n < 4 * IDLE_S; n++) {
		ack(&lives, ORIG);
		pass(HOST_S);
		CHECK(silence_now()->watched <= 1);
		conserved();
	}
	CHECK(!resting_of(&dead.key));
	CHECK(resting_of(&lives.key));
	CHECK_EQUAL(counted(expired), 1);
}

/* Its watch ends with it, however it ends. */
static void who_is_watched_can_end_in_any_way(void)
{
	struct talk t;
	int how;

	for (how = 0; how < 4; how++) {
		begin();
		t = rest_talk(tuple4(40000, 80), 1, 1);
		pass((IDLE_S + 2) * HOST_S);
		CHECK_EQUAL(silence_now()->watched, 1);
		if (how == 0) {
			send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
			send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
		} else if (how == 1) {
			send_at(&t, ORIG, TCP_RST, 0, 0, 0);
			pass(2 * HOST_S);
		} else if (how == 2) {
			t = open_talk(t.key, 0x40000000, 0x50000000);
			CHECK_EQUAL(counted(replaced), 1);
			pass(HOST_S);
			CHECK_EQUAL(resting_connections(), 1);
		} else {
			flush_all();
		}
		CHECK_EQUAL(counted_ends(), 1);
		CHECK_EQUAL(counted(expired), 0);
		conserved();
		pass(2 * HOST_S);
		CHECK_EQUAL(silence_now()->watched, 0);
		CHECK_EQUAL(set_for(&t.key)->watched, 0);
		CHECK_EQUAL(gate_at(set_index(hash_key(&t.key))), 0);
		conserved();
	}
}

static void where_silence_ends_nothing_nobody_is_watched(void)
{
	begin();
	settings()->idle_timeout = IDLE_NEVER;
	rest_talk(tuple4(40000, 80), 1, 1);
	pass(10 * IDLE_S * HOST_S);
	CHECK_EQUAL(silence_now()->watched, 0);
	settings()->idle_timeout = IDLE_S;
	pass(2 * HOST_S);
	CHECK_EQUAL(silence_now()->watched, 1);
	settings()->idle_timeout = IDLE_NEVER;
	pass(10 * IDLE_S * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	conserved();
}

static void nobody_who_has_never_been_set_is_ended_before_two_hours_and_a_quarter(void)
{
	begin();
	settings()->idle_timeout = 0;
	rest_talk(tuple4(40000, 80), 1, 1);
	pass((8100 - 2) * HOST_S);
	CHECK_EQUAL(silence_now()->watched, 0);
	pass(4 * HOST_S);
	CHECK_EQUAL(silence_now()->watched, 1);
	pass((8100 - 4) * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	pass(6 * HOST_S);
	CHECK_EQUAL(counted(ended[S1]), 1);
}

#define LOOK_NS 5000

/* After each look the tracker looks at its clock. */
static void a_look_takes_its_time(const char *what, const void *map)
{
	(void)map;
	if (!strcmp(what, "bpf_ktime_get_boot_ns"))
		host.now += LOOK_NS;
}

/* Many at once: for so long in one go, soon again, and nobody waits for ever. */
static void thousands_that_are_due_at_once_all_end(void)
{
	const __u32 n = 3000;
	__u32 i;

	begin();
	for (i = 0; i < n; i++) {
		struct talk t = { .key = tuple4(1024 + i % 50000, 80 + i / 50000), .orig = 1, .resp = 1 };

		send_next(&t, ORIG, TCP_SYN, 0);
		send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
		send_next(&t, ORIG, TCP_ACK, 0);
	}
	pass(HOST_S);
	CHECK_EQUAL(resting_connections(), n);
	conserved();
	host.now += IDLE_S * HOST_S;
	host.timer_due = host.now;
	host.step = a_look_takes_its_time;
	run_clock();
	host.step = NULL;
	CHECK_EQUAL(silence_now()->watched, LISTEN_NS / LOOK_NS);
	CHECK(host.timer_due <= host.now + LISTEN_STEP_NS);
	pass((IDLE_S + 20) * HOST_S);
	CHECK(counted(ended[S1]) > n * 9 / 10);
	pass(3 * IDLE_S * HOST_S);
	CHECK_EQUAL(counted(ended[S1]), n);
	CHECK_EQUAL(silence_now()->watched, 0);
	conserved();
}

/*
 * Asked for
 */

static void a_socket_of_this_host_is_asked_and_lives_or_has_gone(void)
{
	struct talk t;
	int i;

	begin();
	t = rest_own(tuple4(40000, 80));
	for (i = 0; i < 5; i++) {
		pass((IDLE_S + 2) * HOST_S);
		CHECK_EQUAL(silence_now()->watched, 0);
		CHECK_EQUAL(silence_now()->open, 1);
		somebody_passes(3); /* in another namespace, as it may be */
		pass(2 * HOST_S);
		CHECK_EQUAL(silence_now()->open, 1);
		somebody_passes(2);
		pass(2 * HOST_S);
		CHECK_EQUAL(silence_now()->open, 0);
		CHECK_EQUAL(resting_connections(), 1);
	}
	take_socket();
	pass((IDLE_S + 2) * HOST_S);
	somebody_passes(2);
	pass(2 * HOST_S);
	CHECK(!resting_of(&t.key));
	CHECK_EQUAL(counted(ended[S1]), 1);
	CHECK_EQUAL(counted(expired), 1 + counted(ended[S0]));
	conserved();
}

static void a_socket_in_time_wait_or_a_listener_is_none(void)
{
	static const __u32 states[] = { BPF_TCP_TIME_WAIT, BPF_TCP_LISTEN, BPF_TCP_NEW_SYN_RECV };
	struct talk t;
	int i;

	for (i = 0; i < 3; i++) {
		begin();
		t = rest_own(tuple4(40000, 80));
		give_socket(&t, states[i]);
		pass((IDLE_S + 2) * HOST_S);
		somebody_passes(2);
		pass(2 * HOST_S);
		CHECK(!resting_of(&t.key));
	}
}

/* Nobody comes by who could ask: then it is watched. */
static void who_cannot_be_asked_for_is_watched(void)
{
	struct talk t;

	begin();
	t = rest_own(tuple4(40000, 80));
	pass((IDLE_S + PATIENCE_S + 4) * HOST_S);
	CHECK_EQUAL(silence_now()->open, 0);
	CHECK_EQUAL(silence_now()->watched, 1);
	pass((IDLE_S - 5) * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	ack(&t, RESP);
	pass(IDLE_S * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	pass((3 * IDLE_S + PATIENCE_S) * HOST_S);
	CHECK_EQUAL(live_connections(), 0);
	conserved();
}

/* An answer that comes when its question is another one already is none. */
static void an_answer_is_to_one_question(void)
{
	struct talk t;

	begin();
	t = rest_own(tuple4(40000, 80));
	take_socket();
	pass((IDLE_S + 2) * HOST_S);
	CHECK_EQUAL(silence_now()->open, 1);
	somebody_passes(2);
	CHECK_EQUAL(silence_now()->question[0].state & ASK_MASK, ASK_GONE);
	/* Meanwhile it has closed, and another one is at rest on its tuple. */
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	host.timer_due = 0;
	open_talk(t.key, 0x40000000, 0x50000000);
	lay_to_rest(set_index(hash_key(&t.key)), 0, host.now);
	CHECK(resting_of(&t.key));
	host.now += HOST_S;
	host.timer_due = host.now;
	run_clock();
	CHECK(resting_of(&t.key));
	CHECK_EQUAL(silence_now()->open, 0);
	CHECK_EQUAL(counted(expired), 0);
	conserved();
}

/* More than there is room for questions: all are asked, some later. */
static void more_than_there_are_questions_are_asked_one_after_the_other(void)
{
	const __u32 n = 3 * ASKS;
	__u32 i;

	begin();
	for (i = 0; i < n; i++)
		rest_own(tuple4(40000 + i, 80));
	take_socket();
	pass(IDLE_S * HOST_S);
	for (i = 0; i < 2 * IDLE_S * 10; i++) {
		somebody_passes(2);
		pass(HOST_S / 10);
	}
	CHECK_EQUAL(counted(ended[S1]), n);
	conserved();
}

/*
 * Half-closed
 */

static void who_is_half_closed_and_silent_goes_to_rest_if_its_socket_is_here(void)
{
	struct talk t;
	int i;

	begin();
	t = rest_own(tuple4(40000, 80));
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 9);
	ack(&t, RESP);
	pass((CLOSE_S + 1) * HOST_S);
	CHECK(resting_of(&t.key) && resting_of(&t.key)->flow.flags & ORIG_FIN);
	CHECK(goes_by(hash_key(&t.key)));
	CHECK_EQUAL(counted_ends(), 0);
	conserved();
	for (i = 0; i < 10; i++) {
		pass((CLOSE_S + 2) * HOST_S);
		somebody_passes(2);
		pass(2 * HOST_S);
		CHECK(resting_of(&t.key));
	}
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 7);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " orig_bytes=9 resp_bytes=7 "));
	CHECK_EQUAL(counted(expired), 0);
	conserved();
}

static void who_is_half_closed_ends_when_its_socket_has_gone(void)
{
	struct talk t;
	__u64 last;

	begin();
	t = rest_own(tuple4(40000, 80));
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 9);
	ack(&t, ORIG);
	last = host.now;
	pass((CLOSE_S + 1) * HOST_S);
	CHECK(resting_of(&t.key));
	take_socket();
	pass((CLOSE_S + 2) * HOST_S);
	somebody_passes(2);
	pass(2 * HOST_S);
	CHECK_EQUAL(counted(ended[S3]), 1);
	CHECK_EQUAL(counted(expired), 1);
	CHECK_EQUAL(last_record()->end_ns, last);
	conserved();
}

/* What its socket would not take wakes nobody, and closes nothing. */
static void of_who_is_half_closed_and_at_rest_the_other_fin_is_judged(void)
{
	struct talk t;

	begin();
	t = rest_own(tuple4(40000, 80));
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 9);
	ack(&t, ORIG);
	pass((CLOSE_S + 1) * HOST_S);
	CHECK(resting_of(&t.key));
	give_socket(&t, BPF_TCP_FIN_WAIT2);
	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 2 * FIN_SPAN, 0, 0);
	send_at(&t, ORIG, TCP_ACK | TCP_FIN, -1000, 0, 0);
	CHECK_EQUAL(counted(fin_disbelieved), 2);
	CHECK(resting_of(&t.key));
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 7);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " orig_bytes=7 resp_bytes=9 "));
	conserved();
}

/* Of one whose FIN nobody acknowledges the peer has gone; of one that is forwarded, as routers do, nobody waits for long. */
static void others_end_at_their_time(void)
{
	struct talk t;

	begin();
	t = rest_own(tuple4(40000, 80));
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 9);
	send_at(&t, ORIG, TCP_ACK, 0, -1, 0);
	pass((CLOSE_S + 1) * HOST_S);
	CHECK_EQUAL(counted(ended[S3]), 1);
	CHECK(strstr(host.line, " retrans="));
	begin();
	t = rest_talk(tuple4(40000, 80), 1, 1);
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 9);
	ack(&t, RESP);
	pass((CLOSE_S + 1) * HOST_S);
	CHECK_EQUAL(counted(ended[S2]), 1);
	CHECK_EQUAL(counted(expired), 1);
	conserved();
}

/* Where conn_map has no room it ends as well: nobody is lost who has waited for his time. */
static void who_is_half_closed_and_finds_no_room_at_rest_ends(void)
{
	struct talk t;

	begin();
	t = rest_own(tuple4(40000, 80));
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 9);
	ack(&t, RESP);
	host_map_of(&conn_map)->max_entries = 0;
	pass((CLOSE_S + 1) * HOST_S);
	CHECK_EQUAL(counted(ended[S2]), 1);
	CHECK_EQUAL(counted(expired), 1);
	CHECK_EQUAL(counted(conn_full), 0);
	CHECK_EQUAL(live_connections(), 0);
	conserved();
}

/*
 * Places
 */

static void places_are_given_out_once_and_from_all_parts(void)
{
	static bool taken[NO_REST];
	const struct flow_key tuple = tuple4(40000, 80);
	struct conn_key key = {};
	__u32 i, place;

	*tuple_of(&key) = tuple;
	begin();
	for (i = 0; i < NO_REST; i++) {
		struct rest *rest;

		place = take_rest(1);
		CHECK(place < NO_REST && !taken[place]);
		taken[place & (NO_REST - 1)] = true;
		if (i < REST_POOL)
			CHECK_EQUAL(place % POOLS, 1);
		rest = host_lookup(host_map_of(&nt_rest), &place);
		rest->key = key;
		rest->alive_s = 1;
	}
	CHECK_EQUAL(take_rest(1), NO_REST);
	give_rest(77);
	give_rest(NO_REST); /* it is none */
	CHECK_EQUAL(take_rest(0), 77);
	CHECK_EQUAL(take_rest(0), NO_REST);
}

int main(void)
{
	RUN(who_is_silent_for_long_is_watched_and_ends_when_it_stays_so);
	RUN(the_first_packet_shows_that_it_lives_and_no_other_is_looked_at);
	RUN(those_that_share_a_place_are_watched_one_after_the_other);
	RUN(who_is_watched_can_end_in_any_way);
	RUN(where_silence_ends_nothing_nobody_is_watched);
	RUN(nobody_who_has_never_been_set_is_ended_before_two_hours_and_a_quarter);
	RUN(thousands_that_are_due_at_once_all_end);
	RUN(a_socket_of_this_host_is_asked_and_lives_or_has_gone);
	RUN(a_socket_in_time_wait_or_a_listener_is_none);
	RUN(who_cannot_be_asked_for_is_watched);
	RUN(an_answer_is_to_one_question);
	RUN(more_than_there_are_questions_are_asked_one_after_the_other);
	RUN(who_is_half_closed_and_silent_goes_to_rest_if_its_socket_is_here);
	RUN(who_is_half_closed_ends_when_its_socket_has_gone);
	RUN(others_end_at_their_time);
	RUN(of_who_is_half_closed_and_at_rest_the_other_fin_is_judged);
	RUN(who_is_half_closed_and_finds_no_room_at_rest_ends);
	RUN(places_are_given_out_once_and_from_all_parts);
	return unit_end();
}
