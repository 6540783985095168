# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The kernel's clock, which counts from boot, and how it becomes the time of day.

UPTIME_CS= # what read_uptime has read

# read_uptime: set UPTIME_CS to CLOCK_BOOTTIME in hundredths of a second, as the tracker's records have it. In a time namespace /proc/uptime is
# ahead of that; by how much, the kernel says of the namespace of our children, which may not be ours yet.
read_uptime() {
	local up clock seconds nanoseconds
	read -r up _ </proc/uptime
	UPTIME_CS=$((10#${up/./}))
	if [[ /proc/self/ns/time -ef /proc/self/ns/time_for_children ]]; then
		while read -r clock seconds nanoseconds; do
			[[ $clock != boottime ]] || UPTIME_CS=$((UPTIME_CS - seconds * 100 - nanoseconds / 10000000))
		done </proc/self/timens_offsets
	fi
}

# Print CLOCK_BOOTTIME in nanoseconds, as the tracker's records have it, in steps of 10 ms.
now_ns() {
	read_uptime
	printf '%s\n' "${UPTIME_CS}0000000"
}

# Print the wall clock's time at boot, in microseconds. /proc/uptime has CLOCK_BOOTTIME in steps of 10 ms: catch it as it steps. Who had to
# wait for the CPU just then comes late to the wall clock, and tries again.
boot_us() {
	local before earlier wall i
	for ((i = 0; i < 10; i++)); do
		read_uptime
		before=$UPTIME_CS
		while [[ $UPTIME_CS == "$before" ]]; do
			earlier=${EPOCHREALTIME/[^0-9]/}
			read_uptime
		done
		wall=${EPOCHREALTIME/[^0-9]/}
		((wall - earlier > 1000)) || break
	done
	printf '%s\n' "$((wall - UPTIME_CS * 10000))"
}

# set_boot: let the views that tell times of day know when the machine was booted, by the wall clock as it is now.
set_boot() {
	[[ ! -e $VIEWS/boot ]] || update "$VIEWS/boot" "$(bytes 4 0)" "$(bytes 8 "$(boot_us)")"
}
