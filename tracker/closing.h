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

/* So long after the first FIN its socket's counts may have grown beyond what sequence numbers can correct: 2 GiB. */
#define FACTS_GROW_NS 100000000ULL

/* When the time of a connection in motion is up, in the place in which it is. */
static __always_inline __u64 due_at(const struct flow *f, __u64 handshake_timeout, __u64 close_timeout)
{
	if (!(f->flags & ESTABLISHED))
		return f->last_ns + handshake_timeout;
	if (f->flags & RST_PENDING)
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
static __always_inline void keep_facts_locked(struct slot *slot, const struct facts *facts, bool of_orig)
{
	if (!facts->known || of_orig != !!(slot->flow.flags & IS_OUTBOUND))
		return;
	slot->facts = *facts;
	slot->facts.of_orig = of_orig;
	/* The listener's owner was all there was at the handshake. */
	if (facts->has_owner)
		note_owner(&slot->flow, facts->cgroup, facts->uid);
}

/* A FIN. facts: of a socket, if known; of_orig: of the originator's. */
static __always_inline void note_fin_locked(struct slot *slot, const struct segment *s, bool by_orig, const struct facts *facts,
                                            bool of_orig)
{
	__u32 mine = by_orig ? ORIG_FIN : RESP_FIN;
	struct flow *f = &slot->flow;

	f->last_ns = s->now;
	if (f->flags & mine)
		return; /* sent again */
	/* Of the first FIN only who sends it is asked: nobody else can be gone before the end. */
	if (f->flags & BOTH_FINS || of_orig == by_orig)
		keep_facts_locked(slot, facts, of_orig);
	note_end(f, by_orig, s->seq + s->len);
	if (!f->first_fin_ns)
		f->first_fin_ns = s->now;
	f->flags |= by_orig ? ORIG_FIN | ORIG_END : RESP_FIN | RESP_END;
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

/* A segment that closes nothing, of a connection that one side has closed. */
static __always_inline void note_half_closed_locked(struct flow *f, const struct segment *s, bool by_orig)
{
	f->last_ns = s->now;
	if (f->flags & (by_orig ? RESP_FIN : ORIG_FIN) && s->ack - (by_orig ? f->resp_end : f->orig_end) == 1)
		f->flags |= FIN_ACKED;
}

/* A segment without SYN and RST. Returns whether it refutes a RST that was pending. */
static __always_inline bool note_closing_locked(struct slot *slot, const struct segment *s, bool by_orig, const struct facts *facts,
                                                bool of_orig)
{
	struct flow *f = &slot->flow;
	bool refuted = false;

	if (f->flags & RST_PENDING) {
		if (!refutes_rst(f, s, by_orig))
			return false;
		f->flags &= ~(RST_PENDING | RST_BY_ORIG | RST_ACKED);
		f->last_ns = s->now;
		refuted = true;
	}
	if (s->flags & TCP_FIN)
		note_fin_locked(slot, s, by_orig, facts, of_orig);
	else if (f->flags & BOTH_FINS)
		note_half_closed_locked(f, s, by_orig);
	return refuted;
}

enum verdict {
	RST_UNJUDGED,
	RST_GENUINE,
	RST_DISCARDED,
};

/*
 * What this host's own socket says of a RST: the TCP that sends it means it; the one that receives it takes it only if it is
 * exactly at rcv_nxt (RFC 5961 section 3.2), or one before that once the peer's FIN has come (tcp_reset_check in
 * net/ipv4/tcp_input.c).
 */
static __always_inline enum verdict judge_rst(const struct facts *facts, const struct segment *s)
{
	__u32 before;

	if (!facts->known)
		return RST_UNJUDGED;
	if (s->dir == DIR_OUT)
		return RST_GENUINE;
	before = facts->rcv_nxt - s->seq;
	if (before == 1 && has_peers_fin(facts))
		return RST_GENUINE;
	return before ? RST_DISCARDED : RST_GENUINE;
}

/* Notes the end that a RST's acknowledgement tells of the other side's data, if none is known; returns the flag for it. */
static __always_inline __u32 note_acked_end_locked(struct flow *f, const struct segment *s, bool by_orig)
{
	__u32 theirs = by_orig ? RESP_END : ORIG_END;

	if (!(s->flags & TCP_ACK) || f->flags & theirs)
		return 0;
	note_end(f, !by_orig, s->ack);
	return theirs;
}

/* A RST. Returns what comes of it; RST_GENUINE: the connection has ended. */
static __always_inline enum verdict note_rst_locked(struct slot *slot, const struct segment *s, bool by_orig,
                                                    const struct facts *facts, bool of_orig)
{
	enum verdict verdict = judge_rst(facts, s);
	struct flow *f = &slot->flow;
	bool closed = f->flags & (by_orig ? ORIG_FIN : RESP_FIN);

	/* Behind its own FIN there is only one place for a sender's RST; Linux also sends it on the FIN's place. */
	if (closed && s->seq - (by_orig ? f->orig_end : f->resp_end) <= 1)
		verdict = RST_GENUINE;
	if (verdict == RST_DISCARDED)
		return verdict;
	if (verdict == RST_GENUINE)
		keep_facts_locked(slot, facts, of_orig);
	/* Who is on its way cannot be ended here. */
	if (verdict == RST_GENUINE && !(f->flags & MOVING)) {
		if (!closed) {
			note_end(f, by_orig, s->seq);
			f->flags |= by_orig ? ORIG_END : RESP_END;
		}
		f->flags |= note_acked_end_locked(f, s, by_orig);
		return verdict;
	}
	if (f->flags & RST_PENDING)
		return RST_UNJUDGED;
	f->last_ns = s->now;
	f->rst_seq = s->seq;
	if (note_acked_end_locked(f, s, by_orig))
		f->flags |= RST_ACKED;
	f->flags |= by_orig ? RST_PENDING | RST_BY_ORIG : RST_PENDING;
	return RST_UNJUDGED;
}

#endif
