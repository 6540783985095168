/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * timeout.h - what ends without a packet of its own: by the clock, on_clock(), and on request, flush(). For clock.h, which arms the
 * one, and NeTracker.bpf.c, which is asked for the other.
 */
#ifndef NETRACKER_TIMEOUT_H
#define NETRACKER_TIMEOUT_H

#include "clock.h"
#include "closing.h"
#include "interim.h"
#include "maps.h"
#include "motion.h"
#include "rest.h"
#include "scratch.h"
#include "sets.h"
#include "silence.h"
#include "verifier.h"

/* Connections that one run of flush() ends at most: bounds the time with bottom halves off. */
#define FLUSH_BATCH 1024

#define DUE_ROWS (SYN_SETS / DUE_ROW)

/* Time-outs that the clock looks at in one go, at most; so it may leave some for the next. */
#define TICK_BATCH 256

enum expired {
	NOTHING_EXPIRED,
	ATTEMPT_EXPIRED,
	CLOSING_EXPIRED,
	REST_EXPIRED, /* it goes to rest */
};

/*
 * Takes one out of the set whose time is up, into *out; one that goes to rest is left where it is, its place in scratch->index. If
 * there is none, notes when the next one's is. everything: the time of all is up, and nobody goes to rest.
 */
__noinline int take_expired(__u32 index, __u64 now, bool everything, struct slot *out)
{
	__u64 handshake_timeout = handshake_timeout_ns(), close_timeout = close_timeout_ns();
	struct scratch *scratch = only_value(&nt_scratch);
	enum expired expired = NOTHING_EXPIRED;
	__u32 i, place, slot = NO_SLOT;
	volatile __u32 *at;
	struct parts parts;

	if (!scratch || !out || !find_parts(index, &parts))
		return NOTHING_EXPIRED;
	at = &scratch->index;
	bpf_spin_lock(&parts.set->lock);
	*at = NO_PLACE;
	parts.set->due_ns = 0;
	NOT_UNROLLED
	for (i = 0; i < SYN_WAYS; i++) {
		const struct flow *f = &slot_at(&parts, i)->flow;
		__u64 due_ns;

		if (!parts.set->tag[i] || f->flags & ENDED)
			continue;
		due_ns = due_at(f, handshake_timeout, close_timeout);
		if (!(f->flags & MOVING) && (everything || due_ns <= now))
			*at = i;
		note_due(&parts.set->due_ns, due_ns);
	}
	*parts.due = parts.set->due_ns;
	place = *at;
	if (place < SYN_WAYS) {
		struct slot *found = slot_at(&parts, place);

		expired = !(found->flow.flags & ESTABLISHED)          ? ATTEMPT_EXPIRED
		          : !everything && goes_to_rest(&found->flow) ? REST_EXPIRED
		                                                      : CLOSING_EXPIRED;
		if (expired != REST_EXPIRED) {
			*out = *found;
			slot = free_place_locked(&parts, place);
		}
	}
	bpf_spin_unlock(&parts.set->lock);
	if (slot != NO_SLOT)
		give_slot(parts.pool, slot);
	return expired;
}

/* Ends what is due in a set. Returns the number of time-outs that were looked at. */
__noinline int on_due(__u32 index, __u64 now)
{
	struct scratch *scratch = only_value(&nt_scratch);
	bool by_silence;
	int n;

	if (!scratch)
		return 0;
	for (n = 0; n < 2 * SYN_WAYS; n++) {
		switch (take_expired(index, now, false, &scratch->slot)) {
		case ATTEMPT_EXPIRED:
			if (give_up(&scratch->slot))
				COUNT(expired);
			break;
		case CLOSING_EXPIRED:
			by_silence = scratch->slot.flow.flags & RST_PENDING || (scratch->slot.flow.flags & BOTH_FINS) == BOTH_FINS;
			end_taken(&scratch->slot, now);
			if (!by_silence)
				COUNT(expired);
			break;
		case REST_EXPIRED:
			lay_to_rest(index, scratch->index, now);
			break;
		default:
			return n;
		}
	}
	return n;
}

/* Ends what is due in a row of sets, and notes in scratch->next_ns when the next one is due. */
__noinline int on_row_due(__u32 row, __u64 now)
{
	struct due_row *due = bpf_map_lookup_elem(&nt_due, &row);
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 i;

	if (!due || !scratch)
		return 0;
	if (scratch->ended < TICK_BATCH)
		scratch->row = row;
	NOT_UNROLLED
	for (i = 0; i < DUE_ROW; i++) {
		__u64 due_ns = due->due_ns[i];

		if (!due_ns)
			continue;
		if (due_ns <= now && scratch->ended < TICK_BATCH)
			scratch->ended += on_due(row * DUE_ROW + i, now);
		note_due(&scratch->next_ns, due->due_ns[i]);
	}
	return 0;
}

/*
 * The clock goes off: looks through the sets' times, 64 KiB in a row, and into the sets that are due. It clears armed_ns first:
 * whoever adds something behind its back then sets it again. Nothing that is called from here may set the callback: some kernels
 * (6.1, 7.2) take that for a recursion.
 */
static int on_clock(void *map __unused, __u32 *key __unused, struct clock *clock)
{
	struct scratch *scratch = only_value(&nt_scratch);
	__u64 now = bpf_ktime_get_boot_ns(), delay_ns;
	__u32 first, n;

	if (!scratch)
		return 0;
	if (scratch->flushing) {
		start_clock(clock, CLOCK_SLACK_NS, now);
		return 0;
	}
	scratch->ended = 0;
	scratch->next_ns = 0;
	scratch->acted = false;
	clock->armed_ns = 0;
	first = clock->row;
	NOT_UNROLLED
	for (n = 0; n < DUE_ROWS; n++)
		on_row_due(bounded(first + n, DUE_ROWS), now);
	clock->row = scratch->row;
	note_due(&scratch->next_ns, listen(now));
	/* Where there is a connection, something is due. */
	if (scratch->next_ns)
		note_due(&scratch->next_ns, write_interims(now));
	delay_ns = scratch->next_ns ? clock_delay(clock, scratch->next_ns, now) : 0;
	if (scratch->acted)
		delay_ns = LISTEN_STEP_NS;
	if (delay_ns)
		start_clock(clock, delay_ns, now);
	return 0;
}

/*
 * A run of flush() ends after FLUSH_BATCH connections. Their count is kept in a map and not on the stack, where the verifier would
 * follow it through every step of the loops.
 */
static __always_inline bool is_flushed_enough(struct scratch *scratch)
{
	return scratch->flushed >= FLUSH_BATCH;
}

/* What is in motion in a set. */
static long flush_set(void *map __unused, const __u32 *index, struct syn_set *set, void *context __unused)
{
	struct scratch *scratch = only_value(&nt_scratch);
	int n;

	if (!scratch || !places_taken(set))
		return 0;
	for (n = 0; n < SYN_WAYS; n++) {
		enum expired taken = take_expired(*index, 0, true, &scratch->slot);

		if (taken == NOTHING_EXPIRED)
			break;
		if (taken == ATTEMPT_EXPIRED)
			give_up(&scratch->slot);
		else
			end_taken(&scratch->slot, bpf_ktime_get_boot_ns());
		scratch->flushed++;
	}
	/* One that is on its way, or just being reported by another CPU. */
	if (places_taken(set))
		scratch->left = true;
	return is_flushed_enough(scratch);
}

static long flush_connection(void *map __unused, const struct conn_key *key, struct conn *c __unused, void *context __unused)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct syn_set *set;

	if (!scratch)
		return 1;
	scratch->fresh_key = *key;
	set = set_of(hash_key(tuple_of(&scratch->fresh_key)));
	if (set)
		end_resting(scratch, set, bpf_ktime_get_boot_ns());
	scratch->flushed++;
	return is_flushed_enough(scratch);
}

/*
 * On request of detach, ends everything that is still alive: config.flush. Detach runs it by BPF_PROG_TEST_RUN, which kernels
 * before 6.11 do with bottom halves on: there the clock can come in between, and has to leave the scratch space alone.
 */
__noinline int flush(void)
{
	struct config *config = only_value(&nt_config);
	struct scratch *scratch = only_value(&nt_scratch);

	if (!config || !config->flush || !scratch)
		return 0;
	scratch->flushed = 0;
	scratch->left = false;
	scratch->flushing = true;
	bpf_for_each_map_elem(&syn_map, flush_set, NULL, 0);
	if (!is_flushed_enough(scratch))
		bpf_for_each_map_elem(&conn_map, flush_connection, NULL, 0);
	scratch->flushing = false;
	if (!is_flushed_enough(scratch) && !scratch->left)
		config->flush = 0;
	return 0;
}

#endif
