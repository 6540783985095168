/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * report.h - a connection has ended, or its handshake succeeded: counters, figures by service, the line in the trace. For
 * handshake.h and connection.h. Nobody else writes records.
 */
#ifndef NETRACKER_REPORT_H
#define NETRACKER_REPORT_H

#include "maps.h"
#include "scratch.h"
#include "verifier.h"

static const char state_name[CONN_STATES][8] = { "S0", "S1", "S2", "S3", "SF", "SH", "REJ", "RSTO", "RSTR", "RSTOS0" };

/* Bytes between an initial sequence number and an end, modulo 2^32. A RST or a broken FIN may stand on the SYN's own place. */
static __always_inline __s64 sent(__u32 end, __u32 isn)
{
	return end == isn ? 0 : (__u32)(end - isn - 1);
}

/*
 * Payload bytes that one side sent; -1 if nobody knows. The sequence numbers tell it modulo 2^32, where both the beginning and
 * the end were seen. facts, if not NULL: this host's socket, which counts in 64 bits, but only what was acknowledged or has
 * arrived so far: its count decides which multiple of 2^32 it is.
 */
static __always_inline __s64 exact_bytes(const struct flow *f, const struct facts *facts, bool orig)
{
	__u32 isn = orig ? f->orig_isn : f->resp_isn, end = orig ? f->orig_end : f->resp_end, low;
	bool end_known = f->flags & (orig ? ORIG_END : RESP_END);
	__u64 count;

	if (!facts)
		return end_known ? sent(end, isn) : -1;
	if (orig == facts->of_orig) {
		count = facts->bytes_acked;
		low = sent(end_known ? end : facts->snd_una, isn);
	} else {
		count = facts->bytes_received;
		low = sent(end_known ? end : facts->rcv_nxt, isn);
	}
	return count + (__s32)(low - (__u32)count);
}

/* The bucket of a log2 histogram that a time belongs to. */
__noinline __u32 bucket_of(__u64 ns)
{
	__u32 i;

	ns >>= HIST_SHIFT;
	for (i = 0; i < HIST_BUCKETS - 1 && ns; i++)
		ns >>= 1;
	forget_range(i);
	return i;
}

/* The figures of the service that the connection's responder offers. insert: make an entry if there is none. */
static __always_inline struct service *find_service(const struct flow_key *key, const struct flow *f, bool insert)
{
	struct service_key service = {
		.port = key->dport,
		.dir = f->flags & IS_OUTBOUND ? DIR_OUT : DIR_IN,
	};
	const struct scratch *scratch = only_value(&nt_scratch);
	struct service *found = bpf_map_lookup_elem(&nt_services, &service);

	if (found || !scratch)
		return found;
	if (insert && !bpf_map_update_elem(&nt_services, &service, &scratch->service, BPF_NOEXIST))
		return bpf_map_lookup_elem(&nt_services, &service);
	service.port = 0;
	bpf_map_update_elem(&nt_services, &service, &scratch->service, BPF_NOEXIST);
	return bpf_map_lookup_elem(&nt_services, &service);
}

__noinline int count_established(const struct flow_key *key, const struct flow *f, __u64 handshake_ns)
{
	struct service *service;

	if (!key || !f)
		return 0;
	service = find_service(key, f, true);
	COUNT(established);
	if (!service)
		return 0;
	__sync_fetch_and_add(&service->established, 1);
	__sync_fetch_and_add(&service->handshake_sum_ns, handshake_ns);
	__sync_fetch_and_add(&service->handshake[bounded(bucket_of(handshake_ns), HIST_BUCKETS)], 1);
	return 0;
}

static __always_inline void count_ended(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state,
                                        __u64 duration_ns)
{
	struct service *service = find_service(key, f, f->flags & IS_OUTBOUND);
	__s64 from_orig = exact_bytes(f, facts, true), from_resp = exact_bytes(f, facts, false);

	COUNT(ended[state]);
	if (!service)
		return;
	__sync_fetch_and_add(&service->ended[state], 1);
	__sync_fetch_and_add(&service->duration_sum_ns, duration_ns);
	__sync_fetch_and_add(&service->duration[bounded(bucket_of(duration_ns), HIST_BUCKETS)], 1);
	if (from_orig > 0)
		__sync_fetch_and_add(&service->orig_bytes, from_orig);
	if (from_resp > 0)
		__sync_fetch_and_add(&service->resp_bytes, from_resp);
}

#define put_field(t, name, value)             \
	({                                    \
		put_literal(t, " " name "="); \
		put_number(t, value);         \
	})

/* A size of -1 is one that nobody knows. */
static __always_inline void put_size(struct text *t, __s64 size)
{
	if (size < 0)
		put_literal(t, "-1");
	else
		put_number(t, size);
}

/* Writes the record's line to the trace: docs/fields.md. */
static __always_inline void log_record(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state,
                                       __u64 duration_ns)
{
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 index = f->iface;
	const struct iface *iface = bpf_map_lookup_elem(&nt_ifaces, &index);
	struct text *t;

	if (!scratch)
		return;
	t = &scratch->line;
	t->len = 0;
	put_literal(t, "netracker: ");
	put_endpoint(t, (const struct address *)key->src, key->sport);
	put_literal(t, " -> ");
	put_endpoint(t, (const struct address *)key->dst, key->dport);
	put_field(t, "dur_ns", duration_ns);
	put_literal(t, " state=");
	put_string(t, state_name[state], sizeof(state_name[0]));
	if (f->flags & IS_OUTBOUND)
		put_literal(t, " dir=out");
	else
		put_literal(t, " dir=in");
	put_field(t, "first_fin_ns", f->first_fin_ns ? f->first_fin_ns - f->start_ns : 0);
	put_field(t, "syn_rtt_ns", f->syn_rtt_ns);
	put_field(t, "ack_rtt_ns", f->ack_rtt_ns);
	put_literal(t, " orig_bytes=");
	put_size(t, exact_bytes(f, facts, true));
	put_literal(t, " resp_bytes=");
	put_size(t, exact_bytes(f, facts, false));
	put_field(t, "syn_retrans", f->syn_retrans);
	put_field(t, "start_ns", f->start_ns);
	put_field(t, "ifindex", f->ifindex);
	put_literal(t, " ifname=");
	if (index && iface)
		put_string(t, iface->name, sizeof(iface->name));
	else
		put_char(t, '-');
	if (f->flags & HAS_OWNER) {
		put_field(t, "uid", f->uid);
		put_field(t, "cgroup", f->cgroup);
	}
	if (facts) {
		if (facts->srtt_us)
			put_field(t, "srtt_us", facts->srtt_us);
		if (facts->min_rtt_us != ~0U)
			put_field(t, "min_rtt_us", facts->min_rtt_us);
		put_field(t, "retrans", facts->retrans);
		put_field(t, "orig_segs", facts->of_orig ? facts->segs_out : facts->segs_in);
		put_field(t, "resp_segs", facts->of_orig ? facts->segs_in : facts->segs_out);
		put_field(t, "cwnd", facts->cwnd);
		put_field(t, "mss", facts->mss);
	}
	put_char(t, '\0');
	bpf_printk("%s", t->c);
	COUNT(logged);
}

/*
 * Every connection comes here once, when it has ended and its entry is gone.
 * facts: what this host's own socket said of it; NULL: nothing.
 * state: enum conn_state, as wide as verifier.h wants it.
 * end_ns: time of the packet that ended it; after a time-out, of the last packet that the tracker looked at.
 */
__noinline int report(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state, __u64 end_ns)
{
	const struct config *config;
	__u64 duration_ns;

	if (!key || !f || state >= CONN_STATES)
		return 0;

	forget_range(state);
	config = only_value(&nt_config);
	duration_ns = end_ns - f->start_ns;
	count_ended(key, f, facts, state, duration_ns);
	if (config && !config->quiet)
		log_record(key, f, facts, state, duration_ns);
	return 0;
}

#endif
