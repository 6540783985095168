# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# attach and detach. Both are all or nothing: attach that fails or is interrupted takes back what it has done; detach, once begun,
# is carried through.

# What attach has to know of each of its interfaces to take its changes back.
declare -A IFINDEX=()   # its number
declare -A QDISC=()     # clsact, if it was there before
declare -A FILTERS=()   # all filters that were there before, as `filters` prints them
declare -A BEFORE=()    # our filters that were there before, as our_filters prints them
declare -A NEW_QDISC=() # set if attach makes the clsact qdisc
declare -A NEW_ENTRY=() # set if attach writes a new entry in nt_ifaces: its index
SUPERSEDED=()           # filters to remove once all is in place: DEV HOOK PREF HANDLE
WAS_ATTACHED=           # what tracked_interfaces printed before: if there is `ours` in it, the maps were in use

cmd_attach() {
	local netns='' group='' iface
	local -a ifaces=()
	parse_attach_options "$@"
	((${#ifaces[@]})) || die_usage "which interface? 'ip -brief link' lists them"
	require root net_admin sys_admin tc bpftool jq util_linux awk object no_lockdown
	if [[ $netns ]]; then
		enter_netns "$netns"
	else
		enter_netns
	fi
	[[ ! $group ]] || getent group -- "$group" >/dev/null || die "$EXIT_FAILED" "no group '$group'; 'getent group' lists them"
	take_lock
	mount_file_systems
	find_maps
	for iface in "${ifaces[@]}"; do
		check_interface "$iface"
	done
	check_names
	check_layout
	for iface in "${ifaces[@]}"; do
		FILTERS[$iface]=$(filters "$iface")
		BEFORE[$iface]=$(our_filters <<<"${FILTERS[$iface]}")
		[[ ${FILTERS[$iface]} != *' theirs '* ]] ||
			say "$iface: another tracker is attached here too, whose tables are in another BPF file system than $BPFFS here"
	done
	WAS_ATTACHED=$(tracked_interfaces)

	((DRY_RUN)) || undo_on_failure
	make_instance
	for iface in "${ifaces[@]}"; do
		attach_interface "$iface"
	done
	((DRY_RUN)) || no_way_back
	remove_superseded
	pin_views "$group"
}

# Options of attach and detach, for the caller's variables netns, group, ifaces and all.
parse_attach_options() {
	while (($#)); do
		case $1 in
			-q | --quiet) ECHO=0 ;;
			-v | --verbose) ECHO=1 ;;
			-n | --dry-run) DRY_RUN=1 ;;
			--netns)
				need_value "$@"
				netns=$2
				shift
				;;
			--netns=*) netns=${1#*=} ;;
			--group | --group=*)
				[[ $VERB == attach ]] || die_word "$1"
				if [[ $1 == --group ]]; then
					need_value "$@"
					shift
				fi
				group=${1#--group=}
				;;
			--all)
				[[ $VERB == detach ]] || die_word "$1"
				all=1
				;;
			--)
				ifaces+=("${@:2}")
				break
				;;
			-?*) die_word "$1" ;;
			*) ifaces+=("$1") ;;
		esac
		shift
	done
	for iface in "${ifaces[@]}"; do
		is_interface_name "$iface" || die_usage "'$iface' cannot be the name of an interface; 'ip -brief link' lists them"
	done
}

# check_interface DEV: it is there, and there is a place for our filters. A notice where they will see less than one thinks.
check_interface() {
	local found index kind
	found=$(interface_index "$1")
	[[ $found ]] || die "$EXIT_FAILED" "$1: no such interface; 'ip link' lists them"
	read -r index kind <<<"$found"
	IFINDEX[$1]=$index
	QDISC[$1]=$(qdisc "$1")
	[[ ${QDISC[$1]} != ingress ]] ||
		die "$EXIT_FAILED" "$1: somebody's ingress qdisc is in the place of clsact; 'tc qdisc show dev $(quoted "$1")' shows it, its owner has to give way"
	case $kind in
		vrf) say "$1: what its members receive and send does not pass the hooks of a VRF device; attach to the members: 'ip link show vrf $(quoted "$1")'" ;;
		bridge) say "$1: what the ports of a bridge send each other does not pass its hooks, only this host's own traffic does; for the rest attach to its ports: 'bridge link'" ;;
		openvswitch) say "$1: what the ports of Open vSwitch send each other does not pass its hooks, only this host's own traffic does; for the rest attach to its ports: 'ovs-vsctl show'" ;;
	esac
}

# attach_interface DEV
attach_interface() {
	local dev=$1 hook index owns since entry keep known
	if [[ ! ${QDISC[$dev]} ]]; then
		NEW_QDISC[$dev]=1
		run "${IN_NETNS[@]}" tc qdisc add dev "$dev" clsact
	fi
	known=$(interfaces)
	entry=$(find_entry "$known" "$NETNS" "${IFINDEX[$dev]}" "$dev")
	read -r index _ owns _ since _ <<<"$entry" || true
	[[ $entry ]] || index=$(free_entry "$known" "$WAS_ATTACHED")
	[[ $index ]] || die "$EXIT_FAILED" "$dev: the table of interfaces is full; detach one of them"
	[[ ${BEFORE[$dev]} ]] || since=$(now_ns) owns=0
	for hook in "${HOOKS[@]}"; do
		keep=$(up_to_date_filter "$dev" "$hook")
		if [[ ! $keep ]]; then
			add_filter "$dev" "$hook" "${FILTERS[$dev]}"
			((DRY_RUN)) || has_all_tables || find_maps
			keep=$(new_filter "$dev" "$hook")
		fi
		# The maps are there at the latest with the first filter.
		if [[ $hook == "${HOOKS[0]}" ]]; then
			[[ $entry ]] || NEW_ENTRY[$dev]=$index
			write_entry "$index" "$dev" "${IFINDEX[$dev]}" "${NEW_QDISC[$dev]:-${owns:-0}}" "$NETNS" "${since:-$(now_ns)}"
		fi
		name_load "${keep##* }" "$index"
		mapfile -t -O "${#SUPERSEDED[@]}" SUPERSEDED < <(
			awk -v dev="$dev" -v hook="$hook" -v keep="$keep" '$1 == hook && $1 " " $2 " " $3 " " $4 != keep { print dev, $1, $2, $3 }' \
				<<<"${BEFORE[$dev]}"
		)
	done
}

# CLOCK_BOOTTIME, as the tracker's records have it.
now_ns() {
	local uptime
	read -r uptime _ </proc/uptime
	printf '%s0000000\n' "${uptime/./}"
}

# up_to_date_filter DEV HOOK: print HOOK PREF HANDLE PROGRAM of a filter that runs the object as it is now, on the maps as they are.
up_to_date_filter() {
	local filter tags hook pref handle program tag
	filter=$(grep "^$2 " <<<"${BEFORE[$1]}") || return 0
	tags=$(object_tags)
	while read -r hook pref handle program tag; do
		if [[ $'\n'$tags$'\n' == *$'\n'"$hook $tag"$'\n'* ]] && uses_pinned_maps "$program"; then
			printf '%s\n' "$hook $pref $handle $program"
			return 0
		fi
	done <<<"$filter"
}

# new_filter DEV HOOK: print HOOK PREF HANDLE PROGRAM of the one that was not there before.
new_filter() {
	local filters
	((!DRY_RUN)) || return 0
	filters=$("${IN_NETNS[@]}" tc -json filter show dev "$1" "$2")
	jq --raw-output --arg hook "$2" '.[] | select(.options.prog.name // "" | startswith("netracker_"))
		| "\($hook) \(.pref) \(.options.handle) \(.options.prog.id)"' <<<"$filters" | BEFORE=${BEFORE[$1]} awk '
			BEGIN { n = split(ENVIRON["BEFORE"], line, "\n"); for (i = 1; i <= n; i++) { split(line[i], word, " "); known[word[1], word[4]] } }
			!(($1, $4) in known) && !n_found++'
}

remove_superseded() {
	local filter
	local -a words
	for filter in "${SUPERSEDED[@]}"; do
		read -r -a words <<<"$filter"
		remove_filter "${words[@]}"
	done
}

undo_on_failure() {
	trap 'undo_attach' EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# All is in place and only tidying is left: signals wait no longer, they are over.
no_way_back() {
	trap '' HUP INT TERM
	trap - EXIT
}

# What is in the kernel now is looked up, not remembered: the interruption may have come at any point. Nothing may stop this.
undo_attach() {
	local dev hook pref handle
	set +e
	trap - ERR
	trap '' HUP INT TERM
	say "not attached; taking back what was done"
	find_maps
	for dev in "${!BEFORE[@]}"; do
		while read -r hook pref handle _; do
			[[ ! $hook ]] || remove_filter "$dev" "$hook" "$pref" "$handle"
		done < <(filters "$dev" | our_filters | grep --invert-match --line-regexp --fixed-strings -- "${BEFORE[$dev]:- }")
		[[ ! ${NEW_ENTRY[$dev]-} ]] || clear_entry "${NEW_ENTRY[$dev]}" "$dev"
		[[ ! ${NEW_QDISC[$dev]-} ]] || remove_qdisc "$dev"
	done
	[[ $WAS_ATTACHED == *ours* ]] || release
}

# pin_views GROUP: the iterators make list fast and metrics possible; without them everything else works. They are replaced with the
# filters, and stay open to the group that could read them, unless GROUP names another.
pin_views() {
	local group=$1
	((!DRY_RUN)) || return 0
	[[ $group || ! -d $VIEWS ]] || group=$(stat --format=%g -- "$VIEWS")
	if [[ ! -e $VIEWS/records || ${SUPERSEDED[*]} ]]; then
		view_pin "$(view_objects)" || return 0 # it has said why
	fi
	[[ ${group:-0} == 0 ]] || view_share "$group"
}

#
# detach
#

TARGETS=() # NETNS IFINDEX ENTRY OWNS_QDISC ATTACHED_NS NAME; ENTRY 0: attached by hand
LAST=      # non-empty if nobody uses the maps once the targets are gone

# The pin of a program that ends the connections still alive, when no filter is left to see their ends.
readonly FLUSHER=$VIEWS/flush

# Each run of it ends 1,024 connections; so many runs are one command, and so many commands empty the largest table one can build.
readonly FLUSH_RUNS=16 FLUSH_ROUNDS=256

cmd_detach() {
	local netns='' all=0 iface
	local -a ifaces=()
	parse_attach_options "$@"
	((all || ${#ifaces[@]})) || die_usage "which interface? 'netracker status' lists them; --all means every one"
	((!all || !${#ifaces[@]})) || die_usage "--all and '${ifaces[0]}' exclude each other"
	require root net_admin sys_admin tc bpftool jq util_linux
	take_lock
	find_maps
	if ((all)); then
		find_all_targets
	else
		if [[ $netns ]]; then
			enter_netns "$netns"
		else
			enter_netns
		fi
		for iface in "${ifaces[@]}"; do
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

# find_target DEV: in the namespace at hand, by a filter on it or by its entry.
find_target() {
	local ifindex entry owns since found=
	ifindex=$(interface_index "$1")
	ifindex=${ifindex%% *}
	entry=$(find_entry "$(interfaces)" "$NETNS" "${ifindex:-0}" "$1")
	[[ ! $ifindex ]] || found=$(filters "$1")
	if [[ ! $entry && $found != *' ours '* && $found != *' stray '* ]]; then
		[[ $found != *' theirs '* ]] ||
			die "$EXIT_NOT_ATTACHED" "$1: the tracker there is another one, which has a BPF file system of its own (a container's?); detach it from where it was attached"
		die "$EXIT_NOT_ATTACHED" "$1: not attached; 'netracker status' lists what is"
	fi
	read -r entry _ owns _ since _ <<<"$entry" || true
	TARGETS+=("$NETNS ${ifindex:-0} ${entry:-0} ${owns:-0} ${since:-0} $1")
}

# Those of nt_ifaces, and those that were attached by hand, wherever they are.
find_all_targets() {
	local index netns ifindex owns since name known tracked
	known=$(interfaces)
	tracked=$(tracked_interfaces)
	while read -r index ifindex owns netns since name; do
		[[ ! $index ]] || TARGETS+=("$netns $ifindex $index $owns $since $name")
	done <<<"$known"
	while read -r netns ifindex _; do
		[[ $netns && " ${TARGETS[*]/#/@}" != *"@$netns $ifindex "* ]] || continue
		enter_netns_by_inode "$netns" || continue
		name=$(interface_name "$ifindex")
		[[ ! $name ]] || TARGETS+=("$netns $ifindex 0 0 0 $name")
	done <<<"$tracked"
}

# Print what a detach that came to nothing, or an attach by hand, may have left.
leftovers() {
	local dir
	pins
	dir=$(instance)
	[[ ! -d $dir ]] || has_another_tracker || printf '%s\n' "$dir"
}

# Is there a tracker on this machine with a BPF file system of its own, whose log is ours? The trace is the machine's.
has_another_tracker() {
	local loaded
	[[ ! ${NETRACKER_INSTANCE-} ]] || return
	loaded=$(programs)
	[[ $loaded == *theirs* ]]
}

# Set LAST: is there no filter on our maps but on the targets?
find_whether_last() {
	local netns ifindex whose tracked
	tracked=$(tracked_interfaces)
	LAST=last
	while read -r netns ifindex whose; do
		[[ $whose != ours || " ${TARGETS[*]/#/@}" == *"@$netns $ifindex "* ]] || LAST=
	done <<<"$tracked"
}

# Idempotent: what is done already is not there to be done again. It may run as a trap, where a bare `return` is not a success: so all
# that it calls say `return 0`.
detach_targets() {
	local target
	local -a words
	[[ ! $LAST ]] || pin_flusher
	for target in "${TARGETS[@]}"; do
		read -r -a words <<<"$target"
		detach_interface "${words[@]}"
	done
	[[ ! $LAST ]] || release
}

# detach_interface NETNS IFINDEX ENTRY OWNS_QDISC ATTACHED_NS NAME. The interface may have been renamed, or be gone with its filters.
detach_interface() {
	local name='' filter found
	local -a filters words
	! enter_netns_by_inode "$1" || name=$(interface_name "$2")
	if [[ $name ]]; then
		found=$(filters "$name")
		mapfile -t filters < <(our_filters <<<"$found")
		for filter in "${filters[@]}"; do
			read -r -a words <<<"$filter"
			remove_filter "$name" "${words[@]:0:3}"
		done
		(($4 == 0)) || remove_qdisc "$name"
	fi
	(($3 == 0)) || clear_entry "$3" "$6"
}

# Hold a program of ours beyond its filter. If the interfaces have taken all of them away: one that is loaded for this.
pin_flusher() {
	local loaded program whose
	((!DRY_RUN)) || return 0
	[[ ! -e $FLUSHER ]] && is_pinned nt_config || return 0
	loaded=$(programs)
	while read -r program whose; do
		if [[ $whose == ours ]] && uses_pinned_maps "$program"; then
			run mkdir -p -- "$VIEWS"
			run bpftool prog pin id "$program" "$FLUSHER"
			return 0
		fi
	done <<<"$loaded"
	[[ -s $OBJECT ]] || return 0
	run mkdir -p -- "$VIEWS"
	# shellcheck disable=SC2016 # for the inner shell
	announce "bpftool prog pin … $FLUSHER"
	# shellcheck disable=SC2016 # for the inner shell
	unshare --net bash -ec 'tc qdisc add dev lo clsact; tc filter add dev lo ingress bpf obj "$1" sec tc_ing; bpftool prog pin id "$(tc -json filter show dev lo ingress | jq ".[].options.prog.id // empty")" "$2"' \
		flusher "$OBJECT" "$FLUSHER" >/dev/null 2>&1 || say "connections that are still alive get no record: $OBJECT is not of the version that holds them"
}

# Everything of ours that is not on an interface.
release() {
	local pin
	((DRY_RUN)) || flush_connections
	((DRY_RUN)) || view_unshare
	((DRY_RUN)) || view_unpin
	if ! has_another_tracker; then
		remove_instance
	elif [[ -d $(instance) ]]; then
		say "the log stays: another tracker on this machine, with a BPF file system of its own, writes to it too"
	fi
	for pin in $(pins); do
		run rm -f -- "$pin"
	done
	[[ ! -e $BASELINE ]] || run rm -f -- "$BASELINE"
	((DRY_RUN)) || view_sweep
	[[ ! -d $VIEWS ]] || run rmdir -- "$VIEWS"
}

# Connections still alive get their record: S1, S2 or S3.
flush_connections() {
	local i settings
	local -a config
	if [[ -e $FLUSHER ]]; then
		settings=$(read_config)
		read -r -a config <<<"$settings"
		write_config "${config[@]}" 1
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
