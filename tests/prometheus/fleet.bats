#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# contrib/fleet: records of real connections on two hosts, over RELP and TLS to a receiver, into a table, and what the table answers. The
# hosts are namespaces that hang on a receiver's bridge, apart from the link where the connections are.
# shellcheck disable=SC2016 # what runs inside expands there

load ../helpers

readonly RECEIVER=192.0.2.1 NAME=logs.example.net

setup() {
	isolate
	requires object kernel_5.19 tool_rsyslogd tool_openssl tool_sqlite3 tool_nginx tool_curl tool_nft
	compgen -G '/usr/lib/*/rsyslog/omrelp.so' >/dev/null || lacking "needs rsyslog-relp: 'make deps' installs it"
	new_pair
	new_netns logs
	in_netns logs ip link add br0 type bridge
	in_netns logs ip link set br0 up
	add_address logs br0 "$RECEIVER"
	connect client web1 192.0.2.11
	connect server db1 192.0.2.12
	mkdir "$BATS_TEST_TMPDIR/stored"
	bash "$ROOT/contrib/fleet/certificates" "$BATS_TEST_TMPDIR/authority" "$NAME" web1.example.net db1.example.net
}

# connect NS HOST ADDRESS
connect() {
	new_veth "$1" relp0 logs "$2"
	in_netns logs ip link set "$2" master br0
	add_address "$1" relp0 "$3"
}

# The paths of the configurations, below $BATS_TEST_TMPDIR/HOST here; names that no server resolves here; and no patience where a test waits.
# configuration FILE HOST CERTIFICATE
configuration() {
	local dir=$BATS_TEST_TMPDIR
	mkdir -p "$dir/$2/spool"
	echo "global(workDirectory=\"$dir/$2/spool\")"
	sed "s|/etc/netracker/|$dir/authority/$3/|g; s|/var/log/netracker/|$dir/stored/|; s|/var/log/|$dir/$2/|; s|target=\"$NAME\"|target=\"$RECEIVER\"|
		s|action.resumeInterval=\"[0-9]*\"|action.resumeInterval=\"1\"|" "$ROOT/contrib/fleet/$1"
}

# rsyslog NS HOST: as a host of that name. Its process is in $HOST_PID.
rsyslog() {
	rm -f "$BATS_TEST_TMPDIR/$2/pid"
	background in_netns "$1" unshare --uts bash -c 'hostname "$1" && exec rsyslogd -n -f "$2/conf" -i "$2/pid"' bash "$2" "$BATS_TEST_TMPDIR/$2"
	wait_for test -s "$BATS_TEST_TMPDIR/$2/pid"
}

start_receiver() {
	[[ -e $BATS_TEST_TMPDIR/logs/conf ]] || {
		mkdir -p "$BATS_TEST_TMPDIR/logs"
		configuration receiver.conf logs "$NAME" >"$BATS_TEST_TMPDIR/logs/conf"
	}
	rsyslog logs logs
	wait_for listening logs 2514
}

# start_sender NS HOST [CERTIFICATE]
start_sender() {
	[[ -e $BATS_TEST_TMPDIR/$2/conf ]] || {
		mkdir -p "$BATS_TEST_TMPDIR/$2"
		configuration sender.conf "$2" "${3:-$2.example.net}" >"$BATS_TEST_TMPDIR/$2/conf"
	}
	rsyslog "$1" "$2"
}

# stop HOST: as systemd stops it.
stop() {
	local pid
	pid=$(<"$BATS_TEST_TMPDIR/$1/pid")
	kill "$pid"
	wait_for gone "$pid"
}

gone() {
	[[ ! -e /proc/$1 ]]
}

# received HOST: the lines that the receiver has of it.
received() {
	cat "$BATS_TEST_TMPDIR/stored/$1"/*.jsonl
}

# all_received HOST: every line of the host's file, and no other; some may be there twice.
all_received() {
	cmp <(sort -u "$BATS_TEST_TMPDIR/$1/netracker.jsonl") <(received "$1" | sort -u)
}

# missing HOST: how many lines of the host's file are not there.
missing() {
	comm -23 <(sort -u "$BATS_TEST_TMPDIR/$1/netracker.jsonl") <(received "$1" | sort -u) | wc -l
}

# requests N: from the client to the server, a connection each.
requests() {
	in_netns client bash -c 'for ((i = 0; i < $1; i++)); do echo "url = http://$2:8000/close"; echo output = /dev/null; done |
		curl --silent --header "Connection: close" --config -' bash "$1" "$SERVER4"
}

# on_db1 COMMAND…: as on another machine: in the server's network namespace, with a bpffs and a tracker of its own.
on_db1() {
	nsenter --mount="/proc/$DB1_PID/ns/mnt" -- env NETRACKER_LOCK="$BATS_TEST_TMPDIR/db1/lock" nsenter --net="$NETNS_DIR/server" -- "$@"
}

# begin: the tracker on both hosts, a web server, two senders.
begin() {
	start_sender client web1
	start_sender server db1
	background unshare --mount bash -c 'mount -t bpf bpf /sys/fs/bpf && echo mounted && exec sleep infinity'
	wait_for grep mounted "$BACKGROUND_OUTPUT"
	DB1_PID=$BACKGROUND_PID
	in_netns client "$NETRACKER" attach --quiet veth0
	on_db1 "$NETRACKER" attach --quiet veth0
	http_server server
}

# note_records N: what has ended goes behind each host's file, as its service would put it there, until that has N lines.
note_records() {
	wait_for noted web1 "$1" in_netns client
	wait_for noted db1 "$1" on_db1
}

# noted HOST N COMMAND…: COMMAND runs one on the host.
noted() {
	"${@:3}" "$NETRACKER" log --json --no-follow >>"$BATS_TEST_TMPDIR/$1/netracker.jsonl"
	assert_equal "records of $1" "$(wc -l <"$BATS_TEST_TMPDIR/$1/netracker.jsonl")" "$2"
}

# load_all: into the table; $loaded is what was said.
load_all() {
	loaded=$(bash "$ROOT/contrib/fleet/load" "$BATS_TEST_TMPDIR/fleet.db" "$BATS_TEST_TMPDIR"/stored/*/*.jsonl)
	echo "$loaded"
}

# ask SQL
ask() {
	sqlite3 -batch "$BATS_TEST_TMPDIR/fleet.db" "$1"
}

# answers SQL ROW…
answers() {
	assert_equal "$1" "$(ask "$1")" "$(printf '%s\n' "${@:2}")"
}

@test "rsyslog takes both configurations" {
	local host
	mkdir "$BATS_TEST_TMPDIR"/{logs,web1}
	configuration receiver.conf logs "$NAME" >"$BATS_TEST_TMPDIR/logs/conf"
	configuration sender.conf web1 web1.example.net >"$BATS_TEST_TMPDIR/web1/conf"
	for host in logs web1; do
		run rsyslogd -N 1 -f "$BATS_TEST_TMPDIR/$host/conf"
		assert_equal "$host: exit status" "$status:$output" "0:$output"
		[[ $output != *error* && $output != *warning* ]] || fail "$host: $output"
	done
}

# a_syn_is_dropped: the first of a connection, which is sent again after a second.
a_syn_is_dropped() {
	in_netns server nft --json list table ip slow | jq --exit-status '[.. | .counter? | objects.packets] | add > 0'
}

@test "two hosts' records arrive as they were, and the table answers what the traffic was" {
	local loaded
	start_receiver
	begin
	requests 20
	in_netns client curl --silent "http://$SERVER4:81/" || true
	in_netns client curl --silent "http://$SERVER4:81/" || true
	in_netns server nft 'table ip slow { chain in { type filter hook input priority 0; tcp dport 8000 tcp flags syn counter drop; }; }'
	background requests 1
	wait_for a_syn_is_dropped
	in_netns server nft delete table ip slow
	note_records 23
	wait_for all_received web1
	wait_for all_received db1

	load_all
	assert_equal "load" "$loaded" "46 lines: 46 new, 0 repeated, 0 broken"
	answers 'SELECT host, records, lost FROM hosts' 'db1|23|0' 'web1|23|0'
	answers 'SELECT host, dir, dport, connections FROM busiest WHERE connections > 2 ORDER BY host' 'db1|in|8000|21' 'web1|out|8000|21'
	answers 'SELECT host, dir, dport, state, connections FROM failures ORDER BY host' 'db1|in|81|REJ|2' 'web1|out|81|REJ|2'
	answers 'SELECT handshake_ms > 900 FROM slowest LIMIT 2' 1 1
	answers 'SELECT count(*) FROM slowest WHERE handshake_ms > 900' 2
	answers "SELECT connections FROM owners WHERE host = 'web1'" "$(jq --slurp 'map(select(.owner)) | length' "$BATS_TEST_TMPDIR/web1/netracker.jsonl")"
	answers "SELECT host, sum(json ->> 'syn_retrans') FROM record GROUP BY host" 'db1|1' 'web1|1'

	# Again, with a line that comes twice and one that was cut off.
	received web1 | head -1 >>"$(echo "$BATS_TEST_TMPDIR"/stored/web1/*.jsonl)"
	echo '{"ts":"2026' >>"$(echo "$BATS_TEST_TMPDIR"/stored/web1/*.jsonl)"
	load_all
	assert_equal "load" "$loaded" "48 lines: 0 new, 1 repeated, 1 broken"
}

# follow_page: all commands of the page, in order, where $PWD stands for / and the tree; what they would do to the system is noted in `done`.
follow_page() {
	local name
	mkdir -p page/bin page/etc/{rsyslog,logrotate}.d page/var/log
	cd page || return
	ln -s "$ROOT/contrib" contrib
	ln -s "$BATS_TEST_TMPDIR/stored" var/log/netracker
	cp "$BATS_TEST_TMPDIR/web1/netracker.jsonl" var/log/
	for name in apt systemctl; do
		printf '#!/bin/sh\necho "%s $*" >>"%s/done"\n' "$name" "$PWD" >"bin/$name"
		chmod +x "bin/$name"
	done
	runnable "$ROOT/docs/monitoring.md" | sed "s| /etc/| $PWD/etc/|g; s| /var/| $PWD/var/|g" >script
	PATH=$PWD/bin:$PATH bash -euo pipefail script
}

@test "the page's commands run as they stand" {
	local dir=$BATS_TEST_TMPDIR package
	start_receiver
	begin
	requests 3
	note_records 3
	wait_for all_received web1
	wait_for all_received db1
	cd "$dir"
	follow_page >"$dir/output" || fail "$(tail -n 5 "$dir/output")"
	grep --quiet '^6 lines: 6 new, 0 repeated, 0 broken$' "$dir/output" || fail "$(<"$dir/output")"
	grep --quiet --extended-regexp 'web1 +│ out +│ 8000 +│ 3 ' "$dir/output" || fail "$(<"$dir/output")"
	cmp "$dir/page/etc/rsyslog.d/netracker.conf" "$ROOT/contrib/fleet/sender.conf" # the sender's, which comes after the receiver's
	cmp "$dir/page/etc/systemd/system/netracker-log.service.d/file.conf" "$ROOT/contrib/fleet/netracker-log.conf"
	cmp "$dir/page/var/log/netracker-again.jsonl" "$dir/web1/netracker.jsonl"
	[[ -s $dir/page/authority/web1.example.net/host.key ]]
	for package in rsyslog rsyslog-relp sqlite3 logrotate; do
		grep --quiet "^apt install .*\<$package\>" "$dir/page/done" || fail "the page does not install $package"
		grep --quiet " $package\$" "$ROOT/scripts/deps" || fail "the tests do not have $package"
	done
}

# on_disk HOST: its queue is.
on_disk() {
	compgen -G "$BATS_TEST_TMPDIR/$1/spool/netracker.0*" && (($(du --summarize --bytes "$BATS_TEST_TMPDIR/$1/spool" | cut -f 1) > 500000))
}

@test "a receiver that is away, or killed, costs nothing" {
	local loaded records
	start_receiver
	begin
	requests 300
	note_records 300
	kill -KILL "$(<"$BATS_TEST_TMPDIR/logs/pid")"
	requests 4000
	note_records 4300
	wait_for on_disk web1
	wait_for on_disk db1
	start_receiver
	requests 200
	note_records 4500
	wait_for all_received web1
	wait_for all_received db1
	records=$(cat "$BATS_TEST_TMPDIR"/{web1,db1}/netracker.jsonl | wc -l)
	load_all
	[[ $loaded == *" lines: $records new, "*" repeated, 0 broken" ]] || fail "$loaded, of $records"
	answers 'SELECT host, records FROM hosts' 'db1|4500' 'web1|4500'
}

@test "a sender restarted while the receiver is away loses what it had in hand at most, and that is sent again" {
	local loaded
	start_receiver
	begin
	requests 300
	note_records 300
	wait_for all_received web1
	stop logs
	requests 3000
	note_records 3300
	wait_for on_disk web1
	stop web1
	start_sender client web1
	requests 100
	note_records 3400
	start_receiver
	wait_for all_but_few web1
	wait_for all_received db1
	cp "$BATS_TEST_TMPDIR/web1/netracker.jsonl" "$BATS_TEST_TMPDIR/web1/netracker-again.jsonl"
	wait_for all_received web1
	load_all
	answers 'SELECT host, records FROM hosts' 'db1|3400' 'web1|3400'
}

# all_but_few HOST: no more than what two workers had in hand, a line in each and one on the wire, is missing.
all_but_few() {
	(($(missing "$1") <= 4)) || fail "$(missing "$1") missing"
}

@test "who has no certificate of the fleet's authority gets nothing in, and nobody writes outside the directory" {
	bash "$ROOT/contrib/fleet/certificates" "$BATS_TEST_TMPDIR/other" web1.example.net
	start_receiver
	mkdir "$BATS_TEST_TMPDIR/web1"
	configuration sender.conf web1 web1.example.net | sed "s|authority|other|" >"$BATS_TEST_TMPDIR/web1/conf"
	start_sender client web1
	echo '{"from":"a stranger"}' >"$BATS_TEST_TMPDIR/web1/netracker.jsonl"
	wait_for grep --quiet --ignore-case 'certificate\|auth\|handshake' "$BACKGROUND_OUTPUT"
	mkdir "$BATS_TEST_TMPDIR/db1"
	configuration sender.conf db1 db1.example.net | sed 's|%hostname%|../../evil|' >"$BATS_TEST_TMPDIR/db1/conf"
	start_sender server db1
	echo '{"from":"a liar"}' >"$BATS_TEST_TMPDIR/db1/netracker.jsonl"
	wait_for grep --recursive --quiet 'a liar' "$BATS_TEST_TMPDIR/stored"
	assert_equal "stored" "$(find "$BATS_TEST_TMPDIR/stored" -type f -exec cat {} +)" '{"from":"a liar"}'
}
