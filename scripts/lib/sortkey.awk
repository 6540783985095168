# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Puts a key before each record that sort brings into the order that NT_SORT names. Needs record.awk.

function show_record()
{
	put(sort_key(ENVIRON["NT_SORT"]) "\t" $0)
}

# Equals are in the order of their age. %d would do for ports alone: mawk cuts it at 2^31.
function sort_key(by,   age)
{
	age = sprintf("%020.0f", field("start_ns"))
	if (by == "src" || by == "dst")
		return end_key(by == "src" ? originator() : responder()) "." age
	if (by == "port")
		return sprintf("%05d.", port_of(responder())) address_digits(address_of(responder())) "." age
	if (by == "bytes" || by == "rate" || by == "retrans")
		return most_first(by == "retrans" ? known("retrans") : known_bytes(), by == "rate" ? field("age_ns") / 1e9 : 1) "." age
	return age
}

# most_first(VALUE, PER): what is not known comes last. Up to 2^53 a number is exact here.
function most_first(value, per)
{
	return value == "" || !per ? "unknown" : sprintf("%016.0f", value / per < 9007199254740992 ? 9007199254740992 - value / per : 0)
}

# known_bytes(): of both directions; "" if one is not known.
function known_bytes(   orig, resp)
{
	orig = known("orig_bytes")
	resp = known("resp_bytes")
	return orig == "" || resp == "" ? "" : orig + resp
}

function end_key(end)
{
	return address_digits(address_of(end)) sprintf(".%05d", port_of(end))
}
