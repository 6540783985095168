# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records as JSON, one object a line; null where unknown. Needs record.awk.

function show_record(   us)
{
	us = started_us()
	printf "{\"ts\":\"%s.%06dZ\",\"src\":\"%s\",\"sport\":%s,\"dst\":\"%s\",\"dport\":%s,\"family\":%d",
		clock(us, "%Y-%m-%dT%H:%M:%S", 1), us % 1000000, record["src"], record["sport"], record["dst"], record["dport"], record["family"]
	printf ",\"dir\":%s,\"ifname\":%s,\"state\":%s", text(record["dir"]), text(known("ifname")), text(record["state"])
	if ("age_ns" in record)
		printf ",\"age_ns\":%s", number("age_ns")
	else
		printf ",\"duration_ns\":%s", number("dur_ns")
	printf ",\"first_fin_ns\":%s,\"syn_rtt_ns\":%s,\"ack_rtt_ns\":%s", number("first_fin_ns"), number("syn_rtt_ns"), number("ack_rtt_ns")
	printf ",\"orig_bytes\":%s,\"resp_bytes\":%s,\"syn_retrans\":%s", number("orig_bytes"), number("resp_bytes"), number("syn_retrans")
	printf ",\"srtt_us\":%s,\"min_rtt_us\":%s,\"retrans\":%s", number("srtt_us"), number("min_rtt_us"), number("retrans")
	printf ",\"uid\":%s,\"cgroup\":%s,\"user\":%s,\"owner\":%s", number("uid"), number("cgroup"), text(user()), text(owner())
	printf ",\"orig_segs\":%s,\"resp_segs\":%s,\"cwnd\":%s,\"mss\":%s", number("orig_segs"), number("resp_segs"), number("cwnd"), number("mss")
	printf "%s}\n", lost ? ",\"lost_before\":" lost : ""
}

function number(key,   value)
{
	value = known(key)
	return value == "" ? "null" : value
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
