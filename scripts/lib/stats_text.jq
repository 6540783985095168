# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What stats.jq gives, as text: failures first, then losses, then the rest. $tables: tables.tsv, which has the words.

def pad($n): tostring | (" " * ([$n - length, 0] | max) // "") + .;
def fill($n): tostring | . + (" " * ([$n - length, 0] | max) // "");
def row($text): "  \(pad(12))  \($text)";
def table($name): $tables / "\n" | map(split("\t") | select(.[0] == $name));

# The states of this kind, those of $first before the others.
def states($kind; $first):
	. as $counts | table("state") | map(select(.[2] == $kind) | {name: .[1], meaning: .[3]})
	| sort_by(.name as $name | $first | index($name) // length)[] | .name as $name | .meaning as $meaning
	| $counts[$name] | row("\($name | fill(7))\($meaning)");

# The sums of the counters that share a line, of those whose paths begin with $part.
def lines($part):
	. as $all
	| [table("counter")[] | (.[2] / ".") as $path | select($path[0] == $part and .[3] != "") | {line: .[3], n: ($all | getpath($path))}]
	| . as $counts
	| [.[].line] | reduce .[] as $line ([]; if index([$line]) then . else . + [$line] end)
	| map(. as $line | {line: $line, n: ([$counts[] | select(.line == $line) | .n] | add)});

def time:
	if . == null then "longer"
	elif . < 1e6 then "< \(. / 1e3 | floor) us"
	elif . < 1e9 then "< \(. / 1e6 | floor) ms"
	else "< \(. / 1e9 | floor) s" end;
def bars($title):
	select(length > 0) | (map(.count) | max) as $max
	| "", $title,
		(.[] | "  \(.below_ns | time | pad(10)) \(.count | pad(12)) " + ("#" * ((.count * 50 / $max | ceil)) // ""));

# What this host's sockets have sent, if they have said so.
def sent:
	(.in.segments_sent + .out.segments_sent) as $all | (.in.segments_retransmitted + .out.segments_retransmitted) as $again
	| select($all > 0)
	| "", "SENT BY THIS HOST - segments of connections that have ended",
		($all | row("in all")),
		($again | row("of them again: \($again * 1000 / $all | round / 10) %"));

def shown: .line as $line | .n | row($line);
def losses:
	[(lines("losses")[], {line: "records overwritten in the log before they were read", n: .losses.log}) | select(.n > 0) | shown];

"Since \(.since): \(.attempts) connections, \(if .adopted > 0 then "\(.adopted) older ones taken over, " else "" end)\(.failed) failed, \(.live) alive" +
	(if .carried_over > 0 then "; \(.carried_over) more were alive at the reset" else "" end),
"",
"FAILED",
(.ended | states("FAILED"; ["REJ", "S0", "RSTO", "RSTR", "RSTOS0"])),
(losses | select(length > 0) | "", "LOST - connections that are not in the figures, not in the log, or end late", .[]),
"",
"ENDED OTHERWISE",
(.ended | states("OTHER"; ["SF"])),
"",
"NOT COUNTED AS CONNECTIONS",
(("no_record", "disbelieved", "skipped") as $part | lines($part)[] | shown),
sent,
(.in.duration | bars("DURATION, incoming")),
(.out.duration | bars("DURATION, outgoing")),
(.in.handshake | bars("HANDSHAKE, incoming")),
(.out.handshake | bars("HANDSHAKE, outgoing"))
