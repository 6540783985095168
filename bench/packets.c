// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Runs the tracker's programs on crafted frames (BPF_PROG_TEST_RUN) and tells what they cost.
 *
 *	packets IFACE INGRESS EGRESS EMPTY cost                     every kind of packet that changes nothing, and new SYNs
 *	packets IFACE INGRESS EGRESS EMPTY connection WHAT [FIRST]  whole connections: SYN, SYN-ACK, ACK, FIN, FIN
 *	packets IFACE INGRESS EGRESS EMPTY flood [FIRST]            forged SYNs, with the handshake table full
 *	packets IFACE INGRESS EGRESS EMPTY establish N [FIRST]      make N connections and leave them open
 *	packets IFACE INGRESS EGRESS EMPTY half-close N [FIRST]     make N connections of which the client has closed its side
 *	packets IFACE INGRESS EGRESS EMPTY cold N                   pure ACKs of the N that are open: hot, spread, cold
 *	packets IFACE INGRESS EGRESS EMPTY paced RATE SECONDS       RATE refused connections a second; prints how many they were
 *	packets IFACE INGRESS EGRESS EMPTY race N [CLIENT SERVER]   N connections on two CPUs at once, both the same segments
 *	packets IFACE send N                                        send N segments, each of another connection long since open
 *	packets stats                                               let the kernel take the time of all programs until this one ends
 *
 * INGRESS and EGRESS are the ids of the tracker's programs on IFACE. FIRST (0) is the number of the first connection; each has a
 * tuple of its own. EMPTY is a pinned program that does nothing: each figure is the time above the time of that program, on the
 * same frames, in turns with it. The kernel takes the times, inside the system call, around the program alone. A line of the output
 * is a description, nanoseconds, the median of ROUNDS means, and these, with tabs between.
 *
 * In C, as an interpreter between two system calls takes the caches from what is being measured.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define ROUNDS 5
#define CONNECTIONS 20000     /* in a round, each with frames of its own */
#define REPEAT 2000000        /* of a frame that changes nothing */
#define SYNS 400000           /* to fill the handshake table */
#define CORE_CACHES (4 << 20) /* bytes: more than the caches hold that a core has for itself */
#define ALL_CACHES (96 << 20) /* more than those hold that it shares */
#define PORTS 60000           /* of one client */
#define CLIENT_PORT 1024
#define SERVER_PORT 8000
#define VLAN 0x81000042U /* an 802.1Q tag in the frame */

enum direction {
	IN,
	OUT,
	DIRECTIONS
};
enum flag {
	FIN = 1,
	SYN = 2,
	RST = 4,
	ACK = 16
};

struct frame {
	enum direction direction;
	__u32 len;
	struct iphdr *ip; /* in data, of those that number() changes */
	struct tcphdr *tcp;
	__u8 data[128];
};

static int tracker[DIRECTIONS], empty[DIRECTIONS], ifindex;

/* ---------------------------------------------------------------------------------------------------------- frames */

static void put(struct frame *f, const void *bytes, __u32 len)
{
	memcpy(f->data + f->len, bytes, len);
	f->len += len;
}

/* vlan: a tag, or 0. */
static void put_ethernet(struct frame *f, __u16 type, __u32 vlan)
{
	const __u8 addresses[2 * ETH_ALEN] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };

	f->len = 0;
	put(f, addresses, sizeof(addresses));
	if (vlan)
		put(f, &(__u32){ htonl(vlan) }, 4);
	put(f, &(__u16){ htons(type) }, 2);
}

static __u32 client = 0xC6336401U, server = 0xC6336402U; /* 198.51.100.1 and .2 */

static void put_ipv4(struct frame *f, __u8 protocol, __u16 payload)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(sizeof(ip) + payload),
		.ttl = 64,
		.protocol = protocol,
		.saddr = htonl(f->direction == IN ? client : server),
		.daddr = htonl(f->direction == IN ? server : client),
	};

	f->ip = (struct iphdr *)(f->data + f->len);
	put(f, &ip, sizeof(ip));
}

static void put_ipv6(struct frame *f, __u16 payload)
{
	struct ipv6hdr ip = { .version = 6, .payload_len = htons(payload), .nexthdr = IPPROTO_TCP, .hop_limit = 64 };

	inet_pton(AF_INET6, "2001:db8:51::1", &ip.saddr);
	inet_pton(AF_INET6, "2001:db8:51::2", &ip.daddr);
	put(f, &ip, sizeof(ip));
}

static void put_tcp(struct frame *f, int flags, __u32 seq, __u32 ack, const char *payload)
{
	struct tcphdr tcp = {
		.source = htons(f->direction == IN ? CLIENT_PORT : SERVER_PORT),
		.dest = htons(f->direction == IN ? SERVER_PORT : CLIENT_PORT),
		.seq = htonl(seq),
		.ack_seq = htonl(ack),
		.doff = sizeof(tcp) / 4,
		.window = 0xffff,
	};

	((__u8 *)&tcp)[13] = flags;
	f->tcp = (struct tcphdr *)(f->data + f->len);
	put(f, &tcp, sizeof(tcp));
	put(f, payload, strlen(payload));
}

static struct frame *segment(struct frame *f, enum direction direction, int flags, __u32 seq, __u32 ack, const char *payload)
{
	f->direction = direction;
	put_ethernet(f, ETH_P_IP, 0);
	put_ipv4(f, IPPROTO_TCP, sizeof(struct tcphdr) + strlen(payload));
	put_tcp(f, flags, seq, ack, payload);
	return f;
}

/* A connection over IPv4, client first, and what the server says that does not want one. */
static struct frame syn, syn_ack, ack, client_fin, server_fin, refusal;
static struct frame *const connection[] = { &syn, &syn_ack, &ack, &client_fin, &server_fin, &refusal };
#define WHOLE 5    /* frames, the first ones: a connection from beginning to end */
static __u32 used; /* connections whose tuples have been used */

static void make_connection(void)
{
	segment(&syn, IN, SYN, 1000, 0, "");
	segment(&syn_ack, OUT, SYN | ACK, 5000, 1001, "");
	segment(&ack, IN, ACK, 1001, 5001, "");
	segment(&client_fin, IN, FIN | ACK, 1001, 5001, "");
	segment(&server_fin, OUT, FIN | ACK, 5001, 1002, "");
	segment(&refusal, OUT, RST | ACK, 0, 1001, "");
}

/* Makes it the connection with this number: PORTS ports of a client, then the next client. */
static void become_connection(__u32 n)
{
	__be32 address = htonl(client + n / PORTS * 2);
	__be16 port = htons(CLIENT_PORT + n % PORTS);
	size_t i;

	for (i = 0; i < sizeof(connection) / sizeof(*connection); i++) {
		struct frame *f = connection[i];

		*(f->direction == IN ? &f->ip->saddr : &f->ip->daddr) = address;
		*(f->direction == IN ? &f->tcp->source : &f->tcp->dest) = port;
	}
}

static void next_connection(void)
{
	become_connection(used++);
}

/* ------------------------------------------------------------------------------------------------------------ runs */

/* Nanoseconds that one of the runs took. */
static __u32 run(const int *programs, const struct frame *f, int repeat)
{
	struct __sk_buff context = { .ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = f->data, .data_size_in = f->len, .ctx_in = &context,
	            .ctx_size_in = sizeof(context), .repeat = repeat);

	if (bpf_prog_test_run_opts(programs[f->direction], &options))
		err(1, "packets: the program did not run");
	return options.duration;
}

static int by_value(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static void print_median(const char *what, const double *rounds)
{
	double sorted[ROUNDS];
	int i;

	memcpy(sorted, rounds, sizeof(sorted));
	qsort(sorted, ROUNDS, sizeof(*sorted), by_value);
	printf("%s\t%.1f\t", what, sorted[ROUNDS / 2]);
	for (i = 0; i < ROUNDS; i++)
		printf(i ? ",%.1f" : "%.1f", rounds[i]);
	puts("");
	fflush(stdout);
}

/* A packet that changes nothing can be run again and again inside the kernel. */
static void in_place(const char *what, const struct frame *f)
{
	double rounds[ROUNDS];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		double base = run(empty, f, REPEAT);

		rounds[i] = run(tracker, f, REPEAT) - base;
	}
	print_median(what, rounds);
}

/* Connections that are all new: play() runs one connection's frames, once, and returns the time. */
static void one_by_one(const char *what, int count, __u32 (*play)(const int *programs))
{
	double rounds[ROUNDS];
	int i, n;

	for (i = 0; i < ROUNDS; i++) {
		rounds[i] = 0;
		for (n = 0; n < count; n++) {
			next_connection();
			rounds[i] += play(tracker);
			rounds[i] -= play(empty);
		}
		rounds[i] /= count;
	}
	print_median(what, rounds);
}

static __u32 open_it(const int *programs)
{
	return run(programs, &syn, 1) + run(programs, &syn_ack, 1) + run(programs, &ack, 1);
}

static __u32 open_and_close(const int *programs)
{
	return open_it(programs) + run(programs, &client_fin, 1) + run(programs, &server_fin, 1);
}

/* The fewest frames that make a record. */
static __u32 open_and_refuse(const int *programs)
{
	return run(programs, &syn, 1) + run(programs, &refusal, 1);
}

static __u32 syn_alone(const int *programs)
{
	return run(programs, &syn, 1);
}

/* ----------------------------------------------------------------------------------------------------------- verbs */

static void cost(void)
{
	const char *data = "hello world\n";
	struct frame f = { .direction = IN };

	next_connection();
	open_it(tracker);
	in_place("data packet, IPv4", segment(&f, IN, ACK, 1001, 5001, data));
	put_ethernet(&f, ETH_P_IPV6, 0);
	put_ipv6(&f, sizeof(struct tcphdr) + strlen(data));
	put_tcp(&f, ACK, 1001, 5001, data);
	in_place("data packet, IPv6", &f);
	put_ethernet(&f, ETH_P_IP, VLAN);
	put_ipv4(&f, IPPROTO_TCP, sizeof(struct tcphdr) + strlen(data));
	put_tcp(&f, ACK, 1001, 5001, data);
	in_place("data packet, VLAN tag in the frame", &f);
	in_place("pure ACK, ingress", &ack);
	in_place("pure ACK, egress", segment(&f, OUT, ACK, 5001, 1013, ""));

	f.direction = IN;
	put_ethernet(&f, ETH_P_IP, 0);
	put_ipv4(&f, IPPROTO_UDP, sizeof(struct udphdr));
	put(&f, &(struct udphdr){ .source = htons(CLIENT_PORT), .dest = htons(53), .len = htons(sizeof(struct udphdr)) },
	    sizeof(struct udphdr));
	in_place("UDP packet", &f);
	put_ethernet(&f, ETH_P_ARP, 0);
	put(&f, (__u8[46]){}, 46);
	in_place("not IP (ARP)", &f);
	one_by_one("SYN of a new connection", 2000, syn_alone);
}

static void flood(void)
{
	int i;

	for (i = 0; i < SYNS; i++) {
		next_connection();
		syn_alone(tracker);
	}
	one_by_one("forged SYN, handshake table full", CONNECTIONS, syn_alone);
}

static void establish(int count)
{
	while (count--) {
		next_connection();
		open_it(tracker);
	}
}

static void half_close(int count)
{
	while (count--) {
		next_connection();
		open_it(tracker);
		run(tracker, &client_fin, 1);
	}
}

/* As the rest of the machine does between two packets: leaves nothing in the first bytes of cache but its own. */
static void take_caches(size_t bytes)
{
	static volatile __u8 *buffer;
	size_t i;

	if (!buffer) {
		buffer = malloc(ALL_CACHES);
		if (!buffer)
			errx(1, "packets: no memory");
		memset((void *)buffer, 1, ALL_CACHES); /* untouched, all its pages would be one and the same */
	}
	for (i = 0; i < bytes; i += 64)
		buffer[i]++;
}

/*
 * A pure ACK of another connection each time, one of so many that are open. Code and data of the program, the frame and the kernel
 * around it are as far away for the empty program as they are for the tracker: what is left is the tracker's own.
 */
static void scattered(const char *what, int open, int count, size_t caches)
{
	double rounds[ROUNDS];
	int i, n;

	for (i = 0; i < ROUNDS; i++) {
		rounds[i] = 0;
		for (n = 0; n < count; n++) {
			become_connection(random() % open);
			take_caches(caches);
			rounds[i] -= run(empty, &ack, 1);
			take_caches(caches);
			rounds[i] += run(tracker, &ack, 1);
		}
		rounds[i] /= count;
	}
	print_median(what, rounds);
}

static void cold(int open)
{
	become_connection(random() % open);
	in_place("pure ACK of one connection, again and again", &ack);
	scattered("pure ACK of any connection", open, 200000, 0);
	scattered("pure ACK of any connection, the core's caches lost", open, 5000, CORE_CACHES);
	scattered("pure ACK of any connection, all caches lost", open, 200, ALL_CACHES);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void paced(int rate, int seconds)
{
	double start = seconds_now();
	int i;

	for (i = 0; i < rate * seconds; i++) {
		while (seconds_now() < start + (double)i / rate)
			;
		next_connection();
		open_and_refuse(tracker);
	}
	printf("%.0f\n", rate * seconds / (seconds_now() - start));
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "packets: there is no CPU %d", cpu);
}

/* Each waits, spinning, until the other has come as far: every segment goes through the programs twice at the same time. */
static void race_on(int cpu, volatile int *mine, volatile int *others, int count)
{
	int step = 0;
	size_t i;

	stay_on(cpu);
	while (count--) {
		next_connection();
		for (i = 0; i < WHOLE; i++) {
			*mine = ++step;
			while (*others < step)
				;
			run(tracker, connection[i], 1);
		}
	}
}

static int race(int count)
{
	/* How far each of the two is, on cache lines of their own. */
	volatile int *steps = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	if (steps == MAP_FAILED)
		err(1, "packets: no memory");
	switch (fork()) {
	case -1:
		err(1, "packets: no second process");
	case 0:
		race_on(1, steps + 64, steps, count);
		_exit(0);
	default:
		race_on(0, steps, steps + 64, count);
		wait(&status);
		return status != 0;
	}
}

/* The header's checksum, RFC 1071: the kernel looks at that of frames on the wire. */
static void sum_ipv4(struct iphdr *ip)
{
	const __u16 *word = (const __u16 *)ip;
	__u32 sum = 0, i;

	ip->check = 0;
	for (i = 0; i < sizeof(*ip) / 2; i++)
		sum += word[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
}

/* By broadcast: the other end's address need not be known. */
static void send_all(int count)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = ifindex };
	int link = socket(AF_PACKET, SOCK_RAW, 0);

	if (link < 0 || bind(link, (struct sockaddr *)&to, sizeof(to)))
		err(1, "packets: no packet socket");
	memset(ack.data, 0xff, ETH_ALEN);
	while (count--) {
		next_connection();
		sum_ipv4(ack.ip);
		if (send(link, ack.data, ack.len, 0) < 0)
			err(1, "packets: a segment was not sent");
	}
	close(link);
}

/* Until this process ends: with its descriptor, however that comes, ends what it switched on for the whole machine. */
static void keep_stats(void)
{
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		err(1, "packets: the kernel does not take the time of programs");
	puts("on");
	fflush(stdout);
	pause();
}

/* The number that argument i is; 0 if there is none. */
static int number(int argc, char **argv, int i)
{
	return i < argc ? atoi(argv[i]) : 0;
}

static void take_programs(char **argv)
{
	int direction;

	for (direction = IN; direction <= OUT; direction++) {
		tracker[direction] = bpf_prog_get_fd_by_id(atoi(argv[2 + direction]));
		empty[direction] = bpf_obj_get(argv[4]);
		if (tracker[direction] < 0 || empty[direction] < 0)
			err(1, "packets: no program %s or %s", argv[2 + direction], argv[4]);
	}
}

int main(int argc, char **argv)
{
	const char *verb = argc > 5 ? argv[5] : "";

	stay_on(0);
	if (argc > 8 && !strcmp(verb, "race")) {
		client = ntohl(inet_addr(argv[7]));
		server = ntohl(inet_addr(argv[8]));
	}
	if (argc == 2 && !strcmp(argv[1], "stats")) {
		keep_stats();
		return 0;
	}
	make_connection();
	ifindex = argc > 1 ? if_nametoindex(argv[1]) : 0;
	if (argc == 4 && ifindex && !strcmp(argv[2], "send")) {
		send_all(number(argc, argv, 3));
		return 0;
	}
	if (!ifindex || !*verb)
		errx(2, "packets: the words are wrong; what they are is at the head of packets.c");

	take_programs(argv);
	if (!strcmp(verb, "cost")) {
		cost();
	} else if (!strcmp(verb, "connection") && argc > 6) {
		used = number(argc, argv, 7);
		one_by_one(argv[6], CONNECTIONS, open_and_close);
	} else if (!strcmp(verb, "flood")) {
		used = number(argc, argv, 6);
		flood();
	} else if (!strcmp(verb, "establish") && argc > 6) {
		used = number(argc, argv, 7);
		establish(number(argc, argv, 6));
	} else if (!strcmp(verb, "half-close") && argc > 6) {
		used = number(argc, argv, 7);
		half_close(number(argc, argv, 6));
	} else if (!strcmp(verb, "cold") && number(argc, argv, 6) > 0) {
		cold(number(argc, argv, 6));
	} else if (!strcmp(verb, "race") && argc > 6) {
		return race(number(argc, argv, 6));
	} else if (!strcmp(verb, "paced") && argc > 7) {
		paced(number(argc, argv, 6), number(argc, argv, 7));
	} else {
		errx(2, "packets: no verb '%s' with so many words", verb);
	}
	return 0;
}
