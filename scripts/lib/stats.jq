# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Totals less those at the last reset ($base), in the form that users see. Conservation, after a reset as before:
# carried_over + attempts = sum of ended + live + losses.connections + syn_disbelieved.

def minus($other):
	if $other == null then .
	elif type == "object" then with_entries(.key as $key | .value |= minus($other[$key]))
	elif type == "array" then [., $other] | transpose | map(.[0] - .[1])
	else . - $other end;
def live: if . == null then 0 else .attempts - (.ended | add) - .syn_evicted - .syn_disbelieved - .conn_full end;

# Bucket i counts times below 2^(10 + i) ns, the last one all longer ones too. Empty ones at both ends are left out.
def histogram:
	. as $counts | [range(length) | select($counts[.] > 0)] | if length == 0 then [] else
		[range(.[0]; .[-1] + 1) | {below_ns: (if . < 31 then pow(2; 10 + .) else null end), count: $counts[.]}] end;
def direction: {
	ended, established, orig_bytes, resp_bytes, duration_sum_ns, handshake_sum_ns,
	duration: (.duration | histogram), handshake: (.handshake | histogram)
};

(.counters | live) as $live | .time_ns as $now
| minus($base | del(.time_ns)) | .counters as $c
| {
	since: (($base.time_ns / 1000 + $boot_us) / 1e6 | floor | todate),
	seconds: (($now - $base.time_ns) / 1e9),
	attempts: $c.attempts,
	established: $c.established,
	carried_over: ($base.counters | live),
	$live,
	failed: ($c.ended | .S0 + .SH + .REJ + .RSTO + .RSTR + .RSTOS0),
	ended: $c.ended,
	losses: {
		connections: ($c.syn_evicted + $c.conn_full), syn_evicted: $c.syn_evicted, conn_full: $c.conn_full,
		timer_failed: $c.timer_failed, log: $log_lost
	},
	logged: $c.logged,
	expired: $c.expired,
	replaced: $c.replaced,
	disbelieved: {syn: $c.syn_disbelieved, rst: $c.rst_disbelieved, synack: $c.synack_disbelieved},
	no_record: {fin: $c.no_record_fin, rst: $c.no_record_rst},
	skipped: {
		fragments: $c.fragments, malformed_short: $c.malformed_short, malformed_offset: $c.malformed_offset,
		malformed_flags: $c.malformed_flags
	},
	in: (.in | direction),
	out: (.out | direction)
}
