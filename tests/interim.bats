#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Interim records: of connections that live, at rest and in motion, into the log alone.

load helpers

setup() {
	isolate
	requires kernel_5.16 object
	new_pair
	trace_start
	track server
	background peer server serve 80
	wait_for listening server 80
}

teardown() {
	clean_up
}

# logged N FILTER: so many objects of the log are like that; LOG has all of them.
logged() {
	in_netns server "$NETRACKER" log --json --all --no-follow >"$BATS_TEST_TMPDIR/log" 2>/dev/null
	(($(jq --slurp "map(select($2)) | length" "$BATS_TEST_TMPDIR/log") >= $1))
}

# Each has come once, in its order, and no later than the interval after the time it tells of.
assert_in_turn() {
	jq --slurp --exit-status "map(select(.interim)) | length > 2 and
		([.[].interim] == [range(.[0].interim; .[0].interim + length)]) and
		all(.[]; .duration_ns >= .interim * 1e9 and .duration_ns < (.interim + 1) * 1e9 + 1e9)" "$BATS_TEST_TMPDIR/log" >/dev/null ||
		fail "not one after the other: $(jq --compact-output '[.interim, .duration_ns]' "$BATS_TEST_TMPDIR/log")"
}

@test "a long connection has a record each interval, then its final one; counters and the trace have the end alone" {
	local before
	in_netns server "$NETRACKER" config interim=1
	background peer client connect "$SERVER4" 80 hold
	wait_for logged 4 .interim
	assert_in_turn
	assert_equal "states, bytes" "$(jq --slurp --compact-output 'map([.state, .orig_bytes, .srtt_us]) | unique' "$BATS_TEST_TMPDIR/log")" '[["S1",null,null]]'
	assert_equal "ended" "$(counters | jq --compact-output '[.logged, (.ended | add)]')" '[0,0]'
	assert_conserved
	assert_equal "records in the trace" "$(records)" ""

	in_netns server "$NETRACKER" config interim=0
	wait_for past "$((SECONDS + 1))"
	logged 1 .interim
	before=$(jq --slurp 'map(.interim) | max' "$BATS_TEST_TMPDIR/log")
	wait_for past "$((SECONDS + 3))"
	end_background
	wait_for logged 1 '.interim == null'
	assert_equal "after it was switched off" "$(jq --slurp "map(select(.interim > $before)) | length" "$BATS_TEST_TMPDIR/log")" 0
	assert_equal "final records" "$(jq --slurp 'map(select(.interim == null)) | length' "$BATS_TEST_TMPDIR/log")" 1
	assert_equal "it is the last, and the longest" "$(jq --slurp '.[-1].interim == null and .[-1].duration_ns == (map(.duration_ns) | max)' "$BATS_TEST_TMPDIR/log")" true
	assert_equal "logged" "$(counters | jq .logged)" 1
	assert_conserved
}

past() {
	((SECONDS > $1))
}

@test "one that is half-closed goes on with its records; forms that tell of ends leave them out" {
	in_netns server "$NETRACKER" config interim=1 close_timeout=2
	# The server does not close while its end is held.
	background in_netns server python3 -c '
import socket, time
with socket.create_server(("", 81)) as server:
    connection, _ = server.accept()
    time.sleep(3600)'
	wait_for listening server 81
	background peer client connect "$SERVER4" 81 half
	wait_for logged 6 '.interim and .state == "S2"'
	assert_in_turn
	assert_equal "bytes of who has closed" "$(jq --slurp --compact-output 'map(select(.state == "S2").orig_bytes) | unique' "$BATS_TEST_TMPDIR/log")" '[0]'

	end_background
	wait_for logged 1 '.interim == null'
	in_netns server "$NETRACKER" log --no-follow --all --format zeek-json 2>/dev/null >"$BATS_TEST_TMPDIR/zeek"
	assert_equal "ends in conn.log" "$(wc -l <"$BATS_TEST_TMPDIR/zeek")" "$(counters | jq .logged)"
	assert_equal "by services" "$(in_netns server "$NETRACKER" services --since 60s --json | jq --slurp 'map(.ended | add) | add')" "$(counters | jq .logged)"
	assert_equal "by peers" "$(in_netns server "$NETRACKER" services --by peer --since 60s --json | jq --slurp 'map(.ended | add) | add')" "$(counters | jq .logged)"
}
