# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Reads records, from the log or from the view of the live connections, picks those that are wanted and hands each to show_record(),
# which table.awk, json.awk, csv.awk, ecs.awk, zeek.awk and sortkey.awk define in their ways. Needs address.awk and owner.awk.
#
#	netracker: SRC:SPORT -> DST:DPORT KEY=VALUE…        the log and the trace (whose tracer puts something before it)
#	SRC:SPORT -> DST:DPORT KEY=VALUE…                   the view of the live ones
#
# The record at hand is the current line, $0; values are looked up when they are asked for, as few of them are and splitting all of them
# costs more than the rest. They are text as it came: byte counts and cgroup ids can be longer than what a number here holds exactly.
# What is wanted is told in the environment, because awk would interpret backslashes in variables of the command line:
# NT_FAMILY NT_ADDR NT_PORT NT_STATES NT_IFACE NT_OWNER NT_PROCESS NT_PID NT_MIN_NS NT_SINCE_US NT_MAX_ROWS, and NT_BOOT_US: the time of boot in microseconds.
#
# NT_TABLES: the file tables.tsv, which says what states and fields there are.
#
# NT_NUMERIC=1: users and owners are shown as their numbers.
#
# NT_BATCHES=1: lines come in batches and go out in batches, so that whoever reads the log knows at any time what has become of what it
# took (log.sh). The line "netracker: end of batch" is answered with "ROWS BYTES MORE TAKEN LOST LEFT" and BYTES of output behind it.
# MORE is 0 once nothing more is wanted, and LEFT says how many records then came too late; TAKEN counts the others and those that
# were lost before them, LOST these alone. The line "netracker: written BYTES" asks what was not in the first BYTES of it, and is answered
# with "ROWS TAKEN LOST": how many rows, and how much was taken until the last row that was. "netracker: boot MICROSECONDS" sets NT_BOOT_US.
# "netracker: end of log" says that no more records come: a form that ends with a line of its own puts it into the batch then.
#
# NT_COMMUNITY_ID=1: a place for the connection's Community ID is left in each row, and what it is made of stands before the row, with a tab
# between, for community_id.pl, which comes behind. BYTES are those of the row alone; the place is as long as what is put into it.
#
# What is written here has to mean the same to mawk, gawk, busybox awk and the original awk: no strftime, no powers, no %d of a number
# that may be beyond 2^31, no {n} in patterns, no variable with the name of a function.

BEGIN {
	want_family = ENVIRON["NT_FAMILY"]
	want_port = ENVIRON["NT_PORT"]
	want_states = ENVIRON["NT_STATES"]
	want_iface = ENVIRON["NT_IFACE"]
	want_owner = ENVIRON["NT_OWNER"]
	want_process = ENVIRON["NT_PROCESS"]
	want_pid = ENVIRON["NT_PID"]
	min_ns = ENVIRON["NT_MIN_NS"] + 0
	since_us = ENVIRON["NT_SINCE_US"] + 0
	max_rows = ENVIRON["NT_MAX_ROWS"]
	batches = ENVIRON["NT_BATCHES"] == 1
	numeric = ENVIRON["NT_NUMERIC"] == 1
	read_tables(ENVIRON["NT_TABLES"])
	boot_us = ENVIRON["NT_BOOT_US"] + 0
	community = ENVIRON["NT_COMMUNITY_ID"] == 1
	# A character that nothing else in a row can be.
	community_place = "\001\001\001\001\001\001\001\001\001\001"
	community_place = community_place community_place community_place
	if (ENVIRON["NT_ADDR"] != "" && parse_prefix(ENVIRON["NT_ADDR"])) {
		want_prefix = prefix_digits
		want_bits = prefix_bits
		want_zone = prefix_zone
	}
	picky = (want_family want_port want_states want_iface want_owner want_process want_pid want_prefix) != "" || min_ns || since_us
	rows = rows_before = held = bytes = 0
	# Conn.log and the table of quality tell of connections as they have ended.
	finals_alone = ENVIRON["NT_TABLE"] == "quality" || ENVIRON["NT_FORMAT"] ~ /^zeek/
	over = max_rows == "0"
	if (over && !batches)
		exit
}

batches && /^netracker: (end of (batch|log)|written [0-9]+|boot [0-9]+)$/ {
	if ($4 == "log")
		put_footer()
	else if ($2 == "end")
		end_batch()
	else if ($2 == "written")
		tell_missing($3)
	else
		boot_us = $3 + 0
	next
}

substr($0, 1, 1) != "{" {
	if (start = index($0, "netracker: "))
		$0 = substr($0, start + 11)
	if (!is_record())
		next
	if (over) {
		left_over++
		next
	}
	note_record(index($NF, "lost_before=") == 1 ? substr($NF, 13) : 0)
	if (finals_alone && is_interim())
		next
	if (picky && !is_wanted())
		next
	show_record()
	note_row()
}

# note_record(LOST): a record has come, before which so many were overwritten until now.
function note_record(n)
{
	if (!taken)
		begin_batch()
	taken += 1 + n
	if (!n)
		return
	taken_lost += n
	lost += n
	losses_unsaid += n
	if (!batches)
		say_losses()
}

# note_row(): it has been shown.
function note_row()
{
	lost = 0
	rows++
	if (batches && taken != rows - rows_before) {
		taken_at[rows - rows_before] = taken
		lost_at[rows - rows_before] = taken_lost
	}
	if (max_rows != "" && rows >= max_rows + 0) {
		over = 1
		if (!batches)
			exit
	}
}

# Said once a batch.
function say_losses()
{
	if (losses_unsaid)
		printf "netracker: %.0f records lost: the log's buffer was full before they were read\n", losses_unsaid > "/dev/stderr"
	losses_unsaid = 0
}

# put(LINE): all that goes out goes through here. In batches lines are held until the end.
function put(line)
{
	if (batches)
		bytes += length(line) + 1
	if (community) {
		line = community_input "\t" line
		community_input = ""
	}
	if (batches)
		held_line[held++] = line
	else
		print line
}

# put_footer(): what the form that sets footer ends with, and when.
function put_footer()
{
	if (footer != "")
		put(footer now())
}

# now(): 2026-01-31-23-59-59, as Zeek has it: in local time, or with NT_UTC in UTC.
function now(   question, answer)
{
	question = "date " (ENVIRON["NT_UTC"] == 1 ? "-u " : "") "+%Y-%m-%d-%H-%M-%S </dev/null 2>/dev/null"
	question | getline answer
	close(question)
	return answer
}

# begin_batch(): where a row is not the only record since the row before it, these tell what was taken until then.
function begin_batch()
{
	split("", taken_at)
	split("", lost_at)
}

# To mawk, when it does not wait for full buffers of input, each print is a system call.
function end_batch(   i)
{
	say_losses()
	batch_rows = rows - rows_before
	printf("%.0f %.0f %d %.0f %.0f %.0f\n", batch_rows, bytes, !over, taken, taken_lost, left_over)
	for (i = 0; i + 7 < held; i += 8)
		print held_line[i] "\n" held_line[i + 1] "\n" held_line[i + 2] "\n" held_line[i + 3] "\n" \
			held_line[i + 4] "\n" held_line[i + 5] "\n" held_line[i + 6] "\n" held_line[i + 7]
	for (; i < held; i++)
		print held_line[i]
	fflush()
	handed_out = held
	rows_before = rows
	held = bytes = taken = taken_lost = left_over = 0
}

# tell_missing(BYTES): each row is a line. Headings go out in a batch without rows.
function tell_missing(bytes_,   rows_out)
{
	rows_out = 0
	while (rows_out < handed_out && rows_out < batch_rows && (bytes_ -= length(shown_of(held_line[rows_out])) + 1) >= 0)
		rows_out++
	printf("%.0f %.0f %.0f\n", batch_rows - rows_out, rows_out in taken_at ? taken_at[rows_out] : rows_out, lost_at[rows_out] + 0)
	fflush()
}

# shown_of(LINE): without what stands before it for community_id.pl.
function shown_of(line)
{
	return community ? substr(line, index(line, "\t") + 1) : line
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
	if (want_iface != "" && known("ifname") != want_iface)
		return 0
	if (want_zone != "" && known("ifname") != want_zone && field("ifindex") != want_zone)
		return 0
	if (want_pid != "" && field("pid") != want_pid)
		return 0
	if (want_process != "" && known("comm") != want_process)
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

# A record of a connection that lives on, not one of the live connections.
function is_interim()
{
	return field("interim") != ""
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

# read_tables(FILE): the states of connections that failed, as indices of is_failed; the fields that records have, field_key[1] …
# field_key[n_fields], in the order of the line; and by key, what tracker/tables.h says of each.
function read_tables(file,   line, column)
{
	while ((getline line < file) > 0) {
		split(line, column, "\t")
		if (column[1] == "state" && column[3] == "FAILED")
			is_failed[column[2]]
		if (column[1] != "field")
			continue
		field_key[++n_fields] = column[2]
		field_json[column[2]] = column[3]
		field_of[column[2]] = column[4]
		field_unit[column[2]] = column[5]
		if (column[5] == "TEXT" || column[5] == "NAME")
			is_text[column[2]]
		field_unknown[column[2]] = column[6]
		field_heading[column[2]] = column[7]
		field_width[column[2]] = column[8]
	}
	close(file)
}

# is_of(KEY, WHOSE): do LIVE connections, or records of ENDED ones, have this field?
function is_of(key, whose)
{
	return whose == "LIVE" ? field_of[key] != "ENDED" && field_of[key] != "INTERIM" : field_of[key] != "LIVE"
}

# known(KEY): the value, "" if the tracker does not know it. It says so in several ways: no key, 0 where that cannot be, -1, -.
function known(key,   found)
{
	found = field(key)
	if (key in is_text)
		return found == "-" && field_unknown[key] == "DASH" ? "" : index(found, "\\") ? unescaped(found) : found
	if (found == "" || found ~ /[^0-9]/)
		return ""
	return found == "0" && field_unknown[key] == "ZERO" ? "" : found
}

# date_of(SECOND): 2026-01-31, in UTC. The year is taken to begin in March: then the leap day is its last one.
function date_of(second,   day, era, year, month)
{
	day = int(second / 86400) + 719468
	era = int(day / 146097)
	day -= era * 146097
	year = int((day - int(day / 1460) + int(day / 36524) - int(day / 146096)) / 365)
	day -= 365 * year + int(year / 4) - int(year / 100)
	month = int((5 * day + 2) / 153)
	day -= int((153 * month + 2) / 5) - 1
	month += month < 10 ? 3 : -9
	return sprintf("%04d-%02d-%02d", era * 400 + year + (month < 3), month, day)
}

# timestamp(SECOND [, SERIES]): 2026-01-31T23:59:59, in UTC. In one series it is asked mostly for the same second again.
function timestamp(second, series)
{
	if (stamp[series] == "" || second != stamped_second[series]) {
		stamped_second[series] = second
		stamp[series] = date_of(second) "T" time_of(second)
	}
	return stamp[series]
}

# time_of(SECOND): 23:59:59, of a second since 1970 as UTC counts them, or of one that local_second() has moved.
function time_of(second)
{
	second -= int(second / 86400) * 86400
	if (second < 0)
		second += 86400
	return sprintf("%02d:%02d:%02d", int(second / 3600), int(second / 60) % 60, second % 60)
}

# local_second(SECOND): moved by what the clock on the wall is ahead of UTC, which is the same for the whole of most days.
function local_second(second,   day, minute)
{
	day = int(second / 86400)
	if (!(day in offset_of_day))
		offset_of_day[day] = ask_offset(day * 86400) == ask_offset((day + 1) * 86400) ? ask_offset(day * 86400) : "changes"
	if (offset_of_day[day] != "changes")
		return second + offset_of_day[day]
	minute = int(second / 60)
	return second + ask_offset(minute * 60)
}

# ask_offset(SECOND): seconds that local time is ahead of UTC. date knows the rules of all time zones; it is asked once.
function ask_offset(second,   question, answer, part)
{
	if (second in offset_at)
		return offset_at[second]
	question = "date --date=@" sprintf("%.0f", second) " +%::z </dev/null 2>/dev/null"
	question | getline answer
	close(question)
	split(substr(answer, 2), part, ":")
	offset_at[second] = (part[1] * 3600 + part[2] * 60 + part[3]) * (answer ~ /^-/ ? -1 : 1)
	return offset_at[second]
}
