/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * text.h - text, written by BPF. For record.h and the views, which write it; report.h has it printed from the memory that
 * scratch.h keeps for it; socket.h, too, has to tell an IPv4 address.
 *
 * The kernel's formatting helpers take 12 values a call and 100 to 200 ns a value, and they do not compress IPv6 addresses: %pI6c
 * comes out as %pI6 (bpf_bprintf_prepare, kernel/bpf/helpers.c). A record has more than 20 values and half of what its connection
 * costs would be spent on them.
 *
 * The functions are global where that spares the verifier work: it checks a global function once, not once a call. The length
 * is volatile, and so always in memory: there the verifier does not follow its values either.
 */
#ifndef NETRACKER_TEXT_H
#define NETRACKER_TEXT_H

#include "../NeTracker.h"
#include "verifier.h"

#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Who includes this may want a smaller text. */
#ifndef TEXT_LEN
#define TEXT_LEN 2048  /* power of two, beyond the longest record; bpf_trace_printk cuts at 511 characters */
#define LITERAL_LEN 32 /* the longest literal, and the room behind the text that it may reach into */
#endif

struct text {
	volatile __u32 len;
	volatile __u32 whole;      /* for who writes it: how much of it makes a text */
	char name[IFACE_NAME_LEN]; /* to be written next: put_name() */
	volatile __u32 until;      /* where the character ends that is being written */
	volatile __u32 plain;      /* it is written as it is */
	char c[TEXT_LEN + LITERAL_LEN];
};

struct address {
	__u8 byte[16];
};

static __always_inline bool is_ipv4(const __u8 *address)
{
	const __u32 *word = (const __u32 *)address;

	return word[0] == 0 && word[1] == 0 && word[2] == bpf_htonl(0xffff);
}

static __always_inline void put_char(struct text *t, char c)
{
	__u32 at = t->len;

	t->c[at & (TEXT_LEN - 1)] = c;
	t->len = at + 1;
}

#define put_literal(t, literal)                                                                  \
	({                                                                                       \
		__u32 at_ = (t)->len;                                                            \
		_Static_assert(sizeof(literal) <= LITERAL_LEN, "too long a literal");            \
		__builtin_memcpy((t)->c + (at_ & (TEXT_LEN - 1)), literal, sizeof(literal) - 1); \
		(t)->len = at_ + sizeof(literal) - 1;                                            \
	})

/* Writes a string that ends with a NUL or has max characters. */
static __always_inline void put_string(struct text *t, const char *s, __u32 max)
{
	__u32 i;

	for (i = 0; i < max && s[i]; i++)
		put_char(t, s[i]);
}

/*
 * How many of the n bytes at s, one at least, make a character of UTF-8; *whole: they do. If not, they are what begins one and is
 * cut off there, or one byte that begins none: what Unicode recommends to replace by one U+FFFD.
 */
static __always_inline __u32 utf8_length(const char *s, __u32 n, bool *whole)
{
	__u8 first = s[0], low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80, high = first == 0xed ? 0x9f : 0xbf;
	__u32 wanted = 1 + (first >= 0xc2) + (first >= 0xe0) + (first >= 0xf0), i;

	if (first == 0xf4)
		high = 0x8f;
	*whole = first < 0x80;
	if (first < 0xc2 || first > 0xf4)
		return 1;
	for (i = 1; i < 4 && i < wanted; i++) {
		if (i >= n || (__u8)s[i] < low || (__u8)s[i] > high)
			return i;
		low = 0x80;
		high = 0xbf;
	}
	*whole = true;
	return wanted;
}

/* Is the character a control character? Those from 0x80 on have two bytes. */
static __always_inline bool is_control(const char *s, __u32 length)
{
	return length == 1 ? (__u8)s[0] < ' ' || s[0] == 0x7f : length == 2 && (__u8)s[0] == 0xc2 && (__u8)s[1] < 0xa0;
}

/*
 * Writes the last n decimal digits of a number below 10^9, from the right; n is 9 at most. One multiplication a digit. The loop
 * has no second way out, as clang 15 to 22 would then not unroll it.
 */
static __always_inline void put_digits(struct text *t, __u32 value, __u32 n)
{
	__u32 at = t->len, i;

#pragma unroll
	for (i = 0; i < 9; i++) {
		__u32 tenth = (value * 0xCCCCCCCDULL) >> 35;

		if (i < n)
			t->c[(at + n - 1 - i) & (TEXT_LEN - 1)] = '0' + (value - tenth * 10);
		value = tenth;
	}
	t->len = at + n;
}

static __always_inline __u32 digits_of(__u32 value)
{
	return 1 + (value > 9) + (value > 99) + (value > 999) + (value > 9999) + (value > 99999) + (value > 999999) +
	       (value > 9999999) + (value > 99999999);
}

/* Writes the nine lowest digits of a number, without leading zeros if it has no others. */
__noinline int put_nine(struct text *t, __u32 value, bool all)
{
	if (t)
		put_digits(t, value, all ? 9 : digits_of(value));
	return 0;
}

/* Writes an unsigned number. */
__noinline int put_number(struct text *t, __u64 value)
{
	__u64 high = value / 1000000000, highest = high / 1000000000;

	if (highest)
		put_nine(t, highest, false);
	if (high)
		put_nine(t, high - highest * 1000000000, highest > 0);
	return put_nine(t, value - high * 1000000000, high > 0);
}

/* Without a branch or a table: the former costs the verifier, the latter would get a section of its own. */
static __always_inline char hex_digit(__u32 value)
{
	value &= 15;
	return '0' + value + (value + 6) / 16 * ('a' - '0' - 10);
}

/*
 * Of put_name(): writes the byte at i. The first one of a character says how the others are written, too. Returns 0.
 */
__noinline int put_name_byte(struct text *t, __u32 i)
{
	__u32 length;
	bool plain;

	if (!t || i >= IFACE_NAME_LEN)
		return 0;
	if (i >= t->until) {
		length = utf8_length(t->name + i, IFACE_NAME_LEN - i, &plain);
		t->until = i + length;
		t->plain = plain && t->name[i] != '\\' && t->name[i] != ' ' && !is_control(t->name + i, length);
	}
	if (t->plain) {
		put_char(t, t->name[i]);
		return 0;
	}
	put_literal(t, "\\x");
	put_char(t, hex_digit(t->name[i] >> 4));
	put_char(t, hex_digit(t->name[i]));
	return 0;
}

/*
 * Writes t->name, a text from outside. What would do harm to a terminal, is no UTF-8 or would end the field goes as \xHH, byte by
 * byte, and so does the backslash. Returns 0.
 */
__noinline int put_name(struct text *t)
{
	__u32 i;

	if (!t)
		return 0;
	t->until = 0;
	NOT_UNROLLED
	for (i = 0; i < IFACE_NAME_LEN && t->name[i]; i++)
		put_name_byte(t, i);
	return 0;
}

/*
 * The longest run of two or more zero groups, the first of equals: its first group << 4 | the group behind it; 0 if none.
 * Bit i of `runs` says that a run of n zero groups begins at group i; a run of n + 1 begins where two of n begin in a row.
 */
static __always_inline __u32 longest_zero_run(const struct address *a)
{
	__u32 i, zero = 0, runs, longest = 0, n;

	for (i = 0; i < 8; i++)
		zero |= ((a->byte[2 * i] | a->byte[2 * i + 1]) - 1U) >> 31 << i;
	for (n = 2, runs = zero & zero >> 1; n <= 8 && runs; n++, runs &= zero >> (n - 1))
		longest = n << 8 | runs;
	for (i = 0; i < 8; i++)
		if (longest & 1 << i)
			return i << 4 | (i + (longest >> 8));
	return 0;
}

/* Writes a group of an address with what precedes it; of a run that is left out, only one colon for its first group. */
__noinline int put_group(struct text *t, __u32 group, bool colon, bool left_out)
{
	if (!t)
		return 0;
	if (colon)
		put_char(t, ':');
	if (left_out)
		return 0;
	if (group > 0xfff)
		put_char(t, hex_digit(group >> 12));
	if (group > 0xff)
		put_char(t, hex_digit(group >> 8));
	if (group > 0xf)
		put_char(t, hex_digit(group >> 4));
	put_char(t, hex_digit(group));
	return 0;
}

/* Writes an IPv6 address as RFC 5952 wants it: lower case, no leading zeros, the longest run of zero groups as "::". */
static __always_inline void put_ipv6(struct text *t, const struct address *a)
{
	__u32 i, run = longest_zero_run(a), first = run >> 4, behind = run & 15;

	for (i = 0; i < 8; i++) {
		bool left_out = i >= first && i < behind;

		put_group(t, a->byte[2 * i] << 8 | a->byte[2 * i + 1], left_out ? i == first : i > 0, left_out);
	}
	if (behind == 8)
		put_char(t, ':');
}

/* Writes an address, an IPv6 one between brackets if it is to be told from a port. */
static __always_inline void put_address(struct text *t, const struct address *a, bool brackets)
{
	if (is_ipv4(a->byte)) {
		put_nine(t, a->byte[12], false);
		put_char(t, '.');
		put_nine(t, a->byte[13], false);
		put_char(t, '.');
		put_nine(t, a->byte[14], false);
		put_char(t, '.');
		put_nine(t, a->byte[15], false);
		return;
	}
	if (brackets)
		put_char(t, '[');
	put_ipv6(t, a);
	if (brackets)
		put_char(t, ']');
}

/* Writes address:port, an IPv6 address in brackets. */
__noinline int put_endpoint(struct text *t, const struct address *a, __u32 port)
{
	if (!t || !a)
		return 0;
	put_address(t, a, true);
	put_char(t, ':');
	return put_nine(t, port, false);
}

#endif
