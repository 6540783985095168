# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# stats and config: what the tracker has counted, and what it has been told.
#
# The kernel's counters are never set back: they grow on while somebody reads them, and Prometheus reads the same ones. A reset
# keeps what they were then in a file, and stats shows the difference. Detach removes it with the maps.

cmd_stats() {
	(($# == 0)) || die_word "$1"
	[[ ! -v GIVEN[reset] || ! -v GIVEN[json] ]] || die_usage "--reset and --json exclude each other"
	require_attached
	require tables
	if [[ -v GIVEN[reset] ]]; then
		write_baseline
	elif [[ -v GIVEN[json] ]]; then
		stats | jq --compact-output .
	else
		stats | jq --raw-output --rawfile tables "$TABLES_TSV" --from-file "$LIBDIR/stats_text.jq"
	fi
}

# Print all counts since the maps were made: {time_ns, counters, in, out}.
totals() {
	local counters services
	counters=$(dump nt_counters)
	services=$(dump nt_services)
	jq --null-input --compact-output --rawfile tables "$TABLES_TSV" --argjson time_ns "$(now_ns)" --slurpfile counters <(printf '%s\n' "$counters") \
		--slurpfile services <(printf '%s\n' "$services") --from-file "$LIBDIR/totals.jq"
}

# Print the counts since the last reset as the user gets to see them.
stats() {
	local base
	base=$(read_baseline)
	totals | jq --compact-output --rawfile tables "$TABLES_TSV" --argjson base "$base" --argjson boot_us "$(boot_us)" --argjson log_lost "$(log_lost)" \
		--from-file "$LIBDIR/stats.jq"
}

# Print the name of the file with what the last reset has kept. Each BPF file system has a tracker of its own, and so its own file.
baseline_file() {
	local device
	device=$(stat --format=%d -- "$BPFFS")
	printf '%s\n' "$RUN/baseline-$device.json"
}

# Print the maps that are counted in, with the kernel's numbers of them, which no other map gets until the next boot.
counting_maps() {
	printf '{"nt_counters":%s,"nt_services":%s}\n' "${OUR_MAPS[nt_counters]}" "${OUR_MAPS[nt_services]}"
}

# Print what stats counts from: the totals at the last reset, else nothing but the time of the first attach. A file that tells of other
# maps than those that are pinned now has outlived them, as nobody has detached.
read_baseline() {
	local file baseline=''
	file=$(baseline_file)
	[[ ! -e $file || -f $file ]] || die "$EXIT_FAILED" "$file is no file, so it does not tell what to count from; take it away"
	if [[ -e $file ]]; then
		baseline=$(command jq --slurp --compact-output --argjson maps "$(counting_maps)" --from-file "$LIBDIR/baseline.jq" "$file" 2>/dev/null) ||
			die "$EXIT_FAILED" "$file does not tell what to count from; 'netracker stats --reset' writes it anew"
	fi
	[[ $baseline ]] || baseline=$(interfaces | awk '!oldest || $5 < oldest { oldest = $5 } END { printf "{\"time_ns\":%.0f}", oldest }')
	printf '%s\n' "$baseline"
}

# Under the lock, as a detach meanwhile would not find the file. Whoever reads it sees the old one or the new one.
write_baseline() {
	local file text reason
	take_lock
	file=$(baseline_file)
	text=$(totals | jq --argjson maps "$(counting_maps)" --argjson log_lost "$(log_lost)" \
		'{reset: (now | floor | todate), maps: $maps} + . + {log_lost: $log_lost}')
	reason=$(put_in_place "$file" "$text" 2>&1) ||
		die "$EXIT_FAILED" "cannot write $file: $(last_words "${reason##*: }"); nothing was reset; make room there, or see to whom it belongs"
	say "counting from now on"
}

# put_in_place FILE TEXT: whole or not at all, under a name that nobody else has chosen until then.
put_in_place() (
	umask 077
	new=
	trap '[[ ! $new ]] || rm -f -- "$new"' EXIT
	[[ ! -e $1 || -f $1 ]] || {
		echo "$1: it is no file"
		exit 1
	}
	mkdir -p -- "${1%/*}" && new=$(mktemp -- "$1.XXXXXX") && printf '%s\n' "$2" >"$new" && mv -f -T -- "$new" "$1"
)

# remove_baseline: idempotent, and not done by --dry-run. Nothing hangs on it: what stays counts for nothing once the maps are gone. The
# directory is ours if it is as put_in_place makes it.
remove_baseline() {
	local file
	file=$(baseline_file)
	((!DRY_RUN)) || return 0
	if [[ -e $file ]]; then
		announce "rm -f -- $(quoted "$file")"
		rm -f -- "$file" "$file".?????? 2>/dev/null || say "$file cannot be removed, so it stays; it counts for nothing any more"
	fi
	[[ ! -d $RUN || -L $RUN || $(stat --format=%a -- "$RUN") != 700 ]] || rmdir -- "$RUN" 2>/dev/null || true
}

# Print how many records were overwritten in the log before its consumer without a name had read them.
log_lost() {
	local lost=0
	[[ ! -e $VIEWS/unread ]] || read -r _ lost <"$VIEWS/unread"
	printf '%s\n' "$lost"
}

# What `trace` is set to, by the numbers of enum trace_mode in NeTracker.h. Until somebody sets it, plain tc has all records in the trace, as
# with `on`.
readonly TRACE_ALL=0 TRACE_ON=1 TRACE_AUTO=2 TRACE_OFF=3 TRACE_WORDS=(on on auto off)

# What stands in nt_config for an idle_timeout of 0: IDLE_NEVER in NeTracker.h, where 0 is the default.
readonly IDLE_NEVER=4294967295

# limit_trace: for attach, whose log has all records: unless somebody has set it otherwise, the trace gets no more than a person can read.
limit_trace() {
	local settings='0 0 0 0 0 0 0' handshake close quiet trace idle interim closers
	! is_pinned nt_config || settings=$(read_config)
	read -r handshake close quiet trace idle interim closers <<<"$settings"
	((trace != TRACE_ALL)) || write_config "$handshake" "$close" "$quiet" "$TRACE_AUTO" "$idle" "$interim" "$closers"
}

cmd_config() {
	local word settings rules handshake close quiet trace idle interim closers only exclude
	for word in "$@"; do
		check_setting "$word"
	done
	require_attached
	if (($#)); then
		take_lock
	fi
	settings=$(read_config)
	read -r handshake close quiet trace idle interim closers <<<"$settings"
	rules=$(read_rules)
	only=${rules%%$'\n'*} exclude=${rules#*$'\n'}
	for word in "$@"; do
		case $word in
			handshake_timeout=*) handshake=${word#*=} ;;
			close_timeout=*) close=${word#*=} ;;
			idle_timeout=*) idle=${word#*=} && ((idle)) || idle=$IDLE_NEVER ;;
			interim=*) interim=${word#*=} ;;
			log=on) quiet=0 ;;
			log=off) quiet=1 ;;
			trace=auto) trace=$TRACE_AUTO ;;
			trace=on) trace=$TRACE_ON ;;
			trace=off) trace=$TRACE_OFF ;;
			closers=on) closers=0 ;;
			closers=off) closers=$CLOSERS_OFF ;;
			only=*) only=$word ;;
			exclude=*) exclude=$word ;;
		esac
	done
	if (($#)); then
		[[ " $* " != *' closers='* ]] || set_closers "$closers"
		# Rules that stay as they are are not written again.
		[[ $only$'\n'$exclude == "$rules" ]] || write_rules "${only#*=}" "${exclude#*=}"
		write_config "$handshake" "$close" "$quiet" "$trace" "$idle" "$interim" "$closers"
	else
		# 0 is what a fresh map holds: the defaults of NeTracker.h.
		printf '%s\n' "handshake_timeout=$((handshake ? handshake : 75))" "close_timeout=$((close ? close : 120))" \
			"idle_timeout=$((idle == IDLE_NEVER ? 0 : idle ? idle : 8100))" "interim=$interim" \
			"log=$( ((quiet)) && echo off || echo on)" "trace=${TRACE_WORDS[trace]}" "closers=$( ((closers)) && echo off || echo on)" \
			"$only" "$exclude"
	fi
}

# set_closers OFF: have the closer there, or not, as config says.
set_closers() {
	if (($1 == CLOSERS_OFF)); then
		leave_closer
	elif ! has_own_closer; then
		hang_closer || die "$EXIT_PREREQUISITE" "closers cannot be noted: $CLOSER_LACKS"
	fi
}

# check_setting KEY=VALUE
check_setting() {
	case $1 in
		handshake_timeout=* | close_timeout=*) need_number "${1%%=*}" "${1#*=}" 1 86400 ;;
		idle_timeout=*) need_number "${1%%=*}" "${1#*=}" 0 31536000 ;;
		interim=*) need_number "${1%%=*}" "${1#*=}" 0 86400 ;;
		only=* | exclude=*) check_rules "${1%%=*}" "${1#*=}" ;;
		log=on | log=off | trace=auto | trace=on | trace=off | closers=on | closers=off) ;;
		log=*) die_usage "log is on or off, not '${1#*=}'" ;;
		trace=*) die_usage "trace is auto, on or off, not '${1#*=}'" ;;
		closers=*) die_usage "closers is on or off, not '${1#*=}'" ;;
		*=*) die_usage "there is no setting '${1%%=*}'; 'netracker config' lists them" ;;
		*) die_usage "'$1' is not KEY=VALUE; 'netracker help config' tells which there are" ;;
	esac
}
