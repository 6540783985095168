#!/usr/bin/env bats
# shellcheck disable=SC2153 # NETRACKER is set in helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# FINs that leave after their process has closed the socket: whose they are, and the program that notes it (tracker/closer.bpf.c).

load helpers
load cli_helpers

readonly PORT=8000 CONTROL=8001 LINK=/sys/fs/bpf/netracker/closer

setup() {
	isolate
	requires object tool_perl
	grep --quiet ' / [^ ]* [^-]*- cgroup2 ' /proc/self/mountinfo || skip "needs the root of cgroup v2"
	new_pair
}

# tracked [SETTING…]: from now on, by the command, with all records in the trace.
tracked() {
	track server
	trace_start
	(($# == 0)) || netracker config "$@" 2>/dev/null
}

# start_server HOW: as late.py does it; then there is a client, which reads on once $BATS_TEST_TMPDIR/read is there. Sets SERVER.
start_server() {
	background in_netns client python3 "$ROOT/tests/peer.py" serve "$CONTROL"
	wait_for listening client "$CONTROL"
	background in_netns server python3 "$ROOT/tests/late.py" serve "$PORT" "$1" "$CLIENT4" "$CONTROL"
	SERVER=$BACKGROUND_PID SERVER_OUTPUT=$BACKGROUND_OUTPUT
	wait_for listening server "$PORT"
	background in_netns client python3 "$ROOT/tests/late.py" connect "$SERVER4" "$PORT" "$BATS_TEST_TMPDIR/read"
	CLIENT=$BACKGROUND_PID
}

# serve_late HOW: the connection is closed, the process that did it is gone, and only then the client reads on.
serve_late() {
	start_server "$1"
	ends "$SERVER" 0
	finish
}

finish() {
	: >"$BATS_TEST_TMPDIR/read"
	ends "$CLIENT" 0
	wait_for_records 1 "$SERVER4:$PORT .*state=SF"
	wait_for_records 1 "$CLIENT4:$CONTROL .*state=SF"
}

# late_value KEY: what the record of the connection has whose FIN is late; control_value KEY: of the one that the server has opened.
late_value() {
	records "$SERVER4:$PORT " | record_value "$1"
}

control_value() {
	records "$CLIENT4:$CONTROL " | record_value "$1"
}

# assert_unnamed: the record says so, while who opens a connection is known as ever.
assert_unnamed() {
	assert_equal "pid" "$(late_value pid)" ''
	assert_equal "comm" "$(late_value comm)" ''
	assert_equal "who opens a connection" "$(control_value comm)" late
}

# closers: the closers that run, by the numbers of their maps: those of other trackers on this machine are not counted.
closers() {
	local map
	map=$(bpftool --json map show pinned "$PINS/nt_closers" | jq .id)
	bpftool --json prog show | jq --argjson map "$map" '[.[] | select(.type == "cgroup_sock" and (.map_ids // [] | index($map)))] | length'
}

@test "the process that closed before its FIN could leave is named, by its own name and not its thread's" {
	tracked
	serve_late close
	assert_equal comm "$(late_value comm)" late
	assert_equal pid "$(late_value pid)" "$(control_value pid)"
	[[ $(late_value pid) == [1-9]* ]]
}

@test "closers=off: nobody is named, at once; a second attach leaves it so; closers=on names again" {
	tracked closers=off
	[[ ! -e $LINK ]]
	assert_equal "closers that run" "$(closers)" 0
	netracker attach --quiet veth0
	[[ ! -e $LINK ]]
	assert_equal setting "$("$NETRACKER" config | grep closers)" closers=off
	assert_equal status "$("$NETRACKER" status --json | jq --compact-output .closers)" \
		"{\"noted\":false,\"reason\":\"somebody said so; 'netracker config closers=on' has them noted again\"}"
	serve_late close
	assert_unnamed
	"$NETRACKER" config closers=on 2>/dev/null
	assert_equal "closers that run" "$(closers)" 1
	trace_again
	serve_late close
	assert_equal comm "$(late_value comm)" late
}

# trace_again: what has been recorded is forgotten, and the client waits again.
trace_again() {
	echo >"$TRACE/trace"
	rm "$BATS_TEST_TMPDIR/read"
}

@test "a server that is killed is named" {
	tracked
	start_server hold
	wait_for grep --quiet written "$SERVER_OUTPUT"
	kill -KILL -- "-$SERVER"
	wait_for has_ended "$SERVER"
	finish
	assert_equal comm "$(late_value comm)" late
	assert_equal pid "$(late_value pid)" "$(control_value pid)"
}

@test "a socket that two processes have is of who closes it last" {
	tracked
	serve_late pass
	assert_equal comm "$(late_value comm)" heir
	[[ $(late_value pid) != "$(control_value pid)" ]]
}

@test "a socket that goes down in a channel is of who closes the channel, or nobody's" {
	tracked
	serve_late unread
	[[ $(late_value comm) == late && $(late_value pid) == "$(control_value pid)" || ! $(late_value comm)$(late_value pid) ]]
}

@test "attached by plain tc: no closer runs, and nobody is named" {
	attach_raw server veth0
	trace_start
	assert_equal "closers that run" "$(closers)" 0
	serve_late close
	assert_unnamed
	detach_raw server veth0
}

@test "the first attach has a closer run, further ones have no other; the last detach takes it away" {
	local program
	netracker attach --quiet veth0
	program=$(linked)
	netracker attach --quiet lo
	assert_equal "the same" "$(linked)" "$program"
	assert_equal "closers that run" "$(closers)" 1
	[[ $("$NETRACKER" status) == *$'\n''closers    noted'* ]]
	assert_equal status "$("$NETRACKER" status --json | jq --compact-output .closers)" '{"noted":true}'
	netracker detach --quiet lo
	[[ -e $LINK ]]
	netracker detach --quiet veth0
	assert_clean
	wait_for is_gone "$program"
}

# linked: the program that the pinned link has run. One bpftool shows it and fails.
linked() {
	{ bpftool --json link show pinned "$LINK" || true; } | jq .prog_id
}

is_gone() {
	! bpftool prog show id "$1"
}

@test "a bpftool that shows a link and then fails is believed" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	printf '#!/bin/sh\n%s "$@" || exit\ncase "$*" in *"link show"*) exit 255 ;; esac\n' "$(type -P bpftool)" >"$BATS_TEST_TMPDIR/bin/bpftool"
	chmod +x "$BATS_TEST_TMPDIR/bin/bpftool"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH netracker attach --quiet veth0
	[[ $(PATH=$BATS_TEST_TMPDIR/bin:$PATH "$NETRACKER" status --json | jq .closers.noted) == true ]]
	PATH=$BATS_TEST_TMPDIR/bin:$PATH netracker detach --quiet veth0
	assert_clean
}

@test "whose pin of the closer's map was taken away has another one from the next attach on" {
	local program
	netracker attach --quiet veth0
	program=$(linked)
	rm "$PINS/nt_closers"
	[[ $("$NETRACKER" status --json | jq .closers.noted) == false ]]
	netracker attach --quiet veth0
	assert_equal "closers that run" "$(closers)" 1
	wait_for is_gone "$program"
	netracker detach --quiet veth0
	assert_clean
}

@test "what is pinned under the closer's name and is not the tracker's stays, and status says so" {
	mkdir -p "${LINK%/*}"
	bpftool map create "$LINK" type array key 4 value 4 entries 1 name nt_somebody
	netracker attach --quiet veth0
	assert_equal map "$(bpftool --json map show pinned "$LINK" | jq --raw-output .name)" nt_somebody
	assert_status 4 "$NETRACKER" config closers=on
	assert_says "closers cannot be noted: $LINK is not the tracker's; whoever made it has to pin it elsewhere"
	netracker detach --quiet veth0
	assert_equal map "$(bpftool --json map show pinned "$LINK" | jq --raw-output .name)" nt_somebody
}

# without TOOL: of the tools that there are, all but this.
without() {
	local tool
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	for tool in /usr/sbin/* /usr/bin/* /sbin/* /bin/*; do
		[[ ${tool##*/} == "$1"* ]] || ln -sf "$tool" "$BATS_TEST_TMPDIR/bin/"
	done
}

@test "without perl: one sentence says so, and all else works" {
	without perl
	assert_status 0 netracker_without_perl attach --quiet veth0
	assert_equal said "$(grep FINs <<<"$output")" "netracker: FINs that leave after their process is gone name nobody, as there is no command perl; install the package perl-base ('make deps' does)"
	[[ ! -e $LINK ]]
	assert_status 0 netracker_without_perl status
	assert_says "closers    not noted, so FINs that leave late have no process: no command perl"
	assert_status 4 netracker_without_perl config closers=on
	assert_says "closers cannot be noted: no command perl"
	assert_status 0 netracker_without_perl config closers=off
	assert_status 0 netracker_without_perl detach --quiet veth0
	assert_clean
}

# The command puts the usual directories behind the PATH that it gets; so they are not what they were, for this command alone.
netracker_without_perl() {
	# shellcheck disable=SC2016 # for the inner shell
	in_netns server unshare --mount bash -c '
		bin=$1
		shift
		perl=$(realpath "$(type -P perl)")
		for file in "${perl%/*}"/perl*; do
			mount --bind /dev/null "$file"
		done
		PATH=$bin exec "$@"' bash "$BATS_TEST_TMPDIR/bin" "$NETRACKER" "$@"
}

@test "a kernel that refuses the closer: attach is silent and whole, status and config say so, nothing is left" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/perl" <<-'SH'
		#!/bin/sh
		case $* in
			*closer.pl*) echo "Operation not permitted" >&2; exit 1 ;;
		esac
		exec /usr/bin/perl "$@"
	SH
	chmod +x "$BATS_TEST_TMPDIR/bin/perl"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH assert_status 0 netracker attach --quiet veth0
	[[ $output != *FINs* ]]
	[[ ! -e $LINK ]]
	assert_equal "on its way" "$(find /sys/fs/bpf -name 'netracker_closer_*')" ''
	assert_status 0 "$NETRACKER" status
	assert_says "closers    not noted, so FINs that leave late have no process: the closer is not attached"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH assert_status 4 "$NETRACKER" config closers=on
	assert_says "closers cannot be noted: this kernel ($(uname -r)) does not take it: Operation not permitted"
	assert_equal "closers that run" "$(closers)" 0
	netracker detach --quiet veth0
	assert_clean
}

@test "--dry-run shows what would be run, and runs nothing" {
	assert_status 0 netracker attach --dry-run veth0
	assert_says "closer.bpf.o /sys/fs/bpf/netracker_closer_"
	assert_says "map name nt_closers pinned $PINS/nt_closers"
	assert_says " $LINK"
	[[ ! -e $LINK ]]
	netracker attach --quiet veth0
	assert_status 0 netracker detach --dry-run veth0
	assert_says "[#] rm -f -- $LINK"
	[[ -e $LINK ]]
	netracker detach --quiet veth0
}
