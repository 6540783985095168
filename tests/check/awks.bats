#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Whatever awk a host has, records are printed the same.

load ../helpers
load ../cli_helpers
load awks

setup() {
	have_awks
	RECORDS=$BATS_TEST_TMPDIR/records
}

teardown() {
	:
}

# record START_NS [KEY=VALUE…]: a line of the trace.
record() {
	printf 'a b-7 [001] b.s1. 2871.123456: bpf_trace_printk: netracker: %s -> %s dur_ns=%s state=%s dir=in first_fin_ns=0 syn_rtt_ns=51234' \
		"${src-192.0.2.9:14599}" "${dst-192.0.2.13:8000}" "${dur_ns-9556219}" "${state-SF}"
	printf ' ack_rtt_ns=0 orig_bytes=-1 resp_bytes=5000 syn_retrans=0 start_ns=%s ifindex=3' "$1"
	printf ' %s' "${@:2}"
	printf '\n'
}

# format AWK FORM [NAME=VALUE…]: $RECORDS by this awk, its complaints behind.
format() {
	env NT_TABLE=log NT_WIDE=1 NT_BOOT_US=1700000000000000 "${@:3}" PATH="$BATS_TEST_TMPDIR/$1:$PATH" awk -f "$LIB/address.awk" -f "$LIB/owner.awk" \
		-f "$LIB/record.awk" -f "$LIB/$2.awk" <"$RECORDS" 2>"$BATS_TEST_TMPDIR/complaints"
	cat "$BATS_TEST_TMPDIR/complaints"
}

# same FORM [NAME=VALUE…]: all awks print the same, whatever POSIX says that they should do, and something at all; it is in $same.
same() {
	local name posix
	same=$(format "${AWKS[0]}" "$@")
	[[ $same ]] || fail "nothing of $*"
	for name in "${AWKS[@]}"; do
		for posix in LC_ALL=C POSIXLY_CORRECT=1; do
			diff <(echo "$same") <(format "$name" "$@" "$posix") >"$BATS_TEST_TMPDIR/difference" ||
				fail "$name is not as ${AWKS[0]}: $* $posix: $(head -n 4 "$BATS_TEST_TMPDIR/difference")"
		done
	done
}

many_records() {
	record 3723123456789 ifname=eth0
	src='[2001:db8::9]:2' dst='[2001:db8:8000::1]:443' state=S0 record 9000000000000 ifname=-
	src=255.255.255.255:65535 dst=0.0.0.0:0 state=RSTOS0 record 99999999999999 $'ifname=a"\\\e[2J\x7f\x01' uid=4294967294 cgroup=18446744073709551615
	state=REJ dur_ns=86400000000000000 record 0 $'ifname=\xc3\xa9t\xc3\xa9\xff' uid=0 srtt_us=4294967295 min_rtt_us=1 retrans=3000000000
	record 86400000000000 ifname=%s%d orig_segs=9007199254740993 resp_segs=9007199254740993 cwnd=10 mss=1448
	record 1000 ifname=eth0 uid=0 pid=4194304 'comm=a\x5c\x1b\x20b' held_by=loss held_pct=100 busy_us=4294967294 delivery_rate=18446744073709551614 later=1 lost_before=4294967297
	record 2000 ifname=eth0
	echo 'garbage: netracker'
	sed -E 's/^.*: netracker: //; s/dur_ns/age_ns/; s/=(9)[0-9]+ state/=93784000000000 state/' <(record 5 ifname=veth1)
}

@test "mawk, gawk, original-awk and busybox print the same records in each form, also when POSIX binds them" {
	local sort
	many_records >"$RECORDS"
	same json
	assert_equal "rows" "$(grep -c '^{' <<<"$same")" 8
	[[ $same == *'"uid":4294967294,"cgroup":18446744073709551615,'* && $same == *'"orig_segs":9007199254740993,'* ]] || fail "$same"
	[[ $same == *'"ifname":"a\"\\\u001b[2J\u007f\u0001"'* && $same == *$'"ifname":"\xc3\xa9t\xc3\xa9\xef\xbf\xbd"'* ]] || fail "$same"
	[[ $same == *'"lost_before":4294967297}'* ]] || fail "$same"
	same table NT_UTC=1
	same table NT_WIDE=0 NT_WIDTH=80 NT_UTC=1 NT_COLOUR=1
	same table NT_TABLE=quality NT_HEADER=0
	same table NT_TABLE=list NT_UTC=1
	for sort in age src dst port; do
		same sortkey NT_SORT=$sort
	done
}

# live [KEY=VALUE…]: a line of the view records.
live() {
	local pair
	local -A value=([src]=192.0.2.9:14599 [dst]=192.0.2.13:8000 [age_ns]=75123456789 [syn_rtt_ns]=51234 [ifname]=eth0)
	for pair in "$@"; do
		value[${pair%%=*}]=${pair#*=}
	done
	printf '%s -> %s age_ns=%s state=S1 dir=in first_fin_ns=0 syn_rtt_ns=%s ack_rtt_ns=0 orig_bytes=-1 resp_bytes=5000 syn_retrans=0 start_ns=%s' \
		"${value[src]}" "${value[dst]}" "${value[age_ns]}" "${value[syn_rtt_ns]}" "$((99999999999 - value[age_ns] % 99999999999))"
	printf ' ifindex=3 ifname=%s uid=0 cgroup=1\n' "${value[ifname]}"
}

# Each line twice: the second finds what the first has left behind.
many_live() {
	local line age
	for line in state=S1 ifname=- syn_rtt_ns=0 syn_rtt_ns=99999999999 'src=[2001:db8::9]:2' ifname=enp0s31f6.4094 $'ifname=a"\\\e[2J\x7f' \
		'src=[2001:db8:1111:2222:3333:4444:5555:6666]:12345' 'dst=[2001:db8:1111:2222:3333:4444:5555:6666]:12345' dst=1.1.1.1:1; do
		live "$line"
		live "$line"
	done
	for age in 0 999 425000000 9994999999 9995000000 9999999999 10000000000 59999999999 60000000000 3599999999999 3600000000000 3659999999999 \
		86399999999999 86400000000000 8640000000000000 86400000000000000; do
		live age_ns=$age
		live age_ns=$age
	done
}

# list AWK FILE… [NAME=VALUE…]: what these programs make of $RECORDS.
list() {
	local name=$1 word
	local -a files=() setting=()
	for word in "${@:2}"; do
		if [[ $word == *=* ]]; then
			setting+=("$word")
		else
			files+=(-f "$LIB/$word.awk")
		fi
	done
	env NT_TABLE=list NT_TABLES="$LIB/tables.tsv" NT_UTC=1 NT_BOOT_US=1700000000000000 "${setting[@]}" PATH="$BATS_TEST_TMPDIR/$name:$PATH" \
		awk "${files[@]}" <"$RECORDS" 2>&1
}

@test "the rows of a list are the same, done in one go or cell by cell, and each awk's" {
	local name settings want
	many_live >"$RECORDS"
	for settings in NT_WIDTH=80 NT_WIDTH=60 NT_WIDTH=100 'NT_WIDE=1 NT_NUMERIC=1' 'NT_WIDTH=80 NT_HEADER=0 NT_MAX_ROWS=5' 'NT_WIDTH=80 NT_FAMILY=6'; do
		# shellcheck disable=SC2086 # settings are words
		want=$(list mawk address owner record table $settings)
		(($(wc -l <<<"$want") >= 4)) || fail "$settings: $want"
		for name in "${AWKS[@]}"; do
			# shellcheck disable=SC2086
			diff <(list "$name" address owner live record table $settings) - <<<"$want" >"$BATS_TEST_TMPDIR/difference" ||
				fail "$name with $settings: $(head -n 4 "$BATS_TEST_TMPDIR/difference")"
		done
	done
}

@test "each awk fills in the names that objects lack, and leaves all else as it is" {
	local name owner='"uid":0,"cgroup":18446744073709551615' none='"user":null,"owner":null' want
	{
		echo "{\"ifname\":\"a\\\"uid\\\":7\\u0001\",\"mss\":1448,$owner,$none}"
		echo "{\"mss\":null,$owner,$none}"
		echo "{\"mss\":1448,\"uid\":4294967294,\"cgroup\":null,$none,\"lost_before\":4294967297}"
		echo "{\"mss\":null,\"uid\":null,\"cgroup\":null,$none}"
		echo "{\"mss\":1448,$owner,$none,\"lost_before\":1}"
	} >"$RECORDS"
	want=$(sed -e '/"uid":0/s/"user":null,"owner":null/"user":"root","owner":"#18446744073709551615"/' -e 's/\(4294967294.*"user":\)null/\1"4294967294"/' "$RECORDS")
	for name in "${AWKS[@]}"; do
		assert_equal "$name" "$(list "$name" address owner objects record json | grep '^{')" "$want"
	done
}

@test "each awk tells in batches what has become of objects, with losses among them and without" {
	local name object='{"mss":1448,"uid":null,"cgroup":null,"user":null,"owner":null' i
	{
		for i in {1..20}; do
			echo "$object}"
		done
		echo "$object,\"lost_before\":4294967297}"
		echo "$object}"
		echo 'netracker: end of batch'
		for i in {1..20}; do
			echo "$object}"
		done
		echo 'netracker: end of batch'
	} >"$RECORDS"
	for name in "${AWKS[@]}"; do
		# Bytes of the second batch, then of the first: a line more than so many is missing.
		for i in 0 1 19 20; do
			assert_equal "$name, $i of a batch without losses" \
				"$({ cat "$RECORDS" && echo "netracker: written $((i * (${#object} + 2) + 1))"; } >"$RECORDS.asked" &&
					RECORDS=$RECORDS.asked list "$name" address owner objects record json NT_BATCHES=1 | tail -n 1)" "$((20 - i)) $i 0"
		done
		assert_equal "$name, rows and what was taken and lost" "$(list "$name" address owner objects record json NT_BATCHES=1 | sed '/^{/d; /lost:/d' |
			cut -d ' ' -f 1,3-)" "$(printf '%s\n' '22 1 4294967319 4294967297 0' '20 1 20 0 0')"
		assert_equal "$name, objects" "$(list "$name" address owner objects record json NT_BATCHES=1 | grep '^{' | uniq --count |
			sed 's/^ *//' | paste -sd ' ')" "20 $object} 1 $object,\"lost_before\":4294967297} 21 $object}"
		for i in '20 2 20 0' '21 1 4294967318 4294967297' '22 0 4294967319 4294967297'; do
			{ sed '23q' "$RECORDS" && echo "netracker: written $((${i%% *} * (${#object} + 2) + (${i%% *} > 20 ? 25 : 0)))"; } >"$RECORDS.asked"
			assert_equal "$name, ${i%% *} of a batch with losses" \
				"$(RECORDS=$RECORDS.asked list "$name" address owner objects record json NT_BATCHES=1 | tail -n 1)" "${i#* }"
		done
	done
}

@test "each awk picks the same records" {
	local filter
	many_records >"$RECORDS"
	for filter in NT_FAMILY=6 NT_PORT=8000 NT_STATES=S0,REJ NT_IFACE=eth0 'NT_OWNER=#18446744073709551615' NT_MIN_NS=2999999999999 \
		NT_SINCE_US=1700009000000000 NT_MAX_ROWS=2 NT_ADDR=192.0.2.0/24 NT_ADDR=2001:db8:8000::/33 NT_ADDR=::ffff:192.0.2.8/125 NT_ADDR=::/0 \
		NT_PID=4194304 NT_PROCESS=$'a\\\e b' 'NT_ADDR=[2001:db8::9]' 'NT_ADDR=2001:db8:8000::%3/33'; do
		same json "$filter"
		(($(grep -c '^{' <<<"$same") < 8)) || [[ $filter == */0 ]] || fail "$filter picks nothing out"
	done
}

@test "each awk knows what is a prefix" {
	local name prefix
	for name in "${AWKS[@]}"; do
		for prefix in 192.0.2.0/33 1::2::3 12345::1 1.2.3.4/ ::/129 '[::1' '[1.2.3.4]' '::1%' 1.2.3.4%eth0; do
			! NT_ADDR=$prefix PATH=$BATS_TEST_TMPDIR/$name:$PATH awk -f "$LIB/address.awk" -f "$LIB/prefix.awk" || fail "$name takes '$prefix'"
		done
		for prefix in 192.0.2.0/31 ::1 1::8/127 ::ffff:1.2.3.4 '[::1]' fe80::1%eth0 '[fe80::1%eno1@p1]/64' fe80::%2/10; do
			NT_ADDR=$prefix PATH=$BATS_TEST_TMPDIR/$name:$PATH awk -f "$LIB/address.awk" -f "$LIB/prefix.awk" || fail "$name does not take '$prefix'"
		done
	done
}

# started_like_date ZONE SECOND…: the tables and JSON show these times as date does.
started_like_date() {
	local zone=$1 second want_local='' want_utc=''
	shift
	for second in "$@"; do
		record "${second}000000000" ifname=eth0
		want_local+=$(TZ=$zone date --date="@$second" +%T.000)$'\n'
		want_utc+=$(date --utc --date="@$second" +%FT%T.000000Z)$'\n'
	done >"$RECORDS"
	same table NT_HEADER=0 NT_BOOT_US=0 TZ="$zone"
	assert_equal "clock in $zone" "$(cut -d ' ' -f 1 <<<"$same")" "${want_local%$'\n'}"
	same json NT_BOOT_US=0 TZ="$zone"
	assert_equal "ts" "$(jq --raw-output .ts <<<"$same")" "${want_utc%$'\n'}"
}

@test "times are what date says, in UTC and in any zone, to the second at which summer time begins and ends" {
	local zone
	# 2024: Berlin on 31 March and 27 October at 01:00 UTC; St John's 10 March 05:30; Lord Howe by half an hour on 6 April 15:00.
	for zone in UTC Europe/Berlin America/St_Johns Asia/Kathmandu Australia/Lord_Howe XYZ-1:02:03; do
		[[ $zone != */* || -e /usr/share/zoneinfo/$zone ]] || continue
		started_like_date "$zone" 1711846799 1711846800 1711850400 1729990799 1729990800 1710048599 1710048600 1712415599 1712415600 0 951868799 \
			951868800 4107542399 4107542400 1709251199 1709251200 1735689599
	done
}

@test "each day since 1970 has its date" {
	local days=$BATS_TEST_TMPDIR/days
	seq 0 $((13 * 86400)) $((50000 * 86400)) >"$days"
	# Not at its very first moment: nanoseconds of a century are more than a number of awk's holds exactly.
	sed 's/.*/netracker: 192.0.2.1:1 -> 192.0.2.2:2 state=SF start_ns=&500000000/' "$days" >"$RECORDS"
	diff <(format mawk json NT_BOOT_US=0 | jq --raw-output '.ts[:10]') <(sed 's/^/@/' "$days" | date --utc --file=- +%F) >"$BATS_TEST_TMPDIR/difference" ||
		fail "$(head -n 4 "$BATS_TEST_TMPDIR/difference")"
}

@test "an awk that cannot do it is refused before a record is taken" {
	local verb
	mkdir "$BATS_TEST_TMPDIR/old"
	printf '#!/bin/sh\nexit 0\n' >"$BATS_TEST_TMPDIR/old/awk"
	chmod +x "$BATS_TEST_TMPDIR/old/awk"
	# To a user, log says first that it takes root.
	for verb in log 'log --addr 192.0.2.1'; do
		((EUID == 0)) || break
		# shellcheck disable=SC2086 # options are words
		PATH=$BATS_TEST_TMPDIR/old:$PATH assert_status 4 "$NETRACKER" $verb
		assert_says 'this awk does not make of a record what it should'
	done
	PATH=$BATS_TEST_TMPDIR/old:$PATH assert_status 4 "$NETRACKER" check
	assert_says 'missing  awk: this awk'
}

# printed WHAT WANT FILE [OPTION…]: each awk makes WANT of what is on standard input, whatever POSIX says that it should do.
printed() {
	local name posix input
	input=$(cat)
	for name in "${AWKS[@]}"; do
		for posix in LC_ALL=C POSIXLY_CORRECT=1; do
			assert_equal "$1 of $name, $posix" \
				"$(env "$posix" PATH="$BATS_TEST_TMPDIR/$name:$PATH" awk "${@:4}" -f "$LIB/$3" <<<"$input" 2>&1 || true)" "$2"
		done
	done
}

@test "whose a program is" {
	ORPHANS=$'11\n12\n2147483648' CONN_MAPS=$'7\n11' printed programs $'1 ours\n2 theirs\n3 stray' whose.awk \
		<<<$'1 ours\n2 7,12\n3 11,12\n4 12\n5 '
}

@test "names of interfaces, whether ip writes JSON of all that is in them, as since 7.3, or not" {
	local want=$'3 veth - - e\xff\e[1m\x7f"\\x\b\n4 - veth0 - -'
	printed "of ip 7.2" "$want" links.awk \
		<<<$'[{"ifindex":3,"ifname":"e\xff\e[1m\x7f\\"\\\\x\\b","linkinfo":{"info_kind":"veth"}},{"ifindex":4,"ifname":"-","master":"veth0"}]'
	printed "of ip 7.3" "$want" links.awk \
		<<<$'[{"ifindex":3,"ifname":"e\xff\\u001b[1m\\u007F\\"\\\\x\\b","linkinfo":{"info_kind":"veth"}},{"ifindex":4,"ifname":"-","master":"veth0"}]'
}

@test "interfaces that are worth tracking: with an address, or in a bridge; no VRF device, no loopback" {
	local address='"addr_info":[{"family":"inet","local":"192.0.2.1"}]' none='"addr_info":[]'
	printed "use" $'1 - - - lo\n2 - - address eth0\n3 vlan - address eth0.5\n4 vlan - - eth0.6\n5 vrf - - vrf0\n6 - vrf0 address eth1\n7 veth br0 port veth0' links.awk <<-EOF
		[{"ifindex":1,"ifname":"lo","link_type":"loopback",$address},
		{"ifindex":2,"ifname":"eth0","link_type":"ether",$address},
		{"ifindex":3,"link":"eth0","ifname":"eth0.5","link_type":"ether","linkinfo":{"info_kind":"vlan","info_data":{"id":5}},$address},
		{"ifindex":4,"link":"eth0","ifname":"eth0.6","link_type":"ether","linkinfo":{"info_kind":"vlan","info_data":{"id":6}},$none},
		{"ifindex":5,"ifname":"vrf0","link_type":"ether","linkinfo":{"info_kind":"vrf","info_data":{"table":7}},$address},
		{"ifindex":6,"ifname":"eth1","master":"vrf0","link_type":"ether","linkinfo":{"info_slave_kind":"vrf"},$address},
		{"ifindex":7,"ifname":"veth0","master":"br0","link_type":"ether","linkinfo":{"info_kind":"veth","info_slave_kind":"bridge"},$none}]
	EOF
}

@test "a connection that goes to rest while a list is read is there once; others of its tuple are there, too" {
	local attempt young other rest
	attempt=$(live age_ns=5 | sed 's/state=S1/state=S0/; s/start_ns=[0-9]*/start_ns=9/')
	young=$(live age_ns=75 | sed 's/start_ns=[0-9]*/start_ns=7/')
	other=$(live src=192.0.2.9:1)
	rest=$(live age_ns=76 | sed 's/start_ns=[0-9]*/start_ns=7/')
	printed "lines" "$attempt"$'\n'"$young"$'\n'"$other"$'\n'"${rest/ start_ns=7/ start_ns=8}" once.awk \
		<<<"$attempt"$'\n'"$young"$'\n\n'"$rest"$'\n'"$other"$'\n'"${rest/ start_ns=7/ start_ns=8}"
	printed "objects" $'{"ts":"T1","dport":1,"family":4,"age_ns":1}\n{"ts":"T2","dport":1,"family":4,"age_ns":1}' once.awk \
		<<<$'{"ts":"T1","dport":1,"family":4,"age_ns":1}\n\n{"ts":"T2","dport":1,"family":4,"age_ns":1}\n{"ts":"T1","dport":1,"family":4,"age_ns":2}'
	printed "nothing in motion" "$rest" once.awk <<<$'\n'"$rest"
}

@test "which entry an interface gets: the lowest that is free, else that of the one that went first" {
	local line=' 5 0 4026531840 100 eth0'
	TRACKED='' printed "the first" 1 free_entry.awk -v max=4 </dev/null
	TRACKED='4026531840 5 ours' printed "one between" 2 free_entry.awk -v max=4 <<<"1$line"$'\n'"3$line"
	TRACKED='4026531840 5 ours' printed "one of those gone" 3 free_entry.awk -v max=4 \
		<<<"1$line"$'\n2 6 0 4026531840 90000000000 eth1\n3 7 0 4026531840 9000000000 eth2'
	TRACKED='4026531840 5 ours' printed "none" '' free_entry.awk -v max=2 <<<"1$line"
}

# by AWK ARGUMENT…: that awk.
by() {
	env PATH="$BATS_TEST_TMPDIR/$1:$PATH" awk "${@:2}"
}

# as_bytes: what rules.awk prints, with each byte of an address or a mask as a decimal number.
as_bytes() {
	local excludes first last digits mask byte
	while read -r excludes first last digits mask; do
		fold --width=2 <<<"$digits$mask" | while read -r byte; do
			printf ' %d' "0x$byte"
		done | sed "s/^/$excludes $first $last/"
		echo
	done
}

@test "rules are read, and written back, the same by each awk" {
	local rules='443,8000-8999,192.0.2.7,10.0.0.0/9:22,[2001:db8::/33]:443,::1,1:0:0:2::/127,0.0.0.0/0,::ffff:0:0/95,2001:db8:0:1:1:1:1:1' name text
	export NT_RULES NT_EXCLUDES=80
	for name in "${AWKS[@]}"; do
		NT_RULES=$rules
		text=$(by "$name" -f "$LIB/address.awk" -f "$LIB/rules.awk" | as_bytes | by "$name" -f "$LIB/rules_text.awk")
		assert_equal "$name" "$text" "only=$rules"$'\nexclude=80'
		for text in x 0 65536 9-8 '80,' ',80' 1.2.3 1.2.3.4/33 ::/129 fe80::1%eth0 '[::1]:0' '[::1' 1.2.3.4:5-; do
			NT_RULES=443,$text
			assert_equal "$name, of $text" "$(by "$name" -f "$LIB/address.awk" -f "$LIB/rules.awk" || true)" "${text/*,*/}" # an empty rule is none
		done
	done
}
