# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The interfaces of interface.jq, to all that status tells. $tables: of tables.jq, or null; $gone: pins that should be there; $log: its
# buffer, of size 0 if there is none.

{
	interfaces: .,
	tables: $tables.tables,
	losses: $tables.losses,
	log: (if $log.size > 0 then $log else null end)
}
+ if $gone != [] then {pins_gone: $gone} else {} end
