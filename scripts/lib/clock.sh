# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The kernel's clock, which counts from boot, and how it becomes the time of day.

# Print CLOCK_BOOTTIME in nanoseconds, as the tracker's records have it, in steps of 10 ms.
now_ns() {
	local uptime
	read -r uptime _ </proc/uptime
	printf '%s0000000\n' "${uptime/./}"
}

# Print the wall clock's time at boot, in microseconds. /proc/uptime has CLOCK_BOOTTIME in steps of 10 ms: catch it as it steps.
boot_us() {
	local before now wall
	read -r before _ </proc/uptime
	now=$before
	while [[ $now == "$before" ]]; do
		read -r now _ </proc/uptime
	done
	wall=${EPOCHREALTIME/[^0-9]/}
	printf '%s\n' "$((wall - 10#${now/./} * 10000))"
}

# set_boot: let the views that tell times of day know when the machine was booted, by the wall clock as it is now.
set_boot() {
	[[ ! -e $VIEWS/boot ]] || update "$VIEWS/boot" "$(bytes 4 0)" "$(bytes 8 "$(boot_us)")"
}
