// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/clock.h and timeout.h: when the one timer goes off, and what it then ends.
 */
#include "host/host.h"

#define NOW (1000 * HOST_S)

static __u64 delay(__u64 armed_ns, __u64 due_ns)
{
	struct clock clock = { .armed_ns = armed_ns };

	return clock_delay(&clock, due_ns, NOW);
}

static void the_timer_is_set_for_what_is_due_but_never_for_longer_than_a_step(void)
{
	CHECK_EQUAL(delay(0, NOW + HOST_S / 2), HOST_S / 2);
	CHECK_EQUAL(delay(0, NOW + HOST_S), HOST_S);
	CHECK_EQUAL(delay(0, NOW + HOST_S + 1), HOST_S);
	CHECK_EQUAL(delay(0, NOW + 75 * HOST_S), HOST_S);
	CHECK_EQUAL(delay(0, ~0ULL), HOST_S);
}

static void what_is_late_is_not_done_at_once_but_after_the_slack(void)
{
	CHECK_EQUAL(delay(0, NOW), CLOCK_SLACK_NS);
	CHECK_EQUAL(delay(0, NOW - 1), CLOCK_SLACK_NS);
	CHECK_EQUAL(delay(0, 1), CLOCK_SLACK_NS);
	CHECK_EQUAL(delay(0, NOW + CLOCK_SLACK_NS - 1), CLOCK_SLACK_NS);
	CHECK_EQUAL(delay(0, NOW + CLOCK_SLACK_NS), CLOCK_SLACK_NS);
	CHECK_EQUAL(delay(0, NOW + CLOCK_SLACK_NS + 1), CLOCK_SLACK_NS + 1);
}

static void a_timer_that_goes_off_early_enough_is_left_alone(void)
{
	CHECK_EQUAL(delay(NOW + 5, NOW + 5), 0);
	CHECK_EQUAL(delay(NOW + 5, NOW + 75 * HOST_S), 0);
	CHECK_EQUAL(delay(NOW + HOST_S, NOW + 75 * HOST_S), 0);
	CHECK_EQUAL(delay(NOW + 6, NOW + 5), CLOCK_SLACK_NS);
	CHECK_EQUAL(delay(NOW + HOST_S, NOW + HOST_S / 2), HOST_S / 2);
}

static void a_timer_that_should_have_gone_off_long_ago_is_set_anew(void)
{
	CHECK_EQUAL(delay(NOW - 1, NOW + 5 * HOST_S), 0);
	CHECK_EQUAL(delay(NOW - HOST_S + 1, NOW + 5 * HOST_S), 0);
	CHECK_EQUAL(delay(NOW - HOST_S, NOW + 5 * HOST_S), HOST_S);
	CHECK_EQUAL(delay(1, NOW + 5 * HOST_S), HOST_S);
}

static void a_handshake_without_an_answer_ends_when_its_time_is_up(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 1, .resp = 1 };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	pass(HANDSHAKE_TIMEOUT_S * HOST_S - 1);
	CHECK_EQUAL(live_attempts(), 1);
	pass(CLOCK_SLACK_NS + 1);
	CHECK_EQUAL(live_attempts(), 0);
	CHECK_EQUAL(counted(ended[S0]), 1);
	CHECK_EQUAL(counted(expired), 1);
	conserved();
	pass(10 * HOST_S);
	CHECK_EQUAL(host.timer_due, 0); /* nothing is due, and the clock rests */
}

static void another_syn_gives_a_handshake_all_its_time_again(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 1, .resp = 1 };

	host_reset();
	send_at(&t, ORIG, TCP_SYN, 0, 0, 0);
	pass(63 * HOST_S);
	send_at(&t, ORIG, TCP_SYN, 0, 0, 0);
	pass(74 * HOST_S);
	CHECK_EQUAL(live_attempts(), 1);
	pass(2 * HOST_S);
	CHECK_EQUAL(live_attempts(), 0);
	CHECK_EQUAL(counted(attempts), 1);
}

static void a_half_closed_connection_ends_after_its_last_packet(void)
{
	struct talk t;

	host_reset();
	settings()->close_timeout = 10;
	t = open_talk(tuple4(40000, 80), 1, 1);
	CHECK(goes_by(hash_key(&t.key)));
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	CHECK(!goes_by(hash_key(&t.key)));
	pass(9 * HOST_S);
	send_next(&t, RESP, TCP_ACK, 1000); /* moves its time, not that of the set: the clock finds that out */
	pass(9 * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(due_of(set_index(hash_key(&t.key))), connection_of(&t.key)->last_ns + 10 * HOST_S);
	pass(2 * HOST_S);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted(ended[S2]), 1);
	CHECK_EQUAL(counted(expired), 1);
	CHECK(goes_by(hash_key(&t.key)));
	conserved();
}

static void a_young_connection_goes_to_rest_when_nobody_closes_it(void)
{
	struct talk t;
	__u64 established;

	host_reset();
	t = open_talk(tuple4(40000, 80), 1, 1);
	established = connection_of(&t.key)->last_ns;
	pass(established + YOUNG_NS - 1 - host.now);
	CHECK_EQUAL(all_moving(true), 1);
	pass(CLOCK_SLACK_NS + 1);
	CHECK_EQUAL(all_moving(true), 0);
	CHECK_EQUAL(resting_connections(), 1);
	CHECK_EQUAL(counted(expired) + counted_ends(), 0);
	conserved();
	pass(3 * HOST_S);
	CHECK(host.timer_due && host.timer_due <= host.now + HOST_S); /* once a second it goes through those at rest */
	CHECK_EQUAL(due_of(set_index(hash_key(&t.key))), 0);
}

static void a_kernel_that_refuses_the_timer_is_counted_and_asked_again(void)
{
	struct talk t = { .key = tuple4(40000, 80) }, u = { .key = tuple4(40001, 80) };

	host_reset();
	host.timer_refuses = true;
	send_next(&t, ORIG, TCP_SYN, 0);
	CHECK_EQUAL(counted(timer_failed), 1);
	CHECK_EQUAL(host.timer_due, 0);
	host.timer_refuses = false;
	send_next(&u, ORIG, TCP_SYN, 0);
	CHECK(host.timer_due);
	pass(80 * HOST_S);
	CHECK_EQUAL(counted(ended[S0]), 2);
}

static void in_one_go_the_clock_ends_so_many_and_leaves_the_rest_for_the_next(void)
{
	const __u32 n = 3 * TICK_BATCH;
	unsigned long starts;
	__u32 i;

	host_reset();
	for (i = 0; i < n; i++) {
		struct talk t = { .key = tuple4(1024 + i, 80) };

		send_next(&t, ORIG, TCP_SYN, 0);
	}
	CHECK_EQUAL(counted(syn_evicted), 0);
	host.timer_due = 0; /* nothing went off meanwhile */
	host.now += 80 * HOST_S;
	host.timer_due = host.now;
	run_clock();
	unit_check(counted_ends() >= TICK_BATCH && counted_ends() < TICK_BATCH + 2 * SYN_WAYS, "%llu ended in one go",
	           counted_ends());
	starts = host.timer_starts;
	pass(10 * CLOCK_SLACK_NS);
	CHECK_EQUAL(counted_ends(), n);
	CHECK(host.timer_starts > starts);
	conserved();
}

/* It goes on where it has stopped: were those in the first rows always as many as it ends in one go, others would wait for ever. */
static void no_row_waits_for_ever(void)
{
	struct clock *clock = host_only(struct clock, nt_clock);
	__u32 rounds, i;

	host_reset();
	settings()->handshake_timeout = 1;
	for (i = 0; i < 3 * TICK_BATCH; i++) {
		struct talk t = { .key = tuple4(1024 + i, 80) };

		send_next(&t, ORIG, TCP_SYN, 0);
	}
	host.now += 2 * HOST_S;
	for (rounds = 0; rounds < 2; rounds++) {
		__u64 row = clock->row;

		host.timer_due = host.now;
		run_clock();
		CHECK(clock->row != row);
	}
}

static void flush_ends_everything_in_batches(void)
{
	struct talk t;
	int i;

	host_reset();
	for (i = 0; i < FLUSH_BATCH + 100; i++) {
		t = open_talk(tuple4(1024 + i, 80), 1, 1);
		if (i == FLUSH_BATCH / 2)
			pass(YOUNG_NS); /* those that nobody has closed go to rest */
		if (i % 3 == 0)
			send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
		t.key.dport = 81;
		send_at(&t, ORIG, TCP_SYN, 0, 0, 0);
	}
	CHECK(live_connections() > FLUSH_BATCH);
	settings()->flush = 1;
	flush();
	CHECK(settings()->flush);
	CHECK(live_connections() > 0);
	flush_all();
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(live_attempts(), 0);
	CHECK_EQUAL(counted_ends(), counted(logged));
	conserved();
	/* Sets and pools are as good as new: a connection of the same tuple is like any other. */
	t = rest_talk(t.key, 1, 1);
	CHECK(resting_of(&t.key));
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	conserved();
}

int main(void)
{
	host_reset();
	RUN(the_timer_is_set_for_what_is_due_but_never_for_longer_than_a_step);
	RUN(what_is_late_is_not_done_at_once_but_after_the_slack);
	RUN(a_timer_that_goes_off_early_enough_is_left_alone);
	RUN(a_timer_that_should_have_gone_off_long_ago_is_set_anew);
	RUN(a_handshake_without_an_answer_ends_when_its_time_is_up);
	RUN(another_syn_gives_a_handshake_all_its_time_again);
	RUN(a_half_closed_connection_ends_after_its_last_packet);
	RUN(a_young_connection_goes_to_rest_when_nobody_closes_it);
	RUN(a_kernel_that_refuses_the_timer_is_counted_and_asked_again);
	RUN(in_one_go_the_clock_ends_so_many_and_leaves_the_rest_for_the_next);
	RUN(no_row_waits_for_ever);
	RUN(flush_ends_everything_in_batches);
	return unit_end();
}
