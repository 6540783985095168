# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records as JSON, one object a line; null where unknown. Needs record.awk and owner.awk.

# choose_members(WHOSE): what the objects of LIVE or of ENDED connections have. user and owner are no fields, but what a host knows of
# two of them. Fields that have no place of their own here come last.
function choose_members(whose,   key, n, i, json, seen)
{
	n = split("dir ifname state age_ns dur_ns first_fin_ns syn_rtt_ns ack_rtt_ns orig_bytes resp_bytes syn_retrans " \
		"srtt_us min_rtt_us retrans uid cgroup user owner", key, " ")
	for (i = 1; i <= n_fields; i++)
		key[++n] = field_key[i]
	members_of = whose
	members = 0
	for (i = 1; i <= n; i++) {
		json = key[i] == "user" || key[i] == "owner" ? key[i] : field_json[key[i]]
		if (json == "" || (field_of[key[i]] != "" && !is_of(key[i], whose)) || seen[key[i]]++)
			continue
		member[++members] = key[i]
		member_start[members] = ",\"" json "\":"
		member_prefix[members] = key[i] "="
		member_skip[members] = length(key[i]) + 2
		member_unknown[members] = field_unknown[key[i]] == "ZERO" ? "0" : "-1"
		is_number[members] = key[i] in field_unit && !(key[i] in is_text)
		is_flag[members] = is_number[members] && field_unit[key[i]] == "FLAG"
	}
}

# Numbers are looked up here, as field() does it: a call for each of them would be most of what a record costs.
function show_record(   us, line, i, at, digits)
{
	us = started_us()
	line = sprintf("{\"ts\":\"%s.%06dZ\",\"src\":\"%s\",\"sport\":%s,\"dst\":\"%s\",\"dport\":%s,\"family\":%d",
		timestamp(int(us / 1000000)), us % 1000000, address_of(originator()), port_of(originator()),
		address_of(responder()), port_of(responder()), family())
	if (members_of != (is_live() ? "LIVE" : "ENDED"))
		choose_members(is_live() ? "LIVE" : "ENDED")
	for (i = 1; i <= members; i++) {
		if (!is_number[i]) {
			line = line member_start[i] text(word(member[i]))
			continue
		}
		at = place[member[i]]
		digits = at && index($at, member_prefix[i]) == 1 ? substr($at, member_skip[i]) : field(member[i])
		if (is_flag[i])
			line = line member_start[i] (digits == "1" ? "true" : "false")
		else
			line = line member_start[i] (digits == "" || digits == member_unknown[i] || digits ~ /[^0-9]/ ? "null" : digits)
	}
	put(line (lost ? sprintf(",\"lost_before\":%.0f", lost) : "") "}")
}

function word(key)
{
	if (key != "user" && key != "owner")
		return known(key)
	return numeric ? "" : key == "user" ? user() : owner()
}
