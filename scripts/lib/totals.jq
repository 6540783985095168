# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# $counters and $services, as bpftool dumps them, summed over the CPUs and over the services of each direction. $tables: tables.tsv.

def states: $tables / "\n" | map(split("\t") | select(.[0] == "state") | .[1]);
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
	duration: [range(32) | 0], handshake: [range(32) | 0]
};
def direction($dir): [zero, ($services[0][].formatted | select(.key.dir == $dir) | .value)] | sum | .ended |= name_states;

{
	$time_ns,
	counters: ([$counters[0][0].formatted.values[].value] | sum | .ended |= name_states),
	in: direction(0),
	out: direction(1)
}
