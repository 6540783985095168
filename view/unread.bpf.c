// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * unread: how a consumer of the log stands: UNREAD LOST, the records that it can still read, and those that were overwritten
 * before it did. Iterates over nt_cursor.
 */
#include "consumer.h"

SEC("iter/bpf_map_elem")
int unread(struct bpf_iter__bpf_map_elem *ctx)
{
	struct standing standing;

	if (!ctx->value)
		return 0;
	standing = standing_of(ctx->value);
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %llu\n", standing.unread, standing.lost);
	return 0;
}
