#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The tracker with nothing but tc, the trace and bpftool: what it records of real connections, and that no packet notices.

load helpers

# One record's beginning, which every user may rely on.
readonly ADDRESS='([0-9.]+|\[[0-9a-f:.]+\]):[0-9]+'
readonly RECORD="^netracker: $ADDRESS -> $ADDRESS dur_ns=[0-9]+ state=[A-Z0-9]+ dir=(in|out) first_fin_ns=[0-9]+ syn_rtt_ns=[0-9]+\
 ack_rtt_ns=[0-9]+ orig_bytes=-?[0-9]+ resp_bytes=-?[0-9]+ syn_retrans=[0-9]+ start_ns=[0-9]+ ifindex=[0-9]+ ifname=[^ ]+"

# get URL…: a connection each from the client; prints `client:port -> server:port` as a record has it.
get() {
	local url
	for url in "$@"; do
		in_netns client curl --silent --show-error --globoff --output /dev/null \
			--write-out '%{local_ip} %{local_port} %{remote_ip} %{remote_port}\n' "$url"
	done | sed -E 's/([^ ]*:[^ ]*) /[\1] /g; s/^([^ ]*) ([^ ]*) ([^ ]*) /\1:\2 -> \3:/'
}

# tuples: what get prints, from the records on stdin.
tuples() {
	sed -E 's/^netracker: ([^ ]* -> [^ ]*) .*/\1/'
}

# The five commands, from where a user copies them.
readme_commands() {
	# shellcheck disable=SC2016 # the backticks are Markdown
	sed -n '/^```/,/^```/ s/^sudo \(tc\|cat\|bpftool\) /\1 /p' "$ROOT/README.md"
}

@test "the commands in the README record each connection once" {
	local -a command
	local made recorded
	requires ipv6 tool_nginx
	new_pair
	http_server server 8123
	cd "$ROOT"
	mapfile -t command < <(readme_commands | sed 's/ens33/veth0/g')
	assert_equal "commands in README.md" "${#command[@]}" 5
	for i in 0 1 2; do
		in_netns server bash -c "${command[i]}"
	done
	# One reader has the machine's pipe for itself, and takes from others what is theirs. So a pipe of our own is in its place; that
	# the machine's would have had the lines as well is seen by its switch, which loading the tracker has turned on.
	trace_start
	mount --bind "$TRACE/trace_pipe" /sys/kernel/debug/tracing/trace_pipe
	assert_equal "the machine's trace" "$(cat /sys/kernel/debug/tracing/events/bpf_trace/bpf_trace_printk/enable)" 1
	background in_netns server bash -c "${command[3]}"

	made=$(get "http://$SERVER4:8123/"{,close} "http://[$SERVER6]:8123/"{,close})
	wait_for grep -c -m 4 ":8123 dur_ns=" "$BACKGROUND_OUTPUT"
	recorded=$(sed -n 's/.*: bpf_trace_printk: \(netracker: .*:8123 dur_ns\)/\1/p' "$BACKGROUND_OUTPUT")
	assert_equal "tuples" "$(tuples <<<"$recorded" | sort)" "$(sort <<<"$made")"
	assert_equal "lines that are no record" "$(grep -c -v -E "$RECORD" <<<"$recorded")" 0
	assert_equal "states" "$(record_value state <<<"$recorded" | sort -u)" SF
	assert_equal "directions" "$(record_value dir <<<"$recorded" | sort -u)" in
	background peer client connect "$SERVER4" 8123
	wait_for grep . "$BACKGROUND_OUTPUT"
	wait_for dumps "${command[4]}" "$(cut -d ' ' -f 2 "$BACKGROUND_OUTPUT")"
	assert_conserved
}

# dumps COMMAND PORT: it shows one connection, from PORT. Maps of that name are the machine's, and another's may have a million entries: ours is to
# be one that the name finds, and is dumped alone. What bpftool shows to people is JSON but for its hexadecimal numbers.
dumps() {
	local shown id
	id=$(bpftool --json map show pinned "$PINS/conn_map" | jq .id)
	[[ $1 == *' name conn_map'* ]] || fail "no dump by name: $1"
	assert_equal "found by its name" "$(bpftool --json map show name conn_map | jq --argjson id "$id" '[.] | flatten | any(.id == $id)')" true
	shown=$(in_netns server bash -c "${1/ name conn_map/ id $id}" | sed -E 's/ (0x[0-9a-f]+)/ "\1"/')
	assert_equal "source ports in conn_map" "$(jq --compact-output 'map((.formatted // .).key.sport)' <<<"$shown")" "[$2]"
}

teardown() {
	! mountpoint --quiet /sys/kernel/debug/tracing/trace_pipe || umount --lazy /sys/kernel/debug/tracing/trace_pipe
	clean_up
}

is_at_rest() {
	assert_equal "entries of conn_map" "$(at_rest)" 1
}

@test "conn_map shows an open connection in named fields" {
	local entry port
	new_pair
	attach_raw server veth0
	background peer server serve 8000
	wait_for listening server 8000
	background peer client connect "$SERVER4" 8000
	wait_for grep . "$BACKGROUND_OUTPUT"
	read -r _ port <"$BACKGROUND_OUTPUT"

	wait_for is_at_rest
	entry=$(bpftool --json map dump pinned "$PINS/conn_map" | jq --compact-output '.[] | .formatted')
	assert_equal "client port" "$(jq '.key.sport' <<<"$entry")" "$port"
	assert_equal "closed yet" "$(jq '.value.flow.first_fin_ns' <<<"$entry")" 0
	assert_conserved
}

@test "a client's interface sees connections go out" {
	local made
	requires ipv6 tool_nginx
	new_pair
	attach_raw client veth0
	trace_start
	http_server server
	made=$(get "http://$SERVER4:8000/"{,close} "http://[$SERVER6]:8000/"{,close})
	wait_for_records 4
	assert_equal "tuples" "$(records | tuples)" "$made"
	assert_equal "directions" "$(records | record_value dir | sort -u)" out
	assert_equal "states" "$(records | record_value state | sort -u)" SF
	assert_tables_empty
	assert_conserved
}

@test "who closes first decides first_fin_ns, not the state" {
	local record
	requires tool_nginx
	new_pair
	attach_raw server veth0
	trace_start
	http_server server
	get "http://$SERVER4:8000/" "http://$SERVER4:8000/close" >/dev/null
	wait_for_records 2
	while read -r record; do
		assert_equal "state" "$(record_value state <<<"$record")" SF
		(($(record_value first_fin_ns <<<"$record") > 0)) || fail "no first FIN: $record"
		(($(record_value first_fin_ns <<<"$record") <= $(record_value dur_ns <<<"$record"))) || fail "first FIN after the end: $record"
		(($(record_value syn_rtt_ns <<<"$record") > 0)) || fail "no SYN-ACK: $record"
		(($(record_value ack_rtt_ns <<<"$record") > 0)) || fail "no ACK: $record"
	done < <(records)
}

@test "bytes are those of the payload" {
	requires tool_nginx
	new_pair
	attach_raw server veth0
	trace_start
	http_server server
	head -c 3000000 /dev/urandom >"$WWW/random"
	in_netns client curl --silent --output "$BATS_TEST_TMPDIR/random" --dump-header "$BATS_TEST_TMPDIR/header" "http://$SERVER4:8000/files/random"
	cmp "$WWW/random" "$BATS_TEST_TMPDIR/random"
	wait_for_records 1
	assert_equal "resp_bytes" "$(records | record_value resp_bytes)" $((3000000 + $(wc -c <"$BATS_TEST_TMPDIR/header")))
}

@test "a connection that passes two tracked interfaces is one record" {
	requires tool_nginx
	new_pair
	attach_raw server veth0
	attach_raw client veth0
	trace_start
	http_server server
	get "http://$SERVER4:8000/"{,close,,close} >/dev/null
	wait_for_records 4
	assert_equal "directions" "$(records | record_value dir | sort -u)" out
	assert_equal "SYNs taken for a retransmission" "$(records | record_value syn_retrans | sort -u)" 0
	assert_tables_empty
	assert_conserved
}

@test "lo: every packet passes twice, every connection is one record" {
	requires ipv6 tool_nginx
	new_netns client
	attach_raw client lo
	in_netns client ip address add "$SERVER4/32" dev lo
	in_netns client ip address add "$SERVER6/128" dev lo nodad
	trace_start
	http_server client
	get "http://$SERVER4:8000/"{,close} "http://[$SERVER6]:8000/"{,close} >/dev/null
	wait_for_records 4
	assert_equal "directions" "$(records | record_value dir | sort -u)" out
	assert_equal "SYNs taken for a retransmission" "$(records | record_value syn_retrans | sort -u)" 0
	assert_tables_empty
	assert_conserved
}

# segment NS FLAGS SEQ ACK [PAYLOAD]: a frame with VLAN tags from that end of a connection; its state is the caller's VLANS.
segment() {
	local from=$CLIENT4 sport=40000 to=$SERVER4 dport=8000
	[[ $1 == client ]] || from=$SERVER4 sport=8000 to=$CLIENT4 dport=40000
	in_netns "$1" python3 "$ROOT/tests/wire/segment.py" --send veth0 "${VLANS[@]}" "$2" "$from" "$sport" "$to" "$dport" "${@:3}"
}

# A connection by hand, 3 bytes one way and 5 the other: interfaces for VLANs are not in every kernel. What the client sends comes
# to the tracker with the outer tag in the packet's metadata, what the server sends has it in the frame.
tagged_connection() {
	segment client S 100
	segment server SA 900 101
	segment client A 101 901
	segment client PA 101 901 abc
	segment server PA 901 104 hello
	segment client FA 104 906
	segment server FA 906 105
	segment client A 105 907
}

assert_tagged_connection_recorded() {
	wait_for_records 1
	assert_equal "tuple" "$(records | tuples)" "$CLIENT4:40000 -> $SERVER4:8000"
	assert_equal "state" "$(records | record_value state)" SF
	assert_equal "bytes" "$(records | record_value orig_bytes) $(records | record_value resp_bytes)" "3 5"
	assert_tables_empty
	assert_conserved
}

@test "a VLAN tag is no obstacle" {
	VLANS=(--vlan 7)
	new_pair
	attach_raw server veth0
	trace_start
	tagged_connection
	assert_tagged_connection_recorded
}

@test "two VLAN tags are no obstacle" {
	VLANS=(--vlan 7 --vlan 8)
	new_pair
	attach_raw server veth0
	trace_start
	tagged_connection
	assert_tagged_connection_recorded
}

@test "a refused connection is REJ" {
	new_pair
	attach_raw server veth0
	trace_start
	run peer client connect "$SERVER4" 8000
	assert_equal "exit status of a refused client" "$status" 1
	run peer client connect "$SERVER6" 8000
	wait_for_records 2
	assert_equal "states" "$(records | record_value state | sort -u)" REJ
	assert_tables_empty
	assert_conserved
}

@test "a reset connection is RSTO or RSTR, as who reset it" {
	new_pair
	attach_raw server veth0
	trace_start
	background peer server serve 8000 hold
	background peer server serve 8001 reset
	wait_for listening server 8000
	wait_for listening server 8001
	peer client connect "$SERVER4" 8000 reset
	wait_for_records 1
	peer client connect "$SERVER4" 8001 hold
	wait_for_records 2
	assert_equal "states" "$(records | record_value state | tr '\n' ' ')" "RSTO RSTR "
	assert_tables_empty
	assert_conserved
}

@test "what plain tc attaches writes all records to the trace, however many they are" {
	new_pair
	attach_raw server veth0
	trace_start
	in_netns client python3 -c '
import socket, sys
for _ in range(1500):
    try:
        socket.create_connection((sys.argv[1], 9))
    except OSError:
        pass' "$SERVER4"
	wait_for_records 1500 ' state=REJ '
	assert_conserved
}

# add_foreign PREF SECTION: the filter of tests/foreign.bpf.c at both hooks of the server.
add_foreign() {
	local hook
	for hook in ingress egress; do
		in_netns server tc filter add dev veth0 "$hook" pref "$1" bpf obj "$ROOT/tests/foreign.bpf.o" sec "$2"
	done
}

@test "a filter behind the tracker's sees every packet, as it was before" {
	local before behind
	requires tool_nginx
	build tests/foreign.bpf.o
	new_pair
	# While the interface is down nothing passes, so that both foreign filters count from the same packet to the same packet.
	in_netns server ip link set veth0 down
	attach_raw server veth0
	add_foreign 1 before
	add_foreign 65000 behind
	in_netns server ip link set veth0 up
	in_netns server ip address replace "$SERVER6/64" dev veth0 nodad
	trace_start
	http_server server
	get "http://$SERVER4:8000/"{,close,,close} "http://[$SERVER6]:8000/" >/dev/null
	run peer client connect "$SERVER4" 8001
	wait_for_records 6
	assert_tables_empty
	in_netns server ip link set veth0 down
	{
		read -r before
		read -r behind
	} < <(bpftool --json map dump pinned "$PINS/foreign_seen" | jq --compact-output '.[].formatted.value')
	(($(jq .packets <<<"$before") > 40)) || fail "too few packets to tell: $before"
	assert_equal "packets" "$behind" "$before"
	assert_equal "packets of another mark or priority" "$(jq .changed <<<"$behind")" 0
}

@test "no frame is changed, whatever its flags say, and the verdict is always the same" {
	local hook flags file dir=$BATS_TEST_TMPDIR
	new_pair
	attach_raw server veth0
	# struct __sk_buff with mark 7 (at 8) and priority 9 (at 32).
	python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("<8xI20xI156x", 7, 9))' >"$dir/context"
	for flags in S SA A PA FA R - FSRPAUEC; do
		file=$dir/frame$flags
		python3 "$ROOT/tests/wire/segment.py" -- "$flags" "$CLIENT4" 40000 "$SERVER4" 8000 100 900 payload >"$file"
		for hook in ingress egress; do
			run bpftool prog run id "$(program_id server veth0 "$hook")" data_in "$file" data_out "$dir/out" ctx_in "$dir/context" ctx_out "$dir/context-out"
			[[ $output == "Return value: 0,"* ]] || fail "flags $flags, $hook: $output"
			cmp "$file" "$dir/out"
			assert_equal "mark and priority" "$(od -An -tu4 -j8 -N4 "$dir/context-out") $(od -An -tu4 -j32 -N4 "$dir/context-out")" \
				"$(printf '%11s %11s' 7 9)"
		done
	done
}
