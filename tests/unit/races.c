// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What one CPU does while another is in the middle of something: orders of events that no wire test can choose. interrupt_at() says
 * where the other CPU comes in; most tests let it come in at each step, one after the other.
 */
#include "host/host.h"

/* Short, as every second the clock goes through all that there is. */
#define CLOSE_S 4

#define SET 4321

static struct talk t, other;
static struct host_socket own;

/* Where a connection is when it begins. */
enum where_it_is {
	ANSWERED, /* the third ACK is yet to come */
	YOUNG,
	HALF_CLOSED, /* by its originator */
	AT_REST,
	EVERYWHERE,
};

static void begin(enum where_it_is where)
{
	host_reset();
	settings()->close_timeout = CLOSE_S;
	memset(&own, 0, sizeof(own));
	t = (struct talk){ .key = tuple4(40000, 80), .orig = 1000, .resp = 2000 };
	other = (struct talk){ .key = t.key, .orig = 0x40000000, .resp = 0x50000000 };
	send_next(&t, ORIG, TCP_SYN, 0);
	pass(HOST_MS);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	pass(HOST_MS);
	if (where == ANSWERED)
		return;
	send_next(&t, ORIG, TCP_ACK, 0);
	pass(where == AT_REST ? HOST_S : HOST_MS);
	if (where == HALF_CLOSED)
		send_next(&t, ORIG, TCP_ACK | TCP_FIN, 3);
}

/* This host has the responder's socket. */
static void give_socket(__u32 state)
{
	own.sk.state = state;
	own.sk.src_ip4 = bpf_htonl(0x0a000002);
	own.sk.dst_ip4 = bpf_htonl(0x0a000001);
	own.sk.src_port = t.key.dport;
	own.sk.dst_port = bpf_htons(t.key.sport);
	own.tcp.rcv_nxt = t.orig;
	own.tcp.snd_una = t.resp;
	own.tcp.rtt_min = ~0U;
	host.sender = host.receiver = &own;
}

static void orig_rst(void)
{
	send_at(&t, ORIG, TCP_RST, 0, 0, 0);
}

static void resp_rst(void)
{
	send_at(&t, RESP, TCP_RST | TCP_ACK, 0, 0, 0);
}

/* This host sends it: it is meant. */
static void resp_rst_from_here(void)
{
	give_socket(BPF_TCP_ESTABLISHED);
	resp_rst();
	host.sender = host.receiver = NULL;
}

static void orig_fin(void)
{
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 3);
}

static void resp_fin(void)
{
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 4);
}

static void both_fins(void)
{
	orig_fin();
	resp_fin();
}

static void orig_ack(void)
{
	send_at(&t, ORIG, TCP_ACK, 0, 0, 0);
}

static void another_syn(void)
{
	send_next(&other, ORIG, TCP_SYN, 0);
}

static void another_synack(void)
{
	send_next(&other, RESP, TCP_SYN | TCP_ACK, 0);
}

static void another_connection(void)
{
	another_syn();
	another_synack();
	send_next(&other, ORIG, TCP_ACK, 0);
}

/* Whoever was called calls. */
static void another_connection_the_other_way(void)
{
	put_key(&other.key, &t.key, true);
	another_connection();
}

/* This host, which was called, calls from the port that was called, and nobody answers. */
static void own_syn(void)
{
	give_socket(BPF_TCP_SYN_SENT);
	send_at(&other, RESP, TCP_SYN, 0, 0, 0);
	host.sender = host.receiver = NULL;
}

static void clock_goes_off(void)
{
	if (!host.timer_due)
		return;
	if (host.timer_due > host.now)
		host.now = host.timer_due;
	run_clock();
}

/* The time of whatever there is is up, and the clock on its way. */
static void time_is_up(void)
{
	host.now += (CLOSE_S + 1) * HOST_S;
	host.timer_due = host.now;
	run_clock();
}

/* A young connection is laid to rest. */
static void lays_to_rest(void)
{
	host.now += YOUNG_NS;
	host.timer_due = host.now;
	run_clock();
}

/* For nth from 1 on: first is interrupted at its nth step by second, until it has no more steps. Returns false then. */
static bool race(const char *what, const void *map, int nth, void (*first)(void), void (*second)(void))
{
	interrupt_at(what, map, nth, second);
	first();
	return interrupted();
}

/* What has gone wrong since, has at this step. */
static void say_where(unsigned long failures, const char *test, int nth)
{
	if (unit_failures > failures && failures < UNIT_FAILURES_SHOWN)
		fprintf(stderr, "that is in %s, at step %d\n", test, nth);
}

/*
 * Runs `first` once for each of its steps of this name (NULL: of all), at which `second` comes in. The test looks at what both have
 * done.
 */
static void at_each_step(const char *name, const char *what, enum where_it_is where, void (*first)(void), void (*second)(void),
                         void (*test)(void))
{
	unsigned long failures;
	int nth;

	for (nth = 1; nth < 1000; nth++) {
		failures = unit_failures;
		begin(where);
		if (!race(what, NULL, nth, first, second))
			break;
		conserved();
		test();
		conserved();
		say_where(failures, name, nth);
	}
	CHECK(nth > 1 && nth < 1000);
}

#define AT_EACH_STEP(where, first, second, test) at_each_step(#first " and " #second, NULL, where, first, second, test)

/* What looks through all sets has too many steps. Few of them take a lock. */
#define AT_EACH_LOCK(where, first, second, test) at_each_step(#first " and " #second, "bpf_spin_lock", where, first, second, test)

/* The connection is as it was, once, and has not been closed. */
static void is_whole(void)
{
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(live_attempts(), 0);
	CHECK_EQUAL(counted_ends(), 0);
	pass(HOST_S);
	CHECK_EQUAL(resting_connections(), 1);
	CHECK_EQUAL(counted(established), 1);
	CHECK_EQUAL(counted_ends(), 0);
	both_fins();
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK_EQUAL(counted_ends(), 1);
}

/* Both sides' FINs have ended it, and their numbers are in the record. */
static const struct record *last_record(void)
{
	__u32 last = (host_only(struct log_head, nt_log_head)->written - 1) % LOG_RECORDS;

	return host_lookup(host_map_of(&nt_log), &last);
}

/* Two FINs at once, which do not acknowledge each other, end it when they are acknowledged. */
static void acknowledge(void)
{
	send_at(&t, ORIG, TCP_ACK, 0, 0, 0);
	send_at(&t, RESP, TCP_ACK, 0, 0, 0);
}

static void has_closed(void)
{
	acknowledge();
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK_EQUAL(counted(logged), 1);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted(no_record_fin), 0);
	CHECK(strstr(host.line, " orig_bytes=3 resp_bytes=4 "));
	CHECK(last_record()->end_ns >= last_record()->flow.first_fin_ns);
	CHECK(goes_by(hash_key(&t.key)));
}

/* The originator has closed it; the responder does. */
static void is_half_closed(void)
{
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(resting_connections(), 0);
	CHECK_EQUAL(connection_of(&t.key)->flags & (BOTH_FINS | MOVING), ORIG_FIN);
	CHECK(!goes_by(hash_key(&t.key)));
	CHECK_EQUAL(connection_of(&t.key)->orig_end, t.orig - 1);
	resp_fin();
	has_closed();
}

/* A RST waits for silence, and is then believed, at its own time. */
static void is_reset_after_silence(void)
{
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(resting_connections(), 0);
	CHECK_EQUAL(connection_of(&t.key)->flags & (RST_PENDING | MOVING), RST_PENDING);
	CHECK(!goes_by(hash_key(&t.key)));
	CHECK_EQUAL(counted(no_record_rst) + counted(rst_disbelieved), 0);
	pass(2 * HOST_S);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted(ended[RSTO]) + counted(ended[RSTR]), 1);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK_EQUAL(counted(expired), 0);
}

/* It has ended, however, once. */
static void ends_once(void)
{
	pass((CLOSE_S + 2) * HOST_S);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK_EQUAL(counted(logged), 1);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(set_for(&t.key)->open, 0);
}

/* The other one's SYN was an attempt beside it; then it is answered, and that one is over. */
static void gives_way_when_the_syn_is_answered(void)
{
	CHECK_EQUAL(counted_ends(), 0);
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(counted(attempts), 2);
	another_synack();
	send_next(&other, ORIG, TCP_ACK, 0);
	pass(HOST_S);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK_EQUAL(counted(ended[S1]), 1);
	CHECK_EQUAL(counted(replaced), 1);
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(connection_of(&t.key)->orig_isn, 0x40000000);
}

/* The other one is the tuple's connection now, and this one has ended, once. */
static void has_given_way(void)
{
	pass(HOST_S);
	if (!CHECK_EQUAL(live_connections(), 1))
		return;
	CHECK_EQUAL(connection_of(&other.key)->orig_isn, 0x40000000);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK_EQUAL(counted(established), 2);
	CHECK_EQUAL(counted(replaced), 1);
	send_next(&other, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&other, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK_EQUAL(live_connections(), 0);
}

/* Another ACK, the clock, and a SYN that nobody answers. */
static void what_is_laid_to_rest_is_laid_to_rest_once_whatever_comes(void)
{
	AT_EACH_STEP(YOUNG, lays_to_rest, orig_ack, is_whole);
	AT_EACH_STEP(YOUNG, lays_to_rest, clock_goes_off, is_whole);
	AT_EACH_STEP(ANSWERED, orig_ack, orig_ack, is_whole);
	AT_EACH_STEP(YOUNG, lays_to_rest, another_syn, gives_way_when_the_syn_is_answered);
}

static void fins_that_come_while_it_is_laid_to_rest_are_not_lost(void)
{
	AT_EACH_STEP(YOUNG, lays_to_rest, orig_fin, is_half_closed);
	AT_EACH_STEP(YOUNG, lays_to_rest, both_fins, has_closed);
}

static void a_rst_that_comes_while_it_is_laid_to_rest_is_not_lost(void)
{
	AT_EACH_STEP(YOUNG, lays_to_rest, orig_rst, is_reset_after_silence);
	AT_EACH_STEP(YOUNG, lays_to_rest, resp_rst, is_reset_after_silence);
}

static void of_two_that_wake_a_connection_both_are_noted_in_one_slot(void)
{
	AT_EACH_STEP(AT_REST, orig_fin, resp_fin, has_closed);
	AT_EACH_STEP(AT_REST, resp_fin, orig_fin, has_closed);
	AT_EACH_STEP(YOUNG, orig_fin, resp_fin, has_closed);
	AT_EACH_STEP(AT_REST, orig_rst, resp_rst, is_reset_after_silence);
}

/* Who moves it alone may end it: until then even a RST that is meant waits. */
static void a_rst_that_is_meant_ends_once_what_is_on_its_way(void)
{
	AT_EACH_STEP(YOUNG, lays_to_rest, resp_rst_from_here, ends_once);
	AT_EACH_STEP(AT_REST, orig_fin, resp_rst_from_here, ends_once);
	AT_EACH_STEP(AT_REST, resp_rst_from_here, orig_fin, ends_once);
}

/* Its slot is not the waker's yet, and already both sides have closed it: somebody has to end it. */
static void fins_of_both_sides_end_what_a_rst_wakes(void)
{
	AT_EACH_STEP(AT_REST, orig_rst, both_fins, ends_once);
	AT_EACH_STEP(AT_REST, resp_rst, both_fins, ends_once);
	AT_EACH_STEP(AT_REST, both_fins, orig_rst, ends_once);
	AT_EACH_STEP(AT_REST, orig_fin, resp_rst, ends_once);
	AT_EACH_STEP(AT_REST, resp_rst, orig_fin, ends_once);
}

/* Of two that want to end a connection one does. */
static void of_two_that_end_a_connection_one_does(void)
{
	AT_EACH_STEP(HALF_CLOSED, resp_fin, orig_rst, ends_once);
	AT_EACH_STEP(HALF_CLOSED, resp_fin, resp_rst, ends_once);
	AT_EACH_STEP(HALF_CLOSED, orig_rst, resp_fin, ends_once);
	AT_EACH_STEP(HALF_CLOSED, resp_rst, resp_fin, ends_once);
	AT_EACH_STEP(HALF_CLOSED, time_is_up, resp_fin, ends_once);
	AT_EACH_STEP(HALF_CLOSED, time_is_up, orig_rst, ends_once);
	AT_EACH_STEP(HALF_CLOSED, resp_fin, time_is_up, ends_once);
	AT_EACH_LOCK(HALF_CLOSED, flush_all, resp_fin, ends_once);
	AT_EACH_STEP(HALF_CLOSED, resp_fin, flush_all, ends_once);
}

static void ends_once_when_it_is_flushed(void)
{
	flush_all();
	ends_once();
}

/* Who is on the way may be left for the next time. */
static void flush_ends_once_what_is_on_its_way(void)
{
	AT_EACH_STEP(YOUNG, lays_to_rest, flush_all, ends_once_when_it_is_flushed);
	AT_EACH_STEP(AT_REST, orig_fin, flush_all, ends_once_when_it_is_flushed);
	AT_EACH_LOCK(AT_REST, flush_all, orig_fin, ends_once_when_it_is_flushed);
	AT_EACH_LOCK(YOUNG, flush_all, both_fins, ends_once_when_it_is_flushed);
}

/* Its tuple becomes another one's while it moves, in either direction, and whoever of both sees it first. */
static void who_loses_its_tuple_on_its_way_ends_once_and_the_other_one_lives(void)
{
	AT_EACH_STEP(YOUNG, lays_to_rest, another_connection, has_given_way);
	AT_EACH_STEP(AT_REST, orig_fin, another_connection, has_given_way);
	AT_EACH_STEP(HALF_CLOSED, orig_ack, another_connection, has_given_way);
	AT_EACH_STEP(YOUNG, lays_to_rest, another_connection_the_other_way, has_given_way);
	AT_EACH_STEP(AT_REST, orig_fin, another_connection_the_other_way, has_given_way);
	AT_EACH_STEP(HALF_CLOSED, orig_ack, another_connection_the_other_way, has_given_way);
}

/* The connection has ended, once; the attempt on its tuple is no forgery, and comes to nothing. */
static void ends_at_the_syn(void)
{
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK_EQUAL(live_attempts(), 1);
	pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
	CHECK_EQUAL(counted(ended[S0]), 1);
	CHECK_EQUAL(counted_ends(), 2);
	CHECK_EQUAL(counted(syn_disbelieved), 0);
}

/* A FIN of it came a moment behind that SYN: then it may have ended by its own time. */
static void ends_beside_the_attempt(void)
{
	CHECK_EQUAL(live_attempts(), 1);
	pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted(ended[S0]), 1);
	CHECK_EQUAL(counted_ends(), 2);
	CHECK_EQUAL(counted(syn_disbelieved), 0);
}

static void a_connection_ends_at_this_hosts_own_syn_wherever_it_is_going(void)
{
	AT_EACH_STEP(YOUNG, lays_to_rest, own_syn, ends_at_the_syn);
	AT_EACH_STEP(YOUNG, own_syn, lays_to_rest, ends_at_the_syn);
	AT_EACH_STEP(AT_REST, own_syn, orig_fin, ends_beside_the_attempt);
	AT_EACH_STEP(AT_REST, orig_fin, own_syn, ends_at_the_syn);
	AT_EACH_STEP(HALF_CLOSED, own_syn, resp_fin, ends_at_the_syn);
	AT_EACH_STEP(HALF_CLOSED, resp_fin, own_syn, ends_at_the_syn);
}

/* conn_map is full, but it is being closed: it needs no place there. */
static void a_full_conn_map_does_not_lose_what_is_closing(void)
{
	begin(YOUNG);
	host_map_of(&conn_map)->max_entries = 0;
	CHECK(race("bpf_map_update_elem", &conn_map, 1, lays_to_rest, both_fins));
	CHECK_EQUAL(counted(conn_full), 0);
	has_closed();
	conserved();

	begin(YOUNG);
	host_map_of(&conn_map)->max_entries = 0;
	CHECK(race("bpf_map_update_elem", &conn_map, 1, lays_to_rest, orig_fin));
	CHECK_EQUAL(counted(conn_full), 0);
	is_half_closed();
	conserved();

	begin(YOUNG);
	host_map_of(&conn_map)->max_entries = 0;
	lays_to_rest();
	CHECK_EQUAL(counted(conn_full), 1);
	CHECK_EQUAL(counted_ends(), 0);
	CHECK_EQUAL(live_connections(), 0);
	conserved();
}

/*
 * A SYN that comes while its tuple's connection is laid to rest sees it nowhere. Then that one ends when the new one is laid to
 * rest.
 */
static void who_finds_its_predecessor_at_rest_ends_it(void)
{
	begin(YOUNG);
	CHECK(race("bpf_spin_lock", NULL, 1, another_syn, lays_to_rest));
	CHECK(!(attempt_of(&t.key)->flow.flags & DOUBTFUL));
	another_synack();
	send_next(&other, ORIG, TCP_ACK, 0);
	CHECK_EQUAL(counted_ends(), 0);
	conserved();
	pass(HOST_S);
	CHECK_EQUAL(counted(ended[S1]), 1);
	CHECK_EQUAL(counted(replaced), 1);
	CHECK_EQUAL(resting_connections(), 1);
	CHECK_EQUAL(resting_of(&t.key)->flow.orig_isn, 0x40000000);
	CHECK_EQUAL(counted(conn_full), 0);
	conserved();
}

/* Likewise; but by then that one has been woken again by its own FIN. It ends when the new one is established. */
static void who_finds_its_predecessor_in_motion_ends_it(void)
{
	begin(YOUNG);
	CHECK(race("bpf_spin_lock", NULL, 1, another_syn, lays_to_rest));
	CHECK(!(attempt_of(&t.key)->flow.flags & DOUBTFUL));
	send_at(&t, RESP, TCP_ACK | TCP_FIN, 0, -0x1000, 0);
	CHECK(moving_of(&t.key, true));
	another_synack();
	send_next(&other, ORIG, TCP_ACK, 0);
	CHECK_EQUAL(counted(ended[S3]), 1);
	CHECK_EQUAL(counted(replaced), 1);
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(connection_of(&t.key)->orig_isn, 0x40000000);
	conserved();
}

static void resp_bare_fin(void)
{
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
}

/* As if its own socket were not there any more. */
static void resp_fin_without_a_socket(void)
{
	host.sender = NULL;
	resp_bare_fin();
	host.sender = &own;
}

/* Both FINs at once: the one that ends it looked like the first, so nobody had asked the socket. It is asked then. */
static void the_second_of_two_fins_at_once_asks_the_socket(void)
{
	begin(YOUNG);
	give_socket(BPF_TCP_FIN_WAIT1);
	own.tcp.total_retrans = 43;
	CHECK(race("bpf_spin_lock", NULL, 1, orig_fin, resp_fin_without_a_socket));
	acknowledge();
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " retrans=43 "));
	conserved();
}

/* This host called; its own FIN finds the connection as the other side's wakes it. Whose socket that is, it knows then already. */
static void what_a_socket_says_of_a_connection_that_is_being_woken_is_kept(void)
{
	int step;

	for (step = 0; step < 2; step++) {
		static const char *const steps[] = { "bpf_map_delete_elem", "found" };

		begin(AT_REST);
		resting_of(&t.key)->flow.flags |= IS_OUTBOUND;
		give_socket(BPF_TCP_FIN_WAIT1);
		own.tcp.total_retrans = 44;
		host.receiver = NULL;
		/* Who is the responder on this wire is at the egress hook; its socket says nothing of the originator's. */
		CHECK(race(steps[step], &conn_map, 1 + step, orig_fin, resp_bare_fin));
		acknowledge();
		CHECK_EQUAL(counted(ended[SF]), 1);
		CHECK(!strstr(host.line, " retrans="));

		begin(AT_REST);
		give_socket(BPF_TCP_FIN_WAIT1);
		own.tcp.total_retrans = 45;
		own.uid = 1234;
		host.receiver = NULL;
		CHECK(race(steps[step], &conn_map, 1 + step, orig_fin, resp_bare_fin));
		acknowledge();
		CHECK_EQUAL(counted(ended[SF]), 1);
		CHECK(strstr(host.line, " uid=1234 "));
		CHECK(strstr(host.line, " retrans=45 "));
		conserved();
	}
}

/* No socket knows the connection of this RST: what one said of another connection before is no reason to believe it, or not to. */
static void a_rst_is_not_judged_by_what_a_socket_said_of_another_connection(void)
{
	int nth;

	for (nth = 1; nth < 1000; nth++) {
		struct talk before = { .key = tuple4(40001, 80), .orig = 1, .resp = 1 };

		begin(AT_REST);
		before = rest_talk(before.key, 1, 1);
		give_socket(BPF_TCP_ESTABLISHED);
		own.sk.dst_port = bpf_htons(before.key.sport);
		own.tcp.rcv_nxt = before.orig;
		send_at(&before, ORIG, TCP_RST, 0, 0, 0);
		CHECK_EQUAL(counted(ended[RSTO]), 1);
		host.sender = host.receiver = NULL;
		if (!race(NULL, NULL, nth, orig_rst, resp_fin))
			break;
		if (!CHECK(connection_of(&t.key) && connection_of(&t.key)->flags & RST_PENDING))
			fprintf(stderr, "at step %d\n", nth);
		CHECK_EQUAL(counted(rst_disbelieved), 0);
		conserved();
	}
	CHECK(nth > 2 && nth < 1000);
}

/* A packet stamped a moment before a RST, and looked at a moment after, refutes it: its time minus the RST's is huge. */
static void rst_a_moment_later(void)
{
	host.now++;
	send_at(&t, ORIG, TCP_RST, 5, 0, 0);
}

static void resp_ack(void)
{
	send_at(&t, RESP, TCP_ACK, 0, 0, 0);
}

static void a_packet_from_before_a_rst_does_not_refute_it(void)
{
	begin(HALF_CLOSED);
	CHECK(race("bpf_spin_lock", NULL, 1, resp_ack, rst_a_moment_later));
	CHECK_EQUAL(counted(rst_disbelieved), 0);
	pass(2 * HOST_S);
	CHECK_EQUAL(counted(ended[RSTO]), 1);
	conserved();
}

static void refute(void)
{
	send_at(&t, ORIG, TCP_ACK, 0, 0, 1);
}

/* A FIN comes while the RST before it is refuted: the half-closed connection has its time limit. */
static void a_fin_while_a_rst_is_refuted_is_not_lost(void)
{
	int nth;

	for (nth = 1; nth < 100; nth++) {
		begin(YOUNG);
		orig_rst();
		pass(100 * HOST_MS);
		if (!race(NULL, NULL, nth, refute, resp_bare_fin))
			break;
		CHECK_EQUAL(connection_of(&t.key)->flags & (BOTH_FINS | RST_PENDING), RESP_FIN);
		CHECK(!goes_by(hash_key(&t.key)));
		pass((CLOSE_S + 2) * HOST_S);
		CHECK_EQUAL(counted(ended[S3]), 1);
		CHECK_EQUAL(live_connections(), 0);
		conserved();
	}
	CHECK(nth > 2);
}

static void a_packet(void)
{
	send_at(&t, RESP, TCP_ACK, 0, 0, 100);
}

/* The clock is on its way to the set when a packet moves the connection's time. */
static void a_packet_just_before_the_clock_gives_the_connection_more_time(void)
{
	begin(HALF_CLOSED);
	host.now = connection_of(&t.key)->last_ns + CLOSE_S * HOST_S;
	host.timer_due = host.now;
	CHECK(race("bpf_spin_lock", NULL, 1, (void (*)(void))run_clock, a_packet));
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(due_of(set_index(hash_key(&t.key))), host.now + CLOSE_S * HOST_S);
	CHECK(!goes_by(hash_key(&t.key)));
	conserved();
	pass((CLOSE_S + 2) * HOST_S);
	CHECK_EQUAL(counted_ends(), 1);
}

/*
 * A full set
 */

static struct flow_key keys[2 * SYN_WAYS];
static struct talk talks[2 * SYN_WAYS];

/* n closing connections; then t is one of the set, at rest. */
static void begin_set(int n)
{
	int i;

	host_reset();
	settings()->close_timeout = CLOSE_S;
	memset(&t, 0, sizeof(t));
	talks[0] = open_talk(keys[0], 1, 1);
	pass(HOST_S);
	for (i = 1; i <= n; i++) {
		talks[i] = open_talk(keys[i], 1, 1);
		send_next(&talks[i], ORIG, TCP_ACK | TCP_FIN, 0);
	}
	t = talks[0];
	CHECK(resting_of(&t.key));
	CHECK_EQUAL(moving_in(SET, true), n);
}

static void syn_of_the_set(void)
{
	send_at(&(struct talk){ .key = keys[2 * SYN_WAYS - 1], .orig = 7 }, ORIG, TCP_SYN, 0, 0, 0);
}

static void most_silent_ends(void)
{
	send_next(&talks[1], RESP, TCP_ACK | TCP_FIN, 0);
}

/* The set is full: who has to give way may just be ended by its own FIN, and a SYN may be faster than who wakes. */
static void who_wakes_in_a_full_set_does_not_lose_its_fin(void)
{
	void (*const acts[])(void) = { most_silent_ends, syn_of_the_set };
	unsigned long failures;
	size_t i;
	int nth;

	for (i = 0; i < 2; i++) {
		for (nth = 1; nth < 1000; nth++) {
			failures = unit_failures;
			begin_set(SYN_WAYS);
			if (!race(NULL, NULL, nth, orig_fin, acts[i]))
				break;
			conserved();
			CHECK_EQUAL(connection_of(&t.key)->flags & BOTH_FINS, ORIG_FIN);
			CHECK(!resting_of(&t.key));
			pass((CLOSE_S + 2) * HOST_S);
			CHECK_EQUAL(live_connections(), 0);
			CHECK_EQUAL(counted_ends(), SYN_WAYS + 1);
			conserved();
			say_where(failures, i ? "a SYN" : "an end", nth);
		}
		CHECK(nth > 2 && nth < 1000);
	}
}

/* Two wake it, and need one place between them: one handshake has to go. */
static void of_two_that_wake_in_a_full_set_one_takes_a_place(void)
{
	int i, nth;

	for (nth = 1; nth < 1000; nth++) {
		begin_set(0);
		for (i = 1; i <= SYN_WAYS; i++)
			send_at(&(struct talk){ .key = keys[i] }, ORIG, TCP_SYN, 0, 0, 0);
		if (!race(NULL, NULL, nth, orig_fin, resp_fin))
			break;
		acknowledge();
		if (!CHECK_EQUAL(counted(syn_evicted), 1) || !CHECK_EQUAL(counted(ended[SF]), 1))
			fprintf(stderr, "at step %d\n", nth);
		conserved();
	}
	CHECK(nth > 2 && nth < 1000);
}

static void closes_youngest(void)
{
	send_next(&talks[1], ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&talks[1], RESP, TCP_ACK | TCP_FIN, 0);
}

/* A SYN lays the one that is young to rest, which closes at that moment. */
static void who_gives_way_while_it_closes_ends_as_closed(void)
{
	unsigned long failures;
	int i, nth;

	for (nth = 1; nth < 1000; nth++) {
		failures = unit_failures;
		begin_set(0);
		talks[1] = open_talk(keys[1], 1, 1);
		for (i = 2; i <= SYN_WAYS; i++)
			send_at(&(struct talk){ .key = keys[i] }, ORIG, TCP_SYN, 0, 0, 0);
		CHECK_EQUAL(places_taken(set_at(SET)), SYN_WAYS);
		if (!race(NULL, NULL, nth, syn_of_the_set, closes_youngest))
			break;
		conserved();
		CHECK_EQUAL(counted(ended[SF]), 1);
		CHECK_EQUAL(counted_ends(), 1);
		CHECK_EQUAL(counted(no_record_fin), 0);
		say_where(failures, __func__, nth);
	}
	CHECK(nth > 2 && nth < 1000);
}

static void copy_of_the_syn(void)
{
	host.now += HOST_MS;
	send_at(&t, ORIG, TCP_SYN, 0, 0, 0);
}

/* A SYN and its copy on two CPUs: who has looked at the clock first comes second, and is no end before the beginning. */
static void no_attempt_ends_before_it_begins(void)
{
	int nth;

	for (nth = 1; nth < 64; nth++) {
		host_reset();
		t = (struct talk){ .key = tuple4(40000, 80), .orig = 1000, .resp = 2000 };
		interrupt_at(NULL, NULL, nth, copy_of_the_syn);
		send_at(&t, ORIG, TCP_SYN, 0, 0, 0);
		if (!interrupted())
			break;
		pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
		CHECK_EQUAL(counted(ended[S0]), 1);
		CHECK(last_record()->end_ns >= last_record()->flow.start_ns);
		CHECK(last_record()->end_ns <= last_record()->flow.start_ns + HOST_MS);
		conserved();
	}
	CHECK(nth > 8 && nth < 64);
}

/* Likewise a SYN-ACK, which is looked at behind a SYN that was seen later: a round trip that would be below 0 is 0. */
static void no_round_trip_is_longer_than_the_connection(void)
{
	struct service_key key = { .port = 80, .dir = DIR_IN };
	int nth;

	for (nth = 1; nth < 64; nth++) {
		const struct service *service;

		host_reset();
		t = (struct talk){ .key = tuple4(40000, 80), .orig = 1000, .resp = 2000 };
		interrupt_at(NULL, NULL, nth, copy_of_the_syn);
		send_at(&t, RESP, TCP_SYN | TCP_ACK, 0, 1, 0);
		if (!interrupted())
			break;
		t.orig++;
		t.resp++;
		send_next(&t, ORIG, TCP_ACK, 0);
		both_fins();
		has_closed();
		CHECK(last_record()->flow.syn_rtt_ns + last_record()->flow.ack_rtt_ns <= HOST_MS);
		service = host_lookup(host_map_of(&nt_services), &key);
		CHECK(service && service->handshake_sum_ns <= HOST_MS);
		conserved();
	}
	CHECK(nth > 4 && nth < 64);
}

int main(void)
{
	tuples_of_set(SET, keys, sizeof(keys) / sizeof(keys[0]));
	RUN(what_is_laid_to_rest_is_laid_to_rest_once_whatever_comes);
	RUN(fins_that_come_while_it_is_laid_to_rest_are_not_lost);
	RUN(a_rst_that_comes_while_it_is_laid_to_rest_is_not_lost);
	RUN(of_two_that_wake_a_connection_both_are_noted_in_one_slot);
	RUN(a_rst_that_is_meant_ends_once_what_is_on_its_way);
	RUN(fins_of_both_sides_end_what_a_rst_wakes);
	RUN(of_two_that_end_a_connection_one_does);
	RUN(flush_ends_once_what_is_on_its_way);
	RUN(who_loses_its_tuple_on_its_way_ends_once_and_the_other_one_lives);
	RUN(a_connection_ends_at_this_hosts_own_syn_wherever_it_is_going);
	RUN(a_full_conn_map_does_not_lose_what_is_closing);
	RUN(who_finds_its_predecessor_at_rest_ends_it);
	RUN(who_finds_its_predecessor_in_motion_ends_it);
	RUN(the_second_of_two_fins_at_once_asks_the_socket);
	RUN(what_a_socket_says_of_a_connection_that_is_being_woken_is_kept);
	RUN(a_rst_is_not_judged_by_what_a_socket_said_of_another_connection);
	RUN(a_packet_from_before_a_rst_does_not_refute_it);
	RUN(a_fin_while_a_rst_is_refuted_is_not_lost);
	RUN(a_packet_just_before_the_clock_gives_the_connection_more_time);
	RUN(who_wakes_in_a_full_set_does_not_lose_its_fin);
	RUN(of_two_that_wake_in_a_full_set_one_takes_a_place);
	RUN(who_gives_way_while_it_closes_ends_as_closed);
	RUN(no_attempt_ends_before_it_begins);
	RUN(no_round_trip_is_longer_than_the_connection);
	return unit_end();
}
