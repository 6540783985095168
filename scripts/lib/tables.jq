# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Totals, to how full the tables are and what was lost. $connections, $handshakes: what bpftool has on the two maps, of which the second
# has sets. $tables: tables.tsv.

def constant($name): $tables / "\n" | map(split("\t") | select(.[0] == "constant" and .[1] == $name) | .[2] | tonumber)[0];

.counters as $c
| {
	tables: {
		live,
		max_connections: $connections.max_entries,
		max_handshakes: ($handshakes.max_entries * constant("SYN_WAYS"))
	},
	losses: {syn_evicted: $c.syn_evicted, conn_full: $c.conn_full, timer_failed: $c.timer_failed}
}
