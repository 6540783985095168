# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Figures of groups of connections as JSON, one object a line; null where unknown. Needs service_rows.awk.

function show_row(   i, n, line, part, count)
{
	line = "{\"dir\":\"" dir "\""
	if (by_peer)
		line = line ",\"peer\":\"" key "\""
	else
		line = line ",\"port\":" (key == "other" ? "null" : key) ",\"name\":" text(name)
	line = line ",\"connections\":" ended ",\"live\":" or_null(live) ",\"failed\":" failed ",\"failed_pct\":" part_of(failed, ended)
	line = line ",\"established\":" established ",\"ended\":{"
	for (i = 1; i <= states; i++) {
		split(state[i], part, ":")
		count[part[1]] = part[2]
	}
	for (i = 1; i <= n_states; i++)
		line = line (i > 1 ? "," : "") "\"" state_name[i] "\":" (state_name[i] in count ? count[state_name[i]] : 0)
	line = line "},\"handshake_p50_ns\":" nanoseconds(handshake_p50) ",\"handshake_p99_ns\":" nanoseconds(handshake_p99)
	line = line ",\"duration_p50_ns\":" nanoseconds(duration_p50) ",\"duration_p99_ns\":" nanoseconds(duration_p99)
	line = line ",\"orig_bytes\":" orig_bytes ",\"resp_bytes\":" resp_bytes
	line = line ",\"segments_sent\":" segments ",\"segments_retransmitted\":" resent ",\"retransmitted_pct\":" part_of(resent, segments)
	line = line ",\"held_by\":" text(held_by) ",\"held\":{"
	n = split(figure[19], held, ",")
	for (i = 1; i <= n; i++) {
		split(held[i], part, ":")
		line = line (i > 1 ? "," : "") "\"" part[1] "\":" part[2]
	}
	# The name is as JSON has it already.
	print line "},\"comm\":" (comm == "" ? "null" : "\"" comm "\"") ",\"comms\":" comms ",\"owner\":" text(whose) "}"
}

function nanoseconds(ns)
{
	sub(/^>/, "", ns)
	return or_null(ns)
}

function or_null(number)
{
	return number == "" ? "null" : number
}

function part_of(part_, whole)
{
	return whole + 0 ? sprintf("%.3f", percent(part_, whole)) + 0 : "null"
}

function finish()
{
}
