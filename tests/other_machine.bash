# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# For tests of packages: this machine as it looks without compilers and without this tree, to install something there.
#
#   new_machine FILE…            make its root directory, $MACHINE; FILEs are in its /tmp. What is changed there is in $CHANGES
#   end_machine                  for teardown: take it away, if there is one
#   on_machine COMMAND…          run COMMAND there, in the network namespace `client`
#   remains                      print the tracker's traces there, the administration's own aside

new_machine() {
	local dir
	CHANGES=$BATS_TEST_TMPDIR/disk/changes
	mkdir "$BATS_TEST_TMPDIR/disk"
	mount -t tmpfs tmpfs "$BATS_TEST_TMPDIR/disk"
	mkdir "$CHANGES" "$BATS_TEST_TMPDIR/disk/work" "$BATS_TEST_TMPDIR/machine"
	mount -t overlay -o "lowerdir=/,upperdir=$CHANGES,workdir=$BATS_TEST_TMPDIR/disk/work" overlay "$BATS_TEST_TMPDIR/machine" ||
		skip "this file system cannot be under an overlay"
	MACHINE=$BATS_TEST_TMPDIR/machine
	# What is this machine's own must not be changed through it, least of all by whoever removes the directory that it is in: devices can be
	# used but not unlinked, and /run is its own.
	for dir in proc sys; do
		mount --rbind "/$dir" "$MACHINE/$dir"
	done
	mount --bind /dev "$MACHINE/dev"
	mount -o remount,bind,ro "$MACHINE/dev"
	for dir in run tmp; do
		mount -t tmpfs tmpfs "$MACHINE/$dir"
	done
	rm -f "$MACHINE"/usr/bin/*clang* "$MACHINE"/usr/bin/*gcc* "$MACHINE"/usr/bin/llvm-* "$MACHINE"/usr/bin/make
	cp "$@" "$MACHINE/tmp/"
}

# Whatever still runs there: after this nobody gets at this machine through it.
end_machine() {
	[[ -v MACHINE ]] || return 0
	end_background
	umount --recursive --lazy "$MACHINE"
	umount --lazy "$BATS_TEST_TMPDIR/disk"
}

on_machine() {
	in_netns client chroot "$MACHINE" env --chdir=/ NETRACKER_LOCK=/tmp/lock PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

remains() {
	find "$CHANGES" -iname '*netracker*' ! -type c
	find /sys/fs/bpf -mindepth 1 -type f ! -name '*.debug'
	in_netns client tc filter show dev veth0 ingress
}
