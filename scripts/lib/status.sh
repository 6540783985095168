# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# status and check: what is, and what would have to be.

cmd_status() {
	local document loaded
	(($# == 0)) || die_word "$1"
	require root sys_admin tc bpftool jq util_linux tables
	find_maps
	require_tcx_if_used
	find_all_targets
	if ((${#TARGETS[@]} == 0)); then
		[[ ! -v GIVEN[json] ]] || printf '{"interfaces":[]}\n'
		loaded=$(programs)
		[[ $loaded != *theirs* ]] ||
			die "$EXIT_NOT_ATTACHED" "not attached to any interface; another tracker is, whose tables are in another BPF file system than $BPFFS here"
		die "$EXIT_NOT_ATTACHED" "not attached to any interface; 'netracker attach IFACE' does that"
	fi
	document=$(status)
	if [[ -v GIVEN[json] ]]; then
		printf '%s\n' "$document"
	else
		jq --raw-output --from-file "$LIBDIR/status_text.jq" <<<"$document"
	fi
	[[ $document != *'"state":"'@(attached|half attached|stray)'"'* ]] || return 0
	die "$EXIT_NOT_ATTACHED" "not attached to any interface any more; 'netracker attach IFACE' takes one on, 'netracker detach --all' clears this up"
}

# Print everything as one JSON object. What the maps would tell is null while one of them is not pinned.
status() {
	local name tables=null log closers worth other=false
	local -a gone=()
	log=$(log_json)
	closers=$(closers_json)
	enter_netns
	worth=$(worth_tracking | jq --raw-input --null-input --compact-output '[inputs / " " | {ifindex: (.[0] | tonumber), ifname: .[4]}]')
	if are_of_other_version; then
		other=true
	else
		for name in "${TABLES[@]}"; do
			is_pinned "$name" || gone+=("\"$PINS/$name\"")
		done
		((${#gone[@]})) || tables=$(tables_json)
	fi
	interfaces_json | jq --compact-output --slurp --argjson tables "$tables" --argjson gone "[$(join , "${gone[@]}")]" \
		--argjson other "$other" --argjson log "$log" --argjson closers "$closers" --argjson here "$NETNS" --argjson worth "$worth" --from-file "$LIBDIR/status.jq"
}

# Print how full the tables are, and what was lost.
tables_json() {
	local counts connections handshakes
	counts=$(totals)
	connections=$(bpftool --json map show pinned "$PINS/conn_map")
	handshakes=$(bpftool --json map show pinned "$PINS/syn_map")
	jq --compact-output --rawfile tables "$TABLES_TSV" --argjson connections "$connections" --argjson handshakes "$handshakes" --from-file "$LIBDIR/tables.jq" <<<"$counts"
}

# Print what each consumer of the log has not read yet, and how large the log is; null where nobody can read it.
log_json() {
	local dir unread lost ring
	if [[ ! -e $VIEWS/unread ]] || ! is_pinned nt_log; then
		printf 'null\n'
		return 0
	fi
	ring=$(bpftool --json map show pinned "$PINS/nt_log")
	for dir in "$VIEWS" "$CONSUMERS"/*; do
		# One that was made for the moment may be gone.
		{ read -r unread lost <"$dir/unread"; } 2>/dev/null || continue
		printf '%s\n' "${dir##*/} $unread $lost"
	done | jq --raw-input --null-input --compact-output --argjson ring "$ring" --from-file "$LIBDIR/consumers.jq"
}

# A JSON object for each interface that the tracker is attached to. Each namespace is asked for all of its interfaces at once.
interfaces_json() {
	local target netns ifindex name here boot found number rest i
	local -A there=() file=() current=() filters=()
	local -a names indices
	boot=$(boot_us)
	enter_netns
	here=$NETNS
	for target in "${TARGETS[@]}"; do
		read -r netns ifindex _ <<<"$target"
		there[$netns]+=" $ifindex"
	done
	for netns in "${!there[@]}"; do
		[[ $netns == "$here" ]] || ! find_netns "$netns" || file[$netns]=$NETNS_FILE
		enter_netns_by_inode "$netns" || continue
		found=$(interface_names)
		while read -r ifindex name; do
			[[ " ${there[$netns]} " != *" $ifindex "* ]] || current[${netns}_$ifindex]=$name
		done <<<"$found"
		names=() indices=()
		for ifindex in ${there[$netns]}; do
			[[ ! ${current[${netns}_$ifindex]-} ]] || names+=("${current[${netns}_$ifindex]}") indices+=("$ifindex")
		done
		found=$(xdp_programs)
		while read -r ifindex rest; do
			[[ ! $ifindex ]] || filters[${netns}_$ifindex]+=$SEPARATOR$rest
		done <<<"$found"
		found=$(filters_of "${names[@]}")
		while read -r number rest; do
			[[ ! $number ]] || filters[${netns}_${indices[number]}]+=$SEPARATOR$rest
		done <<<"$found"
	done
	for target in "${TARGETS[@]}"; do
		read -r netns ifindex _ _ i name <<<"$target"
		rest=${filters[${netns}_$ifindex]-}
		# A namespace that has gone leaves its number to a new one, where another interface may have this index.
		[[ $rest != *' ours '* && $rest != *' stray '* ]] || name=${current[${netns}_$ifindex]}
		printf '%s\n' "$netns$SEPARATOR$ifindex$SEPARATOR${i:-0}$SEPARATOR$name$SEPARATOR${file[$netns]-}$rest"
	done | jq --raw-input --null-input --compact-output --argjson boot "$boot" --from-file "$LIBDIR/interface.jq"
}

# Between the parts of a line for interface.jq; no name has it.
readonly SEPARATOR=$'\x1e'

# Print a line for each program of TCX and XDP in this network namespace that gets packets before a filter of the tracker does, or would.
tell_of_hiders() {
	local links busy index name hook kind program what
	find_maps
	type -P perl >/dev/null ||
		printf 'notice   %s\n' "what hangs at TCX is not known, as there is no command perl; install the package perl-base"
	# Hosts have hundreds of interfaces, most of them with nothing but filters.
	busy=$(
		tcx_in_netns /proc/self/ns/net | cut -d ' ' -f 1
		bpftool_of_netns --json net show | tr -d '[:cntrl:]' | jq '.[].xdp[]?.ifindex'
	)
	[[ $busy ]] || return 0
	links=$("${IN_NETNS[@]}" ip -json link)
	while read -r index _ _ _ name; do
		[[ $'\n'$busy$'\n' == *$'\n'$index$'\n'* ]] || continue
		while read -r hook kind program what; do
			printf 'notice   %s: %s, program %s of %s, gets packets at %s before a filter does, and can hide them%s\n' "$name" "$what" "$program" \
				"${kind^^}" "$hook" "${HIDER_REMEDY[$kind]}"
		done < <({ xdp_programs | sed -n "s/^$index //p" && filters "$name"; } | awk '
			$6 == "ours" { behind[$1] }
			!($1 in behind) && ($5 == "tcx" || $5 == "xdp") { print $1, $5, $8, $11 }')
	done < <(awk -f "$LIBDIR/links.awk" <<<"$links")
}

declare -rA HIDER_REMEDY=([tcx]="; 'netracker attach --tcx' comes before it" [xdp]='')

cmd_check() {
	local need complaint status=0
	(($# == 0)) || die_word "$1"
	enter_netns
	while read -r need what; do
		if complaint=$("has_$need"); then
			printf 'ok       %s\n' "$what"
		else
			printf 'missing  %s: %s\n' "$what" "$complaint"
			status=$EXIT_PREREQUISITE
		fi
	done <<-EOF
		root root
		kernel a kernel that takes the programs
		kernel_options kernel options
		tc tc with libbpf
		bpftool bpftool
		jq jq
		awk awk
		util_linux flock, nsenter, getopt
		object BPF object
		tables tables of states and fields
		bpffs BPF file system
	EOF
	((EUID)) || tell_of_hiders
	exit "$status"
}
