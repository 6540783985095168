#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What is made of the metrics and of records for `netracker services`, by whatever awk a host has.

load ../helpers
load awks

setup() {
	have_awks
	# The names of ports do not depend on the machine.
	mkdir "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/getent" <<-'EOT'
		#!/bin/sh
		[ "$1" = services ] || exit 2
		printf '%s\n' 'domain                53/udp' 'https                 443/tcp' 'other                 443/tcp' 'echo"1                7/tcp ping' 'b\a                   9/tcp'
	EOT
	chmod +x "$BATS_TEST_TMPDIR/bin/getent"
	INPUT=$BATS_TEST_TMPDIR/input
	export NT_SORT=worst NT_BY=service NT_LIVE=1 NT_MAX_ROWS=1000 NT_WIDTH=80 NT_CGROUPS=''
}

teardown() { :; }

# with AWK PROGRAM…: run these programs of the library on what is on standard input.
with() {
	local name
	local -a files=()
	for name in "${@:2}"; do
		files+=(-f "$LIB/$name.awk")
	done
	PATH=$BATS_TEST_TMPDIR/$1:$BATS_TEST_TMPDIR/bin:$PATH awk "${files[@]}" 2>&1
}

sorted() {
	sort --field-separator=$'\t' --key=1,1nr --key=2,2nr --key=3,3nr --key=4,4 --key=5,5n --key=5,5
}

# figures AWK: of the metrics and objects in $INPUT.
figures() {
	with "$1" object figures services <"$INPUT" | sorted
}

# groups AWK: of the objects in $INPUT alone.
groups() {
	with "$1" object grouped <"$INPUT" | sort | with "$1" figures groups | sorted
}

# same WHAT FORM: what all awks make of WHAT, figures or groups, in this form, whatever POSIX says that they should do; it is in $same.
same() {
	local name posix
	same=$("$1" mawk | with mawk address owner service_rows service_cells "service_$2")
	[[ $same ]] || fail "nothing of $*"
	for name in "${AWKS[@]}"; do
		for posix in 0 1; do
			(
				((!posix)) || export POSIXLY_CORRECT=1
				"$1" "$name" | with "$name" address owner service_rows service_cells "service_$2"
			) >"$BATS_TEST_TMPDIR/got"
			diff <(echo "$same") "$BATS_TEST_TMPDIR/got" >"$BATS_TEST_TMPDIR/difference" ||
				fail "$name is not as mawk: $* $posix: $(head -n 4 "$BATS_TEST_TMPDIR/difference")"
		done
	done
}

# metrics DIR PORT [KEY=VALUE…]: the lines of a service. STATE=N; orig, resp, sent, resent; held.REASON=N; hs.I=N, du.I=N: so many in this bucket.
metrics() {
	local kind state by i sum le
	local -A value=()
	for i in "${@:3}"; do
		value[${i%%=*}]=${i#*=}
	done
	for state in S0 S1 S2 S3 SF SH REJ RSTO RSTR RSTOS0 OTH; do
		echo "netracker_connections_ended_total{dir=\"$1\",port=\"$2\",state=\"$state\"} ${value[$state]-0}"
	done
	echo "netracker_bytes_total{dir=\"$1\",port=\"$2\",to=\"originator\"} ${value[resp]-0}"
	echo "netracker_bytes_total{dir=\"$1\",port=\"$2\",to=\"responder\"} ${value[orig]-0}"
	for kind in du:connection_duration hs:handshake; do
		sum=0
		for i in {0..31}; do
			sum=$((sum + ${value[${kind%:*}.$i]-0}))
			printf -v le '%d.%09d' $(((1 << i + 10) / 1000000000)) $(((1 << i + 10) % 1000000000))
			((i < 31)) || le=+Inf
			echo "netracker_${kind#*:}_seconds_bucket{dir=\"$1\",port=\"$2\",le=\"$le\"} $sum"
		done
		echo "netracker_${kind#*:}_seconds_sum{dir=\"$1\",port=\"$2\"} 7.5"
		echo "netracker_${kind#*:}_seconds_count{dir=\"$1\",port=\"$2\"} $sum"
	done
	echo "netracker_segments_sent_total{dir=\"$1\",port=\"$2\"} ${value[sent]-0}"
	echo "netracker_segments_retransmitted_total{dir=\"$1\",port=\"$2\"} ${value[resent]-0}"
	for by in application receiver send_buffer loss round_trips; do
		echo "netracker_connections_held_total{dir=\"$1\",port=\"$2\",by=\"$by\"} ${value[held.$by]-0}"
	done
}

# object SRC DST PORT DIR STATE [KEY=JSON…]: a record; with age_ns, of one that is alive.
object() {
	local i
	local -A value=([ifname]='"eth0"' [duration_ns]=1500 [comm]=null [cgroup]=null [held_by]=null [syn_rtt_ns]=null [ack_rtt_ns]=null [orig_bytes]=null
		[resp_bytes]=null [orig_segs]=null [resp_segs]=null [retrans]=null)
	for i in "${@:6}"; do
		value[${i%%=*}]=${i#*=}
	done
	printf '{"ts":"2026-11-27T07:12:00.336634Z","src":"%s","sport":33182,"dst":"%s","dport":%s,"family":4,' "${@:1:3}"
	if [[ ${value[age_ns]-} ]]; then
		printf '"age_ns":%s' "${value[age_ns]}"
	else
		printf '"duration_ns":%s' "${value[duration_ns]}"
	fi
	printf ',"state":"%s","dir":"%s","syn_rtt_ns":%s,"ack_rtt_ns":%s,"orig_bytes":%s,"resp_bytes":%s,"ifname":%s,"retrans":%s,"orig_segs":%s,"resp_segs":%s' "$5" "$4" \
		"${value[syn_rtt_ns]}" "${value[ack_rtt_ns]}" "${value[orig_bytes]}" "${value[resp_bytes]}" "${value[ifname]}" "${value[retrans]}" \
		"${value[orig_segs]}" "${value[resp_segs]}"
	printf ',"pid":7,"comm":%s,"held_by":%s,"uid":0,"cgroup":%s,"user":null,"owner":null}\n' "${value[comm]}" "${value[held_by]}" "${value[cgroup]}"
}

# some_services: with all that there is, and numbers as long as they can be.
some_services() {
	echo '# HELP netracker_build_info The version that is attached; always 1.'
	echo 'netracker_build_info{version="1"} 1'
	metrics out 443 SF=96 RSTR=3 REJ=1 orig=18446744073709551615 resp=9007199254740993 sent=1000 resent=1 held.loss=2 held.application=1 hs.7=1 du.31=100
	metrics in 22 SF=3000000000 RSTO=5 hs.31=5 du.10=2 du.11=2 sent=4294967297 resent=4294967296 held.application=4294967297
	metrics in other REJ=50
	metrics out 7 REJ=25 S0=25 RSTOS0=26
	metrics out 9 SF=4 hs.20=4 du.0=4
	echo 'netracker_interface_info{device="a{dir=\"in\",port=\"5\"",netns="1"} 1'
	object 192.0.2.1 192.0.2.9 443 out S1 age_ns=5 'comm="curl"' cgroup=4711
	object 192.0.2.1 192.0.2.9 443 out S1 age_ns=5 'comm="a\"\\\u001b[2J"' cgroup=1
	object 192.0.2.1 192.0.2.9 443 out S0 age_ns=5 'comm="curl"' cgroup=4711
	object 192.0.2.1 192.0.2.9 8080 in S0 age_ns=5
	object 192.0.2.1 192.0.2.9 8081 out S0 age_ns=5
}

@test "mawk, gawk, original-awk and busybox make the same of the metrics, to the last digit" {
	some_services >"$INPUT"
	same figures json
	jq --slurp . <<<"$same" >"$BATS_TEST_TMPDIR/services" || fail "$same"
	# 76²/76, 50²/50, then by handshake.
	assert_equal "order" "$(jq --compact-output 'map([.dir, .port])' "$BATS_TEST_TMPDIR/services")" \
		'[["out",7],["in",null],["in",22],["out",9],["out",443],["out",null]]'
	[[ $same == *'"orig_bytes":18446744073709551615,"resp_bytes":9007199254740993,"segments_sent":1000,"segments_retransmitted":1,"retransmitted_pct":0.1,"held_by":"loss","held":{"application":1,"loss":2}'* ]] || fail "$same"
	[[ $same == *'"port":22,"name":null,"connections":3000000005,"live":0,"failed":5,"failed_pct":0,'*'"SF":3000000000,'* ]] || fail "$same"
	[[ $same == *'"held":{"application":4294967297}'* ]] || fail "$same"
	[[ $same == *'"name":"https",'*'"comm":"curl","comms":2,"owner":"#4711"}'* ]] || fail "$same"
	# Alive where nothing is counted yet: under other, which is made if it has to be.
	assert_equal "alive" "$(jq --compact-output 'map([.dir, .port, .live, .connections])' "$BATS_TEST_TMPDIR/services")" \
		'[["out",7,0,76],["in",null,1,50],["in",22,0,3000000005],["out",9,0,4],["out",443,3,100],["out",null,1,0]]'
	NT_LIVE=0 same figures json
	assert_equal "who knows nobody alive" "$(jq --compact-output .live <<<"$same" | sort -u)" null
}

# percentiles DIR PORT: of handshake and duration, of $same.
percentiles() {
	jq --compact-output "select(.dir == \"$1\" and .port == $2) | [.handshake_p50_ns, .handshake_p99_ns, .duration_p50_ns, .duration_p99_ns]" <<<"$same"
}

@test "percentiles lie within their buckets, evenly, as histogram_quantile has them; beyond the last bound is that bound" {
	some_services >"$INPUT"
	same figures json
	# Bucket 7 is from 65,536 to 131,072 ns, 10 and 11 are from 524,288 to 2,097,152, 20 is from 2^29 to 2^30.
	assert_equal "one connection" "$(percentiles out 443)" '[98304,130417,1099511627776,1099511627776]'
	assert_equal "two buckets, half each" "$(percentiles in 22)" '[1099511627776,1099511627776,1048576,2076180]'
	assert_equal "first bucket" "$(percentiles out 9)" '[805306368,1068373115,512,1014]'
	assert_equal "none" "$(percentiles out 7)" '[null,null,null,null]'
}

@test "the table: as wide as what is in it, and no wider than the terminal; in what order, in which units" {
	local width name
	some_services >"$INPUT"
	NT_WIDE=1 same figures table
	assert_equal "headings" "$(head -n 1 <<<"$same" | xargs)" \
		'DIR PORT NAME ENDED FAILED FAILURES HS_50 HS_99 DUR_50 DUR_99 HELD_BY RESENT LIVE COMM ORIG_B RESP_B OWNER'
	assert_equal "rows" "$(sed 1d <<<"$same" | tr -s ' ' | sed 's/ $//')" \
		$'out 7 echo"1 76 100% RSTOS0:26,S0:25,REJ:25 - - - - - - 0 - 0 0 -
in other - 50 100% REJ:50 - - - - - - 1 - 0 0 -
in 22 - 3000000005 <0.1% RSTO:5 >18m20s >18m20s 1.0ms 2.1ms application 99% 0 - 0 0 -
out 9 b\\a 4 0% - 805ms 1.1s 0.5us 1.0us - - 0 - 0 0 -
out 443 https 100 4.0% RSTR:3,REJ:1 98us 130us >18m20s >18m20s loss 0.1% 3 curl+1 18E 9.0P #4711
out other - 0 - - - - - - - - 1 - 0 0 -'
	for width in 20 60 80 100 132; do
		NT_WIDTH=$width same figures table
		assert_equal "lines wider than $width" "$(awk -v width="$width" 'length > width' <<<"$same")" ''
	done
	NT_COLOUR=1 same figures table
	assert_equal "rows in red" "$(grep --count $'\e\\[31m' <<<"$same")" 2
	for name in "${AWKS[@]}"; do
		assert_equal "$name, rows and the notice" "$(figures mawk | NT_HEADER=0 NT_MAX_ROWS=2 with "$name" address owner service_rows service_cells service_table |
			tr -s " " | cut -d " " -f 1-2 | sort)" $'in other\nnetracker: 4\nout 7'
	done
}

@test "--sort: each key puts what has most of it first" {
	local key name
	some_services >"$INPUT"
	for key in 'worst out 7' 'failed out 7' 'ended in 22' 'live out 443' 'handshake in 22' 'duration out 443' 'bytes out 443' 'retransmitted in 22'; do
		for name in "${AWKS[@]}"; do
			assert_equal "$name, $key" "$(NT_SORT=${key%% *} figures "$name" | head -n 1 | cut -f 4,5)" "$(cut -d ' ' -f 2,3 <<<"$key" | tr ' ' '\t')"
		done
	done
}

# weight FAILED ENDED: what a service of such figures is sorted by.
weight() {
	metrics in 80 REJ="$1" SF="$(($2 - $1))" >"$INPUT"
	figures mawk | cut -f 1 | sed 's/\.0*$//'
}

@test "a failure weighs as much as the share of those that failed, and less than one is none" {
	assert_equal "50 of 50" "$(weight 50 50)" 50
	assert_equal "50 of 500" "$(weight 50 500)" 5
	assert_equal "9 of 100" "$(weight 9 100)" 0
	assert_equal "10 of 100" "$(weight 10 100)" 1
	assert_equal "none" "$(weight 0 100)" 0
}

# some_peers: of either direction; two link-local ones of one address.
some_peers() {
	object 192.0.2.1 192.0.2.9 443 out SF syn_rtt_ns=40000 ack_rtt_ns=30000 orig_bytes=5 resp_bytes=7 orig_segs=10 resp_segs=99 retrans=1 'held_by="loss"' 'comm="curl"'
	object 192.0.2.1 192.0.2.9 443 out REJ 'comm="wget"' duration_ns=9000000000000000
	object 192.0.2.1 192.0.2.9 80 out SF 'comm="curl"'
	object 192.0.2.9 192.0.2.1 80 in SF orig_segs=10 resp_segs=99 retrans=1
	object 2001:db8::1 192.0.2.1 80 in S1 age_ns=5 'comm="a\"dir\":\"out\",\u0009"'
	object fe80::1 fe80::2 80 in SF
	object fe80::1 fe80::2 80 in SF 'ifname="e\"1"'
	object fe80::1 fe80::2 80 in RSTO 'ifname="e\"1"'
	echo '{"no":"record"'
}

@test "each awk groups records by the other end, or by service" {
	some_peers >"$INPUT"
	NT_BY=peer same groups json
	assert_equal "peers" "$(jq --compact-output '[.dir, .peer, .connections, .failed, .live, .segments_sent, .comm]' <<<"$same")" \
		'["out","192.0.2.9",3,1,0,10,"wget"]
["in","fe80::1%e\"1",2,1,0,0,null]
["in","fe80::1%eth0",1,0,0,0,null]
["in","192.0.2.9",1,0,0,99,null]
["in","2001:db8::1",0,0,1,0,"a\"dir\":\"out\",\t"]'
	assert_equal "of the first" "$(jq --compact-output 'select(.peer == "192.0.2.9" and .dir == "out") |
		[.established, .handshake_p50_ns, .duration_p50_ns, .duration_p99_ns, .orig_bytes, .resp_bytes, .held, .comms]' <<<"$same")" \
		'[1,98304,1792,1099511627776,5,7,{"loss":1},2]'
	NT_BY=peer same groups table
	[[ $same == *$'\nout 192.0.2.9 '* && $same == *$'\nin  fe80::1%e"1 '* ]] || fail "$same"
	same groups json
	assert_equal "services" "$(jq --compact-output '[.dir, .port, .connections]' <<<"$same")" $'["out",443,2]\n["in",80,4]\n["out",80,1]'
}

@test "however many peers there are, one is in memory at a time, and the first thousand are shown" {
	local i name
	for i in {1..3000}; do
		object "10.0.$((i / 250)).$((i % 250))" 192.0.2.1 80 in SF
	done >"$INPUT"
	NT_BY=peer with mawk object grouped <"$INPUT" | sort >"$BATS_TEST_TMPDIR/grouped"
	for name in "${AWKS[@]}"; do
		assert_equal "$name, groups" "$(with "$name" figures groups <"$BATS_TEST_TMPDIR/grouped" | wc -l)" 3000
		# The notice comes while rows are still held back, so it may stand in the middle of one here.
		NT_BY=peer with "$name" figures groups <"$BATS_TEST_TMPDIR/grouped" | NT_BY=peer with "$name" address owner service_rows service_cells service_json >"$BATS_TEST_TMPDIR/rows"
		assert_equal "$name, rows and the notice" "$(grep --count '"peer":' "$BATS_TEST_TMPDIR/rows"):$(grep --only-matching 'netracker: 2000 more' "$BATS_TEST_TMPDIR/rows")" \
			'1000:netracker: 2000 more'
	done
}
