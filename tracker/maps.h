/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * maps.h - what outlives a packet: the maps, which all loads of the tracker share through their pins, and how to read the counters
 * and settings. For every room; each map's comment says who writes it, and nobody else does.
 */
#ifndef NETRACKER_MAPS_H
#define NETRACKER_MAPS_H

#include "../NeTracker.h"

#include <bpf/bpf_helpers.h>

/* Each load has its own: attach writes it before the first packet. All 0 where plain tc has attached. */
volatile struct load this_load;

/*
 * Connections at rest: established, and nobody has begun to close them, or one side has long ago. rest.h alone inserts and deletes,
 * bpftool and the iterators read; an element does not change. Of two that delete it, one has it. Full: the new connection
 * is lost and counted (conn_full), those inside stay right.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CONNECTIONS);
	__type(key, struct conn_key);
	__type(value, struct conn);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} conn_map SEC(".maps");

/*
 * Connections in motion, in sets of eight places chosen by the tuple's hash. A SYN takes a place, and a FIN or RST of a connection
 * at rest; it is free again at the connection's end, or when that goes to rest. Full: the one that is young for longest goes to
 * rest; else the handshake that waits longest is pushed out and counted (syn_evicted), unanswered ones first; if all are closing,
 * the one that is silent for longest is ended at once and counted (close_evicted). An array, not an LRU map, because an LRU evicts
 * unseen, and because a look-up in an array is compiled into the program. With this flag, values begin at a page, and so at a cache
 * line.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SYN_SETS);
	__type(key, __u32);
	__type(value, struct syn_set);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} syn_map SEC(".maps");

/* Their memory; sets.h gives it out. In parts, as Linux 6.1 takes no value of more than 4 MiB. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, POOLS);
	__type(key, __u32);
	__type(value, struct pool);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_pool SEC(".maps");

/*
 * When those in conn_map were last known to be alive. rest.h gives each a place before it gets there and takes it back when it has
 * left; silence.h goes through it bit by bit. Who finds no place stays in conn_map until a packet or detach ends it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NO_REST);
	__type(key, __u32);
	__type(value, struct rest);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_rest SEC(".maps");

/* Its free places; place n is in part n % POOLS. In parts for the same reason as nt_pool. rest.h alone. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, POOLS);
	__type(key, __u32);
	__type(value, struct place_pool);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_places SEC(".maps");

/*
 * Those in conn_map that are watched: 2 MiB, a place for those whose tuples' hashes begin with the same 18 bits. silence.h puts
 * them in and takes them out, one after the other if there are several; a packet that passes the gate notes that it has.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WATCHES);
	__type(key, __u32);
	__type(value, struct watch);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_watch SEC(".maps");

/* How far the clock is with those at rest. silence.h; answer_question() answers what it asks. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct silence);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_silence SEC(".maps");

/*
 * Which tuples are opening or closing, or watched. Guarded by the sets' locks; read without. sets.h writes: who comes opens, who
 * is the last to go shuts.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gate);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_gate SEC(".maps");

/* When the sets of syn_map are due, 64 in a row. Guarded by the sets' locks. note_due() sets, take_expired() moves on. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYN_SETS / DUE_ROW);
	__type(key, __u32);
	__type(value, struct due_row);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_due SEC(".maps");

/*
 * One timer for all time-outs. A timer for each connection would be allocated and freed with it: under load the kernel refused a
 * third of these allocations (6.18, kmalloc_nolock), and one that is made while another CPU deletes the entry is never freed,
 * nor is the program that it holds. clock.h sets it and notes when it goes off; on_clock() clears that.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_clock SEC(".maps");

/*
 * All counters, one struct per CPU. The rooms add to them by COUNT(), each CPU to its own; readers sum over the CPUs. Nothing sets
 * them back.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_counters SEC(".maps");

/*
 * The log: ended connections, the newest LOG_RECORDS of them. report() writes over the oldest; the views log and log.json read,
 * each consumer from its own cursor on.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOG_RECORDS);
	__type(key, __u32);
	__type(value, struct record);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_log SEC(".maps");

/* How many there have been. report() counts. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct log_head);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_log_head SEC(".maps");

/* What has been written to the trace of late. report() alone. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct trace_window);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_trace SEC(".maps");

/*
 * Settings, read wherever a time-out is computed or a record is written. `netracker config` writes them; detach also sets `flush`,
 * which flush() clears when it is done.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_config SEC(".maps");

/* Which connections are tracked. `netracker config` writes them, is_left_out() reads. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rules);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_rules SEC(".maps");

/* Names of the interfaces. Written by attach and detach, read by report() and the iterators. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_IFACES);
	__type(key, __u32);
	__type(value, struct iface);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_ifaces SEC(".maps");

/*
 * Figures by service, which report.h adds up. find_service() inserts: for an inbound connection once it is established, for an
 * outbound one always; so no flood of SYNs can fill it. Full: port 0 of the direction takes the rest. Nothing deletes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SERVICES);
	__type(key, struct service_key);
	__type(value, struct service);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_services SEC(".maps");

/*
 * Who has closed a socket whose connection was not over by then; it goes with the socket. closer.bpf.c writes, where attach has
 * that; process.h reads.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct process);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_closers SEC(".maps");

/* The value of a map with one entry. */
static __always_inline void *only_value(void *map)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(map, &zero);
}

#define COUNT(field)                                                   \
	({                                                             \
		struct counters *counters_ = only_value(&nt_counters); \
		if (counters_)                                         \
			counters_->field++;                            \
	})

#define NSEC_PER_SEC 1000000000ULL

/* Seconds set in nt_config, or the default, in nanoseconds. */
static __always_inline __u64 handshake_timeout_ns(void)
{
	const struct config *config = only_value(&nt_config);
	__u32 set = config ? config->handshake_timeout : 0;

	return (set ? set : HANDSHAKE_TIMEOUT_S) * NSEC_PER_SEC;
}

static __always_inline __u64 close_timeout_ns(void)
{
	const struct config *config = only_value(&nt_config);
	__u32 set = config ? config->close_timeout : 0;

	return (set ? set : CLOSE_TIMEOUT_S) * NSEC_PER_SEC;
}

/* Likewise, in seconds; IDLE_NEVER: however long, silence ends nothing. */
static __always_inline __u32 idle_timeout_s(void)
{
	const struct config *config = only_value(&nt_config);
	__u32 set = config ? config->idle_timeout : 0;

	return set ? set : IDLE_TIMEOUT_S;
}

#endif
