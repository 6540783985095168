/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * handshake.h - a connection up to its third ACK, in its set of syn_map: on_syn(), on_handshake() and on_handshake_rst() for
 * NeTracker.bpf.c, give_up() for timeout.h.
 */
#ifndef NETRACKER_HANDSHAKE_H
#define NETRACKER_HANDSHAKE_H

#include "clock.h"
#include "connection.h"
#include "flow.h"
#include "maps.h"
#include "report.h"
#include "scratch.h"
#include "segment.h"
#include "sets.h"
#include "socket.h"
#include "tuple.h"

/* Reports a handshake that was taken out of its set and came to nothing. */
__noinline int end_handshake(struct syn_slot *slot, enum conn_state state, __u64 end_ns)
{
	if (!slot)
		return 0;
	/* Nobody sent more than the SYN's data, unless a FIN or RST said so. */
	if (!(slot->flow.flags & ORIG_END))
		slot->flow.orig_end = slot->orig_nxt;
	if (!(slot->flow.flags & RESP_END))
		slot->flow.resp_end = slot->flow.resp_isn + 1;
	slot->flow.flags |= ORIG_END | RESP_END;
	return report(&slot->key, &slot->flow, NULL, state, end_ns);
}

/*
 * Likewise, where time or a newer attempt decided. A SYN on the tuple of a live connection that no one answered was no attempt
 * after all, even if that connection has gone in the meantime: then it is not reported and false is returned.
 */
__noinline bool give_up(struct syn_slot *slot)
{
	__u64 end_ns;

	if (!slot)
		return false;
	if ((slot->flow.flags & (DOUBTFUL | RESP_SEEN)) == DOUBTFUL) {
		COUNT(syn_disbelieved);
		return false;
	}
	end_ns = slot->flow.first_fin_ns > slot->flow.last_ns ? slot->flow.first_fin_ns : slot->flow.last_ns;
	end_handshake(slot, handshake_state(slot->flow.flags), end_ns);
	return true;
}

/*
 * A SYN without ACK: a new attempt, the old one sent again, seen again on its way through this host, or a SYN that crosses
 * the peer's (RFC 9293, figure 7). On the tuple of a live connection it is doubtful until it is answered.
 */
__noinline int on_syn(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	enum syn_outcome outcome;
	struct owner owner = {};
	struct set_parts parts;
	struct flow_key key;
	__u64 due_ns;
	struct conn *c;
	__u32 flags = 0;
	bool reversed;

	if (!s || !scratch)
		return 0;
	if (!find_set(set_index(s->hash), &parts))
		return 0;
	due_ns = s->now + handshake_timeout_ns();
	c = find_connection(&s->key, &key, &reversed);
	if (c) {
		if (!reversed && c->flow.orig_isn == s->seq)
			return 0; /* the SYN of this very connection, late or seen again */
		flags = DOUBTFUL;
	}
	find_owner(skb, s, &owner);
	outcome = take_syn(scratch, &parts, s, flags, &owner, due_ns, &scratch->slot);
	if (outcome == SYN_AGAIN)
		return 0;
	set_clock(due_ns, s->now);
	COUNT(attempts);
	if (outcome == SYN_EVICTED || outcome == SYN_NO_PLACE)
		COUNT(syn_evicted);
	else if (outcome == SYN_REPLACED && give_up(&scratch->slot))
		COUNT(replaced);
	return 0;
}

/* A SYN on a live connection's tuple was answered: it was no forgery, the old connection is over. */
static __noinline void end_predecessor(struct scratch *scratch, const struct flow_key *tuple, __u64 now)
{
	struct flow_key key;
	bool reversed;
	struct conn *c = find_connection(tuple, &key, &reversed);

	if (!c)
		return;
	if (end_unclosed(scratch, &key, c, &scratch->nothing, now))
		COUNT(replaced);
}

/* A FIN that came while the handshake moved. */
static __always_inline void on_late_fin(struct scratch *scratch, const struct flow_key *key, bool by_orig, __u32 end, __u64 now)
{
	struct conn *c = bpf_map_lookup_elem(&conn_map, key);
	__u32 flags;

	if (c && on_connection_fin(scratch, key, c, by_orig, end, now, &scratch->nothing, &flags))
		end_connection(scratch, key, c, flags, SF, now, &scratch->nothing);
}

/* A RST that came while the handshake moved: no socket was asked, so silence has to confirm it. */
static __always_inline void on_late_rst(struct scratch *scratch, const struct flow_key *key, struct conn *c,
                                        const struct latecomers *late, __u64 now)
{
	c->flow.rst_seq = late->rst_seq;
	c->flow.last_ns = late->rst_ns;
	__sync_fetch_and_or(&c->flow.flags, late->flags & (RST_PENDING | RST_BY_ORIG));
	watch_closing(scratch, key, c, &scratch->nothing, now);
}

/*
 * Moves a completed handshake, of which there is a copy in scratch->fresh, to conn_map. The slot stays, marked PROMOTING, until the
 * entry is there, so that a FIN on another CPU finds the connection in one of the two: it looks at the slot first, as the
 * connection moves from there.
 */
static __noinline void establish(struct scratch *scratch, struct syn_set *set, __u16 *open, __u32 i, __u64 now)
{
	const struct flow_key *key = &scratch->fresh_key;
	struct conn *fresh = &scratch->fresh;
	struct latecomers late;
	struct conn *c;
	long err;

	fresh->flow.flags &= ~(ORIG_FIN | RESP_FIN | ORIG_END | RESP_END | PROMOTING | DOUBTFUL);
	err = bpf_map_update_elem(&conn_map, key, fresh, BPF_NOEXIST);
	late = leave_slot(set, open, i);
	if (err) {
		COUNT(conn_full);
		return;
	}
	count_established(key, &fresh->flow, now - fresh->flow.start_ns);
	if (!(late.flags & (ORIG_FIN | RESP_FIN | RST_PENDING)))
		return;
	if (late.flags & ORIG_FIN)
		on_late_fin(scratch, key, true, late.orig_end, now);
	if (late.flags & RESP_FIN)
		on_late_fin(scratch, key, false, late.resp_end, now);
	c = bpf_map_lookup_elem(&conn_map, key);
	if (c && late.flags & RST_PENDING)
		on_late_rst(scratch, key, c, &late, now);
}

/*
 * Anything but a SYN or RST while the tuple's set has handshakes. Returns false if it belongs to none of them.
 * Established is who was answered and has acknowledged that, in whichever order the two were seen.
 */
__noinline bool on_handshake(struct __sk_buff *skb, const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct owner owner = {};
	struct set_parts parts;
	struct noted noted;
	__u32 i;

	if (!s || !scratch)
		return false;
	if (!find_set(set_index(s->hash), &parts) || !parts.set->live)
		return false;
	if (s->flags & TCP_SYN)
		find_owner(skb, s, &owner);
	i = take_segment(scratch, parts.set, s, &owner, &noted, &scratch->fresh_key, &scratch->fresh.flow);
	if (!noted.believed)
		COUNT(synack_disbelieved);
	if (!noted.mine)
		return false;
	if (noted.before & DOUBTFUL && !(noted.before & RESP_SEEN) && scratch->fresh.flow.flags & RESP_SEEN)
		end_predecessor(scratch, &scratch->fresh_key, scratch->fresh.flow.start_ns);
	if (noted.promote)
		establish(scratch, parts.set, parts.open, i, s->now);
	return true;
}

/* A RST while the tuple's set has handshakes. */
__noinline enum rst_outcome on_handshake_rst(const struct segment *s)
{
	struct scratch *scratch = only_value(&nt_scratch);
	enum conn_state state = S0;
	enum rst_outcome outcome;
	struct set_parts parts;

	if (!s || !scratch)
		return RST_OF_NONE;
	if (!find_set(set_index(s->hash), &parts) || !parts.set->live)
		return RST_OF_NONE;
	outcome = take_rst(scratch, &parts, s, &state, &scratch->slot);
	if (outcome == RST_ENDS)
		end_handshake(&scratch->slot, state, s->now);
	return outcome;
}

#endif
