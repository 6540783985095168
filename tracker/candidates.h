/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * candidates.h - nt_adopt: who may be taken over, on the way from the views, one of which finds them (view/adopt.bpf.c), to
 * adopt.h, which has them come to rest. attach makes the map for that moment and takes it away again.
 */
#ifndef NETRACKER_CANDIDATES_H
#define NETRACKER_CANDIDATES_H

#include "../NeTracker.h"

#include <bpf/bpf_helpers.h>

/*
 * Key: the tuple, originator first, and in place of a twin's number the scope. Value: the connection as far as its socket tells;
 * flow.ifindex is the interface whose candidate it is, as numbered in the network namespace at hand.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, ADOPT_MAX);
	__type(key, struct conn_key);
	__type(value, struct flow);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_adopt SEC(".maps");

#endif
