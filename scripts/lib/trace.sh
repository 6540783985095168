# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # the libraries share their globals; each is checked alone
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The log's own instance of the kernel's trace: it gets the tracker's lines alone, and nobody who reads the global trace_pipe takes
# them away. Its buffer holds the newest records until they are read.

readonly INSTANCE_NAME=${NETRACKER_INSTANCE:-netracker}

# The buffer is per CPU; about 12,000 records fit into 4 MiB. Machines with many CPUs get smaller ones: 64 MiB in all.
readonly BUFFER_KIB_MAX=4096 BUFFER_KIB_MIN=512 BUFFERS_KIB=65536

# What ends a reader of the log whose instance goes away.
readonly FAREWELL='netracker: detached'

# Print the instance's directory, whether it is there or not.
instance() {
	local tracefs
	tracefs=$(find_tracefs)
	printf '%s\n' "${tracefs:-/sys/kernel/tracing}/instances/$INSTANCE_NAME"
}

# Idempotent: an instance that is already there gets what it lacks and keeps its records.
make_instance() {
	local dir event kib
	dir=$(instance)
	event=$dir/events/bpf_trace/bpf_trace_printk
	[[ -d $dir ]] || run mkdir -- "$dir"
	[[ $(cat "$dir/trace_clock" 2>/dev/null) == *'[boot]'* ]] || set_file boot "$dir/trace_clock"
	kib=$(buffer_kib)
	(($(cat "$dir/buffer_size_kb" 2>/dev/null || echo 0) >= kib)) 2>/dev/null || set_file "$kib" "$dir/buffer_size_kb"
	[[ $(cat "$event/filter" 2>/dev/null) == *netracker:* ]] || set_file 'bpf_string ~ "netracker:*"' "$event/filter"
	[[ $(cat "$event/enable" 2>/dev/null) == 1 ]] || set_file 1 "$event/enable"
	[[ $(cat "$dir/tracing_on" 2>/dev/null) == 1 ]] || set_file 1 "$dir/tracing_on"
}

buffer_kib() {
	local kib=$((BUFFERS_KIB / $(getconf _NPROCESSORS_CONF)))
	((kib <= BUFFER_KIB_MAX)) || kib=$BUFFER_KIB_MAX
	((kib >= BUFFER_KIB_MIN)) || kib=$BUFFER_KIB_MIN
	printf '%s\n' "$kib"
}

# wait_for_log: until there is one that nobody else reads. The kernel tells nobody of new instances, so it is looked for once a second.
wait_for_log() {
	local dir said=
	while true; do
		dir=$(instance)
		if [[ ! -d $dir ]]; then
			[[ $said == none ]] || say "not attached to any interface yet; waiting for 'netracker attach IFACE'"
			said=none
		elif is_unread "$dir"; then
			return 0
		else
			[[ $said == taken ]] || say "the log is being read by somebody else; waiting for its reader to end"
			said=taken
		fi
		sleep 1
	done
}

# is_unread INSTANCE: nobody has its pipe. Newer kernels let only one open it, on older ones `netracker log` holds a lock.
is_unread() {
	{ flock --nonblock "$1/trace_pipe" true; } 2>/dev/null
}

# A reader that follows the log gets the last records and the farewell, and ends; only then the kernel lets the instance go.
remove_instance() {
	local dir i
	dir=$(instance)
	[[ -d $dir ]] || return 0
	set_file 0 "$dir/events/bpf_trace/bpf_trace_printk/enable"
	set_file "$FAREWELL" "$dir/trace_marker"
	announce "rmdir $(quoted "$dir")"
	((!DRY_RUN)) || return 0
	for ((i = 0; i < 40; i++)); do
		rmdir -- "$dir" 2>/dev/null && return 0
		sleep 0.05
	done
	say "$dir is still being read; 'rmdir $dir' removes it once its reader has ended"
}

# Sum over the CPUs: records in the buffer, bytes they take, records lost.
buffer_fill() {
	cat "$(instance)"/per_cpu/cpu*/stats | awk -F ': *' '
		$1 == "entries" { entries += $2 }
		$1 == "bytes" { bytes += $2 }
		$1 == "overrun" || $1 == "dropped events" { lost += $2 }
		END { print entries + 0, bytes + 0, lost + 0 }'
}
