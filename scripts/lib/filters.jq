# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What tc has on ingress, and on egress, and the programs that bpftool knows, to the lines of `filters` in hooks.sh. $programs: the lines of
# `programs` there; $elsewhere: lines HOOK PROGRAM of what hangs at TCX, before all filters.

($programs / "\n" | map(select(. != "") / " " | {(.[0]): .[1]}) | add // {}) as $programs
| (.[2] | map({("\(.id)"): .}) | add // {}) as $known
| ($elsewhere / "\n" | .[] | select(. != "") / " " | "\(.[0]) tcx \(.[1]) all tcx \($programs[.[1]] // "-") false \(.[1]) \($known[.[1]] | "\(.tag // "-") \(.name // "-")")"),
(["ingress", "egress"] as $hook | range(2) as $i | .[$i][] | select(.options) | (.options.prog // {}) as $program
| ((if .kind == "bpf" then $programs["\($program.id)"] else null end) // "-") as $whose
| [$hook[$i], .pref, (.options.handle // .options.fh // "-"), .protocol, .kind, $whose, (.options["direct-action"] // false),
	($program.id // "-"), ($program.tag // "-"), (.options.bpf_name // $program.name // "-")]
| map(tostring) | join(" "))
