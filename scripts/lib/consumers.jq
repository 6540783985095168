# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Lines NAME UNREAD LOST of the log's consumers, the one without a name first, to what status tells of the log. $ring: what bpftool has on
# nt_log.

[inputs / " " | {name: .[0], records: (.[1] | tonumber), bytes: ((.[1] | tonumber) * $ring.bytes_value), lost: (.[2] | tonumber)}]
| {
	records: .[0].records,
	bytes: .[0].bytes,
	size: ($ring.max_entries * $ring.bytes_value),
	lost: .[0].lost,
	max_records: $ring.max_entries,
	consumers: .[1:]
}
