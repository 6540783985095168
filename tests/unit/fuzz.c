// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Whole conversations, as two TCPs have them, and as networks and forgers spoil them. The model opens and closes connections in
 * every way there is, seen at one hook or at two. A network sends segments twice, late, in another order: that changes nothing,
 * and the record has to be the model's. A forger changes numbers and flags, answers twice, opens the tuple anew; some hops rewrite
 * numbers: then a record may be of another state, but must not tell what cannot be. TROUBLES says what is promised when.
 *
 * Environment: FUZZ_SEED=N, the same run for the same N; FUZZ_PACKETS=N, how many; FUZZ_ALSO=TROUBLE, or =all: what is promised
 * under it, but not yet kept, fails as well. What fails says in which world it was; FUZZ_WORLD=N plays that one alone, and says
 * what comes to pass in it.
 */
#include "host/host.h"

#define PACKETS 1000000
#define TUPLES 5
#define STORIES 8 /* of a world: so some tuples are used again */
#define EVENTS 4096
#define SYNS 1024
#define US 1000ULL

/* From hook to hook a segment takes less than this; from one TCP to the other and back more. */
#define AT_ONCE (45 * US)

/* No link is faster. */
#define BYTES_IN_NS 12

#define TCP_PSH 0x08
#define FIN_ACK (TCP_FIN | TCP_ACK)
#define SYN_ACK (TCP_SYN | TCP_ACK)
#define RST_ACK (TCP_RST | TCP_ACK)

/* Is what a trouble's column names still so? NOT_YET: it should be; it is looked at with FUZZ_ALSO alone. */
enum promise {
	NOT_MADE,
	NOT_YET,
	KEPT,
};

/*
 * TROUBLE(name, bytes, record): what befalls a tuple beyond what any network does.
 *
 *	bytes   no record tells of more payload than its side has sent: it tells less, or that it does not know
 *	record  each conversation has the record that it would have had without
 */
#define TROUBLES(TROUBLE)                                                                                             \
	/* segments that never come to the hooks */                                                                   \
	TROUBLE(LOSS, KEPT, NOT_MADE)                                                                                 \
	/* likewise a SYN, or one that comes so late that segments are taken for another connection's of the tuple */ \
	TROUBLE(STRAY, NOT_YET, NOT_MADE)                                                                             \
	/* segments that come in any order */                                                                         \
	TROUBLE(DISORDER, KEPT, NOT_MADE)                                                                             \
	/* other CPUs come in between */                                                                              \
	TROUBLE(RACE, KEPT, NOT_MADE)                                                                                 \
	/* a SYN is answered twice, with two numbers, and the originator takes one of them */                         \
	TROUBLE(TWO_SYNACKS, KEPT, KEPT)                                                                              \
	/* between the two hooks the numbers of one side are rewritten; bytes may be unknown */                       \
	TROUBLE(REWRITING_HOP, KEPT, KEPT)                                                                            \
	/* two connections of one tuple at a time, in two scopes */                                                   \
	TROUBLE(EQUAL_TUPLES, KEPT, KEPT)                                                                             \
	/* one side closes, and for longer than close_timeout nobody sends, nor anybody who brings a question */      \
	TROUBLE(SILENT_HALF_CLOSE, KEPT, NOT_MADE)                                                                    \
	/* this host's own socket opens the tuple of a connection that nobody closed */                               \
	TROUBLE(OWN_SYN_ON_STALE_TUPLE, KEPT, KEPT)                                                                   \
	/* likewise another host's: if it is refused, the RST may be taken for the old connection's */                \
	TROUBLE(SYN_ON_STALE_TUPLE, NOT_YET, NOT_MADE)                                                                \
	/* the peer of an attempt that was not answered opens the tuple itself: no SYNs that cross */                 \
	TROUBLE(ANSWERED_BY_SYN, NOT_YET, NOT_YET)                                                                    \
	/* segments that nobody sent; a FIN's forger does not know what to acknowledge */                             \
	TROUBLE(FORGED_FIN, NOT_YET, NOT_MADE)                                                                        \
	TROUBLE(FORGED_RST, NOT_YET, NOT_MADE)                                                                        \
	TROUBLE(FORGED_SYN, NOT_YET, NOT_MADE)                                                                        \
	/* another sequence or acknowledgement number in a segment */                                                 \
	TROUBLE(OTHER_NUMBER, NOT_YET, NOT_MADE)                                                                      \
	/* other flags */                                                                                             \
	TROUBLE(OTHER_FLAGS, NOT_YET, NOT_MADE)

enum trouble {
#define NAME(name, bytes, record) name,
	TROUBLES(NAME)
#undef NAME
	ALL_TROUBLES,
};

static const struct {
	const char *name;
	enum promise bytes, record;
} troubles[ALL_TROUBLES] = {
#define ROW(name, bytes, record) { #name, bytes, record },
	TROUBLES(ROW)
#undef ROW
};

/* Where the tracker sees a conversation. */
enum path {
	CALLED,  /* at one interface; the originator's segments come in */
	CALLING, /* they go out */
	ROUTED,  /* each comes in at one interface and goes out at another */
	LOOPED,  /* on lo, where each goes out and comes in */
	PATHS,
};

/* What this host's socket knows when a segment is sent or comes. */
struct knows {
	bool socket;
	__u32 snd_una, rcv_nxt;
	__u64 acked, received;
	__u8 state;
};

/* A segment at a hook. */
struct event {
	__u64 at;
	struct packet p;
	unsigned int tuple;
	int story;   /* whose it is; -1: a forger's */
	bool second; /* at the second hook that it passes */
	__u32 scope; /* where */
	struct knows knows;
};

/* A conversation, as it goes on; and what its record has to say. */
struct story {
	struct flow_key key;
	unsigned int tuple;
	enum path path;
	bool own; /* the socket on the side that is not behind the interface is this host's */
	__u32 scope;
	__u32 isn[2], next[2];
	__u32 seen[2]; /* how far the other side has received what this one sent */
	__u64 sent[2]; /* payload */
	bool opened, closed[2];
	bool acked[2]; /* the other side has acknowledged this one's FIN */
	__u64 now;
	bool told; /* by one record; else nobody knows how it will be */
	enum conn_state state;
	bool known[2];  /* the bytes of this side */
	__u8 last_flag; /* of the segment that ends it; 0: none does */
	unsigned int records;
	struct record record;
};

static struct world {
	struct flow_key tuple[TUPLES];
	__u32 trouble[TUPLES]; /* bits by enum trouble */
	__u64 sent[TUPLES][2]; /* payload; by the smaller address and the larger */
	struct story story[STORIES];
	unsigned int stories, events, next, syns, one_step_in;
	__u64 log_read, began;
	__u64 bytes[2]; /* of all records */
	struct host_socket socket[TUPLES];
	struct event event[EVENTS];
	struct {
		struct flow_key key;
		__u64 at;
		__u32 isn;
		bool told;
	} syn[SYNS];
} world;

static const char *also;
static bool aloud;
static unsigned long packets, stories, exact_stories, befell[ALL_TROUBLES];

static bool promised(enum promise promise, enum trouble trouble)
{
	return promise == KEPT || (promise == NOT_YET && also && (!strcmp(also, "all") || !strcmp(also, troubles[trouble].name)));
}

/* Is this promised of a tuple, after all that has befallen it? */
static bool promised_of(unsigned int tuple, bool record)
{
	int i;

	for (i = 0; i < ALL_TROUBLES; i++)
		if (world.trouble[tuple] & 1U << i && !promised(record ? troubles[i].record : troubles[i].bytes, i))
			return false;
	return true;
}

static void befalls(unsigned int tuple, enum trouble trouble)
{
	world.trouble[tuple] |= 1U << trouble;
	befell[trouble]++;
}

static bool is_larger(const struct flow_key *key)
{
	int differs = memcmp(key->src, key->dst, 16);

	return differs ? differs > 0 : key->sport > key->dport;
}

/*
 * The model
 */

static bool one_in(__u32 n)
{
	return !any_below(n);
}

/* Mostly as long as a segment is on its way, sometimes as long as somebody thinks; longer than from hook to hook. */
static __u64 some_time(void)
{
	switch (any_below(20)) {
	case 0:
		return 100 * US + any64() % (2 * HOST_S);
	case 1:
	case 2:
		return 100 * US + any64() % (700 * HOST_MS);
	case 3 ... 9:
		return 100 * US + any64() % (50 * HOST_MS);
	default:
		return 100 * US + any64() % HOST_MS;
	}
}

static __u32 some_payload(void)
{
	static const __u32 lengths[] = { 0, 1, 2, 100, 1448, 1448, 1448, 60000 };

	return lengths[any_below(sizeof(lengths) / sizeof(lengths[0]))];
}

/* The side that is this host, if it is one's socket. */
static enum side own_side(const struct story *s)
{
	return s->path == CALLING ? ORIG : RESP;
}

static void note_knows(const struct story *s, struct knows *knows)
{
	enum side me = own_side(s), peer = !me;

	/* A listener has no socket of the connection before the third ACK. */
	knows->socket = s->own && (s->opened || me == ORIG);
	knows->snd_una = s->seen[me];
	knows->rcv_nxt = s->seen[peer];
	knows->state = !s->opened                         ? BPF_TCP_SYN_SENT
	               : s->closed[me] && s->closed[peer] ? BPF_TCP_LAST_ACK
	               : s->closed[me]                    ? BPF_TCP_FIN_WAIT1
	               : s->closed[peer]                  ? BPF_TCP_CLOSE_WAIT
	                                                  : BPF_TCP_ESTABLISHED;
	/* Whether a SYN or FIN counts, depends; what is on its way does not. */
	knows->acked = s->sent[me] - (__u32)(s->next[me] - s->seen[me]);
	if (s->sent[me] < (__u32)(s->next[me] - s->seen[me]))
		knows->acked = 0;
	knows->received = s->sent[peer];
}

/* The interface of who is routed that is on the responder's side. */
#define FAR_SIDE 3

/* The segment is seen at this time, at the hooks on its way. */
static void see(struct story *s, enum side side, __u8 flags, __u32 seq, __u32 len, __u64 at)
{
	static const __u32 interface[PATHS][2] = {
		[CALLED] = { 2 }, [CALLING] = { 2 }, [ROUTED] = { 2, FAR_SIDE }, [LOOPED] = { 1, 1 }
	};
	bool two = s->path == ROUTED || s->path == LOOPED;
	int hook;

	for (hook = 0; hook <= two; hook++) {
		struct event *e = &world.event[world.events];
		bool turned = s->path == ROUTED && side == RESP;

		if (world.events == EVENTS)
			return;
		world.events++;
		memset(e, 0, sizeof(*e));
		e->at = at + hook * (1 + any_below(40000));
		e->story = s - world.story;
		e->tuple = s->tuple;
		e->second = hook;
		e->scope = s->scope;
		e->p.flags = flags;
		e->p.seq = seq;
		e->p.ack = flags & TCP_ACK ? s->seen[!side] : 0;
		e->p.len = len;
		e->p.ifindex = interface[s->path][turned ? !hook : hook];
		e->p.dir = s->path == ROUTED                       ? (hook ? DIR_OUT : DIR_IN)
		           : s->path == LOOPED                     ? (hook ? DIR_IN : DIR_OUT)
		           : (side == ORIG) == (s->path == CALLED) ? DIR_IN
		                                                   : DIR_OUT;
		put_key(&e->p.key, &s->key, side == RESP);
		note_knows(s, &e->knows);
	}
}

/* A side sends this, and what it has sent comes to the other one unless that sends at the same time. The network may copy it. */
static void tell_at(struct story *s, enum side side, __u8 flags, __u32 len, bool crossing, __u64 time)
{
	__u32 seq = s->next[side];

	if (flags & TCP_ACK && s->closed[!side] && s->seen[!side] == s->next[!side])
		s->acked[!side] = true;
	s->next[side] += len + !!(flags & (TCP_SYN | TCP_FIN));
	s->sent[side] += len;
	if (flags & TCP_FIN)
		s->closed[side] = true;
	see(s, side, flags, seq, len, s->now);
	/* In time before the next segment, so it changes nothing; not a copy of what this host sends, nor long after a RST. */
	if (one_in(8))
		see(s, side, flags, seq, len, s->now + AT_ONCE + any64() % (flags & TCP_RST ? 40 * US : time - 90 * US));
	if (!crossing) {
		s->seen[side] = s->next[side];
		s->seen[!side] = flags & TCP_ACK ? s->seen[!side] : s->next[!side];
	}
	s->now += time;
}

static void tell(struct story *s, enum side side, __u8 flags, __u32 len)
{
	tell_at(s, side, flags, len, false, some_time());
}

/* A segment of a handshake is sent again. */
static void tell_again(struct story *s, enum side side, __u8 flags, __u32 len, __u64 time)
{
	see(s, side, flags, s->isn[side], len, s->now);
	s->now += time;
}

/* How a SYN ends that no SYN-ACK answers; false: that is not how. */
static bool is_unanswered(struct story *s)
{
	switch (any_below(24)) {
	case 0:
		s->state = S0;
		return true;
	case 1:
		s->seen[ORIG] = s->next[ORIG];
		see(s, RESP, RST_ACK, 0, 0, s->now);
		s->state = REJ;
		s->last_flag = TCP_RST;
		return true;
	case 2:
		s->state = RSTOS0;
		s->last_flag = TCP_RST;
		see(s, ORIG, TCP_RST, s->isn[ORIG] + 1, 0, s->now);
		return true;
	default:
		return false;
	}
}

/* The other side opens at the same time. */
static void open_at_once(struct story *s)
{
	tell_at(s, RESP, TCP_SYN, 0, true, some_time());
	s->seen[ORIG] = s->next[ORIG];
	s->seen[RESP] = s->next[RESP];
	see(s, ORIG, SYN_ACK, s->isn[ORIG], 0, s->now);
	s->now += 100 * US;
	see(s, RESP, SYN_ACK, s->isn[RESP], 0, s->now);
	s->now += some_time();
	s->opened = true;
}

/* The handshake; false: it ends there. */
static bool open_story(struct story *s)
{
	__u32 len = one_in(8) ? some_payload() % 1449 : 0;
	int again = one_in(6) ? 1 + any_below(3) : 0, i;

	s->told = true;
	s->known[ORIG] = s->known[RESP] = true;
	tell_at(s, ORIG, TCP_SYN, len, true, again ? HOST_S : some_time());
	for (i = 0; i < again; i++)
		tell_again(s, ORIG, TCP_SYN, len, i + 1 < again ? (2ULL << i) * HOST_S : some_time());
	if (is_unanswered(s))
		return false;
	if (!len && one_in(21)) {
		open_at_once(s);
		return true;
	}
	/* Who does not take the data in a SYN acknowledges the SYN alone, and has it sent again. */
	if (len && one_in(2)) {
		s->next[ORIG] = s->isn[ORIG] + 1;
		s->sent[ORIG] = 0;
	}
	s->seen[ORIG] = s->next[ORIG];
	tell(s, RESP, SYN_ACK, 0);
	if (one_in(10))
		tell_again(s, RESP, SYN_ACK, 0, some_time());
	switch (any_below(24)) {
	case 0:
		s->state = S1;
		/* Nobody has sent what nobody acknowledged: the data in the SYN are all there was. */
		s->sent[ORIG] = len;
		return false;
	case 1:
		s->state = RSTO;
		s->last_flag = TCP_RST;
		s->sent[ORIG] = len;
		see(s, ORIG, TCP_RST, s->next[ORIG], 0, s->now);
		return false;
	default:
		break;
	}
	tell(s, ORIG, TCP_ACK, one_in(3) ? some_payload() : 0);
	s->opened = true;
	return true;
}

static void talk_on(struct story *s, unsigned int segments)
{
	for (; segments; segments--) {
		enum side side = any_below(2);
		__u64 bulk = one_in(40) ? any64() >> (30 + any_below(20)) : 0;

		if (s->closed[side])
			side = !side;
		/* What goes by unseen is not played. */
		s->next[side] += bulk;
		s->seen[side] += bulk;
		s->sent[side] += bulk;
		world.sent[s->tuple][is_larger(&s->key) != side] += bulk;
		s->now += bulk / BYTES_IN_NS;
		tell(s, side, TCP_ACK | TCP_PSH, some_payload());
		if (one_in(3))
			tell(s, !side, TCP_ACK, 0);
	}
}

static void reset_story(struct story *s, enum side side)
{
	__u8 flags = one_in(2) ? TCP_RST : RST_ACK;

	s->state = side == ORIG ? RSTO : RSTR;
	s->last_flag = TCP_RST;
	tell(s, side, flags, 0);
	s->known[side] = true;
	s->known[!side] = s->closed[!side] ? s->acked[!side] : flags & TCP_ACK;
}

static void close_story(struct story *s)
{
	enum side first = any_below(2), side;
	__u64 both_closed;

	s->known[ORIG] = s->known[RESP] = false;
	switch (any_below(12)) {
	case 0:
		s->state = S1;
		return;
	case 1:
		reset_story(s, first);
		return;
	case 2: /* at the same time */
		tell_at(s, first, FIN_ACK, some_payload() % 2, true, some_time());
		both_closed = s->now;
		tell_at(s, !first, FIN_ACK, some_payload() % 2, true, some_time());
		s->seen[ORIG] = s->next[ORIG];
		s->seen[RESP] = s->next[RESP];
		/* An acknowledgement after that silence comes too late: it is over by then. */
		for (side = ORIG; side <= RESP; side++)
			if (one_in(2)) {
				s->known[!side] = s->now - both_closed < RST_SILENCE_NS;
				tell(s, side, TCP_ACK, 0);
			}
		s->state = SF;
		s->last_flag = TCP_FIN;
		return;
	case 3:
	case 4:
		tell(s, first, FIN_ACK, some_payload());
		talk_on(s, any_below(4));
		if (one_in(2)) {
			reset_story(s, any_below(2));
			return;
		}
		s->known[first] = s->acked[first];
		s->state = first == ORIG ? S2 : S3;
		return;
	default:
		tell(s, first, FIN_ACK, some_payload());
		if (one_in(2))
			tell(s, !first, TCP_ACK, 0);
		if (one_in(3))
			talk_on(s, any_below(4));
		if (one_in(20)) {
			s->now += (CLOSE_TIMEOUT_S + 1) * HOST_S + any64() % (3600 * HOST_S);
			befalls(s->tuple, SILENT_HALF_CLOSE);
		}
		tell(s, !first, FIN_ACK, some_payload());
	}
	s->state = SF;
	s->last_flag = TCP_FIN;
	s->known[ORIG] = s->known[RESP] = true;
	if (one_in(2))
		tell(s, first, TCP_ACK, 0);
}

/* A network's order: what a side sends without waiting for the other may come in another one. */
static void shuffle(struct story *s, unsigned int from)
{
	unsigned int i;

	for (i = from; i + 1 < world.events; i++) {
		struct event *a = &world.event[i], *b = &world.event[i + 1];
		__u64 at = a->at;

		if (!one_in(10) || s->own || !same_key(&a->p.key, &b->p.key) || (a->p.flags | b->p.flags) & (TCP_SYN | TCP_RST) ||
		    a->second || b->second || b->at - a->at > 5 * HOST_MS || s->path == ROUTED || s->path == LOOPED)
			continue;
		a->at = b->at;
		b->at = at;
	}
}

static __u32 some_isn(unsigned int n)
{
	static const __u32 edges[] = { 0, 0x80000000, -1000U, -60000U };

	/* None of them is another one's behind its SYN's data. */
	return one_in(2) ? any64() >> 32 : edges[any_below(4)] - 7 * (STORIES - n);
}

/* The story that was on this tuple last; NULL: none. */
static struct story *predecessor_of(const struct story *s)
{
	int i;

	for (i = (int)(s - world.story) - 1; i >= 0; i--)
		if (world.story[i].tuple == s->tuple)
			return &world.story[i];
	return NULL;
}

/* Has it ended for sure? Not with FINs that do not acknowledge each other: those are believed later. */
static bool is_over(const struct story *s)
{
	return (s->state == SF && s->known[ORIG] && s->known[RESP]) || s->state == REJ || s->state == RSTOS0 || s->state == S0;
}

static void tell_story(void)
{
	struct story *s = &world.story[world.stories++], *before;
	unsigned int from = world.events;

	memset(s, 0, sizeof(*s));
	s->scope = 1;
	s->tuple = any_below(TUPLES);
	put_key(&s->key, &world.tuple[s->tuple], one_in(8));
	before = predecessor_of(s);
	s->path = before ? before->path : any_below(PATHS);
	s->own = before ? before->own : (s->path == CALLED || s->path == CALLING) && one_in(2);
	if (before && s->own)
		s->key = before->key;
	s->now = world.began + any64() % (3 * HOST_S);
	if (before && one_in(8)) {
		befalls(s->tuple, EQUAL_TUPLES);
		s->scope = before->scope + 1;
		before = NULL;
	} else if (before) {
		s->scope = before->scope;
		s->now = before->now + 100 * HOST_MS + any64() % (3 * HOST_S);
	}
	s->isn[ORIG] = s->next[ORIG] = s->seen[ORIG] = some_isn(s - world.story);
	s->isn[RESP] = s->next[RESP] = s->seen[RESP] = some_isn(s - world.story);
	if (open_story(s)) {
		talk_on(s, any_below(6));
		close_story(s);
	}
	if (before && !before->opened && !before->last_flag && !same_key(&before->key, &s->key))
		befalls(s->tuple, ANSWERED_BY_SYN);
	/* Nobody can tell a SYN that is never answered from a forged one, unless it is this host's own. */
	if (before && !is_over(before) && !s->opened) {
		befalls(s->tuple, s->own && s->path == CALLING ? OWN_SYN_ON_STALE_TUPLE : SYN_ON_STALE_TUPLE);
	}
	shuffle(s, from);
}

/*
 * Forgers and other troubles
 */

static struct event *any_event(__u8 mask, __u8 flags)
{
	int tries;

	for (tries = 0; tries < 32; tries++) {
		struct event *e = &world.event[any_below(world.events)];

		if (e->story >= 0 && (e->p.flags & mask) == flags)
			return e;
	}
	return NULL;
}

static __u32 some_way_off(void)
{
	static const __u32 offs[] = {
		1, -1U, 2, 1000, -1000U, FIRST_WINDOW, HANDSHAKE_SPAN, REORDER_BYTES, -REORDER_BYTES - 1, 0x80000000
	};

	return one_in(3) ? any64() >> 32 : offs[any_below(sizeof(offs) / sizeof(offs[0]))];
}

/* A copy of the segment, a while later. Nobody's; NULL: there is no room. */
static struct event *forge(const struct event *e)
{
	struct event *copy = &world.event[world.events];

	if (world.events == EVENTS)
		return NULL;
	world.events++;
	*copy = *e;
	copy->story = -1;
	copy->at += one_in(2) ? any64() % HOST_MS : any64() % (2 * HOST_S);
	return copy;
}

/* At the interface on the responder's side one side has other numbers. */
static void rewrite(const struct story *s)
{
	enum side side = any_below(2);
	__u32 by = any64() >> 32;
	unsigned int i;

	for (i = 0; i < world.events; i++) {
		struct event *e = &world.event[i];

		if (e->story != s - world.story || e->p.ifindex != FAR_SIDE)
			continue;
		if (same_key(&e->p.key, &s->key) == (side == ORIG))
			e->p.seq += by;
		else if (e->p.flags & TCP_ACK)
			e->p.ack += by;
	}
}

/* A segment of nobody's, with another number, that would end a connection or begin one; NULL: there is no room for it. */
static struct event *forge_end(enum trouble trouble)
{
	struct event *e = any_event(0, 0);

	if (e)
		e = forge(e);
	if (!e)
		return NULL;
	e->p.len = 0;
	e->p.seq += some_way_off();
	if (trouble == FORGED_FIN)
		e->p.ack = any64() >> 32;
	e->p.flags = trouble == FORGED_FIN ? FIN_ACK : trouble == FORGED_SYN ? TCP_SYN : one_in(2) ? TCP_RST : RST_ACK;
	return e;
}

/* A segment, or a copy of it, with another number; NULL likewise. */
static struct event *change_number(void)
{
	struct event *e = any_event(0, 0);

	if (e && one_in(2))
		e = forge(e);
	if (!e)
		return NULL;
	if (one_in(2))
		e->p.seq += some_way_off();
	else
		e->p.ack += some_way_off();
	return e;
}

static void spoil(void)
{
	static const __u8 flags[] = { TCP_ACK, FIN_ACK, TCP_RST, RST_ACK, TCP_SYN, SYN_ACK };
	enum trouble trouble = any_below(ALL_TROUBLES);
	struct event *e = NULL, *other;
	__u64 at;

	switch (trouble) {
	case LOSS:
		e = any_event(0, 0);
		if (!e)
			return;
		e->p.dir = DIRECTIONS;
		/* Who acknowledges a FIN that was not seen seems to acknowledge a byte. */
		if (e->p.flags & TCP_FIN)
			world.sent[e->tuple][is_larger(&e->p.key)]++;
		if (e->p.flags & TCP_SYN)
			befalls(e->tuple, STRAY);
		break;
	case DISORDER:
		e = any_event(0, 0);
		other = any_event(0, 0);
		if (!e || !other || e->tuple != other->tuple)
			return;
		at = e->at;
		e->at = other->at;
		other->at = at;
		if ((e->p.flags | other->p.flags) & TCP_SYN || e->story != other->story)
			befalls(e->tuple, STRAY);
		break;
	case TWO_SYNACKS:
		e = any_event(SYN_ACK, SYN_ACK);
		if (e)
			e = forge(e);
		if (e)
			e->p.seq = any64() >> 32;
		break;
	case REWRITING_HOP:
		e = any_event(0, 0);
		if (!e || world.story[e->story].path != ROUTED)
			return;
		rewrite(&world.story[e->story]);
		break;
	case FORGED_FIN:
	case FORGED_RST:
	case FORGED_SYN:
		e = forge_end(trouble);
		break;
	case OTHER_NUMBER:
		e = change_number();
		break;
	case OTHER_FLAGS:
		e = any_event(0, 0);
		if (e && one_in(2))
			e = forge(e);
		if (e)
			e->p.flags = one_in(8) ? any64() >> 56 : flags[any_below(sizeof(flags))];
		break;
	default:
		return;
	}
	if (e)
		befalls(e->tuple, trouble);
}

/*
 * What the tracker makes of it
 */

static unsigned int number_of_tuple(const struct flow_key *key)
{
	unsigned int i;

	for (i = 0; i < TUPLES; i++)
		if (same_key(&world.tuple[i], key) || opposite_key(&world.tuple[i], key))
			break;
	return i;
}

static void set_socket(const struct event *e)
{
	struct host_socket *own = &world.socket[e->tuple];
	const struct story *s = e->story < 0 ? NULL : &world.story[e->story];

	if (s) {
		struct flow_key key;

		put_key(&key, &s->key, own_side(s) == RESP);
		memset(own, 0, sizeof(*own));
		own->no_tcp = !e->knows.socket;
		own->sk.state = e->knows.state;
		own->sk.src_port = key.sport;
		own->sk.dst_port = bpf_htons(key.dport);
		memcpy(&own->sk.src_ip4, key.src + 12, 4);
		memcpy(&own->sk.dst_ip4, key.dst + 12, 4);
		memcpy(own->sk.src_ip6, key.src, 16);
		memcpy(own->sk.dst_ip6, key.dst, 16);
		own->tcp.snd_una = e->knows.snd_una;
		own->tcp.rcv_nxt = e->knows.rcv_nxt;
		own->tcp.bytes_acked = e->knows.acked;
		own->tcp.bytes_received = e->knows.received;
	}
	host.sender = host.receiver = own->no_tcp || !own->sk.state ? NULL : own;
	if (!s)
		host.sender = NULL;
}

static const char *text_of(const struct packet *p)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s %u > %u %s%s%s%s seq %u ack %u len %u", p->dir == DIR_OUT ? "out" : "in", p->key.sport,
	         p->key.dport, p->flags & TCP_SYN ? "S" : "", p->flags & TCP_FIN ? "F" : "", p->flags & TCP_RST ? "R" : "",
	         p->flags & TCP_ACK ? "A" : "", p->seq, p->ack, p->len);
	return text;
}

static void read_log(void);

static void play_next(void)
{
	struct event *e = &world.event[world.next++];
	const struct packet *p = &e->p;

	if (p->dir == DIRECTIONS)
		return;
	if (e->at > host.now && !host.at_work)
		pass(e->at - host.now);
	else if (e->at > host.now)
		host.now = e->at;
	host.now++;
	e->at = host.now;
	if (p->flags & TCP_SYN && world.syns < SYNS) {
		world.syn[world.syns].key = p->key;
		world.syn[world.syns].at = host.now;
		world.syn[world.syns].told = false;
		world.syn[world.syns++].isn = p->seq;
	}
	set_socket(e);
	this_load.scope_id = e->scope;
	if (aloud)
		fprintf(stderr, "%12.6f %s%s\n", (host.now - world.began) / 1e9, text_of(p), e->story < 0 ? " forged" : "");
	receive(p);
	packets++;
	if (!host.at_work)
		read_log();
}

/*
 * Another CPU has the next segment while this one is at work. Nobody answers what has not left this host yet, so it is one that is
 * sent at the same time.
 */
static void come_in_between(const char *what, const void *map)
{
	__u32 scope = this_load.scope_id; /* the other CPU is at another interface */

	(void)what, (void)map;
	if (any_below(world.one_step_in) || host.cpu == HOST_CPUS - 1 || world.next == world.events ||
	    world.event[world.next].at > host.now + AT_ONCE)
		return;
	host.cpu++;
	play_next();
	host.cpu--;
	this_load.scope_id = scope;
}

/* Nothing that nobody sent, and nothing that has not been. */
static void check_bytes(const struct record *r, unsigned int tuple, bool orig)
{
	__s64 bytes = exact_bytes(&r->flow, &r->facts, orig);

	if (bytes > 0)
		world.bytes[!orig] += bytes;
	if (!promised_of(tuple, false))
		return;
	unit_check(bytes >= -1 && (bytes == -1 || (__u64)bytes <= world.sent[tuple][is_larger(&r->key) == orig]),
	           "a record of %u > %u in state %s has %lld bytes of the %s, which sent %llu", r->key.sport, r->key.dport,
	           state_name[r->state], (long long)bytes, orig ? "originator" : "responder",
	           (unsigned long long)world.sent[tuple][is_larger(&r->key) == orig]);
}

/* The SYN that this record is of: each has one at most. Who is interrupted looks at his clock later than the SYN was sent. */
static void check_syn(const struct record *r)
{
	__u64 slack = world.one_step_in ? HOST_CPUS * AT_ONCE : 0;
	unsigned int i = world.syns;

	while (i--)
		if (!world.syn[i].told && world.syn[i].isn == r->flow.orig_isn && same_key(&world.syn[i].key, &r->key) &&
		    r->flow.start_ns - world.syn[i].at <= slack)
			break;
	if (unit_check(i < world.syns || world.syns == SYNS,
	               "a record of %u > %u in state %s is of no SYN, or of one that has a record", r->key.sport, r->key.dport,
	               state_name[r->state]) &&
	    i < world.syns)
		world.syn[i].told = true;
}

/* Of two CPUs the one that has looked at the clock first may come second. */
static void check_times(const struct record *r)
{
	__u64 slack = world.one_step_in ? HOST_CPUS * AT_ONCE : 0;
	const struct flow *f = &r->flow;

	CHECK(f->start_ns > world.began && f->start_ns <= host.now);
	unit_check(f->start_ns <= r->end_ns && r->end_ns <= host.now, "a record of %u > %u in state %s took %lld ns", r->key.sport,
	           r->key.dport, state_name[r->state], (long long)(r->end_ns - f->start_ns));
	CHECK(!f->first_fin_ns || (f->first_fin_ns + slack >= f->start_ns && f->first_fin_ns <= r->end_ns + slack));
	CHECK(f->syn_rtt_ns + f->ack_rtt_ns <= host.now - world.began);
}

static void note_record(const struct record *r)
{
	unsigned int tuple = number_of_tuple(&r->key), i;

	if (aloud)
		fprintf(stderr, "%12.6f = %u > %u %s bytes %lld/%lld%s, after %.6f s\n", (host.now - world.began) / 1e9,
		        r->key.sport, r->key.dport, state_name[r->state], (long long)exact_bytes(&r->flow, &r->facts, true),
		        (long long)exact_bytes(&r->flow, &r->facts, false), r->facts.known ? " by the socket" : "",
		        (r->end_ns - r->flow.start_ns) / 1e9);
	if (!CHECK(tuple < TUPLES) || !CHECK(r->state < CONN_STATES))
		return;
	check_syn(r);
	check_times(r);
	check_bytes(r, tuple, true);
	check_bytes(r, tuple, false);
	for (i = 0; i < world.stories; i++)
		if (world.story[i].isn[ORIG] == r->flow.orig_isn && same_key(&world.story[i].key, &r->key)) {
			world.story[i].record = *r;
			world.story[i].records++;
		}
}

/* The records that are new: the log holds more than one packet can write. */
static void read_log(void)
{
	const struct log_head *head = host_only(struct log_head, nt_log_head);

	CHECK(head->written - world.log_read <= LOG_RECORDS);
	for (; world.log_read < head->written; world.log_read++) {
		const struct record *r = host_lookup(host_map_of(&nt_log), &(__u32){ world.log_read % LOG_RECORDS });

		if (CHECK_EQUAL(r->seq, world.log_read + 1))
			note_record(r);
	}
}

/*
 * When a side's first segment with this flag was seen at any hook, or, if its record is that of one interface, there; 0: none was.
 */
static __u64 first_seen(const struct story *s, enum side side, __u8 flag)
{
	__u64 first = 0;
	unsigned int i;

	for (i = 0; i < world.events; i++) {
		const struct event *e = &world.event[i];

		if (s->record.flow.flags & ONE_PLACE && e->p.ifindex != s->record.flow.ifindex)
			continue;
		if (e->story == s - world.story && e->p.flags & flag && same_key(&e->p.key, &s->key) == (side == ORIG))
			note_due(&first, e->at);
	}
	return first;
}

static void check_story_bytes(const struct story *s, enum side side, bool may_be_unknown)
{
	const struct record *r = &s->record;
	__s64 bytes = exact_bytes(&r->flow, &r->facts, side == ORIG), sent = r->facts.known ? s->sent[side] : (__u32)s->sent[side];

	if (bytes == -1 && (may_be_unknown || !s->known[side]))
		return;
	if (s->known[side])
		unit_check(bytes == sent, "%u > %u, %s: %lld bytes of the %s, which sent %lld", s->key.sport, s->key.dport,
		           state_name[s->state], (long long)bytes, side == ORIG ? "originator" : "responder", (long long)sent);
	else
		CHECK((__u64)bytes <= s->sent[side]);
}

/* A conversation has the record that its model says. */
static void check_story(const struct story *s)
{
	const struct record *r = &s->record;
	bool rewritten = world.trouble[s->tuple] & 1U << REWRITING_HOP;
	__u64 fins[2] = { first_seen(s, ORIG, TCP_FIN), first_seen(s, RESP, TCP_FIN) }, first_fin = 0, end = 0;

	exact_stories++;
	if (!unit_check(s->records == 1, "%u > %u, %s: %u records", s->key.sport, s->key.dport, state_name[s->state], s->records))
		return;
	unit_check(r->state == s->state, "%u > %u is %s, and should be %s", s->key.sport, s->key.dport, state_name[r->state],
	           state_name[s->state]);
	CHECK_EQUAL(r->flow.start_ns, first_seen(s, ORIG, TCP_SYN));
	CHECK_EQUAL(dir_of(&r->flow), s->path == CALLING || s->path == LOOPED ? DIR_OUT : DIR_IN);
	note_due(&first_fin, fins[ORIG]);
	note_due(&first_fin, fins[RESP]);
	CHECK_EQUAL(r->flow.first_fin_ns, first_fin);
	if (s->last_flag == TCP_FIN)
		end = fins[ORIG] > fins[RESP] ? fins[ORIG] : fins[RESP];
	else if (s->last_flag == TCP_RST) {
		note_due(&end, first_seen(s, ORIG, TCP_RST));
		note_due(&end, first_seen(s, RESP, TCP_RST));
	}
	if (end)
		CHECK_EQUAL(r->end_ns, end);
	check_story_bytes(s, ORIG, rewritten);
	check_story_bytes(s, RESP, rewritten);
}

/* What the services say is what the records say. */
static void check_services(void)
{
	const struct host_entry *entry;
	__u64 ended = 0, established = 0, bytes[2] = {};
	int state;

	for (entry = host_map_of(&nt_services)->entries; entry; entry = entry->next) {
		const struct service *service = entry->value;

		for (state = 0; state < CONN_STATES; state++)
			ended += service->ended[state];
		established += service->established;
		bytes[ORIG] += service->orig_bytes;
		bytes[RESP] += service->resp_bytes;
	}
	CHECK_EQUAL(ended, counted_ends());
	CHECK_EQUAL(established, counted(established));
	CHECK_EQUAL(bytes[ORIG], world.bytes[ORIG]);
	CHECK_EQUAL(bytes[RESP], world.bytes[RESP]);
}

/* The maps are as they were at the beginning, but for what counts. */
static void check_empty(void)
{
	const struct host_map *sets = host_map_of(&syn_map);
	__u32 i, j;

	CHECK_EQUAL(live_attempts() + live_connections(), 0);
	for (i = 0; i < POOLS; i++)
		CHECK_EQUAL(pool_of(i * (SYN_SETS / POOLS))->free, pool_of(i * (SYN_SETS / POOLS))->fresh);
	for (i = 0; i < sets->n_touched; i++) {
		const struct syn_set *set = set_at(sets->touched_at[i]);

		CHECK_EQUAL(set->resting, 0);
		CHECK_EQUAL(set->filter, 0);
		CHECK_EQUAL(set->open, 0);
		CHECK_EQUAL(gate_at(sets->touched_at[i]), 0);
		for (j = 0; j < SYN_WAYS; j++)
			CHECK_EQUAL(set->tag[j], 0);
	}
}

/* Everything times out but for what is established, which detach ends. Then each attempt has one record, and nothing is left. */
static void end_world(void)
{
	unsigned int i;

	host.step = NULL;
	pass((HANDSHAKE_TIMEOUT_S + CLOSE_TIMEOUT_S + 2) * HOST_S);
	read_log();
	CHECK_EQUAL(live_attempts() + all_moving(true), 0);
	conserved();
	flush_all();
	read_log();
	conserved();
	/* Who was watched has gone; the clock notices when it comes by. */
	for (i = 0; i < 60 && host_only(struct silence, nt_silence)->watched; i++)
		pass(HOST_S);
	check_empty();
	check_services();
	CHECK_EQUAL(counted(logged), counted_ends());
	CHECK_EQUAL(counted_ends() + counted(syn_disbelieved) + counted(syn_evicted) + counted(conn_full), counted(attempts));
	for (i = 0; i < world.stories; i++)
		if (world.story[i].told && promised_of(world.story[i].tuple, true))
			check_story(&world.story[i]);
}

static int by_time(const void *left, const void *right)
{
	const struct event *a = left, *b = right;

	return a->at < b->at ? -1 : a->at > b->at;
}

/* Tuples of both families, in sets anywhere. */
static void make_tuples(void)
{
	unsigned int i;

	for (i = 0; i < TUPLES; i++) {
		struct flow_key *key = &world.tuple[i];

		*key = tuple4(1024 + any_below(60000), any_below(4) ? 80 + i : 1024 + any_below(60000));
		if (one_in(2))
			continue;
		memset(key->src, 0, 32);
		key->src[0] = key->dst[0] = 0x20;
		key->src[15] = 1;
		key->dst[15] = 2;
	}
}

static void make_world(void)
{
	int spoilt = one_in(2) ? 0 : 1 + any_below(6);
	unsigned int i;

	host_reset();
	memset(&world, 0, offsetof(struct world, event));
	world.began = host.now;
	world.one_step_in = one_in(4) ? 4U << any_below(6) : 0;
	host.reuse = world.one_step_in && one_in(2);
	settings()->trace = one_in(8) ? TRACE_ON : TRACE_OFF;
	make_tuples();
	while (world.stories < STORIES && world.events < EVENTS / 2)
		tell_story();
	stories += world.stories;
	for (; spoilt; spoilt--)
		spoil();
	for (i = 0; i < world.events; i++)
		world.sent[world.event[i].tuple][is_larger(&world.event[i].p.key)] += world.event[i].p.len;
	qsort(world.event, world.events, sizeof(world.event[0]), by_time);
}

static void play_world(void)
{
	unsigned int i;

	if (world.one_step_in)
		for (i = 0; i < TUPLES; i++)
			befalls(i, RACE);
	host.step = world.one_step_in ? come_in_between : NULL;
	while (world.next < world.events) {
		play_next();
		if (world.next % 16 == 0) {
			host.step = NULL;
			conserved();
			host.step = world.one_step_in ? come_in_between : NULL;
		}
	}
	end_world();
}

static void say_troubles(void)
{
	int i, tuple;

	for (tuple = 0; tuple < TUPLES; tuple++) {
		fprintf(stderr, "%u > %u:", world.tuple[tuple].sport, world.tuple[tuple].dport);
		for (i = 0; i < ALL_TROUBLES; i++)
			if (world.trouble[tuple] & 1U << i)
				fprintf(stderr, " %s", troubles[i].name);
		fputc('\n', stderr);
	}
}

static unsigned long number_of(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

static void no_conversation_is_told_wrong(void)
{
	unsigned long seed = number_of("FUZZ_SEED", 1), wanted = number_of("FUZZ_PACKETS", PACKETS),
		      only = number_of("FUZZ_WORLD", 0);
	unsigned long n;
	int i;

	for (n = only ? only : 1; packets < wanted && !unit_failures; n++) {
		unit_seed = (seed << 32 ^ n) * 0x9E3779B97F4A7C15ULL | 1;
		any64();
		aloud = only;
		make_world();
		play_world();
		if (unit_failures || only) {
			fprintf(stderr, "this was FUZZ_SEED=%lu FUZZ_WORLD=%lu\n", seed, n);
			say_troubles();
		}
		if (only)
			return;
	}
	if (unit_failures)
		return;
	printf("# FUZZ_SEED=%lu: %lu packets, %lu conversations in %lu worlds, %lu of them held to their record\n", seed, packets,
	       stories, n - 1, exact_stories);
	for (i = 0; i < ALL_TROUBLES; i++)
		unit_check(befell[i] || packets < 10000, "%s has never come to pass", troubles[i].name);
}

int main(void)
{
	also = getenv("FUZZ_ALSO");
	RUN(no_conversation_is_told_wrong);
	return unit_end();
}
