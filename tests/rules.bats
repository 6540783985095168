#!/usr/bin/env bats
# shellcheck disable=SC2154 # $stdout and $output are set in cli_helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Rules: which connections are tracked, from real traffic to the server's ports 8000 and 8001.

load helpers
load cli_helpers

setup() {
	isolate
	requires object tool_curl
	export NETRACKER_LOCK=$BATS_TEST_TMPDIR/lock NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	new_pair
	http_server server 8000
	netracker attach --quiet veth0
}

# refused PORT [ADDRESS]: a connection that nobody takes.
refused() {
	! in_netns client curl --silent --output /dev/null --connect-timeout 2 "http://${2:-$SERVER4}:$1/" || fail "somebody listens on $1"
}

served() {
	in_netns client curl --silent --fail --output /dev/null --connect-timeout 2 "http://$SERVER4:8000/close"
}

# recorded PORT…: the log has a record for each of these, and no other.
recorded() {
	netracker log --json --no-follow >>"$BATS_TEST_TMPDIR/log"
	assert_equal "ports" "$(jq .dport "$BATS_TEST_TMPDIR/log" | sort --numeric-sort | xargs)" "$*"
}

@test "what the rules leave out has no record and is counted, the rest is as without" {
	local i
	netracker config only=8000
	for ((i = 0; i < 3; i++)); do
		served
		refused 8001
	done
	wait_for recorded 8000 8000 8000
	assert_equal "left out" "$(netracker stats --json | jq .skipped.left_out)" 3
	assert_equal "left out, for Prometheus" "$(netracker metrics | sed -n 's/^netracker_syns_left_out_total //p')" 3
	assert_equal "attempts" "$(counter attempts)" 3
	assert_equal "RSTs of nobody" "$(counter no_record_rst)" 0
	netracker config only=
	refused 8001
	wait_for recorded 8000 8000 8000 8001
}

@test "an address of either family, and a port of it alone" {
	netracker config "exclude=[$SERVER6]:8001,$CLIENT4/32:8002-8003"
	refused 8001 "[$SERVER6]"
	refused 8002 "[$SERVER6]"
	refused 8001
	refused 8002
	refused 8003
	refused 8004
	wait_for recorded 8001 8002 8004
	assert_equal "left out" "$(netracker stats --json | jq .skipped.left_out)" 3
}

@test "a connection that is open when rules are set has its record" {
	background peer server serve 8100
	wait_for listening server 8100
	background peer client connect "$SERVER4" 8100
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
	netracker config exclude=0.0.0.0/0
	end_background
	wait_for recorded 8100
}

@test "rules are shown as they are, stay with what else is set, and end with the tracker" {
	assert_status 0 netracker config 'only=443,8000-8999,192.0.2.7,[2001:db8::/32]:443' exclude=10.0.0.0/8:22,::1
	netracker config handshake_timeout=9
	assert_status 0 netracker config
	assert_says $'handshake_timeout=9\n'
	assert_says $'only=443,8000-8999,192.0.2.7,[2001:db8::/32]:443\nexclude=10.0.0.0/8:22,::1'
	netracker config only=
	assert_equal "the other list" "$(netracker config | tail -n 2)" $'only=\nexclude=10.0.0.0/8:22,::1'
	assert_status 2 netracker config "only=$(seq --separator=, 8000 8010)"
	assert_says "there is room for 12 rules, and with these there are 13"
	assert_equal "rules after that" "$(netracker config | tail -n 2)" $'only=\nexclude=10.0.0.0/8:22,::1'
	netracker config "only=$(seq --separator=, 8000 8009)"
	served
	refused 8010
	wait_for recorded 8000
	netracker detach --quiet veth0
	netracker attach --quiet veth0
	assert_equal "rules of the next one" "$(netracker config | tail -n 2)" $'only=\nexclude='
}
