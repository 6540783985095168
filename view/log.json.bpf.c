// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * log.json: the ended connections as JSON, one object a line, since this consumer last read it. Iterates over nt_log_plan. What
 * only user space knows, the names of user and owner, is null.
 */
#include "log.h"
#include "json.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_boot SEC(".maps");

static __always_inline void put_ended(struct text *t, const struct shown *r)
{
	const __u64 *boot_us = only_value(&nt_boot);

	put_object(t, r, boot_us ? *boot_us : 0);
}

static __always_inline void put_end(struct text *t, __u64 lost)
{
	if (lost) {
		put_literal(t, ",\"lost_before\":");
		put_number(t, lost);
	}
	put_char(t, '}');
}

SEC("iter/bpf_map_elem")
int log_json(struct bpf_iter__bpf_map_elem *ctx)
{
	return read_log(ctx);
}
