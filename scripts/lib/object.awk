# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What an object of the log or of the live connections has: a line of JSON, taken apart no further than somebody asks.

# value(KEY): as it stands there, a text without its quotes but with what JSON escapes; "" if it is null or there is no such key. A quote within
# a text has a backslash before it, so no name looks like a key.
function value(key,   at_, rest_)
{
	at_ = index($0, "\"" key "\":")
	if (!at_)
		return ""
	# A name has 16 bytes, each of which may have become six characters.
	rest_ = substr($0, at_ + length(key) + 3, 128)
	if (substr(rest_, 1, 1) == "\"")
		return match(rest_, /^"([^"\\]|\\.)*"/) ? substr(rest_, 2, RLENGTH - 2) : ""
	return match(rest_, /^[0-9]+/) ? substr(rest_, 1, RLENGTH) : ""
}
