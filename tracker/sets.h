/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sets.h - the sets of connections in motion: their gate, places, slots, and when one of them is due. For parse.h, which asks the
 * gate, and for NeTracker.bpf.c, adopt.h, closing.h, motion.h, rest.h, silence.h, interim.h and timeout.h. What ends in _locked is
 * for who holds the lock of the set.
 *
 * No map can be looked up under a lock, so whoever takes one has found all that belongs to the set before: struct parts.
 */
#ifndef NETRACKER_SETS_H
#define NETRACKER_SETS_H

#include "maps.h"
#include "scope.h"
#include "scratch.h"
#include "segment.h"
#include "tuple.h"
#include "verifier.h"

#define BOTH_FINS (ORIG_FIN | RESP_FIN)
/* Both sides have closed it, and that is sure: note_fin_locked(). */
#define BOTH_KNOWN (BOTH_FINS | ORIG_END | RESP_END)

/* A connection is young for so long after its handshake. Then it goes to rest, if nobody has begun to close it. */
#define YOUNG_NS (NSEC_PER_SEC / 2)

/* No slot; no place. */
#define NO_SLOT POOL_SLOTS
#define NO_PLACE (2 * SYN_WAYS)

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

/* The tuple's bit in the gate: by the bits of the hash next to those that chose the set. */
static __always_inline __u16 gate_bit(__u64 hash)
{
	return 1U << (hash >> 47 & 15);
}

/* The tuple's bit in its set's filter. */
static __always_inline __u64 filter_bit(__u64 hash)
{
	return 1ULL << (hash >> 41 & 63);
}

/* May there be a connection of this tuple in conn_map? */
static __always_inline bool may_rest(const struct syn_set *set, __u64 hash)
{
	return set->resting && set->filter & filter_bit(hash);
}

/* What the gate has of the set with this index. */
static __always_inline __u16 *gate_of(__u32 index)
{
	struct gate *gate = only_value(&nt_gate);

	return gate ? &gate->open[bounded(index, SYN_SETS)] : NULL;
}

/* The place in nt_watch of connections of such a tuple. Its set and its bit in the gate follow from it. */
static __always_inline __u32 watch_index(__u64 hash)
{
	_Static_assert(WATCHES == 1 << (64 - 46), "18 bits of the hash choose the place");
	return hash >> 46;
}

/* Notes that there was a packet of this tuple, if it is watched. */
static __always_inline void note_life(__u64 hash)
{
	__u32 index = watch_index(hash);
	struct watch *watch = bpf_map_lookup_elem(&nt_watch, &index);

	/* The place may be another one's by now, who is then taken to be alive for once. */
	if (watch && watch->since_s && watch->tag == tag_of(hash))
		watch->since_s = 0;
}

/*
 * The gate: does a packet without SYN, FIN and RST go by? If the connection of its tuple is opening or closing, it is looked at. If
 * it is watched, that there was one is all there is to know.
 */
static __always_inline bool goes_by(__u64 hash)
{
	const __u16 *open = gate_of(set_index(hash));
	const struct syn_set *set;
	__u16 tag;
	__u32 i;

	if (!open || !(*open & gate_bit(hash)))
		return true;
	set = set_of(hash);
	if (!set)
		return true;
	if (set->watched)
		note_life(hash);
	tag = tag_of(hash);
#pragma unroll
	for (i = 0; i < SYN_WAYS; i++)
		if (set->tag[i] == tag && set->open & 1U << i)
			return false;
	return true;
}

/* A set, and what belongs to it elsewhere. */
struct parts {
	struct syn_set *set;
	struct pool *pool;
	__u16 *gate;
	__u64 *due;
};

static __always_inline bool find_parts(__u32 index, struct parts *parts)
{
	__u32 pool = bounded(index / (SYN_SETS / POOLS), POOLS), row = bounded(index, SYN_SETS) / DUE_ROW;
	struct due_row *due = bpf_map_lookup_elem(&nt_due, &row);

	parts->set = bpf_map_lookup_elem(&syn_map, &index);
	parts->pool = bpf_map_lookup_elem(&nt_pool, &pool);
	parts->gate = gate_of(index);
	if (!parts->set || !parts->pool || !parts->gate || !due)
		return false;
	parts->due = &due->due_ns[index % DUE_ROW];
	return true;
}

/* The slot of place i. */
static __always_inline struct slot *slot_at(const struct parts *parts, __u32 i)
{
	return &parts->pool->slot[bounded(parts->set->at[bounded(i, SYN_WAYS)], POOL_SLOTS)];
}

/* Returns a slot that is nobody's; NO_SLOT if there is none. */
static __always_inline __u32 take_slot(struct pool *pool)
{
	__u32 slot = NO_SLOT;

	bpf_spin_lock(&pool->lock);
	if (pool->free)
		slot = pool->free_slot[bounded(--pool->free, POOL_SLOTS)];
	else if (pool->fresh < POOL_SLOTS)
		slot = pool->fresh++;
	bpf_spin_unlock(&pool->lock);
	return slot;
}

static __always_inline void give_slot(struct pool *pool, __u32 slot)
{
	bpf_spin_lock(&pool->lock);
	pool->free_slot[bounded(pool->free++, POOL_SLOTS)] = slot;
	bpf_spin_unlock(&pool->lock);
}

/* Makes *due, if it is later or 0, this time; 0 is no time. */
static __always_inline void note_due(__u64 *due, __u64 due_ns)
{
	if (due_ns && (!*due || due_ns < *due))
		*due = due_ns;
}

/* Has the clock come to the set at this time, or earlier. */
static __always_inline void note_due_locked(const struct parts *parts, __u64 due_ns)
{
	if (parts->set->due_ns && parts->set->due_ns <= due_ns)
		return;
	parts->set->due_ns = due_ns;
	*parts->due = due_ns;
}

static __always_inline void open_gate_locked(const struct parts *parts, __u32 i, __u64 hash)
{
	parts->set->open |= 1U << bounded(i, SYN_WAYS);
	*parts->gate |= gate_bit(hash);
}

/* The gate shuts when nothing in the set is open, but for those that are watched; until then more is looked at than need be. */
static __always_inline void shut_gate_locked(const struct parts *parts, __u32 i)
{
	parts->set->open &= ~(1U << bounded(i, SYN_WAYS));
	if (!parts->set->open)
		*parts->gate = parts->set->watch_gate;
}

/* The connections at rest of this place in nt_watch are watched from now on. */
static __always_inline void note_watch_locked(const struct parts *parts, __u32 watch)
{
	parts->set->watched++;
	parts->set->watch_gate |= 1U << (watch >> 1 & 15);
	*parts->gate |= parts->set->watch_gate;
}

/* No longer. */
static __always_inline void note_unwatch_locked(const struct parts *parts)
{
	if (!--parts->set->watched)
		parts->set->watch_gate = 0;
	if (!parts->set->open)
		*parts->gate = parts->set->watch_gate;
}

/* Notes that one connection more is in conn_map, or on its way there. */
static __always_inline void note_rest_locked(struct syn_set *set, __u64 hash)
{
	set->resting++;
	set->filter |= filter_bit(hash);
}

/* One less. */
static __always_inline void note_leave_locked(struct syn_set *set)
{
	if (set->resting && !--set->resting) {
		set->filter = 0;
		set->twins = 0;
	}
}

/* Where a connection was found. NO_PLACE: nowhere. */
struct places {
	__u32 attempt;    /* the place of the one that is being opened */
	__u32 connection; /* of the established one */
	bool reply;       /* the responder of the attempt sends this segment */
	bool from_resp;   /* the responder of the connection */
};

/*
 * Is the segment, which has the tuple of the connection in this slot, one of that connection's? One that has its number is,
 * wherever it was seen: then others from there are, too.
 */
static __always_inline bool is_of_locked(struct slot *slot, const struct segment *s, bool reply)
{
	if (has_scope(scopes_in(slot->scope), s->scope))
		return true;
	if (!names(s, &slot->flow, reply))
		return false;
	add_scope(slot->scope, s->scope);
	return true;
}

/* Finds what there is of the segment's connection in its set, except what has ended or will as soon as it has moved. */
static __always_inline void find_locked(struct scratch *scratch, const struct parts *parts, const struct segment *s,
                                        struct places *found)
{
	volatile __u32 *attempt = &scratch->attempt_at, *connection = &scratch->connection_at;
	__u16 tag = tag_of(s->hash);
	__u32 i;

	*attempt = NO_PLACE;
	*connection = NO_PLACE;
	NOT_UNROLLED
	for (i = 0; i < SYN_WAYS; i++) {
		struct slot *slot;
		__u32 at = i;

		if (parts->set->tag[i] != tag)
			continue;
		slot = slot_at(parts, i);
		if (slot->flow.flags & (ENDED | REPLACED))
			continue;
		read_from_here(s);
		if (!same_key(&slot->key, &s->key)) {
			if (!opposite_key(&slot->key, &s->key))
				continue;
			at |= SYN_WAYS;
		}
		if (!is_of_locked(slot, s, at & SYN_WAYS))
			continue;
		if (slot->flow.flags & ESTABLISHED)
			*connection = at;
		else
			*attempt = at;
	}
	found->attempt = *attempt;
	found->connection = *connection;
	found->reply = found->attempt & SYN_WAYS;
	found->from_resp = found->connection & SYN_WAYS;
}

/* Who may have to give way, first to last. */
enum rank {
	RANK_YOUNG, /* goes to rest, and nothing is lost */
	RANK_UNANSWERED,
	RANK_ANSWERED,
	RANK_CLOSING,
	RANK_NOBODY, /* on its way, or being reported */
};

static __always_inline enum rank rank_of(const struct flow *f)
{
	if (f->flags & (MOVING | ENDED))
		return RANK_NOBODY;
	if (!(f->flags & ESTABLISHED))
		return f->flags & RESP_SEEN ? RANK_ANSWERED : RANK_UNANSWERED;
	return f->flags & (BOTH_FINS | RST_PENDING) ? RANK_CLOSING : RANK_YOUNG;
}

/* A free place, else that of who has waited longest of the lowest rank from `from` to below `limit`; else NO_PLACE. */
static __always_inline __u32 find_place_locked(struct scratch *scratch, const struct parts *parts, enum rank from, enum rank limit)
{
	volatile __u32 *place = &scratch->index;
	volatile __u64 *first = &scratch->rank;
	__u32 i;

	*place = NO_PLACE;
	*first = (__u64)limit << 60;
	NOT_UNROLLED
	for (i = 0; i < SYN_WAYS; i++) {
		const struct flow *f;
		__u64 rank;

		if (!parts->set->tag[i]) {
			*place = i;
			break;
		}
		f = &slot_at(parts, i)->flow;
		rank = (__u64)rank_of(f) << 60 | f->last_ns >> 4;
		if (rank >> 60 >= from && rank < *first) {
			*first = rank;
			*place = i;
		}
	}
	return *place;
}

/* How many places are taken. Without a branch, of which there would be two to the eighth ways for the verifier. */
static __always_inline __u32 places_taken(const struct syn_set *set)
{
	__u32 i, taken = 0;

#pragma unroll
	for (i = 0; i < SYN_WAYS; i++)
		taken += (set->tag[i] + 0xffffU) >> 16;
	return taken;
}

/* Does any place have this tag? Likewise without a branch, and without the lock: a guess. */
static __always_inline bool has_tag(const struct syn_set *set, __u16 tag)
{
	__u32 i, others = 0;

#pragma unroll
	for (i = 0; i < SYN_WAYS; i++)
		others += ((set->tag[i] ^ tag) + 0xffffU) >> 16;
	return others != SYN_WAYS;
}

/* Frees a place. Returns its slot, for give_slot(). */
static __always_inline __u32 free_place_locked(const struct parts *parts, __u32 i)
{
	i = bounded(i, SYN_WAYS);
	shut_gate_locked(parts, i);
	parts->set->tag[i] = 0;
	return parts->set->at[i];
}

/* Frees the place of a connection that has ENDED and been reported. */
static __always_inline void free_ended(const struct parts *parts, __u32 i)
{
	__u32 slot;

	bpf_spin_lock(&parts->set->lock);
	slot = free_place_locked(parts, i);
	bpf_spin_unlock(&parts->set->lock);
	give_slot(parts->pool, slot);
}

#endif
