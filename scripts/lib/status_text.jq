# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What status has found, as text.

def hook($name): .[$name] | "  \($name)\(if $name == "egress" then " " else "" end)  program \(.program // "-")\(if .kind == "tcx" then " at TCX" else "" end)",
	(.others[] | "           \(.place) it: \(.kind) \(.name), \(if .pref then "pref \(.pref) handle \(.handle)" else "program \(.program)" end)" +
		(if .place == "before" and .can_hide then " - can hide packets from the tracker" else "" end));
def printable: explode | map(if . < 32 or (. > 126 and . < 160) or . == 65533 then 63 else . end) | implode; # terminals obey control characters; jq has U+FFFD for what is no UTF-8
def percent($of): if $of > 0 then "\(. * 1000 / $of | floor / 10)%" else "-" end;

(.interfaces[] | .ifname |= printable
	| "\(.ifname): \(.state)" + (if .state == "gone" then if .since then ", attached \(.since)" else "" end elif .since then " since \(.since)" else " by hand" end)
		+ (if .netns_file then ", in the network namespace \(.netns_file)" else "" end),
	(if .state == "gone" then
		"  the interface or its filters are no longer there; 'netracker attach \(.ifname)' takes it on again, 'netracker detach \(.ifname)' or --all clears this up"
	elif .state == "stray" then
		"  its filters run on tables that are pinned nowhere any more, so nobody can read them: 'netracker attach \(.ifname)' begins anew, 'netracker detach \(.ifname)' removes them"
	else empty end),
	(if .state == "gone" then empty else hook("ingress"), hook("egress") end)),
"",
(.pins_gone // [] | if . == [] then empty else "tables     not known, as somebody has removed \(join(" ")); 'netracker attach' on the same interfaces makes them anew" end),
(if .other_version then "tables     not known, as what is attached is another version; 'netracker detach --all' ends and reports what is in them, then attach again" else empty end),
(.tables | select(.) | "alive      \(.live) connections and handshakes; room for \(.max_connections) and \(.max_handshakes): \(.max_connections as $max | .live | percent($max)) full"),
(if .log then .log.max_records as $room
		| "log        \(.log.records) records unread; room for \($room) in \(.log.size / 1048576 | ceil) MiB: \(.log.records | percent($room)) full",
		(.log.consumers[] | "           \(.name): \(.records) records unread\(if .lost > 0 then ", \(.lost) LOST" else "" end)")
	elif .other_version then empty
	else "log        no file to read it from: attached by hand; 'netracker attach' on the same interface makes it, or says what this kernel lacks for it" end),
"closers    \(if .closers.noted then "noted: FINs that leave late have their process" else "not noted, so FINs that leave late have no process: \(.closers.reason)" end)",
(.untracked | select(. != []) | "untracked  \(map(printable) | join(" ")), which carry addresses or are ports of a bridge; 'netracker attach --all' takes them on"),
(.losses // {} | to_entries[] | select(.value > 0) | "LOST       \(.value) \(.key)"),
(if .log and .log.lost > 0 then "LOST       \(.log.lost) records, overwritten before they were read" else empty end)
