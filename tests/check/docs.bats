#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the documents say is so: links lead somewhere, every message is explained, every command and option is there.

load ../helpers

setup() { :; }
teardown() { :; }

# messages: what the tools may say, a message a line, with @ in the place of what varies.
messages() {
	# shellcheck disable=SC2016 # what is looked for is shell
	grep --no-filename --only-matching -E '(die "\$EXIT_[A-Z_]+"|die_usage|say|missing) "[^"]*(\$\([^)]*\)[^"]*)?"' \
		"$ROOT"/scripts/netracker "$ROOT"/scripts/lib/*.sh |
		sed -E 's/^(die "[^"]*"|die_usage|say|missing) "//; s/"$//; s/\$\([^)]*\)|\$\{[^}]*\}|\$[A-Za-z_0-9]+/@/g' | grep '[a-z]'
}

# explained MESSAGE: the beginning of one of its fixed parts, three words if it has so many, is on the page of troubleshooting.
explained() {
	local part words
	local -a parts
	IFS=@ read -r -a parts <<<"$1"
	for part in "${parts[@]}"; do
		words=$(sed -E "s/^[^[:alnum:]-]*//; s/[?'].*//; s/^(([^ ;:,]+ ){1,2}[^ ;:,]+).*/\1/; s/[^[:alnum:]]+$//" <<<"$part")
		[[ $words != *' '* && $words != *-* ]] || ! grep --quiet --fixed-strings -- "$words" "$ROOT/docs/troubleshooting.md" || return 0
	done
	return 1
}

@test "links lead to files that are there" {
	local file link
	for file in "$ROOT"/*.md "$ROOT"/docs/*.md; do
		while read -r link; do
			[[ -e ${file%/*}/${link%%#*} ]] || fail "${file#"$ROOT/"} links to $link, which is not there"
		done < <(grep --only-matching -E '\]\([^)#:]+(#[^)]*)?\)' "$file" | sed 's/^](//; s/)$//')
	done
}

@test "every message of the tools is explained" {
	local message
	(($(messages | wc -l) > 40)) || fail "messages are not found any more"
	while read -r message; do
		explained "$message" || fail "docs/troubleshooting.md has nothing on: $message"
	done < <(messages)
}

@test "no document names a command or an option that is not there" {
	local verb
	while read -r verb; do
		"$NETRACKER" help "$verb" >/dev/null || fail "there is no netracker $verb"
	done < <(grep --no-filename --only-matching -E '(^|`|# |sudo )netracker [a-z]+' "$ROOT"/README.md "$ROOT"/docs/*.md | sed 's/.* //' | sort -u)
}

@test "the man page is clean and knows every command and every option" {
	local word
	requires tool_mandoc
	run mandoc -Tlint -Wstyle "$ROOT/man/netracker.8"
	# Which other manuals are here is this machine's affair.
	assert_equal "mandoc" "$(grep --invert-match -e 'outdated mandoc.db' -e 'referenced manual not found' <<<"$output")" ""
	mandoc -Tascii "$ROOT/man/netracker.8" | col -b >"$BATS_TEST_TMPDIR/page"
	for word in $("$NETRACKER" help | sed -n '/^Commands/q; s/^  \([a-z]*\) .*/\1/p'); do
		grep --quiet --word-regexp -- "netracker $word" "$BATS_TEST_TMPDIR/page" || fail "the page does not name the command $word"
		for option in $("$NETRACKER" help "$word" | grep --only-matching -E '^ +(-[-A-Za-z0-9, ]*)' | grep --only-matching -E -- '--[a-z-]{2,}' || true); do
			grep --quiet --fixed-strings -- "$option" "$BATS_TEST_TMPDIR/page" || fail "the page does not name $word's option $option"
		done
	done
}

@test "the version is one, wherever it stands, and so is its day" {
	run "$ROOT/scripts/release-check" versions
	assert_equal "exit status" "$status:$output" "0:$output"
}
