/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * consumer.h - how a consumer of the log stands. For the views unread, of one consumer, and metrics, of the one without a name.
 */
#ifndef NETRACKER_CONSUMER_H
#define NETRACKER_CONSUMER_H

#include "iterator.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct log_head);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_log_head SEC(".maps");

struct standing {
	__u64 unread; /* records that it can still read */
	__u64 lost;   /* and those that were overwritten before it did */
};

static __always_inline struct standing standing_of(const struct cursor *cursor)
{
	struct standing standing = {};
	const struct log_head *head;
	__u32 zero = 0;

	head = bpf_map_lookup_elem(&nt_log_head, &zero);
	if (!cursor || !head)
		return standing;
	standing.unread = head->written - (cursor->next <= head->written ? cursor->next : 0);
	standing.lost = cursor->lost;
	if (standing.unread > LOG_RECORDS) {
		standing.lost += standing.unread - LOG_RECORDS;
		standing.unread = LOG_RECORDS;
	}
	return standing;
}

#endif
