// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/attempt.h and motion.h: which of several sequence numbers are the connection's. A responder that begins with two, a hop
 * between two interfaces of this host that gives a connection other ones, copies of a SYN.
 */
#include "host/host.h"

static const __u32 isns[] = { 0, 1000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };

#define N_ISNS (sizeof(isns) / sizeof(isns[0]))

/* The responder's other number, far from the first. */
#define OTHER(isn) ((isn) + 2900000000U)

/* The interfaces at which a router sees a connection: the originator's side, and the responder's. */
enum {
	ANY,
	NEAR_SIDE = 2,
	FAR_SIDE = 3
};

/* A segment of a talk at an interface: what the originator sends comes in at the near side and goes out at the far one. */
static void send_on(const struct talk *t, enum side side, __u32 ifindex, __u8 flags, __u32 len)
{
	struct packet p = {
		.flags = flags,
		.seq = side == ORIG ? t->orig : t->resp,
		.ack = flags & TCP_ACK ? (side == ORIG ? t->resp : t->orig) : 0,
		.len = len,
		.dir = (side == ORIG) == (ifindex != FAR_SIDE) ? DIR_IN : DIR_OUT,
		.ifindex = ifindex,
	};

	put_key(&p.key, &t->key, side == RESP);
	receive(&p);
}

static void follow(struct talk *t, enum side side, __u8 flags, __u32 len)
{
	*(side == ORIG ? &t->orig : &t->resp) += len + !!(flags & (TCP_SYN | TCP_FIN));
}

/* 100 bytes from the originator, 300 from the responder, and both close: as it should be. */
static void talk_and_close(struct talk *t)
{
	send_next(t, ORIG, TCP_ACK, 100);
	send_next(t, RESP, TCP_ACK, 300);
	send_next(t, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(t, RESP, TCP_ACK | TCP_FIN, 0);
}

static void closed_with(const char *bytes)
{
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK_EQUAL(counted_ends(), 1);
	if (!CHECK(strstr(host.line, bytes)))
		fprintf(stderr, "%s\n", host.line);
	conserved();
}

/* Two servers behind one address, or SYN cookies over the turn of a minute: the originator takes one. */
static void of_two_syn_acks_the_one_counts_that_the_originator_acknowledges(void)
{
	size_t i;
	int how;

	for (i = 0; i < N_ISNS; i++)
		for (how = 0; how < 4; how++) {
			struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = isns[i] }, other = t;

			host_reset();
			other.resp = OTHER(isns[i]);
			send_next(&t, ORIG, TCP_SYN, 0);
			other.orig = t.orig;
			if (how == 0) /* the other one came first */
				send_at(&other, RESP, TCP_SYN | TCP_ACK, 0, 0, 0);
			send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
			if (how == 1)
				send_at(&other, RESP, TCP_SYN | TCP_ACK, 0, 0, 0);
			if (how == 2) { /* and is sent again, and its server gives up */
				send_at(&other, RESP, TCP_SYN | TCP_ACK, 0, 0, 0);
				send_at(&t, RESP, TCP_SYN | TCP_ACK, -1, 0, 0);
				send_at(&other, RESP, TCP_SYN | TCP_ACK, 0, 0, 0);
			}
			send_next(&t, ORIG, TCP_ACK, 0);
			if (how == 3)
				send_at(&other, RESP, TCP_SYN | TCP_ACK, 0, 0, 0);
			CHECK_EQUAL(counted(established), 1);
			talk_and_close(&t);
			closed_with(" orig_bytes=100 resp_bytes=300 ");
		}
}

/* Its first acknowledgement may be of data, too. */
static void the_number_is_that_of_the_syn_ack_below_what_the_originator_acknowledges(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	t.resp = OTHER(1000);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	t.resp = 1000;
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	send_next(&t, RESP, TCP_ACK, 50);
	send_next(&t, ORIG, TCP_ACK, 0);
	talk_and_close(&t);
	closed_with(" orig_bytes=100 resp_bytes=350 ");
}

/* Who answers a SYN that crossed its own sends its own again. What has another number is another one's, and late. */
static void a_syn_ack_of_the_originator_has_the_number_of_its_syn(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 },
		    other = { .key = t.key, .orig = OTHER(7), .resp = OTHER(1000) };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	send_at(&other, ORIG, TCP_SYN | TCP_ACK, 0, 0, 0);
	CHECK_EQUAL(counted(synack_disbelieved), 1);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	send_next(&t, ORIG, TCP_ACK, 0);
	CHECK_EQUAL(counted(established), 1);
	talk_and_close(&t);
	closed_with(" orig_bytes=100 resp_bytes=300 ");
}

/* One that fits no SYN-ACK, as it is late or forged, is not believed against it: the originator says it again. */
static void an_acknowledgement_of_nothing_does_not_keep_the_syn_ack_out(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	send_at(&t, ORIG, TCP_ACK, 0, OTHER(0), 0);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	CHECK_EQUAL(counted(established), 0);
	send_next(&t, ORIG, TCP_ACK, 0);
	CHECK_EQUAL(counted(established), 1);
	talk_and_close(&t);
	closed_with(" orig_bytes=100 resp_bytes=300 ");
}

static void a_fin_that_an_answer_does_not_acknowledge_does_not_tell_the_bytes(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	send_at(&t, ORIG, TCP_ACK | TCP_FIN, 5000, OTHER(0), 0);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
	CHECK_EQUAL(counted(ended[S2]), 1);
	CHECK(strstr(host.line, " orig_bytes=-1 resp_bytes=0 "));
	conserved();
}

static void what_nobody_acknowledged_is_not_known(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 }, other;

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	other = t;
	other.resp = OTHER(1000);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	send_next(&other, RESP, TCP_SYN | TCP_ACK, 0);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
	CHECK_EQUAL(counted(ended[S3]), 1);
	CHECK(strstr(host.line, " orig_bytes=0 resp_bytes=-1 "));
	conserved();
}

/* RFC 9293 lets the responder acknowledge the SYN and send its own apart: in four segments, and in five. */
static void a_handshake_may_come_in_pieces(void)
{
	int pieces, guess;

	for (pieces = 4; pieces <= 5; pieces++)
		for (guess = 0; guess < 2; guess++) {
			struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 }, before;

			host_reset();
			send_next(&t, ORIG, TCP_SYN, 0);
			before = t;
			if (guess)
				before.resp = OTHER(1000); /* some number, as its SYN has not been sent yet */
			if (pieces == 5)
				send_at(&before, RESP, TCP_ACK, 0, 0, 0);
			send_next(&t, RESP, TCP_SYN, 0);
			send_at(&t, ORIG, TCP_SYN | TCP_ACK, -1, 0, 0);
			send_next(&t, RESP, TCP_ACK, 0);
			CHECK_EQUAL(counted(synack_disbelieved), 0);
			CHECK_EQUAL(counted(established), 1);
			talk_and_close(&t);
			closed_with(" orig_bytes=100 resp_bytes=300 ");
		}
}

/* Of a router: each segment is seen at both sides, with these numbers. */
static void forward(struct talk *here, struct talk *there, enum side side, __u8 flags, __u32 len)
{
	struct talk *first = side == ORIG ? here : there, *second = side == ORIG ? there : here;

	send_on(first, side, side == ORIG ? NEAR_SIDE : FAR_SIDE, flags, len);
	follow(first, side, flags, len);
	pass(HOST_MS / 10);
	send_on(second, side, side == ORIG ? FAR_SIDE : NEAR_SIDE, flags, len);
	follow(second, side, flags, len);
	pass(HOST_MS);
}

static void close_forwarded(struct talk *here, struct talk *there, enum side first, bool rested)
{
	if (rested)
		pass(HOST_S);
	CHECK_EQUAL(resting_connections(), rested);
	forward(here, there, ORIG, TCP_ACK, 100);
	forward(here, there, RESP, TCP_ACK, 300);
	forward(here, there, first, TCP_ACK | TCP_FIN, 0);
	forward(here, there, !first, TCP_ACK | TCP_FIN, 0);
}

/* It answers in the responder's place, and only then asks the responder: the numbers differ from one of its sides to the other. */
static void a_hop_that_answers_for_the_responder_is_seen_through(void)
{
	int first, rested;
	size_t i;

	for (i = 0; i < N_ISNS; i++)
		for (first = ORIG; first <= RESP; first++)
			for (rested = 0; rested < 2; rested++) {
				struct talk here = { .key = tuple4(40000, 80), .orig = 7, .resp = isns[i] }, there = here;

				host_reset();
				there.resp = OTHER(isns[i]);
				send_on(&here, ORIG, NEAR_SIDE, TCP_SYN, 0);
				follow(&here, ORIG, TCP_SYN, 0);
				send_on(&here, RESP, NEAR_SIDE, TCP_SYN | TCP_ACK, 0);
				follow(&here, RESP, TCP_SYN, 0);
				pass(100 * HOST_MS);
				send_on(&here, ORIG, NEAR_SIDE, TCP_ACK, 0);
				CHECK_EQUAL(counted(established), 1);
				send_on(&there, ORIG, FAR_SIDE, TCP_SYN, 0);
				follow(&there, ORIG, TCP_SYN, 0);
				pass(100 * HOST_MS);
				send_on(&there, RESP, FAR_SIDE, TCP_SYN | TCP_ACK, 0);
				follow(&there, RESP, TCP_SYN, 0);
				send_on(&there, ORIG, FAR_SIDE, TCP_ACK, 0);
				close_forwarded(&here, &there, first, rested);
				closed_with(" orig_bytes=100 resp_bytes=300 ");
				CHECK_EQUAL(counted(attempts), 1);
			}
}

/* A firewall that gives one side, or both, numbers of its own: its SYN has another one behind it, or its SYN-ACK. */
static void a_hop_that_changes_numbers_is_seen_through(void)
{
	int first, rested, changed;

	for (changed = 0; changed < 4; changed++)
		for (first = ORIG; first <= RESP; first++)
			for (rested = 0; rested < 2; rested++) {
				struct talk here = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 }, there = here;

				host_reset();
				if (changed & 1)
					there.orig = OTHER(7);
				if (changed & 2)
					there.resp = OTHER(1000);
				forward(&here, &there, ORIG, TCP_SYN, 0);
				forward(&here, &there, RESP, TCP_SYN | TCP_ACK, 0);
				forward(&here, &there, ORIG, TCP_ACK, 0);
				CHECK_EQUAL(counted(synack_disbelieved), 0);
				CHECK_EQUAL(!(connection_of(&here.key)->flags & ONE_PLACE), !changed);
				close_forwarded(&here, &there, first, rested);
				closed_with(" orig_bytes=100 resp_bytes=300 ");
				CHECK_EQUAL(counted(attempts), 1);
				/* The last FIN again, if it ended the connection before it was seen at the other side. */
				CHECK_EQUAL(counted(no_record_fin), !changed || first == RESP);
			}
}

/* Another attempt through another interface is one: there was nothing of its kind a moment ago. */
static void a_syn_with_another_number_elsewhere_and_later_is_another_attempt(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 };

	host_reset();
	send_on(&t, ORIG, NEAR_SIDE, TCP_SYN, 0);
	pass(100 * HOST_MS);
	t.orig = OTHER(7);
	send_on(&t, ORIG, FAR_SIDE, TCP_SYN, 0);
	CHECK_EQUAL(counted(attempts), 2);
	CHECK_EQUAL(counted(replaced), 1);
	conserved();
}

/* As a port that mirrors makes them. */
static void a_copy_of_a_syn_is_none_that_was_sent_again(void)
{
	struct packet syn = { .key = tuple4(40000, 80), .flags = TCP_SYN, .seq = 9, .dir = DIR_IN, .ifindex = NEAR_SIDE };
	int i;

	host_reset();
	for (i = 0; i < 4; i++) { /* after 1, 2, 4, 8 s */
		receive(&syn);
		pass(HOST_MS);
		receive(&syn);
		pass(4 * HOST_MS);
		receive(&syn);
		CHECK_EQUAL(attempt_of(&syn.key)->flow.syn_retrans, i);
		pass((1 << i) * HOST_S);
	}
	pass(200 * HOST_MS); /* the least that Linux waits: TCP_RTO_MIN */
	receive(&syn);
	CHECK_EQUAL(attempt_of(&syn.key)->flow.syn_retrans, 4);
}

/* Of two CPUs, the one that comes second may have seen its own first. */
static void a_copy_may_have_the_earlier_time(void)
{
	struct packet syn = { .key = tuple4(40000, 80), .flags = TCP_SYN, .seq = 9, .dir = DIR_IN, .ifindex = NEAR_SIDE };

	host_reset();
	pass(HOST_S);
	receive(&syn);
	host.now -= 3 * HOST_MS;
	receive(&syn);
	CHECK_EQUAL(attempt_of(&syn.key)->flow.syn_retrans, 0);
}

static void a_syn_sent_again_beside_a_syn_ack_sent_again_counts(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 7, .resp = 1000 };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	pass(HOST_S);
	send_at(&t, RESP, TCP_SYN | TCP_ACK, -1, 0, 0);
	pass(HOST_MS);
	send_at(&t, ORIG, TCP_SYN, -1, 0, 0);
	CHECK_EQUAL(attempt_of(&t.key)->flow.syn_retrans, 1);
}

int main(void)
{
	host_reset();
	RUN(of_two_syn_acks_the_one_counts_that_the_originator_acknowledges);
	RUN(the_number_is_that_of_the_syn_ack_below_what_the_originator_acknowledges);
	RUN(a_syn_ack_of_the_originator_has_the_number_of_its_syn);
	RUN(an_acknowledgement_of_nothing_does_not_keep_the_syn_ack_out);
	RUN(a_fin_that_an_answer_does_not_acknowledge_does_not_tell_the_bytes);
	RUN(what_nobody_acknowledged_is_not_known);
	RUN(a_handshake_may_come_in_pieces);
	RUN(a_hop_that_answers_for_the_responder_is_seen_through);
	RUN(a_hop_that_changes_numbers_is_seen_through);
	RUN(a_syn_with_another_number_elsewhere_and_later_is_another_attempt);
	RUN(a_copy_of_a_syn_is_none_that_was_sent_again);
	RUN(a_copy_may_have_the_earlier_time);
	RUN(a_syn_sent_again_beside_a_syn_ack_sent_again_counts);
	return unit_end();
}
