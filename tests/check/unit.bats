#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The tracker's C, compiled for this host with the world around it as tables: tests/unit/, a file a subject. What no packet on a wire
# brings about, or only by luck. A failure says the file and line of what is not so, and the values.

load ../helpers
load ../unit/unit

setup_file() {
	find_sanitizers
}

setup() { :; }
teardown() { :; }

# holds SUBJECT: so does everything in tests/unit/SUBJECT.c, and there is something.
holds() {
	local program=$BATS_TEST_TMPDIR/$1
	build_unit "$1" "$program"
	run on_host "$program"
	((status == 0)) || fail "$output"
	[[ ${lines[-1]} =~ ^[1-9][0-9]*' tests, '[1-9][0-9]*' checks, 0 failed'$ ]] || fail "$output"
}

@test "text: numbers and addresses are written as printf, inet_ntop and RFC 5952 do" {
	holds text
}

@test "json: times as gmtime has them, names with the same characters, room for the longest object" {
	holds json
}

@test "tuples: both directions have one hash, and hash and comparison see every byte" {
	holds tuple
}

@test "packets: both paths find the same segment in any frame, and read nothing behind its end" {
	holds parse
}

@test "sets: who gives way in a full set, what goes by the gate, when a set is due" {
	holds sets
}

@test "handshakes: which segments belong to one, which RST ends it, wherever sequence numbers begin" {
	holds handshake
}

@test "numbers: which of several sequence numbers are the connection's, and what is a copy" {
	holds numbers
}

@test "one direction: a connection of which only the originator's segments pass here" {
	holds direction
}

@test "connections: FINs and RSTs, believed and refuted, with this host's socket and without" {
	holds connection
}

@test "processes: who is named and who is not, why a connection was reset, what held it back" {
	holds process
}

@test "scopes: whose four-tuple it is, and which connection passes several" {
	holds scope
}

@test "rules: which connections are left out, and that nothing else is counted of them" {
	holds rules
}

@test "records: bytes beyond 2^32, buckets, services when there are too many, the length of a line" {
	holds report
}

@test "the clock: when it goes off, and what it ends" {
	holds clock
}

@test "silence: who is watched or asked for, and ends; half-closed connections at rest" {
	holds silence
}

@test "interim records: when they are due, and which, wherever the connection is and whoever comes in between" {
	holds interim
}

@test "races: another CPU comes in at the worst moment" {
	holds races
}

@test "conservation: no connection is lost in any order of events, on one CPU and on several" {
	holds conservation
}

@test "conversations: each has the record of its model, and no record tells what cannot be; tests/fuzz.bats has more of them" {
	export FUZZ_PACKETS=${FUZZ_PACKETS:-100000}
	holds fuzz
}

@test "every file of tests/unit is one of these" {
	assert_equal "subjects" "$(sed -n 's/^\tholds \([a-z]*\)$/\1.c/p' "$BATS_TEST_FILENAME" | sort | xargs)" \
		"$(cd "$ROOT/tests/unit" && printf '%s\n' *.c | xargs)"
}

@test "adoption: who is older than the tracker comes to rest once, and not if he is tracked, left out or gone" {
	holds adopt
}
