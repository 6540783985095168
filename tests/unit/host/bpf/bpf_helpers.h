/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bpf_helpers.h - libbpf's header of this name, for the host: it stands before that one on the include path, so that the tracker's
 * sources compile as they are. Maps are small tables here, time stands still until a test moves it, sockets are what a test makes
 * them. host.h, which a test includes and which takes in the tracker, tells these tables of the maps.
 *
 * What the verifier forbids is a fault, and fails the test: to take a lock twice, to leave one held, to call any helper while one
 * is held, not to release a socket.
 *
 * Every helper and every atomic operation is a step, at which another CPU may come in between: host.step, if a test has set it. It
 * comes before what the helper does; so before a lock is taken and behind where it was given back. What a hash has of a key is also
 * a step when it has been looked up, "found": it may be gone by the time that it is read.
 */
#ifndef HOST_BPF_HELPERS_H
#define HOST_BPF_HELPERS_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bpf.h>
#include <linux/types.h>

#include "unit.h"

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define barrier_var(variable) asm volatile("" : "=r"(variable) : "0"(variable))
#define LIBBPF_PIN_BY_NAME 1

#define HOST_CPUS 4
#define HOST_MAPS 24
#define HOST_FRAME 512 /* bytes of the longest frame */

/* An entry of a hash. Its memory is kept until no CPU is at work, as by RCU; with host.reuse it is a new entry's at once. */
struct host_entry {
	struct host_entry *next;
	void *key;
	void *value;
};

/* A map: an array has its values in a row, a set of them for each CPU if it is per CPU; a hash has entries. */
struct host_map {
	const void *map; /* the tracker's variable */
	__u32 type;
	__u32 max_entries; /* a test may lower it */
	__u32 made_for;
	__u32 key_size;
	__u32 value_size;
	__u32 used;
	char *values;
	bool *touched;     /* of an array's values: somebody has looked it up since the last reset */
	__u32 *touched_at; /* those, n_touched of them */
	__u32 n_touched;
	struct host_entry *entries;
	struct host_entry *deleted;
};

/* A socket of this host, for skb->sk and for the look-ups. */
struct host_socket {
	struct bpf_sock sk;
	struct bpf_tcp_sock tcp;
	struct bpf_sock *listener; /* for a request: whose it is */
	__u64 cgroup;
	__u32 uid;
	bool no_tcp;             /* bpf_tcp_sock() finds nothing to tell */
	bool raw;                /* it is one of the kernel's control sockets, which are raw ones */
	struct tcp_sock *kernel; /* as the kernel has it; NULL: not to be had */
	void *closer;            /* a struct process: who has been noted to have closed it */
};

/* The world around the tracker. A test sets what it needs after host_reset(). */
static struct host {
	__u64 now;
	unsigned int cpu;
	const struct bpf_spin_lock *locked;
	void (*step)(const char *what,
	             const void *map); /* called before each helper; what: its name; map: the one it is about, or NULL */
	bool reuse;
	unsigned long at_work; /* CPUs that handle a packet or the clock */

	struct host_socket *sender;   /* skb->sk */
	struct host_socket *receiver; /* what bpf_skc_lookup_tcp() finds */
	struct task_struct *task;     /* who runs */
	const void *skb;              /* the packet at work */
	void *device;                 /* that it is at */
	__u32 ingress_ifindex;        /* that it came in by; 0: it is from this host */
	__u64 jiffies;
	int references;

	bool timer_refuses;
	bool timer_ready;
	unsigned int timer_runs; /* the number of the CPU that the callback runs on, + 1; 0: it does not run */
	void *timer_callback;
	__u64 timer_due; /* 0: not set */
	unsigned long timer_starts;

	bool no_memory; /* for elements of a hash */

	const void *packet; /* all bytes of the packet at work; NULL: they are in place, from skb->data on */

	char line[2048]; /* the last one in the trace */
	unsigned long lines;

	/* These stay when the world is made new. */
	char *frame[HOST_CPUS];
	struct host_map maps[HOST_MAPS];
	unsigned int n_maps;
} host;

/* The tracker has done what the kernel would refuse. */
static inline void host_fault(const char *what, const char *why)
{
	unit_check(false, "%s: %s", what, why);
}

static inline void host_step(const char *what, const void *map)
{
	if (host.locked)
		host_fault(what, "called while a lock is held");
	else if (host.step)
		host.step(what, map);
}

static inline struct host_map *host_map_of(const void *map)
{
	unsigned int i;

	for (i = 0; i < host.n_maps; i++)
		if (host.maps[i].map == map)
			return &host.maps[i];
	fprintf(stderr, "host: a map that nobody has told of\n");
	abort();
}

static inline struct host_entry **host_find(struct host_map *m, const void *key)
{
	struct host_entry **at;

	for (at = &m->entries; *at; at = &(*at)->next)
		if (!memcmp((*at)->key, key, m->key_size))
			break;
	return at;
}

static inline void *host_lookup(struct host_map *m, const void *key)
{
	struct host_entry *entry;
	__u32 index;

	if (m->type == BPF_MAP_TYPE_HASH) {
		entry = *host_find(m, key);
		return entry ? entry->value : NULL;
	}
	memcpy(&index, key, sizeof(index));
	if (index >= m->max_entries)
		return NULL;
	if (m->type == BPF_MAP_TYPE_PERCPU_ARRAY)
		index += host.cpu * m->max_entries;
	if (!m->touched[index]) {
		m->touched[index] = true;
		m->touched_at[m->n_touched++] = index;
	}
	return m->values + (size_t)index * m->value_size;
}

static inline void *bpf_map_lookup_elem(void *map, const void *key)
{
	struct host_map *m = host_map_of(map);
	void *found;

	host_step(__func__, map);
	found = host_lookup(m, key);
	if (m->type == BPF_MAP_TYPE_HASH)
		host_step("found", map);
	return found;
}

static inline long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags)
{
	struct host_map *m = host_map_of(map);
	struct host_entry *entry;
	void *found;

	host_step(__func__, map);
	found = host_lookup(m, key);
	if (found && flags == BPF_NOEXIST)
		return -EEXIST;
	if (found) {
		memcpy(found, value, m->value_size);
		return 0;
	}
	if (m->used >= m->max_entries)
		return -E2BIG;
	if (host.no_memory)
		return -ENOMEM;
	entry = host.reuse ? m->deleted : NULL;
	if (entry) {
		m->deleted = entry->next;
	} else {
		entry = malloc(sizeof(*entry));
		entry->key = malloc(m->key_size);
		entry->value = malloc(m->value_size);
	}
	memcpy(entry->key, key, m->key_size);
	memcpy(entry->value, value, m->value_size);
	entry->next = m->entries;
	m->entries = entry;
	m->used++;
	return 0;
}

static inline long bpf_map_delete_elem(void *map, const void *key)
{
	struct host_map *m = host_map_of(map);
	struct host_entry **at, *entry;

	host_step(__func__, map);
	at = host_find(m, key);
	entry = *at;
	if (!entry)
		return -ENOENT;
	*at = entry->next;
	entry->next = m->deleted;
	m->deleted = entry;
	m->used--;
	return 0;
}

/*
 * The entries are those that were there at the beginning and still are. What nobody has looked up in an array is zero, and stays
 * so.
 */
static inline long bpf_for_each_map_elem(void *map, void *callback, void *context, __u64 flags)
{
	long (*look)(void *, const void *, void *, void *) = callback;
	struct host_map *m = host_map_of(map);
	struct host_entry *entry, *next;
	__u32 i;

	host_step(__func__, map);
	(void)flags;
	if (m->type != BPF_MAP_TYPE_HASH) {
		for (i = 0; i < m->max_entries; i++)
			if (look(map, &i, m->values + (size_t)i * m->value_size, context))
				return i + 1;
		return i;
	}
	for (entry = m->entries, i = 0; entry; entry = next) {
		next = entry->next;
		i++;
		if (look(map, entry->key, entry->value, context))
			break;
	}
	return i;
}

static inline void bpf_spin_lock(struct bpf_spin_lock *lock)
{
	host_step(__func__, NULL);
	host.locked = lock;
}

static inline void bpf_spin_unlock(struct bpf_spin_lock *lock)
{
	if (host.locked != lock)
		host_fault(__func__, "this lock is not held");
	host.locked = NULL;
	host_step(__func__, NULL);
}

static inline __u64 bpf_ktime_get_boot_ns(void)
{
	host_step(__func__, NULL);
	return host.now;
}

static inline long bpf_timer_init(struct bpf_timer *timer, void *map, __u64 flags)
{
	(void)timer, (void)flags;
	host_step(__func__, map);
	if (host.timer_ready)
		return -EBUSY;
	host.timer_ready = true;
	return 0;
}

static inline long bpf_timer_set_callback(struct bpf_timer *timer, void *callback)
{
	(void)timer;
	host_step(__func__, NULL);
	if (host.timer_runs == host.cpu + 1)
		host_fault(__func__, "called from the callback itself");
	host.timer_callback = callback;
	return 0;
}

static inline long bpf_timer_start(struct bpf_timer *timer, __u64 delay_ns, __u64 flags)
{
	(void)timer, (void)flags;
	host_step(__func__, NULL);
	if (host.timer_refuses || !host.timer_callback)
		return -EINVAL;
	host.timer_due = host.now + delay_ns;
	host.timer_starts++;
	return 0;
}

__attribute__((format(printf, 1, 2))) static inline void bpf_printk(const char *format, ...)
{
	va_list values;

	host_step(__func__, NULL);
	va_start(values, format);
	vsnprintf(host.line, sizeof(host.line), format, values);
	va_end(values);
	host.lines++;
}

static inline long bpf_skb_load_bytes(const struct __sk_buff *skb, __u32 off, void *to, __u32 len)
{
	host_step(__func__, NULL);
	if (off > skb->len || len > skb->len - off)
		return -EFAULT;
	memcpy(to, (host.packet ? (const char *)host.packet : (const char *)(unsigned long)skb->data) + off, len);
	return 0;
}

/* The network header is behind an Ethernet header. */
static inline long bpf_skb_load_bytes_relative(const struct __sk_buff *skb, __u32 off, void *to, __u32 len, __u32 start)
{
	return bpf_skb_load_bytes(skb, off + (start == BPF_HDR_START_NET ? 14 : 0), to, len);
}

static inline struct host_socket *host_socket_of(struct bpf_sock *sk)
{
	return (struct host_socket *)((char *)sk - offsetof(struct host_socket, sk));
}

static inline struct bpf_sock *bpf_skc_lookup_tcp(void *skb, struct bpf_sock_tuple *tuple, __u32 size, __u64 netns, __u64 flags)
{
	(void)skb, (void)tuple, (void)size, (void)netns, (void)flags;
	host_step(__func__, NULL);
	if (!host.receiver)
		return NULL;
	host.references++;
	return &host.receiver->sk;
}

static inline long bpf_sk_release(void *sk)
{
	(void)sk;
	host_step(__func__, NULL);
	host.references--;
	return 0;
}

static inline struct bpf_sock *bpf_sk_fullsock(struct bpf_sock *sk)
{
	host_step(__func__, NULL);
	return host_socket_of(sk)->listener ? NULL : sk;
}

static inline struct bpf_tcp_sock *bpf_tcp_sock(struct bpf_sock *sk)
{
	host_step(__func__, NULL);
	return host_socket_of(sk)->no_tcp ? NULL : &host_socket_of(sk)->tcp;
}

static inline struct tcp_sock *bpf_skc_to_tcp_sock(void *sk)
{
	host_step(__func__, NULL);
	return host_socket_of(sk)->kernel;
}

static inline struct task_struct *bpf_get_current_task_btf(void)
{
	host_step(__func__, NULL);
	return host.task;
}

/* A packet's device is the only thing that is read of its own struct, which the host has none of. */
static inline long bpf_probe_read_kernel(void *to, __u32 size, const void *from)
{
	host_step(__func__, NULL);
	memcpy(to, from == host.skb ? &host.device : from, size);
	return 0;
}

static inline __u64 bpf_jiffies64(void)
{
	host_step(__func__, NULL);
	return host.jiffies;
}

/* There has been no suspend: it is the same as the other clock. */
static inline __u64 bpf_ktime_get_ns(void)
{
	host_step(__func__, NULL);
	return host.now;
}

static inline struct bpf_sock *bpf_get_listener_sock(struct bpf_sock *sk)
{
	host_step(__func__, NULL);
	return host_socket_of(sk)->listener;
}

static inline void *bpf_sk_storage_get(void *map, struct bpf_sock *sk, void *value, __u64 flags)
{
	(void)map, (void)value, (void)flags;
	host_step(__func__, NULL);
	return host_socket_of(sk)->closer;
}

static inline __u64 bpf_skb_cgroup_id(struct __sk_buff *skb)
{
	host_step(__func__, NULL);
	return host_socket_of(skb->sk)->cgroup;
}

static inline __u32 bpf_get_socket_uid(struct __sk_buff *skb)
{
	host_step(__func__, NULL);
	return host_socket_of(skb->sk)->uid;
}

/* A macro does not expand within itself: behind the step comes the compiler's own. An atomic operation is allowed under a lock. */
#define host_atomic(operation, ...)                  \
	({                                           \
		if (!host.locked)                    \
			host_step(#operation, NULL); \
		operation(__VA_ARGS__);              \
	})
#define __sync_fetch_and_or(...) host_atomic(__sync_fetch_and_or, __VA_ARGS__)
#define __sync_fetch_and_and(...) host_atomic(__sync_fetch_and_and, __VA_ARGS__)
#define __sync_fetch_and_add(...) host_atomic(__sync_fetch_and_add, __VA_ARGS__)
#define __sync_lock_test_and_set(...) host_atomic(__sync_lock_test_and_set, __VA_ARGS__)
#define __sync_val_compare_and_swap(...) host_atomic(__sync_val_compare_and_swap, __VA_ARGS__)

#endif
