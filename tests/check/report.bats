#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What is made of records for `netracker report`, by whatever awk a host has. tests/report.bats looks at the page in a browser.

load ../helpers
load awks

setup() {
	have_awks
	INPUT=$BATS_TEST_TMPDIR/input
	export NT_BY='service peer process' NT_NAMED=1 NT_LIVE=0 NT_MAX_ROWS=1 NT_CGROUPS='' NT_STYLE=$LIB/report.css NT_VERSION=1 NT_NOW=now NT_UTC=1
	export NT_TOTALS=$BATS_TEST_TMPDIR/totals NT_PLOTS=$BATS_TEST_TMPDIR/plots
	mkdir "$NT_PLOTS"
}

teardown() { :; }

# with AWK PROGRAM…: run these programs of the library on what is on standard input.
with() {
	local name
	local -a files=()
	for name in "${@:2}"; do
		files+=(-f "$LIB/$name.awk")
	done
	PATH=$BATS_TEST_TMPDIR/$1:$PATH awk "${files[@]}" 2>&1
}

# page AWK: of the records in $INPUT.
page() {
	rm -f "$NT_PLOTS"/*
	with "$1" address owner object report grouped record <"$INPUT" | sort --field-separator=$'\t' --key=1,2 | with "$1" figures groups |
		sort --field-separator=$'\t' --key=1,1nr --key=2,2nr --key=3,3nr --key=4,4 --key=5,5n --key=5,5 |
		with "$1" address owner report_page service_rows service_cells
}

# record SECOND [KEY=JSON…]: one that began so long after a moment, and took a millisecond.
record() {
	local i
	local -A value=([duration_ns]=1000000 [state]='"SF"' [dir]='"in"' [src]='"192.0.2.9"' [dport]=80 [syn_rtt_ns]=20000 [ack_rtt_ns]=30000 [comm]='"nginx"' [held_by]=null
		[adopted]=false [interim]=null [owner]='"nginx.service"')
	for i in "${@:2}"; do
		value[${i%%=*}]=${i#*=}
	done
	printf '{"ts":"%s","src":%s,"sport":33182,"dst":"192.0.2.1"' "$(TZ=UTC date --date="@$((1795000000 + ${1%.*}))" "+%Y-%m-%dT%H:%M:%S.$(printf %-6s "${1#*.}" | tr ' ' 0)Z")" "${value[src]}"
	for i in dport duration_ns state dir syn_rtt_ns ack_rtt_ns comm held_by adopted interim owner; do
		printf ',"%s":%s' "$i" "${value[$i]}"
	done
	echo '}'
}

some_records() {
	local i
	for i in {0..40}; do
		record "$((i * 7)).5" dport=$((80 + i % 3)) src="\"192.0.2.$((i % 5))\""
	done
	record 3.1 'state="REJ"' syn_rtt_ns=null ack_rtt_ns=null comm=null owner=null duration_ns=11
	record 3.2 'state="S0"' 'dir="out"' 'comm="a\"<\\\u001b>"' 'held_by="loss"' duration_ns=9000000000000000
	record 3.3 adopted=true duration_ns=1400000000000000
	record 3.4 interim=2
	record 3.5 'src="2001:db8::1"' 'owner="é&amp;"'
	echo '{"ts":"2026-11-18T10:00:00.000000Z","age_ns":5,"state":"S1","dir":"in","dport":80}'
}

@test "mawk, gawk, original-awk and busybox make the same page of the same records, and the same of its plots" {
	local name same
	some_records >"$INPUT"
	same=$(page mawk)
	cp -r "$NT_PLOTS" "$BATS_TEST_TMPDIR/same"
	[[ $same == *'<data id="ended" value="45">'* && $same == *'</html>' ]] || fail "$same"
	[[ $same == *'a&quot;&lt;\?&gt;'* && $same != *'a"<'* ]] || fail "$same"
	for name in "${AWKS[@]:1}"; do
		page "$name" >"$BATS_TEST_TMPDIR/got"
		diff <(echo "$same") "$BATS_TEST_TMPDIR/got" >"$BATS_TEST_TMPDIR/difference" || fail "$name is not as mawk: $(head -n 4 "$BATS_TEST_TMPDIR/difference")"
		diff -r "$BATS_TEST_TMPDIR/same" "$NT_PLOTS" >"$BATS_TEST_TMPDIR/difference" || fail "plots of $name: $(head -n 4 "$BATS_TEST_TMPDIR/difference")"
	done
}

# total NAME: of what report.awk has counted.
total() {
	awk -F '\t' -v name="$1" '$2 == name { print $3 }' "$NT_TOTALS"
}

@test "an interim record is no end, an adopted one is in no distribution, and what is none is counted" {
	some_records >"$INPUT"
	page mawk >"$BATS_TEST_TMPDIR/page"
	assert_equal "ended, failed, adopted, strange" "$(total ended) $(total failed) $(total adopted) $(total strange)" '45 2 1 1'
	assert_equal "process unknown" "$(total unknown.process)" 1
	grep --quiet '&gt;23333m20s' "$BATS_TEST_TMPDIR/page" || fail "the adopted one's duration is taken for exact"
	# 1.4e15 ns would be in the last bucket of the service in 80.
	record 1.0 adopted=true duration_ns=1400000000000000 >"$INPUT"
	page mawk >/dev/null
	assert_equal "drawn of an adopted one alone" "$(cat "$NT_PLOTS/duration.dat")" ''
}

@test "places of time: no more than 240, whatever the span, and each record is in one" {
	local seconds
	for seconds in 0 1 60 7000 90000 3000000 900000000; do
		{
			# Neither in order.
			record "$((seconds / 2)).25"
			record "$seconds.75"
			record 0.5 'state="REJ"'
			record "$((seconds / 3)).0"
		} >"$INPUT"
		page mawk >/dev/null
		assert_equal "within $seconds s" "$(awk -F '\t' '$1 == "place" { n++; ended += $3; failed += $4 } END { print (n <= 240), ended, failed }' "$NT_TOTALS")" '1 4 1'
	done
}

@test "times are those of the clock on the wall, and the page says by how much it is ahead" {
	record 0.5 >"$INPUT"
	NT_UTC=0 TZ=Asia/Kolkata page mawk >"$BATS_TEST_TMPDIR/page"
	grep --quiet "$(TZ=Asia/Kolkata date --date=@1795000000 '+%Y-%m-%d %H:%M:%S').501, UTC+05:30" "$BATS_TEST_TMPDIR/page" || fail "$(grep period "$BATS_TEST_TMPDIR/page")"
	grep --quiet "$(TZ=Asia/Kolkata date --date=@1795000000 '+%Y-%m-%d %H:%M:%S').500" "$BATS_TEST_TMPDIR/page" || fail "no such connection"
}
