# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What other tools know a connection by: Zeek's uid, and what a Community ID is made of. Needs address.awk and record.awk. Whoever shows a record
# calls take_ends() first.

BEGIN {
	# Primes below 62^5, so that each remainder is five digits of base 62; and multipliers that keep all products below 2^53, up to where a
	# number here is exact. Three of each, as arrays and calls would be most of what an uid costs.
	prime_1 = 916132831
	prime_2 = 916132817
	prime_3 = 916132777
	factor_1 = 5915587
	factor_2 = 6700417
	factor_3 = 7368787
	base = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for (i = 0; i < 62; i++)
		digit_62[i] = substr(base, i + 1, 1)
	for (i = 0; i < 3844; i++)
		pair_62[i] = digit_62[int(i / 62)] digit_62[i % 62]
}

# take_ends(): set src, sport, dst and dport to those of the record, without brackets.
function take_ends()
{
	src = address_of($1)
	sport = substr($1, length(src) + (substr($1, 1, 1) == "[" ? 4 : 2))
	dst = address_of($3)
	dport = substr($3, length(dst) + (substr($3, 1, 1) == "[" ? 4 : 2))
	if (!(src in wire_digits))
		know_address(src)
	if (!(dst in wire_digits))
		know_address(dst)
}

# know_address(ADDRESS): keep what is made of it. Many connections have one end in common; those that are not seen again are forgotten.
function know_address(address,   i, digits, word, h1, h2, h3)
{
	if (++addresses > 4096) {
		split("", wire_digits)
		split("", rest_1)
		split("", rest_2)
		split("", rest_3)
		addresses = 1
		if (src != address)
			know_address(src)
	}
	digits = address_digits(address)
	wire_digits[address] = index(address, ":") ? digits : substr(digits, 25)
	h1 = h2 = h3 = 0
	for (i = 1; i <= 32; i += 4) {
		word = value_of_4(substr(digits, i, 4)) + 1
		h1 = (h1 * factor_1 + word) % prime_1
		h2 = (h2 * factor_2 + word) % prime_2
		h3 = (h3 * factor_3 + word) % prime_3
	}
	rest_1[address] = h1
	rest_2[address] = h2
	rest_3[address] = h3
}

function value_of_4(digits)
{
	return ((digit_value(substr(digits, 1, 1)) * 16 + digit_value(substr(digits, 2, 1))) * 16 + digit_value(substr(digits, 3, 1))) * 16 + digit_value(substr(digits, 4, 1))
}

# connection_uid(): C and 15 digits of base 62 (89 bits), as Zeek has them. It is made of what does not change, however often and by whomever the
# record is shown: both ends, the time of the first SYN since boot, the interface. Zeek draws lots.
function connection_uid(   start, ports, second, ns, h1, h2, h3)
{
	ports = sport * 65536 + dport
	# In two parts: together they can be more than what a number here holds exactly.
	start = field("start_ns")
	ns = length(start) > 9 ? substr(start, length(start) - 8) + 0 : start + 0
	second = (length(start) > 9 ? substr(start, 1, length(start) - 9) * 4096 : 0) + field("ifindex")
	h1 = (rest_1[src] * factor_1 + rest_1[dst]) % prime_1
	h1 = (h1 * factor_1 + ports) % prime_1
	h1 = (h1 * factor_1 + second) % prime_1
	h1 = (h1 * factor_1 + ns) % prime_1
	h2 = (rest_2[src] * factor_2 + rest_2[dst]) % prime_2
	h2 = (h2 * factor_2 + ports) % prime_2
	h2 = (h2 * factor_2 + second) % prime_2
	h2 = (h2 * factor_2 + ns) % prime_2
	h3 = (rest_3[src] * factor_3 + rest_3[dst]) % prime_3
	h3 = (h3 * factor_3 + ports) % prime_3
	h3 = (h3 * factor_3 + second) % prime_3
	h3 = (h3 * factor_3 + ns) % prime_3
	return "C" digit_62[int(h1 / 14776336)] pair_62[int(h1 / 3844) % 3844] pair_62[h1 % 3844] \
		digit_62[int(h2 / 14776336)] pair_62[int(h2 / 3844) % 3844] pair_62[h2 % 3844] \
		digit_62[int(h3 / 14776336)] pair_62[int(h3 / 3844) % 3844] pair_62[h3 % 3844]
}

# community_place_of_record(): leave a place for the Community ID, and say what it is made of: version 1, seed 0. The smaller end comes first; 6 is
# TCP, 0 makes it a whole number of words. https://github.com/corelight/community-id-spec
function community_place_of_record(   one, two)
{
	one = wire_digits[src]
	two = wire_digits[dst]
	# As text: an awk might take 00000010 and 1e000001 for numbers.
	if ((one "x") < (two "x") || ((one "x") == (two "x") && sport + 0 <= dport + 0))
		community_input = "0000" one two "0600" sprintf("%04x%04x", sport, dport)
	else
		community_input = "0000" two one "0600" sprintf("%04x%04x", dport, sport)
	return community_place
}
