# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Totals less those at the last reset ($base), in the form that users see. Conservation, after a reset as before:
# carried_over + attempts + adopted = sum of ended + live + losses.connections + disbelieved.syn.
# $tables: tables.tsv, which says where in it each counter is.

def minus($other):
	if $other == null then .
	elif type == "object" then with_entries(.key as $key | .value |= minus($other[$key]))
	elif type == "array" then [., $other] | transpose | map(.[0] - .[1])
	else . - $other end;
def rows($table): $tables / "\n" | map(split("\t") | select(.[0] == $table));
def constant($name): rows("constant")[] | select(.[1] == $name) | .[2] | tonumber;

# Bucket i counts times below 2^(HIST_SHIFT + i) ns, the last one all longer ones too. Empty ones at both ends are left out.
def histogram:
	. as $counts | constant("HIST_SHIFT") as $shift | [range(length) | select($counts[.] > 0)] | if length == 0 then [] else
		[range(.[0]; .[-1] + 1) | {below_ns: (if . < ($counts | length) - 1 then pow(2; $shift + .) else null end), count: $counts[.]}] end;
def direction: {
	ended, established, orig_bytes, resp_bytes, duration_sum_ns, handshake_sum_ns, segments_sent, segments_retransmitted,
	duration: (.duration | histogram), handshake: (.handshake | histogram)
};

def failed: [to_entries[] | select(.key | IN(rows("state")[] | select(.[2] == "FAILED") | .[1])) | .value] | add;
def put_counters($c): reduce (rows("counter")[] | select(.[2] != "")) as $row (.; setpath($row[2] / "."; $c[$row[1]]));

.live as $live | .time_ns as $now
| minus($base | del(.time_ns, .live, .log_lost)) | .counters as $c | .in as $in | .out as $out
| {
	since: (($base.time_ns / 1000 + $boot_us) / 1e6 | floor | todate),
	seconds: (($now - $base.time_ns) / 1e9),
	attempts: null,
	established: null,
	carried_over: ($base.live // 0),
	$live,
	failed: ($c.ended | failed),
	ended: null,
	losses: {connections: ($c.syn_evicted + $c.conn_full)}
}
| put_counters($c)
| .losses.log = ([$log_lost - ($base.log_lost // 0), 0] | max)
| . + {
	in: ($in | direction),
	out: ($out | direction)
}
