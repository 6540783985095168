#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# netracker metrics: valid Prometheus text, which agrees with the counters.

load helpers

setup_file() {
	use_installed
}

setup() {
	isolate
	requires kernel_5.19 object
	new_pair
}

# try ADDRESS PORT HOW: one connection of the client's; refused is no failure.
try() {
	peer client connect "$@" >/dev/null 2>&1 || true
}

# some_of_each: connections that end in several ways, and one that stays open.
some_of_each() {
	background peer server serve 8000
	background peer server serve 8001 reset
	wait_for listening server 8000
	wait_for listening server 8001
	for _ in 1 2 3; do
		try "$SERVER4" 8000 close
	done
	try "$SERVER4" 8000 reset
	try "$SERVER4" 8001 hold
	try "$SERVER4" 9 close
	background peer client connect "$SERVER4" 8000
	wait_for grep -q . "$BACKGROUND_OUTPUT"
	# The reset of our own is believed after a second of silence.
	wait_for live_is 1
}

# live_is N: connections open and nothing half-done.
live_is() {
	assert_equal "live connections" "$(metric netracker_connections_live)" "$1" &&
		assert_equal "live handshakes" "$(metric netracker_handshakes_live)" 0
}

# metric NAME [LABEL…]: the sum of the samples that have all the labels.
metric() {
	"$NETRACKER" metrics | awk -v name="$1" -v labels="${*:2}" '
		BEGIN { wanted = split(labels, label, " ") }
		$1 == name || index($1, name "{") == 1 {
			for (i = 1; i <= wanted; i++)
				if (index($1, label[i]) == 0)
					next
			sum += $2
		}
		END { printf "%.9g\n", sum }'
}

# valid: promtool has nothing to say about the text on stdin.
valid() {
	local said
	said=$(promtool check metrics 2>&1) || fail "promtool: $said"
	assert_equal "promtool" "$said" ""
}

# grouped: the text on stdin has each sample once, and the lines of a metric together, HELP and TYPE first.
grouped() {
	awk '
		function complain(what) { print what ": " $0; bad = 1 }
		{ line = $0 }
		/^# HELP / { help = $3; if (seen[help]++) complain("metric begun twice"); next }
		/^# TYPE / { if ($3 != help) complain("TYPE without HELP"); type = $4; next }
		{
			metric = $1
			sub(/\{.*/, "", metric)
			if (type == "histogram")
				sub(/_(bucket|sum|count)$/, "", metric)
			if (metric != help)
				complain("sample outside of its group")
			if (sample[$1]++)
				complain("sample twice")
		}
		END { exit bad }'
}

@test "the text is valid, without traffic and with" {
	requires tool_promtool
	track client
	"$NETRACKER" metrics | valid
	"$NETRACKER" metrics | grouped
	some_of_each
	"$NETRACKER" metrics | valid
	"$NETRACKER" metrics | grouped
}

@test "the metrics agree with the counters" {
	local state
	track client
	some_of_each
	assert_conserved
	for state in S0 S1 S2 S3 SF SH REJ RSTO RSTR RSTOS0 OTH; do
		assert_equal "$state" "$(metric netracker_connections_ended_total "state=\"$state\"")" "$(counter "ended.$state")"
	done
	assert_equal "attempted" "$(metric netracker_connections_attempted_total)" "$(counter attempts)"
	assert_equal "established" "$(metric netracker_connections_established_total)" "$(counter established)"
	assert_equal "handshakes timed" "$(metric netracker_handshake_seconds_count)" "$(counter established)"
	assert_equal "durations" "$(metric netracker_connection_duration_seconds_count)" "$(counters | jq '[.ended[]] | add')"
	assert_equal "records" "$(metric netracker_records_logged_total)" "$(counter logged)"
}

@test "a service's connections are counted under its direction and port" {
	track client
	some_of_each
	assert_equal "closed" "$(metric netracker_connections_ended_total 'dir="out"' 'port="8000"' 'state="SF"')" 3
	assert_equal "reset by us" "$(metric netracker_connections_ended_total 'dir="out"' 'port="8000"' 'state="RSTO"')" 1
	assert_equal "reset by the peer" "$(metric netracker_connections_ended_total 'dir="out"' 'port="8001"' 'state="RSTR"')" 1
	assert_equal "refused" "$(metric netracker_connections_ended_total 'dir="out"' 'port="9"' 'state="REJ"')" 1
	assert_equal "all" "$(metric netracker_connections_ended_total)" 6
}

@test "bytes go to the side that received them" {
	requires tool_nginx
	track client
	http_server server
	head -c 1000000 /dev/zero >"$WWW/million"
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/files/million"
	wait_for live_is 0
	(($(metric netracker_bytes_total 'to="originator"') > 1000000)) || fail "$("$NETRACKER" metrics | grep bytes_total)"
	(($(metric netracker_bytes_total 'to="responder"') < 1000)) || fail "$("$NETRACKER" metrics | grep bytes_total)"
}

# logged EXPRESSION: what jq makes of all records, as one array.
logged() {
	"$NETRACKER" log --all --no-follow --json | jq --slurp "$1"
}

@test "what this host's sockets sent, sent again, and their round-trip times are counted by service" {
	requires tool_nft
	track client
	some_of_each
	background in_netns server python3 "$ROOT/tests/tcp_info.py" serve 8002
	wait_for listening server 8002
	in_netns server nft 'add table inet loss; add chain inet loss in { type filter hook input priority 0; }; add rule inet loss in tcp dport 8002 meta length > 1000 numgen inc mod 7 0 drop'
	in_netns client python3 "$ROOT/tests/tcp_info.py" connect "$SERVER4" 8002 3000000 0 client
	wait_for live_is 1
	assert_equal "sent" "$(metric netracker_segments_sent_total 'dir="out"' 'port="8000"')" "$(logged 'map(select(.dport == 8000).orig_segs) | add')"
	assert_equal "sent in all" "$(metric netracker_segments_sent_total)" "$(logged 'map(.orig_segs) | add')"
	assert_equal "sent again" "$(metric netracker_segments_retransmitted_total)" "$(logged 'map(.retrans) | add')"
	(($(metric netracker_segments_retransmitted_total 'dir="out"' 'port="8002"') > 10)) || fail "nothing was lost"
	assert_equal "round-trip times" "$(metric netracker_srtt_seconds_count)" "$(logged 'map(select(.srtt_us)) | length')"
	(($(metric netracker_srtt_seconds_count) >= 5)) || fail "no round-trip times"
	assert_equal "their sum, microseconds" "$(metric netracker_srtt_seconds_sum | awk '{ printf "%.0f", $1 * 1e6 }')" "$(logged 'map(.srtt_us) | add')"
	assert_equal "beyond the longest" "$(metric netracker_srtt_seconds_bucket 'port="8000"' 'le="+Inf"')" "$(metric netracker_srtt_seconds_count 'port="8000"')"
}

# since TIME: seconds, where TIME is an earlier $EPOCHREALTIME.
since() {
	awk -v then="$1" -v now="$EPOCHREALTIME" 'BEGIN { print now - then }'
}

@test "histograms are cumulative and bracket what was measured" {
	local before open shortest longest
	track client
	background peer server serve 8000
	wait_for listening server 8000
	before=$EPOCHREALTIME
	background peer client connect "$SERVER4" 8000
	wait_for live_is 1
	open=$EPOCHREALTIME
	"$NETRACKER" metrics >/dev/null
	shortest=$(since "$open")
	kill -KILL -- "-$BACKGROUND_PID"
	wait_for live_is 0
	longest=$(since "$before")
	"$NETRACKER" metrics | grep 'netracker_connection_duration_seconds' >"$BATS_TEST_TMPDIR/histogram"
	cat "$BATS_TEST_TMPDIR/histogram"
	awk -v shortest="$shortest" -v longest="$longest" '
		/_bucket/ {
			if ($2 < previous)
				exit 1
			previous = $2
			match($1, /le="[^"]*/)
			le = substr($1, RSTART + 4, RLENGTH - 4)
			if ($2 == 1 && le + 0 > 0 && !least)
				least = le
		}
		/_sum/ { sum = $2 }
		/_count/ { count = $2 }
		END { exit !(count == 1 && previous == 1 && sum > shortest && sum < longest && sum <= least && sum * 2 >= least) }
	' "$BATS_TEST_TMPDIR/histogram"
}

@test "a full table of services with the longest numbers is printed whole" {
	track client
	some_of_each
	# Out, ports 65000 and on: as many neighbours as there can be, the worst case for the kernel's buffer.
	python3 "$ROOT/tests/clone_entries.py" "$PINS/nt_services" 500 0 $((1 << 16 | 65000)) 255
	"$NETRACKER" metrics >"$BATS_TEST_TMPDIR/metrics"
	grouped <"$BATS_TEST_TMPDIR/metrics"
	assert_equal "services" "$(grep -c '^netracker_connection_duration_seconds_count{dir="out",port="65' "$BATS_TEST_TMPDIR/metrics")" 500
	assert_equal "states" "$(grep -c '^netracker_connections_ended_total{dir="out",port="65' "$BATS_TEST_TMPDIR/metrics")" 5500
	assert_equal "round-trip times" "$(grep -c '^netracker_srtt_seconds_count{dir="out",port="65' "$BATS_TEST_TMPDIR/metrics")" 500
	assert_equal "reasons" "$(grep -c '^netracker_connections_held_total{dir="out",port="65' "$BATS_TEST_TMPDIR/metrics")" 2500
}

@test "an interface's odd name is escaped" {
	local netns name='a"\b'
	requires tool_promtool
	in_netns client ip link set veth0 down
	in_netns client ip link set veth0 name "$name"
	in_netns client "$NETRACKER" attach --quiet "$name"
	netns=$(stat --dereference --format=%i "$NETNS_DIR/client")
	interfaces_are 'info{device="a\"\\b",netns="'"$netns"'"} 1' 'hooks{device="a\"\\b",netns="'"$netns"'"} 2'
	"$NETRACKER" metrics | valid
	"$NETRACKER" metrics | grouped
}

# interfaces_are LINE…: all that the metrics say of interfaces, without netracker_interface_. In place of "…": the namespace client.
interfaces_are() {
	local client
	client=$(stat --dereference --format=%i "$NETNS_DIR/client")
	assert_equal "interfaces" "$("$NETRACKER" metrics | sed -n 's/^netracker_interface_//p' | sort)" \
		"$(printf '%s\n' "${@//…/$client}" | grep . | sort)"
}

@test "an interface is said to be tracked as long as the tracker hangs there" {
	track client
	interfaces_are 'info{device="veth0",netns="…"} 1' 'hooks{device="veth0",netns="…"} 2'
	in_netns client tc filter del dev veth0 ingress
	interfaces_are 'info{device="veth0",netns="…"} 1' 'hooks{device="veth0",netns="…"} 1'
	in_netns client tc qdisc del dev veth0 clsact
	interfaces_are 'hooks{device="veth0",netns="…"} 0'
	track client
	interfaces_are 'info{device="veth0",netns="…"} 1' 'hooks{device="veth0",netns="…"} 2'
	in_netns client ip link del veth0
	interfaces_are 'hooks{device="veth0",netns="…"} 0'
	in_netns client "$NETRACKER" attach --quiet lo
	in_netns client "$NETRACKER" detach --quiet veth0
	interfaces_are 'info{device="lo",netns="…"} 1' 'hooks{device="lo",netns="…"} 2'
}

@test "an interface that gets another name is tracked, one that moves to another namespace is not" {
	track client
	in_netns client ip link set veth0 down
	in_netns client ip link set veth0 name renamed
	interfaces_are 'info{device="veth0",netns="…"} 1' 'hooks{device="veth0",netns="…"} 2'
	in_netns client ip link set renamed netns "$NETNS_DIR/server"
	interfaces_are 'hooks{device="veth0",netns="…"} 0'
}

@test "containers that come and go leave nothing in the metrics" {
	local i
	track client
	for i in 1 2 3 4 5; do
		new_netns "container$i"
		in_netns "container$i" "$NETRACKER" attach --quiet lo
	done
	assert_equal "tracked" "$(metric netracker_interface_info)" 6
	assert_equal "hooks" "$(metric netracker_interface_hooks)" 12
	for i in 1 2 3 4 5; do
		umount "$NETNS_DIR/container$i"
		rm "$NETNS_DIR/container$i"
	done
	# The kernel takes its time to end a namespace.
	wait_for interfaces_are 'info{device="veth0",netns="…"} 1' 'hooks{device="veth0",netns="…"} 2'
}

@test "an interface that was attached by hand is tracked, too" {
	track client
	in_netns client tc qdisc add dev lo clsact
	add_filter client lo egress tc_en
	interfaces_are 'info{device="veth0",netns="…"} 1' 'hooks{device="veth0",netns="…"} 2' 'info{device="lo",netns="…"} 1'
	in_netns client tc qdisc del dev lo clsact
	interfaces_are 'info{device="veth0",netns="…"} 1' 'hooks{device="veth0",netns="…"} 2'
}

@test "as many interfaces as there can be, with the longest names, are printed whole" {
	local i name hex netns
	requires tool_promtool
	track server
	bpftool prog pin id "$(in_netns server tc -json filter show dev veth0 ingress | jq '.[].options.prog.id | numbers')" /sys/fs/bpf/pinned
	# Backslashes and a number.
	name='\\\\\\\\\\\x'
	for i in {100..399..2}; do
		echo "link add $name$i index $i type veth peer name $name$((i + 1)) index $((i + 1))"
	done | in_netns client ip -batch -
	for i in {100..399}; do
		echo "qdisc add dev $name$i clsact"
		echo "filter add dev $name$i ingress bpf object-pinned /sys/fs/bpf/pinned"
		echo "filter add dev $name$i egress bpf object-pinned /sys/fs/bpf/pinned"
	done | in_netns client tc -batch -
	"$NETRACKER" metrics >"$BATS_TEST_TMPDIR/metrics"
	grouped <"$BATS_TEST_TMPDIR/metrics"
	assert_equal "by hand" "$(grep -c '^netracker_interface_info.*x' "$BATS_TEST_TMPDIR/metrics")" 256

	# struct iface: name, ifindex, owns_qdisc, netns, attached_ns, scope, vrf. Number 1 is the server's.
	printf -v hex '%08x' "$(stat --dereference --format=%i "$NETNS_DIR/client")"
	netns="${hex:6:2} ${hex:4:2} ${hex:2:2} ${hex:0:2} 0 0 0 0"
	for i in {2..255}; do
		printf 'map update pinned %s key hex %02x 0 0 0 value hex %s 3%d 3%d 3%d 0 %02x %02x 0 0 0 0 0 0 %s 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n' "$PINS/nt_ifaces" "$i" \
			'5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 78' $(((i + 98) / 100)) $(((i + 98) / 10 % 10)) $(((i + 98) % 10)) $(((i + 98) % 256)) $(((i + 98) / 256)) "$netns"
	done >"$BATS_TEST_TMPDIR/batch"
	bpftool batch file "$BATS_TEST_TMPDIR/batch" >/dev/null
	"$NETRACKER" metrics >"$BATS_TEST_TMPDIR/metrics"
	grouped <"$BATS_TEST_TMPDIR/metrics"
	valid <"$BATS_TEST_TMPDIR/metrics"
	assert_equal "hooks" "$(grep '^netracker_interface_hooks' "$BATS_TEST_TMPDIR/metrics" | grep -c ' 2$')" 255
	# Some had no place in the table.
	assert_equal "tracked" "$(grep -c '^netracker_interface_info' "$BATS_TEST_TMPDIR/metrics")" 301
}

@test "records lost in the log are a metric" {
	track client
	assert_equal "at first" "$(metric netracker_log_records_lost_total)" 0
	# 70,000 records since the last reading.
	# shellcheck disable=SC2046 # bytes are words
	bpftool map update pinned "$PINS/nt_log_head" key 0 0 0 0 value hex 70 11 01 00 00 00 00 00 $(printf '00 %.0s' {1..56})
	assert_equal "lost" "$(metric netracker_log_records_lost_total)" $((70000 - 65536))
	"$NETRACKER" metrics | grouped
}

@test "metrics asked for while an attach is at work come when it has pinned its views" {
	export NETRACKER_LOCK=$BATS_TEST_TMPDIR/lock
	track client
	mv /sys/fs/bpf/netracker/metrics /sys/fs/bpf/netracker/away
	: >"$NETRACKER_LOCK"
	# The lock's holder waits for somebody to wait.
	# shellcheck disable=SC2016 # for the inner shell
	background flock "$NETRACKER_LOCK" timeout 10 bash -c 'until grep --quiet -e "-> FLOCK .*:$(stat --format=%i "$0") " /proc/locks; do sleep 0.05; done
		mv /sys/fs/bpf/netracker/away /sys/fs/bpf/netracker/metrics' "$NETRACKER_LOCK"
	wait_for grep --quiet "FLOCK .*:$(stat --format=%i "$NETRACKER_LOCK") " /proc/locks
	"$NETRACKER" metrics | grep --quiet '^netracker_build_info'
}

@test "--textfile replaces the file whole, and leaves it as it was on failure" {
	local dir=$BATS_TEST_TMPDIR/textfile
	track client
	mkdir "$dir"
	"$NETRACKER" metrics --textfile "$dir"
	assert_equal "files" "$(ls -A "$dir")" netracker.prom
	assert_equal "mode" "$(stat --format=%a "$dir/netracker.prom")" 644
	background bash -c "for i in {1..200}; do tail -1 $dir/netracker.prom; done"
	for _ in {1..50}; do
		"$NETRACKER" metrics "--textfile=$dir"
	done
	wait "$BACKGROUND_PID"
	assert_equal "last lines seen" "$(sort -u "$BACKGROUND_OUTPUT")" "$(tail -1 "$dir/netracker.prom")"

	mount -t tmpfs -o size=4k tmpfs "$dir"
	echo before >"$dir/netracker.prom"
	run "$NETRACKER" metrics --textfile "$dir"
	assert_equal "on a full disk" "$status" 1
	assert_equal "files" "$(ls -A "$dir"):$(cat "$dir/netracker.prom")" "netracker.prom:before"
	umount "$dir"
}

@test "metrics takes no capability" {
	track client
	mkdir "$BATS_TEST_TMPDIR/textfile"
	setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$NETRACKER" metrics --textfile "$BATS_TEST_TMPDIR/textfile"
	grouped <"$BATS_TEST_TMPDIR/textfile/netracker.prom"
}

@test "what cannot be done has its sentence and its status" {
	run "$NETRACKER" metrics
	assert_equal "not attached" "$status" 3
	track client
	run "$NETRACKER" metrics --textfile
	assert_equal "no directory given" "$status" 2
	run "$NETRACKER" metrics --textfile /nonexistent
	assert_equal "no such directory" "$status" 1
	run "$NETRACKER" metrics --texts
	assert_equal "unknown argument" "$status" 2
	[[ $output == *"'--texts'"* ]] || fail "$output"
	rm /sys/fs/bpf/netracker/metrics
	run "$NETRACKER" metrics
	assert_equal "no view" "$status" 4
	[[ $output == *attach* ]] || fail "$output"
}
