/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * motion.h - a connection in motion: from its first SYN to its end, but for the time that it is at rest. on_syn(), on_motion() and
 * carry_out() are for NeTracker.bpf.c; give_up() also for timeout.h.
 */
#ifndef NETRACKER_MOTION_H
#define NETRACKER_MOTION_H

#include "attempt.h"
#include "clock.h"
#include "closing.h"
#include "flow.h"
#include "maps.h"
#include "process.h"
#include "report.h"
#include "rest.h"
#include "scratch.h"
#include "segment.h"
#include "sets.h"
#include "socket.h"
#include "tuple.h"

/* So many places of a set are kept free of young connections, for those that are opened and closed. */
#define PLACES_KEPT 3

/* Reports a handshake that came to nothing; its slot is nobody else's any more. Returns 0. */
__noinline int end_attempt(struct slot *slot, __u64 state, __u64 end_ns)
{
	if (!slot)
		return 0;
	note_nothing_more(&slot->flow);
	report_slot(slot, state, end_ns);
	return 0;
}

/*
 * Likewise, where time or a newer attempt decided. A SYN on the tuple of a live connection that no one answered was no attempt
 * after all, even if that connection has gone in the meantime: then it is not reported and false is returned.
 */
__noinline bool give_up(struct slot *slot)
{
	__u64 end_ns;

	if (!slot)
		return false;
	if ((slot->flow.flags & (DOUBTFUL | RESP_SEEN)) == DOUBTFUL) {
		COUNT(syn_disbelieved);
		return false;
	}
	end_ns = slot->flow.first_fin_ns > slot->flow.last_ns ? slot->flow.first_fin_ns : slot->flow.last_ns;
	end_attempt(slot, handshake_state(slot->flow.flags), end_ns);
	return true;
}

/* What has come of a segment. */
enum act {
	ACT_MINE = 1 << 0, /* it is a connection's in motion */
	ACT_SYNACK_DISBELIEVED = 1 << 1,
	ACT_ANSWERED = 1 << 2,    /* a doubtful attempt */
	ACT_ESTABLISHED = 1 << 3, /* a connection */
	ACT_ENDED = 1 << 4,       /* a connection, closed by both sides */
	ACT_RESET = 1 << 5,       /* a connection */
	ACT_REFUSED = 1 << 6,     /* an attempt */
	ACT_REFUTED = 1 << 7,     /* a RST that was pending */
	ACT_UNBELIEVED = 1 << 8,  /* this RST, by an attempt */
	ACT_DISCARDED = 1 << 9,   /* this RST, by a connection */
	ACT_REPLACES = 1 << 10,   /* a connection in motion: this one has its tuple now */
	ACT_OPENED = 1 << 11,     /* a connection by this host's own SYN, on a tuple that had one */
	ACT_FIN_DISBELIEVED = 1 << 12,
};

enum syn_outcome {
	SYN_AGAIN,
	SYN_NEW,
	SYN_REPLACED, /* a new attempt took the place of an old one on the same tuple */
	SYN_EVICTED,
	SYN_NO_PLACE,
	SYN_LEFT_OUT,
};

/*
 * A new attempt gets a place in its set. i: that of the attempt on its tuple that it replaces, or NO_PLACE. slot: for it, if a
 * place is free. An attempt that has to leave its slot to it is in *out.
 */
static __always_inline enum syn_outcome open_attempt_locked(struct scratch *scratch, const struct parts *parts, __u32 i,
                                                            const struct segment *s, bool doubtful, const struct told *told,
                                                            __u32 slot, struct slot *out)
{
	enum syn_outcome outcome = SYN_NEW;
	struct slot *place;

	if (i != NO_PLACE) {
		*out = *slot_at(parts, i);
		outcome = SYN_REPLACED;
	} else {
		i = find_place_locked(scratch, parts, RANK_UNANSWERED, RANK_CLOSING);
		if (i == NO_PLACE)
			return SYN_NO_PLACE;
		if (parts->set->tag[bounded(i, SYN_WAYS)]) {
			outcome = SYN_EVICTED;
		} else {
			if (slot == NO_SLOT)
				return SYN_NO_PLACE;
			parts->set->at[bounded(i, SYN_WAYS)] = slot;
		}
	}
	i = bounded(i, SYN_WAYS);
	place = slot_at(parts, i);
	open_slot_locked(place, s, doubtful ? DOUBTFUL : 0);
	if (told->owner.known)
		note_owner(&place->flow, told->owner.cgroup, told->owner.uid);
	if (told->process.pid)
		place->flow.process = told->process;
	parts->set->tag[i] = tag_of(s->hash);
	open_gate_locked(parts, i, s->hash);
	/* It may be young by then. */
	note_due_locked(parts, s->now + YOUNG_NS);
	return outcome;
}

/*
 * Gives a SYN a place in its set, or notes it in the one that it has. doubtful: there is a connection of this tuple at rest.
 * resting: how many there were in the set when that was looked up; if that is no longer so, the connection may just have gone to
 * rest. slot: for it, if a place is free. An attempt that has to leave its slot to a newer one is in *out. If this host's own
 * socket sends the SYN, nothing is doubtful: scratch->outcome says what end_predecessor() has to do then.
 */
static __always_inline enum syn_outcome take_syn_locked(struct scratch *scratch, const struct parts *parts, const struct segment *s,
                                                        bool doubtful, __u32 resting, const struct told *told, __u32 slot,
                                                        bool left_out, struct slot *out)
{
	struct slot *place;
	struct places found;
	__u32 i;

	find_locked(scratch, parts, s, &found);
	if (found.connection != NO_PLACE) {
		place = slot_at(parts, found.connection);
		if (!found.from_resp && (place->flow.orig_isn == s->seq || is_passed_on(&place->flow, s))) {
			/* Late or seen again; or a hop has opened it on its other side only now, where it has other numbers. */
			if (!is_at_first(&place->flow, s))
				place->flow.flags |= ONE_PLACE;
			return SYN_AGAIN;
		}
		doubtful = true;
	}
	if (left_out && !doubtful && found.attempt == NO_PLACE)
		return SYN_LEFT_OUT;
	if (told->owner.opens) {
		scratch->outcome.acts = doubtful || parts->set->resting != resting ? ACT_OPENED : 0;
		scratch->outcome.predecessor = found.connection;
		scratch->outcome.start_ns = s->now;
		scratch->outcome.scopes = scopes_of(s->scope);
		if (found.connection != NO_PLACE && replace_locked(parts, found.connection, s->now))
			scratch->outcome.acts |= ACT_REPLACES;
		doubtful = false;
	}
	i = found.attempt;
	if (i != NO_PLACE) {
		place = slot_at(parts, i);
		if (!found.reply && place->flow.orig_isn != s->seq && is_passed_on(&place->flow, s)) {
			place->flow.flags |= ONE_PLACE;
			return SYN_AGAIN;
		}
		if (found.reply || place->flow.orig_isn == s->seq) {
			note_syn_again_locked(&place->flow, s, found.reply);
			if (told->owner.opens)
				place->flow.flags &= ~DOUBTFUL;
			return SYN_AGAIN;
		}
	}
	return open_attempt_locked(scratch, parts, i, s, doubtful, told, slot, out);
}

/*
 * A SYN without ACK: a new attempt, the old one sent again, seen again on its way through this host, or a SYN that crosses
 * the peer's (RFC 9293, figure 7). On the tuple of a live connection it is doubtful until it is answered, unless this host's own
 * socket sends it: then that connection is over, and scratch->outcome says which, for end_predecessor().
 * left_out: by the rules; then it is one that is sent again, or tells of a connection that is tracked, or nothing.
 * Returns whether it replaces an older attempt on its tuple, which is to be given up then: scratch->slot.
 */
__noinline bool on_syn(struct __sk_buff *skb, const struct segment *s, bool left_out)
{
	struct scratch *scratch = only_value(&nt_scratch);
	enum syn_outcome outcome;
	struct parts parts;
	__u32 slot, resting, rests = 0;

	if (!s || !scratch)
		return false;
	scratch->outcome.acts = 0;
	if (!find_parts(set_index(s->hash), &parts))
		return false;
	resting = *(volatile __u32 *)&parts.set->resting;
	if (may_rest(parts.set, s->hash)) {
		rests = find_resting(s, scopes_of(s->scope), parts.set->twins);
		if (rests == RESTS && scratch->fresh.flow.orig_isn == s->seq)
			return false; /* the SYN of this very connection, late or seen again */
	}
	rests = forget(&scratch->index, rests);
	left_out = forget(&scratch->connection_at, left_out);
	find_owner(skb, s, &scratch->told.owner);
	find_process(skb, s, &scratch->told.process);
	slot = take_slot(parts.pool);
	bpf_spin_lock(&parts.set->lock);
	outcome = take_syn_locked(scratch, &parts, s, rests, resting, &scratch->told, slot, left_out, &scratch->slot);
	bpf_spin_unlock(&parts.set->lock);
	if (outcome != SYN_NEW && slot != NO_SLOT)
		give_slot(parts.pool, slot);
	if (outcome == SYN_AGAIN)
		return false;
	if (outcome == SYN_LEFT_OUT) {
		COUNT(left_out);
		return false;
	}
	set_clock(s->now + YOUNG_NS, s->now);
	COUNT(attempts);
	if (outcome == SYN_EVICTED || outcome == SYN_NO_PLACE)
		COUNT(syn_evicted);
	return outcome == SYN_REPLACED;
}

/* Notes a segment of an attempt in place i. */
static __always_inline __u32 note_attempt_locked(const struct parts *parts, __u32 i, const struct segment *s, bool reply,
                                                 const struct told *told, __u64 close_timeout)
{
	struct slot *slot = slot_at(parts, i);
	bool proved = !(s->flags & TCP_SYN) && proves_answer(slot, &told->facts, (s->dir == DIR_OUT) == !reply);
	struct noted noted = note_locked(slot, s, reply, &told->owner, proved);
	__u32 acts = 0;

	if (!noted.believed)
		acts |= ACT_SYNACK_DISBELIEVED;
	if (noted.mine)
		acts |= ACT_MINE;
	if (noted.answers)
		acts |= ACT_ANSWERED;
	if (!noted.completes)
		return acts;
	slot->flow.flags = (slot->flow.flags & ~DOUBTFUL) | ESTABLISHED;
	slot->flow.last_ns = s->now;
	acts |= ACT_ESTABLISHED;
	if (settle_locked(parts, i, s->hash, close_timeout))
		acts |= ACT_ENDED;
	return acts;
}

/* Of a RST: ends an attempt, if its receiver would not discard it. *state: how. */
static __always_inline __u32 reset_attempt_locked(const struct parts *parts, __u32 i, const struct segment *s, bool reply,
                                                  enum conn_state *state)
{
	struct slot *slot = slot_at(parts, i);

	*state = judge_rst_locked(slot, s, reply);
	if (*state == S0)
		return ACT_UNBELIEVED;
	if (s->flags & TCP_ACK && is_one_sided(&slot->flow))
		slot->flow.resp_end = s->ack;
	end_locked(parts, i);
	return ACT_REFUSED | ACT_MINE;
}

/* Of a RST: ends an established connection, or waits for more. */
static __always_inline __u32 reset_connection_locked(const struct parts *parts, __u32 i, const struct segment *s, bool by_orig,
                                                     const struct told *told, bool of_orig, __u64 close_timeout)
{
	struct slot *slot = slot_at(parts, i);

	switch (note_rst_locked(slot, s, by_orig, told, of_orig)) {
	case GENUINE:
		end_locked(parts, i);
		return ACT_RESET | ACT_MINE;
	case DISCARDED:
		return ACT_DISCARDED | ACT_MINE;
	default:
		settle_locked(parts, i, s->hash, close_timeout);
		return ACT_MINE;
	}
}

/* Notes a segment without RST of an established connection in place i. */
static __always_inline __u32 note_connection_locked(const struct parts *parts, __u32 i, const struct segment *s, bool by_orig,
                                                    const struct told *told, bool of_orig, __u64 close_timeout)
{
	__u32 acts = ACT_MINE;
	struct refuted refuted;

	if (s->flags & TCP_SYN)
		return acts; /* its SYN-ACK, sent again */
	if (s->flags & TCP_FIN && judge_fin(&told->facts, s) == DISCARDED)
		return acts | ACT_FIN_DISBELIEVED;
	refuted = note_closing_locked(slot_at(parts, i), s, by_orig, told, of_orig);
	if (refuted.rst)
		acts |= ACT_REFUTED;
	if (refuted.fin)
		acts |= ACT_FIN_DISBELIEVED;
	if (settle_locked(parts, i, s->hash, close_timeout))
		acts |= ACT_ENDED;
	return acts;
}

/*
 * Is this a FIN of a connection that has carried less than a first window each way, as most have? Nobody guesses both numbers. To
 * look up the socket that receives it costs a third of all that a short connection does, and that socket's ACK, which comes next,
 * says as much; where its SYN-ACK was seen, that will be.
 */
static __always_inline bool is_early_fin(const struct flow *f, const struct segment *s, bool by_orig)
{
	return f->syn_rtt_ns && s->seq - (by_orig ? f->orig_isn : f->resp_isn) <= FIRST_WINDOW &&
	       s->ack - (by_orig ? f->resp_isn : f->orig_isn) <= FIRST_WINDOW;
}

static __always_inline bool wants_socket(const struct slot *slot, const struct segment *s)
{
	/* Of an attempt that nobody was seen to answer: has somebody? */
	if (!(slot->flow.flags & ESTABLISHED) && s->flags & TCP_RST)
		return s->dir == DIR_OUT;
	if (!(slot->flow.flags & ESTABLISHED))
		return !(slot->flow.flags & RESP_SEEN) && !(s->flags & TCP_SYN);
	if (s->flags & TCP_RST)
		return true;
	if (!(s->flags & TCP_FIN))
		return false;
	if (!(slot->flow.flags & BOTH_FINS))
		return s->dir == DIR_OUT || !is_early_fin(&slot->flow, s, same_key(&slot->key, &s->key));
	return !slot->facts.known || s->now - slot->flow.first_fin_ns > FACTS_GROW_NS;
}

/*
 * A place with the segment's tag, rather of its scope, and rather of an established connection; NO_PLACE. Without the lock, so it
 * is a guess.
 */
static __always_inline __u32 guess_place(struct scratch *scratch, const struct parts *parts, const struct segment *s)
{
	volatile __u32 *place = &scratch->index, *best = &scratch->connection_at;
	__u16 tag = tag_of(s->hash);
	__u32 i;

	*place = NO_PLACE;
	*best = 0;
	NOT_UNROLLED
	for (i = 0; i < SYN_WAYS; i++) {
		const struct slot *slot;
		__u32 fits;

		if (parts->set->tag[i] != tag)
			continue;
		slot = slot_at(parts, i);
		fits = 1 + 2 * has_scope(scopes_in(slot->scope), s->scope) + !!(slot->flow.flags & ESTABLISHED);
		if (fits > *best) {
			*best = fits;
			*place = i;
		}
	}
	return *place;
}

/*
 * Notes any segment but a SYN with the attempt or the connection that it belongs to: scratch->outcome. asked: scratch->told is
 * what a socket says of it.
 */
static __always_inline void note_motion_locked(struct scratch *scratch, const struct parts *parts, const struct segment *s,
                                               bool asked, __u64 close_timeout)
{
	struct outcome *outcome = &scratch->outcome;
	enum conn_state state = S0;
	bool of_orig = false;
	struct places found;
	struct slot *slot;
	__u32 at;

	find_locked(scratch, parts, s, &found);
	at = found.attempt;
	outcome->reply = found.reply;
	if (at != NO_PLACE && is_elsewhere(&slot_at(parts, at)->flow, s))
		outcome->acts = ACT_MINE;
	else if (at != NO_PLACE && s->flags & TCP_RST)
		outcome->acts = reset_attempt_locked(parts, at, s, found.reply, &state);
	else if (at != NO_PLACE)
		outcome->acts = note_attempt_locked(parts, at, s, found.reply, &scratch->told, close_timeout);
	outcome->predecessor = found.connection;
	/* Not all are doubtful that should be: when their SYN came, the other one may have been on its way to conn_map. */
	if (outcome->acts & (ACT_ANSWERED | ACT_ESTABLISHED) && found.connection != NO_PLACE &&
	    replace_locked(parts, found.connection, slot_at(parts, at)->flow.start_ns))
		outcome->acts |= ACT_REPLACES;
	if (!(outcome->acts & ACT_MINE) && found.connection != NO_PLACE) {
		at = found.connection;
		outcome->reply = found.from_resp;
		of_orig = (s->dir == DIR_OUT) == !found.from_resp;
		if (is_elsewhere(&slot_at(parts, at)->flow, s))
			outcome->acts |= ACT_MINE;
		else if (s->flags & TCP_RST)
			outcome->acts |=
				reset_connection_locked(parts, at, s, !found.from_resp, &scratch->told, of_orig, close_timeout);
		else
			outcome->acts |=
				note_connection_locked(parts, at, s, !found.from_resp, &scratch->told, of_orig, close_timeout);
	}
	slot = slot_at(parts, at);
	if (outcome->acts & ACT_MINE && s->dir == DIR_OUT && s->flags & (TCP_FIN | TCP_RST))
		keep_sender_locked(slot, &scratch->told, !outcome->reply);
	outcome->asked = asked;
	outcome->state = state;
	outcome->place = bounded(at, SYN_WAYS);
	outcome->flags = slot->flow.flags;
	outcome->start_ns = slot->flow.start_ns;
	outcome->scopes = scopes_in(slot->scope);
}

/*
 * Anything but a SYN that may be of a connection in motion: notes it there. asked: scratch->told is what a socket says of it.
 * Returns whether it was a connection's; what has to be done for it then is in scratch->outcome, for carry_out().
 */
__noinline bool on_motion(struct __sk_buff *skb, const struct segment *s, bool asked)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct parts parts;
	__u64 close_timeout;
	__u32 at;

	if (!s || !scratch)
		return false;
	scratch->outcome.acts = 0;
	if (!find_parts(set_index(s->hash), &parts))
		return false;
	at = guess_place(scratch, &parts, s);
	if (at == NO_PLACE)
		return false;
	if (!asked) {
		forget_told(&scratch->told);
		if (wants_socket(slot_at(&parts, at), s))
			asked = ask(skb, s, &scratch->told);
	}
	if (s->flags & TCP_SYN)
		find_owner(skb, s, &scratch->told.owner);
	close_timeout = close_timeout_ns();
	bpf_spin_lock(&parts.set->lock);
	note_motion_locked(scratch, &parts, s, asked, close_timeout);
	bpf_spin_unlock(&parts.set->lock);
	return scratch->outcome.acts & ACT_MINE;
}

/*
 * A SYN on a live connection's tuple was answered, or this host's own socket sent it: it was no forgery, the old connection has
 * been over since that SYN. It is in motion, in the place outcome->predecessor and ours with ACT_REPLACES; or at rest. Returns 0.
 */
__noinline int end_predecessor(const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct parts parts;

	if (!s || !scratch || !find_parts(set_index(s->hash), &parts))
		return 0;
	if (scratch->outcome.acts & ACT_REPLACES)
		end_replaced(&parts, bounded(scratch->outcome.predecessor, SYN_WAYS));
	else if (may_rest(parts.set, s->hash) && find_resting(s, scratch->outcome.scopes, parts.set->twins) &&
	         end_resting(scratch, parts.set, scratch->outcome.start_ns))
		COUNT(replaced);
	return 0;
}

/* Does what has to be done for a segment that on_motion() has noted. Returns 0. */
__noinline int carry_out(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	const struct outcome *outcome;
	struct parts parts;
	struct slot *slot;
	__u32 acts, at;

	if (!s || !scratch)
		return 0;
	if (!find_parts(set_index(s->hash), &parts))
		return 0;
	outcome = &scratch->outcome;
	acts = outcome->acts;
	at = bounded(outcome->place, SYN_WAYS);
	slot = slot_at(&parts, at);
	if (acts & ACT_SYNACK_DISBELIEVED)
		COUNT(synack_disbelieved);
	if (acts & (ACT_REFUTED | ACT_DISCARDED))
		COUNT(rst_disbelieved);
	if (acts & ACT_FIN_DISBELIEVED)
		COUNT(fin_disbelieved);
	if (acts & ACT_ESTABLISHED)
		count_established(outcome->reply ? s->key.sport : s->key.dport, outcome->flags & IS_OUTBOUND ? DIR_OUT : DIR_IN,
		                  passed_ns(outcome->start_ns, s->now));
	if (acts & ACT_ENDED) {
		/* It looked like the first FIN, until the other side's was there before it. */
		if (!outcome->asked && !slot->facts.known && ask(skb, s, &scratch->told)) {
			keep_facts_locked(slot, &scratch->told, (s->dir == DIR_OUT) == !outcome->reply);
			keep_sender_locked(slot, &scratch->told, !outcome->reply);
		}
		report_slot(slot, SF, slot->flow.last_ns);
	} else if (acts & ACT_RESET) {
		report_slot(slot, outcome->reply ? RSTR : RSTO, outcome->flags & RST_PENDING ? slot->flow.last_ns : s->now);
	} else if (acts & ACT_REFUSED) {
		end_attempt(slot, outcome->state, s->now);
	}
	if (acts & (ACT_ENDED | ACT_RESET | ACT_REFUSED))
		free_ended(&parts, at);
	else if (s->flags & TCP_RST)
		set_clock(s->now + RST_SILENCE_NS, s->now);
	return 0;
}

#endif
