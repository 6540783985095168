# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# detach, which, once begun, is carried through; and the end of all that is not on an interface, which attach needs as well to take itself
# back.

LAST= # non-empty if nobody uses the maps once the targets are gone

# The pin of a program that ends the connections still alive, when no filter is left to see their ends.
readonly FLUSHER=$VIEWS/flush

# The maps that it has to use: where the connections are, and where it is told to. Every version has them.
readonly FLUSHED=(conn_map syn_map nt_config)

# Each run of it ends 1,024 connections; so many runs are one command, and so many commands empty the largest table one can build.
readonly FLUSH_RUNS=16 FLUSH_ROUNDS=256

cmd_detach() {
	local netns=${GIVEN[netns]-} iface
	obey_options "$@"
	[[ -v GIVEN[all] ]] || (($#)) || die_usage "which interface? 'netracker status' lists them; --all means every one"
	[[ ! -v GIVEN[all] ]] || ((!$#)) || die_usage "--all and '$1' exclude each other"
	require root net_admin sys_admin tc bpftool jq util_linux
	take_lock
	find_maps
	require_tcx_if_used
	if [[ -v GIVEN[all] ]]; then
		find_all_targets
	else
		enter_netns ${netns:+"$netns"}
		for iface in "$@"; do
			find_target "$iface"
		done
	fi
	((${#TARGETS[@]})) || [[ $(leftovers) ]] || die "$EXIT_NOT_ATTACHED" "not attached to any interface"

	find_whether_last
	if ((!DRY_RUN)); then
		trap '' HUP INT TERM
		trap 'set +e; trap - ERR; say "that failed; going on with the rest"; detach_targets' EXIT
	fi
	detach_targets
	trap - EXIT
}

# Print what a detach that came to nothing, or an attach by hand, may have left.
leftovers() {
	pins
	closer_program
}

# Set LAST: is there no filter on our maps but on the targets?
find_whether_last() {
	local target netns ifindex whose tracked
	local -A goes=()
	for target in "${TARGETS[@]}"; do
		read -r netns ifindex _ <<<"$target"
		goes[${netns}_$ifindex]=1
	done
	tracked=$(tracked_interfaces)
	LAST=last
	while read -r netns ifindex whose; do
		[[ $whose != ours || ${goes[${netns}_$ifindex]-} ]] || LAST=
	done <<<"$tracked"
}

# Idempotent: what is done already is not there to be done again. It may run as a trap, where a bare `return` is not a success: so all
# that it calls say `return 0`.
detach_targets() {
	local target netns
	local -A there=()
	[[ ! $LAST ]] || pin_flusher
	for target in "${TARGETS[@]}"; do
		netns=${target%% *}
		there[$netns]+=${there[$netns]:+$'\n'}$target
	done
	for netns in "${!there[@]}"; do
		detach_in_netns "$netns" "${there[$netns]}"
	done
	write_entries
	[[ ! $LAST ]] || release
}

# detach_in_netns NETNS TARGETS: from those of TARGETS, which are all there. They may have been renamed, or be gone with their filters.
detach_in_netns() {
	local ifindex entry owns name found number rest hook pref handle kind whose dev
	local -a names=() removals=() hard=() owners=() qdisc_removals=()
	local -A current=() owned=() stays=()
	if enter_netns_by_inode "$1"; then
		found=$(interface_names)
		while read -r ifindex name; do
			current[${ifindex:-0}]=$name
		done <<<"$found"
	fi
	while read -r _ ifindex entry owns _ name; do
		((entry == 0)) || put_cleared_entry "$entry" "$name"
		name=${current[$ifindex]-}
		[[ $name ]] || continue
		names+=("$name")
		((owns == 0)) || owned[$name]=1
	done <<<"$2"
	found=$(filters_of "${names[@]}")
	while read -r number rest; do
		[[ $number ]] || continue
		dev=${names[number]}
		read -r hook pref handle _ kind whose _ <<<"$rest"
		if [[ $whose != @(ours|stray) ]]; then
			[[ $kind == tcx ]] || stays[$dev]=1
		elif [[ $pref == tcx ]] || ! is_plain "$dev"; then
			hard+=("$dev $hook $pref $handle")
		else
			removals+=("filter del dev $dev $hook pref $pref handle $handle bpf")
		fi
	done <<<"$found"
	change_by_batch tc "${removals[@]}"
	for rest in "${hard[@]}"; do
		read -r dev hook pref handle <<<"$rest"
		remove_filter "$dev" "$hook" "$pref" "$handle"
	done
	owners=("${!owned[@]}")
	found=$(qdiscs "${owners[@]}")
	while read -r number kind; do
		[[ $kind == clsact ]] || continue
		dev=${owners[number]}
		if [[ ${stays[$dev]-} ]] || ! is_plain "$dev"; then
			remove_qdisc "$dev"
		else
			qdisc_removals+=("qdisc del dev $dev clsact")
		fi
	done <<<"$found"
	change_by_batch tc "${qdisc_removals[@]}"
}

# Hold a program of ours beyond its filter. If the interfaces have taken all of them away: one that is loaded for this.
pin_flusher() {
	local loaded program whose
	((!DRY_RUN)) || return 0
	if [[ -e $FLUSHER ]] && is_foreign_pin "$FLUSHER"; then
		say "connections that are still alive get no record: $FLUSHER is not the tracker's, and its name is needed for that; whoever made it has to pin it elsewhere"
		return 0
	fi
	[[ ! -e $FLUSHER ]] && is_pinned nt_config || return 0
	loaded=$(programs)
	while read -r program whose; do
		if [[ $whose == ours ]] && uses_pinned_maps "$program" "${FLUSHED[@]}"; then
			run mkdir -p -- "$VIEWS"
			run bpftool prog pin id "$program" "$FLUSHER"
			return 0
		fi
	done <<<"$loaded"
	[[ -s $OBJECT ]] || return 0
	run mkdir -p -- "$VIEWS"
	announce "bpftool prog pin … $FLUSHER"
	unshare --net bash "$LIBDIR/load.bash" "$OBJECT" "$FLUSHER" "${SECTIONS[@]:0:2}" >/dev/null 2>&1 ||
		say "connections that are still alive get no record: $OBJECT is not of the version that holds them"
}

# Everything of ours that is not on an interface.
release() {
	local -a files
	leave_closer
	((DRY_RUN)) || flush_connections
	((DRY_RUN)) || wait_for_readers
	((DRY_RUN)) || release_trace
	((DRY_RUN)) || view_unshare
	((DRY_RUN)) || view_unpin
	mapfile -t files < <(pins)
	((${#files[@]} == 0)) || run rm -f -- "${files[@]}"
	remove_baseline
	[[ ! -e $VIEWS/baseline ]] || run rm -f -- "$VIEWS/baseline" # a map, as it was before it was a file in $RUN
	((DRY_RUN)) || view_sweep
	[[ -d $VIEWS ]] || return 0
	announce "rmdir -- $(quoted "$VIEWS")"
	((DRY_RUN)) || rmdir -- "$VIEWS" 2>/dev/null || say "$VIEWS stays, as others have pinned something there"
}

# Whoever follows the log gets the last records before it goes: there are two seconds for that.
wait_for_readers() {
	local dir unread i=0
	for dir in "$VIEWS" "$CONSUMERS"/*; do
		[[ -e $dir/log && -e $dir/unread ]] || continue
		# A reader of the log holds its lock (cmd_log). One that reads for the moment may take its consumer with it.
		until flock --nonblock "$dir/log" true 2>/dev/null; do
			{ read -r unread _ <"$dir/unread"; } 2>/dev/null || break
			((unread > 0)) || break
			if ((i++ >= 40)); then
				say "the reader of $dir/log has not come for the last $unread records, which go with it"
				break
			fi
			sleep 0.05
		done
	done
}

# The log of 0.1.0 was an instance of the kernel's trace. Its reader gets the last records and the word at which it ends, and has two seconds
# for that. Should a container have a 0.1.0 of its own, which writes there, too, that makes it anew at its next attach.
release_trace() {
	local dir=/sys/kernel/tracing/instances/${NETRACKER_INSTANCE:-netracker} event i
	event=$dir/events/bpf_trace/bpf_trace_printk
	[[ $OUR_NAMES && $OUR_NAMES != *' nt_log '* && $(cat "$event/filter" 2>/dev/null) == *netracker:* ]] || return 0
	announce "rmdir $(quoted "$dir")"
	{ echo 0 >"$event/enable" && echo 'netracker: detached' >"$dir/trace_marker"; } 2>/dev/null || true
	for ((i = 0; i < 40; i++)); do
		! rmdir -- "$dir" 2>/dev/null || return 0
		sleep 0.05
	done
	say "$dir is still being read; 'rmdir $dir' removes it once its reader has ended"
}

# Connections still alive get their record: S1, S2 or S3.
flush_connections() {
	local i
	if [[ -e $FLUSHER ]] && ! is_foreign_pin "$FLUSHER"; then
		order_flush
		announce "bpftool prog run pinned $FLUSHER data_in …"
		for ((i = 0; i < FLUSH_ROUNDS; i++)); do
			no_ip_frame | bpftool prog run pinned "$FLUSHER" data_in - repeat "$FLUSH_RUNS" >/dev/null || break
			(($(dump nt_config | jq '.[0].formatted.value.flush'))) || break
		done
		run rm -f -- "$FLUSHER"
	fi
}

# An Ethernet frame of the local experimental type (IEEE 802), which the tracker takes for the request to flush.
no_ip_frame() {
	head -c 12 /dev/zero
	printf '\x88\xb5'
	head -c 46 /dev/zero
}
