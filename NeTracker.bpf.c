// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * NeTracker: every TCP connection that crosses an interface, with its true duration.
 *
 *	tc qdisc add dev ens33 clsact
 *	tc filter add dev ens33 ingress bpf obj NeTracker.bpf.o sec tc_ing
 *	tc filter add dev ens33 egress  bpf obj NeTracker.bpf.o sec tc_en
 *
 * Only SYN, FIN and RST do work. A connection that is being opened, has been open for less than half a second or is being closed is
 * in motion, in a slot of a set of syn_map; others are at rest in conn_map, untouched, until their first FIN or RST. A packet with
 * none of these flags goes by after one array look-up: the gate; it is looked at only while a connection with such a tuple is
 * opening or closing.
 *
 * This file is a packet's way, from the end of the file to its beginning. Each subject on it has a room in tracker/, whose head
 * says what it offers and to whom:
 *
 *	parse       from a packet to its TCP segment (segment, tuple, scope)
 *	sets        where connections in motion are, behind one lock a set; the gate
 *	motion      what a segment makes of them: attempt up to the third ACK, closing from there on (flow: what both have)
 *	rest        the way to conn_map and back; socket: what this host's own sockets say of a connection; process: whose it is
 *	rules       which connections are not tracked
 *	timeout     what ends without a packet; clock: the timer for it
 *	report      counters, figures, the record
 *
 * Under all of them: maps, scratch, verifier, kernel; and what the views share: NeTracker.h, tables, record, text.
 *
 * The programs are passive: what they return lets every packet go on to the filters and programs behind them (NeTracker.h, struct
 * load). Never attach them with `da`.
 *
 * Both hooks run with bottom halves off and the timers run in softirq, so nothing here is interrupted by itself on one CPU.
 */
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "tracker/maps.h"
#include "tracker/scratch.h"
#include "tracker/segment.h"
#include "tracker/socket.h"
#include "tracker/parse.h"
#include "tracker/motion.h"
#include "tracker/rules.h"
#include "tracker/timeout.h"
#include "tracker/verifier.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* In every network namespace, lo has this number: LOOPBACK_IFINDEX of include/net/flow.h. */
#define LOOPBACK_IFINDEX 1

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

/* Makes room in a set that is full. From here, as what it calls is a long chain. */
static __always_inline void make_room_if_full(const struct syn_set *set, const struct segment *s)
{
	__u32 young;

	if (places_taken(set) < SYN_WAYS)
		return;
	young = make_room(set_index(s->hash), s->now);
	if (young != NO_PLACE)
		lay_to_rest(set_index(s->hash), young, s->now);
}

/* What has come of a segment that on_motion() has looked at. */
static __always_inline void carry_on(struct __sk_buff *skb, const struct scratch *scratch, const struct syn_set *set,
                                     const struct segment *s)
{
	__u32 acts = scratch->outcome.acts;

	if (acts & (ACT_ANSWERED | ACT_REPLACES))
		end_predecessor(s);
	if (acts)
		carry_out(skb, s);
	if (acts & ACT_ESTABLISHED && places_taken(set) > SYN_WAYS - PLACES_KEPT)
		lay_to_rest(set_index(s->hash), scratch->outcome.place, s->now);
}

/* A SYN without ACK, unless the rules leave it out. */
static __always_inline void open_by_syn(struct __sk_buff *skb, struct scratch *scratch, const struct syn_set *set,
                                        const struct segment *s)
{
	bool left_out = has_rules() && is_left_out(s, false);

	/* Mostly nothing of its tuple is tracked, as this set alone tells. */
	if (left_out && !has_tag(set, tag_of(s->hash)) && !may_rest(set, s->hash)) {
		COUNT(left_out);
		return;
	}
	if (!left_out)
		make_room_if_full(set, s);
	if (on_syn(skb, s, left_out) && give_up(&scratch->slot))
		COUNT(replaced);
	if (scratch->outcome.acts & (ACT_OPENED | ACT_REPLACES))
		end_predecessor(s);
}

/*
 * A segment that carries SYN, FIN or RST, or one without that is looked at. Its headers are read by their offsets: so
 * the verifier looks at all this once, and not once for each way in which the fast path can find them.
 */
__noinline int on_segment(struct __sk_buff *skb, __u32 ip_off, __u32 tcp_off, __u32 how, __u64 hash)
{
	struct scratch *scratch = only_value(&nt_scratch);
	const struct silence *silence = only_value(&nt_silence);
	const struct syn_set *set = set_of(hash);
	struct segment *s;
	__u32 woken, tries;

	if (!scratch || !set || comes_out_of_lo(skb, how))
		return 0;
	s = &scratch->segment;
	s->hash = hash;
	s->dir = how & HOW_OUT ? DIR_OUT : DIR_IN;
	if (!read_segment(skb, ip_off, tcp_off, how & HOW_IPV6, s))
		return 0;
	if (silence && silence->open)
		answer_question(skb);
	if ((s->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN) {
		open_by_syn(skb, scratch, set, s);
		return 0;
	}
	if (on_motion(skb, s, false) || !(s->flags & (TCP_FIN | TCP_RST))) {
		carry_on(skb, scratch, set, s);
		return 0;
	}
	/* Who has been woken is young, until its segment is noted; in a full set it may be laid to rest again before that. */
	NOT_UNROLLED
	for (tries = 0; tries < 2; tries++) {
		if (may_rest(set, hash))
			make_room_if_full(set, s);
		woken = wake(skb, s);
		if (woken != UNTOUCHED && on_motion(skb, s, woken == AWAKE)) {
			carry_on(skb, scratch, set, s);
			return 0;
		}
		if (woken != AWAKE)
			break;
	}
	/* Of a connection that is not known the responder is most likely who has the smaller port. */
	if (woken == ELSEWHERE || (has_rules() && is_left_out(s, s->key.sport < s->key.dport)))
		return 0;
	if (s->flags & TCP_FIN && woken == UNTOUCHED)
		COUNT(fin_disbelieved);
	else if (s->flags & TCP_FIN)
		COUNT(no_record_fin);
	else if (woken == UNTOUCHED || scratch->outcome.acts & ACT_UNBELIEVED)
		COUNT(rst_disbelieved);
	else
		COUNT(no_record_rst);
	return 0;
}

/* The slow path for one packet. *where is kept in a map, as a frame of the call chain has no room for it below on_segment. */
__noinline enum found on_odd_packet(struct __sk_buff *skb, __u32 how)
{
	struct scratch *scratch = only_value(&nt_scratch);

	if (!scratch)
		return FOUND_QUIET;
	/* A packet that is cut off or a fragment is counted once, too. */
	return comes_out_of_lo(skb, how) ? FOUND_QUIET : find_odd_segment(skb, &scratch->where);
}

static __always_inline void track(struct __sk_buff *skb, __u32 how)
{
	struct where w;
	enum found found = find_segment(skb, &w);

	if (found == FOUND_ODD) {
		const struct scratch *scratch = only_value(&nt_scratch);

		if (skb->protocol == bpf_htons(ETH_P_802_EX1))
			flush(); /* from here, as it begins a long call chain */
		if (!scratch || on_odd_packet(skb, how) != FOUND_SEGMENT)
			return;
		w = scratch->where;
	} else if (found != FOUND_SEGMENT) {
		return;
	}
	on_segment(skb, w.ip_off, w.tcp_off, how | (w.ipv6 ? HOW_IPV6 : 0), w.hash);
}

SEC("tc_ing")
int netracker_ingress(struct __sk_buff *skb)
{
	track(skb, 0);
	return this_load.answer;
}

SEC("tc_en")
int netracker_egress(struct __sk_buff *skb)
{
	track(skb, HOW_OUT);
	return this_load.answer;
}
