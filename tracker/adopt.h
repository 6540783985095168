/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * adopt.h - connections older than the tracker, which attach takes over from this host's sockets: adopt_candidates(), for
 * adopt.bpf.c. They come to rest as if the tracker had seen them opened, but that nothing is known of their beginning.
 *
 * One of the views, view/adopt.bpf.c, goes over the sockets of a network namespace once the filters are in place, and puts what
 * it finds into nt_adopt: an iterator may not take the sets' locks. So a candidate may by now be tracked, as it was opened
 * meanwhile, or have ended. What is tracked stays as it is; and the socket is looked at again behind the candidate's coming to
 * rest: if it is still open then, the filters see all that closes it from this host. A FIN of the other side that passed the
 * filter before that, and the socket behind it, is missed: then one FIN is all that the record tells of.
 */
#ifndef NETRACKER_ADOPT_H
#define NETRACKER_ADOPT_H

#include "candidates.h"
#include "maps.h"
#include "rest.h"
#include "rules.h"
#include "scope.h"
#include "scratch.h"
#include "sets.h"
#include "socket.h"
#include "tuple.h"

/* So many candidates does one run look at: bounds the time with bottom halves off. */
#define ADOPT_BATCH 1024

/* What a run needs at each candidate. */
struct adopting {
	struct __sk_buff *skb; /* at the interface whose candidates are taken over */
};

/* Is a connection with this SYN in motion? */
static __always_inline bool is_in_motion(struct scratch *scratch, const struct parts *parts, const struct segment *syn)
{
	struct places found;

	bpf_spin_lock(&parts->set->lock);
	find_locked(scratch, parts, syn, &found);
	bpf_spin_unlock(&parts->set->lock);
	return found.connection != NO_PLACE || found.attempt != NO_PLACE;
}

/* Is it at rest? Where it was seen in other scopes than this SYN, it is of this one as well. */
static __always_inline bool is_resting(struct scratch *scratch, const struct segment *syn, __u32 twins)
{
	struct conn *c;

	if (find_resting(syn, scopes_of(syn->scope), twins) != RESTS)
		return false;
	c = bpf_map_lookup_elem(&conn_map, &scratch->fresh_key);
	if (c && !has_scope(scopes_in(c->scope), syn->scope))
		add_scope(c->scope, syn->scope);
	return true;
}

/*
 * Has the candidate in scratch, whose SYN would have been scratch->segment, come to rest, unless it is tracked already or is not to
 * be. Returns whether it has. Apart from keep_if_open(): on Linux 6.1 the stacks of both and of what they call would be too much.
 */
__noinline int adopt(void)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct segment *syn;
	struct parts parts;
	__u32 index;

	if (!scratch)
		return false;
	syn = &scratch->segment;
	index = set_index(syn->hash);
	if (has_rules() && is_left_out(syn, false))
		return false;
	if (!find_parts(index, &parts) || is_in_motion(scratch, &parts, syn))
		return false;
	if (is_resting(scratch, syn, parts.set->twins))
		return false;

	*tuple_of(&scratch->fresh_key) = syn->key;
	scratch->fresh.flow = scratch->slot.flow;
	*(__u32 *)scratch->fresh.scope = scopes_of(syn->scope);
	if (put_to_rest(scratch, &parts, index, syn->hash, syn->now))
		return false;
	COUNT(adopted);
	return true;
}

/* Takes back who has come to rest just now, if its socket has closed meanwhile. Returns 0. */
__noinline int keep_if_open(struct __sk_buff *skb)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct counters *counters;
	struct segment *syn;
	struct parts parts;

	if (!scratch)
		return 0;
	syn = &scratch->segment;
	if (!find_parts(set_index(syn->hash), &parts))
		return 0;
	/* Who is in motion now has been woken meanwhile: this one, which has left then, or one that it is the copy of. */
	if (is_open(skb, &syn->key, syn->dir == DIR_OUT) && !is_in_motion(scratch, &parts, syn))
		return 0;
	counters = only_value(&nt_counters);
	if (take_back(scratch, parts.set) && counters)
		counters->adopted--;
	return 0;
}

static long adopt_candidate(void *map, const struct conn_key *key, const struct flow *f, struct adopting *adopting)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct segment *syn;

	if (!scratch)
		return 1;
	if (f->ifindex != adopting->skb->ifindex)
		return 0;
	scratch->fresh_key = *key;
	scratch->slot.flow = *f;
	syn = &scratch->segment;
	syn->key = *tuple_of(&scratch->fresh_key);
	syn->seq = f->orig_isn;
	syn->ack = 0;
	syn->len = 0;
	syn->hash = hash_key(&syn->key);
	syn->now = bpf_ktime_get_boot_ns();
	syn->ifindex = f->ifindex;
	syn->flags = TCP_SYN;
	syn->dir = f->flags & IS_OUTBOUND ? DIR_OUT : DIR_IN;
	syn->scope = key->twin;
	bpf_map_delete_elem(map, key);
	if (adopt())
		keep_if_open(adopting->skb);
	scratch->flushed++;
	return scratch->flushed >= ADOPT_BATCH;
}

/* Takes over candidates of the interface of this packet. Returns how many it has looked at; 0: there are no more. */
__noinline int adopt_candidates(struct __sk_buff *skb)
{
	struct scratch *scratch = only_value(&nt_scratch);
	struct adopting adopting = { .skb = skb };

	if (!scratch)
		return 0;
	scratch->flushed = 0;
	bpf_for_each_map_elem(&nt_adopt, adopt_candidate, &adopting, 0);
	return scratch->flushed;
}

#endif
