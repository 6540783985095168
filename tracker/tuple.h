/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * tuple.h - the four-tuple of a connection: its hash and tag, comparison, the other direction. For every room.
 */
#ifndef NETRACKER_TUPLE_H
#define NETRACKER_TUPLE_H

#include "../NeTracker.h"

#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/*
 * Hash of the four-tuple, the same for both directions: exclusive or and sum are symmetric, one multiplication spreads them
 * (Fibonacci hashing; the top bits are the good ones). words: the addresses folded to 32 bits. Ports as they are on the wire.
 */
static __always_inline __u64 mix(__u32 words, __be16 sport, __be16 dport)
{
	__u32 ports = (__u32)(__u16)(sport + dport) << 16 | (sport ^ dport);

	return ((__u64)words << 32 | ports) * 0x9E3779B97F4A7C15ULL;
}

/* Exclusive or of two IPv6 addresses' words. For two mapped IPv4 addresses it is that of the addresses themselves. */
static __always_inline __u32 fold(const void *src, const void *dst)
{
	const __u32 *a = src, *b = dst;

	return a[0] ^ a[1] ^ a[2] ^ a[3] ^ b[0] ^ b[1] ^ b[2] ^ b[3];
}

static __always_inline __u64 hash_key(const struct flow_key *key)
{
	return mix(fold(key->src, key->dst), bpf_htons(key->sport), bpf_htons(key->dport));
}

/* Never 0. */
static __always_inline __u16 tag_of(__u64 hash)
{
	return (hash ^ hash >> 32) | 1;
}

static __always_inline void map_ipv4(__u8 *to, __be32 address)
{
	__u32 *word = (__u32 *)to;

	word[0] = 0;
	word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = address;
}

static __always_inline void put_key(struct flow_key *to, const struct flow_key *from, bool reversed)
{
	if (!reversed) {
		*to = *from;
		return;
	}
	__builtin_memcpy(to->src, from->dst, 16);
	__builtin_memcpy(to->dst, from->src, 16);
	to->sport = from->dport;
	to->dport = from->sport;
}

/* Not 0 where two addresses differ. As two words of 64 bits: keys stand at multiples of 8, in a segment as in a slot. */
static __always_inline __u64 differ(const __u8 *a, const __u8 *b)
{
	return (((const __u64 *)a)[0] ^ ((const __u64 *)b)[0]) | (((const __u64 *)a)[1] ^ ((const __u64 *)b)[1]);
}

/* Without a branch for each part: a tag that fits is mostly the connection's. */
static __always_inline bool same_key(const struct flow_key *a, const struct flow_key *b)
{
	return !((a->sport ^ b->sport) | (a->dport ^ b->dport) | differ(a->src, b->src) | differ(a->dst, b->dst));
}

static __always_inline bool opposite_key(const struct flow_key *a, const struct flow_key *b)
{
	return !((a->sport ^ b->dport) | (a->dport ^ b->sport) | differ(a->src, b->dst) | differ(a->dst, b->src));
}

#endif
