# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# attach: all or nothing. When it fails or is interrupted, it takes back what it has done.

IFACES=()            # the own names of the interfaces to attach to
declare -A MAY_GO=() # set for those of which it is no failure if they go meanwhile

# What attach has to know of each of them to take its changes back.
declare -A IFINDEX=()   # its number
declare -A VRF=()       # that of the VRF that it is in, 0 if it is in none
declare -A QDISC=()     # clsact, if it was there before
declare -A FILTERS=()   # all filters that were there before, as `filters` prints them
declare -A BEFORE=()    # our filters that were there before, as our_filters prints them
declare -A NEW_QDISC=() # set if attach makes the clsact qdisc
declare -A NEW_ENTRY=() # set if attach writes a new entry in nt_ifaces: its index
declare -A ENTRY=()     # its index in nt_ifaces, once it is attached
declare -A KIND=()      # where our programs hang: clsact, tcx
SUPERSEDED=()           # filters to remove once all is in place: DEV HOOK PREF HANDLE
LOG_BEFORE=             # the map nt_log_head, if it was pinned before
WAS_ATTACHED=           # what tracked_interfaces printed before: if there is `ours` in it, the maps were in use

cmd_attach() {
	local group=${GIVEN[group]-} netns=${GIVEN[netns]-} iface pin worth
	local -a all=()
	obey_options "$@"
	[[ -v GIVEN[all] ]] || (($#)) || die_usage "which interface? 'ip -brief link' lists them; --all means every one that carries addresses or is a port of a bridge"
	check_globs
	require root net_admin sys_admin tc bpftool jq util_linux awk object
	enter_netns ${netns:+"$netns"}
	[[ ! -v GIVEN[tcx] ]] || require tcx
	[[ ! $group ]] || getent group -- "$group" >/dev/null || die "$EXIT_FAILED" "no group '$group'; 'getent group' lists them"
	take_lock
	mount_bpffs
	find_maps
	require_tcx_if_used
	((DRY_RUN)) || trap 'begin_again $?' EXIT
	for iface in "$@"; do
		check_interface "$iface" ${GIVEN[if_there]+may_go}
	done
	if [[ -v GIVEN[all] ]]; then
		worth=$(worth_tracking)
		[[ ! $worth ]] || mapfile -t all < <(cut -d ' ' -f 2 <<<"$worth")
		for iface in "${all[@]}"; do
			check_interface "$iface" may_go
		done
	fi
	if ((${#IFACES[@]} == 0)); then
		[[ ! -v GIVEN[if_there] ]] || exit 0
		[[ ! -v GIVEN[match] ]] || die "$EXIT_FAILED" "nothing to attach to matches '${GIVEN[match]}'; 'ip -brief address' lists what there is"
		die "$EXIT_FAILED" "no interface here carries addresses or is a port of a bridge; 'ip -brief address' lists what there is"
	fi
	check_names
	check_layout
	for iface in "${IFACES[@]}"; do
		! has_gone "$iface" || continue
		FILTERS[$iface]=$(filters "$iface")
		BEFORE[$iface]=$(our_filters <<<"${FILTERS[$iface]}")
		choose_kind "$iface"
		[[ ${FILTERS[$iface]} != *' theirs '* ]] ||
			say "$iface: another tracker is attached here too, whose tables are in another BPF file system than $BPFFS here"
	done
	WAS_ATTACHED=$(tracked_interfaces)
	LOG_BEFORE=${OUR_MAPS[nt_log_head]-}

	((DRY_RUN)) || undo_on_failure
	# Of one that was killed on its way: nobody else is at work under the lock.
	((DRY_RUN)) || for pin in "$BPFFS"/netracker_{tcx,closer}_*; do
		rm -f -- "$pin"
	done
	unpin_remains "${CONNECTION_TABLES[@]}"
	unpin_remains "${LOG_TABLES[@]}"
	for iface in "${IFACES[@]}"; do
		[[ ! ${KIND[$iface]-} ]] || has_gone "$iface" || attach_interface "$iface"
	done
	limit_trace
	((DRY_RUN)) || no_way_back
	remove_superseded
	pin_views "$group"
	note_closers
	adopt_connections
}

# check_globs: could what --match says be in the name of an interface?
check_globs() {
	[[ ! -v GIVEN[match] ]] || [[ ${GIVEN[match]} == *[![:space:]]* && ${GIVEN[match]} != */* ]] ||
		die_usage "--match wants patterns of names of interfaces, as 'eth*' or '!(veth*|docker0)', not '${GIVEN[match]}'"
}

# is_wanted NAME: does --match leave it in?
is_wanted() {
	local glob
	local -a globs=()
	[[ -v GIVEN[match] ]] || return 0
	read -r -d '' -a globs <<<"${GIVEN[match]}" || true
	for glob in "${globs[@]}"; do
		# shellcheck disable=SC2053 # a pattern
		[[ $1 != $glob ]] || return 0
	done
	return 1
}

# check_interface NAME [may_go]: there is such an interface, and there is a place for our filters. It goes to IFACES by its own name, if it is
# not there and is wanted. A notice where the filters will see less than one thinks.
check_interface() {
	local found index kind master name
	found=$(find_interface "$1")
	[[ $found || ${2-} != may_go ]] || return 0
	[[ $found ]] || die_of_interface "$1" "$EXIT_FAILED" 'no such interface' "'ip link' lists them"
	read -r index kind master _ name <<<"$found"
	[[ ! ${IFINDEX[$name]-} ]] && is_wanted "$name" || return 0
	[[ ${2-} != may_go ]] || MAY_GO[$name]=1
	set -- "$name"
	IFACES+=("$1")
	IFINDEX[$1]=$index
	VRF[$1]=$(vrf_above "$master")
	QDISC[$1]=$(qdisc "$1")
	# All of its ports are here, too.
	[[ ! -v GIVEN[all] || -v GIVEN[match] ]] || return 0
	case $kind in
		vrf) say "$1: what its members receive and send does not pass the hooks of a VRF device; attach to the members: 'ip link show vrf $(quoted "$1")'" ;;
		bridge) say "$1: what the ports of a bridge send each other does not pass its hooks, only this host's own traffic does; for the rest attach to its ports: 'bridge link'" ;;
		openvswitch) say "$1: what the ports of Open vSwitch send each other does not pass its hooks, only this host's own traffic does; for the rest attach to its ports: 'ovs-vsctl show'" ;;
	esac
}

# choose_kind DEV: where our programs are to hang. What hangs at TCX stays there, also if a newer object takes its place.
choose_kind() {
	KIND[$1]=clsact
	if [[ -v GIVEN[tcx] || $'\n'${BEFORE[$1]} == *$'\n'*' tcx '* ]]; then
		KIND[$1]=tcx
	elif [[ ${QDISC[$1]} == ingress ]]; then
		die "$EXIT_FAILED" "$1: somebody's ingress qdisc is in the place of clsact; 'tc qdisc show dev $(quoted "$1")' shows it, its owner has to give way, or 'netracker attach --tcx' needs no qdisc"
	fi
}

# attach_interface DEV
attach_interface() {
	local dev=$1 kind=${KIND[$1]} hook index owns since entry keep known scope new
	if [[ $kind == clsact && ! ${QDISC[$dev]} ]]; then
		NEW_QDISC[$dev]=1
		run "${IN_NETNS[@]}" tc qdisc add dev "$dev" clsact
	fi
	known=$(interfaces)
	entry=$(find_entry "$known" "$NETNS" "${IFINDEX[$dev]}" "$dev")
	read -r index _ owns _ since _ <<<"$entry" || true
	[[ $entry ]] || index=$(free_entry "$known" "$WAS_ATTACHED")
	[[ $index ]] || die "$EXIT_FAILED" "$dev: the table of interfaces is full; detach one of them"
	scope=$(find_scope "$NETNS" "${VRF[$dev]}")
	[[ ${BEFORE[$dev]} ]] || since=$(now_ns) owns=0
	for hook in "${HOOKS[@]}"; do
		new=
		keep=$(up_to_date_filter "$dev" "$hook" "$kind")
		if [[ ! $keep && $kind == tcx ]]; then
			load_for_tcx "$hook"
			new=$LOADED
			((DRY_RUN)) || has_all_tables || find_maps
			keep="$hook tcx $new $new"
		elif [[ ! $keep ]]; then
			add_filter "$dev" "$hook" "${FILTERS[$dev]}"
			((DRY_RUN)) || has_all_tables || find_maps
			keep=$(new_filter "$dev" "$hook")
		fi
		# The maps are there at the latest with the first filter.
		if [[ $hook == "${HOOKS[0]}" ]]; then
			[[ $entry ]] || NEW_ENTRY[$dev]=$index
			write_entry "$index" "$dev" "${IFINDEX[$dev]}" "${NEW_QDISC[$dev]:-${owns:-0}}" "$NETNS" "${since:-$(now_ns)}" \
				"$scope" "${VRF[$dev]}"
			ENTRY[$dev]=$index
		fi
		name_load "${keep##* }" "$index" "$scope" "${ANSWER[$kind]}"
		# It has to know its answer before the first packet.
		[[ $kind != tcx || $keep != *" tcx $new $new" ]] || hang_at_tcx "$dev" "$hook" "$new"
		mapfile -t -O "${#SUPERSEDED[@]}" SUPERSEDED < <(
			awk -v dev="$dev" -v hook="$hook" -v keep="$keep" '$1 == hook && $1 " " $2 " " $3 " " $4 != keep { print dev, $1, $2, $3 }' \
				<<<"${BEFORE[$dev]}"
		)
	done
}

# up_to_date_filter DEV HOOK KIND: print HOOK PREF HANDLE PROGRAM of a filter of this kind that runs the object as it is now, on the maps as
# they are; at TCX only the one that packets pass first.
up_to_date_filter() {
	local filter tags hook pref handle program tag first
	filter=$(grep "^$2 " <<<"${BEFORE[$1]}") || return 0
	first=$(awk -v hook="$2" '$1 == hook && $5 == "tcx" { print $3; exit }' <<<"${FILTERS[$1]}")
	tags=$(object_tags)
	while read -r hook pref handle program tag; do
		[[ $3 == tcx && $pref == tcx && $handle == "$first" || $3 != tcx && $pref != tcx ]] || continue
		if [[ $'\n'$tags$'\n' == *$'\n'"$hook $tag"$'\n'* ]] && uses_pinned_maps "$program" "${TABLES[@]}"; then
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
	jq --raw-output --arg hook "$2" --arg before "${BEFORE[$1]}" --from-file "$LIBDIR/new_filter.jq" <<<"$filters"
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

# All is in place and only tidying is left: from here on there is nothing to take back, and signals are ignored.
no_way_back() {
	trap '' HUP INT TERM
	trap - EXIT
}

# has_gone DEV: one that may; also if another one has its name by now.
has_gone() {
	local found
	[[ ${MAY_GO[$1]-} ]] || return 1
	found=$(find_interface "$1")
	[[ $found != "${IFINDEX[$1]} "* ]]
}

# begin_again STATUS: all has been taken back, as something has failed. If that was an interface that may go, the same without it.
begin_again() {
	local dev gone=
	set +e
	trap - EXIT ERR
	(($1 > 0 && $1 < 128)) || return 0
	for dev in "${!MAY_GO[@]}"; do
		! has_gone "$dev" || gone=$dev
	done
	[[ $gone ]] || return 0
	say "$gone has gone meanwhile; beginning again without it"
	[[ ! $TAKEN_LOCK ]] || exec {TAKEN_LOCK}>&-
	trap - HUP INT TERM
	exec "$0" "${COMMAND_LINE[@]}"
}

# What is in the kernel now is looked up, not remembered: the interruption may have come at any point. Nothing may stop this.
undo_attach() {
	local status=$? dev hook pref handle
	set +e
	trap - ERR
	trap '' HUP INT TERM
	say "not attached; taking back what was done"
	[[ ! -e $TCX_PIN ]] || rm -f -- "$TCX_PIN"
	find_maps
	for dev in "${!BEFORE[@]}"; do
		while read -r hook pref handle _; do
			[[ ! $hook ]] || remove_filter "$dev" "$hook" "$pref" "$handle"
		done < <(filters "$dev" | our_filters | grep --invert-match --line-regexp --fixed-strings -- "${BEFORE[$dev]:- }")
		[[ ! ${NEW_ENTRY[$dev]-} ]] || clear_entry "${NEW_ENTRY[$dev]}" "$dev"
		[[ ! ${NEW_QDISC[$dev]-} ]] || remove_qdisc "$dev"
	done
	[[ $WAS_ATTACHED == *ours* ]] || release
	begin_again "$status"
}

# pin_views GROUP: list, top, log, services and metrics read the views; without them everything else works. They are replaced with the filters,
# and stay open to the group that could read them, unless GROUP names another. What has been read of another log tells nothing of this one.
pin_views() {
	local group=$1
	((!DRY_RUN)) || return 0
	[[ $group || ! -d $VIEWS ]] || group=$(stat --format=%g -- "$VIEWS")
	[[ $LOG_BEFORE == "${OUR_MAPS[nt_log_head]-}" ]] || unpin_consumers
	if [[ ${SUPERSEDED[*]} ]] || ! view_has_all; then
		view_pin "$(shipped view)" || return 0 # it has said why
	fi
	set_boot
	[[ ${group:-0} == 0 ]] || view_share "$group"
}
