// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * view/json.h: times as gmtime() has them, any name as a JSON string, the longest object.
 */
#include <limits.h>
#include <locale.h>
#include <time.h>
#include <wchar.h>

#include "unit.h"

#define TEXT_LEN 2048
#define LITERAL_LEN 32
#include "../../view/json.h"

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

static void check_time(__u64 us)
{
	time_t second = us / 1000000;
	char day[32], want[64];
	struct tm tm;

	gmtime_r(&second, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(want, sizeof(want), "%s.%06uZ", day, (unsigned int)(us % 1000000));
	begin();
	put_time(&text, us);
	CHECK_TEXT(written(), want);
}

static void times_are_as_gmtime_has_them(void)
{
	__u64 day;
	int i;

	/* The first and the last moment of each day of 230 years. */
	for (day = 0; day < 230 * 365; day++) {
		check_time(day * 86400000000ULL);
		check_time((day + 1) * 86400000000ULL - 1);
	}
	for (i = 0; i < 20000; i++)
		check_time(any64() % (230 * 365 * 86400000000ULL));
}

static void name(const char *bytes, size_t len)
{
	begin();
	memset(text.name, 0, sizeof(text.name));
	memcpy(text.name, bytes, len);
}

/* Of names that are no UTF-8 what Unicode recommends, as Python's decoder has it. */
static void a_name_is_a_string_of_utf8(void)
{
	static const struct {
		const char *name, *line, *json;
	} cases[] = {
		{ "eth0", "eth0", "\"eth0\"" },
		{ "-", "-", "\"-\"" },
		{ "a b", "a\\x20b", "\"a b\"" },
		{ "--", "--", "\"--\"" },
		{ "a\"b\\c", "a\"b\\x5cc", "\"a\\\"b\\\\c\"" },
		{ "\x01\x1f\x7f", "\\x01\\x1f\\x7f", "\"\\u0001\\u001f\\u007f\"" },
		{ "\xc2\x80\xc2\x9f\xc2\xa0", "\\xc2\\x80\\xc2\\x9f\xc2\xa0", "\"\\u0080\\u009f\xc2\xa0\"" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "\xff"
		  "a",
		  "\\xffa",
		  "\"\xef\xbf\xbd"
		  "a\"" },
		{ "\xe2\x82"
		  "a",
		  "\\xe2\\x82a",
		  "\"\xef\xbf\xbd"
		  "a\"" },
		{ "\xe2\x82", "\\xe2\\x82", "\"\xef\xbf\xbd\"" },
		{ "\xf0\x9f\x98\xc3\xa9", "\\xf0\\x9f\\x98\xc3\xa9", "\"\xef\xbf\xbd\xc3\xa9\"" },
		{ "\xc0\xaf", "\\xc0\\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe0\x9f\xbf", "\\xe0\\x9f\\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xf4\x90\x80", "\\xf4\\x90\\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xf5", "\\xf5", "\"\xef\xbf\xbd\"" },
		{ "abcdefghijklmn\xc3\xa9", "abcdefghijklmn\xc3\xa9", "\"abcdefghijklmn\xc3\xa9\"" },
		{ "abcdefghijklmno\xc3", "abcdefghijklmno\\xc3", "\"abcdefghijklmno\xef\xbf\xbd\"" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		name(cases[i].name, strlen(cases[i].name));
		put_name(&text);
		CHECK_TEXT(written(), cases[i].line);
		name(cases[i].name, strlen(cases[i].name));
		put_json_name(&text);
		CHECK_TEXT(written(), cases[i].json);
	}
}

/* What does no harm in JSON and on a terminal: no control characters, and UTF-8 as libc knows it. */
static bool is_clean(const char *s)
{
	mbstate_t state = {};
	wchar_t c;
	size_t n;

	while (*s) {
		n = mbrtowc(&c, s, strlen(s), &state);
		if (n > MB_LEN_MAX || c < ' ' || (c >= 0x7f && c < 0xa0))
			return false;
		s += n;
	}
	return true;
}

static void any_name_is_clean(void)
{
	char bytes[IFACE_NAME_LEN];
	int i, j, len;

	CHECK(setlocale(LC_CTYPE, "C.UTF-8"));
	for (i = 0; i < 200000; i++) {
		/* A name that fills its place has no NUL. */
		len = 1 + any_below(IFACE_NAME_LEN);
		for (j = 0; j < len; j++)
			bytes[j] = any_below(2) ? 1 + any_below(255)
			                        : "\"\\-\x7f\xc2\x9b\xe2\x82\xac\xf0\x90\x8f\xf4\xed\x9f\xe0"[any_below(16)];
		name(bytes, len);
		put_name(&text);
		CHECK(is_clean(written()));
		name(bytes, len);
		put_json_name(&text);
		CHECK(is_clean(written()));
	}
}

static void the_longest_object_has_room(void)
{
	char ifname[IFACE_NAME_LEN];
	struct flow_key key;
	struct facts facts;
	struct flow flow;
	struct shown shown = { .key = &key, .flow = &flow, .facts = &facts, .ifname = (void *)&ifname, .lifetime_ns = ~0ULL };
	const char *object;

	memset(ifname, 1, sizeof(ifname));
	memset(&key, 0xff, sizeof(key));
	memset(&facts, 0x7f, sizeof(facts));
	memset(&flow, 0xff, sizeof(flow));
	begin();
	put_object(&text, &shown, 1ULL << 52);
	CHECK(text.len < TEXT_LEN - 64); /* lost_before comes behind it */
	object = written();
	CHECK(strstr(object, ",\"uid\":4294967295,\"cgroup\":18446744073709551615,\"user\":null,\"owner\":null"));
	CHECK(!strstr(object, "age_ns"));
	shown.live = true;
	memset(&flow, 0, sizeof(flow));
	strcpy(ifname, "-");
	facts.known = false;
	begin();
	put_object(&text, &shown, 0);
	object = written();
	CHECK(strstr(object, ",\"mss\":null,\"pid\":null,\"comm\":null,\"reset_reason\":null,\"held_by\":null,\"held_pct\":null,"
	                     "\"busy_us\":null,"));
	CHECK(strstr(object,
	             ",\"delivery_rate\":null,\"adopted\":false,\"uid\":null,\"cgroup\":null,\"user\":null,\"owner\":null"));
	CHECK(strstr(object, ",\"ifname\":null,"));
	CHECK(strstr(object, ",\"age_ns\":18446744073709551615,"));
	CHECK(!strstr(object, "duration_ns"));
}

int main(void)
{
	RUN(times_are_as_gmtime_has_them);
	RUN(a_name_is_a_string_of_utf8);
	RUN(any_name_is_clean);
	RUN(the_longest_object_has_room);
	return unit_end();
}
