#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What a record says held the connection back, beside what did. All tests share their namespaces, as to attach takes seconds: client
# and server, joined by a link on which each packet takes 20 ms; the server's end is tracked. tests/held.py listens in both.

load helpers

readonly DELAY_MS=20

setup_file() {
	# shellcheck disable=SC2034 # the helpers read them
	local BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR BATS_TEST_NUMBER=0
	isolate
	requires kernel_5.19 object tool_nft
	[[ -c /dev/net/tun ]] || lacking "needs tun interfaces in the kernel"
	new_netns client
	new_netns server
	background python3 "$ROOT/tests/slow_link.py" "$DELAY_MS" "$NETNS_DIR/client" slow0 "$NETNS_DIR/server" slow0
	wait_for grep --quiet ready "$BACKGROUND_OUTPUT"
	end_of_link client "$CLIENT4"
	end_of_link server "$SERVER4"
	in_netns server "$NETRACKER" attach --quiet slow0
	export LABORATORY NETNS_DIR
}

# end_of_link NS ADDRESS: so long a queue that nothing is lost there.
end_of_link() {
	in_netns "$1" ip link set slow0 txqueuelen 20000 up
	in_netns "$1" ip address add "$2/24" dev slow0
	background in_netns "$1" python3 "$ROOT/tests/held.py" serve 8000
	wait_for listening "$1" 8000
}

teardown_file() {
	clean_up
}

setup() {
	[[ -v LABORATORY ]] || skip "needs what setup_file could not make"
}

teardown() {
	in_netns client nft flush ruleset
	in_netns server nft flush ruleset
}

# log [OPTION…]: all that has ended.
log() {
	"$NETRACKER" log --all --no-follow "$@"
}

# record_of PORT: of the connection from there, once it is in the log.
record_of() {
	log --json | jq --compact-output --exit-status "select(.sport == $1)"
}

# held DIR WHY: a connection that WHY holds back for a second, in or out as the server's host sees it. Its record is $record.
held() {
	local from=client to=$SERVER4 port
	[[ $1 == in ]] || from=server to=$CLIENT4
	port=$(in_netns "$from" timeout 30 python3 "$ROOT/tests/held.py" connect "$to" 8000 "$2")
	wait_for record_of "$port"
	record=$(record_of "$port")
	echo "$record"
	assert_equal "direction" "$(jq --raw-output .dir <<<"$record")" "$1"
}

# holds DIR WHY WANT: what the record says is WANT, and that it took most of the time; null: nothing is known of that.
holds() {
	held "$1" "$2"
	assert_equal "$1, $2" "$(jq --raw-output .held_by <<<"$record")" "$3"
	jq --exit-status 'if .held_by then .held_pct > 33 and .held_pct <= 100 else .held_pct == null end' <<<"$record" >/dev/null ||
		fail "its share is $(jq .held_pct <<<"$record") %"
}

# lose NS WHAT N: of what comes in there that matches WHAT, every Nth, the first one first.
lose() {
	in_netns "$1" nft "add table inet loss; add chain inet loss in { type filter hook input priority 0; }; add rule inet loss in $2 numgen inc mod $3 0 drop"
}

@test "a program that takes its time" {
	holds in think application
	holds out think application
}

@test "a reader that sleeps" {
	holds in sleep receiver
	holds out late receiver
}

@test "a send buffer that is small beside the round trip" {
	holds in buffer send_buffer
	holds out small send_buffer
}

@test "the round trips themselves" {
	holds in download round_trips
	holds out upload round_trips
	holds in chat round_trips
	holds out chat round_trips
}

@test "segments that are lost" {
	lose client 'meta length > 1000' 20
	holds in download loss
	holds out upload loss
}

@test "a SYN that is lost" {
	lose client 'tcp flags & (syn | ack) == syn' 2
	holds out chat loss
	assert_equal "sent again" "$(jq .syn_retrans <<<"$record")" 1
}

@test "who is fed does not know what held the other side back" {
	holds in late null
	holds in upload null
	holds out sleep null
	holds out download null
}

@test "the metrics count what the records say, by service" {
	local by figure
	holds in think application
	for dir in in out; do
		for by in application receiver send_buffer loss round_trips; do
			figure=$("$NETRACKER" metrics | sed -n "s/^netracker_connections_held_total{dir=\"$dir\",port=\"8000\",by=\"$by\"} //p")
			assert_equal "$dir, $by" "$figure" "$(log --json | jq --slurp "map(select(.dir == \"$dir\" and .held_by == \"$by\")) | length")"
		done
	done
	log --json | jq --slurp --exit-status 'any(.held_by == "application")' >/dev/null || fail "none was held by the application: $(log --json)"
}

@test "log --quality shows who was slow and why, and help says what the words mean" {
	local words help
	held in think
	words=$(log --quality --wide --min-ms 900 | awk -v end="$CLIENT4:$(jq .sport <<<"$record")" '
		NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
		$1 == end { print $column["HELD_BY"], $column["HELD_PCT"], $column["COMM"] }')
	assert_equal "row" "$words" "$(jq --raw-output '"\(.held_by) \(.held_pct) \(.comm)"' <<<"$record")"
	help=$("$NETRACKER" help log)
	for words in application receiver send_buffer loss round_trips COMM PID HELD_BY HELD_PCT; do
		grep --quiet --word-regexp "$words" <<<"$help" || fail "the help does not say what $words is"
	done
}
