/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * kernel.h - what is read of the kernel's own structs, where no helper tells it. For socket.h, facts.h and process.h, for the facts
 * in tables.h, and for the views. Each member is where the running kernel has it, as the loader finds in that kernel's BTF (CO-RE);
 * so of each struct only what is read stands here; what they alone read, the views declare themselves.
 *
 * A kernel without BTF takes no program that has such reads: for that one the object is built WITHOUT_KERNEL_TYPES, and what only
 * these know is unknown.
 */
#ifndef NETRACKER_KERNEL_H
#define NETRACKER_KERNEL_H

#include <linux/types.h>

#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

/* SOCK_STREAM of the C library, which is another header's than the kernel's. The kernel's own sockets for TCP are raw ones. */
#define STREAM_SOCKET 1

#ifdef WITHOUT_KERNEL_TYPES

struct tcp_sock;

#define OF_KERNEL(value) (-1)

static __always_inline const struct tcp_sock *kernel_socket(void *sk)
{
	(void)sk;
	return NULL;
}

#else

#include <bpf/bpf_core_read.h>

#ifdef __bpf__
#define AS_IN_KERNEL __attribute__((preserve_access_index))
#else
#define AS_IN_KERNEL
#endif

/* A value of the kernel's socket, which read_facts() has at hand; all bits if there is none. */
#define OF_KERNEL(value) (kernel ? (value) : -1)

struct net_device;

struct sk_buff {
	struct net_device *dev;
} AS_IN_KERNEL;

struct dst_entry {
	struct net_device *dev;
} AS_IN_KERNEL;

struct sock_common {
	unsigned char skc_state;
	unsigned long skc_flags; /* enum sock_flags */
} AS_IN_KERNEL;

struct sock {
	struct sock_common __sk_common;
	struct {
		int owned; /* a process has locked it: lock_sock() */
	} AS_IN_KERNEL sk_lock;
	struct {
		int len; /* of the segments that came while it was locked and wait for that process; in bytes */
	} AS_IN_KERNEL sk_backlog;
	struct dst_entry *sk_dst_cache;
	unsigned long sk_lingertime;
} AS_IN_KERNEL;

struct inet_sock {
	struct sock sk;
} AS_IN_KERNEL;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} AS_IN_KERNEL;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 snd_wnd;
	__u32 write_seq; /* how far it has been written */
	__u32 mss_cache; /* the payload of a full segment */
	__u32 rcv_nxt;
	__u32 copied_seq; /* how far it has been read */
	__u32 chrono_start;
	__u32 chrono_stat[3]; /* ticks of the kernel's clock; by enum chrono, which begins with 1 */
	__u8 chrono_type : 2; /* enum chrono: what runs since chrono_start. A byte from Linux 6.13 on */
	__u32 rcv_ooopack;
	__u32 reord_seen;
	__u64 bytes_retrans;
} AS_IN_KERNEL;

struct task_struct {
	unsigned int flags;
	int tgid;
	struct task_struct *group_leader;
	char comm[16];
} AS_IN_KERNEL;

/* enum tcp_chrono, include/linux/tcp.h */
enum chrono {
	CHRONO_BUSY = 1,
	CHRONO_RWND_LIMITED,
	CHRONO_SNDBUF_LIMITED,
};

/* enum sock_flags, include/net/sock.h: the first ones, which have never moved. */
#define SOCK_DONE_BIT 1 /* the peer's FIN has come */
#define SOCK_LINGER_BIT 4

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

/* The kernel's own struct of a TCP socket; NULL: it has none. sk: a struct bpf_sock that is a full socket, and no raw one. */
static __always_inline const struct tcp_sock *kernel_socket(void *sk)
{
	return (const struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
}

/* So long the socket was busy in this way, in ticks: tcp_get_info_chrono_stats(), net/ipv4/tcp.c. */
static __always_inline __u32 limited_ticks(const struct tcp_sock *kernel, enum chrono type)
{
	__u32 ticks = kernel->chrono_stat[type - 1];

	if (BPF_CORE_READ_BITFIELD(kernel, chrono_type) == type)
		ticks += (__u32)bpf_jiffies64() - kernel->chrono_start;
	return ticks;
}

/* Likewise, in any of the three. */
static __always_inline __u32 busy_ticks(const struct tcp_sock *kernel)
{
	__u32 ticks = kernel->chrono_stat[0] + kernel->chrono_stat[1] + kernel->chrono_stat[2];

	if (BPF_CORE_READ_BITFIELD(kernel, chrono_type))
		ticks += (__u32)bpf_jiffies64() - kernel->chrono_start;
	return ticks;
}

#endif

#endif
