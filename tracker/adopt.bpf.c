// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * adopt - takes over connections that are older than the tracker: adopt.h. A program of its own, which attach loads for the moment
 * and runs by BPF_PROG_TEST_RUN, with an interface of the network namespace at hand: scripts/lib/adopt.sh. No packet meets it.
 *
 * It has all of the tracker's maps by their pins, and scratch space for itself: kernels before 6.11 run it with bottom halves on,
 * and packets may come in between. It does not set the clock, as only the programs at the interfaces may own that; what they see
 * next does.
 */
#include "maps.h"
#include "scratch.h"
#include "timeout.h"
#include "adopt.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc_adopt")
int netracker_adopt(struct __sk_buff *skb)
{
	return adopt_candidates(skb);
}
