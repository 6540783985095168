/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * tables.h - what is one fact and shows in many places, as tables: final states, counters, metrics, the fields of a record. For
 * NeTracker.h, record.h, facts.h and the views, which expand them; and for the shell, whose programs read them as
 * scripts/lib/tables.tsv, which make writes from tables.tsv.in. tests/check/tables.bats compares the documents with them.
 *
 * A table is a macro that gives each of its rows to a macro of who expands it. New rows come last, unless it says otherwise: the
 * order of states and counters is that of the maps, the order of fields that of the line.
 */
#ifndef NETRACKER_TABLES_H
#define NETRACKER_TABLES_H

/* A row is a line, and its columns are in line. */
/* clang-format off */

/*
 * STATE(name, kind, meaning): how a connection ended, by Zeek's names for it (conn_state). kind: FAILED if it
 * did, else OTHER. A live connection has the one that it would have if nothing more came.
 */
#define STATES(STATE)                                                                                                             \
	STATE(S0,     FAILED, "no answer at all")                                                                                 \
	STATE(S1,     OTHER,  "answered, then nothing: handshake or connection never completed")                                  \
	STATE(S2,     OTHER,  "closed by the originator alone")                                                                   \
	STATE(S3,     OTHER,  "closed by the responder alone")                                                                    \
	STATE(SF,     OTHER,  "closed by both")                                                                                   \
	STATE(SH,     OTHER,  "closed by the originator; the responder was never seen")                                           \
	STATE(REJ,    FAILED, "refused: RST in answer to the SYN")                                                                \
	STATE(RSTO,   FAILED, "reset by the originator")                                                                          \
	STATE(RSTR,   FAILED, "reset by the responder")                                                                           \
	STATE(RSTOS0, FAILED, "given up by the originator before an answer")                                                      \
	STATE(OTH,    OTHER,  "answered, as its originator says; the responder was never seen")

/*
 * The fields of a record, in the order of the line, behind the two ends. The first columns of each row:
 *
 *	key      in the line
 *	json     in JSON; "": not there
 *	of       whose: ENDED, LIVE connections, ANY; OWNER: if the owner of this host's socket is known; SOCKET: if its facts
 *	         are; PROCESS: if the process is; RESET: if it is known why this host reset it; HELD: if it is known what held it
 *	         back; OPENED: if the tracker has seen it opened; ADOPTED: if not; INTERIM: ENDED, of those that live on
 *	unit     NS, US, BYTES, SEGMENTS, COUNT, PERCENT; FLAG, 1, or in JSON true and false; TICKS, kept in those of the kernel's
 *	         clock and shown in microseconds; RATE, bytes a second; TEXT; NAME, a text from outside, which may hold anything
 *	unknown  what stands for a value that nobody knows: ZERO, MINUS (-1), DASH (-), EMPTY, ONES (all bits), NEVER
 *	heading  of its column in tables for people, where times are in milliseconds; "": it has none
 *	width    of that column; below 0: text, on the left
 *
 * and behind these:
 *
 *	NUMBER(…, value)        an unsigned number; value is an expression with the struct shown *r of record.h
 *	SIZE(…, value)          a signed one
 *	TEXT_FIELD(…, value)    a string; ends with a NUL, or where its array does
 *	NAME_FIELD(…, value)    likewise, of IFACE_NAME_LEN bytes, from outside
 *	FACT(…, bits, value)    a number of so many bits that the socket tells at the close: this row alone measures, keeps and
 *	                        shows it; value: an expression with the struct bpf_tcp_sock *tcp of facts.h, or OF_KERNEL() of
 *	                        one with the kernel's own struct tcp_sock *kernel: kernel.h. Unknown: left out of the line
 *
 * A line of the trace has 511 characters at most; fields that do not fit are left out there.
 */
#define FIELDS(NUMBER, SIZE, TEXT_FIELD, NAME_FIELD, FACT)                                                                        \
	NUMBER(dur_ns,       "duration_ns",  ENDED,  NS,       NEVER, "MS",         10, r->lifetime_ns)                           \
	NUMBER(age_ns,       "age_ns",       LIVE,   NS,       NEVER, "",           0,  r->lifetime_ns)                           \
	TEXT_FIELD(state,    "state",        ANY,    TEXT,     NEVER, "STATE",      -6, state_name[bounded(r->state, 16)])        \
	TEXT_FIELD(dir,      "dir",          ANY,    TEXT,     NEVER, "DIR",        -3, dir_name[dir_of(r->flow)])                \
	NUMBER(first_fin_ns, "first_fin_ns", ANY,    NS,       ZERO,  "",           0,  first_fin_after(r->flow))                 \
	NUMBER(syn_rtt_ns,   "syn_rtt_ns",   ANY,    NS,       ZERO,  "SYN_MS",     9,  r->flow->syn_rtt_ns)                      \
	NUMBER(ack_rtt_ns,   "ack_rtt_ns",   ANY,    NS,       ZERO,  "ACK_MS",     9,  r->flow->ack_rtt_ns)                      \
	SIZE(orig_bytes,     "orig_bytes",   ANY,    BYTES,    MINUS, "ORIG_BYTES", 10, exact_bytes(r->flow, r->facts, true))     \
	SIZE(resp_bytes,     "resp_bytes",   ANY,    BYTES,    MINUS, "RESP_BYTES", 10, exact_bytes(r->flow, r->facts, false))    \
	NUMBER(syn_retrans,  "syn_retrans",  OPENED, COUNT,    NEVER, "SYN_RETR",   8,  r->flow->syn_retrans)                     \
	NUMBER(start_ns,     "",             ANY,    NS,       NEVER, "",           0,  r->flow->start_ns)                        \
	NUMBER(ifindex,      "",             ANY,    COUNT,    NEVER, "",           0,  r->flow->ifindex)                         \
	NAME_FIELD(ifname,   "ifname",       ANY,    NAME,     DASH,  "IFACE",      -8, *r->ifname)                               \
	NUMBER(uid,          "uid",          OWNER,  COUNT,    NEVER, "",           0,  r->flow->uid)                             \
	NUMBER(cgroup,       "cgroup",       OWNER,  COUNT,    ZERO,  "",           0,  r->flow->cgroup)                          \
	FACT(srtt_us,        "srtt_us",      SOCKET, US,       ZERO,  "SRTT_MS",    8,  32, tcp->srtt_us >> 3)                    \
	FACT(min_rtt_us,     "min_rtt_us",   SOCKET, US,       ONES,  "MIN_MS",     8,  32, tcp->rtt_min)                         \
	FACT(retrans,        "retrans",      SOCKET, SEGMENTS, NEVER, "RETR",       4,  32, tcp->total_retrans)                   \
	NUMBER(orig_segs,    "orig_segs",    SOCKET, SEGMENTS, NEVER, "",           0,  r->facts->of_orig ? r->facts->segs_out : r->facts->segs_in) \
	NUMBER(resp_segs,    "resp_segs",    SOCKET, SEGMENTS, NEVER, "",           0,  r->facts->of_orig ? r->facts->segs_in : r->facts->segs_out) \
	FACT(cwnd,           "cwnd",         SOCKET, SEGMENTS, NEVER, "",           0,  32, tcp->snd_cwnd)                        \
	FACT(mss,            "mss",          SOCKET, BYTES,    NEVER, "",           0,  32, tcp->mss_cache)                       \
	NUMBER(pid,          "pid",          PROCESS, COUNT,   NEVER, "PID",        7,  r->flow->process.pid)                     \
	NAME_FIELD(comm,     "comm",         PROCESS, NAME,    EMPTY, "COMM",       -15, r->flow->process.comm)                   \
	TEXT_FIELD(reset_reason, "reset_reason", RESET, TEXT,  NEVER, "RESET",      -11, reset_name[bounded(r->flow->reset, 8)])  \
	TEXT_FIELD(held_by,  "held_by",      HELD,   TEXT,     NEVER, "HELD_BY",    -11, held_name[held & HELD_MASK])             \
	NUMBER(held_pct,     "held_pct",     HELD,   PERCENT,  NEVER, "HELD_PCT",   8,  held >> HELD_SHIFT)                       \
	FACT(busy_us,        "busy_us",      SOCKET, TICKS,    ONES,  "",           0,  32, OF_KERNEL(busy_ticks(kernel)))        \
	FACT(rwnd_limited_us, "rwnd_limited_us", SOCKET, TICKS, ONES, "",           0,  32, OF_KERNEL(limited_ticks(kernel, CHRONO_RWND_LIMITED))) \
	FACT(sndbuf_limited_us, "sndbuf_limited_us", SOCKET, TICKS, ONES, "",       0,  32, OF_KERNEL(limited_ticks(kernel, CHRONO_SNDBUF_LIMITED))) \
	FACT(rcv_ooopack,    "rcv_ooopack",  SOCKET, SEGMENTS, ONES,  "",           0,  32, OF_KERNEL(kernel->rcv_ooopack))       \
	FACT(reord_seen,     "reord_seen",   SOCKET, COUNT,    ONES,  "",           0,  32, OF_KERNEL(kernel->reord_seen))        \
	FACT(dsack_dups,     "dsack_dups",   SOCKET, SEGMENTS, NEVER, "",           0,  32, tcp->dsack_dups)                      \
	FACT(delivered_ce,   "delivered_ce", SOCKET, SEGMENTS, NEVER, "",           0,  32, tcp->delivered_ce)                    \
	FACT(bytes_retrans,  "bytes_retrans", SOCKET, BYTES,   ONES,  "",           0,  64, OF_KERNEL(kernel->bytes_retrans))     \
	FACT(delivery_rate,  "delivery_rate", SOCKET, RATE,    ZERO,  "",           0,  64, delivery_rate(tcp))                   \
	NUMBER(adopted,      "adopted",      ADOPTED, FLAG,    NEVER, "",           0,  true)                                    \
	NUMBER(interim,      "interim",      INTERIM, COUNT,  NEVER, "",           0,  r->interim)

/*
 * COUNTER(name, stats, metric, label, line): a member of struct counters; the law that they obey is there.
 *
 *	stats   its path in the JSON of `netracker stats`; "": not there
 *	metric  the row of METRICS that shows it, with this label; NONE
 *	line    what it is part of in the text of `netracker stats`. Lost connections have lines of their own
 *
 * BY_STATE(name): an array with a place for each state.
 */
#define COUNTERS(COUNTER, BY_STATE)                                                                                               \
	/* new connections: first SYNs */                                                                                         \
	COUNTER(attempts,           "attempts",                 ATTEMPTED,   "",         "")                                      \
	/* handshakes completed */                                                                                                \
	COUNTER(established,        "established",              ESTABLISHED, "",         "")                                      \
	/* records, by final state */                                                                                             \
	BY_STATE(ended)                                                                                                           \
	/* records written to the log; the rest ended while config.quiet was set */                                               \
	COUNTER(logged,             "logged",                   LOGGED,      "",         "")                                      \
	/* of the records: ended by a time-out */                                                                                 \
	COUNTER(expired,            "expired",                  EXPIRED,     "",         "")                                      \
	/* of the records: ended by a new connection on the same tuple */                                                         \
	COUNTER(replaced,           "replaced",                 REPLACED,    "",         "")                                      \
	/* loss: handshakes pushed out of a full set of syn_map */                                                                \
	COUNTER(syn_evicted,        "losses.syn_evicted",       LOST,        "syn_map",                                           \
		"handshakes pushed out of a full table: a SYN flood?")                                                            \
	/* SYNs on the tuple of a live connection that were never answered: no attempt after all */                               \
	COUNTER(syn_disbelieved,    "disbelieved.syn",          DISBELIEVED, "syn",                                               \
		"SYN, SYN-ACK, FIN or RST that a receiver discards")                                                                   \
	/* loss: handshakes completed while conn_map was full */                                                                  \
	COUNTER(conn_full,          "losses.conn_full",         LOST,        "conn_map",                                          \
		"connections not recorded, the table is full: build with a larger MAX_CONNECTIONS")                               \
	/* RSTs that a receiver discards, or that later traffic refuted */                                                        \
	COUNTER(rst_disbelieved,    "disbelieved.rst",          DISBELIEVED, "rst",                                               \
		"SYN, SYN-ACK, FIN or RST that a receiver discards")                                                                   \
	/* SYN-ACKs that do not acknowledge the SYN */                                                                            \
	COUNTER(synack_disbelieved, "disbelieved.synack",       DISBELIEVED, "synack",                                            \
		"SYN, SYN-ACK, FIN or RST that a receiver discards")                                                                   \
	/* FINs of no connection in the maps: attached too late, or seen again after the end */                                   \
	COUNTER(no_record_fin,      "no_record.fin",            UNMATCHED,   "fin",                                               \
		"FIN or RST of no connection known: older than the tracker, or seen again")                                       \
	/* likewise RSTs */                                                                                                       \
	COUNTER(no_record_rst,      "no_record.rst",            UNMATCHED,   "rst",                                               \
		"FIN or RST of no connection known: older than the tracker, or seen again")                                       \
	/* of the records: half-closed connections ended before their time, as their set had no room */                           \
	COUNTER(close_evicted,      "close_evicted",            EVICTED,     "",         "")                                      \
	/* times that the kernel refused to set the timer: the next SYN or FIN tries again */                                     \
	COUNTER(timer_failed,       "losses.timer_failed",      UNTIMED,     "",                                                  \
		"time-outs that the kernel refused: such entries stay until a packet ends them")                                  \
	/* non-first fragments of TCP: skipped, they have no TCP header */                                                        \
	COUNTER(fragments,          "skipped.fragments",        FRAGMENTS,   "",         "fragments without a TCP header")        \
	/* TCP header cut off */                                                                                                  \
	COUNTER(malformed_short,    "skipped.malformed_short",  MALFORMED,   "short",    "malformed TCP headers")                 \
	/* data offset below 5 or beyond the packet */                                                                            \
	COUNTER(malformed_offset,   "skipped.malformed_offset", MALFORMED,   "offset",   "malformed TCP headers")                 \
	/* SYN with FIN or RST, FIN without ACK, no flag at all */                                                                \
	COUNTER(malformed_flags,    "skipped.malformed_flags",  MALFORMED,   "flags",    "malformed TCP headers")                 \
	/* SYNs of connections that the rules leave out, each that is sent again, too */                                           \
	COUNTER(left_out,           "skipped.left_out",         LEFT_OUT,    "",         "SYNs that the rules leave out")         \
	/* FINs that a receiver discards, or that later traffic refuted */                                                        \
	COUNTER(fin_disbelieved,    "disbelieved.fin",          DISBELIEVED, "fin",                                               \
		"SYN, SYN-ACK, FIN or RST that a receiver discards")                                                                   \
	/* connections older than the tracker that attach has taken over from their sockets */                                     \
	COUNTER(adopted,            "adopted",                  TAKEN_OVER,  "",         "")

/*
 * METRIC(id, name, type, label, help): in Prometheus' terms, in the order of the text. name without the netracker_ that all have;
 * label: the one that tells its counters apart.
 */
#define METRICS(METRIC)                                                                                                           \
	METRIC(BUILD,         "build_info",                    "gauge",     "",      "The version that is attached; always 1.")   \
	METRIC(LIVE,          "connections_live",              "gauge",     "",      "Connections established and not ended.")    \
	METRIC(LIVE_LIMIT,    "connections_live_limit",        "gauge",     "",      "Connections that fit the table.")           \
	METRIC(OPENING,       "handshakes_live",               "gauge",     "",      "Connections being opened.")                 \
	METRIC(OPENING_LIMIT, "handshakes_live_limit",         "gauge",     "",      "Handshakes that fit the table.")            \
	METRIC(ATTEMPTED,     "connections_attempted_total",   "counter",   "",      "First SYNs seen.")                          \
	METRIC(ESTABLISHED,   "connections_established_total", "counter",   "",      "Handshakes completed.")                     \
	METRIC(TAKEN_OVER,    "connections_adopted_total",     "counter",   "",                                                   \
		"Connections older than the tracker, taken over from their sockets.")                                             \
	METRIC(EXPIRED,       "connections_expired_total",     "counter",   "",      "Connections ended by a time-out.")          \
	METRIC(REPLACED,      "connections_replaced_total",    "counter",   "",                                                   \
		"Connections ended by a new one with the same addresses and ports.")                                              \
	METRIC(EVICTED,       "connections_evicted_total",     "counter",   "",                                                   \
		"Half-closed connections ended before their time, because their set was full.")                                   \
	METRIC(LOGGED,        "records_logged_total",          "counter",   "",      "Ended connections written to the log.")     \
	METRIC(LOST,          "connections_lost_total",        "counter",   "table",                                              \
		"Connections that will have no record, because a table was full.")                                                \
	METRIC(UNTIMED,       "timers_failed_total",           "counter",   "",      "Time-outs that the kernel refused to arm.") \
	METRIC(DISBELIEVED,   "segments_disbelieved_total",    "counter",   "kind",                                               \
		"Segments that would have changed a connection, but were not its peers'.")                                        \
	METRIC(UNMATCHED,     "segments_unmatched_total",      "counter",   "kind",                                               \
		"FINs and RSTs of connections opened before the tracker was attached, or ended.")                                 \
	METRIC(FRAGMENTS,     "fragments_skipped_total",       "counter",   "",                                                   \
		"Fragments without a TCP header, which were not looked at.")                                                      \
	METRIC(MALFORMED,     "segments_malformed_total",      "counter",   "kind",                                               \
		"Segments that no TCP would accept, which were not looked at.")                                                   \
	METRIC(LEFT_OUT,      "syns_left_out_total",           "counter",   "",                                                   \
		"SYNs of connections that the rules of netracker config leave out.")                                              \
	METRIC(LOG_LOST,      "log_records_lost_total",        "counter",   "",                                                   \
		"Records overwritten in the log before its consumer without a name had read them.")                               \
	METRIC(ENDED,         "connections_ended_total",       "counter",   "state", "Connections ended, by how they ended.")     \
	METRIC(BYTES,         "bytes_total",                   "counter",   "to",    "Payload of ended connections.")             \
	METRIC(DURATION,      "connection_duration_seconds",   "histogram", "",                                                   \
		"From the first SYN to the end of a connection.")                                                                 \
	METRIC(HANDSHAKE,     "handshake_seconds",             "histogram", "",                                                   \
		"From the first SYN to the ACK that establishes a connection.")                                                   \
	METRIC(SENT,          "segments_sent_total",           "counter",   "",                                                   \
		"Segments that sockets of this host sent on connections that have ended.")                                        \
	METRIC(RETRANSMITTED, "segments_retransmitted_total",  "counter",   "",      "Those of them that were sent again.")       \
	METRIC(SRTT,          "srtt_seconds",                  "histogram", "",                                                   \
		"Smoothed round-trip time of a connection, as this host's socket had it at the end.")                             \
	METRIC(HELD,          "connections_held_total",        "counter",   "by",    "Connections, by what held them back most.") \
	METRIC(HOOKS,         "interface_hooks",               "gauge",     "",                                                   \
		"At how many of its two hooks the tracker still is, of an interface that it was attached to.")                    \
	METRIC(INTERFACE,     "interface_info",                "gauge",     "",                                                   \
		"An interface that the tracker is attached to, and its network namespace; always 1.")

/* clang-format on */

#endif
