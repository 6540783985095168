# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What stats.jq gives, as text: failures first, then losses, then the rest.

def pad($n): tostring | (" " * ([$n - length, 0] | max) // "") + .;
def fill($n): tostring | . + (" " * ([$n - length, 0] | max) // "");
def row($text): "  \(pad(12))  \($text)";
def rows($meaning): . as $counts | $meaning | to_entries[] | .key as $state | $counts[$state] | row("\($state | fill(7))\($meaning[$state])");

def time:
	if . == null then "longer"
	elif . < 1e6 then "< \(. / 1e3 | floor) us"
	elif . < 1e9 then "< \(. / 1e6 | floor) ms"
	else "< \(. / 1e9 | floor) s" end;
def bars($title):
	select(length > 0) | (map(.count) | max) as $max
	| "", $title,
		(.[] | "  \(.below_ns | time | pad(10)) \(.count | pad(12)) " + ("#" * ((.count * 50 / $max | ceil)) // ""));

def loss($text): select(. > 0) | "  \(pad(12))  \($text)";
def losses:
	[(.losses.syn_evicted | loss("handshakes pushed out of a full table: a SYN flood?")),
	(.losses.conn_full | loss("connections not recorded, the table is full: build with a larger MAX_CONNECTIONS")),
	(.losses.timer_failed | loss("time-outs that the kernel refused: such entries stay until a packet ends them")),
	(.losses.log | loss("records overwritten in the log before they were read"))];

"Since \(.since): \(.attempts) connections, \(.failed) failed, \(.live) alive" +
	(if .carried_over > 0 then "; \(.carried_over) more were alive at the reset" else "" end),
"",
"FAILED",
(.ended | rows({
	REJ: "refused: RST in answer to the SYN", S0: "no answer at all", RSTO: "reset by the originator", RSTR: "reset by the responder",
	RSTOS0: "given up by the originator before an answer", SH: "closed by the originator before an answer"})),
(losses | select(length > 0) | "", "LOST - these connections are not in the figures or not in the log", .[]),
"",
"ENDED OTHERWISE",
(.ended | rows({
	SF: "closed by both", S1: "answered, then nothing: handshake or connection never completed",
	S2: "closed by the originator alone", S3: "closed by the responder alone"})),
"",
"NOT COUNTED AS CONNECTIONS",
(.no_record.fin + .no_record.rst | row("FIN or RST of no connection known: older than the tracker, or seen again")),
(.disbelieved.syn + .disbelieved.rst + .disbelieved.synack | row("SYN, SYN-ACK or RST that a receiver discards")),
(.skipped.fragments | row("fragments without a TCP header")),
(.skipped.malformed_short + .skipped.malformed_offset + .skipped.malformed_flags | row("malformed TCP headers")),
(.in.duration | bars("DURATION, incoming")),
(.out.duration | bars("DURATION, outgoing")),
(.in.handshake | bars("HANDSHAKE, incoming")),
(.out.handshake | bars("HANDSHAKE, outgoing"))
