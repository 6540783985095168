#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Which process the record names, right or not at all, and why this host reset a connection: docs/fields.md. As to attach takes seconds,
# all tests share their namespaces: client and server, joined by a veth pair whose server end is tracked, and far, behind the server.
# Processes that only compute keep all CPUs busy: whoever is named by chance is most likely one of these.

load helpers

setup_file() {
	# shellcheck disable=SC2034 # the helpers read them
	local BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR BATS_TEST_NUMBER=0 i
	isolate
	requires kernel_5.16 object ipv6
	export LABORATORY NETNS_DIR TRACE
	new_pair
	new_far
	attach_raw server veth0
	trace_start
	for ((i = 0; i < $(nproc); i++)); do
		in_background timeout 600 nice bash -c 'while :; do :; done'
	done
	export BUSY_PIDS=${BACKGROUND_PIDS[*]}
}

teardown_file() {
	read -r -a BACKGROUND_PIDS <<<"${BUSY_PIDS-}"
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
}

# act NS STEP…: tests/processes.py there.
act() {
	in_netns "$1" /usr/bin/python3 "$ROOT/tests/processes.py" "${@:2}"
}

# converse FAR-STEPS NEAR-STEPS NS NS2 ADDRESS: somebody in NS listens, and does the first steps with what he accepts; who calls
# from NS2 does the others. Both have come to their end.
converse() {
	local -a theirs ours
	local listener
	read -r -a theirs <<<"$1"
	read -r -a ours <<<"$2"
	background act "$3" listen,8000 accept "${theirs[@]}"
	# shellcheck disable=SC2153 # set in helpers.bash, beside an array of nearly that name
	listener=$BACKGROUND_PID
	wait_for listening "$3" 8000
	act "$4" connect,"$5",8000 "${ours[@]}" >/dev/null || true
	wait_for has_ended "$listener"
}

# incoming SERVER-STEPS CLIENT-STEPS [ADDRESS]: a connection to the tracked host.
incoming() {
	converse "$1" "$2" server client "${3:-$SERVER4}"
	wait_for_records 1
}

# outgoing CLIENT-STEPS SERVER-STEPS: one that it opens. The client has said who it is before.
outgoing() {
	local -a ours theirs
	read -r -a ours <<<"$1"
	read -r -a theirs <<<"$2"
	background act client listen,8000 accept "${theirs[@]}"
	wait_for listening client 8000
	act server am,opener connect,"$CLIENT4",8000 "${ours[@]}" >/dev/null || true
	wait_for_records 1
	wait_for has_ended "$BACKGROUND_PID"
}

# record_json: the records as `netracker log --json` shows them.
record_json() {
	records | NT_BOOT_US=0 awk -f "$ROOT/scripts/lib/address.awk" -f "$ROOT/scripts/lib/owner.awk" \
		-f "$ROOT/scripts/lib/record.awk" -f "$ROOT/scripts/lib/json.awk"
}

# processes: those that have said who they are, as an object: number to label.
processes() {
	sed -n "s/^.*-\([0-9]*\) .*: tracing_mark_write: process '\(.*\)'\$/\1\t\2/p" "$TRACE/trace" |
		jq --raw-input --null-input '[inputs | split("\t") | {(.[0]): .[1]}] | add // {}'
}

# named: of each record its direction, its state, who has its number, and its name; - for nobody.
named() {
	record_json | jq --raw-output --argjson processes "$(processes)" \
		'[.dir, .state, if .pid then $processes["\(.pid)"] // "#\(.pid)" else "-" end, .comm // "-"] | join(" ")'
}

# assert_named WHAT WANTED…: one of them is what named() says.
assert_named() {
	local what=$1 got
	shift
	got=$(named)
	printf '%s\n' "$@" | grep --quiet --line-regexp --fixed-strings -e "$got" || fail "$what: got '$got', want '$*'"
}

# reset_of WHAT WANT: the record says this state, and this reason.
reset_of() {
	assert_equal "$1" "$(record_json | jq --raw-output '[.state, .reset_reason // "-"] | join(" ")')" "$2"
	: >"$TRACE/trace"
}

# server_named WHAT SERVER-STEPS CLIENT-STEPS [ADDRESS]: the server is named; or nobody, if a segment comes to its socket in the very moment
# of its close, and then again and again until none does.
server_named() {
	local attempt
	for attempt in {1..20}; do
		: >"$TRACE/trace"
		incoming "${@:2}"
		assert_named "$1" "in SF server server" "in SF - -"
		[[ $(named) == *-* ]] || return 0
	done
	fail "$1: nobody, $attempt times"
}

@test "incoming: the server, at its close, whoever closes first" {
	local address
	for address in "$SERVER4" "$SERVER6"; do
		server_named "the server first, $address" "am,server close" "am,client drain close" "$address"
		server_named "the client first, $address" "am,server drain close" "am,client close" "$address"
	done
	server_named "both" "am,server send,3 close" "am,client receive,3 close"
	server_named "the client first, after much" "am,server receive,300000 drain close" "am,client send,300000 shutdown drain close"
	server_named "an answer behind the client's FIN" "am,server receive,3 drain send,3 close" "am,client send,3 shutdown drain close"
}

@test "outgoing: the client, at its SYN, whoever closes first" {
	outgoing "close" "am,other drain close"
	assert_named "the client first" "out SF opener opener"
	: >"$TRACE/trace"
	outgoing "drain close" "am,other close"
	assert_named "the server first" "out SF opener opener"
	: >"$TRACE/trace"
	! act server am,opener connect,"$CLIENT4",9 2>/dev/null || fail "somebody listens"
	wait_for_records 1
	assert_named "refused" "out REJ opener opener"
}

@test "a child that closes what its parent has accepted; a parent that has it last" {
	incoming "am,parent fork am,child drain close" "close"
	assert_named "the child" "in SF child child"
	: >"$TRACE/trace"
	incoming "am,parent fork-holding am,child drain close" "close"
	assert_named "the parent" "in SF parent parent"
	: >"$TRACE/trace"
	outgoing "fork am,child close" "drain close"
	assert_named "who opened it" "out SF opener opener"
}

@test "another program in the same process: of an incoming connection what it was at the close, of an outgoing one what it was at the SYN" {
	ln -s /usr/bin/python3 "$BATS_TEST_TMPDIR/another"
	incoming "am,server exec,$BATS_TEST_TMPDIR/another drain close" "close"
	assert_named "closed" "in SF server another"
	: >"$TRACE/trace"
	outgoing "exec,$BATS_TEST_TMPDIR/another close" "drain close"
	assert_named "opened" "out SF opener opener"
}

@test "threads: the name of the process, not theirs" {
	incoming "am,server thread,worker drain close" "close"
	assert_named "closed" "in SF server server"
	: >"$TRACE/trace"
	background act client listen,8001 accept drain close
	wait_for listening client 8001
	act server am,opener thread,worker connect,"$CLIENT4",8001 close >/dev/null
	wait_for_records 1
	assert_named "opened" "out SF opener opener"
}

@test "killed: the one whose socket it was" {
	incoming "am,server kill" "drain close"
	assert_named "the server" "in SF server server"
	: >"$TRACE/trace"
	incoming "am,server drain close" "am,client kill"
	assert_named "the client" "in SF server server"
	: >"$TRACE/trace"
	outgoing "kill" "drain close"
	assert_named "who opened it" "out SF opener opener"
}

@test "resets: who closed it so" {
	incoming "am,server linger close" "drain close"
	assert_named "linger 0" "in RSTR server server"
	: >"$TRACE/trace"
	incoming "am,server readable close" "send,3 drain close"
	assert_named "unread data" "in RSTR server server"
	: >"$TRACE/trace"
	incoming "am,server readable kill" "send,3 drain close"
	assert_named "unread data, killed" "in RSTR server server"
	: >"$TRACE/trace"
	incoming "am,server drain close" "linger close"
	assert_named "by the client" "in RSTO - -"
}

@test "shutdown() and close(), by one process and by two; sendfile()" {
	incoming "am,server shutdown drain close" "drain close"
	assert_named "one" "in SF server server"
	: >"$TRACE/trace"
	incoming "am,parent shutdown fork am,child drain close" "drain close"
	assert_named "who closed our direction" "in SF parent parent"
	: >"$TRACE/trace"
	incoming "am,server sendfile,3000 close" "drain close"
	assert_named "sendfile" "in SF server server"
}

# Its FIN goes out behind the data, as the client reads them, and in the client's time.
@test "a server that closes with more to send than the client takes: nobody, or the server" {
	incoming "am,server buffer,200000 send,200000 close touch,$BATS_TEST_TMPDIR/closed" "am,client until,$BATS_TEST_TMPDIR/closed drain close"
	assert_named "behind the data" "in SF - -" "in SF server server"
}

@test "a socket that is handed over: who has it last, or who opened it" {
	local path=$BATS_TEST_TMPDIR/way
	background act server take,"$path" am,taker drain close
	wait_for test -S "$path"
	incoming "am,server pass,$path" "close"
	assert_named "incoming" "in SF taker taker"
	: >"$TRACE/trace"
	rm "$path"
	background act server take,"$path" am,taker drain close
	wait_for test -S "$path"
	outgoing "pass,$path" "close"
	assert_named "outgoing" "out SF opener opener"
}

# The collector is a thread of the kernel's from Linux 6.10 on, and before that whoever closes a Unix socket next.
@test "a socket that is lost on its way to another process: nobody, or who lost it" {
	incoming "am,server lose" "drain close"
	assert_named "incoming" "in SF - -" "in SF server server"
	: >"$TRACE/trace"
	outgoing "lose" "drain close"
	assert_named "outgoing" "out SF opener opener"
}

@test "a name that would break a line or JSON" {
	local name json line
	while read -r name json; do
		printf -v name %b "$name"
		background act server listen,8000 accept "am,$name" close
		wait_for listening server 8000
		act client connect,"$SERVER4",8000 drain close >/dev/null
		wait_for_records 1
		line=$(records)
		[[ $line != *[[:cntrl:]]* ]] || fail "control characters in the line: $line"
		assert_equal "words without a key, in the line" "$(tr ' ' '\n' <<<"${line#*dur_ns}" | tail -n +2 | grep --count --invert-match '^[a-z_]*=.')" 0
		assert_equal "the name in JSON" "$(record_json | sed 's/.*"comm"://; s/,"[a-z_]*":.*//')" "$json"
		: >"$TRACE/trace"
	done <<-'EOF'
		a\x20"b"\x20\x5cc "a \"b\" \\c"
		\x1b[31mred\x07 "\u001b[31mred\u0007"
		b\xfcro\x20\xe2\x82 "b�ro �"
		new\x0aline\x09=1 "new\u000aline\u0009=1"
		\x20\x20 "  "
		x\x20pid=2 "x pid=2"
	EOF
}

# held_up NS DEVICE: packets that leave by it wait a moment, in its queue.
held_up() {
	in_netns "$1" tc qdisc add dev "$2" root tbf rate 200kbit burst 1600 limit 1000000
}

@test "a queue before the hook, in a bridge, below a macvlan and beyond a namespace with the same numbers: nobody" {
	local near
	new_netns host
	new_netns inner
	new_netns outer
	in_netns host ip link add bridge type bridge
	in_netns host ip link set bridge up
	in_netns inner ip link add veth0 index 77 type veth peer name port netns "$NETNS_DIR/host"
	in_netns host ip link add wire index 77 type veth peer name veth0 netns "$NETNS_DIR/outer"
	in_netns host ip link set port master bridge up
	in_netns host ip link set wire master bridge up
	in_netns inner ip link set veth0 up
	in_netns outer ip link set veth0 up
	add_address host bridge "$NET4.3"
	add_address inner veth0 "$NET4.4"
	add_address outer veth0 "$NET4.5"
	attach_again host wire server veth0
	held_up host bridge
	held_up inner veth0
	for near in host inner; do
		speaks_past "$near" 2
	done
	if in_netns inner ip link add link veth0 name upper type macvlan mode bridge 2>/dev/null; then
		in_netns inner ip address add "$NET4.6/24" dev upper
		in_netns inner ip link set upper up
		attach_again inner veth0 server veth0
		in_netns inner ip address del "$NET4.4/24" dev veth0
		# Here the queue is above the hook's device.
		held_up inner upper
		speaks_past inner 4
	fi
}

# speaks_past NS RECORDS: it opens connections, and gets some, of 20 segments each; they are named by nobody, or by who it was.
speaks_past() {
	local other
	: >"$TRACE/trace"
	converse "am,other send,1000 close" "am,opener drain close" outer "$1" "$NET4.5"
	other=$(in_netns "$1" ip -json address | jq --raw-output '[.[].addr_info[] | select(.family == "inet" and .local != "127.0.0.1").local] | last')
	converse "am,server send,20000 close" "drain close" "$1" outer "$other"
	wait_for_records 2
	assert_equal "$1" "$(named | cut -d ' ' -f 3- | sort -u)" "- -"
}

@test "a SYN that waits for its neighbour's address: nobody, or who sent it" {
	in_netns client nft 'add table arp deaf; add chain arp deaf in { type filter hook input priority 0; policy drop; }'
	in_netns server ip neighbour flush dev veth0
	background act client listen,8001 accept drain close
	wait_for listening client 8001
	background act server am,opener connect,"$CLIENT4",8001 "until,$BATS_TEST_TMPDIR/seen" kill
	wait_for waits_for_neighbour
	in_netns client nft delete table arp deaf
	wait_for test -s "$BACKGROUND_OUTPUT"
	: >"$BATS_TEST_TMPDIR/seen"
	wait_for_records 1
	assert_named "late SYN" "out SF - -" "out SF opener opener"
}

waits_for_neighbour() {
	in_netns server ip neighbour show to "$CLIENT4" | grep INCOMPLETE
}

# nginx_in NS: one worker.
nginx_in() {
	nginx_server "$1" 8000 nginx -g 'user www-data;' <<-EOF
		access_log off;
		server {
			listen 8000 backlog=4096;
			location / { return 200 "hello"; }
		}
	EOF
}

# requests NS ADDRESS: 10,000 and some, each on a connection of its own, from wrk.
requests() {
	cat >"$BATS_TEST_TMPDIR/wrk.lua" <<-'EOF'
		local answered = 0
		function response()
			answered = answered + 1
			if answered == 10100 then os.exit(0) end
		end
	EOF
	in_netns "$1" wrk --threads 1 --connections 16 --duration 600s --header 'Connection: close' --script "$BATS_TEST_TMPDIR/wrk.lua" \
		"http://$2:8000/" >/dev/null
	wait_for none_in_motion
}

none_in_motion() {
	assert_equal "connections in motion" "$(in_motion)" 0
}

# assert_nearly_all_named WHAT DIR COMM: of the records of that direction all have one and the same process, of this name, but for few that
# have none. What wrk leaves behind when it is through is not counted: nobody is at work on that any more.
assert_nearly_all_named() {
	local all unknown dir=$BATS_TEST_TMPDIR
	record_json | jq --raw-output --arg dir "$2" 'select(.dir == $dir and .state == "SF") | "\(.pid) \(.comm)"' >"$dir/named"
	all=$(wc -l <"$dir/named")
	unknown=$(grep --count --line-regexp 'null null' "$dir/named" || true)
	echo "# $1: $all connections, nobody is named for $unknown" >&3
	((all >= 10000)) || fail "$1: only $all records"
	((unknown * 50 < all)) || fail "$1: nobody is named for $unknown of $all"
	assert_equal "$1: processes that are named" "$(grep --invert-match 'null' "$dir/named" | sort -u | sed 's/^[0-9]* //')" "$3"
	: >"$TRACE/trace"
}

@test "10,000 connections of wrk to nginx, each way: all that are named have the worker, or wrk, and few have nobody" {
	requires tool_nginx tool_wrk
	nginx_in server
	requests client "$SERVER4"
	assert_nearly_all_named "incoming" in nginx
	nginx_in client
	requests server "$CLIENT4"
	assert_nearly_all_named "outgoing" out wrk
	attach_again server lo server veth0
	requests server "$SERVER4"
	in_netns server tc qdisc del dev lo clsact
	assert_nearly_all_named "on lo" out wrk
}

#
# Why this host resets
#

@test "reset: nobody listens" {
	! act client connect,"$SERVER4",9 2>/dev/null || fail "somebody listens"
	wait_for_records 1
	reset_of IPv4 "REJ no_listener"
	! act client connect,"$SERVER6",9 2>/dev/null || fail "somebody listens"
	wait_for_records 1
	reset_of IPv6 "REJ no_listener"
}

@test "reset: data that were not read, a linger of 0, connect() to nowhere, ss --kill" {
	local address
	for address in "$SERVER4" "$SERVER6"; do
		incoming "readable close" "send,100 drain close" "$address"
		reset_of "unread, $address" "RSTR unread_data"
		incoming "readable close" "send,100 shutdown drain close" "$address"
		reset_of "unread, and the peer has closed, $address" "RSTR unread_data"
		incoming "linger close" "drain close" "$address"
		reset_of "linger, $address" "RSTR linger"
		incoming "drain linger close" "shutdown drain close" "$address"
		reset_of "linger, and the peer has closed, $address" "RSTR linger"
		incoming "unspec close" "drain close" "$address"
		reset_of "abort, $address" "RSTR abort"
	done
	background act server listen,8000 accept drain
	wait_for listening server 8000
	background act client connect,"$SERVER4",8000 drain
	wait_for test -s "$BACKGROUND_OUTPUT"
	if wait_for killed 2>/dev/null; then
		wait_for_records 1
		reset_of "ss" "RSTR abort"
	fi
}

killed() {
	[[ $(in_netns server ss --no-header --kill --tcp state established sport = :8000) ]]
}

@test "reset: data for a socket that is closed" {
	incoming "receive,3 close" "send,3 drain send,3 drain close"
	reset_of "closed by the server" "RSTR no_socket"
	incoming "receive,3 close touch,$BATS_TEST_TMPDIR/closed" "send,3 until,$BATS_TEST_TMPDIR/closed send,3 send,3 drain close" "$SERVER6"
	reset_of "closed by the server, IPv6" "RSTR no_socket"
}

@test "reset: the peer does not answer any more" {
	background act server listen,8000 accept alive drain close
	wait_for listening server 8000
	background act client connect,"$SERVER4",8000 drain close
	wait_for test -s "$BACKGROUND_OUTPUT"
	in_netns client nft 'add table ip deaf; add chain ip deaf in { type filter hook input priority 0; policy drop; }'
	wait_for_records 1
	reset_of "given up" "RSTR given_up"
}

@test "reset: by somebody else than this host's TCP, nobody knows" {
	incoming "drain close" "linger close"
	reset_of "the peer" "RSTO -"
	! act client connect,"$FAR4",9 2>/dev/null || fail "somebody listens"
	wait_for_records 1
	reset_of "forwarded, refused" "REJ -"
	converse "linger close" "drain close" far client "$FAR4"
	wait_for_records 1
	reset_of "forwarded, reset" "RSTR -"
	in_netns server nft 'add table ip guard; add chain ip guard in { type filter hook input priority 0; }
		add rule ip guard in tcp dport 8000 reject with tcp reset'
	background act server listen,8000
	! act client connect,"$SERVER4",8000 2>/dev/null || fail "it is let in"
	wait_for_records 1
	reset_of "a firewall" "REJ -"
}
