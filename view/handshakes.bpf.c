// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* handshakes: the connections in motion: being opened, young, being closed, a line each, for people. Iterates over syn_map. */
#include "view.h"

SEC("iter/bpf_map_elem")
int handshakes(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct syn_set *set = ctx->value;
	struct text *line = new_line();
	const __u32 *index = ctx->key;
	enum conn_state state;
	struct slot slot;
	__u32 i;

	if (!line)
		return AGAIN;
	if (ctx->meta->seq_num == 0)
		print_table_head(ctx->meta->seq);
	for (i = 0; set && index && i < SYN_WAYS; i++) {
		if (!copy_moving(*index, set, i, &slot))
			continue;
		state = conclude(&slot);
		add_noted(&slot);
		print_table_row(ctx->meta->seq, line, &slot.key, &slot.flow, &slot.facts, state);
	}
	return 0;
}
