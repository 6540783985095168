// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * NeTracker: every TCP connection that crosses an interface, with its true duration.
 *
 *	tc qdisc add dev ens33 clsact
 *	tc filter add dev ens33 ingress bpf obj NeTracker.bpf.o sec tc_ing
 *	tc filter add dev ens33 egress  bpf obj NeTracker.bpf.o sec tc_en
 *
 * Only SYN, FIN and RST do work. A handshake lives in syn_map until the third ACK moves it to conn_map; there the connection
 * rests, untouched, until its first FIN or RST. A packet with none of these flags is let through after one array look-up: the
 * gate, which tells whether any connection with such a tuple is opening or closing.
 *
 * The programs are passive: they return TC_ACT_OK, which without `direct-action` means "no match" to cls_bpf, so that the
 * filters behind them see every packet. Never attach them with `da`.
 *
 * Both hooks run with bottom halves off and the timers run in softirq, so nothing here is interrupted by itself on one CPU.
 */
#include "NeTracker.h"

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "NeTracker.text.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* ------------------------------------------------------------------------------------------------ records and maps */

#define __unused __attribute__((unused))

#define NSEC_PER_SEC 1000000000ULL

/* The kernel's only clock for timers and stamps here: it runs on through suspend, and no clock setting moves it. */
#define CLOCK_BOOTTIME 7

/* A RST that no socket can vouch for is believed after this much silence: longer than a sender's first retransmission. */
#define RST_SILENCE_NS NSEC_PER_SEC

/* Segments that overtook a RST may still arrive; they are not this far behind it in the stream, nor this late (+ 2 RTT). */
#define REORDER_BYTES (1U << 20)
#define REORDER_NS 10000000ULL

/* Segments of a handshake lie this close behind the initial sequence numbers; others belong to an older connection. */
#define HANDSHAKE_SPAN (1U << 24)

/* A RST of somebody in SYN_SENT or SYN_RECEIVED lies within the first, unscaled window. */
#define FIRST_WINDOW 65536U

/* Connections that one run of flush() ends at most: bounds the time with bottom halves off. */
#define FLUSH_BATCH 1024

/* The clock's steps: how long it sleeps at most while something is due, and at least; and how much it does in one go. */
#define CLOCK_STEP_NS NSEC_PER_SEC
#define CLOCK_SLACK_NS 1000000ULL
#define TICK_BATCH 256

/* In every network namespace, lo has this number: LOOPBACK_IFINDEX of include/net/flow.h. */
#define LOOPBACK_IFINDEX 1

/* Index in nt_ifaces of the interface this load is attached to; attach writes it, each load has its own. 0: not named. */
volatile __u32 iface_id;

/*
 * Connections after their handshake. The third ACK inserts (establish), whoever sets ENDED deletes (end_connection), bpftool
 * and the iterators read. Full: the new connection is lost and counted (conn_full), those inside stay right.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CONNECTIONS);
	__type(key, struct flow_key);
	__type(value, struct conn);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} conn_map SEC(".maps");

/*
 * Handshakes and watched connections, in sets of eight and eight places chosen by the tuple's hash. A SYN inserts a handshake
 * (on_syn); the third ACK, a RST or the clock removes it. Full: the handshake that waits longest is pushed out and counted
 * (syn_evicted), unanswered ones first. watch() and unwatch() insert and delete connections; full: the one whose time is
 * nearest is ended at once and counted (close_evicted). An array, not an LRU map, because an LRU evicts unseen, and because
 * a look-up in an array is compiled into the program.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYN_SETS);
	__type(key, __u32);
	__type(value, struct syn_set);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} syn_map SEC(".maps");

/* When the sets of syn_map are due, 64 in a row. Guarded by the sets' locks. note_due() sets, take_expired() moves on. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYN_SETS / DUE_ROW);
	__type(key, __u32);
	__type(value, struct due_row);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_due SEC(".maps");

/*
 * One timer for all time-outs. A timer for each connection would be allocated and freed with it: under load the kernel refused a
 * third of these allocations (6.18, kmalloc_nolock), and one that is made while another CPU deletes the entry is never freed,
 * nor is the program that it holds.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_clock SEC(".maps");

/* All counters, one struct per CPU. Nothing deletes them; readers sum over the CPUs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_counters SEC(".maps");

/* Settings. Written by `netracker config`, read wherever a time-out is computed or a record is written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_config SEC(".maps");

/* Names of the interfaces. Written by attach and detach, read by report() and the iterators. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_IFACES);
	__type(key, __u32);
	__type(value, struct iface);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_ifaces SEC(".maps");

/*
 * What the socket of a connection said when this host sent the first FIN: by the time of the second one it may be gone, as a
 * closed socket in FIN_WAIT_2 becomes a TIME_WAIT one that knows nothing. on_connection_fin() inserts, end_connection() deletes.
 * Full: such connections end without socket facts.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CONNECTIONS / 4);
	__type(key, struct flow_key);
	__type(value, struct facts);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_facts SEC(".maps");

/*
 * Figures by service. find_service() inserts: for an inbound connection once it is established, for an outbound one always;
 * so no flood of SYNs can fill it. Full: port 0 of the direction takes the rest. Nothing deletes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SERVICES);
	__type(key, struct service_key);
	__type(value, struct service);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_services SEC(".maps");

/* One TCP segment as the connection's life sees it. */
struct segment {
	struct flow_key key; /* as on the wire: sender first */
	__u32 seq;
	__u32 ack;
	__u32 len;  /* payload, bytes */
	__u64 hash; /* of the tuple: mix() */
	__u64 now;
	__u32 ifindex;
	__u8 flags;
	__u8 dir; /* enum direction */
};

/* Where a packet has its TCP segment. */
struct where {
	__u32 ip_off; /* offsets in the frame, bytes */
	__u32 tcp_off;
	bool ipv6;
	__u64 hash;
};

/* What is too large for the stack, on which all functions of a call chain have 512 bytes together. One per load and CPU. */
struct scratch {
	struct where where;        /* of a packet on the slow path */
	struct segment segment;    /* the one at work */
	struct syn_slot slot;      /* a handshake taken out of its set */
	struct flow_key fresh_key; /* a connection on its way to conn_map */
	struct conn fresh;
	struct flow_key victim; /* a watched connection whose time is up, or that has to give way */
	struct flow last;       /* a connection that has ended, */
	struct facts facts;     /* and, if HAS_FACTS, what its socket said; or what the socket of this segment says */
	struct service service; /* stays zero: what a new entry of nt_services starts with */
	struct text line;       /* the record */
	__u32 flushed;          /* by flush() */
	__u32 ended;            /* by the clock in one go */
	__u64 next_ns;          /* when it has to go off again; 0: nothing is due */
	__u32 index;            /* see forget() */
	__u32 watch_index;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} nt_scratch SEC(".maps");

/* The value of a map with one entry. */
static __always_inline void *only_value(void *map)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(map, &zero);
}

#define COUNT(field)                                                   \
	({                                                             \
		struct counters *counters_ = only_value(&nt_counters); \
		if (counters_)                                         \
			counters_->field++;                            \
	})

/* Seconds set in nt_config, or the default, in nanoseconds. */
static __always_inline __u64 handshake_timeout_ns(void)
{
	const struct config *config = only_value(&nt_config);
	__u32 set = config ? config->handshake_timeout : 0;

	return (set ? set : HANDSHAKE_TIMEOUT_S) * NSEC_PER_SEC;
}

static __always_inline __u64 close_timeout_ns(void)
{
	const struct config *config = only_value(&nt_config);
	__u32 set = config ? config->close_timeout : 0;

	return (set ? set : CLOSE_TIMEOUT_S) * NSEC_PER_SEC;
}

/* ------------------------------------------------------------------------------------------------------------ parse */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Byte offsets in the TCP header of the data offset and of the flags: reading bytes spares the bit fields of tcphdr. */
#define TCP_DOFF_BYTE 12
#define TCP_FLAGS_BYTE 13

#define ETH_TYPE_OFF 12
#define VLAN_TAG_LEN 4
#define MAX_VLAN_TAGS 3  /* in the frame; one more may be in the packet's metadata */
#define MAX_EXTENSIONS 8 /* IPv6 extension headers before TCP */

enum found {
	FOUND_SEGMENT,
	FOUND_QUIET, /* nothing to see: no TCP, or a packet that the gate lets through */
	FOUND_ODD,   /* not one of the few layouts that find_segment knows */
};

/* ------------------------------------------------------------------------------------------------------- the gate */

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

/* The hash's top 13 bits choose the set, all of it makes the tag. */
static __always_inline __u32 set_index(__u64 hash)
{
	_Static_assert(SYN_SETS == 1 << (64 - 51), "13 bits of the hash choose the set");
	return hash >> 51;
}

static __always_inline struct syn_set *set_of(__u64 hash)
{
	__u32 index = set_index(hash);

	return bpf_map_lookup_elem(&syn_map, &index);
}

static __always_inline __u32 tag_of(__u64 hash)
{
	return (__u32)(hash ^ hash >> 32) | 1;
}

/* The tuple's bit in its set's filter: by the bits of the hash next to those that chose the set. */
static __always_inline __u64 filter_bit(__u64 hash)
{
	return 1ULL << (hash >> 45 & 63);
}

static __always_inline bool has_tag(const __u32 *tags, __u32 tag)
{
	__u32 i;

#pragma unroll
	for (i = 0; i < SYN_WAYS; i++)
		if (tags[i] == tag)
			return true;
	return false;
}

/* May packets of this tuple without SYN, FIN and RST go by unseen? Yes, unless this connection is opening or closing. */
static __always_inline bool gate_is_closed(__u64 hash)
{
	const struct syn_set *set = set_of(hash);
	__u32 tag;

	if (!set || !(set->filter & filter_bit(hash)))
		return true;
	tag = tag_of(hash);
	return !has_tag(set->tag, tag) && !has_tag(set->watch_tag, tag);
}

static __always_inline bool is_plain_ack(__u8 flags)
{
	return (flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) == TCP_ACK;
}

static __always_inline bool is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD) || proto == bpf_htons(ETH_P_QINQ1);
}

/*
 * tun, WireGuard and PPP devices hand over bare IP packets. Then the first half byte is the version that skb->protocol announces,
 * and the bytes where Ethernet has its EtherType are something else. A frame can look like both: a MAC address may begin with
 * 4 or 6, and 8.0.x.x in a source address reads 0x0800. Then the length that a bare packet would have to state tells them apart.
 * frame: at least 14 bytes. proto: skb->protocol.
 */
static __always_inline bool looks_bare(const struct __sk_buff *skb, const __u8 *frame, __be16 proto)
{
	if (proto == bpf_htons(ETH_P_IP) && frame[0] >> 4 == 4)
		return *(const __be16 *)(frame + ETH_TYPE_OFF) != proto ||
		       *(const __be16 *)(frame + offsetof(struct iphdr, tot_len)) == bpf_htons(skb->len);
	if (proto == bpf_htons(ETH_P_IPV6) && frame[0] >> 4 == 6)
		return *(const __be16 *)(frame + ETH_TYPE_OFF) != proto ||
		       *(const __be16 *)(frame + offsetof(struct ipv6hdr, payload_len)) ==
		               bpf_htons(skb->len - sizeof(struct ipv6hdr));
	return false;
}

/*
 * The fast path: Ethernet with at most one VLAN tag, or bare IP; IPv4 without options or IPv6 without extension headers; all in
 * the linear part of the packet. A data packet of an established connection ends here, with one array look-up.
 */
static __always_inline enum found find_segment(struct __sk_buff *skb, struct where *w)
{
	const __u8 *frame = (void *)(long)skb->data, *end = (void *)(long)skb->data_end, *ip, *tcp;
	__be16 proto = skb->protocol, type;
	__u32 words;

	w->ip_off = ETH_HLEN;
	ip = frame + ETH_HLEN;
	if (ip + sizeof(struct iphdr) > end)
		return FOUND_ODD;
	type = *(const __be16 *)(frame + ETH_TYPE_OFF);
	if (looks_bare(skb, frame, proto)) {
		if (type == proto)
			return FOUND_ODD; /* both, still: the slow path asks the kernel */
		w->ip_off = 0;
		ip = frame;
		type = proto;
	} else if (is_vlan(type)) {
		type = *(const __be16 *)(ip + 2);
		w->ip_off = ETH_HLEN + VLAN_TAG_LEN;
		ip += VLAN_TAG_LEN;
		if (ip + sizeof(struct iphdr) > end)
			return FOUND_ODD;
	}

	if (type == bpf_htons(ETH_P_IP)) {
		const struct iphdr *v4 = (const void *)ip;

		tcp = ip + sizeof(*v4);
		if (ip[0] != 0x45 || v4->frag_off & bpf_htons(0x3fff))
			return FOUND_ODD;
		if (v4->protocol != IPPROTO_TCP)
			return FOUND_QUIET;
		w->ipv6 = false;
		w->tcp_off = w->ip_off + sizeof(*v4);
		words = v4->saddr ^ v4->daddr;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *v6 = (const void *)ip;

		tcp = ip + sizeof(*v6);
		if (tcp > end || ip[0] >> 4 != 6)
			return FOUND_ODD;
		if (__builtin_expect(v6->nexthdr != IPPROTO_TCP, 0))
			return v6->nexthdr == IPPROTO_UDP || v6->nexthdr == IPPROTO_ICMPV6 ? FOUND_QUIET : FOUND_ODD;
		w->ipv6 = true;
		w->tcp_off = w->ip_off + sizeof(*v6);
		words = fold(&v6->saddr, &v6->daddr);
	} else {
		/* ARP and the like; the one EtherType that asks for something is that of flush(). */
		return is_vlan(type) || type == bpf_htons(ETH_P_802_EX1) || type != proto ? FOUND_ODD : FOUND_QUIET;
	}

	if (tcp + sizeof(struct tcphdr) > end)
		return FOUND_ODD;
	w->hash = mix(words, ((const __be16 *)tcp)[0], ((const __be16 *)tcp)[1]);
	return is_plain_ack(tcp[TCP_FLAGS_BYTE]) && gate_is_closed(w->hash) ? FOUND_QUIET : FOUND_SEGMENT;
}

/* ---------------------------------------------------------------------------------------------------- parse: the rest */

/* Does the frame start with its IP header? Asked only where the bytes could be read both ways. */
static __always_inline bool starts_with_ip(struct __sk_buff *skb, const __u8 *frame)
{
	__u8 network[ETH_HLEN];
	__u32 i, differ = 0;

	if (bpf_skb_load_bytes_relative(skb, 0, network, sizeof(network), BPF_HDR_START_NET))
		return false;
	for (i = 0; i < sizeof(network); i++)
		differ |= frame[i] ^ network[i];
	return !differ;
}

/* Goes over the link layer. Returns the offset of what follows, and its EtherType in *type (0: none that is known). */
static __always_inline __u32 skip_link_layer(struct __sk_buff *skb, __be16 *type)
{
	__u8 frame[ETH_HLEN];
	__be16 proto = skb->protocol, tag[2];
	__u32 off = ETH_HLEN;
	int i;

	*type = 0;
	if (bpf_skb_load_bytes(skb, 0, frame, sizeof(frame)))
		return 0;
	*type = *(__be16 *)(frame + ETH_TYPE_OFF);
	if (looks_bare(skb, frame, proto) && (*type != proto || starts_with_ip(skb, frame))) {
		*type = proto;
		return 0;
	}
	for (i = 0; i < MAX_VLAN_TAGS && is_vlan(*type); i++) {
		if (bpf_skb_load_bytes(skb, off, tag, sizeof(tag)))
			return 0;
		*type = tag[1];
		off += VLAN_TAG_LEN;
	}
	return off;
}

/* Goes over the IPv6 extension headers at off. Returns the offset of the TCP header, or 0 if there is none. */
__noinline __u32 skip_extensions(struct __sk_buff *skb, __u32 off, __u8 next)
{
	struct {
		__u8 next;
		__u8 len;
		__be16 fragment;
	} ext;
	int i;

	for (i = 0; i <= MAX_EXTENSIONS; i++) {
		if (next == IPPROTO_TCP)
			return off;
		if (bpf_skb_load_bytes(skb, off, &ext, sizeof(ext)))
			return 0;
		switch (next) {
		case IPPROTO_FRAGMENT:
			if (ext.fragment & bpf_htons(0xfff8)) {
				if (ext.next == IPPROTO_TCP)
					COUNT(fragments);
				return 0;
			}
			off += 8;
			break;
		case IPPROTO_AH:
			off += (ext.len + 2) * 4;
			break;
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_MH:
			off += (ext.len + 1) * 8;
			break;
		default:
			return 0;
		}
		next = ext.next;
	}
	return 0;
}

/* The slow path: any layout, by copying. The headers need not be in the linear part of the packet. */
static __always_inline enum found find_odd_segment(struct __sk_buff *skb, struct where *w)
{
	__u8 tcp[TCP_FLAGS_BYTE + 1];
	__be16 type;
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
	} ip;
	__u32 words, rest;

	w->ip_off = skip_link_layer(skb, &type);
	w->ipv6 = type == bpf_htons(ETH_P_IPV6);
	if (type == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, w->ip_off, &ip.v4, sizeof(ip.v4)) || ip.v4.version != 4 || ip.v4.ihl < 5 ||
		    ip.v4.protocol != IPPROTO_TCP)
			return FOUND_QUIET;
		if (ip.v4.frag_off & bpf_htons(0x1fff)) {
			COUNT(fragments);
			return FOUND_QUIET;
		}
		w->tcp_off = w->ip_off + ip.v4.ihl * 4;
		words = ip.v4.saddr ^ ip.v4.daddr;
	} else if (w->ipv6) {
		if (bpf_skb_load_bytes(skb, w->ip_off, &ip.v6, sizeof(ip.v6)) || ip.v6.version != 6)
			return FOUND_QUIET;
		w->tcp_off = skip_extensions(skb, w->ip_off + sizeof(ip.v6), ip.v6.nexthdr);
		if (!w->tcp_off)
			return FOUND_QUIET;
		words = fold(&ip.v6.saddr, &ip.v6.daddr);
	} else {
		return FOUND_QUIET;
	}

	/* The last byte of a whole TCP header tells whether it is cut off. */
	if (bpf_skb_load_bytes(skb, w->tcp_off, tcp, sizeof(tcp)) ||
	    bpf_skb_load_bytes(skb, w->tcp_off + sizeof(struct tcphdr) - 1, &rest, 1)) {
		COUNT(malformed_short);
		return FOUND_QUIET;
	}
	w->hash = mix(words, *(__be16 *)tcp, *(__be16 *)(tcp + 2));
	return is_plain_ack(tcp[TCP_FLAGS_BYTE]) && gate_is_closed(w->hash) ? FOUND_QUIET : FOUND_SEGMENT;
}

static __always_inline void map_ipv4(__u8 *to, __be32 address)
{
	__u32 *word = (__u32 *)to;

	word[0] = 0;
	word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = address;
}

/* Headers lie within these bytes of a frame, where they are read in place. */
#define NEAR 256

/* The len bytes at off: in place if they are in the linear part of the packet, else copied to *copy. NULL: the packet ends before. */
static __always_inline const void *header_at(struct __sk_buff *skb, __u32 off, void *copy, __u32 len)
{
	const __u8 *at = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (off < NEAR) {
		barrier_var(off); /* or the compiler drops the bound below, which the verifier needs */
		at += off & (NEAR - 1);
		barrier_var(at); /* what is compared is what is returned */
		if (at + len <= end)
			return at;
	}
	return bpf_skb_load_bytes(skb, off, copy, len) ? NULL : copy;
}

/*
 * Reads the addresses. Returns the offset of the first byte behind the IP packet; 0 if it cannot be read. A length of 0 is what
 * BIG TCP and some offloads leave in an IP header: then the packet's own length is all there is. Otherwise the header's
 * counts: short Ethernet frames are padded.
 */
static __always_inline __u32 read_ip(struct __sk_buff *skb, __u32 off, bool ipv6, struct flow_key *key)
{
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
	} copy;
	const struct ipv6hdr *v6;
	const struct iphdr *v4;

	if (ipv6) {
		v6 = header_at(skb, off, &copy, sizeof(*v6));
		if (!v6)
			return 0;
		__builtin_memcpy(key->src, &v6->saddr, 16);
		__builtin_memcpy(key->dst, &v6->daddr, 16);
		return v6->payload_len ? off + sizeof(*v6) + bpf_ntohs(v6->payload_len) : skb->len;
	}
	v4 = header_at(skb, off, &copy, sizeof(*v4));
	if (!v4)
		return 0;
	map_ipv4(key->src, v4->saddr);
	map_ipv4(key->dst, v4->daddr);
	return v4->tot_len ? off + bpf_ntohs(v4->tot_len) : skb->len;
}

/* Reads the segment whose headers are at these offsets. Returns false, and counts, if TCP forbids what it says. */
__noinline int read_segment(struct __sk_buff *skb, __u32 ip_off, __u32 tcp_off, bool ipv6, struct segment *s)
{
	const struct tcphdr *tcp;
	struct tcphdr copy;
	__u32 end, payload;
	const __u8 *byte;

	if (!s)
		return false;
	end = read_ip(skb, ip_off, ipv6, &s->key);
	tcp = header_at(skb, tcp_off, &copy, sizeof(copy));
	if (!end || !tcp)
		return false;
	byte = (const __u8 *)tcp;
	payload = tcp_off + (byte[TCP_DOFF_BYTE] >> 4) * 4;
	if (payload < tcp_off + sizeof(*tcp) || payload > end) {
		COUNT(malformed_offset);
		return false;
	}
	s->flags = byte[TCP_FLAGS_BYTE];
	if ((s->flags & TCP_SYN && s->flags & (TCP_FIN | TCP_RST)) || !(s->flags & (TCP_SYN | TCP_RST | TCP_ACK))) {
		COUNT(malformed_flags);
		return false;
	}
	s->key.sport = bpf_ntohs(tcp->source);
	s->key.dport = bpf_ntohs(tcp->dest);
	s->seq = bpf_ntohl(tcp->seq);
	s->ack = bpf_ntohl(tcp->ack_seq);
	s->len = end - payload;
	s->now = bpf_ktime_get_boot_ns();
	s->ifindex = skb->ifindex;
	return true;
}

/* ---------------------------------------------------------------------------------------------------------- report */

static const char state_name[CONN_STATES][8] = { "S0", "S1", "S2", "S3", "SF", "SH", "REJ", "RSTO", "RSTR", "RSTOS0" };

/* Bytes between an initial sequence number and an end, modulo 2^32. A RST or a broken FIN may stand on the SYN's own place. */
static __always_inline __s64 sent(__u32 end, __u32 isn)
{
	return end == isn ? 0 : (__u32)(end - isn - 1);
}

/*
 * Payload bytes that one side sent; -1 if nobody knows. The sequence numbers tell it modulo 2^32, where both the beginning and
 * the end were seen. facts, if not NULL: this host's socket, which counts in 64 bits, but only what was acknowledged or has
 * arrived so far: its count decides which multiple of 2^32 it is.
 */
static __always_inline __s64 exact_bytes(const struct flow *f, const struct facts *facts, bool orig)
{
	__u32 isn = orig ? f->orig_isn : f->resp_isn, end = orig ? f->orig_end : f->resp_end, low;
	bool end_known = f->flags & (orig ? ORIG_END : RESP_END);
	__u64 count;

	if (!facts)
		return end_known ? sent(end, isn) : -1;
	if (orig == facts->of_orig) {
		count = facts->bytes_acked;
		low = sent(end_known ? end : facts->snd_una, isn);
	} else {
		count = facts->bytes_received;
		low = sent(end_known ? end : facts->rcv_nxt, isn);
	}
	return count + (__s32)(low - (__u32)count);
}

/* The bucket of a log2 histogram that a time belongs to. Not static: so the verifier walks its loop once, not once a caller. */
__noinline __u32 bucket_of(__u64 ns)
{
	__u32 i;

	ns >>= HIST_SHIFT;
	for (i = 0; i < HIST_BUCKETS - 1 && ns; i++)
		ns >>= 1;
	barrier_var(i); /* or clang 22 knows what comes back and drops the callers' bound; the verifier does not know */
	return i;
}

/* The figures of the service that the connection's responder offers. insert: make an entry if there is none. */
static __always_inline struct service *find_service(const struct flow_key *key, const struct flow *f, bool insert)
{
	struct service_key service = {
		.port = key->dport,
		.dir = f->flags & IS_OUTBOUND ? DIR_OUT : DIR_IN,
	};
	const struct scratch *scratch = only_value(&nt_scratch);
	struct service *found = bpf_map_lookup_elem(&nt_services, &service);

	if (found || !scratch)
		return found;
	if (insert && !bpf_map_update_elem(&nt_services, &service, &scratch->service, BPF_NOEXIST))
		return bpf_map_lookup_elem(&nt_services, &service);
	service.port = 0;
	bpf_map_update_elem(&nt_services, &service, &scratch->service, BPF_NOEXIST);
	return bpf_map_lookup_elem(&nt_services, &service);
}

__noinline int count_established(const struct flow_key *key, const struct flow *f, __u64 handshake_ns)
{
	struct service *service;

	if (!key || !f)
		return 0; /* a global function's pointers may be NULL, as far as the verifier knows */
	service = find_service(key, f, true);
	COUNT(established);
	if (!service)
		return 0;
	__sync_fetch_and_add(&service->established, 1);
	__sync_fetch_and_add(&service->handshake_sum_ns, handshake_ns);
	__sync_fetch_and_add(&service->handshake[bucket_of(handshake_ns) & (HIST_BUCKETS - 1)], 1);
	return 0;
}

static __always_inline void count_ended(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state,
                                        __u64 duration_ns)
{
	struct service *service = find_service(key, f, f->flags & IS_OUTBOUND);
	__s64 from_orig = exact_bytes(f, facts, true), from_resp = exact_bytes(f, facts, false);

	COUNT(ended[state]);
	if (!service)
		return;
	__sync_fetch_and_add(&service->ended[state], 1);
	__sync_fetch_and_add(&service->duration_sum_ns, duration_ns);
	__sync_fetch_and_add(&service->duration[bucket_of(duration_ns) & (HIST_BUCKETS - 1)], 1);
	if (from_orig > 0)
		__sync_fetch_and_add(&service->orig_bytes, from_orig);
	if (from_resp > 0)
		__sync_fetch_and_add(&service->resp_bytes, from_resp);
}

#define put_field(t, name, value)             \
	({                                    \
		put_literal(t, " " name "="); \
		put_number(t, value);         \
	})

/* A size of -1 is one that nobody knows. */
static __always_inline void put_size(struct text *t, __s64 size)
{
	if (size < 0)
		put_literal(t, "-1");
	else
		put_number(t, size);
}

/* Writes the record's line to the trace: docs/fields.md. */
static __always_inline void log_record(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state,
                                       __u64 duration_ns)
{
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 index = f->iface;
	const struct iface *iface = bpf_map_lookup_elem(&nt_ifaces, &index);
	struct text *t;

	if (!scratch)
		return;
	t = &scratch->line;
	t->len = 0;
	put_literal(t, "netracker: ");
	put_endpoint(t, (const struct address *)key->src, key->sport);
	put_literal(t, " -> ");
	put_endpoint(t, (const struct address *)key->dst, key->dport);
	put_field(t, "dur_ns", duration_ns);
	put_literal(t, " state=");
	put_string(t, state_name[state], sizeof(state_name[0]));
	if (f->flags & IS_OUTBOUND)
		put_literal(t, " dir=out");
	else
		put_literal(t, " dir=in");
	put_field(t, "first_fin_ns", f->first_fin_ns ? f->first_fin_ns - f->start_ns : 0);
	put_field(t, "syn_rtt_ns", f->syn_rtt_ns);
	put_field(t, "ack_rtt_ns", f->ack_rtt_ns);
	put_literal(t, " orig_bytes=");
	put_size(t, exact_bytes(f, facts, true));
	put_literal(t, " resp_bytes=");
	put_size(t, exact_bytes(f, facts, false));
	put_field(t, "syn_retrans", f->syn_retrans);
	put_field(t, "start_ns", f->start_ns);
	put_field(t, "ifindex", f->ifindex);
	put_literal(t, " ifname=");
	if (index && iface)
		put_string(t, iface->name, sizeof(iface->name));
	else
		put_char(t, '-');
	if (f->flags & HAS_OWNER) {
		put_field(t, "uid", f->uid);
		put_field(t, "cgroup", f->cgroup);
	}
	if (facts) {
		if (facts->srtt_us)
			put_field(t, "srtt_us", facts->srtt_us);
		if (facts->min_rtt_us != ~0U)
			put_field(t, "min_rtt_us", facts->min_rtt_us);
		put_field(t, "retrans", facts->retrans);
		put_field(t, "orig_segs", facts->of_orig ? facts->segs_out : facts->segs_in);
		put_field(t, "resp_segs", facts->of_orig ? facts->segs_in : facts->segs_out);
		put_field(t, "cwnd", facts->cwnd);
		put_field(t, "mss", facts->mss);
	}
	put_char(t, '\0');
	bpf_printk("%s", t->c);
	COUNT(logged);
}

/*
 * Every connection comes here once, when it has ended and its entry is gone.
 * f: with HAS_FACTS, scratch->facts belongs to it.
 * state: enum conn_state in 64 bits: of a shorter value that is put on the stack the verifier of Linux 6.1 forgets the bound.
 * end_ns: time of the packet that ended it; after a time-out, of the last packet that the tracker looked at.
 */
__noinline int report(const struct flow_key *key, const struct flow *f, __u64 state, __u64 end_ns)
{
	const struct config *config;
	const struct scratch *scratch;
	const struct facts *facts = NULL;
	__u64 duration_ns;

	if (!key || !f || state >= CONN_STATES)
		return 0; /* never so; but the verifier looks at a global function by itself */

	/* Or clang 21 puts it on the stack before it is compared, and takes it from there, for 6.1 without a bound. */
	barrier_var(state);
	config = only_value(&nt_config);
	scratch = only_value(&nt_scratch);
	duration_ns = end_ns - f->start_ns;
	if (scratch && f->flags & HAS_FACTS)
		facts = &scratch->facts;
	count_ended(key, f, facts, state, duration_ns);
	if (config && !config->quiet)
		log_record(key, f, facts, state, duration_ns);
	return 0;
}

/* ------------------------------------------------------------------------------- connection life: after the handshake */

static __always_inline enum conn_state live_state(__u32 flags)
{
	switch (flags & (ORIG_FIN | RESP_FIN)) {
	case ORIG_FIN:
		return S2;
	case RESP_FIN:
		return S3;
	default:
		return S1;
	}
}

/*
 * Gives the value back by way of memory, where the verifier does not follow it. So it goes once, not eight times, through what
 * is done to the slot with this index. scratch->index is nobody's memory but this CPU's.
 */
static __always_inline __u32 forget(struct scratch *scratch, __u32 index)
{
	volatile __u32 *memory = &scratch->index;

	*memory = index;
	return *memory;
}

/* Addresses are compared as two words of 64 bits: keys stand at multiples of 8, in a segment as in a slot. */
static __always_inline bool same_address(const __u8 *a, const __u8 *b)
{
	return ((const __u64 *)a)[0] == ((const __u64 *)b)[0] && ((const __u64 *)a)[1] == ((const __u64 *)b)[1];
}

static __always_inline bool same_key(const struct flow_key *a, const struct flow_key *b)
{
	return a->sport == b->sport && a->dport == b->dport && same_address(a->src, b->src) && same_address(a->dst, b->dst);
}

static __always_inline bool opposite_key(const struct flow_key *a, const struct flow_key *b)
{
	return a->sport == b->dport && a->dport == b->sport && same_address(a->src, b->dst) && same_address(a->dst, b->src);
}

/* Makes *due, if it is later or 0, this time; 0 is no time. Of a set only under its lock. */
static __always_inline void note_due(__u64 *due, __u64 due_ns)
{
	if (due_ns && (!*due || due_ns < *due))
		*due = due_ns;
}

/* When the set with this index is due. */
static __always_inline __u64 *due_of(__u32 index)
{
	__u32 row = index / DUE_ROW;
	struct due_row *found = bpf_map_lookup_elem(&nt_due, &row);

	return found ? &found->due_ns[index % DUE_ROW] : NULL;
}

/* Under the set's lock, after something has left it. The filter forgets when nothing is left; until then it lets more through. */
static __always_inline void renew_filter(struct syn_set *set)
{
	if (!set->live && !set->watched)
		set->filter = 0;
}

static int on_clock(void *map, __u32 *key, struct clock *clock);

/*
 * How long the clock has to sleep to go off at due_ns; 0: it goes off early enough as it is. Two CPUs may race to set it, and the
 * later time win: so it never sleeps for longer than CLOCK_STEP_NS, and one that should have gone off long ago is set anew.
 */
static __always_inline __u64 clock_delay(const struct clock *clock, __u64 due_ns, __u64 now)
{
	__u64 delay_ns = due_ns > now + CLOCK_STEP_NS ? CLOCK_STEP_NS : due_ns > now ? due_ns - now : 0;

	if (clock->armed_ns && clock->armed_ns <= now + delay_ns && clock->armed_ns + CLOCK_STEP_NS > now)
		return 0;
	return delay_ns < CLOCK_SLACK_NS ? CLOCK_SLACK_NS : delay_ns;
}

static __always_inline void start_clock(struct clock *clock, __u64 delay_ns, __u64 now)
{
	clock->armed_ns = now + delay_ns;
	if (bpf_timer_start(&clock->timer, delay_ns, 0)) {
		COUNT(timer_failed);
		clock->armed_ns = 0;
	}
}

/* Sees to it that the clock goes off at due_ns or earlier. */
static __always_inline void set_clock(__u64 due_ns, __u64 now)
{
	struct clock *clock = only_value(&nt_clock);
	__u64 delay_ns = clock ? clock_delay(clock, due_ns, now) : 0;

	if (!clock || !delay_ns)
		return;
	bpf_timer_init(&clock->timer, &nt_clock, CLOCK_BOOTTIME); /* -EBUSY: it is already */
	bpf_timer_set_callback(&clock->timer, on_clock);          /* without it the start fails, and is counted */
	start_clock(clock, delay_ns, now);
}

/* Under the set's lock. The place of this connection among the watches, or SYN_WAYS. */
static __always_inline __u32 find_watch(struct scratch *scratch, const struct syn_set *set, const struct flow_key *key, __u32 tag)
{
	__u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++)
		if (set->watch_tag[i] == tag && same_key(&set->watch[i].key, key))
			break;
	return forget(scratch, i);
}

/* Under the set's lock. A free place for a watch, else that of the connection whose time is nearest. */
static __always_inline __u32 find_watch_place(struct scratch *scratch, const struct syn_set *set)
{
	__u64 nearest = ~0ULL;
	__u32 i, place = 0;

#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++) {
		if (!set->watch_tag[i]) {
			place = i;
			break;
		}
		if (set->watch[i].due_ns < nearest) {
			nearest = set->watch[i].due_ns;
			place = i;
		}
	}
	return forget(scratch, place);
}

/*
 * Watches a connection: its packets pass the gate, and the clock looks at it at due_ns. Returns true if another one has to give
 * way: scratch->victim.
 *
 * It may have ended on another CPU by now; then the clock finds a watch without a connection, and forgets it.
 */
__noinline int watch(const struct flow_key *key, __u64 due_ns)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct syn_set *set;
	bool evicts = false;
	__u64 hash, *due;
	__u32 i, tag;

	if (!key || !scratch)
		return false;
	hash = hash_key(key);
	tag = tag_of(hash);
	set = set_of(hash);
	due = due_of(set_index(hash));
	if (!set || !due)
		return false;

	bpf_spin_lock(&set->lock);
	i = find_watch(scratch, set, key, tag);
	if (i == SYN_WAYS) {
		i = find_watch_place(scratch, set) & (SYN_WAYS - 1);
		evicts = set->watch_tag[i];
		if (evicts)
			scratch->victim = set->watch[i].key;
		else
			set->watched++;
		set->watch_tag[i] = tag;
		set->watch[i].key = *key;
		set->filter |= filter_bit(hash);
	}
	set->watch[i & (SYN_WAYS - 1)].due_ns = due_ns;
	note_due(due, due_ns);
	bpf_spin_unlock(&set->lock);
	return evicts;
}

__noinline int unwatch(const struct flow_key *key)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct syn_set *set;
	__u64 hash;
	__u32 i;

	if (!key || !scratch)
		return 0;
	hash = hash_key(key);
	set = set_of(hash);
	if (!set)
		return 0;
	bpf_spin_lock(&set->lock);
	i = find_watch(scratch, set, key, tag_of(hash));
	if (i < SYN_WAYS) {
		set->watch_tag[i & (SYN_WAYS - 1)] = 0;
		set->watched--;
		renew_filter(set);
	}
	bpf_spin_unlock(&set->lock);
	return 0;
}

/* The right to end a connection: of all who try, one gets it. *flags: the flags as they were. */
static __always_inline bool claim(struct conn *c, __u32 *flags)
{
	*flags = __sync_fetch_and_or(&c->flow.flags, ENDED);
	return !(*flags & ENDED);
}

static __always_inline void note_end(struct flow *f, bool by_orig, __u32 end)
{
	if (by_orig)
		f->orig_end = end;
	else
		f->resp_end = end;
}

/*
 * On lo, or with both ends of a veth tracked, both sockets may be asked. The record is about the one on the side that its
 * direction names: the originator's if it went out, else the responder's; whoever closes first.
 */
static __always_inline bool is_ours(const struct facts *facts, __u32 flags)
{
	return facts->of_orig == !!(flags & IS_OUTBOUND);
}

/*
 * Takes a claimed connection out and reports it. flags: from claim(). asked: scratch->facts is of a socket of this connection.
 * The copy is made because the element is used again as soon as it is deleted.
 */
static __always_inline void end_connection(const struct flow_key *key, const struct conn *c, __u32 flags, enum conn_state state,
                                           __u64 end_ns, bool asked)
{
	struct scratch *scratch = only_value(&nt_scratch);

	if (!scratch)
		return;
	scratch->last = c->flow;
	scratch->last.flags = flags & ~HAS_FACTS;
	asked = asked && is_ours(&scratch->facts, flags);
	if (flags & HAS_FACTS) {
		const struct facts *saved = bpf_map_lookup_elem(&nt_facts, key);

		if (saved && !asked) {
			scratch->facts = *saved;
			asked = true;
		}
		bpf_map_delete_elem(&nt_facts, key);
	}
	if (asked)
		scratch->last.flags |= HAS_FACTS;
	bpf_map_delete_elem(&conn_map, key);
	if (flags & WATCHED)
		unwatch(key);
	report(key, &scratch->last, state, end_ns);
}

/*
 * What a connection becomes that nobody closes: by time-out, by a new connection on its tuple, or at detach. Returns false if
 * somebody else ended it.
 */
static __always_inline bool end_unclosed(const struct flow_key *key, struct conn *c, __u64 now)
{
	enum conn_state state;
	__u32 flags;
	__u64 end_ns;

	if (!claim(c, &flags))
		return false;
	state = live_state(flags);
	end_ns = state == S1 ? now : c->flow.last_ns;
	if (flags & RST_PENDING) {
		bool by_orig = flags & RST_BY_ORIG;

		if (!(flags & (by_orig ? ORIG_FIN : RESP_FIN)))
			note_end(&c->flow, by_orig, c->flow.rst_seq);
		flags |= by_orig ? ORIG_END : RESP_END;
		if (flags & RST_ACKED)
			flags |= by_orig ? RESP_END : ORIG_END;
		state = by_orig ? RSTO : RSTR;
		end_ns = c->flow.last_ns;
	}
	end_connection(key, c, flags, state, end_ns, false);
	return true;
}

/* When the time of a watched connection is up; 0: it has no limit (any more). */
static __always_inline __u64 due_at(const struct flow *f)
{
	if (f->flags & RST_PENDING)
		return f->last_ns + RST_SILENCE_NS;
	if (f->flags & (ORIG_FIN | RESP_FIN))
		return f->last_ns + close_timeout_ns();
	return 0;
}

/*
 * Watches a connection from its first FIN or RST on. The one that has to give way is ended: it is half-closed or reset all the
 * same, only its time is not up.
 */
static __always_inline void watch_closing(const struct flow_key *key, struct conn *c, __u64 now)
{
	struct scratch *scratch = only_value(&nt_scratch);
	bool evicts;

	__sync_fetch_and_or(&c->flow.flags, WATCHED);
	evicts = watch(key, due_at(&c->flow));
	set_clock(due_at(&c->flow), now);
	if (!evicts || !scratch)
		return;
	c = bpf_map_lookup_elem(&conn_map, &scratch->victim);
	if (c && end_unclosed(&scratch->victim, c, now))
		COUNT(close_evicted);
}

/* A FIN with sequence number `end` (that of the FIN itself, behind the data) at time now. facts: of the socket, or NULL. */
static __always_inline void on_connection_fin(const struct flow_key *key, struct conn *c, bool by_orig, __u32 end, __u64 now,
                                              const struct facts *facts)
{
	__u32 mine = by_orig ? ORIG_FIN | ORIG_END : RESP_FIN | RESP_END, both = ORIG_FIN | RESP_FIN, before;

	if (c->flow.flags & mine & both) {
		c->flow.last_ns = now; /* sent again */
		return;
	}
	/* Both sides' FINs may be at work on two CPUs: each writes its own fields first, then its bit; the second one ends. */
	note_end(&c->flow, by_orig, end);
	__sync_val_compare_and_swap(&c->flow.first_fin_ns, 0, now);
	before = __sync_fetch_and_or(&c->flow.flags, mine);
	if (!(before & both)) {
		c->flow.last_ns = now;
		watch_closing(key, c, now);
		/* Only who closes first can be gone before the end. */
		if (facts && facts->of_orig == by_orig && is_ours(facts, before) &&
		    !bpf_map_update_elem(&nt_facts, key, facts, BPF_ANY))
			__sync_fetch_and_or(&c->flow.flags, HAS_FACTS);
	} else if (((before | mine) & both) == both && claim(c, &before)) {
		end_connection(key, c, before, SF, now, facts);
	}
}

/*
 * Does this segment show that the receiver of the pending RST threw it away? Its sender's later segments do, unless they
 * may have been overtaken by it; so does anything that is too late to have been on its way.
 */
static __always_inline bool refutes_rst(const struct flow *f, const struct segment *s, bool by_orig)
{
	__u64 in_flight_ns = REORDER_NS + 2 * (f->syn_rtt_ns + f->ack_rtt_ns);
	__u32 end = s->seq + s->len + !!(s->flags & TCP_FIN);

	if (s->now - f->last_ns > in_flight_ns)
		return true;
	return by_orig == !!(f->flags & RST_BY_ORIG) && f->rst_seq - end > REORDER_BYTES;
}

/* A segment without SYN and RST of a connection in conn_map: one with FIN, or any while the connection is WATCHED. */
static __always_inline void on_connection_segment(const struct flow_key *key, struct conn *c, const struct segment *s, bool by_orig,
                                                  const struct facts *facts)
{
	__u32 flags = c->flow.flags;

	if (flags & RST_PENDING) {
		if (!refutes_rst(&c->flow, s, by_orig))
			return;
		flags = __sync_fetch_and_and(&c->flow.flags, ~(RST_PENDING | RST_BY_ORIG | RST_ACKED));
		if (flags & RST_PENDING)
			COUNT(rst_disbelieved);
		/* An established connection goes back to rest; a half-closed one stays watched. */
		if (!(flags & (ORIG_FIN | RESP_FIN))) {
			__sync_fetch_and_and(&c->flow.flags, ~WATCHED);
			unwatch(key);
		}
	}
	if (s->flags & TCP_FIN)
		on_connection_fin(key, c, by_orig, s->seq + s->len, s->now, facts);
	else if (flags & (ORIG_FIN | RESP_FIN))
		c->flow.last_ns = s->now;
}

enum verdict {
	RST_UNJUDGED,
	RST_GENUINE,
	RST_DISCARDED,
};

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
	facts->srtt_us = tcp->srtt_us >> 3;
	facts->min_rtt_us = tcp->rtt_min;
	facts->retrans = tcp->total_retrans;
	facts->cwnd = tcp->snd_cwnd;
	facts->mss = tcp->mss_cache;
	facts->known = true;
}

/*
 * Asks this host's own socket of the connection: at egress the one that sends the segment, at ingress the one that will receive
 * it; there skb->sk is never asked, as on a veth it can be the sender's. Returns whether there is one; scratch->facts is what
 * it says. uid and cgroup can be read only of the sender.
 */
__noinline int ask_socket(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct bpf_tcp_sock *tcp;
	struct facts *facts;
	struct bpf_sock *sk;

	if (!s || !scratch)
		return false;
	facts = &scratch->facts;
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
 * What this host's own socket says of a RST: the TCP that sends it means it; the one that receives it takes it only if it is
 * exactly at rcv_nxt (RFC 5961 section 3.2), or one before that once the peer's FIN has come (tcp_reset_check in
 * net/ipv4/tcp_input.c).
 */
static __always_inline enum verdict judge_rst(const struct facts *facts, const struct segment *s)
{
	__u32 before;

	if (!facts)
		return RST_UNJUDGED;
	if (s->dir == DIR_OUT)
		return RST_GENUINE;
	before = facts->rcv_nxt - s->seq;
	if (before == 1 &&
	    (facts->tcp_state == BPF_TCP_CLOSE_WAIT || facts->tcp_state == BPF_TCP_LAST_ACK || facts->tcp_state == BPF_TCP_CLOSING))
		return RST_GENUINE;
	return before ? RST_DISCARDED : RST_GENUINE;
}

/* A RST tells where its sender's data ended and, with an ACK, where the other side's did. */
static __always_inline void note_rst_ends(struct flow *f, const struct segment *s, bool by_orig)
{
	note_end(f, by_orig, s->seq);
	__sync_fetch_and_or(&f->flags, by_orig ? ORIG_END : RESP_END);
	if (s->flags & TCP_ACK && !(f->flags & (by_orig ? RESP_END : ORIG_END))) {
		note_end(f, !by_orig, s->ack);
		__sync_fetch_and_or(&f->flags, by_orig ? RESP_END : ORIG_END);
	}
}

static __always_inline void on_connection_rst(const struct flow_key *key, struct conn *c, const struct segment *s, bool by_orig,
                                              const struct facts *facts)
{
	bool closed = c->flow.flags & (by_orig ? ORIG_FIN : RESP_FIN);
	enum verdict verdict = judge_rst(facts, s);
	__u32 flags, pending;

	/* Behind its own FIN there is only one place for a sender's RST; Linux also sends it on the FIN's place. */
	if (closed && s->seq - (by_orig ? c->flow.orig_end : c->flow.resp_end) <= 1)
		verdict = RST_GENUINE;

	switch (verdict) {
	case RST_DISCARDED:
		COUNT(rst_disbelieved);
		return;
	case RST_GENUINE:
		if (!closed)
			note_rst_ends(&c->flow, s, by_orig);
		if (!claim(c, &flags))
			return;
		end_connection(key, c, flags, by_orig ? RSTO : RSTR, flags & RST_PENDING ? c->flow.last_ns : s->now, facts);
		return;
	case RST_UNJUDGED:
		if (c->flow.flags & RST_PENDING)
			return;
		c->flow.last_ns = s->now;
		c->flow.rst_seq = s->seq;
		pending = by_orig ? RST_PENDING | RST_BY_ORIG : RST_PENDING;
		if (s->flags & TCP_ACK && !(c->flow.flags & (by_orig ? RESP_END : ORIG_END))) {
			note_end(&c->flow, !by_orig, s->ack);
			pending |= RST_ACKED;
		}
		__sync_fetch_and_or(&c->flow.flags, pending);
		watch_closing(key, c, s->now);
	}
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

/*
 * Looks the tuple up in both orientations; first in the one in which the responder has the smaller port, as it mostly has.
 * *key: as it is stored. *reversed: the tuple was turned round for that.
 */
static __always_inline struct conn *find_connection(const struct flow_key *tuple, struct flow_key *key, bool *reversed)
{
	struct conn *c;

	*reversed = tuple->sport < tuple->dport;
	put_key(key, tuple, *reversed);
	c = bpf_map_lookup_elem(&conn_map, key);
	if (c)
		return c;
	*reversed = !*reversed;
	put_key(key, tuple, *reversed);
	return bpf_map_lookup_elem(&conn_map, key);
}

static __always_inline void note_owner(struct flow *f, __u64 cgroup, __u32 uid)
{
	f->cgroup = cgroup;
	f->uid = uid;
	__sync_fetch_and_or(&f->flags, HAS_OWNER);
}

/*
 * Is this host's socket to be asked? Of the first FIN only its sender: who closes last is asked when it does, and at ingress the
 * look-up costs half as much as all else that is done for a FIN.
 */
static __always_inline bool wants_socket(const struct conn *c, const struct segment *s)
{
	if (s->flags & TCP_RST)
		return true;
	return s->flags & TCP_FIN && (s->dir == DIR_OUT || c->flow.flags & (ORIG_FIN | RESP_FIN));
}

/* A segment with FIN or RST, or any behind an open gate, that belongs to no handshake. Returns whether there is a connection. */
__noinline int on_connection(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	const struct facts *facts = NULL;
	struct flow_key key;
	struct conn *c;
	bool reversed;

	if (!s || !scratch)
		return false;
	c = find_connection(&s->key, &key, &reversed);
	if (!c)
		return false;
	/*
	 * Memory of a deleted element is used again at once. If that happens between the look-up and here, the tag tells, but
	 * for one tuple in 65,536; the worst outcome is one wrong state.
	 */
	if (c->flow.tag != (__u16)tag_of(s->hash) || c->flow.flags & ENDED)
		return true;
	if (wants_socket(c, s) && ask_socket(skb, s)) {
		facts = &scratch->facts;
		scratch->facts.of_orig = (s->dir == DIR_OUT) == !reversed;
		/* The listener's owner was all there was at the handshake. */
		if (facts->has_owner && is_ours(facts, c->flow.flags))
			note_owner(&c->flow, facts->cgroup, facts->uid);
	}
	if (s->flags & TCP_RST)
		on_connection_rst(&key, c, s, !reversed, facts);
	else
		on_connection_segment(&key, c, s, !reversed, facts);
	return true;
}

/* ------------------------------------------------------------------------------------- connection life: the handshake */

/* Under the set's lock. Returns the index of the tuple's slot, or SYN_WAYS. *reply: the responder sends this segment. */
static __always_inline __u32 find_slot(struct scratch *scratch, struct syn_set *set, const struct segment *s, bool *reply)
{
	__u32 tag = tag_of(s->hash), i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++) {
		if (set->tag[i] != tag)
			continue;
		barrier_var(s); /* or the compiler loads the whole key beforehand, and spills it */
		*reply = false;
		if (same_key(&set->slot[i].key, &s->key))
			break;
		*reply = true;
		if (opposite_key(&set->slot[i].key, &s->key))
			break;
	}
	return forget(scratch, i);
}

/* Under the lock. The slot for a new handshake: a free one, else the unanswered or, if all are answered, the answered one that
 * waits longest. SYN_WAYS if all are just moving to conn_map. */
static __always_inline __u32 find_place(struct scratch *scratch, const struct syn_set *set)
{
	__u64 oldest = ~0ULL;
	__u32 i, place = SYN_WAYS;

#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++) {
		const struct flow *f = &set->slot[i].flow;
		__u64 rank = f->last_ns;

		if (!set->tag[i]) {
			place = i;
			break;
		}
		if (f->flags & PROMOTING)
			continue;
		if (f->flags & RESP_SEEN)
			rank |= 1ULL << 63;
		if (rank < oldest) {
			oldest = rank;
			place = i;
		}
	}
	return forget(scratch, place);
}

/* Under the lock. */
static __always_inline void free_slot(struct syn_set *set, __u32 i)
{
	set->tag[i & (SYN_WAYS - 1)] = 0;
	set->live--;
	renew_filter(set);
}

static __always_inline enum conn_state handshake_state(__u32 flags)
{
	if (flags & RESP_SEEN)
		return (flags & (ORIG_FIN | RESP_FIN)) == (ORIG_FIN | RESP_FIN) ? SF : live_state(flags);
	return flags & ORIG_FIN ? SH : S0;
}

/* Reports a handshake that was taken out of its set and came to nothing. */
__noinline int end_handshake(struct syn_slot *slot, enum conn_state state, __u64 end_ns)
{
	if (!slot)
		return 0;
	/* Nobody sent more than the SYN's data, unless a FIN or RST said so. */
	if (!(slot->flow.flags & ORIG_END))
		slot->flow.orig_end = slot->orig_nxt;
	if (!(slot->flow.flags & RESP_END))
		slot->flow.resp_end = slot->flow.resp_isn + 1;
	slot->flow.flags |= ORIG_END | RESP_END;
	return report(&slot->key, &slot->flow, state, end_ns);
}

/*
 * Likewise, where time or a newer attempt decided. A SYN on the tuple of a live connection that no one answered was no attempt
 * after all, even if that connection has gone in the meantime: then it is not reported and false is returned.
 */
__noinline int give_up(struct syn_slot *slot)
{
	__u64 end_ns;

	if (!slot)
		return false;
	if ((slot->flow.flags & (DOUBTFUL | RESP_SEEN)) == DOUBTFUL) {
		COUNT(syn_disbelieved);
		return false;
	}
	end_ns = slot->flow.first_fin_ns > slot->flow.last_ns ? slot->flow.first_fin_ns : slot->flow.last_ns;
	end_handshake(slot, handshake_state(slot->flow.flags), end_ns);
	return true;
}

enum expired {
	NOTHING_EXPIRED,
	HANDSHAKE_EXPIRED, /* now in scratch->slot */
	WATCH_EXPIRED,     /* its key is in scratch->victim */
};

/* Takes one out of the set whose time is up, or, if there is none, notes when the next one's is. */
__noinline int take_expired(__u32 index, __u64 now, __u64 timeout)
{
	struct syn_set *set = bpf_map_lookup_elem(&syn_map, &index);
	struct scratch *scratch = only_value(&nt_scratch);
	volatile __u32 *slot_at, *watch_at;
	__u64 *due = due_of(index);
	__u32 i, slot, place;

	if (!set || !due || !scratch)
		return NOTHING_EXPIRED;
	slot_at = &scratch->index;
	watch_at = &scratch->watch_index;
	bpf_spin_lock(&set->lock);
	*slot_at = SYN_WAYS;
	*watch_at = SYN_WAYS;
	*due = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++) {
		const struct flow *f = &set->slot[i].flow;

		if (set->tag[i] && !(f->flags & PROMOTING)) {
			if (f->last_ns + timeout <= now)
				*slot_at = i;
			note_due(due, f->last_ns + timeout);
		}
		if (set->watch_tag[i]) {
			if (set->watch[i].due_ns <= now)
				*watch_at = i;
			note_due(due, set->watch[i].due_ns);
		}
	}
	slot = *slot_at;
	place = *watch_at;
	if (slot < SYN_WAYS) {
		scratch->slot = set->slot[slot];
		free_slot(set, slot);
	} else if (place < SYN_WAYS) {
		scratch->victim = set->watch[place].key;
		set->watch_tag[place] = 0;
		set->watched--;
		renew_filter(set);
	}
	bpf_spin_unlock(&set->lock);
	return slot < SYN_WAYS ? HANDSHAKE_EXPIRED : place < SYN_WAYS ? WATCH_EXPIRED : NOTHING_EXPIRED;
}

/* The clock came to a watched connection: it has ended, or packets have been seen since and it gets more time. */
static __always_inline void look_at_watched(const struct flow_key *key, __u64 now)
{
	struct conn *c = bpf_map_lookup_elem(&conn_map, key);
	__u64 due_ns = c ? due_at(&c->flow) : 0;
	bool by_silence;

	if (!due_ns)
		return;
	if (due_ns > now) {
		watch(key, due_ns); /* into the place that it has just left */
		return;
	}
	by_silence = c->flow.flags & RST_PENDING;
	if (end_unclosed(key, c, now) && !by_silence)
		COUNT(expired);
}

/* Ends what is due in a set. Returns the number of time-outs that were looked at. */
__noinline int on_due(__u32 index, __u64 now)
{
	__u64 timeout = handshake_timeout_ns();
	struct scratch *scratch = only_value(&nt_scratch);
	struct flow_key key;
	int n;

	if (!scratch)
		return 0;
	for (n = 0; n < 2 * SYN_WAYS; n++) {
		switch (take_expired(index, now, timeout)) {
		case HANDSHAKE_EXPIRED:
			if (give_up(&scratch->slot))
				COUNT(expired);
			break;
		case WATCH_EXPIRED:
			key = scratch->victim;
			look_at_watched(&key, now);
			break;
		default:
			return n;
		}
	}
	return n;
}

/* Ends what is due in a row of sets, and notes in scratch->next_ns when the next one is due. */
__noinline int on_row_due(__u32 row, __u64 now)
{
	struct due_row *due = bpf_map_lookup_elem(&nt_due, &row);
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 i;

	if (!due || !scratch)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < DUE_ROW; i++) {
		__u64 due_ns = due->due_ns[i];

		if (!due_ns)
			continue;
		if (due_ns <= now && scratch->ended < TICK_BATCH)
			scratch->ended += on_due(row * DUE_ROW + i, now);
		note_due(&scratch->next_ns, due->due_ns[i]);
	}
	return 0;
}

/*
 * The clock goes off: looks through the sets' times, 64 KiB in a row, and into the sets that are due. It clears armed_ns first:
 * whoever adds something behind its back then sets it again. Nothing that is called from here may set the callback: some kernels
 * (6.1, 7.2) take that for a recursion.
 */
static int on_clock(void *map __unused, __u32 *key __unused, struct clock *clock)
{
	struct scratch *scratch = only_value(&nt_scratch);
	__u64 now = bpf_ktime_get_boot_ns(), delay_ns;
	__u32 row;

	if (!scratch)
		return 0;
	scratch->ended = 0;
	scratch->next_ns = 0;
	clock->armed_ns = 0;
#pragma clang loop unroll(disable)
	for (row = 0; row < SYN_SETS / DUE_ROW; row++)
		on_row_due(row, now);
	delay_ns = scratch->next_ns ? clock_delay(clock, scratch->next_ns, now) : 0;
	if (delay_ns)
		start_clock(clock, delay_ns, now);
	return 0;
}

/* The owner of this host's socket that sends the segment; of the listener, if it is a SYN-ACK (there is no other socket yet). */
static __always_inline bool find_owner(struct __sk_buff *skb, const struct segment *s, __u64 *cgroup, __u32 *uid)
{
	struct bpf_sock *sk = s->dir == DIR_OUT ? skb->sk : NULL;

	if (!sk)
		return false;
	if (s->flags & TCP_ACK) {
		sk = bpf_get_listener_sock(sk);
		if (!sk || sk->src_port != s->key.sport)
			return false;
	} else {
		sk = bpf_sk_fullsock(sk);
		if (!sk || !bpf_tcp_sock(sk) || !sends(sk, &s->key))
			return false;
	}
	*cgroup = bpf_skb_cgroup_id(skb);
	*uid = bpf_get_socket_uid(skb);
	return true;
}

enum syn_outcome {
	SYN_AGAIN,
	SYN_NEW,
	SYN_REPLACED, /* a new attempt took the place of an old one on the same tuple */
	SYN_EVICTED,
	SYN_NO_PLACE,
};

/* Under the lock: the first SYN of an attempt moves in. */
static __always_inline void open_slot(struct syn_slot *slot, const struct segment *s, __u32 flags)
{
	__builtin_memset(slot, 0, sizeof(*slot));
	slot->key = s->key;
	slot->orig_nxt = s->seq + 1 + s->len;
	slot->flow.start_ns = s->now;
	slot->flow.last_ns = s->now;
	slot->flow.orig_isn = s->seq;
	slot->flow.ifindex = s->ifindex;
	slot->flow.iface = iface_id;
	slot->flow.tag = (__u16)tag_of(s->hash);
	slot->flow.flags = flags | (s->dir == DIR_OUT ? IS_OUTBOUND : 0);
}

/* Under the lock: which slot the SYN gets, *at, and what that means. *reply: of the responder's SYN, which crosses the originator's. */
static __always_inline enum syn_outcome place_syn(struct scratch *scratch, struct syn_set *set, const struct segment *s, __u32 *at,
                                                  bool *reply)
{
	__u32 i = find_slot(scratch, set, s, reply);
	const struct flow *f;

	if (i == SYN_WAYS) {
		i = find_place(scratch, set);
		*at = i & (SYN_WAYS - 1);
		return i == SYN_WAYS ? SYN_NO_PLACE : set->tag[*at] ? SYN_EVICTED : SYN_NEW;
	}
	*at = i & (SYN_WAYS - 1);
	f = &set->slot[*at].flow;
	return !*reply && f->orig_isn != s->seq && !(f->flags & PROMOTING) ? SYN_REPLACED : SYN_AGAIN;
}

/* Under the lock: a SYN that its slot knows. A copy of it that another hook sees is not one sent again. */
static __always_inline void note_syn_again(struct flow *f, const struct segment *s, bool reply)
{
	bool seen_here = f->ifindex == s->ifindex && !(f->flags & IS_OUTBOUND) == (s->dir == DIR_IN);

	if (!reply) {
		if (seen_here && f->syn_retrans < 255)
			f->syn_retrans++;
		f->last_ns = s->now;
	} else if (!(f->flags & RESP_SEEN)) {
		f->resp_isn = s->seq;
		f->flags |= RESP_SYN;
		f->last_ns = s->now;
	}
}

/*
 * A SYN without ACK: a new attempt, the old one sent again, seen again on its way through this host, or a SYN that crosses
 * the peer's (RFC 9293, figure 7). On the tuple of a live connection it is doubtful until it is answered.
 */
__noinline int on_syn(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	bool reply = false, reversed, owned;
	__u32 i, uid = 0, flags = 0;
	__u64 due_ns, *due, cgroup = 0;
	enum syn_outcome outcome;
	struct syn_set *set;
	struct flow_key key;
	struct conn *c;

	if (!s || !scratch)
		return 0;
	set = set_of(s->hash);
	due = due_of(set_index(s->hash));
	if (!set || !due)
		return 0;
	due_ns = s->now + handshake_timeout_ns();
	c = find_connection(&s->key, &key, &reversed);
	if (c) {
		if (!reversed && c->flow.orig_isn == s->seq)
			return 0; /* the SYN of this very connection, late or seen again */
		flags = DOUBTFUL;
	}
	owned = find_owner(skb, s, &cgroup, &uid);

	bpf_spin_lock(&set->lock);
	outcome = place_syn(scratch, set, s, &i, &reply);
	if (outcome == SYN_AGAIN) {
		note_syn_again(&set->slot[i].flow, s, reply);
	} else if (outcome != SYN_NO_PLACE) {
		if (outcome != SYN_NEW)
			scratch->slot = set->slot[i];
		else
			set->live++;
		open_slot(&set->slot[i], s, flags);
		set->tag[i] = tag_of(s->hash);
		set->filter |= filter_bit(s->hash);
		if (owned)
			note_owner(&set->slot[i].flow, cgroup, uid);
		note_due(due, due_ns);
	}
	bpf_spin_unlock(&set->lock);

	if (outcome == SYN_AGAIN)
		return 0;
	set_clock(due_ns, s->now);
	COUNT(attempts);
	if (outcome == SYN_EVICTED || outcome == SYN_NO_PLACE)
		COUNT(syn_evicted);
	else if (outcome == SYN_REPLACED && give_up(&scratch->slot))
		COUNT(replaced);
	return 0;
}

/* A SYN on a live connection's tuple was answered: it was no forgery, the old connection is over. */
static __noinline void end_predecessor(const struct flow_key *tuple, __u64 now)
{
	struct flow_key key;
	bool reversed;
	struct conn *c = find_connection(tuple, &key, &reversed);

	if (!c)
		return;
	if (end_unclosed(&key, c, now))
		COUNT(replaced);
}

/*
 * Moves a completed handshake to conn_map. The slot stays, marked PROMOTING, until the entry is there, so that a FIN on
 * another CPU finds the connection in one of the two: it looks at the slot first, as the connection moves from there.
 */
static __noinline void establish(struct syn_set *set, __u32 i, const struct flow_key *key, struct conn *fresh, __u64 now)
{
	__u32 late = 0, orig_end = 0, resp_end = 0;
	struct conn *c;

	fresh->flow.flags &= ~(ORIG_FIN | RESP_FIN | ORIG_END | RESP_END | PROMOTING | DOUBTFUL);
	long err = bpf_map_update_elem(&conn_map, key, fresh, BPF_NOEXIST);

	i &= SYN_WAYS - 1;
	bpf_spin_lock(&set->lock);
	late = set->slot[i].flow.flags;
	orig_end = set->slot[i].flow.orig_end;
	resp_end = set->slot[i].flow.resp_end;
	free_slot(set, i);
	bpf_spin_unlock(&set->lock);

	if (err) {
		COUNT(conn_full);
		return;
	}
	count_established(key, &fresh->flow, now - fresh->flow.start_ns);
	if (!(late & (ORIG_FIN | RESP_FIN)))
		return;
	c = bpf_map_lookup_elem(&conn_map, key);
	if (c && late & ORIG_FIN)
		on_connection_fin(key, c, true, orig_end, now, NULL);
	c = bpf_map_lookup_elem(&conn_map, key);
	if (c && late & RESP_FIN)
		on_connection_fin(key, c, false, resp_end, now, NULL);
}

/* Under the lock. Does the segment belong to this attempt, and not to an older connection on the tuple? */
static __always_inline bool belongs(const struct syn_slot *slot, const struct segment *s, bool reply)
{
	const struct flow *f = &slot->flow;

	if (reply)
		return s->flags & TCP_ACK && s->ack - f->orig_isn - 1 < HANDSHAKE_SPAN &&
		       (!(f->flags & DOUBTFUL) || f->flags & RESP_SEEN);
	if (s->seq - f->orig_isn >= HANDSHAKE_SPAN || (f->flags & DOUBTFUL && !(f->flags & RESP_SEEN)))
		return false;
	return !(f->flags & RESP_SYN) || s->ack - f->resp_isn - 1 < HANDSHAKE_SPAN;
}

/* Under the lock. What a SYN-ACK tells. Returns false if it does not acknowledge the SYN it answers. */
static __always_inline bool note_synack(struct syn_slot *slot, const struct segment *s, bool reply)
{
	struct flow *f = &slot->flow;

	if (!reply) { /* the originator answers a SYN that crossed its own */
		if (f->flags & RESP_SYN && s->ack != f->resp_isn + 1)
			return false;
		f->resp_isn = s->ack - 1;
		f->flags |= RESP_SYN | ORIG_ACKED;
		return true;
	}
	if (s->ack - f->orig_isn - 1 > slot->orig_nxt - f->orig_isn - 1)
		return false;
	if (!f->syn_rtt_ns)
		f->syn_rtt_ns = s->now - f->start_ns;
	f->resp_isn = s->seq;
	f->flags |= RESP_SYN | RESP_SEEN;
	return true;
}

/* Under the lock. What a segment without SYN tells. */
static __always_inline void note_segment(struct syn_slot *slot, const struct segment *s, bool reply)
{
	struct flow *f = &slot->flow;

	if (reply) {
		if (!(f->flags & RESP_SYN))
			f->resp_isn = s->seq - 1; /* its SYN-ACK was not seen */
		f->flags |= RESP_SYN | RESP_SEEN;
	} else if (!(f->flags & ORIG_ACKED)) {
		if (!(f->flags & RESP_SYN))
			f->resp_isn = s->ack - 1; /* it was overtaken; RESP_SYN stays clear, the SYN-ACK corrects this */
		else if (f->syn_rtt_ns)
			f->ack_rtt_ns = s->now - f->start_ns - f->syn_rtt_ns;
		f->flags |= ORIG_ACKED;
	}
	if (!(s->flags & TCP_FIN))
		return;
	if (!f->first_fin_ns)
		f->first_fin_ns = s->now;
	note_end(f, !reply, s->seq + s->len);
	f->flags |= reply ? RESP_FIN | RESP_END : ORIG_FIN | ORIG_END;
}

/*
 * Anything but a SYN or RST while the tuple's set has handshakes. Returns false if it belongs to none of them.
 * Established is who was answered and has acknowledged that, in whichever order the two were seen.
 */
__noinline int on_handshake(struct __sk_buff *skb, const struct segment *s)
{
	bool reply = false, mine = false, synack, believed = true, promote = false, owned;
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 i, uid = 0, before = 0;
	struct syn_set *set;
	__u64 cgroup = 0;

	if (!s || !scratch)
		return false;
	set = set_of(s->hash);
	if (!set || !set->live)
		return false;
	synack = s->flags & TCP_SYN;
	owned = synack && find_owner(skb, s, &cgroup, &uid);

	bpf_spin_lock(&set->lock);
	i = find_slot(scratch, set, s, &reply);
	if (i < SYN_WAYS) {
		struct syn_slot *slot = &set->slot[i];
		struct flow *f = &slot->flow;

		before = f->flags;
		mine = synack || belongs(slot, s, reply);
		if (synack)
			believed = note_synack(slot, s, reply);
		else if (mine)
			note_segment(slot, s, reply);
		if (synack && believed) {
			f->last_ns = s->now;
			if (owned && reply && !(f->flags & HAS_OWNER))
				note_owner(f, cgroup, uid);
		}
		promote = mine && believed && (f->flags & (RESP_SEEN | ORIG_ACKED | PROMOTING)) == (RESP_SEEN | ORIG_ACKED);
		if (promote)
			f->flags |= PROMOTING;
		scratch->fresh.flow = *f;
		scratch->fresh_key = slot->key;
	}
	bpf_spin_unlock(&set->lock);

	if (!believed)
		COUNT(synack_disbelieved);
	if (!mine)
		return false;
	if (before & DOUBTFUL && !(before & RESP_SEEN) && scratch->fresh.flow.flags & RESP_SEEN)
		end_predecessor(&scratch->fresh_key, scratch->fresh.flow.start_ns);
	if (promote)
		establish(set, i, &scratch->fresh_key, &scratch->fresh, s->now);
	return true;
}

enum rst_outcome {
	RST_OF_NONE, /* there is no handshake of this tuple */
	RST_ENDS,
	RST_UNBELIEVED, /* there is, but its receiver would discard the RST */
};

/* A RST while the tuple's set has handshakes. */
__noinline int on_handshake_rst(const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	enum conn_state state = S0;
	struct syn_set *set;
	bool reply = false, found = false;
	__u32 i;

	if (!s || !scratch)
		return RST_OF_NONE;
	set = set_of(s->hash);
	if (!set || !set->live)
		return RST_OF_NONE;

	bpf_spin_lock(&set->lock);
	i = find_slot(scratch, set, s, &reply);
	if (i < SYN_WAYS && !(set->slot[i].flow.flags & PROMOTING)) {
		const struct flow *f = &set->slot[i].flow;

		found = true;

		/* In SYN_SENT a RST must acknowledge the SYN; afterwards it must lie in the first window (RFC 9293, 3.10.7). */
		if (!reply && s->seq - f->orig_isn <= FIRST_WINDOW)
			state = f->flags & RESP_SEEN ? RSTO : RSTOS0;
		else if (reply && s->flags & TCP_ACK && s->ack - f->orig_isn - 1 <= set->slot[i].orig_nxt - f->orig_isn - 1)
			state = REJ;
		else if (reply && f->flags & RESP_SEEN && s->seq - f->resp_isn <= FIRST_WINDOW)
			state = REJ;
		if (state != S0) {
			scratch->slot = set->slot[i];
			free_slot(set, i);
		}
	}
	bpf_spin_unlock(&set->lock);

	if (state == S0)
		return found ? RST_UNBELIEVED : RST_OF_NONE;
	end_handshake(&scratch->slot, state, s->now);
	return RST_ENDS;
}

/* ---------------------------------------------------------------------------------------------------------- entries */

/* What on_segment is told besides the offsets. */
enum how {
	HOW_IPV6 = 1 << 0,
	HOW_OUT = 1 << 1, /* seen at the egress hook */
};

/* What comes out of lo went in at its egress hook a moment ago. */
static __always_inline bool comes_out_of_lo(const struct __sk_buff *skb, __u32 how)
{
	return !(how & HOW_OUT) && skb->ifindex == LOOPBACK_IFINDEX;
}

/*
 * A segment that carries SYN, FIN or RST, or one without that has passed the gate. Its headers are read by their offsets: so
 * the verifier looks at all this once, and not once for each way in which the fast path can find them.
 */
__noinline int on_segment(struct __sk_buff *skb, __u32 ip_off, __u32 tcp_off, __u32 how, __u64 hash)
{
	struct scratch *scratch = only_value(&nt_scratch);
	const struct syn_set *set = set_of(hash);
	enum rst_outcome outcome;
	struct segment *s;

	if (!scratch || !set || comes_out_of_lo(skb, how))
		return 0;
	s = &scratch->segment;
	s->hash = hash;
	s->dir = how & HOW_OUT ? DIR_OUT : DIR_IN;
	if (!read_segment(skb, ip_off, tcp_off, how & HOW_IPV6, s))
		return 0;
	if (s->flags & TCP_RST) {
		outcome = on_handshake_rst(s);
		if (outcome == RST_ENDS || on_connection(skb, s))
			return 0;
		if (outcome == RST_UNBELIEVED)
			COUNT(rst_disbelieved);
		else
			COUNT(no_record_rst);
	} else if ((s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		on_syn(skb, s);
	} else if (!on_handshake(skb, s) && (s->flags & TCP_FIN || (!(s->flags & TCP_SYN) && set->watched))) {
		if (!on_connection(skb, s) && s->flags & TCP_FIN)
			COUNT(no_record_fin);
	}
	return 0;
}

/*
 * A run of flush() ends after FLUSH_BATCH connections. Their count is kept in a map and not on the stack, where the verifier would
 * follow it through every step of the loops.
 */
static __always_inline bool is_flushed_enough(struct scratch *scratch)
{
	return scratch->flushed >= FLUSH_BATCH;
}

/* The handshakes of a set. Its watches are dropped with them: they are of connections that are all flushed next. */
static long flush_set(void *map __unused, const __u32 *index, struct syn_set *set, void *context __unused)
{
	struct scratch *scratch = only_value(&nt_scratch);
	int n;

	if (!scratch || (!set->live && !set->watched))
		return 0;
	for (n = 0; n < 2 * SYN_WAYS; n++) {
		enum expired taken = take_expired(*index, ~0ULL, 0);

		if (taken == NOTHING_EXPIRED)
			break;
		if (taken == HANDSHAKE_EXPIRED)
			give_up(&scratch->slot);
		scratch->flushed++;
	}
	return is_flushed_enough(scratch);
}

static long flush_connection(void *map __unused, const struct flow_key *key, struct conn *c, void *context __unused)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct flow_key copy = *key;

	if (!scratch)
		return 1;
	end_unclosed(&copy, c, bpf_ktime_get_boot_ns());
	scratch->flushed++;
	return is_flushed_enough(scratch);
}

/*
 * On request of detach, ends everything that is still alive: config.flush. Detach runs it by BPF_PROG_TEST_RUN, which kernels before
 * 6.11 do with bottom halves on: there the clock can come in between and take the scratch space, and a record be wrong.
 */
__noinline int flush(void)
{
	struct config *config = only_value(&nt_config);
	struct scratch *scratch = only_value(&nt_scratch);

	if (!config || !config->flush || !scratch)
		return 0;
	scratch->flushed = 0;
	bpf_for_each_map_elem(&syn_map, flush_set, NULL, 0);
	if (!is_flushed_enough(scratch))
		bpf_for_each_map_elem(&conn_map, flush_connection, NULL, 0);
	if (!is_flushed_enough(scratch))
		config->flush = 0;
	return 0;
}

/* The slow path for one packet. *where is kept in a map, as a frame of the call chain has no room for it below on_segment. */
__noinline int on_odd_packet(struct __sk_buff *skb, __u32 how)
{
	struct scratch *scratch = only_value(&nt_scratch);

	if (!scratch)
		return FOUND_QUIET;
	/* A packet that is cut off or a fragment is counted once, too. */
	return comes_out_of_lo(skb, how) ? FOUND_QUIET : find_odd_segment(skb, &scratch->where);
}

static __always_inline int track(struct __sk_buff *skb, __u32 how)
{
	struct where w;
	enum found found = find_segment(skb, &w);

	if (found == FOUND_ODD) {
		const struct scratch *scratch = only_value(&nt_scratch);

		if (skb->protocol == bpf_htons(ETH_P_802_EX1))
			flush(); /* from here, as the verifier allows a call chain no more than eight functions */
		if (!scratch || on_odd_packet(skb, how) != FOUND_SEGMENT)
			return TC_ACT_OK;
		w = scratch->where;
	} else if (found != FOUND_SEGMENT) {
		return TC_ACT_OK;
	}
	on_segment(skb, w.ip_off, w.tcp_off, how | (w.ipv6 ? HOW_IPV6 : 0), w.hash);
	return TC_ACT_OK;
}

SEC("tc_ing")
int netracker_ingress(struct __sk_buff *skb)
{
	return track(skb, 0);
}

SEC("tc_en")
int netracker_egress(struct __sk_buff *skb)
{
	return track(skb, HOW_OUT);
}
