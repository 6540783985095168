#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What each verb needs, no less and no more: the table in docs/security.md. And who may read what.

load helpers

setup_file() {
	use_installed
}

setup() {
	isolate
	requires kernel_5.19 object tool_setpriv
	new_netns client
}

# with CAPABILITIES COMMAND…: in the namespace, as uid 0 with these alone (net_admin,bpf; or none), which is what the units do.
with() {
	local set=-all
	[[ $1 == none ]] || set+=",+${1//,/,+}"
	in_netns client setpriv --bounding-set="$set" --inh-caps=-all --no-new-privs -- "${@:2}"
}

# unit UNIT KEY: its value, an instance's name in it being lo.
unit() {
	sed -n "s/^$2=//p" "$ROOT/contrib/systemd/$1" | sed 's/%I/lo/'
}

# as_unit UNIT KEY: run that line of the unit with the capabilities of the unit.
as_unit() {
	local capabilities
	local -a words
	capabilities=$(unit "$1" CapabilityBoundingSet | tr 'A-Z ' 'a-z,' | sed 's/cap_//g')
	read -r -a words <<<"$(unit "$1" "$2")"
	with "${capabilities:-none}" "$NETRACKER" "${words[@]:1}"
}

@test "tc alone needs BPF, NET_ADMIN and PERFMON, and each of them" {
	local set
	in_netns client tc qdisc add dev lo clsact
	for set in net_admin,perfmon bpf,perfmon bpf,net_admin; do
		run with "$set" tc filter add dev lo ingress bpf obj "$OBJ" sec tc_ing
		((status)) || fail "$set was enough"
	done
	with bpf,net_admin,perfmon tc filter add dev lo ingress bpf obj "$OBJ" sec tc_ing
	with bpf,net_admin,perfmon tc filter add dev lo egress bpf obj "$OBJ" sec tc_en
}

@test "attach and detach need NET_ADMIN and SYS_ADMIN, and for the log DAC_OVERRIDE; they say which is lacking" {
	run with sys_admin "$NETRACKER" attach lo
	assert_equal "without NET_ADMIN" "$status:$(grep --only-matching 'CAP_[A-Z_]*' <<<"$output")" 4:CAP_NET_ADMIN
	run with net_admin,bpf,perfmon "$NETRACKER" attach lo
	assert_equal "without SYS_ADMIN" "$status:$(grep --only-matching 'CAP_[A-Z_]*' <<<"$output")" 4:CAP_SYS_ADMIN
	run with net_admin,sys_admin "$NETRACKER" attach --quiet lo
	assert_equal "without DAC_OVERRIDE" "$status:$(grep --only-matching 'handshake_records.json, log, log.json, records.json, unread, as root here lacks CAP_[A-Z_]*' <<<"$output")" \
		'0:handshake_records.json, log, log.json, records.json, unread, as root here lacks CAP_DAC_OVERRIDE'
	assert_equal "lines" "${#lines[@]}" 1
	with none "$NETRACKER" metrics >/dev/null
	with dac_override,net_admin,sys_admin "$NETRACKER" attach --quiet lo
	[[ -e /sys/fs/bpf/netracker/log.json ]] || fail "no log"
	with net_admin,sys_admin "$NETRACKER" detach --quiet lo
	assert_equal "pins left" "$(find /sys/fs/bpf/tc /sys/fs/bpf/netracker -type f 2>/dev/null)" ""
}

@test "the units' commands work with the units' capabilities" {
	as_unit netracker@.service ExecStart
	as_unit netracker@.service ExecReload
	in_netns client ip address add "$CLIENT4/32" dev lo
	peer client connect "$CLIENT4" 9 close >/dev/null 2>&1 || true
	background as_unit netracker-log.service ExecStart
	wait_for grep --quiet "\"src\":\"$CLIENT4\".*\"state\":\"REJ\"" "$BACKGROUND_OUTPUT"
	mkdir "$BATS_TEST_TMPDIR/textfile"
	with none "$NETRACKER" metrics --textfile "$BATS_TEST_TMPDIR/textfile"
	assert_equal "capabilities of the metrics' unit" "$(unit netracker-metrics.service CapabilityBoundingSet)" ""
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	with sys_admin "$NETRACKER" stats --reset
	as_unit netracker@.service ExecStop
	assert_equal "pins left" "$(find /sys/fs/bpf/tc /sys/fs/bpf/netracker -type f 2>/dev/null)" ""
	[[ ! -e $NETRACKER_RUN ]] || fail "the unit leaves $(find "$NETRACKER_RUN")"
	[[ /run/netracker == "$(unit netracker@.service ReadWritePaths)"/* ]] || fail "the unit cannot write to /run/netracker"
}

@test "to look needs less: SYS_ADMIN for status, stats and config, nothing for list, log, services and metrics" {
	local verb
	in_netns client "$NETRACKER" attach --quiet lo
	for verb in status stats config; do
		with sys_admin "$NETRACKER" "$verb" >/dev/null
		run with net_admin,bpf,perfmon "$NETRACKER" "$verb"
		assert_equal "$verb without SYS_ADMIN" "$status" 4
	done
	for verb in list 'log --no-follow' services metrics; do
		# shellcheck disable=SC2086 # a verb and its option
		with none "$NETRACKER" $verb >/dev/null
	done
	in_netns client "$NETRACKER" detach --quiet --all
}

# as_user GROUP COMMAND…: as nobody, with this group.
as_user() {
	setpriv --reuid=65534 --regid="$1" --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- "${@:2}"
}

teardown() {
	! mountpoint --quiet /mnt || umount /mnt
	clean_up
}

# A bpffs as systemd mounts it, and a copy of the command that others may read.
like_systemd() {
	chmod 1700 /sys/fs/bpf
	make --silent -C "$ROOT" install-built DESTDIR="$BATS_TEST_TMPDIR/dest" PREFIX=/usr
	mount -t tmpfs tmpfs /mnt
	cp -R "$BATS_TEST_TMPDIR/dest/usr/." /mnt
	chmod 755 /mnt
	COMMAND=/mnt/bin/netracker
}

@test "closed by default: nobody but root reads maps, views or log" {
	local verb
	in_netns client "$NETRACKER" attach --quiet lo
	assert_equal "files that others or groups may use" "$(find /sys/fs/bpf/tc/globals /sys/fs/bpf/netracker -type f -perm /077)" ""
	like_systemd
	for verb in status list 'log --no-follow' services stats metrics config; do
		# shellcheck disable=SC2086
		run as_user 65534 "$COMMAND" $verb
		assert_equal "$verb as nobody" "$status" 4
	done
	as_user 65534 "$COMMAND" check >/dev/null || [[ $? -eq 4 ]]
	as_user 65534 "$COMMAND" version
	in_netns client "$NETRACKER" detach --quiet --all
}

@test "--group lets its members list, look at top, and read services, metrics and the log, nobody else, and not for longer than the tracker is there" {
	like_systemd
	local before file
	before=$(stat --format='%a %g' /sys/fs/bpf)
	in_netns client "$NETRACKER" attach --quiet --group games lo
	as_user games "$COMMAND" list --json
	[[ $(as_user games "$COMMAND" metrics) == *netracker_build_info* ]] || fail "no metrics"
	[[ $(as_user games "$COMMAND" services) == 'DIR PORT '* ]] || fail "no services"
	[[ $(as_user games "$COMMAND" top --once --delay 0.1) == 'new/s '* ]] || fail "no frame of top"
	in_netns client bash -c 'exec 3<>/dev/tcp/127.0.0.1/9' 2>/dev/null || true
	wait_for grep --quiet '^1 ' /sys/fs/bpf/netracker/unread
	[[ $(as_user games cat /sys/fs/bpf/netracker/log.json) == *'"state":"REJ"'* ]] || fail "no record in the log"
	assert_equal "unread and lost, after the group has read" "$(as_user games sed -n 1p /sys/fs/bpf/netracker/unread)" "0 0"
	for file in cursor boot; do
		run as_user games cat "/sys/fs/bpf/netracker/$file"
		[[ $output == *'Permission denied'* ]] || fail "the group gets at $file: $output"
	done
	assert_equal "services for the group" "$(as_user games "$COMMAND" services --json | jq --compact-output '[.port, .ended.REJ, .live]')" '[9,1,0]'
	run as_user games "$COMMAND" services --by peer
	assert_equal "peers for the group" "$status" 4
	run as_user games "$COMMAND" stats
	assert_equal "stats for the group" "$status" 4
	run as_user 65534 "$COMMAND" list
	assert_equal "list for others" "$status" 4
	run as_user games ls /sys/fs/bpf
	((status)) || fail "the group can list all of /sys/fs/bpf"

	# A second attach without --group leaves it so.
	in_netns client ip link add veth8 type veth peer name veth9
	library pin_consumer "$ROOT/view" other
	in_netns client "$NETRACKER" attach --quiet veth8
	as_user games "$COMMAND" list --json
	assert_equal "unread and lost of another consumer" "$(as_user games sed -n 1p /sys/fs/bpf/netracker/consumers/other/unread)" "1 0"
	in_netns client "$NETRACKER" detach --quiet --all
	assert_equal "mode and group of /sys/fs/bpf" "$(stat --format='%a %g' /sys/fs/bpf)" "$before"
}

@test "a group that is not there is refused before anything is done" {
	run in_netns client "$NETRACKER" attach --group no-such-group lo
	assert_equal "exit status" "$status" 1
	[[ $output == *"no group 'no-such-group'"* ]] || fail "$output"
	assert_equal "pins" "$(find /sys/fs/bpf -type f ! -name '*.debug')" ""
}
