/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * handshake.h - a connection up to its third ACK, in its set of syn_map: on_syn(), on_handshake() and on_handshake_rst() for
 * NeTracker.bpf.c, give_up() for timeout.h.
 */
#ifndef NETRACKER_HANDSHAKE_H
#define NETRACKER_HANDSHAKE_H

#include "clock.h"
#include "connection.h"
#include "flow.h"
#include "maps.h"
#include "report.h"
#include "scratch.h"
#include "segment.h"
#include "sets.h"
#include "socket.h"
#include "tuple.h"

/* Segments of a handshake lie this close behind the initial sequence numbers; others belong to an older connection. */
#define HANDSHAKE_SPAN (1U << 24)

/* A RST of somebody in SYN_SENT or SYN_RECEIVED lies within the first, unscaled window. */
#define FIRST_WINDOW 65536U

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

#endif
