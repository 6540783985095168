# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Totals, to how full the tables are and what was lost. $connections, $handshakes: what bpftool has on the two maps. A set of handshakes
# has eight places.

.counters as $c
| {
	tables: {
		live: ($c.attempts - ($c.ended | add) - $c.syn_evicted - $c.syn_disbelieved - $c.conn_full),
		max_connections: $connections.max_entries,
		max_handshakes: ($handshakes.max_entries * 8)
	},
	losses: {syn_evicted: $c.syn_evicted, conn_full: $c.conn_full, timer_failed: $c.timer_failed}
}
