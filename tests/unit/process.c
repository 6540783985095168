// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/process.h, kernel.h and socket.h: which process is named, why a connection was reset, how long the kernel's clock tick
 * is; and tracker/record.h: what held a connection back.
 */
#include "host/host.h"

static struct host_socket own;
static struct tcp_sock kernel;
static struct net_device *const first = (void *)0x1000, *const other = (void *)0x2000;
static struct dst_entry route;
static struct task_struct leader, thread;

/* The process that runs: a thread of one with this name. */
static void run_as(__u32 pid, const char *name)
{
	memset(leader.comm, 0, sizeof(leader.comm));
	strncpy(leader.comm, name, sizeof(leader.comm));
	strcpy(thread.comm, "a thread's name");
	thread.flags = leader.flags = 0;
	thread.tgid = leader.tgid = pid;
	thread.group_leader = &leader;
	host.task = &thread;
}

/* The socket sends its next segment, and the process that runs has it locked. */
static void lock_at(__u32 seq)
{
	struct sock *sk = &kernel.inet_conn.icsk_inet.sk;

	memset(&kernel, 0, sizeof(kernel));
	sk->sk_lock.owned = 1;
	sk->sk_dst_cache = &route;
	route.dev = first;
	host.device = first;
	kernel.snd_nxt = seq;
	own.kernel = &kernel;
}

/* A connection that somebody has opened to this host; its server's socket, at the place where it closes. */
static struct talk served_talk(void)
{
	struct talk t;

	host_reset();
	memset(&own, 0, sizeof(own));
	t = open_talk(tuple4(40000, 80), 1000, 2000);
	send_next(&t, ORIG, TCP_ACK, 100);
	host_responder(&own, &t, BPF_TCP_ESTABLISHED);
	host.sender = &own;
	lock_at(t.resp);
	run_as(4711, "server");
	return t;
}

static void end_by_both(struct talk *t)
{
	send_next(t, RESP, TCP_ACK | TCP_FIN, 0);
	send_next(t, ORIG, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
}

static void who_closes_an_incoming_connection_is_named(void)
{
	struct talk t = served_talk();

	end_by_both(&t);
	CHECK(strstr(host.line, " pid=4711 comm=server "));
	/* The other side closes first. */
	t = served_talk();
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 0);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " pid=4711 comm=server "));
}

/* Each of them alone is enough. */
static void nobody_is_named_where_one_condition_does_not_hold(void)
{
	struct sock *sk = &kernel.inet_conn.icsk_inet.sk;
	int i;

	for (i = 0; i < 8; i++) {
		struct talk t = served_talk();

		switch (i) {
		case 0:
			sk->sk_lock.owned = 0;
			break;
		case 1:
			sk->sk_backlog.len = 1;
			break;
		case 2:
			kernel.snd_nxt++;
			break;
		case 3:
			host.device = other;
			break;
		case 4:
			sk->sk_dst_cache = NULL;
			break;
		case 5:
			thread.flags |= PF_KTHREAD;
			break;
		case 6:
			own.raw = true;
			break;
		case 7:
			own.kernel = NULL;
			break;
		}
		end_by_both(&t);
		CHECK(!strstr(host.line, "pid="));
		CHECK(!strstr(host.line, "comm="));
	}
}

/* The originator's socket, of a connection from this host. */
static struct packet outgoing(__u8 flags, __u32 seq, __u32 ack)
{
	struct packet p = { .key = tuple4(40000, 80), .flags = flags, .seq = seq, .ack = ack, .dir = DIR_OUT };

	return p;
}

static struct packet reply(__u8 flags, __u32 seq, __u32 ack)
{
	struct flow_key forth = tuple4(40000, 80);
	struct packet p = { .flags = flags, .seq = seq, .ack = ack, .dir = DIR_IN };

	put_key(&p.key, &forth, true);
	return p;
}

static void who_opens_an_outgoing_connection_is_named_whoever_closes_it(void)
{
	struct talk t = { .key = tuple4(40000, 80) };
	struct packet p = outgoing(TCP_SYN, 1000, 0);

	host_reset();
	memset(&own, 0, sizeof(own));
	own.sk.state = BPF_TCP_SYN_SENT;
	own.sk.src_ip4 = bpf_htonl(0x0a000001);
	own.sk.dst_ip4 = bpf_htonl(0x0a000002);
	own.sk.src_port = t.key.sport;
	own.sk.dst_port = bpf_htons(t.key.dport);
	host.sender = &own;
	lock_at(1000);
	run_as(1234, "client");
	receive(&p);
	p = reply(TCP_SYN | TCP_ACK, 2000, 1001);
	receive(&p);
	p = outgoing(TCP_ACK, 1001, 2001);
	receive(&p);
	CHECK_EQUAL(connection_of(&t.key)->process.pid, 1234);
	run_as(99, "another");
	lock_at(1001);
	own.sk.state = BPF_TCP_FIN_WAIT1;
	p = outgoing(TCP_ACK | TCP_FIN, 1001, 2001);
	receive(&p);
	p = reply(TCP_ACK | TCP_FIN, 2001, 1002);
	receive(&p);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK(strstr(host.line, " pid=1234 comm=client "));
}

/* It leaves later, when anybody may run; but it was noted who has closed. */
static void who_has_been_noted_to_close_is_named_where_nobody_else_is(void)
{
	struct process closer = { .pid = 33, .comm = "closer" };
	struct talk t = served_talk();

	kernel.inet_conn.icsk_inet.sk.sk_lock.owned = 0;
	own.closer = &closer;
	end_by_both(&t);
	CHECK(strstr(host.line, " pid=33 comm=closer "));
	t = served_talk();
	own.closer = &closer;
	end_by_both(&t);
	CHECK(strstr(host.line, " pid=4711 comm=server "));
}

static void a_hostile_name_is_one_word_in_the_line(void)
{
	struct talk t = served_talk();

	run_as(1, "a b=c\x1b[2J\\\"\xff");
	end_by_both(&t);
	CHECK(strstr(host.line, " comm=a\\x20b=c\\x1b[2J\\x5c\"\\xff "));
}

/* The RST that this host's socket sends of an established connection. */
static const char *reason_at(unsigned char state, bool owned, __u32 unread, bool peers_fin, bool lingers, unsigned long lingertime)
{
	struct talk t = served_talk();
	struct sock *sk = &kernel.inet_conn.icsk_inet.sk;
	static char reason[16];
	const char *found;

	sk->sk_lock.owned = owned;
	sk->__sk_common.skc_state = state;
	sk->__sk_common.skc_flags = peers_fin << SOCK_DONE_BIT | lingers << SOCK_LINGER_BIT;
	sk->sk_lingertime = lingertime;
	kernel.copied_seq = 0xffffffff;
	kernel.rcv_nxt = kernel.copied_seq + unread;
	send_next(&t, RESP, TCP_ACK | TCP_RST, 0);
	CHECK_EQUAL(counted(ended[RSTR]), 1);
	found = strstr(host.line, " reset_reason=");
	if (!found || sscanf(found, " reset_reason=%15s", reason) != 1)
		return "-";
	return reason;
}

static void a_socket_says_why_it_resets(void)
{
	CHECK_TEXT(reason_at(BPF_TCP_CLOSE, true, 1, false, false, 0), "unread_data");
	CHECK_TEXT(reason_at(BPF_TCP_CLOSE, true, 2, true, true, 0), "unread_data");
	CHECK_TEXT(reason_at(BPF_TCP_CLOSE, true, 1, true, true, 0), "linger");
	CHECK_TEXT(reason_at(BPF_TCP_CLOSE, true, 0, false, true, 0), "linger");
	CHECK_TEXT(reason_at(BPF_TCP_CLOSE, true, 0, false, true, 1), "abort");
	CHECK_TEXT(reason_at(BPF_TCP_CLOSE, true, 0, false, false, 0), "abort");
	CHECK_TEXT(reason_at(BPF_TCP_ESTABLISHED, true, 5, false, false, 0), "abort");
	CHECK_TEXT(reason_at(BPF_TCP_ESTABLISHED, false, 0, false, false, 0), "given_up");
	CHECK_TEXT(reason_at(BPF_TCP_CLOSE, false, 0, false, false, 0), "no_socket");
	CHECK_TEXT(reason_at(BPF_TCP_LISTEN, false, 0, false, false, 0), "no_socket");
}

/* A RST that no socket sends: of a connection, or in answer to a SYN. */
static const char *reason_of_nobody(bool established, __u32 came_in_by, bool has_socket, bool control)
{
	struct talk t = { .key = tuple4(40000, 80), .orig = 1000, .resp = 0 };
	static struct host_socket kernels = { .raw = true };

	host_reset();
	memset(&own, 0, sizeof(own));
	if (established)
		t = open_talk(t.key, 1000, 2000);
	else
		send_next(&t, ORIG, TCP_SYN, 0);
	host.sender = control ? &kernels : NULL;
	host.receiver = NULL;
	if (has_socket)
		host_responder(&own, &t, BPF_TCP_LISTEN);
	host.ingress_ifindex = came_in_by;
	send_at(&t, RESP, TCP_RST | TCP_ACK, 0, 0, 0);
	pass(2 * RST_SILENCE_NS);
	CHECK_EQUAL(counted(ended[established ? RSTR : REJ]), 1);
	if (strstr(host.line, " reset_reason=no_listener"))
		return "no_listener";
	return strstr(host.line, " reset_reason=no_socket") ? "no_socket" : strstr(host.line, "reset_reason") ? "another" : "-";
}

static void the_kernel_resets_for_nobody(void)
{
	CHECK_TEXT(reason_of_nobody(false, 0, false, true), "no_listener");
	CHECK_TEXT(reason_of_nobody(true, 0, false, true), "no_socket");
	CHECK_TEXT(reason_of_nobody(false, 7, false, true), "-");
	CHECK_TEXT(reason_of_nobody(false, 0, true, true), "-");
	CHECK_TEXT(reason_of_nobody(true, 0, true, true), "no_socket");
	/* A firewall's, over IPv4. */
	CHECK_TEXT(reason_of_nobody(false, 0, false, false), "-");
}

/* One that comes while its process closes it waits until that is done, and the answer goes out in that process's time. */
static void a_segment_that_waited_for_the_closing_process_has_no_socket(void)
{
	struct talk t = served_talk();

	kernel.inet_conn.icsk_inet.sk.__sk_common.skc_state = BPF_TCP_CLOSE;
	kernel.inet_conn.icsk_inet.sk.sk_backlog.len = 1;
	send_next(&t, RESP, TCP_ACK | TCP_RST, 0);
	CHECK_EQUAL(counted(ended[RSTR]), 1);
	CHECK(strstr(host.line, " reset_reason=no_socket"));
}

static void a_reset_that_was_refuted_has_no_reason(void)
{
	struct talk t = { .key = tuple4(40000, 80) };
	static struct host_socket kernels = { .raw = true };

	host_reset();
	t = open_talk(t.key, 1000, 2000);
	host.sender = &kernels;
	send_at(&t, RESP, TCP_RST | TCP_ACK, 500, 0, 0);
	host.sender = NULL;
	pass(HOST_S / 2);
	send_next(&t, RESP, TCP_ACK, 100);
	end_by_both(&t);
	CHECK(!strstr(host.line, "reset_reason"));
}

/* The tick that is found so long after boot, of a kernel that ticks so often; the socket is asked once. */
static __u32 tick_after(__u64 seconds, __u32 hz, int late_by)
{
	struct facts facts;
	struct bpf_tcp_sock tcp = {};

	host_reset();
	host.now = seconds * HOST_S;
	host.jiffies = (1ULL << 32) - 300 * hz + seconds * hz - late_by;
	read_facts(&facts, &tcp, NULL, tick_us());
	return facts.tick_us;
}

static void the_tick_of_the_kernels_clock_is_found(void)
{
	static const __u32 hz[] = { 100, 250, 300, 1000 }, us[] = { 10000, 4000, 3333, 1000 };
	static const __u64 after[] = { 1, 60, 311, 3600, 400 * 86400ULL };
	size_t i, j;

	for (i = 0; i < 4; i++) {
		for (j = 0; j < 5; j++)
			CHECK_EQUAL(tick_after(after[j], hz[i], 1), us[i]);
		CHECK_EQUAL(this_load.tick_us, us[i]);
		tick_after(300, hz[i], 1);
		CHECK_EQUAL(this_load.tick_us, 0); /* then it is not known for sure, and asked for again */
	}
}

static void what_runs_counts_up_to_now(void)
{
	struct bpf_tcp_sock tcp = {};
	struct facts facts;

	host_reset();
	memset(&kernel, 0, sizeof(kernel));
	host.jiffies = (1ULL << 32) + 250 * 3300;
	kernel.chrono_stat[0] = 10;
	kernel.chrono_stat[1] = 20;
	kernel.chrono_stat[2] = 30;
	kernel.chrono_type = CHRONO_RWND_LIMITED;
	kernel.chrono_start = host.jiffies - 5;
	kernel.bytes_retrans = 1ULL << 33;
	read_facts(&facts, &tcp, &kernel, tick_us());
	CHECK_EQUAL(facts.busy_us, 65);
	CHECK_EQUAL(facts.rwnd_limited_us, 25);
	CHECK_EQUAL(facts.sndbuf_limited_us, 30);
	CHECK_EQUAL(ticks_us(&facts, facts.busy_us), 65 * 4000);
	CHECK_EQUAL(facts.bytes_retrans, 1ULL << 33);
	kernel.chrono_type = 0;
	read_facts(&facts, &tcp, &kernel, tick_us());
	CHECK_EQUAL(facts.busy_us, 60);
	read_facts(&facts, &tcp, NULL, tick_us());
	CHECK_EQUAL(facts.busy_us, ~0U);
	CHECK_EQUAL(facts.bytes_retrans, ~0ULL);
}

static void what_took_most_of_the_time_held_it_back(void)
{
	struct flow f = { .start_ns = HOST_S, .syn_rtt_ns = 10 * HOST_MS };
	struct facts facts = { .known = true, .tick_us = 4000, .asked_ns = 2 * HOST_S, .bytes_acked = 100000 };

	CHECK_EQUAL(held_back(&f, &facts), HELD_APPLICATION | 99 << HELD_SHIFT);
	facts.busy_us = 150; /* ticks: 600 ms */
	facts.rwnd_limited_us = 125;
	CHECK_EQUAL(held_back(&f, &facts), HELD_RECEIVER | 50 << HELD_SHIFT);
	facts.rwnd_limited_us = 0;
	facts.sndbuf_limited_us = 150;
	CHECK_EQUAL(held_back(&f, &facts), HELD_SEND_BUFFER | 60 << HELD_SHIFT);
	facts.sndbuf_limited_us = 0;
	CHECK_EQUAL(held_back(&f, &facts), HELD_ROUND_TRIPS | 61 << HELD_SHIFT);
	facts.sndbuf_limited_us = 80; /* counts twice */
	CHECK_EQUAL(held_back(&f, &facts), HELD_SEND_BUFFER | 60 << HELD_SHIFT);
	facts.sndbuf_limited_us = 0;
	facts.retrans = 2;
	facts.dsack_dups = 1;
	facts.bytes_retrans = 1000;
	CHECK_EQUAL(held_back(&f, &facts), HELD_ROUND_TRIPS | 61 << HELD_SHIFT);
	facts.bytes_retrans = 1011;
	CHECK_EQUAL(held_back(&f, &facts), HELD_LOSS | 61 << HELD_SHIFT);
	facts.dsack_dups = 2; /* all of it was late, and not lost */
	CHECK_EQUAL(held_back(&f, &facts), HELD_ROUND_TRIPS | 61 << HELD_SHIFT);
	facts.dsack_dups = 1;
	facts.busy_us = 1000; /* coarser than what it measures, or another's: not more than all */
	CHECK_EQUAL(held_back(&f, &facts), HELD_LOSS | 100 << HELD_SHIFT);
	facts.asked_ns = f.start_ns + 39 * HOST_MS;
	CHECK_EQUAL(held_back(&f, &facts), HELD_UNKNOWN);
	facts.asked_ns = 2 * HOST_S;
	/* Its SYN was sent again, and the handshake took most of the time. */
	facts.busy_us = 0;
	facts.bytes_retrans = 0;
	f.syn_rtt_ns = 900 * HOST_MS;
	CHECK_EQUAL(held_back(&f, &facts), HELD_ROUND_TRIPS | 90 << HELD_SHIFT);
	f.syn_retrans = 1;
	CHECK_EQUAL(held_back(&f, &facts), HELD_LOSS | 90 << HELD_SHIFT);
	/* What it waited for was a bulk from the other side, which alone knows why that took so long. */
	f.syn_rtt_ns = 10 * HOST_MS;
	CHECK_EQUAL(held_back(&f, &facts), HELD_APPLICATION | 99 << HELD_SHIFT);
	facts.mss = 1000;
	facts.segs_in = 200;
	facts.bytes_received = 200000;
	CHECK_EQUAL(held_back(&f, &facts), HELD_UNKNOWN);
	facts.segs_in = 1000; /* many small ones are a talk */
	CHECK_EQUAL(held_back(&f, &facts), HELD_APPLICATION | 99 << HELD_SHIFT);
	facts.busy_us = ~0U;
	CHECK_EQUAL(held_back(&f, &facts), HELD_UNKNOWN);
}

int main(void)
{
	RUN(who_closes_an_incoming_connection_is_named);
	RUN(nobody_is_named_where_one_condition_does_not_hold);
	RUN(who_opens_an_outgoing_connection_is_named_whoever_closes_it);
	RUN(who_has_been_noted_to_close_is_named_where_nobody_else_is);
	RUN(a_hostile_name_is_one_word_in_the_line);
	RUN(a_socket_says_why_it_resets);
	RUN(the_kernel_resets_for_nobody);
	RUN(a_segment_that_waited_for_the_closing_process_has_no_socket);
	RUN(a_reset_that_was_refuted_has_no_reason);
	RUN(the_tick_of_the_kernels_clock_is_found);
	RUN(what_runs_counts_up_to_now);
	RUN(what_took_most_of_the_time_held_it_back);
	return unit_end();
}
