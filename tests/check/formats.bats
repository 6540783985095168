#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2016,SC2030,SC2031 # inner shells expand what they are given; a variable set for a part of a test is meant so
#
# What becomes of records in the formats of others: conn.log of Zeek, the Elastic Common Schema, CSV. No root, no kernel: lines are handed to awk, and
# read back by a reader of each format.

load ../helpers
load ../cli_helpers

AWKS=(mawk gawk original-awk busybox)

setup() {
	local name
	requires tool_python3 tool_jq tool_shasum "${AWKS[@]/#/tool_}"
	LIB=$ROOT/scripts/lib
	RECORDS=$BATS_TEST_TMPDIR/records
	for name in "${AWKS[@]}"; do
		mkdir -p "$BATS_TEST_TMPDIR/$name"
		ln -s "$(command -v "$name")" "$BATS_TEST_TMPDIR/$name/awk"
		# It is always the same time.
		printf '%s\n' '#!/bin/sh' "exec $(command -v date) --date=@1700000000 \"\$@\"" >"$BATS_TEST_TMPDIR/$name/date"
		chmod +x "$BATS_TEST_TMPDIR/$name/date"
	done
	export NT_TABLE=log NT_BOOT_US=1700000000000000 NT_HOSTNAME=host TZ=UTC
}

teardown() {
	:
}

# record [KEY=VALUE…]: a line of the log; later values replace earlier ones, and what is empty is not there.
record() {
	local pair key
	local -A value=([src]=192.0.2.9:14599 [dst]=192.0.2.13:8000 [dur_ns]=9556219 [state]=SF [dir]=in [first_fin_ns]=9000001 [syn_rtt_ns]=51234
		[ack_rtt_ns]=40000 [orig_bytes]=80 [resp_bytes]=5000 [syn_retrans]=0 [start_ns]=3723123456789 [ifindex]=3 [ifname]=eth0)
	local -a keys=(dur_ns age_ns state dir first_fin_ns syn_rtt_ns ack_rtt_ns orig_bytes resp_bytes syn_retrans start_ns ifindex ifname uid cgroup srtt_us
		min_rtt_us retrans orig_segs resp_segs cwnd mss lost_before)
	for pair in "$@"; do
		value[${pair%%=*}]=${pair#*=}
	done
	printf 'netracker: %s -> %s' "${value[src]}" "${value[dst]}"
	for key in "${keys[@]}"; do
		[[ ! ${value[$key]-} ]] || printf ' %s=%s' "$key" "${value[$key]}"
	done
	printf '\n'
}

# own [KEY=VALUE…]: one of a socket of this host.
own() {
	record uid=0 cgroup=18446744073709551615 srtt_us=38 min_rtt_us=6 retrans=0 orig_segs=8 resp_segs=17 cwnd=25 mss=1448 "$@"
}

# states: that there are, a line each.
states() {
	awk -F '\t' '$1 == "state" { print $2 }' "$LIB/tables.tsv"
}

all_kinds() {
	local state
	own
	own 'src=[2001:db8::9]:1' 'dst=[2001:db8:8000::1]:65535' dir=out ifname=- syn_retrans=255
	record first_fin_ns=0 syn_rtt_ns=0 ack_rtt_ns=0 orig_bytes=-1 resp_bytes=-1 'ifname=a"b,\x5c\xff\x0ac' dur_ns=0
	record orig_bytes=9007199254740993 resp_bytes=9007199254740993 start_ns=10000000000000000001
	while read -r state; do
		record state="$state" lost_before=12
	done < <(states)
}

# format FORMAT [NAME=VALUE…]: what $RECORDS are in it, by the awk that is $AWK.
format() {
	local program=${1%-json}
	[[ $1 != json ]] || program=json
	env PATH="$BATS_TEST_TMPDIR/${AWK-mawk}:$PATH" NT_FORMAT="$1" "${@:2}" bash -c '
		set -o pipefail
		awk -f "$0/address.awk" -f "$0/owner.awk" -f "$0/record.awk" -f "$0/flow.awk" -f "$0/$1.awk" 2>>"$2" |
			if [[ ${NT_COMMUNITY_ID-} == 1 ]]; then perl "$0/community_id.pl" 2>>"$2"; else cat; fi' "$LIB" "$program" "$BATS_TEST_TMPDIR/complaints" <"$RECORDS"
}

zeek_cut() {
	python3 "$ROOT/tests/zeek_cut.py" "$@"
}

# rows: of the CSV on standard input, as objects of JSON, each value a string.
rows() {
	python3 -c 'import csv, json, sys
text = open(0, newline="", encoding="utf-8")
for row in csv.DictReader(text, strict=True):
    assert None not in row and None not in row.values(), row
    print(json.dumps(row))'
}

@test "mawk, gawk, original-awk and busybox write the same bytes in each format" {
	local want got setting
	all_kinds >"$RECORDS"
	for setting in zeek 'zeek NT_COMMUNITY_ID=1' 'zeek NT_HEADER=0' zeek-json 'zeek-json NT_COMMUNITY_ID=1' csv 'csv NT_COMMUNITY_ID=1' \
		'csv NT_HEADER=0 NT_NUMERIC=1' ecs 'ecs NT_COMMUNITY_ID=1' 'ecs NT_NUMERIC=1'; do
		# shellcheck disable=SC2086 # settings are words
		want=$(AWK=mawk format $setting)
		(($(wc -l <<<"$want") >= 15)) || fail "$setting: $want"
		for AWK in "${AWKS[@]}"; do
			# shellcheck disable=SC2086
			got=$(format $setting POSIXLY_CORRECT=1)
			diff <(cat <<<"$want") <(cat <<<"$got") >"$BATS_TEST_TMPDIR/difference" || fail "$AWK: $setting: $(head -n 4 "$BATS_TEST_TMPDIR/difference")"
		done
	done
	assert_equal "complaints" "$(grep --invert-match ' records lost: ' "$BATS_TEST_TMPDIR/complaints" || true)" ''
}

# in_a_batch FORMAT [NAME=VALUE…]: as the log has it: the head, what $RECORDS are, the end. It fails unless each answer tells how many bytes follow.
in_a_batch() {
	{
		echo 'netracker: end of batch'
		cat "$RECORDS"
		echo 'netracker: end of batch'
		echo 'netracker: end of log'
		echo 'netracker: end of batch'
	} >"$BATS_TEST_TMPDIR/batches"
	RECORDS=$BATS_TEST_TMPDIR/batches format "$@" NT_BATCHES=1 | python3 -c 'import sys
answers = sys.stdin.buffer
for batch in range(3):
    number = answers.readline().split()
    assert len(number) == 6, number
    text = answers.read(int(number[1]))
    assert len(text) == int(number[1]) and (not text or text.endswith(b"\n")), (number, text)
    assert batch != 1 or text.count(b"\n") == int(number[0]), (number, text)
    sys.stdout.buffer.write(text)
assert not answers.read()'
}

@test "zeek: a conn.log with Zeek's columns in Zeek's order, and a reader of its grammar finds each value of its type" {
	local log=$BATS_TEST_TMPDIR/conn.log columns
	all_kinds >"$RECORDS"
	in_a_batch zeek >"$log"
	columns=$(printf '%s ' ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state \
		local_orig local_resp missed_bytes history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes tunnel_parents ip_proto)
	assert_equal "columns" "$(sed -n 's/^#fields\t//p' "$log" | tr '\t' ' ') " "$columns"
	assert_equal "rows" "$(zeek_cut <"$log" | wc -l)" "$(wc -l <"$RECORDS")"
	assert_equal "opened, closed" "$(sed -nE 's/^#(open|close)\t/\1 /p' "$log" | paste -sd ' ')" 'open 2023-11-14-22-13-20 close 2023-11-14-22-13-20'
	assert_equal "first row" "$(zeek_cut ts id.orig_h id.orig_p id.resp_h id.resp_p proto duration orig_bytes resp_bytes conn_state ip_proto <"$log" | head -n 1)" \
		$'1700003723.123456\t192.0.2.9\t14599\t192.0.2.13\t8000\ttcp\t0.009556\t80\t5000\tSF\t6'
	assert_equal "more than a number of awk holds" "$(zeek_cut orig_bytes <"$log" | sed -n 4p)" 9007199254740993
	assert_equal "what nobody knows" "$(zeek_cut service missed_bytes history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes tunnel_parents <"$log" | sort -u)" \
		"$(printf -- '-\t-\t-\t-\t-\t-\t-\t-')"
	assert_equal "unknown bytes" "$(zeek_cut orig_bytes resp_bytes <"$log" | sed -n 3p)" $'-\t-'
	assert_equal "whose host it is" "$(zeek_cut local_orig local_resp <"$log" | head -n 3 | tr '\t\n' ' ,')" '- T,T -,- -,'
	assert_equal "without a head" "$(in_a_batch zeek NT_HEADER=0)" "$(grep -v '^#' "$log")"
}

@test "the reader of conn.log that the tests have refuses what is none" {
	local log=$BATS_TEST_TMPDIR/conn.log change
	all_kinds >"$RECORDS"
	in_a_batch zeek >"$log"
	zeek_cut ts <"$log" >/dev/null
	for change in '1d' '2d' '$d' '8s/time/text/' '9s/\t/ /' '9s/^[0-9]*\./x./' '9s/\tSF\t/\t\t/' '10s/2001:db8::9/2001:0db8::9/' '9s/14599/65536/' \
		's/\tT\t/\tY\t/' '7s/uid/ts/' '9s/$/\t-/' 's/^#close.*/#close now/'; do
		! sed "$change" "$log" | zeek_cut >/dev/null 2>&1 || fail "it takes a log after $change"
	done
	sed '$d' "$log" | zeek_cut --open ts >/dev/null
}

@test "zeek: each state that there is has the name and the meaning that Zeek's conn_state has" {
	local state meaning
	all_kinds >"$RECORDS"
	assert_equal "states" "$(format zeek | zeek_cut --open conn_state | tail -n +5)" "$(states)"
	# Zeek has two more, RSTRH and SHR, of connections whose SYN it has not seen.
	while read -r state; do
		[[ " S0 S1 S2 S3 SF REJ RSTO RSTR RSTOS0 RSTRH SH SHR OTH " == *" $state "* ]] || fail "Zeek knows no $state"
		meaning=$(sed -n "s/^| \`$state\` | //p" "$ROOT/docs/formats.md")
		[[ $meaning ]] || fail "docs/formats.md does not say what Zeek means by $state"
	done < <(states)
}

@test "zeek-json: the same values as conn.log has, and what is - there is absent" {
	local -a columns
	all_kinds >"$RECORDS"
	format zeek-json NT_COMMUNITY_ID=1 >"$BATS_TEST_TMPDIR/json"
	format zeek NT_COMMUNITY_ID=1 >"$BATS_TEST_TMPDIR/conn.log"
	read -r -a columns < <(sed -n 's/^#fields\t//p' "$BATS_TEST_TMPDIR/conn.log")
	# Numbers as they are written: jq would round those of more than 53 bits.
	assert_equal "values" "$(python3 -c 'import json, sys
for line in sys.stdin:
    record = json.loads(line, parse_float=str, parse_int=str)
    record = {key: {True: "T", False: "F"}.get(value, value) if isinstance(value, bool) else value for key, value in record.items()}
    print(*(record.get(name, "-") for name in sys.argv[1:]), sep="\t")' "${columns[@]}" <"$BATS_TEST_TMPDIR/json")" \
		"$(zeek_cut --open <"$BATS_TEST_TMPDIR/conn.log")"
	jq --exit-status --slurp 'all(.[]; (.ts | type) == "number" and (.["id.orig_p"] | type) == "number" and (.duration | type) == "number" and
		(.conn_state | type) == "string" and ([.[] | select(. == null or . == "-")] == []))' "$BATS_TEST_TMPDIR/json" >/dev/null
}

@test "uid: C and base 62, the same for the same record in each format, and another for whatever is another" {
	local setting
	own >"$RECORDS"
	assert_equal "uid" "$(format zeek-json | jq --raw-output .uid)" "$(format zeek | zeek_cut --open uid)"
	assert_equal "event.id" "$(format ecs NT_BOOT_US=1 | jq --raw-output .event.id)" "$(format zeek | zeek_cut --open uid)"
	{
		own
		for setting in src=192.0.2.9:14600 src=192.0.2.8:14599 dst=192.0.2.13:8001 dst=192.0.2.12:8000 start_ns=3723123456788 start_ns=4723123456789 ifindex=4 \
			'src=[2001:db8::9]:1' 'src=[2001:db8::a]:1' 'src=[2001:db8:0:1::9]:1' start_ns=10000000000000000001 start_ns=10000000000000000002; do
			own "$setting"
		done
		own src=192.0.2.13:8000 dst=192.0.2.9:14599
	} >"$RECORDS"
	assert_equal "different ones" "$(format zeek | zeek_cut --open uid | grep --extended-regexp '^C[0-9A-Za-z]{15}$' | sort -u | wc -l)" 14
	# And 60,000 of one server, as close to each other as can be.
	awk 'BEGIN { for (i = 1; i <= 60000; i++) printf "192.0.2.%d:%d -> 192.0.2.1:80 dur_ns=1 state=SF dir=in start_ns=%d ifindex=2\n", i % 200 + 2, 1024 + i, 5e9 + i % 7 }' >"$RECORDS"
	assert_equal "of many" "$(format zeek | zeek_cut --open uid | sort -u | wc -l)" 60000
	# More addresses than are kept: what is shown late is what is shown alone.
	awk 'BEGIN { for (i = 0; i < 9000; i++) printf "10.1.%d.%d:1 -> 10.2.%d.%d:80 dur_ns=1 state=SF dir=in start_ns=1 ifindex=2\n", i / 250, i % 250, i / 250, i % 250 }' >"$RECORDS"
	format zeek NT_COMMUNITY_ID=1 | zeek_cut --open uid community_id >"$BATS_TEST_TMPDIR/ids"
	assert_equal "of many addresses" "$(cut -f 1 "$BATS_TEST_TMPDIR/ids" | sort -u | wc -l)" 9000
	for setting in 2048 2049 2050 4096 4097 9000; do
		sed -n "${setting}p" "$RECORDS" >"$BATS_TEST_TMPDIR/one"
		assert_equal "record $setting" "$(RECORDS=$BATS_TEST_TMPDIR/one format zeek NT_COMMUNITY_ID=1 | zeek_cut --open uid community_id)" "$(sed -n "${setting}p" "$BATS_TEST_TMPDIR/ids")"
	done
}

@test "Community ID: the published vectors, in each format that has it, by each awk" {
	local src sport dst dport id want
	(($(wc -l <"$ROOT/tests/community_ids.tsv") == 4)) || fail "vectors are missing"
	while IFS=$'\t' read -r src sport dst dport id; do
		[[ $src != *:* ]] || src="[$src]" dst="[$dst]"
		record "src=$src:$sport" "dst=$dst:$dport"
	done <"$ROOT/tests/community_ids.tsv" >"$RECORDS"
	want=$(cut -f 5 "$ROOT/tests/community_ids.tsv")
	for AWK in "${AWKS[@]}"; do
		assert_equal "zeek, $AWK" "$(format zeek NT_COMMUNITY_ID=1 | zeek_cut --open community_id)" "$want"
		assert_equal "zeek-json, $AWK" "$(format zeek-json NT_COMMUNITY_ID=1 | jq --raw-output .community_id)" "$want"
		assert_equal "csv, $AWK" "$(format csv NT_COMMUNITY_ID=1 | rows | jq --raw-output .community_id)" "$want"
		assert_equal "ecs, $AWK" "$(format ecs NT_COMMUNITY_ID=1 | jq --raw-output .network.community_id)" "$want"
	done
}

@test "Community ID: equal addresses are ordered by their ports, and addresses by their bytes, not as text" {
	local pair src dst
	: >"$RECORDS"
	for pair in '127.0.0.1:80 127.0.0.1:1234' '127.0.0.1:1234 127.0.0.1:80' '9.0.0.1:5 10.0.0.1:4' '10.0.0.1:4 9.0.0.1:5' '[::1]:65535 [::1]:1' '[fe80::9]:1 [fe80::10]:1' \
		'0.0.0.16:1 1.0.0.1:1' '14.0.0.1:1 30.0.0.0:1'; do
		read -r src dst <<<"$pair"
		record "src=$src" "dst=$dst"
	done >"$RECORDS"
	assert_equal "ids" "$(format zeek NT_COMMUNITY_ID=1 | zeek_cut --open community_id)" "$(python3 -c 'import base64, hashlib, ipaddress, struct, sys
for line in sys.stdin:
    ends = []
    for word in line.split()[1:4:2]:
        address, port = word.rsplit(":", 1)
        ends.append((ipaddress.ip_address(address.strip("[]")).packed, struct.pack("!H", int(port))))
    (one, one_port), (two, two_port) = sorted(ends)
    print("1:" + base64.b64encode(hashlib.sha1(b"\0\0" + one + two + b"\6\0" + one_port + two_port).digest()).decode())' <"$RECORDS")"
}

@test "Community ID: a batch's answers tell the bytes that come, and what was not written, as without" {
	local answers first
	all_kinds >"$RECORDS"
	in_a_batch zeek NT_COMMUNITY_ID=1 | zeek_cut community_id | grep --count --extended-regexp '^1:[A-Za-z0-9+/]{27}=$' >"$BATS_TEST_TMPDIR/count"
	assert_equal "rows with an ID" "$(<"$BATS_TEST_TMPDIR/count")" "$(wc -l <"$RECORDS")"
	{
		own
		own lost_before=5
		own
	} >"$RECORDS"
	first=$(format ecs NT_COMMUNITY_ID=1 | head -n 1 | wc -c)
	{
		echo 'netracker: end of batch'
		printf 'netracker: written %d\n' 0 $((first - 1)) "$first" 100000
	} >>"$RECORDS"
	answers=$(format ecs NT_COMMUNITY_ID=1 NT_BATCHES=1 | grep -v '^{')
	assert_equal "ROWS MORE TAKEN LOST LEFT" "$(head -n 1 <<<"$answers" | cut -d ' ' -f 1,3-)" '3 1 8 5 0'
	assert_equal "not written, TAKEN, LOST" "$(tail -n +2 <<<"$answers" | paste -sd ,)" '3 0 0,3 0 0,2 1 0,0 8 5'
}

@test "Community ID: without a perl that has SHA-1 there is a sentence with the remedy, in time" {
	local bin=$BATS_TEST_TMPDIR/none/perl
	mkdir "${bin%/*}"
	printf '%s\n' '#!/bin/sh' "echo \"Can't locate Digest/SHA.pm in @INC\" >&2" 'exit 2' >"$bin"
	chmod +x "$bin"
	run env PATH="${bin%/*}:$PATH" bash -c 'for library in common prerequisites; do source "$0/$library.sh"; done; LIBDIR=$0; require community_id' "$LIB"
	assert_equal "exit status" "$status" 4
	assert_equal "words" "$output" "netracker: there is no perl with Digest::SHA, which makes the Community IDs of this format; install the package perl"
	run bash -c 'for library in common prerequisites; do source "$0/$library.sh"; done; LIBDIR=$0; require community_id' "$LIB"
	assert_equal "with one" "$status$output" 0
}

@test "csv: all keys of docs/fields.md in their order, and a reader of CSV finds what JSON says" {
	local documented
	all_kinds >"$RECORDS"
	# The names in JSON where there are some, else those of the line; what only live connections have is not there.
	documented=$(
		python3 - "$ROOT/docs/fields.md" <<-'EOF'
			import re, sys
			names = []
			for line in open(sys.argv[1], encoding="utf-8"):
			    if line.startswith("## Which process"):
			        break
			    cells = [re.findall("`([^`]*)`", cell) for cell in line.split("|")[1:3]] if line.startswith("| `") else []
			    if cells:
			        names += cells[1] if cells[1] else cells[0]
			print(",".join(names + ["user", "owner", "lost_before"]))
		EOF
	)
	assert_equal "names" "$(format csv | head -n 1)" "$documented"$'\r'
	assert_equal "lines" "$(format csv | grep --count $'\r$')" "$(($(wc -l <"$RECORDS") + 1))"
	assert_equal "values" "$(format csv | rows | jq --compact-output --sort-keys 'del(.ifindex)')" \
		"$(format json | python3 -c 'import json, sys
for line in sys.stdin:
    record = {"lost_before": None, **json.loads(line)}
    print(json.dumps({key: "" if value is None else value if isinstance(value, str) else json.dumps(value) for key, value in record.items()}))' | jq --compact-output --sort-keys '.ifname |= gsub("\\n"; "\ufffd")')"
	assert_equal "the interface's number" "$(format csv | rows | jq --raw-output .ifindex | sort -u)" 3
	assert_equal "quoted" "$(format csv | rows | jq --raw-output .ifname | sed -n 3p)" $'a"b,\\\357\277\275\357\277\275c'
	assert_equal "without names" "$(format csv NT_HEADER=0)" "$(format csv | tail -n +2)"
}

@test "csv: sqlite3 reads it, too" {
	requires tool_sqlite3
	all_kinds >"$RECORDS"
	format csv >"$BATS_TEST_TMPDIR/log.csv"
	assert_equal "rows by state" "$(sqlite3 :memory: ".import --csv $BATS_TEST_TMPDIR/log.csv log" 'select count(*), sum(dport = 8000), max(lost_before) from log where state = '"'SF'")" '5|4|12'
	assert_equal "a name" "$(sqlite3 :memory: ".import --csv $BATS_TEST_TMPDIR/log.csv log" "select count(*) from log where ifname like 'a\"b,%'")" 1
}

# fits: do the objects on standard input have the types that ECS 8 gives its fields, and no field that it does not have?
fits() {
	jq --exit-status --slurp '
		def date: type == "string" and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$");
		def keyword: type == "string" and . != "";
		def long: type == "number" and floor == .;
		def ip: keyword and test("^[0-9a-f.:]+$");
		def one_of($words): . as $word | keyword and any($words[]; . == $word);
		def interface: all(to_entries[]; .key == "interface" and (.value | all(to_entries[]; (.key | one_of(["id", "name"])) and (.value | keyword))));
		def side: all(to_entries[]; if .key == "address" then .value | keyword elif .key == "ip" then .value | ip else (.key | one_of(["port", "bytes"])) and (.value | long) end);
		length > 0 and all(.[]; all(to_entries[]; .key as $object | .value |
			if $object == "@timestamp" then date
			elif $object == "ecs" then keys == ["version"] and (.version | keyword and startswith("8."))
			elif $object == "event" then all(to_entries[]; .key as $key | .value |
				if $key == "kind" then one_of(["alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"])
				elif $key == "category" then . == ["network"]
				elif $key == "type" then type == "array" and all(.[]; one_of(["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"]))
				elif $key == "outcome" then one_of(["failure", "success", "unknown"])
				elif $key == "start" or $key == "end" then date
				elif $key == "duration" then long
				else ($key | one_of(["action", "dataset", "id", "module"])) and keyword end)
			elif $object == "source" or $object == "destination" then side
			elif $object == "network" then all(to_entries[]; .key as $key | .value |
				if $key == "bytes" then long
				elif $key == "direction" then one_of(["ingress", "egress"])
				elif $key == "type" then one_of(["ipv4", "ipv6"])
				else ($key | one_of(["transport", "iana_number", "community_id"])) and keyword end)
			elif $object == "host" then keys == ["hostname"] and (.hostname | keyword)
			elif $object == "observer" then all(to_entries[]; if .key == "ingress" or .key == "egress" then .value | interface
				else (.key | one_of(["type", "product"])) and (.value | keyword) end)
			elif $object == "user" then all(to_entries[]; (.key | one_of(["id", "name"])) and (.value | keyword))
			elif $object == "container" then keys == ["id"] and (.id | keyword)
			elif $object == "netracker" then all(.[]; . != null)
			else false end))' "$@" >/dev/null
}

@test "ecs: fields and types of the Elastic Common Schema, and nothing that is not known" {
	all_kinds >"$RECORDS"
	format ecs NT_COMMUNITY_ID=1 >"$BATS_TEST_TMPDIR/ecs"
	fits "$BATS_TEST_TMPDIR/ecs" || fail "$(<"$BATS_TEST_TMPDIR/ecs")"
	assert_equal "objects" "$(wc -l <"$BATS_TEST_TMPDIR/ecs")" "$(wc -l <"$RECORDS")"
	! jq '.event.duration = "1"' "$BATS_TEST_TMPDIR/ecs" | fits || fail "a wrong type is not seen"
	! jq '.network.more = "1"' "$BATS_TEST_TMPDIR/ecs" | fits || fail "a field that is not there is not seen"
	assert_equal "times" "$(jq --compact-output --slurp '.[0] | [.["@timestamp"], .event.start, .event.end, .event.duration]' "$BATS_TEST_TMPDIR/ecs")" \
		'["2023-11-14T23:15:23.133012Z","2023-11-14T23:15:23.123456Z","2023-11-14T23:15:23.133012Z",9556219]'
	assert_equal "ends" "$(jq --compact-output --slurp '.[0] | [.source, .destination]' "$BATS_TEST_TMPDIR/ecs")" \
		'[{"address":"192.0.2.9","ip":"192.0.2.9","port":14599,"bytes":80},{"address":"192.0.2.13","ip":"192.0.2.13","port":8000,"bytes":5000}]'
	assert_equal "network" "$(jq --compact-output --slurp '.[:4][] | [.network.type, .network.bytes, .network.direction]' "$BATS_TEST_TMPDIR/ecs" | paste -sd ' ')" \
		'["ipv4",5080,"ingress"] ["ipv6",5080,"egress"] ["ipv4",null,null] ["ipv4",null,null]'
	assert_equal "interfaces" "$(jq --compact-output --slurp '.[:3][].observer | [.ingress.interface, .egress.interface]' "$BATS_TEST_TMPDIR/ecs" | paste -sd ' ')" \
		'[{"id":"3","name":"eth0"},null] [null,{"id":"3"}] [{"id":"3","name":"a\"b,\\�\nc"},null]'
	assert_equal "owner" "$(jq --compact-output --slurp '.[:3][] | [.user, .netracker.cgroup]' "$BATS_TEST_TMPDIR/ecs" | paste -sd ' ')" \
		'[{"id":"0","name":"root"},"18446744073709551615"] [{"id":"0","name":"root"},"18446744073709551615"] [null,null]'
	assert_equal "numeric" "$(format ecs NT_NUMERIC=1 | jq --compact-output --slurp '.[0] | [.user, .netracker.owner]')" '[{"id":"0"},null]'
	assert_equal "unknown" "$(jq --compact-output --slurp '.[2] | [.source.bytes, .netracker.first_fin_ns, .netracker.syn_rtt_ns, .netracker.cwnd] | unique' "$BATS_TEST_TMPDIR/ecs")" '[null]'
	assert_equal "lost" "$(jq --slurp '.[-1].netracker.lost_before' "$BATS_TEST_TMPDIR/ecs")" 12
}

@test "ecs: each state has an action, and the outcome that the tracker counts" {
	local states
	all_kinds >"$RECORDS"
	states=$(awk -F '\t' '$1 == "state" { print $2, $3 == "FAILED" ? "failure" : $2 == "SF" ? "success" : "unknown" }' "$LIB/tables.tsv")
	assert_equal "outcomes" "$(format ecs | jq --raw-output '"\(.netracker.state) \(.event.outcome)"' | tail -n +5)" "$states"
	assert_equal "without an action" "$(format ecs | jq --raw-output 'select(.event.action | test("^connection_[a-z_]+$") | not) | .netracker.state')" ''
}

@test "ecs: a container's id is told whole, and the owner as elsewhere" {
	local cgroups=$BATS_TEST_TMPDIR/cgroups id
	id=$(printf '4f8ad5dc1e7b%052d' 0)
	mkdir -p "$cgroups/system.slice/docker-$id.scope/inner" "$cgroups/system.slice/nginx.service"
	{
		own cgroup="$(stat --format=%i "$cgroups/system.slice/docker-$id.scope/inner")"
		own cgroup="$(stat --format=%i "$cgroups/system.slice/nginx.service")"
	} >"$RECORDS"
	assert_equal "containers, owners" "$(format ecs NT_CGROUPS="$cgroups" | jq --compact-output '[.container.id, .netracker.owner]' | paste -sd ' ')" \
		"[\"$id\",\"4f8ad5dc1e7b\"] [null,\"nginx.service\"]"
}

@test "list: what is alive has its age, no end and no outcome" {
	own age_ns=75123456789 dur_ns='' state=S1 orig_bytes=-1 resp_bytes=-1 >"$RECORDS"
	assert_equal "csv" "$(format csv NT_TABLE=list | rows | jq --raw-output '"\(.age_ns) \(has("duration_ns")) \(.orig_bytes)"')" '75123456789 false '
	format ecs >"$BATS_TEST_TMPDIR/ecs"
	fits "$BATS_TEST_TMPDIR/ecs"
	assert_equal "ecs" "$(jq --compact-output '[.event.kind, .event.type, .event.end, .event.duration, .event.outcome, .event.action, .event.id, .netracker.age_ns]' "$BATS_TEST_TMPDIR/ecs")" \
		'["state",["connection","info"],null,null,null,null,null,75123456789]'
	assert_equal "seen, begun" "$(jq --raw-output '.["@timestamp"] + " " + .event.start' "$BATS_TEST_TMPDIR/ecs")" '2023-11-14T23:16:38.246912Z 2023-11-14T23:15:23.123456Z'
}

@test "formats that are none, or not for this, are refused with what there is" {
	local words
	for words in 'log --format xml' 'list --format conn.log' 'log --format=zeek-csv'; do
		# shellcheck disable=SC2086 # options are words
		assert_status 2 "$NETRACKER" $words
		assert_says '--format knows table json zeek zeek-json ecs csv, not '
	done
	assert_status 2 "$NETRACKER" list --format zeek
	assert_says 'is of connections that have ended'
	for words in 'log --community-id' 'log --json --community-id' 'list --community-id --format table'; do
		# shellcheck disable=SC2086 # options are words
		assert_status 2 "$NETRACKER" $words
		assert_says '--community-id goes with --format zeek, zeek-json and csv'
	done
	# Of two the last one counts.
	assert_status 2 "$NETRACKER" log --community-id --format zeek --json
	assert_says 'json has no place for it'
}
