#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The tests' own surroundings: what a run leaves behind is found, what others do meanwhile is not held against it. Each test here starts a
# small run of its own.

load helpers

# inner_test: the test that inner_run runs; its body is on stdin. $DIR is there for the two to speak with each other.
inner_test() {
	local suite=$BATS_TEST_TMPDIR/suite
	mkdir "$suite"
	ln -s "$ROOT/tests/setup_suite.bash" "$suite/"
	{
		printf 'load %q\n' "$ROOT/tests/helpers"
		printf '@test "inner" {\n'
		cat
		printf '}\n'
	} >"$suite/inner.bats"
}

inner_run() {
	# bats is another one to those whom it runs.
	env --ignore-environment PATH="$(tr ':' '\n' <<<"$PATH" | grep -v bats | paste -sd :)" DIR="$BATS_TEST_TMPDIR" TMPDIR="$BATS_TEST_TMPDIR" NETRACKER_OBJECT="$OBJ" "$ROOT/tests/run" "$BATS_TEST_TMPDIR/suite/inner.bats"
}

# instances_of_runs: tracing instances that runs below this test have made. Their names end as their directories here do.
instances_of_runs() {
	local dir
	for dir in "$BATS_TEST_TMPDIR"/tmp.*; do
		find /sys/kernel/tracing/instances -maxdepth 1 -name "netracker-test-${dir##*.}*"
	done
}

setup() {
	isolate
	requires object tool_python3
}

@test "a map that is held, a tracing instance, a namespace and a link that a test leaves are reported" {
	inner_test <<-'END'
		new_netns server
		attach_raw server lo
		setsid python3 -c '
		import sys, time
		sys.path.insert(0, sys.argv[1])
		sys.dont_write_bytecode = True
		from tracker import Map
		held = Map("conn_map")
		open(sys.argv[2], "w").close()
		time.sleep(600)' "$ROOT/tests/wire" "$DIR/held" >/dev/null 2>&1 3>&- &
		unshare --net sleep 600 >/dev/null 2>&1 3>&- &
		wait_for test -e "$DIR/held"
		mkdir "/sys/kernel/tracing/instances/$NETRACKER_TEST_ID-forgotten"
		ip link add forgotten type veth peer name forgotten2
	END
	run inner_run
	((status)) || fail "it passed: $output"
	for what in 'map [0-9]+ conn_map' 'tracing instance netracker-test-.*-forgotten' 'network namespace [0-9]+' \
		'link in the initial namespace: forgotten'; do
		grep --quiet --extended-regexp "^# $what" <<<"$output" || fail "no word of '$what': $output"
	done
	assert_equal "maps reported" "$(grep -c '^# map ' <<<"$output")" 1
}

@test "what others attach, trace and unshare while a test runs is not reported" {
	inner_test <<-'END'
		: >"$DIR/runs"
		wait_for test -e "$DIR/goes-on"
	END
	background inner_run
	wait_for test -e "$BATS_TEST_TMPDIR/runs"
	new_netns server
	attach_raw server lo
	trace_start
	: >"$BATS_TEST_TMPDIR/goes-on"
	wait "$BACKGROUND_PID" || fail "$(<"$BACKGROUND_OUTPUT")"
	grep --quiet '^ok 1 inner' "$BACKGROUND_OUTPUT"
}

@test "a run that is interrupted leaves no tracing instance" {
	local instance
	inner_test <<-'END'
		trace_start
		: >"$DIR/runs"
		sleep 600
	END
	background inner_run
	wait_for test -e "$BATS_TEST_TMPDIR/runs"
	instance=$(instances_of_runs)
	[[ -d $instance ]] || fail "there is none to be removed: '$instance'"
	kill -TERM -- "-$BACKGROUND_PID"
	wait_for test ! -e "$instance"
}
