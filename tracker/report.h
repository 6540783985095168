/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * report.h - a connection has ended, or its handshake succeeded: counters, figures by service, the line in the trace. For
 * motion.h and rest.h, and for interim.h, which has records of those that live. Nobody else writes records.
 */
#ifndef NETRACKER_REPORT_H
#define NETRACKER_REPORT_H

#include "maps.h"
#include "scratch.h"
#include "text.h"
#include "verifier.h"

/* bpf_trace_printk() takes so many characters of a string: MAX_BPRINTF_BIN_ARGS, include/linux/bpf.h. */
#define TRACE_LEN 511

/* What does not fit a line of the trace is left out by whole fields. */
static __always_inline void note_whole(struct text *t)
{
	if (t->len <= TRACE_LEN)
		t->whole = t->len;
}

#define FIELD_DONE(t) note_whole(t)
#include "record.h"

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
static __always_inline struct service *find_service(const struct scratch *scratch, __u16 port, enum direction dir, bool insert)
{
	struct service_key service = { .port = port, .dir = dir };
	struct service *found = bpf_map_lookup_elem(&nt_services, &service);

	if (found)
		return found;
	if (insert && !bpf_map_update_elem(&nt_services, &service, &scratch->service, BPF_NOEXIST))
		return bpf_map_lookup_elem(&nt_services, &service);
	service.port = 0;
	bpf_map_update_elem(&nt_services, &service, &scratch->service, BPF_NOEXIST);
	return bpf_map_lookup_elem(&nt_services, &service);
}

/* A handshake succeeded. port: the responder's; dir: enum direction. Returns 0. */
__noinline int count_established(__u32 port, __u32 dir, __u64 handshake_ns)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct service *service;

	if (!scratch)
		return 0;
	service = find_service(scratch, port, dir, true);
	COUNT(established);
	if (!service)
		return 0;
	__sync_fetch_and_add(&service->established, 1);
	__sync_fetch_and_add(&service->handshake_sum_ns, handshake_ns);
	__sync_fetch_and_add(&service->handshake[bounded(bucket_of(handshake_ns), HIST_BUCKETS)], 1);
	return 0;
}

/* What the connection's socket has said goes into its service's figures. */
static __always_inline void count_told(struct service *service, const struct flow *f, const struct facts *facts)
{
	__u64 srtt_ns = facts->srtt_us * 1000ULL;
	__u32 held = held_back(f, facts) & HELD_MASK;

	__sync_fetch_and_add(&service->segments_sent, facts->segs_out);
	if (facts->retrans)
		__sync_fetch_and_add(&service->segments_retransmitted, facts->retrans);
	if (held != HELD_UNKNOWN)
		__sync_fetch_and_add(&service->held[held], 1);
	if (!srtt_ns)
		return;
	__sync_fetch_and_add(&service->srtt_sum_ns, srtt_ns);
	__sync_fetch_and_add(&service->srtt[bounded(bucket_of(srtt_ns), HIST_BUCKETS)], 1);
}

static __always_inline void count_ended(const struct scratch *scratch, const struct flow_key *key, const struct flow *f,
                                        const struct facts *facts, __u64 state, __u64 duration_ns)
{
	struct service *service = find_service(scratch, key->dport, dir_of(f), f->flags & (IS_OUTBOUND | ADOPTED));
	__s64 from_orig = exact_bytes(f, facts, true), from_resp = exact_bytes(f, facts, false);

	/* For the verifier (6.1), which has no bound for a copy on the stack made before the comparison; behind `ended` is more. */
	state = bounded(state, 16);
	COUNT(ended[state]);
	if (!service)
		return;
	__sync_fetch_and_add(&service->ended[state], 1);
	/* How long an adopted one was there before nobody knows. */
	if (!(f->flags & ADOPTED)) {
		__sync_fetch_and_add(&service->duration_sum_ns, duration_ns);
		__sync_fetch_and_add(&service->duration[bounded(bucket_of(duration_ns), HIST_BUCKETS)], 1);
	}
	if (from_orig > 0)
		__sync_fetch_and_add(&service->orig_bytes, from_orig);
	if (from_resp > 0)
		__sync_fetch_and_add(&service->resp_bytes, from_resp);
	if (facts->known)
		count_told(service, f, facts);
}

/* The name of the interface that saw the first SYN, or "-" if nobody gave it one. */
static __always_inline const char (*name_of_iface(const struct flow *f))[IFACE_NAME_LEN]
{
	__u32 index = f->iface;
	const struct iface *iface = index ? bpf_map_lookup_elem(&nt_ifaces, &index) : NULL;

	return iface && iface->name[0] ? &iface->name : NO_NAME;
}

/*
 * Writes the record into the log. Its number says whether it is whole: a reader that finds the same number before and after it has
 * copied the record has all of it. The exchanges are for machines that write in another order than the program's.
 * interim: 0, as the connection has ended, or as in a struct record.
 */
static __always_inline void log_record(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state,
                                       __u64 end_ns, __u32 interim)
{
	struct log_head *head = only_value(&nt_log_head);
	struct record *record;
	__u64 n, before;
	__u32 at;

	if (!head)
		return;
	n = __sync_fetch_and_add(&head->written, 1);
	at = n % LOG_RECORDS;
	record = bpf_map_lookup_elem(&nt_log, &at);
	if (!record)
		return;
	if (!interim)
		COUNT(logged);
	before = __sync_lock_test_and_set(&record->seq, 0);
	if (before > n + 1) {
		/* It took so long to come here that the log went round once; readers know that this record is lost. */
		__sync_lock_test_and_set(&record->seq, before);
		return;
	}
	record->end_ns = end_ns;
	record->flow = *f;
	if (facts->known)
		record->facts = *facts;
	else
		record->facts.known = false;
	record->key = *key;
	record->state = state;
	record->interim = interim;
	__builtin_memcpy(record->ifname, *name_of_iface(f), IFACE_NAME_LEN);
	__sync_lock_test_and_set(&record->seq, n + 1);
}

/* Writes the record's line to the trace, as much of it as fits: docs/fields.md. Returns 0. */
__noinline int trace_record(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state, __u64 end_ns)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct shown shown = {
		.key = key,
		.flow = f,
		.facts = facts,
	};
	struct text *t;

	if (!key || !f || !facts || !scratch || state >= CONN_STATES)
		return 0;
	forget_range(state);
	shown.state = state;
	shown.ifname = name_of_iface(f);
	shown.lifetime_ns = end_ns - f->start_ns;
	t = &scratch->line;
	t->len = 0;
	put_literal(t, "netracker: ");
	put_record(t, &shown);
	t->c[t->whole & (TEXT_LEN - 1)] = '\0';
	bpf_printk("%s", t->c);
	return 0;
}

/*
 * May this record be written to the trace? Two CPUs may both be the last of a second's; one of them begins the next, and tells
 * of those that were left out.
 */
static __always_inline bool is_traced(const struct config *config)
{
	__u64 second = bpf_ktime_get_boot_ns() / NSEC_PER_SEC, before, left_out;
	struct trace_window *window;

	if (config->trace != TRACE_AUTO)
		return config->trace != TRACE_OFF;
	window = only_value(&nt_trace);
	if (!window)
		return false;
	before = window->second;
	if (before != second && __sync_val_compare_and_swap(&window->second, before, second) == before) {
		left_out = __sync_lock_test_and_set(&window->left_out, 0);
		if (left_out)
			bpf_printk("netracker: %llu more connections ended in that second, which are in the log alone", left_out);
		__sync_lock_test_and_set(&window->written, 0);
	}
	if (window->written >= TRACE_RATE) {
		__sync_fetch_and_add(&window->left_out, 1);
		return false;
	}
	__sync_fetch_and_add(&window->written, 1);
	return true;
}

/* Counts what has ended, and writes its record into the log. Returns whether it is to be written to the trace, too. */
__noinline bool count_and_log(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state,
                              __u64 end_ns)
{
	struct scratch *scratch = only_value(&nt_scratch);
	const struct config *config;

	if (!key || !f || !facts || !scratch || state >= CONN_STATES)
		return false;

	forget_range(state);
	config = only_value(&nt_config);
	count_ended(scratch, key, f, facts, state, end_ns - f->start_ns);
	if (!config || config->quiet)
		return false;
	log_record(key, f, facts, state, end_ns, 0);
	return is_traced(config);
}

/* As many as there is room for in a struct record. */
#define INTERIM_MOST 0xffffff

/*
 * Writes an interim record of a connection that lives, of which this is a copy: what `netracker list` would say of it. It is
 * neither counted nor traced. interim: as in a struct record. Returns 0.
 */
__noinline int log_interim(const struct slot *copy, __u64 now, __u32 interim)
{
	const struct config *config = only_value(&nt_config);

	if (interim > INTERIM_MOST)
		interim = INTERIM_MOST;
	if (copy && config && !config->quiet)
		log_record(&copy->key, &copy->flow, &copy->facts, live_state(copy->flow.flags), now, interim);
	return 0;
}

/*
 * Every connection comes here once, when it has ended and nobody else has it.
 * facts: what this host's own socket said of it, if known.
 * state: enum conn_state, as wide as verifier.h wants it.
 * end_ns: time of the packet that ended it; after a time-out, of the last packet that the tracker looked at.
 */
static __always_inline void report(const struct flow_key *key, const struct flow *f, const struct facts *facts, __u64 state,
                                   __u64 end_ns)
{
	/* Two CPUs may look at the clock in one order and come to the connection in the other: passed_ns(). */
	if (f && end_ns < f->start_ns)
		end_ns = f->start_ns;
	if (count_and_log(key, f, facts, state, end_ns))
		trace_record(key, f, facts, state, end_ns);
}

#endif
