/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * rest.h - connections at rest, in conn_map: how they get there, lay_to_rest(), and from there into a slot again, wake(). For
 * motion.h and timeout.h, and for NeTracker.bpf.c, as they begin long call chains. Nobody else inserts into conn_map or deletes.
 *
 * A connection on its way is in both places, its slot marked MOVING. What other CPUs see of it meanwhile they note in the slot; who
 * moves it acts on that. So a segment's connection is found by looking into the set first and into conn_map behind it.
 */
#ifndef NETRACKER_REST_H
#define NETRACKER_REST_H

#include "clock.h"
#include "closing.h"
#include "flow.h"
#include "maps.h"
#include "report.h"
#include "scratch.h"
#include "segment.h"
#include "sets.h"
#include "socket.h"
#include "tuple.h"

/* What map updates fail with, negated: include/uapi/asm-generic/errno-base.h. */
#define E2BIG 7
#define EEXIST 17

/* Reports the connection of a slot that is nobody else's any more. */
static __always_inline void report_slot(const struct slot *slot, enum conn_state state, __u64 end_ns)
{
	report(&slot->key, &slot->flow, &slot->facts, state, end_ns);
}

/* From here on the connection is the caller's alone, to be reported. */
static __always_inline void end_locked(const struct parts *parts, __u32 i)
{
	slot_at(parts, i)->flow.flags |= ENDED;
	shut_gate_locked(parts, i);
}

/*
 * What a segment, or a way to or from conn_map, has made of a connection: opens or shuts its gate, and sets its time. Returns
 * whether it has ended, as both sides have closed it: then it is the caller's alone.
 */
static __always_inline bool settle_locked(const struct parts *parts, __u32 i, __u64 hash, __u64 close_timeout)
{
	struct flow *f = &slot_at(parts, i)->flow;

	if (f->flags & MOVING)
		return false;
	if ((f->flags & BOTH_KNOWN) == BOTH_KNOWN) {
		end_locked(parts, i);
		return true;
	}
	if (f->flags & (BOTH_FINS | RST_PENDING))
		open_gate_locked(parts, i, hash);
	else
		shut_gate_locked(parts, i);
	note_due_locked(parts, due_at(f, 0, close_timeout));
	return false;
}

/* Ends a connection that both sides have closed while it was MOVING. */
static __always_inline void end_closed(const struct parts *parts, __u32 i)
{
	report_slot(slot_at(parts, i), SF, slot_at(parts, i)->flow.last_ns);
	free_ended(parts, i);
}

/* Takes a connection out of conn_map. Returns whether it was there: *flow. */
static __always_inline bool take_resting(const struct flow_key *key, struct flow *flow)
{
	struct conn *c = bpf_map_lookup_elem(&conn_map, key);

	if (!c)
		return false;
	/* Memory of a deleted element is used again at once. So this is its own only if it can still be deleted. */
	*flow = c->flow;
	return !bpf_map_delete_elem(&conn_map, key);
}

/*
 * Takes out of conn_map the connection in scratch->fresh. Returns whether it was there: another CPU may have ended it, and another
 * one have got its memory, or its key.
 */
static __always_inline bool take_same(struct scratch *scratch)
{
	const struct conn *c = bpf_map_lookup_elem(&conn_map, &scratch->fresh_key);

	if (!c || c->flow.start_ns != scratch->fresh.flow.start_ns || c->flow.orig_isn != scratch->fresh.flow.orig_isn)
		return false;
	return !bpf_map_delete_elem(&conn_map, &scratch->fresh_key);
}

/* Ends a connection at rest whose key is scratch->fresh_key. Returns whether there was one. */
static __always_inline bool end_resting(struct scratch *scratch, struct syn_set *set, __u64 now)
{
	if (!take_resting(&scratch->fresh_key, &scratch->slot.flow))
		return false;
	bpf_spin_lock(&set->lock);
	note_leave_locked(set);
	bpf_spin_unlock(&set->lock);
	scratch->slot.facts.known = false;
	report(&scratch->fresh_key, &scratch->slot.flow, &scratch->slot.facts, S1, now);
	return true;
}

/*
 * The tuple of the connection in place i has been another one's since end_ns. Returns whether it is the caller's now, to be ended
 * by end_replaced(); if not, whoever moves it will do that.
 */
static __always_inline bool replace_locked(const struct parts *parts, __u32 i, __u64 end_ns)
{
	struct flow *f = &slot_at(parts, i)->flow;

	if (!(f->flags & (BOTH_FINS | RST_PENDING)))
		f->last_ns = end_ns;
	if (f->flags & MOVING) {
		f->flags |= REPLACED;
		return false;
	}
	end_locked(parts, i);
	return true;
}

/* Ends such a one; its slot is nobody else's any more. */
static __always_inline void end_replaced(const struct parts *parts, __u32 i)
{
	struct slot *slot = slot_at(parts, i);
	__u64 end_ns = slot->flow.last_ns;
	enum conn_state state = end_unclosed(&slot->flow, &end_ns);

	report_slot(slot, state, end_ns);
	free_ended(parts, i);
	COUNT(replaced);
}

/*
 * Lays the connection in place i of this set to rest, if it is young and still there. If conn_map is full, it is lost.
 */
__noinline int lay_to_rest(__u32 index, __u32 i, __u64 now)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct parts parts;
	struct slot *slot;
	bool wanted, lost, gone, ended = false, replaced;
	__u32 freed;
	__u64 hash = 0, close_timeout;
	long err;

	if (!scratch || !find_parts(index, &parts))
		return 0;
	i = bounded(i, SYN_WAYS);
	bpf_spin_lock(&parts.set->lock);
	slot = slot_at(&parts, i);
	wanted = parts.set->tag[i] && rank_of(&slot->flow) == RANK_YOUNG;
	if (wanted) {
		scratch->fresh_key = slot->key;
		scratch->fresh.flow = slot->flow;
		slot->flow.flags |= MOVING;
		hash = hash_key(&slot->key);
		note_rest_locked(parts.set, hash);
	}
	bpf_spin_unlock(&parts.set->lock);
	if (!wanted)
		return 0;
	err = bpf_map_update_elem(&conn_map, &scratch->fresh_key, &scratch->fresh, BPF_NOEXIST);
	if (err == -EEXIST && end_resting(scratch, parts.set, scratch->fresh.flow.start_ns)) {
		COUNT(replaced);
		err = bpf_map_update_elem(&conn_map, &scratch->fresh_key, &scratch->fresh, BPF_NOEXIST);
	}

	lost = err == -E2BIG;
	bpf_spin_lock(&parts.set->lock);
	/* It stays if somebody has begun to close it, or if the kernel has no memory at hand: then it is young for longer. */
	wanted = !(slot->flow.flags & (BOTH_FINS | RST_PENDING | REPLACED)) && (!err || lost);
	if (wanted) {
		freed = free_place_locked(&parts, i);
		if (lost)
			note_leave_locked(parts.set);
	} else if (!(slot->flow.flags & (BOTH_FINS | RST_PENDING | REPLACED))) {
		slot->flow.last_ns = now;
	}
	bpf_spin_unlock(&parts.set->lock);
	if (wanted) {
		give_slot(parts.pool, freed);
		if (lost)
			COUNT(conn_full);
		return 0;
	}
	/* Who has taken it out of there meanwhile has ended it. */
	gone = !err && !take_same(scratch);
	close_timeout = close_timeout_ns();
	bpf_spin_lock(&parts.set->lock);
	if (!gone)
		note_leave_locked(parts.set);
	replaced = !gone && slot->flow.flags & REPLACED;
	slot->flow.flags &= ~MOVING;
	if (gone || replaced)
		end_locked(&parts, i);
	else
		ended = settle_locked(&parts, i, hash, close_timeout);
	bpf_spin_unlock(&parts.set->lock);
	if (gone)
		free_ended(&parts, i);
	else if (replaced)
		end_replaced(&parts, i);
	else if (ended)
		end_closed(&parts, i);
	return 0;
}

/*
 * Looks the tuple up in both orientations; first in the one in which the responder has the smaller port, as it mostly has.
 * *key: as it is stored. *reversed: the tuple was turned round for that.
 */
static __always_inline struct conn *find_resting(const struct flow_key *tuple, struct flow_key *key, bool *reversed)
{
	struct conn *c;

	*reversed = tuple->sport < tuple->dport;
	put_key(key, tuple, *reversed);
	c = bpf_map_lookup_elem(&conn_map, key);
	if (c)
		return c;
	*reversed = !*reversed;
	put_key(key, tuple, *reversed);
	return bpf_map_lookup_elem(&conn_map, key);
}

/* Ends an established connection that nobody closes, taken out of its slot into this one. Returns 0. */
__noinline int end_taken(struct slot *slot, __u64 now)
{
	__u64 end_ns = now;
	enum conn_state state;

	if (!slot)
		return 0;
	state = end_unclosed(&slot->flow, &end_ns);
	report_slot(slot, state, end_ns);
	return 0;
}

/*
 * Of a set that is full: returns the place of the connection that has been young for longest, which is to be laid to rest. If there
 * is none, returns NO_PLACE; and if all are closing, ends the one that has been silent for longest. A set that has a handshake has
 * room for another, so no flood of SYNs ends more.
 */
__noinline int make_room(__u32 index, __u64 now)
{
	struct scratch *scratch = only_value(&nt_scratch);
	enum rank rank = RANK_NOBODY;
	struct parts parts;
	__u32 i, slot = NO_SLOT;

	if (!scratch || !find_parts(index, &parts))
		return NO_PLACE;
	bpf_spin_lock(&parts.set->lock);
	i = find_place_locked(scratch, &parts, RANK_YOUNG, RANK_NOBODY);
	if (i != NO_PLACE && parts.set->tag[bounded(i, SYN_WAYS)])
		rank = rank_of(&slot_at(&parts, i)->flow);
	if (rank == RANK_CLOSING) {
		scratch->slot = *slot_at(&parts, i);
		slot = free_place_locked(&parts, i);
	}
	bpf_spin_unlock(&parts.set->lock);
	if (rank == RANK_YOUNG)
		return i;
	if (rank == RANK_CLOSING) {
		give_slot(parts.pool, slot);
		end_taken(&scratch->slot, now);
		COUNT(close_evicted);
	}
	return NO_PLACE;
}

/*
 * Takes a place for a connection that is about to be woken: scratch->fresh_key and fresh. Marks it MOVING. Returns the place, or
 * NO_PLACE. slot: for it, if a place is free; if not, a handshake has to give way, and leaves it its own: *evicts.
 */
static __always_inline __u32 take_place_locked(struct scratch *scratch, const struct parts *parts, __u64 hash, __u32 slot,
                                               bool *evicts)
{
	__u32 i = find_place_locked(scratch, parts, RANK_UNANSWERED, RANK_CLOSING);
	struct slot *place;

	if (i == NO_PLACE)
		return NO_PLACE;
	i = bounded(i, SYN_WAYS);
	*evicts = parts->set->tag[i];
	if (!*evicts) {
		if (slot == NO_SLOT)
			return NO_PLACE;
		parts->set->at[i] = slot;
	}
	place = slot_at(parts, i);
	place->key = scratch->fresh_key;
	place->flow = scratch->fresh.flow;
	place->flow.flags |= MOVING;
	place->facts.known = false;
	shut_gate_locked(parts, i);
	parts->set->tag[i] = tag_of(hash);
	return i;
}

enum woken {
	NOT_AT_REST, /* or another CPU has just given it a slot: look there */
	AWAKE,       /* it has a slot now */
	UNTOUCHED,   /* this FIN or RST is not one that its receiver would take */
	ELSEWHERE,   /* it has nothing to tell: is_elsewhere() */
};

/*
 * A FIN or RST of a tuple that has no connection in motion: if there is one at rest, gives it a slot. scratch->facts:
 * what its socket says, unless NOT_AT_REST. Returns enum woken.
 */
__noinline int wake(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	bool reversed, rested, replaced = false, ended = false, evicts = false;
	const struct conn *c;
	struct parts parts;
	struct places found;
	struct slot *place;
	__u64 close_timeout;
	__u32 slot, i;

	if (!s || !scratch)
		return NOT_AT_REST;
	if (!find_parts(set_index(s->hash), &parts) || !may_rest(parts.set, s->hash))
		return NOT_AT_REST;
	c = find_resting(&s->key, &scratch->fresh_key, &reversed);
	if (!c)
		return NOT_AT_REST;
	scratch->fresh = *c;
	if (is_elsewhere(&scratch->fresh.flow, s->ifindex))
		return ELSEWHERE;
	if (!ask_socket(skb, s, &scratch->facts))
		scratch->facts.known = false;
	if ((s->flags & TCP_RST ? judge_rst(&scratch->facts, s) : judge_fin(&scratch->facts, s)) == DISCARDED)
		return UNTOUCHED;

	slot = take_slot(parts.pool);
	bpf_spin_lock(&parts.set->lock);
	find_locked(scratch, &parts, s, &found);
	i = NO_PLACE;
	if (found.connection == NO_PLACE)
		i = take_place_locked(scratch, &parts, s->hash, slot, &evicts);
	bpf_spin_unlock(&parts.set->lock);
	if ((i == NO_PLACE || evicts) && slot != NO_SLOT)
		give_slot(parts.pool, slot);
	if (i == NO_PLACE)
		return AWAKE; /* by another CPU; or another one has taken the last place */
	if (evicts)
		COUNT(syn_evicted);

	i = bounded(i, SYN_WAYS);
	rested = take_same(scratch);
	close_timeout = close_timeout_ns();
	bpf_spin_lock(&parts.set->lock);
	place = slot_at(&parts, i);
	if (rested) {
		note_leave_locked(parts.set);
		place->flow.flags &= ~MOVING;
		if (!(place->flow.flags & (BOTH_FINS | RST_PENDING | REPLACED)))
			place->flow.last_ns = s->now;
		replaced = place->flow.flags & REPLACED;
		if (replaced)
			end_locked(&parts, i);
		else
			ended = settle_locked(&parts, i, s->hash, close_timeout);
	} else {
		slot = free_place_locked(&parts, i);
	}
	bpf_spin_unlock(&parts.set->lock);
	if (!rested)
		give_slot(parts.pool, slot);
	else if (replaced)
		end_replaced(&parts, i);
	else if (ended)
		end_closed(&parts, i);
	else
		set_clock(s->now + YOUNG_NS, s->now);
	return AWAKE;
}

#endif
