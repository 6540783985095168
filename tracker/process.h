/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * process.h - which process sends a segment, right or not at all: find_process(); and all that there is to ask at a FIN or RST:
 * ask(). For motion.h and rest.h.
 *
 * A hook runs in whatever the CPU was doing: in the process that sends, or in one that a softirq has interrupted. The process that
 * runs is the sender's if all of this is so:
 *
 *	- its socket is locked by a process (lock_sock()), and has no segments waiting for that process to let go: else it might
 *	  be one of these that made it send, whoever it was that had locked it
 *	- this segment is what the socket sends now, the next that it has: one that was held up on its way, or is sent again, may
 *	  leave while another process has the lock
 *	- the hook is on the first device that the segment comes to: behind a bridge, a VLAN or a tunnel there may be a queue
 *	- it is no thread of the kernel's, which closes sockets that were lost on their way to another process
 *
 * A FIN that had to wait for room at the peer leaves when nobody runs who has to do with it. Where closer.bpf.c is attached, it has
 * noted who closed the socket.
 */
#ifndef NETRACKER_PROCESS_H
#define NETRACKER_PROCESS_H

#include "../NeTracker.h"
#include "kernel.h"
#include "maps.h"
#include "segment.h"
#include "socket.h"

#ifndef WITHOUT_KERNEL_TYPES

/*
 * Is the hook on the device that the socket gives its segments to? The devices' addresses are compared, which no other network
 * namespace has again, as it may have their numbers. A context is a pointer to the kernel's own struct, whose members it takes a
 * helper to read.
 */
static __always_inline bool is_at_first_device(struct __sk_buff *skb, const struct tcp_sock *kernel)
{
	const struct dst_entry *route = kernel->inet_conn.icsk_inet.sk.sk_dst_cache;
	struct net_device *device = NULL;

	if (!route || bpf_probe_read_kernel(&device, sizeof(device), &((struct sk_buff *)skb)->dev))
		return false;
	return (unsigned long)route->dev == (unsigned long)device;
}

/* Does a process send this segment now, the one that runs? */
static __always_inline bool is_sent_by_process(struct __sk_buff *skb, const struct tcp_sock *kernel, const struct segment *s)
{
	const struct sock *sk = &kernel->inet_conn.icsk_inet.sk;

	return sk->sk_lock.owned && !sk->sk_backlog.len && kernel->snd_nxt == s->seq && is_at_first_device(skb, kernel);
}

/* The process that was noted when the segment's socket was closed, if there is one: *process. A later FIN or RST is its. */
static __always_inline void find_closer(struct bpf_sock *sk, const struct segment *s, struct process *process)
{
	const struct process *closer;

	if (!(s->flags & (TCP_FIN | TCP_RST)))
		return;
	closer = bpf_sk_storage_get(&nt_closers, sk, NULL, 0);
	if (closer)
		*process = *closer;
}

/* The process that runs, if it sends the segment: *process. */
static __always_inline void find_running(struct __sk_buff *skb, struct bpf_sock *sk, const struct segment *s,
                                         struct process *process)
{
	const struct tcp_sock *kernel = kernel_socket(sk);
	const struct task_struct *task;

	if (!kernel || !is_sent_by_process(skb, kernel, s))
		return;
	task = (const struct task_struct *)bpf_get_current_task_btf();
	if (task->flags & PF_KTHREAD)
		return;
	__builtin_memcpy(process->comm, task->group_leader->comm, sizeof(process->comm));
	process->pid = task->tgid;
}

/*
 * The process that sends the segment: *process, whose pid is 0 if that is not known. Its name is its thread group's: threads, and
 * workers of io_uring, have names of their own. Returns 0.
 */
__noinline int find_process(struct __sk_buff *skb, const struct segment *s, struct process *process)
{
	struct bpf_sock *sk;

	if (!s || !process)
		return 0;
	process->pid = 0;
	sk = s->dir == DIR_OUT ? own_sender(skb, &s->key) : NULL;
	if (!sk)
		return 0;
	find_running(skb, sk, s, process);
	if (!process->pid)
		find_closer(sk, s, process);
	return 0;
}

#else

static __always_inline int find_process(struct __sk_buff *skb, const struct segment *s, struct process *process)
{
	(void)skb;
	(void)s;
	process->pid = 0;
	return 0;
}

#endif

/* Nobody has been asked. */
static __always_inline void forget_told(struct told *told)
{
	told->facts.known = false;
	told->process.pid = 0;
	told->reset = RESET_UNKNOWN;
}

/* Asks this host's socket of the segment's connection, and who sends it: *told. Returns true: it was asked. */
static __always_inline bool ask(struct __sk_buff *skb, const struct segment *s, struct told *told)
{
	forget_told(told);
	if (!ask_socket(skb, s, told))
		told->facts.known = false;
	if (s->dir != DIR_OUT)
		return true;
	find_process(skb, s, &told->process);
	if (s->flags & TCP_RST)
		told->reset = find_reset(skb, s);
	return true;
}

#endif
