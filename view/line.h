/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * line.h - a line that a view writes itself, and where. For view.h and the view holders, which say how long it may be: TEXT_LEN.
 */
#ifndef NETRACKER_LINE_H
#define NETRACKER_LINE_H

#include "iterator.h"
#include "../tracker/text.h"

/*
 * A line, in memory of the task that reads the file, as it can be interrupted by another. The verifier does not follow what is
 * written there, as it would on the stack.
 */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct text);
} lines SEC(".maps");

/*
 * What a program of the kernel's iterators returns to have the element at hand done again. Where that is the first of a piece, it
 * is an error for who reads: EAGAIN.
 */
#define AGAIN 1

/* The line to write; NULL if there is no memory. */
static __always_inline struct text *new_line(void)
{
	return bpf_task_storage_get(&lines, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

static __always_inline void print_line(struct seq_file *seq, struct text *t)
{
	put_char(t, '\n');
	bpf_seq_write(seq, t->c, t->len & (TEXT_LEN - 1));
}

#endif
