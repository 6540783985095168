// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * holders: the processes that hold sockets of TCP connections, a line for each socket that each of them holds. Iterates over the
 * files of all processes that the reader's PID namespace has, whatever network namespace they are in. For programs; before these
 * lines one for each interface that the tracker is attached to:
 *
 *	interface NAME NETNS
 *	LOCAL REMOTE pid=N comm=NAME inode=N netns=N
 *
 * NAME and NETNS are the interface's, by which it can be told in whose network namespace the sockets of its connections are.
 * LOCAL and REMOTE are the socket's ends, as the tracker's lines have them; pid the process, in the initial PID namespace, and comm
 * its name, escaped as there; inode the socket's, by which it is one however many hold it; netns the inode of its network
 * namespace.
 *
 * What it shows it notes for the views of connections: noted.h.
 *
 * It takes a process's files from its first thread, as all its threads have them in common.
 */
#include "iterator.h"

#define TEXT_LEN 256 /* a power of two; two IPv6 addresses, and each of the name's bytes as \xHH, fit it */
#define LITERAL_LEN 32
#include "noting.h"

/* ---------------------------------------------------------------------------------- of the kernel, by way of its BTF */

struct sock {
	struct sock_common___ends __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
} KERNEL;

struct socket {
	struct sock *sk;
} KERNEL;

struct inode {
	unsigned long i_ino;
} KERNEL;

struct file {
	struct inode *f_inode;
} KERNEL;

struct task_struct {
	int pid;
	int tgid;
	char comm[IFACE_NAME_LEN]; /* TASK_COMM_LEN */
} KERNEL;

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task; /* NULL in the call after the last file, as is file */
	__u32 fd;
	struct file *file;
} KERNEL;

/* Of the C library's and the kernel's headers, which do not go together. */
#define STREAM_SOCKET 1
#define TCP 6

/* Has the socket two ends, and is it TCP's? MPTCP's own is not, and those that it sends by are nobody's files. */
static __always_inline bool is_connection(const struct sock *sk)
{
	return has_two_ends(&sk->__sk_common) && sk->sk_type == STREAM_SOCKET && sk->sk_protocol == TCP;
}

/* Notes that the process holds the socket with this inode and these ends. */
static __always_inline void note_holder(const struct noted_key *key, const struct task_struct *task, __u64 inode)
{
	union noted first = {}, *noted = bpf_map_lookup_elem(&nt_noted, key);

	if (!noted) {
		first.facts.asked_ns = bpf_ktime_get_boot_ns();
		bpf_map_update_elem(&nt_noted, key, &first, BPF_NOEXIST);
		noted = bpf_map_lookup_elem(&nt_noted, key);
		if (!noted)
			return;
	}
	if (noted->inode && noted->inode != inode) {
		noted->inode = SEVERAL;
		noted->process.pid = 0;
	} else if (!noted->inode || (__u32)task->tgid < noted->process.pid) {
		noted->inode = inode;
		noted->process.pid = task->tgid;
		bpf_core_read(noted->process.comm, sizeof(noted->process.comm), &task->comm);
	}
}

SEC("iter/task_file")
int holders(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct noted_key key = {};
	struct socket *socket;
	struct text *line;
	struct sock *sk;

	if (!task || !file)
		return 0;
	line = new_line();
	if (!line)
		return AGAIN;
	if (ctx->meta->seq_num == 0)
		print_interfaces(ctx->meta->seq, line);
	if (task->pid != task->tgid)
		return 0;
	socket = (struct socket *)bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_connection(sk))
		return 0;
	read_key(&key, &sk->__sk_common);
	note_holder(&key, task, file->f_inode->i_ino);
	line->len = 0;
	put_key(line, &key);
	put_literal(line, " pid=");
	put_number(line, task->tgid);
	put_literal(line, " comm=");
	bpf_core_read(line->name, sizeof(line->name), &task->comm);
	put_name(line);
	put_literal(line, " inode=");
	put_number(line, file->f_inode->i_ino);
	put_literal(line, " netns=");
	put_number(line, key.netns);
	print_line(ctx->meta->seq, line);
	return 0;
}
