# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records as CSV (RFC 4180): a line of names, then a row each, whose cells are as in JSON; empty where unknown. Lines end with CR and LF. Needs
# record.awk, owner.awk and flow.awk.
#
# NT_TABLE: list has age_ns in the place of duration_ns. NT_HEADER: 0 leaves the names out.

BEGIN {
	csv_lives = ENVIRON["NT_TABLE"] == "list"
	csv_names = "src,sport,dst,dport,family"
	for (i = 1; i <= n_fields; i++) {
		if (!is_of(field_key[i], csv_lives ? "LIVE" : "ENDED"))
			continue
		csv_key[++csv_cells] = field_key[i]
		csv_prefix[csv_cells] = field_key[i] "="
		csv_skip[csv_cells] = length(field_key[i]) + 2
		csv_flag[csv_cells] = field_unit[field_key[i]] == "FLAG"
		csv_unknown[csv_cells] = field_unknown[field_key[i]] == "ZERO" ? "0" : "-1"
		csv_names = csv_names "," (field_key[i] == "start_ns" ? "ts" : field_json[field_key[i]] == "" ? field_key[i] : field_json[field_key[i]])
	}
	csv_names = csv_names ",user,owner,lost_before" (community ? ",community_id" : "")
	if (ENVIRON["NT_HEADER"] != "0" && max_rows != "0")
		put(csv_names "\r")
}

# Numbers are looked up here, as field() does it: a call for each of them would be most of what a record costs.
function show_record(   i, at, key, value, line, us)
{
	take_ends()
	line = src "," sport "," dst "," dport "," family()
	for (i = 1; i <= csv_cells; i++) {
		key = csv_key[i]
		if (key == "start_ns") {
			us = started_us()
			value = timestamp(int(us / 1000000)) sprintf(".%06dZ", us % 1000000)
		} else if (key in is_text) {
			value = cell(known(key))
		} else {
			at = place[key]
			value = at && index($at, csv_prefix[i]) == 1 ? substr($at, csv_skip[i]) : field(key)
			if (csv_flag[i])
				value = value == "1" ? "true" : "false"
			else if (value == csv_unknown[i] || value ~ /[^0-9]/)
				value = ""
		}
		line = line "," value
	}
	put(line "," (numeric ? "," : cell(user()) "," cell(owner())) "," (lost ? sprintf("%.0f", lost) : "") \
		(community ? "," community_place_of_record() : "") "\r")
}

# cell(TEXT): with quotes around it where it has a comma or a quote in it. There is no row of several lines: control characters, and what is no UTF-8,
# are replaced by U+FFFD. Names are few.
function cell(value,   plain)
{
	if (!(value in cell_of)) {
		plain = is_plain(value) ? value : with_replaced(value, "\357\277\275", "\357\277\275")
		if (index(plain, "\"") || index(plain, ",")) {
			gsub(/"/, "\"\"", plain)
			plain = "\"" plain "\""
		}
		cell_of[value] = plain
	}
	return cell_of[value]
}
