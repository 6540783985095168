#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Frames at random through the attached programs, and conversations at random through the tracker's C on this host: tests/unit/fuzz.c.
# FUZZ_SEED=N repeats a run, FUZZ_FRAMES=N and FUZZ_PACKETS=N make it longer. FUZZ_ALSO=all: what is promised and not yet kept fails, too.

load helpers
load wire/wire
load unit/unit

@test "200,000 frames at random pass unchanged and leave nothing behind" {
	local seed=${FUZZ_SEED:-$RANDOM$RANDOM}
	echo "# FUZZ_SEED=$seed" >&3
	build tests/wire/redirect.bpf.o
	wire ip link add nt2 index 77 mtu 65535 type veth peer name nt3 mtu 65535
	wire ip link set nt2 up
	wire ip link set nt3 up
	wire tc filter add dev nt0 ingress pref 65000 bpf direct-action object-file "$ROOT/tests/wire/redirect.bpf.o" section redirect
	wire python3 "$ROOT/tests/wire/fuzz.py" "$TRACE/trace" "$seed" "${FUZZ_FRAMES:-200000}"
}

@test "1,000,000 packets of conversations: each has the record of its model, and no record tells what cannot be" {
	local program=$BATS_TEST_TMPDIR/fuzz
	# The same conversations each time; another seed makes others.
	export FUZZ_SEED=${FUZZ_SEED:-1}
	echo "# FUZZ_SEED=$FUZZ_SEED" >&3
	find_sanitizers
	build_unit fuzz "$program"
	on_host "$program"
}
