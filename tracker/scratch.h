/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * scratch.h - memory for what is too large for the stack. For every room.
 */
#ifndef NETRACKER_SCRATCH_H
#define NETRACKER_SCRATCH_H

#include "../NeTracker.h"
#include "flow.h"
#include "maps.h"
#include "segment.h"
#include "text.h"

/* What has come of a segment of a connection in motion. In memory, where the verifier does not follow all that can come of one. */
struct outcome {
	__u32 acts;        /* enum act */
	__u32 place;       /* of the connection in its set */
	__u32 predecessor; /* the place of the connection that has to give its tuple up */
	__u32 flags;       /* of the flow, with this segment */
	__u32 state;       /* of an attempt that was refused */
	__u64 start_ns;    /* of the flow */
	__u32 scopes;      /* of the connection */
	bool reply;        /* the responder sends this segment */
	bool asked;        /* a socket was */
};

/*
 * What is too large for the stack, on which all functions of a call chain have 512 bytes together. One per load and CPU. Fetched by
 * the functions that the verifier looks at by themselves, as it (6.1) takes no key of a map from memory that such a function was
 * given; handed down to all others.
 */
struct scratch {
	struct where where;        /* of a packet on the slow path */
	struct segment segment;    /* the one at work */
	struct slot slot;          /* a connection taken out of its slot */
	struct conn_key fresh_key; /* a connection on its way to conn_map or from there */
	struct conn fresh;
	struct told told;       /* what the socket of this segment says, and who sends it */
	struct service service; /* stays zero: what a new entry of nt_services starts with */
	struct text line;       /* the record */
	__u32 flushed;          /* by flush() */
	bool left;              /* it has left something, for its next run */
	bool flushing;          /* it is at work, and the clock waits for it: see flush() */
	__u32 ended;            /* by the clock in one go */
	__u32 row;              /* where it had done enough */
	__u64 until_ns;         /* so long it may look at connections at rest, in one go */
	bool late;              /* that is over */
	bool acted;             /* something has come of one */
	__u64 next_ns;          /* when it has to go off again; 0: nothing is due */
	__u32 index;            /* see forget() and find_place_locked() */
	__u64 rank;
	__u32 attempt_at;
	__u32 connection_at;
	struct outcome outcome; /* of a segment, for carry_out() */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} nt_scratch SEC(".maps");

#endif
