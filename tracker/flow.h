/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * flow.h - what segments and sockets add to a struct flow, wherever it is, and how it ends if nothing more comes. For attempt.h,
 * closing.h, motion.h and rest.h, for socket.h, process.h, scratch.h, record.h and report.h, and for the views, which show that
 * of a live connection.
 */
#ifndef NETRACKER_FLOW_H
#define NETRACKER_FLOW_H

#include "../NeTracker.h"

#include <stdbool.h>

static __always_inline void note_end(struct flow *f, bool by_orig, __u32 end)
{
	if (by_orig)
		f->orig_end = end;
	else
		f->resp_end = end;
}

/*
 * The time from one packet to another; 0 if the later one has the earlier time, as two CPUs may look at the clock in one order and
 * get here in the other.
 */
static __always_inline __u64 passed_ns(__u64 since, __u64 now)
{
	return now > since ? now - since : 0;
}

/* One side acknowledges so much: if that is all there can be, the other side's FIN was where it was seen. */
static __always_inline void note_acked(struct flow *f, bool by_orig, __u32 ack)
{
	if (by_orig && f->flags & RESP_FIN && ack == f->resp_end + 1)
		f->flags |= RESP_END | FIN_ACKED;
	if (!by_orig && f->flags & ORIG_FIN && ack == f->orig_end + 1)
		f->flags |= ORIG_END | FIN_ACKED;
}

/* Who owns this host's own socket. */
struct owner {
	__u64 cgroup;
	__u32 uid;
	bool known;
	bool opens; /* that socket is in SYN_SENT: the SYN that it sends is no forgery */
};

/* What the socket of a segment's connection was found to say, and who sends the segment. */
struct told {
	struct facts facts;
	struct owner owner; /* of who sends */
	struct process process;
	__u32 reset; /* enum reset_reason, of a RST */
};

static __always_inline void note_owner(struct flow *f, __u64 cgroup, __u32 uid)
{
	f->cgroup = cgroup;
	f->uid = uid;
	f->flags |= HAS_OWNER;
}

/* Has the socket had its peer's FIN? Then rcv_nxt is the place behind that. */
static __always_inline bool has_peers_fin(const struct facts *facts)
{
	return facts->tcp_state == BPF_TCP_CLOSE_WAIT || facts->tcp_state == BPF_TCP_LAST_ACK ||
	       facts->tcp_state == BPF_TCP_CLOSING;
}

static __always_inline enum conn_state live_state(__u32 flags)
{
	switch (flags & (ORIG_FIN | RESP_FIN)) {
	case ORIG_FIN:
		return S2;
	case RESP_FIN:
		return S3;
	case ORIG_FIN | RESP_FIN:
		return SF;
	default:
		return S1;
	}
}

/* An originator that acknowledges was answered, even where that passes elsewhere: then its own segments are all there is. */
static __always_inline bool is_one_sided(const struct flow *f)
{
	return (f->flags & (ORIG_ACKED | RESP_SEEN)) == ORIG_ACKED;
}

/* What a handshake is that comes no further. */
static __always_inline enum conn_state handshake_state(__u32 flags)
{
	if (flags & RESP_SEEN)
		return live_state(flags);
	if (flags & ORIG_FIN)
		return SH;
	return flags & ORIG_ACKED ? OTH : S0;
}

/*
 * Of a handshake that comes no further: its originator has sent what was seen of it, its responder nothing but a SYN. That is not
 * known of who has sent a FIN that the other side, which was seen, has not acknowledged; and of a responder that was not seen only
 * if no more was acknowledged.
 */
static __always_inline void note_nothing_more(struct flow *f)
{
	if (!(f->flags & ORIG_FIN && f->flags & RESP_SEEN))
		f->flags |= ORIG_END;
	if (f->flags & (RESP_END | RESP_FIN) || (is_one_sided(f) && f->resp_end != f->resp_isn + 1))
		return;
	f->resp_end = f->resp_isn + 1;
	f->flags |= RESP_END;
}

/* A side has sent its FIN: behind that there is only one place for its RST. Linux also sends it on the FIN's place. */
static __always_inline bool is_behind_fin(const struct flow *f, bool by_orig, __u32 seq)
{
	return f->flags & (by_orig ? ORIG_FIN : RESP_FIN) && seq - (by_orig ? f->orig_end : f->resp_end) <= 1;
}

/* A RST of one side ends what it has sent at this place, unless that is known, or its FIN stands there. */
static __always_inline void note_reset(struct flow *f, bool by_orig, __u32 seq)
{
	__u32 known = by_orig ? ORIG_END : RESP_END;

	if (!(f->flags & known) && !is_behind_fin(f, by_orig, seq))
		note_end(f, by_orig, seq);
	f->flags |= known;
}

/*
 * How a connection ends that nobody closes: by time-out, by a new connection on its tuple, or at detach. *end_ns: when it did, if
 * it has just ended at that time; of a closing one it becomes the time of the last packet.
 */
static __always_inline enum conn_state end_unclosed(struct flow *f, __u64 *end_ns)
{
	bool by_orig = f->flags & RST_BY_ORIG;
	enum conn_state state = live_state(f->flags);

	if (state != S1 || f->flags & RST_PENDING)
		*end_ns = f->last_ns;
	if (!(f->flags & RST_PENDING))
		return state;
	note_reset(f, by_orig, f->rst_seq);
	if (f->flags & RST_ACKED)
		f->flags |= by_orig ? RESP_END : ORIG_END;
	return by_orig ? RSTO : RSTR;
}

#endif
