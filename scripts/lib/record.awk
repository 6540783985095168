# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Reads records, from the trace or from the view of the live connections, picks those that are wanted and hands each to show_record(),
# which table.awk, json.awk and sortkey.awk define in their ways. Needs address.awk and owner.awk.
#
#	netracker: SRC:SPORT -> DST:DPORT KEY=VALUE…        the trace (with the tracer's prefix)
#	SRC:SPORT -> DST:DPORT KEY=VALUE…                   the view
#
# The values of record[] are text as it came: byte counts and cgroup ids can be longer than what a number here holds exactly.
# What is wanted is told in the environment, because awk would interpret backslashes in variables of the command line:
# NT_FAMILY NT_ADDR NT_PORT NT_STATES NT_IFACE NT_OWNER NT_MIN_NS NT_SINCE_US NT_MAX_ROWS, and NT_BOOT_US: the time of boot in microseconds.

BEGIN {
	want_family = ENVIRON["NT_FAMILY"]
	want_port = ENVIRON["NT_PORT"]
	want_states = ENVIRON["NT_STATES"]
	want_iface = ENVIRON["NT_IFACE"]
	want_owner = ENVIRON["NT_OWNER"]
	min_ns = ENVIRON["NT_MIN_NS"] + 0
	since_us = ENVIRON["NT_SINCE_US"] + 0
	max_rows = ENVIRON["NT_MAX_ROWS"]
	boot_us = ENVIRON["NT_BOOT_US"] + 0
	if (ENVIRON["NT_ADDR"] != "") {
		n = split(ENVIRON["NT_ADDR"], part, "/")
		want_prefix = address_digits(part[1])
		want_bits = n < 2 ? 128 : part[2] + (part[1] ~ /:/ ? 0 : 96)
	}
	picky = (want_family want_port want_states want_iface want_owner want_prefix) != "" || min_ns || since_us
	rows = 0
	if (max_rows == "0")
		exit
}

# CPU:0 [LOST 12 EVENTS]
/^CPU:[0-9]+ \[LOST [0-9]+ EVENTS\]$/ {
	lost += substr($2 " " $3, 7)
	print "netracker: " substr($2 " " $3, 7) + 0 " records lost: the log's buffer was full before they were read" > "/dev/stderr"
	next
}

/: tracing_mark_write: netracker: detached$/ {
	print "netracker: the last interface was detached" > "/dev/stderr"
	exit
}

{
	# The name of the process that the tracer puts first can be anything, so look for what follows it.
	line = $0
	if (start = index(line, ": bpf_trace_printk: netracker: "))
		line = substr(line, start + 31)
	else if (line ~ /^netracker: /)
		line = substr(line, 12)
	if (!parse_record(line) || (picky && !is_wanted()))
		next
	show_record()
	lost = 0
	if (max_rows != "" && ++rows >= max_rows)
		exit
}

# parse_record(LINE): fill record[]; is it a record?
function parse_record(line,   field, n, i, at)
{
	split("", record)
	n = split(line, field, " ")
	if (n < 4 || field[2] != "->" || !parse_end(field[1], "src", "sport") || !parse_end(field[3], "dst", "dport"))
		return 0
	for (i = 4; i <= n; i++)
		if (at = index(field[i], "="))
			record[substr(field[i], 1, at - 1)] = substr(field[i], at + 1)
	record["family"] = record["src"] ~ /:/ ? 6 : 4
	return record["state"] != ""
}

# parse_end(ADDRESS:PORT, NAME, NAME)
function parse_end(end, address_name, port_name,   port)
{
	if (!match(end, /:[0-9]+$/))
		return 0
	port = substr(end, RSTART + 1)
	end = substr(end, 1, RSTART - 1)
	if (end ~ /^\[[0-9a-f:.]+\]$/)
		end = substr(end, 2, length(end) - 2)
	else if (end !~ /^[0-9.]+$/)
		return 0
	record[address_name] = end
	record[port_name] = port
	return 1
}

function is_wanted()
{
	if (want_family && record["family"] != want_family)
		return 0
	if (want_port != "" && record["dport"] != want_port)
		return 0
	if (want_states != "" && !index("," want_states ",", "," record["state"] ","))
		return 0
	if (want_iface != "" && record["ifname"] != want_iface)
		return 0
	if (min_ns && lifetime_ns() + 0 < min_ns)
		return 0
	if (since_us && started_us() + lifetime_ns() / 1000 < since_us)
		return 0
	if (want_owner != "" && !is_owned_by(want_owner))
		return 0
	return want_prefix == "" || in_prefix(address_digits(record["src"]), want_prefix, want_bits) ||
		in_prefix(address_digits(record["dst"]), want_prefix, want_bits)
}

function lifetime_ns()
{
	return "age_ns" in record ? record["age_ns"] : record["dur_ns"]
}

# The wall clock's time of the first SYN, in microseconds: as many digits as a number here holds.
function started_us()
{
	return boot_us + int(record["start_ns"] / 1000)
}

# known(KEY): the value, "" if the tracker does not know it. It says so in several ways: no key, 0 where that cannot be, -1, -.
function known(key,   value)
{
	value = key in record ? record[key] : ""
	if (key == "ifname")
		return value == "-" ? "" : value
	if (value !~ /^[0-9]+$/)
		return ""
	return value == "0" && key ~ /^(first_fin_ns|syn_rtt_ns|ack_rtt_ns|cgroup)$/ ? "" : value
}

# clock(MICROSECONDS, FORMAT, UTC): as strftime does; asked mostly for the same second again.
function clock(us, format, utc,   second)
{
	second = int(us / 1000000)
	if (second != clock_second || format != clock_format) {
		clock_second = second
		clock_format = format
		clock_text = utc ? strftime(format, second, 1) : strftime(format, second)
	}
	return clock_text
}
