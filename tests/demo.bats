#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What `make demo` and `make run` show, and that nothing is left of them.

load helpers

demo_instances() {
	find /sys/kernel/tracing/instances -maxdepth 1 -name "$NETRACKER_TEST_ID-demo-*"
}

interrupt() {
	kill -INT -- "-$BACKGROUND_PID"
	wait_for has_ended "$BACKGROUND_PID"
	wait "$BACKGROUND_PID" || true
}

@test "the demo shows seven requests, a refused, a reset and an open connection" {
	requires object tool_curl tool_python3
	run "$ROOT/scripts/demo"
	assert_equal "exit status" "$status" 0
	assert_equal "rows of the table" "$(grep -c -E '^  [^ ]+ -> [^ ]+:8000( +-?[0-9.]+){3}$' <<<"$output")" 7
	assert_equal "states" "$(grep -o 'state=[A-Z]*' <<<"$output" | sort | uniq -c | tr -s ' \n' ' ')" " 1 state=REJ 1 state=RSTO 7 state=SF "
	assert_equal "open connections" "$(grep -c '"start_ns":' <<<"$output")" 1
	assert_equal "instances left" "$(demo_instances)" ""
}

@test "the demo, interrupted, leaves nothing" {
	requires object
	# Its first request never ends.
	mkdir "$BATS_TEST_TMPDIR"/{bin,tmp}
	printf '#!/bin/sh\n: >"%s"\nexec sleep 600\n' "$BATS_TEST_TMPDIR/requested" >"$BATS_TEST_TMPDIR/bin/curl"
	chmod +x "$BATS_TEST_TMPDIR/bin/curl"
	background env PATH="$BATS_TEST_TMPDIR/bin:$PATH" TMPDIR="$BATS_TEST_TMPDIR/tmp" "$ROOT/scripts/demo"
	wait_for test -e "$BATS_TEST_TMPDIR/requested"
	[[ $(demo_instances) ]] || fail "the demo has no instance: the test looks for the wrong one"
	[[ $(ls "$BATS_TEST_TMPDIR/tmp") ]] || fail "the demo has no directory: the test looks for the wrong one"
	interrupt
	assert_equal "instances left" "$(demo_instances)" ""
	assert_equal "directories left" "$(ls "$BATS_TEST_TMPDIR/tmp")" ""
	[[ $(cat "$BACKGROUND_OUTPUT") != *"still open"* ]] || fail "the demo ran to its end"
}

@test "run attaches, shows what ends, and detaches at Ctrl-C" {
	requires object tool_nginx
	new_pair
	http_server server
	background in_netns server "$ROOT/scripts/run" veth0
	wait_for grep --quiet 'Ctrl-C' "$BACKGROUND_OUTPUT"
	in_netns client curl --silent "http://$SERVER4:8000/close"
	wait_for grep -E "$SERVER4:8000 +in +SF " "$BACKGROUND_OUTPUT"
	interrupt
	assert_equal "filters" "$(in_netns server tc filter show dev veth0 ingress)" ""
	assert_equal "pins" "$(find /sys/fs/bpf/tc -type f)" ""
}

# run_with_log COMMAND: run, with a log that does COMMAND and goes on; its process is in the file `log` then.
run_with_log() {
	local dir=$BATS_TEST_TMPDIR
	rm -rf "$dir/scripts" "$dir/log"
	mkdir "$dir/scripts"
	cp "$ROOT/scripts/run" "$dir/scripts"
	cat >"$dir/scripts/netracker" <<-END
		#!/bin/sh
		[ "\$1" = log ] || exit 0
		$1
		echo "\$\$" >"$dir/log.new"
		mv "$dir/log.new" "$dir/log"
		exec sleep 600
	END
	chmod +x "$dir/scripts/netracker"
	background "$dir/scripts/run" lo
	wait_for test -e "$dir/log"
}

@test "run ends at a Ctrl-C that the log has not heard, as one that is just being started does not" {
	run_with_log 'trap "" INT'
	interrupt
	assert_equal "output" "$(cat "$BACKGROUND_OUTPUT")" "following the connections on lo; Ctrl-C ends it"
}

@test "run ends the log whatever ends run" {
	local signal
	for signal in HUP INT QUIT TERM; do
		run_with_log :
		kill -s "$signal" "$BACKGROUND_PID"
		wait_for has_ended "$BACKGROUND_PID"
		! kill -0 "$(<"$BATS_TEST_TMPDIR/log")" 2>/dev/null || fail "SIG$signal: the log goes on"
	done
}

@test "run leaves what was attached before" {
	requires object
	new_pair
	in_netns server "$NETRACKER" attach --quiet veth0
	background in_netns server "$ROOT/scripts/run" veth0
	wait_for grep --quiet 'Ctrl-C' "$BACKGROUND_OUTPUT"
	interrupt
	in_netns server tc filter show dev veth0 ingress | grep --quiet 'NeTracker.bpf.o:\[tc_ing\]'
	in_netns server "$NETRACKER" detach --quiet veth0
}

@test "run without an interface takes the default route's, and says so if there is none" {
	requires object
	new_pair
	run in_netns server "$ROOT/scripts/run"
	assert_equal "exit status" "$status" 1
	[[ $output == "run: no interface has a default route"* ]] || fail "$output"
	in_netns server ip route add default via "$CLIENT4"
	background in_netns server "$ROOT/scripts/run"
	wait_for grep --quiet 'connections on veth0' "$BACKGROUND_OUTPUT"
	interrupt
}
