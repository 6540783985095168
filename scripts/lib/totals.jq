# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# $counters and $services, as bpftool dumps them, summed over the CPUs and over the services of each direction. $tables: tables.tsv.

def table($name): $tables / "\n" | map(split("\t") | select(.[0] == $name));
def states: table("state") | map(.[1]);
def constant($name): table("constant")[] | select(.[1] == $name) | .[2] | tonumber;
def name_states: [states, .] | transpose | map({(.[0]): .[1]}) | add;

# Numbers are added, arrays and objects member by member.
def plus($other):
	if $other == null then .
	elif type == "object" then with_entries(.key as $key | .value |= plus($other[$key]))
	elif type == "array" then [., $other] | transpose | map(.[0] as $a | .[1] as $b | $a | plus($b))
	else . + $other end;
def sum: reduce .[1:][] as $other (.[0]; plus($other));

def zero: {
	ended: (states | map(0)), established: 0, orig_bytes: 0, resp_bytes: 0, duration_sum_ns: 0, handshake_sum_ns: 0,
	segments_sent: 0, segments_retransmitted: 0,
	duration: [range(constant("HIST_BUCKETS")) | 0], handshake: [range(constant("HIST_BUCKETS")) | 0]
};
def direction($dir): [zero, ($services[0][].formatted | select(.key.dir == $dir) | .value)] | sum | .ended |= name_states;

# live by the law of conservation at struct counters in NeTracker.h.
{
	$time_ns,
	counters: ([$counters[0][0].formatted.values[].value] | sum | .ended |= name_states),
	in: direction(0), # enum direction
	out: direction(1)
}
| .live = (.counters | .attempts + .adopted - (.ended | add) - .syn_evicted - .syn_disbelieved - .conn_full)
