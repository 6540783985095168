#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# How `make soak` compares what the tracker says with what nginx says: what does not fit is told, with the lines of both.

# shellcheck disable=SC2030,SC2031 # bats' run sets them anew in each test

load ../helpers

setup() {
	requires tool_python3
	ACCESS=$BATS_TEST_TMPDIR/access
	mkfifo "$ACCESS"
}
teardown() { :; }

# request PORT CONNECTION STATUS SENT ASKED PATH: a line of nginx's.
request() {
	echo "192.0.2.1 $1 $2 $3 $4 0 $5 $6"
}

# record SPORT STATE ASKED SENT [DPORT [INTERIM]]: one of the tracker's.
record() {
	jq --null-input --compact-output --argjson sport "$1" --arg state "$2" --argjson asked "$3" --argjson sent "$4" --argjson dport "${5:-80}" --argjson interim "${6:-null}" \
		'{src: "192.0.2.1", $sport, dst: "192.0.2.2", $dport, $state, orig_bytes: $asked, resp_bytes: $sent, $interim}'
}

# compare REQUESTS RECORDS: what is said is in $output, what was counted in $summary.
compare() {
	local held
	# nginx's lines are there before the records end.
	exec {held}<>"$ACCESS"
	printf '%s' "${1:+$1$'\n'}" >&"$held"
	run "$ROOT/bench/soak.py" compare "$ACCESS" 80 81 "$BATS_TEST_TMPDIR/summary" < <(printf '%s' "${2:+$2$'\n'}")
	exec {held}>&-
	summary=$(<"$BATS_TEST_TMPDIR/summary")
}

@test "what fits: requests of one connection are added up, its port may come again and ask for nothing, interim records are not its end" {
	compare "$(
		request 1000 1 200 100 40 /keep/1
		request 1000 1 200 50 40 /keep/1
		request 1000 2 200 7 40 /close/1
		request 1001 3 200 900 40 /reset/1
	)" "$(
		record 1000 S1 40 100 80 1
		record 1000 SF 80 150
		record 1000 SF 0 0
		record 1000 SF 40 7
		record 1001 RSTO 40 300
		record 1002 SF 0 0
		record 1003 REJ 0 0 81
		record 1004 S0 0 0 22
	)"
	assert_equal "exit status" "$status:$output" "0:"
	assert_equal "counts" "$(jq --compact-output '[.connections, .requests, .interim, .read, .records, .mismatches]' <<<"$summary")" '[3,4,1,8,6,0]'
}

# differs WHY REQUESTS RECORDS: one mismatch, with all lines of both.
differs() {
	local line
	compare "$2" "$3"
	[[ $status == 1 && $output == "mismatch: $1"* && $(jq .mismatches <<<"$summary") == 1 ]] || fail "$1: ended with $status: $output"
	while read -r line; do
		[[ ! $line || $output == *"$line"* ]] || fail "$1: '$line' is not in $output"
	done <<<"$2"$'\n'"$3"
}

@test "what does not fit: bytes of either side, states, a record that is missing, one that is too much" {
	local two
	two=$(request 1000 1 200 100 40 /keep/1 && request 1000 1 200 50 40 /keep/1)
	differs "nginx sent 150 bytes and got 80" "$two" "$(record 1000 SF 80 151)"
	differs "nginx sent 150 bytes and got 80" "$two" "$(record 1000 SF 79 150)"
	differs "RSTR is no end of /keep/" "$two" "$(record 1000 RSTR 80 150)"
	differs "more than the 100 bytes" "$(request 1000 1 200 100 40 /reset/1)" "$(record 1000 RSTO 40 101)"
	differs "no record" "$two" ""
	differs "nginx has no line of it" "" "$(record 1000 SF 40 100)"
	differs "nginx has no line of it" "" "$(record 1000 S1 0 0)"
	differs "to a port where nobody listens" "" "$(record 1000 S0 0 0 81)"
}
