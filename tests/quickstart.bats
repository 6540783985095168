#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The commands of the quick start run; those of monitoring.md do in prometheus/fleet.bats.

load helpers

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
	runnable "$ROOT/docs/quickstart.md" | sed "s|^netracker log --no-follow\$|curl --silent http://$SERVER4:8000/; &|" >"$BATS_TEST_TMPDIR/script"
	(($(wc -l <"$BATS_TEST_TMPDIR/script") >= 9)) || fail "the page has lost its commands"
	assert_equal "pages with runnable blocks" "$(cd "$ROOT" && grep --files-with-matches '^```sh runnable' README.md docs/*.md | tr '\n' ' ')" "docs/monitoring.md docs/quickstart.md "
	run in_netns client env PATH="$BATS_TEST_TMPDIR/bin:$PATH" bash -euo pipefail "$BATS_TEST_TMPDIR/script"
	assert_equal "exit status" "$status:${output: -300}" "0:${output: -300}"
	[[ $output =~ "$SERVER4:8000"\ +out\ +SF ]] || fail "the log does not show the connection: $output"
	assert_equal "pins left" "$(find /sys/fs/bpf/tc /sys/fs/bpf/netracker -type f 2>/dev/null)" ""
}
