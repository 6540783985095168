/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * unit.h - the tests' runner. A file is a program: its main() gives each test to RUN() and returns unit_end(). What is not as it
 * should be is told on stderr, a line for each with its place, its values and the test it is in; the rest of the test still runs.
 */
#ifndef UNIT_H
#define UNIT_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *unit_test = "main";
static unsigned long unit_tests, unit_checks, unit_failures;

/* After so many the rest says nothing new. */
#define UNIT_FAILURES_SHOWN 20

/* Counts one check; says what is wrong with it if it did not hold. */
#define unit_check(holds, ...)                                                         \
	({                                                                             \
		bool holds_ = (holds);                                                 \
		unit_checks++;                                                         \
		if (!holds_ && unit_failures++ < UNIT_FAILURES_SHOWN) {                \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, unit_test); \
			fprintf(stderr, __VA_ARGS__);                                  \
			fputc('\n', stderr);                                           \
		}                                                                      \
		holds_;                                                                \
	})

/* The condition holds. */
#define CHECK(condition) unit_check(condition, "not so: %s", #condition)

/* Two whole numbers are the same. Both are evaluated once. Returns whether they are. */
#define CHECK_EQUAL(got, want)                                                                                                 \
	({                                                                                                                     \
		uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);                                                     \
		unit_check(got_ == want_, "%s: got %" PRIu64 " (0x%" PRIx64 "), want %" PRIu64 " (0x%" PRIx64 ")", #got, got_, \
		           got_, want_, want_);                                                                                \
	})

/* Two strings are the same. */
#define CHECK_TEXT(got, want)                                                                   \
	({                                                                                      \
		const char *got_ = (got), *want_ = (want);                                      \
		unit_check(!strcmp(got_, want_), "%s: got '%s', want '%s'", #got, got_, want_); \
	})

#define RUN(test)                  \
	do {                       \
		unit_test = #test; \
		unit_tests++;      \
		test();            \
	} while (0)

/* The same numbers in each run (xorshift64*), so that what fails once fails again. */
static uint64_t unit_seed = 0x9E3779B97F4A7C15ULL;

static inline uint64_t any64(void)
{
	unit_seed ^= unit_seed >> 12;
	unit_seed ^= unit_seed << 25;
	unit_seed ^= unit_seed >> 27;
	return unit_seed * 0x2545F4914F6CDD1DULL;
}

/* Any number below n, n > 0. */
static inline uint32_t any_below(uint32_t n)
{
	return (any64() >> 32) * n >> 32;
}

/* Says how much was looked at. Returns the program's exit status: 0 if all held. */
static inline int unit_end(void)
{
	printf("%lu tests, %lu checks, %lu failed\n", unit_tests, unit_checks, unit_failures);
	return unit_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
