/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * noted.h - what this host's sockets say while their connections are alive, and who holds them, on its way from one view to
 * others. An iterator over connections cannot look sockets up, one over sockets sees those of a single network namespace, and one
 * over processes' files goes by process. So the view sockets notes what each says, once in each namespace, and holders, which is
 * read behind it, who has it; those of connections, which are read last, look it up.
 *
 * Two who read at the same time do not get in each other's way: what is noted is for the processes that have the same parent as the
 * one that reads the sockets. It goes when one of these has read the connections at rest to the end, or when somebody
 * else wants the room: view/sockets.bpf.c.
 */
#ifndef NETRACKER_NOTED_H
#define NETRACKER_NOTED_H

#include "iterator.h"

struct noted_key {
	__u8 local[16]; /* the socket's own end */
	__u8 remote[16];
	__u16 lport;
	__u16 rport;
	__u32 netns; /* inode */
	__u64 reader;
};

union noted {
	struct {
		struct facts facts; /* but whose it is: of_orig; not known if holders alone has noted it */
		struct process
			process; /* of those that hold it the one with the lowest number; 0: none, or nobody can tell which */
		__u64 inode; /* the socket's, by which it is one however many hold it; 0: nobody does; SEVERAL: not the only one */
	};
	__u8 bytes[160];
};

#define SEVERAL (~0ULL)

/* So many sockets; of those beyond nothing is known. Not MAX_CONNECTIONS, of which the tracker may have another number. */
#define NOTED_MAX 262144

_Static_assert(sizeof(struct noted_key) == 48 && sizeof(union noted) == 160 && NOTED_MAX == 262144,
               "scripts/lib/view.sh makes a map of these sizes: NOTED_KEY_BYTES, NOTED_BYTES, NOTED_MAX");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, NOTED_MAX);
	__type(key, struct noted_key);
	__type(value, union noted);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_noted SEC(".maps");

/* Names behind ___ are ours: the loader finds struct task_struct. */
struct task_struct___reader {
	struct task_struct___reader *real_parent;
	__u64 start_boottime;
} KERNEL;

/* A number for the process that has the one at hand do its work, which no other has, before or after. */
static __always_inline __u64 reader_of_notes(void)
{
	struct task_struct___reader *task = (struct task_struct___reader *)bpf_get_current_task_btf();

	return task->real_parent->start_boottime;
}

#endif
