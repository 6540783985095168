# shellcheck shell=bash disable=SC2034 # for those who source it
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# For tests of what awk makes of something, with each awk that a host may have.
#
#	$AWKS                 their names
#	$LIB                  the library whose programs they run
#	have_awks             for setup: each is `awk` in a directory of its name in $BATS_TEST_TMPDIR

AWKS=(mawk gawk original-awk busybox)
LIB=$ROOT/scripts/lib

have_awks() {
	local name
	requires "${AWKS[@]/#/tool_}"
	for name in "${AWKS[@]}"; do
		mkdir -p "$BATS_TEST_TMPDIR/$name"
		ln -s "$(command -v "$name")" "$BATS_TEST_TMPDIR/$name/awk"
	done
}
