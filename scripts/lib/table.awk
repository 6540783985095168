# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records as a table for people. Needs record.awk.
#
# NT_TABLE: log, list or quality. NT_WIDTH: columns of the terminal. NT_WIDE: all columns of the table, whatever the width.
# NT_HEADER: 0 leaves the headings out. NT_COLOUR: 1 colours failed connections. NT_UTC: 1 shows times in UTC.

BEGIN {
	# Each column: what it is called, how wide, which side its text is on. Those that do not fit come last and are left out.
	if (ENVIRON["NT_TABLE"] == "list")
		columns = "ORIGINATOR:-21 RESPONDER:-21 DIR:-3 STATE:-5 AGE:6 SYN_MS:9 IFACE:-8 OWNER:-16 ACK_MS:9 STARTED:-12 SYN_RETR:8 USER:-8"
	else if (ENVIRON["NT_TABLE"] == "quality")
		columns = "ORIGINATOR:-21 RESPONDER:-21 MS:10 SRTT_MS:8 MIN_MS:8 RETR:4 ORIG_MBIT:9 RESP_MBIT:9 OWNER:-5"
	else
		columns = "STARTED:-12 ORIGINATOR:-21 RESPONDER:-21 DIR:-3 STATE:-6 MS:10 IFACE:-8 ORIG_BYTES:10 RESP_BYTES:10 OWNER:-16 SYN_MS:9 ACK_MS:9 SRTT_MS:8 RETR:4 SYN_RETR:8 USER:-8"
	width_left = ENVIRON["NT_WIDTH"]
	wide = ENVIRON["NT_WIDE"] == 1
	utc = ENVIRON["NT_UTC"] == 1
	colour = ENVIRON["NT_COLOUR"] == 1
	n = split(columns, column, " ")
	for (i = 1; i <= n; i++) {
		split(column[i], part, ":")
		left[i] = part[2] < 0
		width[i] = left[i] ? -part[2] : part[2] + 0
		if (!wide && (width_left -= width[i] + (i > 1)) < 0)
			break
		name[++shown] = part[1]
	}
	for (i = 1; i <= shown; i++)
		set_format(i)
	if (ENVIRON["NT_HEADER"] != "0" && max_rows != "0")
		print_header()
}

# Headings widen no column: they are short enough, or their column is the last.
function print_header(   i, line)
{
	for (i = 1; i <= shown; i++)
		line = line sprintf(format[i], name[i])
	put(line)
}

# A value that is too long for its column widens the column from then on: nothing is cut off.
function show_record(   i, line, cell)
{
	for (i = 1; i <= shown; i++) {
		cell = figure(name[i])
		if (length(cell) > width[i]) {
			width[i] = length(cell)
			set_format(i)
		}
		line = line sprintf(format[i], cell)
	}
	if (lost)
		line = line sprintf(" [%.0f lost before]", lost)
	if (colour && field("state") ~ /^(S0|SH|REJ|RSTO|RSTR|RSTOS0)$/ && !is_live())
		line = "\033[31m" line "\033[0m"
	put(line)
}

function set_format(i)
{
	format[i] = (i > 1 ? " " : "") (left[i] ? (i == shown ? "%s" : "%-" width[i] "s") : "%" width[i] "s")
}

function figure(name,   us)
{
	if (name == "ORIGINATOR")
		return originator()
	if (name == "RESPONDER")
		return responder()
	if (name == "STATE")
		return field("state")
	if (name == "DIR")
		return field("dir")
	if (name == "AGE")
		return age(field("age_ns") / 1e9)
	if (name == "SYN_MS")
		return thousandths(known("syn_rtt_ns"), 1000000)
	if (name == "IFACE")
		return iface(known("ifname"))
	if (name == "MS")
		return thousandths(known("dur_ns"), 1000000)
	if (name == "STARTED") {
		us = started_us()
		return clock(int(us / 1000000)) sprintf(".%03d", int(us / 1000) % 1000)
	}
	if (name == "ACK_MS")
		return thousandths(known("ack_rtt_ns"), 1000000)
	if (name == "SRTT_MS")
		return thousandths(known("srtt_us"), 1000)
	if (name == "MIN_MS")
		return thousandths(known("min_rtt_us"), 1000)
	if (name == "ORIG_MBIT")
		return rate(known("orig_bytes"))
	if (name == "RESP_MBIT")
		return rate(known("resp_bytes"))
	if (name == "ORIG_BYTES")
		return or_dash(known("orig_bytes"))
	if (name == "RESP_BYTES")
		return or_dash(known("resp_bytes"))
	if (name == "SYN_RETR")
		return or_dash(known("syn_retrans"))
	if (name == "RETR")
		return or_dash(known("retrans"))
	if (name == "USER")
		return or_dash(printable(user()))
	if (name == "OWNER")
		return or_dash(printable(owner()))
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

# An interface that nobody named has its number.
function iface(name)
{
	if (name == "")
		return "#" field("ifindex")
	if (!(name in iface_shown))
		iface_shown[name] = printable(name)
	return iface_shown[name]
}

# Interfaces and cgroups may have control characters in their names; terminals obey them.
function printable(name)
{
	gsub(/[[:cntrl:]]/, "?", name)
	return name
}
