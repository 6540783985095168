/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * record.h - a connection in words: what is known of it, and the line that says so. For report.h and the views, which both write
 * it. Which fields there are, tables.h says.
 */
#ifndef NETRACKER_RECORD_H
#define NETRACKER_RECORD_H

#include "../NeTracker.h"
#include "flow.h"
#include "text.h"
#include "verifier.h"

#include <stdbool.h>

/* Called behind each field: who cannot have more than so much of a line notes here how far it is whole. */
#ifndef FIELD_DONE
#define FIELD_DONE(t)
#endif

/* As many as bounded() wants. */
static const char state_name[16][8] = {
#define STATE(name, kind, meaning) [name] = #name,
	STATES(STATE)
#undef STATE
};

/*
 * Constants of 4, 8, 16 or 32 bytes clang puts in sections where the linker may merge them, while BTF has all of them in one
 * (clang 14): no kernel takes that. Hence the odd sizes.
 */
static const char dir_name[DIRECTIONS][5] = { [DIR_IN] = "in", [DIR_OUT] = "out" };

/* The name of an interface that nobody gave one. */
static const char no_name[IFACE_NAME_LEN + 1] = "-";
#define NO_NAME ((const char(*)[IFACE_NAME_LEN])no_name)

/* What no socket has said. */
static const struct facts no_facts = { .known = false };

/* What a line tells. */
struct shown {
	const struct flow_key *key;
	const struct flow *flow;
	const struct facts *facts; /* of this host's own socket, if known */
	const char (*ifname)[IFACE_NAME_LEN];
	__u64 lifetime_ns; /* first SYN to the end, or up to now */
	__u64 state;       /* enum conn_state, as wide as verifier.h wants it */
	bool live;
};

static __always_inline enum direction dir_of(const struct flow *f)
{
	return f->flags & IS_OUTBOUND ? DIR_OUT : DIR_IN;
}

/* First SYN to the first FIN, nanoseconds; 0: there was none. */
static __always_inline __u64 first_fin_after(const struct flow *f)
{
	return f->first_fin_ns ? f->first_fin_ns - f->start_ns : 0;
}

/* Bytes between an initial sequence number and an end, modulo 2^32. A RST or a broken FIN may stand on the SYN's own place. */
static __always_inline __s64 sent(__u32 end, __u32 isn)
{
	return end == isn ? 0 : (__u32)(end - isn - 1);
}

/*
 * Payload bytes that one side sent; -1 if nobody knows. The sequence numbers tell it modulo 2^32, where both the beginning and
 * the end were seen. facts, if known: this host's socket, which counts in 64 bits, but only what was acknowledged or has
 * arrived so far: its count decides which multiple of 2^32 it is. What comes out below 0 is of another connection's socket.
 * A FIN that nobody has acknowledged tells nothing, unless it is where the handshake was acknowledged: nothing was sent then.
 */
static __always_inline __s64 exact_bytes(const struct flow *f, const struct facts *facts, bool orig)
{
	__u32 isn = orig ? f->orig_isn : f->resp_isn, end = orig ? f->orig_end : f->resp_end, low;
	__u32 closed = orig ? ORIG_FIN | RESP_SEEN : RESP_FIN | RESP_SYN | ORIG_ACKED;
	bool end_known = f->flags & (orig ? ORIG_END : RESP_END);
	__u64 count;
	__s64 bytes;

	if (!facts->known)
		return end_known || ((f->flags & closed) == closed && end - isn <= 1) ? sent(end, isn) : -1;
	if (orig == facts->of_orig) {
		count = facts->bytes_acked;
		low = sent(end_known ? end : facts->snd_una, isn);
	} else {
		count = facts->bytes_received;
		low = sent(end_known ? end : facts->rcv_nxt - has_peers_fin(facts), isn);
	}
	bytes = count + (__s32)(low - (__u32)count);
	return bytes < 0 ? -1 : bytes;
}

/* Whose a field is, and what stands for a value that nobody knows: columns `of` and `unknown` of FIELDS. */
#define SHOWS_ANY(r) true
#define SHOWS_ENDED(r) !(r)->live
#define SHOWS_LIVE(r) (r)->live
#define SHOWS_OWNER(r) ((r)->flow->flags & HAS_OWNER)
#define SHOWS_SOCKET(r) (r)->facts->known
#define IS_ZERO(value) !(value)
#define IS_ONES(value) ((value) == ~0U)
#define IS_NEVER(value) false

#define PUT_NUMBER(key, json, of, unit, unknown, heading, width, value) \
	if (SHOWS_##of(r)) {                                            \
		put_literal(t, " " #key "=");                           \
		put_number(t, value);                                   \
		FIELD_DONE(t);                                          \
	}

/* A size of -1 is one that nobody knows. */
#define PUT_SIZE(key, json, of, unit, unknown, heading, width, value) \
	if (SHOWS_##of(r)) {                                          \
		__s64 size = value;                                   \
                                                                      \
		put_literal(t, " " #key "=");                         \
		if (size < 0)                                         \
			put_literal(t, "-1");                         \
		else                                                  \
			put_number(t, size);                          \
		FIELD_DONE(t);                                        \
	}

#define PUT_TEXT_FIELD(key, json, of, unit, unknown, heading, width, value) \
	if (SHOWS_##of(r)) {                                                \
		put_literal(t, " " #key "=");                               \
		put_string(t, value, sizeof(value));                        \
		FIELD_DONE(t);                                              \
	}

/* A text from outside. */
#define PUT_NAME(key, json, of, unit, unknown, heading, width, value) \
	if (SHOWS_##of(r)) {                                          \
		put_literal(t, " " #key "=");                         \
		__builtin_memcpy(t->name, value, sizeof(t->name));    \
		put_name(t);                                          \
		FIELD_DONE(t);                                        \
	}

#define PUT_FACT(key, json, of, unit, unknown, heading, width, value) \
	if (r->facts->known && !IS_##unknown(r->facts->key)) {        \
		put_literal(t, " " #key "=");                         \
		put_number(t, r->facts->key);                         \
		FIELD_DONE(t);                                        \
	}

/* Writes both ends of a connection: ADDRESS:PORT -> ADDRESS:PORT, originator first. */
static __always_inline void put_endpoints(struct text *t, const struct flow_key *key)
{
	put_endpoint(t, (const struct address *)key->src, key->sport);
	put_literal(t, " -> ");
	put_endpoint(t, (const struct address *)key->dst, key->dport);
}

/* Writes the line of a connection: docs/fields.md. */
static __always_inline void put_record(struct text *t, const struct shown *r)
{
	put_endpoints(t, r->key);
	FIELD_DONE(t);
	FIELDS(PUT_NUMBER, PUT_SIZE, PUT_TEXT_FIELD, PUT_NAME, PUT_FACT)
}

#endif
