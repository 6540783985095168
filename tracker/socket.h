/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * socket.h - what this host's own sockets know: of a connection, ask_socket(); whose it is, find_owner(). For motion.h and
 * rest.h. Nobody else asks sockets.
 */
#ifndef NETRACKER_SOCKET_H
#define NETRACKER_SOCKET_H

#include "flow.h"
#include "maps.h"
#include "segment.h"
#include "text.h"
#include "tuple.h"

/*
 * Is this the socket that sends the segment? One that closes with a RST has given its port back before it sends it
 * (tcp_set_state(), TCP_CLOSE), but not its addresses.
 */
static __always_inline bool sends(const struct bpf_sock *sk, const struct flow_key *key)
{
	bool port_is_gone = sk->state == BPF_TCP_CLOSE && !sk->src_port;

	if ((sk->src_port != key->sport && !port_is_gone) || sk->dst_port != bpf_htons(key->dport))
		return false;
	if (is_ipv4(key->src))
		return sk->src_ip4 == *(const __u32 *)(key->src + 12) && sk->dst_ip4 == *(const __u32 *)(key->dst + 12);
	return sk->src_ip6[0] == ((const __u32 *)key->src)[0] && sk->src_ip6[1] == ((const __u32 *)key->src)[1] &&
	       sk->src_ip6[2] == ((const __u32 *)key->src)[2] && sk->src_ip6[3] == ((const __u32 *)key->src)[3] &&
	       sk->dst_ip6[0] == ((const __u32 *)key->dst)[0] && sk->dst_ip6[1] == ((const __u32 *)key->dst)[1] &&
	       sk->dst_ip6[2] == ((const __u32 *)key->dst)[2] && sk->dst_ip6[3] == ((const __u32 *)key->dst)[3];
}

/* The socket of this host that receives the segment, to be released; NULL if there is none in the interface's namespace. */
static __always_inline struct bpf_sock *receiver(struct __sk_buff *skb, const struct flow_key *key)
{
	struct bpf_sock_tuple tuple = {};

	if (is_ipv4(key->src)) {
		tuple.ipv4.saddr = *(const __u32 *)(key->src + 12);
		tuple.ipv4.daddr = *(const __u32 *)(key->dst + 12);
		tuple.ipv4.sport = bpf_htons(key->sport);
		tuple.ipv4.dport = bpf_htons(key->dport);
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, key->src, 16);
	__builtin_memcpy(tuple.ipv6.daddr, key->dst, 16);
	tuple.ipv6.sport = bpf_htons(key->sport);
	tuple.ipv6.dport = bpf_htons(key->dport);
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

static __always_inline void read_facts(struct facts *facts, const struct bpf_tcp_sock *tcp)
{
	facts->bytes_acked = tcp->bytes_acked;
	facts->bytes_received = tcp->bytes_received;
	facts->snd_una = tcp->snd_una;
	facts->rcv_nxt = tcp->rcv_nxt;
	facts->segs_out = tcp->segs_out;
	facts->segs_in = tcp->segs_in;
#define NOT_READ(...)
#define FACT(key, json, of, unit, unknown, heading, width, value) facts->key = value;
	FIELDS(NOT_READ, NOT_READ, NOT_READ, FACT)
#undef NOT_READ
#undef FACT
	facts->known = true;
}

/*
 * Asks this host's own socket of the connection: at egress the one that sends the segment, at ingress the one that will receive it;
 * there skb->sk is never asked, as on a veth it can be the sender's. Returns whether there is one; *facts is what it says. uid and
 * cgroup can be read only of the sender.
 */
__noinline bool ask_socket(struct __sk_buff *skb, const struct segment *s, struct facts *facts)
{
	struct bpf_tcp_sock *tcp;
	struct bpf_sock *sk;

	if (!s || !facts)
		return false;
	facts->known = false;
	facts->has_owner = false;
	if (s->dir == DIR_OUT) {
		sk = skb->sk;
		if (!sk)
			return false;
		sk = bpf_sk_fullsock(sk);
		if (!sk || !sends(sk, &s->key))
			return false;
		tcp = bpf_tcp_sock(sk);
		if (!tcp)
			return false;
		read_facts(facts, tcp);
		facts->tcp_state = sk->state;
		facts->cgroup = bpf_skb_cgroup_id(skb);
		facts->uid = bpf_get_socket_uid(skb);
		facts->has_owner = true;
		return true;
	}

	sk = receiver(skb, &s->key);
	if (!sk)
		return false;
	tcp = bpf_tcp_sock(sk);
	if (tcp && sk->state != BPF_TCP_LISTEN) {
		read_facts(facts, tcp);
		facts->tcp_state = sk->state;
	}
	bpf_sk_release(sk);
	return facts->known;
}

/* The owner of this host's socket that sends the segment; of the listener, if it is a SYN-ACK (there is no other socket yet). */
static __always_inline void find_owner(struct __sk_buff *skb, const struct segment *s, struct owner *owner)
{
	struct bpf_sock *sk = s->dir == DIR_OUT ? skb->sk : NULL;

	if (!sk)
		return;
	if (s->flags & TCP_ACK) {
		sk = bpf_get_listener_sock(sk);
		if (!sk || sk->src_port != s->key.sport)
			return;
	} else {
		sk = bpf_sk_fullsock(sk);
		if (!sk || !bpf_tcp_sock(sk) || !sends(sk, &s->key))
			return;
		owner->opens = sk->state == BPF_TCP_SYN_SENT;
	}
	owner->cgroup = bpf_skb_cgroup_id(skb);
	owner->uid = bpf_get_socket_uid(skb);
	owner->known = true;
}

#endif
