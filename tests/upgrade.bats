#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# From the last release to this build, and back: what was open has its record, what was set stays set, what was attached is attached, and
# nothing of the other version is left. The last release is what bench/release.bash finds in git's history; it is built as it was.

load helpers
load other_machine

# Built once for the file, in copies. Why there is no last release is in $REASON.
setup_file() {
	local tree
	export LAST='' REASON=$BATS_FILE_TMPDIR/reason SOURCE=$BATS_FILE_TMPDIR/source
	command -v dh >/dev/null && command -v git >/dev/null || return 0
	# shellcheck disable=SC2034,SC2153 # for release.bash
	root=$ROOT dir=$BATS_FILE_TMPDIR
	# shellcheck source=../bench/release.bash
	source "$ROOT/bench/release.bash"
	export_last 2>"$REASON" || return 0
	git -C "$LAST" init --quiet
	git -C "$LAST" add --all
	copy_of_tree "$SOURCE"
	for tree in "$LAST" "$SOURCE"; do
		make --silent -C "$tree" deb dist >"$BATS_FILE_TMPDIR/log" 2>&1 || {
			tail -n 20 "$BATS_FILE_TMPDIR/log" >&2
			return 1
		}
	done
}

setup() {
	isolate
	requires tool_dh tool_git tool_nginx tool_curl kernel_5.19
	[[ $LAST ]] || lacking "needs the last release: $(sed 's/.*last release: //' "$REASON")"
	export NETRACKER_INSTANCE=$NETRACKER_TEST_ID-old
	new_pair
	http_server server
	new_machine "$LAST"/build/netracker_*.deb "$SOURCE"/build/netracker_*.deb "$LAST"/build/netracker-*.tar.gz "$SOURCE"/build/netracker-*.tar.gz
	OLD=$(<"$LAST/VERSION") NEW=$(<"$SOURCE/VERSION")
	[[ $OLD != "$NEW" ]] || fail "VERSION says that this build is the last release, $OLD"
}

teardown() {
	end_machine
	clean_up
	[[ ! -d /sys/kernel/tracing/instances/$NETRACKER_TEST_ID-old ]] || rmdir "/sys/kernel/tracing/instances/$NETRACKER_TEST_ID-old"
}

# package VERSION: install it, whatever is there; what dpkg and the package say is in $output.
package() {
	run on_machine bash -c "dpkg --force-downgrade --install /tmp/netracker_$1_*.deb"
	assert_equal "exit status of dpkg" "$status:$output" "0:$output"
}

# unpack VERSION: the tarball, over what is there.
unpack() {
	on_machine tar -xz -C /usr/local --strip-components=1 --file "/tmp/netracker-$1.tar.gz"
}

# hold: a connection to the server stays open until teardown; it is tracked.
hold() {
	# shellcheck disable=SC2016 # for the inner shell
	background in_netns client bash -c 'exec 3<>/dev/tcp/$0/8000; sleep infinity' "$SERVER4"
	wait_for is_listed
}

is_listed() {
	[[ $(on_machine netracker list --json) == *'"dport":8000'* ]]
}

# follow: read the log of what is attached until it ends, into $READ.
follow() {
	background on_machine netracker log --json
	READ=$BACKGROUND_OUTPUT READER=$BACKGROUND_PID
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/close"
	wait_for has_read SF
}

# has_read STATE…: the records of this run in $READ are of these, in the order of the alphabet. The log of 0.1.0 was the machine's.
has_read() {
	assert_equal "states read" "$(sed -n '/^{/p' "$READ" | jq --raw-output --arg server "$SERVER4" 'select(.dst == $server).state' | sort | xargs)" "$*"
}

# has_other_tables: what is attached is of a version with other tables than the command that is installed now.
has_other_tables() {
	on_machine netracker status --json | jq --exit-status '.other_version // false' >/dev/null
}

# tracks: what is attached is of the version that is installed, and has a record of a new connection.
tracks() {
	on_machine netracker status --json | jq --exit-status '(.other_version // false | not) and ([.interfaces[].state] == ["attached"])' >/dev/null ||
		fail "$(on_machine netracker status)"
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/close"
	wait_for has_new_record
}

# Reading takes records away.
has_new_record() {
	on_machine netracker log --no-follow --json --addr "$SERVER4" >>"$BATS_TEST_TMPDIR/new.json"
	grep '"state":"SF"' "$BATS_TEST_TMPDIR/new.json"
}

# says TEXT STATUS COMMAND…: on the machine, a sentence and no other tool's words.
says() {
	run on_machine "${@:3}"
	[[ $status == "$2" && $output == 'netracker: '*"$1"* && $output != *$'\n'* ]] || fail "'${*:3}' ended with $status: $output"
}

leaves_nothing() {
	assert_equal "what is left" "$(remains)" ""
	[[ ! -e /sys/kernel/tracing/instances/$NETRACKER_INSTANCE ]] || fail "the log's instance of the trace is left"
}

@test "the package, over the last release's: open connections have their record or live on, settings and filters are there again" {
	package "$OLD"
	on_machine netracker attach --quiet veth0
	on_machine netracker config handshake_timeout=20 2>/dev/null
	hold
	follow
	package "$NEW"
	assert_equal "settings" "$(on_machine netracker config | grep '^handshake_timeout')" handshake_timeout=20
	if [[ $output == *"$OLD had other tables"* ]]; then
		ends "$READER" 0
		has_read S1 SF
	fi
	is_listed || fail "what was open is not tracked any more"
	tracks
	on_machine dpkg --purge netracker
	leaves_nothing
}

@test "back to the last release's package: connections have their record, it attaches anew, and nothing is in its way" {
	package "$NEW"
	on_machine netracker attach --quiet veth0
	hold
	follow
	package "$OLD"
	if [[ $output == *"detached, as $OLD has other tables"* ]]; then
		ends "$READER" 0
		has_read S1 SF
		leaves_nothing_attached
		on_machine netracker attach --quiet veth0
	fi
	tracks
	on_machine dpkg --purge netracker
	leaves_nothing
}

@test "the tarball, unpacked over the last release's: the verbs say what to do, and that does it" {
	local verb
	unpack "$OLD"
	on_machine netracker attach --quiet veth0
	hold
	follow
	unpack "$NEW"
	if has_other_tables; then
		says "'netracker detach --all' ends and reports them, then attach again" 1 netracker attach veth0
		for verb in stats config log; do
			says "'netracker detach --all' ends and reports what is in them, then attach again" 1 netracker "$verb"
		done
		assert_equal "state" "$(on_machine netracker status | head -n 1 | cut -d ' ' -f 1-2)" "veth0: attached"
		on_machine netracker detach --quiet --all
		ends "$READER" 0
		has_read S1 SF
		leaves_nothing_attached
	fi
	on_machine netracker attach --quiet veth0
	is_listed || fail "what was open is not tracked any more"
	tracks
	on_machine netracker detach --quiet --all
	leaves_nothing_attached
}

# What is installed is still there.
leaves_nothing_attached() {
	CHANGES=/sys/fs/bpf leaves_nothing
}
