// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/interim.h: when a connection that lives long has its interim records, and which; and that it has its final one all the
 * same, whatever comes in between.
 */
#include "host/host.h"

#define INTERVAL_S 10

/* What the log has of a connection: its interim records, of which the last tells so many intervals; and its final ones. */
struct logged {
	__u32 interims;
	__u32 last;
	__u32 finals;
	bool in_turn; /* none was early, late or missing since the first */
};

static void begin(__u32 interval_s)
{
	host_reset();
	settings()->interim = interval_s;
}

static struct logged logged(const struct flow_key *key, __u32 interval_s)
{
	__u64 i, written = host_only(struct log_head, nt_log_head)->written;
	struct logged found = { .in_turn = true };

	for (i = 0; i < written; i++) {
		__u32 at = i % LOG_RECORDS;
		const struct record *record = host_lookup(host_map_of(&nt_log), &at);
		__u64 lived_ns = record->end_ns - record->flow.start_ns, due_ns = record->interim * interval_s * HOST_S;

		if (!same_key(&record->key, key))
			continue;
		if (!record->interim) {
			found.finals++;
			continue;
		}
		/* A second for the one that its life begins in, one for the pause of the clock, and its slack. */
		found.in_turn &= lived_ns >= due_ns && lived_ns < due_ns + 2 * HOST_S + CLOCK_SLACK_NS + CLOCK_STEP_NS;
		found.in_turn &= !found.interims++ || record->interim == found.last + 1;
		found.last = record->interim;
	}
	return found;
}

static void each_has_its_records_at_times_of_its_own(void)
{
	struct talk one, other;
	struct logged found;

	begin(INTERVAL_S);
	one = rest_talk(tuple4(40000, 80), 1, 1);
	pass(INTERVAL_S / 2 * HOST_S);
	other = rest_talk(tuple4(40001, 80), 1, 1);
	pass(INTERVAL_S / 2 * HOST_S + 2 * HOST_S);
	CHECK_EQUAL(logged(&one.key, INTERVAL_S).interims, 1);
	CHECK_EQUAL(logged(&other.key, INTERVAL_S).interims, 0);
	pass(24 * INTERVAL_S * HOST_S);
	found = logged(&one.key, INTERVAL_S);
	CHECK_EQUAL(found.interims, 25);
	CHECK_EQUAL(found.last, 25);
	CHECK(found.in_turn);
	found = logged(&other.key, INTERVAL_S);
	CHECK_EQUAL(found.last, 24);
	CHECK(found.in_turn);
	CHECK_EQUAL(counted(logged), 0);
	CHECK_EQUAL(host.lines, 0);
	flush_all();
	CHECK_EQUAL(logged(&one.key, INTERVAL_S).finals, 1);
	CHECK_EQUAL(counted(logged), 2);
	CHECK_EQUAL(host.lines, 2);
	conserved();
}

static void who_is_older_than_the_setting_waits_for_its_next_one(void)
{
	struct logged found;
	struct talk t;

	begin(0);
	t = rest_talk(tuple4(40000, 80), 1, 1);
	pass((2 * INTERVAL_S + 5) * HOST_S);
	CHECK_EQUAL(logged(&t.key, INTERVAL_S).interims, 0);
	settings()->interim = INTERVAL_S;
	pass(3 * HOST_S);
	CHECK_EQUAL(logged(&t.key, INTERVAL_S).interims, 0);
	pass(4 * HOST_S);
	found = logged(&t.key, INTERVAL_S);
	CHECK_EQUAL(found.interims, 1);
	CHECK_EQUAL(found.last, 3);
	CHECK(found.in_turn);

	/* By another interval its times are others; and a shorter one is obeyed before the longer one is over. */
	settings()->interim = INTERVAL_S * 1000;
	pass(5 * HOST_S);
	settings()->interim = 7;
	pass(7 * HOST_S);
	found = logged(&t.key, INTERVAL_S);
	CHECK_EQUAL(found.interims, 2);
	CHECK_EQUAL(found.last, 42 / 7);
	settings()->interim = 0;
	pass(99 * HOST_S);
	CHECK_EQUAL(logged(&t.key, INTERVAL_S).interims, 2);
	conserved();
}

static void while_the_log_is_off_nothing_is_written(void)
{
	struct logged found;
	struct talk t;

	begin(INTERVAL_S);
	settings()->quiet = 1;
	t = rest_talk(tuple4(40000, 80), 1, 1);
	pass((INTERVAL_S + 5) * HOST_S);
	CHECK_EQUAL(logged(&t.key, INTERVAL_S).interims, 0);
	settings()->quiet = 0;
	pass(INTERVAL_S * HOST_S);
	found = logged(&t.key, INTERVAL_S);
	CHECK_EQUAL(found.interims, 1);
	CHECK_EQUAL(found.last, 2);
}

/* From rest into a set, where it is half-closed, and back to rest with this host's socket. */
static void it_goes_on_wherever_the_connection_is(void)
{
	struct logged found;
	struct talk t;
	int i;

	begin(INTERVAL_S);
	settings()->close_timeout = 1000;
	t = rest_talk(tuple4(40000, 80), 1, 1);
	pass((INTERVAL_S - 1) * HOST_S);
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(all_moving(true), 1);
	pass(3 * HOST_S);
	CHECK_EQUAL(logged(&t.key, INTERVAL_S).interims, 1);
	for (i = 0; i < 40; i++) {
		pass(INTERVAL_S * HOST_S);
		send_at(&t, RESP, TCP_ACK, 0, 0, 0);
	}
	found = logged(&t.key, INTERVAL_S);
	CHECK_EQUAL(found.interims, 41);
	CHECK(found.in_turn);
	CHECK_EQUAL(all_moving(true), 1);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	pass(INTERVAL_S * HOST_S);
	found = logged(&t.key, INTERVAL_S);
	CHECK_EQUAL(found.interims, 41);
	CHECK_EQUAL(found.finals, 1);
	conserved();
}

static struct talk closing;

static void closes(void)
{
	send_next(&closing, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&closing, RESP, TCP_ACK | TCP_FIN, 0);
}

static void half_closes(void)
{
	send_next(&closing, ORIG, TCP_ACK | TCP_FIN, 0);
}

/*
 * Another CPU does this at each step of the clock's that has to do with a connection whose time has come, one after the other;
 * then comes the look at what the log has of it. Returns how many steps there were.
 */
static int at_each_step(void (*act)(void), void (*look)(struct logged found))
{
	const struct {
		const char *what;
		const void *map;
	} steps[] = {
		{ "bpf_map_lookup_elem", &conn_map },    { "found", &conn_map },
		{ "__sync_val_compare_and_swap", NULL }, { "__sync_fetch_and_add", NULL },
		{ "bpf_map_lookup_elem", &nt_log_head }, { "bpf_map_lookup_elem", &nt_log },
		{ "__sync_lock_test_and_set", NULL },
	};
	size_t i;
	int n, done = 0;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		for (n = 1; n <= 4; n++) {
			begin(INTERVAL_S);
			closing = rest_talk(tuple4(40000, 80), 1, 1);
			pass(2 * HOST_S);
			host.now += (INTERVAL_S - 4) * HOST_S;
			interrupt_at(steps[i].what, steps[i].map, n, act);
			pass(3 * HOST_S);
			if (!interrupted())
				break;
			done++;
			look(logged(&closing.key, INTERVAL_S));
			conserved();
		}
	return done;
}

static void has_ended(struct logged found)
{
	CHECK_EQUAL(found.finals, 1);
	CHECK(found.interims <= 1);
	CHECK_EQUAL(live_connections(), 0);
}

static void goes_on(struct logged found)
{
	CHECK_EQUAL(found.finals, 0);
	CHECK(found.interims <= 1);
	CHECK_EQUAL(live_connections(), 1);
	pass(2 * INTERVAL_S * HOST_S);
	found = logged(&closing.key, INTERVAL_S);
	CHECK_EQUAL(found.interims, 3);
	CHECK(found.in_turn);
}

static void who_ends_meanwhile_has_one_final_record(void)
{
	CHECK(at_each_step(closes, has_ended) >= 7);
}

static void who_moves_meanwhile_has_each_record_once(void)
{
	CHECK(at_each_step(half_closes, goes_on) >= 7);
}

#define WRITE_NS 1000

static void a_record_takes_its_time(const char *what, const void *map)
{
	(void)what;
	if (map == &nt_log_head)
		host.now += WRITE_NS;
}

static void thousands_that_are_due_at_once_have_theirs_bit_by_bit(void)
{
	const __u32 n = 3000;
	struct log_head *head;
	__u32 i;

	begin(INTERVAL_S);
	for (i = 0; i < n; i++) {
		struct talk t = { .key = tuple4(1024 + i, 80), .orig = 1, .resp = 1 };

		send_next(&t, ORIG, TCP_SYN, 0);
		send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
		send_next(&t, ORIG, TCP_ACK, 0);
	}
	pass(HOST_S);
	CHECK_EQUAL(resting_connections(), n);
	head = host_only(struct log_head, nt_log_head);
	pass((INTERVAL_S - 2) * HOST_S);
	CHECK_EQUAL(head->written, 0);
	host.now += 3 * HOST_S;
	host.timer_due = host.now;
	host.step = a_record_takes_its_time;
	for (i = 0; i < n && head->written < n; i++) {
		__u64 before = head->written;

		run_clock();
		CHECK(head->written - before <= INTERIM_NS / WRITE_NS + 1);
		CHECK(host.timer_due <= host.now + LISTEN_STEP_NS);
		host.now = host.timer_due;
	}
	CHECK(i > n / (INTERIM_NS / WRITE_NS + 1));
	host.step = NULL;
	CHECK_EQUAL(head->written, n);
	CHECK_EQUAL(counted(logged), 0);
	conserved();
}

int main(void)
{
	RUN(each_has_its_records_at_times_of_its_own);
	RUN(who_is_older_than_the_setting_waits_for_its_next_one);
	RUN(while_the_log_is_off_nothing_is_written);
	RUN(it_goes_on_wherever_the_connection_is);
	RUN(who_ends_meanwhile_has_one_final_record);
	RUN(who_moves_meanwhile_has_each_record_once);
	RUN(thousands_that_are_due_at_once_have_theirs_bit_by_bit);
	return unit_end();
}
