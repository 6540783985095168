#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The tracker's C, compiled for this host with the world around it as tables: tests/unit/, a file a subject. What no packet on a wire
# brings about, or only by luck. A failure says the file and line of what is not so, and the values.

load ../helpers

# With what finds memory errors and undefined behaviour, where the compiler has it. Packets are read where they lie, as BPF may: at any
# address. A callback is called as the kernel does, with pointers of its own. Bad pointers are found by `address` alone: it takes half as
# long to compile.
setup_file() {
	local wanted='-fsanitize=address,undefined -fno-sanitize=alignment,function,null,object-size,pointer-overflow'
	wanted+=' -fno-sanitize-recover=undefined'
	local probe=$BATS_FILE_TMPDIR/probe
	command -v clang >/dev/null || lacking "needs clang: 'make deps' installs it"
	echo 'int main(void) { return 0; }' >"$probe.c"
	# shellcheck disable=SC2086 # flags are words
	if clang $wanted "$probe.c" -o "$probe" 2>/dev/null && on_host "$probe"; then
		export UNIT_FLAGS=$wanted
	else
		export UNIT_FLAGS=
		echo "# clang has no sanitizers here: memory errors may go unseen" >&3
	fi
}

# on_host PROGRAM: what it leaves to the kernel to free is no leak, and its addresses are not random: over as many bits as some kernels
# take, clang's before 18 finds no room for its shadow.
on_host() {
	local -a still=(setarch --addr-no-randomize)
	"${still[@]}" true 2>/dev/null || still=()
	ASAN_OPTIONS=detect_leaks=0 "${still[@]}" "$1"
}

setup() { :; }
teardown() { :; }

# holds SUBJECT: so does everything in tests/unit/SUBJECT.c, and there is something.
holds() {
	local program=$BATS_TEST_TMPDIR/$1
	# shellcheck disable=SC2086 # flags are words
	run clang -std=gnu11 -g -Wall -Wextra -Wno-unused-function -DLOG_RECORDS=64 $UNIT_FLAGS -I"$ROOT/tests/unit/host" -I"$ROOT/tests/unit" \
		-o "$program" "$ROOT/tests/unit/$1.c"
	((status == 0)) || fail "clang: $output"
	run on_host "$program"
	((status == 0)) || fail "$output"
	[[ $output =~ ^[1-9][0-9]*' tests, '[1-9][0-9]*' checks, 0 failed'$ ]] || fail "$output"
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

@test "records: bytes beyond 2^32, buckets, services when there are too many, the length of a line" {
	holds report
}

@test "the clock: when it goes off, and what it ends" {
	holds clock
}

@test "races: another CPU comes in at the worst moment" {
	holds races
}

@test "conservation: no connection is lost in any order of events, on one CPU and on several" {
	holds conservation
}

@test "every file of tests/unit is one of these" {
	assert_equal "subjects" "$(sed -n 's/^\tholds \([a-z]*\)$/\1.c/p' "$BATS_TEST_FILENAME" | sort | xargs)" \
		"$(cd "$ROOT/tests/unit" && printf '%s\n' *.c | xargs)"
}
