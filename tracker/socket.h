/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * socket.h - what this host's own sockets know: of a connection, ask_socket(); whose it is, find_owner(); why it was reset,
 * find_reset(); whether it is still there, answer_question(). For adopt.h, process.h, motion.h and rest.h, and NeTracker.bpf.c,
 * which brings the packets that answers need. Nobody else asks sockets; what they are asked is in facts.h.
 */
#ifndef NETRACKER_SOCKET_H
#define NETRACKER_SOCKET_H

#include "facts.h"
#include "flow.h"
#include "kernel.h"
#include "maps.h"
#include "scope.h"
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
	return sk->type == STREAM_SOCKET && (goes_to(sk, key) || comes_from(sk, key));
}

/* The socket of this host that sends the segment, if it is a full one: no request, and none of those that wait out TIME_WAIT. */
static __always_inline struct bpf_sock *own_sender(struct __sk_buff *skb, const struct flow_key *key)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return NULL;
	sk = bpf_sk_fullsock(sk);
	return sk && sends(sk, key) ? sk : NULL;
}

/*
 * The socket of this host that has these two ends, to be released; NULL if there is none in the interface's namespace. One that
 * listens at its own end will do.
 */
static __always_inline struct bpf_sock *socket_of(struct __sk_buff *skb, const __u8 *far, __u16 far_port, const __u8 *own,
                                                  __u16 own_port)
{
	struct bpf_sock_tuple tuple = {};

	if (is_ipv4(far)) {
		tuple.ipv4.saddr = *(const __u32 *)(far + 12);
		tuple.ipv4.daddr = *(const __u32 *)(own + 12);
		tuple.ipv4.sport = bpf_htons(far_port);
		tuple.ipv4.dport = bpf_htons(own_port);
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, far, 16);
	__builtin_memcpy(tuple.ipv6.daddr, own, 16);
	tuple.ipv6.sport = bpf_htons(far_port);
	tuple.ipv6.dport = bpf_htons(own_port);
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* The one that receives the segment. */
static __always_inline struct bpf_sock *receiver(struct __sk_buff *skb, const struct flow_key *key)
{
	return socket_of(skb, key->src, key->sport, key->dst, key->dport);
}

/* The one that it would be from. */
static __always_inline struct bpf_sock *sender(struct __sk_buff *skb, const struct flow_key *key)
{
	return socket_of(skb, key->dst, key->dport, key->src, key->sport);
}

/* How long the kernel's clock tick is, microseconds, which this load remembers once it is sure. */
static __always_inline __u32 tick_us(void)
{
	__u32 tick = this_load.tick_us;
	bool sure;

	if (tick)
		return tick;
	tick = measured_tick_us(&sure);
	if (sure)
		this_load.tick_us = tick;
	return tick;
}

/*
 * Asks this host's own socket of the connection: at egress the one that sends the segment, at ingress the one that will receive it;
 * there skb->sk is never asked, as on a veth it can be the sender's. Returns whether there is one; told->facts is what it says.
 * The owner can be read only of the sender.
 */
__noinline bool ask_socket(struct __sk_buff *skb, const struct segment *s, struct told *told)
{
	struct bpf_tcp_sock *tcp;
	struct bpf_sock *sk;

	if (!s || !told)
		return false;
	told->facts.known = false;
	told->owner.known = false;
	told->facts.asked_ns = s->now;
	if (s->dir == DIR_OUT) {
		sk = own_sender(skb, &s->key);
		if (!sk)
			return false;
		tcp = bpf_tcp_sock(sk);
		if (!tcp)
			return false;
		read_facts(&told->facts, tcp, kernel_socket(sk), tick_us());
		told->facts.tcp_state = sk->state;
		told->owner.cgroup = bpf_skb_cgroup_id(skb);
		told->owner.uid = bpf_get_socket_uid(skb);
		told->owner.known = true;
		return true;
	}

	sk = receiver(skb, &s->key);
	if (!sk)
		return false;
	tcp = bpf_tcp_sock(sk);
	if (tcp && sk->state != BPF_TCP_LISTEN) {
		read_facts(&told->facts, tcp, kernel_socket(sk), tick_us());
		told->facts.tcp_state = sk->state;
	}
	bpf_sk_release(sk);
	return told->facts.known;
}

#ifndef WITHOUT_KERNEL_TYPES

/*
 * Why a socket sends a RST. A process that has it locked has closed it (tcp_close(), which looks at what was not read first), or
 * taken it down in another way. Else the kernel's timers have given it up; or, from Linux 6.13 on, it is the one that a segment was
 * for that nobody wanted any more. Such a one may have waited for the process that has closed it just before.
 */
static __always_inline enum reset_reason reason_of(const struct tcp_sock *kernel)
{
	const struct sock *sk = &kernel->inet_conn.icsk_inet.sk;
	__u32 unread = kernel->rcv_nxt - kernel->copied_seq;
	unsigned long flags = sk->__sk_common.skc_flags;
	unsigned char state = sk->__sk_common.skc_state;

	if (state == BPF_TCP_SYN_SENT)
		return RESET_UNKNOWN;
	if (state == BPF_TCP_LISTEN)
		return RESET_NO_SOCKET;
	if (!sk->sk_lock.owned)
		return state == BPF_TCP_CLOSE ? RESET_NO_SOCKET : RESET_GIVEN_UP;
	if (state != BPF_TCP_CLOSE)
		return RESET_ABORT;
	/* The peer's FIN takes a place, too. */
	if (unread > (flags >> SOCK_DONE_BIT & 1))
		return RESET_UNREAD_DATA;
	if (flags >> SOCK_LINGER_BIT & 1 && !sk->sk_lingertime)
		return RESET_LINGER;
	return sk->sk_backlog.len ? RESET_NO_SOCKET : RESET_ABORT;
}

#else

static __always_inline enum reset_reason reason_of(const struct tcp_sock *kernel)
{
	(void)kernel;
	return RESET_UNKNOWN;
}

#endif

/*
 * Why this host sends a RST: enum reset_reason. RESET_NO_LISTENER: there is no socket at all; RESET_NO_SOCKET: there is none that
 * has the connection, but one that listens, or what is left of one that has closed. Of a RST that it only passes on nothing is
 * known, nor of one that a firewall makes in another's name: no socket sends that over IPv4, and over IPv6 it is told from what
 * the kernel sends for nobody by whether there is a socket.
 */
__noinline __u32 find_reset(struct __sk_buff *skb, const struct segment *s)
{
	const struct tcp_sock *kernel;
	struct bpf_sock *sk;
	bool closed;

	if (!s || s->dir != DIR_OUT || !(s->flags & TCP_RST) || skb->ingress_ifindex)
		return RESET_UNKNOWN;
	if (!skb->sk && is_ipv4(s->key.src))
		return RESET_UNKNOWN;
	sk = own_sender(skb, &s->key);
	if (sk) {
		kernel = kernel_socket(sk);
		return kernel ? reason_of(kernel) : RESET_UNKNOWN;
	}
	sk = sender(skb, &s->key);
	if (!sk)
		return RESET_NO_LISTENER;
	closed = sk->state == BPF_TCP_TIME_WAIT || sk->state == BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return closed ? RESET_NO_SOCKET : RESET_UNKNOWN;
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

		if ((state & ASK_MASK) != ASK_OPEN || question->ifindex != skb->ifindex || question->iface != iface_here(skb))
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

/* Is this host's socket of the connection open on both sides? */
static __always_inline bool is_open(struct __sk_buff *skb, const struct flow_key *key, bool outbound)
{
	struct bpf_sock *sk = outbound ? sender(skb, key) : receiver(skb, key);
	bool open;

	if (!sk)
		return false;
	open = sk->state == BPF_TCP_ESTABLISHED;
	bpf_sk_release(sk);
	return open;
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
		sk = own_sender(skb, &s->key);
		if (!sk || !bpf_tcp_sock(sk))
			return 0;
		owner->opens = sk->state == BPF_TCP_SYN_SENT && goes_to(sk, &s->key) && comes_from(sk, &s->key);
	}
	owner->cgroup = bpf_skb_cgroup_id(skb);
	owner->uid = bpf_get_socket_uid(skb);
	owner->known = true;
	return 0;
}

#endif
