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

/*
 * A SYN that comes so soon behind another one is the same, copied: by a port that mirrors, or on its way through this host. Nobody
 * sends one again in less than TCP_RTO_MIN, 200 ms. Kept in steps of 1 ms, of which 32 bits count 52 days.
 */
#define COPY_NS 20000000ULL
#define SYN_STEP_SHIFT 20

static __always_inline __u32 syn_step(__u64 now)
{
	return now >> SYN_STEP_SHIFT;
}

/* Of two CPUs, the one that comes second may have seen its own first. */
static __always_inline bool is_copy(const struct flow *f, __u64 now)
{
	return (__s32)(syn_step(now) - f->last_syn) < (__s32)(COPY_NS >> SYN_STEP_SHIFT);
}

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
	slot->flow.last_syn = syn_step(s->now);
	slot->flow.orig_isn = s->seq;
	slot->flow.orig_end = s->seq + 1 + s->len;
	slot->flow.ifindex = s->ifindex;
	slot->flow.iface = s->iface;
	slot->flow.flags = flags | (s->dir == DIR_OUT ? IS_OUTBOUND : 0);
}

/* When its last SYN or SYN-ACK was seen. Of two CPUs, the one that comes second may have seen its own first. */
static __always_inline void note_time_locked(struct flow *f, __u64 now)
{
	if (now > f->last_ns)
		f->last_ns = now;
}

/*
 * The responder's initial sequence number, as a SYN of its own has it. It may name two: two servers behind one address, SYN cookies
 * over the turn of a minute, a hop that gives the connection others. Which one is the connection's, the originator says by what it
 * acknowledges; so once it has, no other one is taken.
 */
static __always_inline void note_resp_isn_locked(struct flow *f, __u32 isn)
{
	if (f->flags & ORIG_ACKED) {
		if (f->flags & RESP_SYN)
			return;
		/* What it acknowledged may have been data, too. If not, that or this is another one's: its next segment says. */
		if (f->resp_isn - isn >= FIRST_WINDOW)
			f->flags = (f->flags & ~ORIG_ACKED) | ONE_PLACE;
	} else if (f->flags & RESP_SYN && f->resp_isn != isn) {
		f->flags |= ONE_PLACE;
	}
	f->resp_isn = isn;
	f->flags |= RESP_SYN;
}

/* Likewise from a segment behind it: not more than this. */
static __always_inline void limit_resp_isn_locked(struct flow *f, __u32 isn)
{
	if (f->flags & RESP_SYN)
		return;
	if (!(f->flags & (RESP_SEEN | ORIG_ACKED)) || f->resp_isn - isn < FIRST_WINDOW)
		f->resp_isn = isn;
}

/* The originator acknowledges, for the first time. Its number stands where the SYN is, or where the data is that came behind it. */
static __always_inline void note_orig_ack_locked(struct flow *f, __u32 ack)
{
	bool open = !(f->flags & RESP_SYN) || f->flags & ONE_PLACE;

	limit_resp_isn_locked(f, ack - 1);
	if (open && ack - 1 - f->resp_isn >= FIRST_WINDOW)
		f->resp_isn = ack - 1;
	f->flags |= ORIG_ACKED;
}

/* A SYN that its slot knows. Only one that is sent again counts, where the first was seen. */
static __always_inline void note_syn_again_locked(struct flow *f, const struct segment *s, bool reply)
{
	bool seen_here = is_at_first(f, s) && !(f->flags & IS_OUTBOUND) == (s->dir == DIR_IN);

	if (!reply) {
		if (seen_here && !is_copy(f, s->now) && f->syn_retrans < 255)
			f->syn_retrans++;
		f->last_syn = syn_step(s->now);
		note_time_locked(f, s->now);
	} else if (!is_elsewhere(f, s)) {
		note_resp_isn_locked(f, s->seq);
		note_time_locked(f, s->now);
	}
}

/*
 * Is this SYN of the originator the connection's own, as a hop between two interfaces of this host passes it on, whatever its
 * number? So it is if it comes right behind one that was seen elsewhere; or right behind the handshake, from a hop that waits for
 * that.
 */
static __always_inline bool is_passed_on(const struct flow *f, const struct segment *s)
{
	if (is_at_first(f, s))
		return false;
	if (f->flags & ONE_PLACE)
		return true;
	if (!(f->flags & ESTABLISHED))
		return is_copy(f, s->now);
	return !(f->flags & (ORIG_FIN | RESP_FIN | RST_PENDING)) && passed_ns(f->last_ns, s->now) < COPY_NS;
}

/* Does the number lie this close to the highest one that the originator has sent? */
static __always_inline bool is_near(const struct flow *f, __u32 seq, __u32 span)
{
	return seq - f->orig_end + span < 2 * span;
}

/* Does the segment belong to this attempt, and not to an older connection on the tuple? */
static __always_inline bool belongs_locked(const struct slot *slot, const struct segment *s, bool reply)
{
	const struct flow *f = &slot->flow;

	if (reply)
		return s->flags & TCP_ACK && s->ack - f->orig_isn - 1 < HANDSHAKE_SPAN &&
		       (!(f->flags & DOUBTFUL) || f->flags & RESP_SEEN);
	if (f->flags & DOUBTFUL && !(f->flags & RESP_SEEN))
		return false;
	if (s->seq - f->orig_isn >= HANDSHAKE_SPAN && !(is_one_sided(f) && is_near(f, s->seq, HANDSHAKE_SPAN)))
		return false;
	return !(f->flags & RESP_SYN) || f->flags & ONE_PLACE || s->ack - f->resp_isn - 1 < HANDSHAKE_SPAN;
}

/* What a SYN-ACK tells. Returns false if it does not acknowledge the SYN it answers. */
static __always_inline bool note_synack_locked(struct slot *slot, const struct segment *s, bool reply)
{
	struct flow *f = &slot->flow;

	if (!reply) { /* the originator answers a SYN that crossed its own, with its own again */
		if (s->seq != f->orig_isn || (f->flags & RESP_SYN && !(f->flags & ONE_PLACE) && s->ack != f->resp_isn + 1))
			return false;
		f->resp_isn = s->ack - 1;
		f->resp_end = s->ack;
		f->flags |= RESP_SYN | ORIG_ACKED;
		return true;
	}
	if (s->ack - f->orig_isn - 1 > f->syn_len)
		return false;
	if (!f->syn_rtt_ns)
		f->syn_rtt_ns = passed_ns(f->start_ns, s->now);
	note_resp_isn_locked(f, s->seq);
	f->flags |= RESP_SEEN;
	return true;
}

/*
 * A segment of an originator whose responder was not seen: it lives for as long as such come, until its FIN. How far they
 * acknowledge is kept where the responder's end would be.
 */
static __always_inline void note_one_sided_locked(struct flow *f, const struct segment *s)
{
	__u32 end = s->seq + s->len;

	f->resp_end = s->ack;
	if (f->flags & ORIG_FIN)
		return;
	if (end - f->orig_end < HANDSHAKE_SPAN)
		f->orig_end = end;
	note_time_locked(f, s->now);
}

/* What a segment without SYN tells. */
static __always_inline void note_segment_locked(struct slot *slot, const struct segment *s, bool reply)
{
	struct flow *f = &slot->flow;

	if (reply) {
		limit_resp_isn_locked(f, s->seq - 1); /* its SYN-ACK was not seen */
		f->flags |= RESP_SEEN;
	} else if (!(f->flags & ORIG_ACKED)) {
		if (f->syn_rtt_ns)
			f->ack_rtt_ns = passed_ns(f->start_ns + f->syn_rtt_ns, s->now);
		note_orig_ack_locked(f, s->ack);
	}
	if (!reply && is_one_sided(f))
		note_one_sided_locked(f, s);
	note_acked(f, !reply, s->ack);
	if (!(s->flags & TCP_FIN))
		return;
	if (!f->first_fin_ns)
		f->first_fin_ns = s->now;
	note_end(f, !reply, s->seq + s->len);
	f->flags |= reply ? RESP_FIN : ORIG_FIN;
}

/* Is the handshake complete? Established is who was answered and has acknowledged that, in whichever order the two were seen. */
static __always_inline bool is_complete(const struct flow *f)
{
	return (f->flags & (RESP_SEEN | ORIG_ACKED)) == (RESP_SEEN | ORIG_ACKED);
}

/*
 * Is this socket of this host, of the originator or the responder, this very attempt's, and established? Then it was answered,
 * whether that was seen or not.
 */
static __always_inline bool proves_answer(const struct slot *slot, const struct facts *facts, bool of_orig)
{
	const __u32 synchronized = 1 << BPF_TCP_ESTABLISHED | 1 << BPF_TCP_FIN_WAIT1 | 1 << BPF_TCP_FIN_WAIT2 |
	                           1 << BPF_TCP_CLOSE_WAIT | 1 << BPF_TCP_LAST_ACK | 1 << BPF_TCP_CLOSING;
	__u32 at = of_orig ? facts->snd_una : facts->rcv_nxt;

	return facts->known && synchronized >> (facts->tcp_state & 31) & 1 && at - slot->flow.orig_isn - 1 < HANDSHAKE_SPAN;
}

/* What a segment was to a handshake. */
struct noted {
	bool mine; /* it belongs to the handshake */
	bool believed;
	bool answers; /* a doubtful attempt: it was one */
	bool completes;
};

/* Notes what any segment but a SYN or RST tells. proved: a socket says that the attempt was answered. */
static __always_inline struct noted note_locked(struct slot *slot, const struct segment *s, bool reply, const struct owner *owner,
                                                bool proved)
{
	bool synack = s->flags & TCP_SYN;
	struct flow *f = &slot->flow;
	struct noted noted = { .believed = true };
	__u32 before = f->flags;

	if (proved)
		f->flags |= RESP_SEEN;
	noted.mine = synack || belongs_locked(slot, s, reply);
	if (!noted.mine)
		f->flags = before;
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

	if (!reply && is_one_sided(f) && is_near(f, s->seq, FIRST_WINDOW))
		state = RSTO;
	else if (!reply && s->seq - f->orig_isn <= FIRST_WINDOW)
		state = f->flags & (RESP_SEEN | ORIG_ACKED) ? RSTO : RSTOS0;
	else if (reply && s->flags & TCP_ACK && s->ack - f->orig_isn - 1 <= f->orig_end + (f->flags & ORIG_FIN) - f->orig_isn - 1)
		state = REJ;
	else if (reply && f->flags & RESP_SEEN && s->seq - f->resp_isn <= FIRST_WINDOW)
		state = REJ;
	return state;
}

#endif
