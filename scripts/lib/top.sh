# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# top: what this host's connections carry at the moment, the busiest first. top.py draws it, with Python's own curses.

cmd_top() {
	local view frames='' by=${GIVEN[by]-connections} sort=${GIVEN[sort]-bytes} delay=${GIVEN[delay]-1}
	(($# == 0)) || die_word "$1"
	[[ $by =~ ^(connections|services|processes|peers)$ ]] || die_usage "--by knows connections, services, processes and peers, not '$by'"
	[[ $sort =~ ^(bytes|retrans|age|connections)$ ]] || die_usage "--sort knows bytes, retrans, age and connections, not '$sort'"
	[[ $delay =~ ^[0-9]{1,4}(\.[0-9]{1,3})?$ && $delay != 0?(.*(0)) ]] || die_usage "--delay wants seconds, such as 0.5 or 2, not '$delay'"
	[[ ! -v GIVEN[max_rows] ]] || need_number --max-rows "${GIVEN[max_rows]}"
	[[ ! -v GIVEN[once] ]] || frames=1
	if [[ -v GIVEN[batch] ]]; then
		need_number --batch "${GIVEN[batch]}" 1
		frames=${GIVEN[batch]}
	fi
	[[ $frames || (-t 0 && -t 1) ]] || die_usage "there is no terminal here to draw on; --once and --batch N print frames as text"
	require_metrics
	for view in busy records handshake_records; do
		[[ -r $VIEWS/$view ]] || die_without_view "$view"
	done
	require curses
	read_states
	export NT_VIEWS=$VIEWS NT_FAILED=$FAILED_STATES NT_NETNS='' NT_FRAMES=$frames NT_DELAY=$delay NT_BY=$by NT_SORT=$sort NT_MAX_ROWS=${GIVEN[max_rows]-}
	# Only root can enter other network namespaces than the one here.
	((EUID)) || NT_NETNS=$(namespaces)
	exec python3 -I "$LIBDIR/top.py"
}
