# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Of nt_ifaces as `interfaces` in maps.sh prints it, the entry that `free_entry` there is to print. max: their number. In the environment,
# TRACKED: the lines of `tracked_interfaces`.

BEGIN {
	n = split(ENVIRON["TRACKED"], line, "\n")
	for (i = 1; i <= n; i++) {
		split(line[i], word, " ")
		tracked[word[1], word[2]]
	}
}

{ taken[$1] }

!(($4, $2) in tracked) && (!gone || $5 < since) { gone = $1; since = $5 }

END {
	for (i = 1; i < max; i++)
		if (!(i in taken)) {
			print i
			exit
		}
	if (gone)
		print gone
}
