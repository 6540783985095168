/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sets.h - the sets of syn_map: their gate, handshakes, watched connections, and when one of both is due. For parse.h, which asks
 * the gate, for NeTracker.bpf.c, which asks whether a set has watched connections, and for handshake.h, connection.h and timeout.h.
 * Nobody else takes a set's lock; what ends in _locked is for who holds it.
 */
#ifndef NETRACKER_SETS_H
#define NETRACKER_SETS_H

#include "attempt.h"
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

/* The tuple's bit in the gate: by the bits of the hash next to those that chose the set. */
static __always_inline __u16 gate_bit(__u64 hash)
{
	return 1U << (hash >> 47 & 15);
}

/* What the gate has of the set with this index. */
static __always_inline __u16 *gate_of(__u32 index)
{
	struct gate *gate = only_value(&nt_gate);

	return gate ? &gate->open[bounded(index, SYN_SETS)] : NULL;
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

/*
 * The gate: does a packet without SYN, FIN and RST go by? If the connection of its tuple is opening or closing, it is looked at.
 */
static __always_inline bool goes_by(__u64 hash)
{
	const __u16 *open = gate_of(set_index(hash));
	const struct syn_set *set;
	__u32 tag;

	if (!open || !(*open & gate_bit(hash)))
		return true;
	set = set_of(hash);
	if (!set)
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

/* A set, and what the gate and the clock have of it. */
struct set_parts {
	struct syn_set *set;
	__u16 *open;
	__u64 *due;
};

static __always_inline bool find_set(__u32 index, struct set_parts *parts)
{
	parts->set = bpf_map_lookup_elem(&syn_map, &index);
	parts->open = gate_of(index);
	parts->due = due_of(index);
	return parts->set && parts->open && parts->due;
}

/* After something has left the set. The gate shuts when nothing is left; until then more is looked at than need be. */
static __always_inline void shut_gate_locked(const struct syn_set *set, __u16 *open)
{
	if (!set->live && !set->watched)
		*open = 0;
}

/* Returns the index of the tuple's slot, or SYN_WAYS. *reply: the responder sends this segment. */
static __always_inline __u32 find_slot_locked(struct scratch *scratch, struct syn_set *set, const struct segment *s, bool *reply)
{
	__u32 tag = tag_of(s->hash), i;

	NOT_UNROLLED
	for (i = 0; i < SYN_WAYS; i++) {
		if (set->tag[i] != tag)
			continue;
		read_from_here(s);
		*reply = false;
		if (same_key(&set->slot[i].key, &s->key))
			break;
		*reply = true;
		if (opposite_key(&set->slot[i].key, &s->key))
			break;
	}
	return forget(&scratch->index, i);
}

/*
 * The slot for a new handshake: a free one, else the unanswered or, if all are answered, the answered one that waits longest.
 * SYN_WAYS if all are just moving to conn_map.
 */
static __always_inline __u32 find_place_locked(struct scratch *scratch, const struct syn_set *set)
{
	__u64 oldest = ~0ULL;
	__u32 i, place = SYN_WAYS;

	NOT_UNROLLED
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

static __always_inline void free_slot_locked(struct syn_set *set, __u16 *open, __u32 i)
{
	set->tag[bounded(i, SYN_WAYS)] = 0;
	set->live--;
	shut_gate_locked(set, open);
}

enum syn_outcome {
	SYN_AGAIN,
	SYN_NEW,
	SYN_REPLACED, /* a new attempt took the place of an old one on the same tuple */
	SYN_EVICTED,
	SYN_NO_PLACE,
};

/* Which slot the SYN gets, *at, and what that means. *reply: of the responder's SYN, which crosses the originator's. */
static __always_inline enum syn_outcome place_syn_locked(struct scratch *scratch, struct syn_set *set, const struct segment *s,
                                                         __u32 *at, bool *reply)
{
	__u32 i = find_slot_locked(scratch, set, s, reply);
	const struct flow *f;

	if (i == SYN_WAYS) {
		i = find_place_locked(scratch, set);
		*at = bounded(i, SYN_WAYS);
		return i == SYN_WAYS ? SYN_NO_PLACE : set->tag[*at] ? SYN_EVICTED : SYN_NEW;
	}
	*at = bounded(i, SYN_WAYS);
	f = &set->slot[*at].flow;
	return !*reply && f->orig_isn != s->seq && !(f->flags & PROMOTING) ? SYN_REPLACED : SYN_AGAIN;
}

/*
 * Gives a SYN a slot in its set, or notes it in the one that it has. flags: those that a new handshake begins with. What has to
 * leave its slot for it is in *out.
 */
static __always_inline enum syn_outcome take_syn(struct scratch *scratch, const struct set_parts *parts, const struct segment *s,
                                                 __u32 flags, const struct owner *owner, __u64 due_ns, struct syn_slot *out)
{
	struct syn_set *set = parts->set;
	enum syn_outcome outcome;
	bool reply = false;
	__u32 i;

	bpf_spin_lock(&set->lock);
	outcome = place_syn_locked(scratch, set, s, &i, &reply);
	if (outcome == SYN_AGAIN) {
		note_syn_again_locked(&set->slot[i].flow, s, reply);
	} else if (outcome != SYN_NO_PLACE) {
		if (outcome != SYN_NEW)
			*out = set->slot[i];
		else
			set->live++;
		open_slot_locked(&set->slot[i], s, flags);
		set->tag[i] = tag_of(s->hash);
		*parts->open |= gate_bit(s->hash);
		if (owner->known)
			note_owner(&set->slot[i].flow, owner->cgroup, owner->uid);
		note_due(parts->due, due_ns);
	}
	bpf_spin_unlock(&set->lock);
	return outcome;
}

/*
 * Notes any segment but a SYN or RST in its handshake. Returns the index of the slot, of which there is a copy in *key and *flow;
 * SYN_WAYS: there is none, and *noted says that the segment is not its own.
 */
static __always_inline __u32 take_segment(struct scratch *scratch, struct syn_set *set, const struct segment *s,
                                          const struct owner *owner, struct noted *noted, struct flow_key *key, struct flow *flow)
{
	bool reply = false;
	__u32 i;

	*noted = (struct noted){ .believed = true };
	bpf_spin_lock(&set->lock);
	i = find_slot_locked(scratch, set, s, &reply);
	if (i < SYN_WAYS) {
		struct syn_slot *slot = &set->slot[i];

		*noted = note_locked(slot, s, reply, owner);
		*flow = slot->flow;
		*key = slot->key;
	}
	bpf_spin_unlock(&set->lock);
	return i;
}

enum rst_outcome {
	RST_OF_NONE, /* there is no handshake of this tuple */
	RST_ENDS,
	RST_NOTED,      /* the handshake is just moving to conn_map, and takes the RST along */
	RST_UNBELIEVED, /* there is one, but its receiver would discard the RST */
};

/* A RST takes the handshake that it ends out of the set into *out; *state: how it ended. */
static __always_inline enum rst_outcome take_rst(struct scratch *scratch, const struct set_parts *parts, const struct segment *s,
                                                 enum conn_state *state, struct syn_slot *out)
{
	enum rst_outcome outcome = RST_OF_NONE;
	struct syn_set *set = parts->set;
	bool reply = false;
	__u32 i;

	bpf_spin_lock(&set->lock);
	i = find_slot_locked(scratch, set, s, &reply);
	if (i < SYN_WAYS) {
		*state = judge_rst_locked(&set->slot[i], s, reply);
		if (*state == S0) {
			outcome = RST_UNBELIEVED;
		} else if (set->slot[i].flow.flags & PROMOTING) {
			note_rst_locked(&set->slot[i].flow, s, reply);
			outcome = RST_NOTED;
		} else {
			*out = set->slot[i];
			free_slot_locked(set, parts->open, i);
			outcome = RST_ENDS;
		}
	}
	bpf_spin_unlock(&set->lock);
	return outcome;
}

/* FINs and a RST that a handshake saw while it moved to conn_map. */
struct latecomers {
	__u32 flags; /* ORIG_FIN, RESP_FIN, RST_PENDING, RST_BY_ORIG, and others that say nothing here */
	__u32 orig_end;
	__u32 resp_end;
	__u32 rst_seq;
	__u64 rst_ns;
};

/* Frees the slot of a handshake that is in conn_map by now. */
static __always_inline struct latecomers leave_slot(struct syn_set *set, __u16 *open, __u32 i)
{
	struct latecomers late;

	i = bounded(i, SYN_WAYS);
	bpf_spin_lock(&set->lock);
	late.flags = set->slot[i].flow.flags;
	late.orig_end = set->slot[i].flow.orig_end;
	late.resp_end = set->slot[i].flow.resp_end;
	late.rst_seq = set->slot[i].flow.rst_seq;
	late.rst_ns = set->slot[i].flow.last_ns;
	free_slot_locked(set, open, i);
	bpf_spin_unlock(&set->lock);
	return late;
}

/* The place of this connection among the watches, or SYN_WAYS. */
static __always_inline __u32 find_watch_locked(struct scratch *scratch, const struct syn_set *set, const struct flow_key *key,
                                               __u32 tag)
{
	__u32 i;

	NOT_UNROLLED
	for (i = 0; i < SYN_WAYS; i++)
		if (set->watch_tag[i] == tag && same_key(&set->watch[i].key, key))
			break;
	return forget(&scratch->index, i);
}

/* A free place for a watch, else that of the connection whose time is nearest. */
static __always_inline __u32 find_watch_place_locked(struct scratch *scratch, const struct syn_set *set)
{
	__u64 nearest = ~0ULL;
	__u32 i, place = 0;

	NOT_UNROLLED
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
 * Watches the connection that began at start_ns: its packets are looked at, and the clock comes to it at due_ns. facts, if known,
 * are kept for its end. Returns true if another one has to give way: *victim.
 *
 * It may have ended on another CPU by now; then the clock finds a watch without a connection, and forgets it.
 */
__noinline bool watch(const struct flow_key *key, __u64 start_ns, __u64 due_ns, const struct facts *facts, struct watch *victim)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct set_parts parts;
	struct syn_set *set;
	struct watch *place;
	bool evicts = false;
	__u32 i, tag;
	__u64 hash;

	if (!key || !victim || !scratch)
		return false;
	hash = hash_key(key);
	tag = tag_of(hash);
	if (!find_set(set_index(hash), &parts))
		return false;
	set = parts.set;

	bpf_spin_lock(&set->lock);
	i = find_watch_locked(scratch, set, key, tag);
	if (i == SYN_WAYS) {
		i = bounded(find_watch_place_locked(scratch, set), SYN_WAYS);
		evicts = set->watch_tag[i];
		if (evicts)
			*victim = set->watch[i];
		else
			set->watched++;
		set->watch_tag[i] = tag;
		set->watch[i].key = *key;
		set->watch[i].start_ns = 0;
		*parts.open |= gate_bit(hash);
	}
	place = &set->watch[bounded(i, SYN_WAYS)];
	place->due_ns = due_ns;
	if (facts && facts->known)
		place->facts = *facts;
	else if (place->start_ns != start_ns)
		place->facts.known = false;
	place->start_ns = start_ns;
	note_due(parts.due, due_ns);
	bpf_spin_unlock(&set->lock);
	return evicts;
}

/* Watches the connection no more. Returns whether there are facts of it: *facts. */
__noinline bool unwatch(const struct flow_key *key, __u64 start_ns, struct facts *facts)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct set_parts parts;
	struct syn_set *set;
	bool known = false;
	__u64 hash;
	__u32 i;

	if (!key || !facts || !scratch)
		return false;
	hash = hash_key(key);
	if (!find_set(set_index(hash), &parts))
		return false;
	set = parts.set;
	bpf_spin_lock(&set->lock);
	i = find_watch_locked(scratch, set, key, tag_of(hash));
	if (i < SYN_WAYS && set->watch[bounded(i, SYN_WAYS)].start_ns == start_ns) {
		known = set->watch[bounded(i, SYN_WAYS)].facts.known;
		if (known)
			*facts = set->watch[bounded(i, SYN_WAYS)].facts;
		set->watch_tag[bounded(i, SYN_WAYS)] = 0;
		set->watched--;
		shut_gate_locked(set, parts.open);
	}
	bpf_spin_unlock(&set->lock);
	return known;
}

enum expired {
	NOTHING_EXPIRED,
	HANDSHAKE_EXPIRED,
	WATCH_EXPIRED,
};

/*
 * Takes one out of the set whose time is up: a handshake into *out, or a watch into *watched. If there is none, notes
 * when the next one's is.
 */
__noinline enum expired take_expired(__u32 index, __u64 now, __u64 timeout, struct syn_slot *out, struct watch *watched)
{
	struct scratch *scratch = only_value(&nt_scratch);
	volatile __u32 *slot_at, *watch_at;
	struct set_parts parts;
	struct syn_set *set;
	__u32 i, slot, place;
	__u64 *due;

	if (!find_set(index, &parts) || !scratch || !out || !watched)
		return NOTHING_EXPIRED;
	set = parts.set;
	due = parts.due;
	slot_at = &scratch->index;
	watch_at = &scratch->watch_index;
	bpf_spin_lock(&set->lock);
	*slot_at = SYN_WAYS;
	*watch_at = SYN_WAYS;
	*due = 0;
	NOT_UNROLLED
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
		*out = set->slot[slot];
		free_slot_locked(set, parts.open, slot);
	} else if (place < SYN_WAYS) {
		*watched = set->watch[place];
		set->watch_tag[place] = 0;
		set->watched--;
		shut_gate_locked(set, parts.open);
	}
	bpf_spin_unlock(&set->lock);
	return slot < SYN_WAYS ? HANDSHAKE_EXPIRED : place < SYN_WAYS ? WATCH_EXPIRED : NOTHING_EXPIRED;
}

#endif
