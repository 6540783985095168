/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * rest.h - connections at rest, in conn_map: how they get there, lay_to_rest(), and from there into a slot again, wake(). For
 * motion.h, adopt.h, silence.h, interim.h and timeout.h, and for NeTracker.bpf.c, as they begin long call chains. Nobody else
 * inserts into conn_map or deletes.
 *
 * A connection on its way is in both places, its slot marked MOVING. What other CPUs see of it meanwhile they note in the slot;
 * who moves it acts on that. So a segment's connection is found by looking into the set first and into conn_map behind it.
 */
#ifndef NETRACKER_REST_H
#define NETRACKER_REST_H

#include <stddef.h>

#include "clock.h"
#include "closing.h"
#include "flow.h"
#include "maps.h"
#include "process.h"
#include "report.h"
#include "scope.h"
#include "scratch.h"
#include "segment.h"
#include "sets.h"
#include "socket.h"
#include "tuple.h"
#include "verifier.h"

/* What map updates fail with, negated: include/uapi/asm-generic/errno-base.h. */
#define E2BIG 7
#define EEXIST 17

/* The four-tuple in a key of conn_map, which begins with it. */
static __always_inline struct flow_key *tuple_of(struct conn_key *key)
{
	_Static_assert(offsetof(struct conn_key, twin) == sizeof(struct flow_key), "the rest of the key is the four-tuple");
	return (struct flow_key *)key;
}

static __always_inline bool same_conn_key(const struct conn_key *a, const struct conn_key *b)
{
	return a->twin == b->twin && same_key((const struct flow_key *)a, (const struct flow_key *)b);
}

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

/*
 * Takes a place in nt_rest, of the part with this number or, if that has none left, of another one. Returns NO_REST if there is
 * none at all: then as many connections are at rest as there may be, or on their way.
 */
__noinline __u32 take_rest(__u32 first)
{
	__u32 n;

	NOT_UNROLLED
	for (n = 0; n < POOLS; n++) {
		__u32 part = bounded(first + n, POOLS);
		struct place_pool *pool = bpf_map_lookup_elem(&nt_places, &part);
		__u64 at = REST_POOL;

		if (!pool)
			return NO_REST;
		bpf_spin_lock(&pool->lock);
		if (pool->free) {
			at = pool->free - 1;
			forget_range(at);
			pool->free = at;
			if (at < REST_POOL)
				at = pool->free_place[at];
		} else if (pool->fresh < REST_POOL) {
			at = pool->fresh++;
		}
		bpf_spin_unlock(&pool->lock);
		if (at < REST_POOL)
			return at * POOLS + part;
	}
	return NO_REST;
}

/* Gives back a place in nt_rest that nobody is at rest in any more. Returns 0. */
__noinline int give_rest(__u32 place)
{
	__u32 part = bounded(place, POOLS);
	struct place_pool *pool;
	__u64 at;

	if (place >= NO_REST)
		return 0;
	pool = bpf_map_lookup_elem(&nt_places, &part);
	if (!pool)
		return 0;
	bpf_spin_lock(&pool->lock);
	at = pool->free;
	forget_range(at);
	if (at < REST_POOL) {
		pool->free_place[at] = place / POOLS;
		pool->free = at + 1;
	}
	bpf_spin_unlock(&pool->lock);
	return 0;
}

/*
 * A connection at rest is taken out of conn_map by whoever makes its alive_s in nt_rest 0, and by nobody else: what conn_map has
 * under its key stays until then, and no other connection can get there. One without a place there is his who can delete it.
 *
 * Takes out the connection whose key is scratch->fresh_key, if it has this place. same: if it is the one in scratch->fresh. Returns
 * whether it was there: scratch->slot.flow.
 */
__noinline bool take_resting(__u32 place, bool same)
{
	struct rest *rest = bpf_map_lookup_elem(&nt_rest, &place);
	struct scratch *scratch = only_value(&nt_scratch);
	const struct conn *c;
	__u32 alive_s = 1;
	bool mine;

	if (!scratch)
		return false;
	if (rest) {
		alive_s = rest->alive_s;
		if (!alive_s || !same_conn_key(&rest->key, &scratch->fresh_key) ||
		    __sync_val_compare_and_swap(&rest->alive_s, alive_s, 0) != alive_s)
			return false;
	}
	c = bpf_map_lookup_elem(&conn_map, &scratch->fresh_key);
	mine = c && c->place == place &&
	       (!same || (c->flow.start_ns == scratch->fresh.flow.start_ns && c->flow.orig_isn == scratch->fresh.flow.orig_isn));
	if (!mine) {
		/* It had gone before, and another one has got its key and its place. */
		if (rest)
			rest->alive_s = alive_s;
		return false;
	}
	scratch->slot.flow = c->flow;
	if (rest)
		scratch->slot.flow.interim_s = rest->interim_s;
	if (bpf_map_delete_elem(&conn_map, &scratch->fresh_key))
		return false;
	give_rest(place);
	return true;
}

/* Notes that a connection has left conn_map. */
static __always_inline void leave_rest(struct syn_set *set)
{
	bpf_spin_lock(&set->lock);
	note_leave_locked(set);
	bpf_spin_unlock(&set->lock);
}

/* Reports a connection that was at rest and that nobody has closed, or one side alone: scratch->fresh_key, scratch->slot.flow. */
static __always_inline void report_resting(struct scratch *scratch, __u64 end_ns)
{
	enum conn_state state = end_unclosed(&scratch->slot.flow, &end_ns);

	scratch->slot.facts.known = false;
	report(tuple_of(&scratch->fresh_key), &scratch->slot.flow, &scratch->slot.facts, state, end_ns);
}

/* Ends a connection at rest whose key is scratch->fresh_key. Returns whether there was one. */
static __always_inline bool end_resting(struct scratch *scratch, struct syn_set *set, __u64 now)
{
	const struct conn *c = bpf_map_lookup_elem(&conn_map, &scratch->fresh_key);

	if (!c || !take_resting(c->place, false))
		return false;
	leave_rest(set);
	report_resting(scratch, now);
	return true;
}

/*
 * Ends the connection at rest that has this place in nt_rest, if it is still the one that was last heard of in this second. Returns
 * whether it was.
 */
__noinline bool end_silent(__u32 place, __u32 alive_s)
{
	struct rest *rest = bpf_map_lookup_elem(&nt_rest, &place);
	struct scratch *scratch = only_value(&nt_scratch);
	struct syn_set *set;
	__u64 end_ns;

	if (!rest || !scratch || !alive_s || rest->alive_s != alive_s)
		return false;
	scratch->fresh_key = rest->key;
	set = set_of(hash_key(tuple_of(&scratch->fresh_key)));
	if (!set || !take_resting(place, false))
		return false;
	leave_rest(set);
	end_ns = alive_s * NSEC_PER_SEC;
	if (end_ns < scratch->slot.flow.last_ns)
		end_ns = scratch->slot.flow.last_ns;
	report_resting(scratch, end_ns);
	COUNT(expired);
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

/* Begins to lay the connection in place i to rest: its copy is in scratch. Returns whether it goes there. */
static __always_inline bool begin_rest_locked(struct scratch *scratch, const struct parts *parts, __u32 i)
{
	struct slot *slot = slot_at(parts, i);

	if (!parts->set->tag[bounded(i, SYN_WAYS)] || !goes_to_rest(&slot->flow))
		return false;
	*tuple_of(&scratch->fresh_key) = slot->key;
	scratch->fresh.flow = slot->flow;
	*(__u32 *)scratch->fresh.scope = scopes_in(slot->scope);
	slot->flow.flags |= MOVING;
	note_rest_locked(parts->set, hash_key(&slot->key));
	return true;
}

/*
 * Puts the copy in scratch into conn_map. If its key is there already, that is a connection before it, which is over then, or
 * another scope's, beside which it stays. rest: its place in nt_rest. Returns what the kernel does; its key is scratch->fresh_key.
 */
static __always_inline long insert_resting(struct scratch *scratch, struct syn_set *set, struct rest *rest)
{
	long err = -EEXIST;
	__u32 twin;

	NOT_UNROLLED
	for (twin = 0; twin < TWINS; twin++) {
		const struct conn *c;

		if (twin > set->twins) {
			bpf_spin_lock(&set->lock);
			if (twin > set->twins)
				set->twins = twin;
			bpf_spin_unlock(&set->lock);
		}
		scratch->fresh_key.twin = twin;
		if (rest)
			rest->key = scratch->fresh_key;
		err = bpf_map_update_elem(&conn_map, &scratch->fresh_key, &scratch->fresh, BPF_NOEXIST);
		if (err != -EEXIST)
			break;
		c = bpf_map_lookup_elem(&conn_map, &scratch->fresh_key);
		if (!c || !meet(scopes_in(c->scope), scopes_in(scratch->fresh.scope)))
			continue;
		if (end_resting(scratch, set, scratch->fresh.flow.start_ns))
			COUNT(replaced);
		return bpf_map_update_elem(&conn_map, &scratch->fresh_key, &scratch->fresh, BPF_NOEXIST);
	}
	return twin < TWINS ? err : -E2BIG;
}

/* Has the connection in scratch come to rest, with a place in nt_rest. Returns 0, or why it has not. */
static __always_inline long put_resting(struct scratch *scratch, struct syn_set *set, __u32 index, __u64 now)
{
	__u32 place = take_rest(index / (SYN_SETS / POOLS));
	struct rest *rest = bpf_map_lookup_elem(&nt_rest, &place);
	long err;

	scratch->fresh.place = place;
	scratch->fresh_key.twin = 0;
	if (rest) {
		rest->key = scratch->fresh_key;
		rest->half_closed = scratch->fresh.flow.flags & BOTH_FINS;
		rest->unasked = false;
		rest->interim_s = scratch->fresh.flow.interim_s;
		rest->alive_s = now / NSEC_PER_SEC;
	}
	err = insert_resting(scratch, set, rest);
	if (err) {
		if (rest)
			rest->alive_s = 0;
		give_rest(place);
	}
	return err;
}

/*
 * Puts the copy in scratch, of a connection that is nowhere yet, into conn_map, under the tuple in scratch->fresh_key. index, hash:
 * the set's and the tuple's. Returns 0, or why it is not there.
 */
static __always_inline long put_to_rest(struct scratch *scratch, const struct parts *parts, __u32 index, __u64 hash, __u64 now)
{
	long err;

	bpf_spin_lock(&parts->set->lock);
	note_rest_locked(parts->set, hash);
	bpf_spin_unlock(&parts->set->lock);
	err = put_resting(scratch, parts->set, index, now);
	if (err)
		leave_rest(parts->set);
	return err;
}

/* Takes it out again, if it is still there: returns whether it was. */
static __always_inline bool take_back(struct scratch *scratch, struct syn_set *set)
{
	if (!take_resting(scratch->fresh.place, true))
		return false;
	leave_rest(set);
	return true;
}

/* Nothing that matters has happened to a connection while it was put into conn_map. */
static __always_inline bool is_unmoved(const struct flow *f, const struct flow *copy)
{
	return !(f->flags & (RST_PENDING | REPLACED)) && !((f->flags ^ copy->flags) & BOTH_FINS);
}

/*
 * A connection that was to be laid to rest stays in motion: somebody has begun to close it meanwhile, or it has not come into
 * conn_map. rested: it has. silent: its time is up.
 */
static __always_inline void stay(struct scratch *scratch, const struct parts *parts, __u32 i, bool rested, bool silent, __u64 now)
{
	/* Who has taken it out of there meanwhile has ended it. */
	bool gone = rested && !take_resting(scratch->fresh.place, true), ended = false, replaced;
	__u64 hash = hash_key(tuple_of(&scratch->fresh_key)), close_timeout = close_timeout_ns();
	struct slot *slot;

	bpf_spin_lock(&parts->set->lock);
	slot = slot_at(parts, i);
	if (!gone)
		note_leave_locked(parts->set);
	replaced = !gone && slot->flow.flags & REPLACED;
	slot->flow.flags &= ~MOVING;
	if (rested && !gone)
		slot->flow.interim_s = scratch->slot.flow.interim_s;
	silent = silent && is_unmoved(&slot->flow, &scratch->fresh.flow);
	if (gone || replaced || silent)
		end_locked(parts, i);
	else
		ended = settle_locked(parts, i, hash, close_timeout);
	bpf_spin_unlock(&parts->set->lock);
	if (replaced) {
		end_replaced(parts, i);
	} else if (ended) {
		end_closed(parts, i);
	} else if (gone) {
		free_ended(parts, i);
	} else if (silent) {
		end_taken(slot, now);
		free_ended(parts, i);
		COUNT(expired);
	}
}

/*
 * Lays the connection in place i of this set to rest, if it is one that goes there, and is still there. If conn_map is full, a
 * young one is lost; one that is half-closed has waited for its time, and ends. Returns 0.
 */
__noinline int lay_to_rest(__u32 index, __u32 i, __u64 now)
{
	struct scratch *scratch = only_value(&nt_scratch);
	bool begins, rests, full, half_closed;
	struct parts parts;
	struct slot *slot;
	__u32 freed;
	long err;

	if (!scratch || !find_parts(index, &parts))
		return 0;
	i = bounded(i, SYN_WAYS);
	bpf_spin_lock(&parts.set->lock);
	begins = begin_rest_locked(scratch, &parts, i);
	bpf_spin_unlock(&parts.set->lock);
	if (!begins)
		return 0;
	err = put_resting(scratch, parts.set, index, now);
	full = err == -E2BIG;
	half_closed = scratch->fresh.flow.flags & BOTH_FINS;

	bpf_spin_lock(&parts.set->lock);
	slot = slot_at(&parts, i);
	rests = is_unmoved(&slot->flow, &scratch->fresh.flow);
	/* If the kernel has no memory at hand, it stays where it is for once more. */
	if (rests && err && !full)
		slot->flow.last_ns = now;
	rests = rests && (!err || (full && !half_closed));
	if (rests) {
		freed = free_place_locked(&parts, i);
		if (full)
			note_leave_locked(parts.set);
	}
	bpf_spin_unlock(&parts.set->lock);
	if (!rests) {
		stay(scratch, &parts, i, !err, full && half_closed, now);
		return 0;
	}
	give_slot(parts.pool, freed);
	if (full)
		COUNT(conn_full);
	return 0;
}

/* What find_resting() has found. */
enum rests {
	RESTS = 1 << 0,
	RESTS_REVERSED = 1 << 1, /* its responder sends the segment */
};

/*
 * Is the segment one of the connection at rest that has this twin of its tuple, seen from its originator or, reversed, from its
 * responder; and has one of these scopes seen that connection, or its SYN? Then it is in scratch->fresh, and its key in
 * scratch->fresh_key.
 */
__noinline bool is_of_resting(const struct segment *s, __u32 scopes, __u32 twin, bool reversed)
{
	struct scratch *scratch = only_value(&nt_scratch);
	const struct conn *c;

	if (!s || !scratch)
		return false;
	put_key(tuple_of(&scratch->fresh_key), &s->key, reversed);
	scratch->fresh_key.twin = twin;
	c = bpf_map_lookup_elem(&conn_map, &scratch->fresh_key);
	if (!c)
		return false;
	scratch->fresh = *c;
	return meet(scopes_in(scratch->fresh.scope), scopes) || names(s, &scratch->fresh.flow, reversed);
}

/*
 * Finds the connection at rest that a segment belongs to, as far as one of these scopes has seen it, or its SYN. Looks the tuple up
 * in both orientations; first in the one in which the responder has the smaller port, as it mostly has. twins: the set's. Returns
 * enum rests; 0: there is none. It is in scratch->fresh then, and its key in scratch->fresh_key.
 */
__noinline __u32 find_resting(const struct segment *s, __u32 scopes, __u32 twins)
{
	bool likelier;
	__u32 twin;

	if (!s)
		return 0;
	likelier = s->key.sport < s->key.dport;
	NOT_UNROLLED
	for (twin = 0; twin < TWINS && twin <= twins; twin++) {
		if (is_of_resting(s, scopes, twin, likelier))
			return likelier ? RESTS | RESTS_REVERSED : RESTS;
		if (is_of_resting(s, scopes, twin, !likelier))
			return likelier ? RESTS : RESTS | RESTS_REVERSED;
	}
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
	place->key = *tuple_of(&scratch->fresh_key);
	*(__u32 *)place->scope = scopes_in(scratch->fresh.scope);
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
 * What has become of a connection in place i that was taken out of conn_map for this segment. rested: it was still there; if not,
 * another CPU has ended it. interim_s: its flow's.
 */
static __always_inline void arrive(const struct parts *parts, __u32 i, const struct segment *s, bool rested, __u32 interim_s)
{
	__u64 close_timeout = close_timeout_ns();
	bool replaced = false, ended = false;
	__u32 slot = NO_SLOT;
	struct flow *f;

	bpf_spin_lock(&parts->set->lock);
	f = &slot_at(parts, i)->flow;
	if (rested) {
		note_leave_locked(parts->set);
		f->flags &= ~MOVING;
		f->interim_s = interim_s;
		if (!(f->flags & (BOTH_FINS | RST_PENDING | REPLACED)))
			f->last_ns = s->now;
		replaced = f->flags & REPLACED;
		if (replaced)
			end_locked(parts, i);
		else
			ended = settle_locked(parts, i, s->hash, close_timeout);
	} else {
		slot = free_place_locked(parts, i);
	}
	bpf_spin_unlock(&parts->set->lock);
	if (slot != NO_SLOT)
		give_slot(parts->pool, slot);
	else if (replaced)
		end_replaced(parts, i);
	else if (ended)
		end_closed(parts, i);
	else
		set_clock(s->now + YOUNG_NS, s->now);
}

/*
 * A FIN or RST of a tuple that has no connection in motion: if there is one at rest, gives it a slot. scratch->told: what its
 * socket says, unless NOT_AT_REST. Returns enum woken.
 */
__noinline int wake(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	bool rested, evicts = false;
	struct parts parts;
	struct places found;
	__u32 slot, i;

	if (!s || !scratch)
		return NOT_AT_REST;
	if (!find_parts(set_index(s->hash), &parts) || !may_rest(parts.set, s->hash))
		return NOT_AT_REST;
	if (!find_resting(s, scopes_of(s->scope), parts.set->twins))
		return NOT_AT_REST;
	if (is_elsewhere(&scratch->fresh.flow, s))
		return ELSEWHERE;
	ask(skb, s, &scratch->told);
	if ((s->flags & TCP_RST ? judge_rst(&scratch->told.facts, s) : judge_fin(&scratch->told.facts, s)) == DISCARDED)
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
	rested = take_resting(scratch->fresh.place, true);
	arrive(&parts, i, s, rested, scratch->slot.flow.interim_s);
	return AWAKE;
}

#endif
