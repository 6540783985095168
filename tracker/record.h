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

/* By enum reset_reason and enum held_by. */
static const char reset_name[8][13] = {
	[RESET_NO_LISTENER] = "no_listener", [RESET_NO_SOCKET] = "no_socket", [RESET_UNREAD_DATA] = "unread_data",
	[RESET_LINGER] = "linger",           [RESET_ABORT] = "abort",         [RESET_GIVEN_UP] = "given_up",
};
static const char held_name[8][13] = {
	[HELD_APPLICATION] = "application", [HELD_RECEIVER] = "receiver", [HELD_SEND_BUFFER] = "send_buffer", [HELD_LOSS] = "loss",
	[HELD_ROUND_TRIPS] = "round_trips",
};

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
	__u64 lifetime_ns; /* first SYN, or adoption, to the end, or up to now */
	__u64 state;       /* enum conn_state, as wide as verifier.h wants it */
	__u32 interim;     /* as in a struct record */
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

/* What held_back() returns: an enum held_by, and above it the share of the time, percent. */
#define HELD_SHIFT 3
#define HELD_MASK 7

/* Less than so many ticks of the kernel's clock tell nothing of their shares. */
#define HELD_TICKS 10

/* Of what is sent again this much is loss that matters: one byte of so many. */
#define LOSS_SHARE 100

/* What comes in full segments is no answer to a question, unless it is as short as what goes at once: RFC 6928. */
#define AT_ONCE 10

/* Microseconds that the socket counted in ticks; 0: not known. */
static __always_inline __u64 ticks_us(const struct facts *facts, __u32 ticks)
{
	return ticks == ~0U ? 0 : (__u64)ticks * facts->tick_us;
}

/*
 * Did the socket receive more than it sent, and in bulk? While it waits for that it has nothing to send, and cannot know what held
 * the other side back.
 */
static __always_inline bool is_fed(const struct facts *facts)
{
	return facts->bytes_received > facts->bytes_acked && facts->bytes_received > AT_ONCE * (__u64)facts->mss &&
	       facts->bytes_received > (__u64)facts->segs_in * (facts->mss / 2);
}

/* Is loss what took the network's time? handshake, network: microseconds of it. */
static __always_inline bool is_lossy(const struct flow *f, const struct facts *facts, __u64 handshake, __u64 network)
{
	__u64 again = facts->bytes_retrans;

	if (f->syn_retrans && handshake > network / 2)
		return true;
	/* What had arrived the first time (RFC 2883) was late and not lost. */
	if (facts->retrans <= facts->dsack_dups)
		return false;
	return again && again != ~0ULL && again >= (facts->bytes_acked + again) / LOSS_SHARE;
}

/*
 * What held the connection back most until its socket was asked, as that socket knows: docs/fields.md has the rules. The kernel's
 * three times follow each other (tcp_chrono_set, net/ipv4/tcp_output.c): it was limited by the receiver's window, by its send
 * buffer, or only by the network; else it had nothing to send. To the network's time belongs the handshake's, in which none of them
 * runs. How long an adopted connection has been there nobody knows. The facts are known: what they are where nobody was asked is a
 * constant, which a global function is not given.
 */
__noinline __u32 held_back(const struct flow *f, const struct facts *facts)
{
	__u64 all, busy, receiver, buffer, handshake, network, idle, most;
	enum held_by by = HELD_APPLICATION;

	if (!f || !facts || f->flags & ADOPTED || facts->busy_us == ~0U || !facts->tick_us || facts->asked_ns < f->start_ns)
		return HELD_UNKNOWN;
	all = (facts->asked_ns - f->start_ns) / 1000;
	if (all < HELD_TICKS * (__u64)facts->tick_us)
		return HELD_UNKNOWN;
	busy = ticks_us(facts, facts->busy_us);
	receiver = ticks_us(facts, facts->rwnd_limited_us);
	buffer = ticks_us(facts, facts->sndbuf_limited_us);
	handshake = (f->syn_rtt_ns + f->ack_rtt_ns) / 1000;
	network = busy > receiver + buffer ? busy - receiver - buffer : 0;
	/*
	 * The kernel stops the send buffer's time with the first byte of it that is acknowledged, and starts it when it is full and
	 * all of it on its way again: of a connection that nothing else holds back that is half of the time, and less.
	 */
	if (buffer < network) {
		network -= buffer;
		buffer *= 2;
	} else {
		buffer += network;
		network = 0;
	}
	network += handshake;
	/* The tick is coarser than what it measures. */
	idle = all > busy + handshake ? all - busy - handshake : 0;
	most = idle;
	if (receiver > most) {
		most = receiver;
		by = HELD_RECEIVER;
	}
	if (buffer > most) {
		most = buffer;
		by = HELD_SEND_BUFFER;
	}
	if (network > most) {
		most = network;
		by = is_lossy(f, facts, handshake, network) ? HELD_LOSS : HELD_ROUND_TRIPS;
	}
	if (by == HELD_APPLICATION && is_fed(facts))
		return HELD_UNKNOWN;
	if (most > all)
		most = all;
	return by | (__u32)(most * 100 / all) << HELD_SHIFT;
}

/* Whose a field is, and what stands for a value that nobody knows: columns `of` and `unknown` of FIELDS. */
#define SHOWS_ANY(r) true
#define SHOWS_ENDED(r) !(r)->live
#define SHOWS_LIVE(r) (r)->live
#define SHOWS_OWNER(r) ((r)->flow->flags & HAS_OWNER)
#define SHOWS_SOCKET(r) (r)->facts->known
#define SHOWS_PROCESS(r) (r)->flow->process.pid
#define SHOWS_RESET(r) (r)->flow->reset
#define SHOWS_HELD(r) held
#define SHOWS_OPENED(r) !((r)->flow->flags & ADOPTED)
#define SHOWS_ADOPTED(r) ((r)->flow->flags & ADOPTED)
#define SHOWS_INTERIM(r) (r)->interim
#define IS_ZERO(value) !(value)
#define IS_ONES(value) ((value) == (typeof(value))-1)
#define IS_NEVER(value) false
#define IS_DASH(text) ((text)[0] == '-' && !(text)[1])
#define IS_EMPTY(text) !(text)[0]

/* A number as it is shown. */
#define SHOWN_TICKS(r, value) ticks_us((r)->facts, value)
#define SHOWN_US(r, value) value
#define SHOWN_BYTES(r, value) value
#define SHOWN_SEGMENTS(r, value) value
#define SHOWN_COUNT(r, value) value
#define SHOWN_RATE(r, value) value

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

#define PUT_FACT(key, json, of, unit, unknown, heading, width, bits, value) \
	if (r->facts->known && !IS_##unknown(r->facts->key)) {              \
		put_literal(t, " " #key "=");                               \
		put_number(t, SHOWN_##unit(r, r->facts->key));              \
		FIELD_DONE(t);                                              \
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
	__u32 held = r->facts->known ? held_back(r->flow, r->facts) : HELD_UNKNOWN;

	put_endpoints(t, r->key);
	FIELD_DONE(t);
	FIELDS(PUT_NUMBER, PUT_SIZE, PUT_TEXT_FIELD, PUT_NAME, PUT_FACT)
}

#endif
