#!/usr/bin/env bats
# shellcheck disable=SC2154 # $stdout and $output are set in cli_helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the command makes of failures that nobody ordered: tools that fail, namespaces that vanish, locks that are held, a kernel that is
# too old. It ends with the exit status for it and one sentence of its own, never silently and never with another tool's words alone.

load helpers
load cli_helpers

setup_file() {
	((EUID)) || build_stub "$BATS_FILE_TMPDIR/stub"
}

setup() {
	isolate
	export NETRACKER_LOCK=$BATS_TEST_TMPDIR/lock NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	use_stub
	new_netns server
	new_netns client
	new_veth server veth0 client veth0
	mkdir "$BATS_TEST_TMPDIR/bin"
}

# break_tool NAME: it says something that is not ours, and fails.
break_tool() {
	printf '#!/bin/sh\necho "gibberish of %s" >&2\nexit 1\n' "$1" >"$BATS_TEST_TMPDIR/bin/$1"
	chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}

# broken ARGUMENT…: the command with what is in bin/ before the machine's own.
broken() {
	in_netns server env PATH="$BATS_TEST_TMPDIR/bin:$PATH" "$NETRACKER" "$@"
}

# assert_sentence WHAT: WHAT has failed with a sentence that names the tool, and nothing on stderr is another's.
assert_sentence() {
	local foreign
	foreign=$(grep -vE '^(netracker: |\[#\] )' "$BATS_TEST_TMPDIR/stderr" || true)
	assert_equal "words on stderr of $1 that are not ours" "$foreign" ''
	# What check finds missing is its data.
	grep --quiet -E '^(netracker: |missing  )' "$BATS_TEST_TMPDIR/stderr" "$BATS_TEST_TMPDIR/stdout" --no-filename || fail "$1 failed without a word"
}

# try_verb TOOL ARGUMENT…: with that tool broken. A verb that does without it may succeed, or find that nothing is attached.
try_verb() {
	status=0
	broken "${@:2}" >"$BATS_TEST_TMPDIR/stdout" 2>"$BATS_TEST_TMPDIR/stderr" </dev/null || status=$?
	case $status in
		0) ! grep --quiet gibberish "$BATS_TEST_TMPDIR/stderr" || fail "${*:2} without $1 succeeds with $(<"$BATS_TEST_TMPDIR/stderr")" ;;
		1 | 3 | 4) assert_sentence "${*:2} without $1" ;;
		*) fail "${*:2} without $1 ended with $status: $(<"$BATS_TEST_TMPDIR/stderr")" ;;
	esac
}

@test "attach, status and check with each tool failing: a sentence, an exit status, nothing half done" {
	local tool failed=0
	for tool in nsenter bpftool tc jq ip stat flock; do
		break_tool "$tool"
		try_verb "$tool" attach --quiet veth0
		((status == 0)) || failed=$((failed + 1))
		rm "$BATS_TEST_TMPDIR/bin/$tool"
		((status)) || netracker detach --quiet veth0
		assert_clean
		break_tool "$tool"
		try_verb "$tool" status
		try_verb "$tool" check
		rm "$BATS_TEST_TMPDIR/bin/$tool"
	done
	((failed >= 5)) || fail "attach noticed only $failed tools that fail"
}

@test "every verb, while attached, with each tool failing: a sentence, an exit status, nothing changed" {
	local tool verb failed=0
	netracker attach --quiet veth0
	for tool in nsenter bpftool tc jq ip stat flock; do
		break_tool "$tool"
		for verb in 'attach --quiet veth0' status list 'log --no-follow' stats 'stats --reset' metrics config 'config log=on'; do
			# shellcheck disable=SC2086 # words
			try_verb "$tool" $verb
			((status == 0)) || failed=$((failed + 1))
		done
		rm "$BATS_TEST_TMPDIR/bin/$tool"
		assert_whole
	done
	((failed > 15)) || fail "only $failed verbs noticed that a tool fails"
	netracker detach --quiet veth0
	assert_clean
}

@test "detach with each tool failing says so, and can be done again" {
	local tool
	for tool in nsenter bpftool tc jq ip; do
		netracker attach --quiet veth0
		break_tool "$tool"
		try_verb "$tool" detach --quiet veth0
		rm "$BATS_TEST_TMPDIR/bin/$tool"
		netracker detach --quiet --all 2>/dev/null || true
		assert_clean
	done
}

# come_and_go: namespaces that live for a moment, as those of containers being started do.
come_and_go() {
	while :; do
		unshare --net sleep 0.02
	done
}

@test "attach, status and detach beside namespaces that come and go" {
	local i
	background come_and_go
	background come_and_go
	for ((i = 0; i < 15; i++)); do
		assert_status 0 netracker attach --quiet veth0
		assert_status 0 netracker status
		assert_status 0 netracker detach --quiet veth0
	done
	assert_clean
}

# The inodes of the namespaces that nsenter is told to enter from now on, one a line in $BATS_TEST_TMPDIR/entered.
spy_on_nsenter() {
	cat >"$BATS_TEST_TMPDIR/bin/nsenter" <<-EOF
		#!/bin/bash
		for word in "\$@"; do
			[[ \$word != --net=* ]] || stat --dereference --format=%i -- "\${word#--net=}" >>"$BATS_TEST_TMPDIR/entered"
		done
		exec $(type -P nsenter) "\$@"
	EOF
	chmod +x "$BATS_TEST_TMPDIR/bin/nsenter"
}

# is_left_alone INODE…: attach, status and detach enter none of these namespaces.
is_left_alone() {
	: >"$BATS_TEST_TMPDIR/entered"
	broken attach --quiet veth0 && broken status >/dev/null && broken detach --quiet veth0 &&
		! grep --quiet --line-regexp --fixed-strings --file=<(printf '%s\n' "$@") "$BATS_TEST_TMPDIR/entered"
}

@test "a namespace is not entered because it is there" {
	local i others=()
	unset NETRACKER_OBJ # the real one: views tell where filters are
	requires kernel_5.19 object
	for i in {1..20}; do
		new_netns "other$i"
		others+=("$(stat --format=%i "$NETNS_DIR/other$i")")
	done
	spy_on_nsenter
	# While somebody's tracker on this machine is losing its pins, its filters are looked for everywhere.
	wait_for is_left_alone "${others[@]}"
}

@test "many attaches at once wait for as long as it goes on" {
	local i pids=()
	# shellcheck disable=SC2030 # of this test
	export NETRACKER_LOCK_SECONDS=8
	# Each takes a while, all together more than the patience.
	printf '#!/bin/bash\nsleep 0.2\nexec %s "$@"\n' "$(type -P tc)" >"$BATS_TEST_TMPDIR/bin/tc"
	chmod +x "$BATS_TEST_TMPDIR/bin/tc"
	for i in 1 2 3 4 5 6 7 8; do
		in_netns server ip link add "many$i" type veth peer name "peer$i"
	done
	for i in 1 2 3 4 5 6 7 8; do
		broken attach --quiet "many$i" >"$BATS_TEST_TMPDIR/many$i" 2>&1 3>&- &
		pids+=("$!")
	done
	for i in "${pids[@]}"; do
		wait "$i" || fail "$(cat "$BATS_TEST_TMPDIR"/many?)"
	done
	assert_equal "attached" "$(named_interfaces | wc -l)" 8
	netracker detach --quiet --all
}

@test "a lock that somebody keeps: given up with a sentence, nothing done" {
	# shellcheck disable=SC2031 # of this test
	export NETRACKER_LOCK_SECONDS=1
	background flock "$NETRACKER_LOCK" sleep 60
	wait_for is_locked
	assert_status 1 netracker attach veth0
	assert_says "$NETRACKER_LOCK has been held by the same command for 1 s"
	assert_clean
	assert_status 1 env NETRACKER_LOCK=/nowhere/lock "$NETRACKER" attach lo
	assert_says 'cannot open the lock /nowhere/lock'
}

is_locked() {
	! flock --nonblock "$NETRACKER_LOCK" true
}

@test "Ctrl-C that comes as a tool ends by itself ends the command" {
	local tool
	netracker attach --quiet veth0
	for tool in flock awk; do
		# shellcheck disable=SC2016 # for the tool
		printf '#!/bin/bash\nkill -INT "$PPID"\nexec %s "$@"\n' "$(type -P "$tool")" >"$BATS_TEST_TMPDIR/bin/$tool"
		chmod +x "$BATS_TEST_TMPDIR/bin/$tool"
		assert_status 130 timeout --foreground 20 nsenter --net="$NETNS_DIR/server" env --default-signal=INT PATH="$BATS_TEST_TMPDIR/bin:$PATH" \
			"$NETRACKER" log --no-follow
		assert_equal "words" "$(<"$BATS_TEST_TMPDIR/stderr")" ''
		rm "$BATS_TEST_TMPDIR/bin/$tool"
	done
}

# refuse_with TEXT: tc, when it loads the object, fails as on another kernel.
refuse_with() {
	printf '#!/bin/bash\n[[ "$*" != *" obj "* ]] || { cat %q >&2; exit 1; }\nexec %s "$@"\n' "$BATS_TEST_TMPDIR/words" "$(type -P tc)" \
		>"$BATS_TEST_TMPDIR/bin/tc"
	chmod +x "$BATS_TEST_TMPDIR/bin/tc"
	printf '%s\n' "$1" >"$BATS_TEST_TMPDIR/words"
}

@test "a kernel that lacks what the programs call: named, exit status 4; uname decides nothing" {
	refuse_with $'libbpf: prog \'netracker_ingress\': BPF program load failed: Invalid argument\n; bpf_timer_init(\n1204: (85) call unknown#169\ninvalid func unknown#169\nUnable to load program'
	assert_status 4 broken attach veth0
	assert_says 'which has no bpf_timer_init'
	assert_says 'Linux 5.15'
	assert_clean
	printf '#!/bin/sh\necho 5.14.0-427.el9.x86_64\n' >"$BATS_TEST_TMPDIR/bin/uname"
	chmod +x "$BATS_TEST_TMPDIR/bin/uname"
	rm "$BATS_TEST_TMPDIR/bin/tc"
	assert_status 0 broken attach --quiet veth0
	assert_whole
	assert_status 0 broken check
	netracker detach --quiet veth0
}

@test "a kernel whose verifier refuses the programs: its reason in a sentence, not its log" {
	refuse_with $'libbpf: prog \'netracker_ingress\': BPF program load failed: Permission denied\n3: (71) r1 = *(u8 *)(r0 +0)\nR0 unbounded memory access, make sure to bounds check any such access\nprocessed 12 insns (limit 1000000) max_states_per_insn 0\n-- END PROG LOAD LOG --\nUnable to load program'
	assert_status 1 broken attach --quiet veth0
	assert_says 'R0 unbounded memory access'
	assert_equal "lines" "$(wc -l <<<"$output")" 2
	assert_clean
}

@test "check tries the kernel instead of asking for its name" {
	refuse_with 'invalid func unknown#177'
	assert_status 4 broken check
	assert_says 'which has no bpf_trace_vprintk'
	rm "$BATS_TEST_TMPDIR/bin/tc"
	assert_status 0 netracker check
	assert_says 'ok       a kernel that takes the programs'
	assert_clean
}

@test "an interface that goes while status looks at it is gone, and no failure" {
	netracker attach --quiet veth0
	cat >"$BATS_TEST_TMPDIR/bin/tc" <<-EOF
		#!/bin/sh
		case "\$*" in
			*"filter show dev veth0 ingress"*) ip link del veth0 2>/dev/null ;;
		esac
		exec $(command -v tc) "\$@"
	EOF
	chmod +x "$BATS_TEST_TMPDIR/bin/tc"
	assert_status 3 broken status
	assert_says "veth0: gone"
	[[ $output != *failed* ]] || fail "$output"
	rm "$BATS_TEST_TMPDIR/bin/tc"
	netracker detach --quiet --all
	assert_equal pins "$(find /sys/fs/bpf -type f ! -name "*.debug")" ""
}
