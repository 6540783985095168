// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tracker/report.h: how many bytes were sent, beyond 2^32 too; the buckets of the histograms; the figures of a service; the record.
 */
#include "host/host.h"

static void bytes_are_those_between_the_isn_and_the_end(void)
{
	CHECK_EQUAL(sent(101, 100), 0);
	CHECK_EQUAL(sent(102, 100), 1);
	CHECK_EQUAL(sent(100, 100), 0); /* a RST on the SYN's own place */
	CHECK_EQUAL(sent(0, ~0U), 0);
	CHECK_EQUAL(sent(9, ~0U), 9);
	CHECK_EQUAL(sent(99, 100), 0xfffffffe);
	CHECK_EQUAL(sent(0x80000000, 0x7fffffff), 0);
	CHECK_EQUAL(sent(0x80000001, 0), 0x80000000);
}

/* A number of bytes of any magnitude, and often near a multiple of 2^32. */
static __u64 any_size(void)
{
	__u64 size = any64() >> (16 + any_below(48));

	return any_below(2) ? size : (any64() >> 50 << 32) + any_below(2000) - (any_below(2) && size ? 1000 : 0);
}

static void without_a_socket_bytes_are_known_modulo_2_32(void)
{
	int i;

	for (i = 0; i < 20000; i++) {
		__u64 size = any_size() & 0x0000ffffffffffffULL;
		bool orig = any_below(2);
		struct flow f = { .flags = orig ? ORIG_END : RESP_END };

		*(orig ? &f.orig_isn : &f.resp_isn) = any64();
		*(orig ? &f.orig_end : &f.resp_end) = (orig ? f.orig_isn : f.resp_isn) + 1 + size;
		if ((__u32)size != ~0U)
			CHECK_EQUAL(exact_bytes(&f, &no_facts, orig), (__u32)size);
		CHECK_EQUAL(exact_bytes(&f, &no_facts, !orig), -1);
	}
}

/*
 * One side has sent `size` bytes. The socket has counted up to 2^30 fewer, as the rest is not acknowledged or has not arrived, or
 * two more, a SYN and a FIN. The end of the data decides what the low 32 bits are, the count which multiple of 2^32 it is.
 */
static void with_a_socket_bytes_are_exact(void)
{
	int i;

	for (i = 0; i < 50000; i++) {
		__u64 size = any_size() & 0x0000ffffffffffffULL, counted_bytes;
		__u32 lacking = any_below(4) ? any_below(100000) : any_below(1U << 30), isn = any64(), end = isn + 1 + (__u32)size;
		bool orig = any_below(2), of_orig = any_below(2);
		struct facts facts = { .known = true, .of_orig = of_orig };
		struct flow f = { .flags = orig ? ORIG_END : RESP_END };

		if (end == isn)
			continue; /* 2^32 - 1 bytes look like a RST on the SYN's place */
		*(orig ? &f.orig_isn : &f.resp_isn) = isn;
		*(orig ? &f.orig_end : &f.resp_end) = end;
		counted_bytes = lacking < size ? size - lacking : size + any_below(3);
		if (orig == of_orig)
			facts.bytes_acked = counted_bytes;
		else
			facts.bytes_received = counted_bytes;
		CHECK_EQUAL(exact_bytes(&f, &facts, orig), size);
	}
}

/* No FIN was seen: what the socket has counted is all there is, but for the SYN and FINs in it. */
static void without_an_end_the_socket_tells(void)
{
	int i;

	for (i = 0; i < 20000; i++) {
		__u64 size = any_size() & 0x0000ffffffffffffULL;
		struct flow f = { .orig_isn = any64(), .resp_isn = any64() };
		struct facts facts = { .known = true, .of_orig = true };

		if ((__u32)size == ~0U)
			continue;
		facts.bytes_acked = size + any_below(2);
		facts.snd_una = f.orig_isn + 1 + (__u32)size;
		facts.bytes_received = size;
		facts.rcv_nxt = f.resp_isn + 1 + (__u32)size;
		CHECK_EQUAL(exact_bytes(&f, &facts, true), size);
		CHECK_EQUAL(exact_bytes(&f, &facts, false), size);
		facts.bytes_received++;
		facts.rcv_nxt++;
		facts.tcp_state = i % 3 == 0 ? BPF_TCP_CLOSE_WAIT : i % 3 == 1 ? BPF_TCP_LAST_ACK : BPF_TCP_CLOSING;
		CHECK_EQUAL(exact_bytes(&f, &facts, false), size);
	}
}

static void a_bucket_holds_the_times_below_its_bound(void)
{
	__u32 i;

	CHECK_EQUAL(bucket_of(0), 0);
	for (i = 0; i < HIST_BUCKETS - 1; i++) {
		__u64 bound = 1ULL << (HIST_SHIFT + i);

		CHECK_EQUAL(bucket_of(bound - 1), i);
		CHECK_EQUAL(bucket_of(bound), i + 1);
	}
	CHECK_EQUAL(bucket_of(~0ULL), HIST_BUCKETS - 1);
}

static struct service *service_at(__u16 port, enum direction dir)
{
	struct service_key key = { .port = port, .dir = dir };

	return host_lookup(host_map_of(&nt_services), &key);
}

static void when_services_are_full_port_0_takes_the_rest_of_its_direction(void)
{
	struct flow_key key = tuple4(40000, 0);

	host_reset();
	host_map_of(&nt_services)->max_entries = 4;
	for (key.dport = 1; key.dport <= 3; key.dport++)
		count_established(key.dport, DIR_IN, 2000);
	CHECK(!service_at(0, DIR_IN));
	key.dport = 0;
	CHECK(find_service(scratch_here(), 0, DIR_IN, true)); /* the last place */
	for (key.dport = 4; key.dport <= 10; key.dport++)
		count_established(key.dport, DIR_IN, 2000);
	CHECK_EQUAL(service_at(0, DIR_IN)->established, 7);
	CHECK_EQUAL(service_at(0, DIR_IN)->handshake[1], 7);
	CHECK_EQUAL(service_at(0, DIR_IN)->handshake_sum_ns, 14000);
	CHECK(!service_at(4, DIR_IN));
	CHECK_EQUAL(service_at(3, DIR_IN)->established, 1);
	count_established(key.dport, DIR_OUT, 2000); /* there is no place for this direction: it is counted all the same */
	CHECK(!service_at(0, DIR_OUT));
	CHECK_EQUAL(counted(established), 11);
}

static void who_was_never_established_makes_no_service_unless_this_host_called(void)
{
	struct flow_key key = tuple4(40000, 7);
	struct flow f = { .start_ns = 5 };

	host_reset();
	report(&key, &f, &no_facts, S0, 10);
	CHECK(!service_at(7, DIR_IN));
	CHECK_EQUAL(service_at(0, DIR_IN)->ended[S0], 1);
	f.flags = IS_OUTBOUND;
	report(&key, &f, &no_facts, S0, 10);
	CHECK_EQUAL(service_at(7, DIR_OUT)->ended[S0], 1);
	CHECK_EQUAL(service_at(7, DIR_OUT)->duration_sum_ns, 5);
}

static void quiet_counts_and_writes_nothing(void)
{
	struct flow_key key = tuple4(40000, 7);
	struct flow f = {};

	host_reset();
	settings()->quiet = 1;
	report(&key, &f, &no_facts, SF, 10);
	CHECK_EQUAL(counted(ended[SF]), 1);
	CHECK_EQUAL(counted(logged), 0);
	CHECK_EQUAL(host.lines, 0);
}

static const __u64 week = 7 * 86400 * HOST_S;

/* All there can be in a record, each as long as it gets within a week and a terabyte. */
static struct flow long_flow = {
	.start_ns = 52 * 7 * 86400 * HOST_S,
	.first_fin_ns = 53 * 7 * 86400 * HOST_S,
	.syn_rtt_ns = 60 * HOST_S,
	.ack_rtt_ns = 60 * HOST_S,
	.syn_retrans = 255,
	.iface = 255,
	.ifindex = 10000,
	.uid = ~0U,
	.cgroup = 4294967296,
	.flags = HAS_OWNER,
};

static struct facts long_facts = {
	.bytes_acked = 1ULL << 40,
	.bytes_received = 1ULL << 40,
	.segs_out = 999999999,
	.segs_in = 999999999,
	.srtt_us = 10000000,
	.min_rtt_us = 10000000,
	.retrans = 10000000,
	.cwnd = 100000,
	.mss = 65535,
	.known = true,
};

static void report_long(void)
{
	struct flow_key key = { .sport = 65535, .dport = 65535 };
	__u32 index = 255;

	host_reset();
	memset(key.src, 0xff, sizeof(key.src));
	memset(key.dst, 0xff, sizeof(key.dst));
	memset(((struct iface *)host_lookup(host_map_of(&nt_ifaces), &index))->name, 'i', IFACE_NAME_LEN - 1);
	report(&key, &long_flow, &long_facts, RSTOS0, 53 * week);
}

static void a_long_record_fits_the_trace(void)
{
	report_long();
	CHECK(strlen(host.line) <= TRACE_LEN);
	CHECK(strstr(host.line, " ifname=iiiiiiiiiiiiiii uid=4294967295 cgroup=4294967296 srtt_us=10000000 "));
	CHECK(strstr(host.line, " mss=65535"));
}

/* Its last fields are left out, none is cut. */
static void a_record_that_is_too_long_for_the_trace_loses_whole_fields(void)
{
	struct facts before = long_facts;
	const char *last;

	long_facts.srtt_us = long_facts.min_rtt_us = long_facts.retrans = long_facts.cwnd = long_facts.mss = ~0U - 1;
	long_facts.segs_in = long_facts.segs_out = ~0U;
	report_long();
	long_facts = before;
	CHECK(strlen(host.line) <= TRACE_LEN);
	CHECK(strlen(host.line) > TRACE_LEN - 40);
	last = strrchr(host.line, ' ');
	CHECK(last && strchr(last, '=') && !strcmp(strchr(last, '='), "=4294967294"));
}

static void a_state_that_is_none_is_not_reported(void)
{
	struct flow_key key = tuple4(1, 2);
	struct flow f = {};

	host_reset();
	report(&key, &f, &no_facts, CONN_STATES, 0);
	report(&key, &f, &no_facts, ~0ULL, 0);
	report(NULL, &f, &no_facts, SF, 0);
	report(&key, NULL, &no_facts, SF, 0);
	report(&key, &f, NULL, SF, 0);
	CHECK_EQUAL(counted_ends(), 0);
	CHECK_EQUAL(host.lines, 0);
}

int main(void)
{
	RUN(bytes_are_those_between_the_isn_and_the_end);
	RUN(without_a_socket_bytes_are_known_modulo_2_32);
	RUN(with_a_socket_bytes_are_exact);
	RUN(without_an_end_the_socket_tells);
	RUN(a_bucket_holds_the_times_below_its_bound);
	RUN(when_services_are_full_port_0_takes_the_rest_of_its_direction);
	RUN(who_was_never_established_makes_no_service_unless_this_host_called);
	RUN(quiet_counts_and_writes_nothing);
	RUN(a_long_record_fits_the_trace);
	RUN(a_record_that_is_too_long_for_the_trace_loses_whole_fields);
	RUN(a_state_that_is_none_is_not_reported);
	return unit_end();
}
