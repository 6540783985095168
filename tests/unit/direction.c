// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/attempt.h and motion.h: a connection of which only the originator's segments pass here, the responder's another way. What
 * the originator acknowledges says that it was answered; so does a socket of this host.
 */
#include "host/host.h"

static const __u32 isns[] = { 0, 0x7ffffff0, 0x80000000, 0xfffffff0, 0xffffffff };

#define N_ISNS (sizeof(isns) / sizeof(isns[0]))

/* The SYN has been seen, its answer has not, and the originator acknowledges that. */
static struct talk half_talk(__u32 orig_isn, __u32 resp_isn)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = orig_isn, .resp = resp_isn };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	t.resp++;
	pass(HOST_MS);
	send_next(&t, ORIG, TCP_ACK, 0);
	return t;
}

static void ended_as(enum conn_state state, const char *bytes)
{
	CHECK_EQUAL(counted(ended[state]), 1);
	CHECK_EQUAL(counted_ends(), 1);
	if (!CHECK(strstr(host.line, bytes)))
		fprintf(stderr, "%s\n", host.line);
	CHECK_EQUAL(live_attempts() + live_connections(), 0);
	conserved();
}

static void an_originator_that_acknowledges_was_answered(void)
{
	size_t i;

	for (i = 0; i < N_ISNS; i++) {
		struct talk t = half_talk(isns[i], ~isns[i]);

		CHECK_EQUAL(handshake_state(attempt_of(&t.key)->flow.flags), OTH);
		pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
		ended_as(OTH, " orig_bytes=0 resp_bytes=0 ");
	}
}

static void it_lives_for_as_long_as_the_originator_sends(void)
{
	struct talk t;
	int i, n;
	__u64 at;

	for (i = 0; i < (int)N_ISNS; i++) {
		t = half_talk(isns[i], ~isns[i]);
		for (n = 0; n < 10; n++) { /* further than any handshake goes, and over 2^32 */
			pass((HANDSHAKE_TIMEOUT_S - 1) * HOST_S);
			t.orig += 1 << 23; /* segments that nobody saw */
			t.resp += 1000;
			send_next(&t, ORIG, TCP_ACK, 1000);
			CHECK_EQUAL(live_attempts(), 1);
		}
		at = host.now;
		pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
		ended_as(OTH, " orig_bytes=83896080 resp_bytes=-1 ");
		CHECK_EQUAL(strtoull(strstr(host.line, "dur_ns=") + 7, NULL, 10), at - 3600 * HOST_S);
	}
}

static void its_fin_closes_it(void)
{
	struct talk t;
	__u64 at;
	size_t i;

	for (i = 0; i < N_ISNS; i++) {
		t = half_talk(isns[i], ~isns[i]);
		send_next(&t, ORIG, TCP_ACK, 100);
		t.resp += 300;
		send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
		at = host.now;
		pass(HOST_S);
		t.resp++;
		send_next(&t, ORIG, TCP_ACK, 0); /* the responder's FIN */
		pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
		ended_as(SH, " orig_bytes=100 resp_bytes=-1 ");
		CHECK_EQUAL(strtoull(strstr(host.line, "dur_ns=") + 7, NULL, 10), at - 3600 * HOST_S);
	}
}

static void its_rst_resets_it_wherever_it_stands(void)
{
	struct talk t;
	size_t i;
	int n;

	for (i = 0; i < N_ISNS; i++)
		for (n = 0; n < 3; n++) {
			t = half_talk(isns[i], ~isns[i]);
			t.orig += n << 22;
			send_next(&t, ORIG, TCP_ACK, 0);
			send_at(&t, ORIG, TCP_RST, 2 * FIRST_WINDOW, 0, 0);
			CHECK_EQUAL(counted(rst_disbelieved), 1);
			send_at(&t, ORIG, TCP_RST | TCP_ACK, 0, 0, 0);
			ended_as(RSTO, n == 0 ? " orig_bytes=0 " : n == 1 ? " orig_bytes=4194304 " : " orig_bytes=8388608 ");
		}
}

/* A SYN-ACK that an ACK has overtaken is no other way. */
static void when_the_responder_is_seen_after_all_it_is_a_connection_as_any(void)
{
	struct talk t = half_talk(1, 2);

	send_next(&t, ORIG, TCP_ACK, 10);
	send_at(&t, RESP, TCP_SYN | TCP_ACK, -1, -10, 0);
	CHECK_EQUAL(counted(established), 1);
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 5);
	ended_as(SF, " orig_bytes=10 resp_bytes=5 ");
}

static void who_only_sends_syns_was_not_answered(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 1, .resp = 1 };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	t.orig += HANDSHAKE_SPAN; /* of an older connection */
	send_next(&t, ORIG, TCP_ACK, 0);
	pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
	ended_as(S0, " orig_bytes=0 resp_bytes=0 ");
}

/* Spoofed, they stay in the table of handshakes, and make room first. */
static void what_no_socket_proves_is_never_at_rest(void)
{
	struct talk t = half_talk(1, 1);

	pass(30 * HOST_S);
	send_next(&t, ORIG, TCP_ACK, 0);
	CHECK_EQUAL(counted(established), 0);
	CHECK_EQUAL(rank_of(&attempt_of(&t.key)->flow), RANK_UNANSWERED);
	pass(60 * HOST_S);
	CHECK_EQUAL(resting_connections(), 0);
	CHECK_EQUAL(live_attempts(), 1);
}

static struct host_socket own;

/* This host has a socket of the talk: the responder's, if the originator's segments come in, else the originator's. */
static void give_socket(const struct talk *t, __u32 state)
{
	memset(&own, 0, sizeof(own));
	host_responder(&own, t, state);
}

static void an_established_socket_of_this_host_proves_the_answer(void)
{
	static const struct {
		__u32 state;
		bool proves;
	} states[] = {
		{ BPF_TCP_ESTABLISHED, true }, { BPF_TCP_CLOSE_WAIT, true }, { BPF_TCP_LAST_ACK, true },
		{ BPF_TCP_SYN_RECV, false },   { BPF_TCP_LISTEN, false },    { BPF_TCP_SYN_SENT, false },
		{ BPF_TCP_CLOSE, false },
	};
	struct talk t;
	size_t i;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		t = half_talk(0xfffffff0, 5);
		give_socket(&t, states[i].state);
		send_next(&t, ORIG, TCP_ACK, 100);
		CHECK_EQUAL(counted(established), states[i].proves);
		pass(HOST_S);
		CHECK_EQUAL(resting_connections(), states[i].proves);
		host.receiver = NULL;
		send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
		pass((CLOSE_TIMEOUT_S + 1) * HOST_S);
		CHECK_EQUAL(counted(ended[S2]), states[i].proves);
		CHECK_EQUAL(counted(ended[SH]), !states[i].proves);
		conserved();
	}
}

/* On the tuple of a connection that is over, which is another one's socket: what it says is not of this SYN. */
static void the_socket_of_another_connection_on_the_tuple_proves_nothing(void)
{
	struct talk t = half_talk(0xfffffff0, 5);

	give_socket(&t, BPF_TCP_ESTABLISHED);
	own.tcp.rcv_nxt += HANDSHAKE_SPAN;
	send_next(&t, ORIG, TCP_ACK, 100);
	CHECK_EQUAL(counted(established), 0);
}

int main(void)
{
	host_reset();
	RUN(an_originator_that_acknowledges_was_answered);
	RUN(it_lives_for_as_long_as_the_originator_sends);
	RUN(its_fin_closes_it);
	RUN(its_rst_resets_it_wherever_it_stands);
	RUN(when_the_responder_is_seen_after_all_it_is_a_connection_as_any);
	RUN(who_only_sends_syns_was_not_answered);
	RUN(what_no_socket_proves_is_never_at_rest);
	RUN(an_established_socket_of_this_host_proves_the_answer);
	RUN(the_socket_of_another_connection_on_the_tuple_proves_nothing);
	return unit_end();
}
