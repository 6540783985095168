# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Fills in what the kernel does not know of a connection, the names of its user and owner: takes the lines of the views whose names end
# in .json and prints them with these in place of the nulls that are there. Needs owner.awk.
#
# A list can be long, so there is no function that is called for each line: what owns one connection owns many, and uid and cgroup are
# the last members of an object. A quote within a string has a backslash before it, so what is looked for is never part of a name.

{
	at = index($0, "\"uid\":")
	whose = substr($0, at)
	if (!(whose in named))
		named[whose] = with_names(whose)
	print substr($0, 1, at - 1) named[whose]
}

# with_names(WHOSE): the end of an object, from its uid on.
function with_names(whose,   number, at)
{
	split(whose, number, /[:,]/)
	at = index(whose, ",\"user\":null,\"owner\":null")
	return substr(whose, 1, at - 1) ",\"user\":" text(user_of(number[2] == "null" ? "" : number[2])) \
		",\"owner\":" text(owner_of(number[4] == "null" ? "" : number[4])) substr(whose, at + 25)
}

# What owner.awk asks of a record: it is not asked here, where the numbers are told.
function known(key)
{
	return ""
}

function field(key)
{
	return ""
}
