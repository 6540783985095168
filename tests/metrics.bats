#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# netracker metrics: valid Prometheus text, which agrees with the counters.

load helpers

setup() {
	isolate
	requires kernel_5.19 object
	new_pair
}

# track NS: attach to veth0 in NS.
track() {
	in_netns "$1" "$NETRACKER" attach --quiet veth0
}

# try ADDRESS PORT HOW: one connection of the client's; refused is no failure.
try() {
	peer client connect "$@" >/dev/null 2>&1 || true
}

# some_of_each: connections that end in several ways, and one that stays open.
some_of_each() {
	background peer server serve 8000
	background peer server serve 8001 reset
	wait_for listening server 8000
	wait_for listening server 8001
	for _ in 1 2 3; do
		try "$SERVER4" 8000 close
	done
	try "$SERVER4" 8000 reset
	try "$SERVER4" 8001 hold
	try "$SERVER4" 9 close
	background peer client connect "$SERVER4" 8000
	wait_for grep -q . "$BACKGROUND_OUTPUT"
	# The reset of our own is believed after a second of silence.
	wait_for live_is 1
}

# live_is N: connections open and nothing half-done.
live_is() {
	assert_equal "live connections" "$(metric netracker_connections_live)" "$1" &&
		assert_equal "live handshakes" "$(metric netracker_handshakes_live)" 0
}

# metric NAME [LABEL…]: the sum of the samples that have all the labels.
metric() {
	"$NETRACKER" metrics | awk -v name="$1" -v labels="${*:2}" '
		BEGIN { wanted = split(labels, label, " ") }
		$1 == name || index($1, name "{") == 1 {
			for (i = 1; i <= wanted; i++)
				if (index($1, label[i]) == 0)
					next
			sum += $2
		}
		END { printf "%.9g\n", sum }'
}

# valid: promtool has nothing to say about the text on stdin.
valid() {
	local said
	said=$(promtool check metrics 2>&1) || fail "promtool: $said"
	assert_equal "promtool" "$said" ""
}

# grouped: the text on stdin has each sample once, and the lines of a metric together, HELP and TYPE first.
grouped() {
	awk '
		function complain(what) { print what ": " $0; bad = 1 }
		{ line = $0 }
		/^# HELP / { help = $3; if (seen[help]++) complain("metric begun twice"); next }
		/^# TYPE / { if ($3 != help) complain("TYPE without HELP"); type = $4; next }
		{
			metric = $1
			sub(/\{.*/, "", metric)
			if (type == "histogram")
				sub(/_(bucket|sum|count)$/, "", metric)
			if (metric != help)
				complain("sample outside of its group")
			if (sample[$1]++)
				complain("sample twice")
		}
		END { exit bad }'
}

@test "the text is valid, without traffic and with" {
	requires tool_promtool
	track client
	"$NETRACKER" metrics | valid
	"$NETRACKER" metrics | grouped
	some_of_each
	"$NETRACKER" metrics | valid
	"$NETRACKER" metrics | grouped
}

@test "the metrics agree with the counters" {
	local state
	track client
	some_of_each
	assert_conserved
	for state in S0 S1 S2 S3 SF SH REJ RSTO RSTR RSTOS0; do
		assert_equal "$state" "$(metric netracker_connections_ended_total "state=\"$state\"")" "$(counter "ended.$state")"
	done
	assert_equal "attempted" "$(metric netracker_connections_attempted_total)" "$(counter attempts)"
	assert_equal "established" "$(metric netracker_connections_established_total)" "$(counter established)"
	assert_equal "handshakes timed" "$(metric netracker_handshake_seconds_count)" "$(counter established)"
	assert_equal "durations" "$(metric netracker_connection_duration_seconds_count)" "$(counters | jq '[.ended[]] | add')"
	assert_equal "records" "$(metric netracker_records_logged_total)" "$(counter logged)"
}

@test "a service's connections are counted under its direction and port" {
	track client
	some_of_each
	assert_equal "closed" "$(metric netracker_connections_ended_total 'dir="out"' 'port="8000"' 'state="SF"')" 3
	assert_equal "reset by us" "$(metric netracker_connections_ended_total 'dir="out"' 'port="8000"' 'state="RSTO"')" 1
	assert_equal "reset by the peer" "$(metric netracker_connections_ended_total 'dir="out"' 'port="8001"' 'state="RSTR"')" 1
	assert_equal "refused" "$(metric netracker_connections_ended_total 'dir="out"' 'port="9"' 'state="REJ"')" 1
	assert_equal "all" "$(metric netracker_connections_ended_total)" 6
}

@test "bytes go to the side that received them" {
	requires tool_nginx
	track client
	http_server server
	head -c 1000000 /dev/zero >"$WWW/million"
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/files/million"
	wait_for live_is 0
	(($(metric netracker_bytes_total 'to="originator"') > 1000000)) || fail "$("$NETRACKER" metrics | grep bytes_total)"
	(($(metric netracker_bytes_total 'to="responder"') < 1000)) || fail "$("$NETRACKER" metrics | grep bytes_total)"
}

# since TIME: seconds, where TIME is an earlier $EPOCHREALTIME.
since() {
	awk -v then="$1" -v now="$EPOCHREALTIME" 'BEGIN { print now - then }'
}

@test "histograms are cumulative and bracket what was measured" {
	local before open shortest longest
	track client
	background peer server serve 8000
	wait_for listening server 8000
	before=$EPOCHREALTIME
	background peer client connect "$SERVER4" 8000
	wait_for live_is 1
	open=$EPOCHREALTIME
	"$NETRACKER" metrics >/dev/null
	shortest=$(since "$open")
	kill -KILL -- "-$BACKGROUND_PID"
	wait_for live_is 0
	longest=$(since "$before")
	"$NETRACKER" metrics | grep 'netracker_connection_duration_seconds' >"$BATS_TEST_TMPDIR/histogram"
	cat "$BATS_TEST_TMPDIR/histogram"
	awk -v shortest="$shortest" -v longest="$longest" '
		/_bucket/ {
			if ($2 < previous)
				exit 1
			previous = $2
			match($1, /le="[^"]*/)
			le = substr($1, RSTART + 4, RLENGTH - 4)
			if ($2 == 1 && le + 0 > 0 && !least)
				least = le
		}
		/_sum/ { sum = $2 }
		/_count/ { count = $2 }
		END { exit !(count == 1 && previous == 1 && sum > shortest && sum < longest && sum <= least && sum * 2 >= least) }
	' "$BATS_TEST_TMPDIR/histogram"
}

@test "a full table of services with the longest numbers is printed whole" {
	track client
	some_of_each
	# Out, ports 65000 and on: as many neighbours as there can be, the worst case for the kernel's buffer.
	python3 "$ROOT/tests/clone_entries.py" "$PINS/nt_services" 500 0 $((1 << 16 | 65000)) 255
	"$NETRACKER" metrics >"$BATS_TEST_TMPDIR/metrics"
	grouped <"$BATS_TEST_TMPDIR/metrics"
	assert_equal "services" "$(grep -c '^netracker_connection_duration_seconds_count{dir="out",port="65' "$BATS_TEST_TMPDIR/metrics")" 500
	assert_equal "states" "$(grep -c '^netracker_connections_ended_total{dir="out",port="65' "$BATS_TEST_TMPDIR/metrics")" 5000
}

@test "an interface's odd name is escaped" {
	requires tool_promtool
	track client
	# struct iface, number 1: name (a"b\), ifindex, owns_qdisc, netns, attached_ns.
	# shellcheck disable=SC2046 # a byte a word
	bpftool map update pinned "$PINS/nt_ifaces" key 1 0 0 0 value hex \
		61 22 62 5c $(printf '0 %.0s' {1..12}) 7 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
	assert_equal "interfaces" "$("$NETRACKER" metrics | grep '^netracker_interface_info')" 'netracker_interface_info{device="a\"b\\",netns="9"} 1'
	"$NETRACKER" metrics | valid
}

@test "records lost in the log's buffer are a metric" {
	track client
	assert_equal "at first" "$("$NETRACKER" metrics | tail -1)" "netracker_log_records_lost_total 0"
	echo 8 >"/sys/kernel/tracing/instances/$NETRACKER_INSTANCE/buffer_size_kb"
	background peer server serve 8000
	wait_for listening server 8000
	in_netns client python3 -c 'import socket, sys; [socket.create_connection((sys.argv[1], 8000)).close() for _ in range(100)]' "$SERVER4"
	(($(metric netracker_log_records_lost_total) > 0)) || fail "nothing lost: $("$NETRACKER" metrics | tail -1)"
	"$NETRACKER" metrics | grouped
}

@test "--textfile replaces the file whole, and leaves it as it was on failure" {
	local dir=$BATS_TEST_TMPDIR/textfile
	track client
	mkdir "$dir"
	"$NETRACKER" metrics --textfile "$dir"
	assert_equal "files" "$(ls -A "$dir")" netracker.prom
	assert_equal "mode" "$(stat --format=%a "$dir/netracker.prom")" 644
	background bash -c "for i in {1..200}; do tail -1 $dir/netracker.prom; done"
	for _ in {1..50}; do
		"$NETRACKER" metrics "--textfile=$dir"
	done
	wait "$BACKGROUND_PID"
	assert_equal "last lines seen" "$(sort -u "$BACKGROUND_OUTPUT")" "$(tail -1 "$dir/netracker.prom")"

	mount -t tmpfs -o size=4k tmpfs "$dir"
	echo before >"$dir/netracker.prom"
	run "$NETRACKER" metrics --textfile "$dir"
	assert_equal "on a full disk" "$status" 1
	assert_equal "files" "$(ls -A "$dir"):$(cat "$dir/netracker.prom")" "netracker.prom:before"
	umount "$dir"
}

@test "metrics takes no capability" {
	track client
	mkdir "$BATS_TEST_TMPDIR/textfile"
	setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$NETRACKER" metrics --textfile "$BATS_TEST_TMPDIR/textfile"
	grouped <"$BATS_TEST_TMPDIR/textfile/netracker.prom"
}

@test "what cannot be done has its sentence and its status" {
	run "$NETRACKER" metrics
	assert_equal "not attached" "$status" 3
	track client
	run "$NETRACKER" metrics --textfile
	assert_equal "no directory given" "$status" 2
	run "$NETRACKER" metrics --textfile /nonexistent
	assert_equal "no such directory" "$status" 1
	run "$NETRACKER" metrics --text
	assert_equal "unknown argument" "$status" 2
	[[ $output == *"'--text'"* ]] || fail "$output"
	rm /sys/fs/bpf/netracker/metrics
	run "$NETRACKER" metrics
	assert_equal "no view" "$status" 4
	[[ $output == *attach* ]] || fail "$output"
}
