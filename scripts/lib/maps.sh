# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # the libraries share their globals; each is checked alone
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The pinned maps, which tc makes with the first filter: how they are read and written. Layouts are in NeTracker.h.

readonly PINS=$BPFFS/tc/globals VIEWS=$BPFFS/netracker
readonly BASELINE=$VIEWS/baseline # what `stats --reset` counts from
readonly IFACE_NAME_LEN=16 MAX_IFACES=256

# is_pinned MAP
is_pinned() {
	[[ -e $PINS/$1 ]]
}

# Print the file of each map that is pinned.
pins() {
	local pin
	for pin in "$PINS"/conn_map "$PINS"/syn_map "$PINS"/nt_*; do
		[[ ! -e $pin ]] || printf '%s\n' "$pin"
	done
}

# The verbs that only look have something to look at once the maps are there.
require_attached() {
	require root sys_admin bpftool jq bpffs
	is_pinned nt_counters || die "$EXIT_NOT_ATTACHED" "not attached to any interface; 'netracker attach IFACE' does that"
}

# dump MAP: its entries as bpftool's JSON, by the names of NeTracker.h.
dump() {
	bpftool --json map dump pinned "$PINS/$1"
}

# map_id PIN…: the kernel's number of this map.
map_id() {
	bpftool --json map show pinned "$1" | jq .id
}

# bytes WIDTH NUMBER: as bpftool wants them, in the order of this machine.
bytes() {
	local i hex little=() big=()
	printf -v hex '%0*x' $((2 * $1)) "$2"
	for ((i = 0; i < 2 * $1; i += 2)); do
		big+=("${hex:i:2}")
		little=("${hex:i:2}" "${little[@]}")
	done
	if [[ $(printf '\1\0' | od -An -td2) -eq 1 ]]; then
		printf '%s\n' "${little[*]}"
	else
		printf '%s\n' "${big[*]}"
	fi
}

# update PIN KEY VALUE: KEY and VALUE are bytes.
update() {
	# shellcheck disable=SC2086 # bytes are words
	run bpftool map update pinned "$1" key hex $2 value hex $3
}

#
# nt_ifaces: the interfaces that attach has taken on
#

# Print a line each: INDEX IFINDEX OWNS_QDISC NETNS ATTACHED_NS NAME. Names have no white space; the kernel sees to that.
# bpftool makes numbers of a name that is not plain ASCII, so it is taken from the bytes.
interfaces() {
	local index ifindex owns netns since escaped name
	is_pinned nt_ifaces || return 0
	while read -r index ifindex owns netns since escaped; do
		printf -v name '%b' "$escaped"
		printf '%s\n' "$index $ifindex $owns $netns $since $name"
	done < <(dump nt_ifaces | jq --raw-output '
		.[] | .formatted.value as $iface | select($iface.ifindex != 0)
		| [.formatted.key, $iface.ifindex, $iface.owns_qdisc, $iface.netns, $iface.attached_ns,
			(.value[:16] | map(select(. != "0x00") | "\\x" + .[2:]) | join(""))]
		| map(tostring) | join(" ")')
}

# find_entry NETNS IFINDEX NAME: print the line of this interface, else of one of its name that has gone; nothing if there is none.
find_entry() {
	interfaces | NAME=$3 awk -v netns="$1" -v ifindex="$2" '
		$4 == netns && $2 == ifindex { same = $0 }
		$4 == netns && $6 == ENVIRON["NAME"] { namesake = $0 }
		END { if (same || namesake) print same ? same : namesake }'
}

# Print the lowest index that is free.
free_entry() {
	interfaces | awk -v max="$MAX_IFACES" '{ taken[$1] } END { for (i = 1; i < max; i++) if (!(i in taken)) { print i; exit } }'
}

# write_entry INDEX NAME IFINDEX OWNS_QDISC NETNS ATTACHED_NS
write_entry() {
	local name i
	name=$(printf %s "$2" | od -An -v -tx1)
	for ((i = ${#2}; i < IFACE_NAME_LEN; i++)); do
		name+=' 00'
	done
	update "$PINS/nt_ifaces" "$(bytes 4 "$1")" "$name $(bytes 4 "$3") $(bytes 4 "$4") $(bytes 8 "$5") $(bytes 8 "$6")"
}

# clear_entry INDEX. The name stays: connections that live on have their record under it.
clear_entry() {
	local name
	name=$(dump nt_ifaces | jq --raw-output --argjson index "$1" '.[$index].value[:16] | map(.[2:]) | join(" ")')
	update "$PINS/nt_ifaces" "$(bytes 4 "$1")" "$name $(bytes 4 0) $(bytes 4 0) $(bytes 8 0) $(bytes 8 0)"
}

#
# nt_config
#

# Print handshake_timeout, close_timeout and quiet.
read_config() {
	dump nt_config | jq --raw-output '.[0].formatted.value | "\(.handshake_timeout) \(.close_timeout) \(.quiet)"'
}

# write_config HANDSHAKE_TIMEOUT CLOSE_TIMEOUT QUIET FLUSH
write_config() {
	update "$PINS/nt_config" "$(bytes 4 0)" "$(bytes 4 "$1") $(bytes 4 "$2") $(bytes 4 "$3") $(bytes 4 "$4")"
}
