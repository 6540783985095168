/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ends.h - the two ends of a socket and its network namespace, and which interfaces are in which one. For the views holders and
 * sockets, which go over what the kernel has, and not over the tracker's maps.
 */
#ifndef NETRACKER_ENDS_H
#define NETRACKER_ENDS_H

#include "interfaces.h"
#include "line.h"

/* ---------------------------------------------------------------------------------- of the kernel, by way of its BTF */

/* Names behind ___ are ours: tracker/kernel.h has these structs, too, with what is read there. */
struct ns_common {
	unsigned int inum;
} KERNEL;

struct net {
	struct ns_common ns;
} KERNEL;

typedef struct {
	struct net *net;
} KERNEL possible_net_t;

struct in6_addr {
	__u8 bytes[16];
};

struct sock_common___ends {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} KERNEL;

/* Of the C library's and the kernel's headers, which do not go together. */
#define INET 2
#define INET6 10

/* Is it one of IP, with two ends? */
static __always_inline bool has_two_ends(const struct sock_common___ends *sk)
{
	if (sk->skc_family != INET && sk->skc_family != INET6)
		return false;
	return sk->skc_state != BPF_TCP_LISTEN && sk->skc_dport && sk->skc_num;
}

static __always_inline void map_ipv4(struct address *address, __be32 ipv4)
{
	__u32 *word = (__u32 *)address;

	word[0] = word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = ipv4;
}

/* The socket's own end and the other one. */
static __always_inline void read_ends(const struct sock_common___ends *sk, struct address *local, struct address *remote)
{
	if (sk->skc_family == INET6 && bpf_core_field_exists(sk->skc_v6_daddr)) {
		bpf_core_read(local, sizeof(*local), &sk->skc_v6_rcv_saddr);
		bpf_core_read(remote, sizeof(*remote), &sk->skc_v6_daddr);
		return;
	}
	map_ipv4(local, sk->skc_rcv_saddr);
	map_ipv4(remote, sk->skc_daddr);
}

/* Its network namespace's inode. */
static __always_inline __u32 netns_of(const struct sock_common___ends *sk)
{
	return sk->skc_net.net->ns.inum;
}

/* Writes both ends: LOCAL REMOTE. */
static __always_inline void put_ends(struct text *t, const struct sock_common___ends *sk, const struct address *local,
                                     const struct address *remote)
{
	put_endpoint(t, local, sk->skc_num);
	put_char(t, ' ');
	put_endpoint(t, remote, bpf_ntohs(sk->skc_dport));
}

/* Writes the line of the interface in this place, if there is one. A global function, which is verified once. Returns 0. */
__noinline int put_interface(struct text *t, __u32 place)
{
	const struct iface *iface = bpf_map_lookup_elem(&nt_ifaces, &place);

	if (!t)
		return 0;
	t->len = 0;
	if (!iface || !iface->name[0])
		return 0;
	put_literal(t, "interface ");
	__builtin_memcpy(t->name, iface->name, sizeof(t->name));
	put_name(t);
	put_char(t, ' ');
	return put_number(t, iface->netns);
}

/* A line for each interface that the tracker is attached to: interface NAME NETNS. */
static __always_inline void print_interfaces(struct seq_file *seq, struct text *line)
{
	__u32 i;

	NOT_UNROLLED
	for (i = 0; i < MAX_IFACES; i++) {
		put_interface(line, i);
		if (line->len)
			print_line(seq, line);
	}
}

#endif
