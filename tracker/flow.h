/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * flow.h - what segments and sockets add to a struct flow, wherever it is. For attempt.h, closing.h and motion.h, for
 * socket.h and record.h, and for the views.
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

/* Who owns this host's own socket. */
struct owner {
	__u64 cgroup;
	__u32 uid;
	bool known;
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

/* What a handshake is that comes no further. */
static __always_inline enum conn_state handshake_state(__u32 flags)
{
	if (flags & RESP_SEEN)
		return live_state(flags);
	return flags & ORIG_FIN ? SH : S0;
}

#endif
