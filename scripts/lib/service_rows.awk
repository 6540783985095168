# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Reads the figures of groups of connections, as figures.awk writes them, and hands each to show_row(), which service_table.awk and
# service_json.awk define in their ways. Needs address.awk and owner.awk.
#
# NT_TABLES: tables.tsv. NT_BY: service or peer. NT_MAX_ROWS: so many are shown; how many more there are is said on stderr. NT_NUMERIC=1: nothing is looked up.

BEGIN {
	FS = "\t"
	numeric = ENVIRON["NT_NUMERIC"] == 1
	by_peer = ENVIRON["NT_BY"] == "peer"
	while ((getline line < ENVIRON["NT_TABLES"]) > 0) {
		split(line, column, "\t")
		if (column[1] == "state")
			state_name[++n_states] = column[2]
		if (column[1] == "state" && column[3] == "FAILED")
			is_failed[column[2]]
	}
	close(ENVIRON["NT_TABLES"])
}

{
	if (NR > ENVIRON["NT_MAX_ROWS"] + 0) {
		left_over++
		next
	}
	split($0, figure, "\t")
	dir = figure[4]
	key = figure[5]
	ended = figure[6]
	live = figure[7]
	failed = figure[8]
	established = figure[10]
	handshake_p50 = figure[11]
	handshake_p99 = figure[12]
	duration_p50 = figure[13]
	duration_p99 = figure[14]
	orig_bytes = figure[15]
	resp_bytes = figure[16]
	segments = figure[17]
	resent = figure[18]
	comm = figure[20]
	comms = figure[21]
	whose = numeric ? "" : owner_of(figure[22])
	name = by_peer || numeric ? "" : name_of(key)
	held_by = ""
	most = 0
	n = split(figure[19], held, ",")
	for (i = 1; i <= n; i++) {
		split(held[i], part, ":")
		if (part[2] + 0 > most) {
			most = part[2] + 0
			held_by = part[1]
		}
	}
	states = split(figure[9], state, ",")
	show_row()
}

END {
	finish()
	if (left_over)
		printf "netracker: %.0f more %s not shown; --max-rows N shows more\n", left_over, (left_over == 1 ? "is" : "are") > "/dev/stderr"
}

# percent(PART, WHOLE): "" if there is nothing to have a part of.
function percent(part_, whole)
{
	return whole + 0 ? 100 * part_ / whole : ""
}

# name_of(PORT): what the services database, which is asked once, calls it; "" if it has no name there.
function name_of(port,   list, line, column)
{
	if (!names_read++) {
		list = "getent services </dev/null 2>/dev/null"
		while ((list | getline line) > 0)
			# https  443/tcp
			if (split(line, column, "[ \t]+") > 1 && column[2] ~ /^[0-9]+\/tcp$/ && !((column[2] + 0) in name_of_port))
				name_of_port[column[2] + 0] = column[1]
		close(list)
	}
	return name_of_port[port + 0]
}

# readable(TEXT): one as JSON has it, without what it escapes: control characters are ? for people.
function readable(text_,   at, done)
{
	while (at = index(text_, "\\")) {
		done = done substr(text_, 1, at - 1)
		if (substr(text_, at + 1, 1) == "u") {
			done = done "?"
			text_ = substr(text_, at + 6)
		} else {
			done = done (substr(text_, at + 1, 1) ~ /["\\\/]/ ? substr(text_, at + 1, 1) : "?")
			text_ = substr(text_, at + 2)
		}
	}
	return done text_
}

# owner.awk wants these; here is no record.
function known(key_)
{
	return ""
}

function field(key_)
{
	return ""
}
