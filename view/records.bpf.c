// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* records: the connections at rest, a line each, for programs. Iterates over conn_map. */
#include "view.h"

SEC("iter/bpf_map_elem")
int records(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct flow_key *key = ctx->key;
	const struct conn *conn = ctx->value;
	struct text *line = new_line();

	if (!line)
		return AGAIN;
	if (key && conn) {
		struct slot slot;

		copy_at_rest(&slot, key, conn);
		print_record(ctx->meta->seq, line, &slot.key, &slot.flow, &slot.facts, live_state(slot.flow.flags));
	} else {
		forget_noted();
	}
	return 0;
}
