# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Entries of conn_map or syn_map as bpftool has them, to lines in the format of the trace. $map, $now; $ENV.NAMES: index and name of
# each interface. The bits are those of enum flow_flag in NeTracker.h.

def bit($n): . / pow(2; $n) | floor % 2 == 1;
def number: if type == "string" and startswith("0x") then .[2:] | explode | map(if . > 96 then . - 87 else . - 48 end) | reduce .[] as $d (0; . * 16 + $d) else . end;
def hex: "0123456789abcdef" as $digits | [. / 4096, . / 256 % 16, . / 16 % 16, . % 16] | map(floor | $digits[.:. + 1]) | join("") | sub("^0{1,3}"; "");
def address:
	map(number) | if .[:12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255] then .[12:] | map(tostring) | join(".")
	else [range(0; 16; 2) as $i | .[$i] * 256 + .[$i + 1] | hex] | "[" + join(":") + "]" end;
def bytes($known; $last; $isn): if $known then ($last - $isn - 1 + 8589934592) % 4294967296 else -1 end;
def name($index): $ENV.NAMES / "\n" | map(select(startswith("\($index) ")) | ltrimstr("\($index) ")) | .[0] // "-";

def line($key; $flow; $state):
	$flow.flags as $flags
	| "\($key.src | address):\($key.sport) -> \($key.dst | address):\($key.dport)"
	+ " age_ns=\($now - $flow.start_ns | if . < 0 then 0 else . end) state=\($state) dir=\(if $flags | bit(12) then "out" else "in" end)"
	+ " first_fin_ns=\(if $flow.first_fin_ns > 0 then $flow.first_fin_ns - $flow.start_ns else 0 end)"
	+ " syn_rtt_ns=\($flow.syn_rtt_ns | number) ack_rtt_ns=\($flow.ack_rtt_ns | number)"
	+ " orig_bytes=\(bytes($flags | bit(2); $flow.orig_end; $flow.orig_isn))"
	+ " resp_bytes=\(bytes($flags | bit(3) and bit(6); $flow.resp_end; $flow.resp_isn))"
	+ " syn_retrans=\($flow.syn_retrans | number) start_ns=\($flow.start_ns) ifindex=\($flow.ifindex) ifname=\(name($flow.iface | number))"
	+ if $flags | bit(13) then " uid=\($flow.uid) cgroup=\($flow.cgroup)" else "" end;

.[].formatted | .key as $key | .value
| if $map == "conn_map" then
	.flow as $flow
	| line($key; $flow; $flow.flags | if bit(0) then "S2" elif bit(1) then "S3" else "S1" end)
else
	select(.live > 0) | . as $set | range(0; .slot | length) | select($set.tag[.] != 0) | $set.slot[.] as $slot
	| line($slot.key; $slot.flow; $slot.flow.flags | if bit(4) then "S1" elif bit(0) then "SH" else "S0" end)
end
