// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* connections: the connections at rest, a line each, for people. Iterates over conn_map. */
#include "view.h"

SEC("iter/bpf_map_elem")
int connections(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct flow_key *key = ctx->key;
	const struct conn *conn = ctx->value;
	struct text *line = new_line();

	if (!line)
		return AGAIN;
	/* The call after the last element has the number 0, too, if there was one element or none. */
	if (ctx->meta->seq_num == 0 && (key || !ctx->meta->seq->count))
		print_table_head(ctx->meta->seq);
	if (key && conn) {
		struct slot slot;

		copy_at_rest(&slot, key, conn);
		print_table_row(ctx->meta->seq, line, &slot.key, &slot.flow, &slot.facts, live_state(slot.flow.flags));
	} else {
		forget_noted();
	}
	return 0;
}
