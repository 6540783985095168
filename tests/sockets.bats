#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the record says of this host's own sockets, beside what they say themselves. As to attach takes seconds, all tests share
# their namespaces: client and server, joined by a veth pair whose server end is tracked, as is the server's lo; and far, behind
# the server, by another veth.

load helpers

setup_file() {
	# shellcheck disable=SC2034 # the helpers read them
	local BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR BATS_TEST_NUMBER=0
	isolate
	requires kernel_5.19 object ipv6
	export LABORATORY NETNS_DIR TRACE
	new_pair
	new_far
	attach_raw server veth0
	attach_again server lo server veth0
	library pin_consumer "$ROOT/view" sockets
	trace_start
}

teardown_file() {
	clean_up
}

setup() {
	[[ -v TRACE ]] || skip "needs what setup_file could not make"
	: >"$TRACE/trace"
}

teardown() {
	end_background
	in_netns client nft flush ruleset
	in_netns server nft flush ruleset
	in_netns server tc qdisc del dev veth0 root 2>/dev/null || true
}

# info_server [NS [PORT [COMMAND…]]]: tests/tcp_info.py; what its sockets said goes to $BACKGROUND_OUTPUT. python3 gets the program as
# an argument: COMMAND may be one that makes it a user who cannot read this tree.
info_server() {
	local netns=${1:-server} port=${2:-8000}
	background in_netns "$netns" "${@:3}" /usr/bin/python3 -c "$(<"$ROOT/tests/tcp_info.py")" serve "$port"
	wait_for listening "$netns" "$port"
}

# info_client ADDRESS UP DOWN END: prints the source port.
info_client() {
	in_netns client python3 "$ROOT/tests/tcp_info.py" connect "$1" 8000 "${@:2}"
}

# record_json [REGEX]: records as `netracker log --json` shows them.
record_json() {
	records "$@" | NT_BOOT_US=0 awk -f "$ROOT/scripts/lib/address.awk" -f "$ROOT/scripts/lib/owner.awk" \
		-f "$ROOT/scripts/lib/record.awk" -f "$ROOT/scripts/lib/json.awk"
}

# of_each NS N VERDICT: VERDICT on every Nth full segment that comes in there.
of_each() {
	in_netns "$1" nft -f - <<-EOF
		table inet trouble {
			chain input {
				type filter hook prerouting priority 0
				meta l4proto tcp meta length > 1000 numgen inc mod $2 0 $3
			}
		}
	EOF
}

# lose_segments N: of the full segments that the server sends to the client, every Nth is lost.
lose_segments() {
	of_each client "$1" drop
}

# whole_record PORT: of the connection from there, as the log has it: the trace has no room for all of a record.
whole_record() {
	cat /sys/fs/bpf/netracker/consumers/sockets/log.json >>"$LABORATORY/log.json"
	jq --compact-output "select(.sport == $1)" "$LABORATORY/log.json" | tail -1
}

# What the record has as TCP_INFO has it; times in microseconds, which the kernel counts in ticks of its clock.
readonly FACTS='{srtt_us, min_rtt_us, retrans, cwnd, mss, rcv_ooopack, reord_seen, dsack_dups, delivered_ce, bytes_retrans,
	delivery_rate: (.delivery_rate // 0)}' TIMES='[.busy_us, .rwnd_limited_us, .sndbuf_limited_us]'

# assert_facts PORT UP DOWN: the record of the client's PORT says what the server's socket said.
assert_facts() {
	local info record
	info=$(jq --compact-output "select(.sport == $1)" "$BACKGROUND_OUTPUT")
	record=$(whole_record "$1")
	[[ $info && $record ]] || fail "port $1: the socket said '$info', the record '$record'"
	assert_equal "bytes, record" "$(jq --compact-output '[.orig_bytes, .resp_bytes]' <<<"$record")" "[$2,$3]"
	assert_equal "facts" "$(jq --compact-output "$FACTS" <<<"$record")" "$(jq --compact-output "$FACTS" <<<"$info")"
	assert_equal "segments of the originator" "$(jq .orig_segs <<<"$record")" "$(jq .segs_in <<<"$info")"
	jq --exit-status --argjson record "$record" \
		"[$TIMES, (\$record | $TIMES)] | transpose | map(.[0] - .[1] | fabs) | max <= 2 * \$info.tick_us" \
		--argjson info "$info" <<<"$info" >/dev/null ||
		fail "times: the record says $(jq --compact-output "$TIMES" <<<"$record"), the socket $(jq --compact-output "$TIMES" <<<"$info")"
}

@test "round-trip times, segments sent again, window: what TCP_INFO said before the close, whoever closes first" {
	local address end port
	requires tool_nft
	info_server
	lose_segments 7
	for address in "$SERVER4" "$SERVER6"; do
		for end in client server; do
			port=$(info_client "$address" 5000 3000000 "$end")
			wait_for records_reach 1 ":$port -> "
			assert_facts "$port" 5000 3000000
			(($(record_json ":$port -> " | jq .retrans) > 0)) || fail "nothing was lost"
			# Its FIN comes on top of what the socket had sent when it was asked.
			assert_equal segments "$(record_json ":$port -> " | jq .resp_segs)" \
				"$(($(jq "select(.sport == $port).segs_out" "$BACKGROUND_OUTPUT") + 1))"
		done
	done
	assert_equal states "$(records | record_value state | sort -u)" SF
}

@test "segments out of order and marks of congestion: what TCP_INFO said" {
	local port word
	requires tool_nft
	for word in client server; do
		in_netns "$word" bash -c 'echo 1 >/proc/sys/net/ipv4/tcp_ecn'
	done
	info_server
	of_each server 7 drop
	of_each client 5 'ip ecn ect0 ip ecn set ce'
	port=$(info_client "$SERVER4" 3000000 100000000 server)
	wait_for records_reach 1 ":$port -> "
	assert_facts "$port" 3000000 100000000
	whole_record "$port" | jq --exit-status '.rcv_ooopack > 0 and .delivered_ce > 0 and .busy_us > 0 and .delivery_rate > 0' >/dev/null ||
		fail "no trouble: $(whole_record "$port")"
	for word in client server; do
		in_netns "$word" bash -c 'echo 2 >/proc/sys/net/ipv4/tcp_ecn'
	done
}

@test "a receiver's window and a send buffer that are too small: what TCP_INFO said" {
	local port try
	info_server
	port=$(RCVBUF=4096 info_client "$SERVER4" 64 10000000 server)
	wait_for records_reach 1 ":$port -> "
	assert_facts "$port" 64 10000000
	(($(whole_record "$port" | jq .rwnd_limited_us) > 0)) || fail "the window was large enough: $(whole_record "$port")"
	end_background
	info_server server 8000 env SNDBUF=4096
	# Of a way without length the send buffer's time is less than a tick, unless there is a queue on it.
	in_netns server tc qdisc add dev veth0 root tbf rate 80mbit burst 16k latency 400ms
	# Nor if a busy machine lets the server write so seldom that the buffer is never full.
	for try in 1 2 3 4 5; do
		port=$(info_client "$SERVER4" 64 10000000 server)
		wait_for records_reach 1 ":$port -> "
		assert_facts "$port" 64 10000000
		(($(whole_record "$port" | jq .sndbuf_limited_us) == 0)) || break
	done
	in_netns server tc qdisc del dev veth0 root
	(($(whole_record "$port" | jq .sndbuf_limited_us) > 0)) || fail "the send buffer was large enough $try times: $(whole_record "$port")"
}

@test "resets from either side, with what the socket said before" {
	local end port
	info_server
	for end in client-reset server-reset; do
		port=$(info_client "$SERVER4" 3000 200000 "$end")
		wait_for records_reach 1 ":$port -> "
		assert_facts "$port" 3000 200000
	done
	assert_equal states "$(records | record_value state | xargs)" "RSTO RSTR"
}

@test "more than 4 GiB in either direction, whoever closes first: exact to the byte" {
	local -a ports=()
	info_server
	ports+=("$(info_client "$SERVER4" 64 4294967296 client)")
	ports+=("$(info_client "$SERVER4" 65 4400000001 server)")
	ports+=("$(info_client "$SERVER4" 4294967301 0 client)")
	ports+=("$(info_client "$SERVER4" 4300000003 7 server-reset)")
	wait_for records_reach 4
	assert_facts "${ports[0]}" 64 4294967296
	assert_facts "${ports[1]}" 65 4400000001
	assert_facts "${ports[2]}" 4294967301 0
	assert_facts "${ports[3]}" 4300000003 7
}

@test "forwarded traffic has no facts and no owner, though a socket of the router listens on that port" {
	local end
	info_server far 8000
	info_server server 8000
	for end in client server client-reset server-reset; do
		info_client "$FAR4" 100 100000 "$end"
	done
	wait_for records_reach 4
	assert_equal "states and facts" "$(record_json | jq --compact-output '[.state, .orig_bytes, .srtt_us, .min_rtt_us, .retrans, .uid, .cgroup, .owner, .mss]' | sort)" \
		"$(printf '["%s",100,null,null,null,null,null,null,null]\n' RSTO RSTR SF SF)"
}

@test "a socket that sends through a veth of its own namespace is not taken for the receiver" {
	new_netns both
	new_netns other
	new_veth both out both in
	new_veth both wire other veth0
	in_netns both ip link add bridge type bridge
	in_netns both ip link set in master bridge
	in_netns both ip link set wire master bridge
	in_netns both ip link set bridge up
	in_netns both ip address add "$CLIENT4/24" dev out
	in_netns other ip address add "$SERVER4/24" dev veth0
	attach_again both in server veth0
	info_server both
	info_server other
	wait_for in_netns both python3 "$ROOT/tests/tcp_info.py" connect "$SERVER4" 8000 64 0 client
	in_netns both python3 "$ROOT/tests/tcp_info.py" connect "$SERVER4" 8000 100 1000 server
	wait_for_records 2
	assert_equal "directions, bytes, facts" \
		"$(record_json | jq --compact-output '[.dir, .orig_bytes, .resp_bytes, .srtt_us, .retrans, .uid, .cgroup]')" \
		"$(printf '["in",%s,null,null,null,null]\n' 64,0 100,1000)"
}

@test "on lo, where both sockets are here, the facts are the originator's, whoever closes first" {
	local end
	info_server server 8000 setpriv --reuid 12345 --clear-groups
	for end in client server; do
		in_netns server python3 "$ROOT/tests/tcp_info.py" connect "$SERVER4" 8000 70000 30 "$end"
	done
	wait_for records_reach 2
	assert_equal "directions, bytes, uids" \
		"$(record_json | jq --compact-output '[.dir, .orig_bytes, .resp_bytes, .uid, .srtt_us > 0]')" \
		"$(printf '["out",70000,30,0,true]\n%.0s' 1 2)"
}

# next_sequence_number PORT: where the client's next byte goes, if it has sent none.
next_sequence_number() {
	bpftool --json map dump pinned "$PINS/conn_map" |
		jq --exit-status ".[].formatted | select(.key.sport == $1).value.flow.orig_isn + 1 | . % 4294967296"
}

# forge_rst PORT SEQ: as if the client had sent it. It goes to all stations, so the server's TCP does not see it, only the tracker does.
forge_rst() {
	in_netns client python3 "$ROOT/tests/wire/segment.py" --send veth0 R "$CLIENT4" "$1" "$SERVER4" 8000 "$2"
}

@test "a forged RST is believed exactly where the socket takes it, and there at once" {
	local port next before away delay
	background peer server serve 8000
	wait_for listening server 8000
	background peer client connect "$SERVER4" 8000
	wait_for test -s "$BACKGROUND_OUTPUT"
	read -r _ port <"$BACKGROUND_OUTPUT"
	wait_for next_sequence_number "$port"
	next=$(next_sequence_number "$port")
	before=$(counter rst_disbelieved)
	for away in 1 2 1000 65535 1000000 2147483648 4294967295 4294966296; do
		forge_rst "$port" "$(((next + away) % 4294967296))"
	done
	assert_equal "RSTs not believed" "$(($(counter rst_disbelieved) - before))" 8
	assert_equal records "$(records)" ''
	next_sequence_number "$port" >/dev/null || fail "the connection is gone"

	forge_rst "$port" "$next"
	wait_for_records 1
	assert_equal state "$(records | record_value state)" RSTO
	# From the packet to the line in the trace; both clocks are CLOCK_BOOTTIME.
	delay=$(sed -n 's/.* \([0-9]*\)\.\([0-9]*\): bpf_trace_printk: netracker: .* dur_ns=\([0-9]*\) .* start_ns=\([0-9]*\) .*/\1\2 \3 \4/p' \
		"$TRACE/trace" | awk '{ printf "%d", $1 - ($2 + $3) / 1000 }')
	((delay < 100000)) || fail "it was believed after $delay us"
}

# nginx_answers: answers with twice the request's path, and closes. It runs as www-data, which accepts, not root, which listens.
nginx_answers() {
	nginx_server server 8000 nginx -g 'user www-data;' <<-EOF
		log_format sizes '\$remote_port \$bytes_sent \$request_length';
		access_log $BATS_TEST_TMPDIR/access.log sizes;
		server {
			listen 8000 backlog=4096;
			location / { return 200 "\$request_uri\$request_uri"; }
		}
	EOF
}

# 10,000 requests of different sizes, each on a connection of its own. At the end wrk cuts some off, before or after their request.
wrk_requests() {
	cat >"$BATS_TEST_TMPDIR/wrk.lua" <<-'EOF'
		local sent, answered = 0, 0
		function request()
			sent = sent + 1
			return wrk.format("GET", "/" .. string.rep("x", sent % 997))
		end
		function response()
			answered = answered + 1
			if answered == 10100 then os.exit(0) end
		end
	EOF
	in_netns client wrk --threads 1 --connections 16 --duration 600s --header 'Connection: close' \
		--script "$BATS_TEST_TMPDIR/wrk.lua" "http://$SERVER4:8000/"
}

all_ended() {
	assert_equal "live connections" "$(at_rest)" 0
}

# call_from PORT: the server's host calls the client, and fails after a moment without an answer. With one, its socket goes without a
# word, as TCP_REPAIR has it: no FIN, no RST.
call_from() {
	in_netns server python3 - "$SERVER4" "$CLIENT4" "$1" <<-'EOF'
		import socket, sys
		s = socket.socket()
		s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		s.bind((sys.argv[1], int(sys.argv[3])))
		s.settimeout(0.3)
		s.connect((sys.argv[2], 9000))
		s.setsockopt(socket.IPPROTO_TCP, 19, 1)
		s.close()
	EOF
}

@test "this host's own SYN on the tuple of a dead connection is an attempt, and that connection is over" {
	set_times 2 0
	background peer client serve 9000
	wait_for listening client 9000
	call_from 800
	in_netns client nft 'add table ip silent; add chain ip silent in { type filter hook input priority 0; policy drop; }'
	! call_from 800 2>/dev/null || fail "somebody has answered"
	wait_for_records 1
	! call_from 800 2>/dev/null || fail "somebody has answered"
	wait_for_records 3
	assert_equal "records" "$(records " $SERVER4:800 -> $CLIENT4:9000 " | record_value state | tr '\n' ' ')" "S1 S0 S0 "
	set_times 0 0
}

@test "10,000 connections of wrk: each record has the bytes of nginx's own log, and nginx's user" {
	local dir=$BATS_TEST_TMPDIR
	requires tool_nginx tool_wrk
	nginx_answers
	wrk_requests
	wait_for all_ended
	record_json | tee "$dir/json" | jq --raw-output 'select(.state == "SF" and .orig_bytes > 0) | "\(.sport) \(.resp_bytes) \(.orig_bytes)"' | sort >"$dir/records"
	sort "$dir/access.log" >"$dir/nginx"
	comm -13 "$dir/nginx" "$dir/records" >"$dir/differ"
	comm -23 "$dir/nginx" "$dir/records" >"$dir/cut"
	echo "# $(wc -l <"$dir/records") connections, $(cut -d ' ' -f 2- "$dir/records" | sort -u | wc -l) different sizes;" \
		"$(wc -l <"$dir/cut") cut off at wrk's end" >&3
	assert_equal "records that nginx's log does not have" "$(cat "$dir/differ")" ''
	(($(wc -l <"$dir/records") >= 10000)) || fail "only $(wc -l <"$dir/records") records"
	(($(wc -l <"$dir/cut") <= 16)) || fail "nginx logged what has no record: $(cat "$dir/cut")"
	assert_equal "users, and whether all is known" \
		"$(jq --compact-output 'select(.state == "SF") | [.user, .srtt_us > 0, .min_rtt_us > 0, .retrans, .mss > 0]' "$dir/json" | sort -u)" \
		'["www-data",true,true,0,true]'
}

@test "a half-closed connection that pushes another one out of a full set keeps what its own socket said" {
	local -a ports
	local before
	before=$(counter close_evicted)
	background in_netns server python3 -c "$(<"$ROOT/tests/crowd.py")" serve 8000
	wait_for listening server 8000
	background in_netns client python3 "$ROOT/tests/crowd.py" connect "$SERVER4" 8000 400000 10 10 10 10 10 10 10 10
	wait_for jq --exit-status --slurp "length == 9" "$BACKGROUND_OUTPUT"
	mapfile -t ports <"$BACKGROUND_OUTPUT"
	# The first one gave way to the ninth.
	wait_for_records 1 ":${ports[0]} -> "
	# shellcheck disable=SC2153 # set in helpers.bash, beside an array of nearly that name
	kill -- "-$BACKGROUND_PID"
	wait_for_records 9 ' state=(S3|SF) '
	assert_equal "gave way" "$(($(counter close_evicted) - before)): $(records ' state=S3 ' | sed 's/ ->.*//; s/.*://')" "1: ${ports[0]}"
	(($(record_json ":${ports[0]} -> " | jq .resp_segs) > 100)) || fail "few segments for 400,000 bytes: $(records)"
	assert_equal "bytes" "$(record_json ":${ports[8]} -> " | jq .resp_bytes)" 10
	(($(record_json ":${ports[8]} -> " | jq .resp_segs) < 20)) || fail "many segments for 10 bytes: $(records)"
	assert_conserved
}
