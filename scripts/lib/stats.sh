# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# stats and config: what the tracker has counted, and what it has been told.
#
# The kernel's counters are never set back: they grow on while somebody reads them, and Prometheus reads the same ones. A reset
# keeps what they were then, as JSON text in a map of its own, and stats shows the difference.

readonly BASELINE_SIZE=16384

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
	local lost=0 fill
	if [[ -d $(instance) ]]; then
		fill=$(buffer_fill)
		lost=${fill##* }
	fi
	totals | jq --compact-output --rawfile tables "$TABLES_TSV" --argjson base "$(read_baseline)" --argjson boot_us "$(boot_us)" --argjson log_lost "$lost" \
		--from-file "$LIBDIR/stats.jq"
}

read_baseline() {
	if [[ -e $BASELINE ]]; then
		bpftool --json map dump pinned "$BASELINE" | jq --compact-output '
			.[0].value | map(select(. != "0x00") | .[2:] | explode | map(if . > 96 then . - 87 else . - 48 end) | .[0] * 16 + .[1])
			| implode | fromjson'
	else
		oldest=$(interfaces | awk '!oldest || $5 < oldest { oldest = $5 } END { print oldest + 0 }')
		printf '{"time_ns":%s}\n' "$oldest"
	fi
}

write_baseline() {
	local text padding
	text=$(totals)
	((${#text} < BASELINE_SIZE)) || die "$EXIT_FAILED" "the counts are too long to be kept; nothing was reset"
	printf -v padding ' 00%.0s' $(seq $((BASELINE_SIZE - ${#text})))
	ECHO=0
	if [[ ! -e $BASELINE ]]; then
		run mkdir -p -- "$VIEWS"
		run bpftool map create "$BASELINE" type array key 4 value "$BASELINE_SIZE" entries 1 name nt_baseline
	fi
	update "$BASELINE" "$(bytes 4 0)" "$(printf %s "$text" | od -An -v -tx1)$padding"
	say "counting from now on"
}

cmd_config() {
	local word settings handshake close quiet
	for word in "$@"; do
		check_setting "$word"
	done
	require_attached
	if (($#)); then
		take_lock
	fi
	settings=$(read_config)
	read -r handshake close quiet <<<"$settings"
	for word in "$@"; do
		case $word in
			handshake_timeout=*) handshake=${word#*=} ;;
			close_timeout=*) close=${word#*=} ;;
			log=on) quiet=0 ;;
			log=off) quiet=1 ;;
		esac
	done
	if (($#)); then
		write_config "$handshake" "$close" "$quiet" 0
	else
		# 0 is what a fresh map holds: the defaults of NeTracker.h.
		printf '%s\n' "handshake_timeout=$((handshake ? handshake : 75))" "close_timeout=$((close ? close : 120))" \
			"log=$( ((quiet)) && echo off || echo on)"
	fi
}

# check_setting KEY=VALUE
check_setting() {
	case $1 in
		handshake_timeout=* | close_timeout=*) need_number "${1%%=*}" "${1#*=}" 1 86400 ;;
		log=on | log=off) ;;
		log=*) die_usage "log is on or off, not '${1#*=}'" ;;
		*=*) die_usage "there is no setting '${1%%=*}'; 'netracker config' lists them" ;;
		*) die_usage "'$1' is not KEY=VALUE; 'netracker help config' tells which there are" ;;
	esac
}
