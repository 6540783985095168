# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records as JSON, one object a line; null where unknown. Needs record.awk.

BEGIN {
	# user and owner are no fields, but what a host knows of two of them. Fields that have no place of their own here come last.
	add("dir ifname state age_ns dur_ns first_fin_ns syn_rtt_ns ack_rtt_ns orig_bytes resp_bytes syn_retrans " \
		"srtt_us min_rtt_us retrans uid cgroup user owner")
	for (i = 1; i <= n_fields; i++)
		add(field_key[i])
}

# add(KEYS): to the members of each object.
function add(keys,   key, n, i, json)
{
	n = split(keys, key, " ")
	for (i = 1; i <= n; i++) {
		json = key[i] == "user" || key[i] == "owner" ? key[i] : field_json[key[i]]
		if (json == "" || is_member[key[i]]++)
			continue
		member[++members] = key[i]
		member_start[members] = ",\"" json "\":"
		member_of[members] = field_of[key[i]]
		is_number[members] = key[i] in field_unit && field_unit[key[i]] != "TEXT"
	}
}

function show_record(   us, line, i, not_here)
{
	us = started_us()
	line = sprintf("{\"ts\":\"%s.%06dZ\",\"src\":\"%s\",\"sport\":%s,\"dst\":\"%s\",\"dport\":%s,\"family\":%d",
		timestamp(int(us / 1000000)), us % 1000000, address_of(originator()), port_of(originator()),
		address_of(responder()), port_of(responder()), family())
	not_here = is_live() ? "ENDED" : "LIVE"
	for (i = 1; i <= members; i++)
		if (member_of[i] != not_here)
			line = line member_start[i] (is_number[i] ? number(member[i]) : text(word(member[i])))
	put(line (lost ? sprintf(",\"lost_before\":%.0f", lost) : "") "}")
}

function word(key)
{
	return key == "user" ? user() : key == "owner" ? owner() : known(key)
}

# timestamp(SECOND): asked mostly for the same second again.
function timestamp(second)
{
	if (stamp == "" || second != stamped_second) {
		stamped_second = second
		stamp = date_of(second) "T" time_of(second)
	}
	return stamp
}

function number(key,   digits)
{
	digits = field(key)
	return digits == "" || digits ~ /[^0-9]/ || (digits == "0" && field_unknown[key] == "ZERO") ? "null" : digits
}

function text(value,   i, c, escaped)
{
	if (value == "")
		return "null"
	if (value !~ /["\\[:cntrl:]]/)
		return "\"" value "\""
	for (i = 1; i <= length(value); i++) {
		c = substr(value, i, 1)
		if (c == "\"" || c == "\\")
			c = "\\" c
		else if (c ~ /[[:cntrl:]]/)
			c = sprintf("\\u%04x", index(controls(), c))
		escaped = escaped c
	}
	return "\"" escaped "\""
}

# The control characters in their order: awk cannot tell a character's number.
function controls(   i)
{
	if (!control_characters)
		for (i = 1; i < 128; i++)
			control_characters = control_characters sprintf("%c", i)
	return control_characters
}
