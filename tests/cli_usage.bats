#!/usr/bin/env bats
# shellcheck disable=SC2154 # $stdout and $output are set in cli_helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Words, usage errors and prerequisites of the command: nothing here changes anything.

load helpers
load cli_helpers

setup() {
	:
}

teardown() {
	:
}

# as_user COMMAND…: as nobody.
as_user() {
	if ((EUID)); then
		"$@"
	else
		# The clone may be where only root gets in: the right to read it is all that is kept.
		setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
	fi
}

@test "help: every command has its text, by -h too" {
	local verb
	assert_status 0 "$NETRACKER" help
	for verb in attach detach status list log stats metrics config check version help; do
		assert_says "  $verb"
	done
	for verb in attach detach status list log stats metrics config check version help; do
		assert_status 0 "$NETRACKER" help "$verb"
		[[ $stdout == "usage: netracker $verb"* ]] || fail "$stdout"
		assert_equal "$verb -h" "$("$NETRACKER" "$verb" -h)" "$stdout"
		assert_equal 'widest line' "$(awk 'length > 132' <<<"$stdout")" ''
	done
}

@test "no command: the overview on stderr, status 2" {
	assert_status 2 "$NETRACKER"
	assert_says 'usage: netracker COMMAND'
	assert_equal stdout "$stdout" ''
}

@test "version" {
	assert_status 0 "$NETRACKER" version
	assert_equal version "$stdout" "netracker $(<"$ROOT/VERSION")"
	assert_status 0 "$NETRACKER" --version
}

@test "abbreviations" {
	assert_status 0 "$NETRACKER" v
	assert_status 0 "$NETRACKER" he
	assert_status 2 "$NETRACKER" st
	assert_says "'st' can mean status or stats"
}

@test "usage errors name the word at fault" {
	local line
	while read -r -a line; do
		assert_status 2 "$NETRACKER" "${line[@]:1}"
		assert_says "${line[0]}"
	done <<-'EOF'
		'foo' foo
		'-x' -x
		interface attach
		'--foo' attach --foo
		'--all' attach --all
		--netns attach eth0 --netns
		exclude detach --all eth0
		'x' status x
		'many' list --max-rows many
		'70000' list --port 70000
		'SX' list --state S0,SX
		'size' list --sort size
		'1.2.3' list --addr 1.2.3
		'--no-follow' list --no-follow
		'a/b' log --iface a/b
		'-5' log --min-ms -5
		'whenever' log --since whenever
		'--sort' log --sort age
		exclude stats --reset --json
		'0' config close_timeout=0
		'86401' config handshake_timeout=86401
		'5s' config handshake_timeout=5s
		'maybe' config log=maybe
		'colour' config colour=on
		'log' config log
		'x' check x
		'x' version x
	EOF
}

@test "without root: exit status 4, and how to go on" {
	local verb
	for verb in 'attach eth0' 'detach --all' status list log stats config; do
		# shellcheck disable=SC2086 # words
		assert_status 4 as_user "$NETRACKER" $verb
		assert_says sudo
	done
}

@test "check: as a user too, what is missing with its remedy" {
	assert_status 4 as_user "$NETRACKER" check
	assert_says 'missing  root'
	assert_says 'ok       bpftool'
	assert_status 4 env NETRACKER_OBJ=/nowhere/NeTracker.bpf.o "$NETRACKER" check
	assert_says "/nowhere/NeTracker.bpf.o is not there; 'make' builds it"
}

# without NAME TEXT: put a command before the real one that prints TEXT.
pretend() {
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	printf '#!/bin/sh\necho "%s"\n' "$2" >"$BATS_TEST_TMPDIR/bin/$1"
	chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}

@test "prerequisites of attach: tc, object" {
	requires root
	pretend tc 'tc utility, iproute2-5.4.0'
	assert_status 4 env PATH="$BATS_TEST_TMPDIR/bin:$PATH" "$NETRACKER" attach lo
	assert_says 'without libbpf'
	rm "$BATS_TEST_TMPDIR/bin/tc"
	assert_status 4 env NETRACKER_OBJ=/nowhere/NeTracker.bpf.o "$NETRACKER" attach lo
	assert_says "'make' builds it"
}

@test "values never reach the shell" {
	local value
	# shellcheck disable=SC2016 # it must not be expanded
	for value in '$(touch pwned)' '`touch pwned`' '; touch pwned' 'a[$(touch pwned)]'; do
		for option in --addr --port --state --iface --max-rows --sort; do
			assert_status 2 "$NETRACKER" list "$option" "$value"
		done
		for option in --min-ms --since; do
			assert_status 2 "$NETRACKER" log "$option" "$value"
		done
		assert_status 2 "$NETRACKER" config "handshake_timeout=$value"
		assert_status 2 "$NETRACKER" "$value"
	done
	[[ ! -e pwned ]]
}

@test "completion" {
	# shellcheck source=../scripts/completion/netracker.bash
	source "$ROOT/scripts/completion/netracker.bash"
	complete_words() {
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		_netracker 2>/dev/null || true
		printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
	}
	assert_equal verbs "$(complete_words netracker sta)" 'stats status'
	assert_equal states "$(complete_words netracker list --state RST)" 'RSTO RSTOS0 RSTR'
	assert_equal options "$(complete_words netracker log --no)" '--no-follow --no-header'
	[[ " $(complete_words netracker attach '') " == *' lo '* ]] || fail "no interfaces"
}
