/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * attempt.h - what the segments of a handshake tell of it, one slot at a time. For motion.h, which finds the slot and holds the
 * lock of its set: whatever ends in _locked is for who holds it.
 */
#ifndef NETRACKER_ATTEMPT_H
#define NETRACKER_ATTEMPT_H

#include "../NeTracker.h"
#include "flow.h"
#include "maps.h"
#include "scope.h"
#include "segment.h"
#include "tuple.h"

#include <stdbool.h>

/* Segments of a handshake lie this close behind the initial sequence numbers; others belong to an older connection. */
#define HANDSHAKE_SPAN (1U << 24)

/* A RST of somebody in SYN_SENT or SYN_RECEIVED lies within the first, unscaled window. */
#define FIRST_WINDOW 65536U

/* The first SYN of an attempt moves in. */
static __always_inline void open_slot_locked(struct slot *slot, const struct segment *s, __u32 flags)
{
	__builtin_memset(&slot->flow, 0, sizeof(slot->flow));
	slot->facts.known = false;
	slot->key = s->key;
	*(__u32 *)slot->scope = scopes_of(s->scope);
	slot->flow.syn_len = s->len;
	slot->flow.start_ns = s->now;
	slot->flow.last_ns = s->now;
	slot->flow.orig_isn = s->seq;
	slot->flow.ifindex = s->ifindex;
	slot->flow.iface = iface_id;
	slot->flow.flags = flags | (s->dir == DIR_OUT ? IS_OUTBOUND : 0);
}

/* When its last SYN or SYN-ACK was seen. Of two CPUs, the one that comes second may have seen its own first. */
static __always_inline void note_time_locked(struct flow *f, __u64 now)
{
	if (now > f->last_ns)
		f->last_ns = now;
}

/* A SYN that its slot knows. A copy of it that another hook sees is not one sent again. */
static __always_inline void note_syn_again_locked(struct flow *f, const struct segment *s, bool reply)
{
	bool seen_here = f->ifindex == s->ifindex && f->iface == iface_id && !(f->flags & IS_OUTBOUND) == (s->dir == DIR_IN);

	if (!reply) {
		if (seen_here && f->syn_retrans < 255)
			f->syn_retrans++;
		note_time_locked(f, s->now);
	} else if (!(f->flags & RESP_SEEN)) {
		f->resp_isn = s->seq;
		f->flags |= RESP_SYN;
		note_time_locked(f, s->now);
	}
}

/* Does the segment belong to this attempt, and not to an older connection on the tuple? */
static __always_inline bool belongs_locked(const struct slot *slot, const struct segment *s, bool reply)
{
	const struct flow *f = &slot->flow;

	if (reply)
		return s->flags & TCP_ACK && s->ack - f->orig_isn - 1 < HANDSHAKE_SPAN &&
		       (!(f->flags & DOUBTFUL) || f->flags & RESP_SEEN);
	if (s->seq - f->orig_isn >= HANDSHAKE_SPAN || (f->flags & DOUBTFUL && !(f->flags & RESP_SEEN)))
		return false;
	return !(f->flags & RESP_SYN) || s->ack - f->resp_isn - 1 < HANDSHAKE_SPAN;
}

/* What a SYN-ACK tells. Returns false if it does not acknowledge the SYN it answers. */
static __always_inline bool note_synack_locked(struct slot *slot, const struct segment *s, bool reply)
{
	struct flow *f = &slot->flow;

	if (!reply) { /* the originator answers a SYN that crossed its own */
		if (f->flags & RESP_SYN && s->ack != f->resp_isn + 1)
			return false;
		f->resp_isn = s->ack - 1;
		f->flags |= RESP_SYN | ORIG_ACKED;
		return true;
	}
	if (s->ack - f->orig_isn - 1 > f->syn_len)
		return false;
	if (!f->syn_rtt_ns)
		f->syn_rtt_ns = passed_ns(f->start_ns, s->now);
	f->resp_isn = s->seq;
	f->flags |= RESP_SYN | RESP_SEEN;
	return true;
}

/* What a segment without SYN tells. */
static __always_inline void note_segment_locked(struct slot *slot, const struct segment *s, bool reply)
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
			f->ack_rtt_ns = passed_ns(f->start_ns + f->syn_rtt_ns, s->now);
		f->flags |= ORIG_ACKED;
	}
	if (!(s->flags & TCP_FIN))
		return;
	if (!f->first_fin_ns)
		f->first_fin_ns = s->now;
	note_end(f, !reply, s->seq + s->len);
	f->flags |= reply ? RESP_FIN | RESP_END : ORIG_FIN | ORIG_END;
}

/* Is the handshake complete? Established is who was answered and has acknowledged that, in whichever order the two were seen. */
static __always_inline bool is_complete(const struct flow *f)
{
	return (f->flags & (RESP_SEEN | ORIG_ACKED)) == (RESP_SEEN | ORIG_ACKED);
}

/* What a segment was to a handshake. */
struct noted {
	bool mine; /* it belongs to the handshake */
	bool believed;
	bool answers; /* a doubtful attempt: it was one */
	bool completes;
};

/* Notes what any segment but a SYN or RST tells. */
static __always_inline struct noted note_locked(struct slot *slot, const struct segment *s, bool reply, const struct owner *owner)
{
	bool synack = s->flags & TCP_SYN;
	struct flow *f = &slot->flow;
	struct noted noted = { .believed = true };
	__u32 before = f->flags;

	noted.mine = synack || belongs_locked(slot, s, reply);
	if (synack)
		noted.believed = note_synack_locked(slot, s, reply);
	else if (noted.mine)
		note_segment_locked(slot, s, reply);
	if (synack && noted.believed) {
		note_time_locked(f, s->now);
		if (owner->known && reply && !(f->flags & HAS_OWNER))
			note_owner(f, owner->cgroup, owner->uid);
	}
	noted.answers = (before & (DOUBTFUL | RESP_SEEN)) == DOUBTFUL && f->flags & RESP_SEEN;
	noted.completes = noted.mine && noted.believed && is_complete(f);
	return noted;
}

/*
 * How the RST ends the handshake; S0: not at all, as its receiver would discard it. In SYN_SENT a RST must acknowledge the SYN;
 * afterwards it must lie in the first window (RFC 9293, 3.10.7).
 */
static __always_inline enum conn_state judge_rst_locked(const struct slot *slot, const struct segment *s, bool reply)
{
	const struct flow *f = &slot->flow;
	enum conn_state state = S0;

	if (!reply && s->seq - f->orig_isn <= FIRST_WINDOW)
		state = f->flags & RESP_SEEN ? RSTO : RSTOS0;
	else if (reply && s->flags & TCP_ACK && s->ack - f->orig_isn - 1 <= f->syn_len)
		state = REJ;
	else if (reply && f->flags & RESP_SEEN && s->seq - f->resp_isn <= FIRST_WINDOW)
		state = REJ;
	return state;
}

#endif
