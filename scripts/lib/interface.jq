# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# A line for each interface, NETNS IFINDEX SINCE NAME NETNS_FILE and what `filters` prints for it, with a separator between any two of them, to
# a JSON object about it. A filter before ours that acts by itself can end a packet's way, so that ours never sees it, and so can a program
# of TCX or XDP. $boot: when the machine was started.

def hook($name):
	map(select(.hook == $name)) | ((map(.whose) | index("ours")) // (map(.whose) | index("stray"))) as $first
	| {kind: (if $first == null then null elif .[$first].kind == "tcx" then "tcx" else "clsact" end),
		program: (if $first == null then null else .[$first].program end), whose: (if $first == null then null else .[$first].whose end),
		others: [range(length) as $i | .[$i] | select($i != $first)
			| {pref, handle, kind, program, name, place: (if $first == null or $i < $first then "before" else "behind" end), can_hide: (.whose == "-" and (.kind != "bpf" or .direct_action))}]};

inputs / "\u001e"
| . as [$netns, $ifindex, $since, $ifname, $netns_file] | ($since | tonumber) as $since
| [.[5:][] / " " | {
	hook: .[0], pref: (.[1] | tonumber? // null), handle: (if .[4] | IN("tcx", "xdp") then null else .[2] end), kind: .[4], whose: .[5], direct_action: (.[6] == "true"),
	program: (.[7] | tonumber? // null), name: (.[10:] | join(" "))
}]
| {
	$ifname, ifindex: ($ifindex | tonumber), netns: ($netns | tonumber), netns_file: (if $netns_file == "" then null else $netns_file end),
	since: (if $since > 0 then ($since / 1000 + $boot) / 1e6 | floor | todate else null end),
	ingress: hook("ingress"), egress: hook("egress")
}
| ([.ingress, .egress] | map(select(.whose == "ours")) | length) as $ours
| .state = (if $ours == 2 then "attached" elif $ours == 1 then "half attached" elif .ingress.whose or .egress.whose then "stray" else "gone" end)
| del(.ingress.whose, .egress.whose)
