/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * NeTracker.h - the layout of everything that the tracker keeps in its maps.
 *
 * NeTracker.bpf.c writes them, the views in view/ render them, bpftool prints them through their BTF. Times are
 * nanoseconds of CLOCK_BOOTTIME unless a field says otherwise; sequence numbers and ports are in host byte order, addresses in
 * network byte order.
 */
#ifndef NETRACKER_H
#define NETRACKER_H

#include <linux/bpf.h>
#include <linux/types.h>

#include "tracker/tables.h"

/* Connections that completed their handshake and have not ended: the size of conn_map. `make MAX_CONNECTIONS=N` sets it. */
#ifndef MAX_CONNECTIONS
#define MAX_CONNECTIONS 262144
#endif

/*
 * Connections in motion: being opened, young or being closed. SYN_SETS sets of SYN_WAYS places, both powers of two; the memory for
 * them is in POOLS pools.
 */
#define SYN_SETS 8192
#define SYN_WAYS 8
#define POOLS 8
#define POOL_SLOTS (SYN_SETS * SYN_WAYS / POOLS)

/* Services with figures of their own; the rest is counted under port 0. */
#ifndef MAX_SERVICES
#define MAX_SERVICES 512
#endif

/* Ended connections that the log holds, a power of two. `make LOG_RECORDS=N` sets it. */
#ifndef LOG_RECORDS
#define LOG_RECORDS 65536
#endif
_Static_assert(LOG_RECORDS >= 64 && LOG_RECORDS <= 4194304 && !(LOG_RECORDS & (LOG_RECORDS - 1)),
               "LOG_RECORDS is a power of two from 64 to 4194304");

/* So many connections older than the tracker can be taken over, whatever MAX_CONNECTIONS the tracker at work has. */
#define ADOPT_MAX 262144

#define MAX_IFACES 256
#define IFACE_NAME_LEN 16 /* IFNAMSIZ; a process's name has as many: TASK_COMM_LEN */

/*
 * Places for what is known of connections at rest besides, as many as there may be, and at least one in each of POOLS parts.
 * Connections that nobody hears of for long are watched: WATCHES of them at a time, one in each place that the top bits of their
 * tuples' hashes choose. ASKS: questions to this host's sockets that are open at a time.
 */
#define REST_POOL ((MAX_CONNECTIONS + POOLS - 1) / POOLS)
#define WATCHES (32 * SYN_SETS)
#define ASKS 8

/* What an entry of a set configuration value of 0 means. */
#define HANDSHAKE_TIMEOUT_S 75 /* Linux sends its last SYN after 63 s: net.ipv4.tcp_syn_retries = 6 */
#define CLOSE_TIMEOUT_S 120    /* 2 MSL, RFC 9293 section 3.4.2 */
#define IDLE_TIMEOUT_S 8100    /* longer than RFC 5382 (REQ-5) wants, 2 h 4 min, and than Linux' keepalive takes, 2 h + 9 * 75 s */
#define IDLE_NEVER 0xffffffffU /* config.idle_timeout: silence ends nothing */

/* How a connection ended. */
enum conn_state {
#define STATE(name, kind, meaning) name,
	STATES(STATE)
#undef STATE
	CONN_STATES,
};

/* Where the first SYN was seen: at the ingress hook (somebody calls us or through us) or at the egress hook. */
enum direction {
	DIR_IN,
	DIR_OUT,
	DIRECTIONS,
};

/* The four-tuple, originator first. An IPv4 address is stored as IPv4-mapped IPv6: ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). */
struct flow_key {
	__u8 src[16]; /* originator's address */
	__u8 dst[16]; /* responder's address */
	__u16 sport;  /* originator's port, host byte order as the other one */
	__u16 dport;  /* responder's port */
};

/*
 * Key of conn_map: the four-tuple as in a flow_key, and which of those that rest beside each other with the same one. They are of
 * different scopes: struct conn.
 */
struct conn_key {
	__u8 src[16];
	__u8 dst[16];
	__u16 sport;
	__u16 dport;
	__u32 twin; /* 0: the only one, mostly */
};

/* So many connections of one four-tuple may be at rest. */
#define TWINS 16

/*
 * The scopes that a connection was seen in, at most, unused places like the first: tracker/scope.h. On its way from one container
 * to another it passes three.
 */
#define SCOPES 4

/* A process, as it was when it opened a connection or closed one. */
struct process {
	__u32 pid;                 /* in the initial namespace; 0: not known */
	char comm[IFACE_NAME_LEN]; /* its name, which may have any bytes; ends with a NUL, or where this does */
};

/* Why this host reset a connection: tracker/socket.h. The names that the records have for them are in tracker/record.h. */
enum reset_reason {
	RESET_UNKNOWN, /* it did not, or nothing says why */
	RESET_NO_LISTENER,
	RESET_NO_SOCKET,
	RESET_UNREAD_DATA,
	RESET_LINGER,
	RESET_ABORT,
	RESET_GIVEN_UP,
	RESET_REASONS,
};

/* What held a connection back: tracker/record.h. */
enum held_by {
	HELD_UNKNOWN,
	HELD_APPLICATION,
	HELD_RECEIVER,
	HELD_SEND_BUFFER,
	HELD_LOSS,
	HELD_ROUND_TRIPS,
	HELD_REASONS,
};

/* Bits of flow.flags. They change under the lock of the tuple's set; what is in conn_map does not change. */
enum flow_flag {
	ORIG_FIN = 1 << 0, /* the originator's FIN was seen; orig_end holds its sequence number */
	RESP_FIN = 1 << 1, /* likewise for the responder */
	ORIG_END = 1 << 2, /* orig_end is known, from a FIN or a RST */
	RESP_END = 1 << 3,
	RESP_SEEN = 1 << 4,    /* the responder acknowledged the SYN */
	ORIG_ACKED = 1 << 5,   /* the originator acknowledged the responder's SYN */
	RESP_SYN = 1 << 6,     /* the responder's initial sequence number is known */
	DOUBTFUL = 1 << 7,     /* SYN on the tuple of a live connection: believed once it is answered */
	MOVING = 1 << 8,       /* on its way between its slot and conn_map: who moves it alone may end it */
	RST_PENDING = 1 << 9,  /* a RST waits for the silence that confirms it; last_ns is its time */
	RST_BY_ORIG = 1 << 10, /* who sent that RST */
	ESTABLISHED = 1 << 11, /* both sides acknowledged each other's SYN */
	IS_OUTBOUND = 1 << 12, /* enum direction is DIR_OUT */
	HAS_OWNER = 1 << 13,   /* uid and cgroup are known */
	ENDED = 1 << 14,       /* somebody is reporting it, whose slot this is until then */
	REPLACED = 1 << 15,    /* while it was MOVING, another one took its tuple: last_ns tells when, unless it is closing */
	RST_ACKED = 1 << 16,   /* the pending RST told where the other side's data ended */
	FIN_ACKED = 1 << 17,   /* the other side acknowledged a FIN, and there is one: of one alone both know then */
	ONE_PLACE = 1 << 18,   /* it has several numbers for one thing: only what passes where its first SYN did is looked at */
	ADOPTED = 1 << 19,     /* older than the tracker: start_ns is when attach took it over, nothing is known of its handshake */
};

/* What is known of one connection, wherever it is. 104 bytes; the first 24 share a cache line with the key in a slot. */
struct flow {
	__u32 flags;    /* enum flow_flag */
	__u32 orig_isn; /* initial sequence numbers */
	__u32 resp_isn;
	__u32 ifindex;         /* interface that saw the first SYN */
	__u64 start_ns;        /* first SYN */
	__u64 syn_rtt_ns : 48; /* first SYN -> SYN-ACK; 0: not seen */
	__u64 syn_retrans : 8; /* SYNs sent again, seen where the first was seen; 255: or more */
	__u64 iface : 8;       /* index into nt_ifaces of the interface that saw the first SYN; 0: not named */
	__u64 ack_rtt_ns : 48; /* SYN-ACK -> ACK; 0: not seen */
	__u64 syn_len : 16;    /* data in the SYN, bytes */
	__u64 first_fin_ns;    /* first FIN of either side; 0: none */
	__u64 last_ns;         /* opening: last SYN or SYN-ACK; young: established; closing: last packet; RST_PENDING: that RST */
	/*
	 * Sequence number of the FIN or RST: (end - isn - 1) bytes were sent, modulo 2^32. Before that, the one behind what was
	 * seen: opening, of the originator, or acknowledged by it; half-closed, of the other side, as far as the FIN acknowledges.
	 */
	__u32 orig_end;
	__u32 resp_end;
	__u64 cgroup; /* cgroup id of this host's own socket; 0: none, forwarded, not known */
	__u32 uid;    /* its owner, if HAS_OWNER */
	union {
		__u32 last_syn; /* opening: when its originator's last SYN was seen, wherever: syn_step() */
		__u32 rst_seq;  /* established: sequence number of the pending RST */
	};
	struct process process; /* who has this host's own socket, if known: tracker/process.h */
	__u32 reset : 8;        /* enum reset_reason */
	__u32 interim_s : 24; /* the low bits of when its next interim record is due, seconds; 0: not known. At rest: struct rest */
};

/* Value of conn_map. With its key and the kernel's own header an element takes 256 bytes. */
struct conn {
	struct flow flow;
	__u32 place; /* in nt_rest; NO_REST: it has none */
	__u8 scope[SCOPES];
};

#define NO_REST (REST_POOL * POOLS)

/*
 * Value of nt_rest: how long ago a connection at rest was heard of. 56 bytes. A hash can only be walked through in one go, which
 * takes too long; this array the clock goes through bit by bit.
 */
struct rest {
	struct conn_key key;
	__u32 alive_s;     /* when it was last known to be alive, seconds; 0: this place is free */
	__u32 watch;       /* its place in nt_watch, + 1; 0: it is not watched. The clock alone writes this */
	__u16 half_closed; /* one side has sent its FIN */
	__u16 unasked;     /* nobody has come by who could have asked its socket */
	__u32 interim_s;   /* as in a struct flow */
};

/* Value of nt_places: the places in nt_rest that are nobody's. What was given back last is given out first. */
struct place_pool {
	struct bpf_spin_lock lock; /* guards all of this */
	__u32 fresh;               /* so many have ever been used */
	__u32 free;                /* places in free_place */
	__u32 free_place[REST_POOL];
};

/* Value of nt_watch: a connection at rest that is watched. Packets clear since_s, the clock does all else. */
struct watch {
	__u32 tag;     /* of its tuple; 0: this place is free */
	__u32 since_s; /* there has been no packet since this second; 0: there has been one */
};

/*
 * What has become of a question. In question.state it stands below the question's number, so that no answer is taken for
 * another's.
 */
enum ask {
	ASK_NOBODY,
	ASK_OPEN,
	ASK_LIVES,
	ASK_GONE,
	ASK_MASK = 3,
};

/* Is there still a socket of this host for a connection at rest? */
struct question {
	struct flow_key key; /* the other side first */
	__u32 state;         /* enum ask, above it the question's number */
	__u32 place;         /* of the connection in nt_rest */
	__u32 alive_s;       /* as it was there */
	__u32 asked_s;
	__u32 ifindex; /* a packet at this interface, as this load of the program sees it, is in the socket's network namespace */
	__u32 iface;
};

/*
 * The one value of nt_silence: how far the clock has come with those at rest, and what it asks. It asks, but sockets can only be
 * looked up where there is a packet: any that passes the right interface and is looked at brings the answer.
 */
struct silence {
	__u64 next_ns; /* when it goes on */
	__u32 place;   /* in nt_rest: where */
	__u32 watched; /* places of nt_watch that are taken */
	__u32 open;    /* so many of the questions have been asked, and nothing has been done yet that follows */
	__u32 number;  /* of the last one */
	struct question question[ASKS];
	/* How far it is with the interim records: tracker/interim.h. */
	__u64 interim_ns;      /* when it goes on with those */
	__u32 interim_row;     /* where */
	__u32 interim;         /* config.interim, as it has found it */
	__u32 interim_since_s; /* since when */
};

/*
 * What this host's own socket knows of a connection, from struct tcp_sock by way of bpf_tcp_sock(). The
 * counts of bytes are those of the socket and 64 bits wide; sequence numbers tell where they stand.
 */
struct facts {
	__u64 bytes_acked; /* sent and acknowledged; may count a SYN and a FIN */
	__u64 bytes_received;
	__u64 asked_ns; /* when it was asked */
	__u32 snd_una;
	__u32 rcv_nxt;
	__u32 segs_out;
	__u32 segs_in;
	/* What goes into the record as it is: docs/fields.md. */
#define NOT_KEPT(...)
#define FACT(key, json, of, unit, unknown, heading, width, bits, value) __u##bits key;
	FIELDS(NOT_KEPT, NOT_KEPT, NOT_KEPT, NOT_KEPT, FACT)
#undef NOT_KEPT
#undef FACT
	__u16 tick_us;  /* of the kernel's clock tick, in which it measures some of these; 10,000 at most */
	__u8 of_orig;   /* the socket is the originator's */
	__u8 tcp_state; /* BPF_TCP_ESTABLISHED ... */
	__u8 known;     /* there is such a socket */
};

/* A connection in motion. 256 bytes, four cache lines. */
struct slot {
	struct flow_key key;
	__u8 scope[SCOPES];
	struct flow flow;
	/*
	 * If known: what its socket said when this host sent the first FIN, or at the end. By the time of the second FIN the socket
	 * may be gone, as a closed one in FIN_WAIT_2 becomes a TIME_WAIT one that knows nothing.
	 */
	struct facts facts;
};

/*
 * Value of nt_pool: the memory for the connections in motion of SYN_SETS / POOLS sets, which have as many places. What was given
 * back last is given out first, as it is still in the caches.
 */
struct pool {
	struct bpf_spin_lock lock; /* guards what follows, up to the slots */
	__u32 fresh;               /* slots from here on have never been used */
	__u32 free;                /* slots in free_slot */
	__u32 unused[13];
	__u16 free_slot[POOL_SLOTS];
	struct slot slot[POOL_SLOTS];
};

/*
 * Value of syn_map: which connections in motion there are whose tuples' hash chooses this set. A place is free when its tag is 0;
 * else the tag is made of the tuple's hash, and `at` is the index of its slot. There are two connections of one tuple and scope at
 * most: one that is being opened, and one that is established. 64 bytes, a cache line.
 */
struct syn_set {
	struct bpf_spin_lock lock; /* guards all of this, the slots of these places, and what nt_gate and nt_due have of the set */
	__u32 resting;             /* its connections in conn_map */
	__u64 filter;              /* a bit for each of those, chosen by the tuple's hash */
	__u64 due_ns;              /* as in nt_due */
	__u16 tag[SYN_WAYS];
	__u16 at[SYN_WAYS];
	__u8 open;  /* bit i: place i has a connection that is opening or closing; segments without SYN, FIN, RST are looked at */
	__u8 twins; /* no connection at rest has a higher conn_key.twin; falls back to 0 when none is at rest */
	__u16 watch_gate; /* bits of the gate that are open for those that are watched */
	__u32 watched;    /* of its connections in conn_map */
};

/*
 * The one value of nt_gate: for each set 16 bits, of which one is set for each connection that is opening or closing, chosen by
 * the tuple's hash, or that is watched. A packet that only carries data is let by at the sight of it: unlike the sets, these 16
 * KiB stay in a CPU's cache.
 */
struct gate {
	__u16 open[SYN_SETS];
};

/*
 * Value of nt_due: for each of 64 sets, when the clock has to look at it; 0: never. Not later than the earliest time limit in the
 * set; it may be earlier, as nothing is done here when one is gone.
 */
#define DUE_ROW 64

struct due_row {
	__u64 due_ns[DUE_ROW];
};

/* The one value of nt_clock: the timer behind all time-outs. */
struct clock {
	struct bpf_timer timer;
	__u64 armed_ns; /* when it goes off; 0: it is not set */
	__u64 row;      /* of nt_due: where it had done enough for one go, and begins the next */
};

/*
 * The one value of nt_counters, per CPU. Conservation, after every packet has been handled:
 * attempts + adopted = sum of ended + connections in motion + connections in conn_map + syn_evicted + syn_disbelieved + conn_full.
 */
struct counters {
#define COUNTER(name, stats, metric, label, line) __u64 name;
#define BY_STATE(name) __u64 name[CONN_STATES];
	COUNTERS(COUNTER, BY_STATE)
#undef COUNTER
#undef BY_STATE
};

/* Value of nt_log: an ended connection, as the log keeps it, or one that lives: an interim record. 288 bytes. */
struct record {
	__u64 seq; /* how many records there were with this one; 0: it is being written */
	__u64 end_ns;
	struct flow flow;
	struct facts facts;
	struct flow_key key;
	__u32 state : 8;             /* enum conn_state */
	__u32 interim : 24;          /* how many intervals it has lived for; 0: it has ended */
	char ifname[IFACE_NAME_LEN]; /* as the interface was called at the end; "-": not named */
};

/* The one value of nt_log_head, on a cache line of its own. */
struct log_head {
	__u64 written; /* records so far. The newest LOG_RECORDS of them are in nt_log, record n at n % LOG_RECORDS */
	__u64 unused[7];
};

/*
 * The one value of nt_cursor, of which each consumer of the log has its own. Record numbers begin with 0. The second half is
 * the reading that is going on: view/log.h.
 */
struct cursor {
	__u64 next;   /* the first record that has not been read */
	__u64 before; /* what next was when the last reading began */
	__u64 lost;   /* records that were overwritten before they were read */
	__u64 unsaid; /* of them: those that the next record that is read has to tell of */
	__u64 session;
	__u64 seen_ns; /* when its reader was last seen; 0: it has come to its end */
	__u64 at;      /* the next record to be handed over */
	__u64 end;     /* the one behind the last */
	__u64 at_lost; /* lost and unsaid, as they are when what has been handed over is read */
	__u64 at_unsaid;
};

_Static_assert(sizeof(struct cursor) == 80, "scripts/lib/consumer.sh makes maps of this size: CURSOR_BYTES");

/* Which records are written to the trace as well, for who reads trace_pipe. All of them are in the log. */
enum trace_mode {
	TRACE_ALL,  /* what plain tc leaves there */
	TRACE_ON,   /* all, as somebody has wanted it */
	TRACE_AUTO, /* TRACE_RATE a second, what a person can read; then a line that says how many more there were */
	TRACE_OFF,
};

#define TRACE_RATE 300

/* The one value of nt_trace: how much of this second has been written, for TRACE_AUTO. */
struct trace_window {
	__u64 second;
	__u64 written;
	__u64 left_out;
};

/*
 * The one value of nt_config. 0 means the default everywhere, which is what plain tc leaves there. Here and in nt_ifaces a new
 * field comes last: so `netracker detach` of any version can write what another one has attached. All fields here are of four
 * bytes, as it looks for `flush` by its name: 0.1.0 has that elsewhere.
 */
struct config {
	__u32 handshake_timeout; /* seconds from the last SYN; 0: HANDSHAKE_TIMEOUT_S */
	__u32 close_timeout;     /* seconds from the last packet of a half-closed connection; 0: CLOSE_TIMEOUT_S */
	__u32 quiet;             /* 1: write no records; count all the same */
	__u32 trace;             /* enum trace_mode */
	__u32 flush;        /* 1: the next frame of EtherType 0x88b5 ends all that is alive, 1,024 at a time (used by detach) */
	__u32 idle_timeout; /* seconds without a packet at rest; 0: IDLE_TIMEOUT_S; IDLE_NEVER */
	__u32 closers_off;  /* 1: attach does not have closer.bpf.c run (used by attach) */
	__u32 interim;      /* seconds from one interim record of a connection to the next; 0: there are none */
};

/* Value of nt_ifaces, written by `netracker attach`. Index 0 is never used: it stands for an interface attached by hand. */
struct iface {
	char name[IFACE_NAME_LEN];
	__u32 ifindex;    /* in its namespace; 0: this place is free */
	__u32 owns_qdisc; /* 1: attach made the clsact qdisc, detach may remove it */
	__u64 netns;      /* inode of the network namespace */
	__u64 attached_ns;
	__u32 scope; /* number of its namespace and VRF, from 1 on: tracker/scope.h */
	__u32 vrf;   /* ifindex of that VRF; 0: none */
};

/* Rules that say which connections are tracked: `netracker config only= exclude=`. So many at most. */
#define MAX_RULES 12

/* It fits connections whose responder has a port from first_port to last_port and one of whose ends is in the prefix. */
struct rule {
	__u8 address[16]; /* network byte order, IPv4 mapped; only the bits that the mask has count */
	__u8 mask[16];    /* a prefix's, of 128 bits; all 0: any address */
	__u16 first_port; /* host byte order */
	__u16 last_port;
	__u32 excludes; /* 1: what fits is not tracked; 0: what fits is selected */
};

/* Value of nt_rules. Not tracked is what a rule excludes and, if there are rules that select, what none of them selects. */
struct rules {
	__u32 count;   /* of the rules; 0: all connections are tracked */
	__u32 selects; /* so many of them select */
	struct rule rule[MAX_RULES];
};

/*
 * iface_id of a load that hangs on many interfaces, each by a filter of its own: those tell, by their classid, whose major number
 * is the scope and whose minor number is the index in nt_ifaces. At clsact alone, where the kernel hands the filter's classid to
 * the program.
 */
#define FILTERS_TELL 0xffffffffU

/* What attach tells a load of the programs, which has it in its .bss for itself. All 0 where plain tc has attached. */
struct load {
	__u32 iface_id; /* index in nt_ifaces of the interface that it is on; 0: not named; FILTERS_TELL: see there */
	__u32 scope_id; /* number of its network namespace and VRF: tracker/scope.h; 0: not known */
	/*
	 * What it answers of each packet, so that who is behind it sees that, too. To a filter of clsact without `direct-action` 0
	 * is "no match", and the next one runs; at TCX 0 would end the chain, and -1 (TCX_NEXT, Linux 6.6) goes on.
	 */
	__s32 answer;
	__u32 keeper;  /* who takes it away: 0: `netracker detach`; else a number that another program knows its own loads by */
	__u32 tick_us; /* how long the kernel's clock tick is: tracker/socket.h; 0: not known yet */
};

/* Key of nt_services. Port 0 of a direction stands for all services that found no place. */
struct service_key {
	__u16 port; /* the responder's, host byte order */
	__u16 dir;  /* enum direction */
};

/* Log2 histograms of times: bucket i counts times below 2^(HIST_SHIFT + i) ns, the last one also all longer times. */
#define HIST_SHIFT 10 /* 1.024 us */
#define HIST_BUCKETS 32

/* Value of nt_services: what happened at one service since the maps were made. All fields grow by atomic addition. */
struct service {
	__u64 ended[CONN_STATES];
	__u64 established;
	__u64 orig_bytes; /* payload; connections whose figure is unknown add nothing */
	__u64 resp_bytes;
	__u64 duration_sum_ns;
	__u64 handshake_sum_ns;
	/* Of those whose socket this host has, as it said at the end. In one cache line, as CPUs take it from each other. */
	__u64 segments_sent;
	__u64 segments_retransmitted;
	__u64 srtt_sum_ns;
	__u64 held[8];                 /* by enum held_by; as many as HELD_MASK lets through. None of HELD_UNKNOWN is counted */
	__u64 duration[HIST_BUCKETS];  /* first SYN -> end, of all that ended */
	__u64 handshake[HIST_BUCKETS]; /* first SYN -> third ACK, of all that were established */
	__u64 srtt[HIST_BUCKETS];      /* smoothed round-trip times, as the sockets of this host said at the end */
};

#endif
