/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * iterator.h - the kernel's side of a view.
 *
 * A view is a BPF iterator over one of the tracker's maps, pinned as a file in /sys/fs/bpf/netracker: who reads the file has
 * the kernel run the program once for each element of the map, and gets what it prints. bpftool pins the first program of an
 * object, so each view is an object of its own, named like its file.
 *
 * The kernel hands over the text in pieces of 32 KiB at most. An element whose text does not fit the rest of a piece is done
 * again at the beginning of the next, so lines are always whole; but no element may print more than that.
 */
#ifndef NETRACKER_ITERATOR_H
#define NETRACKER_ITERATOR_H

#include "../NeTracker.h"

#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* What the kernel passes to an iterator, include/linux/bpf.h; libbpf finds the fields through the kernel's BTF. */
#define KERNEL __attribute__((preserve_access_index))

struct seq_file {
	__u64 size;  /* of the piece at hand, bytes */
	__u64 count; /* of them written */
} KERNEL;

struct bpf_map {
	__u32 id;
} KERNEL;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id; /* of each opening of the file */
	__u64 seq_num;
} KERNEL;

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key; /* NULL in the call after the last element, as is value */
	void *value;
} KERNEL;

#endif
