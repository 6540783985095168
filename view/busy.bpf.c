// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * busy: this host's TCP sockets to which something has come, or that have sent something, since the same process read the file
 * last; at first all of them. Those of the network namespace in which the file is opened, a line each, for `netracker top`; before
 * these lines one for each interface that the tracker is attached to:
 *
 *	interface NAME NETNS
 *	LOCAL REMOTE netns=N bytes_acked=N bytes_received=N srtt_us=N retrans=N
 *
 * as in the view sockets, but nothing is noted for others. Of a hundred thousand sockets that are idle none is put into words.
 */
#include "iterator.h"

#define TEXT_LEN 512 /* a power of two; two IPv6 addresses and as many numbers fit it */
#define LITERAL_LEN 32
#include "ends.h"

struct reader {
	__u64 start_ns; /* of the process */
	__u32 pid;
	__u32 netns;
};

struct reading {
	__u64 session;
	__u32 since;    /* what has happened before that it has read, jiffies */
	__u32 began;    /* this session did */
	__u32 is_first; /* it has read nothing yet */
	__u32 unused;
};

/* Who reads, and how far it is. Who has been forgotten, as many others came, gets all once more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct reader);
	__type(value, struct reading);
} readers SEC(".maps");

/* ---------------------------------------------------------------------------------- of the kernel, by way of its BTF */

struct task_struct___self {
	int tgid;
	struct task_struct___self *group_leader;
	__u64 start_boottime;
} KERNEL;

struct ack___busy {
	__u32 lrcvtime; /* of the last data that came, jiffies */
} KERNEL;

struct inet_connection_sock___busy {
	struct ack___busy icsk_ack;
} KERNEL;

struct tcp_sock___busy {
	struct inet_connection_sock___busy inet_conn;
	__u32 rcv_tstamp; /* of the last acknowledgement */
	__u32 lsndtime;   /* of the last data that was sent, for the first time or again */
	__u32 srtt_us;
	__u32 total_retrans;
	__u64 bytes_received;
	__u64 bytes_acked;
} KERNEL;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common; /* NULL in the call after the last socket */
};

/* How far who reads has read, in this namespace. What happens in the tick in which it began to is told twice. */
static __always_inline struct reading *reading_of(__u64 session, __u32 netns)
{
	struct task_struct___self *leader = ((struct task_struct___self *)bpf_get_current_task_btf())->group_leader;
	struct reader reader = { .start_ns = leader->start_boottime, .pid = leader->tgid, .netns = netns };
	struct reading *reading = bpf_map_lookup_elem(&readers, &reader), fresh = {};

	if (reading && reading->session == session)
		return reading;
	fresh.session = session;
	fresh.began = (__u32)bpf_jiffies64();
	fresh.since = reading ? reading->began : 0;
	fresh.is_first = !reading;
	bpf_map_update_elem(&readers, &reader, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&readers, &reader);
}

static __always_inline bool is_since(__u32 jiffies, const struct reading *reading)
{
	return (__s32)(jiffies - reading->since) >= 0;
}

SEC("iter/tcp")
int busy(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	const struct sock_common___ends *ends = (const struct sock_common___ends *)common;
	struct seq_file *seq = ctx->meta->seq;
	const struct tcp_sock___busy *tcp;
	const struct reading *reading;
	struct address local, remote;
	struct tcp_sock *kernel;
	struct text *line;

	/* If there is no socket, there is only the call after the last one, with the number -1 (the kernel skips a head) or 0. */
	if (common ? !ctx->meta->seq_num : !seq->count && ctx->meta->seq_num + 1 <= 1) {
		line = new_line();
		if (!line)
			return AGAIN;
		print_interfaces(seq, line);
	}
	if (!common || !has_two_ends(ends))
		return 0;
	kernel = (struct tcp_sock *)bpf_skc_to_tcp_sock(common);
	if (!kernel)
		return 0;
	tcp = (const struct tcp_sock___busy *)kernel;
	reading = reading_of(ctx->meta->session_id, netns_of(ends));
	if (reading && !reading->is_first && !is_since(tcp->rcv_tstamp, reading) && !is_since(tcp->lsndtime, reading) &&
	    !is_since(tcp->inet_conn.icsk_ack.lrcvtime, reading))
		return 0;
	line = new_line();
	if (!line)
		return AGAIN;
	read_ends(ends, &local, &remote);
	line->len = 0;
	put_ends(line, ends, &local, &remote);
	put_literal(line, " netns=");
	put_number(line, netns_of(ends));
	put_literal(line, " bytes_acked=");
	put_number(line, tcp->bytes_acked);
	put_literal(line, " bytes_received=");
	put_number(line, tcp->bytes_received);
	put_literal(line, " srtt_us=");
	put_number(line, tcp->srtt_us >> 3);
	put_literal(line, " retrans=");
	put_number(line, tcp->total_retrans);
	print_line(seq, line);
	return 0;
}
