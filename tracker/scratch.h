/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * scratch.h - memory for what is too large for the stack. For every room.
 */
#ifndef NETRACKER_SCRATCH_H
#define NETRACKER_SCRATCH_H

#include "../NeTracker.h"
#include "maps.h"
#include "segment.h"
#include "text.h"

/*
 * What is too large for the stack, on which all functions of a call chain have 512 bytes together. One per load and CPU. Fetched by
 * the functions that the verifier looks at by themselves, as it (6.1) takes no key of a map from memory that such a function was
 * given; handed down to all others.
 */
struct scratch {
	struct where where;        /* of a packet on the slow path */
	struct segment segment;    /* the one at work */
	struct syn_slot slot;      /* a handshake taken out of its set */
	struct flow_key fresh_key; /* a connection on its way to conn_map */
	struct conn fresh;
	struct watch watched;   /* a connection whose time is up */
	struct watch victim;    /* one that has to give way to another */
	struct flow last;       /* one that has ended */
	struct facts saved;     /* what its socket said at the first FIN */
	struct facts facts;     /* what the socket of this segment says */
	struct facts nothing;   /* stays zero: of a socket that there is not */
	struct service service; /* stays zero: what a new entry of nt_services starts with */
	struct text line;       /* the record */
	__u32 flushed;          /* by flush() */
	__u32 ended;            /* by the clock in one go */
	__u64 next_ns;          /* when it has to go off again; 0: nothing is due */
	__u32 index;            /* see forget() */
	__u32 watch_index;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} nt_scratch SEC(".maps");

#endif
