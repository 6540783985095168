# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What bpftool knows of a network namespace's interfaces, to lines $netns IFINDEX WHOSE of those with a program that is ours or stray.
# $programs: the lines of `programs` in hooks.sh.

($programs / "\n" | map(select(. != "") / " " | {(.[0]): .[1]}) | add) as $whose
| [.[].tc[]? | (.id // .prog_id) as $id | select($whose["\($id)"] | IN("ours", "stray")) | "\($netns) \(.ifindex) \($whose["\($id)"])"] | unique[]
