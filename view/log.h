/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * log.h - the log as a file: what has ended since this consumer last read it, in order. For the views log and log.json, which
 * define put_ended(): the record at hand as a line, without its end.
 *
 * They iterate over nt_log_plan, an array whose elements mean nothing but a step of a reading. The kernel hands the text over
 * in pieces of 32 KiB at most (struct seq_file), and a program that returns 1 ends a piece where it is: so each step writes as
 * many records as fit, and whatever has been handed over counts as read when its reader comes back for more, with an empty
 * piece. A reader that is killed, or could not write what it got, does not come back: the next reading begins with that piece
 * again. So nothing is ever lost.
 *
 * One reading of a consumer's log goes on at a time. Another one fails (EAGAIN) while the first has been seen in the last
 * LEASE_NS; later it takes over, and the first one fails when it comes back.
 */
#ifndef NETRACKER_LOG_H
#define NETRACKER_LOG_H

#include "iterator.h"

/* A record and what precedes it in a line; longer than any, a power of two. */
#define TEXT_LEN 2048
#define LITERAL_LEN 32
#include "../tracker/record.h"
#include "../tracker/verifier.h"

/* Records that a step writes at most. */
#define LOG_BATCH 32

/* How long a reading keeps others away after it was last seen. */
#define LEASE_NS 200000000ULL

/* So many records behind the oldest may be written over while they are copied. */
#define LOG_MARGIN (LOG_RECORDS < 256 ? LOG_RECORDS / 4 : 64)

/*
 * What a program of the kernel's iterators returns to have the piece end before this step, which is done again in the next. Of
 * an empty piece, it is an error for who reads: EAGAIN.
 */
#define AGAIN 1

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOG_RECORDS);
	__type(key, __u32);
	__type(value, struct record);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_log SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct log_head);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_log_head SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cursor);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_cursor SEC(".maps");

/* Memory of a task that reads a file, as it can be interrupted by another. */
struct reading {
	__u64 done; /* the session whose end it has seen */
	struct record record;
	struct text line;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct reading);
} readings SEC(".maps");

/* Writes the record at hand. */
static void put_ended(struct text *t, const struct shown *r);

/* How a line tells of n records that were lost before its own, and how it ends. */
static void put_end(struct text *t, __u64 lost);

static __always_inline void *only_value(void *map)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(map, &zero);
}

/* Copies record n, if it is there and whole. The exchange of nothing orders the reads around it on machines that do not. */
static __always_inline bool copy_record(__u64 n, struct record *copy)
{
	__u32 at = n % LOG_RECORDS;
	struct record *record = bpf_map_lookup_elem(&nt_log, &at);

	if (!record || __sync_fetch_and_add(&record->seq, 0) != n + 1)
		return false;
	*copy = *record;
	return __sync_fetch_and_add(&record->seq, 0) == n + 1;
}

/* Writes a record. Returns false if there is no room for it in this piece. */
static __always_inline bool show(struct seq_file *seq, struct reading *reading, struct cursor *cursor)
{
	const struct record *record = &reading->record;
	struct text *t = &reading->line;
	__u64 state = record->state;
	struct shown shown = {
		.key = &record->key,
		.flow = &record->flow,
		.facts = &record->facts,
		.ifname = &record->ifname,
		.lifetime_ns = record->end_ns - record->flow.start_ns,
		.state = state,
		.interim = record->interim,
	};

	if (state >= CONN_STATES)
		return true;
	t->len = 0;
	put_ended(t, &shown);
	put_end(t, cursor->at_unsaid);
	put_char(t, '\n');
	if (seq->count + t->len >= seq->size)
		return false;
	bpf_seq_write(seq, t->c, t->len & (TEXT_LEN - 1));
	cursor->at_unsaid = 0;
	return true;
}

struct step {
	struct seq_file *seq;
	struct reading *reading;
	struct cursor *cursor;
};

static long show_one(__u32 i __unused, struct step *step)
{
	struct cursor *cursor = step->cursor;
	const struct log_head *head;

	if (cursor->at >= cursor->end)
		return 1;
	if (copy_record(cursor->at, &step->reading->record)) {
		if (!show(step->seq, step->reading, cursor))
			return 1;
		cursor->at++;
		return 0;
	}
	/* Written over since; or not written yet, by a CPU that has taken a number and is at work. */
	head = only_value(&nt_log_head);
	if (head && head->written - cursor->at > LOG_RECORDS - LOG_MARGIN) {
		cursor->at++;
		cursor->at_lost++;
		cursor->at_unsaid++;
		return 0;
	}
	cursor->end = cursor->at;
	return 1;
}

/*
 * Returns false if another reading is at work. The time at which that was seen may be later than `now`, on another CPU. Of two that
 * come to an end of it at once, one gets the cursor.
 */
static __always_inline bool begin_reading(struct cursor *cursor, __u64 session, __u64 now)
{
	const struct log_head *head = only_value(&nt_log_head);
	__u64 seen_ns = *(const volatile __u64 *)&cursor->seen_ns;

	if (!head || (seen_ns && (__s64)(now - seen_ns) < (__s64)LEASE_NS) ||
	    __sync_val_compare_and_swap(&cursor->seen_ns, seen_ns, now) != seen_ns)
		return false;
	cursor->session = session;
	cursor->end = *(const volatile __u64 *)&head->written;
	/* One that is ahead of the log has been set back to a place in another log. */
	cursor->at = cursor->next <= cursor->end ? cursor->next : 0;
	cursor->before = cursor->at;
	cursor->at_lost = 0;
	cursor->at_unsaid = cursor->unsaid;
	if (cursor->end - cursor->at > LOG_RECORDS) {
		cursor->at_lost = cursor->end - LOG_RECORDS - cursor->at;
		cursor->at_unsaid += cursor->at_lost;
		cursor->at = cursor->end - LOG_RECORDS;
	}
	return true;
}

/* What has been handed over is read. */
static __always_inline void mark_read(struct cursor *cursor)
{
	cursor->next = cursor->at;
	cursor->lost += cursor->at_lost;
	cursor->at_lost = 0;
	cursor->unsaid = cursor->at_unsaid;
}

static __always_inline int read_log(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 session = ctx->meta->session_id, now;
	struct cursor *cursor = only_value(&nt_cursor);
	struct seq_file *seq = ctx->meta->seq;
	const __u32 *key = ctx->key;
	struct reading *reading;
	struct step step;

	reading = bpf_task_storage_get(&readings, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!key)
		return 0;
	if (!reading || !cursor)
		return AGAIN; /* no memory; an end would look as if all had been read */
	if (reading->done == session)
		return 0;
	now = bpf_ktime_get_boot_ns();
	if (cursor->session != session && (*key || !begin_reading(cursor, session, now)))
		return AGAIN;
	cursor->seen_ns = now;
	if (!seq->count)
		mark_read(cursor);
	if (cursor->at < cursor->end) {
		__u64 count = seq->count;

		step = (struct step){ .seq = seq, .reading = reading, .cursor = cursor };
		bpf_loop(LOG_BATCH, show_one, &step, 0);
		/* No room for a single one: the piece is full. */
		return count && seq->count == count && cursor->at < cursor->end ? AGAIN : 0;
	}
	if (seq->count)
		return AGAIN;
	reading->done = session;
	cursor->seen_ns = 0;
	return 0;
}

#endif
