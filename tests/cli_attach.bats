#!/usr/bin/env bats
# shellcheck disable=SC2154 # $stdout and $output are set in cli_helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# attach and detach, with a stand-in for the tracker.

load helpers
load cli_helpers

setup_file() {
	((EUID)) || build_stub "$BATS_FILE_TMPDIR/stub"
}

setup() {
	isolate
	export NETRACKER_LOCK=$BATS_TEST_TMPDIR/lock
	use_stub
	new_netns server
	new_netns client
	new_veth server veth0 client veth0
}

@test "attach and detach: whole, then clean" {
	assert_status 0 netracker attach veth0
	assert_says '[#] tc qdisc add dev veth0 clsact'
	assert_says "] tc filter add dev veth0 ingress bpf obj $NETRACKER_OBJ sec tc_ing"
	assert_says "] tc filter add dev veth0 egress bpf obj $NETRACKER_OBJ sec tc_en"
	assert_equal stdout "$stdout" ''
	assert_whole
	assert_status 0 netracker detach veth0
	assert_clean
}

@test "attach: each load knows its entry in nt_ifaces" {
	local program map
	netracker attach --quiet veth0
	for program in $(in_netns server tc -json filter show dev veth0 ingress | jq '.[].options.prog.id // empty'); do
		for map in $(bpftool --json prog show id "$program" | jq '.map_ids[]'); do
			[[ $(bpftool --json map show id "$map" | jq --raw-output .name) == *.bss ]] || continue
			assert_equal iface_id "$(bpftool --json map dump id "$map" | jq '.[0].formatted.value[".bss"][0].this_load.iface_id // .[0].value[".bss"][0].this_load.iface_id')" 1
			return
		done
	done
	fail "no .bss"
}

@test "attach --quiet says nothing" {
	assert_status 0 netracker attach --quiet veth0
	assert_equal output "$(grep -v views <<<"$output" || true)" ''
}

@test "attach --dry-run and detach --dry-run: print everything, do nothing" {
	assert_status 0 netracker attach --dry-run veth0
	[[ $stdout == *'[#] tc filter add dev veth0 egress'* ]] || fail "$stdout"
	assert_clean
	netracker attach --quiet veth0
	assert_status 0 netracker detach --dry-run veth0
	[[ $stdout == *'[#] tc filter del dev veth0 ingress pref 49152 handle 0x1 bpf'* ]] || fail "$stdout"
	assert_whole
}

@test "attach twice is harmless" {
	local before
	netracker attach --quiet veth0
	before=$(all_filters)
	assert_status 0 netracker attach veth0
	assert_equal filters "$(all_filters)" "$before"
	assert_whole
}

@test "attach of a newer object replaces the older one, new before old goes" {
	build_stub "$BATS_TEST_TMPDIR/new" -DVERSION=2
	netracker attach --quiet veth0
	netracker config handshake_timeout=7
	use_stub "$BATS_TEST_TMPDIR/new"
	assert_status 0 netracker attach veth0
	assert_whole
	[[ ${output%%tc filter del*} == *'tc filter add dev veth0 egress'* ]] || fail "a filter went before both new ones were there: $output"
	assert_status 0 netracker config
	assert_says handshake_timeout=7
	netracker detach --quiet veth0
	assert_clean
}

@test "attach of a newer object: consumers of the log keep what they have read, and get the newer files" {
	local before dir
	netracker attach --quiet veth0
	library pin_consumer "$ROOT/view" other
	for dir in "$VIEWS" "$VIEWS/consumers/other"; do
		# shellcheck disable=SC2046 # bytes are words
		bpftool map update pinned "$dir/cursor" key 0 0 0 0 value 5 $(printf '0 %.0s' {1..79})
	done
	# shellcheck disable=SC2046
	bpftool map update pinned "$PINS/nt_log_head" key 0 0 0 0 value 7 $(printf '0 %.0s' {1..63})
	before=$(stat --format=%i "$VIEWS"/{log,log.json,unread} "$VIEWS"/consumers/other/{log,log.json,unread})
	build_stub "$BATS_TEST_TMPDIR/new" -DVERSION=2
	use_stub "$BATS_TEST_TMPDIR/new"
	netracker attach --quiet veth0
	for dir in "$VIEWS" "$VIEWS/consumers/other"; do
		assert_equal "unread and lost of $dir" "$(sed -n 1p "$dir/unread")" '2 0'
	done
	assert_equal "files that are the same" "$(stat --format=%i "$VIEWS"/{log,log.json,unread} "$VIEWS"/consumers/other/{log,log.json,unread} |
		grep -c --line-regexp --fixed-strings "$before" || true)" 0
	netracker detach --quiet veth0
	assert_clean
}

@test "records of another layout: the pin is named, nothing is changed" {
	local flag
	netracker attach --quiet veth0
	for flag in OTHER_LAYOUT OTHER_SIZE; do
		build_stub "$BATS_TEST_TMPDIR/$flag" -D$flag
		use_stub "$BATS_TEST_TMPDIR/$flag"
		assert_status 1 netracker attach veth0
		assert_says "$PINS/"
		assert_says "detach --all"
		assert_whole
	done
	netracker detach --quiet --all
	netracker attach --quiet veth0
}

@test "what an older version has attached: it is said that it is one, and detach ends it whole" {
	local verb
	build_stub "$BATS_TEST_TMPDIR/older" -DOLDER
	use_stub "$BATS_TEST_TMPDIR/older"
	netracker attach --quiet veth0 2>/dev/null
	use_stub
	assert_status 1 netracker attach veth0
	assert_says "another version; 'netracker detach --all' ends and reports"
	for verb in list stats config; do
		assert_status 1 netracker "$verb"
		assert_says "another version, and so are its tables; 'netracker detach --all' ends and reports"
	done
	assert_status 0 netracker status
	assert_says "tables     not known, as what is attached is another version"
	assert_equal "in JSON" "$(netracker status --json | jq --compact-output '[.other_version, .tables, .pins_gone]')" '[true,null,null]'
	assert_status 0 netracker detach --quiet --all
	assert_equal "said" "$output" ''
	assert_clean
}

@test "a pin that somebody left behind is named; as nobody uses it, it goes with the attach that fails" {
	build_stub "$BATS_TEST_TMPDIR/old" -DOTHER_SIZE
	use_stub "$BATS_TEST_TMPDIR/old"
	attach_raw_stub
	in_netns server tc qdisc del dev veth0 clsact
	use_stub
	assert_status 1 netracker attach veth0
	assert_says "$PINS/conn_map"
	assert_clean
	assert_status 0 netracker attach veth0
}

attach_raw_stub() {
	in_netns server tc qdisc add dev veth0 clsact
	in_netns server tc filter add dev veth0 ingress bpf obj "$NETRACKER_OBJ" sec tc_ing
	in_netns server tc filter add dev veth0 egress bpf obj "$NETRACKER_OBJ" sec tc_en
}

@test "what was attached by hand is taken on, and detached" {
	attach_raw_stub
	assert_status 0 netracker status
	assert_says 'by hand'
	netracker attach --quiet veth0
	assert_whole
	netracker detach --quiet veth0
	assert_equal filters "$(all_filters)" ''
	# The qdisc is not ours.
	[[ $(in_netns server tc qdisc show dev veth0) == *clsact* ]] || fail "the qdisc of somebody else is gone"
}

@test "other people's filters and qdisc live through attach, upgrade and detach" {
	local hook pref before
	in_netns server tc qdisc add dev veth0 clsact
	for hook in ingress egress; do
		for pref in 1 49151 49152 65000; do
			foreign_filter "$hook" "$pref"
		done
		in_netns server tc filter add dev veth0 "$hook" pref 100 bpf da obj "$NETRACKER_OBJ" sec foreign
	done
	before=$(all_filters)
	netracker attach --quiet veth0
	assert_equal first "$(filters_on ingress | head -1 | cut -d ' ' -f 2)" 'NeTracker.bpf.o:[tc_ing]'
	assert_equal foreign "$(all_filters | grep -v 'tc_')" "$before"
	build_stub "$BATS_TEST_TMPDIR/new" -DVERSION=2
	use_stub "$BATS_TEST_TMPDIR/new"
	netracker attach --quiet veth0
	assert_equal ours "$(filters_on ingress | grep -c tc_ing)" 1
	assert_equal foreign "$(all_filters | grep -v 'tc_')" "$before"
	netracker detach --quiet veth0
	assert_equal foreign "$(all_filters)" "$before"
}

@test "a filter that came later keeps the qdisc that attach made" {
	netracker attach --quiet veth0
	foreign_filter egress 7
	assert_status 0 netracker detach veth0
	assert_says 'others have filters'
	assert_equal foreign "$(filters_on egress)" '0x1 bytecode'
}

@test "a filter of our name with a program that is not ours stays" {
	mkdir "$BATS_TEST_TMPDIR/theirs"
	cp "$NETRACKER_OBJ" "$BATS_TEST_TMPDIR/theirs/NeTracker.bpf.o"
	in_netns server tc qdisc add dev veth0 clsact
	in_netns server tc filter add dev veth0 ingress bpf da obj "$BATS_TEST_TMPDIR/theirs/NeTracker.bpf.o" sec foreign
	netracker attach --quiet veth0
	netracker detach --quiet veth0
	assert_equal theirs "$(filters_on ingress | cut -d ' ' -f 2)" 'NeTracker.bpf.o:[foreign]'
}

@test "a foreign ingress qdisc: said, nothing changed" {
	in_netns server tc qdisc add dev veth0 ingress
	assert_status 1 netracker attach veth0
	assert_says 'ingress qdisc'
	in_netns server tc qdisc del dev veth0 ingress
	assert_clean
}

@test "several interfaces: all or none" {
	in_netns server ip link add other type dummy 2>/dev/null || in_netns server ip link add other type veth peer name other2
	assert_status 1 netracker attach veth0 other ens99
	assert_says 'ens99: no such interface'
	assert_clean
	in_netns server tc qdisc add dev other ingress
	assert_status 1 netracker attach veth0 other
	assert_clean
	in_netns server tc qdisc del dev other ingress
	netracker attach --quiet veth0 other
	assert_equal names "$(named_interfaces | sort | paste -sd ' ')" 'other veth0'
	assert_status 0 netracker detach other
	assert_whole
	assert_status 0 netracker detach --all
	assert_clean
}

@test "odd but legal names" {
	local name before=veth0
	# shellcheck disable=SC2016 # it must not be expanded
	for name in '$(id)`' "a'b\"c\\d" 'é;|&<>*?' 123456789012345 -x; do
		in_netns server ip link set dev "$before" down
		in_netns server ip link set dev "$before" name "$name" || skip "this ip does not make '$name'"
		before=$name
		assert_status 0 netracker attach --quiet -- "$name"
		assert_status 0 netracker status --json
		jq --exit-status --arg name "$name" '.interfaces[0] | .ifname == $name and .state == "attached"' <<<"$stdout" || fail "$stdout"
		assert_status 0 netracker detach -- "$name"
	done
}

@test "attach and detach: an interface by the name that it has beside its own, and once if it is named twice" {
	local long=an-alternative-name-as-long-as-some-are
	in_netns server ip link property add dev veth0 altname "$long" altname veth0.alt
	assert_status 0 netracker attach "$long" veth0 veth0.alt
	assert_whole
	assert_equal "filters" "$(grep -c 'tc filter add dev veth0 ' <<<"$output")" 2
	assert_status 0 netracker attach --quiet veth0.alt
	assert_equal "interfaces" "$(netracker status --json | jq --compact-output '[.interfaces[].ifname]')" '["veth0"]'
	assert_status 0 netracker detach "$long"
	assert_clean
	assert_status 3 netracker detach veth0.alt
	assert_says 'veth0: not attached'
}

@test "names that no one else minds: of what is attached, and of a neighbour" {
	local name=$'e\xff\e[1m'
	in_netns server ip link add "$name" type veth peer name veth7@p1
	assert_status 0 netracker attach --quiet "$name" veth7@p1
	assert_status 0 netracker status
	assert_says 'e?'
	[[ $output != *$'\e'* ]] || fail "an escape sequence: $(cat -v <<<"$output")"
	assert_equal "states" "$(netracker status --json | jq --raw-output '.interfaces[] | .ifname + " " + .state' | sort | xargs)" \
		"$(printf 'e\357\277\275\033[1m attached veth7@p1 attached')"
	assert_status 0 netracker detach --quiet "$name"
	assert_status 0 netracker attach --quiet veth0
	assert_status 0 netracker detach --quiet --all
	assert_clean
}

@test "names that cannot be" {
	local name
	for name in 1234567890123456 a/b 'a b' . .. a:b ''; do
		assert_status 2 netracker attach "$name"
		assert_says 'cannot be the name of an interface'
	done
}

@test "an interface that vanished while attached" {
	netracker attach --quiet veth0
	in_netns server ip link del veth0
	assert_status 3 netracker status
	assert_says 'veth0: gone'
	assert_status 0 netracker detach veth0
	assert_clean
}

@test "an interface that was renamed while attached" {
	netracker attach --quiet veth0
	in_netns server ip link set dev veth0 down
	in_netns server ip link set dev veth0 name other
	assert_status 0 netracker detach other
	in_netns server ip link set dev other name veth0
	assert_clean
	netracker attach --quiet veth0
	in_netns server ip link set dev veth0 name other
	assert_status 0 netracker detach veth0
	in_netns server ip link set dev other name veth0
	assert_clean
}

@test "an interface in another namespace: --netns, and --all finds it" {
	assert_status 1 "$NETRACKER" attach --netns nowhere veth0
	assert_says "no network namespace 'nowhere'"
	assert_status 0 "$NETRACKER" attach --netns "$NETNS_DIR/server" veth0
	assert_whole
	assert_status 0 "$NETRACKER" status
	assert_says "in the network namespace $NETNS_DIR/server"
	assert_status 3 "$NETRACKER" detach veth0
	assert_status 0 "$NETRACKER" detach --netns "$NETNS_DIR/server" veth0
	assert_clean
	# shellcheck disable=SC2016 # for the inner shell
	background in_netns server bash -c 'echo $$ >"$1"; exec sleep 60' bash "$BATS_TEST_TMPDIR/pid"
	wait_for test -s "$BATS_TEST_TMPDIR/pid"
	assert_status 0 "$NETRACKER" attach --netns "$(<"$BATS_TEST_TMPDIR/pid")" veth0
	assert_status 0 "$NETRACKER" detach --all
	assert_clean
}

@test "what cannot be taken away keeps nothing else from going" {
	in_netns server tc qdisc add dev veth0 clsact
	! library eval "IN_NETNS=(nsenter --net=$NETNS_DIR/server); run_batch tc 'qdisc del dev nowhere0 clsact' 'qdisc del dev veth0 clsact'" ||
		fail "that there is no nowhere0 is no failure"
	assert_equal "qdiscs" "$(in_netns server tc qdisc show dev veth0 clsact)" ""
}

@test "not attached: exit status 3" {
	assert_status 3 netracker detach veth0
	assert_status 3 netracker detach --all
	assert_status 3 netracker status
	assert_status 3 netracker log
	assert_status 3 netracker list
	assert_status 3 netracker stats
	assert_status 3 netracker config
}

@test "one at a time: the second waits for the first" {
	local i pids=()
	for i in 1 2 3; do
		netracker attach --quiet veth0 3>&- &
		pids+=("$!")
	done
	for i in "${pids[@]}"; do
		wait "$i"
	done
	assert_whole
}

# stub_commands: what stands before the real commands in $PATH: the call number $STRIKE of those that change something fails, or
# (HOW=term) interrupts the command that made it and is done all the same.
stub_commands() {
	local name
	mkdir "$BATS_TEST_TMPDIR/bin"
	for name in tc bpftool mkdir rmdir rm tee mount; do
		cat >"$BATS_TEST_TMPDIR/bin/$name" <<-EOF
			#!/bin/bash
			case "$name \$*" in
				tc*\ add\ * | tc*\ del\ * | 'bpftool map update'* | 'bpftool prog pin'* | mkdir* | rmdir* | rm* | tee* | mount*)
					echo "$name \$*" >>"$BATS_TEST_TMPDIR/calls"
					if [[ \$(wc -l <"$BATS_TEST_TMPDIR/calls") == "\$STRIKE" ]]; then
						[[ \$HOW == term ]] || exit 1
						kill -TERM "\$(<"$BATS_TEST_TMPDIR/victim")"
					fi
					;;
			esac
			exec "$(command -v "$name")" "\$@"
		EOF
		chmod +x "$BATS_TEST_TMPDIR/bin/$name"
	done
}

# struck HOW N VERB: run it so; fails once there are fewer than N calls.
struck() {
	: >"$BATS_TEST_TMPDIR/calls"
	# shellcheck disable=SC2016 # for the inner shell
	HOW=$1 STRIKE=$2 PATH=$BATS_TEST_TMPDIR/bin:$PATH in_netns server bash -c 'echo $$ >"$1"; exec "${@:2}"' \
		bash "$BATS_TEST_TMPDIR/victim" "$NETRACKER" "$3" veth0 >"$BATS_TEST_TMPDIR/log" 2>&1 </dev/null || true
	(($(wc -l <"$BATS_TEST_TMPDIR/calls") >= $2))
}

whole_or_clean() {
	if [[ $(all_filters) ]]; then
		assert_whole
	else
		assert_clean
	fi || fail "after call $1, $(sed -n "$1p" "$BATS_TEST_TMPDIR/calls"): $(cat "$BATS_TEST_TMPDIR/log")"
}

interrupt_attach() {
	local n
	stub_commands
	for ((n = 1; n < 100; n++)); do
		struck "$1" "$n" attach || break
		whole_or_clean "$n"
		netracker detach --quiet --all 2>/dev/null || true
		assert_clean
	done
	((n > 8 && n < 100)) || fail "only $n calls"
}

interrupt_detach() {
	local n
	stub_commands
	for ((n = 1; n < 100; n++)); do
		netracker attach --quiet veth0
		struck "$1" "$n" detach || break
		whole_or_clean "$n"
	done
	((n > 8 && n < 100)) || fail "only $n calls"
	assert_clean
}

@test "attach fails at each of its commands: whole or clean" {
	interrupt_attach fail
}

@test "attach is interrupted at each of its commands: whole or clean" {
	interrupt_attach term
}

@test "detach fails at each of its commands: whole or clean" {
	interrupt_detach fail
}

@test "detach is interrupted at each of its commands: whole or clean" {
	interrupt_detach term
}
