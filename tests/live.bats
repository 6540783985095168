#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154,SC2030,SC2031 # helpers set them; each subshell has its own
#
# list: what this host's sockets say of the connections that are alive.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	new_pair
}

# serves NS PORT BYTES
serves() {
	background in_netns "$1" python3 "$ROOT/tests/live_peer.py" serve "$2" "$3"
	wait_for listening "$1" "$2"
}

# connects NS ADDRESS PORT BYTES WANTED: until all has arrived on both sides; from $port.
connects() {
	background in_netns "$1" python3 "$ROOT/tests/live_peer.py" connect "${@:2}"
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
	port=$(<"$BACKGROUND_OUTPUT")
}

# listed PORT [OPTION…]: bytes each way of the connection from there.
listed() {
	netracker list --json "${@:2}" | jq --compact-output "select(.sport == $1) | [.orig_bytes, .resp_bytes]"
}

listed_are() {
	assert_equal "bytes of $1" "$(listed "$1" "${@:3}")" "$2"
}

# noted_map: the number of the map by which the view sockets tells others.
noted_map() {
	local program
	program=$(bpftool --json link show pinned "$VIEWS/sockets" | jq .prog_id)
	bpftool --json map show | jq --argjson used "$(bpftool --json prog show id "$program" | jq .map_ids)" \
		'.[] | select(.name == "nt_noted" and (.id | IN($used[]))).id'
}

# rests N: so many connections are at rest.
rests() {
	[[ $(at_rest) == "$1" ]]
}

# noted_are N
noted_are() {
	assert_equal "what is noted" "$(bpftool --json map dump id "$(noted_map)" | jq length)" "$1"
}

# columns NAME…: of the table, of each row.
columns() {
	netracker list --wide | awk -v names="$*" '
		NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; n = split(names, name, " "); next }
		{ for (i = 1; i <= n; i++) printf "%s%s", $column[name[i]], i < n ? " " : "\n" }'
}

@test "bytes each way are what was sent, with the round-trip time, of IPv4 and IPv6, in and out, in each form" {
	local port form want incoming incoming6 outgoing
	requires ipv6
	netracker attach --quiet veth0
	serves server 8000 70000
	connects client "$SERVER4" 8000 123456 70000
	incoming=$port
	connects client "$SERVER6" 8000 7 70000
	incoming6=$port
	serves client 9000 11
	connects server "$CLIENT4" 9000 0 11
	outgoing=$port
	wait_for listed_are "$incoming" '[123456,70000]'
	wait_for listed_are "$incoming6" '[7,70000]'
	wait_for listed_are "$outgoing" '[0,11]'
	netracker list --json | jq --exit-status --slurp 'all(.srtt_us > 0 and .min_rtt_us > 0 and .retrans != null and .cwnd > 0 and .mss > 0 and .orig_segs > 0)' >/dev/null ||
		fail "$(netracker list --json)"
	for form in --numeric '--sort age' '--addr 0::/0' '--numeric --sort src'; do
		# shellcheck disable=SC2086 # options are words
		listed_are "$incoming6" '[7,70000]' $form
	done
	want=$(printf '%s\n' "$incoming 123456 70000" "$incoming6 7 70000" "$outgoing 0 11" | sort)
	assert_equal csv "$(netracker list --format csv | python3 -c 'import csv, sys
for row in csv.DictReader(sys.stdin):
    print(row["sport"], row["orig_bytes"], row["resp_bytes"], *[] if float(row["srtt_us"]) > 0 else "?")' | sort)" "$want"
	assert_equal ecs "$(netracker list --format ecs | jq --raw-output '"\(.source.port) \(.source.bytes) \(.destination.bytes)"' | sort)" "$want"
	assert_equal table "$(columns ORIGINATOR ORIG_BYTES RESP_BYTES | sed 's/^.*:\([0-9]* \)/\1/' | sort)" "$want"
	[[ $(columns SRTT_MS RETR) != *-* ]] || fail "$(columns SRTT_MS RETR)"
	noted_are 0
}

# all_are NS WANT: bytes each way of all connections, as list has them there.
all_are() {
	assert_equal "bytes in $1" "$(in_netns "$1" "$NETRACKER" list --json | jq --compact-output '[.orig_bytes, .resp_bytes]' | sort | xargs)" "$2"
}

@test "a socket of any network namespace with an interface that is attached is asked, from wherever list is called" {
	local port one two
	new_netns other
	new_veth client veth1 other veth0
	add_address client veth1 "$CLIENT4"
	add_address other veth0 "$NOBODY4"
	in_netns client ip route add "$NOBODY4" dev veth1
	netracker attach --quiet veth0
	in_netns other "$NETRACKER" attach --quiet veth0
	serves server 8000 3
	serves other 8000 5
	connects client "$SERVER4" 8000 2 3
	one=$port
	connects client "$NOBODY4" 8000 4 5
	two=$port
	for netns in client server other; do
		wait_for all_are "$netns" '[2,3] [4,5]'
	done
	assert_equal "rows" "$(netracker list --json | jq .sport | sort | xargs)" "$(printf '%s\n' "$one" "$two" | sort | xargs)"
	# Who may not enter others has those of his own.
	netracker attach --quiet --group nogroup veth0
	assert_equal "by who is not root" "$(in_netns other setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search \
		--ambient-caps=+dac_read_search "$NETRACKER" list --json | jq --compact-output '[.orig_bytes, .resp_bytes]' | sort | xargs)" '[4,5] [null,null]'
}

@test "of a connection that is only forwarded nothing is known that its sockets know" {
	local port router4=${NET4%.*}.$((${NET4##*.} ^ 1)).1
	new_netns router
	new_veth client veth1 router veth1
	new_veth server veth1 router veth2
	in_netns client ip address flush dev veth0
	in_netns server ip address flush dev veth0
	add_address client veth1 "$CLIENT4"
	in_netns router ip address add "$NOBODY4/24" dev veth1
	add_address router veth2 "$router4"
	in_netns server ip address add "${router4%.1}.2/24" dev veth1
	in_netns client ip route add default via "$NOBODY4"
	in_netns server ip route add default via "$router4"
	in_netns router bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	in_netns router "$NETRACKER" attach --quiet veth1 veth2
	serves server 8000 5
	connects client "${router4%.1}.2" 8000 4 5
	assert_equal "what is known" "$(in_netns router "$NETRACKER" list --json |
		jq --compact-output '[.orig_bytes, .resp_bytes, .srtt_us, .retrans, .orig_segs, .held_by, .pid, .uid]')" '[null,null,null,null,null,null,null,null]'
	assert_equal table "$(in_netns router "$NETRACKER" list --wide --no-header | awk '{ print $8, $9, $10, $11 }')" '- - - -'
}

# retransmits PORT: more has been sent again there than on the other connection, where the kernel may have probed (RFC 8985), once or so.
retransmits() {
	netracker list --json | jq --exit-status --slurp "(map(select(.sport == $1))[0].retrans) > (map(select(.sport != $1))[0].retrans)"
}

@test "what is sent again shows while it is, and --sort retrans has it first" {
	local port good stdin=$BATS_TEST_TMPDIR/stdin
	requires tool_nft
	netracker attach --quiet veth0
	serves server 8000 1
	mkfifo "$stdin"
	exec {more}<>"$stdin"
	# shellcheck disable=SC2317 # background calls it
	connects_for_more() { in_netns client python3 "$ROOT/tests/live_peer.py" connect "$SERVER4" 8000 1 1 <"$stdin"; }
	connects client "$SERVER4" 8000 1 1
	good=$port
	background connects_for_more
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
	port=$(<"$BACKGROUND_OUTPUT")
	wait_for listed_are "$port" '[1,1]'
	in_netns client nft "add table inet loss; add chain inet loss in { type filter hook input priority 0; }; add rule inet loss in tcp dport $port drop"
	echo more >&"$more"
	wait_for retransmits "$port"
	assert_equal order "$(netracker list --json --sort retrans | jq .sport | xargs)" "$port $good"
	in_netns client nft flush ruleset
	exec {more}>&-
}

@test "--sort bytes: who has carried most comes first, who is unknown last" {
	local port small large
	netracker attach --quiet veth0
	serves server 8000 10
	connects client "$SERVER4" 8000 9 10
	small=$port
	connects client "$SERVER4" 8000 1000 10
	large=$port
	wait_for listed_are "$large" '[1000,10]'
	assert_equal order "$(netracker list --json --sort bytes | jq .sport | xargs)" "$large $small"
	assert_equal first "$(netracker list --json --sort bytes -n 1 | jq .sport)" "$large"
	rm "$VIEWS/sockets"
	assert_equal "order without bytes" "$(netracker list --json --sort rate | jq .sport | xargs)" "$small $large"
}

@test "without the view list knows what the tracker knows; attach says what is lacking" {
	local port
	netracker attach --quiet veth0
	serves server 8000 10
	connects client "$SERVER4" 8000 9 10
	wait_for listed_are "$port" '[9,10]'
	mkdir "$BATS_TEST_TMPDIR/view"
	cp "$ROOT"/view/*.bpf.o "$BATS_TEST_TMPDIR/view/"
	rm "$BATS_TEST_TMPDIR/view/sockets.bpf.o"
	assert_status 0 library view_pin "$BATS_TEST_TMPDIR/view"
	assert_says "netracker: views that cannot be in $VIEWS: sockets, as it is not in $BATS_TEST_TMPDIR/view; 'make' builds it; 'list' needs"
	assert_says 'how much they have carried by sockets'
	assert_status 0 netracker list --json
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/stderr")" ''
	assert_equal "known" "$(jq --compact-output '[.orig_bytes, .srtt_us, .retrans, .state, .dport]' <<<"$stdout")" '[null,null,null,"S1",8000]'
	assert_equal "table" "$(columns ORIG_BYTES RESP_BYTES SRTT_MS RETR)" '- - - -'
}

@test "what is noted is for the reader's own children, once; list takes nothing away from others, and leaves nothing" {
	local port
	netracker attach --quiet veth0
	serves server 8000 10
	connects client "$SERVER4" 8000 9 10
	wait_for listed_are "$port" '[9,10]'
	# Somebody else's, who reads the rest later.
	in_netns server bash -c "cat $VIEWS/sockets >$BATS_TEST_TMPDIR/sockets; read -r; cat $VIEWS/handshake_records $VIEWS/records; true" \
		< <(wait_for test -s "$BATS_TEST_TMPDIR/sockets" && listed "$port" >"$BATS_TEST_TMPDIR/listed" && echo) >"$BATS_TEST_TMPDIR/records"
	assert_equal "list meanwhile" "$(<"$BATS_TEST_TMPDIR/listed")" '[9,10]'
	grep --quiet ' orig_bytes=9 resp_bytes=10 .* srtt_us=' "$BATS_TEST_TMPDIR/records" || fail "$(<"$BATS_TEST_TMPDIR/records")"
	grep --quiet -E "^$SERVER4:8000 $CLIENT4:$port netns=[0-9]+ tcp_state=1 bytes_acked=1[01] bytes_received=9 srtt_us=[0-9]+ retrans=[0-9]+\$" "$BATS_TEST_TMPDIR/sockets" ||
		fail "$(<"$BATS_TEST_TMPDIR/sockets")"
	noted_are 0
	# More than a pipe holds, of which nobody wants more than one.
	wait_for rests 1
	python3 "$ROOT/tests/clone_entries.py" "$PINS/conn_map" 5000 12
	assert_equal "rows" "$(netracker list --no-header -n 1 | wc -l)" 1
	noted_are 0
	assert_equal "who has read no sockets" "$(grep -c ' srtt_us=' "$VIEWS/records" || true)" 0
}

@test "a socket of the same ends that is another connection's is not asked" {
	local port key value
	netracker attach --quiet veth0
	serves server 8000 10
	connects client "$SERVER4" 8000 9 10
	wait_for listed_are "$port" '[9,10]'
	wait_for rests 1
	# Its initial sequence number, the third word of its flow, is another one's.
	key=$(bpftool --json map dump pinned "$PINS/conn_map" | jq --raw-output '.[0].key | join(" ")')
	value=$(bpftool --json map dump pinned "$PINS/conn_map" | jq --raw-output '.[0].value | (.[9] |= if . == "0x00" then "0x01" else "0x00" end) | join(" ")')
	# shellcheck disable=SC2086 # bytes are words
	bpftool map update pinned "$PINS/conn_map" key $key value $value
	listed_are "$port" '[null,null]'
}
