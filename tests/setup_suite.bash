# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Around the whole suite: what there was before, there is after. Other people's trackers, namespaces and tracing instances may come and
# go all the while: only what is this run's own is looked at.

setup_suite() {
	((EUID == 0)) || return 0
	if [[ -z ${NETRACKER_SANDBOX-} || -z ${NETRACKER_TEST_ID-} ]]; then
		echo "These tests make mounts and load BPF programs: run them with 'sudo make test' or tests/run FILE, which give them a sandbox." >&2
		return 1
	fi
	: >"$BATS_SUITE_TMPDIR/maps"
	belongings >"$BATS_SUITE_TMPDIR/before"
}

teardown_suite() {
	local i
	[[ -e $BATS_SUITE_TMPDIR/before ]] || return 0
	# The kernel frees programs and maps a while after the last reference has gone.
	for ((i = 0; i < 100; i++)); do
		belongings >"$BATS_SUITE_TMPDIR/after"
		if ! grep --invert-match --line-regexp --fixed-strings --file="$BATS_SUITE_TMPDIR/before" "$BATS_SUITE_TMPDIR/after" >"$BATS_SUITE_TMPDIR/leaks"; then
			return
		fi
		sleep 0.1
	done
	echo "The tests have left behind:" >&2
	cat "$BATS_SUITE_TMPDIR/leaks" >&2
	return 1
}

# One thing a line. Pins, processes and network namespaces are the sandbox's own, the initial namespace is tests/run's; tracing instances
# have the run in their names. Maps are those that tests have noted (note_maps); a program that is left holds its maps.
belongings() {
	bpftool --json map show | jq --raw-output --slurpfile noted "$BATS_SUITE_TMPDIR/maps" \
		'.[] | select(.id | IN($noted[])) | "map \(.id) \(.name)"'
	find /sys/fs/bpf -mindepth 1 -printf 'pin %p\n'
	lsns --noheadings --type net --output NS | sed 's/^ */network namespace /'
	find /sys/kernel/tracing/instances -mindepth 1 -maxdepth 1 -name "$NETRACKER_TEST_ID*" -printf 'tracing instance %f\n'
	tc qdisc show | sed 's/^/qdisc in the initial namespace: /'
	ip -oneline -brief link | sed 's/ .*//; s/^/link in the initial namespace: /'
}
