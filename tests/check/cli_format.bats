#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What log and list make of lines from the kernel: no root, no kernel, only awk.

load ../helpers
load ../cli_helpers

# Nothing to isolate.
setup() {
	LIB=$ROOT/scripts/lib
	export NT_TABLE=log NT_WIDTH=80 NT_UTC=1 NT_BOOT_US=1700000000000000
}

teardown() {
	:
}

# trace_line [COMM [KEY=VALUE…]]: as trace_pipe has it; later values replace earlier ones.
trace_line() {
	local pair comm=${1:-curl}
	local -A value=([src]=192.0.2.9:14599 [dst]=192.0.2.13:8000 [dur_ns]=9556219 [state]=SF [dir]=in [first_fin_ns]=9000001 [syn_rtt_ns]=51234
		[ack_rtt_ns]=40000 [orig_bytes]=80 [resp_bytes]=5000 [syn_retrans]=0 [start_ns]=3723123456789 [ifindex]=3 [ifname]=eth0)
	for pair in "${@:2}"; do
		value[${pair%%=*}]=${pair#*=}
	done
	printf '%16s-1234    [001] ..s1.  2871.123456: bpf_trace_printk: netracker: %s -> %s' "$comm" "${value[src]}" "${value[dst]}"
	for pair in dur_ns state dir first_fin_ns syn_rtt_ns ack_rtt_ns orig_bytes resp_bytes syn_retrans start_ns ifindex ifname; do
		printf ' %s=%s' "$pair" "${value[$pair]}"
	done
	for pair in "${@:2}"; do
		[[ $(trace_keys) == *" ${pair%%=*} "* ]] || printf ' %s' "$pair"
	done
	printf '\n'
}

trace_keys() {
	echo ' src dst dur_ns state dir first_fin_ns syn_rtt_ns ack_rtt_ns orig_bytes resp_bytes syn_retrans start_ns ifindex ifname '
}

format() {
	awk -f "$LIB/address.awk" -f "$LIB/owner.awk" -f "$LIB/record.awk" -f "$LIB/$1.awk" 2>"$BATS_TEST_TMPDIR/stderr"
}

# json FILTER: of the lines on stdin.
json() {
	format json | jq --raw-output "$1"
}

@test "JSON: every key of the contract, in its order, with its value" {
	assert_equal JSON "$(trace_line | format json | cut -d , -f 1-21)" '{"ts":"2023-11-14T23:15:23.123456Z","src":"192.0.2.9","sport":14599,"dst":"192.0.2.13","dport":8000,"family":4,"dir":"in","ifname":"eth0","state":"SF","duration_ns":9556219,"first_fin_ns":9000001,"syn_rtt_ns":51234,"ack_rtt_ns":40000,"orig_bytes":80,"resp_bytes":5000,"syn_retrans":0,"srtt_us":null,"min_rtt_us":null,"retrans":null,"uid":null,"cgroup":null'
}

@test "JSON: null for what is unknown, 0 for what is 0" {
	assert_equal unknown "$(trace_line x first_fin_ns=0 syn_rtt_ns=0 ack_rtt_ns=0 orig_bytes=-1 resp_bytes=-1 ifname=- |
		json '[.first_fin_ns, .syn_rtt_ns, .ack_rtt_ns, .orig_bytes, .resp_bytes, .ifname] | map(tostring) | unique[]')" null
	assert_equal known "$(trace_line x orig_bytes=0 resp_bytes=0 uid=0 retrans=0 | json '"\(.orig_bytes) \(.resp_bytes) \(.uid) \(.retrans) \(.syn_retrans)"')" '0 0 0 0 0'
}

@test "JSON: 64 bits stay 64 bits" {
	local line
	line=$(trace_line x resp_bytes=9007199254740993 uid=4294967294 cgroup=18446744073709551615 | format json)
	[[ $line == *'"resp_bytes":9007199254740993,'* && $line == *'"uid":4294967294,"cgroup":18446744073709551615,'* ]] || fail "$line"
}

@test "JSON: IPv6, and keys that nobody knows yet" {
	assert_equal IPv6 "$(trace_line x 'src=[2001:db8::9]:1' 'dst=[::ffff:0:1]:65535' later=1 srtt_us=7 | json '"\(.src) \(.sport) \(.dst) \(.dport) \(.family) \(.srtt_us)"')" \
		'2001:db8::9 1 ::ffff:0:1 65535 6 7'
}

@test "JSON: any name that an interface may have" {
	local name
	# shellcheck disable=SC2016 # it must not be expanded
	for name in 'a"b\c' $'\x01\x1f' 'a=b' '$(id)'; do
		assert_equal name "$(trace_line x "ifname=$name" | json .ifname)" "$name"
	done
}

@test "lines that are no records are left out" {
	assert_equal rows "$(printf '%s\n' '' garbage 'x: bpf_trace_printk: netracker: hello' 'netracker: a:b -> c:d state=SF' | format json)" ''
}

@test "lost records: said once, and the next record that is shown says so" {
	local lines
	lines=$(
		trace_line
		trace_line x state=REJ lost_before=12
		trace_line x lost_before=3
		trace_line
	)
	assert_equal marks "$(NT_STATES=SF json '.lost_before // 0' <<<"$lines" | paste -sd ' ')" '0 15 0'
	assert_equal notices "$(grep -c 'records lost' "$BATS_TEST_TMPDIR/stderr")" 2
	assert_equal row "$(format table <<<"$lines" | grep -c 'lost before\]$')" 2
}

# in_batches FORM: the lines on stdin, whose batches are to be answered.
in_batches() {
	NT_BATCHES=1 awk -f "$LIB/address.awk" -f "$LIB/owner.awk" -f "$LIB/objects.awk" -f "$LIB/record.awk" -f "$LIB/json.awk" 2>"$BATS_TEST_TMPDIR/stderr"
}

# kernel_line SPORT [LOST]: as the view log.json has it.
kernel_line() {
	printf '{"ts":"2026-01-31T00:00:00.000000Z","src":"192.0.2.9","sport":%s,"ifname":"\\",\\"uid\\":7,","uid":%s,"cgroup":null,"mss":null,"user":null,"owner":null%s}\n' \
		"$1" "${3-null}" "${2:+,\"lost_before\":$2}"
}

@test "a batch says once what was lost, and what has become of its records" {
	local answers one
	one=$(trace_line x lost_before=12 | format json | wc -c)
	# Each row is told from the answers by what it begins with.
	answers=$({
		trace_line x lost_before=12
		trace_line x state=REJ
		trace_line x lost_before=3
		echo 'netracker: end of batch'
		echo 'netracker: written 0'
		echo "netracker: written $((one + 10))"
		echo 'netracker: written 5000'
	} | NT_STATES=SF in_batches | grep -v '^{')
	assert_equal notices "$(cat "$BATS_TEST_TMPDIR/stderr")" "netracker: 15 records lost: the log's buffer was full before they were read"
	assert_equal "ROWS MORE TAKEN LOST LEFT" "$(head -n 1 <<<"$answers" | cut -d ' ' -f 1,3-)" '2 1 18 15 0'
	assert_equal "not written, TAKEN, LOST" "$(tail -n +2 <<<"$answers" | paste -sd ,)" '2 0 0,1 13 12,0 18 15'
}

@test "a batch that has more than is wanted says how much" {
	assert_equal "ROWS MORE TAKEN LOST LEFT" "$({
		trace_line
		trace_line
		trace_line x lost_before=5
		echo 'netracker: end of batch'
	} | NT_MAX_ROWS=2 in_batches | grep -v '^{' | cut -d ' ' -f 1,3-)" '2 0 2 0 1'
}

@test "the kernel's JSON gets names, and keeps all else" {
	local lines
	lines=$({
		kernel_line 1
		kernel_line 2 '' 0
		kernel_line 3 17 0
		echo 'netracker: end of batch'
	} | in_batches)
	assert_equal "ROWS MORE TAKEN LOST LEFT" "$(head -n 1 <<<"$lines" | cut -d ' ' -f 1,3-)" '3 1 20 17 0'
	assert_equal "rows" "$(tail -n +2 <<<"$lines" | jq --compact-output '[.sport, .ifname, .uid, .user, .owner, .lost_before]' | paste -sd ' ')" \
		'[1,"\",\"uid\":7,",null,null,null,null] [2,"\",\"uid\":7,",0,"root",null,null] [3,"\",\"uid\":7,",0,"root",null,17]'
	assert_equal "numeric" "$({
		kernel_line 3 17 0
		echo 'netracker: end of batch'
	} | NT_NUMERIC=1 in_batches | tail -n +2)" "$(kernel_line 3 17 0)"
}

@test "table: IPv4 fits 80 columns, and a wide terminal gets more" {
	local table
	table=$(trace_line x src=255.255.255.255:65535 dst=255.255.255.255:65535 state=RSTOS0 dir=out | format table)
	assert_equal longest "$(awk 'length > n { n = length } END { print n }' <<<"$table")" 78
	[[ $table == *MS* && $table != *IFACE* ]] || fail "$table"
	table=$(trace_line x pid=4194304 comm=fifteen-letters orig_bytes=1000000000 resp_bytes=1000000000 | NT_WIDTH=132 format table)
	[[ $table == *RESP_BYTES*PID\ COMM$'\n'* ]] || fail "$table"
	table=$(trace_line | NT_WIDTH=300 format table)
	[[ $table == *IFACE*ORIG_BYTES*SYN_MS*SYN_RETR* ]] || fail "$table"
	assert_equal wide "$(trace_line | NT_WIDE=1 format table)" "$table"
}

# cells HEADING…: of the first row of the table on stdin, what is in these columns; none is empty.
cells() {
	awk -v wanted="$*" '
		NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
		NR == 2 { n = split(wanted, name, " "); for (i = 1; i <= n; i++) printf "%s%s", $column[name[i]], i < n ? " " : "\n" }'
}

@test "table: values, dashes, no header" {
	assert_equal row "$(trace_line | NT_HEADER=0 format table)" '23:15:23.123 192.0.2.9:14599       192.0.2.13:8000       in  SF          9.556'
	assert_equal dashes "$(trace_line x syn_rtt_ns=0 ack_rtt_ns=0 orig_bytes=-1 ifname=- | NT_WIDE=1 format table |
		cells IFACE ORIG_BYTES RESP_BYTES OWNER SYN_MS ACK_MS SRTT_MS RETR SYN_RETR USER)" '#3 - 5000 - - - - - 0 -'
}

@test "a process: in JSON and the table what it calls itself, null and - where there is none, and a terminal gets nothing that it obeys" {
	local name='comm=a\x20"\x1b[2J\xc2\x9b\xff\x5c'
	assert_equal JSON "$(trace_line x uid=0 pid=4194304 "$name" | format json | grep --only-matching '"pid":.*"reset')" \
		'"pid":4194304,"comm":"a \"\u001b[2J\u009b'$'\xef\xbf\xbd''\\","reset'
	assert_equal nobody "$(trace_line | json '[.pid, .comm, .reset_reason, .held_by, .held_pct, .busy_us, .delivery_rate] | unique[]')" null
	assert_equal "no name" "$(trace_line x pid=1 comm= | json '"\(.pid) \(.comm)"')" '1 null'
	assert_equal row "$(trace_line x pid=4194304 "$name" | NT_WIDTH=132 NT_HEADER=0 format table | cut -c 111-)" $'4194304 a "?[2J??\\'
	assert_equal dashes "$(trace_line | NT_WIDE=1 format table | cells PID COMM RESET HELD_BY HELD_PCT)" '- - - - -'
	assert_equal figures "$(trace_line x pid=1 comm=- reset_reason=unread held_by=loss held_pct=0 | NT_WIDE=1 format table | cells PID COMM RESET HELD_BY HELD_PCT)" \
		'1 - unread loss 0'
}

@test "table: colour for failed connections alone" {
	[[ $(trace_line x state=REJ | NT_COLOUR=1 format table) == *$'\033[31m'*REJ*$'\033[0m' ]]
	[[ $(trace_line | NT_COLOUR=1 format table) != *$'\033'* ]]
	[[ $(trace_line x state=REJ | format table) != *$'\033'* ]]
}

@test "table: the terminal gets no control characters" {
	[[ $(trace_line x $'ifname=a\033[2Jb' | NT_WIDE=1 format table) == *'a?[2Jb'* ]]
}

# matches VARIABLE=VALUE…: how many of four connections pass the filter.
matches() {
	{
		trace_line
		trace_line x src=198.51.100.7:1 dst=192.0.2.200:443 state=REJ dur_ns=1000 ifname=eth1
		trace_line x 'src=[2001:db8::9]:2' 'dst=[2001:db8:8000::1]:443' state=S0 start_ns=9000000000000
		trace_line x 'src=[fe80::1]:3' 'dst=[ff02::2]:22' dur_ns=20000000
	} | env "$@" awk -f "$LIB/address.awk" -f "$LIB/owner.awk" -f "$LIB/record.awk" -f "$LIB/json.awk" | wc -l
}

@test "filters" {
	assert_equal all "$(matches NT_PORT=)" 4
	assert_equal IPv4 "$(matches NT_FAMILY=4)" 2
	assert_equal IPv6 "$(matches NT_FAMILY=6)" 2
	assert_equal port "$(matches NT_PORT=443)" 2
	assert_equal states "$(matches NT_STATES=S0,REJ)" 2
	assert_equal iface "$(matches NT_IFACE=eth1)" 1
	assert_equal min "$(matches NT_MIN_NS=9556219)" 3
	assert_equal since "$(matches NT_SINCE_US=1700004000000000)" 1
	assert_equal rows "$(matches NT_MAX_ROWS=3)" 3
	assert_equal none "$(matches NT_MAX_ROWS=0)" 0
	assert_equal two "$(matches NT_FAMILY=6 NT_PORT=443)" 1
	assert_equal nobody "$(matches NT_PID=7) $(matches NT_PROCESS=nginx)" "0 0"
}

@test "filters: a process by its id, or by its name as it is" {
	local lines filter
	local -A want=(["NT_PID=7"]=2 ["NT_PID=70"]=1 ["NT_PROCESS=nginx"]=1 ["NT_PROCESS=1e1"]=1 ["NT_PROCESS=10"]=0 ["NT_PROCESS=ngin"]=0
		[$'NT_PROCESS=a b\\\e[1m']=1 ["NT_PROCESS=-"]=0)
	lines=$(
		trace_line x uid=0 pid=7 comm=nginx
		trace_line x uid=0 pid=70 comm=1e1
		trace_line x uid=0 pid=7 'comm=a\x20b\x5c\x1b[1m'
		trace_line x ifname=nginx
	)
	# picks SETTING…: so many of them.
	picks() {
		env "$@" awk -f "$LIB/address.awk" -f "$LIB/owner.awk" -f "$LIB/record.awk" -f "$LIB/json.awk" <<<"$lines" | wc -l
	}
	for filter in "${!want[@]}"; do
		assert_equal "$filter" "$(picks "$filter")" "${want[$filter]}"
	done
	assert_equal both "$(picks NT_PID=7 NT_PROCESS=nginx) $(picks NT_PID=70 NT_PROCESS=nginx)" "1 0"
}

@test "filters: prefixes of every length" {
	assert_equal /32 "$(matches NT_ADDR=192.0.2.9)" 1
	assert_equal /24 "$(matches NT_ADDR=192.0.2.0/24)" 2
	assert_equal /25 "$(matches NT_ADDR=192.0.2.128/25)" 1
	assert_equal /0 "$(matches NT_ADDR=0.0.0.0/0)" 2
	assert_equal v6/32 "$(matches NT_ADDR=2001:db8::/32)" 1
	assert_equal v6/33 "$(matches NT_ADDR=2001:db8:8000::/33)" 1
	assert_equal v6/34 "$(matches NT_ADDR=2001:db8:4000::/34)" 0
	assert_equal v6/128 "$(matches NT_ADDR=2001:DB8:0:0:0:0:0:9)" 1
	assert_equal mapped "$(matches NT_ADDR=::ffff:192.0.2.0/120)" 2
	assert_equal v6/0 "$(matches NT_ADDR=::/0)" 4
	assert_equal brackets "$(matches 'NT_ADDR=[fe80::1]') $(matches 'NT_ADDR=[2001:db8::]/32')" "1 1"
	assert_equal "zone by name" "$(matches NT_ADDR=fe80::1%eth0) $(matches 'NT_ADDR=[fe80::1%eth0]') $(matches NT_ADDR=fe80::%eth0/64)" "1 1 1"
	assert_equal "zone by number" "$(matches NT_ADDR=fe80::1%3)" 1
	assert_equal "another zone" "$(matches NT_ADDR=fe80::1%eth1) $(matches NT_ADDR=fe80::1%4) $(matches NT_ADDR=::%eth1/0)" "0 0 1"
}

@test "prefixes that are none" {
	local prefix
	for prefix in 192.0.2 192.0.2.256 192.0.2.0/33 1.2.3.4/ 1.2.3.4/x ::/129 1::2::3 :::1 2001:db8 12345::1 g::1 a 1.2.3.4/1/1 '[::1' '::1]' '[1.2.3.4]' '[]' ::1% %eth0 1.2.3.4%eth0; do
		! NT_ADDR=$prefix awk -f "$LIB/address.awk" -f "$LIB/prefix.awk" || fail "'$prefix' was taken for a prefix"
	done
	for prefix in 192.0.2.0/0 :: ::1 1:2:3:4:5:6:7:8 1::8/127 ::ffff:1.2.3.4 '[::1]/128' fe80::1%eth0; do
		NT_ADDR=$prefix awk -f "$LIB/address.awk" -f "$LIB/prefix.awk" || fail "'$prefix' was not"
	done
}

@test "list: its own line, its own columns, ages" {
	local line='192.0.2.9:1 -> 192.0.2.13:2 age_ns=93784000000000 state=S1 dir=out first_fin_ns=0 syn_rtt_ns=1500000 ack_rtt_ns=0 orig_bytes=-1 resp_bytes=-1 syn_retrans=0 start_ns=1000000000 ifindex=2 ifname=eth0'
	assert_equal row "$(NT_TABLE=list NT_HEADER=0 format table <<<"$line")" '192.0.2.9:1           192.0.2.13:2          out S1     1d02h     1.500 eth0'
	assert_equal JSON "$(json '"\(.age_ns) \(has("duration_ns"))"' <<<"$line")" '93784000000000 false'
}

@test "list: sorted by numbers, not by letters" {
	local order
	order=$(
		{
			trace_line x src=192.0.2.10:5 start_ns=3000000000
			trace_line x src=192.0.2.9:5 start_ns=20000000000
			trace_line x src=192.0.2.9:40 start_ns=100000000000
			trace_line x 'src=[2001:db8::1]:1' 'dst=[2001:db8::2]:80' start_ns=1000
		} >"$BATS_TEST_TMPDIR/lines"
		for key in age src port; do
			NT_SORT=$key format sortkey <"$BATS_TEST_TMPDIR/lines" | sort -s -t $'\t' -k 1,1 | cut -f 2- | json '"\(.src):\(.sport)"' | paste -sd ' '
		done
	)
	assert_equal order "$order" "2001:db8::1:1 192.0.2.10:5 192.0.2.9:5 192.0.2.9:40
192.0.2.9:5 192.0.2.9:40 192.0.2.10:5 2001:db8::1:1
2001:db8::1:1 192.0.2.10:5 192.0.2.9:5 192.0.2.9:40"
}

# live_line PORT AGE_S ORIG_BYTES RESP_BYTES [RETRANS]: of a connection from there. The higher the port, the younger.
live_line() {
	printf '%s\n' "192.0.2.9:$1 -> 192.0.2.13:2 age_ns=$(($2 * 1000000000)) state=S1 dir=out first_fin_ns=0 syn_rtt_ns=1 ack_rtt_ns=0 orig_bytes=$3 resp_bytes=$4 syn_retrans=0 start_ns=$1 ifindex=2 ifname=eth0${5+ retrans=$5}"
}

@test "list: who has carried most, in all or a second, or sent most again, comes first; who is unknown last, equals by age" {
	local key
	local -A order=([bytes]='4 5' [rate]='5 4' [retrans]='4 5')
	{
		live_line 1 10 -1 -1
		live_line 2 100 9 1 0
		live_line 3 100 1000 9000000000000 12
		live_line 4 10 5000 5000 2
		live_line 5 1 5000 5000 2
		live_line 6 10 -1 7
	} >"$BATS_TEST_TMPDIR/lines"
	for key in bytes rate retrans; do
		assert_equal "$key" "$(NT_SORT=$key format sortkey <"$BATS_TEST_TMPDIR/lines" | sort -s -t $'\t' -k 1,1 | cut -f 2- | json .sport | paste -sd ' ')" \
			"3 ${order[$key]} 2 1 6"
	done
}

# log_function COMMAND…: run a function of the log's own library.
log_function() {
	NETRACKER_RUN=$BATS_TEST_TMPDIR/run bash -c '
		set -euo pipefail
		shopt -s extglob nullglob
		LIBDIR=$0
		for library in common prerequisites maps hooks view consumer log; do
			source "$0/$library.sh"
		done
		may_set_cursor() { true; }
		try_to_write() { said=$WORDS; }
		LOG_DIR=$LOG_OF said=
		"$@"
		printf "%s\n" "$said"' "$LIB" "$@"
}

@test "log: a batch that was at work is told of, if the cursor cannot be seen" {
	local log=$BATS_TEST_TMPDIR/log
	mkdir "$log" "$BATS_TEST_TMPDIR/run"
	: >"$log/cursor"
	LOG_OF=$log run log_function look_at_cursor
	assert_equal "without a mark" "$output" ''
	echo '7 0' >"$BATS_TEST_TMPDIR/run/$(stat --format=log-%d-%i "$log/cursor")"
	LOG_OF=$log run log_function look_at_cursor
	[[ $output == *"may not have been shown; 'netracker log' by root shows them"* ]] || fail "$output"
}

@test "log: a writer that never comes to its first word is no success" {
	assert_equal "one that does" "$(LOG_OF=. WORDS=$'ready\n' log_function write_out 0 '')" ''
	assert_equal "one that does not" "$(LOG_OF=. WORDS='' log_function write_out 0 '')" ': no process can be started for that'
}
