#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154,SC2030,SC2031 # helpers set them; each subshell has its own
#
# Connections older than the tracker: attach takes over what this host's sockets have open.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	new_pair
	GO=$BATS_TEST_TMPDIR/go
}

# opened CLIENT_NS SERVER_NS ADDRESS PORT: a connection; the client sends 3,000 bytes, the server 5,000.
opened() {
	background in_netns "$2" python3 "$ROOT/tests/adopt_peer.py" serve "$3" "$4" 5000 3000 "$GO$4"
	wait_for listening "$2" "$4"
	background in_netns "$1" python3 "$ROOT/tests/adopt_peer.py" connect "$3" "$4" 3000 5000 "$GO$4"
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
}

# ends_by PORT WORD…: who closes it, and how.
ends_by() {
	printf '%s\n' "${*:2}" >"$GO$1.new"
	mv "$GO$1.new" "$GO$1"
}

# attached NS [OPTION…]: what attach says of those that it takes over.
attached() {
	in_netns "$1" "$NETRACKER" attach "${@:2}" 2>&1 >/dev/null | sed -n 's/.*tracked from now on: //p'
}

# logged N: there are so many records; they are in $BATS_TEST_TMPDIR/log.
logged() {
	[[ $(counter logged) == "$1" ]] || return 1
	netracker log --json --no-follow --all >"$BATS_TEST_TMPDIR/log"
}

record_of() {
	jq --compact-output "select(.dport == $1) | ${2:-[.state, .dir, .orig_bytes, .resp_bytes, .adopted]}" "$BATS_TEST_TMPDIR/log"
}

@test "what was open before is a record once, both directions, IPv4 and IPv6, whoever closes or resets it, with all of its bytes" {
	local before
	opened client server "$SERVER4" 8001
	opened client server "$SERVER6" 8002
	opened server client "$CLIENT4" 8003
	opened server client "$CLIENT6" 8004
	before=$(date +%s%N)
	assert_equal "taken over" "$(attached client veth0)" 4
	assert_equal "listed" "$(netracker list --json | jq --slurp --compact-output 'map([.dport, .adopted, .orig_bytes, .resp_bytes]) | sort')" \
		"[[8001,true,3000,5000],[8002,true,3000,5000],[8003,true,3000,5000],[8004,true,3000,5000]]"
	assert_conserved
	ends_by 8001 connect
	ends_by 8002 serve
	ends_by 8003 connect reset
	ends_by 8004 serve
	wait_for logged 4
	assert_equal 8001 "$(record_of 8001)" '["SF","out",3007,5000,true]'
	assert_equal 8002 "$(record_of 8002)" '["SF","out",3000,5007,true]'
	assert_equal 8003 "$(record_of 8003)" '["RSTO","in",3007,5000,true]'
	assert_equal 8004 "$(record_of 8004)" '["SF","in",3000,5007,true]'
	assert_equal "of the handshake" "$(record_of 8001 '[.syn_rtt_ns, .ack_rtt_ns, .syn_retrans, .held_by]')" '[null,null,null,null]'
	(($(record_of 8001 .duration_ns) < $(date +%s%N) - before)) || fail "it counts from before the attach"
	assert_equal "counted" "$(counter adopted) $(counter attempts) $(counter no_record_fin) $(counter no_record_rst)" "4 0 0 0"
	assert_conserved
}

@test "a second attach takes nothing over twice, nor what was opened meanwhile" {
	opened client server "$SERVER4" 8001
	assert_equal "taken over" "$(attached client veth0)" 1
	opened client server "$SERVER4" 8002
	assert_equal "taken over again" "$(attached client veth0)" ""
	assert_equal "on the other side" "$(attached server veth0)" ""
	assert_equal "alive" "$(netracker list --json | jq --slurp --compact-output 'map([.dport, .adopted]) | sort')" '[[8001,true],[8002,false]]'
	ends_by 8001 serve
	ends_by 8002 connect
	wait_for logged 2
	assert_equal 8001 "$(record_of 8001)" '["SF","out",3000,5007,true]'
	assert_equal 8002 "$(record_of 8002)" '["SF","out",3007,5000,false]'
	assert_equal "counted" "$(counter adopted) $(counter attempts)" "1 1"
	assert_conserved
}

@test "sockets whose segments pass other interfaces are left alone, as are all with --no-adopt" {
	new_far
	opened server far "$FAR4" 8001
	in_netns server ip link set lo up
	opened server server 127.0.0.1 8002
	opened server client "$CLIENT4" 8003
	assert_equal "taken over" "$(attached server --no-adopt veth0)" ""
	assert_equal "alive" "$(netracker list --json)" ""
	assert_equal "taken over" "$(attached server veth0)" 1
	assert_equal "alive" "$(netracker list --json | jq .dport)" 8003
	assert_equal "of lo, both of whose ends have a socket" "$(attached server lo)" 1
	assert_equal "it" "$(netracker list --json | jq --compact-output 'select(.dport == 8002) | [.dir, .ifname]')" '["out","lo"]'
	ends_by 8002 serve
	wait_for logged 1
	assert_equal 8002 "$(record_of 8002)" '["SF","out",3000,5007,true]'
	assert_conserved
}

@test "the rules leave them out as others, and the metrics tell of them" {
	opened client server "$SERVER4" 8001
	opened client server "$SERVER4" 8002
	in_netns client "$NETRACKER" attach --quiet --no-adopt veth0
	netracker config exclude=8002
	assert_equal "taken over" "$(attached client veth0)" 1
	assert_equal "alive" "$(netracker list --json | jq .dport)" 8001
	assert_equal "stats" "$(netracker stats | head -n 1 | cut -d ' ' -f 3-)" "0 connections, 1 older ones taken over, 0 failed, 1 alive"
	assert_equal "metrics" "$(netracker metrics | sed -n 's/^netracker_connections_\(adopted_total\|live\) //p' | xargs)" "1 1"
	netracker detach --quiet --all
	assert_equal "left behind" "$(ls /sys/fs/bpf/tc/globals)$(find /sys/fs/bpf -name '*nt_*' -o -name '*netracker*')" ""
}
