# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Addresses as 32 hexadecimal digits, so that they can be compared as text. IPv4 is mapped: ::ffff:a.b.c.d.

# address_digits(ADDRESS): the digits; "" if it is none. Without brackets.
function address_digits(address,   part, n, i, halves, left, right, digits)
{
	if (address ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) {
		split(address, part, ".")
		for (i = 1; i <= 4; i++) {
			if (length(part[i]) > 3 || part[i] > 255)
				return ""
			digits = digits sprintf("%02x", part[i])
		}
		return "00000000000000000000ffff" digits
	}
	if (address !~ /^[0-9a-fA-F:.]+$/ || address !~ /:/ || address ~ /:::/)
		return ""
	if (match(address, /[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/)) {
		# ::ffff:192.0.2.1: the last 32 bits in the other notation
		digits = address_digits(substr(address, RSTART))
		if (!digits)
			return ""
		address = substr(address, 1, RSTART - 1) substr(digits, 25, 4) ":" substr(digits, 29, 4)
		digits = ""
	}
	n = split(tolower(address), halves, /::/)
	if (n > 2)
		return ""
	left = group_digits(halves[1])
	right = n == 2 ? group_digits(halves[2]) : ""
	if (left == "!" || right == "!" || length(left right) > 32 - (n == 2) * 4 || (n == 1 && length(left) != 32))
		return ""
	while (length(left) + length(right) < 32)
		left = left "0"
	return left right
}

# parse_prefix(TEXT): of an address or a prefix set prefix_digits, prefix_bits, and prefix_zone, the interface behind %, "" without one. An IPv6
# address may stand in brackets. False if it is neither.
function parse_prefix(text_,   at, bits, digits)
{
	bits = prefix_zone = ""
	if (at = index(text_, "/")) {
		bits = substr(text_, at + 1)
		text_ = substr(text_, 1, at - 1)
		if (bits !~ /^[0-9]+$/)
			return 0
	}
	if (text_ ~ /^\[.*:.*\]$/)
		text_ = substr(text_, 2, length(text_) - 2)
	if (text_ ~ /:.*%./) {
		at = index(text_, "%")
		prefix_zone = substr(text_, at + 1)
		text_ = substr(text_, 1, at - 1)
	}
	prefix_digits = address_digits(text_)
	digits = text_ ~ /:/ ? 128 : 32
	prefix_bits = 128 - digits + (bits == "" ? digits : bits)
	return prefix_digits != "" && bits + 0 <= digits
}

# group_digits(GROUPS): groups between colons, each padded to four digits; "!" if one of them is none.
function group_digits(groups,   part, n, i, digits)
{
	n = split(groups, part, ":")
	for (i = 1; i <= n; i++) {
		if (length(part[i]) < 1 || length(part[i]) > 4 || part[i] !~ /^[0-9a-f]+$/)
			return "!"
		digits = digits substr("0000" part[i], length(part[i]) + 1)
	}
	return digits
}

# in_prefix(DIGITS, PREFIX_DIGITS, LENGTH): do the first LENGTH bits agree?
function in_prefix(digits, prefix, length_,   whole, bits, step)
{
	whole = int(length_ / 4)
	if (substr(digits, 1, whole) != substr(prefix, 1, whole))
		return 0
	bits = length_ % 4
	# 2^(4 - bits): an awk may be built without powers.
	step = bits ? substr("842", bits, 1) : 0
	return !bits || int(digit_value(substr(digits, whole + 1, 1)) / step) == int(digit_value(substr(prefix, whole + 1, 1)) / step)
}

function digit_value(digit)
{
	return index("0123456789abcdef", digit) - 1
}
