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
		struct flow_key tuple = *key;
		struct flow flow = conn->flow;

		print_record(ctx->meta->seq, line, &tuple, &flow, NULL, live_state(flow.flags));
	}
	return 0;
}
