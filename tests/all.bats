#!/usr/bin/env bats
# shellcheck disable=SC2154 # $stdout and $output are set in cli_helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# attach --all and --match: every interface worth it, and what status says of those that are not tracked. With a stand-in for the tracker,
# but where packets count. Interfaces that come later: systemd/units.bats.

load helpers
load cli_helpers

setup_file() {
	((EUID)) || build_stub "$BATS_FILE_TMPDIR/stub"
}

# In `server` a bridge with an address, a port of it, an interface with an address of its own, and one with neither.
setup() {
	isolate
	use_stub
	new_netns server
	new_netns client
	in_netns server bash -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' 2>/dev/null || true
	in_netns server ip link add br0 type bridge
	in_netns server ip link set br0 up
	in_netns server ip address add "$SERVER4/24" dev br0
	new_veth server port0 client veth0 master br0
	new_veth server veth0 client far0
	new_veth server bare0 client far1
	in_netns server ip address add 198.51.100.1/30 dev veth0
	in_netns client ip address add "$CLIENT4/24" dev veth0
}

# tracked: the interfaces that are attached, in alphabetical order.
tracked() {
	netracker status --json | jq --raw-output '.interfaces[] | select(.state == "attached").ifname' | sort | xargs -d '\n'
}

# untracked: those that status says are not.
untracked() {
	netracker status --json | jq --raw-output '.untracked[]' | sort | xargs -d '\n'
}

@test "--all: what carries addresses or is a port of a bridge, and nothing else; again, nothing changes" {
	assert_status 0 netracker attach --all
	assert_equal "tracked" "$(tracked)" 'br0 port0 veth0'
	[[ $output != *'ports of a bridge'* ]] || fail "its ports are attached as well: $output"
	assert_status 0 netracker attach --all
	[[ $output != *'filter add'* ]] || fail "not idempotent: $output"
	assert_equal "tracked" "$(tracked)" 'br0 port0 veth0'
	assert_status 0 netracker detach --all
	assert_clean
}

@test "--all: a link-local address is one; an interface that is down with one counts; an address of a tunnel's end is none" {
	requires ipv6
	in_netns server ip link set veth0 down
	in_netns server bash -c 'echo 0 >/proc/sys/net/ipv6/conf/bare0/disable_ipv6'
	in_netns server ip address add fe80::5/64 dev bare0 nodad
	in_netns server ip link add tunnel0 type ipip local "$SERVER4" remote "$CLIENT4" 2>/dev/null || true
	netracker attach --all --quiet
	assert_equal "tracked" "$(tracked)" 'bare0 br0 port0 veth0'
}

# What ip prints of both is in check/awks.bats, for kernels that have neither.
@test "--all: a VLAN and what it is on, if each has an address; of a VRF the members, not its device" {
	local want='br0 port0 veth0'
	if in_netns server ip link add link veth0 name veth0.5 type vlan id 5 2>/dev/null; then
		in_netns server ip address add 198.51.100.9/30 dev veth0.5
		want+=' veth0.5'
	fi
	if in_netns server ip link add vrf0 type vrf table 7 2>/dev/null; then
		in_netns server ip link set veth0 master vrf0
		in_netns server ip address add 198.51.100.13/30 dev vrf0
	fi
	netracker attach --all --quiet
	assert_equal "tracked" "$(tracked)" "$want"
	assert_equal "untracked" "$(untracked)" ''
}

@test "--all and names: these as well, lo too, and each once" {
	assert_status 0 netracker attach --all lo veth0
	assert_equal "tracked" "$(tracked)" 'br0 lo port0 veth0'
	assert_equal "qdiscs made" "$(grep -c 'qdisc add dev veth0 ' <<<"$output")" 1
	assert_status 1 netracker attach --all ens99
	assert_says 'ens99: no such interface'
}

@test "--all --dry-run: prints, does nothing" {
	assert_status 0 netracker attach --all --dry-run
	assert_equal "qdiscs" "$(grep -c '^\[#\] tc qdisc add dev \(br0\|port0\|veth0\) clsact$' <<<"$stdout")" 3
	# Each load would be told which entry is its interface's.
	assert_equal "entries" "$(sed -n 's/^\[#\] bpftool map update id ID .* value hex \(..\) .*/\1/p' <<<"$stdout" | sort | xargs)" "01 01 02 02 03 03"
	assert_clean
}

@test "--all --netns: of that namespace" {
	assert_status 0 "$NETRACKER" attach --all --quiet --netns "$NETNS_DIR/server"
	assert_equal "tracked" "$(tracked)" 'br0 port0 veth0'
}

@test "--match: of all, and of those that are named; several, by blanks and by options" {
	local globs want
	while read -r want globs; do
		assert_status 0 netracker attach --all --quiet --match "$globs"
		assert_equal "tracked by $globs" "$(tracked | tr ' ' ,)" "$want"
		netracker detach --all --quiet
	done <<-'EOF'
		br0,port0 *r*0
		br0 br0 bare0 lo *.c
		port0,veth0 !(b*)
		br0,veth0 [!p]* nowhere
	EOF
	assert_status 0 netracker attach --all --quiet --match 'p*' --match veth0
	assert_equal "tracked" "$(tracked)" 'port0 veth0'
	netracker detach --all --quiet
	assert_status 0 netracker attach --quiet --match 'b*' br0 veth0 bare0
	assert_equal "tracked" "$(tracked)" 'bare0 br0'
	# The own name counts, not one beside it.
	in_netns server ip link property add dev port0 altname beside
	assert_status 1 netracker attach --match 'beside' beside
	assert_says "nothing to attach to matches 'beside'"
	assert_status 1 netracker attach --all --match 'nope* never'
	assert_says "nothing to attach to matches 'nope* never'"
}

@test "--match: a word like any other, whatever is in it, beside names with anything in them" {
	local name pattern
	cd "$BATS_TEST_TMPDIR"
	: >veth0
	# shellcheck disable=SC2016 # it must not be expanded
	for name in '$(id>pwned)' "a'b\"c\\d" '*' '[x]' -n; do
		in_netns server ip link add name "$name" type bridge
		in_netns server ip address add 203.0.113.1/32 dev "$name"
	done
	while read -r name pattern; do
		assert_status 0 netracker attach --all --dry-run --match="$pattern"
		assert_equal "chosen by $pattern" "$(sed -n 's/^.* qdisc add dev \(.*\) clsact$/\1/p' <<<"$stdout")" "${name@Q}"
	done <<-'EOF'
		$(id>pwned) $(id>pwned)
		a'b"c\d a'b"c\\d
		[x] \[x]
		* \*
	EOF
	netracker attach --all --dry-run --match=-n | grep --quiet -- ' qdisc add dev -n clsact'
	assert_status 0 netracker attach --all --quiet --match '[[*-]*'
	assert_equal "tracked" "$(tracked)" "* -n [x]"
	[[ ! -e pwned ]]
	# shellcheck disable=SC2016
	for name in '`id>pwned`' '; id>pwned' 'a[$(id>pwned)]' '+(' '['; do
		assert_status 1 netracker attach --all --match "$name"
		assert_says 'nothing to attach to matches'
	done
	[[ ! -e pwned ]]
	for name in a/b ' ' $'\t' 'veth* /'; do
		assert_status 2 netracker attach --all --match "$name"
		assert_says 'patterns of names of interfaces'
	done
	assert_status 2 netracker attach --match 'veth*'
	assert_says 'which interface?'
}

@test "nothing is worth it: said" {
	in_netns server ip link del br0
	in_netns server ip address flush dev veth0
	assert_status 1 netracker attach --all
	assert_says 'no interface here carries addresses or is a port of a bridge'
	assert_clean
}

@test "--all: all or nothing, and the one that is to blame is named" {
	in_netns server tc qdisc add dev port0 ingress
	assert_status 1 netracker attach --all
	assert_says "port0: somebody's ingress qdisc"
	assert_clean
	assert_equal "qdiscs" "$(in_netns server tc qdisc show | grep -c clsact || true)" 0
	assert_status 0 netracker attach --all --quiet --match '!(port0)'
	assert_equal "tracked" "$(tracked)" 'br0 veth0'
	assert_equal "untracked" "$(untracked)" port0
}

# vanishing COMMAND…: veth0 goes when COMMAND is about to be run by the command.
vanishing() {
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/tc" <<-EOF
		#!/bin/sh
		case "\$*" in "$*"*) ip link del veth0 2>/dev/null ;; esac
		exec "$(command -v tc)" "\$@"
	EOF
	chmod +x "$BATS_TEST_TMPDIR/bin/tc"
}

# netracker_vanishing ARGUMENT…
netracker_vanishing() {
	PATH=$BATS_TEST_TMPDIR/bin:$PATH netracker "$@"
}

@test "an interface that goes while --all is at work: the others are attached" {
	local when
	for when in '-json filter show dev veth0' 'qdisc add dev veth0' 'filter add dev veth0 egress'; do
		vanishing "$when"
		assert_status 0 netracker_vanishing attach --all
		assert_equal "tracked after '$when'" "$(tracked)" 'br0 port0'
		assert_says 'veth0 has gone meanwhile; beginning again without it'
		new_veth server veth0 client far0
		in_netns server ip address add 198.51.100.1/30 dev veth0
		netracker detach --all --quiet
		assert_clean
	done
}

@test "--if-there: what is not there, or goes meanwhile, is no failure, and without it is one" {
	assert_status 0 netracker attach --if-there ens99
	assert_equal "output" "$output" ''
	vanishing 'filter add dev veth0 ingress'
	assert_status 1 netracker_vanishing attach veth0
	assert_status 1 netracker attach veth0
	new_veth server veth0 client far0
	assert_status 0 netracker_vanishing attach --if-there veth0 ens99
	assert_status 3 netracker status
	new_veth server veth0 client far0
	assert_status 0 netracker_vanishing attach --if-there --quiet veth0 port0
	assert_equal "tracked" "$(tracked)" port0
	# What else fails stays a failure.
	in_netns server tc qdisc add dev br0 ingress
	assert_status 1 netracker attach --if-there br0
	assert_status 2 netracker attach --if-there
}

@test "status: what is not covered of this namespace" {
	netracker attach --quiet veth0
	assert_equal "untracked" "$(untracked)" 'br0 port0'
	assert_status 0 netracker status
	assert_says "untracked  br0 port0, which carry addresses or are ports of a bridge; 'netracker attach --all' takes them on"
	# In another one other interfaces are.
	assert_equal "from client" "$(in_netns client "$NETRACKER" status --json | jq --compact-output '[.untracked[]] | index("br0", "port0", "veth0")')" $'null\nnull\n0'
	netracker attach --quiet --all
	assert_equal "untracked" "$(untracked)" ''
	assert_status 0 netracker status
	[[ $output != *untracked* ]] || fail "$output"
	# Half of it sees half, and is said to.
	in_netns server tc filter del dev veth0 ingress
	assert_equal "untracked" "$(untracked)" ''
	in_netns server tc qdisc del dev veth0 clsact
	assert_equal "untracked" "$(untracked)" veth0
}

@test "a connection through a port, the bridge and its address is one record, of the interface that it came in by first" {
	requires object kernel_5.19
	unset NETRACKER_OBJ
	netracker attach --all --quiet
	peer client connect "$SERVER4" 9 close >/dev/null 2>&1 || true
	wait_for refused_once
	assert_equal "interface" "$(netracker log --no-follow --all --json --addr "$SERVER4" | jq --raw-output .ifname)" port0
	netracker detach --all --quiet
}

refused_once() {
	assert_equal "records" "$(netracker log --no-follow --all --json --addr "$SERVER4" | jq --raw-output .state)" REJ
}
