// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/adopt.h: connections older than the tracker come to rest, each once; what is tracked, left out or has closed does not;
 * and a FIN of one ends it as any other.
 */
#include "host/host.h"

#include "../../tracker/adopt.h"

static struct host_socket own;

/* This host has a responder's socket of this talk, open on both sides, which is found to be one for adoption. */
static struct talk older(__u16 port)
{
	struct talk t = { .key = tuple4(port, 80), .orig = 1001, .resp = 5001 };

	host_responder(&own, &t, BPF_TCP_ESTABLISHED);
	return t;
}

static void adopt_talk(const struct talk *t)
{
	struct scratch *scratch = scratch_here();

	scratch->segment = (struct segment){
		.key = t->key, .seq = 1000, .hash = hash_key(&t->key), .now = host.now, .flags = TCP_SYN, .dir = DIR_IN
	};
	scratch->slot.flow = (struct flow){ .flags = ADOPTED | ESTABLISHED | RESP_SEEN | ORIG_ACKED | RESP_SYN | HAS_OWNER,
		                            .orig_isn = 1000,
		                            .resp_isn = 5000,
		                            .start_ns = host.now,
		                            .last_ns = host.now };
	host_enter();
	if (adopt())
		keep_if_open(NULL);
	host_leave();
}

static void comes_to_rest_once(void)
{
	struct talk t = older(1);

	adopt_talk(&t);
	adopt_talk(&t);
	CHECK_EQUAL(counted(adopted), 1);
	CHECK_EQUAL(counted(attempts), 0);
	CHECK_EQUAL(resting_connections(), 1);
	conserved();
	send_next(&t, ORIG, TCP_ACK | TCP_FIN, 7);
	send_next(&t, RESP, TCP_ACK | TCP_FIN, 0);
	send_next(&t, ORIG, TCP_ACK, 0);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK_EQUAL(live_connections(), 0);
	conserved();
}

static void what_is_tracked_stays(void)
{
	struct talk young = open_talk(tuple4(2, 80), 1000, 5000), resting = rest_talk(tuple4(3, 80), 1000, 5000);

	host_responder(&own, &young, BPF_TCP_ESTABLISHED);
	adopt_talk(&young);
	adopt_talk(&resting);
	CHECK_EQUAL(counted(adopted), 0);
	CHECK_EQUAL(live_connections(), 2);
	conserved();
}

static void who_has_closed_is_let_go(void)
{
	struct talk t = older(4);

	own.sk.state = BPF_TCP_FIN_WAIT1;
	adopt_talk(&t);
	host.receiver = NULL;
	adopt_talk(&t);
	CHECK_EQUAL(counted(adopted), 0);
	CHECK_EQUAL(counted_ends(), 0);
	CHECK_EQUAL(live_connections(), 0);
	conserved();
}

static void whom_the_rules_leave_out_is_left_alone(void)
{
	struct talk t = older(5);
	struct rules *rules = host_only(struct rules, nt_rules);

	rules->rule[0] = (struct rule){ .first_port = 80, .last_port = 80, .excludes = 1 };
	rules->count = 1;
	adopt_talk(&t);
	CHECK_EQUAL(counted(adopted), 0);
	CHECK_EQUAL(live_connections(), 0);
}

static void no_duration_is_counted(void)
{
	struct service_key key = { .port = 80, .dir = DIR_IN };
	struct talk t = older(6);
	struct service *service;

	adopt_talk(&t);
	flush_all();
	CHECK_EQUAL(counted(ended[S1]), 1);
	service = bpf_map_lookup_elem(&nt_services, &key);
	CHECK(service && service->ended[S1] == 1 && !service->duration_sum_ns);
	conserved();
}

int main(void)
{
	host_reset();
	RUN(comes_to_rest_once);
	host_reset();
	RUN(what_is_tracked_stays);
	host_reset();
	RUN(who_has_closed_is_let_go);
	host_reset();
	RUN(whom_the_rules_leave_out_is_left_alone);
	host_reset();
	RUN(no_duration_is_counted);
	return unit_end();
}
