/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * closing.h - what FIN, RST and the segments behind them tell of an established connection, one slot at a time. For motion.h and
 * rest.h, which find the slot: whatever ends in _locked is for who holds the lock of its set; and for timeout.h.
 */
#ifndef NETRACKER_CLOSING_H
#define NETRACKER_CLOSING_H

#include "flow.h"
#include "maps.h"
#include "segment.h"
#include "sets.h"
#include "socket.h"

/* A RST that no socket can vouch for is believed after this much silence: longer than a sender's first retransmission. */
#define RST_SILENCE_NS NSEC_PER_SEC

/* Segments that overtook a RST may still arrive; they are not this far behind it in the stream, nor this late (+ 2 RTT). */
#define REORDER_BYTES (1U << 20)
#define REORDER_NS 10000000ULL

/* A sender may send again what it sent so far before its FIN: no window is larger (RFC 7323, 2.3). */
#define FIN_SPAN (1U << 30)

/* So long after the first FIN its socket's counts may have grown beyond what sequence numbers can correct: 2 GiB. */
#define FACTS_GROW_NS 100000000ULL

/* When the time of a connection in motion is up, in the place in which it is. */
static __always_inline __u64 due_at(const struct flow *f, __u64 handshake_timeout, __u64 close_timeout)
{
	if (!(f->flags & ESTABLISHED))
		return f->last_ns + handshake_timeout;
	if (f->flags & RST_PENDING)
		return f->last_ns + RST_SILENCE_NS;
	if ((f->flags & BOTH_FINS) == BOTH_FINS)
		return f->last_ns + RST_SILENCE_NS;
	if (f->flags & BOTH_FINS)
		return f->last_ns + close_timeout;
	return f->last_ns + YOUNG_NS;
}

/*
 * Does it go to rest when its time is up? Young ones do. So does one that is half-closed if both sides know that and one of them is
 * a socket of this host, which can be asked later on whether it still is: such a connection may be silent for as long as it likes.
 */
static __always_inline bool goes_to_rest(const struct flow *f)
{
	__u32 fins = f->flags & BOTH_FINS;

	if (!(f->flags & ESTABLISHED) || f->flags & (MOVING | ENDED | RST_PENDING) || fins == BOTH_FINS)
		return false;
	return !fins || (f->flags & (FIN_ACKED | HAS_OWNER)) == (FIN_ACKED | HAS_OWNER);
}

/*
 * Keeps what a socket of the connection has said, if it is the one that the record is about. On lo, or with both ends of a veth
 * tracked, both sockets may be asked; it is the one on the side that the direction names: the originator's if it went out, else the
 * responder's; whoever closes first.
 */
static __always_inline void keep_facts_locked(struct slot *slot, const struct told *told, bool of_orig)
{
	if (!told->facts.known || of_orig != !!(slot->flow.flags & IS_OUTBOUND))
		return;
	slot->facts = told->facts;
	slot->facts.of_orig = of_orig;
	/* The listener's owner was all there was at the handshake. */
	if (told->owner.known)
		note_owner(&slot->flow, told->owner.cgroup, told->owner.uid);
}

/* Why this host resets the connection: what find_reset() has found, and what is known of that. by_orig: this host opened it. */
static __always_inline __u32 reset_of(const struct flow *f, __u32 found, bool by_orig)
{
	bool refused = !by_orig && !(f->flags & RESP_SEEN);

	if (found == RESET_NO_LISTENER && !refused)
		return RESET_NO_SOCKET;
	/* Where somebody listens, or has, a SYN is not refused for want of a socket. */
	return found == RESET_NO_SOCKET && refused ? RESET_UNKNOWN : found;
}

/*
 * Likewise the process that sends a FIN or RST of the connection, unless that which opened it is known; and why this host resets
 * it. by_orig: the originator sends it.
 */
static __always_inline void keep_sender_locked(struct slot *slot, const struct told *told, bool by_orig)
{
	if (told->process.pid && !slot->flow.process.pid && by_orig == !!(slot->flow.flags & IS_OUTBOUND))
		slot->flow.process = told->process;
	if (told->reset)
		slot->flow.reset = reset_of(&slot->flow, told->reset, by_orig);
}

enum verdict {
	UNJUDGED,
	GENUINE,
	DISCARDED,
};

/*
 * What this host's own socket says of a FIN: the TCP that sends it means it; the one that receives it takes it where it expects it,
 * or has taken it, and may keep it for later if it lies within a window.
 */
static __always_inline enum verdict judge_fin(const struct facts *facts, const struct segment *s)
{
	if (!facts->known)
		return UNJUDGED;
	if (s->dir == DIR_OUT || facts->rcv_nxt - s->seq <= s->len + 1)
		return GENUINE;
	return s->seq + s->len + 1 - facts->rcv_nxt > FIN_SPAN ? DISCARDED : UNJUDGED;
}

/*
 * Does this segment show that its sender's FIN was not the sender's? It does if there is more behind the FIN, or another FIN
 * elsewhere. Not if the other side has acknowledged that FIN, or a socket vouches for it: then its end is known.
 */
static __always_inline bool refutes_fin(const struct flow *f, const struct segment *s, bool by_orig)
{
	__u32 fin = by_orig ? ORIG_FIN : RESP_FIN, known = by_orig ? ORIG_END : RESP_END;
	__u32 place = by_orig ? f->orig_end : f->resp_end, end = s->seq + s->len;

	if ((f->flags & (fin | known)) != fin)
		return false;
	return (s->flags & TCP_FIN && end != place) || place + 1 - end > FIN_SPAN;
}

/*
 * A FIN. Its place is known, and so the end of what its sender sent, if it acknowledges the other side's FIN or is acknowledged by
 * it, or if a socket vouches for it; else when the other side acknowledges it. told: by a socket, if known; of_orig: by the
 * originator's.
 */
static __always_inline void note_fin_locked(struct slot *slot, const struct segment *s, bool by_orig, const struct told *told,
                                            bool of_orig)
{
	__u32 mine = by_orig ? ORIG_FIN : RESP_FIN, theirs = by_orig ? RESP_FIN : ORIG_FIN;
	__u32 my_end = by_orig ? ORIG_END : RESP_END, their_end = by_orig ? RESP_END : ORIG_END;
	__u32 place = s->seq + s->len;
	struct flow *f = &slot->flow;
	bool first = !(f->flags & theirs), acks, acked;

	if (f->flags & mine) {
		if (first)
			f->last_ns = s->now; /* sent again */
		return;
	}
	f->last_ns = s->now;
	/* Two CPUs may see them in another order than they were sent in: so the first one leaves where it would have the other. */
	acks = !first && s->ack == (by_orig ? f->resp_end : f->orig_end) + 1;
	acked = !first && place + 1 == (by_orig ? f->orig_end : f->resp_end);
	if (acked)
		f->flags |= their_end;
	if (acks || acked || judge_fin(&told->facts, s) == GENUINE)
		f->flags |= my_end;
	if (first && !(f->flags & their_end))
		note_end(f, !by_orig, s->ack);
	/* Of the first FIN only who sends it is asked: nobody else can be gone before the end. */
	if (!first || of_orig == by_orig)
		keep_facts_locked(slot, told, of_orig);
	note_end(f, by_orig, place);
	if (!f->first_fin_ns)
		f->first_fin_ns = s->now;
	f->flags |= mine;
}

/*
 * Does this segment show that the receiver of the pending RST threw it away? Its sender's later segments do, unless they
 * may have been overtaken by it; so does anything that is too late to have been on its way.
 */
static __always_inline bool refutes_rst(const struct flow *f, const struct segment *s, bool by_orig)
{
	__u64 in_flight_ns = REORDER_NS + 2 * (f->syn_rtt_ns + f->ack_rtt_ns);
	__u32 end = s->seq + s->len + !!(s->flags & TCP_FIN);

	/* Below 0: it was stamped before the RST, and is looked at behind it, by another CPU. */
	if ((__s64)(s->now - f->last_ns) > (__s64)in_flight_ns)
		return true;
	return by_orig == !!(f->flags & RST_BY_ORIG) && f->rst_seq - end > REORDER_BYTES;
}

/* What a segment refutes. */
struct refuted {
	bool rst; /* one that was pending */
	bool fin; /* its sender's */
};

/* A segment without SYN and RST. */
static __always_inline struct refuted note_closing_locked(struct slot *slot, const struct segment *s, bool by_orig,
                                                          const struct told *told, bool of_orig)
{
	struct flow *f = &slot->flow;
	struct refuted refuted = {};

	if (f->flags & RST_PENDING) {
		if (!refutes_rst(f, s, by_orig))
			return refuted;
		f->flags &= ~(RST_PENDING | RST_BY_ORIG | RST_ACKED);
		f->last_ns = s->now;
		f->reset = RESET_UNKNOWN;
		refuted.rst = true;
	}
	note_acked(f, by_orig, s->ack);
	if (refutes_fin(f, s, by_orig)) {
		f->flags &= ~(by_orig ? ORIG_FIN : RESP_FIN);
		if (!(f->flags & BOTH_FINS))
			f->first_fin_ns = 0;
		f->last_ns = s->now;
		refuted.fin = true;
	}
	if (s->flags & TCP_FIN)
		note_fin_locked(slot, s, by_orig, told, of_orig);
	else if (f->flags & BOTH_FINS && ((f->flags & BOTH_FINS) != BOTH_FINS || s->len))
		f->last_ns = s->now;
	return refuted;
}

/*
 * What this host's own socket says of a RST: the TCP that sends it means it; the one that receives it takes it only if it is
 * exactly at rcv_nxt (RFC 5961 section 3.2), or one before that once the peer's FIN has come (tcp_reset_check in
 * net/ipv4/tcp_input.c).
 */
static __always_inline enum verdict judge_rst(const struct facts *facts, const struct segment *s)
{
	__u32 before;

	if (!facts->known)
		return UNJUDGED;
	if (s->dir == DIR_OUT)
		return GENUINE;
	before = facts->rcv_nxt - s->seq;
	if (before == 1 && has_peers_fin(facts))
		return GENUINE;
	return before ? DISCARDED : GENUINE;
}

/*
 * Notes the end that a RST's acknowledgement tells of the other side's data, if none is known; returns the flag for it. A FIN's
 * place is known then if that is acknowledged, or all before it: who is gone has not taken the FIN itself.
 */
static __always_inline __u32 note_acked_end_locked(struct flow *f, const struct segment *s, bool by_orig)
{
	__u32 theirs = by_orig ? RESP_END : ORIG_END, fin = by_orig ? RESP_FIN : ORIG_FIN;

	if (!(s->flags & TCP_ACK) || f->flags & theirs)
		return 0;
	if (f->flags & fin)
		return s->ack - (by_orig ? f->resp_end : f->orig_end) <= 1 ? theirs : 0;
	note_end(f, !by_orig, s->ack);
	return theirs;
}

/* A RST. Returns what comes of it; GENUINE: the connection has ended. */
static __always_inline enum verdict note_rst_locked(struct slot *slot, const struct segment *s, bool by_orig,
                                                    const struct told *told, bool of_orig)
{
	enum verdict verdict = judge_rst(&told->facts, s);
	struct flow *f = &slot->flow;

	/* Both have closed, as far as is known: then it ends by that. */
	if ((f->flags & BOTH_FINS) == BOTH_FINS)
		return UNJUDGED;
	if (is_behind_fin(f, by_orig, s->seq))
		verdict = GENUINE;
	if (verdict == DISCARDED)
		return verdict;
	if (verdict == GENUINE)
		keep_facts_locked(slot, told, of_orig);
	/* Who is on its way cannot be ended here. */
	if (verdict == GENUINE && !(f->flags & MOVING)) {
		note_reset(f, by_orig, s->seq);
		f->flags |= note_acked_end_locked(f, s, by_orig);
		return verdict;
	}
	if (f->flags & RST_PENDING)
		return UNJUDGED;
	f->last_ns = s->now;
	f->rst_seq = s->seq;
	if (note_acked_end_locked(f, s, by_orig))
		f->flags |= RST_ACKED;
	f->flags |= by_orig ? RST_PENDING | RST_BY_ORIG : RST_PENDING;
	return UNJUDGED;
}

#endif
