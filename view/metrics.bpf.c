// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * metrics: everything counted, in Prometheus' text format (version 0.0.4). Iterates over nt_plan.
 *
 * The format wants the lines of a metric in one group, so the services have to be gone over once for each metric, the same
 * ones every time. They are in a hash table, which promises neither. Hence nt_plan, an array whose elements mean nothing but
 * their index, the step: metric by metric, the steps go over the services in the order in which readers came to know them, one
 * each; the most that a step prints, a histogram, fits the 32 KiB that it may. The interfaces come behind the services, a step for
 * each kind of line.
 */
#include "consumer.h"
#include "hooks.h"
#include "view.h"

#define NAME_WRONG "\xef\xbf\xbd" /* U+FFFD */
#define NAME_ESCAPED true
#include "name.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

#define NSEC_PER_SEC 1000000000ULL

/* The metrics that services have, in the order of the text. */
enum service_metric {
	OF_ENDED,
	OF_BYTES,
	OF_DURATION,
	OF_HANDSHAKE,
	OF_SENT,
	OF_RETRANSMITTED,
	OF_SRTT,
	OF_HELD,
	SERVICE_METRICS,
};

/* The steps behind those of the services. scripts/lib/view.sh knows their number. */
enum step {
	ON_HOOKS = SERVICE_METRICS * MAX_SERVICES,
	ON_INTERFACES_BY_HAND,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SYN_SETS);
	__type(key, __u32);
	__type(value, struct syn_set);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} syn_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SERVICES);
	__type(key, struct service_key);
	__type(value, struct service);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cursor);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_cursor SEC(".maps");

/* Metrics by their ids in METRICS. */
enum metric {
#define METRIC(id, name, type, label, help) METRIC_##id,
	METRICS(METRIC)
#undef METRIC
	METRIC_NONE,
};

/* The two lines before those of a metric. */
static __always_inline void print_head(struct seq_file *seq, enum metric metric)
{
#define METRIC(id, name, type, label, help) \
	if (metric == METRIC_##id)          \
		BPF_SEQ_PRINTF(seq, "# HELP netracker_" name " " help "\n# TYPE netracker_" name " " type "\n");
	METRICS(METRIC)
#undef METRIC
}

/* One that is no counter of the tracker's. */
static __always_inline void print_gauge(struct seq_file *seq, enum metric metric, __u64 value)
{
	print_head(seq, metric);
#define METRIC(id, name, type, label, help) \
	if (metric == METRIC_##id)          \
		BPF_SEQ_PRINTF(seq, "netracker_" name " %llu\n", value);
	METRICS(METRIC)
#undef METRIC
}

/* The counters that this metric shows, if there are any. name: its own; label: what tells them apart, "" if there is only one. */
static __always_inline void print_counters(struct seq_file *seq, enum metric metric, const char *name, const char *label_name,
                                           const struct counters *sum)
{
	bool has_head = false;

#define NO_METRIC(...)
#define COUNTER(counter, stats, of, label, line)                                                            \
	if (metric == METRIC_##of) {                                                                        \
		if (!has_head)                                                                              \
			print_head(seq, metric);                                                            \
		has_head = true;                                                                            \
		if (label_name[0])                                                                          \
			BPF_SEQ_PRINTF(seq, "%s{%s=\"" label "\"} %llu\n", name, label_name, sum->counter); \
		else                                                                                        \
			BPF_SEQ_PRINTF(seq, "%s %llu\n", name, sum->counter);                               \
	}
	COUNTERS(COUNTER, NO_METRIC)
#undef COUNTER
#undef NO_METRIC
}

/* ------------------------------------------------------------------------------------------------ of the whole host */

#define MAX_CPUS 8192

static long add_cpu(__u32 cpu, struct counters *sum)
{
	__u32 zero = 0, i;
	const __u64 *counter = bpf_map_lookup_percpu_elem(&nt_counters, &zero, cpu);

	if (!counter)
		return 1; /* there are no more */
	for (i = 0; i < sizeof(*sum) / sizeof(__u64); i++)
		((__u64 *)sum)[i] += counter[i];
	return 0;
}

/* Adds the connections that are being opened in a set. */
static long add_handshakes(struct bpf_map *map, const __u32 *key, const struct syn_set *set, __u64 *sum)
{
	__u32 quarter = *key / (SYN_SETS / POOLS), i;
	const struct pool *pool = bpf_map_lookup_elem(&nt_pool, &quarter);

	for (i = 0; pool && i < SYN_WAYS; i++)
		if (set->tag[i] && !(pool->slot[set->at[i] & (POOL_SLOTS - 1)].flow.flags & ESTABLISHED))
			++*sum;
	return 0;
}

/*
 * Established connections, by the law of conservation in NeTracker.h: to count a million entries would keep this CPU from other
 * work for a tenth of a second. While packets arrive, the counters of different CPUs are of slightly different times.
 */
static __always_inline __u64 live_connections(const struct counters *sum, __u64 handshakes)
{
	__s64 live = sum->attempts + sum->adopted - sum->syn_evicted - sum->syn_disbelieved - sum->conn_full - handshakes, negative;
	int state;

	for (state = 0; state < CONN_STATES; state++)
		live -= sum->ended[state];

	/* Not "live > 0 ? live : 0": for a branch the verifier tracks the sums exactly and goes round the loops for ever. */
	negative = live >> 63;
	barrier_var(negative);
	return live & ~negative;
}

/* Not inline, as print_interfaces() is not: one stack has no room for what both have on it. */
static __noinline int print_host(struct seq_file *seq)
{
	struct counters sum = {};
	__u64 handshakes = 0;
	__u32 zero = 0;

	bpf_loop(MAX_CPUS, add_cpu, &sum, 0);
	bpf_for_each_map_elem(&syn_map, add_handshakes, &handshakes, 0);

	print_head(seq, METRIC_BUILD);
	BPF_SEQ_PRINTF(seq, "netracker_build_info{version=\"%s\"} 1\n", VERSION);
	print_gauge(seq, METRIC_LIVE, live_connections(&sum, handshakes));
	print_gauge(seq, METRIC_LIVE_LIMIT, MAX_CONNECTIONS);
	print_gauge(seq, METRIC_OPENING, handshakes);
	print_gauge(seq, METRIC_OPENING_LIMIT, SYN_SETS * SYN_WAYS);
#define METRIC(id, name, type, label, help) print_counters(seq, METRIC_##id, "netracker_" name, label, &sum);
	METRICS(METRIC)
#undef METRIC
	print_gauge(seq, METRIC_LOG_LOST, standing_of(bpf_map_lookup_elem(&nt_cursor, &zero)).lost);
	return 0;
}

/* ---------------------------------------------------------------------------------------------------- of a service */

/* The labels that every line of a service has. */
struct labels {
	const char *dir;
	char port[8]; /* "other" for the services that found no place in nt_services */
};

static __always_inline void print_ended(struct seq_file *seq, const struct labels *labels, const struct service *service)
{
	int state;

	for (state = 0; state < CONN_STATES; state++)
		BPF_SEQ_PRINTF(seq, "netracker_connections_ended_total{dir=\"%s\",port=\"%s\",state=\"%s\"} %llu\n", labels->dir,
		               labels->port, state_name[state], service->ended[state]);
}

static __always_inline void print_bytes_total(struct seq_file *seq, const struct labels *labels, const struct service *service)
{
	BPF_SEQ_PRINTF(seq,
	               "netracker_bytes_total{dir=\"%s\",port=\"%s\",to=\"originator\"} %llu\n"
	               "netracker_bytes_total{dir=\"%s\",port=\"%s\",to=\"responder\"} %llu\n",
	               labels->dir, labels->port, service->resp_bytes, labels->dir, labels->port, service->orig_bytes);
}

/* name is pasted into the format. */
#define PRINT_COUNTER(seq, name, labels, value) \
	BPF_SEQ_PRINTF(seq, "netracker_" name "{dir=\"%s\",port=\"%s\"} %llu\n", (labels)->dir, (labels)->port, value)

/* Those of which nobody knows what held them back are left out. */
static __always_inline void print_held(struct seq_file *seq, const struct labels *labels, const struct service *service)
{
	int by;

	for (by = HELD_UNKNOWN + 1; by < HELD_REASONS; by++)
		BPF_SEQ_PRINTF(seq, "netracker_connections_held_total{dir=\"%s\",port=\"%s\",by=\"%s\"} %llu\n", labels->dir,
		               labels->port, held_name[by], service->held[by]);
}

/* name is pasted into the formats, so this cannot be a function. Prometheus' buckets are cumulative, the tracker's are not. */
#define PRINT_HISTOGRAM(seq, name, labels, buckets, sum_ns)                                                                        \
	do {                                                                                                                       \
		__u64 count = 0, ns = sum_ns;                                                                                      \
		int i;                                                                                                             \
                                                                                                                                   \
		for (i = 0; i < HIST_BUCKETS - 1; i++) {                                                                           \
			__u64 le = 1ULL << (HIST_SHIFT + i);                                                                       \
                                                                                                                                   \
			count += (buckets)[i];                                                                                     \
			BPF_SEQ_PRINTF(seq, "netracker_" name "_bucket{dir=\"%s\",port=\"%s\",le=\"%llu.%09llu\"} %llu\n",         \
			               (labels)->dir, (labels)->port, le / NSEC_PER_SEC, le % NSEC_PER_SEC, count);                \
		}                                                                                                                  \
		count += (buckets)[HIST_BUCKETS - 1];                                                                              \
		BPF_SEQ_PRINTF(seq, "netracker_" name "_bucket{dir=\"%s\",port=\"%s\",le=\"+Inf\"} %llu\n", (labels)->dir,         \
		               (labels)->port, count);                                                                             \
		BPF_SEQ_PRINTF(seq,                                                                                                \
		               "netracker_" name "_sum{dir=\"%s\",port=\"%s\"} %llu.%09llu\n"                                      \
		               "netracker_" name "_count{dir=\"%s\",port=\"%s\"} %llu\n",                                          \
		               (labels)->dir, (labels)->port, ns / NSEC_PER_SEC, ns % NSEC_PER_SEC, (labels)->dir, (labels)->port, \
		               count);                                                                                             \
	} while (0)

static __always_inline void print_service_head(struct seq_file *seq, enum service_metric metric)
{
	switch (metric) {
	case OF_ENDED:
		print_head(seq, METRIC_ENDED);
		break;
	case OF_BYTES:
		print_head(seq, METRIC_BYTES);
		break;
	case OF_DURATION:
		print_head(seq, METRIC_DURATION);
		break;
	case OF_HANDSHAKE:
		print_head(seq, METRIC_HANDSHAKE);
		break;
	case OF_SENT:
		print_head(seq, METRIC_SENT);
		break;
	case OF_RETRANSMITTED:
		print_head(seq, METRIC_RETRANSMITTED);
		break;
	case OF_SRTT:
		print_head(seq, METRIC_SRTT);
		break;
	default:
		print_head(seq, METRIC_HELD);
	}
}

static __always_inline void print_service(struct seq_file *seq, enum service_metric metric, const struct service_key *key,
                                          const struct service *service)
{
	struct labels labels = { .dir = dir_name[key->dir % DIRECTIONS], .port = "other" };

	if (key->port)
		BPF_SNPRINTF(labels.port, sizeof(labels.port), "%u", key->port);

	switch (metric) {
	case OF_ENDED:
		print_ended(seq, &labels, service);
		break;
	case OF_BYTES:
		print_bytes_total(seq, &labels, service);
		break;
	case OF_DURATION:
		PRINT_HISTOGRAM(seq, "connection_duration_seconds", &labels, service->duration, service->duration_sum_ns);
		break;
	case OF_HANDSHAKE:
		PRINT_HISTOGRAM(seq, "handshake_seconds", &labels, service->handshake, service->handshake_sum_ns);
		break;
	case OF_SENT:
		PRINT_COUNTER(seq, "segments_sent_total", &labels, service->segments_sent);
		break;
	case OF_RETRANSMITTED:
		PRINT_COUNTER(seq, "segments_retransmitted_total", &labels, service->segments_retransmitted);
		break;
	case OF_SRTT:
		PRINT_HISTOGRAM(seq, "srtt_seconds", &labels, service->srtt, service->srtt_sum_ns);
		break;
	default:
		print_held(seq, &labels, service);
	}
}

/* -------------------------------------------------------------------------------------------------- of an interface */

/*
 * As many as attach can take on are printed of those that were attached by hand: no step may print more than 32 KiB. The
 * view hooks has all of them.
 */
#define MAX_BY_HAND MAX_IFACES

/* What print_interfaces() knows; walk comes first, so that found() has the rest. */
struct interfaces {
	struct walk walk;
	struct seq_file *seq;
	struct net_device *by_hand; /* the last that was */
	__u64 by_hand_left;         /* so many more may be printed */
	__u64 entry;                /* index into nt_ifaces of walk.dev; 0: attach knows nothing of it */
	__u32 ifindex;              /* of walk.dev */
	__u32 step;                 /* what to print */
	__u32 hooked[HOOKS][MAX_IFACES / 32];
};

static __always_inline void print_info(struct seq_file *seq, const char device[IFACE_NAME_LEN], __u64 netns)
{
	BPF_SEQ_PRINTF(seq, "netracker_interface_info{device=\"%s\",netns=\"%llu\"} 1\n", shown_name(device), netns);
}

static long find_entry(struct bpf_map *map, const __u32 *key, const struct iface *iface, struct interfaces *all)
{
	if (iface->ifindex != all->ifindex || iface->netns != all->walk.netns)
		return 0;
	all->entry = *key;
	return 1;
}

static __always_inline void found(struct walk *walk)
{
	struct interfaces *all = (void *)walk;
	struct net_device *dev = walk->dev;
	char name[IFACE_NAME_LEN] = {};

	all->ifindex = BPF_CORE_READ(dev, ifindex);
	all->entry = UNTOLD(0);
	bpf_for_each_map_elem(&nt_ifaces, find_entry, all, 0);
	if (all->entry) {
		all->hooked[walk->hook % HOOKS][all->entry / 32 % (MAX_IFACES / 32)] |= 1U << all->entry % 32;
	} else if (all->step == ON_INTERFACES_BY_HAND && all->by_hand != dev && all->by_hand_left) {
		all->by_hand = dev;
		all->by_hand_left--;
		bpf_probe_read_kernel_str(name, sizeof(name), MEMBER(dev, name));
		print_info(all->seq, name, walk->netns);
	}
}

/* At how many hooks. */
static __always_inline __u32 hooks_of_entry(const struct interfaces *all, __u32 entry)
{
	__u32 word = entry / 32 % (MAX_IFACES / 32), bit = entry % 32;

	return (all->hooked[INGRESS][word] >> bit & 1) + (all->hooked[EGRESS][word] >> bit & 1);
}

static long print_entry(struct bpf_map *map, const __u32 *key, const struct iface *iface, struct interfaces *all)
{
	__u32 hooks = hooks_of_entry(all, *key);

	if (!iface->ifindex)
		return 0;
	if (all->step != ON_HOOKS) {
		if (hooks)
			print_info(all->seq, iface->name, iface->netns);
	} else if (hooks || has_namespace(&all->walk, iface->netns)) {
		BPF_SEQ_PRINTF(all->seq, "netracker_interface_hooks{device=\"%s\",netns=\"%llu\"} %u\n", shown_name(iface->name),
		               iface->netns, hooks);
	}
	return 0;
}

static __always_inline void print_interfaces_head(struct seq_file *seq, __u32 step)
{
	if (step == ON_INTERFACES_BY_HAND)
		print_head(seq, METRIC_INTERFACE);
	else if (can_walk())
		print_head(seq, METRIC_HOOKS);
}

/*
 * What attach has noted in nt_ifaces may be gone since, and what was attached by hand is not there: so the kernel is asked. If it
 * cannot be, what is noted has to be believed, and nothing is said of hooks.
 */
static __noinline int print_interfaces(struct seq_file *seq, __u32 step)
{
	struct interfaces all = { .seq = seq, .step = step, .by_hand_left = UNTOLD(MAX_BY_HAND) };
	bool asked = can_walk() && walk_hooks(&all.walk, ((struct bpf_map *)&nt_ifaces)->id);

	if (step == ON_INTERFACES_BY_HAND || (step == ON_HOOKS && !asked))
		return 0;
	if (!asked)
		__builtin_memset(all.hooked, 0xff, sizeof(all.hooked));
	bpf_for_each_map_elem(&nt_ifaces, print_entry, &all, 0);
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------ steps */

/*
 * The services that are known, as direction << 16 | port, plus 1; 0: about to be written. Services stay, so the list only grows,
 * and several readers may share it: a service that one of them adds is found by the others in their later metrics.
 */
static __u32 listed[MAX_SERVICES], n_listed;

/* A bit for each port: is its service listed? */
static __u32 is_listed[DIRECTIONS][65536 / 32];

static long list_service(struct bpf_map *map, const struct service_key *key, const void *value, void *ctx)
{
	__u32 bit = 1U << key->port % 32, at;

	if (__sync_fetch_and_or(&is_listed[key->dir % DIRECTIONS][key->port / 32], bit) & bit)
		return 0;
	at = __sync_fetch_and_add(&n_listed, 1);
	if (at < MAX_SERVICES)
		listed[at] = (key->dir << 16 | key->port) + 1;
	return 0;
}

SEC("iter/bpf_map_elem")
int metrics(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	const __u32 *plan = ctx->key;
	const struct service *service;
	struct service_key key;
	__u32 metric, at;

	if (!plan) {
		print_interfaces(seq, 0);
		return 0;
	}
	if (*plan >= ON_HOOKS) {
		print_interfaces_head(seq, *plan);
		print_interfaces(seq, *plan);
		return 0;
	}
	metric = *plan / MAX_SERVICES;
	at = *plan % MAX_SERVICES;
	if (*plan == 0) {
		bpf_for_each_map_elem(&nt_services, list_service, NULL, 0);
		print_host(seq);
	}
	if (at == 0)
		print_service_head(seq, metric);
	if (!listed[at])
		return 0;
	key.port = listed[at] - 1;
	key.dir = (listed[at] - 1) >> 16;
	service = bpf_map_lookup_elem(&nt_services, &key);
	if (service)
		print_service(seq, metric, &key, service);
	return 0;
}
