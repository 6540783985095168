# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records as Zeek's conn.log has them: its columns in its order, as text with tabs between them below a head that tells names and types, or with
# NT_FORMAT=zeek-json as JSON. What is not known, or not known as Zeek means it, is - there, and left out here. Needs record.awk and flow.awk.
#
# NT_HEADER: 0 leaves the head and the last line out. No column has a text from outside, so nothing has to be escaped.

BEGIN {
	split("ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state local_orig local_resp " \
		"missed_bytes history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes tunnel_parents ip_proto" (community ? " community_id" : ""), zeek_name, " ")
	split("time string addr port addr port enum string interval count count string bool bool " \
		"count string count count count count set[string] count" (community ? " string" : ""), zeek_type, " ")
	zeek_json = ENVIRON["NT_FORMAT"] == "zeek-json"
	if (!zeek_json && ENVIRON["NT_HEADER"] != "0" && max_rows != "0") {
		footer = "#close\t"
		put("#separator \\x09")
		put("#set_separator\t,")
		put("#empty_field\t(empty)")
		put("#unset_field\t-")
		put("#path\tconn")
		put("#open\t" now())
		put("#fields" columns_of(zeek_name))
		put("#types" columns_of(zeek_type))
	}
}

function columns_of(list,   i, line)
{
	for (i = 1; i in list; i++)
		line = line "\t" list[i]
	return line
}

function show_record(   us, ts, duration, ours, line)
{
	take_ends()
	us = started_us()
	ts = sprintf("%.0f.%06d", int(us / 1000000), us % 1000000)
	duration = sprintf("%.6f", field("dur_ns") / 1000000000)
	# Who sent the first SYN from here, or got it here, has the socket. Of the other side that says nothing.
	ours = known("uid") == "" ? "" : field("dir")
	if (zeek_json) {
		line = "{\"ts\":" ts ",\"uid\":\"" connection_uid() "\",\"id.orig_h\":\"" src "\",\"id.orig_p\":" sport \
			",\"id.resp_h\":\"" dst "\",\"id.resp_p\":" dport ",\"proto\":\"tcp\",\"duration\":" duration \
			member("orig_bytes") member("resp_bytes") ",\"conn_state\":\"" field("state") "\"" \
			(ours == "out" ? ",\"local_orig\":true" : ours == "in" ? ",\"local_resp\":true" : "") ",\"ip_proto\":6"
		put(line (community ? ",\"community_id\":\"" community_place_of_record() "\"" : "") "}")
		return
	}
	line = ts "\t" connection_uid() "\t" src "\t" sport "\t" dst "\t" dport \
		"\ttcp\t-\t" duration "\t" or_unset(known("orig_bytes")) "\t" or_unset(known("resp_bytes")) "\t" field("state") \
		(ours == "out" ? "\tT\t-" : ours == "in" ? "\t-\tT" : "\t-\t-") "\t-\t-\t-\t-\t-\t-\t-\t6"
	put(line (community ? "\t" community_place_of_record() : ""))
}

function or_unset(value)
{
	return value == "" ? "-" : value
}

function member(key,   value)
{
	value = known(key)
	return value == "" ? "" : ",\"" key "\":" value
}
