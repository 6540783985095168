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
 * It takes a process's files from its first thread, as all its threads have them in common.
 */
#include "iterator.h"

#define TEXT_LEN 256 /* a power of two; two IPv6 addresses, and each of the name's bytes as \xHH, fit it */
#define LITERAL_LEN 32
#include "line.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_IFACES);
	__type(key, __u32);
	__type(value, struct iface);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_ifaces SEC(".maps");

/* ---------------------------------------------------------------------------------- of the kernel, by way of its BTF */

struct ns_common {
	unsigned int inum;
} KERNEL;

struct net {
	struct ns_common ns;
} KERNEL;

typedef struct {
	struct net *net;
} KERNEL possible_net_t;

struct in6_addr {
	__u8 bytes[16];
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} KERNEL;

struct sock {
	struct sock_common __sk_common;
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
#define INET 2
#define INET6 10
#define TCP 6
#define LISTENS 10 /* TCP_LISTEN */

/* Has the socket two ends, and is it TCP's? MPTCP's own is not, and those that it sends by are nobody's files. */
static __always_inline bool is_connection(const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;

	return (common->skc_family == INET || common->skc_family == INET6) && sk->sk_type == STREAM_SOCKET &&
	       sk->sk_protocol == TCP && common->skc_state != LISTENS && common->skc_dport && common->skc_num;
}

static __always_inline void map_ipv4(struct address *address, __be32 ipv4)
{
	__u32 *word = (__u32 *)address;

	word[0] = word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = ipv4;
}

/* The socket's own end and the other one. */
static __always_inline void read_ends(const struct sock *sk, struct address *local, struct address *remote)
{
	const struct sock_common *common = &sk->__sk_common;

	if (common->skc_family == INET6 && bpf_core_field_exists(common->skc_v6_daddr)) {
		bpf_core_read(local, sizeof(*local), &common->skc_v6_rcv_saddr);
		bpf_core_read(remote, sizeof(*remote), &common->skc_v6_daddr);
		return;
	}
	map_ipv4(local, common->skc_rcv_saddr);
	map_ipv4(remote, common->skc_daddr);
}

/* Writes the line of the interface in this place, if there is one. A global function, which is verified once. Returns 0. */
__noinline int put_interface(struct text *t, __u32 place)
{
	const struct iface *iface = bpf_map_lookup_elem(&nt_ifaces, &place);

	if (!t)
		return 0;
	t->len = 0;
	if (!iface || !iface->name[0])
		return 0;
	put_literal(t, "interface ");
	__builtin_memcpy(t->name, iface->name, sizeof(t->name));
	put_name(t);
	put_char(t, ' ');
	return put_number(t, iface->netns);
}

static __always_inline void print_interfaces(struct seq_file *seq, struct text *line)
{
	__u32 i;

	NOT_UNROLLED
	for (i = 0; i < MAX_IFACES; i++) {
		put_interface(line, i);
		if (line->len)
			print_line(seq, line);
	}
}

SEC("iter/task_file")
int holders(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct address local, remote;
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
	read_ends(sk, &local, &remote);
	line->len = 0;
	put_endpoint(line, &local, sk->__sk_common.skc_num);
	put_char(line, ' ');
	put_endpoint(line, &remote, bpf_ntohs(sk->__sk_common.skc_dport));
	put_literal(line, " pid=");
	put_number(line, task->tgid);
	put_literal(line, " comm=");
	bpf_core_read(line->name, sizeof(line->name), &task->comm);
	put_name(line);
	put_literal(line, " inode=");
	put_number(line, file->f_inode->i_ino);
	put_literal(line, " netns=");
	put_number(line, sk->__sk_common.skc_net.net->ns.inum);
	print_line(ctx->meta->seq, line);
	return 0;
}
