#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The command and its libraries are one program to lint. A file of its own, beside which the rest of lint runs.

load ../helpers

setup() { :; }
teardown() { :; }

@test "shellcheck sees the command with its libraries as one program: a name that is misspelt in one of them is found" {
	local tree=$BATS_TEST_TMPDIR/tree name
	requires tool_shellcheck tool_shfmt tool_git
	copy_of_tree "$tree"
	rm -r "${tree:?}"/{tests,bench} # what is not part of it
	# Each is set in another library than the one that uses it.
	sed -i 's/OUR_BTFS/OUR_BTSF/' "$tree/scripts/lib/hooks.sh"
	sed -i 's/DRY_RUN/DRYRUN/' "$tree/scripts/lib/stats.sh"
	sed -i 's/EXIT_FAILED/EXIT_FAILD/' "$tree/scripts/lib/records.sh"
	run "$tree/scripts/lint" shellcheck
	assert_equal "exit status" "$status" 1
	for name in OUR_BTSF DRYRUN EXIT_FAILD; do
		[[ $output == *"$name"* ]] || fail "$name is not found: $output"
	done
}
