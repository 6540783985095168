/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * scope.h - whose four-tuple it is. The same addresses and ports are other connections in other network namespaces and VRFs, and
 * those between link-local addresses on other links: each of these is a scope and has a number. For parse.h, which says where a
 * segment was seen, sets.h, adopt.h, attempt.h, motion.h, rest.h and socket.h.
 *
 * A connection may pass several scopes: out of a container, through the host, into the next one. It belongs to those that have seen
 * its SYN, or what answers that, which its initial sequence number tells from another one's. Segments from elsewhere are not its.
 *
 * 0 is no scope: what plain tc has attached has no number. Then nothing is known that could tell two connections apart, and
 * it may be of any scope.
 */
#ifndef NETRACKER_SCOPE_H
#define NETRACKER_SCOPE_H

#include "../NeTracker.h"
#include "maps.h"
#include "segment.h"

#include <stdbool.h>

#include <bpf/bpf_endian.h>

/* The four places of a list as one number: a byte each. */
#define EACH_PLACE 0x01010101U

static __always_inline __u32 scopes_in(const __u8 *scope)
{
	_Static_assert(SCOPES == sizeof(__u32), "all places are looked at at once");
	return *(const __u32 *)scope;
}

/* The list that has this scope alone. */
static __always_inline __u32 scopes_of(__u8 scope)
{
	return scope * EACH_PLACE;
}

/* Is one of the four bytes 0? Not 0 then. Without a branch for each. */
static __always_inline __u32 has_zero(__u32 bytes)
{
	return (bytes - EACH_PLACE) & ~bytes & (EACH_PLACE << 7);
}

/* May what was seen in one list of scopes be what was seen in the other? */
static __always_inline bool meet(__u32 a, __u32 b)
{
	__u32 common = has_zero(a ^ scopes_of(b)) | has_zero(a ^ scopes_of(b >> 8)) | has_zero(a ^ scopes_of(b >> 16)) |
	               has_zero(a ^ scopes_of(b >> 24));

	return common | has_zero(a) | has_zero(b);
}

/* May what was seen in one of this list have been seen in that scope? */
static __always_inline bool has_scope(__u32 list, __u8 scope)
{
	return has_zero(list ^ scopes_of(scope)) | has_zero(list) | !scope;
}

/* Adds a scope to a list, if there is room. Else segments from there stay nobody's, as the others tell what there is to tell. */
static __always_inline void add_scope(__u8 *scope, __u8 another)
{
	__u32 i;

#pragma unroll
	for (i = 1; i < SCOPES; i++)
		if (scope[i] == scope[0]) {
			scope[i] = another;
			return;
		}
}

static __always_inline bool is_link_local(const __u8 *address)
{
	return (*(const __be16 *)address & bpf_htons(0xffc0)) == bpf_htons(0xfe80);
}

/* The index in nt_ifaces of the interface at which this load of the tracker sees a packet; 0: not named. */
static __always_inline __u16 iface_here(const struct __sk_buff *skb)
{
	return this_load.iface_id == FILTERS_TELL ? skb->tc_classid : this_load.iface_id;
}

/*
 * The scope in which this load of the tracker sees a segment with this tuple. A link is known by its interface: by the number that
 * attach has given it, else by the kernel's, which only one namespace knows it by.
 */
static __always_inline __u8 scope_here(const struct flow_key *key, const struct __sk_buff *skb)
{
	__u16 iface = iface_here(skb);

	if (is_link_local(key->src) || is_link_local(key->dst))
		return iface ? iface : skb->ifindex;
	return this_load.iface_id == FILTERS_TELL ? skb->tc_classid >> 16 : this_load.scope_id;
}

/* Was this segment seen at the interface that saw the connection's first SYN? */
static __always_inline bool is_at_first(const struct flow *f, const struct segment *s)
{
	return f->ifindex == s->ifindex && f->iface == s->iface;
}

/*
 * Has a segment nothing to tell of this connection, where it was seen? A hop between two of this host's interfaces may give a
 * connection other sequence numbers, and then only those of one interface can be compared.
 */
static __always_inline bool is_elsewhere(const struct flow *f, const struct segment *s)
{
	return f->flags & ONE_PLACE && !is_at_first(f, s);
}

/*
 * Has this segment the initial sequence number of that connection? reply: it comes from its responder, which acknowledges the data
 * in the SYN, or does not.
 */
static __always_inline bool names(const struct segment *s, const struct flow *f, bool reply)
{
	__u32 acked = s->ack - f->orig_isn - 1;

	if (reply)
		return s->flags & (TCP_SYN | TCP_RST) && s->flags & TCP_ACK && (!acked || acked == f->syn_len);
	return s->flags & TCP_SYN && s->seq == f->orig_isn;
}

#endif
