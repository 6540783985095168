#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The package and its units under a real systemd, boot and shutdown included: what is enabled works, whatever comes first, and comes back
# by itself.
# shellcheck disable=SC2016,SC2034 # what runs inside expands there; helpers use it

load ../helpers
load machine

setup_file() {
	requires root object kernel_5.19 tool_systemd-nspawn tool_udevadm tool_dh tool_git tool_python3 tool_jq
	copy_of_tree "$BATS_FILE_TMPDIR/source"
	if ! make --silent -C "$BATS_FILE_TMPDIR/source" deb >"$BATS_FILE_TMPDIR/log" 2>&1; then
		tail -n 20 "$BATS_FILE_TMPDIR/log" >&2
		return 1
	fi
	mount -t tmpfs tmpfs /run # systemd-nspawn leaves locks there
	machine_create "$BATS_FILE_TMPDIR"/source/build/netracker_*.deb
	machine_boot
	inside dpkg --install /netracker.deb >"$BATS_FILE_TMPDIR/log" 2>&1 || {
		cat "$BATS_FILE_TMPDIR/log" >&2
		return 1
	}
	inside udevadm control --reload # by itself it looks for new rules every three seconds
}

teardown_file() {
	machine_destroy
	! mountpoint --quiet /run || umount /run
}

# Each test begins with a machine where nothing is enabled, and eth0 is there.
setup() {
	WAIT_SECONDS=20
	plug eth0
}

teardown() {
	[[ ${BATS_TEST_COMPLETED-} ]] || inside journalctl --quiet --no-pager --output=short-precise --grep '^[^{]' --reverse | head -60 | tac
	inside rm -f /etc/default/netracker
	inside systemctl disable --quiet --now netracker@eth{0,1} netracker-log netracker-metrics.timer 2>/dev/null || true
	inside systemctl stop 'netracker@*.service'
	inside netracker detach --quiet --all 2>/dev/null || true
	inside systemctl reset-failed
	inside systemctl stop cable@eth1
}

# The command of the page that lets the tracker stay.
quickstart() {
	grep '^systemctl enable --now ' "$ROOT/docs/quickstart.md"
}

# running: both units do what they are for.
running() {
	unit_is netracker@eth0 active && unit_is netracker-log active:running && attached eth0 && is_read
}

# is_read: somebody reads the log.
is_read() {
	inside test -e /sys/fs/bpf/netracker/log && ! inside flock --nonblock /sys/fs/bpf/netracker/log true
}

@test "the quick start's command attaches and logs" {
	assert_equal "such commands" "$(quickstart | wc -l)" 1
	inside bash -euc "$(quickstart)"
	wait_for running
	refused 1001
	wait_for logged_is 1001 1
	assert_equal "state" "$(records_of 1001 | jq --raw-output .state)" REJ
}

@test "the log can be enabled first: it waits, and costs no restart" {
	inside systemctl enable --quiet --now netracker-log
	wait_for said netracker-log "waiting for 'netracker attach IFACE'"
	unit_is netracker-log active:running
	inside netracker attach --quiet eth0 # by hand
	refused 1002
	wait_for logged_is 1002 1
	restarted netracker-log 0
	assert_equal "how often it said so" "$(notices netracker-log | grep --count 'waiting for')" 1
}

# restarted UNIT N
restarted() {
	assert_equal "restarts of $1" "$(property "$1" NRestarts)" "$2"
}

# notices UNIT: what the UNIT's command has said since it was started last.
notices() {
	inside journalctl --quiet --output cat "_SYSTEMD_INVOCATION_ID=$(property "$1" InvocationID)"
}

# said UNIT TEXT
said() {
	notices "$1" | grep --fixed-strings -- "$2"
}

@test "an interface that goes and comes back is attached again, and logged, without anybody's doing" {
	inside bash -euc "$(quickstart)"
	wait_for running
	# It reads by now, and does not wait for a log any more.
	refused 1019
	wait_for logged_is 1019 1
	unplug eth0
	wait_for unit_is netracker@eth0 inactive
	wait_for restarted netracker-log 1
	assert_equal "the log" "$(inside find /sys/fs/bpf -name 'log*')" ""
	wait_for said netracker-log "waiting for 'netracker attach IFACE'"
	plug eth0
	wait_for running
	refused 1003
	wait_for logged_is 1003 1
}

@test "the same, if it is back before it was missed" {
	local i
	inside bash -euc "$(quickstart)"
	for i in {1..5}; do
		unplug eth0
		plug eth0
	done
	wait_for running
	refused 1004
	wait_for logged_is 1004 1
}

@test "the log ends with the last of several interfaces, not before" {
	local pid
	plug eth1
	inside systemctl enable --quiet --now netracker@eth0 netracker@eth1 netracker-log
	wait_for unit_is netracker-log active:running
	refused 1005
	wait_for logged_is 1005 1
	pid=$(property netracker-log MainPID)
	inside systemctl stop netracker@eth0
	refused 1005 1 eth1
	wait_for logged_is 1005 2
	assert_equal "the reader" "$(property netracker-log MainPID)" "$pid"
	unplug eth1
	wait_for restarted netracker-log 1
	wait_for said netracker-log "waiting for 'netracker attach IFACE'"
	unit_is netracker-log active:running
}

@test "while somebody else reads the log, the unit waits and says so once" {
	inside systemctl start netracker@eth0
	inside bash -c 'exec {log}</sys/fs/bpf/netracker/log && flock "$log" && exec -a somebody-else sleep infinity' &
	wait_for inside pgrep --full ^somebody-else
	inside systemctl start netracker-log
	wait_for said netracker-log "being read by somebody else"
	refused 1006
	inside pkill --full ^somebody-else
	wait_for logged_is 1006 1
	restarted netracker-log 0
	assert_equal "how often it said so" "$(notices netracker-log | grep --count 'somebody else')" 1
}

@test "journald drops no record, however many there are" {
	inside bash -euc "$(quickstart)"
	refused 1007 12000
	wait_for logged_is 1007 12000
}

@test "a log that is stopped and started in the midst of traffic loses no record" {
	local i
	inside bash -euc "$(quickstart)"
	refused 1008 12000 &
	for i in {1..5}; do
		WAIT_SECONDS=60 wait_for logged_more_than 1008 $((i * 1000))
		inside systemctl stop netracker-log
		inside systemctl start netracker-log
	done
	wait
	wait_for logged_is 1008 12000
}

# logged_more_than PORT N
logged_more_than() {
	(($(records_of "$1" | wc -l) > $2))
}

@test "the metrics' timer writes as soon as something is attached, and not only if it was when the timer started" {
	local file=/var/lib/prometheus/node-exporter/netracker.prom
	inside mkdir -p "${file%/*}"
	inside rm -f "$file"
	inside systemctl enable --quiet --now netracker-metrics.timer
	wait_for skipped netracker-metrics
	inside systemctl start netracker@eth0
	wait_for inside grep --quiet '^netracker_build_info' "$file"
	unit_is netracker-metrics.timer active:waiting
	# It says nothing when all is well.
	assert_equal "journal" "$(inside journalctl --quiet --output cat --unit netracker-metrics.service | grep -v 'unmet condition')" ''
}

skipped() {
	assert_equal "condition" "$(property "$1" ConditionTimestampMonotonic | sed 's/^[1-9].*/tried/'):$(property "$1" ConditionResult)" tried:no
}

@test "metrics without the collector's directory are a failure that says so" {
	inside rm -rf /var/lib/prometheus/node-exporter
	inside systemctl start netracker@eth0
	run inside systemctl start netracker-metrics
	assert_equal "exit status" "$status" 1
	unit_is netracker-metrics failed
	wait_for said_ever netracker-metrics "/var/lib/prometheus/node-exporter: no directory that can be written to"
}

said_ever() {
	inside journalctl --quiet --output cat --unit "$1.service" | grep --fixed-strings -- "$2"
}

@test "detached by hand, a unit stops without a failure" {
	inside systemctl start netracker@eth0
	inside netracker detach --quiet eth0
	inside systemctl stop netracker@eth0
	unit_is netracker@eth0 inactive
}

# match GLOBS: what /etc/default/netracker says.
match() {
	sed "s/^MATCH=.*/MATCH='$1'/" "$ROOT/contrib/udev/netracker.default" >"$BATS_TEST_TMPDIR/settings"
	inside tee /etc/default/netracker <"$BATS_TEST_TMPDIR/settings" >/dev/null
}

# matcher IF: the unit that udev has systemd start for it.
matcher() {
	inside systemd-escape --path --template=netracker-match@.service "/sys/devices/virtual/net/$1"
}

# looked_at IF: that unit has done its work.
looked_at() {
	[[ $(property "$(matcher "$1")" ExecMainExitTimestampMonotonic) == [1-9]* ]] && unit_is "$(matcher "$1")" inactive
}

@test "without settings, an interface that appears is nobody's" {
	plug eth1
	inside udevadm settle
	assert_equal "what it wants" "$(inside udevadm info /sys/class/net/eth1 | grep --count netracker || true)" 0
	assert_equal "what udev makes of it" "$(inside udevadm test --action=add /sys/class/net/eth1 2>&1 | grep --count netracker-match || true)" 0
	unit_is netracker@eth1 inactive
}

@test "an interface that appears is tracked if its name matches, whatever is in it, and leaves nothing when it goes" {
	local name WAIT_SECONDS=60 # one after the other
	# shellcheck disable=SC2016 # it must not be expanded
	local -a names=(eth1 br-lan 'o$HOME' 'x;|&<>*?' -x)
	match 'et[h] br-* eth1 o* x* -?'
	[[ $(inside udevadm test --action=add /sys/class/net/eth0 2>&1) == *'SYSTEMD_WANTS=netracker-match@.service'* ]] || fail "udev does not see the rule"
	plug eth1
	for name in "${names[@]:1}" neighbour eth12; do
		inside ip link add name "$name" type bridge
	done
	for name in "${names[@]}"; do
		wait_for unit_is "$(inside systemd-escape --template=netracker@.service -- "$name")" active
		attached "$name"
	done
	wait_for looked_at neighbour
	wait_for looked_at eth12
	assert_equal "tracked" "$(inside netracker status --json | jq '.interfaces | length')" "${#names[@]}"
	unplug eth1
	for name in "${names[@]:1}" neighbour eth12; do
		inside ip link del dev "$name"
	done
	for name in "${names[@]}"; do
		wait_for unit_is "$(inside systemd-escape --template=netracker@.service -- "$name")" inactive
	done
	wait_for nothing_pinned
	assert_equal "failed units" "$(inside systemctl --failed --plain --no-legend 'netracker*')" ""
}

nothing_pinned() {
	assert_equal "pins" "$(inside find /sys/fs/bpf -type f ! -name '*.debug')" ""
}

@test "an interface that is renamed is tracked by its new name if that matches" {
	local WAIT_SECONDS=60
	match 'new* old*'
	inside ip link add old0 type bridge
	wait_for unit_is netracker@old0 active
	inside ip link set old0 name new0
	wait_for unit_is netracker@new0 active
	wait_for unit_is netracker@old0 inactive
	wait_for tracked_are new0
	inside ip link set new0 name other0
	wait_for unit_is netracker@new0 inactive
	wait_for nothing_pinned
	assert_equal "hooks" "$(inside tc qdisc show dev other0 clsact)" ""
	inside ip link set other0 name old0
	wait_for unit_is netracker@old0 active
	wait_for tracked_are old0
	inside ip link del old0
	wait_for unit_is netracker@old0 inactive
	assert_equal "failed units" "$(inside systemctl --failed --plain --no-legend 'netracker*')" ""
}

# tracked_are NAME…
tracked_are() {
	assert_equal "tracked" "$(inside netracker status --json | jq --raw-output '.interfaces[] | "\(.ifname) \(.state)"' | sort | xargs)" "$(printf '%s attached\n' "$@" | xargs)"
}

@test "interfaces that are gone before the tracker is on them are no failure" {
	local i WAIT_SECONDS=60
	match 'brief* eth*'
	for i in {1..12}; do
		inside ip link add "brief$i" type bridge
		((i % 3)) || inside udevadm settle # the next one has it being attached
		((i % 4)) || sleep "0.$i"
		inside ip link del "brief$i"
	done
	inside udevadm settle
	plug eth1
	wait_for unit_is netracker@eth1 active
	wait_for no_jobs
	assert_equal "failed units" "$(inside systemctl --failed --plain --no-legend 'netracker*')" ""
	tracked_are eth1
}

no_jobs() {
	assert_equal "jobs" "$(inside systemctl list-jobs --plain --no-legend 'netracker*')" ""
}

@test "after a boot, interfaces whose names match are tracked" {
	match 'eth*'
	machine_halt
	machine_boot
	wait_for unit_is netracker@eth0 active
	attached eth0
}

@test "after a boot both are there again; what was open at the shutdown has its record" {
	inside bash -euc "$(quickstart)"
	wait_for running
	inside systemd-run --quiet --unit=held python3 -c '
import socket, time
server = socket.create_server(("203.0.113.1", 1009))
held = server.accept()
time.sleep(3600)'
	wait_for inside bash -c 'ss --no-header --listening --tcp --numeric "sport = :1009" | grep --quiet .'
	inside systemd-run --quiet --unit=holder nsenter --net=/run/netns/peer python3 -c '
import socket, time
held = socket.create_connection(("203.0.113.1", 1009))
time.sleep(3600)'
	wait_for inside bash -c 'ss --no-header --tcp --numeric state established "sport = :1009" | grep --quiet .'
	machine_halt
	machine_boot
	wait_for running
	refused 1010
	wait_for logged_is 1010 1
	(($(records_of 1009 --boot=-1 | wc -l) == 1)) || fail "no record of the connection that was open"
}

@test "after a purge nothing is left, whatever was enabled" {
	inside bash -euc "$(quickstart)"
	match 'eth*'
	inside mkdir -p /var/lib/prometheus/node-exporter
	inside systemctl enable --quiet --now netracker-metrics.timer
	wait_for running
	wait_for inside test -e /var/lib/prometheus/node-exporter/netracker.prom
	inside dpkg --purge netracker
	assert_equal "files" "$(find "$MACHINE/changes" -iname '*netracker*' ! -type c ! -path "$MACHINE/changes/netracker.deb")" ""
	assert_equal "directories of links" "$(inside find /etc/systemd/system -name '*.device.wants')" ""
	assert_equal "pins" "$(inside find /sys/fs/bpf -type f ! -name '*.debug')" ""
	assert_equal "filters" "$(inside tc filter show dev eth0 ingress)" ""
	assert_equal "units" "$(inside systemctl list-units --all --plain --no-legend 'netracker*')" ""
}
