/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * view.h - what the views of connections share: the maps they look things up in, and how one connection is put into words.
 *
 * Views take no lock and never wait. A connection that opens or closes while the table is read may be missing or listed twice.
 */
#ifndef NETRACKER_VIEW_H
#define NETRACKER_VIEW_H

#include "iterator.h"
/* A connection in words; longer than any, a power of two. */
#define TEXT_LEN 2048
#define LITERAL_LEN 32
#include "interfaces.h"
#include "line.h"
#include "noted.h"
#include "../tracker/flow.h"
#include "../tracker/record.h"
#include "../tracker/verifier.h"

#include <bpf/bpf_endian.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, POOLS);
	__type(key, __u32);
	__type(value, struct pool);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_pool SEC(".maps");

static __always_inline __u64 age_of(const struct flow *flow)
{
	return bpf_ktime_get_boot_ns() - flow->start_ns;
}

/* The name of the interface that saw the first SYN, or "-" if nobody gave it one. */
static __always_inline const char (*iface_name(const struct flow *flow))[IFACE_NAME_LEN]
{
	__u32 index = flow->iface;
	const struct iface *iface = index ? bpf_map_lookup_elem(&nt_ifaces, &index) : NULL;

	return iface && iface->name[0] ? &iface->name : NO_NAME;
}

/*
 * Adds to the copy of a live connection what its socket on this host says, and who holds it if the tracker does not know who has
 * opened it, if that has been noted for who reads: the one whose ends are the connection's, from the side that first saw it, in the
 * network namespace of the interface. It has the initial sequence number that was seen, or it is another connection's. A global
 * function, which is verified once. Returns 0.
 */
__noinline int add_noted(struct slot *copy)
{
	const union noted *noted;
	const struct iface *iface;
	struct noted_key key;
	__u32 index, isn;
	bool out;

	if (!copy)
		return 0;
	index = copy->flow.iface;
	iface = index ? bpf_map_lookup_elem(&nt_ifaces, &index) : NULL;
	if (!iface)
		return 0;
	out = copy->flow.flags & IS_OUTBOUND;
	__builtin_memcpy(key.local, out ? copy->key.src : copy->key.dst, 16);
	__builtin_memcpy(key.remote, out ? copy->key.dst : copy->key.src, 16);
	key.lport = out ? copy->key.sport : copy->key.dport;
	key.rport = out ? copy->key.dport : copy->key.sport;
	key.netns = iface->netns;
	key.reader = reader_of_notes();
	noted = bpf_map_lookup_elem(&nt_noted, &key);
	if (!noted)
		return 0;
	if (noted->facts.known) {
		isn = out ? copy->flow.orig_isn : copy->flow.resp_isn;
		/* The socket's own SYN counts as a byte, or does not. */
		if (noted->facts.snd_una - (__u32)noted->facts.bytes_acked - isn > 1)
			return 0;
		copy->facts = noted->facts;
		copy->facts.of_orig = out;
	}
	/* Of a connection without an owner the socket is elsewhere. */
	if (noted->process.pid && !copy->flow.process.pid && copy->flow.flags & HAS_OWNER)
		copy->flow.process = noted->process;
	return 0;
}

/* The copy of a connection at rest, with what its socket says. */
static __always_inline void copy_at_rest(struct slot *copy, const struct flow_key *key, const struct conn *conn)
{
	copy->key = *key;
	copy->flow = conn->flow;
	copy->facts.known = false;
	add_noted(copy);
}

static long forget_own(void *map, const struct noted_key *key, union noted *noted __unused, const __u64 *reader)
{
	if (key->reader == *reader)
		bpf_map_delete_elem(map, key);
	return 0;
}

/* What has been noted for who reads is of no more use: he has come to the end. */
static __always_inline void forget_noted(void)
{
	__u64 reader = reader_of_notes();

	bpf_for_each_map_elem(&nt_noted, forget_own, &reader, 0);
}

/*
 * For programs: writes the trace's line without its first word, with age_ns in place of dur_ns. A global function, which the
 * verifier checks once, not for each of the eight connections of a set. Returns 0.
 * facts: of its socket; NULL: none was asked.
 * state: enum conn_state, as wide as verifier.h wants it.
 */
__noinline int put_live_record(struct text *t, const struct flow_key *key, const struct flow *flow, const struct facts *facts,
                               __u64 state)
{
	struct shown shown;

	if (!t || !key || !flow || state >= CONN_STATES)
		return 0;
	shown = (struct shown){
		.key = key,
		.flow = flow,
		.facts = facts ? facts : &no_facts,
		.ifname = iface_name(flow),
		.lifetime_ns = age_of(flow),
		.state = state,
		.live = true,
	};
	put_record(t, &shown);
	return 0;
}

static __always_inline void print_record(struct seq_file *seq, struct text *t, const struct flow_key *key, const struct flow *flow,
                                         const struct facts *facts, enum conn_state state)
{
	t->len = 0;
	put_live_record(t, key, flow, facts, state);
	print_line(seq, t);
}

/* For people. The columns of fixed width come first, so that they stay in line whatever the addresses are. */
static __always_inline void print_table_head(struct seq_file *seq)
{
	BPF_SEQ_PRINTF(seq, "STATE DIR IFACE                AGE_S    SYN_MS    ACK_MS ORIG_BYTES RESP_BYTES CONNECTION\n");
}

/* A time as a decimal fraction of units of 1000 steps, "-" if it is not known. */
static __always_inline void print_thousandths(struct seq_file *seq, __u64 steps)
{
	if (steps)
		BPF_SEQ_PRINTF(seq, " %5llu.%03llu", steps / 1000, steps % 1000);
	else
		BPF_SEQ_PRINTF(seq, "         -");
}

static __always_inline void print_bytes(struct seq_file *seq, __s64 bytes)
{
	if (bytes >= 0)
		BPF_SEQ_PRINTF(seq, " %10lld", bytes);
	else
		BPF_SEQ_PRINTF(seq, "          -");
}

static __always_inline void print_table_row(struct seq_file *seq, struct text *t, const struct flow_key *key,
                                            const struct flow *flow, const struct facts *facts, enum conn_state state)
{
	__u64 age_ms = age_of(flow) / 1000000;

	t->len = 0;
	__builtin_memcpy(t->name, *iface_name(flow), sizeof(t->name));
	put_name(t);
	put_char(t, '\0');
	BPF_SEQ_PRINTF(seq, "%-5s %-3s %-15s %6llu.%03llu", state_name[state], dir_name[dir_of(flow)], t->c, age_ms / 1000,
	               age_ms % 1000);
	print_thousandths(seq, flow->syn_rtt_ns / 1000);
	print_thousandths(seq, flow->ack_rtt_ns / 1000);
	print_bytes(seq, exact_bytes(flow, facts, true));
	print_bytes(seq, exact_bytes(flow, facts, false));
	t->len = 0;
	put_char(t, ' ');
	put_endpoints(t, key);
	print_line(seq, t);
}

/*
 * Copies the connection in motion in place i of the set with this index, unless the place is free, or it is on its way to or from
 * conn_map. The set's lock is for the tracker alone; instead the tag is looked at again after copying: a place that changed hands
 * meanwhile is left out.
 */
static __always_inline bool copy_moving(__u32 index, const struct syn_set *set, __u32 i, struct slot *copy)
{
	__u32 quarter = index / (SYN_SETS / POOLS);
	__u16 tag = *(volatile const __u16 *)&set->tag[i];
	const struct pool *pool;

	if (!tag)
		return false;
	pool = bpf_map_lookup_elem(&nt_pool, &quarter);
	if (!pool)
		return false;
	*copy = pool->slot[set->at[i] & (POOL_SLOTS - 1)];
	barrier();
	return *(volatile const __u16 *)&set->tag[i] == tag && !(copy->flow.flags & (MOVING | ENDED));
}

/*
 * Does what conclude() says. The verifier goes on behind a global function with a connection of which it knows nothing, and not
 * with each that can come out of here.
 */
__noinline __u64 conclusion(struct slot *copy)
{
	__u64 end_ns = 0;

	if (!copy)
		return S0;
	if (copy->flow.flags & ESTABLISHED)
		return end_unclosed(&copy->flow, &end_ns);
	note_nothing_more(&copy->flow);
	return handshake_state(copy->flow.flags);
}

/* Makes of such a copy what would be reported of the connection if nothing more came. Returns the state. */
static __always_inline enum conn_state conclude(struct slot *copy)
{
	__u64 state = conclusion(copy);

	forget_range(state);
	return state < CONN_STATES ? state : S0;
}

#endif
