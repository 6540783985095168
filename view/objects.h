/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* objects.h - a live connection as a line of JSON, for the views records.json and handshake_records.json: docs/fields.md. */
#ifndef NETRACKER_OBJECTS_H
#define NETRACKER_OBJECTS_H

#include "view.h"
#include "json.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_boot SEC(".maps");

/*
 * Writes the object. A global function, which the verifier checks once, not for each of the eight connections of a set.
 * facts: of its socket; NULL: none was asked.
 * state: enum conn_state, as wide as verifier.h wants it.
 */
__noinline int put_live_object(struct text *t, const struct flow_key *key, const struct flow *flow, const struct facts *facts,
                               __u64 state)
{
	const __u64 *boot_us;
	struct shown shown;
	__u32 zero = 0;

	if (!t || !key || !flow || state >= CONN_STATES)
		return 0;
	shown = (struct shown){
		.key = key,
		.flow = flow,
		.facts = facts ? facts : &no_facts,
		.ifname = iface_name(flow),
		.lifetime_ns = age_of(flow),
		.state = state,
		.live = true,
	};
	boot_us = bpf_map_lookup_elem(&nt_boot, &zero);
	put_object(t, &shown, boot_us ? *boot_us : 0);
	put_char(t, '}');
	return 0;
}

static __always_inline void print_object(struct seq_file *seq, struct text *t, const struct flow_key *key, const struct flow *flow,
                                         const struct facts *facts, enum conn_state state)
{
	t->len = 0;
	put_live_object(t, key, flow, facts, state);
	print_line(seq, t);
}

#endif
