#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Whose four-tuple it is: docs/states.md. Real connections with the same addresses and ports in namespaces, on lo, on links; and those that
# cross several of them.

load helpers
load cli_helpers

# call NS ADDRESS BYTES FILE: from port 45000 to port 80 there; sends so many bytes, makes FILE, and closes once that is gone.
call() {
	background in_netns "$1" python3 -c '
import os, socket, sys, time
address, size, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 45000))
s.connect(socket.getaddrinfo(address, 80)[0][4])
s.sendall(bytes(size))
open(file, "w").close()
while os.path.exists(file):
    time.sleep(0.05)
s.close()' "${@:2}"
	wait_for test -e "$4"
}

# both_call ADDRESS NS NS: two connections of one four-tuple, of 100 and 20,000 bytes, beside each other; the second one ends first.
both_call() {
	local before
	before=$(wc -l <"$BATS_TEST_TMPDIR/log")
	call "$2" "$1" 100 "$BATS_TEST_TMPDIR/first"
	call "$3" "$1" 20000 "$BATS_TEST_TMPDIR/second"
	wait_for rests 2
	rm "$BATS_TEST_TMPDIR/second"
	wait_for ended $((before + 1))
	assert_equal "alive" "$(at_rest)" 1
	rm "$BATS_TEST_TMPDIR/first"
	wait_for ended $((before + 2))
	assert_equal "records" "$(tail -n 2 "$BATS_TEST_TMPDIR/log" | jq --compact-output '[.state, .sport, .orig_bytes, .resp_bytes]')" \
		$'["SF",45000,20000,0]\n["SF",45000,100,0]'
	assert_tables_empty
	assert_conserved
}

rests() {
	(($(at_rest) == $1))
}

ended() {
	cat /sys/fs/bpf/netracker/log.json >>"$BATS_TEST_TMPDIR/log"
	(($(wc -l <"$BATS_TEST_TMPDIR/log") == $1))
}

# new_tenant NAME: namespaces NAME-client and NAME-server on a link, with the addresses that every tenant has, and a server.
new_tenant() {
	new_netns "$1-client"
	new_netns "$1-server"
	new_veth "$1-client" veth0 "$1-server" veth0
	add_address "$1-client" veth0 "$CLIENT4"
	add_address "$1-server" veth0 "$SERVER4"
	serve "$1-server"
}

serve() {
	background peer "$1" serve 80
	wait_for listening "$1" 80
}

attach() {
	in_netns "$1" "$NETRACKER" attach --quiet "${@:2}"
}

@test "two tenants with the same addresses and ports, one end of each tracked, then both: each has its connection" {
	requires object
	new_tenant a
	new_tenant b
	attach a-server veth0
	attach b-server veth0
	: >"$BATS_TEST_TMPDIR/log"
	both_call "$SERVER4" a-client b-client
	attach a-client veth0
	attach b-client veth0
	both_call "$SERVER4" a-client b-client
	assert_equal "attempts" "$(counter attempts)" 4
}

@test "lo of two namespaces: each has its connection" {
	local netns
	requires object
	for netns in one other; do
		new_netns "$netns"
		attach "$netns" lo
		serve "$netns"
	done
	: >"$BATS_TEST_TMPDIR/log"
	both_call 127.0.0.1 one other
	assert_equal "attempts" "$(counter attempts)" 2
}

@test "link-local addresses on two links of one namespace: each link has its connection" {
	local netns dev
	requires object ipv6
	new_netns server
	for netns in one other; do
		new_netns "$netns"
		new_veth "$netns" veth0 server "$netns"
		for dev in "$netns veth0 fe80::1" "server $netns fe80::2"; do
			read -r in dev address <<<"$dev"
			in_netns "$in" ip -6 address flush dev "$dev"
			in_netns "$in" ip address add "$address/64" dev "$dev" nodad
		done
	done
	attach server one other
	serve server
	: >"$BATS_TEST_TMPDIR/log"
	both_call fe80::2%veth0 one other
	assert_equal "attempts" "$(counter attempts)" 2
}

@test "a way through three namespaces, tracked at each of its four interfaces, is one connection" {
	requires object
	new_netns client
	new_netns router
	new_netns server
	new_veth client veth0 router in
	new_veth server veth0 router out
	in_netns client ip address add 192.0.2.1/24 dev veth0
	in_netns client ip route add default via 192.0.2.2
	in_netns router ip address add 192.0.2.2/24 dev in
	in_netns router ip address add 198.51.100.2/24 dev out
	in_netns router bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	in_netns server ip address add 198.51.100.1/24 dev veth0
	in_netns server ip route add default via 198.51.100.2
	attach router in out
	attach server veth0
	attach client veth0
	serve server
	: >"$BATS_TEST_TMPDIR/log"
	call client 198.51.100.1 700 "$BATS_TEST_TMPDIR/open"
	wait_for rests 1
	rm "$BATS_TEST_TMPDIR/open"
	wait_for ended 1
	assert_equal "record" "$(jq --compact-output '[.state, .dir, .orig_bytes, .syn_retrans, .ifname]' "$BATS_TEST_TMPDIR/log")" \
		'["SF","out",700,0,"veth0"]'
	assert_equal "attempts" "$(counter attempts)" 1
	assert_tables_empty
}

# scope_of NAME: that of the interface's entry.
scope_of() {
	bpftool --json map dump pinned "$PINS/nt_ifaces" | jq ".[].formatted.value | select(.name == \"$1\" and .ifindex != 0).scope"
}

@test "interfaces of one namespace share a scope, another namespace has another; who comes back finds it again" {
	local name netns
	build_stub "$BATS_TEST_TMPDIR"
	export NETRACKER_OBJ=$BATS_TEST_TMPDIR/NeTracker.bpf.o
	for netns in one other third; do
		new_netns "$netns"
	done
	for name in one/va one/vb other/vc third/vd; do
		in_netns "${name%/*}" ip link add "${name#*/}" type veth peer name "${name#*/}peer"
	done
	attach one va
	attach other vc
	attach one vb
	assert_equal "scopes" "$(scope_of va) $(scope_of vb) $(scope_of vc)" "1 1 2"
	in_netns one "$NETRACKER" detach --quiet va vb
	attach third vd
	attach one vb
	assert_equal "scopes" "$(scope_of vb) $(scope_of vc) $(scope_of vd)" "1 2 3"
	"$NETRACKER" detach --quiet --all
}

@test "the VRF that an interface is in is found behind bonds and bridges" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/ip" <<-'EOF'
		#!/bin/sh
		case $* in
			*blue) echo '[{"ifindex":7,"linkinfo":{"info_kind":"vrf"}}]' ;;
			*br0) echo '[{"ifindex":8,"master":"blue","linkinfo":{"info_kind":"bridge"}}]' ;;
			*bond0) echo '[{"ifindex":9,"master":"br0","linkinfo":{"info_kind":"bond"}}]' ;;
			*br1) echo '[{"ifindex":10,"linkinfo":{"info_kind":"bridge"}}]' ;;
		esac
	EOF
	chmod +x "$BATS_TEST_TMPDIR/bin/ip"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH
	assert_equal "in a VRF" "$(library vrf_above blue)" 7
	assert_equal "at two removes" "$(library vrf_above bond0)" 7
	assert_equal "in a bridge" "$(library vrf_above br1)" 0
	assert_equal "in nothing" "$(library vrf_above '')" 0
}

@test "many interfaces share a load: each has its own name and scope all the same, and attach again changes nothing" {
	local i before
	new_netns client
	new_netns server
	for i in {1..6}; do
		new_veth server "veth$i" client "peer$i"
		in_netns server ip address add "$NET4.$((8 * i + 1))/29" dev "veth$i"
		in_netns client ip address add "$NET4.$((8 * i + 2))/29" dev "peer$i"
	done
	in_netns server "$NETRACKER" attach --quiet --all
	assert_equal "programs" "$(programs_of server veth{1..6} | sort -u | wc -l)" 2
	before=$(programs_of server veth{1..6})
	in_netns server "$NETRACKER" attach --quiet --all
	assert_equal "programs after another attach" "$(programs_of server veth{1..6})" "$before"
	file_server server 80 "$BATS_TEST_TMPDIR"
	for i in 2 6; do
		in_netns client curl --silent --output /dev/null "http://$NET4.$((8 * i + 1)):80/"
	done
	wait_for ended 2
	assert_equal "interfaces" "$(jq --raw-output .ifname "$BATS_TEST_TMPDIR/log" | xargs)" "veth2 veth6"
	assert_equal "scope" "$(scope_of veth6)" 1
	assert_equal "state" "$("$NETRACKER" status --json | jq --raw-output '[.interfaces[].state] | unique | .[]')" attached
	in_netns server "$NETRACKER" detach --quiet veth{1..5}
	assert_equal "programs on the last" "$(programs_of server veth{1..6} | sort -u | wc -l)" 2
	"$NETRACKER" detach --quiet --all
	assert_equal "qdiscs" "$(in_netns server tc qdisc show | grep -c clsact || true)" 0
	assert_equal "pins" "$(find /sys/fs/bpf -type f ! -name '*.debug')" ''
}

# programs_of NS IF…: the ids of the programs on both hooks of each.
programs_of() {
	local iface hook
	for iface in "${@:2}"; do
		for hook in ingress egress; do
			in_netns "$1" tc -json filter show dev "$iface" "$hook" | jq '.[].options.prog.id // empty'
		done
	done
}
