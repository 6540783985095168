# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Records that the kernel has put into JSON, with the names of user and owner filled in, which it leaves null. Each costs no more than to look
# for two numbers and to copy the line. Needs record.awk, owner.awk and json.awk.

substr($0, 1, 1) == "{" {
	if (over) {
		left_over++
		next
	}
	end = length($0) - length(nameless)
	if (substr($0, end + 1) == nameless) {
		note_record(0)
		put(substr($0, 1, end) names())
	} else {
		# Behind the names it says what was lost.
		end = index($0, substr(nameless, 1, length(nameless) - 1))
		tail = substr($0, end + length(nameless) - 1)
		note_record(substr(tail, index(tail, ":") + 1) + 0)
		tail_named = names()
		put(substr($0, 1, end - 1) substr(tail_named, 1, length(tail_named) - 1) tail)
	}
	note_row()
}

BEGIN {
	nameless = ",\"user\":null,\"owner\":null}"
}

# names(): what takes the place of nameless in the line at hand.
function names(   uid, cgroup)
{
	if (numeric)
		return nameless
	uid = number_of(",\"uid\":")
	cgroup = number_of(",\"cgroup\":")
	if (!((uid, cgroup) in named))
		named[uid, cgroup] = ",\"user\":" text(user_of(uid)) ",\"owner\":" text(owner_of(cgroup)) "}"
	return named[uid, cgroup]
}

# number_of(START): the digits behind it in the line at hand; "" if it is null. Within a string a quote has a backslash before it, so no name
# has it.
function number_of(start,   rest)
{
	rest = substr($0, index($0, start) + length(start), 21)
	rest = substr(rest, 1, index(rest, ",") - 1)
	return rest == "null" ? "" : rest
}
