#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154,SC2016 # helpers set variables; inner shells expand what they are given
#
# The log in the formats of others, with real connections: the same facts as its JSON, and the same promise: each record is shown, once, or what has
# become of it is said. What the formats are made of is in tests/check/formats.bats.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19 tool_python3 tool_shasum
	new_pair
	netracker attach --quiet veth0
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	LOG=$BATS_TEST_TMPDIR/log
	PORT=$((20000 + RANDOM % 12000))
}

teardown() {
	[[ ! ${SMALL-} ]] || umount "$SMALL"
	clean_up
}

# Those that differ in how they go out: with a head and an end; through perl; both; neither.
WAYS=('zeek' 'zeek --community-id' 'zeek-json' 'csv' 'ecs')

# refused N [FIRST]: so many connections that end at once, from ports that count up.
refused() {
	in_netns client python3 - "$SERVER4" "$PORT" "$1" "${2:-1024}" <<-'PYTHON'
		import socket, sys
		for i in range(int(sys.argv[3])):
		    try:
		        socket.create_connection((sys.argv[1], int(sys.argv[2])), source_address=("", int(sys.argv[4]) + i))
		    except OSError:
		        pass
	PYTHON
}

rejected() {
	assert_equal "refused connections" "$(counter ended.REJ)" "$1"
}

zeek_cut() {
	python3 "$ROOT/tests/zeek_cut.py" "$@"
}

# sports FORMAT FILE…: of each whole line of ours, in any format: the originator's port.
sports() {
	case $1 in
		zeek*--*) sed -nE "s/^[0-9.]+\t\w+\t$CLIENT4\t([0-9]+)\t$SERVER4\t$PORT\t.*\t1:[A-Za-z0-9+\/]{27}=\$/\1/p" "${@:2}" ;;
		zeek) sed -nE "s/^[0-9.]+\t\w+\t$CLIENT4\t([0-9]+)\t$SERVER4\t$PORT\t.*\t6\$/\1/p" "${@:2}" ;;
		zeek-json) sed -nE "s/.*\"id.orig_p\":([0-9]+),.*\"id.resp_p\":$PORT,.*\}\$/\1/p" "${@:2}" ;;
		csv) sed -nE "s/^$CLIENT4,([0-9]+),$SERVER4,$PORT,.*\r\$/\1/p" "${@:2}" ;;
		ecs) sed -nE "s/.*\"source\":\{[^}]*\"port\":([0-9]+)[,}].*\"port\":${PORT}[,}].*\"1:[A-Za-z0-9+\/]{27}=\".*\}\}\$/\1/p" "${@:2}" ;;
		json) sed -nE "s/.*\"sport\":([0-9]+),.*\"dport\":$PORT,.*\}\$/\1/p" "${@:2}" ;;
	esac | sort -n
}

has_ours() {
	assert_equal "records in $2" "$(sports "$1" "$2" | wc -l)" "$3"
}

# left: take what is still in the log, as JSON; its words are in left.words.
left() {
	netracker log --no-follow --json >"$BATS_TEST_TMPDIR/left" 2>"$BATS_TEST_TMPDIR/left.words"
}

# follow WAY…: netracker log --format WAY… into $LOG by the awk that is $AWK, its words into $LOG.words; the process is $BACKGROUND_PID.
follow() {
	: >"$LOG"
	mkdir -p "$BATS_TEST_TMPDIR/${AWK-awk}"
	[[ ! ${AWK-} ]] || ln -sf "$(command -v "$AWK")" "$BATS_TEST_TMPDIR/$AWK/awk"
	background env PATH="$BATS_TEST_TMPDIR/${AWK-awk}:$PATH" bash -c 'exec "$@" >"$0" 2>"$0.words"' "$LOG" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --format "$@"
	wait_for is_read
}

# write_to FILE OPTION…: netracker log --no-follow OPTION… into it.
write_to() {
	bash -c 'exec "$@" >"$0"' "$1" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --no-follow "${@:2}"
}

# traffic: connections that close, that are refused, and one that nobody answers, over IPv4 and IPv6.
traffic() {
	http_server server
	in_netns client curl --silent "http://$SERVER4:8000/" >/dev/null
	in_netns client curl --silent "http://[$SERVER6]:8000/close" >/dev/null
	refused 2
	netracker config handshake_timeout=1 >/dev/null 2>&1
	in_netns client ip neighbour add "$NOBODY4" lladdr 02:00:00:00:00:99 dev veth0
	in_netns client python3 -c 'import socket, sys
s = socket.socket()
s.setblocking(False)
s.connect_ex((sys.argv[1], 9))' "$NOBODY4"
	wait_for sees 5
}

sees() {
	local unread
	read -r unread _ <"$VIEWS/unread"
	((unread >= $1)) || fail "$unread records"
}

@test "conn.log has of each connection what JSON has, and a reader of Zeek's grammar reads it" {
	local json
	traffic
	json=$(netracker log --json --all --no-follow)
	assert_equal "states" "$(jq --raw-output .state <<<"$json" | sort | paste -sd ' ')" 'REJ REJ S0 SF SF'
	assert_equal "rows" "$(netracker log --all --no-follow --format zeek | zeek_cut id.orig_h id.orig_p id.resp_h id.resp_p conn_state orig_bytes resp_bytes)" \
		"$(jq --raw-output '[.src, .sport, .dst, .dport, .state, .orig_bytes // "-", .resp_bytes // "-"] | @tsv' <<<"$json")"
	assert_equal "times" "$(netracker log --all --no-follow --format zeek | zeek_cut ts duration)" "$(python3 -c 'import datetime, json, sys
for line in sys.stdin:
    record = json.loads(line)
    ts = datetime.datetime.strptime(record["ts"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    print("%d.%06d\t%.6f" % (ts.timestamp() // 1, ts.microsecond, record["duration_ns"] / 1e9))' <<<"$json")"
	assert_equal "where the server's sockets are" "$(netracker log --all --no-follow --format zeek --state SF | zeek_cut local_orig local_resp | sort -u)" $'-\tT'
	assert_equal "as JSON" "$(netracker log --all --no-follow --format zeek-json | jq --raw-output '[.["id.orig_h"], .["id.resp_p"], .conn_state] | @tsv')" \
		"$(jq --raw-output '[.src, .dport, .state] | @tsv' <<<"$json")"
	assert_equal "opened and closed" "$(netracker log --all --no-follow --format zeek | sed -nE 's/^#(open|close)\t.*/\1/p' | paste -sd ' ')" 'open close'
	assert_equal "in UTC" "$(TZ=Asia/Kolkata netracker log --all --no-follow --format zeek --utc | sed -n 's/^#open\t\(.*-..\)-..-..$/\1/p')" "$(date -u +%Y-%m-%d-%H)"
}

@test "ECS and CSV have of each connection what JSON has, with and without names" {
	local json options
	traffic
	for options in '' --numeric '--port 8000' '--failed'; do
		# shellcheck disable=SC2086 # options are words
		json=$(netracker log --json --all --no-follow $options)
		# shellcheck disable=SC2086
		netracker log --all --no-follow --format csv $options >"$LOG"
		assert_equal "csv $options" "$(python3 -c 'import csv, json, sys
for row in csv.DictReader(open(sys.argv[1], newline="", encoding="utf-8"), strict=True):
    del row["ifindex"], row["lost_before"]
    print(json.dumps(row, sort_keys=True))' "$LOG")" "$(python3 -c 'import json, sys
for line in sys.stdin:
    print(json.dumps({key: "" if value is None else value if isinstance(value, str) else json.dumps(value) for key, value in json.loads(line).items()}, sort_keys=True))' <<<"$json")"
		# shellcheck disable=SC2086
		assert_equal "ecs $options" "$(netracker log --all --no-follow --format ecs $options | jq --compact-output '
			[.event.start, .source.ip, .source.port, .source.bytes, .destination.ip, .destination.port, .destination.bytes, .event.duration, .netracker.state,
			.user.id, .user.name, .netracker.owner, .netracker.srtt_us, (.observer.ingress // .observer.egress).interface.name, .network.type]')" "$(jq --compact-output '
			[.ts, .src, .sport, .orig_bytes, .dst, .dport, .resp_bytes, .duration_ns, .state,
			(if .uid == null then null else "\(.uid)" end), .user, .owner, .srtt_us, .ifname, "ipv\(.family)"]' <<<"$json")"
	done
	assert_equal "whose point of view" "$(netracker log --all --no-follow --format ecs --state SF | jq --raw-output '.network.direction' | sort -u)" ingress
	assert_equal "host" "$(netracker log --all --no-follow --format ecs | jq --raw-output '.host.hostname' | sort -u)" "$(</proc/sys/kernel/hostname)"
}

@test "Community IDs are those that the algorithm makes of the addresses, over IPv4 and IPv6" {
	traffic
	netracker log --all --no-follow --json >"$BATS_TEST_TMPDIR/json"
	python3 -c 'import base64, hashlib, ipaddress, json, struct, sys
for line in sys.stdin:
    record = json.loads(line)
    (one, p1), (two, p2) = sorted((ipaddress.ip_address(record[a]).packed, struct.pack("!H", record[p])) for a, p in (("src", "sport"), ("dst", "dport")))
    print("1:" + base64.b64encode(hashlib.sha1(b"\0\0" + one + two + b"\6\0" + p1 + p2).digest()).decode())' <"$BATS_TEST_TMPDIR/json" >"$BATS_TEST_TMPDIR/want"
	assert_equal "zeek" "$(netracker log --all --no-follow --format zeek --community-id | zeek_cut community_id)" "$(<"$BATS_TEST_TMPDIR/want")"
	assert_equal "ecs" "$(netracker log --all --no-follow --format ecs | jq --raw-output .network.community_id)" "$(<"$BATS_TEST_TMPDIR/want")"
	assert_equal "without" "$(netracker log --all --no-follow --format zeek | grep --count community_id || true)" 0
}

@test "a reader that is ended amid many connections has shown each record it has taken, once, and leaves the others" {
	local way signal load total=0 signals=(TERM:143 INT:130 HUP:129 TERM:143 INT:130)
	for way in "${WAYS[@]}"; do
		signal=${signals[0]}
		signals=("${signals[@]:1}")
		# shellcheck disable=SC2086 # ways are words
		follow $way
		background refused 1500 $((1024 + total))
		load=$BACKGROUND_PID
		wait_for grep --quiet "$CLIENT4.*$PORT" "$LOG"
		# All of its processes, as systemd and terminals do it.
		kill -s "${signal%:*}" -- "-${BACKGROUND_PIDS[-2]}"
		ends "${BACKGROUND_PIDS[-2]}" "${signal#*:}"
		ends "$load" 0
		total=$((total + 1500))
		wait_for rejected "$total"
		left
		assert_equal "$way: shown, and left" "$({ sports "$way" "$LOG" && sports json "$BATS_TEST_TMPDIR/left"; } | sort -n)" \
			"$(seq $((1024 + total - 1500)) $((1023 + total)))"
		assert_equal "$way: words" "$(cat "$LOG.words" "$BATS_TEST_TMPDIR/left.words")" ''
		[[ $way != zeek && $way != 'zeek '* ]] || zeek_cut <"$LOG" >/dev/null || fail "$way: the log has not come to its end"
	done
}

@test "a full disk ends the log with 1, and what has not got on it comes again, nothing else" {
	local way
	small_disk
	for way in "${WAYS[@]}"; do
		# A record has some 100 bytes where it has fewest.
		refused 1000
		# shellcheck disable=SC2086 # ways are words
		assert_status 1 write_to "$SMALL/log" --format $way
		assert_says 'No space left on device'
		assert_equal "$way: sentences" "$(wc -l <"$BATS_TEST_TMPDIR/stderr")" 1
		[[ $(tail -n 1 "$SMALL/log") != '#close'* ]] || fail "$way: it says that it has come to its end"
		left
		assert_equal "$way: on the disk, and left" "$({ sports "$way" "$SMALL/log" && sports json "$BATS_TEST_TMPDIR/left"; } | sort -n)" "$(seq 1024 2023)"
		(($(sports "$way" "$SMALL/log" | wc -l) > 30)) || fail "$way: next to nothing got on it"
		assert_equal "$way: words" "$(<"$BATS_TEST_TMPDIR/left.words")" ''
	done
}

# its_child COMMAND: of the reader in the background and of what it has started, who runs it.
its_child() {
	local process group
	for process in /proc/[0-9]*; do
		[[ $(readlink "$process/exe") == *"/$1"* ]] || continue
		read -r _ _ _ _ group _ <"$process/stat"
		[[ $group == "$BACKGROUND_PID" ]] || continue
		printf '%s\n' "${process##*/}"
		return
	done 2>/dev/null
	return 1
}

# uids FILE…: of each whole line.
uids() {
	sed -nE 's/^[0-9.]+\t(C[0-9A-Za-z]{15})\t.*\t6$/\1/p; s/.*,"id":"(C[0-9A-Za-z]{15})",.*\}\}$/\1/p' "$@"
}

@test "a reader that is killed has lost nothing, and what is shown again has the same uid" {
	local way
	for way in zeek ecs; do
		refused 2000
		follow $way
		wait_for grep --quiet "$CLIENT4.*$PORT" "$LOG"
		kill -KILL -- "-$BACKGROUND_PID"
		wait "$BACKGROUND_PID" || true
		[[ $(tail -n 1 "$LOG") != '#close'* ]] || fail "it says that it has come to its end"
		netracker log --no-follow --format $way >"$BATS_TEST_TMPDIR/left" 2>"$BATS_TEST_TMPDIR/left.words"
		assert_equal "$way: records" "$(sports $way "$LOG" "$BATS_TEST_TMPDIR/left" | uniq)" "$(seq 1024 3023)"
		# Ports are used once, so there are as many uids, however often each record was shown.
		assert_equal "$way: uids" "$(uids "$LOG" "$BATS_TEST_TMPDIR/left" | sort -u | wc -l)" 2000
	done
}

@test "a perl that is killed takes nothing with it, and is named" {
	local when AWK
	requires tool_mawk tool_gawk tool_busybox tool_original-awk
	for when in idle mawk gawk busybox original-awk; do
		AWK=${when/idle/mawk}
		follow ecs
		wait_for its_child perl
		if [[ $when == idle ]]; then
			kill -KILL "$(its_child perl)"
		else
			# awk finds nobody who takes what it has written.
			kill -STOP "$BACKGROUND_PID"
			refused 3
			kill -KILL "$(its_child perl)"
			kill -CONT "$BACKGROUND_PID"
		fi
		ends "$BACKGROUND_PID" 1
		assert_equal "$when: words" "$(sed 's/records that.*start/…/' "$LOG.words")" \
			"netracker: perl, which makes the Community IDs, has ended in the middle of the log; the … again"
		[[ $when != idle ]] || refused 3
		left
		assert_equal "$when: left" "$(sports json "$BATS_TEST_TMPDIR/left")" "$(seq 1024 1026)"
	done
}

@test "without a perl that has SHA-1: exit status 4 and nothing taken, and all other formats work" {
	local way bin=$BATS_TEST_TMPDIR/bin
	mkdir "$bin"
	printf '%s\n' '#!/bin/sh' 'exit 2' >"$bin/perl"
	chmod +x "$bin/perl"
	refused 3
	for way in ecs 'zeek --community-id' 'csv --community-id'; do
		# shellcheck disable=SC2086 # ways are words
		PATH=$bin:$PATH assert_status 4 netracker log --no-follow --format $way
		assert_equal "$way" "$output" "netracker: there is no perl with Digest::SHA, which makes the Community IDs of this format; install the package perl"
	done
	PATH=$bin:$PATH assert_status 4 netracker list --format ecs
	for way in zeek zeek-json csv; do
		PATH=$bin:$PATH assert_status 0 netracker log --all --no-follow --format $way
		assert_equal "$way" "$(sports "$way" "$BATS_TEST_TMPDIR/stdout" | wc -l)" 3
	done
	PATH=$bin:$PATH left
	has_ours json "$BATS_TEST_TMPDIR/left" 3
}

@test "a log that follows ends with #close when the last interface is detached, and what was alive is in it" {
	local way
	background peer server serve 8000
	wait_for listening server 8000
	for way in zeek 'zeek --community-id'; do
		netracker attach --quiet --no-adopt veth0
		# shellcheck disable=SC2086 # ways are words
		follow $way
		wait_for grep --quiet '^#types' "$LOG"
		background peer client connect "$SERVER4" 8000
		wait_for grep --quiet . "$BACKGROUND_OUTPUT"
		netracker detach --quiet veth0
		ends "${BACKGROUND_PIDS[-2]}" 0
		assert_equal "$way: states" "$(zeek_cut conn_state id.resp_p <"$LOG")" $'S1\t8000'
		kill "$BACKGROUND_PID"
		wait "$BACKGROUND_PID" || true
	done
}

@test "limits, heads and consumers are as in other formats" {
	refused 6
	assert_equal "limited" "$(netracker log --format zeek -n 2 | zeek_cut id.orig_p | paste -sd ' ')" '1024 1025'
	assert_equal "none wanted" "$(netracker log --format zeek -n 0)$(netracker log --format csv -n 0)" ''
	assert_equal "as another" "$(netracker log --format csv --no-header --no-follow --consumer other | cut -d , -f 2 | paste -sd ' ')" '1024 1025 1026 1027 1028 1029'
	# A conn.log that is gone on with.
	netracker log --format zeek -n 2 --no-header >"$LOG"
	assert_equal "without a head" "$(cut -f 4 "$LOG" | paste -sd ' ')" '1026 1027'
	assert_equal "the last one of two counts" "$(netracker log --json --no-follow --format csv | wc -l)" 3
}

# ordered OPTIONS: the lines on standard input as they are, if they were sorted; else the kernel may have another order each time.
ordered() {
	if [[ $1 ]]; then
		cat
	else
		sort
	fi
}

@test "list: what is alive as CSV and by ECS, sorted or not, is what its JSON says" {
	local options json
	background peer server serve 8000
	wait_for listening server 8000
	for _ in 1 2 3; do
		background peer client connect "$SERVER4" 8000
		wait_for grep --quiet . "$BACKGROUND_OUTPUT"
	done
	for options in '' '--sort age' '--sort src -4'; do
		# shellcheck disable=SC2086 # options are words
		json=$(netracker list --json $options | jq --compact-output '[.src, .sport, .dport, .state, .ts, .uid]' | ordered "$options")
		assert_equal "connections" "$(wc -l <<<"$json")" 3
		# shellcheck disable=SC2086
		assert_equal "ecs $options" "$(netracker list --format ecs $options |
			jq --compact-output '[.source.ip, .source.port, .destination.port, .netracker.state, .event.start, (.user.id | tonumber)]' | ordered "$options")" "$json"
		# shellcheck disable=SC2086
		assert_equal "csv $options" "$(netracker list --format csv --community-id $options | python3 -c 'import csv, json, sys
for row in csv.DictReader(sys.stdin, strict=True):
    assert int(row["age_ns"]) > 0 and len(row["community_id"]) == 30, row
    print(json.dumps([row["src"], int(row["sport"]), int(row["dport"]), row["state"], row["ts"], int(row["uid"])], separators=(",", ":")))' | ordered "$options")" "$json"
	done
	assert_status 1 bash -c 'exec "$@" >/dev/full' bash nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" list --format ecs
	assert_says 'cannot write the output: No space left on device'
	assert_status 2 netracker list --format zeek
}
