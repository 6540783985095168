# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What tc has on the hook $hook, to HOOK PREF HANDLE PROGRAM of the first filter of the tracker's that is not in $before, the lines of
# `our_filters` in hooks.sh.

($before / "\n" | map(select(. != "") / " " | "\(.[0]) \(.[3])")) as $known
| first(.[] | select(.options.prog.name // "" | startswith("netracker_")) | select("\($hook) \(.options.prog.id)" | IN($known[]) | not))
| "\($hook) \(.pref) \(.options.handle) \(.options.prog.id)"
