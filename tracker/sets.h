/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sets.h - the sets of syn_map: the gate, handshakes, watched connections, and when one of both is due. For parse.h, which asks the
 * gate, and for handshake.h, connection.h and timeout.h.
 */
#ifndef NETRACKER_SETS_H
#define NETRACKER_SETS_H

#include "maps.h"
#include "scratch.h"
#include "segment.h"
#include "tuple.h"
#include "verifier.h"

/* The hash's top 13 bits choose the set, all of it makes the tag. */
static __always_inline __u32 set_index(__u64 hash)
{
	_Static_assert(SYN_SETS == 1 << (64 - 51), "13 bits of the hash choose the set");
	return hash >> 51;
}

static __always_inline struct syn_set *set_of(__u64 hash)
{
	__u32 index = set_index(hash);

	return bpf_map_lookup_elem(&syn_map, &index);
}

/* The tuple's bit in its set's filter: by the bits of the hash next to those that chose the set. */
static __always_inline __u64 filter_bit(__u64 hash)
{
	return 1ULL << (hash >> 45 & 63);
}

static __always_inline bool has_tag(const __u32 *tags, __u32 tag)
{
	__u32 i;

#pragma unroll
	for (i = 0; i < SYN_WAYS; i++)
		if (tags[i] == tag)
			return true;
	return false;
}

/* May packets of this tuple without SYN, FIN and RST go by unseen? Yes, unless this connection is opening or closing. */
static __always_inline bool gate_is_closed(__u64 hash)
{
	const struct syn_set *set = set_of(hash);
	__u32 tag;

	if (!set || !(set->filter & filter_bit(hash)))
		return true;
	tag = tag_of(hash);
	return !has_tag(set->tag, tag) && !has_tag(set->watch_tag, tag);
}

/* Makes *due, if it is later or 0, this time; 0 is no time. Of a set only under its lock. */
static __always_inline void note_due(__u64 *due, __u64 due_ns)
{
	if (due_ns && (!*due || due_ns < *due))
		*due = due_ns;
}

/* When the set with this index is due. */
static __always_inline __u64 *due_of(__u32 index)
{
	__u32 row = index / DUE_ROW;
	struct due_row *found = bpf_map_lookup_elem(&nt_due, &row);

	return found ? &found->due_ns[index % DUE_ROW] : NULL;
}

/* Under the set's lock, after something has left it. The filter forgets when nothing is left; until then it lets more through. */
static __always_inline void renew_filter(struct syn_set *set)
{
	if (!set->live && !set->watched)
		set->filter = 0;
}

/* Under the set's lock. Returns the index of the tuple's slot, or SYN_WAYS. *reply: the responder sends this segment. */
static __always_inline __u32 find_slot(struct scratch *scratch, struct syn_set *set, const struct segment *s, bool *reply)
{
	__u32 tag = tag_of(s->hash), i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++) {
		if (set->tag[i] != tag)
			continue;
		barrier_var(s); /* or the compiler loads the whole key beforehand, and spills it */
		*reply = false;
		if (same_key(&set->slot[i].key, &s->key))
			break;
		*reply = true;
		if (opposite_key(&set->slot[i].key, &s->key))
			break;
	}
	return forget(&scratch->index, i);
}

/* Under the lock. The slot for a new handshake: a free one, else the unanswered or, if all are answered, the answered one that
 * waits longest. SYN_WAYS if all are just moving to conn_map. */
static __always_inline __u32 find_place(struct scratch *scratch, const struct syn_set *set)
{
	__u64 oldest = ~0ULL;
	__u32 i, place = SYN_WAYS;

#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++) {
		const struct flow *f = &set->slot[i].flow;
		__u64 rank = f->last_ns;

		if (!set->tag[i]) {
			place = i;
			break;
		}
		if (f->flags & PROMOTING)
			continue;
		if (f->flags & RESP_SEEN)
			rank |= 1ULL << 63;
		if (rank < oldest) {
			oldest = rank;
			place = i;
		}
	}
	return forget(&scratch->index, place);
}

/* Under the lock. */
static __always_inline void free_slot(struct syn_set *set, __u32 i)
{
	set->tag[i & (SYN_WAYS - 1)] = 0;
	set->live--;
	renew_filter(set);
}

/* Under the set's lock. The place of this connection among the watches, or SYN_WAYS. */
static __always_inline __u32 find_watch(struct scratch *scratch, const struct syn_set *set, const struct flow_key *key, __u32 tag)
{
	__u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++)
		if (set->watch_tag[i] == tag && same_key(&set->watch[i].key, key))
			break;
	return forget(&scratch->index, i);
}

/* Under the set's lock. A free place for a watch, else that of the connection whose time is nearest. */
static __always_inline __u32 find_watch_place(struct scratch *scratch, const struct syn_set *set)
{
	__u64 nearest = ~0ULL;
	__u32 i, place = 0;

#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++) {
		if (!set->watch_tag[i]) {
			place = i;
			break;
		}
		if (set->watch[i].due_ns < nearest) {
			nearest = set->watch[i].due_ns;
			place = i;
		}
	}
	return forget(&scratch->index, place);
}

/*
 * Watches a connection: its packets pass the gate, and the clock looks at it at due_ns. Returns true if another one has to give
 * way: scratch->victim.
 *
 * It may have ended on another CPU by now; then the clock finds a watch without a connection, and forgets it.
 */
__noinline int watch(const struct flow_key *key, __u64 due_ns)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct syn_set *set;
	bool evicts = false;
	__u64 hash, *due;
	__u32 i, tag;

	if (!key || !scratch)
		return false;
	hash = hash_key(key);
	tag = tag_of(hash);
	set = set_of(hash);
	due = due_of(set_index(hash));
	if (!set || !due)
		return false;

	bpf_spin_lock(&set->lock);
	i = find_watch(scratch, set, key, tag);
	if (i == SYN_WAYS) {
		i = find_watch_place(scratch, set) & (SYN_WAYS - 1);
		evicts = set->watch_tag[i];
		if (evicts)
			scratch->victim = set->watch[i].key;
		else
			set->watched++;
		set->watch_tag[i] = tag;
		set->watch[i].key = *key;
		set->filter |= filter_bit(hash);
	}
	set->watch[i & (SYN_WAYS - 1)].due_ns = due_ns;
	note_due(due, due_ns);
	bpf_spin_unlock(&set->lock);
	return evicts;
}

__noinline int unwatch(const struct flow_key *key)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct syn_set *set;
	__u64 hash;
	__u32 i;

	if (!key || !scratch)
		return 0;
	hash = hash_key(key);
	set = set_of(hash);
	if (!set)
		return 0;
	bpf_spin_lock(&set->lock);
	i = find_watch(scratch, set, key, tag_of(hash));
	if (i < SYN_WAYS) {
		set->watch_tag[i & (SYN_WAYS - 1)] = 0;
		set->watched--;
		renew_filter(set);
	}
	bpf_spin_unlock(&set->lock);
	return 0;
}

enum expired {
	NOTHING_EXPIRED,
	HANDSHAKE_EXPIRED, /* now in scratch->slot */
	WATCH_EXPIRED,     /* its key is in scratch->victim */
};

/* Takes one out of the set whose time is up, or, if there is none, notes when the next one's is. */
__noinline int take_expired(__u32 index, __u64 now, __u64 timeout)
{
	struct syn_set *set = bpf_map_lookup_elem(&syn_map, &index);
	struct scratch *scratch = only_value(&nt_scratch);
	volatile __u32 *slot_at, *watch_at;
	__u64 *due = due_of(index);
	__u32 i, slot, place;

	if (!set || !due || !scratch)
		return NOTHING_EXPIRED;
	slot_at = &scratch->index;
	watch_at = &scratch->watch_index;
	bpf_spin_lock(&set->lock);
	*slot_at = SYN_WAYS;
	*watch_at = SYN_WAYS;
	*due = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < SYN_WAYS; i++) {
		const struct flow *f = &set->slot[i].flow;

		if (set->tag[i] && !(f->flags & PROMOTING)) {
			if (f->last_ns + timeout <= now)
				*slot_at = i;
			note_due(due, f->last_ns + timeout);
		}
		if (set->watch_tag[i]) {
			if (set->watch[i].due_ns <= now)
				*watch_at = i;
			note_due(due, set->watch[i].due_ns);
		}
	}
	slot = *slot_at;
	place = *watch_at;
	if (slot < SYN_WAYS) {
		scratch->slot = set->slot[slot];
		free_slot(set, slot);
	} else if (place < SYN_WAYS) {
		scratch->victim = set->watch[place].key;
		set->watch_tag[place] = 0;
		set->watched--;
		renew_filter(set);
	}
	bpf_spin_unlock(&set->lock);
	return slot < SYN_WAYS ? HANDSHAKE_EXPIRED : place < SYN_WAYS ? WATCH_EXPIRED : NOTHING_EXPIRED;
}

#endif
