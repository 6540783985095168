# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The figures of groups of connections that grouped.awk has told apart and sort has brought together: one group at a time is in memory,
# however many there are. Needs figures.awk.

BEGIN {
	FS = "\t"
}

# DIR GROUP STATE DURATION HANDSHAKE ORIG_BYTES RESP_BYTES SEGMENTS RESENT HELD_BY COMM CGROUP ADOPTED; no DURATION: it is alive. How long one has
# lived that is older than the tracker, nobody knows.
{
	if ($1 "\t" $2 != group)
		next_group($1 "\t" $2)
	if ($4 == "") {
		live[group]++
		count_holder(group, $11, $12, 0)
		next
	}
	ended[group]++
	state_count[group, $3]++
	if (!$13)
		count_time(group, DURATION, $4)
	if ($5 != "") {
		established[group]++
		count_time(group, HANDSHAKE, $5)
	}
	orig_bytes[group] += $6
	resp_bytes[group] += $7
	segments[group] += $8
	resent[group] += $9
	if ($10 != "") {
		know_reason($10)
		held_count[group, $10]++
	}
	count_holder(group, $11, $12, ($3 in is_failed) + 0)
}

function next_group(next_)
{
	if (group != "") {
		# Where there are several kinds of groups, their word tells.
		if (group ~ /^[a-z]+ /)
			sort_by = group ~ /^service / ? "worst" : "ended"
		put_figures(group)
	}
	group = next_
	split("", ended)
	split("", live)
	split("", established)
	split("", state_count)
	split("", held_count)
	split("", bucket)
	split("", timed)
	split("", lowest)
	split("", orig_bytes)
	split("", resp_bytes)
	split("", segments)
	split("", resent)
	split("", comm_count)
	split("", comm_list)
	split("", cgroup_count)
	split("", cgroup_list)
}

END {
	if (group != "")
		next_group("")
}
