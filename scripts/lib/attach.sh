# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# attach: all or nothing. When it fails or is interrupted, it takes back what it has done.

IFACES=()            # the own names of the interfaces to attach to
declare -A MAY_GO=() # set for those of which it is no failure if they go meanwhile

# What attach has to know of each of them to take its changes back.
declare -A IFINDEX=()   # its number
declare -A VRF=()       # that of the VRF that it is in, 0 if it is in none
declare -A VRF_ABOVE=() # the same of each master that one of them has
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
	local group=${GIVEN[group]-} netns=${GIVEN[netns]-} iface pin worth found
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
		while read -r found; do
			[[ ! $found ]] || take_interface "$found" may_go
		done <<<"$worth"
	fi
	if ((${#IFACES[@]} == 0)); then
		[[ ! -v GIVEN[if_there] ]] || exit 0
		[[ ! -v GIVEN[match] ]] || die "$EXIT_FAILED" "nothing to attach to matches '${GIVEN[match]}'; 'ip -brief address' lists what there is"
		die "$EXIT_FAILED" "no interface here carries addresses or is a port of a bridge; 'ip -brief address' lists what there is"
	fi
	check_names
	check_layout
	look_at_hooks
	for iface in "${IFACES[@]}"; do
		choose_kind "$iface"
		[[ ${FILTERS[$iface]} != *' theirs '* ]] ||
			say "$iface: another tracker is attached here too, whose tables are in another BPF file system than $BPFFS here"
	done
	WAS_ATTACHED=$(tracked_interfaces)
	LOG_BEFORE=${OUR_MAPS[nt_log_head]-}

	((DRY_RUN)) || undo_on_failure
	# Of one that was killed on its way: nobody else is at work under the lock.
	((DRY_RUN)) || for pin in "$BPFFS"/netracker_{tcx,closer,shared}_*; do
		rm -f -- "$pin"
	done
	unpin_remains "${CONNECTION_TABLES[@]}"
	unpin_remains "${LOG_TABLES[@]}"
	attach_interfaces
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

# check_interface NAME [may_go]: there is such an interface. It goes to IFACES by its own name, if it is not there and is wanted. A notice where
# the filters will see less than one thinks.
check_interface() {
	local found
	found=$(find_interface "$1")
	[[ $found || ${2-} != may_go ]] || return 0
	[[ $found ]] || die_of_interface "$1" "$EXIT_FAILED" 'no such interface' "'ip link' lists them"
	take_interface "$found" "${2-}"
}

# take_interface FOUND [may_go]: the interface of which find_interface has told this.
take_interface() {
	local index kind master name
	read -r index kind master _ name <<<"$1"
	[[ ! ${IFINDEX[$name]-} ]] && is_wanted "$name" || return 0
	[[ ${2-} != may_go ]] || MAY_GO[$name]=1
	set -- "$name"
	IFACES+=("$1")
	IFINDEX[$1]=$index
	[[ -v VRF_ABOVE[$master] ]] || VRF_ABOVE[$master]=$(vrf_above "$master")
	VRF[$1]=${VRF_ABOVE[$master]}
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

# Fill QDISC, FILTERS and BEFORE, of all interfaces at once.
look_at_hooks() {
	local iface number kind hook pref handle whose program tag classid rest found
	for iface in "${IFACES[@]}"; do
		QDISC[$iface]='' FILTERS[$iface]='' BEFORE[$iface]=''
	done
	found=$(qdiscs "${IFACES[@]}")
	while read -r number kind; do
		[[ ! $number ]] || QDISC[${IFACES[number]}]=$kind
	done <<<"$found"
	found=$(filters_of "${IFACES[@]}")
	while read -r number rest; do
		[[ $number ]] || continue
		iface=${IFACES[number]}
		FILTERS[$iface]+=${FILTERS[$iface]:+$'\n'}$rest
		read -r hook pref handle _ _ whose _ program tag classid _ <<<"$rest"
		[[ $whose != @(ours|stray) ]] || BEFORE[$iface]+="${BEFORE[$iface]:+$'\n'}$hook $pref $handle $program $tag $classid"
	done <<<"$found"
}

# What attach_interface leaves for the end, where one process does it for all.
LOADS_KEPT=() # loads, as name_loads wants them

# From so many on, interfaces that have no filter at all yet share a load: to load the object takes the kernel a fifth of a second for each hook.
# A few get what tc makes for anybody, one for each, with the object's name on it.
readonly SHARED_FROM=5

attach_interfaces() {
	local iface
	local -a together=()
	know_entries
	for iface in "${IFACES[@]}"; do
		[[ ${KIND[$iface]} != clsact || ${FILTERS[$iface]} ]] || ! is_plain "$iface" || together+=("$iface")
	done
	((${#together[@]} >= SHARED_FROM)) || together=()
	((${#together[@]} == 0)) || attach_together "${together[@]}"
	for iface in "${IFACES[@]}"; do
		[[ ${ENTRY[$iface]-} ]] || attach_interface "$iface"
	done
	write_entries
	name_loads "${LOADS_KEPT[@]}"
}

# What nt_ifaces has: of the namespace at hand INDEX OWNS_QDISC ATTACHED_NS by the interface's number, and by its name; all lines of `interfaces` by
# their index; the first index that may be free. And of the table's scopes, the lines of `scopes`, and the scope of each VRF at hand.
declare -A BY_NUMBER=() BY_NAME=() PLACE_TAKEN=() SCOPE_OF=()
FREE=1 SCOPES_KNOWN=

know_entries() {
	local known index ifindex owns netns since name
	known=$(interfaces)
	while read -r index ifindex owns netns since name; do
		[[ $index ]] || continue
		PLACE_TAKEN[$index]="$index $ifindex $owns $netns $since $name"
		[[ $netns != "$NETNS" ]] || BY_NUMBER[$ifindex]="$index $owns $since" BY_NAME[$name]="$index $owns $since"
	done <<<"$known"
	SCOPES_KNOWN=$(scopes)
}

# find_place DEV: set INDEX to its place in nt_ifaces, SCOPE to its scope, OWNS and SINCE to what is known of it there: 0 and now if nothing is.
INDEX='' SCOPE='' OWNS='' SINCE=''
find_place() {
	local entry=${BY_NUMBER[${IFINDEX[$1]}]-} vrf=${VRF[$1]}
	entry=${entry:-${BY_NAME[$1]-}}
	OWNS=0 SINCE=''
	if [[ $entry ]]; then
		read -r INDEX OWNS SINCE <<<"$entry"
	else
		while [[ ${PLACE_TAKEN[$FREE]-} ]]; do
			FREE=$((FREE + 1))
		done
		INDEX=$FREE
		((FREE < MAX_IFACES)) || INDEX=$(printf '%s\n' "${PLACE_TAKEN[@]}" | free_entry "$WAS_ATTACHED")
		[[ $INDEX ]] || die "$EXIT_FAILED" "$1: the table of interfaces is full; detach one of them"
		NEW_ENTRY[$1]=$INDEX
	fi
	if [[ ! ${BEFORE[$1]} || ! $SINCE ]]; then
		OWNS=0
		SINCE=$(now_ns)
	fi
	# It is not to give way to the next one.
	PLACE_TAKEN[$INDEX]="$INDEX ${IFINDEX[$1]} $OWNS $NETNS $SINCE $1"
	if [[ ! ${SCOPE_OF[$vrf]-} ]]; then
		SCOPE_OF[$vrf]=$(find_scope "$SCOPES_KNOWN" "$NETNS" "$vrf")
		SCOPES_KNOWN+=$'\n'"$INDEX ${IFINDEX[$1]} ${SCOPE_OF[$vrf]} $NETNS $vrf"
	fi
	SCOPE=${SCOPE_OF[$vrf]}
}

# set_classid: set CLASSID to what a filter tells its load, as tc shows it.
CLASSID=
set_classid() {
	printf -v CLASSID '%x:%x' "$SCOPE" "$INDEX"
}

# A load that several filters are to have, on its way to its places.
readonly SHARED_PIN=$BPFFS/netracker_shared_$BASHPID

# attach_together DEV…: load the object once for all of them. They have no filters on them.
attach_together() {
	local dev hook output
	local -a commands=() loads=()
	for hook in "${HOOKS[@]}"; do
		load_apart "$hook" "${SHARED_PIN}_$hook"
		loads+=("${LOADED:-0} $FILTERS_TELL 0 ${ANSWER[clsact]}")
	done
	name_loads "${loads[@]}"
	((DRY_RUN)) || has_all_tables || find_maps
	for dev in "$@"; do
		if [[ ! ${QDISC[$dev]} ]]; then
			NEW_QDISC[$dev]=1
			commands+=("qdisc add dev $dev clsact")
		fi
		find_place "$dev"
		put_entry "$INDEX" "$dev" "${IFINDEX[$dev]}" "${NEW_QDISC[$dev]:-0}" "$NETNS" "$SINCE" "$SCOPE" "${VRF[$dev]}"
		ENTRY[$dev]=$INDEX
		set_classid
		for hook in "${HOOKS[@]}"; do
			commands+=("filter add dev $dev $hook bpf object-pinned ${SHARED_PIN}_$hook classid $CLASSID")
		done
	done
	# Before their first packet.
	write_entries
	if ((DRY_RUN)); then
		run_batch tc "${commands[@]}"
	else
		output=$(run_batch tc "${commands[@]}") || die_of_load "$output"
		rm -f -- "$SHARED_PIN"_*
	fi
}

# attach_interface DEV
attach_interface() {
	local dev=$1 kind=${KIND[$1]} hook new keep program
	local -A kept=()
	if [[ $kind == clsact && ! ${QDISC[$dev]} ]]; then
		NEW_QDISC[$dev]=1
		run "${IN_NETNS[@]}" tc qdisc add dev "$dev" clsact
	fi
	find_place "$dev"
	set_classid
	for hook in "${HOOKS[@]}"; do
		find_up_to_date_filter "$dev" "$hook" "$kind"
		kept[$hook]=$KEEP
	done
	for hook in "${HOOKS[@]}"; do
		new=
		keep=${kept[$hook]}
		if [[ ! $keep && $kind == tcx ]]; then
			load_apart "$hook" "$TCX_PIN"
			new=$LOADED
			((DRY_RUN)) || has_all_tables || find_maps
			keep="$hook tcx $new $new"
		elif [[ ! $keep ]]; then
			add_filter "$dev" "$hook" "${FILTERS[$dev]}"
			((DRY_RUN)) || has_all_tables || find_maps
			keep=$(new_filter "$dev" "$hook")
		fi
		program=${keep##* }
		# The maps are there at the latest with the first filter.
		[[ $hook != "${HOOKS[0]}" ]] ||
			put_entry "$INDEX" "$dev" "${IFINDEX[$dev]}" "${NEW_QDISC[$dev]:-$OWNS}" "$NETNS" "$SINCE" "$SCOPE" "${VRF[$dev]}"
		if [[ ${kept[$hook]} ]]; then
			is_shared "$program" || LOADS_KEPT+=("$program $INDEX $SCOPE ${ANSWER[$kind]}")
		else
			write_entries
			name_loads "${program:-0} $INDEX $SCOPE ${ANSWER[$kind]}" # with --dry-run there is none
		fi
		# It has to know its answer before the first packet.
		[[ ! $new ]] || hang_at_tcx "$dev" "$hook" "$new"
		supersede "$dev" "$hook" "$keep"
	done
	ENTRY[$dev]=$INDEX
}

# supersede DEV HOOK KEEP: all filters that were there before give way to this one.
supersede() {
	local hook pref handle program
	while read -r hook pref handle program _; do
		[[ $hook != "$2" || "$hook $pref $handle $program" == "$3" ]] || SUPERSEDED+=("$1 $hook $pref $handle")
	done <<<"${BEFORE[$1]}"
}

# find_up_to_date_filter DEV HOOK KIND: set KEEP to HOOK PREF HANDLE PROGRAM of a filter of this kind that runs the object as it is now, on the maps
# as they are; at TCX only the one that packets pass first. If its load is shared, it has to tell that what is in CLASSID. Empty if there is none.
KEEP='' UP_TO_DATE='' OBJECT_TAGS=''
find_up_to_date_filter() {
	local hook pref handle program tag classid first=''
	KEEP=
	[[ $'\n'${BEFORE[$1]} == *$'\n'"$2 "* ]] || return 0
	[[ $OBJECT_TAGS ]] || OBJECT_TAGS=$(object_tags)
	[[ $UP_TO_DATE ]] || UP_TO_DATE=" $(programs_on_pinned_maps) "
	[[ $3 != tcx ]] || first=$(awk -v hook="$2" '$1 == hook && $5 == "tcx" { print $3; exit }' <<<"${FILTERS[$1]}")
	while read -r hook pref handle program tag classid; do
		[[ $hook == "$2" ]] || continue
		[[ $3 == tcx && $pref == tcx && $handle == "$first" || $3 != tcx && $pref != tcx ]] || continue
		[[ $'\n'$OBJECT_TAGS$'\n' == *$'\n'"$hook $tag"$'\n'* && $UP_TO_DATE == *" $program "* ]] || continue
		if [[ $classid == "$CLASSID" ]] || ! is_shared "$program"; then
			KEEP="$hook $pref $handle $program"
			return 0
		fi
	done <<<"${BEFORE[$1]}"
}

# is_shared PROGRAM: does this load have its numbers from its filters? Asked of the kernel once.
declare -A SHARED=()
is_shared() {
	local map value
	if [[ ! ${SHARED[$1]-} ]]; then
		SHARED[$1]=no
		map=$(own_maps | awk -v program="$1" '$1 == program { print $2; exit }')
		value=$(bpftool --json map lookup id "$map" key hex 00 00 00 00 | jq --raw-output '.value[:4] | join("")')
		[[ $value != 0xff0xff0xff0xff ]] || SHARED[$1]=yes
	fi
	[[ ${SHARED[$1]} == yes ]]
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
	rm -f -- "$TCX_PIN" "$SHARED_PIN"_*
	find_maps
	for dev in "${!BEFORE[@]}"; do
		while read -r hook pref handle _; do
			[[ ! $hook ]] || remove_filter "$dev" "$hook" "$pref" "$handle"
		done < <(filters "$dev" | our_filters | grep --invert-match --line-regexp --fixed-strings -- "${BEFORE[$dev]:- }")
		[[ ! ${NEW_ENTRY[$dev]-} ]] || ! is_pinned nt_ifaces || put_cleared_entry "${NEW_ENTRY[$dev]}" "$dev"
		[[ ! ${NEW_QDISC[$dev]-} ]] || remove_qdisc "$dev"
	done
	write_entries
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
