# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records by the names of the Elastic Common Schema, one JSON object a line. What is not known is not there. What the schema has no name for is in
# the object netracker, by the keys of JSON. Needs record.awk, owner.awk and flow.awk.
#
# NT_HOSTNAME: of this host.

BEGIN {
	ecs_version = "8.11.0"
	ecs_host = ENVIRON["NT_HOSTNAME"] == "" ? "" : ",\"host\":{\"hostname\":" text(ENVIRON["NT_HOSTNAME"]) "}"
	split("SF closed REJ refused S0 unanswered RSTO reset RSTR reset RSTOS0 given_up S1 unfinished S2 unfinished S3 unfinished SH half_seen OTH half_seen", \
		part, " ")
	for (i = 1; i in part; i += 2)
		ecs_action[part[i]] = part[i + 1]
	# These have names there.
	split("dur_ns orig_bytes resp_bytes start_ns ifindex ifname uid cgroup pid comm", part, " ")
	for (i = 1; i in part; i++)
		ecs_has[part[i]]
	for (i = 1; i <= n_fields; i++) {
		if ((field_key[i] in ecs_has) || field_json[field_key[i]] == "")
			continue
		own_key[++own_keys] = field_key[i]
		own_start[own_keys] = ",\"" field_json[field_key[i]] "\":"
		own_prefix[own_keys] = field_key[i] "="
		own_skip[own_keys] = length(field_key[i]) + 2
		own_unknown[own_keys] = field_unknown[field_key[i]] == "ZERO" ? "0" : ""
	}
}

function show_record(   us, start, end_, live, lives_on, event, network, observer, orig, resp, ours, cgroup, state, dir, lifetime)
{
	take_ends()
	live = is_live()
	lives_on = live || is_interim()
	lifetime = known(live ? "age_ns" : "dur_ns")
	us = started_us()
	start = time_stamp(us, "start")
	end_ = time_stamp(us + int(lifetime / 1000), "end")
	state = field("state")
	dir = field("dir")
	ours = known("uid")
	cgroup = known("cgroup")
	if (!((ours, cgroup) in user_part))
		know_owner(ours, cgroup)
	orig = known("orig_bytes")
	resp = known("resp_bytes")
	event = "\"event\":{\"kind\":\"" (lives_on ? "state" : "event") "\",\"category\":[\"network\"],\"type\":[\"connection\",\"" (lives_on ? "info" : "end") "\"]" \
		",\"module\":\"netracker\",\"dataset\":\"netracker." (live ? "list" : "log") "\",\"start\":\"" start "\""
	if (lives_on && !live)
		event = event ",\"duration\":" lifetime ",\"id\":\"" connection_uid() "\",\"action\":\"connection_interim\""
	else if (!live)
		event = event ",\"end\":\"" end_ "\"" (lifetime == "" ? "" : ",\"duration\":" lifetime) ",\"id\":\"" connection_uid() "\",\"action\":\"connection_" \
			ecs_action[state] "\",\"outcome\":\"" outcome(state) "\""
	network = "\"network\":{\"transport\":\"tcp\",\"type\":\"ipv" family() "\",\"iana_number\":\"6\""
	# A sum that is more than a number here holds exactly is not told.
	if (orig != "" && resp != "" && orig + resp < 9007199254740992)
		network = network sprintf(",\"bytes\":%.0f", orig + resp)
	# From this host's point of view, if it is one of the ends.
	if (ours != "")
		network = network ",\"direction\":\"" (dir == "in" ? "ingress" : "egress") "\""
	observer = known("ifname")
	observer = "\"observer\":{\"type\":\"sensor\",\"product\":\"NeTracker\",\"" (dir == "in" ? "ingress" : "egress") \
		"\":{\"interface\":{\"id\":\"" field("ifindex") "\"" (observer == "" ? "" : ",\"name\":" text(observer)) "}}}"
	put("{\"@timestamp\":\"" end_ "\",\"ecs\":{\"version\":\"" ecs_version "\"}," event "},\"source\":" end_of(src, sport, orig) \
		",\"destination\":" end_of(dst, dport, resp) "," network (community ? ",\"community_id\":\"" community_place_of_record() "\"" : "") "}" \
		ecs_host "," observer user_part[ours, cgroup] process_part() ",\"netracker\":{" substr(own() cgroup_part[ours, cgroup], 2) "}}")
}

function time_stamp(us, series)
{
	return timestamp(int(us / 1000000), series) sprintf(".%06dZ", us % 1000000)
}

function end_of(address, port, bytes_)
{
	return "{\"address\":\"" address "\",\"ip\":\"" address "\",\"port\":" port (bytes_ == "" ? "" : ",\"bytes\":" bytes_) "}"
}

# outcome(STATE): what did not finish, or was seen from one side alone, may have been either.
function outcome(state)
{
	return state == "SF" ? "success" : state in is_failed ? "failure" : "unknown"
}

# know_owner(UID, CGROUP): what a record says of them. What owns one connection owns many.
function know_owner(uid_, cgroup,   container)
{
	container = numeric || cgroup == "" ? "" : container_of(cgroup)
	user_part[uid_, cgroup] = (uid_ == "" ? "" : ",\"user\":{\"id\":\"" uid_ "\"" (numeric ? "" : ",\"name\":" text(user_of(uid_))) "}") \
		(container == "" ? "" : ",\"container\":{\"id\":\"" container "\"}")
	# 64 bits are more than a number there holds.
	cgroup_part[uid_, cgroup] = cgroup == "" ? "" : ",\"cgroup\":\"" cgroup "\"" (numeric ? "" : ",\"owner\":" text(owner_of(cgroup)))
}

# process_part(): a process may have given itself an empty name. Names are few.
function process_part(   pid, comm)
{
	pid = known("pid")
	if (pid == "")
		return ""
	comm = known("comm")
	if (!(comm in name_part))
		name_part[comm] = comm == "" ? "" : ",\"name\":" text(comm)
	return ",\"process\":{\"pid\":" pid name_part[comm] "}"
}

# container_of(CGROUP): all 64 digits of the innermost one.
function container_of(cgroup,   n, i)
{
	if (!(cgroup in container_in)) {
		# It reads where the cgroup is.
		owner_of(cgroup)
		container_in[cgroup] = ""
		for (i = n = split(cgroup_path[cgroup], part, "/"); i > 1 && container_in[cgroup] == ""; i--)
			container_in[cgroup] = container_id(part[i])
	}
	return container_in[cgroup]
}

# own(): what is ours alone. Numbers are looked up here, as field() does it.
function own(   i, key, value, at, line)
{
	for (i = 1; i <= own_keys; i++) {
		key = own_key[i]
		if (key in is_text) {
			# They are few.
			value = known(key)
			if (!((i, value) in own_text))
				own_text[i, value] = value == "" ? "" : own_start[i] text(value)
			line = line own_text[i, value]
			continue
		}
		at = place[key]
		value = at && index($at, own_prefix[i]) == 1 ? substr($at, own_skip[i]) : field(key)
		if (value != "" && value != own_unknown[i] && value !~ /[^0-9]/)
			line = line own_start[i] value
	}
	if (lost)
		line = line sprintf(",\"lost_before\":%.0f", lost)
	return line
}
