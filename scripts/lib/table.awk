# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records as a table for people. Needs record.awk.
#
# NT_TABLE: log, list or quality. NT_WIDTH: columns of the terminal. NT_WIDE: all columns of the table, whatever the width.
# NT_HEADER: 0 leaves the headings out. NT_COLOUR: 1 colours failed connections. NT_UTC: 1 shows times in UTC.

BEGIN {
	# What no field has, but is made of some: how wide, and below 0, with its text on the left.
	split("STARTED -12 ORIGINATOR -21 RESPONDER -21 AGE 6 OWNER -16 USER -8 ORIG_MBIT 9 RESP_MBIT 9", part, " ")
	for (i = 1; i in part; i += 2)
		column_width[part[i]] = part[i + 1]
	for (i = 1; i <= n_fields; i++) {
		key = field_key[i]
		if (field_heading[key] == "")
			continue
		key_of[field_heading[key]] = key
		column_width[field_heading[key]] = field_width[key]
	}

	# The columns of each table in their order, some narrower than elsewhere; of 0: not there. Those that do not fit come last and are
	# left out; last of all, fields that have no place of their own here.
	if (ENVIRON["NT_TABLE"] == "list")
		columns = "ORIGINATOR RESPONDER DIR STATE:-5 AGE SYN_MS IFACE ORIG_BYTES RESP_BYTES SRTT_MS RETR OWNER PID COMM ACK_MS STARTED SYN_RETR USER MIN_MS:0" more("LIVE SOCKET PROCESS HELD")
	else if (ENVIRON["NT_TABLE"] == "quality")
		columns = "ORIGINATOR RESPONDER MS HELD_BY COMM:-12 PID HELD_PCT SRTT_MS RETR ORIG_MBIT RESP_MBIT MIN_MS OWNER:-5"
	else
		columns = "STARTED ORIGINATOR RESPONDER DIR STATE MS IFACE ORIG_BYTES RESP_BYTES PID:6 COMM OWNER SYN_MS ACK_MS SRTT_MS RETR SYN_RETR USER MIN_MS:0" more("ENDED SOCKET PROCESS RESET HELD")
	width_left = ENVIRON["NT_WIDTH"]
	wide = ENVIRON["NT_WIDE"] == 1
	utc = ENVIRON["NT_UTC"] == 1
	colour = ENVIRON["NT_COLOUR"] == 1
	n = split(columns, column, " ")
	for (i = 1; i <= n; i++) {
		split(column[i], part, ":")
		if (seen[part[1]]++)
			continue
		columns_width = part[2] != "" ? part[2] : column_width[part[1]]
		if (columns_width == 0)
			continue
		shown++
		name[shown] = part[1]
		left[shown] = columns_width < 0
		width[shown] = left[shown] ? -columns_width : columns_width + 0
		if (!wide && (width_left -= width[shown] + (shown > 1)) < 0) {
			shown--
			break
		}
	}
	common = ENVIRON["NT_TABLE"] == "list" && shown >= 7 ? 7 : 0
	for (i = 1; i <= shown; i++)
		set_format(i)
	if (ENVIRON["NT_HEADER"] != "0" && max_rows != "0")
		print_header()
}

# more(WHOSE): the headings of all fields that any connection has, and of those of WHOSE.
function more(whose,   i, headings)
{
	for (i = 1; i <= n_fields; i++)
		if (index("ANY OWNER " whose, field_of[field_key[i]]))
			headings = headings " " field_heading[field_key[i]]
	return headings
}

# Headings widen no column: they are short enough, or their column is the last.
function print_header(   i, line)
{
	for (i = 1; i <= shown; i++)
		line = line sprintf(format[i], name[i])
	put(line)
}

# A value that is too long for its column widens the column from then on: nothing is cut off. live.awk may have done the first columns.
function show_record(   i, line, cell)
{
	line = row
	for (i = row == "" ? 1 : common + 1; i <= shown; i++) {
		cell = figure(name[i])
		if (length(cell) > width[i]) {
			width[i] = length(cell)
			set_format(i)
		}
		line = line sprintf(format[i], cell)
	}
	if (lost)
		line = line sprintf(" [%.0f lost before]", lost)
	if (colour && (field("state") in is_failed) && !is_live() && !is_interim())
		line = "\033[31m" line "\033[0m"
	put(line)
}

function set_format(i)
{
	format[i] = (i > 1 ? " " : "") (left[i] ? (i == shown ? "%s" : "%-" width[i] "s") : "%" width[i] "s")
	if (i <= common)
		set_common_format()
}

# set_common_format(): of the columns that live.awk does, and what is in a row where none of them is too long, before the last one.
function set_common_format(   i)
{
	common_format = ""
	common_width = 0
	for (i = 1; i <= common; i++) {
		common_format = common_format (name[i] == "SYN_MS" ? " %" width[i] ".3f" : format[i])
		common_width += i < common ? width[i] + 1 : 0
	}
}

function figure(name,   us)
{
	if (name in key_of)
		return figure_of_field(key_of[name])
	if (name == "ORIGINATOR")
		return originator()
	if (name == "RESPONDER")
		return responder()
	if (name == "AGE")
		return age_figure(field("age_ns"))
	if (name == "STARTED") {
		us = started_us()
		return clock(int(us / 1000000)) sprintf(".%03d", int(us / 1000) % 1000)
	}
	if (name == "ORIG_MBIT")
		return rate(known("orig_bytes"))
	if (name == "RESP_MBIT")
		return rate(known("resp_bytes"))
	if (name == "USER")
		return or_dash(numeric ? known("uid") : printable(user()))
	if (name == "OWNER")
		return or_dash(numeric ? known("cgroup") : printable(owner()))
}

# Times in milliseconds. Names are text from outside; they are few.
function figure_of_field(key,   value)
{
	value = known(key)
	# It has not ended like that, but is like that.
	if (key == "state" && is_interim())
		return "(" value ")"
	if (field_unit[key] == "NS")
		return thousandths(value, 1000000)
	if (field_unit[key] == "US")
		return thousandths(value, 1000)
	if (key == "ifname" && value == "")
		return "#" field("ifindex")
	if (!(key in is_text))
		return or_dash(value)
	if (!(value in text_shown))
		text_shown[value] = or_dash(printable(value))
	return text_shown[value]
}

# clock(SECOND): the time of day, asked mostly for the same second again.
function clock(second)
{
	if (clock_text == "" || second != clock_second) {
		clock_second = second
		clock_text = time_of(utc ? second : local_second(second))
	}
	return clock_text
}

function or_dash(value)
{
	return value == "" ? "-" : value
}

function thousandths(value, unit)
{
	return value == "" ? "-" : sprintf("%.3f", value / unit)
}

# Megabits a second over the whole duration, handshake and close included.
function rate(bytes)
{
	return bytes == "" || !(field("dur_ns") + 0) ? "-" : sprintf("%.3f", bytes * 8000 / field("dur_ns"))
}

# age_figure(NS): what a whole second, and from an hour on a whole minute, shows as, live.awk may find in age_text.
function age_figure(ns,   second)
{
	second = int(ns / 1e9)
	if (second < 10)
		return age(ns / 1e9)
	if (second > 3599)
		second -= second % 60
	if (!(second in age_text))
		age_text[second] = age(second)
	return age_text[second]
}

# Two figures tell an age: 0.42s 9.31s 59s 4m07s 23h59m 12d03h
function age(seconds)
{
	if (seconds < 10)
		return sprintf("%.2fs", seconds)
	seconds = int(seconds)
	if (seconds < 60)
		return seconds "s"
	if (seconds < 3600)
		return sprintf("%dm%02ds", seconds / 60, seconds % 60)
	if (seconds < 86400)
		return sprintf("%dh%02dm", seconds / 3600, seconds % 3600 / 60)
	return sprintf("%dd%02dh", seconds / 86400, seconds % 86400 / 3600)
}

# Interfaces and cgroups may have control characters in their names, which terminals obey, and what is no UTF-8.
function printable(name)
{
	return is_plain(name) ? name : with_replaced(name, "?", "?")
}
