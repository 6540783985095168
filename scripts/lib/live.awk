# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Reads live connections from the views records and handshake_records, in place of record.awk's way of reading, before which it stands:
# there is nothing else in these lines, as nobody but the tracker's own programs writes them, so nothing has to be looked for or doubted.
#
# A list can be long. So the columns that every table of them begins with, ORIGINATOR RESPONDER DIR STATE AGE SYN_MS IFACE, are done
# here in one go, from fields whose places in the line are part of the contract, and without a call of a function, as calls would be most
# of what a row costs. It takes what table.awk has found for rows before, and leaves to it whatever is not as usual.

{
	if (picky && !is_wanted())
		next
	row = ""
	if (common) {
		if ($15 != ifname) {
			# row_limit: how long a row is if no column is too long for its place; 0: the name has not been shown yet.
			ifname = $15
			iface = substr($15, 8)
			row_limit = 0
			if (iface in text_shown) {
				iface = text_shown[iface]
				row_limit = common_width + (shown > common ? width[common] : length(iface))
			}
		}
		age_s = substr($4, 8, length($4) - 16) + 0
		if (age_s > 3599)
			age_s -= age_s % 60
		if (row_limit && (age_s < 10 || (age_s in age_text)) && $8 != "syn_rtt_ns=0") {
			row = sprintf(common_format, $1, $3, substr($6, 5), substr($5, 7),
				age_s < 10 ? sprintf("%.2fs", substr($4, 8) / 1e9) : age_text[age_s], substr($8, 12) / 1000000, iface)
			if (length(row) > row_limit)
				row = ""
		}
	}
	if (row == "" || shown > common) {
		# The columns may have become wider.
		show_record()
		ifname = ""
	} else {
		print row
	}
	if (max_rows != "" && ++rows >= max_rows + 0)
		exit
	next
}
