// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/parse.h: the fast path and the slow path find the same in a frame, whatever it is; what is read is what was written;
 * nothing behind the linear part of a packet is touched.
 */
#include "host/host.h"

/* A frame, made from its beginning on, and what is to be found in it. */
struct frame {
	__u8 byte[HOST_FRAME];
	__u32 len;
	__be16 protocol; /* skb->protocol */
	__u32 ip_off;
	__u32 tcp_off;
	bool ipv6;
	struct segment s;
};

static void *append(struct frame *f, __u32 len)
{
	void *at = f->byte + f->len;

	f->len += len;
	return at;
}

static void append_type(struct frame *f, __u16 type)
{
	*(__be16 *)append(f, 2) = bpf_htons(type);
}

static void fill_at_random(void *to, __u32 len)
{
	__u8 *byte = to;

	while (len--)
		*byte++ = any64();
}

/* Ethernet with so many VLAN tags, or none of both: a bare IP packet. */
static void append_link_layer(struct frame *f, __u16 type, bool bare, int tags)
{
	static const __u16 vlan[] = { ETH_P_8021Q, ETH_P_8021AD, ETH_P_QINQ1 };

	f->protocol = bpf_htons(type);
	if (!bare) {
		fill_at_random(append(f, ETH_TYPE_OFF), ETH_TYPE_OFF);
		for (; tags > 0; tags--) {
			append_type(f, vlan[any_below(3)]);
			append_type(f, any64());
		}
		append_type(f, type);
		/* The outermost tag is what the packet is for the kernel, if it is not in its metadata. */
		memcpy(&f->protocol, f->byte + ETH_TYPE_OFF, 2);
	}
	f->ip_off = f->len;
}

static struct iphdr *append_ipv4(struct frame *f, int options)
{
	struct iphdr *ip = append(f, sizeof(*ip));

	fill_at_random(ip, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5 + options;
	ip->frag_off &= bpf_htons(0x4000);
	ip->protocol = IPPROTO_TCP;
	map_ipv4(f->s.key.src, ip->saddr);
	map_ipv4(f->s.key.dst, ip->daddr);
	fill_at_random(append(f, options * 4), options * 4);
	return ip;
}

static struct ipv6hdr *append_ipv6(struct frame *f, int extensions)
{
	static const __u8 kinds[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS, IPPROTO_MH, IPPROTO_AH };
	struct ipv6hdr *ip = append(f, sizeof(*ip));
	__u8 *next = &ip->nexthdr;

	fill_at_random(ip, sizeof(*ip));
	ip->version = 6;
	memcpy(f->s.key.src, &ip->saddr, 16);
	memcpy(f->s.key.dst, &ip->daddr, 16);
	for (; extensions > 0; extensions--) {
		__u32 units = any_below(3);
		__u8 *extension;

		*next = kinds[any_below(sizeof(kinds))];
		extension = append(f, *next == IPPROTO_AH ? (units + 2) * 4 : (units + 1) * 8);
		extension[1] = units;
		next = extension;
	}
	*next = IPPROTO_TCP;
	return ip;
}

static void append_tcp(struct frame *f, int options, __u32 payload)
{
	struct tcphdr *tcp;

	f->tcp_off = f->len;
	tcp = append(f, sizeof(*tcp));
	fill_at_random(tcp, sizeof(*tcp));
	tcp->doff = 5 + options;
	((__u8 *)tcp)[TCP_FLAGS_BYTE] = f->s.flags;
	f->s.key.sport = bpf_ntohs(tcp->source);
	f->s.key.dport = bpf_ntohs(tcp->dest);
	f->s.seq = bpf_ntohl(tcp->seq);
	f->s.ack = bpf_ntohl(tcp->ack_seq);
	f->s.len = payload;
	append(f, options * 4 + payload);
}

/* A TCP segment in any packet that the tracker knows. */
static void make_segment(struct frame *f)
{
	static const __u8 flags[] = { TCP_SYN, TCP_SYN | TCP_ACK, TCP_ACK | TCP_FIN, TCP_RST, TCP_ACK };
	bool bare = any_below(8) == 0, plain = any_below(2);

	memset(f, 0, sizeof(*f));
	f->ipv6 = any_below(2);
	f->s.flags = flags[any_below(sizeof(flags))];
	append_link_layer(f, f->ipv6 ? ETH_P_IPV6 : ETH_P_IP, bare, plain ? 0 : any_below(MAX_VLAN_TAGS + 1));
	if (f->ipv6) {
		struct ipv6hdr *ip = append_ipv6(f, plain ? 0 : any_below(4));

		append_tcp(f, any_below(11), any_below(60));
		ip->payload_len = bpf_htons(f->len - f->ip_off - sizeof(*ip));
	} else {
		struct iphdr *ip = append_ipv4(f, plain ? 0 : any_below(11));

		append_tcp(f, any_below(11), any_below(60));
		ip->tot_len = bpf_htons(f->len - f->ip_off);
	}
	if (!bare && any_below(4) == 0)
		append(f, any_below(20)); /* a short frame is padded */
}

/*
 * The packet as the programs get it, cut off behind `len` bytes. The first `linear` are in place, and behind them a page begins
 * that nobody may touch; all of them can be copied.
 */
static struct __sk_buff packet_of(const struct frame *f, __u32 len, __u32 linear)
{
	char *at = host.frame[0] + HOST_FRAME - linear;

	memcpy(at, f->byte, linear);
	host.packet = f->byte;
	return (struct __sk_buff){
		.len = len,
		.data = (unsigned long)at,
		.data_end = (unsigned long)at + linear,
		.protocol = f->protocol,
		.ifindex = 2,
	};
}

/* The two paths find the same, unless the fast one leaves it to the slow one. Returns what is found, and where. */
static enum found check_both_paths(struct __sk_buff *skb, struct where *where)
{
	struct where fast = {};
	enum found found = find_segment(skb, &fast), found_slowly;

	memset(where, 0, sizeof(*where));
	found_slowly = find_odd_segment(skb, where);
	if (found == FOUND_ODD)
		return found_slowly;
	CHECK_EQUAL(found_slowly, found);
	if (found == FOUND_SEGMENT) {
		CHECK_EQUAL(where->ip_off, fast.ip_off);
		CHECK_EQUAL(where->tcp_off, fast.tcp_off);
		CHECK_EQUAL(where->ipv6, fast.ipv6);
		CHECK_EQUAL(where->hash, fast.hash);
	}
	return found;
}

static void what_is_read_is_what_was_written(void)
{
	struct where where;
	struct segment s;
	struct frame f;
	int i;

	host_reset();
	for (i = 0; i < 20000; i++) {
		struct __sk_buff skb;

		make_segment(&f);
		skb = packet_of(&f, f.len, any_below(2) ? f.len : any_below(f.len));
		if (is_plain_ack(f.s.flags)) {
			CHECK_EQUAL(check_both_paths(&skb, &where), FOUND_QUIET);
			continue;
		}
		if (!CHECK_EQUAL(check_both_paths(&skb, &where), FOUND_SEGMENT))
			continue;
		CHECK_EQUAL(where.ip_off, f.ip_off);
		CHECK_EQUAL(where.tcp_off, f.tcp_off);
		CHECK_EQUAL(where.ipv6, f.ipv6);
		CHECK_EQUAL(where.hash, hash_key(&f.s.key));
		CHECK(read_segment(&skb, where.ip_off, where.tcp_off, where.ipv6, &s));
		CHECK(same_key(&s.key, &f.s.key));
		CHECK_EQUAL(s.seq, f.s.seq);
		CHECK_EQUAL(s.ack, f.s.ack);
		CHECK_EQUAL(s.len, f.s.len);
		CHECK_EQUAL(s.flags, f.s.flags);
	}
	CHECK_EQUAL(counted(malformed_short) + counted(malformed_offset) + counted(malformed_flags) + counted(fragments), 0);
}

static void a_packet_that_is_cut_off_anywhere_is_read_no_further(void)
{
	struct where where;
	struct frame f;
	__u32 len;
	int i;

	host_reset();
	for (i = 0; i < 300; i++) {
		make_segment(&f);
		for (len = 0; len < f.len; len++) {
			struct __sk_buff skb = packet_of(&f, len, any_below(2) ? len : any_below(len + 1));

			if (check_both_paths(&skb, &where) == FOUND_SEGMENT)
				CHECK(len >= f.tcp_off + sizeof(struct tcphdr));
			netracker_ingress(&skb);
		}
	}
	CHECK(counted(malformed_short));
}

/* Random bytes, and good frames with some of them changed. */
static void both_paths_find_the_same_in_any_frame(void)
{
	struct where where;
	struct frame f;
	int i, changes;

	host_reset();
	for (i = 0; i < 100000; i++) {
		struct __sk_buff skb;

		make_segment(&f);
		if (any_below(16) == 0)
			fill_at_random(f.byte, f.len);
		for (changes = any_below(4); changes > 0; changes--)
			f.byte[any_below(f.len > 80 ? 80 : f.len)] = any_below(2) ? any64() : 1 << any_below(8);
		if (any_below(8) == 0)
			f.protocol = bpf_htons(any_below(2) ? ETH_P_IP : ETH_P_IPV6);
		skb = packet_of(&f, f.len, any_below(4) ? f.len : any_below(f.len));
		check_both_paths(&skb, &where);
	}
}

static void what_tcp_forbids_is_counted_and_not_looked_at(void)
{
	static const __u8 forbidden[] = { 0, TCP_FIN, TCP_SYN | TCP_FIN | TCP_ACK, TCP_SYN | TCP_RST };
	struct segment s;
	struct frame f;
	size_t i;

	host_reset();
	for (i = 0; i < sizeof(forbidden); i++) {
		struct __sk_buff skb;

		make_segment(&f);
		f.byte[f.tcp_off + TCP_FLAGS_BYTE] = forbidden[i];
		skb = packet_of(&f, f.len, f.len);
		CHECK(!read_segment(&skb, f.ip_off, f.tcp_off, f.ipv6, &s));
		CHECK_EQUAL(counted(malformed_flags), i + 1);
		f.byte[f.tcp_off + TCP_DOFF_BYTE] = 0x40;
		skb = packet_of(&f, f.len, f.len);
		CHECK(!read_segment(&skb, f.ip_off, f.tcp_off, f.ipv6, &s));
		CHECK_EQUAL(counted(malformed_offset), i + 1);
	}
}

static void a_header_that_is_longer_than_its_packet_is_counted(void)
{
	struct segment s;
	struct frame f;
	__u32 i, n = 0;

	host_reset();
	for (i = 0; i < 1000; i++) {
		struct __sk_buff skb;

		make_segment(&f);
		if (f.tcp_off + 15 * 4 <= f.len)
			continue;
		f.byte[f.tcp_off + TCP_DOFF_BYTE] = 0xf0;
		skb = packet_of(&f, f.len, f.len);
		CHECK(!read_segment(&skb, f.ip_off, f.tcp_off, f.ipv6, &s));
		CHECK_EQUAL(counted(malformed_offset), ++n);
	}
	CHECK(n);
}

int main(void)
{
	RUN(what_is_read_is_what_was_written);
	RUN(a_packet_that_is_cut_off_anywhere_is_read_no_further);
	RUN(both_paths_find_the_same_in_any_frame);
	RUN(what_tcp_forbids_is_counted_and_not_looked_at);
	RUN(a_header_that_is_longer_than_its_packet_is_counted);
	return unit_end();
}
