#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154 # helpers set them
#
# services: of a client that calls a service that refuses, one that does not answer, a slow one and good ones. What it says is compared with
# what was done, and with what the log says of it. tests/check/services.bats has the awk programs, tests/privileges.bats who may.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19 tool_nft
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	new_pair
}

# call PORT HOW [ADDRESS]: one connection of the client's; that it fails is no failure.
call() {
	peer client connect "${3-$SERVER4}" "$1" "$2" >/dev/null 2>&1 || true
}

# serve PORT [HOW]
serve() {
	background peer server serve "$@"
	wait_for listening server "$1"
}

# given_up PORT N: so many connections that nobody answers; their sockets are closed after a moment.
given_up() {
	in_netns client ip neighbour replace "$NOBODY4" lladdr 02:00:00:00:00:99 dev veth0
	in_netns client python3 -c '
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.socket() as attempt:
        attempt.settimeout(0.05)
        try:
            attempt.connect((sys.argv[1], int(sys.argv[2])))
        except OSError:
            pass' "$NOBODY4" "$@"
}

# services OPTION…: as JSON.
services() {
	in_netns client "$NETRACKER" services --json "$@"
}

# of PORT FILTER [OPTION…]: what jq makes of that service's object.
of() {
	services "${@:3}" | jq --compact-output "select(.port == $1) | $2"
}

of_is() {
	assert_equal "$1 $2" "$(of "$1" "$2" "${@:4}")" "$3"
}

# said PORT FILTER WANT: likewise of what $BATS_TEST_TMPDIR/said has.
said() {
	assert_equal "$1 $2" "$(jq --compact-output "select(.port == $1) | $2" "$BATS_TEST_TMPDIR/said")" "$3"
}

# all_ended N: as many records are in the log, and nobody is alive.
all_ended() {
	assert_equal "records, alive" "$(cut -d ' ' -f 1 "$VIEWS/unread" | head -n 1) $(in_netns client "$NETRACKER" list --json --numeric | wc -l)" "$1 0"
}

# bad_and_good: what the tests below look at: 12 connections.
bad_and_good() {
	in_netns client "$NETRACKER" attach --quiet veth0
	in_netns client "$NETRACKER" config handshake_timeout=3 2>/dev/null
	serve 8000
	serve 8001
	background in_netns server python3 "$ROOT/tests/tcp_info.py" serve 8002
	wait_for listening server 8002
	# The first SYN to the slow one is lost: it takes a second.
	in_netns server nft 'add table inet slow; add chain inet slow in { type filter hook input priority 0; }; add rule inet slow in tcp dport 8001 tcp flags & (syn | ack) == syn numgen inc mod 2 0 drop'
	for _ in 1 2 3; do
		call 5432 close
		call 8000 close
	done
	given_up 6379 2
	call 8001 close
	call 8000 reset
	for _ in 1 2; do
		in_netns client python3 "$ROOT/tests/tcp_info.py" connect "$SERVER4" 8002 1000000 2000000 client
	done
	wait_for all_ended 12
}

# right_percentiles: what is said has each of them in the bucket of the time that the log has for it.
right_percentiles() {
	python3 - "$BATS_TEST_TMPDIR/records" "$BATS_TEST_TMPDIR/said" <<-'END'
		import json, math, sys

		records, services = ([json.loads(line) for line in open(file)] for file in sys.argv[1:])

		def handshake(record):
		    return record["ack_rtt_ns"] and record["syn_rtt_ns"] + record["ack_rtt_ns"]

		checked = 0
		for service in services:
		    its = [record for record in records if record["dport"] == service["port"]]
		    for name, times in ("handshake", [handshake(r) for r in its if handshake(r)]), ("duration", [r["duration_ns"] for r in its]):
		        for percent in 50, 99:
		            said = service[f"{name}_p{percent}_ns"]
		            if not times:
		                assert said is None, service
		                continue
		            true = sorted(times)[math.ceil(len(times) * percent / 100) - 1]
		            low = 2 ** (true.bit_length() - 1) if true >= 1024 else 0
		            assert low <= said <= max(2 * low, 1024), (service["port"], name, percent, said, true)
		            checked += 1
		assert checked >= 16, checked
	END
}

@test "the worst comes first; how many failed and how, times, bytes and segments are what was done and what the log says" {
	local name option
	bad_and_good
	services >"$BATS_TEST_TMPDIR/said"
	in_netns client "$NETRACKER" log --all --no-follow --json --numeric >"$BATS_TEST_TMPDIR/records"
	# One failure of four weighs less than one; then it is the handshakes of the others that tell.
	assert_equal "order" "$(jq .port "$BATS_TEST_TMPDIR/said" | head -n 3 | paste -sd ' ')" '5432 6379 8001'
	said 5432 '[.dir, .connections, .failed, .failed_pct, .ended.REJ, .established, .handshake_p50_ns]' '["out",3,3,100,3,0,null]'
	said 6379 '[.connections, .failed, .failed_pct, .ended.S0]' '[2,2,100,2]'
	said 8000 '[.connections, .failed, .failed_pct, .ended.SF, .ended.RSTO, .established]' '[4,1,25,3,1,4]'
	said 8001 '[.connections, .failed, .failed_pct, .handshake_p99_ns > 5e8]' '[1,0,0,true]'
	said 8002 '[.orig_bytes, .resp_bytes, .handshake_p99_ns < 5e8]' '[2000000,4000000,true]'
	assert_equal "segments" "$(jq '.segments_sent, .segments_retransmitted' "$BATS_TEST_TMPDIR/said" | jq --slurp add)" \
		"$(jq '.orig_segs, .retrans' "$BATS_TEST_TMPDIR/records" | jq --slurp add)"
	name=$(getent services 5432/tcp | awk '{ print $1 }')
	said 5432 .name "$(jq --null-input --arg name "$name" 'if $name == "" then null else $name end')"
	right_percentiles
	services --since 1h >"$BATS_TEST_TMPDIR/since"
	assert_equal "the same of the log, but for whose they are" "$(jq --compact-output 'del(.comm, .comms, .owner)' "$BATS_TEST_TMPDIR/since")" \
		"$(jq --compact-output 'del(.comm, .comms, .owner)' "$BATS_TEST_TMPDIR/said")"
	assert_equal "who was refused" "$(jq --raw-output 'select(.port == 5432).comm' "$BATS_TEST_TMPDIR/since")" python3
	assert_equal "since later" "$(services --since '1 hour' | wc -l)" 0
	of_is 5432 .name null --numeric

	for option in failed:5432 ended:8000 handshake:8001 bytes:8002 retransmitted:8001; do
		assert_equal "first by ${option%:*}" "$(services --sort "${option%:*}" --max-rows 1 2>/dev/null | jq .port)" "${option#*:}"
	done
	assert_status 0 in_netns client "$NETRACKER" services --max-rows 4
	assert_says 'netracker: 1 more is not shown'
	assert_equal "rows" "$(wc -l <<<"$stdout")" 5
	assert_status 0 in_netns client "$NETRACKER" services
	assert_equal "columns" "$(awk 'length > 80' <<<"$stdout")" ''
	assert_equal "first row" "$(awk 'NR == 2 { print $1, $2, $4, $5, $6 }' <<<"$stdout")" 'out 5432 3 100% REJ:3'
	assert_equal "its last reader has all" "$(cut -d ' ' -f 1 "$VIEWS/unread" | head -n 1)" 12
}

@test "every key of the JSON and every column is in the documents" {
	local key column
	bad_and_good
	awk '/^## / { inside = $0 == "## What is wrong on this host" } inside' "$ROOT/docs/monitoring.md" >"$BATS_TEST_TMPDIR/section"
	while read -r key; do
		grep --quiet --fixed-strings "\`$key\`" "$BATS_TEST_TMPDIR/section" || fail "docs/monitoring.md does not say what $key is"
	done < <({ services --max-rows 1 && services --by peer --max-rows 1; } 2>/dev/null | jq --raw-output 'keys[]' | sort -u)
	for column in $({ netracker services --wide && netracker services --by peer --wide; } | awk '/^DIR/' | tr ' ' '\n' | grep . | sort -u); do
		grep --quiet -E "^\|[^|]*\<$column\>" "$BATS_TEST_TMPDIR/section" || fail "docs/monitoring.md does not say what $column is"
		netracker help services | grep --quiet --word-regexp "$column" || fail "the help does not say what $column is"
	done
	assert_equal "columns with all of them" "$(netracker services --wide | head -n 1 | wc -w)" 17
}

@test "--by peer: each other end of either direction, IPv4 and IPv6, with its own figures" {
	local peer
	requires ipv6
	in_netns client "$NETRACKER" attach --quiet veth0
	add_address server veth0 "$NET4.3"
	serve 8000
	for peer in "$SERVER4" "$SERVER4" "$SERVER6" "$NET4.3"; do
		call 8000 close "$peer"
	done
	call 9 close "$NET4.3"
	background peer client serve 8003
	wait_for listening client 8003
	peer server connect "$CLIENT4" 8003 reset >/dev/null
	wait_for all_ended 6
	assert_equal "peers" "$(services --by peer | jq --compact-output '[.dir, .peer, .connections, .failed, .ended.REJ, .ended.RSTO]' | sort)" \
		"$(printf '%s\n' "[\"in\",\"$SERVER4\",1,1,0,1]" "[\"out\",\"$SERVER4\",2,0,0,0]" "[\"out\",\"$SERVER6\",1,0,0,0]" "[\"out\",\"$NET4.3\",2,1,1,0]" | sort)"
	assert_equal "the worst" "$(services --by peer | jq --raw-output '.dir' | head -n 1)" in
	assert_status 0 in_netns client "$NETRACKER" services --by peer --max-rows 1
	assert_says 'netracker: 3 more are not shown'
	[[ $(head -n 1 <<<"$stdout") == 'DIR PEER '* ]] || fail "$stdout"
	assert_equal "consumers that are left" "$(find "$VIEWS" -mindepth 1 -type d)" ''
}

@test "who is alive is counted, under its service and its peer, and whose it is" {
	in_netns server "$NETRACKER" attach --quiet veth0
	serve 8000
	background peer client connect "$SERVER4" 8000
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
	wait_for of_is 8000 '[.dir, .live, .connections, .comm, .comms]' '["in",1,0,"python3",1]'
	of_is 8000 '[.live, .comm]' '[1,null]' --numeric
	of_is 8000 '[.live, .established, .comm]' '[1,0,"python3"]' --since 1h
	assert_equal "by peer" "$(services --by peer | jq --compact-output '[.dir, .peer, .live, .connections]')" "[\"in\",\"$CLIENT4\",1,0]"
	# From outside nothing was established there.
	call 9 close
	wait_for of_is null '[.dir, .connections, .ended.REJ, .name]' '["in",1,1,null]'
	assert_status 0 netracker services --no-header
	assert_equal "rows" "$(awk '{ print $1, $2, $4 }' <<<"$stdout")" $'in other 1\nin 8000 0'
}

@test "nothing attached, nothing ended, no view: the usual sentences" {
	local words
	for words in services 'services --by peer' 'services --since 1h'; do
		# shellcheck disable=SC2086 # they are words
		assert_status 3 netracker $words
		assert_says "not attached to any interface; 'netracker attach IFACE' does that"
		assert_equal "lines" "$(wc -l <<<"$output")" 1
	done
	netracker attach --quiet veth0
	for words in services 'services --by peer'; do
		# shellcheck disable=SC2086
		assert_status 0 netracker $words
		assert_equal "lines" "$(wc -l <<<"$output")" 1
		# shellcheck disable=SC2086
		assert_status 0 netracker $words --json
		assert_equal "objects" "$output" ''
	done
	rm "$VIEWS/records.json"
	serve 8000
	call 8000 close
	wait_for of_is 8000 .live null
	rm "$VIEWS/metrics"
	assert_status 4 netracker services
	assert_says "$VIEWS/metrics is not there"
}

@test "an output that fails, a program that does: said once, and nobody loses a record" {
	bad_and_good
	assert_status 1 bash -c "'$NETRACKER' services >/dev/full"
	assert_says 'cannot write the output'
	assert_equal "sentences" "$(grep --count '^netracker: ' <<<"$output")" 1
	mkdir "$BATS_TEST_TMPDIR/bin"
	printf '#!/bin/sh\nexit 7\n' >"$BATS_TEST_TMPDIR/bin/sort"
	chmod +x "$BATS_TEST_TMPDIR/bin/sort"
	assert_status 1 env PATH="$BATS_TEST_TMPDIR/bin:$PATH" "$NETRACKER" services
	assert_says 'the figures could not be put together (exit status 7)'
	assert_equal "sentences" "$(grep --count '^netracker: ' <<<"$output")" 1
	assert_status 1 env PATH="$BATS_TEST_TMPDIR/bin:$PATH" "$NETRACKER" services --by peer
	assert_says 'the figures could not be put together (exit status 7)'
	assert_equal "sentences" "$(grep --count '^netracker: ' <<<"$output")" 1
	assert_equal "unread" "$(cut -d ' ' -f 1 "$VIEWS/unread" | head -n 1)" 12
}
