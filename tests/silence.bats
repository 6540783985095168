#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Connections of which nothing is heard: half-closed ones, whose sockets may be silent for as long as they like, and open ones whose
# peers have vanished.

load helpers

setup() {
	isolate
	requires kernel_5.16 object
	new_pair
	trace_start
}

# Sockets whose peers have vanished keep their namespace for a while, and with it what is attached there.
teardown() {
	local netns
	for netns in client server router; do
		in_netns "$netns" tc qdisc del dev veth0 clsact 2>/dev/null || true
	done
	clean_up
}

# tracked NS SETTING…: attached to veth0 there, with these settings.
tracked() {
	local netns=$1
	shift
	track "$netns"
	in_netns "$netns" "$NETRACKER" config "$@" 2>/dev/null
}

# resting N REGEX: so many of the connections at rest are like that.
resting() {
	assert_equal "connections at rest like $2" "$(grep -cE "$2" /sys/fs/bpf/netracker/records)" "$1"
}

# While packets pass, the condition holds; each attempt on a port that nobody serves is some.
amid_traffic() {
	peer client connect "$SERVER4" 9 2>/dev/null || true
	"$@"
}

# answer_late FILE: a server on port 80 that reads to the end, and answers when the file is there.
answer_late() {
	background in_netns server python3 -c '
import os, socket, sys, time
with socket.create_server(("", 80)) as server:
    connection, _ = server.accept()
    while connection.recv(4096):
        pass
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.05)
    connection.sendall(b"result\n")
    connection.close()
    time.sleep(3600)' "$1"
	wait_for listening server 80
}

@test "half-closed and silent for longer than close_timeout, sockets on both sides: SF, from whichever of them it is seen" {
	local netns go
	for netns in server client; do
		go=$BATS_TEST_TMPDIR/go-$netns
		tracked "$netns" close_timeout=1
		answer_late "$go"
		background peer client connect "$SERVER4" 80 half
		wait_for resting 1 " -> $SERVER4:80 .*state=S2 "
		# Its socket is asked for each second, and is there.
		wait_for amid_traffic past "$((SECONDS + 4))"
		resting 1 " -> $SERVER4:80 .*state=S2 "
		touch "$go"
		wait_for_records 1 " -> $SERVER4:80 .* state=SF .* orig_bytes=0 resp_bytes=7 "
		assert_equal "seconds" "$(($(records " -> $SERVER4:80 " | record_value dur_ns) / 1000000000 >= 3))" 1
		assert_conserved
		in_netns "$netns" "$NETRACKER" detach --quiet veth0
		kill -- "-${BACKGROUND_PIDS[-1]}" "-${BACKGROUND_PIDS[-2]}" 2>/dev/null || true
		wait_for not listening server 80
		: >"$TRACE/trace"
	done
}

not() {
	! "$@"
}

# past SECOND: … of this shell's life.
past() {
	((SECONDS > $1))
}

@test "half-closed, and its socket is gone: its record is there when that is known" {
	tracked client close_timeout=1
	in_netns client sysctl --quiet --write net.ipv4.tcp_fin_timeout=1
	# A server that never closes what its clients have closed.
	background in_netns server python3 -c '
import socket, time
with socket.create_server(("", 80)) as server:
    connections = [server.accept()]
    time.sleep(3600)'
	wait_for listening server 80
	peer client connect "$SERVER4" 80 close
	wait_for amid_traffic records_reach 1 " -> $SERVER4:80 .* state=S2 "
	(($(counter expired) > 0))
	assert_conserved
}

@test "peers that vanish: this host's connection ends with its socket, and not before" {
	tracked server idle_timeout=1
	background in_netns server python3 -c '
import socket, time
IPPROTO_TCP, TCP_USER_TIMEOUT = 6, 18
with socket.create_server(("", 80)) as server:
    connection, _ = server.accept()
    other, _ = server.accept()
    connection.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, 1000)
    connection.recv(1)
    time.sleep(2)
    connection.send(b"data")
    time.sleep(3600)'
	wait_for listening server 80
	background in_netns client python3 -c '
import socket, sys, time
first = socket.create_connection((sys.argv[1], 80))
second = socket.create_connection((sys.argv[1], 80))
first.send(b"x")
time.sleep(3600)' "$SERVER4"
	wait_for resting 2 " -> $SERVER4:80 "
	# From now on the first one is not answered any more: its packets are lost, others still pass.
	in_netns client ip route add blackhole "$SERVER4/32" table 99
	in_netns client ip rule add ipproto tcp dport 80 table 99
	wait_for amid_traffic records_reach 1 " -> $SERVER4:80 .* state=S1 "
	wait_for amid_traffic past "$((SECONDS + 4))"
	resting 1 " -> $SERVER4:80 "
	assert_equal "records" "$(records " -> $SERVER4:80 " | wc -l)" 1
	assert_conserved
}

@test "peers that vanish behind a router: who is silent for twice idle_timeout ends, who speaks does not" {
	new_netns router
	new_netns far
	new_veth router veth0 far veth0
	new_veth router veth1 server veth1
	in_netns router sysctl --quiet --write net.ipv4.ip_forward=1
	in_netns far ip address add 192.0.2.2/24 dev veth0
	in_netns router ip address add 192.0.2.1/24 dev veth0
	in_netns router ip address add 198.51.100.1/24 dev veth1
	in_netns server ip address add 198.51.100.2/24 dev veth1
	in_netns far ip route add default via 192.0.2.1
	in_netns server ip route add default via 198.51.100.1
	tracked router idle_timeout=2
	background peer server serve 80
	wait_for listening server 80
	background in_netns far python3 -c '
import socket, time
silent = socket.create_connection(("198.51.100.2", 80), source_address=("", 1111))
speaks = socket.create_connection(("198.51.100.2", 80), source_address=("", 2222))
while True:
    speaks.send(b"x")
    time.sleep(0.1)'
	wait_for resting 2 ' -> 198.51.100.2:80 '
	wait_for watched 1
	wait_for resting 1 ' -> 198.51.100.2:80 '
	resting 1 '192.0.2.2:2222 -> 198.51.100.2:80 '
	assert_equal "records" "$(netracker_log router | jq --raw-output '"\(.sport) \(.state)"')" "1111 S1"
	assert_equal "expired" "$(counter expired)" 1
	wait_for past "$((SECONDS + 5))"
	resting 1 '192.0.2.2:2222 -> 198.51.100.2:80 '
	assert_conserved
}

netracker_log() {
	in_netns "$1" "$NETRACKER" log --json --no-follow 2>/dev/null
}

# watched N: so many at least are.
watched() {
	(($(bpftool --json map dump pinned "$PINS/nt_silence" | jq '.[0].formatted.value.watched') >= $1))
}

@test "100,000 connections that have been silent for long end, and each has its record" {
	build all
	tracked server idle_timeout=0 trace=off
	background peer server serve 80
	wait_for listening server 80
	background peer client connect "$SERVER4" 80
	wait_for resting 1 " -> $SERVER4:80 "
	python3 "$ROOT/tests/fill_rest.py" 100000
	assert_equal "at rest" "$(wc -l </sys/fs/bpf/netracker/records)" 100001
	in_netns server "$NETRACKER" config idle_timeout=1 2>/dev/null
	WAIT_SECONDS=400 wait_for amid_traffic reach_end
	assert_equal "S1" "$(counter ended.S1)" 100000
	resting 1 " -> $SERVER4:80 "
	assert_equal "logged" "$(counter logged)" "$(counter ended | jq add)"
}

reach_end() {
	(($(counter ended.S1) == 100000))
}
