/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * facts.h - what a socket of this host is made to tell, however it was found. For socket.h, which finds that of a segment, and for
 * the views, which go over all of them; and for the facts in tables.h.
 */
#ifndef NETRACKER_FACTS_H
#define NETRACKER_FACTS_H

#include "../NeTracker.h"
#include "kernel.h"
#include "verifier.h"

#include <stdbool.h>

#include <bpf/bpf_helpers.h>

/* How far the kernel's clock is from ticking so often a second, in thousandths of a tick. */
static __always_inline __u64 clock_error(__s64 ticks, __s64 ms, __u32 hz)
{
	__s64 off = ticks * 1000 - ms * hz;

	return off < 0 ? -off : off;
}

/*
 * How long the kernel's clock tick is, microseconds. A kernel is built for 100, 250, 300 or 1,000 a second, and says nowhere for
 * which; but it counts them from a number on with which it is at 2^32 after five minutes (INITIAL_JIFFIES,
 * include/linux/jiffies.h). Right then all four would be right: *sure is false.
 */
static __always_inline __u32 measured_tick_us(bool *sure)
{
	__s64 ticks = bpf_jiffies64() - (1ULL << 32), ms = bpf_ktime_get_ns() / 1000000 - 300000;
	__u32 hz = clock_error(ticks, ms, 100) < clock_error(ticks, ms, 250) ? 100 : 250;

	if (clock_error(ticks, ms, 300) < clock_error(ticks, ms, hz))
		hz = 300;
	if (clock_error(ticks, ms, 1000) < clock_error(ticks, ms, hz))
		hz = 1000;
	*sure = ms > 10000 || ms < -10000;
	return hz == 100 ? 10000 : hz == 250 ? 4000 : hz == 300 ? 3333 : 1000;
}

/* Payload bytes a second, as last measured where the application did not hold it back (tcp_compute_delivery_rate()); 0: never. */
static __always_inline __u64 delivery_rate(const struct bpf_tcp_sock *tcp)
{
	__u64 interval_us = tcp->rate_interval_us;

	return interval_us ? (__u64)tcp->rate_delivered * tcp->mss_cache * 1000000 / interval_us : 0;
}

/* kernel: the same socket, as the kernel has it; NULL: not known. tick_us: of the kernel's clock. */
static __always_inline void read_facts(struct facts *facts, const struct bpf_tcp_sock *tcp, const struct tcp_sock *kernel __unused,
                                       __u32 tick_us)
{
	facts->tick_us = tick_us;
	facts->bytes_acked = tcp->bytes_acked;
	facts->bytes_received = tcp->bytes_received;
	facts->snd_una = tcp->snd_una;
	facts->rcv_nxt = tcp->rcv_nxt;
	facts->segs_out = tcp->segs_out;
	facts->segs_in = tcp->segs_in;
#define NOT_READ(...)
#define FACT(key, json, of, unit, unknown, heading, width, bits, value) facts->key = value;
	FIELDS(NOT_READ, NOT_READ, NOT_READ, NOT_READ, FACT)
#undef NOT_READ
#undef FACT
	facts->known = true;
}

#endif
