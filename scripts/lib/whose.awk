# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Lines PROGRAM ours and PROGRAM MAP,MAP,… of the programs with the tracker's name, to PROGRAM WHOSE: ours, theirs or stray, as `programs`
# in hooks.sh has it; of a program that is nobody's tracker nothing. In the environment, a number a line: ORPHANS, the maps that nothing
# but programs uses; CONN_MAPS, those of that name.

BEGIN {
	n = split(ENVIRON["ORPHANS"], id, "\n")
	for (i = 1; i <= n; i++)
		is_orphan[id[i]]
	n = split(ENVIRON["CONN_MAPS"], id, "\n")
	for (i = 1; i <= n; i++)
		is_conn_map[id[i]]
}

$2 != "ours" {
	# Some maps of a load are never pinned; if all are orphans, those that were have lost their pins.
	n = split($2, id, ",")
	for (i = 1; i <= n; i++) {
		kept += !(id[i] in is_orphan)
		tracks += (id[i] in is_conn_map)
	}
	$2 = !tracks ? "" : kept ? "theirs" : "stray"
	kept = tracks = 0
}

$2 != "" { print $1, $2 }
