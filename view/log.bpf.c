// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* log: the ended connections, in the words of the trace, since this consumer last read it. Iterates over nt_log_plan. */
#include "log.h"

static __always_inline void put_ended(struct text *t, const struct shown *r)
{
	put_literal(t, "netracker: ");
	put_record(t, r);
}

static __always_inline void put_end(struct text *t, __u64 lost)
{
	if (!lost)
		return;
	put_literal(t, " lost_before=");
	put_number(t, lost);
}

SEC("iter/bpf_map_elem")
int log_text(struct bpf_iter__bpf_map_elem *ctx)
{
	return read_log(ctx);
}
