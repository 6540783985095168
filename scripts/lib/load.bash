# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# load.bash OBJECT PIN HOOK SECTION…: load these programs where no packet meets them, on lo of the network namespace at hand, which the caller
# has made for this (`unshare --net`) and which ends with this command; so do the programs, unless they are pinned. Prints
# HOOK PROGRAM TAG of each. The last one is pinned as PIN, if that is not empty.
set -euo pipefail

object=$1 pin=$2
shift 2
tc qdisc add dev lo clsact
while (($#)); do
	tc filter add dev lo "$1" bpf obj "$object" sec "$2"
	loaded=$(tc filter show dev lo "$1" | sed -n 's/.* id \([0-9]*\) .*tag \([0-9a-f]*\).*/\1 \2/p')
	printf '%s\n' "$1 $loaded"
	shift 2
done
[[ ! $pin ]] || bpftool prog pin id "${loaded% *}" "$pin"
tc qdisc del dev lo clsact # the namespace takes a while to end
