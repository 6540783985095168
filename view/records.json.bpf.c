// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* records.json: the connections at rest as JSON, one object a line. Iterates over conn_map. */
#include "objects.h"

SEC("iter/bpf_map_elem")
int records_json(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct flow_key *key = ctx->key;
	const struct conn *conn = ctx->value;
	struct text *line = new_line();

	if (!line)
		return AGAIN;
	if (key && conn) {
		struct slot slot;

		copy_at_rest(&slot, key, conn);
		print_object(ctx->meta->seq, line, &slot.key, &slot.flow, &slot.facts, live_state(slot.flow.flags));
	} else {
		forget_noted();
	}
	return 0;
}
