# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The figures of groups of connections, from whoever counts them (services.awk, groups.awk) to whoever shows them (service_rows.awk). A group
# is DIR and a tab and the port or address of what its connections have in common. They are lines of fields with tabs between:
#
#	1-3   what the lines are sorted by, each the higher the earlier: what NT_SORT names, then the handshake's 99th percentile, then ENDED
#	4-8   DIR, port or address, ENDED, LIVE, FAILED: how many
#	9     STATE:COUNT,… of those that ended, in the order of the table of states
#	10    ESTABLISHED
#	11-14 median and 99th percentile of handshake and duration, nanoseconds; > before them: more than that; empty: unknown
#	15-18 bytes of the originators and of the responders, segments sent, segments sent again
#	19    REASON:COUNT,… of what held them back most
#	20-22 the process that has most of them, as in JSON without quotes, how many there are of different names, and the cgroup that has most
#	23-24 BUCKET:COUNT,… of handshake and duration
#
# NT_TABLES: tables.tsv. NT_SORT: worst, failed, ended, live, handshake, duration, bytes or retransmitted. NT_LIVE=0: nobody knows who is alive.
#
# How many there are is in ended[GROUP], live[], established[]; state_count[GROUP, STATE], held_count[GROUP, REASON]; of histograms in
# bucket[GROUP, HANDSHAKE or DURATION, I] and timed[GROUP, …], where those below lowest[GROUP, …] are empty. Sums are text where they came as
# text, as 64 bits are more than a number holds.

BEGIN {
	HANDSHAKE = "h"
	DURATION = "d"
	sort_by = ENVIRON["NT_SORT"]
	while ((getline line < ENVIRON["NT_TABLES"]) > 0) {
		split(line, column, "\t")
		if (column[1] == "state")
			state_name[++states] = column[2]
		if (column[1] == "state" && column[3] == "FAILED")
			is_failed[column[2]]
		if (column[1] == "constant")
			constant[column[2]] = column[3]
	}
	close(ENVIRON["NT_TABLES"])
	# Bucket i counts times below limit[i], the last one all longer ones too. No powers: an awk may be built without.
	limit[0] = 1
	for (i = 0; i < constant["HIST_SHIFT"]; i++)
		limit[0] *= 2
	last_bucket = constant["HIST_BUCKETS"] - 1
	for (i = 1; i <= last_bucket; i++)
		limit[i] = limit[i - 1] * 2
	# The first bucket that a number of so many digits can be in.
	digits = 1
	for (i = 0; i < last_bucket; i++)
		for (ten = ten ? ten : 1; ten < limit[i]; ten *= 10)
			first_bucket[digits++] = i
}

# count_time(GROUP, KIND, NS), which is digits.
function count_time(group, kind, ns,   i)
{
	i = length(ns) < digits ? first_bucket[length(ns)] : last_bucket
	for (ns += 0; i < last_bucket && ns >= limit[i]; i++)
		;
	bucket[group, kind, i]++
	if (!timed[group, kind]++ || i < lowest[group, kind])
		lowest[group, kind] = i
}

# count_holder(GROUP, COMM, CGROUP, HAS_FAILED): whose a connection is. Who has most of those that failed comes first.
function count_holder(group, comm, cgroup, has_failed)
{
	if (comm != "" && !((group, comm) in comm_count))
		comm_list[group] = comm_list[group] "\n" comm
	if (comm != "")
		comm_count[group, comm] += 1 + has_failed * 1e9
	if (cgroup != "" && !((group, cgroup) in cgroup_count))
		cgroup_list[group] = cgroup_list[group] "\n" cgroup
	if (cgroup != "")
		cgroup_count[group, cgroup] += 1 + has_failed * 1e9
}

# percentile(GROUP, KIND, SHARE): nanoseconds, where the bucket's connections are taken to lie evenly between its bounds, as Prometheus'
# histogram_quantile() does; > and its lower bound for the last one, which has no upper one.
function percentile(group, kind, share,   i, rank, below)
{
	if (!timed[group, kind])
		return ""
	rank = share * timed[group, kind]
	for (i = lowest[group, kind] + 0; i < last_bucket; i++) {
		if (bucket[group, kind, i] && below + bucket[group, kind, i] >= rank)
			break
		below += bucket[group, kind, i]
	}
	if (i == last_bucket)
		return sprintf(">%.0f", limit[i - 1])
	return sprintf("%.0f", (i ? limit[i - 1] : 0) + (limit[i] - (i ? limit[i - 1] : 0)) * (rank - below) / bucket[group, kind, i])
}

# put_figures(GROUP)
function put_figures(group,   i, n, part, failed, of_states, of_reasons, slow, comm, cgroup, key)
{
	for (i = 1; i <= states; i++) {
		n = state_count[group, state_name[i]]
		if (n + 0 == 0)
			continue
		of_states = of_states (of_states == "" ? "" : ",") state_name[i] ":" n
		if (state_name[i] in is_failed)
			failed += n
	}
	n = split(reasons, part, " ")
	for (i = 1; i <= n; i++)
		if (held_count[group, part[i]] + 0)
			of_reasons = of_reasons (of_reasons == "" ? "" : ",") part[i] ":" held_count[group, part[i]]
	slow = percentile(group, HANDSHAKE, 0.99)
	n = split(substr(comm_list[group], 2), part, "\n")
	for (i = 1; i <= n; i++)
		if (comm == "" || comm_count[group, part[i]] > comm_count[group, comm])
			comm = part[i]
	comms = n
	n = split(substr(cgroup_list[group], 2), part, "\n")
	for (i = 1; i <= n; i++)
		if (cgroup == "" || cgroup_count[group, part[i]] > cgroup_count[group, cgroup])
			cgroup = part[i]
	if (sort_by == "worst")
		# What weighs less than one failure counts as none.
		key = ended[group] ? int(failed * failed / ended[group]) : 0
	else if (sort_by == "failed")
		key = ended[group] ? failed / ended[group] : 0
	else if (sort_by == "ended")
		key = ended[group]
	else if (sort_by == "live")
		key = live[group]
	else if (sort_by == "handshake")
		key = without_mark(slow)
	else if (sort_by == "duration")
		key = without_mark(percentile(group, DURATION, 0.99))
	else if (sort_by == "bytes")
		key = orig_bytes[group] + resp_bytes[group]
	else
		key = segments[group] + 0 ? resent[group] / segments[group] : 0
	printf "%.9f\t%s\t%.0f\t%s\t", key, without_mark(slow), ended[group], group
	printf "%.0f\t%s\t%.0f\t%s\t%.0f\t", ended[group], (ENVIRON["NT_LIVE"] == "0" ? "" : live[group] + 0), failed, of_states, established[group]
	printf "%s\t%s\t%s\t%s\t", percentile(group, HANDSHAKE, 0.5), slow, percentile(group, DURATION, 0.5), percentile(group, DURATION, 0.99)
	printf "%s\t%s\t%s\t%s\t", amount(orig_bytes[group]), amount(resp_bytes[group]), amount(segments[group]), amount(resent[group])
	printf "%s\t%s\t%d\t%s\t%s\t%s\n", of_reasons, comm, comms, cgroup, histogram(group, HANDSHAKE), histogram(group, DURATION)
}

# histogram(GROUP, KIND): BUCKET:COUNT,… of those that are not empty.
function histogram(group, kind,   i, list)
{
	for (i = lowest[group, kind] + 0; timed[group, kind] && i <= last_bucket; i++)
		if (bucket[group, kind, i] + 0)
			list = list (list == "" ? "" : ",") i ":" bucket[group, kind, i]
	return list
}

function without_mark(ns)
{
	sub(/^>/, "", ns)
	return ns == "" ? 0 : ns
}

# amount(SUM): digits as they came, or of a number that was added up here.
function amount(sum)
{
	return sum ~ /^[0-9]+$/ ? sum : sprintf("%.0f", sum)
}

# know_reason(REASON): that it is one. They come in the order in which they became known.
function know_reason(reason)
{
	if (!(reason in is_reason))
		reasons = reasons (reasons == "" ? "" : " ") reason
	is_reason[reason]
}
