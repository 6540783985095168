#!/usr/bin/env bats
# shellcheck disable=SC2154 # $stdout and $output are set in cli_helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The tracker at TCX, and what hangs there and at XDP beside it: ours comes first, who is behind it sees each packet, nobody else's is
# touched. Traffic goes from client to server, which the tracker is in.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_6.6 tool_perl
	export NETRACKER_LOCK=$BATS_TEST_TMPDIR/lock NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	build tests/foreign.bpf.o
	new_pair
	INDEX=$(in_netns server ip -json link show dev veth0 | jq '.[].ifindex')
}

# connections N: so many, one after the other; the server closes.
connections() {
	local i
	for ((i = 0; i < $1; i++)); do
		in_netns client curl --silent --fail --output /dev/null --connect-timeout 2 "http://$SERVER4:8000/close"
	done
}

# at_tcx HOOK [DEV]: the ids of the programs there, in the order in which packets pass them.
at_tcx() {
	in_netns server perl "$ROOT/scripts/lib/tcx.pl" "$(python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import bpf; print(bpf.SYS_BPF)' "$ROOT/tests")" \
		query "${2:-veth0}" | sed -nE "s/^[0-9]+ $1 ([0-9]+) .*/\1/p"
}

# hang NAME HOOK: somebody else's program of tests/foreign.bpf.c, behind all that hang there. $HUNG is its id.
hang() {
	if [[ ! -d /sys/fs/bpf/foreign ]]; then
		mkdir /sys/fs/bpf/foreign
		bpftool prog loadall "$ROOT/tests/foreign.bpf.o" /sys/fs/bpf/foreign type tc 2>/dev/null
	fi
	background in_netns server python3 "$ROOT/tests/tcx.py" "/sys/fs/bpf/foreign/foreign_$1" "$INDEX" "$2"
	wait_for grep -q attached "$BACKGROUND_OUTPUT"
	HUNG=$(bpftool --json prog show pinned "/sys/fs/bpf/foreign/foreign_$1" | jq .id)
}

# ours HOOK: the id of our program there, as status has it.
ours() {
	in_netns server "$NETRACKER" status --json | jq --arg hook "$1" '.interfaces[][$hook] | select(.kind == "tcx") | .program'
}

# seen FILE: the packets that a program behind the tracker has noted there. tc and bpftool pin its map in different places.
seen() {
	bpftool --json map dump pinned "$1" | jq '.[].formatted | select(.key == 1) | .value.packets'
}

@test "at TCX each connection has its record, no qdisc is there, and detach leaves nothing" {
	http_server server
	netracker attach --tcx --quiet veth0
	assert_equal "first at ingress" "$(at_tcx ingress)" "$(ours ingress)"
	assert_equal "first at egress" "$(at_tcx egress)" "$(ours egress)"
	assert_equal "qdiscs" "$(in_netns server tc qdisc show dev veth0 | grep clsact || true)" ''
	connections 20
	wait_for is_logged 20
	assert_equal "states" "$(jq --raw-output .state "$BATS_TEST_TMPDIR/log" | sort --unique)" SF
	assert_equal "both hooks" "$(netracker metrics | sed -n 's/^netracker_interface_hooks{.*} //p')" 2
	netracker detach --quiet veth0
	assert_equal "left at TCX" "$(at_tcx ingress)$(at_tcx egress)" ''
	assert_clean
}

# is_logged N: so many records in all that has been read.
is_logged() {
	netracker log --json --no-follow >>"$BATS_TEST_TMPDIR/log"
	assert_equal "records" "$(wc -l <"$BATS_TEST_TMPDIR/log")" "$1"
}

@test "who is behind the tracker sees every packet, at TCX and at clsact" {
	local clsact tcx
	http_server server
	in_netns server tc qdisc add dev veth0 clsact
	in_netns server tc filter add dev veth0 ingress bpf obj "$ROOT/tests/foreign.bpf.o" sec behind 2>/dev/null
	netracker attach --tcx --quiet veth0
	hang next ingress
	assert_equal "order" "$(at_tcx ingress | tr '\n' ' ')" "$(ours ingress) $HUNG "
	clsact=$(seen "$PINS/foreign_seen") tcx=$(seen /sys/fs/bpf/foreign_seen)
	connections 10
	# Of each connection the client sends a SYN, two ACKs or more, data and a FIN.
	(($(seen /sys/fs/bpf/foreign_seen) - tcx >= 50)) || fail "$(($(seen /sys/fs/bpf/foreign_seen) - tcx)) packets seen behind it at TCX"
	(($(seen "$PINS/foreign_seen") - clsact >= 50)) || fail "$(($(seen "$PINS/foreign_seen") - clsact)) packets seen behind it at clsact"
}

@test "a program that ends the chain is named, hides packets from a filter, and none from the tracker at TCX" {
	http_server server
	hang ends ingress
	netracker attach --quiet veth0
	assert_status 0 netracker status
	assert_says "before it: tcx foreign_ends, program $HUNG - can hide packets from the tracker"
	assert_status 0 netracker check
	assert_says "notice   veth0: foreign_ends, program $HUNG of TCX, gets packets at ingress before a filter does, and can hide them; 'netracker attach --tcx'"
	connections 3
	assert_equal "attempts that a filter has seen" "$(counter attempts)" 0
	netracker attach --quiet --tcx veth0
	assert_equal "order" "$(at_tcx ingress | tr '\n' ' ')" "$(ours ingress) $HUNG "
	assert_equal "filters" "$(all_filters)" ''
	connections 3
	assert_equal "attempts that it has seen at TCX" "$(counter attempts)" 3
	assert_status 0 netracker status
	assert_says "behind it: tcx foreign_ends, program $HUNG"
	assert_status 0 netracker check
	[[ $output != *foreign_ends* ]] || fail "$output"
	netracker detach --quiet veth0
	assert_equal "what is left" "$(at_tcx ingress)" "$HUNG"
}

@test "attach again leaves what hangs at TCX there, and puts it first if somebody came before it" {
	local egress
	netracker attach --tcx --quiet veth0
	egress=$(ours egress)
	bpftool prog loadall "$ROOT/tests/foreign.bpf.o" /sys/fs/bpf/foreign type tc 2>/dev/null
	HUNG=$(bpftool --json prog show pinned /sys/fs/bpf/foreign/foreign_next | jq .id)
	in_netns server perl "$ROOT/scripts/lib/tcx.pl" "$(python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import bpf; print(bpf.SYS_BPF)' "$ROOT/tests")" \
		attach veth0 ingress "$HUNG"
	assert_equal "order" "$(at_tcx ingress | tr '\n' ' ')" "$HUNG $(ours ingress) "
	netracker attach --quiet veth0
	assert_equal "order" "$(at_tcx ingress | tr '\n' ' ')" "$(ours ingress) $HUNG "
	assert_equal "at egress" "$(ours egress)" "$egress"
	assert_equal "filters" "$(all_filters)" ''
}

@test "a connection that is open while the tracker moves to TCX has one record" {
	background peer server serve 8000
	wait_for listening server 8000
	netracker attach --quiet veth0
	background peer client connect "$SERVER4" 8000
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
	netracker attach --tcx --quiet veth0
	assert_equal "filters" "$(all_filters)" ''
	end_background
	wait_for is_logged 1
}

@test "attach --tcx fails at each of its steps: whole or clean" {
	local step
	mkdir "$BATS_TEST_TMPDIR/bin"
	for step in 1 2 3 4; do
		echo 0 >"$BATS_TEST_TMPDIR/count"
		cat >"$BATS_TEST_TMPDIR/bin/perl" <<-EOF
			#!/bin/bash
			read -r n <"$BATS_TEST_TMPDIR/count"
			[[ \$3 == query ]] || echo \$((++n)) >"$BATS_TEST_TMPDIR/count"
			[[ \$3 == query || \$n != $step ]] || { echo "Numerical result out of range" >&2; exit 1; }
			exec $(command -v perl) "\$@"
		EOF
		chmod +x "$BATS_TEST_TMPDIR/bin/perl"
		if ((step <= 2)); then
			PATH="$BATS_TEST_TMPDIR/bin:$PATH" assert_status 1 netracker attach --tcx veth0
			assert_says "veth0: the kernel refuses to attach program"
			assert_says "Numerical result out of range"
			assert_clean
			assert_equal "left at TCX" "$(at_tcx ingress)$(at_tcx egress)" ''
		else
			PATH="$BATS_TEST_TMPDIR/bin:$PATH" assert_status 0 netracker attach --tcx veth0
			netracker detach --quiet veth0
		fi
	done
}

@test "without perl TCX is a prerequisite that is missing, and all else works" {
	local tool
	mkdir "$BATS_TEST_TMPDIR/bin"
	for tool in /bin/* /usr/bin/* /sbin/* /usr/sbin/*; do
		[[ ${tool##*/} == perl* ]] || ln -sf "$tool" "$BATS_TEST_TMPDIR/bin/"
	done
	# The command adds /usr/sbin and /sbin by itself.
	PATH=$BATS_TEST_TMPDIR/bin assert_status 4 netracker attach --tcx veth0
	assert_says "no command perl; install the package perl-base"
	assert_clean
	PATH=$BATS_TEST_TMPDIR/bin assert_status 0 netracker attach --quiet veth0
	assert_whole
	PATH=$BATS_TEST_TMPDIR/bin assert_status 0 netracker status
	PATH=$BATS_TEST_TMPDIR/bin assert_status 0 netracker check
	assert_says "notice   what hangs at TCX is not known, as there is no command perl"
}

@test "a program of XDP is named" {
	netracker attach --quiet veth0
	in_netns server ip link set dev veth0 xdpgeneric object "$ROOT/tests/foreign.bpf.o" section xdp
	assert_status 0 netracker status
	assert_says "before it: xdp foreign_xdp, program $(in_netns server ip -json link show dev veth0 | jq '.[].xdp.prog.id') - can hide packets from the tracker"
	in_netns server ip link set dev veth0 xdpgeneric off
	assert_status 0 netracker status
	[[ $output != *xdp* ]] || fail "$output"
}

@test "tables that are pinned nowhere any more: what hangs at TCX is found, and removed" {
	netracker attach --tcx --quiet veth0
	find /sys/fs/bpf -type f ! -name '*.debug' -delete
	assert_status 0 netracker status
	assert_says "veth0: stray"
	assert_status 0 netracker detach --quiet --all
	assert_equal "left at TCX" "$(at_tcx ingress)$(at_tcx egress)" ''
}

@test "a program at TCX that refuses to go keeps nothing else from going" {
	new_veth server veth1 client veth1
	netracker attach --tcx --quiet veth0 veth1
	mkdir "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/perl" <<-EOF
		#!/bin/bash
		[[ \$3 != detach || \$4 != veth0 ]] || { echo "Device or resource busy" >&2; exit 1; }
		exec $(command -v perl) "\$@"
	EOF
	chmod +x "$BATS_TEST_TMPDIR/bin/perl"
	PATH="$BATS_TEST_TMPDIR/bin:$PATH" assert_status 1 netracker detach --all
	assert_says "veth0: the kernel refuses to detach program"
	assert_equal "pins" "$(find /sys/fs/bpf -type f ! -name '*.debug')" ''
	assert_equal "left at TCX of the other one" "$(at_tcx ingress veth1)$(at_tcx egress veth1)" ''
	assert_status 0 netracker detach --all
}

@test "without perl what hangs at TCX is left alone by each command, which says so" {
	local tool verb before
	netracker attach --tcx --quiet veth0
	before="$(at_tcx ingress) $(at_tcx egress)"
	mkdir "$BATS_TEST_TMPDIR/bin"
	for tool in /bin/* /usr/bin/* /sbin/* /usr/sbin/*; do
		[[ ${tool##*/} == perl* ]] || ln -sf "$tool" "$BATS_TEST_TMPDIR/bin/"
	done
	for verb in 'attach veth0' 'detach veth0' 'detach --all' status; do
		# shellcheck disable=SC2086 # words
		PATH=$BATS_TEST_TMPDIR/bin assert_status 4 netracker $verb
		assert_says "no command perl; install the package perl-base"
	done
	assert_equal "at TCX" "$(at_tcx ingress) $(at_tcx egress)" "$before"
	assert_status 0 netracker status
}

@test "an interface of which two tell is one target" {
	# shellcheck disable=SC2016 # for that shell
	run bash -c '
		source "$1/scripts/lib/targets.sh"
		interfaces() { echo "1 3 0 7 100 veth0"; }
		tracked_interfaces() { printf "%s\n" "7 3 ours" "7 4 stray" "7 4 stray" "8 4 stray"; }
		enter_netns_by_inode() { :; }
		interface_name() { echo "veth$1"; }
		TARGETS=()
		find_all_targets
		printf "%s\n" "${TARGETS[@]}"' bash "$ROOT"
	assert_equal "targets" "$output" $'7 3 1 0 100 veth0\n7 4 0 0 0 veth4\n8 4 0 0 0 veth4'
}
