/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * flow.h - what segments and sockets add to a struct flow, wherever it is. For attempt.h, closing.h and motion.h, for
 * socket.h, and for the views.
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

/* Who owns this host's own socket. */
struct owner {
	__u64 cgroup;
	__u32 uid;
	bool known;
	bool opens; /* that socket is in SYN_SENT: the SYN that it sends is no forgery */
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
	return flags & ORIG_FIN ? SH : S0;
}

#endif
