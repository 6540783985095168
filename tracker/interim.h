/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * interim.h - connections that live long do not hide: write_interims(), for timeout.h, writes a record of each that is established
 * whenever it has lived for another config.interim seconds.
 *
 * The clock goes through the sets whose gate is open, where those that are closing are, and through nt_rest. Each connection is due
 * at times of its own, counted from its first SYN: so records come as evenly as connections did. That time is kept with it,
 * wherever it is. What a record tells is what the maps have: where no packet is, no socket can be asked.
 *
 * A connection may end while its interim record is written: then that can stand behind the final one.
 */
#ifndef NETRACKER_INTERIM_H
#define NETRACKER_INTERIM_H

#include "maps.h"
#include "report.h"
#include "rest.h"
#include "scratch.h"
#include "sets.h"
#include "silence.h"
#include "verifier.h"

/*
 * Sets, and behind them places in nt_rest, are gone through in rows of INTERIM_ROW. In one go so many, unless it has been at work
 * for INTERIM_NS; it comes again LISTEN_STEP_NS later, until it has been everywhere. So it takes 4 % of a CPU at most.
 */
#define INTERIM_ROW 64
#define INTERIM_ROWS 128
#define INTERIM_NS 200000ULL

/* When it begins anew: often enough that nobody's time is missed, and no more often than once a second. */
#define INTERIM_PAUSE(interval_s) ((interval_s) < 4 ? (interval_s) * (NSEC_PER_SEC / 4) : NSEC_PER_SEC)

/* Of one connection: for how many intervals it has lived, and when the next one is over. */
struct age {
	__u32 intervals;
	__u32 next_s;
};

/* The first second of its life is the one that begins with it or behind: so no record is early. */
static __always_inline __u32 first_second(const struct flow *f)
{
	return (f->start_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
}

static __always_inline struct age age_at(const struct flow *f, __u32 now_s, __u32 interval_s)
{
	__u32 first_s = first_second(f), intervals = now_s > first_s ? (now_s - first_s) / interval_s : 0;

	return (struct age){ .intervals = intervals, .next_s = first_s + (intervals + 1) * interval_s };
}

/* The time that was noted, of which the low bits are there; 0: none. */
static __always_inline __u32 due_second(__u32 noted_s, __u32 now_s)
{
	return noted_s ? now_s + ((__s32)((noted_s - now_s) << 8) >> 8) : 0;
}

/* Is there nothing to do until this time of a connection? One that is further off than it can be is of another interval. */
static __always_inline bool is_later(__u32 noted_s, __u32 now_s, __u32 interval_s)
{
	__u32 due_s = due_second(noted_s, now_s);

	return due_s > now_s && due_s - now_s <= interval_s;
}

/* Is a record due since this time, which has come? Not if it was noted before the interval was set, or is another interval's. */
static __always_inline bool is_due_since(const struct flow *f, __u32 noted_s, __u32 now_s, __u32 interval_s, __u32 since_s)
{
	__u32 due_s = due_second(noted_s, now_s), first_s = first_second(f);

	return due_s >= since_s && due_s <= now_s && due_s > first_s && (due_s - first_s) % interval_s == 0;
}

/* The connection that has this place in nt_rest, if there is one that wants it. Returns 0. */
__noinline int write_resting(__u32 place, __u64 now, __u32 interval_s)
{
	struct rest *rest = bpf_map_lookup_elem(&nt_rest, &place);
	const struct silence *silence = only_value(&nt_silence);
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 now_s = now / NSEC_PER_SEC, noted_s, intervals;
	const struct conn *c;
	struct age age;

	if (!rest || !silence || !scratch || !interval_s)
		return 0;
	noted_s = rest->interim_s;
	if (!rest->alive_s || is_later(noted_s, now_s, interval_s))
		return 0;
	scratch->fresh_key = rest->key;
	c = bpf_map_lookup_elem(&conn_map, &scratch->fresh_key);
	if (!c || c->place != place)
		return 0;
	scratch->slot.key = *tuple_of(&scratch->fresh_key);
	scratch->slot.flow = c->flow;
	scratch->slot.facts.known = false;
	age = age_at(&scratch->slot.flow, now_s, interval_s);
	intervals = age.intervals;
	if (!is_due_since(&scratch->slot.flow, noted_s, now_s, interval_s, silence->interim_since_s))
		intervals = 0;
	/* Who takes it out of conn_map takes this along. If he was faster, he has the connection. */
	if (__sync_val_compare_and_swap(&rest->interim_s, noted_s, age.next_s) != noted_s || !rest->alive_s)
		return 0;
	if (intervals)
		log_interim(&scratch->slot, now, intervals);
	scratch->late = !has_time(scratch);
	return 0;
}

/* One of a set, if there is one that wants it. Returns whether there was. */
__noinline bool write_moving(__u32 index, __u64 now, __u32 interval_s)
{
	const struct silence *silence = only_value(&nt_silence);
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 i, now_s = now / NSEC_PER_SEC, intervals = 0;
	volatile __u32 *at;
	struct parts parts;
	bool found;

	if (!silence || !scratch || !interval_s || !find_parts(index, &parts))
		return false;
	at = &scratch->index;
	bpf_spin_lock(&parts.set->lock);
	*at = NO_PLACE;
	NOT_UNROLLED
	for (i = 0; i < SYN_WAYS; i++) {
		const struct flow *f = &slot_at(&parts, i)->flow;

		if (parts.set->tag[i] && (f->flags & (ESTABLISHED | MOVING | ENDED)) == ESTABLISHED &&
		    !is_later(f->interim_s, now_s, interval_s))
			*at = i;
	}
	i = *at;
	found = i < SYN_WAYS;
	if (found) {
		struct slot *slot = slot_at(&parts, i);
		struct age age = age_at(&slot->flow, now_s, interval_s);

		if (is_due_since(&slot->flow, slot->flow.interim_s, now_s, interval_s, silence->interim_since_s))
			intervals = age.intervals;
		slot->flow.interim_s = age.next_s;
		scratch->slot = *slot;
	}
	bpf_spin_unlock(&parts.set->lock);
	if (intervals)
		log_interim(&scratch->slot, now, intervals);
	return found;
}

/* All of a set, if its gate is open. Who is young is at rest before he has lived for a second. Returns 0. */
__noinline int write_set(__u32 index, __u64 now, __u32 interval_s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	const struct gate *gate = only_value(&nt_gate);
	__u32 n;

	if (!scratch || !gate || !gate->open[bounded(index, SYN_SETS)])
		return 0;
	NOT_UNROLLED
	for (n = 0; n < SYN_WAYS; n++)
		if (!write_moving(index, now, interval_s))
			break;
	scratch->late = !has_time(scratch);
	return 0;
}

/*
 * Who is in a row, as long as there is time; what is left of it is done the next time, as who has been looked at is not due any
 * more. Returns 0.
 */
__noinline int write_row(__u32 row, __u64 now, __u32 interval_s)
{
	struct silence *silence = only_value(&nt_silence);
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 i;

	if (!silence || !scratch)
		return 0;
	NOT_UNROLLED
	for (i = 0; i < INTERIM_ROW; i++) {
		__u32 n = row * INTERIM_ROW + i;

		if (n < SYN_SETS)
			write_set(n, now, interval_s);
		else
			write_resting(n - SYN_SETS, now, interval_s);
		if (scratch->late)
			return 0;
	}
	silence->interim_row = row + 1;
	scratch->late = !has_time(scratch);
	return 0;
}

/*
 * Goes on with the interim records, if there are to be any. now: when the clock went off. Returns when it wants to be called again;
 * 0: there are none. scratch->acted: soon, as it has not been everywhere.
 */
__noinline __u64 write_interims(__u64 now)
{
	const struct config *config = only_value(&nt_config);
	struct silence *silence = only_value(&nt_silence);
	struct scratch *scratch = only_value(&nt_scratch);
	__u32 interval_s, rows, n;
	bool any;

	if (!config || !silence || !scratch)
		return 0;
	interval_s = config->interim;
	if (silence->interim != interval_s) {
		silence->interim = interval_s;
		silence->interim_since_s = now / NSEC_PER_SEC;
		silence->interim_ns = 0;
	}
	if (!interval_s)
		return 0;
	if (now < silence->interim_ns)
		return silence->interim_ns;
	rows = (SYN_SETS + extent_of_rest(silence, &any) + INTERIM_ROW - 1) / INTERIM_ROW;
	scratch->until_ns = bpf_ktime_get_boot_ns() + INTERIM_NS;
	scratch->late = false;
	NOT_UNROLLED
	for (n = 0; n < INTERIM_ROWS; n++) {
		if (scratch->late || silence->interim_row >= rows)
			break;
		write_row(silence->interim_row, now, interval_s);
	}
	if (silence->interim_row >= rows) {
		silence->interim_row = 0;
		silence->interim_ns = now + INTERIM_PAUSE(interval_s);
	} else {
		silence->interim_ns = now + LISTEN_STEP_NS;
		scratch->acted = true;
	}
	return silence->interim_ns;
}

#endif
