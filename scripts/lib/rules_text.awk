# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Lines EXCLUDES FIRST_PORT LAST_PORT, 16 bytes of an address and 16 of a mask, all decimal, to only=RULE,… and exclude=RULE,….

{
	list[$1] = list[$1] (list[$1] == "" ? "" : ",") rule_text()
}

END {
	print "only=" list[0]
	print "exclude=" list[1]
}

function rule_text(   text, ports, bits, i, n)
{
	for (i = 20; i <= 35; i++)
		for (n = $i; n > 0; n = n * 2 % 256)
			bits++
	ports = $2 <= 1 && $3 == 65535 ? "" : $2 == $3 ? $2 : $2 "-" $3
	if (!bits)
		return ports == "" ? "::/0" : ports
	if (is_mapped() && bits >= 96) {
		text = $16 "." $17 "." $18 "." $19
		if (bits < 128)
			text = text "/" bits - 96
	} else {
		text = ipv6_text()
		if (bits < 128)
			text = text "/" bits
		if (ports != "")
			text = "[" text "]"
	}
	return text (ports == "" ? "" : ":" ports)
}

# RFC 5952: the longest run of two groups or more that are 0, the first of equals, is left out.
function ipv6_text(   text, group, i, n, best, length_)
{
	for (i = 0; i < 8; i++)
		group[i] = $(4 + 2 * i) * 256 + $(5 + 2 * i)
	for (i = 0; i < 8; i++) {
		for (n = 0; i + n < 8 && !group[i + n]; n++)
			;
		if (n > 1 && n > length_) {
			best = i
			length_ = n
		}
	}
	for (i = 0; i < 8; i++) {
		if (length_ && i == best) {
			text = text "::"
			i += length_ - 1
		} else {
			text = text (text == "" || text ~ /:$/ ? "" : ":") sprintf("%x", group[i])
		}
	}
	return text
}

function is_mapped(   i)
{
	for (i = 4; i <= 13; i++)
		if ($i)
			return 0
	return $14 == 255 && $15 == 255
}
