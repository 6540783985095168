# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # the libraries share their globals; each is checked alone
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# status and check: what is, and what would have to be.

cmd_status() {
	local json=0 document
	while (($#)); do
		case $1 in
			-j | --json) json=1 ;;
			*) die_word "$1" ;;
		esac
		shift
	done
	require root sys_admin tc bpftool jq
	find_all_targets
	if ((${#TARGETS[@]} == 0)); then
		((!json)) || printf '{"interfaces":[]}\n'
		die "$EXIT_NOT_ATTACHED" "not attached to any interface; 'netracker attach IFACE' does that"
	fi
	document=$(status)
	if ((json)); then
		printf '%s\n' "$document"
	else
		jq --raw-output --from-file "$LIBDIR/status_text.jq" <<<"$document"
	fi
}

# Print everything as one JSON object.
status() {
	local entries=0 bytes=0 lost=0 size=0 dir cpus
	dir=$(instance)
	if [[ -d $dir ]]; then
		read -r entries bytes lost < <(buffer_fill)
		cpus=("$dir"/per_cpu/cpu*)
		size=$(($(<"$dir/buffer_size_kb") * 1024 * ${#cpus[@]}))
	fi
	interfaces_json | jq --compact-output --slurp --argjson totals "$(totals)" \
		--argjson max_connections "$(bpftool --json map show pinned "$PINS/conn_map" | jq .max_entries)" \
		--argjson max_handshakes "$(($(bpftool --json map show pinned "$PINS/syn_map" | jq .max_entries) * 8))" \
		--argjson log "$(printf '{"records":%s,"bytes":%s,"size":%s,"lost":%s}' "$entries" "$bytes" "$size" "$lost")" '
		$totals.counters as $c | {
			interfaces: .,
			tables: {
				live: ($c.attempts - ($c.ended | add) - $c.syn_evicted - $c.syn_disbelieved - $c.conn_full),
				$max_connections, $max_handshakes
			},
			losses: {syn_evicted: $c.syn_evicted, conn_full: $c.conn_full, timer_failed: $c.timer_failed},
			log: (if $log.size > 0 then $log else null end)
		}'
}

# A JSON object for each interface that the tracker is attached to.
interfaces_json() {
	local target netns ifindex entry name current file here since boot
	boot=$(boot_us)
	enter_netns
	here=$NETNS
	for target in "${TARGETS[@]}"; do
		read -r netns ifindex entry name <<<"$target"
		file=
		[[ $netns == "$here" ]] || file=$(find_netns "$netns") || true
		since=$(interfaces | awk -v entry="$entry" '$1 == entry { print $5 }')
		current=
		! enter_netns_by_inode "$netns" || current=$(interface_name "$ifindex")
		name=${current:-$name}
		if [[ $current ]]; then
			filters "$current"
		fi | NAME=$name NETNS_FILE=$file jq --raw-input --null-input --compact-output --argjson ifindex "$ifindex" --argjson netns "$netns" \
			--argjson since "${since:-0}" --argjson boot "$boot" --from-file "$LIBDIR/interface.jq"
	done
}

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
		kernel Linux $MINIMUM_KERNEL or newer
		kernel_options kernel options
		no_lockdown kernel not locked down
		tc tc with libbpf
		bpftool bpftool
		jq jq
		awk awk
		util_linux flock, nsenter
		object BPF object
		bpffs BPF file system
		tracefs tracefs
	EOF
	exit "$status"
}
