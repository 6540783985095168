# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What a report tells of all connections together: goes over the objects of the log once, before grouped.awk, which each of them is left to that
# counts. Needs object.awk, and of record.awk, behind which nothing may stand that reads lines, the calendar. In memory are counts, no more than MOST
# places of time, which become longer as the time grows, and the few connections that are shown.
#
# NT_TABLES: tables.tsv. NT_SINCE_US: those that ended before are left out. NT_UTC=1: times in UTC. NT_TOTALS: the file that is written at the end:
# lines of fields with tabs between.
#
#	total NAME COUNT        ended, failed, established, adopted, unknown.process, unknown.held, lost: records; strange: lines that are none
#	state NAME COUNT
#	held REASON COUNT
#	period FIRST LAST OFFSET WIDTH  microseconds since 1970 of the first and the last end; by how many seconds local time is ahead of UTC, which it is
#	                        for the whole report; how long a place of time is, in microseconds
#	place START ENDED FAILED        START in microseconds since 1970, which has no more digits than a number holds
#	slow, failure STARTED DURATION STATE DIR ORIGINATOR RESPONDER PORT COMM HELD_BY HELD_PCT RESET_REASON ORIG_BYTES RESP_BYTES ADOPTED
#
# The failures are the latest, the latest last; the slow ones are those that lived longest, the longest last. Names are as JSON has them.

BEGIN {
	MOST = 240
	SHOWN = 15
	utc = ENVIRON["NT_UTC"] == 1
	# Each width is a multiple of the one before.
	widths = split("10000 50000 100000 500000 1000000 5000000 10000000 30000000 60000000 300000000 600000000 1800000000 3600000000 " \
		"21600000000 86400000000 604800000000", width_of, " ")
	width = width_of[at_width = 1]
	while ((getline line < ENVIRON["NT_TABLES"]) > 0) {
		split(line, column, "\t")
		if (column[1] == "state")
			report_state[++report_states] = column[2]
		if (column[1] == "state")
			is_state[column[2]]
	}
	close(ENVIRON["NT_TABLES"])
}

{
	stamp_ = value("ts")
	lifetime = value("duration_ns")
	state = value("state")
	way_in = value("dir")
	if (substr($0, 1, 1) != "{" || index($0, "\t") || lifetime == "" || !(state in is_state) || (way_in != "in" && way_in != "out") ||
		value("dport") ~ /[^0-9]/ || stamp_ !~ /^[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]*Z$/) {
		if ($0 != "")
			strange++
		next
	}
	started = microseconds(stamp_)
	at = started + int(lifetime / 1000)
	if (at < since_us)
		next
	if (before = value("lost_before"))
		lost_records += before
	if (value("interim") != "")
		next
	ended++
	has_failed = state in is_failed
	failed += has_failed
	state_count[state]++
	note_time(at)
	established += value("syn_rtt_ns") != "" && value("ack_rtt_ns") != ""
	is_adopted = index($0, "\"adopted\":true") > 0
	adopted += is_adopted
	without_process += value("comm") == ""
	reason = value("held_by")
	if (reason !~ /^[a-z_]+$/)
		without_reason++
	else if (!held_count[reason]++)
		held_reason[++held_reasons] = reason
	keep("slow", lifetime + 0)
	if (has_failed)
		keep("failure", at)
}

# microseconds(TS): since 1970.
function microseconds(ts,   day)
{
	day = substr(ts, 1, 10)
	if (day != latest_day) {
		latest_day = day
		day_began = days_until(substr(ts, 1, 4) + 0, substr(ts, 6, 2) + 0, substr(ts, 9, 2) + 0) * 86400
	}
	return (day_began + substr(ts, 12, 2) * 3600 + substr(ts, 15, 2) * 60 + substr(ts, 18, 2)) * 1000000 + int(substr("0" substr(ts, 20), 1, 8) * 1000000 + 0.5)
}

# days_until(YEAR, MONTH, DAY): since 1970; date_of() the other way round.
function days_until(year, month, day,   era)
{
	year -= month < 3
	era = int(year / 400)
	year -= era * 400
	return era * 146097 + year * 365 + int(year / 4) - int(year / 100) + int((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1 - 719468
}

# note_time(US): one has ended then.
function note_time(us,   i)
{
	if (ended == 1) {
		offset = utc ? 0 : ask_offset(int(us / 1000000))
		# A Monday, so that what becomes a day or a week begins with one. Places are counted from there, as indices beyond 2^31 are not the same text everywhere.
		base = (floor((us / 1000000 + offset - 345600) / 604800) * 604800 + 345600 - offset) * 1000000
		first_place = last_place = floor((us - base) / width)
		first_us = last_us = us
	}
	if (us < first_us)
		first_us = us
	if (us > last_us)
		last_us = us
	while ((i = floor((us - base) / width)) - first_place >= MOST || last_place - i >= MOST)
		widen()
	if (i < first_place)
		first_place = i
	if (i > last_place)
		last_place = i
	ended_at[i]++
	if (has_failed)
		failed_at[i]++
}

# widen(): places of the next width.
function widen(   i, times, old_ended, old_failed)
{
	times = at_width < widths ? width_of[at_width + 1] / width : 4
	at_width++
	for (i = first_place; i <= last_place; i++) {
		if (i in ended_at)
			old_ended[i] = ended_at[i]
		if (i in failed_at)
			old_failed[i] = failed_at[i]
	}
	split("", ended_at)
	split("", failed_at)
	for (i in old_ended)
		ended_at[floor(i / times)] += old_ended[i]
	for (i in old_failed)
		failed_at[floor(i / times)] += old_failed[i]
	first_place = floor(first_place / times)
	last_place = floor(last_place / times)
	width *= times
}

function floor(number,   whole)
{
	whole = int(number)
	return whole > number ? whole - 1 : whole
}

# keep(LIST, KEY): the record at hand, if it is among the SHOWN whose KEY is highest.
function keep(list, key_,   i)
{
	if (high[list] - low[list] == SHOWN) {
		if (key_ <= kept_key[list, low[list]])
			return
		delete kept_key[list, low[list]]
		delete kept_row[list, low[list]]
		low[list]++
	}
	for (i = high[list]++; i > low[list] && kept_key[list, i - 1] > key_; i--) {
		kept_key[list, i] = kept_key[list, i - 1]
		kept_row[list, i] = kept_row[list, i - 1]
	}
	kept_key[list, i + 0] = key_
	kept_row[list, i + 0] = local_time(started) "\t" lifetime "\t" state "\t" way_in "\t" end_of("src", "sport") "\t" end_of("dst", "dport") "\t" \
		value("dport") "\t" value("comm") "\t" value("held_by") "\t" value("held_pct") "\t" value("reset_reason") "\t" \
		value("orig_bytes") "\t" value("resp_bytes") "\t" is_adopted
}

# end_of(ADDRESS, PORT)
function end_of(address, port,   where)
{
	where = value(address)
	return (index(where, ":") ? "[" where "]" : where) ":" value(port)
}

# local_time(US): 2026-01-31 23:59:59.123
function local_time(us,   second)
{
	second = int(us / 1000000)
	return date_of(second + offset) " " time_of(second + offset) sprintf(".%03d", int((us - second * 1000000) / 1000))
}

END {
	totals = ENVIRON["NT_TOTALS"]
	printf "total\tended\t%.0f\ntotal\tfailed\t%.0f\ntotal\testablished\t%.0f\n", ended, failed, established > totals
	printf "total\tadopted\t%.0f\ntotal\tunknown.process\t%.0f\ntotal\tunknown.held\t%.0f\n", adopted, without_process, without_reason > totals
	printf "total\tlost\t%.0f\ntotal\tstrange\t%.0f\n", lost_records, strange > totals
	for (i = 1; i <= report_states; i++)
		printf "state\t%s\t%.0f\n", report_state[i], state_count[report_state[i]] > totals
	for (i = 1; i <= held_reasons; i++)
		printf "held\t%s\t%.0f\n", held_reason[i], held_count[held_reason[i]] > totals
	if (ended) {
		printf "period\t%.0f\t%.0f\t%d\t%.0f\t%s\t%s\n", first_us, last_us, offset, width, local_time(first_us), local_time(last_us) > totals
		for (i = first_place; i <= last_place; i++)
			printf "place\t%.0f\t%.0f\t%.0f\n", base + i * width, (i in ended_at) ? ended_at[i] : 0, (i in failed_at) ? failed_at[i] : 0 > totals
	}
	tell_kept("slow")
	tell_kept("failure")
	close(totals)
}

function tell_kept(list,   i)
{
	for (i = low[list] + 0; i < high[list] + 0; i++)
		print list "\t" kept_row[list, i] > totals
}

# record.awk wants this; no line comes so far.
function show_record()
{
}
