// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * unread: how a consumer of the log stands: UNREAD LOST, the records that it can still read, and those that were overwritten
 * before it did. Iterates over nt_cursor.
 */
#include "iterator.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct log_head);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_log_head SEC(".maps");

SEC("iter/bpf_map_elem")
int unread(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct cursor *cursor = ctx->value;
	const struct log_head *head;
	__u64 unread, lost;
	__u32 zero = 0;

	head = bpf_map_lookup_elem(&nt_log_head, &zero);
	if (!cursor || !head)
		return 0;
	unread = head->written - cursor->next;
	lost = cursor->lost;
	if (unread > LOG_RECORDS) {
		lost += unread - LOG_RECORDS;
		unread = LOG_RECORDS;
	}
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %llu\n", unread, lost);
	return 0;
}
