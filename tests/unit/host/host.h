/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * host.h - the whole tracker, compiled for the host, and what tests do to it: host_reset() makes the world new, receive() gives the
 * tracker a packet at one of its two hooks, run_clock() lets its timer go off. See bpf/bpf_helpers.h for the world.
 */
#ifndef HOST_H
#define HOST_H

#include "unit.h"

#include <sys/mman.h>

/* So few that all of them are made anew in no time. */
#define LOG_RECORDS 64

#include "../../../NeTracker.bpf.c"

#define HOST_MS 1000000ULL
#define HOST_S 1000000000ULL

#define host_add_map(variable)                                                                                       \
	host_add(&(variable), sizeof(*(variable).type) / sizeof(int), sizeof(*(variable).max_entries) / sizeof(int), \
	         sizeof(*(variable).key), sizeof(*(variable).value))

/* How many values an array has in a row. */
static inline size_t host_values(const struct host_map *m)
{
	return m->type == BPF_MAP_TYPE_HASH ? 0 : (size_t)m->max_entries * (m->type == BPF_MAP_TYPE_PERCPU_ARRAY ? HOST_CPUS : 1);
}

static inline void host_add(const void *map, __u32 type, __u32 max_entries, __u32 key_size, __u32 value_size)
{
	struct host_map *m = &host.maps[host.n_maps++];

	m->map = map;
	m->type = type;
	m->max_entries = m->made_for = max_entries;
	m->key_size = key_size;
	m->value_size = value_size;
	m->values = calloc(host_values(m), value_size);
	m->touched = calloc(host_values(m), sizeof(bool));
	m->touched_at = calloc(host_values(m), sizeof(__u32));
}

static inline void host_free_entries(struct host_entry **list)
{
	struct host_entry *entry;

	while ((entry = *list)) {
		*list = entry->next;
		free(entry->key);
		free(entry->value);
		free(entry);
	}
}

/*
 * The frames are where 32 bits reach, as in skb->data, each right before a page that nobody may touch. Returns false if this
 * machine has no place for them.
 */
static inline bool host_make_frames(void)
{
	unsigned int cpu;

	for (cpu = 0; cpu < HOST_CPUS; cpu++) {
		char *at = mmap((void *)(0x10000000UL + cpu * 0x100000UL), 0x20000, PROT_READ | PROT_WRITE,
		                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at == MAP_FAILED || (unsigned long)at + 0x20000 > ~0U || mprotect(at + 0x10000, 0x10000, PROT_NONE))
			return false;
		host.frame[cpu] = at + 0x10000 - HOST_FRAME;
	}
	return true;
}

static inline void host_add_maps(void)
{
	host_add_map(conn_map);
	host_add_map(syn_map);
	host_add_map(nt_pool);
	host_add_map(nt_gate);
	host_add_map(nt_due);
	host_add_map(nt_clock);
	host_add_map(nt_counters);
	host_add_map(nt_log);
	host_add_map(nt_log_head);
	host_add_map(nt_trace);
	host_add_map(nt_config);
	host_add_map(nt_rules);
	host_add_map(nt_ifaces);
	host_add_map(nt_services);
	host_add_map(nt_scratch);
	host_add_map(nt_rest);
	host_add_map(nt_places);
	host_add_map(nt_watch);
	host_add_map(nt_silence);
}

/* A pool has megabytes of slots, of which few were used. */
static inline void host_clear_pools(struct host_map *m)
{
	struct pool *pool = (void *)m->values;
	int i;

	for (i = 0; i < POOLS; i++, pool++) {
		memset(pool->slot, 0, pool->fresh * sizeof(pool->slot[0]));
		memset(pool, 0, offsetof(struct pool, free_slot));
	}
}

/* What was in the map is gone; it is as large as the tracker makes it. */
static inline void host_clear(struct host_map *m)
{
	__u32 i;

	if (m->map == &nt_pool) {
		host_clear_pools(m);
		return;
	}
	host_free_entries(&m->entries);
	host_free_entries(&m->deleted);
	m->used = 0;
	for (i = 0; i < m->n_touched; i++) {
		memset(m->values + (size_t)m->touched_at[i] * m->value_size, 0, m->value_size);
		m->touched[m->touched_at[i]] = false;
	}
	m->n_touched = 0;
}

/* The world is new: the maps are empty, it is an hour after boot, there are no sockets and no other CPUs. */
static inline void host_reset(void)
{
	unsigned int i;

	if (!host.n_maps) {
		host_add_maps();
		if (!host_make_frames()) {
			fprintf(stderr, "host: no memory below 4 GiB for frames\n");
			exit(EXIT_FAILURE);
		}
	}
	for (i = 0; i < host.n_maps; i++) {
		host_clear(&host.maps[i]);
		host.maps[i].max_entries = host.maps[i].made_for;
	}
	memset(&host, 0, offsetof(struct host, frame));
	this_load.iface_id = this_load.scope_id = this_load.tick_us = 0;
	host.now = 3600 * HOST_S;
	host.jiffies = (1ULL << 32) + 250 * 3300;
}

/* A CPU begins to work. Ends with host_leave(). */
static inline void host_enter(void)
{
	host.at_work++;
}

/* It has done its work: no lock and no socket is held, and when all have, what was deleted is freed. */
static inline void host_leave(void)
{
	unsigned int i;

	if (host.locked)
		host_fault("the program", "ended with a lock held");
	host.locked = NULL;
	if (--host.at_work)
		return;
	if (host.references)
		host_fault("the program", "ended with a socket held");
	host.references = 0;
	for (i = 0; i < host.n_maps; i++)
		if (!host.reuse)
			host_free_entries(&host.maps[i].deleted);
}

/* A TCP segment on the wire. */
struct packet {
	struct flow_key key; /* sender first */
	__u8 flags;
	__u32 seq;
	__u32 ack;
	__u32 len;
	enum direction dir; /* the hook that sees it */
	__u32 ifindex;      /* 0: 2 */
};

/* Gives the tracker the packet now, on this CPU. */
static inline void receive(const struct packet *p)
{
	bool ipv4 = is_ipv4(p->key.src);
	__u32 header = ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 tcp_len = sizeof(struct tcphdr) + p->len, len = ETH_HLEN + header + sizeof(struct tcphdr);
	char *frame = host.frame[host.cpu] + HOST_FRAME - len;
	struct __sk_buff skb = {
		.len = ETH_HLEN + header + tcp_len,
		.data = (unsigned long)frame,
		.data_end = (unsigned long)frame + len,
		.protocol = bpf_htons(ipv4 ? ETH_P_IP : ETH_P_IPV6),
		.ifindex = p->ifindex ? p->ifindex : 2,
		.ingress_ifindex = host.ingress_ifindex,
		.sk = host.sender && p->dir == DIR_OUT ? &host.sender->sk : NULL,
	};
	struct tcphdr tcp = {
		.source = bpf_htons(p->key.sport),
		.dest = bpf_htons(p->key.dport),
		.seq = bpf_htonl(p->seq),
		.ack_seq = bpf_htonl(p->ack),
		.doff = 5,
	};

	if (host.sender && !host.sender->raw)
		host.sender->sk.type = STREAM_SOCKET;
	host.skb = &skb;
	memset(frame, 2, ETH_HLEN);
	memcpy(frame + ETH_TYPE_OFF, &(__be16){ skb.protocol }, 2);
	if (ipv4) {
		struct iphdr ip = { .version = 4, .ihl = 5, .protocol = IPPROTO_TCP, .tot_len = bpf_htons(header + tcp_len) };

		memcpy(&ip.saddr, p->key.src + 12, 4);
		memcpy(&ip.daddr, p->key.dst + 12, 4);
		memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	} else {
		struct ipv6hdr ip = { .version = 6, .nexthdr = IPPROTO_TCP, .payload_len = bpf_htons(tcp_len) };

		memcpy(&ip.saddr, p->key.src, 16);
		memcpy(&ip.daddr, p->key.dst, 16);
		memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	}
	memcpy(frame + len - sizeof(tcp), &tcp, sizeof(tcp));
	frame[len - sizeof(tcp) + TCP_FLAGS_BYTE] = p->flags;
	host_enter();
	CHECK_EQUAL(p->dir == DIR_OUT ? netracker_egress(&skb) : netracker_ingress(&skb), TC_ACT_OK);
	host_leave();
}

/* The timer goes off if it is due: once, as it does not run beside itself. Returns whether it did. */
static inline bool run_clock(void)
{
	__u32 zero = 0;

	if (!host.timer_due || host.timer_due > host.now || host.timer_runs)
		return false;
	host.timer_due = 0;
	host.timer_runs = host.cpu + 1;
	host_enter();
	on_clock(&nt_clock, &zero, host_lookup(host_map_of(&nt_clock), &zero));
	host_leave();
	host.timer_runs = 0;
	return true;
}

/* Time goes on; the clock goes off whenever it is due. */
static inline void pass(__u64 ns)
{
	__u64 end = host.now + ns;

	while (host.timer_due && host.timer_due <= end) {
		if (host.timer_due > host.now)
			host.now = host.timer_due;
		run_clock();
	}
	/* It may be later, if other CPUs have had something to do meanwhile. */
	if (host.now < end)
		host.now = end;
}

/* What `netracker detach` asks for, again and again until nothing is left, but not for ever: another CPU may be at work. */
static inline void flush_all(void)
{
	__u32 zero = 0, runs;
	struct config *config = host_lookup(host_map_of(&nt_config), &zero);

	config->flush = 1;
	for (runs = 0; config->flush && runs < 64; runs++) {
		host_enter();
		flush();
		host_leave();
	}
}

/*
 * What is in the maps
 */

#define host_only(type, map) ((type *)host_lookup(host_map_of(&(map)), &(__u32){ 0 }))

static inline struct config *settings(void)
{
	return host_only(struct config, nt_config);
}

/* This CPU's memory for what is too large for the stack. */
static inline struct scratch *scratch_here(void)
{
	return host_only(struct scratch, nt_scratch);
}

/* One of struct counters, over all CPUs. */
#define counted(field)                                                                         \
	({                                                                                     \
		const struct counters *all_ = (const void *)host_map_of(&nt_counters)->values; \
		__u64 sum_ = 0;                                                                \
		int cpu_;                                                                      \
                                                                                               \
		for (cpu_ = 0; cpu_ < HOST_CPUS; cpu_++)                                       \
			sum_ += all_[cpu_].field;                                              \
		sum_;                                                                          \
	})

static inline __u64 counted_ends(void)
{
	__u64 sum = 0;
	int state;

	for (state = 0; state < CONN_STATES; state++)
		sum += counted(ended[state]);
	return sum;
}

static inline struct syn_set *set_at(__u32 index)
{
	return host_lookup(host_map_of(&syn_map), &index);
}

static inline struct syn_set *set_for(const struct flow_key *key)
{
	return set_at(set_index(hash_key(key)));
}

static inline struct pool *pool_of(__u32 index)
{
	return host_lookup(host_map_of(&nt_pool), &(__u32){ index / (SYN_SETS / POOLS) });
}

/* When the clock has to look at the set. */
static inline __u64 due_of(__u32 index)
{
	struct due_row *row = host_lookup(host_map_of(&nt_due), &(__u32){ index / DUE_ROW });

	return row->due_ns[index % DUE_ROW];
}

static inline __u16 gate_at(__u32 index)
{
	return host_only(struct gate, nt_gate)->open[index];
}

/* What is in place i of the set with this index; NULL: nothing. */
static inline struct slot *slot_in(__u32 index, __u32 i)
{
	const struct syn_set *set = set_at(index);

	return set->tag[i] ? &pool_of(index)->slot[set->at[i]] : NULL;
}

/* The attempt, or the established connection, in motion whose originator is key's source, or NULL. */
static inline struct slot *moving_of(const struct flow_key *key, bool established)
{
	__u32 i, index = set_index(hash_key(key));

	for (i = 0; i < SYN_WAYS; i++) {
		struct slot *slot = slot_in(index, i);

		if (slot && same_key(&slot->key, key) && !(slot->flow.flags & ESTABLISHED) == !established)
			return slot;
	}
	return NULL;
}

static inline struct slot *attempt_of(const struct flow_key *key)
{
	return moving_of(key, false);
}

/* The connection at rest whose originator is key's source, or NULL; the n-th of those that have this tuple. */
static inline struct conn *twin_of(const struct flow_key *key, __u32 n)
{
	struct conn_key twin = { .twin = n };

	*tuple_of(&twin) = *key;
	return host_lookup(host_map_of(&conn_map), &twin);
}

static inline struct conn *resting_of(const struct flow_key *key)
{
	return twin_of(key, 0);
}

/* The connection whose originator is key's source, wherever it is, or NULL. */
static inline struct flow *connection_of(const struct flow_key *key)
{
	struct slot *slot = moving_of(key, true);
	struct conn *c = resting_of(key);

	return slot ? &slot->flow : c ? &c->flow : NULL;
}

/* The connections in motion of a set, of this kind: attempts, or established. */
static inline __u32 moving_in(__u32 index, bool established)
{
	__u32 i, n = 0;

	for (i = 0; i < SYN_WAYS; i++) {
		const struct slot *slot = slot_in(index, i);

		n += slot && !(slot->flow.flags & ESTABLISHED) == !established;
	}
	return n;
}

static inline __u32 all_moving(bool established)
{
	const struct host_map *sets = host_map_of(&syn_map);
	__u32 i, n = 0;

	for (i = 0; i < sets->n_touched; i++)
		n += moving_in(sets->touched_at[i], established);
	return n;
}

static inline __u32 live_attempts(void)
{
	return all_moving(false);
}

static inline __u32 resting_connections(void)
{
	return host_map_of(&conn_map)->used;
}

static inline __u32 live_connections(void)
{
	return all_moving(true) + resting_connections();
}

/* Each slot of a pool that was ever used is in one place, or free; none is in two. */
static inline void check_pool(__u32 n)
{
	static bool taken[POOL_SLOTS];
	const struct pool *pool = pool_of(n * (SYN_SETS / POOLS));
	const struct host_map *sets = host_map_of(&syn_map);
	__u32 i, j, places = 0;

	memset(taken, 0, sizeof(taken));
	for (i = 0; i < pool->free && i < POOL_SLOTS; i++) {
		CHECK(pool->free_slot[i] < pool->fresh && !taken[pool->free_slot[i]]);
		taken[pool->free_slot[i]] = true;
	}
	for (j = 0; j < sets->n_touched; j++) {
		const struct syn_set *set = set_at(sets->touched_at[j]);

		for (i = 0; i < SYN_WAYS; i++) {
			if (!set->tag[i] || pool_of(sets->touched_at[j]) != pool)
				continue;
			places++;
			CHECK(set->at[i] < pool->fresh && !taken[set->at[i]]);
			taken[set->at[i]] = true;
		}
	}
	CHECK_EQUAL(pool->free + places, pool->fresh);
}

/* The places of nt_rest that somebody has, as far as those tell who give them out. */
static inline __u32 rests_taken(void)
{
	__u32 i, taken = 0;

	for (i = 0; i < POOLS; i++) {
		const struct place_pool *pool = host_lookup(host_map_of(&nt_places), &i);

		taken += pool->fresh - pool->free;
	}
	return taken;
}

/* Each connection in conn_map has a place of its own, and nobody else has one; each set knows how many of its own are watched. */
static inline void check_rests(void)
{
	const struct host_map *rests = host_map_of(&nt_rest), *sets = host_map_of(&syn_map);
	static __u32 watched[SYN_SETS];
	const struct host_entry *entry;
	__u32 i, places = 0, watches = 0;

	for (entry = host_map_of(&conn_map)->entries; entry; entry = entry->next) {
		const struct conn *c = entry->value;
		const struct rest *rest = host_lookup(host_map_of(&nt_rest), &c->place);

		CHECK(rest && same_conn_key(&rest->key, entry->key) && rest->alive_s);
		CHECK_EQUAL(rest && rest->half_closed, !!(c->flow.flags & BOTH_FINS));
		places++;
	}
	CHECK_EQUAL(rests_taken(), places);
	memset(watched, 0, sizeof(watched));
	for (i = 0; i < rests->n_touched; i++) {
		const struct rest *rest = host_lookup(host_map_of(&nt_rest), &rests->touched_at[i]);
		__u32 index = rest->watch - 1;
		const struct watch *watch = rest->watch ? host_lookup(host_map_of(&nt_watch), &index) : NULL;

		places -= !!rest->alive_s;
		if (!watch)
			continue;
		CHECK(watch->tag);
		watched[index / (WATCHES / SYN_SETS)]++;
		watches++;
	}
	CHECK_EQUAL(places, 0);
	CHECK_EQUAL(host_only(struct silence, nt_silence)->watched, watches);
	for (i = 0; i < sets->n_touched; i++)
		CHECK_EQUAL(set_at(sets->touched_at[i])->watched, watched[sets->touched_at[i]]);
}

/* Each set knows how many connections it has in conn_map, and its filter has all of them. */
static inline void check_resting(void)
{
	const struct host_map *sets = host_map_of(&syn_map);
	static __u32 resting[SYN_SETS];
	const struct host_entry *entry;
	__u32 i, index;

	memset(resting, 0, sizeof(resting));
	for (entry = host_map_of(&conn_map)->entries; entry; entry = entry->next) {
		const struct conn *c = entry->value;

		resting[set_index(hash_key(entry->key))]++;
		CHECK(may_rest(set_for(entry->key), hash_key(entry->key)));
		CHECK_EQUAL(c->flow.flags & (ESTABLISHED | MOVING | ENDED | RST_PENDING | DOUBTFUL), ESTABLISHED);
		CHECK((c->flow.flags & BOTH_FINS) != BOTH_FINS);
	}
	for (i = 0; i < sets->n_touched; i++) {
		index = sets->touched_at[i];
		CHECK_EQUAL(set_at(index)->resting, resting[index]);
	}
}

/* The law at struct counters holds, and those of the sets and pools; nobody is at work. */
static inline bool conserved(void)
{
	__u32 i;

	check_resting();
	check_rests();
	for (i = 0; i < POOLS; i++)
		if (pool_of(i * (SYN_SETS / POOLS))->fresh)
			check_pool(i);
	return CHECK_EQUAL(counted(attempts) + counted(adopted), counted_ends() + live_attempts() + live_connections() +
	                                                                 counted(syn_evicted) + counted(syn_disbelieved) +
	                                                                 counted(conn_full));
}

/*
 * Tuples and the segments between their two ends
 */

/* An IPv4 tuple: 10.0.0.1:sport -> 10.0.0.2:dport. */
static inline struct flow_key tuple4(__u16 sport, __u16 dport)
{
	struct flow_key key;

	map_ipv4(key.src, bpf_htonl(0x0a000001));
	map_ipv4(key.dst, bpf_htonl(0x0a000002));
	key.sport = sport;
	key.dport = dport;
	return key;
}

/* n tuples of one set: each the same in each run. */
static inline void tuples_of_set(__u32 index, struct flow_key *keys, int n)
{
	__u32 sport, dport;
	int found = 0;

	for (dport = 80; found < n; dport++)
		for (sport = 1024; sport < 65536 && found < n; sport++) {
			keys[found] = tuple4(sport, dport);
			if (set_index(hash_key(&keys[found])) == index)
				found++;
		}
}

/* A connection as its two ends see it. */
struct talk {
	struct flow_key key;
	__u32 orig; /* what the originator sends next */
	__u32 resp;
};

enum side {
	ORIG,
	RESP,
};

/*
 * own is the responder's socket of a talk between tuple4()'s addresses, in this state, where the talk has arrived; and it is what a
 * look-up at ingress finds.
 */
static inline void host_responder(struct host_socket *own, const struct talk *t, __u32 state)
{
	own->sk.state = state;
	own->sk.src_ip4 = bpf_htonl(0x0a000002);
	own->sk.dst_ip4 = bpf_htonl(0x0a000001);
	own->sk.src_port = t->key.dport;
	own->sk.dst_port = bpf_htons(t->key.sport);
	own->tcp.rcv_nxt = t->orig;
	own->tcp.snd_una = t->resp;
	own->tcp.rtt_min = ~0U;
	host.receiver = own;
}

/* A segment of one side, at the places that the talk has arrived at, off by `seq` and `ack`; the talk stays where it is. */
static inline void send_at(const struct talk *t, enum side side, __u8 flags, __u32 seq, __u32 ack, __u32 len)
{
	struct packet p = {
		.flags = flags,
		.seq = (side == ORIG ? t->orig : t->resp) + seq,
		.ack = flags & TCP_ACK ? (side == ORIG ? t->resp : t->orig) + ack : 0,
		.len = len,
		.dir = side == ORIG ? DIR_IN : DIR_OUT,
	};

	put_key(&p.key, &t->key, side == RESP);
	receive(&p);
}

/* A segment as it should be: the talk goes on behind it. */
static inline void send_next(struct talk *t, enum side side, __u8 flags, __u32 len)
{
	send_at(t, side, flags, 0, 0, len);
	*(side == ORIG ? &t->orig : &t->resp) += len + !!(flags & (TCP_SYN | TCP_FIN));
}

/* Opens a connection whose initial sequence numbers these are. Each segment takes a millisecond. */
static inline struct talk open_talk(struct flow_key key, __u32 orig_isn, __u32 resp_isn)
{
	struct talk t = { .key = key, .orig = orig_isn, .resp = resp_isn };

	send_next(&t, ORIG, TCP_SYN, 0);
	pass(HOST_MS);
	send_next(&t, RESP, TCP_SYN | TCP_ACK, 0);
	pass(HOST_MS);
	send_next(&t, ORIG, TCP_ACK, 0);
	pass(HOST_MS);
	return t;
}

/* Likewise; then it goes to rest. */
static inline struct talk rest_talk(struct flow_key key, __u32 orig_isn, __u32 resp_isn)
{
	struct talk t = open_talk(key, orig_isn, resp_isn);

	pass(YOUNG_NS + CLOCK_SLACK_NS);
	return t;
}

/*
 * At the n-th step of this name (NULL: any), and about this map, if it is not NULL, from now on, another CPU does something. A test
 * calls it, acts, and looks whether interrupted() says that it came to that.
 */
static struct {
	const char *what;
	const void *map;
	int left;
	void (*act)(void);
	bool done;
} interruption;

static inline void interrupt(const char *what, const void *map)
{
	__u32 scope = this_load.scope_id; /* the other CPU is at another interface */

	if (interruption.done || (interruption.what && strcmp(what, interruption.what)) ||
	    (interruption.map && map != interruption.map) || --interruption.left > 0)
		return;
	interruption.done = true;
	host.step = NULL;
	host.cpu++;
	interruption.act();
	host.cpu--;
	this_load.scope_id = scope;
}

static inline void interrupt_at(const char *what, const void *map, int nth, void (*act)(void))
{
	interruption.what = what;
	interruption.map = map;
	interruption.left = nth;
	interruption.act = act;
	interruption.done = false;
	host.step = interrupt;
}

static inline bool interrupted(void)
{
	host.step = NULL;
	return interruption.done;
}

#endif
