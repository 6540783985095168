/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * clock.h - the one timer behind all time-outs. set_clock() is for who gives something a time limit, motion.h and rest.h; the rest
 * for timeout.h, and silence.h for its times. Nobody else sets the timer.
 */
#ifndef NETRACKER_CLOCK_H
#define NETRACKER_CLOCK_H

#include "maps.h"

/* The kernel's only clock for timers and stamps here: it runs on through suspend, and no clock setting moves it. */
#define CLOCK_BOOTTIME 7

/*
 * The clock's steps: how long it sleeps at most while something is due, and at least. Under load something is always due, and each
 * time it looks through the times of all sets.
 */
#define CLOCK_STEP_NS NSEC_PER_SEC
#define CLOCK_SLACK_NS 20000000ULL

/*
 * The timer's callback, in timeout.h. It ends connections, and so stands behind all that may set the clock; set_clock() needs no
 * more than its name.
 */
static int on_clock(void *map, __u32 *key, struct clock *clock);

/*
 * How long the clock has to sleep to go off at due_ns; 0: it goes off early enough as it is. Two CPUs may race to set it, and the
 * later time win: so it never sleeps for longer than CLOCK_STEP_NS, and one that should have gone off long ago is set anew.
 */
static __always_inline __u64 clock_delay(const struct clock *clock, __u64 due_ns, __u64 now)
{
	__u64 delay_ns = due_ns > now + CLOCK_STEP_NS ? CLOCK_STEP_NS : due_ns > now ? due_ns - now : 0;

	if (clock->armed_ns && clock->armed_ns <= now + delay_ns && clock->armed_ns + CLOCK_STEP_NS > now)
		return 0;
	return delay_ns < CLOCK_SLACK_NS ? CLOCK_SLACK_NS : delay_ns;
}

static __always_inline void start_clock(struct clock *clock, __u64 delay_ns, __u64 now)
{
	clock->armed_ns = now + delay_ns;
	if (bpf_timer_start(&clock->timer, delay_ns, 0)) {
		COUNT(timer_failed);
		clock->armed_ns = 0;
	}
}

/* Sees to it that the clock goes off at due_ns or earlier. */
static __always_inline void set_clock(__u64 due_ns, __u64 now)
{
	struct clock *clock = only_value(&nt_clock);
	__u64 delay_ns = clock ? clock_delay(clock, due_ns, now) : 0;

	if (!clock || !delay_ns)
		return;
	bpf_timer_init(&clock->timer, &nt_clock, CLOCK_BOOTTIME); /* -EBUSY: it is already */
	bpf_timer_set_callback(&clock->timer, on_clock);          /* without it the start fails, and is counted */
	start_clock(clock, delay_ns, now);
}

#endif
