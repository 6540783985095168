/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * rules.h - which connections are not tracked: the operator's rules, asked at the first SYN and nowhere else. What is tracked
 * already stays so. For NeTracker.bpf.c and adopt.h.
 */
#ifndef NETRACKER_RULES_H
#define NETRACKER_RULES_H

#include "../NeTracker.h"
#include "maps.h"
#include "segment.h"
#include "verifier.h"

#include <stdbool.h>

/* Is the address in the rule's prefix? As two words of 64 bits: both stand at multiples of 8. */
static __always_inline bool is_in_prefix(const struct rule *rule, const __u8 *address)
{
	const __u64 *a = (const __u64 *)address, *b = (const __u64 *)rule->address, *mask = (const __u64 *)rule->mask;

	return !(((a[0] ^ b[0]) & mask[0]) | ((a[1] ^ b[1]) & mask[1]));
}

/*
 * Do the rules leave this segment's connection out? by_resp: its responder sends the segment. A rule fits if the responder's port
 * is in its range and one of the two addresses in its prefix. Left out is what one that excludes fits; and, if there are some that
 * select, what none of those fits.
 */
__noinline bool is_left_out(const struct segment *s, bool by_resp)
{
	const struct rules *rules = only_value(&nt_rules);
	bool selected = false;
	__u16 port;
	__u32 i;

	if (!s || !rules)
		return false;
	port = by_resp ? s->key.sport : s->key.dport;
	NOT_UNROLLED
	for (i = 0; i < MAX_RULES && i < rules->count; i++) {
		const struct rule *rule = &rules->rule[i];

		if (port < rule->first_port || port > rule->last_port ||
		    (!is_in_prefix(rule, s->key.src) && !is_in_prefix(rule, s->key.dst)))
			continue;
		if (rule->excludes)
			return true;
		selected = true;
	}
	return rules->selects && !selected;
}

/* Are there rules at all? One comparison, where there are none. */
static __always_inline bool has_rules(void)
{
	const struct rules *rules = only_value(&nt_rules);

	return rules && rules->count;
}

#endif
