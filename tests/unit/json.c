// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * view/json.h: times as gmtime() has them, any name as a JSON string, the longest object.
 */
#include <time.h>

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

/* The character that stands at *s in a JSON string; moves *s behind it. -1: there is none, or it may not stand there. */
static int next_character(const char **s)
{
	unsigned char c = *(*s)++;
	unsigned int code;

	if (c == '"' || c < ' ' || c == 0x7f)
		return -1;
	if (c != '\\')
		return c;
	c = *(*s)++;
	if (c == '"' || c == '\\')
		return c;
	if (c != 'u' || sscanf(*s, "%4x", &code) != 1 || code > 0x7f)
		return -1;
	*s += 4;
	return code;
}

static void any_name_is_a_string_with_the_same_characters(void)
{
	char name[IFACE_NAME_LEN];
	int i, j, len;

	for (i = 0; i < 50000; i++) {
		const char *s;

		/* A name that fills its place has no NUL. */
		memset(name, 0, sizeof(name));
		len = 1 + any_below(IFACE_NAME_LEN);
		for (j = 0; j < len; j++)
			name[j] = any_below(4) ? 1 + any_below(255) : "\"\\-\x7f"[any_below(4)];
		if (!strcmp(name, "-"))
			continue;
		begin();
		put_json_name(&text, name, sizeof(name));
		s = written();
		CHECK_EQUAL(*s++, '"');
		for (j = 0; j < len; j++)
			if (!CHECK_EQUAL(next_character(&s), (unsigned char)name[j]))
				break;
		CHECK_TEXT(s, "\"");
	}
	begin();
	put_json_name(&text, "-", IFACE_NAME_LEN);
	CHECK_TEXT(written(), "null");
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
	flow.flags = 0;
	facts.known = false;
	begin();
	put_object(&text, &shown, 0);
	object = written();
	CHECK(strstr(object, ",\"mss\":null,\"uid\":null,\"cgroup\":null,\"user\":null,\"owner\":null"));
	CHECK(strstr(object, ",\"age_ns\":18446744073709551615,"));
	CHECK(!strstr(object, "duration_ns"));
}

int main(void)
{
	RUN(times_are_as_gmtime_has_them);
	RUN(any_name_is_a_string_with_the_same_characters);
	RUN(the_longest_object_has_room);
	return unit_end();
}
