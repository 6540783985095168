#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The Debian package and the tarball: built twice they are the same, and what they install works where there is no compiler.

load helpers
load other_machine

# Built once for the file, in a copy: the tester's tree stays as it is.
setup_file() {
	export SOURCE=$BATS_FILE_TMPDIR/source
	command -v dh >/dev/null && command -v git >/dev/null || return 0
	copy_of_tree "$SOURCE"
	if ! make --silent -C "$SOURCE" deb dist >"$BATS_FILE_TMPDIR/log" 2>&1; then
		tail -n 20 "$BATS_FILE_TMPDIR/log" >&2
		return 1
	fi
}

setup() {
	isolate
	requires tool_dh tool_git
	DEB=$(echo "$SOURCE"/build/netracker_*.deb)
	BCC_DEB=$(echo "$SOURCE"/build/netracker-bcc_*.deb)
	TARBALL=$(echo "$SOURCE"/build/netracker-*.tar.gz)
}

teardown() {
	end_machine
	clean_up
}

track_one() {
	http_server server
	on_machine netracker attach --quiet veth0
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/"
	assert_equal "state" "$(on_machine timeout 60 netracker log --json --addr "$SERVER4" --max-rows 1 | jq --raw-output .state)" SF
}

@test "lintian finds no error in the package" {
	requires tool_lintian
	run lintian --fail-on error,warning --allow-root "$SOURCE"/build/netracker_*.changes
	assert_equal "exit status" "$status:$output" "0:$output"
}

@test "the package has all of contrib, as it is" {
	dpkg-deb --extract "$DEB" "$BATS_TEST_TMPDIR/extracted"
	diff --recursive "$ROOT/contrib" "$BATS_TEST_TMPDIR/extracted/usr/share/doc/netracker/contrib"
}

@test "built again elsewhere, at another time, under another umask and locale, package and tarball are the same" {
	copy_of_tree "$BATS_TEST_TMPDIR/elsewhere"
	find "$BATS_TEST_TMPDIR/elsewhere" -exec touch --date=2030-01-01 {} +
	(
		umask 027
		unset LC_ALL
		LANG=de_DE.UTF-8 LANGUAGE=de TZ=Asia/Tokyo make --silent -C "$BATS_TEST_TMPDIR/elsewhere" deb dist >/dev/null 2>&1
	)
	cmp "$DEB" "$BATS_TEST_TMPDIR/elsewhere/build/${DEB##*/}"
	cmp "$BCC_DEB" "$BATS_TEST_TMPDIR/elsewhere/build/${BCC_DEB##*/}"
	cmp "$TARBALL" "$BATS_TEST_TMPDIR/elsewhere/build/${TARBALL##*/}"
}

@test "the package installs without a compiler, tracks, and leaves nothing when it is purged" {
	requires kernel_5.19 tool_nginx tool_curl
	new_pair
	new_machine "$DEB" "$BCC_DEB" "$TARBALL"
	on_machine dpkg --install "/tmp/${DEB##*/}"
	run on_machine bash -c 'command -v clang'
	assert_equal "compiler" "$output" ""
	track_one
	# Still attached.
	on_machine dpkg --purge netracker
	assert_equal "what is left" "$(remains)" ""
}

@test "the package netracker-bcc installs without a compiler, tracks, and leaves nothing when it is purged" {
	requires kernel_5.19 tool_nginx tool_curl
	/usr/bin/python3 -c 'import bcc, pyroute2' 2>/dev/null || lacking "needs python3-bpfcc and python3-pyroute2: 'make deps' installs them"
	new_pair
	new_machine "$DEB" "$BCC_DEB" "$TARBALL"
	on_machine dpkg --install "/tmp/${DEB##*/}" "/tmp/${BCC_DEB##*/}"
	http_server server
	# The very process, for its signal.
	background nsenter --net="$NETNS_DIR/client" -- chroot "$MACHINE" env --chdir=/ NETRACKER_LOCK=/tmp/lock PATH=/usr/sbin:/usr/bin:/sbin:/bin netracker-bcc -i veth0
	wait_for grep LADDR "$BACKGROUND_OUTPUT" || fail "$(<"$BACKGROUND_OUTPUT")"
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/"
	wait_for grep " SF " "$BACKGROUND_OUTPUT" || fail "$(<"$BACKGROUND_OUTPUT")"
	kill -TERM "$BACKGROUND_PID"
	wait "$BACKGROUND_PID"
	run on_machine /usr/bin/python3 -c 'import netracker; netracker.attached()'
	[[ $output == *"NotAttached: not attached to any interface"* ]] || fail "$output"
	on_machine dpkg --purge netracker-bcc netracker
	assert_equal "what is left" "$(remains)" ""
}

@test "an upgrade keeps the tracker attached" {
	new_pair
	new_machine "$DEB" "$BCC_DEB" "$TARBALL"
	on_machine dpkg --install "/tmp/${DEB##*/}"
	on_machine netracker attach --quiet veth0
	on_machine dpkg --install "/tmp/${DEB##*/}"
	[[ $(on_machine netracker status) == veth0:* ]] || fail "it is not attached any more"
	on_machine dpkg --purge netracker
	assert_equal "what is left" "$(remains)" ""
}

@test "the tarball's checksum fits, and unpacked in /usr/local it tracks" {
	requires kernel_5.19 tool_nginx tool_curl
	(cd "${TARBALL%/*}" && sha256sum --check --quiet "${TARBALL##*/}.sha256")
	new_pair
	new_machine "$DEB" "$BCC_DEB" "$TARBALL"
	on_machine tar -xz -C /usr/local --strip-components=1 --file "/tmp/${TARBALL##*/}"
	assert_equal "where" "$(on_machine bash -c 'command -v netracker')" /usr/local/bin/netracker
	track_one
	on_machine netracker detach --quiet --all
}
