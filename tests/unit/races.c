// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What one CPU does while another is in the middle of something: orders of events that no wire test can choose. interrupt_at() says
 * where the other CPU comes in.
 */
#include "host/host.h"

/* Short, as every second the clock goes through all that there is. */
#define CLOSE_S 4

static struct talk t;

static void begin(void)
{
	host_reset();
	settings()->close_timeout = CLOSE_S;
	memset(&t, 0, sizeof(t));
	t.key = tuple4(40000, 80);
	t.orig = 1000;
	t.resp = 2000;
	send_next(&t, ORIG, TCP_SYN, 0);
	pass(HOST_MS);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	pass(HOST_MS);
}

static void begin_established(void)
{
	begin();
	send_next(&t, ORIG, TCP_ACK, 0);
	pass(HOST_MS);
}

static void orig_rst(void)
{
	send_at(&t, ORIG, TCP_RST, 0, 0, 0);
}

static void resp_rst(void)
{
	send_at(&t, RESP, TCP_RST | TCP_ACK, 0, 0, 0);
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
	struct talk other = { .key = t.key, .orig = 0x40000000 };

	send_next(&other, ORIG, TCP_SYN, 0);
}

static void clock_goes_off(void)
{
	host.now = host.timer_due;
	run_clock();
}

/* Another SYN, a second ACK and the clock leave alone what is just moving to conn_map. */
static void what_is_promoting_is_promoted_once_whatever_comes(void)
{
	void (*const acts[])(void) = { another_syn, orig_ack, clock_goes_off };
	size_t i;

	for (i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		begin();
		settings()->handshake_timeout = 1;
		interrupt_at("bpf_map_update_elem", &conn_map, 1, acts[i]);
		orig_ack();
		CHECK(interrupted());
		CHECK_EQUAL(live_connections(), 1);
		CHECK_EQUAL(live_handshakes(), 0);
		CHECK_EQUAL(counted(established), 1);
		CHECK_EQUAL(counted_ends(), 0);
		CHECK_EQUAL(counted(attempts), 1);
		conserved();
	}
}

/* It is believed after a second of silence, with its own time. */
static void a_rst_that_arrives_during_the_promotion_is_not_lost(void)
{
	void (*const acts[])(void) = { orig_rst, resp_rst };
	size_t i;

	for (i = 0; i < 2; i++) {
		begin();
		interrupt_at("bpf_map_update_elem", &conn_map, 1, acts[i]);
		orig_ack();
		CHECK(interrupted());
		CHECK_EQUAL(live_connections(), 1);
		CHECK_EQUAL(counted(no_record_rst) + counted(rst_disbelieved), 0);
		conserved();
		pass(2 * HOST_S);
		CHECK_EQUAL(live_connections(), 0);
		CHECK_EQUAL(counted(ended[i ? RSTR : RSTO]), 1);
		CHECK(strstr(host.line, " dur_ns=2000000 "));
		conserved();
	}
}

static void fins_that_arrive_during_the_promotion_are_not_lost(void)
{
	static const struct {
		const char *step;
		const void *map;
	} places[] = { { "bpf_map_update_elem", &conn_map }, { "bpf_spin_lock", NULL } };
	size_t i;

	for (i = 0; i < 2; i++) {
		/* The second lock that the ACK takes is that of leave_slot(). */
		begin();
		interrupt_at(places[i].step, places[i].map, i + 1, orig_fin);
		orig_ack();
		CHECK(interrupted());
		CHECK_EQUAL(connection_of(&t.key)->flow.flags & (ORIG_FIN | RESP_FIN | WATCHED), ORIG_FIN | WATCHED);
		CHECK_EQUAL(connection_of(&t.key)->flow.orig_end, t.orig - 1);
		CHECK(watch_of(&t.key));
		resp_fin();
		CHECK_EQUAL(counted(ended[SF]), 1);
		CHECK(strstr(host.line, " orig_bytes=3 resp_bytes=4 "));
		conserved();

		begin();
		interrupt_at(places[i].step, places[i].map, i + 1, both_fins);
		orig_ack();
		CHECK(interrupted());
		CHECK_EQUAL(counted(ended[SF]), 1);
		CHECK_EQUAL(live_connections(), 0);
		CHECK(strstr(host.line, " orig_bytes=3 resp_bytes=4 "));
		CHECK(!watch_of(&t.key));
		conserved();
	}
}

/* conn_map is full, and the handshake has both FINs already: it is counted once, as what it is. */
static void a_full_conn_map_takes_the_late_fins_with_it(void)
{
	begin();
	host_map_of(&conn_map)->max_entries = 0;
	interrupt_at("bpf_map_update_elem", &conn_map, 1, both_fins);
	orig_ack();
	CHECK(interrupted());
	CHECK_EQUAL(counted(conn_full), 1);
	CHECK_EQUAL(counted_ends(), 0);
	conserved();
}

/* Of two that want to end a connection one does, at every place where the other may come in between. */
static void check_one_end(void (*first)(void), void (*second)(void), const char *step)
{
	int nth;

	for (nth = 1; nth < 40; nth++) {
		begin_established();
		if (first == resp_fin || first == clock_goes_off)
			send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
		if (first == clock_goes_off)
			host.now = connection_of(&t.key)->flow.last_ns + CLOSE_S * HOST_S;
		if (host.timer_due < host.now)
			host.timer_due = host.now;
		interrupt_at(step, NULL, nth, second);
		first();
		if (!interrupted())
			break;
		pass((CLOSE_S + 2) * HOST_S);
		unit_check(counted_ends() == 1, "at %s %d: ended %llu times", step, nth, (unsigned long long)counted_ends());
		unit_check(!live_connections(), "at %s %d: it is still there", step, nth);
		CHECK(!watch_of(&t.key));
		CHECK_EQUAL(set_for(&t.key)->watched, 0);
		CHECK_EQUAL(counted(logged), 1);
		conserved();
	}
	CHECK(nth > 1);
}

static void of_two_that_end_a_connection_one_does(void)
{
	static const char *const steps[] = { "bpf_map_lookup_elem", "__sync_fetch_and_or", "bpf_spin_lock", "bpf_map_delete_elem" };
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		check_one_end(resp_fin, orig_rst, steps[i]);
		check_one_end(resp_fin, resp_rst, steps[i]);
		if (i != 3) /* a RST alone deletes nothing: it waits */
			check_one_end(orig_rst, both_fins, steps[i]);
		check_one_end(clock_goes_off, resp_fin, steps[i]);
		check_one_end(clock_goes_off, orig_rst, steps[i]);
	}
}

/* Both FINs at once, on two CPUs: each writes its own end before its bit. */
static void two_fins_on_two_cpus_end_it_with_both_sizes(void)
{
	int nth;

	for (nth = 1; nth < 20; nth++) {
		begin_established();
		interrupt_at("__sync_fetch_and_or", NULL, nth, resp_fin);
		orig_fin();
		if (!interrupted())
			break;
		CHECK_EQUAL(counted(ended[SF]), 1);
		if (!CHECK(strstr(host.line, " orig_bytes=3 resp_bytes=4 ")))
			fprintf(stderr, "at %d: %s\n", nth, host.line);
		pass((CLOSE_S + 2) * HOST_S);
		CHECK_EQUAL(counted_ends(), 1);
		CHECK_EQUAL(live_connections(), 0);
		conserved();
	}
	CHECK(nth > 1);
}

/* The connection ends between its FIN and the watch made for it: the clock finds a watch without a connection, and drops it. */
static void a_watch_without_a_connection_is_forgotten(void)
{
	int nth, left_behind = 0;

	for (nth = 1; nth < 10; nth++) {
		begin_established();
		interrupt_at("bpf_spin_lock", NULL, nth, resp_fin);
		orig_fin();
		if (!interrupted())
			break;
		if (!live_connections() && watch_of(&t.key))
			left_behind++;
		pass((CLOSE_S + 2) * HOST_S);
		CHECK(!watch_of(&t.key));
		CHECK_EQUAL(set_for(&t.key)->watched, 0);
		CHECK_EQUAL(counted_ends(), 1);
		CHECK_EQUAL(counted(expired), 0);
		conserved();
	}
	CHECK(left_behind);
}

static void a_packet(void)
{
	send_at(&t, RESP, TCP_ACK, 0, 0, 100);
}

/* The clock is on its way to the set when a packet moves the connection's time: it finds the watch due, and makes another. */
static void a_packet_just_before_the_clock_gives_the_connection_more_time(void)
{
	begin_established();
	orig_fin();
	host.now = watch_of(&t.key)->due_ns;
	host.timer_due = host.now;
	interrupt_at("bpf_spin_lock", NULL, 1, a_packet);
	run_clock();
	CHECK(interrupted());
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(watch_of(&t.key)->due_ns, host.now + CLOSE_S * HOST_S);
	CHECK(!goes_by(hash_key(&t.key)));
	conserved();
	pass((CLOSE_S + 2) * HOST_S);
	CHECK_EQUAL(counted_ends(), 1);
	CHECK(!watch_of(&t.key));
}

static struct talk talks[SYN_WAYS + 1];

static void first_ends(void)
{
	send_next(&talks[0], RESP, TCP_ACK | TCP_FIN, 0);
}

/* Who has to give up its watch has just been ended by its own FIN: neither is lost, none ends twice. */
static void the_one_that_gives_up_its_watch_may_have_ended_meanwhile(void)
{
	static struct flow_key keys[SYN_WAYS + 1];
	int i, nth;

	tuples_of_set(4321, keys, SYN_WAYS + 1);
	for (nth = 1; nth < 60; nth++) {
		host_reset();
		settings()->close_timeout = CLOSE_S;
		for (i = 0; i <= SYN_WAYS; i++) {
			talks[i] = open_talk(keys[i], 1, 1);
			if (i < SYN_WAYS)
				send_next(&talks[i], ORIG, TCP_ACK | TCP_FIN, 0);
		}
		interrupt_at("bpf_map_lookup_elem", NULL, nth, first_ends);
		send_next(&talks[SYN_WAYS], ORIG, TCP_ACK | TCP_FIN, 0);
		if (!interrupted())
			break;
		CHECK_EQUAL(live_connections(), SYN_WAYS);
		CHECK_EQUAL(counted_ends(), 1);
		CHECK_EQUAL(counted(ended[SF]) + counted(close_evicted), 1);
		conserved();
		pass((CLOSE_S + 2) * HOST_S);
		CHECK_EQUAL(live_connections(), 0);
		CHECK_EQUAL(counted_ends(), SYN_WAYS + 1);
		CHECK_EQUAL(set_at(4321)->watched, 0);
	}
	CHECK(nth > 1);
}

static void newcomer_closes(void)
{
	send_next(&talks[SYN_WAYS], ORIG, TCP_ACK | TCP_FIN, 0);
}

/* The clock puts a connection back whose place another one has taken meanwhile: who gives way then is ended, not forgotten. */
static void whom_the_clock_pushes_out_is_ended_not_forgotten(void)
{
	static struct flow_key keys[SYN_WAYS + 1];
	int i;

	tuples_of_set(4321, keys, SYN_WAYS + 1);
	host_reset();
	settings()->close_timeout = CLOSE_S;
	for (i = 0; i <= SYN_WAYS; i++) {
		talks[i] = open_talk(keys[i], 1, 1);
		if (i < SYN_WAYS)
			send_next(&talks[i], ORIG, TCP_ACK | TCP_FIN, 0);
	}
	pass(HOST_S);
	/* The first one's time has moved on; when its watch is due, the clock takes that out to make it anew. */
	send_next(&talks[0], RESP, TCP_ACK, 10);
	host.now = watch_of(&keys[0])->due_ns;
	host.timer_due = host.now;
	interrupt_at("bpf_map_lookup_elem", &conn_map, 1, newcomer_closes);
	run_clock();
	CHECK(interrupted());
	CHECK_EQUAL(counted(close_evicted), 1);
	CHECK_EQUAL(live_connections(), SYN_WAYS);
	CHECK(watch_of(&keys[0]));
	CHECK(watch_of(&keys[SYN_WAYS]));
	CHECK(!connection_of(&keys[1]));
	conserved();
	pass((CLOSE_S + 5) * HOST_S);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted_ends(), SYN_WAYS + 1);
}

/*
 * The memory of an element is another one's, or a step is done for what another CPU has ended or changed meanwhile.
 */
static struct talk other;
static struct host_socket own;

static void begin_closable(void)
{
	host_reset();
	memset(&own, 0, sizeof(own));
	settings()->close_timeout = CLOSE_S;
	t = open_talk(tuple4(40000, 80), 1000, 2000);
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

static void orig_bare_fin(void)
{
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
}

static void resp_bare_fin(void)
{
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
}

/* The memory of a connection that ended is another one's when its RST is carried out: that one stays in conn_map for ever. */
static void it_ends_and_another_one_gets_its_memory(void)
{
	host.sender = host.receiver = NULL;
	orig_bare_fin();
	resp_bare_fin();
	other = open_talk(tuple4(50000, 443), 1, 1);
}

static void a_reused_element_is_not_claimed_for_the_one_before(void)
{
	begin_closable();
	host.reuse = true;
	give_socket(BPF_TCP_ESTABLISHED);
	interrupt_at("bpf_sk_release", NULL, 1, it_ends_and_another_one_gets_its_memory);
	send_at(&t, ORIG, TCP_RST, 0, 0, 0);
	CHECK(interrupted());
	conserved();
	CHECK(!(connection_of(&other.key)->flow.flags & ENDED));
	flush_all();
	CHECK_EQUAL(live_connections(), 0);
	conserved();
}

/* The other side's FIN ends it before the facts of the first FIN are kept: the next connection on the tuple does not get them. */
static void facts_of_what_has_ended_are_not_the_next_ones(void)
{
	begin_closable();
	give_socket(BPF_TCP_FIN_WAIT1);
	own.tcp.total_retrans = 42;
	interrupt_at("__sync_fetch_and_or", NULL, 3, orig_bare_fin);
	resp_bare_fin();
	CHECK(interrupted());
	CHECK_EQUAL(live_connections(), 0);
	CHECK(watch_of(&t.key)); /* of nobody, until the clock comes to it */
	host.sender = host.receiver = NULL;
	t = open_talk(t.key, 5000, 6000);
	orig_bare_fin();
	CHECK(!watch_of(&t.key)->facts.known);
	resp_bare_fin();
	CHECK_EQUAL(counted(ended[SF]), 2);
	CHECK(!strstr(host.line, " retrans="));
	CHECK(!watch_of(&t.key));
}

/* As if that CPU had set its bit, and not come any further. */
static void resp_fin_that_keeps_nothing(void)
{
	struct facts facts;

	resp_bare_fin();
	unwatch(&t.key, connection_of(&t.key)->flow.start_ns, &facts);
}

/* Both FINs at once: the one that ends it looked like the first, so nobody had asked the socket. It is asked then. */
static void the_second_of_two_fins_at_once_asks_the_socket(void)
{
	begin_closable();
	give_socket(BPF_TCP_FIN_WAIT1);
	own.tcp.total_retrans = 43;
	interrupt_at("__sync_val_compare_and_swap", NULL, 1, resp_fin_that_keeps_nothing);
	orig_bare_fin();
	CHECK(interrupted());
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " retrans=43 "));
}

/* A packet stamped a moment before a RST, and looked at a moment after, refutes it: its time minus the RST's is huge. */
static void rst_a_moment_later(void)
{
	host.now++;
	send_at(&t, ORIG, TCP_RST, 5, 0, 0);
}

static void a_packet_from_before_a_rst_does_not_refute_it(void)
{
	begin_closable();
	orig_bare_fin();
	interrupt_at("bpf_map_lookup_elem", &conn_map, 1, rst_a_moment_later);
	send_at(&t, RESP, TCP_ACK, 0, 0, 0);
	CHECK(interrupted());
	CHECK_EQUAL(counted(rst_disbelieved), 0);
	pass(2 * HOST_S);
	CHECK_EQUAL(counted(ended[RSTO]), 1);
}

/* A FIN comes between the two steps that forget a refuted RST: the half-closed connection has no watch, so no time-out. */
static void a_fin_while_a_rst_is_refuted_is_watched(void)
{
	begin_closable();
	send_at(&t, ORIG, TCP_RST, 0, 0, 0);
	pass(100 * HOST_MS);
	interrupt_at("__sync_fetch_and_and", NULL, 2, resp_bare_fin);
	send_at(&t, ORIG, TCP_ACK, 0, 0, 1);
	CHECK(interrupted());
	CHECK(watch_of(&t.key));
	pass(3600 * HOST_S);
	CHECK_EQUAL(live_connections(), 0);
}

int main(void)
{
	RUN(what_is_promoting_is_promoted_once_whatever_comes);
	RUN(a_rst_that_arrives_during_the_promotion_is_not_lost);
	RUN(fins_that_arrive_during_the_promotion_are_not_lost);
	RUN(a_full_conn_map_takes_the_late_fins_with_it);
	RUN(of_two_that_end_a_connection_one_does);
	RUN(two_fins_on_two_cpus_end_it_with_both_sizes);
	RUN(a_watch_without_a_connection_is_forgotten);
	RUN(a_packet_just_before_the_clock_gives_the_connection_more_time);
	RUN(the_one_that_gives_up_its_watch_may_have_ended_meanwhile);
	RUN(whom_the_clock_pushes_out_is_ended_not_forgotten);
	RUN(a_reused_element_is_not_claimed_for_the_one_before);
	RUN(facts_of_what_has_ended_are_not_the_next_ones);
	RUN(the_second_of_two_fins_at_once_asks_the_socket);
	RUN(a_packet_from_before_a_rst_does_not_refute_it);
	RUN(a_fin_while_a_rst_is_refuted_is_watched);
	return unit_end();
}
