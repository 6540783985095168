# shellcheck shell=bash disable=SC2154 # bats sets status and output
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# For the tests that compile the tracker's C for this host: tests/unit/.
#
#   find_sanitizers              for setup_file: notes in UNIT_FLAGS what clang has to find errors with; without clang, the tests are skipped
#   build_unit SUBJECT PROGRAM   compile tests/unit/SUBJECT.c into PROGRAM
#   on_host PROGRAM ARGUMENT…    run it

# Packets are read where they lie, as BPF may: at any address. A callback is called as the kernel does, with pointers of its own. Bad
# pointers are found by `address` alone: it takes half as long to compile.
find_sanitizers() {
	local wanted='-fsanitize=address,undefined -fno-sanitize=alignment,function,null,object-size,pointer-overflow'
	wanted+=' -fno-sanitize-recover=undefined'
	local probe=$BATS_FILE_TMPDIR/probe
	command -v clang >/dev/null || lacking "needs clang: 'make deps' installs it"
	echo 'int main(void) { return 0; }' >"$probe.c"
	# shellcheck disable=SC2086 # flags are words
	if clang $wanted "$probe.c" -o "$probe" 2>/dev/null && on_host "$probe"; then
		export UNIT_FLAGS=$wanted
	else
		export UNIT_FLAGS=
		echo "# clang has no sanitizers here: memory errors may go unseen" >&3
	fi
}

# What it leaves to the kernel to free is no leak, and its addresses are not random: over as many bits as some kernels take, clang's
# before 18 finds no room for its shadow.
on_host() {
	local -a still=(setarch --addr-no-randomize)
	"${still[@]}" true 2>/dev/null || still=()
	ASAN_OPTIONS=detect_leaks=0 "${still[@]}" "$@"
}

build_unit() {
	# shellcheck disable=SC2086 # flags are words
	run clang -std=gnu11 -g -Wall -Wextra -Wno-unused-function -DLOG_RECORDS=64 $UNIT_FLAGS -I"$ROOT/tests/unit/host" -I"$ROOT/tests/unit" \
		-o "$2" "$ROOT/tests/unit/$1.c"
	((status == 0)) || fail "clang: $output"
}
