#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The views: the tracker's tables as files to be read with cat.

load helpers

readonly VIEWS=/sys/fs/bpf/netracker
readonly ADDRESS='([0-9.]+|\[[0-9a-f:.]+\]):[0-9]+'
readonly RECORD="^$ADDRESS -> $ADDRESS age_ns=[0-9]+ state=[A-Z0-9]+ dir=(in|out) first_fin_ns=[0-9]+ syn_rtt_ns=[0-9]+\
 ack_rtt_ns=[0-9]+ orig_bytes=-?[0-9]+ resp_bytes=-?[0-9]+ syn_retrans=[0-9]+ start_ns=[0-9]+ ifindex=[0-9]+ ifname=[^ ]+\
( uid=[0-9]+ cgroup=[0-9]+)?( [a-z_]+=[^ ]+)*\$"

# What is in $VIEWS: the views, and what those of the log stand on.
readonly LIST_VIEWS=(connections handshake_records handshake_records.json handshakes records records.json)
readonly OTHER_VIEWS=(busy holders hooks log log.json metrics sockets unread)
readonly NO_VIEWS=(boot cursor)

setup() {
	isolate
	requires kernel_5.19 object
	new_pair
}

# hold ADDRESS: a connection from the client that stays open; prints it as `client:port -> server:port`.
hold() {
	local source port
	background peer client connect "$1" 8000
	wait_for grep -q . "$BACKGROUND_OUTPUT"
	read -r source port <"$BACKGROUND_OUTPUT"
	case $1 in
		*:*) echo "[$source]:$port -> [$1]:8000" ;;
		*) echo "$source:$port -> $1:8000" ;;
	esac
}

# tests/peer.py on port 8000 of the server.
serve() {
	background peer server serve 8000
	wait_for listening server 8000
}

# lines VIEW N: the view has N lines.
lines() {
	(($(wc -l <"$VIEWS/$1") == $2))
}

# sorted WORD…: on one line.
sorted() {
	printf '%s\n' "$@" | sort | xargs
}

# value KEY: of the record on stdin.
value() {
	sed -n "s/.* $1=\([^ ]*\).*/\1/p"
}

@test "connections is a table of what is established, IPv4 and IPv6 alike" {
	requires ipv6
	track server
	serve
	hold "$SERVER4" >"$BATS_TEST_TMPDIR/held"
	hold "$SERVER6" >>"$BATS_TEST_TMPDIR/held"
	wait_for lines connections 3

	cat "$VIEWS/connections"
	local column
	column=$(sed -n 1p "$VIEWS/connections" | grep --byte-offset --only-matching CONNECTION)
	column=${column%:*}
	assert_equal "connections" "$(tail -n +2 "$VIEWS/connections" | cut -c "$((column + 1))-" | sort)" "$(sort "$BATS_TEST_TMPDIR/held")"
	assert_equal "state, direction, interface" "$(awk 'NR > 1 { print $1, $2, $3 }' "$VIEWS/connections" | sort -u)" "S1 in veth0"
	assert_equal "handshakes" "$(wc -l <"$VIEWS/handshakes")" 1
}

@test "connections has one head, whether it has no row, one or two" {
	local rows
	track server
	serve
	for rows in 0 1 2; do
		wait_for lines connections "$((rows + 1))"
		assert_equal "heads of $rows" "$(grep -c ^STATE "$VIEWS/connections")" 1
		hold "$SERVER4" >/dev/null
	done
}

@test "a record has the keys and values that the trace's line will have" {
	local live ended key
	track server
	serve
	trace_start
	hold "$SERVER4"
	wait_for lines records 1
	live=$(cat "$VIEWS/records")
	[[ $live =~ $RECORD ]] || fail "no record: $live"
	kill -KILL -- "-$BACKGROUND_PID"
	wait_for_records 1
	ended=$(records)

	assert_equal "connection" "${live%% age_ns=*}" "$(sed 's/^netracker: //; s/ dur_ns=.*//' <<<"$ended")"
	for key in dir syn_rtt_ns ack_rtt_ns syn_retrans start_ns ifindex ifname; do
		assert_equal "$key" "$(value "$key" <<<"$live")" "$(value "$key" <<<"$ended")"
	done
	assert_equal "state" "$(value state <<<"$live")" S1
	(($(value age_ns <<<"$live") <= $(value dur_ns <<<"$ended"))) || fail "older than it got: $live; $ended"
	assert_equal "records afterwards" "$(cat "$VIEWS/records")" ""
}

@test "what is known of a half-closed connection is shown" {
	local live
	track server
	serve
	# The kernel still accepts for a server that is stopped, but nobody answers the client's FIN with another.
	kill -STOP -- "-$BACKGROUND_PID"
	background peer client connect "$SERVER4" 8000 half
	wait_for grep -q state=S2 "$VIEWS/handshake_records"
	live=$(cat "$VIEWS/handshake_records")
	assert_equal "originator's bytes" "$(value orig_bytes <<<"$live")" 0
	assert_equal "responder's bytes" "$(value resp_bytes <<<"$live")" -1
	(($(value first_fin_ns <<<"$live") > 0)) || fail "no time of the FIN: $live"
}

@test "handshakes shows a SYN that nobody answers" {
	track client
	in_netns client ip neighbour add "$NOBODY4" lladdr 02:00:00:00:00:99 dev veth0
	background peer client connect "$NOBODY4" 8000
	wait_for lines handshakes 2

	assert_equal "row" "$(awk 'NR > 1 { print $1, $2, $5, $6, $NF }' "$VIEWS/handshakes")" "S0 out - - $NOBODY4:8000"
	[[ $(cat "$VIEWS/handshake_records") =~ $RECORD ]] || fail "no record: $(cat "$VIEWS/handshake_records")"
	assert_equal "state" "$(value state <"$VIEWS/handshake_records")" S0
	assert_equal "connections" "$(wc -l <"$VIEWS/connections")" 1
}

# name_iface INDEX NAME: as if attach had found that name there.
name_iface() {
	local -a key=("$1" 0 0 0) value
	mapfile -t value < <(bpftool --json map lookup pinned "$PINS/nt_ifaces" key "${key[@]}" | jq --raw-output '.value[]')
	value=("${value[@]:16}")
	# shellcheck disable=SC2046 # bytes are words
	bpftool map update pinned "$PINS/nt_ifaces" key "${key[@]}" value \
		$({ printf '%s' "$2" && head -c 16 /dev/zero; } | head -c 16 | od -v -A n -t u1 -w1) "${value[@]}"
}

# awk_objects: what awk makes of the records, with BOOT_US as the time of boot.
awk_objects() {
	local lib=$ROOT/scripts/lib
	cat "$VIEWS/handshake_records" "$VIEWS/records" | NT_BOOT_US=$BOOT_US NT_TABLES=$lib/tables.tsv \
		awk -f "$lib/address.awk" -f "$lib/owner.awk" -f "$lib/record.awk" -f "$lib/json.awk"
}

# same_objects: of the objects on standard input, those of awk_objects() are the very same, but for their age.
same_objects() {
	assert_equal "objects" "$(jq --sort-keys --compact-output 'del(.age_ns)' | sort)" \
		"$(awk_objects | jq --sort-keys --compact-output 'del(.age_ns)' | sort)"
}

@test "the objects of the JSON views have the keys and values that awk makes of the records" {
	local BOOT_US=1767225599999999 day name lib=$ROOT/scripts/lib
	requires ipv6
	in_netns client ip neighbour add "$NOBODY4" lladdr 02:00:00:00:00:99 dev veth0
	track client
	serve
	hold "$SERVER4" >/dev/null
	wait_for lines records 1
	# Two of which nothing is known, neither owner nor interface.
	python3 "$ROOT/tests/clone_entries.py" "$PINS/conn_map" 2 12 1 0
	hold "$SERVER6" >/dev/null
	background peer client connect "$NOBODY4" 8000
	wait_for lines records 4
	wait_for lines handshake_records 1
	# It sends no second SYN.
	kill -KILL -- "-$BACKGROUND_PID"
	python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("<Q", int(sys.argv[1])))' "$BOOT_US" >"$BATS_TEST_TMPDIR/boot"
	# shellcheck disable=SC2046 # bytes are words
	bpftool map update pinned "$VIEWS/boot" key 0 0 0 0 value $(od -v -A n -t u1 "$BATS_TEST_TMPDIR/boot")
	export NT_CGROUPS
	NT_CGROUPS=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)

	# Fifteen characters, each of which is six in JSON, are the most that there can be.
	for name in eth0 'a"\b/c' $'\x01\x1f\x7f\e[2J' $'\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x0f\x10\x11\x12\x13\x14' $'\xc3\xa9' $'\xff\xc2\x9b\xe2\x82a\xed\xa0' $'abcdefghijklmn\xf0'; do
		name_iface 1 "$name"
		cat "$VIEWS/handshake_records.json" "$VIEWS/records.json" >"$BATS_TEST_TMPDIR/objects"
		assert_equal "lines" "$(wc -l <"$BATS_TEST_TMPDIR/objects")" 5
		python3 -c 'import sys; sys.stdin.buffer.read().decode()' <"$BATS_TEST_TMPDIR/objects" || fail "no UTF-8"
		! cat "$VIEWS"/*records* "$VIEWS/handshakes" "$VIEWS/connections" "$VIEWS/metrics" "$VIEWS/hooks" | LC_ALL=C grep --quiet $'[\001-\010\016-\037\177]' ||
			fail "a control character in a file"
		awk -f "$lib/address.awk" -f "$lib/owner.awk" -f "$lib/objects.awk" -f "$lib/record.awk" -f "$lib/json.awk" "$BATS_TEST_TMPDIR/objects" | same_objects
	done
	# The day on which a machine is that booted at that time, after as long as this one.
	day=$(date --utc --date="@$((BOOT_US / 1000000 + $(cut -d . -f 1 /proc/uptime)))" +%F)
	assert_equal "families, states, owners" "$(jq --raw-output '[.family, .state, .uid != null, .ts[:10]] | join(" ")' \
		"$BATS_TEST_TMPDIR/objects" | sort | uniq -c | xargs)" "1 4 S0 true $day 2 4 S1 false 2025-12-31 1 4 S1 true $day 1 6 S1 true $day"
}

# segment SENDER FLAGS PORT SEQ [ACK [PAYLOAD]]: of the connection from $NET4.3:PORT to $NET4.4:80; SENDER is o, its originator, or r.
segment() {
	local -a ends=("$NET4.3" "$3" "$NET4.4" 80)
	[[ $1 == o ]] || ends=("${ends[@]:2}" "${ends[@]:0:2}")
	in_netns client python3 "$ROOT/tests/wire/segment.py" --send veth0 "$2" "${ends[@]}" "${@:4}"
}

# without_time: of the objects on standard input all but what may differ between a live connection and its record.
without_time() {
	jq --sort-keys --compact-output 'del(.age_ns, .duration_ns, .interim, .ts)' | sort
}

@test "a list says of a connection what its record says if nothing more comes" {
	local lib=$ROOT/scripts/lib
	track server
	trace_start
	serve
	# This host's own socket, which has sent its FIN and has told what it knows; the other side never closes.
	background peer client serve 8001
	wait_for listening client 8001
	kill -STOP -- "-$BACKGROUND_PID"
	background peer server connect "$CLIENT4" 8001 half
	wait_for grep -q state=S2 "$VIEWS/handshake_records"
	# Nobody answers, with data in the SYN; a FIN on the SYN's own place; an answer; FINs on either side of a handshake that is answered;
	# an answer that nobody has seen.
	segment o S 1 1000 0 abc
	segment o S 2 1000
	segment o FA 2 1000 1
	segment o S 3 1000
	segment r SA 3 5000 1001
	segment o S 4 1000
	segment r SA 4 5000 1001
	segment r FA 4 5001 1001 abcd
	segment o S 5 1000
	segment r FA 5 5000 1001
	segment r SA 5 5000 1001
	segment o S 6 1000
	segment o A 6 1001 5001 abcd
	segment o A 6 1005 5301
	# The clock may still lay something to rest between the looks.
	wait_for lines handshake_records 7
	cat "$VIEWS/handshake_records.json" "$VIEWS/records.json" >"$BATS_TEST_TMPDIR/kernel"
	NT_TABLES=$lib/tables.tsv awk -f "$lib/address.awk" -f "$lib/owner.awk" -f "$lib/record.awk" -f "$lib/json.awk" \
		"$VIEWS/handshake_records" "$VIEWS/records" | jq --compact-output '.user = null | .owner = null' >"$BATS_TEST_TMPDIR/awk"
	tail -q -n +2 "$VIEWS/handshakes" "$VIEWS/connections" | awk '{ sub(/.*:/, "", $9); print $9, $1, $7, $8 }' | sort >"$BATS_TEST_TMPDIR/table"
	in_netns server "$NETRACKER" detach --quiet --all
	wait_for_records 7
	records | NT_TABLES=$lib/tables.tsv awk -f "$lib/address.awk" -f "$lib/owner.awk" -f "$lib/record.awk" -f "$lib/json.awk" |
		jq --compact-output '.user = null | .owner = null' >"$BATS_TEST_TMPDIR/ended"

	assert_equal "states, bytes, whether a socket told" "$(jq --raw-output 'select(.dport == 80) | [.sport, .state, .orig_bytes, .resp_bytes // "-", .mss != null] | join(" ")' \
		"$BATS_TEST_TMPDIR/ended" | sort | xargs)" "1 S0 3 0 false 2 SH 0 0 false 3 S1 0 0 false 4 S3 0 - false 5 S3 0 - false 6 OTH 4 - false"
	assert_equal "own socket" "$(jq --raw-output 'select(.dport == 8001) | [.state, .orig_bytes, .resp_bytes, .mss != null] | join(" ")' \
		"$BATS_TEST_TMPDIR/ended")" "S2 0 0 true"
	assert_equal "the kernel's objects" "$(without_time <"$BATS_TEST_TMPDIR/kernel")" "$(without_time <"$BATS_TEST_TMPDIR/ended")"
	assert_equal "awk's objects" "$(without_time <"$BATS_TEST_TMPDIR/awk")" "$(without_time <"$BATS_TEST_TMPDIR/ended")"
	assert_equal "the table" "$(awk '$1 < 10' "$BATS_TEST_TMPDIR/table")" "$(records '-> .*:80 ' |
		sed -E 's/.*:([0-9]+) -> .* state=([^ ]+) .* orig_bytes=([^ ]+) resp_bytes=([^ ]+) .*/\1 \2 \3 \4/; s/ -1/ -/' | sort)"
}

# reset_in_doubt: a RST that no socket can vouch for, of a connection of its own; it is listed as what it will be.
reset_in_doubt() {
	port=$((port + 1))
	segment o S "$port" 1000
	segment r SA "$port" 5000 1001
	segment o A "$port" 1001 5001
	segment o R "$port" 1011
	grep -q " state=RSTO .* orig_bytes=10 resp_bytes=-1 " "$VIEWS/handshake_records"
}

@test "a list shows a RST that waits for its confirmation as the end that it will be" {
	local port=9
	track server
	wait_for reset_in_doubt
}

# assert_now WHAT TIME: it is that of the last minutes, which are enough where days are at stake.
assert_now() {
	local second
	second=$(date --date="$2" +%s)
	((second > EPOCHSECONDS - 600 && second < EPOCHSECONDS + 60)) || fail "$1: $2 is not now"
}

@test "times of day are right in a time namespace, whoever attaches and whoever looks there" {
	local -a ahead=(in_netns server unshare --time --boottime 864000 --fork -- "$NETRACKER")
	[[ -e /proc/self/timens_offsets ]] || skip "this kernel has no time namespaces"
	"${ahead[@]}" attach --quiet veth0
	segment o S 1 1000
	wait_for lines handshake_records 1
	assert_now "the file" "$(jq --raw-output .ts "$VIEWS/handshake_records.json")"
	assert_now "the kernel's objects" "$("${ahead[@]}" list --json | jq --raw-output .ts)"
	assert_now "awk's objects" "$("${ahead[@]}" list --json --sort age | jq --raw-output .ts)"
	assert_now "since when it is attached" "$("${ahead[@]}" status --json | jq --raw-output '.interfaces[0].since')"
	assert_now "the same, seen from outside" "$(in_netns server "$NETRACKER" status --json | jq --raw-output '.interfaces[0].since')"
}

@test "every line is whole while connections come and go" {
	requires tool_nginx tool_wrk
	track server
	http_server server
	background in_netns client wrk --threads 1 --connections 50 --duration 600s --header 'Connection: close' "http://$SERVER4:8000/"
	wait_for test -s "$ACCESS_LOG"
	for _ in {1..200}; do
		cat "$VIEWS/handshake_records" "$VIEWS/records"
	done >"$BATS_TEST_TMPDIR/lines"
	assert_equal "lines that are no record" "$(grep -c -v -E "$RECORD" "$BATS_TEST_TMPDIR/lines")" 0
	(($(sort -u "$BATS_TEST_TMPDIR/lines" | wc -l) > 200)) || fail "nothing was seen to come and go"
}

@test "a full table is listed whole, each connection once" {
	track server
	serve
	hold "$SERVER4"
	wait_for lines records 1
	# The four bytes that the IPv4 address of the originator ends with.
	python3 "$ROOT/tests/clone_entries.py" "$PINS/conn_map" 200000 12
	# By the file's size, which is 0, sort would think that it needs no memory, and go by a thousand files.
	assert_equal "records" "$(tail -n +1 "$VIEWS/records" | sort -u | grep -c -E "$RECORD")" 200001
	assert_equal "table" "$(tail -n +2 "$VIEWS/connections" | awk '{ print $9, $11 }' | sort -u | wc -l)" 200001
}

@test "pinning again replaces the views, unpinning leaves nothing" {
	local before
	attach_raw server veth0
	before=$(find /sys/fs/bpf)
	library view_pin "$ROOT/view"
	library view_pin "$ROOT/view"
	assert_equal "views" "$(cd "$VIEWS" && echo *)" "$(sorted "${LIST_VIEWS[@]}" "${OTHER_VIEWS[@]}" "${NO_VIEWS[@]}")"
	library view_unpin
	assert_equal "bpffs" "$(find /sys/fs/bpf)" "$before"
}

@test "views that cannot be are one line on stderr, and nothing is left" {
	local before views
	attach_raw server veth0
	before=$(find /sys/fs/bpf)
	run library view_pin "$BATS_TEST_TMPDIR"
	assert_equal "status" "$status" 1
	assert_equal "lines of $output" "${#lines[@]}" 1
	views=$(sorted "${LIST_VIEWS[@]}" "${OTHER_VIEWS[@]}")
	[[ $output == "netracker: views that cannot be in $VIEWS: ${views// /, }, as "* ]] || fail "$output"
	assert_equal "bpffs" "$(find /sys/fs/bpf)" "$before"
}

# refused_view: print a directory with the views, of which metrics calls a function that no kernel has.
refused_view() {
	local dir=$BATS_TEST_TMPDIR/view
	cp -a "$ROOT/view" "$dir"
	clang -O2 -g -target bpf -mcpu=v3 -I"/usr/include/$(uname -m)-linux-gnu" -I"$ROOT/view" -x c -c - -o "$dir/metrics.bpf.o" <<-'EOF'
		#include "iterator.h"
		static long (*nobody_has_it)(void) = (void *)195000;
		SEC("iter/bpf_map_elem") int show(struct bpf_iter__bpf_map_elem *ctx) { return nobody_has_it() > 0; }
	EOF
	printf '%s\n' "$dir"
}

@test "a view that the kernel cannot have is left out and said by name with the reason; the others stay" {
	local dir
	requires tool_clang
	attach_raw server veth0
	dir=$(refused_view)
	run library view_pin "$dir"
	assert_equal "status" "$status" 0
	assert_equal "lines of $output" "${#lines[@]}" 1
	[[ $output == "netracker: views that cannot be in $VIEWS: metrics, as this is Linux $(uname -r), which has no helper_195000; boot a newer kernel"* ]] ||
		fail "$output"
	assert_equal "views" "$(cd "$VIEWS" && echo *)" "$(sorted "${LIST_VIEWS[@]}" "${OTHER_VIEWS[@]/metrics/}" "${NO_VIEWS[@]}")"
	rm "$dir"/*records*.bpf.o
	run library view_pin "$dir"
	assert_equal "lines" "${#lines[@]}" 2
	[[ $output == *": handshake_records, handshake_records.json, records, records.json, as it is not in $dir; 'make' builds it"* ]] ||
		fail "$output"
	assert_equal "views" "$(cd "$VIEWS" && echo *)" "$(sorted "${LIST_VIEWS[@]/*records*/}" "${OTHER_VIEWS[@]/metrics/}" "${NO_VIEWS[@]}")"
}

@test "a kernel without BTF has no views: one line says so, and list says what to do, exit status 4" {
	attach_raw server veth0
	mount -t tmpfs tmpfs /sys/kernel/btf
	run library view_pin "$ROOT/view"
	umount /sys/kernel/btf
	assert_equal "status, lines" "$status, ${#lines[@]}" "1, 1"
	[[ $output == *' records.json,'*' as this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), '* ]] || fail "$output"
	run in_netns server "$NETRACKER" list
	assert_equal "list" "$status, ${#lines[@]}" "4, 1"
	[[ $output == *"$VIEWS/records is not there; 'netracker attach' on an interface"* ]] || fail "$output"
}

@test "a kernel without BTF takes the object that reads nothing of its structs, and detach takes that away, too" {
	mount -t tmpfs tmpfs /sys/kernel/btf
	run in_netns server "$NETRACKER" attach veth0
	umount /sys/kernel/btf
	assert_equal "status of $output" "$status" 0
	[[ $output == *"/no-btf/NeTracker.bpf.o sec tc_ing"* ]] || fail "$output"
	run in_netns server "$NETRACKER" detach veth0
	assert_equal "status of $output" "$status" 0
}

@test "a kernel that is locked down is the reason, and no helper that it lacks" {
	local refusal='program of this type cannot use helper bpf_probe_read_kernel_str#115'
	[[ -d /sys/kernel/security ]] || skip "this kernel cannot be locked down"
	mount -t tmpfs tmpfs /sys/kernel/security
	echo 'none integrity [confidentiality]' >/sys/kernel/security/lockdown
	run library explain_view "$refusal"
	umount /sys/kernel/security
	[[ $output == "the kernel is locked down (confidentiality), where no program may read its memory; "* ]] || fail "$output"
}

@test "without a view, what needs it says so and how to get it, exit status 4; what needs another goes on" {
	track server
	rm "$VIEWS/handshake_records"
	run in_netns server "$NETRACKER" list
	assert_equal "list" "$status:$output" \
		"4:netracker: $VIEWS/handshake_records is not there; 'netracker attach' on an interface makes it, or says what this kernel lacks for it"
	in_netns server "$NETRACKER" metrics >/dev/null
	rm "$VIEWS/metrics"
	run in_netns server "$NETRACKER" metrics
	assert_equal "metrics" "$status:$output" \
		"4:netracker: $VIEWS/metrics is not there; 'netracker attach' on an interface makes it, or says what this kernel lacks for it"
	track server
	assert_equal "list, attached again" "$(in_netns server "$NETRACKER" list --json)" ""
	in_netns server "$NETRACKER" metrics >/dev/null
}

@test "somebody else's pin of the same name stays" {
	attach_raw server veth0
	bpftool map create /sys/fs/bpf/nt_ifaces type array key 4 value 4 entries 1 name foreign
	run library view_pin "$ROOT/view"
	[[ $output == *'/nt_ifaces is somebody else'* ]] || fail "$output"
	# The log does without.
	assert_equal "files" "$(find "$VIEWS" -type f -printf '%f\n' | sort | xargs)" 'boot cursor log log.json unread'
	assert_equal "map" "$(bpftool --json map show pinned /sys/fs/bpf/nt_ifaces | jq --raw-output .name)" foreign
}

@test "no view needs a tenth of the instructions that the verifier allows itself, as other kernels need more" {
	local view insns
	track server
	for view in "${LIST_VIEWS[@]/#/$VIEWS/}" "${OTHER_VIEWS[@]/#/$VIEWS/}"; do
		insns=$(python3 "$ROOT/tests/verified.py" "$view")
		echo "${view##*/}: $insns"
		((insns > 0 && insns < 100000)) || fail "${view##*/} needs $insns of 1000000"
	done
}
