#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The tests' own surroundings: what a run leaves behind is found, what others do meanwhile is not held against it. Most tests here start a
# small run of their own.

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

@test "who waits in vain does so for the time that was said, however long a look takes" {
	local began=$SECONDS
	look() {
		sleep 0.4
		echo "what it saw"
		return 1
	}
	WAIT_SECONDS=2 run wait_for look
	((status && SECONDS - began >= 2 && SECONDS - began <= 10)) || fail "ended with $status after $((SECONDS - began)) s"
	assert_equal "words" "$output" "still failing after 2 s: look (what it saw)"
}

@test "a map that is held, a tracing instance, a namespace and a link that a test leaves are reported" {
	inner_test <<-'END'
		new_netns server
		attach_raw server lo
		setsid python3 -c '
		import sys, time
		sys.path.insert(0, sys.argv[1])
		from bpf import PINS, Map
		held = Map(PINS + "conn_map")
		open(sys.argv[2], "w").close()
		time.sleep(600)' "$ROOT/tests" "$DIR/held" >/dev/null 2>&1 3>&- &
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

# laboratory_script: a script with a laboratory of its own, in which a process runs that heeds no signal; its number is in $1/pid.
laboratory_script() {
	cat <<-'END'
		source "$ROOT/tests/laboratory.bash"
		at_exit close_laboratory
		open_own_laboratory
		new_netns server
		in_background in_netns server bash -c 'trap "" HUP INT TERM; echo $$ >"$1/pid.new"; mv "$1/pid.new" "$1/pid"; sleep 600' bash "$1"
		sleep 600
	END
}

@test "a script's own laboratory, interrupted, ends what runs in its namespaces, and leaves no mount and no directory" {
	local signal pid
	mkdir "$BATS_TEST_TMPDIR/tmp"
	for signal in HUP:129 INT:130 TERM:143; do
		background env TMPDIR="$BATS_TEST_TMPDIR/tmp" ROOT="$ROOT" bash -euo pipefail -c "$(laboratory_script)" laboratory "$BATS_TEST_TMPDIR"
		wait_for test -e "$BATS_TEST_TMPDIR/pid"
		pid=$(<"$BATS_TEST_TMPDIR/pid")
		[[ -d /proc/$pid && $(ls "$BATS_TEST_TMPDIR/tmp") ]] || fail "the laboratory is not where the test looks for it"
		kill -s "${signal%:*}" -- "-$BACKGROUND_PID"
		wait "$BACKGROUND_PID" || assert_equal "exit status" "$?" "${signal#*:}"
		wait_for test ! -e "/proc/$pid"
		assert_equal "mounts" "$(grep "$BATS_TEST_TMPDIR/tmp" /proc/self/mounts || true)" ""
		assert_equal "directories" "$(ls "$BATS_TEST_TMPDIR/tmp")" ""
		rm "$BATS_TEST_TMPDIR/pid"
	done
}
