// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * sockets: what this host's TCP sockets say of their connections, a line each; those of the network namespace in which the file is
 * opened. For the views of connections, which show what it has noted (noted.h), and for programs; before these lines one for each
 * interface that the tracker is attached to:
 *
 *	interface NAME NETNS
 *	LOCAL REMOTE netns=N tcp_state=N bytes_acked=N bytes_received=N srtt_us=N retrans=N
 *
 * as in the view holders. bytes_acked may count a SYN and a FIN, bytes_received a FIN.
 */
#include "iterator.h"

#define TEXT_LEN 512 /* a power of two; two IPv6 addresses and as many numbers fit it */
#define LITERAL_LEN 32
#include "noting.h"
#include "../tracker/facts.h"

/*
 * A reader may be killed, or read nothing but this. Then what has been noted for him is forgotten by the next one: what is older
 * than this; if more than half of the room is taken, what is older than that.
 */
#define NOTED_NS (600 * 1000000000ULL)
#define CROWDED_NS (10 * 1000000000ULL)

/* ---------------------------------------------------------------------------------- of the kernel, by way of its BTF */

struct minmax_sample {
	__u32 t;
	__u32 v;
} KERNEL;

struct minmax {
	struct minmax_sample s[3];
} KERNEL;

struct inet_connection_sock___asked {
	__u8 icsk_retransmits;
} KERNEL;

/* Names behind ___ are ours: tracker/kernel.h has this struct, too, with what the facts want of the kernel alone. */
struct tcp_sock___asked {
	struct inet_connection_sock___asked inet_conn;
	__u32 snd_cwnd;
	__u32 srtt_us;
	struct minmax rtt_min;
	__u32 snd_ssthresh;
	__u32 rcv_nxt;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 mss_cache;
	__u8 ecn_flags;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 total_retrans;
	__u32 segs_in;
	__u32 data_segs_in;
	__u32 segs_out;
	__u32 data_segs_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u64 bytes_received;
	__u64 bytes_acked;
	__u32 dsack_dups;
	__u32 delivered;
	__u32 delivered_ce;
} KERNEL;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common; /* NULL in the call after the last socket */
};

/* What the helper of that name, which only programs with a packet may call, makes of a socket. What no fact wants is never read. */
static __always_inline struct bpf_tcp_sock as_helper_does(const struct tcp_sock___asked *kernel)
{
	return (struct bpf_tcp_sock){
		.snd_cwnd = kernel->snd_cwnd,
		.srtt_us = kernel->srtt_us,
		.rtt_min = kernel->rtt_min.s[0].v,
		.snd_ssthresh = kernel->snd_ssthresh,
		.rcv_nxt = kernel->rcv_nxt,
		.snd_nxt = kernel->snd_nxt,
		.snd_una = kernel->snd_una,
		.mss_cache = kernel->mss_cache,
		.ecn_flags = kernel->ecn_flags,
		.rate_delivered = kernel->rate_delivered,
		.rate_interval_us = kernel->rate_interval_us,
		.packets_out = kernel->packets_out,
		.retrans_out = kernel->retrans_out,
		.total_retrans = kernel->total_retrans,
		.segs_in = kernel->segs_in,
		.data_segs_in = kernel->data_segs_in,
		.segs_out = kernel->segs_out,
		.data_segs_out = kernel->data_segs_out,
		.lost_out = kernel->lost_out,
		.sacked_out = kernel->sacked_out,
		.bytes_received = kernel->bytes_received,
		.bytes_acked = kernel->bytes_acked,
		.dsack_dups = kernel->dsack_dups,
		.delivered = kernel->delivered,
		.delivered_ce = kernel->delivered_ce,
		.icsk_retransmits = kernel->inet_conn.icsk_retransmits,
	};
}

struct aging {
	struct text *memory; /* counts in `whole` what is kept: verifier.h */
	__u64 before_ns;     /* what was noted before that is forgotten */
};

static long forget_older(void *map, const struct noted_key *key, union noted *noted, struct aging *aging)
{
	if (noted->facts.asked_ns < aging->before_ns)
		bpf_map_delete_elem(map, key);
	else
		aging->memory->whole++;
	return 0;
}

static __always_inline void forget_stale(struct text *memory)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct aging aging = { .memory = memory, .before_ns = now > NOTED_NS ? now - NOTED_NS : 0 };

	memory->whole = 0;
	bpf_for_each_map_elem(&nt_noted, forget_older, &aging, 0);
	if (memory->whole <= NOTED_MAX / 2)
		return;
	aging.before_ns = now > CROWDED_NS ? now - CROWDED_NS : 0;
	bpf_for_each_map_elem(&nt_noted, forget_older, &aging, 0);
}

SEC("iter/tcp")
int sockets(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	const struct sock_common___ends *ends = (const struct sock_common___ends *)common;
	struct seq_file *seq = ctx->meta->seq;
	struct text *line = new_line();
	struct noted_key key = {};
	struct bpf_tcp_sock tcp;
	struct tcp_sock *kernel;
	union noted noted = {};
	bool sure;

	if (!line)
		return AGAIN;
	/* If there is no socket, there is only the call after the last one, with the number -1 (the kernel skips a head) or 0. */
	if (common ? !ctx->meta->seq_num : !seq->count && ctx->meta->seq_num + 1 <= 1) {
		forget_stale(line);
		print_interfaces(seq, line);
	}
	if (!common || !has_two_ends(ends))
		return 0;
	kernel = (struct tcp_sock *)bpf_skc_to_tcp_sock(common);
	if (!kernel)
		return 0;
	read_key(&key, ends);
	tcp = as_helper_does((const struct tcp_sock___asked *)kernel);
	read_facts(&noted.facts, &tcp, kernel, measured_tick_us(&sure));
	noted.facts.tcp_state = ends->skc_state;
	noted.facts.asked_ns = bpf_ktime_get_boot_ns();
	bpf_map_update_elem(&nt_noted, &key, &noted, BPF_ANY);

	line->len = 0;
	put_key(line, &key);
	put_literal(line, " netns=");
	put_number(line, key.netns);
	put_literal(line, " tcp_state=");
	put_number(line, noted.facts.tcp_state);
	put_literal(line, " bytes_acked=");
	put_number(line, noted.facts.bytes_acked);
	put_literal(line, " bytes_received=");
	put_number(line, noted.facts.bytes_received);
	put_literal(line, " srtt_us=");
	put_number(line, noted.facts.srtt_us);
	put_literal(line, " retrans=");
	put_number(line, noted.facts.retrans);
	print_line(seq, line);
	return 0;
}
