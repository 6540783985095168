// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * unread: how a consumer of the log stands: UNREAD LOST, the records that it can still read, and those that were overwritten
 * before it did. A second line, NEXT LOST UNSAID SEEN AT, has what the fields of struct cursor without at_ are, for who may set
 * them. Iterates over nt_cursor.
 */
#include "consumer.h"

SEC("iter/bpf_map_elem")
int unread(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct cursor *cursor = ctx->value;
	struct standing standing;

	if (!cursor)
		return 0;
	standing = standing_of(cursor);
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %llu\n", standing.unread, standing.lost);
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %llu %llu %llu %llu\n", cursor->next, cursor->lost, cursor->unsaid, cursor->seen_ns,
	               cursor->at);
	return 0;
}
