#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# make install and uninstall: everything in its place, working from there, and gone again.

load helpers

# install_to DESTDIR [VARIABLE=VALUE…]: what is built already, so that a tester's objects stay as they are.
install_to() {
	make --silent -C "$ROOT" install-built DESTDIR="$1" "${@:2}"
}

# installed DIR: the files, as they are seen from DIR.
installed() {
	find "$1" ! -type d -printf '%P\n' | sort
}

setup() {
	isolate
	requires object
	DEST=$BATS_TEST_TMPDIR/dest
}

@test "everything goes to its place, readable by all and writable by root alone" {
	install_to "$DEST" PREFIX=/usr
	for file in bin/netracker lib/netracker/NeTracker.bpf.o lib/netracker/tracker/closer.bpf.o lib/netracker/view/metrics.bpf.o lib/netracker/common.sh \
		share/man/man8/netracker.8 share/bash-completion/completions/netracker lib/systemd/system/netracker@.service lib/udev/rules.d/90-netracker.rules \
		bin/netracker-bcc lib/python3/dist-packages/netracker.py share/man/man8/netracker-bcc.8 share/bash-completion/completions/netracker-bcc \
		share/doc/netracker/README.md share/doc/netracker/docs/troubleshooting.md; do
		[[ -s $DEST/usr/$file ]] || fail "no $file"
	done
	assert_equal "modes" "$(find "$DEST" -type f -printf '%m\n' | sort -u | xargs)" "644 755"
	assert_equal "executables" "$(cd "$DEST" && find . -type f -perm /111 | sort | xargs)" "./usr/bin/netracker ./usr/bin/netracker-bcc"
	run grep --recursive --fixed-strings --files-with-matches "$DEST" "$DEST"
	assert_equal "files that name DESTDIR" "$output" ""
	run grep --recursive --files-with-matches --binary-files=without-match --fixed-strings "$ROOT/" "$DEST"
	assert_equal "files that name the source tree" "$output" ""
}

@test "each directory can be chosen, and the command still finds its libraries" {
	install_to "$DEST" BINDIR=/opt/bin LIBDIR=/srv/libraries DATADIR=/opt/data MANDIR=/opt/manual DOCDIR=/opt/doc UNITDIR=/opt/units \
		UDEVDIR=/opt/rules COMPLETIONDIR=/opt/completions
	assert_equal "directories" "$(installed "$DEST" | cut -d / -f 1-2 | sort -u | xargs)" \
		"opt/bin opt/completions opt/doc opt/manual opt/rules opt/units srv/libraries"
	assert_equal "version" "$("$DEST/opt/bin/netracker" version)" "netracker $(<"$ROOT/VERSION")"
	ln -s "$DEST/opt/bin/netracker" "$BATS_TEST_TMPDIR/link"
	assert_equal "version by a link" "$("$BATS_TEST_TMPDIR/link" version)" "netracker $(<"$ROOT/VERSION")"
	grep --quiet '^ExecStart=:/opt/bin/netracker attach' "$DEST/opt/units/netracker@.service"
}

@test "the installed command tracks a connection with the installed objects" {
	requires kernel_5.19 tool_nginx tool_curl
	install_to "$DEST" PREFIX=/usr
	PATH=$DEST/usr/bin:$PATH
	new_pair
	http_server server
	in_netns client env PATH="$PATH" netracker attach veth0 2>"$BATS_TEST_TMPDIR/commands"
	grep --quiet --fixed-strings "bpf obj $DEST/usr/lib/netracker/NeTracker.bpf.o sec tc_ing" "$BATS_TEST_TMPDIR/commands"
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/"
	assert_equal "state" "$(wait_for_state)" SF
	[[ $(netracker metrics) == *netracker_connections_ended_total* ]] || fail "no metrics"
	netracker detach --quiet --all
}

# The first record's state; other people's are in the log as well.
wait_for_state() {
	timeout 60 netracker log --json --addr "$SERVER4" --max-rows 1 | jq --raw-output .state
}

@test "uninstall leaves no file, with the same variables" {
	install_to "$DEST" PREFIX=/usr
	: >"$DEST/usr/bin/another"
	make --silent -C "$ROOT" uninstall DESTDIR="$DEST" PREFIX=/usr
	assert_equal "files left" "$(installed "$DEST")" usr/bin/another
}

@test "uninstall refuses while the tracker is attached" {
	install_to "" PREFIX="$DEST"
	new_netns client
	in_netns client "$DEST/bin/netracker" attach --quiet lo
	run make --silent -C "$ROOT" uninstall PREFIX="$DEST"
	[[ $status != 0 && $output == *"'netracker detach --all' comes first"* ]] || fail "$output"
	"$DEST/bin/netracker" detach --quiet --all
	make --silent -C "$ROOT" uninstall PREFIX="$DEST"
	assert_equal "files left" "$(installed "$DEST")" ""
}

@test "systemd finds nothing to complain of in the units" {
	requires tool_systemd-analyze
	install_to "" PREFIX="$DEST"
	run systemd-analyze verify --man=no "$DEST"/lib/systemd/system/netracker-log.service "$DEST"/lib/systemd/system/netracker-metrics.timer \
		"$DEST"/lib/systemd/system/netracker-metrics.service "$DEST/lib/systemd/system/netracker@eth0.service" "$DEST/lib/systemd/system/netracker-match@sys-devices-virtual-net-eth0.service"
	assert_equal "exit status" "$status" 0
	assert_equal "complaints" "$(grep --fixed-strings netracker <<<"$output" || true)" ""
}
