/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verifier.h - what stands in the code for the kernel's verifier, or against an optimization of clang, by name. For every room that
 * has such a place.
 */
#ifndef NETRACKER_VERIFIER_H
#define NETRACKER_VERIFIER_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#define __unused __attribute__((unused))

/*
 * Gives the value back by way of memory, where the verifier does not follow it. So it goes once, not eight times, through what
 * is done to the slot with this index. scratch->index is nobody's memory but this CPU's.
 */
static __always_inline __u32 forget(volatile __u32 *memory, __u32 value)
{
	*memory = value;
	return *memory;
}

#endif
