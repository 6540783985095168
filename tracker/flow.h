/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * flow.h - what segments and sockets add to a struct flow, wherever it is. For attempt.h, closing.h, motion.h and
 * rest.h, for socket.h, and for the views.
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

/* One side acknowledges so much: if that is all there can be, the other side's FIN was where it was seen. */
static __always_inline void note_acked(struct flow *f, bool by_orig, __u32 ack)
{
	if (by_orig && f->flags & RESP_FIN && ack == f->resp_end + 1)
		f->flags |= RESP_END;
	if (!by_orig && f->flags & ORIG_FIN && ack == f->orig_end + 1)
		f->flags |= ORIG_END;
}

/*
 * Has it nothing to tell of this connection, what passes an interface? A hop between two of this host's interfaces may give a
 * connection other sequence numbers, and then only those of one interface can be compared.
 */
static __always_inline bool is_elsewhere(const struct flow *f, __u32 ifindex)
{
	return f->flags & ONE_PLACE && f->ifindex != ifindex;
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
	if (flags & ORIG_FIN)
		return SH;
	return flags & ORIG_ACKED ? OTH : S0;
}

#endif
