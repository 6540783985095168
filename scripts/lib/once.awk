# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The connections of two views, those in motion, an empty line, those at rest: each of them once. The views are read one after the other, and
# who goes to rest meanwhile is in both. Lines and JSON alike; they go out as they came.
#
# There can be a million of them, so most often only what a line begins with is looked at: the two ends, in JSON the time of the first SYN
# before them.

# ends(): what the record at hand begins with.
function ends()
{
	return substr($0, 1, index($0, substr($0, 1, 1) == "{" ? ",\"family\":" : " age_ns=") - 1)
}

# In a line the time of the first SYN, start_ns=N, is the 13th word.
at_rest {
	e = ends()
	if (!(e in moving) || !((e, $13) in moving_since))
		print
	next
}

$0 == "" {
	at_rest = 1
	next
}

{
	e = ends()
	moving[e]
	moving_since[e, $13]
	print
}
