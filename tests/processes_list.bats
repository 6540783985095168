#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154 # helpers set them
#
# list: which process holds this host's socket of a connection that is alive.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19 ipv6
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run TRACE_MARKER=$TRACE/trace_marker
	mkdir "$TRACE"
	new_pair
	netracker attach --quiet veth0
}

# runs NS ARGUMENT…: process_peer.py there, until it is so far: $port and $pid.
runs() {
	background in_netns "$1" python3 "$ROOT/tests/process_peer.py" "${@:2}"
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
	port=$(<"$BACKGROUND_OUTPUT")
	pid=$(marked "$port" | head -n 1)
}

# marked PORT: the numbers of the processes that have written it to the trace, in their order.
marked() {
	sed -n "s/^.*-\([0-9]*\) .*: holder of $1\$/\1/p" "$TRACE/trace"
}

# listed [OPTION…]: src port, pid and comm of each connection, by port.
listed() {
	netracker list --json "$@" | jq --raw-output '"\(.sport) \(.pid) \(.comm)"' | sort --numeric-sort
}

listed_are() {
	assert_equal "${*:2}" "$(listed "${@:2}")" "$1"
}

@test "list names who holds the socket of an incoming connection and of an outgoing one, in each form, IPv4 and IPv6" {
	local port pid server_pid incoming6 incoming4 outgoing want form
	runs server serve 8000 'a server'
	server_pid=$pid
	runs client connect "$SERVER6" 8000 theirs
	incoming6=$port
	runs client connect "$SERVER4" 8000 theirs
	incoming4=$port
	runs client serve 9000 theirs
	runs server connect "$CLIENT4" 9000 'a client'
	outgoing=$port
	want=$(printf '%s\n' "$incoming6 $server_pid a server" "$incoming4 $server_pid a server" "$outgoing $pid python3" | sort --numeric-sort)
	wait_for listed_are "$want"
	# Sorted is awk's work, else it is the kernel's.
	assert_equal sorted "$(listed --sort age)" "$want"
	assert_equal csv "$(netracker list --format csv | python3 -c 'import csv, sys
for row in csv.DictReader(sys.stdin): print(row["sport"], row["pid"], row["comm"])' | sort --numeric-sort)" "$want"
	assert_equal ecs "$(netracker list --format ecs | jq --raw-output '"\(.source.port) \(.process.pid) \(.process.name)"' | sort --numeric-sort)" "$want"
	assert_equal table "$(netracker list --wide --no-header | grep --count -E " $server_pid +a server ")" 2
	# The kernel's own files know what the tracker knows.
	assert_equal numeric "$(listed --numeric)" "${want// $server_pid a server/ null null}"
	assert_equal selected "$(listed --pid "$pid")" "$outgoing $pid python3"
	assert_equal selected "$(listed --pid "$server_pid" -4)" "$incoming4 $server_pid a server"
	for form in json csv; do
		assert_equal "$form" "$(netracker list --no-header --format "$form" --process 'a server' | wc -l)" 2
	done
	assert_equal "another name" "$(listed --process 'a serve')$(listed --process 'A server')$(listed --pid 4194304)" ""
}

@test "--pid takes the number of a process, and nothing else" {
	local value
	for value in 0 4194305 -1 1x 01 nginx 99999999999999999999; do
		assert_status 2 netracker list --pid "$value"
		assert_says "--pid wants a whole number from 1 to 4194304, not '$value'"
	done
	assert_status 2 netracker log --no-follow --process ''
	assert_status 0 netracker list --pid 4194304
}

@test "without the view list knows what the tracker knows, and says nothing" {
	local port pid
	runs server serve 8000 holder
	runs client connect "$SERVER4" 8000 theirs
	wait_for listed_are "$port $(listed | cut -d ' ' -f 2-)"
	[[ $(listed) == *' holder' ]] || fail "$(listed)"
	rm "$VIEWS/holders"
	assert_status 0 netracker list --json
	assert_equal "pid, comm" "$(jq --compact-output '[.pid, .comm]' <<<"$output")" '[null,null]'
}

# has_child PORT, child_of PORT: the server's child that has the connection from there.
has_child() {
	[[ $(child_of "$1") ]]
}

child_of() {
	sed -n "s/^.*-\([0-9]*\) .*: child has $1\$/\1/p" "$TRACE/trace"
}

@test "a socket that was passed on is the child's; one that parent and child have is the one's with the lower number" {
	local port pid fork share sharer
	runs server serve 8000 'a parent' fork
	runs client connect "$SERVER4" 8000 theirs
	fork=$port
	runs server serve 9000 'a parent' share
	sharer=$pid
	runs client connect "$SERVER4" 9000 theirs
	share=$port
	wait_for has_child "$fork"
	wait_for has_child "$share"
	wait_for listed_are "$fork $(child_of "$fork") child" --port 8000
	(($(child_of "$share") > sharer)) || fail "the child has the lower number"
	wait_for listed_are "$share $sharer a parent" --port 9000
}

@test "nothing in a name reaches a terminal, JSON or csv as it is; of a longer one --process takes 15 characters" {
	local port pid server_pid bad=$'\e\x9b\xff\x07'
	runs server serve 8000 'a,"\x1b[2J\x9b\xff\\ b'
	server_pid=$pid
	runs client connect "$SERVER4" 8000 theirs
	wait_for listed_are "$port $server_pid "$'a,"\e[2J\xef\xbf\xbd\xef\xbf\xbd\\ b'
	assert_equal JSON "$(netracker list --json | grep --only-matching '"comm":.*,"reset')" $'"comm":"a,\\"\\u001b[2J\xef\xbf\xbd\xef\xbf\xbd\\\\ b","reset'
	assert_equal csv "$(netracker list --format csv --no-header | cut -d , -f 28-30 | cut -d '"' -f 1-4)" $'"a,""\xef\xbf\xbd[2J\xef\xbf\xbd\xef\xbf\xbd\\ b'
	assert_equal table "$(netracker list --wide --no-header | grep --count --fixed-strings 'a,"?[2J??\ b')" 1
	[[ $(netracker list --wide)$(netracker list --format csv)$(netracker list --json)$(cat "$VIEWS/holders") != *[$bad]* ]] || fail "as it is"
	assert_equal "as it is" "$(listed --process $'a,"\e[2J\x9b\xff\\ b' | wc -l)" 1
	runs server serve 9000 fifteen-letters
	server_pid=$pid
	runs client connect "$SERVER4" 9000 theirs
	wait_for listed_are "$port $server_pid fifteen-letters" --port 9000 --process fifteen-letters-and-more
}
