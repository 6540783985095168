// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Stands in for the tracker where tests look at the command and not at the tracker: the same maps, sections and program names, but
 * loaded in milliseconds. VERSION makes another program of it, OTHER_LAYOUT other records of the same size, OTHER_SIZE of another.
 * OLDER: fewer maps, and of two records less.
 */
#include "NeTracker.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef VERSION
#define VERSION 1
#endif

#ifdef OTHER_LAYOUT
struct config_of_old {
	__u32 close_timeout, handshake_timeout, quiet, trace, flush;
};
#define config config_of_old
#endif

#ifdef OLDER
struct config_of_old {
	__u32 handshake_timeout, close_timeout, quiet, trace, flush;
};
struct iface_of_old {
	char name[IFACE_NAME_LEN];
	__u32 ifindex, owns_qdisc;
	__u64 netns, attached_ns;
};
#define config config_of_old
#define iface iface_of_old
#endif

#ifdef OTHER_SIZE
#define conn slot
#endif

#define FLAGGED(name, kind, flags, count, key_type, value_type) \
	struct {                                                \
		__uint(type, kind);                             \
		__uint(map_flags, flags);                       \
		__uint(max_entries, count);                     \
		__type(key, key_type);                          \
		__type(value, value_type);                      \
		__uint(pinning, LIBBPF_PIN_BY_NAME);            \
	} name SEC(".maps")

#define PINNED(name, kind, count, key_type, value_type) FLAGGED(name, kind, 0, count, key_type, value_type)

PINNED(conn_map, BPF_MAP_TYPE_HASH, 1024, struct conn_key, struct conn);
FLAGGED(syn_map, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, SYN_SETS, __u32, struct syn_set);
FLAGGED(nt_pool, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, POOLS, __u32, struct pool);
#ifndef OLDER
PINNED(nt_rest, BPF_MAP_TYPE_ARRAY, 64, __u32, struct rest);
PINNED(nt_places, BPF_MAP_TYPE_ARRAY, POOLS, __u32, struct place_pool);
PINNED(nt_watch, BPF_MAP_TYPE_ARRAY, 64, __u32, struct watch);
PINNED(nt_silence, BPF_MAP_TYPE_ARRAY, 1, __u32, struct silence);
#endif
PINNED(nt_config, BPF_MAP_TYPE_ARRAY, 1, __u32, struct config);
#ifndef OLDER
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct process);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_closers SEC(".maps");
PINNED(nt_rules, BPF_MAP_TYPE_ARRAY, 1, __u32, struct rules);
#endif
PINNED(nt_counters, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct counters);
PINNED(nt_ifaces, BPF_MAP_TYPE_ARRAY, MAX_IFACES, __u32, struct iface);
PINNED(nt_services, BPF_MAP_TYPE_HASH, MAX_SERVICES, struct service_key, struct service);
PINNED(nt_log, BPF_MAP_TYPE_ARRAY, LOG_RECORDS, __u32, struct record);
PINNED(nt_log_head, BPF_MAP_TYPE_ARRAY, 1, __u32, struct log_head);

char LICENSE[] SEC("license") = "Dual BSD/GPL";

volatile struct load this_load;

static __always_inline int stand_in(struct __sk_buff *skb)
{
	struct service_key service = { .port = this_load.iface_id + this_load.scope_id };
	struct conn_key key = { .sport = VERSION };
	struct bpf_sock *sk __attribute__((unused));
	__u32 zero = 0;
	struct config *config = bpf_map_lookup_elem(&nt_config, &zero);

	bpf_map_lookup_elem(&conn_map, &key);
	bpf_map_lookup_elem(&syn_map, &zero);
	bpf_map_lookup_elem(&nt_pool, &zero);
#ifndef OLDER
	bpf_map_lookup_elem(&nt_rest, &zero);
	bpf_map_lookup_elem(&nt_places, &zero);
	bpf_map_lookup_elem(&nt_watch, &zero);
	bpf_map_lookup_elem(&nt_silence, &zero);
	bpf_map_lookup_elem(&nt_rules, &zero);
	if (skb->sk && (sk = bpf_sk_fullsock(skb->sk)))
		bpf_sk_storage_get(&nt_closers, sk, NULL, 0);
#endif
	bpf_map_lookup_elem(&nt_counters, &zero);
	bpf_map_lookup_elem(&nt_ifaces, &zero);
	bpf_map_lookup_elem(&nt_services, &service);
	bpf_map_lookup_elem(&nt_log, &zero);
	bpf_map_lookup_elem(&nt_log_head, &zero);
	if (config && skb->protocol == bpf_htons(0x88b5))
		config->flush = 0;
	return 0;
}

SEC("tc_ing")
int netracker_ingress(struct __sk_buff *skb)
{
	return stand_in(skb);
}

SEC("tc_en")
int netracker_egress(struct __sk_buff *skb)
{
	return stand_in(skb);
}

/* Somebody else's. */
SEC("foreign")
int somebody_else(struct __sk_buff *skb)
{
	return skb->mark;
}
