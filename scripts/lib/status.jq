# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The interfaces of interface.jq, to all that status tells. $tables: of tables.jq, or null; $gone: pins that should be there; $other:
# what is attached is another version; $log: of consumers.jq, or null; $closers: are they noted, and if not, why; $worth: interfaces of the
# network namespace $here that are worth to be tracked.

{
	interfaces: .,
	tables: $tables.tables,
	losses: $tables.losses,
	$log,
	$closers,
	untracked: ([.[] | select(.netns == $here and (.state | endswith("attached"))).ifindex] as $tracked
		| [$worth[] | select(.ifindex | IN($tracked[]) | not).ifname])
}
+ if $gone != [] then {pins_gone: $gone} else {} end
+ if $other then {other_version: true} else {} end
