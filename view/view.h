/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * view.h - what the views of connections share: the maps they look things up in, and how one connection is put into words.
 *
 * Views take no lock and never wait. A connection that opens or closes while the table is read may be missing or listed twice.
 */
#ifndef NETRACKER_VIEW_H
#define NETRACKER_VIEW_H

#include "iterator.h"
#define TEXT_LEN 128 /* both ends of a connection; on the stack, as a reader of a file can be interrupted by another */
#define LITERAL_LEN 8
#include "../NeTracker.text.h"

#include <bpf/bpf_endian.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_IFACES);
	__type(key, __u32);
	__type(value, struct iface);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_ifaces SEC(".maps");

static const char state_names[CONN_STATES][8] = {
	[S0] = "S0", [S1] = "S1",   [S2] = "S2",     [S3] = "S3",     [SF] = "SF",
	[SH] = "SH", [REJ] = "REJ", [RSTO] = "RSTO", [RSTR] = "RSTR", [RSTOS0] = "RSTOS0",
};

static __always_inline const char *dir_name(enum direction dir)
{
	return dir == DIR_OUT ? "out" : "in";
}

static __always_inline enum direction dir_of(const struct flow *flow)
{
	return flow->flags & IS_OUTBOUND ? DIR_OUT : DIR_IN;
}

static __always_inline enum conn_state state_of_handshake(const struct flow *flow)
{
	if (flow->flags & RESP_SEEN)
		return S1;
	return flow->flags & ORIG_FIN ? SH : S0;
}

static __always_inline enum conn_state state_of_connection(const struct flow *flow)
{
	if (flow->flags & ORIG_FIN)
		return S2;
	return flow->flags & RESP_FIN ? S3 : S1;
}

/* Payload so far as FIN or RST tell it, -1: not known yet. */
static __always_inline __s64 orig_bytes(const struct flow *flow)
{
	return flow->flags & ORIG_END ? (__u32)(flow->orig_end - flow->orig_isn - 1) : -1LL;
}

static __always_inline __s64 resp_bytes(const struct flow *flow)
{
	if (!(flow->flags & RESP_END) || !(flow->flags & RESP_SYN))
		return -1;
	return (__u32)(flow->resp_end - flow->resp_isn - 1);
}

static __always_inline __u64 age_of(const struct flow *flow)
{
	return bpf_ktime_get_boot_ns() - flow->start_ns;
}

/* The name of the interface that saw the first SYN, or "-" if nobody gave it one. */
static __always_inline const char *iface_name(const struct flow *flow)
{
	__u32 index = flow->iface;
	const struct iface *iface = index ? bpf_map_lookup_elem(&nt_ifaces, &index) : NULL;

	return iface && iface->name[0] ? iface->name : "-";
}

/* 192.0.2.1:49152 -> 192.0.2.2:80 or [2001:db8::1]:49152 -> [2001:db8::2]:80 */
static __always_inline void print_endpoints(struct seq_file *seq, const struct flow_key *key)
{
	struct text t = {};

	put_endpoint(&t, (const struct address *)key->src, key->sport);
	put_literal(&t, " -> ");
	put_endpoint(&t, (const struct address *)key->dst, key->dport);
	BPF_SEQ_PRINTF(seq, "%s", t.c);
}

/*
 * For programs: the keys of the trace's line in their order, with age_ns in place of dur_ns. 0 in a time and -1 in a size:
 * not seen.
 */
static __always_inline void print_record(struct seq_file *seq, const struct flow_key *key, const struct flow *flow,
                                         enum conn_state state)
{
	print_endpoints(seq, key);
	BPF_SEQ_PRINTF(seq, " age_ns=%llu state=%s dir=%s first_fin_ns=%llu syn_rtt_ns=%llu ack_rtt_ns=%llu", age_of(flow),
	               state_names[state], dir_name(dir_of(flow)), flow->first_fin_ns ? flow->first_fin_ns - flow->start_ns : 0,
	               flow->syn_rtt_ns, flow->ack_rtt_ns);
	BPF_SEQ_PRINTF(seq, " orig_bytes=%lld resp_bytes=%lld syn_retrans=%u start_ns=%llu ifindex=%u ifname=%s", orig_bytes(flow),
	               resp_bytes(flow), flow->syn_retrans, flow->start_ns, flow->ifindex, iface_name(flow));
	if (flow->flags & HAS_OWNER)
		BPF_SEQ_PRINTF(seq, " uid=%u cgroup=%llu\n", flow->uid, flow->cgroup);
	else
		BPF_SEQ_PRINTF(seq, "\n");
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

static __always_inline void print_table_row(struct seq_file *seq, const struct flow_key *key, const struct flow *flow,
                                            enum conn_state state)
{
	__u64 age_ms = age_of(flow) / 1000000;

	BPF_SEQ_PRINTF(seq, "%-5s %-3s %-15s %6llu.%03llu", state_names[state], dir_name(dir_of(flow)), iface_name(flow),
	               age_ms / 1000, age_ms % 1000);
	print_thousandths(seq, flow->syn_rtt_ns / 1000);
	print_thousandths(seq, flow->ack_rtt_ns / 1000);
	print_bytes(seq, orig_bytes(flow));
	print_bytes(seq, resp_bytes(flow));
	BPF_SEQ_PRINTF(seq, " ");
	print_endpoints(seq, key);
	BPF_SEQ_PRINTF(seq, "\n");
}

/*
 * Copies handshake i of a set, unless its place is free. The set's lock is for the tracker alone; instead the tag is looked
 * at again after copying: a place that changed hands meanwhile is left out.
 */
static __always_inline bool copy_handshake(const struct syn_set *set, int i, struct syn_slot *copy)
{
	__u32 tag = *(volatile const __u32 *)&set->tag[i];

	if (!tag)
		return false;
	*copy = set->slot[i];
	barrier();
	return *(volatile const __u32 *)&set->tag[i] == tag;
}

#endif
