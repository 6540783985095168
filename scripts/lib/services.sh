# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# services: what is wrong on this host, a line for each service, the worst first.
#
# Of a service the kernel has counted what has ended (the view metrics), and the views of the live connections tell who is there now: whoever may
# read these needs no privilege. Peers it does not count, and no times of day: then the log's records are gone over, as `log --all` has them. Each
# becomes a line, sort brings those of a group together, and one group at a time is counted. So memory does not grow with the number of groups:
# what sort cannot hold it keeps in $TMPDIR.

readonly SERVICE_ROWS=1000 SORT_MEMORY=32M

cmd_services() {
	local by=${GIVEN[by]-service} sort=${GIVEN[sort]-worst} show=service_table figures view
	local -a ended
	(($# == 0)) || die_word "$1"
	[[ $by =~ ^(service|peer)$ ]] || die_usage "--by knows service and peer, not '$by'"
	[[ $sort =~ ^(worst|failed|ended|live|handshake|duration|bytes|retransmitted)$ ]] ||
		die_usage "--sort knows worst, failed, ended, live, handshake, duration, bytes and retransmitted, not '$sort'"
	[[ ! -v GIVEN[max_rows] ]] || need_number --max-rows "${GIVEN[max_rows]}"
	[[ ! -v GIVEN[since] ]] || since_us "${GIVEN[since]}" >/dev/null
	[[ ! -v GIVEN[json] ]] || show=service_json
	require awk
	export NT_TABLES=$TABLES_TSV NT_BY=$by NT_SORT=$sort NT_LIVE=1 NT_CGROUPS
	export NT_HEADER=1 NT_WIDE=${GIVEN[wide]-0} NT_NUMERIC=${GIVEN[numeric]-0} NT_MAX_ROWS=${GIVEN[max_rows]-$SERVICE_ROWS}
	[[ ! -v GIVEN[no_header] ]] || NT_HEADER=0
	NT_CGROUPS=$(find_cgroups)
	ask_terminal
	for view in handshake_records.json records.json; do
		[[ -r $VIEWS/$view ]] || NT_LIVE=0
	done
	if [[ $by == service && ! -v GIVEN[since] ]]; then
		require_metrics
		figures=figures_of_services
	else
		require_attached
		figures=figures_of_log
	fi
	"$figures" | sort --field-separator=$'\t' --key=1,1nr --key=2,2nr --key=3,3nr --key=4,4 --key=5,5n --key=5,5 |
		awk -f "$LIBDIR/address.awk" -f "$LIBDIR/owner.awk" -f "$LIBDIR/service_rows.awk" -f "$LIBDIR/service_cells.awk" -f "$LIBDIR/$show.awk" |
		copy_out || {
		ended=("${PIPESTATUS[@]}")
		((ended[3] == 0)) || exit "$EXIT_FAILED"
		die_of_figures "${ended[@]}"
	}
}

# die_of_figures STATUS…: of the programs of a pipe. What is above SAID is of one that has said why it failed; 141, SIGPIPE, of one before that.
die_of_figures() {
	local status
	for status in "$@"; do
		((status <= SAID || status > SAID + EXIT_PREREQUISITE)) || end "$status"
	done
	for status in "$@"; do
		((status == 0 || status == 141)) ||
			die "$EXIT_FAILED" "the figures could not be put together (exit status $status); is there room in ${TMPDIR:-/tmp}? start again"
	done
	end "$EXIT_FAILED"
}

figures_of_services() {
	{ print_metrics && live_objects; } | awk -f "$LIBDIR/object.awk" -f "$LIBDIR/figures.awk" -f "$LIBDIR/services.awk"
}

# figures_of_log: of the log's records, from --since on, and the live connections.
figures_of_log() {
	local -a since=() ended
	[[ ! -v GIVEN[since] ]] || since=(--since "${GIVEN[since]}")
	{ "$(readlink --canonicalize -- "$0")" log --all --no-follow --json --numeric "${since[@]}" && live_objects; } |
		awk -f "$LIBDIR/object.awk" -f "$LIBDIR/grouped.awk" | sort --buffer-size="$SORT_MEMORY" --field-separator=$'\t' --key=1,2 |
		awk -f "$LIBDIR/figures.awk" -f "$LIBDIR/groups.awk" || {
		ended=("${PIPESTATUS[@]}")
		# The log has said it, unless nobody was left to listen to it.
		((ended[1] + ended[2] + ended[3] != 0)) || ended[0]=$((SAID + ended[0]))
		die_of_figures "${ended[@]}"
	}
}

# live_objects: print the connections that are alive, if we may know.
live_objects() {
	[[ $NT_LIVE == 0 ]] || read_live handshake_records.json records.json
}
