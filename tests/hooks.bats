#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Where the tracker hangs, by the kernel's own structures: the view hooks, and what is made of it.

load helpers

readonly VIEWS=/sys/fs/bpf/netracker

setup() {
	isolate
	requires kernel_5.19 object
	new_pair
}

# inode NS: what the kernel calls it.
inode() {
	stat --dereference --format=%i "$NETNS_DIR/$1"
}

# filters_of NS IF [HOOK…]: the lines that hooks should have of it, as tc sees its filters.
filters_of() {
	local ns=$1 dev=$2 hook
	shift 2
	(($#)) || set -- ingress egress
	for hook in "$@"; do
		in_netns "$ns" tc -json filter show dev "$dev" "$hook" | jq --raw-output \
			--arg where "$(inode "$ns") $(in_netns "$ns" ip -json link show dev "$dev" | jq '.[].ifindex') $hook" --arg dev "$dev" '
			.[].options.prog.id | numbers | "\($where) \(.) \($dev)"'
	done
}

# hooks_are LINE…: these and no others, in any order.
hooks_are() {
	assert_equal "head" "$(sed -n 1p "$VIEWS/hooks")" "hooks 1 $(bpftool --json map show pinned "$PINS/nt_ifaces" | jq .id)"
	assert_equal "hooks" "$(tail -n +2 "$VIEWS/hooks" | sort)" "$(printf '%s\n' "$@" | grep . | sort)"
}

@test "hooks are the filters on our maps in all namespaces, whoever made them" {
	track client
	hooks_are "$(filters_of client veth0)"
	assert_equal "hooks of an interface" "$(filters_of client veth0 | wc -l)" 2
	attach_raw server veth0
	hooks_are "$(filters_of client veth0)" "$(filters_of server veth0)"
}

@test "somebody else's filters are no hooks, even if they are the same programs on other maps" {
	track client
	new_netns other
	# shellcheck disable=SC2016 # the inner shell's
	in_netns other unshare --mount bash -ec '
		mount -t bpf bpf /sys/fs/bpf
		tc qdisc add dev lo clsact
		tc filter add dev lo ingress bpf obj "$1" sec tc_ing
		tc filter add dev lo egress bpf obj "$1" sec tc_en' other "$OBJ" 2>/dev/null
	assert_equal "filters of theirs" "$(filters_of other lo | wc -l)" 2
	hooks_are "$(filters_of client veth0)"
}

@test "filters of other kinds, before ours and behind, are no hooks and hide none" {
	local pref
	track client
	for pref in 1 60000; do
		in_netns client tc filter add dev veth0 ingress pref "$pref" protocol ip u32 match u32 0 0 flowid 1:1
		in_netns client tc filter add dev veth0 ingress pref "$((pref + 1))" protocol all bpf bytecode '1,6 0 0 0' flowid 1:1
	done
	assert_equal "filters" "$(in_netns client tc filter show dev veth0 ingress | grep -c -E 'bytecode|flowid')" 4
	hooks_are "$(filters_of client veth0)"
	assert_equal "hooks" "$(filters_of client veth0 | wc -l)" 2
}

@test "a filter that is deleted is no hook any more, however it goes" {
	local gone
	track client
	in_netns client tc filter del dev veth0 egress
	hooks_are "$(filters_of client veth0 ingress)"
	in_netns client tc qdisc del dev veth0 clsact
	hooks_are ""
	track client
	hooks_are "$(filters_of client veth0)"
	in_netns client ip link del veth0
	hooks_are ""
	attach_raw server lo
	hooks_are "$(filters_of server lo)"
	gone=$(inode server)
	umount "$NETNS_DIR/server"
	wait_for no_hook_in "$gone"
	hooks_are ""
}

# no_hook_in INODE
no_hook_in() {
	! grep -q "^$1 " "$VIEWS/hooks"
}

@test "an interface that gets another name keeps its hooks, one that moves to another namespace loses them" {
	track client
	in_netns client ip link set veth0 down
	in_netns client ip link set veth0 name renamed
	hooks_are "$(filters_of client renamed)"
	assert_equal "hooks" "$(filters_of client renamed | wc -l)" 2
	in_netns client ip link set renamed netns "$NETNS_DIR/server"
	hooks_are ""
}

@test "a program without a filter is a hook of TCX" {
	local program
	requires kernel_6.6
	track client
	program=$(filters_of client veth0 ingress | cut -d ' ' -f 4)
	bpftool prog pin id "$program" /sys/fs/bpf/pinned
	in_netns client tc qdisc del dev veth0 clsact
	background in_netns client python3 "$ROOT/tests/tcx.py" /sys/fs/bpf/pinned "$(in_netns client ip -json link show dev veth0 | jq '.[].ifindex')" egress
	wait_for grep -q attached "$BACKGROUND_OUTPUT"
	hooks_are "$(inode client) $(in_netns client ip -json link show dev veth0 | jq '.[].ifindex') tcx_egress $program veth0"
}

@test "more hooks than one step prints are all there, once each" {
	track client
	bpftool prog pin id "$(filters_of client veth0 ingress | cut -d ' ' -f 4)" /sys/fs/bpf/pinned
	# shellcheck disable=SC2016 # the inner shell's
	in_netns server bash -ec '
		tc qdisc add dev veth0 clsact
		for i in {1..700}; do
			echo "filter add dev veth0 ingress pref $i bpf object-pinned /sys/fs/bpf/pinned"
			echo "filter add dev veth0 egress pref $i bpf object-pinned /sys/fs/bpf/pinned"
		done | split --lines=500 --filter="tc -batch -"' # it keeps every program open until it ends
	assert_equal "hooks" "$(filters_of server veth0 | wc -l)" 1400
	hooks_are "$(filters_of client veth0)" "$(filters_of server veth0)"
	# A second reader at the same time, and one who stops and goes on.
	{
		read -r
		assert_equal "the rest of 1403 lines" "$({ hooks_are "$(filters_of client veth0)" "$(filters_of server veth0)" && cat; } | wc -l)" 1402
	} <"$VIEWS/hooks"
}

@test "while namespaces come and go, what stays is always there and every line is whole" {
	track client
	attach_raw server veth0
	background come_and_go
	for _ in {1..300}; do
		cat "$VIEWS/hooks" >"$BATS_TEST_TMPDIR/hooks"
		assert_equal "lines that are none" \
			"$(tail -n +2 "$BATS_TEST_TMPDIR/hooks" | grep -v -E '^[0-9]+ [0-9]+ (ingress|egress) [0-9]+ [^ ]+$' || true)" ""
		assert_equal "what stays" "$(grep -c -E "^($(inode client)|$(inode server)) [0-9]+ (ingress|egress) [0-9]+ veth0$" "$BATS_TEST_TMPDIR/hooks")" 4
		tail -n +2 "$BATS_TEST_TMPDIR/hooks"
	done | sort -u >"$BATS_TEST_TMPDIR/seen"
	(($(wc -l <"$BATS_TEST_TMPDIR/seen") > 4)) || fail "nothing was seen to come and go"
}

# come_and_go: namespaces with a filter of ours on lo, a few at a time, for as long as it may.
come_and_go() {
	bpftool prog pin id "$(filters_of client veth0 ingress | cut -d ' ' -f 4)" /sys/fs/bpf/pinned
	while :; do
		# shellcheck disable=SC2016 # the inner shell's
		unshare --net bash -c 'tc qdisc add dev lo clsact; tc filter add dev lo ingress bpf object-pinned /sys/fs/bpf/pinned'
	done
}

@test "hooks_by_view tells the same with the view and without, and leaves nothing" {
	local before expected
	track client
	attach_raw server veth0
	expected=$({ filters_of client veth0 && filters_of server veth0; } | cut -d ' ' -f 1-4 | sort)
	assert_equal "with the view" "$(library hooks_by_view | sort)" "$expected"
	rm "$VIEWS/hooks"
	before=$(find /sys/fs/bpf)
	assert_equal "without" "$(library hooks_by_view | sort)" "$expected"
	assert_equal "bpffs" "$(find /sys/fs/bpf)" "$before"
	in_netns client tc qdisc del dev veth0 clsact
	detach_raw server veth0
	run library hooks_by_view
	assert_equal "status, output without hooks" "$status:$output" "0:"
}

@test "hooks_by_view does not believe a view of maps that are pinned no more" {
	track client
	rm "$PINS"/*
	attach_raw server veth0
	assert_equal "hooks" "$(library hooks_by_view | sort)" "$(filters_of server veth0 | cut -d ' ' -f 1-4 | sort)"
}

@test "hooks_by_view fails and is silent where there is nothing to ask" {
	run library hooks_by_view
	assert_equal "not attached" "$status:$output" "1:"
	attach_raw client veth0
	mkdir "$VIEWS"
	printf 'hooks 0 %s\n' "$(bpftool --json map show pinned "$PINS/nt_ifaces" | jq .id)" >"$BATS_TEST_TMPDIR/hooks"
	run library read_hooks "$BATS_TEST_TMPDIR/hooks" "$(bpftool --json map show pinned "$PINS/nt_ifaces" | jq .id)"
	assert_equal "a kernel that cannot tell" "$status:$output" "1:"
	printf 'hooks 1 7\n1 2 ingress 3 lo\nincomplete\n' >"$BATS_TEST_TMPDIR/hooks"
	run library read_hooks "$BATS_TEST_TMPDIR/hooks" 7
	[[ $status == 1 ]] || fail "an incomplete walk was believed"
	run library read_hooks "$BATS_TEST_TMPDIR/nonexistent" 7
	assert_equal "no view" "$status:$output" "1:"
}

# objects_of_another_kernel: print a directory of views built for a kernel that has no such filters as ours.
objects_of_another_kernel() {
	local view dir=$BATS_TEST_TMPDIR/view
	cp -a "$ROOT/view" "$dir"
	for view in hooks metrics; do
		clang -O2 -g -target bpf -mcpu=v3 -I"/usr/include/$(uname -m)-linux-gnu" -I"$ROOT/view" -Dcls_bpf_head=no_such_head \
			-c "$ROOT/view/$view.bpf.c" -o "$dir/$view.bpf.o"
	done
	printf '%s\n' "$dir"
}

@test "where the kernel cannot tell, the metrics say what attach has noted, and nothing of hooks" {
	local objects before
	requires tool_clang
	objects=$(objects_of_another_kernel)
	track client
	before=$("$NETRACKER" metrics | grep '^netracker_interface_info')
	library view_pin "$objects"
	assert_equal "hooks" "$(cat "$VIEWS/hooks")" "hooks 0 $(bpftool --json map show pinned "$PINS/nt_ifaces" | jq .id)"
	assert_equal "tracked" "$("$NETRACKER" metrics | grep '^netracker_interface')" "$before"
	assert_equal "HELP and TYPE" "$("$NETRACKER" metrics | grep -c '^# .*interface_')" 2
	in_netns client tc qdisc del dev veth0 clsact
	assert_equal "tracked, still" "$("$NETRACKER" metrics | grep '^netracker_interface')" "$before"
}
