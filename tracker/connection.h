/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * connection.h - a connection after its handshake, in conn_map: FIN, RST, other segments that are looked at, and its end.
 * on_connection() is for NeTracker.bpf.c; handshake.h ends predecessors and hands over late FINs, timeout.h ends what nobody
 * closed.
 */
#ifndef NETRACKER_CONNECTION_H
#define NETRACKER_CONNECTION_H

#include "clock.h"
#include "flow.h"
#include "maps.h"
#include "report.h"
#include "scratch.h"
#include "segment.h"
#include "sets.h"
#include "socket.h"
#include "tuple.h"

/* A RST that no socket can vouch for is believed after this much silence: longer than a sender's first retransmission. */
#define RST_SILENCE_NS NSEC_PER_SEC

/* Segments that overtook a RST may still arrive; they are not this far behind it in the stream, nor this late (+ 2 RTT). */
#define REORDER_BYTES (1U << 20)
#define REORDER_NS 10000000ULL

/*
 * Is it still the connection that was looked up? Memory of a deleted element is used again at once. The tag tells, but for one
 * tuple in 65,536. If that happens behind this question, a FIN may mark the wrong connection: the worst outcome is one wrong state,
 * as whoever ends one asks again.
 */
static __always_inline bool is_same(const struct conn *c, __u64 hash)
{
	return c->flow.tag == (__u16)tag_of(hash);
}

/*
 * The right to end a connection: of all who try, one gets it. *flags: the flags as they were. If another CPU ends it meanwhile and
 * its memory is another connection's, that one gets its bit back. In between, some instructions, who was to end that one has lost
 * its turn, and a FIN or RST of it is not looked at. If it is watched, the clock ends it when its time is up, unless the turn was
 * the clock's own. Else, as when an established connection was reset, it stays in conn_map until a new one on its tuple or detach
 * ends it, as S1.
 */
static __always_inline bool claim(const struct flow_key *key, struct conn *c, __u32 *flags)
{
	*flags = __sync_fetch_and_or(&c->flow.flags, ENDED);
	if (*flags & ENDED)
		return false;
	if (is_same(c, hash_key(key)))
		return true;
	__sync_fetch_and_and(&c->flow.flags, ~ENDED);
	return false;
}

/*
 * Takes a claimed connection out and reports it. flags: from claim(). facts: what a socket of this connection says now, if
 * known. What is reported is copied first, as a map's element is used again as soon as it is deleted.
 */
static __always_inline void end_connection(struct scratch *scratch, const struct flow_key *key, const struct conn *c, __u32 flags,
                                           enum conn_state state, __u64 end_ns, const struct facts *facts)
{
	bool kept;

	scratch->last = c->flow;
	scratch->last.flags = flags;
	bpf_map_delete_elem(&conn_map, key);
	kept = flags & WATCHED && unwatch(key, scratch->last.start_ns, &scratch->saved);
	if (facts->known && is_ours(facts, flags))
		report(key, &scratch->last, facts, state, end_ns);
	else
		report(key, &scratch->last, kept ? &scratch->saved : NULL, state, end_ns);
}

/*
 * What a connection becomes that nobody closes: by time-out, by a new connection on its tuple, or at detach. Returns false if
 * somebody else ended it. facts: what its socket said at the first FIN, if its watch is gone already.
 */
static __always_inline bool end_unclosed(struct scratch *scratch, const struct flow_key *key, struct conn *c,
                                         const struct facts *facts, __u64 now)
{
	enum conn_state state;
	__u32 flags;
	__u64 end_ns;

	if (!claim(key, c, &flags))
		return false;
	state = live_state(flags);
	end_ns = state == S1 ? now : c->flow.last_ns;
	if (flags & RST_PENDING) {
		bool by_orig = flags & RST_BY_ORIG;

		if (!(flags & (by_orig ? ORIG_FIN : RESP_FIN)))
			note_end(&c->flow, by_orig, c->flow.rst_seq);
		flags |= by_orig ? ORIG_END : RESP_END;
		if (flags & RST_ACKED)
			flags |= by_orig ? RESP_END : ORIG_END;
		state = by_orig ? RSTO : RSTR;
		end_ns = c->flow.last_ns;
	}
	end_connection(scratch, key, c, flags, state, end_ns, facts);
	return true;
}

/* When the time of a watched connection is up; 0: it has no limit (any more). */
static __always_inline __u64 due_at(const struct flow *f)
{
	if (f->flags & RST_PENDING)
		return f->last_ns + RST_SILENCE_NS;
	if (f->flags & (ORIG_FIN | RESP_FIN))
		return f->last_ns + close_timeout_ns();
	return 0;
}

/* The connection that was watched; NULL: it has ended. */
static __always_inline struct conn *find_watched(const struct watch *watched)
{
	struct conn *c = bpf_map_lookup_elem(&conn_map, &watched->key);

	return c && c->flow.start_ns == watched->start_ns ? c : NULL;
}

/*
 * Watches a connection until due_ns. The one that has to give way is ended: it is half-closed or reset all the same, only its time
 * is not up.
 */
static __always_inline void watch_until(struct scratch *scratch, const struct flow_key *key, __u64 start_ns, __u64 due_ns,
                                        const struct facts *facts, __u64 now)
{
	struct watch *victim = &scratch->victim;
	struct conn *c;

	if (!watch(key, start_ns, due_ns, facts, victim))
		return;
	c = find_watched(victim);
	if (c && end_unclosed(scratch, &victim->key, c, &victim->facts, now))
		COUNT(close_evicted);
}

/* Watches a connection from its first FIN or RST on. facts: what its socket says at that FIN. */
static __always_inline void watch_closing(struct scratch *scratch, const struct flow_key *key, struct conn *c,
                                          const struct facts *facts, __u64 now)
{
	__u64 due_ns = due_at(&c->flow);

	if (!due_ns)
		return; /* what it was to be watched for has been refuted */
	__sync_fetch_and_or(&c->flow.flags, WATCHED);
	watch_until(scratch, key, c->flow.start_ns, due_ns, facts, now);
	set_clock(due_ns, now);
}

/*
 * A FIN with sequence number `end` (that of the FIN itself, behind the data) at time now. facts: of the socket. Returns whether it
 * is the second one, and who has it has to end the connection: *flags.
 */
static __always_inline bool on_connection_fin(struct scratch *scratch, const struct flow_key *key, struct conn *c, bool by_orig,
                                              __u32 end, __u64 now, const struct facts *facts, __u32 *flags)
{
	__u32 mine = by_orig ? ORIG_FIN | ORIG_END : RESP_FIN | RESP_END, both = ORIG_FIN | RESP_FIN, before;

	if (c->flow.flags & mine & both) {
		c->flow.last_ns = now; /* sent again */
		return false;
	}
	/* Both sides' FINs may be at work on two CPUs: each writes its own fields first, then its bit; the second one ends. */
	note_end(&c->flow, by_orig, end);
	__sync_val_compare_and_swap(&c->flow.first_fin_ns, 0, now);
	before = __sync_fetch_and_or(&c->flow.flags, mine);
	if (!(before & both)) {
		c->flow.last_ns = now;
		/* Only who closes first can be gone before the end. */
		if (!facts->known || facts->of_orig != by_orig || !is_ours(facts, before))
			facts = &scratch->nothing;
		watch_closing(scratch, key, c, facts, now);
		return false;
	}
	return ((before | mine) & both) == both && claim(key, c, flags);
}

/*
 * Does this segment show that the receiver of the pending RST threw it away? Its sender's later segments do, unless they
 * may have been overtaken by it; so does anything that is too late to have been on its way.
 */
static __always_inline bool refutes_rst(const struct flow *f, const struct segment *s, bool by_orig)
{
	__u64 in_flight_ns = REORDER_NS + 2 * (f->syn_rtt_ns + f->ack_rtt_ns);
	__u32 end = s->seq + s->len + !!(s->flags & TCP_FIN);

	/* Below 0: it was stamped before the RST, and is looked at behind it, by another CPU. */
	if ((__s64)(s->now - f->last_ns) > (__s64)in_flight_ns)
		return true;
	return by_orig == !!(f->flags & RST_BY_ORIG) && f->rst_seq - end > REORDER_BYTES;
}

/*
 * A segment without SYN and RST of a connection in conn_map: one with FIN, or any while the connection is WATCHED. Returns as
 * on_connection_fin() does.
 */
static __always_inline bool on_connection_segment(struct scratch *scratch, const struct flow_key *key, struct conn *c,
                                                  const struct segment *s, bool by_orig, const struct facts *facts, __u32 *ended)
{
	__u32 flags = c->flow.flags;

	if (flags & RST_PENDING) {
		if (!refutes_rst(&c->flow, s, by_orig))
			return false;
		flags = __sync_fetch_and_and(&c->flow.flags, ~(RST_PENDING | RST_BY_ORIG | RST_ACKED));
		if (flags & RST_PENDING)
			COUNT(rst_disbelieved);
		/* An established connection goes back to rest; a half-closed one stays watched. */
		if (!(flags & (ORIG_FIN | RESP_FIN))) {
			__sync_fetch_and_and(&c->flow.flags, ~WATCHED);
			unwatch(key, c->flow.start_ns, &scratch->saved);
			/* A FIN or another RST may have had it watched meanwhile, on another CPU. */
			watch_closing(scratch, key, c, &scratch->nothing, s->now);
		}
	}
	if (s->flags & TCP_FIN)
		return on_connection_fin(scratch, key, c, by_orig, s->seq + s->len, s->now, facts, ended);
	if (flags & (ORIG_FIN | RESP_FIN))
		c->flow.last_ns = s->now;
	return false;
}

enum verdict {
	RST_UNJUDGED,
	RST_GENUINE,
	RST_DISCARDED,
};

/*
 * What this host's own socket says of a RST: the TCP that sends it means it; the one that receives it takes it only if it is
 * exactly at rcv_nxt (RFC 5961 section 3.2), or one before that once the peer's FIN has come (tcp_reset_check in
 * net/ipv4/tcp_input.c).
 */
static __always_inline enum verdict judge_rst(const struct facts *facts, const struct segment *s)
{
	__u32 before;

	if (!facts->known)
		return RST_UNJUDGED;
	if (s->dir == DIR_OUT)
		return RST_GENUINE;
	before = facts->rcv_nxt - s->seq;
	if (before == 1 &&
	    (facts->tcp_state == BPF_TCP_CLOSE_WAIT || facts->tcp_state == BPF_TCP_LAST_ACK || facts->tcp_state == BPF_TCP_CLOSING))
		return RST_GENUINE;
	return before ? RST_DISCARDED : RST_GENUINE;
}

/* A RST tells where its sender's data ended and, with an ACK, where the other side's did. */
static __always_inline void note_rst_ends(struct flow *f, const struct segment *s, bool by_orig)
{
	note_end(f, by_orig, s->seq);
	__sync_fetch_and_or(&f->flags, by_orig ? ORIG_END : RESP_END);
	if (s->flags & TCP_ACK && !(f->flags & (by_orig ? RESP_END : ORIG_END))) {
		note_end(f, !by_orig, s->ack);
		__sync_fetch_and_or(&f->flags, by_orig ? RESP_END : ORIG_END);
	}
}

static __always_inline void on_connection_rst(struct scratch *scratch, const struct flow_key *key, struct conn *c,
                                              const struct segment *s, bool by_orig, const struct facts *facts)
{
	bool closed = c->flow.flags & (by_orig ? ORIG_FIN : RESP_FIN);
	enum verdict verdict = judge_rst(facts, s);
	__u32 flags, pending;

	/* Behind its own FIN there is only one place for a sender's RST; Linux also sends it on the FIN's place. */
	if (closed && s->seq - (by_orig ? c->flow.orig_end : c->flow.resp_end) <= 1)
		verdict = RST_GENUINE;

	switch (verdict) {
	case RST_DISCARDED:
		COUNT(rst_disbelieved);
		return;
	case RST_GENUINE:
		if (!closed)
			note_rst_ends(&c->flow, s, by_orig);
		if (!claim(key, c, &flags))
			return;
		end_connection(scratch, key, c, flags, by_orig ? RSTO : RSTR, flags & RST_PENDING ? c->flow.last_ns : s->now,
		               facts);
		return;
	case RST_UNJUDGED:
		if (c->flow.flags & RST_PENDING)
			return;
		c->flow.last_ns = s->now;
		c->flow.rst_seq = s->seq;
		pending = by_orig ? RST_PENDING | RST_BY_ORIG : RST_PENDING;
		if (s->flags & TCP_ACK && !(c->flow.flags & (by_orig ? RESP_END : ORIG_END))) {
			note_end(&c->flow, !by_orig, s->ack);
			pending |= RST_ACKED;
		}
		__sync_fetch_and_or(&c->flow.flags, pending);
		watch_closing(scratch, key, c, &scratch->nothing, s->now);
	}
}

/*
 * Looks the tuple up in both orientations; first in the one in which the responder has the smaller port, as it mostly has.
 * *key: as it is stored. *reversed: the tuple was turned round for that.
 */
static __always_inline struct conn *find_connection(const struct flow_key *tuple, struct flow_key *key, bool *reversed)
{
	struct conn *c;

	*reversed = tuple->sport < tuple->dport;
	put_key(key, tuple, *reversed);
	c = bpf_map_lookup_elem(&conn_map, key);
	if (c)
		return c;
	*reversed = !*reversed;
	put_key(key, tuple, *reversed);
	return bpf_map_lookup_elem(&conn_map, key);
}

/*
 * Is this host's socket to be asked? Of the first FIN only its sender: who closes last is asked when it does, and at ingress the
 * look-up costs half as much as all else that is done for a FIN.
 */
static __always_inline bool wants_socket(const struct conn *c, const struct segment *s)
{
	if (s->flags & TCP_RST)
		return true;
	return s->flags & TCP_FIN && (s->dir == DIR_OUT || c->flow.flags & (ORIG_FIN | RESP_FIN));
}

/* Asks this host's socket of the connection: *facts. reversed: the responder sends this segment. */
static __always_inline void ask(struct __sk_buff *skb, const struct segment *s, bool reversed, struct facts *facts)
{
	if (ask_socket(skb, s, facts))
		facts->of_orig = (s->dir == DIR_OUT) == !reversed;
	else
		facts->known = false;
}

/* A segment with FIN or RST, or any that is looked at, and that belongs to no handshake. Returns whether there is a connection. */
__noinline bool on_connection(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct facts *facts;
	struct flow_key key;
	bool reversed, asks;
	struct conn *c;
	__u32 flags;

	if (!s || !scratch)
		return false;
	c = find_connection(&s->key, &key, &reversed);
	if (!c)
		return false;
	if (!is_same(c, s->hash) || c->flow.flags & ENDED)
		return true;
	facts = &scratch->facts;
	facts->known = false;
	asks = wants_socket(c, s);
	if (asks)
		ask(skb, s, reversed, facts);
	/* The listener's owner was all there was at the handshake. */
	if (facts->known && facts->has_owner && is_ours(facts, c->flow.flags))
		note_owner(&c->flow, facts->cgroup, facts->uid);
	if (s->flags & TCP_RST) {
		on_connection_rst(scratch, &key, c, s, !reversed, facts);
	} else if (on_connection_segment(scratch, &key, c, s, !reversed, facts, &flags)) {
		/* It looked like the first FIN, until the other side's was there before it. */
		if (!asks)
			ask(skb, s, reversed, facts);
		end_connection(scratch, &key, c, flags, SF, s->now, facts);
	}
	return true;
}

#endif
