# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Figures of groups of connections as a table for people. Needs service_rows.awk and service_cells.awk.
#
# NT_WIDTH, NT_WIDE, NT_HEADER, NT_COLOUR: as in table.awk. The rows are few, so all are there before the first one goes out: a column is as wide as
# what is in it, and those that do not fit the width come last and are left out.

BEGIN {
	# In the order of their worth to who asks what is wrong. A minus: text, on the left.
	heading = (by_peer ? "DIR- PEER-" : "DIR- PORT NAME-") " ENDED FAILED FAILURES- HS_50 HS_99 DUR_50 DUR_99 HELD_BY- RESENT LIVE COMM- ORIG_B RESP_B OWNER-"
	columns = split(heading, heading_of, " ")
	for (i = 1; i <= columns; i++) {
		left[i] = sub(/-$/, "", heading_of[i])
		width[i] = length(heading_of[i])
	}
}

function show_row(   i)
{
	rows++
	is_red[rows] = failed * 20 >= ended && failed > 0
	for (i = 1; i <= columns; i++) {
		cell[rows, i] = or_dash(cell_of(heading_of[i]))
		if (length(cell[rows, i]) > width[i])
			width[i] = length(cell[rows, i])
	}
}

function cell_of(heading)
{
	if (heading == "DIR")
		return dir
	if (heading == "PORT")
		return key
	if (heading == "PEER")
		return with_replaced(readable(key), "?", "?")
	if (heading == "NAME")
		return with_replaced(name, "?", "?")
	if (heading == "ENDED")
		return ended
	if (heading == "FAILED")
		return share(failed, ended)
	if (heading == "FAILURES")
		return failures()
	if (heading == "HS_50")
		return time(handshake_p50)
	if (heading == "HS_99")
		return time(handshake_p99)
	if (heading == "DUR_50")
		return time(duration_p50)
	if (heading == "DUR_99")
		return time(duration_p99)
	if (heading == "HELD_BY")
		return held_by
	if (heading == "RESENT")
		return share(resent, segments)
	if (heading == "LIVE")
		return live
	if (heading == "COMM")
		return with_replaced(readable(comm), "?", "?") (comms > 1 ? "+" comms - 1 : "")
	if (heading == "ORIG_B")
		return size(orig_bytes)
	if (heading == "RESP_B")
		return size(resp_bytes)
	return with_replaced(whose, "?", "?")
}

function finish(   i, row, line)
{
	if (ENVIRON["NT_WIDE"] != 1) {
		room = ENVIRON["NT_WIDTH"] + 1
		for (i = 1; i <= columns && (room -= width[i] + 1) >= 0; i++)
			;
		columns = i > 2 ? i - 1 : 1
	}
	for (row = ENVIRON["NT_HEADER"] == "0"; row <= rows; row++) {
		line = ""
		for (i = 1; i <= columns; i++)
			line = line (i > 1 ? " " : "") sprintf(left[i] ? (i == columns ? "%s" : "%-" width[i] "s") : "%" width[i] "s",
				row ? cell[row, i] : heading_of[i])
		print (ENVIRON["NT_COLOUR"] == 1 && row && is_red[row] ? "\033[31m" line "\033[0m" : line)
	}
}
