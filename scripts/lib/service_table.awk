# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Figures of groups of connections as a table for people. Needs service_rows.awk.
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

# failures(): REJ:12,S0:3, those that there are most of first.
function failures(   i, list, most, n, part)
{
	for (n = 1; n <= states; n++) {
		most = 0
		for (i = 1; i <= states; i++) {
			split(state[i], part, ":")
			if ((part[1] in is_failed) && part[2] > 0 && (!most || part[2] > part_count(state[most])))
				most = i
		}
		if (!most)
			break
		list = list (list == "" ? "" : ",") state[most]
		state[most] = ""
	}
	return list
}

function part_count(text_)
{
	return substr(text_, index(text_, ":") + 1) + 0
}

function or_dash(text_)
{
	return text_ == "" ? "-" : text_
}

# share(PART, WHOLE): what is there is never 0%, and what is not all never 100%.
function share(part_, whole,   of_hundred)
{
	of_hundred = percent(part_, whole)
	if (of_hundred == "" || of_hundred == 0)
		return of_hundred == "" ? "" : "0%"
	if (of_hundred < 0.1)
		return "<0.1%"
	if (of_hundred < 9.95)
		return sprintf("%.1f%%", of_hundred)
	return sprintf("%.0f%%", of_hundred > 99 && of_hundred < 100 ? 99 : of_hundred)
}

# time(NS): in two figures, as the histograms tell no more: 0.5us 51us 1.3ms 130ms 2.4s 59s 4m07s. Behind > what it is more than.
function time(ns,   mark)
{
	if (ns == "")
		return ""
	mark = sub(/^>/, "", ns) ? ">" : ""
	ns += 0
	if (ns < 999500)
		return mark two_figures(ns / 1e3) "us"
	if (ns < 999500000)
		return mark two_figures(ns / 1e6) "ms"
	if (ns < 59500000000)
		return mark two_figures(ns / 1e9) "s"
	ns = int(ns / 1e9 + 0.5)
	return mark sprintf("%dm%02ds", int(ns / 60), ns % 60)
}

function two_figures(number)
{
	return sprintf(number < 9.95 ? "%.1f" : "%.0f", number)
}

# size(BYTES): in powers of 1000.
function size(bytes,   i)
{
	if (bytes == "" || bytes < 1000)
		return bytes
	for (i = 1; bytes >= 999.5 && i < 7; i++)
		bytes /= 1000
	return two_figures(bytes) substr("kMGTPE", i - 1, 1)
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
