// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * adopt: finds what this host's sockets have open, for the tracker to take over: tracker/adopt.h. A line with the interface's
 * number for each, of those sockets whose segments pass an interface that is in nt_adopt_at. Iterates over the sockets of the
 * network namespace in which the file is opened, each of which is locked meanwhile: so its counts fit its sequence numbers.
 *
 * A socket says nowhere who opened its connection, but an accepted one has kept from which interface the handshake came, in a place
 * where one that connects has nothing: as the interface for multicast, which no TCP socket can be given (tcp_v4_syn_recv_sock(),
 * net/ipv4/tcp_ipv4.c).
 */
#include "iterator.h"

#define TEXT_LEN 64
#define LITERAL_LEN 32
#include "ends.h"
#include "../tracker/candidates.h"
#include "../tracker/facts.h"

#define LOOPBACK_IFINDEX 1

/* By their numbers in this namespace, the interfaces whose connections are wanted: their places in nt_ifaces. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_IFACES);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_adopt_at SEC(".maps");

/* ---------------------------------------------------------------------------------- of the kernel, by way of its BTF */

/* Names behind ___ are ours: tracker/kernel.h has some of these, too, with what is read there. */
struct net_device___at {
	int ifindex;
} KERNEL;

struct dst_entry___at {
	struct net_device___at *dev;
} KERNEL;

struct kernfs_node {
	__u64 id;
} KERNEL;

struct cgroup {
	struct kernfs_node *kn;
} KERNEL;

struct sock_cgroup_data {
	struct cgroup *cgroup;
} KERNEL;

struct sock___at {
	struct dst_entry___at *sk_dst_cache;
	struct sock_cgroup_data sk_cgrp_data;
} KERNEL;

struct ipv6_pinfo {
	int mcast_oif;
} KERNEL;

struct inet_sock___at {
	struct sock___at sk;
	struct ipv6_pinfo *pinet6;
	int mc_index;
} KERNEL;

struct inet_connection_sock___at {
	struct inet_sock___at icsk_inet;
} KERNEL;

struct tcp_sock___at {
	struct inet_connection_sock___at inet_conn;
	__u32 snd_una;
	__u32 rcv_nxt;
	__u64 bytes_acked;
	__u64 bytes_received;
} KERNEL;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common; /* NULL in the call after the last socket */
	__u32 uid __attribute__((aligned(8)));
};

/* Did the other side open it? */
static __always_inline bool is_accepted(const struct tcp_sock___at *tcp, __u16 family)
{
	if (family == INET6)
		return tcp->inet_conn.icsk_inet.pinet6->mcast_oif;
	return tcp->inet_conn.icsk_inet.mc_index;
}

static __always_inline bool is_of_one_link(const struct address *a)
{
	return (*(const __be16 *)a & bpf_htons(0xffc0)) == bpf_htons(0xfe80);
}

SEC("iter/tcp")
int adopt(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	const struct sock_common___ends *ends = (const struct sock_common___ends *)common;
	const struct tcp_sock___at *tcp;
	struct conn_key key = {};
	struct flow flow = {};
	const struct iface *iface;
	const __u32 *place;
	__u32 index, ifindex, own_isn, other_isn;
	bool accepted;

	if (!common || !has_two_ends(ends) || ends->skc_state != BPF_TCP_ESTABLISHED)
		return 0;
	if (!bpf_core_field_exists(((struct inet_sock___at *)0)->mc_index) ||
	    !bpf_core_field_exists(((struct ipv6_pinfo *)0)->mcast_oif))
		return 0;
	tcp = (const struct tcp_sock___at *)bpf_skc_to_tcp_sock(common);
	if (!tcp)
		return 0;
	ifindex = tcp->inet_conn.icsk_inet.sk.sk_dst_cache->dev->ifindex;
	place = bpf_map_lookup_elem(&nt_adopt_at, &ifindex);
	if (!place)
		return 0;
	index = *place;
	iface = bpf_map_lookup_elem(&nt_ifaces, &index);
	if (!iface)
		return 0;
	accepted = is_accepted(tcp, ends->skc_family);
	/* Both ends of what passes lo have a socket here. */
	if (accepted && ifindex == LOOPBACK_IFINDEX)
		return 0;

	read_ends(ends, (struct address *)(accepted ? key.dst : key.src), (struct address *)(accepted ? key.src : key.dst));
	key.sport = accepted ? bpf_ntohs(ends->skc_dport) : ends->skc_num;
	key.dport = accepted ? ends->skc_num : bpf_ntohs(ends->skc_dport);
	key.twin = is_of_one_link((struct address *)key.src) || is_of_one_link((struct address *)key.dst) ? index : iface->scope;

	/* What is acknowledged counts the SYN of who has connected; an accepted socket begins behind its own. */
	own_isn = tcp->snd_una - (__u32)tcp->bytes_acked - accepted;
	other_isn = tcp->rcv_nxt - (__u32)tcp->bytes_received - 1;
	flow.flags = ADOPTED | ESTABLISHED | RESP_SEEN | ORIG_ACKED | RESP_SYN | HAS_OWNER | (accepted ? 0 : IS_OUTBOUND);
	flow.orig_isn = accepted ? other_isn : own_isn;
	flow.resp_isn = accepted ? own_isn : other_isn;
	flow.ifindex = ifindex;
	flow.iface = index;
	flow.start_ns = bpf_ktime_get_boot_ns();
	flow.last_ns = flow.start_ns;
	flow.uid = ctx->uid;
	if (bpf_core_field_exists(((struct sock___at *)0)->sk_cgrp_data))
		flow.cgroup = tcp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup->kn->id;
	if (!bpf_map_update_elem(&nt_adopt, &key, &flow, BPF_NOEXIST))
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u\n", ifindex);
	return 0;
}
