#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# A short `make soak`: it passes, with all its parts at work; interrupted, it leaves nothing.

bats_require_minimum_version 1.5.0
load helpers

# What a soak shares with the machine: directories in /tmp. All else is in its sandbox.
setup() {
	isolate
	requires object kernel_5.19 tool_nginx tool_curl tool_wrk tool_python3
	export TMPDIR=$BATS_TEST_TMPDIR/tmp
	mkdir "$TMPDIR"
}

@test "twenty seconds with everything on at once: each connection has the record that nginx's log tells of" {
	run "$ROOT/bench/soak" 20
	assert_equal "exit status" "$status:$output" "0:$output"
	[[ $output == *$'\nsoak: passed, '* ]] || fail "$output"
	# A soak in which nothing happens proves nothing.
	[[ $output =~ nginx:\ ([0-9]+)\ connections\ with\ [0-9]+\ requests\ compared,\ 0\ mismatches ]] || fail "$output"
	((BASH_REMATCH[1] >= 100)) || fail "too few connections: $output"
	[[ $output =~ \ ([0-9]+)\ adopted\  ]] && ((BASH_REMATCH[1] > 0)) || fail "nothing was taken over: $output"
	[[ $output =~ and\ ([0-9]+)\ interim ]] && ((BASH_REMATCH[1] > 0)) || fail "no interim records: $output"
	assert_equal "directories left" "$(ls "$TMPDIR")" ""
}

@test "a soak that is interrupted ends at once, says so by its exit status, and leaves nothing" {
	local before
	before=$(counted_programs)
	background "$ROOT/bench/soak" 600
	wait_for grep --quiet '^ *[0-9]' "$BACKGROUND_OUTPUT"
	kill -INT -- "-$BACKGROUND_PID"
	ends "$BACKGROUND_PID" 130
	assert_equal "directories left" "$(ls "$TMPDIR")" ""
	assert_equal "processes left" "$(pgrep --full "$TMPDIR" || true)" ""
	[[ $(<"$BACKGROUND_OUTPUT") != *"soak: "* ]] || fail "$(<"$BACKGROUND_OUTPUT")"
	assert_equal "programs left on this test's interfaces" "$(counted_programs)" "$before"
}

# counted_programs: of this network namespace, which is the run's.
counted_programs() {
	bpftool --json net show | jq '[.[].tc[]?] | length'
}

@test "how long a soak lasts has to be a number" {
	run -2 "$ROOT/bench/soak" soon
	assert_equal "said" "$output" "soak: how long? 'soon' is no number of seconds"
}
