// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * No connection is lost: the law at struct counters holds after any events in any order, and the laws of the sets, the pools and
 * conn_map with it. A few sets get far more connections than they have places for; segments are lost, sent again, forged; and at
 * any step of one CPU another may come in between, with a whole event of its own. The numbers are the same in each run: what fails
 * says in which world, and after how many events.
 */
#include "host/host.h"

#ifndef WORLDS
#define WORLDS 12
#endif
#define EVENTS 2000 /* in each */
#define SETS 3
#define TUPLES 48

static const __u32 sets[SETS] = { 0, 77, SYN_SETS - 1 };
static struct talk talks[TUPLES];
static unsigned int scopes;      /* in which segments are seen, whatever connection they are of; 0: none */
static unsigned int one_step_in; /* so many is interrupted; 0: none, one event comes after the other */

/* A number like one that a TCP sends: mostly the right one. */
static __u32 off_by(void)
{
	static const __u32 offs[] = { 1,         -1U, 1000, -1000U, FIRST_WINDOW, HANDSHAKE_SPAN, REORDER_BYTES, -REORDER_BYTES - 1,
		                      0x80000000 };

	return any_below(4) ? 0 : offs[any_below(sizeof(offs) / sizeof(offs[0]))];
}

static void begin_again(struct talk *t)
{
	t->orig = any64();
	t->resp = any64();
	send_next(t, ORIG, TCP_SYN, any_below(8) ? 0 : 500);
}

/* The whole of a connection, as most are. */
static void go_through(struct talk *t)
{
	begin_again(t);
	send_next(t, RESP, TCP_SYN | TCP_ACK, 0);
	send_next(t, ORIG, TCP_ACK, 0);
}

static void segment(struct talk *t)
{
	static const __u8 flags[] = { TCP_ACK, TCP_ACK,           TCP_ACK | TCP_FIN, TCP_ACK | TCP_FIN,
		                      TCP_RST, TCP_RST | TCP_ACK, TCP_SYN,           TCP_SYN | TCP_ACK };
	__u8 flag = flags[any_below(sizeof(flags))];
	enum side side = any_below(2) ? ORIG : RESP;
	__u32 off = off_by();

	if (off || any_below(4) == 0)
		send_at(t, side, flag, off, any_below(8) ? 0 : off_by(), any_below(1000));
	else
		send_next(t, side, flag, flag & (TCP_ACK | TCP_FIN) ? any_below(1000) : 0);
}

/* Sometimes this host has the responder's socket, in whatever state, or the connection is forwarded. */
static void change_sockets(const struct talk *t)
{
	static struct host_socket own;
	bool here = any_below(3) == 0;

	own.sk.state = 1 + any_below(11);
	own.sk.src_ip4 = bpf_htonl(0x0a000002);
	own.sk.dst_ip4 = bpf_htonl(0x0a000001);
	own.sk.src_port = t->key.dport;
	own.sk.dst_port = bpf_htons(t->key.sport);
	own.tcp.rcv_nxt = t->orig - any_below(2);
	own.tcp.snd_una = t->resp;
	host.receiver = here ? &own : NULL;
	host.sender = here ? &own : NULL;
}

static void event(void)
{
	struct talk *t = &talks[any_below(TUPLES)];

	change_sockets(t);
	this_load.scope_id = scopes ? 1 + any_below(scopes) : 0;
	switch (any_below(18)) {
	case 0:
	case 1:
	case 2:
		go_through(t);
		break;
	case 3:
	case 4:
		begin_again(t);
		break;
	case 5:
		host.now += any64() >> (28 + any_below(20));
		break;
	case 6:
		run_clock();
		break;
	case 7:
		if (!any_below(40)) {
			settings()->flush = 1;
			host_enter();
			flush();
			host_leave();
		}
		break;
	case 8: /* of both sides at once, when another CPU comes in */
		send_next(t, ORIG, TCP_ACK | TCP_FIN, 1);
		send_next(t, RESP, TCP_ACK | TCP_FIN, 1);
		break;
	default:
		segment(t);
	}
}

/* Another CPU has something to do. */
static void come_in_between(const char *what, const void *map)
{
	__u32 scope = this_load.scope_id;

	(void)what, (void)map;
	if (any_below(one_step_in) || host.cpu == HOST_CPUS - 1)
		return;
	host.cpu++;
	event();
	host.cpu--;
	this_load.scope_id = scope;
}

/* The other place of the set, if there is one, with a connection of this tuple that is as far. */
static bool has_twin(__u32 index, __u32 place)
{
	const struct slot *slot = slot_in(index, place);
	__u32 i;

	for (i = 0; i < SYN_WAYS; i++) {
		const struct slot *other = slot_in(index, i);

		if (i != place && other && !((other->flow.flags ^ slot->flow.flags) & ESTABLISHED) &&
		    (same_key(&other->key, &slot->key) || opposite_key(&other->key, &slot->key)))
			return true;
	}
	return false;
}

/*
 * A set's word in the gate and its time are what its places make them, and nobody is on the way. Who is interrupted may note a time
 * that is later than another's by as much as that took; so the times are compared only where nobody is.
 */
static void check_set(__u32 index)
{
	const struct syn_set *set = set_at(index);
	__u32 i;

	CHECK_EQUAL(due_of(index), set->due_ns);
	if (set->due_ns)
		CHECK(host.timer_due && host.timer_due <= host.now + CLOCK_STEP_NS);
	for (i = 0; i < SYN_WAYS; i++) {
		const struct slot *slot = slot_in(index, i);
		bool open = slot && (!(slot->flow.flags & ESTABLISHED) || slot->flow.flags & (BOTH_FINS | RST_PENDING));

		CHECK_EQUAL(set->open >> i & 1, open);
		if (!slot)
			continue;
		CHECK_EQUAL(set->tag[i], tag_of(hash_key(&slot->key)));
		unit_check(!(slot->flow.flags & (MOVING | ENDED | REPLACED)), "flags %#x", slot->flow.flags);
		CHECK((slot->flow.flags & BOTH_KNOWN) != BOTH_KNOWN || !(slot->flow.flags & ESTABLISHED));
		CHECK(scopes || !has_twin(index, i));
		if (open)
			CHECK(gate_at(index) & gate_bit(hash_key(&slot->key)));
		CHECK(set->due_ns);
		if (!one_step_in)
			CHECK(set->due_ns <= due_at(&slot->flow, handshake_timeout_ns(), close_timeout_ns()));
	}
	if (!set->open)
		CHECK_EQUAL(gate_at(index), set->watch_gate);
	CHECK_EQUAL(set->watch_gate & ~gate_at(index), 0);
	CHECK_EQUAL(!set->watch_gate, !set->watched);
	CHECK_EQUAL(set->open >> SYN_WAYS, 0);
}

/*
 * Nobody is at work: no connection is both in motion and at rest, nor there twice, whoever called whom. But a SYN that comes while
 * its tuple's connection is just laid to rest is not doubtful: the old one stays there until the new one is laid to rest, too.
 */
static void check_connections(void)
{
	struct host_entry *entry;

	for (entry = host_map_of(&conn_map)->entries; entry && !one_step_in && !scopes; entry = entry->next) {
		struct flow_key turned;

		put_key(&turned, entry->key, true);
		CHECK(!moving_of(entry->key, true));
		CHECK(!moving_of(&turned, true));
		CHECK(!resting_of(&turned));
	}
}

static void check_law(void)
{
	void (*step)(const char *, const void *) = host.step;
	int i;

	host.step = NULL;
	for (i = 0; i < SETS; i++)
		check_set(sets[i]);
	check_connections();
	conserved();
	host.step = step;
}

/* At the end everything is ended, by time if it was closing, else on request; and every end has its record. */
static void end_world(void)
{
	host.step = NULL;
	pass((HANDSHAKE_TIMEOUT_S + CLOSE_TIMEOUT_S) * HOST_S);
	CHECK_EQUAL(live_attempts() + all_moving(true), 0);
	conserved();
	flush_all();
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(counted(logged), counted_ends());
	CHECK_EQUAL(host.lines, counted_ends());
	conserved();
}

/* Every third world has a conn_map that is soon full, every second interim records. */
static void new_world(unsigned int world, unsigned int one_in)
{
	host_reset();
	one_step_in = one_in;
	host.reuse = one_in && any_below(2);
	host.step = one_in ? come_in_between : NULL;
	host_map_of(&conn_map)->max_entries = world % 3 ? TUPLES : 2 + any_below(6);
	settings()->handshake_timeout = any_below(4);
	settings()->close_timeout = any_below(4);
	settings()->idle_timeout = any_below(2) ? 1 + any_below(40) : 0;
	settings()->interim = world % 2 ? 1 + any_below(20) : 0;
}

/* What all worlds together have seen: those in which nothing is evicted, refuted or late would show nothing. */
static __u64 seen[10];

static void note_seen(void)
{
	int i = 0;

	seen[i++] += counted(ended[SF]);
	seen[i++] += counted(established);
	seen[i++] += counted(expired);
	seen[i++] += counted(replaced);
	seen[i++] += counted(syn_evicted);
	seen[i++] += counted(syn_disbelieved);
	seen[i++] += counted(conn_full);
	seen[i++] += counted(rst_disbelieved);
	seen[i++] += counted(close_evicted);
	seen[i++] += host_only(struct log_head, nt_log_head)->written - counted(logged); /* interim records */
}

static void run_worlds(unsigned int one_in)
{
	unsigned long failures = unit_failures;
	unsigned int world, events;
	size_t i;

	memset(seen, 0, sizeof(seen));
	for (world = 0; world < WORLDS; world++) {
		new_world(world, one_in << world % 4);
		for (events = 1; events <= EVENTS && unit_failures == failures; events++) {
			event();
			check_law();
		}
		note_seen();
		end_world();
		if (unit_failures > failures) {
			fprintf(stderr, "in world %u, after %u events\n", world, events - 1);
			return;
		}
	}
	for (i = 0; i < sizeof(seen) / sizeof(seen[0]); i++)
		unit_check(seen[i] > 0, "what is in seen[%zu] has never come to pass", i);
}

static void nothing_is_lost_in_any_order_of_events(void)
{
	run_worlds(0);
}

static void nothing_is_lost_when_cpus_come_in_each_others_way(void)
{
	run_worlds(16);
}

/* Each tuple is several connections', seen in one of the scopes or in more. */
static void nothing_is_lost_in_several_scopes(void)
{
	for (scopes = 2; scopes <= SCOPES + 1; scopes += SCOPES - 1) {
		run_worlds(0);
		run_worlds(16);
	}
	scopes = 0;
}

int main(void)
{
	int i;

	for (i = 0; i < SETS; i++) {
		struct flow_key keys[TUPLES / SETS];
		int j;

		tuples_of_set(sets[i], keys, TUPLES / SETS);
		for (j = 0; j < TUPLES / SETS; j++)
			talks[i * TUPLES / SETS + j].key = keys[j];
	}
	RUN(nothing_is_lost_in_any_order_of_events);
	RUN(nothing_is_lost_when_cpus_come_in_each_others_way);
	RUN(nothing_is_lost_in_several_scopes);
	return unit_end();
}
