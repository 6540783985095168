#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the documents say is so: command blocks marked `sh runnable` run, links lead somewhere, every message is explained.

load helpers

# blocks FILE: its runnable commands, all of them as one script.
blocks() {
	# shellcheck disable=SC2016 # these marks are Markdown's
	sed -n '/^```sh runnable$/,/^```$/ { /^```/! p }' "$1"
}

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

@test "the quick start's commands run as they stand" {
	requires kernel_5.19 object tool_nginx tool_curl
	new_pair
	in_netns client ip link set veth0 down
	in_netns client ip link set veth0 name eth0
	in_netns client ip link set eth0 up
	http_server server
	mkdir "$BATS_TEST_TMPDIR/bin"
	ln -s "$NETRACKER" "$BATS_TEST_TMPDIR/bin/netracker"
	# The page says: make a connection.
	blocks "$ROOT/docs/quickstart.md" | sed "s|^netracker log --no-follow\$|curl --silent http://$SERVER4:8000/; &|" >"$BATS_TEST_TMPDIR/script"
	(($(wc -l <"$BATS_TEST_TMPDIR/script") >= 9)) || fail "the page has lost its commands"
	assert_equal "pages with runnable blocks" "$(cd "$ROOT" && grep --files-with-matches '^```sh runnable' README.md docs/*.md)" docs/quickstart.md
	run in_netns client env PATH="$BATS_TEST_TMPDIR/bin:$PATH" bash -euo pipefail "$BATS_TEST_TMPDIR/script"
	assert_equal "exit status" "$status:${output: -300}" "0:${output: -300}"
	[[ $output =~ "$SERVER4:8000"\ +out\ +SF ]] || fail "the log does not show the connection: $output"
	assert_equal "pins left" "$(find /sys/fs/bpf/tc /sys/fs/bpf/netracker -type f 2>/dev/null)" ""
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
