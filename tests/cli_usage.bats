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

@test "help: every command has its text, by -h too" {
	local verb
	assert_status 0 "$NETRACKER" help
	for verb in attach detach status list log services report stats metrics config check version help; do
		assert_says "  $verb"
	done
	for verb in attach detach status list log services report stats metrics config check version help; do
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
		interface attach --match eth*
		'a/b' attach --all --match a/b
		patterns attach --all --match a --match /
		'--foo' attach --foo
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
		'size' services --sort size
		'host' services --by host
		'whenever' services --since whenever
		'many' services --max-rows many
		'x' services x
		'x' report x
		'whenever' report --since whenever
		exclude stats --reset --json
		'0' config close_timeout=0
		'86401' config handshake_timeout=86401
		'-x' status -jx
		--json list --json=yes
		--addr list --ad=192.0.2.7 --ad
		'--no' log --no
		-n log -n
		'-1' list --max-rows=-1
		'--x' attach --x=y --quiet
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
	for verb in 'attach eth0' 'detach --all' status list log services 'services --by peer' report stats config; do
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
		for option in --addr --port --pid --state --iface --max-rows --sort; do
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

# complete_words WORD…: what the completion offers for the last one.
complete_words() (
	# shellcheck source=../scripts/completion/netracker.bash
	source "$ROOT/scripts/completion/netracker.bash"
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	_netracker 2>/dev/null || true
	printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
)

@test "completion" {
	assert_equal verbs "$(complete_words netracker sta)" 'stats status'
	assert_equal states "$(complete_words netracker list --state RST)" 'RSTO RSTOS0 RSTR'
	assert_equal options "$(complete_words netracker log --no)" '--no-follow --no-header'
	[[ " $(complete_words netracker attach '') " == *' lo '* ]] || fail "no interfaces"
}

# parsed VERB WORD…: what options.sh makes of them: the options in alphabetical order, | and the operands.
parsed() {
	bash -c '
		set -euo pipefail
		LIBDIR=$0
		for library in common prerequisites options; do
			source "$0/$library.sh"
		done
		VERB=$1
		parse_options "${@:2}"
		for key in "${!GIVEN[@]}"; do
			echo "$key=${GIVEN[$key]}"
		done | sort | xargs -d "\n" echo -n
		printf " |"
		for word in "${OPERANDS[@]}"; do
			printf " %s" "$word"
		done' "$ROOT/scripts/lib" "$@"
}

@test "options: values behind = or in the next word, bundles, unique beginnings, between operands and not behind --" {
	assert_equal "=" "$(parsed list --addr=192.0.2.7 --port 80 --state=SF)" 'addr=192.0.2.7 port=80 state=SF |'
	assert_equal "bundle" "$(parsed list -4Hwjn5)" '4=1 json=1 max_rows=5 no_header=1 wide=1 |'
	assert_equal "beginnings" "$(parsed log --fail --max 3 --no-f --qual)" 'failed=1 max_rows=3 no_follow=1 quality=1 |'
	assert_equal "between" "$(parsed attach eth0 -q eth1 --netns=/run/x)" 'netns=/run/x quiet=1 | eth0 eth1'
	assert_equal "all of them" "$(parsed attach --all --match 'a* b*' --mat=c -q x)" 'all=1 match=a* b* c quiet=1 | x'
	assert_equal "behind --" "$(parsed attach -n -- -q --netns - --)" 'dry_run=1 | -q --netns - --'
	assert_equal "the last one counts" "$(parsed list -4 -6) $(parsed attach -vq) $(parsed log --failed --state SF)" '6=1 | quiet=1 | state=SF |'
	# shellcheck disable=SC2016 # it must not be expanded
	assert_equal "words that a shell would evaluate" "$(parsed log --since='$(id)`id`' --owner "it's; \\" '* ')" \
		$'owner=it\'s; \\ since=$(id)`id` | * '
}

@test "an empty value is a mistake, and never \"not given\"" {
	local words
	for words in 'attach --netns= veth0' 'detach --netns= veth0' 'attach --group= veth0' 'metrics --textfile=' 'log --state=' 'log --addr=' 'list --sort=' \
		'list --port=' 'log --since=' 'report --output='; do
		# shellcheck disable=SC2086 # they are words
		assert_status 2 "$NETRACKER" $words
		assert_says 'needs a value, and this one is empty'
	done
	assert_status 2 "$NETRACKER" attach --netns '' veth0
}

@test "variables of getopt change nothing" {
	POSIXLY_CORRECT=1 GETOPT_COMPATIBLE=1 assert_status 0 "$NETRACKER" list --help
	assert_says 'usage: netracker list'
}

@test "help, manual page and completion have the options of the table, no more and no less" {
	local verb name want
	requires tool_mandoc
	# shellcheck disable=SC2016 # for the inner shell
	bash -c 'source "$0"; for verb in "${!OPTIONS[@]}"; do echo "$verb ${OPTIONS[$verb]}"; done' "$ROOT/scripts/lib/options.sh" \
		>"$BATS_TEST_TMPDIR/table"
	assert_equal "verbs" "$(cut -d ' ' -f 1 "$BATS_TEST_TMPDIR/table" | sort)" \
		"$("$NETRACKER" help | sed -n '/^Commands/q; s/^  \([a-z]*\) .*/\1/p' | sort)"
	mandoc -Tascii -Owidth=1000 "$ROOT/man/netracker.8" | col -b >"$BATS_TEST_TMPDIR/page"
	while read -r verb want; do
		want=$(tr ' ' '\n' <<<"$want" | tr -d : | sort)
		# Its lines begin with `  -x, --long` or `  -4, -6`.
		assert_equal "options in the help of $verb" "$("$NETRACKER" help "$verb" |
			sed -nE 's/^  (-[^ ,]+)(, -[^ ]+)?( .*)?$/\1\2/p' | sed -E 's/, (-.)$/\n\1/; s/, --/,/' | sed 's/^-*//' | grep . | sort)" "$want"
		# Its synopsis: short ones in bundles, long ones that have no short form.
		assert_equal "options in the synopsis of $verb" \
			"$(sed -n '/^SYNOPSIS/,/^DESCRIPTION/p' "$BATS_TEST_TMPDIR/page" | grep -E "^ +netracker $verb( |\$)" | grep --only-matching -E -- '-(-[a-z-]+|[A-Za-z0-9]+)' |
				sed -E '/^--/! { s/^-//; s/./&\n/g; }; s/^--//' | grep . | sort -u)" "$(cut -d , -f 1 <<<"$want" | sort)"
		while read -r name; do
			grep --quiet -E "^ +(-., )?--$name( |\$)" "$BATS_TEST_TMPDIR/page" || fail "the page does not explain $verb's --$name"
		done < <(cut -d , -f 2 <<<"$want" | grep ..)
		assert_equal "completion of $verb" "$(complete_words netracker "$verb" - | tr ' ' '\n' | sed 's/^-*//' | sort)" "$(cut -d , -f 2 <<<"$want" | sort)"
	done <"$BATS_TEST_TMPDIR/table"
}
