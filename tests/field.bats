#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# A row in tracker/tables.h is all that a new field takes.

load helpers

# example: the changes that docs/development.md shows.
example() {
	# shellcheck disable=SC2016 # these marks are Markdown's
	sed -n '/^```diff example$/,/^```$/ { /^```/! p }' "$ROOT/docs/development.md"
}

@test "a field that is added as docs/development.md says is in all outputs, and all documents have it" {
	local tree=$BATS_TEST_TMPDIR/tree value
	requires object tool_nginx tool_curl tool_python3 tool_shasum
	copy_of_tree "$tree"
	example | patch --directory="$tree" --strip=1 --fuzz=0 --quiet --no-backup-if-mismatch
	assert_equal "files that the example changes" "$(git -C "$tree" diff --name-only | paste -sd ' ')" \
		"docs/fields.md man/netracker.8 tracker/tables.h"
	make --directory="$tree" --quiet >/dev/null 2>"$BATS_TEST_TMPDIR/errors" || fail "the sources do not build: $(<"$BATS_TEST_TMPDIR/errors")"

	new_pair
	http_server server
	local command=$tree/scripts/netracker
	export NETRACKER_OBJ=$tree/NeTracker.bpf.o
	in_netns server "$command" attach --quiet veth0
	trace_start
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/"
	wait_for_records 1
	value=$(records | record_value data_segs)
	((value > 0)) || fail "the trace has no data_segs: $(records)"
	in_netns server "$command" log --no-follow --json --addr "$SERVER4" >"$BATS_TEST_TMPDIR/json"
	assert_equal "data_segs in JSON" "$(jq .data_segs "$BATS_TEST_TMPDIR/json")" "$value"
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/"
	wait_for_records 2
	in_netns server "$command" log --no-follow --wide --addr "$SERVER4" >"$BATS_TEST_TMPDIR/table"
	assert_equal "last column" "$(awk '{ print $NF }' "$BATS_TEST_TMPDIR/table" | paste -sd ' ')" "DATA_SEGS $value"
	in_netns server "$command" log --all --no-follow --format csv >"$BATS_TEST_TMPDIR/csv"
	assert_equal "in CSV" "$(python3 -c 'import csv, sys
print(*sorted({row["data_segs"] for row in csv.DictReader(open(sys.argv[1], newline=""))}))' "$BATS_TEST_TMPDIR/csv")" "$value"
	in_netns server "$command" log --all --no-follow --format ecs >"$BATS_TEST_TMPDIR/ecs"
	assert_equal "in ECS" "$(jq .netracker.data_segs "$BATS_TEST_TMPDIR/ecs" | sort -u)" "$value"
	in_netns server "$command" detach --quiet veth0

	# The documents of that tree, and what else knows of records, by the tests of that tree.
	bats "$tree"/tests/check/{tables,cli_format,formats}.bats >"$BATS_TEST_TMPDIR/inner" || fail "$(<"$BATS_TEST_TMPDIR/inner")"
	bats --filter '^records:' "$tree/tests/check/unit.bats" >"$BATS_TEST_TMPDIR/inner" || fail "$(<"$BATS_TEST_TMPDIR/inner")"
}
