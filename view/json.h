/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * json.h - a connection as a JSON object, in the words of docs/fields.md. For the views that end in .json.
 */
#ifndef NETRACKER_JSON_H
#define NETRACKER_JSON_H

#include "../tracker/record.h"

/*
 * Writes t->name, a text from outside, between quotes, with what RFC 8259 (section 7) wants escaped, and the other control
 * characters. What is no UTF-8 is replaced by U+FFFD.
 */
__noinline int put_json_name(struct text *t)
{
	__u32 i, length, end;
	bool whole, control;

	if (!t)
		return 0;
	put_char(t, '"');
	for (i = 0; i < IFACE_NAME_LEN && t->name[i]; i = end) {
		length = utf8_length(t->name + i, IFACE_NAME_LEN - i, &whole);
		control = is_control(t->name + i, length);
		end = i + length;
		if (!whole) {
			put_literal(t, "\xef\xbf\xbd");
			continue;
		}
		if (control) {
			/* Of two bytes, the second one is the character's number. */
			i += length - 1;
			put_literal(t, "\\u00");
			put_char(t, hex_digit(t->name[i & (IFACE_NAME_LEN - 1)] >> 4));
			put_char(t, hex_digit(t->name[i & (IFACE_NAME_LEN - 1)]));
			continue;
		}
		if (t->name[i] == '"' || t->name[i] == '\\')
			put_char(t, '\\');
		for (; i < end && i < IFACE_NAME_LEN; i++)
			put_char(t, t->name[i]);
	}
	put_char(t, '"');
	return 0;
}

/* Writes value as n digits. */
__noinline int put_padded(struct text *t, __u32 value, __u32 n)
{
	if (t && n <= 9)
		put_digits(t, value, n);
	return 0;
}

/*
 * Writes a time of CLOCK_REALTIME, in microseconds: 2026-01-31T23:59:59.123456Z (RFC 3339). The year begins in March: so its
 * last day is the leap day.
 */
__noinline int put_time(struct text *t, __u64 us)
{
	__u64 second = us / 1000000, days = second / 86400 + 719468;
	__u32 era = days / 146097, day = days - era * 146097ULL, of_day = second % 86400;
	__u32 year = (day - day / 1460 + day / 36524 - day / 146096) / 365, month;

	if (!t)
		return 0;
	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153;
	day -= (153 * month + 2) / 5 - 1;
	month += month < 10 ? 3 : -9U;
	put_padded(t, era * 400 + year + (month < 3), 4);
	put_char(t, '-');
	put_padded(t, month, 2);
	put_char(t, '-');
	put_padded(t, day, 2);
	put_char(t, 'T');
	put_padded(t, of_day / 3600, 2);
	put_char(t, ':');
	put_padded(t, of_day / 60 % 60, 2);
	put_char(t, ':');
	put_padded(t, of_day % 60, 2);
	put_char(t, '.');
	put_padded(t, us % 1000000, 6);
	put_char(t, 'Z');
	return 0;
}

/* Writes an address between quotes. */
__noinline int put_json_address(struct text *t, const struct address *a)
{
	if (!t || !a)
		return 0;
	put_char(t, '"');
	put_address(t, a, false);
	put_char(t, '"');
	return 0;
}

/*
 * A field that the line of such a connection has no place for is not in the object either; one that is unknown is null. The
 * numbers of the owner come last, beside his names, so that who fills these in finds all of it in one place.
 */
#define IN_OBJECT_ANY(r) true
#define IN_OBJECT_ENDED(r) !(r)->live
#define IN_OBJECT_LIVE(r) (r)->live
#define IN_OBJECT_OWNER(r) false
#define IN_OBJECT_SOCKET(r) true
#define IN_OBJECT_PROCESS(r) true
#define IN_OBJECT_RESET(r) true
#define IN_OBJECT_HELD(r) true
#define IN_OBJECT_OPENED(r) true
#define IN_OBJECT_ADOPTED(r) true
#define IN_OBJECT_INTERIM(r) !(r)->live

#define IS_OWNERS_ANY false
#define IS_OWNERS_ENDED false
#define IS_OWNERS_LIVE false
#define IS_OWNERS_OWNER true
#define IS_OWNERS_SOCKET false
#define IS_OWNERS_PROCESS false
#define IS_OWNERS_RESET false
#define IS_OWNERS_HELD false
#define IS_OWNERS_OPENED false
#define IS_OWNERS_ADOPTED false
#define IS_OWNERS_INTERIM false

/* Of these fields true or false is known, whatever else is not. */
#define IS_FLAG_NS false
#define IS_FLAG_COUNT false
#define IS_FLAG_SEGMENTS false
#define IS_FLAG_PERCENT false
#define IS_FLAG_FLAG true

#define JSON_NUMBER_IF(shown, json, of, unit, unknown, value)    \
	if (json[0] && (shown)) {                                \
		__u64 number = SHOWS_##of(r) ? value : 0;        \
                                                                 \
		put_literal(t, ",\"" json "\":");                \
		if (IS_FLAG_##unit && number)                    \
			put_literal(t, "true");                  \
		else if (IS_FLAG_##unit)                         \
			put_literal(t, "false");                 \
		else if (!SHOWS_##of(r) || IS_##unknown(number)) \
			put_literal(t, "null");                  \
		else                                             \
			put_number(t, number);                   \
	}

#define JSON_NUMBER(key, json, of, unit, unknown, heading, width, value) \
	JSON_NUMBER_IF(IN_OBJECT_##of(r), json, of, unit, unknown, value)
#define JSON_OWNER(key, json, of, unit, unknown, heading, width, value) \
	JSON_NUMBER_IF(IS_OWNERS_##of, json, of, unit, unknown, value)
#define JSON_NO_OWNER(...)

#define JSON_SIZE(key, json, of, unit, unknown, heading, width, value) \
	if (json[0] && IN_OBJECT_##of(r)) {                            \
		__s64 size = value;                                    \
                                                                       \
		put_literal(t, ",\"" json "\":");                      \
		if (size < 0)                                          \
			put_literal(t, "null");                        \
		else                                                   \
			put_number(t, size);                           \
	}

#define JSON_TEXT_FIELD(key, json, of, unit, unknown, heading, width, value) \
	if (json[0] && IN_OBJECT_##of(r)) {                                  \
		put_literal(t, ",\"" json "\":");                            \
		if (SHOWS_##of(r)) {                                         \
			put_char(t, '"');                                    \
			put_string(t, value, sizeof(value));                 \
			put_char(t, '"');                                    \
		} else {                                                     \
			put_literal(t, "null");                              \
		}                                                            \
	}

#define JSON_NAME(key, json, of, unit, unknown, heading, width, value) \
	if (json[0] && IN_OBJECT_##of(r)) {                            \
		put_literal(t, ",\"" json "\":");                      \
		__builtin_memcpy(t->name, value, sizeof(t->name));     \
		if (SHOWS_##of(r) && !IS_##unknown(t->name))           \
			put_json_name(t);                              \
		else                                                   \
			put_literal(t, "null");                        \
	}

#define JSON_FACT(key, json, of, unit, unknown, heading, width, bits, value) \
	{                                                                    \
		put_literal(t, ",\"" json "\":");                            \
		if (r->facts->known && !IS_##unknown(r->facts->key))         \
			put_number(t, SHOWN_##unit(r, r->facts->key));       \
		else                                                         \
			put_literal(t, "null");                              \
	}

/*
 * Writes the object, without its closing brace. What only user space knows, the names of user and owner, is null.
 * boot_us: the time of boot, microseconds of CLOCK_REALTIME.
 */
static __always_inline void put_object(struct text *t, const struct shown *r, __u64 boot_us)
{
	__u32 held = r->facts->known ? held_back(r->flow, r->facts) : HELD_UNKNOWN;

	put_literal(t, "{\"ts\":\"");
	put_time(t, boot_us + r->flow->start_ns / 1000);
	put_literal(t, "\",\"src\":");
	put_json_address(t, (const struct address *)r->key->src);
	put_literal(t, ",\"sport\":");
	put_number(t, r->key->sport);
	put_literal(t, ",\"dst\":");
	put_json_address(t, (const struct address *)r->key->dst);
	put_literal(t, ",\"dport\":");
	put_number(t, r->key->dport);
	if (is_ipv4(r->key->src))
		put_literal(t, ",\"family\":4");
	else
		put_literal(t, ",\"family\":6");
	FIELDS(JSON_NUMBER, JSON_SIZE, JSON_TEXT_FIELD, JSON_NAME, JSON_FACT)
	FIELDS(JSON_OWNER, JSON_NO_OWNER, JSON_NO_OWNER, JSON_NO_OWNER, JSON_NO_OWNER)
	put_literal(t, ",\"user\":null,\"owner\":null");
}

#endif
