/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * parse.h - from a packet to its TCP segment: find_segment() on the fast path, find_odd_segment() on the slow one, read_segment()
 * for what is to be looked at. For NeTracker.bpf.c.
 */
#ifndef NETRACKER_PARSE_H
#define NETRACKER_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <stddef.h>

#include "maps.h"
#include "scope.h"
#include "segment.h"
#include "sets.h"
#include "tuple.h"
#include "verifier.h"

/* Byte offsets in the TCP header of the data offset and of the flags: reading bytes spares the bit fields of tcphdr. */
#define TCP_DOFF_BYTE 12
#define TCP_FLAGS_BYTE 13

#define ETH_TYPE_OFF 12
#define VLAN_TAG_LEN 4
#define MAX_VLAN_TAGS 3  /* in the frame; one more may be in the packet's metadata */
#define MAX_EXTENSIONS 8 /* IPv6 extension headers before TCP */

enum found {
	FOUND_SEGMENT,
	FOUND_QUIET, /* no TCP, or a packet that goes by */
	FOUND_ODD,   /* not one of the few layouts that find_segment knows */
};

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
	return is_plain_ack(tcp[TCP_FLAGS_BYTE]) && goes_by(w->hash) ? FOUND_QUIET : FOUND_SEGMENT;
}

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
	return is_plain_ack(tcp[TCP_FLAGS_BYTE]) && goes_by(w->hash) ? FOUND_QUIET : FOUND_SEGMENT;
}

/* Headers lie within these bytes of a frame, where they are read in place. */
#define NEAR 256

/* The len bytes at off: in place if they are in the linear part of the packet, else copied to *copy. NULL: it ends before. */
static __always_inline const void *header_at(struct __sk_buff *skb, __u32 off, void *copy, __u32 len)
{
	const __u8 *at = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (off < NEAR) {
		forget_range(off);
		at += bounded(off, NEAR);
		settle(at);
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
__noinline bool read_segment(struct __sk_buff *skb, __u32 ip_off, __u32 tcp_off, bool ipv6, struct segment *s)
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
	s->iface = iface_here(skb);
	s->scope = scope_here(&s->key, skb);
	return true;
}

#endif
