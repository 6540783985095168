// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Whose four-tuple it is: the same one is another connection in another network namespace, VRF or, between link-local addresses, on
 * another link; and one connection where it passes several.
 */
#include "host/host.h"

static const __u32 isn_of[] = { 0, 1000, 0x90000000, 0x40000000 };

/* A connection of this tuple in a scope, with bytes of its own to be known by. */
static struct talk talk_in(__u32 scope, struct flow_key key)
{
	return (struct talk){ .key = key, .orig = isn_of[scope], .resp = isn_of[scope] + 5000 };
}

/* A segment of the talk, seen in this scope, and then in others on its way; 0 ends the list. */
static void pass_by(struct talk *t, enum side side, __u8 flags, __u32 len, const __u32 *scope)
{
	for (; scope[1]; scope++) {
		this_load.scope_id = *scope;
		send_at(t, side, flags, 0, 0, len);
	}
	this_load.scope_id = *scope;
	send_next(t, side, flags, len);
}

static void open_in(struct talk *t, const __u32 *scope)
{
	pass_by(t, ORIG, TCP_SYN, 0, scope);
	pass_by(t, RESP, TCP_SYN | TCP_ACK, 0, scope);
	pass_by(t, ORIG, TCP_ACK, 0, scope);
}

static void close_in(struct talk *t, __u32 len, const __u32 *scope)
{
	pass_by(t, ORIG, TCP_ACK | TCP_FIN, len, scope);
	pass_by(t, RESP, TCP_ACK | TCP_FIN, 0, scope);
}

static const __u32 one[] = { 1, 0 }, two[] = { 2, 0 }, three[] = { 3, 0 }, one_two[] = { 1, 2, 0 }, two_one[] = { 2, 1, 0 };

static const struct record *last_record(void)
{
	__u32 last = (host_only(struct log_head, nt_log_head)->written - 1) % LOG_RECORDS;

	return host_lookup(host_map_of(&nt_log), &last);
}

/* The last record is of that connection, closed by both sides, with so many bytes of its originator. */
static void was_closed(const struct talk *t, __u32 isn, __u32 len)
{
	CHECK_EQUAL(last_record()->state, SF);
	CHECK_EQUAL(last_record()->flow.orig_isn, isn);
	CHECK_EQUAL(last_record()->flow.orig_end - isn - 1, len);
	CHECK(same_key(&last_record()->key, &t->key));
}

/* Two connections of one tuple, each in a scope of its own, in motion and at rest: neither knows of the other. */
static void each_scope_has_its_own_connection_of_a_tuple(void)
{
	int rests, turned;

	for (rests = 0; rests < 4; rests++)
		for (turned = 0; turned < 2; turned++) {
			struct talk a = talk_in(1, tuple4(40000, 80)), b = talk_in(2, a.key);

			host_reset();
			put_key(&b.key, &a.key, turned);
			open_in(&a, one);
			pass(rests & 1 ? HOST_S : HOST_MS);
			open_in(&b, two);
			pass(rests & 2 ? HOST_S : HOST_MS);
			CHECK_EQUAL(live_connections(), 2);
			CHECK_EQUAL(counted(established), 2);
			CHECK_EQUAL(counted_ends(), 0);
			conserved();
			close_in(&b, 7, two);
			was_closed(&b, isn_of[2], 7);
			CHECK_EQUAL(live_connections(), 1);
			close_in(&a, 5, one);
			was_closed(&a, isn_of[1], 5);
			CHECK_EQUAL(counted(ended[SF]), 2);
			CHECK_EQUAL(counted_ends(), 2);
			CHECK_EQUAL(counted(replaced) + counted(no_record_fin), 0);
			conserved();
		}
}

/* What is seen elsewhere is nobody's: it closes nothing, resets nothing, and refutes nothing. */
static void a_segment_from_elsewhere_is_not_the_connections(void)
{
	int rests;

	for (rests = 0; rests < 2; rests++) {
		struct talk a = talk_in(1, tuple4(40000, 80)), forged;

		host_reset();
		open_in(&a, one);
		pass(rests ? HOST_S : HOST_MS);
		forged = a;
		close_in(&forged, 3, two);
		CHECK_EQUAL(counted(no_record_fin), 2);
		this_load.scope_id = 2;
		send_at(&a, ORIG, TCP_RST, 0, 0, 0);
		CHECK_EQUAL(counted(no_record_rst), 1);
		pass(2 * HOST_S);
		CHECK_EQUAL(live_connections(), 1);
		close_in(&a, 5, one);
		was_closed(&a, isn_of[1], 5);
		conserved();
	}
}

/* An attempt in another scope is not in doubt: it has its record, and the connection stays. */
static void an_attempt_in_another_scope_has_its_record(void)
{
	int rests;

	for (rests = 0; rests < 2; rests++) {
		struct talk a = talk_in(1, tuple4(40000, 80)), b = talk_in(2, a.key);

		host_reset();
		open_in(&a, one);
		pass(rests ? HOST_S : HOST_MS);
		pass_by(&b, ORIG, TCP_SYN, 0, two);
		pass((HANDSHAKE_TIMEOUT_S + 1) * HOST_S);
		CHECK_EQUAL(counted(ended[S0]), 1);
		CHECK_EQUAL(counted(syn_disbelieved), 0);
		pass_by(&b, ORIG, TCP_SYN, 0, two);
		pass_by(&b, RESP, TCP_RST | TCP_ACK, 0, two);
		CHECK_EQUAL(counted(ended[REJ]), 1);
		CHECK_EQUAL(live_connections(), 1);
		conserved();
	}
}

/* A successor takes the tuple in its own scope alone. */
static void a_successor_ends_the_connection_of_its_scope(void)
{
	int rests;

	for (rests = 0; rests < 2; rests++) {
		struct talk a = talk_in(1, tuple4(40000, 80)), b = talk_in(2, a.key), c = talk_in(3, a.key);

		host_reset();
		open_in(&a, one);
		open_in(&b, two);
		pass(rests ? HOST_S : HOST_MS);
		open_in(&c, two);
		CHECK_EQUAL(counted(replaced), 1);
		CHECK_EQUAL(counted(ended[S1]), 1);
		CHECK_EQUAL(last_record()->flow.orig_isn, isn_of[2]);
		CHECK_EQUAL(live_connections(), 2);
		pass(HOST_S);
		CHECK_EQUAL(resting_connections(), 2);
		close_in(&c, 7, two);
		was_closed(&c, isn_of[3], 7);
		close_in(&a, 5, one);
		was_closed(&a, isn_of[1], 5);
		conserved();
	}
}

/* Through several scopes, both ends of a veth or a container's way out: one connection, wherever its segments are seen first. */
static void a_connection_that_passes_several_scopes_is_one(void)
{
	static const __u32 way[] = { 1, 2, 3, 0 };
	int rests;

	for (rests = 0; rests < 2; rests++) {
		struct talk a = talk_in(1, tuple4(40000, 80));

		host_reset();
		open_in(&a, way);
		pass(rests ? HOST_S : HOST_MS);
		CHECK_EQUAL(live_connections(), 1);
		pass_by(&a, RESP, TCP_ACK | TCP_FIN, 4, three);
		CHECK_EQUAL(connection_of(&a.key)->flags & BOTH_FINS, RESP_FIN);
		pass_by(&a, ORIG, TCP_ACK | TCP_FIN, 5, two);
		was_closed(&a, isn_of[1], 5);
		CHECK_EQUAL(counted(attempts), 1);
		CHECK_EQUAL(counted_ends(), 1);
		conserved();
	}
}

/* What answers the SYN has its number, wherever it is seen. */
static void the_answer_may_come_another_way(void)
{
	struct talk a = talk_in(1, tuple4(40000, 80));

	host_reset();
	pass_by(&a, ORIG, TCP_SYN, 0, one);
	pass_by(&a, RESP, TCP_SYN | TCP_ACK, 0, two);
	pass_by(&a, ORIG, TCP_ACK, 0, one);
	CHECK_EQUAL(counted(established), 1);
	pass(HOST_S);
	pass_by(&a, RESP, TCP_ACK | TCP_FIN, 0, two);
	pass_by(&a, ORIG, TCP_ACK | TCP_FIN, 5, one);
	was_closed(&a, isn_of[1], 5);
	conserved();

	host_reset();
	a = talk_in(1, a.key);
	pass_by(&a, ORIG, TCP_SYN, 0, one);
	pass_by(&a, RESP, TCP_RST | TCP_ACK, 0, two);
	CHECK_EQUAL(counted(ended[REJ]), 1);
	conserved();
}

/* There are four places for scopes; what passes more is known in four of them, and its SYN in all. */
static void of_more_scopes_than_there_are_places_the_last_tell_nothing(void)
{
	static const __u32 way[] = { 1, 2, 3, 4, 5, 6, 0 };
	struct talk a = talk_in(1, tuple4(40000, 80));

	host_reset();
	open_in(&a, way);
	CHECK_EQUAL(counted(attempts), 1);
	CHECK_EQUAL(live_connections(), 1);
	close_in(&a, 5, way);
	was_closed(&a, isn_of[1], 5);
	CHECK_EQUAL(counted_ends(), 1);
	conserved();
}

/* Where nobody has told the tracker which scope it is, a connection may be of any. */
static void no_scope_is_any(void)
{
	int unnamed;

	for (unnamed = 0; unnamed < 2; unnamed++) {
		struct talk a = talk_in(1, tuple4(40000, 80));

		host_reset();
		this_load.scope_id = unnamed ? 0 : 3;
		send_next(&a, ORIG, TCP_SYN, 0);
		send_next(&a, RESP, TCP_SYN | TCP_ACK, 0);
		send_next(&a, ORIG, TCP_ACK, 0);
		pass(HOST_S);
		this_load.scope_id = unnamed ? 3 : 0;
		send_next(&a, ORIG, TCP_ACK | TCP_FIN, 5);
		send_next(&a, RESP, TCP_ACK | TCP_FIN, 0);
		was_closed(&a, isn_of[1], 5);
		conserved();
	}
}

/* An IPv6 tuple between addresses whose first two bytes are these. */
static struct flow_key tuple6(__u8 first, __u8 second)
{
	struct flow_key key = {
		.src = { first, second, [15] = 1 }, .dst = { first, second, [15] = 2 }, .sport = 40000, .dport = 80
	};

	return key;
}

/* Between link-local addresses, the link is the scope: by the number that attach has given the interface, else by the kernel's. */
static void link_local_addresses_are_other_ones_on_another_link(void)
{
	struct segment s = { .key = tuple6(0xfe, 0xbf) };
	struct __sk_buff skb = { .ifindex = 4, .tc_classid = 5 << 16 | 300 };

	host_reset();
	this_load.scope_id = 7;
	CHECK_EQUAL(scope_here(&s.key, &skb), 4);
	this_load.iface_id = 9;
	CHECK_EQUAL(scope_here(&s.key, &skb), 9);
	s.key.src[1] = 0xc0;
	CHECK_EQUAL(scope_here(&s.key, &skb), 9);
	s.key.dst[1] = 0xc0;
	CHECK_EQUAL(scope_here(&s.key, &skb), 7);
	s.key = tuple6(0xfd, 0x80);
	CHECK_EQUAL(scope_here(&s.key, &skb), 7);
	s.key = tuple4(1, 2);
	CHECK_EQUAL(scope_here(&s.key, &skb), 7);
}

/* A load that hangs on many interfaces has its numbers from the classid. No other one has: anybody may give a filter one. */
static void filters_tell_a_load_that_hangs_on_many(void)
{
	struct segment s = { .key = tuple4(1, 2) };
	struct __sk_buff skb = { .ifindex = 4, .tc_classid = 5 << 16 | 9 };

	host_reset();
	this_load.scope_id = 7;
	CHECK_EQUAL(iface_here(&skb), 0);
	CHECK_EQUAL(scope_here(&s.key, &skb), 7);
	this_load.iface_id = FILTERS_TELL;
	CHECK_EQUAL(iface_here(&skb), 9);
	CHECK_EQUAL(scope_here(&s.key, &skb), 5);
	s.key = tuple6(0xfe, 0xbf);
	CHECK_EQUAL(scope_here(&s.key, &skb), 9);
	skb.tc_classid = 0;
	CHECK_EQUAL(scope_here(&s.key, &skb), 4);
}

/* One list of scopes meets another where one is in both, or unknown. */
static void lists_meet_in_any_place(void)
{
	int i, j;

	for (i = 0; i < SCOPES; i++)
		for (j = 0; j < SCOPES; j++) {
			__u8 a[SCOPES] = { 1, 2, 3, 4 }, b[SCOPES] = { 129, 130, 131, 255 };

			CHECK(!meet(scopes_in(a), scopes_in(b)));
			b[j] = a[i];
			CHECK(meet(scopes_in(a), scopes_in(b)));
			CHECK(meet(scopes_in(b), scopes_in(a)));
			b[j] = 0;
			CHECK(meet(scopes_in(a), scopes_in(b)));
			CHECK(meet(scopes_in(b), scopes_in(a)));
		}
	CHECK(!meet(scopes_of(1), scopes_of(2)));
	CHECK(!meet(scopes_of(0x80), scopes_of(0x81)));
	CHECK(meet(scopes_of(255), scopes_of(255)));
}

/* As many as there may be of one tuple at rest, and one more, which is lost and counted. Who goes leaves its place to another. */
static void many_connections_of_one_tuple_rest_beside_each_other(void)
{
	struct talk t[TWINS + 1];
	struct flow_key key = tuple4(40000, 80);
	__u32 i;

	host_reset();
	for (i = 0; i <= TWINS; i++) {
		const __u32 scope[] = { 1 + i, 0 };

		t[i] = (struct talk){ .key = key, .orig = 0x1000000 * i, .resp = 9 };
		open_in(&t[i], scope);
		pass(HOST_S);
	}
	CHECK_EQUAL(resting_connections(), TWINS);
	CHECK_EQUAL(counted(conn_full), 1);
	CHECK_EQUAL(set_for(&key)->twins, TWINS - 1);
	for (i = 0; i < TWINS; i++)
		CHECK(twin_of(&key, i));
	conserved();
	for (i = 0; i < TWINS; i += 2) {
		const __u32 scope[] = { 1 + i, 0 };

		close_in(&t[i], i, scope);
		was_closed(&t[i], 0x1000000 * i, i);
	}
	t[0] = (struct talk){ .key = key, .orig = 77, .resp = 9 };
	open_in(&t[0], one);
	pass(HOST_S);
	CHECK(twin_of(&key, 0));
	close_in(&t[0], 3, one);
	was_closed(&t[0], 77, 3);
	for (i = 1; i < TWINS; i += 2) {
		const __u32 scope[] = { 1 + i, 0 };

		close_in(&t[i], i, scope);
		was_closed(&t[i], 0x1000000 * i, i);
	}
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(set_for(&key)->twins, 0);
	conserved();
}

/* Whoever has only one connection of a tuple looks for it in two places, as ever. */
static int lookups;

static void count_lookups(const char *what, const void *map)
{
	lookups += map == &conn_map && !strcmp(what, "bpf_map_lookup_elem");
}

static void where_no_tuple_is_used_twice_nothing_more_is_looked_up(void)
{
	struct talk a = talk_in(1, tuple4(40000, 80)), b;

	host_reset();
	open_in(&a, one_two);
	pass(HOST_S);
	b = talk_in(3, a.key);
	host.step = count_lookups;
	pass_by(&b, ORIG, TCP_ACK | TCP_FIN, 0, three);
	host.step = NULL;
	CHECK(lookups > 0 && lookups <= 2);
	conserved();
}

/* This host's socket is asked of the connection that closes, not of another one in the same set that needs no asking. */
static void the_socket_is_asked_of_the_connection_of_that_scope(void)
{
	struct talk a = talk_in(1, tuple4(40000, 80)), b = talk_in(2, a.key);
	struct host_socket own = {
		.sk = { .state = BPF_TCP_ESTABLISHED, .src_port = 80, .dst_port = bpf_htons(40000) },
		.tcp = { .rtt_min = ~0U, .total_retrans = 44 },
	};
	struct talk *t[] = { &a, &b };
	int i;

	host_reset();
	own.sk.src_ip4 = bpf_htonl(0x0a000002);
	own.sk.dst_ip4 = bpf_htonl(0x0a000001);
	open_in(&a, one);
	open_in(&b, two);
	for (i = 0; i < 2; i++) {
		own.tcp.total_retrans++;
		host.sender = &own;
		pass_by(t[i], RESP, TCP_ACK | TCP_FIN, 0, i ? two : one);
		host.sender = NULL;
	}
	for (i = 0; i < 2; i++) {
		pass_by(t[i], ORIG, TCP_ACK | TCP_FIN, 5, i ? two : one);
		CHECK(strstr(host.line, i ? " retrans=46 " : " retrans=45 "));
	}
	CHECK_EQUAL(counted(ended[SF]), 2);
	conserved();
}

/* All is ended at detach, twins as well. */
static void flush_ends_all_of_a_tuple(void)
{
	struct talk a = talk_in(1, tuple4(40000, 80)), b = talk_in(2, a.key), c = talk_in(3, a.key);

	host_reset();
	open_in(&a, one);
	open_in(&b, two);
	pass(HOST_S);
	open_in(&c, three);
	flush_all();
	CHECK_EQUAL(counted(ended[S1]), 3);
	CHECK_EQUAL(live_connections(), 0);
	CHECK_EQUAL(set_for(&a.key)->twins, 0);
	conserved();
}

/*
 * Another CPU at the worst moment: connections of one tuple go to rest and come back beside each other
 */

static struct talk a, b;

static void rest_both(void)
{
	host.now += YOUNG_NS;
	host.timer_due = host.now;
	run_clock();
}

static void close_a(void)
{
	close_in(&a, 5, two_one);
}

static void close_b(void)
{
	close_in(&b, 7, three);
}

static void fin_of_b(void)
{
	pass_by(&b, ORIG, TCP_ACK | TCP_FIN, 7, three);
}

static void another_cpu(void (*first)(void), void (*second)(void), bool rest)
{
	int nth;

	for (nth = 1; nth < 3000; nth++) {
		unsigned long failures = unit_failures;

		host_reset();
		a = talk_in(1, tuple4(40000, 80));
		b = talk_in(3, a.key);
		open_in(&a, one_two);
		open_in(&b, three);
		pass(rest ? HOST_S : HOST_MS);
		interrupt_at(NULL, NULL, nth, second);
		first();
		if (!interrupted())
			break;
		if (second != close_a && first != close_a)
			close_a();
		if (second == fin_of_b || first == fin_of_b)
			pass_by(&b, RESP, TCP_ACK | TCP_FIN, 0, three);
		else if (second != close_b && first != close_b)
			close_b();
		CHECK_EQUAL(counted(ended[SF]), 2);
		CHECK_EQUAL(counted_ends(), 2);
		CHECK_EQUAL(live_connections(), 0);
		conserved();
		if (unit_failures > failures && failures < UNIT_FAILURES_SHOWN)
			fprintf(stderr, "that is at step %d\n", nth);
	}
	CHECK(nth > 3 && nth < 3000);
}

static void what_another_cpu_does_to_one_is_not_done_to_the_other(void)
{
	another_cpu(rest_both, close_a, false);
	another_cpu(rest_both, close_b, false);
	another_cpu(rest_both, fin_of_b, false);
	another_cpu(close_a, rest_both, false);
	another_cpu(close_a, close_b, true);
	another_cpu(close_b, close_a, true);
	another_cpu(fin_of_b, close_a, true);
	another_cpu(close_a, fin_of_b, true);
}

/* So that the answer to another one's SYN is not taken for its own: all of the SYN's data is acknowledged, or none. */
static void an_answer_from_elsewhere_acknowledges_no_part_of_a_syns_data(void)
{
	static const struct {
		__u32 off;
		bool answers;
	} answers[] = { { 0, true }, { -100U, true }, { -1U, false }, { -50U, false }, { 1, false } };
	size_t i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct talk a = talk_in(1, tuple4(40000, 80));

		host_reset();
		this_load.scope_id = 1;
		send_next(&a, ORIG, TCP_SYN, 100);
		this_load.scope_id = 2;
		send_at(&a, RESP, TCP_SYN | TCP_ACK, 0, answers[i].off, 0);
		CHECK_EQUAL(!!(attempt_of(&a.key)->flow.flags & RESP_SEEN), answers[i].answers);
	}
}

/* Interfaces of two namespaces may have one number: where a hop between them changes others, attach's number tells them apart. */
static void the_first_interface_is_known_by_its_number_and_by_attachs(void)
{
	struct talk a = talk_in(1, tuple4(40000, 80)), changed = a;

	host_reset();
	changed.resp = 77;
	this_load.scope_id = this_load.iface_id = 1;
	send_at(&a, ORIG, TCP_SYN, 0, 0, 0);
	this_load.scope_id = this_load.iface_id = 2;
	send_next(&a, ORIG, TCP_SYN, 0);
	changed.orig = a.orig;
	send_next(&changed, RESP, TCP_SYN | TCP_ACK, 0);
	this_load.scope_id = this_load.iface_id = 1;
	send_next(&a, RESP, TCP_SYN | TCP_ACK, 0);
	send_next(&a, ORIG, TCP_ACK, 0);
	CHECK(connection_of(&a.key)->flags & ONE_PLACE);
	this_load.scope_id = this_load.iface_id = 2;
	send_next(&changed, RESP, TCP_ACK | TCP_FIN, 5);
	CHECK(!(connection_of(&a.key)->flags & BOTH_FINS));
	this_load.scope_id = this_load.iface_id = 1;
	send_next(&a, RESP, TCP_ACK | TCP_FIN, 5);
	send_next(&a, ORIG, TCP_ACK | TCP_FIN, 5);
	was_closed(&a, isn_of[1], 5);
	conserved();
}

int main(void)
{
	host_reset();
	RUN(each_scope_has_its_own_connection_of_a_tuple);
	RUN(a_segment_from_elsewhere_is_not_the_connections);
	RUN(an_attempt_in_another_scope_has_its_record);
	RUN(a_successor_ends_the_connection_of_its_scope);
	RUN(a_connection_that_passes_several_scopes_is_one);
	RUN(the_answer_may_come_another_way);
	RUN(of_more_scopes_than_there_are_places_the_last_tell_nothing);
	RUN(no_scope_is_any);
	RUN(link_local_addresses_are_other_ones_on_another_link);
	RUN(filters_tell_a_load_that_hangs_on_many);
	RUN(lists_meet_in_any_place);
	RUN(many_connections_of_one_tuple_rest_beside_each_other);
	RUN(where_no_tuple_is_used_twice_nothing_more_is_looked_up);
	RUN(the_socket_is_asked_of_the_connection_of_that_scope);
	RUN(an_answer_from_elsewhere_acknowledges_no_part_of_a_syns_data);
	RUN(the_first_interface_is_known_by_its_number_and_by_attachs);
	RUN(flush_ends_all_of_a_tuple);
	RUN(what_another_cpu_does_to_one_is_not_done_to_the_other);
	return unit_end();
}
