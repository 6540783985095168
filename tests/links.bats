#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Links and headers: whatever stands before TCP, a connection is recorded, and what is not TCP's is told apart. The scenarios'
# language, and what the --dress options put around a packet: tests/wire/play.py.

load helpers
load wire/wire

# A connection of 3 and 5 bytes.
connection() {
	play "$@" <<-EOF
		o S
		r SA         @synack
		o A          @ack
		o PA data=3
		r PA data=5
		o FA         @fin
		r FA         @end
		o A
		= SF bytes=3/5 syn_retrans=0
		+ established=1
	EOF
}

@test "VLAN tags: one, two, three" {
	connection --dress vlan veth-in-4 veth-in-6 veth-out-4 veth-out-6
	connection --dress qinq veth-in-4 veth-in-6 veth-out-4 veth-out-6
	connection --dress three-tags veth-in-4 veth-in-6 veth-out-4 veth-out-6
}

@test "the VLAN is no part of a connection: another one each way" {
	connection --dress vlan-by-sender veth-in-4 veth-in-6 veth-out-4 veth-out-6
}

@test "IPv4 options of every length" {
	for words in 1 2 3 4 5 6 7 8 9 10; do
		connection --dress "options-$words" veth-in-4 veth-out-4 tun-in-4
	done
}

@test "IPv6 extension headers: hop-by-hop, routing, destination, AH, atomic fragment, long ones, and eight" {
	for extension in hop-by-hop routing destination ah atomic-fragment long chain eight; do
		connection --dress "$extension" veth-in-6 veth-out-6 tun-out-6
	done
}

@test "what pads a short frame is no payload" {
	connection --dress padded veth-in-4 veth-in-6 veth-out-4 veth-out-6
}

@test "a length of 0 in the IP header: the packet's own counts" {
	connection --dress length-0
}

@test "headers that are not in the linear part of a packet" {
	# Of a packet socket's frame of a page or more only the Ethernet header is linear.
	play veth-in-4 veth-in-6 veth-out-4 veth-out-6 lo-4 <<-EOF
		o S data=5000
		r SA data=6000  @synack
		o A data=7000   @ack
		o FA data=8000  @fin
		r FA data=9000  @end
		= SF bytes=20000/15000
		+ established=1
	EOF
	play --dress qinq veth-in-4 veth-in-6 veth-out-4 veth-out-6 <<-EOF
		o S data=5000
		r RA data=5000  @end
		= REJ
	EOF
	play --dress chain veth-in-6 veth-out-6 <<-EOF
		o S data=5000
		r RA data=5000  @end
		= REJ
	EOF
}

@test "a MAC address that looks like the first byte of an IP header" {
	connection --dress mac-like-ip veth-in-4 veth-in-6 veth-out-4 veth-out-6
	connection --dress mac-like-ip-and-length veth-in-4 veth-in-6 veth-out-4 veth-out-6
}

@test "an IP address that looks like an EtherType, on a link without Ethernet" {
	# 8.0.64.1 has 0x0800 where the type would be, 2001:db8:86dd::1 has 0x86dd.
	connection tun-in-8 tun-out-8 tun-in-d tun-out-d
}

@test "fragments without a TCP header are counted; the first is looked at" {
	play veth-in-4 veth-in-6 veth-out-4 veth-out-6 tun-in-4 <<-EOF
		o S fragment=0x2000
		r SA @synack
		o A @ack
		o PA data=8 fragment=0x2001 side
		o FA fragment=0x0003 side
		o R fragment=0x0001 side
		o FA @fin
		r FA @end
		= SF bytes=0/0
		+ fragments=3
	EOF
}

@test "malformed segments are counted by kind, and do a connection no harm" {
	play <<-EOF
		o S
		r SA @synack
		o A @ack
		o FA doff=4 side
		o FA doff=0 side
		r FA doff=15 side
		r FA doff=6 side
		o SF side
		r SR side
		o SFRPAUEC side
		o F side
		r - side
		o PUEC side
		r FA cut=1 side
		o R cut=10 side
		o S cut=20 side
		o PA data=3
		o FA @fin
		r FA @end
		= SF bytes=3/0
		+ malformed_offset=4 malformed_flags=6 malformed_short=3
	EOF
}

@test "malformed segments of no connection create nothing" {
	play <<-EOF
		o SF
		o S doff=4
		o S doff=15
		r SAF
		o -
		o S cut=1
		+ malformed_offset=2 malformed_flags=3 malformed_short=1
	EOF
}

@test "reserved bits, ECN and urgent data do not matter" {
	play <<-EOF
		o SEC
		r SAE @synack
		o APUEC data=3 @ack
		o FAPUEC data=1 @fin
		r FAPUEC data=5 @end
		= SF bytes=4/5
	EOF
}

# offload_pair: namespaces of a client and of a server behind the tracked interface up0, with every offload on.
offload_pair() {
	new_netns client
	new_netns server
	new_veth client up0 server up0
	in_netns client ethtool --offload up0 tso on gso on gro on >/dev/null
	in_netns server ethtool --offload up0 tso on gso on gro on >/dev/null
	add_address client up0 "$CLIENT4" "$CLIENT6"
	add_address server up0 "$SERVER4" "$SERVER6"
	attach_again server up0 wire nt0
	echo >"$TRACE/trace"
}

# bulk ADDRESS: from the client, BULK bytes there and 7 back, with sendfile, so that they lie in pages.
readonly BULK=30000000
bulk() {
	truncate --size=$BULK "$BATS_TEST_TMPDIR/bulk"
	in_netns client python3 - "$1" 8000 "$BATS_TEST_TMPDIR/bulk" <<-EOF
		import socket, sys
		with socket.create_connection(sys.argv[1:3]) as connection, open(sys.argv[3], "rb") as bulk:
		    connection.sendfile(bulk)
		    connection.shutdown(socket.SHUT_WR)
		    while connection.recv(65536):
		        pass
	EOF
}

# sink: a server that says "thanks!" once it has read all.
sink() {
	in_netns server python3 - <<-EOF
		import socket
		with socket.create_server(("::", 8000), family=socket.AF_INET6, dualstack_ipv6=True) as server:
		    while True:
		        connection, _ = server.accept()
		        while connection.recv(1 << 20):
		            pass
		        connection.sendall(b"thanks!")
		        connection.close()
	EOF
}

@test "offloads: megabytes in large segments, from pages, the FIN at the end of one" {
	requires tool_ethtool ipv6
	offload_pair
	background sink
	wait_for listening server 8000
	bulk "$SERVER4"
	bulk "$SERVER6"
	# BIG TCP: segments beyond 64 KiB, whose IP header cannot say their length.
	in_netns client ip link set up0 gso_max_size 180000 gro_max_size 180000
	in_netns server ip link set up0 gso_max_size 180000 gro_max_size 180000
	bulk "$SERVER6"
	wait_for_records 3
	# shellcheck disable=SC2153 # background sets it
	kill -KILL -- "-$BACKGROUND_PID"
	assert_equal "states" "$(records | record_value state | sort -u)" SF
	assert_equal "orig_bytes" "$(records | record_value orig_bytes | sort -u)" $BULK
	assert_equal "resp_bytes" "$(records | record_value resp_bytes | sort -u)" 7
	assert_tables_empty
}
