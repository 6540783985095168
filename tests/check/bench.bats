#!/usr/bin/env bats
# shellcheck disable=SC2016 # the backquotes are in the table
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the page about performance shows has been measured.

load ../helpers

setup() { :; }
teardown() { :; }

@test "the tables of docs/performance.md are those that 'make bench-docs' makes of bench/*.json" {
	"$ROOT/bench/docs" --check
	cp -r "$ROOT/bench" "$ROOT/docs" "$BATS_TEST_TMPDIR"
	sed -i 's/^| packets | data packet, IPv4 | [0-9.]*/&1/' "$BATS_TEST_TMPDIR/docs/performance.md"
	! "$BATS_TEST_TMPDIR/bench/docs" --check 2>/dev/null || fail "another figure goes unnoticed"
	"$BATS_TEST_TMPDIR/bench/docs"
	cmp "$BATS_TEST_TMPDIR/docs/performance.md" "$ROOT/docs/performance.md"
}

@test "the table has the spread of the rounds, and says which targets are met" {
	cat >"$BATS_TEST_TMPDIR/results.json" <<-'EOF'
		{"machine": {"kernel": "6", "cpus": "2", "cpu": "c", "hypervisor": "", "memory_gb": "1", "date": "d", "version": "v", "last_release": ""},
		"seconds": {"p": 3, "q": 4},
		"results": [{"part": "p", "what": "w", "value": 30, "unit": "ns", "target": "<= 20", "met": false, "rounds": [10, 50, 20, 40, 30]},
			{"part": "q", "what": "x", "value": 1, "unit": "s", "target": ">= 1", "met": true, "rounds": []}]}
	EOF
	run "$ROOT/bench/table" "$BATS_TEST_TMPDIR/results.json"
	[[ $output == *'1 of 2 targets were met'* ]] || fail "$output"
	[[ $output == *'| p | w | 30 | ns | 20 to 40, of 5 | <= 20 | **no** |'* ]] || fail "$output"
	[[ $output == *'| q | x | 1 | s |  | >= 1 | yes |'* ]] || fail "$output"
	[[ $output == *'p 3, q 4; 7 in all'* ]] || fail "$output"
}

@test "what grows faster than what it is given, or takes too long, is marked" {
	cat >"$BATS_TEST_TMPDIR/scale.json" <<-'EOF'
		{"machine": {"kernel": "6", "cpus": "2", "cpu": "c", "hypervisor": "", "memory_gb": "1", "date": "d", "version": "v", "last_release": ""},
		"times": [{"case": "live", "size": 10, "verb": "list", "seconds": 0.1, "memory_mb": 1}, {"case": "live", "size": 10, "verb": "stats", "seconds": 1, "memory_mb": 1},
			{"case": "live", "size": 100, "verb": "list", "seconds": 1.3, "memory_mb": 2}, {"case": "live", "size": 100, "verb": "stats", "seconds": 6, "memory_mb": 2},
			{"case": "live", "size": 100, "verb": "stats", "seconds": 4, "memory_mb": 2}]}
	EOF
	run "$ROOT/bench/table" "$BATS_TEST_TMPDIR/scale.json"
	[[ $output == *'| netracker | 10 live | 100 live |'* ]] || fail "$output"
	[[ $output == *'| `list` | 0.1, 1 | 1.3 (grows), 2 |'* ]] || fail "$output"
	[[ $output == *'| `stats` | 1, 1 | **6**, 2 |'* ]] || fail "$output"
	[[ $output == *'| `stats, again` |  | 4, 2 |'* ]] || fail "$output"
}
