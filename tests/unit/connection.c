// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/closing.h, rest.h and socket.h: FIN and RST of an established connection, young or at rest, and which RST is believed.
 */
#include "host/host.h"

static const __u32 isns[] = { 0, 0x7ffffff0, 0x80000000, 0xfff00000, 0xfffffff0, 0xffffffff };

#define N_ISNS (sizeof(isns) / sizeof(isns[0]))

static struct host_socket own;

/* Connections go to rest before anything else happens to them. Tests are run with both. */
static bool rested;

/* A connection in a new world; both sides have sent something. */
static struct talk fresh_talk(__u32 orig_isn, __u32 resp_isn)
{
	struct talk t;

	host_reset();
	memset(&own, 0, sizeof(own));
	t = (rested ? rest_talk : open_talk)(tuple4(40000, 80), orig_isn, resp_isn);
	send_next(&t, ORIG, TCP_ACK, 100);
	send_next(&t, RESP, TCP_ACK, 200);
	return t;
}

/* This host has a socket of the connection; the responder's, which all segments of the originator arrive at. */
static void give_socket(const struct talk *t, __u32 state)
{
	host_responder(&own, t, state);
	own.tcp.bytes_acked = 200;
	own.tcp.bytes_received = 100;
	own.cgroup = 77;
	own.uid = 1000;
	host.sender = &own;
}

static void two_fins_in_either_order_end_it(void)
{
	struct talk t;
	size_t i;

	for (i = 0; i < N_ISNS; i++) {
		t = fresh_talk(isns[i], isns[N_ISNS - 1 - i]);
		send_next(&t, i & 1 ? ORIG : RESP, TCP_ACK | TCP_FIN, 1);
		CHECK_EQUAL(connection_of(&t.key)->flags & (ORIG_FIN | RESP_FIN), i & 1 ? ORIG_FIN : RESP_FIN);
		CHECK(moving_of(&t.key, true) && !resting_of(&t.key));
		CHECK(!goes_by(hash_key(&t.key)));
		pass(HOST_S);
		send_next(&t, i & 1 ? RESP : ORIG, TCP_ACK | TCP_FIN, 2);
		CHECK_EQUAL(counted(ended[SF]), 1);
		CHECK_EQUAL(live_connections(), 0);
		CHECK(goes_by(hash_key(&t.key)));
		CHECK(strstr(host.line, i & 1 ? " orig_bytes=101 resp_bytes=202 " : " orig_bytes=102 resp_bytes=201 "));
		send_at(&t, ORIG, TCP_ACK | TCP_FIN, -1, 0, 0);
		CHECK_EQUAL(counted(no_record_fin), 1);
		conserved();
	}
}

static void a_fin_sent_again_is_one(void)
{
	struct talk t = fresh_talk(1, 1);

	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	pass(100 * HOST_S);
	send_at(&t, ORIG, TCP_ACK | TCP_FIN, -1, 0, 0);
	CHECK_EQUAL(connection_of(&t.key)->last_ns, host.now);
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(counted(no_record_fin), 0);
	pass(100 * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	pass(30 * HOST_S);
	CHECK_EQUAL(counted(ended[S2]), 1);
}

/* Sent by somebody who does not know the numbers. No socket is here to ask: what its sender sends later says that it is none. */
static void a_forged_fin_is_refuted_by_its_senders_later_data(void)
{
	static const __u32 offs[] = { -1000U, -1U << 30, 0x80000000, 0x50000000 };
	struct talk t;
	size_t i, j;

	for (i = 0; i < N_ISNS; i++)
		for (j = 0; j < sizeof(offs) / sizeof(offs[0]); j++) {
			t = fresh_talk(isns[i], isns[N_ISNS - 1 - i]);
			send_at(&t, ORIG, TCP_ACK | TCP_FIN, offs[j], 0, 0);
			CHECK_EQUAL(connection_of(&t.key)->flags & (BOTH_KNOWN), ORIG_FIN);
			send_next(&t, ORIG, TCP_ACK, 10);
			CHECK_EQUAL(connection_of(&t.key)->flags & BOTH_FINS, 0);
			CHECK_EQUAL(connection_of(&t.key)->first_fin_ns, 0);
			CHECK_EQUAL(counted(fin_disbelieved), 1);
			pass(HOST_S);
			CHECK_EQUAL(resting_connections(), 1);
			send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
			send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
			CHECK_EQUAL(counted(ended[SF]), 1);
			CHECK(strstr(host.line, " orig_bytes=110 resp_bytes=200 "));
			conserved();
		}
}

static void two_forged_fins_end_nothing_while_it_goes_on(void)
{
	struct talk t = fresh_talk(1, 1);

	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 1000000, 77, 0);
	send_at(&t, RESP, TCP_ACK | TCP_FIN, -7000, 0, 0);
	CHECK_EQUAL(counted_ends(), 0);
	send_next(&t, RESP, TCP_ACK, 10);
	CHECK_EQUAL(counted(fin_disbelieved), 1);
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0); /* there are not two places for a FIN */
	CHECK_EQUAL(counted(fin_disbelieved), 2);
	CHECK_EQUAL(counted_ends(), 0);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " orig_bytes=100 resp_bytes=210 "));
	conserved();
}

static void a_fin_that_is_acknowledged_is_not_refuted(void)
{
	struct talk t = fresh_talk(1, 1);

	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&t, RESP, TCP_ACK, 0);
	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 5000, 0, 0);
	send_at(&t, ORIG, TCP_ACK, 7000, 0, 100);
	CHECK_EQUAL(counted(fin_disbelieved), 0);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " orig_bytes=100 resp_bytes=200 "));
}

/* Both close at once, and nobody acknowledges it here. */
static void fins_that_nobody_acknowledges_are_believed_after_silence_and_their_places_are_not(void)
{
	struct talk t = fresh_talk(1, 1);
	__u64 at;

	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 0, 0, 0);
	send_at(&t, RESP, TCP_ACK | TCP_FIN, 0, 0, 0);
	at = host.now;
	CHECK_EQUAL(counted_ends(), 0);
	pass(RST_SILENCE_NS + CLOCK_SLACK_NS);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK_EQUAL(counted(expired), 0);
	CHECK(strstr(host.line, " orig_bytes=-1 resp_bytes=-1 "));
	CHECK_EQUAL(strtoull(strstr(host.line, "dur_ns=") + 7, NULL, 10), at - 3600 * HOST_S);
	conserved();
}

/* As behind the end, which has come if nobody refutes them: the copy of one that has refused a successor, say. */
static void a_rst_behind_fins_that_nobody_acknowledges_tells_nothing(void)
{
	int side;

	for (side = ORIG; side <= RESP; side++) {
		struct talk t = fresh_talk(1, 1);

		send_at(&t, ORIG, TCP_ACK | TCP_FIN, 0, 0, 0);
		send_at(&t, RESP, TCP_ACK | TCP_FIN, 0, 0, 0);
		send_at(&t, side, TCP_RST | TCP_ACK, 5000, 7000, 0);
		pass(RST_SILENCE_NS + CLOCK_SLACK_NS);
		CHECK_EQUAL(counted(ended[SF]), 1);
		CHECK_EQUAL(counted_ends(), 1);
		CHECK(strstr(host.line, " orig_bytes=-1 resp_bytes=-1 "));
		conserved();
	}
}

/* Its sender's RST ends what it has sent; a FIN that nobody has acknowledged may be anybody's. */
static void a_rst_ends_what_its_sender_has_sent_wherever_its_fin_seemed_to_be(void)
{
	struct talk t = fresh_talk(1, 1);

	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 1000000, 0, 0);
	send_at(&t, ORIG, TCP_RST, 0, 0, 0);
	pass(RST_SILENCE_NS + CLOCK_SLACK_NS);
	CHECK_EQUAL(counted(ended[RSTO]), 1);
	CHECK(strstr(host.line, " orig_bytes=100 resp_bytes=-1 "));
	conserved();
}

static void what_a_receiver_of_a_fin_takes_is_decided_by_its_socket(void)
{
	static const struct {
		__u32 off; /* from rcv_nxt */
		bool discarded, known;
	} fins[] = { { 0, false, true },         { -1U, false, true },           { -2U, true, false },
		     { 1000, false, false },     { FIN_SPAN - 1, false, false }, { FIN_SPAN, true, false },
		     { 0x80000000, true, false } };
	struct talk t;
	size_t i, j;

	for (i = 0; i < N_ISNS; i++)
		for (j = 0; j < sizeof(fins) / sizeof(fins[0]); j++) {
			t = fresh_talk(isns[i] - 101, 1);
			t.orig += 2 * FIRST_WINDOW;
			give_socket(&t, BPF_TCP_ESTABLISHED);
			send_at(&t, ORIG, TCP_ACK | TCP_FIN, fins[j].off, 0, 0);
			CHECK_EQUAL(counted(fin_disbelieved), fins[j].discarded);
			CHECK_EQUAL(connection_of(&t.key)->flags & BOTH_FINS, fins[j].discarded ? 0 : ORIG_FIN);
			CHECK_EQUAL(connection_of(&t.key)->flags & BOTH_KNOWN & ~BOTH_FINS, fins[j].known ? ORIG_END : 0);
			if (fins[j].discarded) /* what nobody would take wakes nobody */
				CHECK_EQUAL(resting_connections(), rested);
			conserved();
		}
}

static int look_ups;

static void count_look_ups(const char *what, const void *map)
{
	(void)map;
	look_ups += !strcmp(what, "bpf_skc_lookup_tcp");
}

/*
 * Most connections carry little: the ACK of such a one's first FIN is the socket's word. Of one that was at rest a socket is asked
 * as it is woken.
 */
static void the_first_fin_of_a_small_connection_costs_no_look_up(void)
{
	struct talk t = fresh_talk(1, 1);

	give_socket(&t, BPF_TCP_ESTABLISHED);
	look_ups = 0;
	host.step = count_look_ups;
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	host.step = NULL;
	CHECK_EQUAL(look_ups, rested);
	CHECK_EQUAL(connection_of(&t.key)->flags & BOTH_FINS, ORIG_FIN);
	send_next(&t, RESP, TCP_ACK, 0);
	CHECK(connection_of(&t.key)->flags & ORIG_END);
	conserved();
	if (rested)
		return;
	t = fresh_talk(1, 1);
	give_socket(&t, BPF_TCP_ESTABLISHED);
	look_ups = 0;
	host.step = count_look_ups;
	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 2 * FIRST_WINDOW, 0, 0);
	host.step = NULL;
	CHECK_EQUAL(look_ups, 1);
}

/* What goes the other way is not seen, nor will the ACK be. */
static void where_no_ack_will_be_seen_the_socket_is_asked_of_any_fin(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 1, .resp = 2 };

	host_reset();
	memset(&own, 0, sizeof(own));
	send_next(&t, ORIG, TCP_SYN, 0);
	give_socket(&t, BPF_TCP_ESTABLISHED);
	send_next(&t, ORIG, TCP_ACK, 0);
	CHECK(connection_of(&t.key)->flags & ESTABLISHED);
	look_ups = 0;
	host.step = count_look_ups;
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	host.step = NULL;
	CHECK_EQUAL(look_ups, 1);
	CHECK(connection_of(&t.key)->flags & ORIG_END);
	conserved();
}

/* No socket is here to ask: the RST waits for silence. */
static void a_rst_is_believed_after_silence(void)
{
	struct talk t;
	size_t i;
	__u64 at;

	for (i = 0; i < N_ISNS; i++) {
		enum side side = i & 1 ? ORIG : RESP;

		t = fresh_talk(isns[i], isns[i]);
		at = host.now;
		send_at(&t, side, TCP_RST | TCP_ACK, 0, 0, 0);
		CHECK_EQUAL(live_connections(), 1);
		pass(RST_SILENCE_NS - 1);
		CHECK_EQUAL(live_connections(), 1);
		pass(2 * CLOCK_SLACK_NS);
		CHECK_EQUAL(live_connections(), 0);
		CHECK_EQUAL(side == ORIG ? counted(ended[RSTO]) : counted(ended[RSTR]), 1);
		CHECK_EQUAL(counted(expired), 0); /* it is a RST's end, not a time-out's */
		CHECK(strstr(host.line, " orig_bytes=100 resp_bytes=200 "));
		CHECK_EQUAL(strtoull(strstr(host.line, "dur_ns=") + 7, NULL, 10), at - 3600 * HOST_S);
		conserved();
	}
}

static void a_segment_too_late_to_have_been_on_its_way_refutes_a_rst(void)
{
	struct talk t = fresh_talk(1, 1);

	send_at(&t, ORIG, TCP_RST, 0, 0, 0);
	pass(REORDER_NS + 2 * 2 * HOST_MS); /* the round trips of the handshake: 1 ms each */
	send_next(&t, RESP, TCP_ACK, 10);
	CHECK(connection_of(&t.key)->flags & RST_PENDING);
	pass(1);
	send_next(&t, RESP, TCP_ACK, 10);
	CHECK_EQUAL(connection_of(&t.key)->flags & (RST_PENDING | RST_BY_ORIG | RST_ACKED), 0);
	CHECK_EQUAL(counted(rst_disbelieved), 1);
	CHECK(goes_by(hash_key(&t.key)));
	pass(500 * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	CHECK(resting_of(&t.key));
	conserved();
}

static void the_senders_later_data_refute_its_rst_unless_they_may_have_been_overtaken(void)
{
	struct talk t;
	size_t i;

	for (i = 0; i < N_ISNS; i++) {
		t = fresh_talk(isns[i], 1);
		send_at(&t, ORIG, TCP_RST, 0, 0, 0);
		send_at(&t, ORIG, TCP_ACK, -100, 0, 100); /* ends where the RST stands */
		CHECK(connection_of(&t.key)->flags & RST_PENDING);
		send_at(&t, ORIG, TCP_ACK, -REORDER_BYTES, 0, 0);
		CHECK(connection_of(&t.key)->flags & RST_PENDING);
		send_at(&t, RESP, TCP_ACK, 0, 0, 1000); /* the other side may not have it yet */
		CHECK(connection_of(&t.key)->flags & RST_PENDING);
		send_at(&t, ORIG, TCP_ACK, 0, 0, 1);
		CHECK(!(connection_of(&t.key)->flags & RST_PENDING));
		CHECK_EQUAL(counted(rst_disbelieved), 1);

		send_at(&t, ORIG, TCP_RST, 0, 0, 0);
		send_at(&t, ORIG, TCP_ACK, -REORDER_BYTES - 1, 0, 0); /* of another stream */
		CHECK(!(connection_of(&t.key)->flags & RST_PENDING));
		send_at(&t, ORIG, TCP_RST, 0, 0, 0);
		send_at(&t, ORIG, TCP_ACK | TCP_FIN, 0, 0, 0); /* a FIN on its place is behind it */
		CHECK_EQUAL(connection_of(&t.key)->flags & (RST_PENDING | ORIG_FIN), ORIG_FIN);
	}
}

static void a_half_closed_connection_stays_in_motion_when_its_rst_is_refuted(void)
{
	struct talk t = fresh_talk(1, 1);

	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	send_at(&t, RESP, TCP_RST, 0, 0, 0);
	CHECK(connection_of(&t.key)->flags & RST_PENDING);
	pass(100 * HOST_MS);
	send_next(&t, RESP, TCP_ACK, 10);
	CHECK_EQUAL(connection_of(&t.key)->flags & (RST_PENDING | ORIG_FIN), ORIG_FIN);
	CHECK(!goes_by(hash_key(&t.key)));
	pass(121 * HOST_S);
	CHECK_EQUAL(counted(ended[S2]), 1);
	CHECK_EQUAL(live_connections(), 0);
}

static void behind_its_own_fin_a_rst_is_believed_at_once_and_elsewhere_it_waits(void)
{
	static const struct {
		__u32 off; /* from the place of the FIN */
		bool at_once;
	} rsts[] = { { 0, true }, { 1, true }, { 2, false }, { -1U, false }, { 0x80000000, false } };
	struct talk t;
	size_t i, j;

	for (i = 0; i < N_ISNS; i++)
		for (j = 0; j < sizeof(rsts) / sizeof(rsts[0]); j++) {
			t = fresh_talk(isns[i] - 101, 1); /* the FIN stands on the number itself */
			send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
			send_at(&t, ORIG, TCP_RST, rsts[j].off - 1, 0, 0);
			CHECK_EQUAL(counted(ended[RSTO]), rsts[j].at_once);
			CHECK_EQUAL(live_connections(), !rsts[j].at_once);
		}
}

static void what_a_receiver_of_a_rst_takes_is_decided_by_its_socket(void)
{
	static const struct {
		__u32 off; /* from rcv_nxt */
		__u32 state;
		bool taken;
	} rsts[] = {
		{ 0, BPF_TCP_ESTABLISHED, true },       { 1, BPF_TCP_ESTABLISHED, false }, { -1U, BPF_TCP_ESTABLISHED, false },
		{ -1U, BPF_TCP_CLOSE_WAIT, true },      { -1U, BPF_TCP_LAST_ACK, true },   { -1U, BPF_TCP_CLOSING, true },
		{ -1U, BPF_TCP_FIN_WAIT1, false },      { -2U, BPF_TCP_LAST_ACK, false },  { 0, BPF_TCP_FIN_WAIT2, true },
		{ 0x80000000, BPF_TCP_CLOSING, false },
	};
	struct talk t;
	size_t i, j;

	for (i = 0; i < N_ISNS; i++)
		for (j = 0; j < sizeof(rsts) / sizeof(rsts[0]); j++) {
			t = fresh_talk(isns[i] - 101, 1); /* rcv_nxt is the number itself */
			give_socket(&t, rsts[j].state);
			send_at(&t, ORIG, TCP_RST, rsts[j].off, 0, 0);
			CHECK_EQUAL(counted(ended[RSTO]), rsts[j].taken);
			CHECK_EQUAL(counted(rst_disbelieved), !rsts[j].taken);
			CHECK_EQUAL(live_connections(), !rsts[j].taken);
			if (!rsts[j].taken) /* what nobody would take wakes nobody */
				CHECK_EQUAL(resting_connections(), rested);
		}
}

static void a_rst_that_this_hosts_socket_sends_is_meant(void)
{
	struct talk t = fresh_talk(1, 1);

	give_socket(&t, BPF_TCP_CLOSE);
	own.sk.src_port = 0; /* given back before the RST goes out */
	send_at(&t, RESP, TCP_RST, 12345, 0, 0);
	CHECK_EQUAL(counted(ended[RSTR]), 1);
	CHECK(strstr(host.line, " uid=1000 cgroup=77 "));

	/* Another one's socket on its way through does not vouch for it. */
	t = fresh_talk(1, 1);
	give_socket(&t, BPF_TCP_ESTABLISHED);
	own.sk.src_port++;
	own.sk.dst_port++;
	send_at(&t, RESP, TCP_RST, 12345, 0, 0);
	CHECK_EQUAL(live_connections(), 1);
	CHECK(connection_of(&t.key)->flags & RST_PENDING);

	/* NAT lets one of both ends be another one on the wire. */
	t = fresh_talk(1, 1);
	give_socket(&t, BPF_TCP_ESTABLISHED);
	own.sk.src_ip4++;
	own.sk.src_port++;
	send_at(&t, RESP, TCP_RST, 12345, 0, 0);
	CHECK_EQUAL(live_connections(), 0);
	t = fresh_talk(1, 1);
	give_socket(&t, BPF_TCP_ESTABLISHED);
	own.sk.dst_ip4++;
	own.sk.dst_port++;
	send_at(&t, RESP, TCP_RST, 12345, 0, 0);
	CHECK_EQUAL(live_connections(), 0);
}

/* This host accepted the connection: of its own FIN, the first, its socket is asked; by the end it may be gone. */
static void what_the_socket_said_at_the_first_fin_is_kept_for_the_end(void)
{
	struct talk t = fresh_talk(1, 1);

	give_socket(&t, BPF_TCP_FIN_WAIT1);
	own.tcp.total_retrans = 42;
	own.tcp.bytes_acked = (5ULL << 32) + 200;
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK(moving_of(&t.key, true)->facts.known);
	host.receiver = NULL;
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " orig_bytes=100 resp_bytes=21474836680 "));
	CHECK(strstr(host.line, " retrans=42 "));
}

/* On lo both ends' sockets are there; the record of an inbound connection is about the responder's. */
static void the_other_ends_socket_says_nothing_of_this_one(void)
{
	struct talk t = fresh_talk(1, 1);

	give_socket(&t, BPF_TCP_ESTABLISHED);
	own.sk.state = BPF_TCP_FIN_WAIT1;
	connection_of(&t.key)->flags |= IS_OUTBOUND; /* now it is the originator's that counts */
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK(!moving_of(&t.key, true)->facts.known);
	CHECK_EQUAL(connection_of(&t.key)->flags & HAS_OWNER, 0);
}

static void a_connection_is_found_whichever_side_has_the_smaller_port(void)
{
	struct segment s = {};
	int i;

	for (i = 0; i < 2; i++) {
		struct talk t;

		host_reset();
		t = rest_talk(i ? tuple4(80, 40000) : tuple4(40000, 80), 1, 1);
		s.key = t.key;
		CHECK_EQUAL(find_resting(&s, 0, 0), RESTS);
		CHECK(same_key(tuple_of(&scratch_here()->fresh_key), &t.key));
		put_key(&s.key, &t.key, true);
		CHECK_EQUAL(find_resting(&s, 0, 0), RESTS | RESTS_REVERSED);
		s.key.sport++;
		CHECK_EQUAL(find_resting(&s, 0, 0), 0);
	}
}

/* All that is known of a connection comes back out of conn_map with it, wherever it was kept. */
static void what_wakes_is_as_it_was_laid_to_rest(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 5, .resp = 6 };
	struct flow before;

	host_reset();
	give_socket(&t, BPF_TCP_ESTABLISHED);
	send_next(&t, ORIG, TCP_SYN, 0);
	pass(HOST_S);
	send_at(&t, ORIG, TCP_SYN, -1, 0, 0);
	pass(HOST_MS);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	pass(2 * HOST_MS);
	send_next(&t, ORIG, TCP_ACK, 0);
	before = *connection_of(&t.key);
	CHECK_EQUAL(before.syn_rtt_ns, HOST_S + HOST_MS);
	CHECK_EQUAL(before.ack_rtt_ns, 2 * HOST_MS);
	CHECK_EQUAL(before.syn_retrans, 1);
	pass(HOST_S);
	CHECK(resting_of(&t.key) && !memcmp(&resting_of(&t.key)->flow, &before, sizeof(before)));
	host.receiver = NULL;
	send_at(&t, ORIG, TCP_RST, 0, 0, 0);
	CHECK(!resting_of(&t.key));
	before.flags |= RST_PENDING | RST_BY_ORIG;
	before.rst_seq = t.orig;
	before.last_ns = host.now;
	CHECK(!memcmp(connection_of(&t.key), &before, sizeof(before)));
	conserved();
}

static void run_all(void)
{
	RUN(two_fins_in_either_order_end_it);
	RUN(a_fin_sent_again_is_one);
	RUN(a_forged_fin_is_refuted_by_its_senders_later_data);
	RUN(two_forged_fins_end_nothing_while_it_goes_on);
	RUN(a_fin_that_is_acknowledged_is_not_refuted);
	RUN(fins_that_nobody_acknowledges_are_believed_after_silence_and_their_places_are_not);
	RUN(a_rst_behind_fins_that_nobody_acknowledges_tells_nothing);
	RUN(a_rst_ends_what_its_sender_has_sent_wherever_its_fin_seemed_to_be);
	RUN(what_a_receiver_of_a_fin_takes_is_decided_by_its_socket);
	RUN(the_first_fin_of_a_small_connection_costs_no_look_up);
	RUN(where_no_ack_will_be_seen_the_socket_is_asked_of_any_fin);
	RUN(a_rst_is_believed_after_silence);
	RUN(a_segment_too_late_to_have_been_on_its_way_refutes_a_rst);
	RUN(the_senders_later_data_refute_its_rst_unless_they_may_have_been_overtaken);
	RUN(a_half_closed_connection_stays_in_motion_when_its_rst_is_refuted);
	RUN(behind_its_own_fin_a_rst_is_believed_at_once_and_elsewhere_it_waits);
	RUN(what_a_receiver_of_a_rst_takes_is_decided_by_its_socket);
	RUN(a_rst_that_this_hosts_socket_sends_is_meant);
	RUN(what_the_socket_said_at_the_first_fin_is_kept_for_the_end);
	RUN(the_other_ends_socket_says_nothing_of_this_one);
}

int main(void)
{
	run_all();
	rested = true;
	run_all();
	RUN(a_connection_is_found_whichever_side_has_the_smaller_port);
	RUN(what_wakes_is_as_it_was_laid_to_rest);
	return unit_end();
}
