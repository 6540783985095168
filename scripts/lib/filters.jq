# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The programs that bpftool knows, what tc has on ingress of each of $n interfaces, and on egress of each, to the lines of `filters_of` in
# hooks.sh. $programs: the lines of `programs` there; $elsewhere: lines NUMBER HOOK PROGRAM of what hangs at TCX, before all filters.

($programs / "\n" | map(select(. != "") / " " | {(.[0]): .[1]}) | add // {}) as $programs
| (.[0] | map({("\(.id)"): .}) | add // {}) as $known
| ($elsewhere / "\n" | map(select(. != "") / " ") | group_by(.[0]) | map({(.[0][0]): .}) | add // {}) as $tcx
| . as $shown | range($n) as $i
| ($tcx["\($i)"] // [] | .[] | "\($i) \(.[1]) tcx \(.[2]) all tcx \($programs[.[2]] // "-") false \(.[2]) \($known[.[2]] | "\(.tag // "-") - \(.name // "-")")"),
(["ingress", "egress"] as $hook | range(2) as $h | $shown[1 + $h * $n + $i][] | select(.options) | (.options.prog // {}) as $program
| ((if .kind == "bpf" then $programs["\($program.id)"] else null end) // "-") as $whose
| [$i, $hook[$h], .pref, (.options.handle // .options.fh // "-"), .protocol, .kind, $whose, (.options["direct-action"] // false),
	($program.id // "-"), ($program.tag // "-"), (.options.flowid // "-"), (.options.bpf_name // $program.name // "-")]
| map(tostring) | join(" "))
