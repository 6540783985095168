// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/text.h: numbers as printf writes them, addresses as RFC 5952 and inet_ntop do.
 */
#include <arpa/inet.h>

#include "unit.h"

#include "../../tracker/text.h"

static struct text text;

/* What has been written since the last begin(). */
static const char *written(void)
{
	put_char(&text, '\0');
	return text.c;
}

static void begin(void)
{
	memset(&text, 'x', sizeof(text));
	text.len = 0;
}

static void check_number(__u64 value)
{
	char want[32];

	snprintf(want, sizeof(want), "%" PRIu64, (uint64_t)value);
	begin();
	put_number(&text, value);
	CHECK_TEXT(written(), want);
}

static void numbers_are_as_printf_writes_them(void)
{
	__u64 power = 1;
	int i;

	for (i = 0; i < 20; i++, power *= 10) {
		check_number(power - 1);
		check_number(power);
		check_number(power + 1);
	}
	for (i = 0; i < 64; i++) {
		check_number(1ULL << i);
		check_number((1ULL << i) - 1);
	}
	check_number(~0ULL);
	for (i = 0; i < 20000; i++)
		check_number(any64() >> any_below(64));
}

/* The longest run of two or more zero groups, looked for in the slow way: *first and *behind; both 0 if there is none. */
static void longest_run(const struct address *a, __u32 *first, __u32 *behind)
{
	__u32 i, j;

	*first = *behind = 0;
	for (i = 0; i < 8; i++) {
		for (j = i; j < 8 && !a->byte[2 * j] && !a->byte[2 * j + 1]; j++)
			;
		if (j - i >= 2 && j - i > *behind - *first) {
			*first = i;
			*behind = j;
		}
	}
}

/* In each group that is not 0 one of its bytes may be. */
static void fill(struct address *a, __u32 groups)
{
	__u32 i;

	memset(a, 0, sizeof(*a));
	for (i = 0; i < 8; i++)
		if (groups & 1 << i)
			a->byte[2 * i + any_below(2)] = 1 + any_below(255);
}

static void the_longest_run_of_zeros_is_found_in_all_256_patterns(void)
{
	__u32 groups, first, behind;
	struct address a;

	for (groups = 0; groups < 256; groups++) {
		fill(&a, groups);
		longest_run(&a, &first, &behind);
		CHECK_EQUAL(longest_zero_run(&a), first << 4 | behind);
	}
}

/* RFC 5952, written down group by group. */
static void want_ipv6(char *to, const struct address *a)
{
	__u32 i, first, behind;

	longest_run(a, &first, &behind);
	for (i = 0; i < 8; i++) {
		if (i >= first && i < behind) {
			if (i == first)
				to += sprintf(to, "::");
			continue;
		}
		to += sprintf(to, "%s%x", i && i != behind ? ":" : "", a->byte[2 * i] << 8 | a->byte[2 * i + 1]);
	}
}

/* inet_ntop() writes the last 32 bits of such an address as IPv4, which a tracker must not: they are IPv6 addresses. */
static bool looks_like_ipv4_to_inet_ntop(const struct address *a)
{
	return strchr(inet_ntop(AF_INET6, a->byte, (char[64]){}, 64), '.');
}

static void check_ipv6(const struct address *a, __u16 port)
{
	char want[80], address[64];

	want_ipv6(address, a);
	if (!looks_like_ipv4_to_inet_ntop(a))
		CHECK_TEXT(address, inet_ntop(AF_INET6, a->byte, (char[64]){}, 64));
	snprintf(want, sizeof(want), "[%s]:%u", address, port);
	begin();
	put_endpoint(&text, a, port);
	CHECK_TEXT(written(), want);
}

static void ipv6_addresses_are_as_rfc_5952_wants_them(void)
{
	struct address a;
	int i;

	for (i = 0; i < 256 * 40; i++) {
		fill(&a, i & 255);
		if (any_below(2))
			a.byte[any_below(16)] = any64();
		check_ipv6(&a, any64());
	}
	for (i = 0; i < 5000; i++) {
		((__u64 *)&a)[0] = any64();
		((__u64 *)&a)[1] = any64();
		check_ipv6(&a, any64());
	}
}

static void ipv4_addresses_are_as_inet_ntop_writes_them(void)
{
	char want[80], address[32];
	struct address a = {};
	int i;

	a.byte[10] = a.byte[11] = 0xff;
	for (i = 0; i < 10000; i++) {
		__u16 port = any64() >> any_below(16);
		__u32 v4 = any64() & (any_below(4) ? ~0U : 0x00ff00ff);

		memcpy(a.byte + 12, &v4, 4);
		snprintf(want, sizeof(want), "%s:%u", inet_ntop(AF_INET, &v4, address, sizeof(address)), port);
		begin();
		put_endpoint(&text, &a, port);
		CHECK_TEXT(written(), want);
	}
}

static void a_string_ends_with_its_nul_or_its_size(void)
{
	begin();
	put_string(&text, "eth0", 16);
	put_string(&text, "0123456789abcdefg", 16);
	put_literal(&text, "");
	put_literal(&text, " state=");
	CHECK_TEXT(written(), "eth00123456789abcdef state=");
}

/* Beyond its end a text begins anew, as what is written to it never does; nothing else is touched. */
static void no_text_is_written_outside_its_place(void)
{
	int i;

	begin();
	for (i = 0; i < 3 * TEXT_LEN; i++) {
		put_number(&text, ~0ULL >> any_below(64));
		put_literal(&text, " first_fin_ns=");
		put_char(&text, ' ');
	}
	CHECK(text.len > 3 * TEXT_LEN);
}

int main(void)
{
	RUN(numbers_are_as_printf_writes_them);
	RUN(the_longest_run_of_zeros_is_found_in_all_256_patterns);
	RUN(ipv6_addresses_are_as_rfc_5952_wants_them);
	RUN(ipv4_addresses_are_as_inet_ntop_writes_them);
	RUN(a_string_ends_with_its_nul_or_its_size);
	RUN(no_text_is_written_outside_its_place);
	return unit_end();
}
