// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/attempt.h and motion.h: which segments belong to a handshake, and what ends it. Everywhere with initial sequence
 * numbers on both sides of 2^31 and 2^32.
 */
#include "host/host.h"

static const __u32 isns[] = { 0, 1, 1000, 0x7fffffff, 0x80000000, 0x80000001, 0xfffeffff, 0xfffffff0, 0xfffffffe, 0xffffffff };

#define N_ISNS (sizeof(isns) / sizeof(isns[0]))

static enum conn_state rst(const struct slot *slot, bool reply, __u8 flags, __u32 seq, __u32 ack)
{
	struct segment s = { .flags = TCP_RST | flags, .seq = seq, .ack = ack };

	return judge_rst_locked(slot, &s, reply);
}

static void the_originators_rst_lies_in_the_first_window(void)
{
	struct slot slot = {};
	__u32 isn;
	size_t i;

	for (i = 0; i < N_ISNS; i++) {
		isn = isns[i];
		slot.flow.orig_isn = isn;
		slot.flow.flags = 0;
		CHECK_EQUAL(rst(&slot, false, 0, isn, 0), RSTOS0);
		CHECK_EQUAL(rst(&slot, false, 0, isn + 1, 0), RSTOS0);
		CHECK_EQUAL(rst(&slot, false, 0, isn + FIRST_WINDOW, 0), RSTOS0);
		CHECK_EQUAL(rst(&slot, false, 0, isn + FIRST_WINDOW + 1, 0), S0);
		CHECK_EQUAL(rst(&slot, false, 0, isn - 1, 0), S0);
		CHECK_EQUAL(rst(&slot, false, 0, isn + 0x80000000, 0), S0);
		slot.flow.flags = RESP_SEEN;
		CHECK_EQUAL(rst(&slot, false, TCP_ACK, isn + 1, 7), RSTO);
	}
}

static void the_responders_rst_acknowledges_the_syn_or_what_was_sent_with_it(void)
{
	struct slot slot = {};
	__u32 isn, data;
	size_t i;

	for (i = 0; i < N_ISNS; i++) {
		isn = isns[i];
		for (data = 0; data <= 1400; data += 700) {
			slot.flow.orig_isn = isn;
			slot.flow.orig_end = isn + 1 + data;
			slot.flow.flags = 0;
			CHECK_EQUAL(rst(&slot, true, TCP_ACK, 0, isn + 1), REJ);
			CHECK_EQUAL(rst(&slot, true, TCP_ACK, 0, isn + 1 + data), REJ);
			CHECK_EQUAL(rst(&slot, true, TCP_ACK, 0, isn + 2 + data), S0);
			CHECK_EQUAL(rst(&slot, true, TCP_ACK, 0, isn), S0);
			CHECK_EQUAL(rst(&slot, true, 0, 0, isn + 1), S0); /* without ACK its number says nothing */
		}
	}
}

static void once_the_responder_has_answered_its_rst_lies_in_the_first_window(void)
{
	struct slot slot = {};
	__u32 isn;
	size_t i;

	for (i = 0; i < N_ISNS; i++) {
		isn = isns[i];
		slot.flow.resp_isn = isn;
		slot.flow.orig_isn = isn + 12345;
		slot.flow.flags = RESP_SEEN | RESP_SYN;
		CHECK_EQUAL(rst(&slot, true, 0, isn, 0), REJ);
		CHECK_EQUAL(rst(&slot, true, 0, isn + FIRST_WINDOW, 0), REJ);
		CHECK_EQUAL(rst(&slot, true, 0, isn + FIRST_WINDOW + 1, 0), S0);
		CHECK_EQUAL(rst(&slot, true, 0, isn - 1, 0), S0);
		slot.flow.flags = 0;
		CHECK_EQUAL(rst(&slot, true, 0, isn, 0), S0);
	}
}

static bool belongs(const struct slot *slot, bool reply, __u32 seq, __u32 ack)
{
	struct segment s = { .flags = TCP_ACK, .seq = seq, .ack = ack };

	return belongs_locked(slot, &s, reply);
}

static void a_segment_belongs_to_a_handshake_if_it_lies_close_behind_its_numbers(void)
{
	struct slot slot = {};
	__u32 isn;
	size_t i;

	for (i = 0; i < N_ISNS; i++) {
		isn = isns[i];
		slot.flow.orig_isn = isn;
		slot.flow.resp_isn = ~isn;
		slot.flow.flags = 0;
		CHECK(belongs(&slot, false, isn, 5));
		CHECK(belongs(&slot, false, isn + HANDSHAKE_SPAN - 1, 5));
		CHECK(!belongs(&slot, false, isn + HANDSHAKE_SPAN, 5));
		CHECK(!belongs(&slot, false, isn - 1, 5));
		CHECK(belongs(&slot, true, 5, isn + 1));
		CHECK(belongs(&slot, true, 5, isn + HANDSHAKE_SPAN));
		CHECK(!belongs(&slot, true, 5, isn + HANDSHAKE_SPAN + 1));
		CHECK(!belongs(&slot, true, 5, isn));
		slot.flow.flags = RESP_SYN;
		CHECK(belongs(&slot, false, isn + 1, ~isn + 1));
		CHECK(!belongs(&slot, false, isn + 1, ~isn));
		CHECK(!belongs(&slot, false, isn + 1, ~isn + 1 + HANDSHAKE_SPAN));
		slot.flow.flags = DOUBTFUL;
		CHECK(!belongs(&slot, false, isn + 1, ~isn + 1));
		CHECK(!belongs(&slot, true, 5, isn + 1));
		slot.flow.flags = DOUBTFUL | RESP_SEEN;
		CHECK(belongs(&slot, true, 5, isn + 1));
	}
}

static void a_connection_has_its_numbers_wherever_they_begin(void)
{
	__u32 orig, resp, n = 0;
	size_t i, j;

	host_reset();
	for (i = 0; i < N_ISNS; i++) {
		orig = isns[i];
		for (j = 0; j < N_ISNS; j++, n++) {
			struct talk t = open_talk(tuple4(2000 + n, 80), orig, resp = isns[j]);

			CHECK_EQUAL(live_connections(), 1);
			send_next(&t, ORIG, TCP_ACK, 100);
			send_next(&t, RESP, TCP_ACK, 70000);
			send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
			send_next(&t, RESP, TCP_ACK | TCP_FIN, 1);
			CHECK_EQUAL(counted(ended[SF]), n + 1);
			if (!CHECK(strstr(host.line, " orig_bytes=100 resp_bytes=70001 ")))
				fprintf(stderr, "isns %#x %#x: %s\n", orig, resp, host.line);
		}
	}
	conserved();
}

static void a_syn_ack_that_acknowledges_no_syn_is_not_believed(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = ~0U, .resp = 5 };

	host_reset();
	send_next(&t, ORIG, TCP_SYN, 0);
	send_at(&t, RESP, TCP_SYN | TCP_ACK, 0, 1, 0);
	send_at(&t, RESP, TCP_SYN | TCP_ACK, 0, -1, 0);
	CHECK_EQUAL(counted(synack_disbelieved), 2);
	CHECK(!(attempt_of(&t.key)->flow.flags & RESP_SEEN));
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	CHECK(attempt_of(&t.key)->flow.flags & RESP_SEEN);
	send_next(&t, ORIG, TCP_ACK, 0);
	CHECK_EQUAL(live_connections(), 1);
}

static void syns_sent_again_are_counted_up_to_255_and_copies_at_other_hooks_are_none(void)
{
	struct packet syn = { .key = tuple4(40000, 80), .flags = TCP_SYN, .seq = 9, .dir = DIR_OUT, .ifindex = 3 };
	int i;

	host_reset();
	receive(&syn);
	syn.ifindex = 4;
	receive(&syn);
	syn.ifindex = 3;
	syn.dir = DIR_IN;
	receive(&syn);
	CHECK_EQUAL(attempt_of(&syn.key)->flow.syn_retrans, 0);
	syn.dir = DIR_OUT;
	for (i = 1; i < 300; i++) {
		pass(HOST_S);
		receive(&syn);
		CHECK_EQUAL(attempt_of(&syn.key)->flow.syn_retrans, i < 255 ? i : 255);
	}
	CHECK_EQUAL(counted(attempts), 1);
}

static void syns_that_cross_are_one_attempt(void)
{
	struct talk t = { .key = tuple4(4000, 5000), .orig = 100, .resp = 200 };

	host_reset();
	send_at(&t, ORIG, TCP_SYN, 0, 0, 0);
	send_at(&t, RESP, TCP_SYN, 0, 0, 0);
	CHECK_EQUAL(counted(attempts), 1);
	send_at(&t, ORIG, TCP_SYN | TCP_ACK, 0, 1, 0);
	send_at(&t, RESP, TCP_SYN | TCP_ACK, 0, 1, 0);
	CHECK_EQUAL(live_connections(), 1);
	CHECK(connection_of(&t.key));
	conserved();
}

static void another_syn_on_the_tuple_replaces_the_attempt(void)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 100, .resp = 1 };

	host_reset();
	send_at(&t, ORIG, TCP_SYN, 0, 0, 0);
	send_at(&t, ORIG, TCP_SYN, 1, 0, 0);
	CHECK_EQUAL(counted(attempts), 2);
	CHECK_EQUAL(counted(replaced), 1);
	CHECK_EQUAL(counted(ended[S0]), 1);
	CHECK_EQUAL(live_attempts(), 1);
	conserved();
}

static void a_syn_on_a_live_connection_is_believed_once_it_is_answered(void)
{
	struct talk old, new;

	host_reset();
	old = open_talk(tuple4(40000, 80), 100, 200);
	new = old;
	new.orig = 0x90000000;
	new.resp = 0x10000000;
	send_at(&old, ORIG, TCP_SYN, -1, 0, 0); /* its own first SYN, late: no attempt */
	CHECK_EQUAL(counted(attempts), 1);
	send_next(&new, ORIG, TCP_SYN, 0);
	CHECK_EQUAL(counted(attempts), 2);
	send_next(&old, ORIG, TCP_ACK, 10);
	CHECK(connection_of(&old.key)->orig_isn == 100);
	pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
	CHECK_EQUAL(counted(syn_disbelieved), 1);
	CHECK_EQUAL(live_connections(), 1);
	conserved();

	new.orig--;
	send_next(&new, ORIG, TCP_SYN, 0);
	send_next(&new, RESP, TCP_SYN | TCP_ACK, 0);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted(replaced), 1);
	CHECK_EQUAL(counted(ended[S1]), 1);
	send_next(&new, ORIG, TCP_ACK, 0);
	CHECK_EQUAL(connection_of(&new.key)->orig_isn, 0x90000000);
	conserved();
}

/* Its predecessor rests, is young, or is closing: it ends when the new SYN is answered, at the time of that SYN. */
static void the_predecessor_ends_when_a_syn_on_its_tuple_is_answered_wherever_it_is(void)
{
	int how, turned;

	for (how = 0; how < 3; how++)
		for (turned = 0; turned < 2; turned++) {
			struct talk old, new = { .orig = 0x90000000, .resp = 0x10000000 };
			__u64 at;

			host_reset();
			old = how ? open_talk(tuple4(40000, 80), 100, 200) : rest_talk(tuple4(40000, 80), 100, 200);
			if (how == 2)
				send_next(&old, RESP, TCP_ACK | TCP_FIN, 0);
			CHECK_EQUAL(resting_connections(), !how);
			put_key(&new.key, &old.key, turned);
			pass(100 * HOST_MS);
			at = host.now;
			send_next(&new, ORIG, TCP_SYN, 0);
			CHECK(attempt_of(&new.key)->flow.flags & DOUBTFUL);
			CHECK_EQUAL(counted_ends(), 0);
			pass(10 * HOST_MS);
			send_next(&new, RESP, TCP_SYN | TCP_ACK, 0);
			CHECK_EQUAL(live_connections(), 0);
			CHECK_EQUAL(counted(replaced), 1);
			CHECK_EQUAL(how == 2 ? counted(ended[S3]) : counted(ended[S1]), 1);
			if (how < 2)
				CHECK_EQUAL(strtoull(strstr(host.line, "dur_ns=") + 7, NULL, 10), at - 3600 * HOST_S);
			conserved();
			send_next(&new, ORIG, TCP_ACK, 0);
			pass(HOST_S);
			CHECK(resting_of(&new.key));
			CHECK_EQUAL(resting_connections(), 1);
			CHECK_EQUAL(counted(established), 2);
			conserved();
		}
}

/* The socket of this host that sends the segments of a talk's responder, which are at the egress hook. */
static void give_sender(struct host_socket *own, const struct flow_key *key, __u32 state)
{
	*own = (struct host_socket){
		.sk = {
			.state = state,
			.src_ip4 = bpf_htonl(0x0a000002),
			.dst_ip4 = bpf_htonl(0x0a000001),
			.src_port = key->dport,
			.dst_port = bpf_htons(key->sport),
		},
	};
	host.sender = own;
}

/* Nobody answers; all the same each is an attempt, and its predecessor, wherever it is, is over when this host's own SYN comes. */
static void this_hosts_own_syn_is_believed_at_once(void)
{
	struct host_socket own;
	int how;

	for (how = 0; how < 4; how++) {
		struct talk old, new;

		host_reset();
		old = how ? open_talk(tuple4(40000, 80), 100, 200) : rest_talk(tuple4(40000, 80), 100, 200);
		if (how == 2)
			send_next(&old, ORIG, TCP_ACK | TCP_FIN, 0);
		new = (struct talk){ .key = old.key, .orig = 0x90000000, .resp = 0x10000000 };
		if (how == 3)
			send_at(&new, RESP, TCP_SYN, -5, 0, 0); /* a forgery, as far as anybody knows */
		pass(100 * HOST_MS);
		give_sender(&own, &old.key, BPF_TCP_SYN_SENT);
		send_at(&new, RESP, TCP_SYN, 0, 0, 0);
		CHECK_EQUAL(live_connections(), 0);
		CHECK_EQUAL(counted(replaced), 1);
		CHECK_EQUAL(how == 2 ? counted(ended[S2]) : counted(ended[S1]), 1);
		CHECK_EQUAL(counted(syn_disbelieved), how == 3);
		conserved();
		pass(HOST_S);
		send_at(&new, RESP, TCP_SYN, 0, 0, 0); /* again */
		pass(HOST_S);
		send_at(&new, RESP, TCP_SYN, 5, 0, 0); /* the next attempt */
		CHECK_EQUAL(counted(ended[S0]), 1);
		pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
		CHECK_EQUAL(counted(ended[S0]), 2);
		CHECK_EQUAL(counted(syn_disbelieved), how == 3);
		CHECK_EQUAL(counted_ends(), 3);
		conserved();
	}
}

/* A socket that is established already has not sent this SYN, nor has one of other ports. */
static void a_syn_that_another_socket_of_this_host_seems_to_send_is_doubtful(void)
{
	struct host_socket own;
	int other_port;

	for (other_port = 0; other_port < 2; other_port++) {
		struct talk t;

		host_reset();
		t = rest_talk(tuple4(40000, 80), 100, 200);
		give_sender(&own, &t.key, other_port ? BPF_TCP_SYN_SENT : BPF_TCP_ESTABLISHED);
		own.sk.src_port += other_port;
		send_at(&t, RESP, TCP_SYN, 0x10000000, 0, 0);
		CHECK_EQUAL(live_connections(), 1);
		pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
		CHECK_EQUAL(counted(syn_disbelieved), 1);
		CHECK_EQUAL(counted_ends(), 0);
		conserved();
	}
}

/* The peer's SYN was doubtful, and crosses this host's own. */
static void a_doubtful_syn_that_crosses_this_hosts_own_is_an_attempt(void)
{
	struct host_socket own;
	struct talk t;

	host_reset();
	t = rest_talk(tuple4(40000, 80), 100, 200);
	send_at(&t, ORIG, TCP_SYN, 0x10000000, 0, 0);
	CHECK(attempt_of(&t.key)->flow.flags & DOUBTFUL);
	give_sender(&own, &t.key, BPF_TCP_SYN_SENT);
	send_at(&t, RESP, TCP_SYN, 0x10000000, 0, 0);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(live_attempts(), 1);
	pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
	CHECK_EQUAL(counted(ended[S0]), 1);
	CHECK_EQUAL(counted(ended[S1]), 1);
	conserved();
}

/*
 * Both sides have sent a SYN-ACK when the second one answers the doubtful attempt, and completes it: it is the connection before
 * that ends, and not this one.
 */
static void an_attempt_that_is_answered_and_complete_at_once_is_not_its_own_predecessor(void)
{
	struct talk old, new;
	int young;

	for (young = 0; young < 2; young++) {
		host_reset();
		old = young ? open_talk(tuple4(4000, 5000), 100, 200) : rest_talk(tuple4(4000, 5000), 100, 200);
		new = (struct talk){ .key = old.key, .orig = 0x90000000, .resp = 0x10000000 };
		send_at(&new, ORIG, TCP_SYN, 0, 0, 0);
		send_at(&new, ORIG, TCP_SYN | TCP_ACK, 0, 1, 0);
		CHECK_EQUAL(counted_ends(), 0);
		send_at(&new, RESP, TCP_SYN | TCP_ACK, 0, 1, 0);
		CHECK_EQUAL(counted(replaced), 1);
		CHECK_EQUAL(live_connections(), 1);
		CHECK_EQUAL(connection_of(&new.key)->orig_isn, 0x90000000);
		conserved();
	}
}

static void when_conn_map_is_full_the_new_connection_is_counted_and_the_others_stay(void)
{
	int i;

	host_reset();
	host_map_of(&conn_map)->max_entries = 3;
	for (i = 0; i < 5; i++)
		open_talk(tuple4(40000 + i, 80), 1, 1);
	CHECK_EQUAL(live_connections(), 5);
	pass(HOST_S);
	CHECK_EQUAL(live_connections(), 3);
	CHECK_EQUAL(counted(conn_full), 2);
	CHECK_EQUAL(counted(established), 5);
	CHECK_EQUAL(live_attempts() + all_moving(true), 0);
	conserved();
}

static void when_the_kernel_has_no_memory_at_hand_a_connection_stays_young_and_is_not_lost(void)
{
	struct flow_key key = tuple4(40000, 80);

	host_reset();
	host.no_memory = true;
	open_talk(key, 1, 1);
	pass(3 * HOST_S);
	CHECK_EQUAL(live_connections(), 1);
	CHECK_EQUAL(all_moving(true), 1);
	CHECK_EQUAL(counted(conn_full), 0);
	conserved();
	host.no_memory = false;
	pass(HOST_S);
	CHECK_EQUAL(all_moving(true), 0);
	CHECK_EQUAL(live_connections(), 1);
	conserved();
}

int main(void)
{
	host_reset();
	RUN(the_originators_rst_lies_in_the_first_window);
	RUN(the_responders_rst_acknowledges_the_syn_or_what_was_sent_with_it);
	RUN(once_the_responder_has_answered_its_rst_lies_in_the_first_window);
	RUN(a_segment_belongs_to_a_handshake_if_it_lies_close_behind_its_numbers);
	RUN(a_connection_has_its_numbers_wherever_they_begin);
	RUN(a_syn_ack_that_acknowledges_no_syn_is_not_believed);
	RUN(syns_sent_again_are_counted_up_to_255_and_copies_at_other_hooks_are_none);
	RUN(syns_that_cross_are_one_attempt);
	RUN(another_syn_on_the_tuple_replaces_the_attempt);
	RUN(a_syn_on_a_live_connection_is_believed_once_it_is_answered);
	RUN(the_predecessor_ends_when_a_syn_on_its_tuple_is_answered_wherever_it_is);
	RUN(this_hosts_own_syn_is_believed_at_once);
	RUN(a_syn_that_another_socket_of_this_host_seems_to_send_is_doubtful);
	RUN(a_doubtful_syn_that_crosses_this_hosts_own_is_an_attempt);
	RUN(an_attempt_that_is_answered_and_complete_at_once_is_not_its_own_predecessor);
	RUN(when_conn_map_is_full_the_new_connection_is_counted_and_the_others_stay);
	RUN(when_the_kernel_has_no_memory_at_hand_a_connection_stays_young_and_is_not_lost);
	return unit_end();
}
