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
	return age
}

function end_key(end)
{
	return address_digits(address_of(end)) sprintf(".%05d", port_of(end))
}
