# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The interfaces that the tracker is on, wherever they are: what detach takes it from, and status tells of.

TARGETS=() # NETNS IFINDEX ENTRY OWNS_QDISC ATTACHED_NS NAME; ENTRY 0: attached by hand

# obey_options IFACE…: what attach and detach have in common. Ends if one of the words cannot stand for an interface.
obey_options() {
	local iface
	[[ ! -v GIVEN[quiet] ]] || ECHO=0
	[[ ! -v GIVEN[dry_run] ]] || DRY_RUN=1
	for iface in "$@"; do
		is_alternative_name "$iface" || die_of_interface "$iface"
	done
}

# die_of_interface WORD [STATUS CAUSE REMEDY]: no interface has this name, nor has one it beside its own. Could one have it as its own?
die_of_interface() {
	! is_interface_name "$1" || die "$2" "$1: $3; $4"
	die_usage "'$1' cannot be the name of an interface; 'ip -brief link' lists them"
}

# find_target DEV: in the namespace at hand, by a filter on it or by its entry.
find_target() {
	local ifindex='' name=$1 interface entry known owns since found=
	interface=$(find_interface "$1")
	[[ ! $interface ]] || read -r ifindex _ _ _ name <<<"$interface"
	entry=$(find_entry "$(interfaces)" "$NETNS" "${ifindex:-0}" "$name")
	[[ ! $ifindex ]] || found=$(filters "$name")
	if [[ ! $entry && $found != *' ours '* && $found != *' stray '* ]]; then
		[[ $found != *' theirs '* ]] ||
			die "$EXIT_NOT_ATTACHED" "$1: the tracker there is another one, which has a BPF file system of its own (a container's?); detach it from where it was attached"
		[[ ! $ifindex ]] || set -- "$name"
		die_of_interface "$1" "$EXIT_NOT_ATTACHED" 'not attached' "'netracker status' lists what is"
	fi
	read -r entry known owns _ since _ <<<"$entry" || true
	# No interface has the name any more: the one that had it may have another name now.
	TARGETS+=("$NETNS ${ifindex:-${known:-0}} ${entry:-0} ${owns:-0} ${since:-0} $name")
}

# Those of nt_ifaces, and those that were attached by hand, wherever they are.
find_all_targets() {
	local index netns ifindex owns since name known tracked
	local -A is_target=()
	known=$(interfaces)
	tracked=$(tracked_interfaces)
	while read -r index ifindex owns netns since name; do
		[[ $index ]] || continue
		TARGETS+=("$netns $ifindex $index $owns $since $name")
		is_target[${netns}_$ifindex]=1
	done <<<"$known"
	while read -r netns ifindex _; do
		[[ $netns && ! ${is_target[${netns}_$ifindex]-} ]] || continue
		# With TCX there may be two who tell of it: walk_namespaces().
		is_target[${netns}_$ifindex]=1
		enter_netns_by_inode "$netns" || continue
		name=$(interface_name "$ifindex")
		[[ ! $name ]] || TARGETS+=("$netns $ifindex 0 0 0 $name")
	done <<<"$tracked"
}
