# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# $NT_RULES, and $NT_EXCLUDES, which exclude: rules with commas in between, to lines EXCLUDES FIRST_PORT LAST_PORT ADDRESS MASK, the last two
# in 32 hexadecimal digits. Prints the first one that is no rule instead, and fails. Needs address.awk.

BEGIN {
	print_rules(ENVIRON["NT_RULES"], 0)
	print_rules(ENVIRON["NT_EXCLUDES"], 1)
	printf "%s", lines
}

function print_rules(list, excludes,   rule, n, i)
{
	if (list == "")
		return
	n = split(list, rule, /,/)
	for (i = 1; i <= n; i++) {
		if (!parse_rule(rule[i])) {
			print rule[i]
			lines = ""
			exit 1
		}
		lines = lines excludes " " first " " last " " prefix_digits " " mask_digits(prefix_bits) "\n"
	}
}

# parse_rule(RULE): set first, last, and what parse_prefix() sets.
function parse_rule(rule,   ports, at)
{
	first = 0
	last = 65535
	if (is_ports(rule)) {
		prefix_digits = mask_digits(0)
		prefix_bits = 0
		return parse_ports(rule)
	}
	if (match(rule, /:[0-9]+(-[0-9]+)?$/) && (rule ~ /^\[.*\]:/ || rule !~ /:.*:/)) {
		ports = substr(rule, RSTART + 1)
		rule = substr(rule, 1, RSTART - 1)
		if (!parse_ports(ports))
			return 0
	}
	if (rule ~ /^\[.*\]$/)
		rule = substr(rule, 2, length(rule) - 2)
	return parse_prefix(rule) && prefix_zone == ""
}

function is_ports(text)
{
	return text ~ /^[0-9]+(-[0-9]+)?$/
}

function parse_ports(text,   ports, n)
{
	n = split(text, ports, /-/)
	first = ports[1] + 0
	last = ports[n] + 0
	return length(ports[1]) <= 5 && length(ports[n]) <= 5 && first >= 1 && first <= last && last <= 65535
}

# mask_digits(BITS): so many ones, then zeros.
function mask_digits(bits,   digits)
{
	while (length(digits) < 32) {
		digits = digits (bits >= 4 ? "f" : substr("08ce", bits + 1, 1))
		bits = bits >= 4 ? bits - 4 : 0
	}
	return digits
}
