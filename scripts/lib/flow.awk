# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What other tools know a connection by: Zeek's uid, and what a Community ID is made of. Needs address.awk and record.awk.

BEGIN {
	# Primes below 62^5, so that each remainder is five digits of base 62; and multipliers that keep all products below 2^53, up to where a
	# number here is exact.
	split("916132831 916132817 916132777", flow_prime, " ")
	split("5915587 6700417 7368787", flow_factor, " ")
	digits_of_62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
}

# connection_uid(): C and 15 digits of base 62 (89 bits), as Zeek has them. It is made of what does not change, however often and by whomever the record is
# shown: both ends, the time of the first SYN since boot, the interface. Zeek draws lots.
function connection_uid(   start, i, h, p, m, src, dst, ports, second, ns, text_)
{
	src = originator()
	dst = responder()
	ports = port_of(src) * 65536 + port_of(dst)
	src = address_of(src)
	dst = address_of(dst)
	if (!(src in flow_known))
		know_address(src)
	if (!(dst in flow_known))
		know_address(dst)
	# In two parts: together they can be more than what a number here holds exactly.
	start = field("start_ns")
	second = length(start) > 9 ? substr(start, 1, length(start) - 9) + 0 : 0
	ns = length(start) > 9 ? substr(start, length(start) - 8) + 0 : start + 0
	text_ = "C"
	for (i = 1; i <= 3; i++) {
		p = flow_prime[i]
		m = flow_factor[i]
		h = (address_rest[src, i] * m + address_rest[dst, i]) % p
		h = (h * m + ports) % p
		h = (h * m + second) % p
		h = (h * m + ns) % p
		h = (h * m + field("ifindex")) % p
		text_ = text_ base_62(h)
	}
	return text_
}

# know_address(ADDRESS): keep what is made of it. Many connections have one end in common; those that are not seen again are forgotten.
function know_address(address,   i, j, h, digits)
{
	if (++flow_addresses > 4096) {
		split("", flow_known)
		split("", address_rest)
		flow_addresses = 1
	}
	digits = address_digits(address)
	flow_known[address] = index(address, ":") ? digits : substr(digits, 25)
	for (i = 1; i <= 3; i++) {
		h = 0
		for (j = 1; j <= 32; j += 4)
			h = (h * flow_factor[i] + value_of_4(substr(digits, j, 4)) + 1) % flow_prime[i]
		address_rest[address, i] = h
	}
}

function value_of_4(digits)
{
	return ((digit_value(substr(digits, 1, 1)) * 16 + digit_value(substr(digits, 2, 1))) * 16 + digit_value(substr(digits, 3, 1))) * 16 + digit_value(substr(digits, 4, 1))
}

# base_62(NUMBER): five digits. The last four are made in pairs, which are soon known.
function base_62(number,   low)
{
	low = number % 3844
	number = int(number / 3844)
	return substr(digits_of_62, int(number / 3844) + 1, 1) pair_62(number % 3844) pair_62(low)
}

function pair_62(number)
{
	if (!(number in pair_of_62))
		pair_of_62[number] = substr(digits_of_62, int(number / 62) + 1, 1) substr(digits_of_62, number % 62 + 1, 1)
	return pair_of_62[number]
}

# community_place_of_record(): leave a place for the Community ID, and say what it is made of: version 1, seed 0. The smaller end comes first; 6 is
# TCP, 0 makes it a whole number of words. https://github.com/corelight/community-id-spec
function community_place_of_record(   src, dst, sport, dport, left)
{
	src = address_of(originator())
	dst = address_of(responder())
	if (!(src in flow_known))
		know_address(src)
	if (!(dst in flow_known))
		know_address(dst)
	src = flow_known[src]
	dst = flow_known[dst]
	sport = sprintf("%04x", port_of(originator()))
	dport = sprintf("%04x", port_of(responder()))
	# As text: an awk would take 00000010 and 1e000001 for numbers.
	left = (src "x") < (dst "x") || (src == dst && (sport "x") <= (dport "x"))
	community_input = "0000" (left ? src dst : dst src) "0600" (left ? sport dport : dport sport)
	return community_place
}
