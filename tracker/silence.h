/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * silence.h - connections at rest of which nothing is heard: listen(), for timeout.h, finds those that are no more, and ends them;
 * interim.h goes through the same places.
 *
 * The clock goes through nt_rest bit by bit. One that has not been heard of for its time is looked at. If a socket of this host is
 * one of its ends, that is asked: there is a socket, so it lives; there is none, so it has ended. Else it is watched: its tuple's
 * gate is opened, and the first packet that comes by shows that it lives. If there is none for as long again, it has ended.
 */
#ifndef NETRACKER_SILENCE_H
#define NETRACKER_SILENCE_H

#include "clock.h"
#include "maps.h"
#include "rest.h"
#include "scratch.h"
#include "sets.h"
#include "tuple.h"
#include "verifier.h"

/*
 * What the clock does in one go: so many rows of so many places, unless it has been at work for so long; it does something for one
 * connection at least. Then it comes again a second later, or soon if something came of any.
 */
#define REST_ROW 64
#define REST_ROWS 16
#define LISTEN_NS 50000ULL
#define LISTEN_STEP_NS 5000000ULL

/* A question is open for so long at most. If no packet comes by where its answer is, its connection is watched, as any other. */
#define PATIENCE_S 60

/* Heard of, or not looked at for longer than need be: nothing is done until its time is up again. */
static __always_inline void note_alive(struct rest *rest, __u32 before_s, __u32 now_s)
{
	/* Whoever has taken the place meanwhile, or given it back, has noted what holds now. */
	__sync_val_compare_and_swap(&rest->alive_s, before_s, now_s);
}

/*
 * The connection whose tuple has this hash is watched from now on. Returns whether it is: one that shares its place may be, still.
 */
static __always_inline bool begin_watch(struct silence *silence, struct rest *rest, __u64 hash, __u32 now_s)
{
	__u32 index = watch_index(hash);
	struct watch *watch = bpf_map_lookup_elem(&nt_watch, &index);
	struct parts parts;

	if (!watch || watch->tag || !find_parts(set_index(hash), &parts))
		return false;
	watch->since_s = now_s;
	watch->tag = tag_of(hash);
	rest->watch = index + 1;
	silence->watched++;
	bpf_spin_lock(&parts.set->lock);
	note_watch_locked(&parts, index);
	bpf_spin_unlock(&parts.set->lock);
	return true;
}

static __always_inline void end_watch(struct silence *silence, struct rest *rest, struct watch *watch)
{
	struct parts parts;

	if (!find_parts((rest->watch - 1) / (WATCHES / SYN_SETS), &parts))
		return;
	rest->watch = 0;
	watch->tag = 0;
	silence->watched--;
	bpf_spin_lock(&parts.set->lock);
	note_unwatch_locked(&parts);
	bpf_spin_unlock(&parts.set->lock);
}

/* Asks whether there is a socket for this connection, which has that place in nt_rest. Returns whether there was room to. */
static __always_inline bool ask_for(struct silence *silence, struct rest *rest, __u32 place, const struct flow *f, __u32 now_s)
{
	__u32 i;

	NOT_UNROLLED
	for (i = 0; i < ASKS; i++) {
		struct question *question = &silence->question[i];

		if ((question->state & ASK_MASK) != ASK_NOBODY)
			continue;
		put_key(&question->key, tuple_of(&rest->key), f->flags & IS_OUTBOUND);
		question->place = place;
		question->alive_s = rest->alive_s;
		question->asked_s = now_s;
		question->ifindex = f->ifindex;
		question->iface = f->iface;
		__sync_lock_test_and_set(&question->state, ++silence->number * (ASK_MASK + 1) | ASK_OPEN);
		silence->open++;
		return true;
	}
	return false;
}

/* Is this connection asked for already? */
static __always_inline bool is_asked_for(const struct silence *silence, __u32 place)
{
	bool asked = false;
	__u32 i;

	NOT_UNROLLED
	for (i = 0; i < ASKS; i++)
		asked |= silence->question[i].place == place && silence->question[i].state & ASK_MASK;
	return asked;
}

/* Has the clock time for more? */
static __always_inline bool has_time(const struct scratch *scratch)
{
	return bpf_ktime_get_boot_ns() < scratch->until_ns;
}

/* Does what has come of a question, if there is time. Returns 0; scratch->acted: something was done. */
__noinline int take_answer(__u32 i, __u32 now_s)
{
	struct silence *silence = only_value(&nt_silence);
	struct scratch *scratch = only_value(&nt_scratch);
	struct question *question;
	struct rest *rest;
	__u32 answer, place;

	if (!silence || !scratch || scratch->late)
		return 0;
	question = &silence->question[bounded(i, ASKS)];
	answer = question->state & ASK_MASK;
	if (answer == ASK_NOBODY)
		return 0;
	if (answer == ASK_OPEN && question->asked_s + PATIENCE_S > now_s)
		return 0;
	silence->open--;
	place = question->place;
	rest = bpf_map_lookup_elem(&nt_rest, &place);
	if (rest && answer == ASK_LIVES)
		note_alive(rest, question->alive_s, now_s);
	else if (rest && answer == ASK_OPEN && rest->alive_s == question->alive_s)
		rest->unasked = true;
	else if (answer == ASK_GONE)
		end_silent(place, question->alive_s);
	question->state &= ~ASK_MASK;
	scratch->acted |= answer != ASK_OPEN;
	scratch->late = !has_time(scratch);
	return 0;
}

/* One that is watched. Returns whether something had to be done: it was heard of, or has ended, one way or the other. */
static __always_inline bool look_at_watched(struct silence *silence, struct rest *rest, __u32 place, __u64 hash, __u64 now_s,
                                            __u64 limit_s)
{
	__u32 index = rest->watch - 1, alive_s = rest->alive_s, since_s;
	struct watch *watch = bpf_map_lookup_elem(&nt_watch, &index);
	bool same = index == watch_index(hash);

	if (!watch)
		return false;
	since_s = watch->since_s;
	same = same && watch->tag == tag_of(hash) && alive_s;
	if (same && since_s && since_s + limit_s > now_s)
		return false;
	end_watch(silence, rest, watch);
	if (same && since_s)
		end_silent(place, alive_s);
	else if (alive_s)
		note_alive(rest, alive_s, now_s);
	return true;
}

/*
 * Looks at the connection that has this place in nt_rest. limit_s: after how many seconds it has been silent for long. Returns
 * whether something had to be done for it.
 */
__noinline bool look_at(__u32 place, __u64 now_s, __u64 limit_s)
{
	struct rest *rest = bpf_map_lookup_elem(&nt_rest, &place);
	struct silence *silence = only_value(&nt_silence);
	struct scratch *scratch = only_value(&nt_scratch);
	const struct conn *c;
	__u64 hash;

	if (!rest || !silence || !scratch)
		return false;
	scratch->fresh_key = rest->key;
	hash = hash_key(tuple_of(&scratch->fresh_key));
	if (rest->watch)
		return look_at_watched(silence, rest, place, hash, now_s, limit_s);
	c = bpf_map_lookup_elem(&conn_map, &scratch->fresh_key);
	if (!c || c->place != place)
		return false;
	if (!(c->flow.flags & HAS_OWNER) || rest->unasked)
		return begin_watch(silence, rest, hash, now_s);
	return !is_asked_for(silence, place) && ask_for(silence, rest, place, &c->flow, now_s);
}

/*
 * Goes through a row of nt_rest, from this place on. idle_s, close_s: after how many seconds who is at rest there has been silent
 * for long. Returns how many places it has come on; fewer than a row has: its time is up, or there are no more.
 */
__noinline __u32 look_at_row(__u32 first, __u64 now_s, __u64 idle_s, __u64 close_s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 i;

	if (!scratch)
		return 0;
	NOT_UNROLLED
	for (i = 0; i < REST_ROW; i++) {
		__u32 place = first + i;
		const struct rest *rest = bpf_map_lookup_elem(&nt_rest, &place);
		__u64 limit_s;

		if (!rest || scratch->late)
			break;
		limit_s = rest->half_closed ? close_s : idle_s;
		if (!rest->watch && (!rest->alive_s || rest->alive_s + limit_s > now_s))
			continue;
		if (look_at(place, now_s, limit_s))
			scratch->acted = true;
		scratch->late = !has_time(scratch);
	}
	return i;
}

/* How far nt_rest has ever been used. *any: is somebody at rest, or watched? */
static __always_inline __u32 extent_of_rest(const struct silence *silence, bool *any)
{
	__u32 part, extent = 0, used = silence->watched;

	NOT_UNROLLED
	for (part = 0; part < POOLS; part++) {
		__u32 index = part;
		const struct place_pool *pool = bpf_map_lookup_elem(&nt_places, &index);

		if (!pool)
			break;
		if (pool->fresh > extent)
			extent = pool->fresh;
		used += pool->fresh - pool->free;
	}
	*any = used;
	return extent * POOLS;
}

/*
 * Goes through a part of nt_rest, and does what has come of questions; once a second, as it is called more often. now: when the
 * clock went off. Returns when it wants to be called again; 0: there is nobody at rest. scratch->acted: soon, as something has
 * come of it.
 */
__noinline __u64 listen(__u64 now)
{
	struct silence *silence = only_value(&nt_silence);
	struct scratch *scratch = only_value(&nt_scratch);
	__u64 now_s = now / NSEC_PER_SEC, idle_s = idle_timeout_s(), close_s = close_timeout_ns() / NSEC_PER_SEC;
	__u32 first, extent, n;
	bool any;

	if (!silence || !scratch)
		return 0;
	if (now < silence->next_ns)
		return silence->next_ns;
	extent = extent_of_rest(silence, &any);
	silence->next_ns = 0;
	if (!any)
		return 0;
	scratch->until_ns = now + LISTEN_NS;
	scratch->late = false;
	NOT_UNROLLED
	for (n = 0; n < ASKS; n++)
		take_answer(n, now_s);
	first = silence->place;
	NOT_UNROLLED
	for (n = 0; n < REST_ROWS; n++) {
		__u32 come = look_at_row(first, now_s, idle_s, close_s);

		first += come;
		if (come < REST_ROW || first >= extent)
			break;
	}
	if (first >= extent)
		first = 0;
	silence->next_ns = now + (scratch->acted ? LISTEN_STEP_NS : NSEC_PER_SEC);
	silence->place = first;
	return silence->next_ns;
}

#endif
