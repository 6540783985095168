# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Reads records, from the trace or from the view of the live connections, picks those that are wanted and hands each to show_record(),
# which table.awk, json.awk and sortkey.awk define in their ways. Needs address.awk and owner.awk.
#
#	netracker: SRC:SPORT -> DST:DPORT KEY=VALUE…        the trace (with the tracer's prefix)
#	SRC:SPORT -> DST:DPORT KEY=VALUE…                   the view
#
# The record at hand is the current line, $0; values are looked up when they are asked for, as few of them are and splitting all of them
# costs more than the rest. They are text as it came: byte counts and cgroup ids can be longer than what a number here holds exactly.
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

{
	# The name of the process that the tracer puts first can be anything, so look for what follows it.
	if (start = index($0, ": bpf_trace_printk: netracker: ")) {
		$0 = substr($0, start + 31)
	} else if (/^CPU:[0-9]+ \[LOST [0-9]+ EVENTS\]$/) {
		lost += substr($2 " " $3, 7)
		print "netracker: " substr($2 " " $3, 7) + 0 " records lost: the log's buffer was full before they were read" > "/dev/stderr"
		next
	} else if ($2 != "->") {
		if (/: tracing_mark_write: netracker: detached$/) {
			print "netracker: the last interface was detached" > "/dev/stderr"
			exit
		}
		sub(/^netracker: /, "")
	}
	if (!is_record() || (picky && !is_wanted()))
		next
	show_record()
	lost = 0
	if (max_rows != "" && ++rows >= max_rows)
		exit
}

function is_record()
{
	return $2 == "->" && is_end($1) && is_end($3) && field("state") != ""
}

# is_end(ADDRESS:PORT), an IPv6 address in brackets: what tells addresses from what would do harm to a terminal or to JSON.
function is_end(end)
{
	return end ~ /^([0-9.]+|\[[0-9a-f:.]+\]):[0-9]+$/
}

# originator(), responder(): ADDRESS:PORT. address_of(END), without brackets, and port_of(END) take it apart.
function originator()
{
	return $1
}

function responder()
{
	return $3
}

function address_of(end)
{
	sub(/:[0-9]+$/, "", end)
	return substr(end, 1, 1) == "[" ? substr(end, 2, length(end) - 2) : end
}

function port_of(end)
{
	sub(/^.*:/, "", end)
	return end
}

function family()
{
	return substr($1, 1, 1) == "[" ? 6 : 4
}

# field(KEY): of the record; "" if it has no such key. Where the key stood the last time, it mostly stands again.
function field(key,   i)
{
	i = place[key]
	if (i && index($i, prefix[key]) == 1)
		return substr($i, skip[key])
	prefix[key] = key "="
	skip[key] = length(key) + 2
	if (!index($0, " " prefix[key]))
		return ""
	for (i = 4; i <= NF; i++)
		if (index($i, prefix[key]) == 1) {
			place[key] = i
			return substr($i, skip[key])
		}
	return ""
}

function is_wanted()
{
	if (want_family && family() != want_family)
		return 0
	if (want_port != "" && port_of(responder()) != want_port)
		return 0
	if (want_states != "" && !index("," want_states ",", "," field("state") ","))
		return 0
	if (want_iface != "" && field("ifname") != want_iface)
		return 0
	if (min_ns && lifetime_ns() + 0 < min_ns)
		return 0
	if (since_us && started_us() + lifetime_ns() / 1000 < since_us)
		return 0
	if (want_owner != "" && !is_owned_by(want_owner))
		return 0
	return want_prefix == "" || in_prefix(address_digits(address_of(originator())), want_prefix, want_bits) ||
		in_prefix(address_digits(address_of(responder())), want_prefix, want_bits)
}

function is_live()
{
	return field("age_ns") != ""
}

function lifetime_ns()
{
	return is_live() ? field("age_ns") : field("dur_ns")
}

# The wall clock's time of the first SYN, in microseconds: as many digits as a number here holds.
function started_us()
{
	return boot_us + int(field("start_ns") / 1000)
}

# known(KEY): the value, "" if the tracker does not know it. It says so in several ways: no key, 0 where that cannot be, -1, -.
function known(key,   found)
{
	found = field(key)
	if (key == "ifname")
		return found == "-" ? "" : found
	if (found == "" || found ~ /[^0-9]/)
		return ""
	return found == "0" && key ~ /^(first_fin_ns|syn_rtt_ns|ack_rtt_ns|cgroup)$/ ? "" : found
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
