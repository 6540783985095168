# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What log and list share: which records are wanted, in which form they go out; and list itself. The awk programs do the work, one
# process for any number of records; what the user wants reaches them through the environment, as text that nobody evaluates.

STATES=() FAILED_STATES= # what read_states has found

readonly FORMATS=(table json zeek zeek-json ecs csv)
FORMAT=table
COMMUNITY_ID=0 # 1: each record goes out with its Community ID
FOLLOW=1
WAIT=0 # log: for there to be one
QUALITY=0
SORT= # by what list sorts; empty: not at all

cmd_list() {
	local view plain='' reader=live.awk
	local -a views=(handshake_records records)
	obey_record_options "$@"
	# People want an order; what is piped on shall not wait for the last connection.
	[[ $SORT || ! -t 1 ]] || SORT=age
	if [[ $FORMAT == json && ! $SORT && ! $NT_FAMILY$NT_ADDR$NT_PORT$NT_STATES$NT_IFACE$NT_OWNER$NT_PROCESS$NT_PID$NT_MAX_ROWS ]]; then
		# All of them as JSON, as the kernel has them.
		plain=1 reader=objects.awk
		views=("${views[@]/%/.json}")
	fi
	for view in "${views[1]}" "${views[0]}"; do
		# Who may read them needs no privilege.
		if [[ ! -r $VIEWS/$view ]]; then
			require_attached
			die_without_view "$view"
		fi
	done
	require awk
	prepare_output list "$reader"
	if [[ $FORMAT != table ]]; then
		# A connection has the same time whoever writes it.
		keep_time
		NT_BOOT_US=${BOOT_US:-$NT_BOOT_US}
	fi
	# gawk would read a pipe by 4 KiB.
	export AWKBUFSIZE=131072
	if [[ $plain && -v GIVEN[numeric] ]]; then
		read_live "${views[@]}" | copy_out || exit_of_list "${PIPESTATUS[0]}" 0 "${PIPESTATUS[1]}"
	elif [[ ! $SORT ]]; then
		read_live "${views[@]}" | format_rows | copy_out || exit_of_list "${PIPESTATUS[@]}"
	else
		read_live "${views[@]}" | NT_SORT=$SORT NT_MAX_ROWS='' NT_COMMUNITY_ID=0 ends_unheard "${AWK[@]}" -f "$LIBDIR/sortkey.awk" |
			ends_unheard sort --stable --key=1,1 --field-separator=$'\t' | ends_unheard cut -f 2- | format_rows | copy_out ||
			exit_of_list "${PIPESTATUS[@]}"
	fi
}

# read_live MOTION REST: print what these views show, each connection once, with what its socket says and, unless names are not wanted, with the
# process that holds it.
# Exit status 1: the kernel has broken off; 141: who listens has heard enough; others are awk's.
read_live() {
	local -a ended
	{ note_sockets && note_holders && ends_unheard cat -- "$VIEWS/$1" && echo && read_resting "$VIEWS/$2"; } 2>/dev/null |
		ends_unheard awk -f "$LIBDIR/once.awk" 2>/dev/null
	ended=("${PIPESTATUS[@]}")
	((ended[0] == 0 || ended[0] == 141)) || return 1
	return "${ended[1]}"
}

# note_sockets: have the sockets of each network namespace with an interface that the tracker is attached to asked, for the views that the
# calling shell, itself and no child of it, has read next. Only root can enter other namespaces than the one here.
note_sockets() {
	local sockets=$VIEWS/sockets word netns own output
	local -A spaces=()
	[[ -r $sockets ]] || return 0
	exec {output}< <(exec cat -- "$sockets")
	while read -r word _ netns && [[ $word == interface ]]; do
		spaces[$netns]=1
	done <&"$output"
	cat <&"$output" >/dev/null
	exec {output}<&-
	own=$(stat --dereference --format=%i /proc/self/ns/net)
	((EUID == 0)) || return 0
	for netns in "${!spaces[@]}"; do
		# One that is gone has no sockets any more.
		[[ $netns == "$own" ]] || ! find_netns "$netns" || command nsenter --net="$NETNS_FILE" cat -- "$sockets" >/dev/null || true
	done
}

# note_holders: likewise the processes asked which sockets they hold, unless names are not wanted.
note_holders() {
	[[ -v GIVEN[numeric] || ! -r $VIEWS/holders ]] || cat -- "$VIEWS/holders" >/dev/null || true
}

# read_resting VIEW: to the end, even if nobody listens any more, as what has been noted of sockets goes there.
read_resting() {
	local status=0
	ends_unheard cat -- "$1" || status=$?
	((status != 141)) || cat -- "$1" >/dev/null
	return "$status"
}

# ends_unheard COMMAND…: by SIGPIPE and without a word, when nobody listens any more; also where that signal is ignored, as in systemd's units.
ends_unheard() {
	env --default-signal=PIPE "$@"
}

# format_rows: the lines on standard input.
format_rows() {
	if ((COMMUNITY_ID)); then
		"${FORMATTER[@]}" 2>/dev/null | "${IDENTIFIER[@]}" 2>/dev/null
	else
		"${FORMATTER[@]}" 2>/dev/null
	fi
}

# exit_of_list STATUS…: of a pipe that begins with the kernel and ends with the formatter and the writer, who has said what is wrong with
# the output. Those before them may have found that nobody listens any more.
exit_of_list() {
	local kernel=$1 formatter=${*: -2:1} writer=${*: -1}
	((writer == 0)) || exit "$EXIT_FAILED"
	((formatter == 0)) || die "$EXIT_FAILED" "awk ended with status $formatter in the middle of the list; start again"
	((kernel <= 1 || kernel == 141)) || die "$EXIT_FAILED" "awk ended with status $kernel in the middle of the list; start again"
	((kernel != 1)) ||
		die "$EXIT_FAILED" "the kernel ended in the middle of the list, perhaps for want of memory; start again"
}

# obey_record_options [WORD…]: the options of log and list, each of which has some of its own, into the globals above and, for the awk
# programs, into the environment. Neither wants other WORDs.
obey_record_options() {
	local addr=${GIVEN[addr]-} iface=${GIVEN[iface]-} states=${GIVEN[state]-} since=''
	(($# == 0)) || die_word "$1"
	read_states
	choose_format
	[[ ! -v GIVEN[no_follow] ]] || FOLLOW=0
	[[ ! -v GIVEN[wait] ]] || WAIT=1
	[[ ! -v GIVEN[quality] ]] || QUALITY=1
	[[ ! -v GIVEN[failed] ]] || states=$FAILED_STATES
	SORT=${GIVEN[sort]-}
	[[ $SORT =~ ^(|age|src|dst|port|bytes|rate|retrans)$ ]] || die_usage "--sort knows age, src, dst, port, bytes, rate and retrans, not '$SORT'"
	[[ ! -v GIVEN[port] ]] || need_number --port "${GIVEN[port]}" 0 65535
	[[ ! -v GIVEN[max_rows] ]] || need_number --max-rows "${GIVEN[max_rows]}"
	[[ ${GIVEN[min_ms]-0} =~ ^[0-9]{1,9}(\.[0-9]{1,6})?$ ]] || die_usage "--min-ms wants milliseconds, not '${GIVEN[min_ms]}'"
	[[ ! -v GIVEN[since] ]] || since=$(since_us "${GIVEN[since]}")
	check_states "${states^^}"
	[[ ! $addr ]] || check_prefix "$addr"
	[[ ! -v GIVEN[pid] ]] || need_number --pid "${GIVEN[pid]}" 1 4194304
	[[ ! $iface ]] || is_interface_name "$iface" || die_usage "--iface: '$iface' cannot be the name of an interface"
	export NT_FAMILY=${GIVEN[4]+4}${GIVEN[6]+6} NT_ADDR=$addr NT_PORT=${GIVEN[port]-} NT_STATES=${states^^} NT_IFACE=$iface
	# As much of a name as the kernel keeps.
	export NT_PROCESS=${GIVEN[process]-} NT_PID=${GIVEN[pid]-}
	NT_PROCESS=${NT_PROCESS::15}
	export NT_OWNER=${GIVEN[owner]-} NT_UNITS NT_SINCE_US=$since NT_MAX_ROWS=${GIVEN[max_rows]-}
	export NT_HEADER=1 NT_WIDE=${GIVEN[wide]-0} NT_UTC=${GIVEN[utc]-0} NT_NUMERIC=${GIVEN[numeric]-0}
	[[ ! -v GIVEN[no_header] ]] || NT_HEADER=0
	NT_UNITS=$(units_of "$NT_OWNER")
	NT_MIN_NS=$(awk -v ms="${GIVEN[min_ms]-0}" 'BEGIN { printf "%.0f", ms * 1e6 }')
	export NT_MIN_NS
}

# choose_format: set FORMAT and COMMUNITY_ID.
choose_format() {
	[[ ! -v GIVEN[json] ]] || FORMAT=json
	[[ ! -v GIVEN[format] ]] || FORMAT=${GIVEN[format]}
	[[ " ${FORMATS[*]} " == *" $FORMAT "* ]] || die_usage "--format knows ${FORMATS[*]}, not '$FORMAT'"
	[[ $VERB == log || $FORMAT != zeek* ]] ||
		die_usage "--format $FORMAT is of connections that have ended, as conn.log is; 'netracker log' has them, and list has json, ecs and csv"
	[[ ! -v GIVEN[community_id] || $FORMAT == @(zeek*|csv|ecs) ]] ||
		die_usage "--community-id goes with --format zeek, zeek-json and csv, and ecs has it anyway; $FORMAT has no place for it"
	[[ ! -v GIVEN[community_id] && $FORMAT != ecs ]] || COMMUNITY_ID=1
}

# units_of NAME: print the units that systemd knows by this name, and those that listen for them, with spaces between; nothing where it is not
# there or does not answer.
units_of() {
	local units
	[[ $1 && $1 != /* ]] || return 0
	units=$(command timeout 2 systemctl show --property=Names,TriggeredBy --value -- "$1" 2>/dev/null) || return 0
	printf '%s\n' "${units//$'\n'/ }"
}

# read_states: set STATES to all final states there are, and FAILED_STATES to those of connections that failed, with commas between.
read_states() {
	local table name kind
	require tables
	while IFS=$'\t' read -r table name kind _; do
		[[ $table == state ]] || continue
		STATES+=("$name")
		[[ $kind != FAILED ]] || FAILED_STATES+=${FAILED_STATES:+,}$name
	done <"$TABLES_TSV"
}

# check_states STATE,…
check_states() {
	local state
	local -a states
	IFS=, read -r -a states <<<"$1"
	for state in "${states[@]}"; do
		[[ " ${STATES[*]} " == *" $state "* ]] || die_usage "--state: there is no state '$state'; the states are ${STATES[*]}"
	done
}

# check_prefix PREFIX
check_prefix() {
	NT_ADDR=$1 awk -f "$LIBDIR/address.awk" -f "$LIBDIR/prefix.awk" </dev/null ||
		die_usage "--addr wants an address or a prefix such as 192.0.2.0/24, 2001:db8::/32 or fe80::1%eth0, not '$1'"
}

# since_us TIME: print it in microseconds since 1970.
since_us() {
	local seconds
	local -A unit=([s]=1 [m]=60 [h]=3600 [d]=86400)
	if [[ $1 =~ ^([0-9]{1,7})([smhd])$ ]]; then
		seconds=$((EPOCHSECONDS - BASH_REMATCH[1] * ${unit[${BASH_REMATCH[2]}]}))
	else
		seconds=$([[ ! $1 ]] || date --date="$1" +%s 2>/dev/null) || true
		[[ $seconds ]] || die_usage "--since wants 90s, 10m, 2h, 1d, or a time such as 14:30 or '2026-01-31 08:00', not '$1'"
	fi
	printf '%s\n' "${seconds}000000"
}

# prepare_output TABLE [PROGRAM]: set FORMATTER, and tell it about the terminal and the clock. PROGRAM reads some of the lines in place of
# record.awk. IDENTIFIER comes behind it if Community IDs are wanted.
prepare_output() {
	export NT_TABLE=$1 NT_BOOT_US NT_CGROUPS NT_TABLES=$TABLES_TSV
	export NT_FORMAT=$FORMAT NT_COMMUNITY_ID=$COMMUNITY_ID NT_HOSTNAME=''
	if ((COMMUNITY_ID)); then
		require community_id
		IDENTIFIER=(perl "$LIBDIR/community_id.pl")
	fi
	[[ $FORMAT != ecs ]] || read -r NT_HOSTNAME </proc/sys/kernel/hostname || true
	ask_terminal
	NT_BOOT_US=$(boot_us)
	NT_CGROUPS=$(find_cgroups)
	if ((QUALITY)); then
		# Who asks for these columns wants all of them.
		NT_TABLE=quality NT_WIDE=1
	fi

	# mawk waits for a full buffer of input unless it is told not to; others do not know this option.
	AWK=(awk)
	if [[ $1 == log && $(awk -W version </dev/null 2>&1) == mawk* ]]; then
		AWK+=(-W interactive)
	fi
	AWK+=(-f "$LIBDIR/address.awk" -f "$LIBDIR/owner.awk")
	[[ ! ${2-} ]] || AWK+=(-f "$LIBDIR/$2")
	AWK+=(-f "$LIBDIR/record.awk")
	FORMATTER=("${AWK[@]}")
	case $FORMAT in
		zeek | zeek-json) FORMATTER+=(-f "$LIBDIR/flow.awk" -f "$LIBDIR/zeek.awk") ;;
		ecs | csv) FORMATTER+=(-f "$LIBDIR/flow.awk" -f "$LIBDIR/$FORMAT.awk") ;;
		*) FORMATTER+=(-f "$LIBDIR/$FORMAT.awk") ;;
	esac
}

# ask_terminal: tell the awk programs how wide it is, and whether it has colours; 80 and none where the output is no terminal.
ask_terminal() {
	local width=''
	export NT_COLOUR=0 NT_WIDTH
	if [[ -t 1 ]]; then
		[[ ${NO_COLOR-} || ${TERM-} == dumb ]] || NT_COLOUR=1
		{ width=$(terminal_width <&3); } 3>&1
	fi
	NT_WIDTH=${width:-80}
}

# terminal_width: print how many columns it has that is standard input; nothing if it does not say.
terminal_width() {
	local size
	size=$(stty size 2>/dev/null) || return 0
	[[ $size == *' 0' ]] || printf '%s\n' "${size#* }"
}

# Print where cgroup2 is mounted, beside cgroup1 or alone; nothing if nowhere.
find_cgroups() {
	awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts
}
