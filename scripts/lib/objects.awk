# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Objects that the kernel has written, the lines of the views whose names end in .json, with the names of user and owner filled in, which it
# leaves null. Needs owner.awk and record.awk, before which it stands: other lines are left to that.
#
# There can be a million of them, so a line is neither looked through nor split, and mostly no function is called for it: uid and cgroup are
# the last members of an object but these names, and what owns one connection owns many. A quote within a string has a backslash before it,
# so what is looked for is never part of a name.

BEGIN {
	# Longer than "uid":4294967295,"cgroup":18446744073709551615,"user":null,"owner":null,"lost_before":18446744073709551615}.
	longest_end = 128
	nameless = ",\"user\":null,\"owner\":null"
}

substr($0, 1, 1) == "{" {
	if (over) {
		left_over++
		next
	}
	head = length($0) - longest_end
	whose = substr($0, head < 0 ? 0 : head + 1)
	head = (head < 0 ? 0 : head) + index(whose, "\"uid\":") - 1
	whose = substr($0, head + 1)
	if (batches && whose in named && taken == rows - rows_before && max_rows == "") {
		# note_record(), put() and note_row() of a record that is like most, among others that are.
		if (!taken++)
			begin_batch()
		line = held_line[held++] = substr($0, 1, head) named[whose]
		bytes += length(line) + 1
		rows++
		next
	}
	lost_before = index(whose, "\"lost_before\":")
	note_record(lost_before ? substr(whose, lost_before + 14) + 0 : 0)
	line = with_names(whose)
	if (!lost_before)
		named[whose] = line
	put(substr($0, 1, head) line)
	note_row()
}

# with_names(WHOSE): the end of an object, from its uid on.
function with_names(whose_,   number, at_)
{
	if (numeric)
		return whose_
	split(whose_, number, /[:,]/)
	at_ = index(whose_, nameless)
	return substr(whose_, 1, at_ - 1) ",\"user\":" text(user_of(number[2] == "null" ? "" : number[2])) \
		",\"owner\":" text(owner_of(number[4] == "null" ? "" : number[4])) substr(whose_, at_ + length(nameless))
}
