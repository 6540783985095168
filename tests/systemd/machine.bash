# shellcheck shell=bash disable=SC2034 # some of what is set here is for the tests
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# A machine with systemd as PID 1 to try the units on: this one's programs, with nothing enabled, in a container that boots, runs udev and
# has interfaces that come and go. It has a bpffs of its own, and so its own tracker and log.
#
#   machine_create DEB           its file system, in memory; DEB will be installed by machine_install
#   machine_boot                 boot it, and wait until it has booted
#   machine_halt                 shut it down, as `poweroff` does
#   machine_destroy              end it, and take all of it away
#   inside COMMAND…              run COMMAND in it
#   plug IF, unplug IF           the interface (eth0, eth1, …) comes, and goes; its cable leads to the namespace `peer`
#   address IF                   its address
#   refused PORT [N [IF]]        N connections (1) from `peer` to PORT of IF's (eth0's) address, all of them refused
#   property UNIT NAME           a property of UNIT
#   unit_is UNIT STATE           fail unless it is in this STATE: active, inactive, failed, active:running, …
#   attached IF                  fail unless the tracker is
#   records_of PORT [OPTION…]    the records of connections to PORT in the journal; OPTIONs are journalctl's
#   logged_is PORT N             fail unless there are N of them

MACHINE=$BATS_FILE_TMPDIR/machine
CGROUPS=(/sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd)

machine_create() {
	local root=$MACHINE/root unit
	mkdir -p "$MACHINE"
	mount -t tmpfs tmpfs "$MACHINE"
	mkdir "$MACHINE"/{changes,work,root}
	mount -t overlay -o "lowerdir=/,upperdir=$MACHINE/changes,workdir=$MACHINE/work" overlay "$root" ||
		lacking "needs a file system that can be under an overlay"
	# What the machine would start is none of ours, and a container's settings of /proc/sys would be the machine's.
	rm -rf "$root"/etc/{fstab,modules-load.d,sysctl.d,tmpfiles.d,rc?.d,systemd/{system,network,journald.conf.d},udev/rules.d} "$root/var/log/journal"
	mkdir -p "$root/etc/systemd/system" "$root/var/log/journal"
	for unit in systemd-sysctl systemd-modules-load systemd-binfmt systemd-firstboot systemd-timesyncd systemd-logind console-getty; do
		ln -s /dev/null "$root/etc/systemd/system/$unit.service"
	done
	# Not empty, else this is the first boot and the presets enable what they like.
	tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
	# journald allows more where there is much room; here its limit shall be felt.
	mkdir "$root/etc/systemd/journald.conf.d"
	printf '[Journal]\nRateLimitIntervalSec=30s\nRateLimitBurst=1000\n' >"$root/etc/systemd/journald.conf.d/limit.conf"
	machine_units "$root/etc/systemd/system"
	cp "$1" "$root/netracker.deb"
}

# machine_units DIR: what makes a container like a machine.
machine_units() {
	mkdir -p "$1/sysinit.target.wants" "$1/systemd-udev-trigger.service.d"
	# Its own interfaces, not all devices of the machine.
	cat >"$1/systemd-udev-trigger.service.d/net.conf" <<-EOF
		[Service]
		ExecStart=
		ExecStart=-udevadm trigger --subsystem-match=net --action=add
	EOF
	# systemd mounts it by itself, but not in containers.
	cat >"$1/bpffs.service" <<-EOF
		[Unit]
		DefaultDependencies=no
		Before=sysinit.target
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=mkdir /sys/fs/bpf
		ExecStart=mount -t bpf bpf /sys/fs/bpf
	EOF
	cat >"$1/cable@.service" <<-'EOF'
		[Unit]
		DefaultDependencies=no
		Before=sysinit.target
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=/etc/cable plug %I
		ExecStop=/etc/cable unplug %I
	EOF
	cat >"$1/../../cable" <<-'EOF'
		#!/bin/bash
		set -e
		[[ -e /run/netns/peer ]] || ip netns add peer
		if [[ $1 == unplug ]]; then
			exec ip link del "$2"
		fi
		net=$((${2#eth} * 4))
		ip link add "$2" type veth peer name "$2" netns peer
		ip address add 203.0.113.$((net + 1))/30 dev "$2"
		ip link set "$2" up
		ip -n peer address add 203.0.113.$((net + 2))/30 dev "$2"
		ip -n peer link set "$2" up
	EOF
	chmod +x "$1/../../cable"
	ln -s ../bpffs.service "$1/sysinit.target.wants/"
	ln -s ../cable@.service "$1/sysinit.target.wants/cable@eth0.service"
}

# In a cgroup of its own: systemd-nspawn would leave some at the top.
machine_boot() {
	# PID 1 listens to udev if that is there, or will be; this file tells it so.
	rm -rf "$MACHINE/udev"
	mkdir "$MACHINE/udev"
	: >"$MACHINE/udev/control"
	(
		for cgroup in "${CGROUPS[@]}"; do
			[[ -e $cgroup/cgroup.procs ]] || continue
			mkdir -p "$cgroup/$NETRACKER_TEST_ID"
			echo 0 >"$cgroup/$NETRACKER_TEST_ID/cgroup.procs"
		done
		export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
		exec systemd-nspawn --quiet --boot --directory="$MACHINE/root" --machine="$NETRACKER_TEST_ID" --register=no --keep-unit \
			--private-network --system-call-filter=bpf --capability=all --drop-capability=CAP_SYS_MODULE,CAP_SYS_TIME --link-journal=no --resolv-conf=off --timezone=off \
			--bind="$MACHINE/udev:/run/udev" --console=pipe </dev/null >"$MACHINE/console" 2>&1 3>&-
	) &
	echo $! >"$MACHINE/pid"
	if ! WAIT_SECONDS=60 wait_for booted; then
		tail -n 20 "$MACHINE/console" >&2
		return 1
	fi
}

booted() {
	local state
	LEADER=
	state=$(inside systemctl is-system-running) || true
	echo "$state"
	[[ $state == @(running|degraded) ]]
}

inside() {
	[[ ${LEADER-} && -d /proc/$LEADER ]] || find_leader
	nsenter --target "$LEADER" --mount --uts --ipc --net --pid --root -- env --chdir=/ --ignore-environment LC_ALL=C \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_PAGER= "$@" 3>&-
}

# The container's PID 1.
find_leader() {
	local pid
	pid=$(<"$MACHINE/pid")
	read -r LEADER _ <"/proc/$pid/task/$pid/children" || [[ $LEADER ]] # no newline at the end
}

machine_halt() {
	inside systemctl --no-block poweroff
	WAIT_SECONDS=60 wait_for ended
	rm "$MACHINE/pid"
}

ended() {
	[[ ! -d /proc/$(<"$MACHINE/pid") || $(awk '/^State:/ { print $2 }' "/proc/$(<"$MACHINE/pid")/status") == Z ]]
}

# With its PID 1 all of its processes end, and systemd-nspawn after it.
machine_destroy() {
	if [[ -e $MACHINE/pid ]]; then
		find_leader
		kill -KILL "${LEADER:-$(<"$MACHINE/pid")}" 2>/dev/null || true
		wait_for ended
	fi
	find "${CGROUPS[@]}" -maxdepth 1 -name "$NETRACKER_TEST_ID" 2>/dev/null | while read -r cgroup; do
		wait_for find "$cgroup" -depth -type d -exec rmdir {} +
	done
	[[ ! -d $MACHINE ]] || umount --recursive "$MACHINE"
}

#
# What happens on it
#

plug() {
	inside systemctl start "cable@$1.service"
}

unplug() {
	inside systemctl stop "cable@$1.service"
}

# address IF: this machine's end of the cable.
address() {
	echo "203.0.113.$((${1#eth} * 4 + 1))"
}

# refused PORT [N [IF]]
refused() {
	inside nsenter --net=/run/netns/peer python3 -c '
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.socket() as s:
        if s.connect_ex((sys.argv[1], int(sys.argv[2]))) == 0:
            sys.exit("somebody listens")' "$(address "${3:-eth0}")" "$1" "${2:-1}"
}

#
# What is known of it
#

property() {
	inside systemctl show --property="$2" --value "$1"
}

# unit_is UNIT STATE[:SUBSTATE]
unit_is() {
	local state
	state=$(property "$1" ActiveState)
	[[ $2 != *:* ]] || state+=:$(property "$1" SubState)
	assert_equal "$1" "$state" "$2"
}

# records_of PORT [OPTION…]: those in the journal about connections to PORT.
records_of() {
	inside journalctl --quiet --identifier netracker --output cat "${@:2}" | jq --raw-input --compact-output --argjson port "$1" '
		select(startswith("{")) | fromjson | select(.dport == $port and (.dst | startswith("203.0.113.")))'
}

logged_is() {
	assert_equal "records of connections to port $1" "$(records_of "$1" | wc -l)" "$2"
}

attached() {
	inside netracker status --json | jq --exit-status --arg name "$1" 'any(.interfaces[]; .ifname == $name)' >/dev/null || fail "not attached to $1"
}
