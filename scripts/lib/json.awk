# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records as JSON, one object a line; null where unknown. Needs record.awk.

function show_record(   us, line)
{
	us = started_us()
	line = sprintf("{\"ts\":\"%s.%06dZ\",\"src\":\"%s\",\"sport\":%s,\"dst\":\"%s\",\"dport\":%s,\"family\":%d",
		timestamp(int(us / 1000000)), us % 1000000, address_of(originator()), port_of(originator()),
		address_of(responder()), port_of(responder()), family())
	line = line ",\"dir\":" text(field("dir")) ",\"ifname\":" text(known("ifname")) ",\"state\":" text(field("state"))
	line = line (is_live() ? ",\"age_ns\":" number("age_ns") : ",\"duration_ns\":" number("dur_ns"))
	line = line ",\"first_fin_ns\":" number("first_fin_ns") ",\"syn_rtt_ns\":" number("syn_rtt_ns") ",\"ack_rtt_ns\":" number("ack_rtt_ns")
	line = line ",\"orig_bytes\":" number("orig_bytes") ",\"resp_bytes\":" number("resp_bytes") ",\"syn_retrans\":" number("syn_retrans")
	line = line ",\"srtt_us\":" number("srtt_us") ",\"min_rtt_us\":" number("min_rtt_us") ",\"retrans\":" number("retrans")
	line = line ",\"uid\":" number("uid") ",\"cgroup\":" number("cgroup") ",\"user\":" text(user()) ",\"owner\":" text(owner())
	line = line ",\"orig_segs\":" number("orig_segs") ",\"resp_segs\":" number("resp_segs") ",\"cwnd\":" number("cwnd") ",\"mss\":" number("mss")
	put(line (lost ? sprintf(",\"lost_before\":%.0f", lost) : "") "}")
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
	digits = known(key)
	return digits == "" ? "null" : digits
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
