// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * orphans: the id of each map that programs use and nobody else has: it is pinned nowhere, in no BPF file system of any container,
 * and no process holds it. Iterates over all maps of the machine. A line each.
 *
 * A tracker's filter on such maps is left over from a BPF file system that is gone: nobody can read its records any more.
 */
#include "iterator.h"

struct atomic64 {
	__s64 counter;
} KERNEL;

/* usercnt counts files and pins alone, refcnt the programs too: bpf_map_inc_with_uref(), bpf_map_inc(). */
struct bpf_map___uref {
	__u32 id;
	struct atomic64 usercnt;
} KERNEL;

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map; /* NULL in the call after the last one */
} KERNEL;

SEC("iter/bpf_map")
int orphans(struct bpf_iter__bpf_map *ctx)
{
	const struct bpf_map___uref *map = (void *)ctx->map;

	if (map && BPF_CORE_READ(map, usercnt.counter) == 0)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u\n", BPF_CORE_READ(map, id));
	return 0;
}
