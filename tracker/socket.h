/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * socket.h - what this host's own sockets know: of a connection, ask_socket(); whose it is, find_owner(); whether it is still
 * there, answer_question(). For motion.h and rest.h, and NeTracker.bpf.c, which brings the packets that answers need. Nobody else
 * asks sockets.
 */
#ifndef NETRACKER_SOCKET_H
#define NETRACKER_SOCKET_H

#include "flow.h"
#include "maps.h"
#include "segment.h"
#include "text.h"
#include "tuple.h"
#include "verifier.h"

/* Is the far end of the socket's connection where the segment goes? */
static __always_inline bool goes_to(const struct bpf_sock *sk, const struct flow_key *key)
{
	if (sk->dst_port != bpf_htons(key->dport))
		return false;
	if (is_ipv4(key->dst))
		return sk->dst_ip4 == *(const __u32 *)(key->dst + 12);
	return sk->dst_ip6[0] == ((const __u32 *)key->dst)[0] && sk->dst_ip6[1] == ((const __u32 *)key->dst)[1] &&
	       sk->dst_ip6[2] == ((const __u32 *)key->dst)[2] && sk->dst_ip6[3] == ((const __u32 *)key->dst)[3];
}

/* Is its own end where the segment comes from? */
static __always_inline bool comes_from(const struct bpf_sock *sk, const struct flow_key *key)
{
	if (sk->src_port != key->sport)
		return false;
	if (is_ipv4(key->src))
		return sk->src_ip4 == *(const __u32 *)(key->src + 12);
	return sk->src_ip6[0] == ((const __u32 *)key->src)[0] && sk->src_ip6[1] == ((const __u32 *)key->src)[1] &&
	       sk->src_ip6[2] == ((const __u32 *)key->src)[2] && sk->src_ip6[3] == ((const __u32 *)key->src)[3];
}

/*
 * Is this the socket that sends the segment, and not one of the kernel's that sends for nobody? NAT changes one end on its way from
 * there to the hook: its own of a connection that was redirected to it, the far one of a connection that it has opened to an
 * address that stands for another. Nor has a socket that closes with a RST an own port any more (tcp_set_state(), TCP_CLOSE).
 */
static __always_inline bool sends(const struct bpf_sock *sk, const struct flow_key *key)
{
	return goes_to(sk, key) || comes_from(sk, key);
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
	FIELDS(NOT_READ, NOT_READ, NOT_READ, NOT_READ, FACT)
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

/*
 * If the clock wants to know of sockets that can be looked up here, where this packet is, looks. What is asked may be another thing
 * by the time that the answer is there: then it is no answer. Returns 0.
 */
__noinline int answer_question(struct __sk_buff *skb)
{
	struct silence *silence = only_value(&nt_silence);
	__u32 i;

	if (!silence)
		return 0;
	NOT_UNROLLED
	for (i = 0; i < ASKS; i++) {
		struct question *question = &silence->question[i];
		__u32 state = question->state, answer = ASK_GONE;
		struct bpf_sock *sk;

		if ((state & ASK_MASK) != ASK_OPEN || question->ifindex != skb->ifindex || question->iface != this_load.iface_id)
			continue;
		sk = receiver(skb, &question->key);
		if (sk) {
			if (sk->state != BPF_TCP_LISTEN && sk->state != BPF_TCP_TIME_WAIT && sk->state != BPF_TCP_NEW_SYN_RECV)
				answer = ASK_LIVES;
			bpf_sk_release(sk);
		}
		__sync_val_compare_and_swap(&question->state, state, (state & ~ASK_MASK) | answer);
	}
	return 0;
}

/*
 * The owner of this host's socket that sends the segment; of the listener, if it is a SYN-ACK: there is no other socket yet, but a
 * request, which knows the far end (with SYN cookies not even that). *owner: who it is, if known. Returns 0.
 */
__noinline int find_owner(struct __sk_buff *skb, const struct segment *s, struct owner *owner)
{
	struct bpf_sock *sk;

	if (!s || !owner)
		return 0;
	owner->known = false;
	owner->opens = false;
	sk = s->dir == DIR_OUT ? skb->sk : NULL;
	if (!sk)
		return 0;
	if (s->flags & TCP_ACK) {
		bool known = goes_to(sk, &s->key);

		sk = bpf_get_listener_sock(sk);
		if (!sk || (!known && sk->src_port != s->key.sport))
			return 0;
	} else {
		sk = bpf_sk_fullsock(sk);
		if (!sk || !bpf_tcp_sock(sk) || !sends(sk, &s->key))
			return 0;
		owner->opens = sk->state == BPF_TCP_SYN_SENT && goes_to(sk, &s->key) && comes_from(sk, &s->key);
	}
	owner->cgroup = bpf_skb_cgroup_id(skb);
	owner->uid = bpf_get_socket_uid(skb);
	owner->known = true;
	return 0;
}

#endif
