# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The log's own instance of the kernel's trace: it gets the tracker's lines alone, and nobody who reads the global trace_pipe takes
# them away. Its buffer holds the newest records until they are read.

readonly INSTANCE_NAME=${NETRACKER_INSTANCE:-netracker}

# The buffer is per CPU; about 12,000 records fit into 4 MiB. Machines with many CPUs get smaller ones: 64 MiB in all.
readonly BUFFER_KIB_MAX=4096 BUFFER_KIB_MIN=512 BUFFERS_KIB=65536

# What watch_trace has seen last.
WATCHED_AT=0 WATCHED_OBSTACLE=

# What ends a reader of the log whose instance goes away.
readonly FAREWELL='netracker: detached'

# Print the instance's directory, whether it is there or not.
instance() {
	local tracefs
	tracefs=$(find_tracefs)
	printf '%s\n' "${tracefs:-/sys/kernel/tracing}/instances/$INSTANCE_NAME"
}

# Options of the instance. Records are put into words when they are read, so those of the first kind can still be set right then.
readonly FORM_OPTIONS=(noraw nohex nobin nofields context-info noprintk-msg-only)
readonly OTHER_OPTIONS=(overwrite markers trace_printk noblock nopause-on-trace)

# Idempotent: an instance that is already there gets what it lacks and keeps its records. Tools for tracing that mean the whole machine
# (reset-trace, trace-cmd reset) switch this instance off or put its lines in another form.
make_instance() {
	local dir event kib option entries=0
	local -a wrong=()
	dir=$(instance)
	event=$dir/events/bpf_trace/bpf_trace_printk
	[[ -d $dir ]] || run mkdir -- "$dir"
	[[ ! -d $dir ]] || read -r entries _ < <(buffer_fill)
	# With another clock the kernel throws the records away, and none is worth that.
	((entries > 0)) || [[ $(cat "$dir/trace_clock" 2>/dev/null) == *'[boot]'* ]] || set_file boot "$dir/trace_clock"
	kib=$(buffer_kib)
	(($(cat "$dir/buffer_size_kb" 2>/dev/null || echo 0) >= kib)) 2>/dev/null || set_file "$kib" "$dir/buffer_size_kb"
	if [[ -d $dir ]]; then
		[[ $(<"$dir/current_tracer") == nop ]] || set_file nop "$dir/current_tracer"
		[[ $(<"$dir/tracing_cpumask") == "$(all_cpus)" ]] || set_file "$(all_cpus)" "$dir/tracing_cpumask"
		[[ ! $(<"$dir/set_event_pid") ]] || set_file '' "$dir/set_event_pid"
		[[ ! $(<"$dir/set_event_notrace_pid") ]] || set_file '' "$dir/set_event_notrace_pid"
		! grep --quiet --invert-match --line-regexp bpf_trace:bpf_trace_printk "$dir/set_event" || set_file '' "$dir/set_event"
		find_wrong_options "$dir" "${FORM_OPTIONS[@]}" "${OTHER_OPTIONS[@]}"
		for option in "${wrong[@]}"; do
			set_file "$option" "$dir/trace_options"
		done
	fi
	[[ $(cat "$event/filter" 2>/dev/null) == *netracker:* ]] || set_file 'bpf_string ~ "netracker:*"' "$event/filter"
	[[ $(cat "$event/enable" 2>/dev/null) == 1* ]] || set_file 1 "$event/enable"
	[[ $(cat "$dir/tracing_on" 2>/dev/null) == 1 ]] || set_file 1 "$dir/tracing_on"
}

# find_wrong_options DIR OPTION…: set the caller's array wrong to those that are not set so. Kernels may lack some of them. No forks:
# who follows the log asks again and again.
find_wrong_options() {
	local option
	local -a set
	mapfile -t set <"$1/trace_options" || return 0
	for option in "${@:2}"; do
		case $option in
			no*) [[ " ${set[*]} " != *" ${option#no} "* ]] || wrong+=("$option") ;;
			*) [[ " ${set[*]} " != *" no$option "* ]] || wrong+=("$option") ;;
		esac
	done
}

# Print the mask of all CPUs as the kernel prints it: hexadecimal, 32 bits between commas.
all_cpus() {
	local possible digits mask=''
	possible=$(</sys/devices/system/cpu/possible)
	digits=$((${possible##*[-,]} + 1))
	((digits % 4 == 0)) || mask=$((2 ** (digits % 4) - 1))
	for ((digits = digits / 4; digits > 0; digits--)); do
		((digits % 8)) || mask+=${mask:+,}
		mask+=f
	done
	printf '%s\n' "$mask"
}

# find_obstacle DIR: set the caller's obstacle to what keeps records from getting into the log; to nothing if nothing does.
find_obstacle() {
	local file value
	obstacle=
	for file in tracing_on events/bpf_trace/bpf_trace_printk/enable set_event_pid; do
		value=
		read -r value 2>/dev/null <"$1/$file" || true
		case $file:$value in
			tracing_on:0 | */enable:0*) obstacle="$1/$file is 0" ;;
			set_event_pid:?*) obstacle="$1/$file names single processes" ;;
		esac
		[[ ! $obstacle ]] || return 0
	done
}

# Say what somebody else has done to the log, if its files may be read.
warn_of_trace() {
	local dir obstacle=
	local -a wrong=()
	dir=$(instance)
	[[ -r $dir/trace_options ]] || return 0
	find_obstacle "$dir"
	[[ ! $obstacle ]] || say_obstacle "$obstacle"
	find_wrong_options "$dir" "${FORM_OPTIONS[@]}"
	((${#wrong[@]} == 0)) || say "the log's lines are in another form: $dir/trace_options lacks $(join ', ' "${wrong[@]}"); 'netracker log' and 'netracker attach' set that right, and nothing is lost"
}

say_obstacle() {
	say "no records get into the log: $1; 'netracker attach IFACE', of an interface that is attached, sets that right"
}

# watch_trace DIR: for who follows the log, once a second: set its form right, and say once if nothing can get into it.
watch_trace() {
	local dir=$1 obstacle option
	local -a wrong=()
	((EPOCHSECONDS != WATCHED_AT)) || return 0
	WATCHED_AT=$EPOCHSECONDS
	find_wrong_options "$dir" "${FORM_OPTIONS[@]}"
	for option in "${wrong[@]}"; do
		set_file "$option" "$dir/trace_options" 2>/dev/null ||
			die "$EXIT_FAILED" "the log's lines cannot be read: $dir/trace_options lacks $option and cannot be written; 'netracker attach IFACE' sets that right"
		say "somebody had put the log's lines in another form; $option is set again"
	done
	find_obstacle "$dir"
	[[ ! $obstacle || $obstacle == "$WATCHED_OBSTACLE" ]] || say_obstacle "$obstacle"
	WATCHED_OBSTACLE=$obstacle
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
	cat "$(instance)"/per_cpu/cpu*/stats | awk -F ': *' -f "$LIBDIR/buffer.awk"
}
