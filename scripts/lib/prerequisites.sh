# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the machine must have. One function for each prerequisite: it succeeds, or fails and has printed what is missing and the
# remedy. `check` shows all of them, other verbs insist on those they need.

# TABLES_TSV: what states, fields, counters and metrics there are; make writes it from tracker/tables.h.
readonly MINIMUM_KERNEL=5.16 TABLES_TSV=$LIBDIR/tables.tsv BPFFS=/sys/fs/bpf LOCK=${NETRACKER_LOCK:-/run/netracker.lock}

# require WORD…: end with the first prerequisite that is missing.
require() {
	local word complaint
	for word in "$@"; do
		complaint=$("has_$word") || die "$EXIT_PREREQUISITE" "$complaint"
	done
}

has_root() {
	((EUID == 0)) || missing "only root may do this; try 'sudo netracker $VERB …'"
}

# Root of a service or a container may have been left with less than all capabilities.
has_net_admin() {
	has_capability 12 CAP_NET_ADMIN 'hang programs on interfaces'
}

has_sys_admin() {
	has_capability 21 CAP_SYS_ADMIN 'open programs, maps and BTF by their numbers'
}

# What stands before a name with a dot is closed to everybody while it is made: view/log.h, scripts/lib/consumer.sh.
has_dac_override() {
	has_capability 1 CAP_DAC_OVERRIDE 'pin a file with a dot in its name'
}

# has_capability NUMBER NAME PURPOSE
has_capability() {
	local effective
	effective=$(sed -n 's/^CapEff:\t//p' /proc/self/status)
	((16#$effective >> $1 & 1)) || missing "root here lacks $2, without which nobody may $3; run it with more capabilities"
}

# The kernel takes the programs: tried on a network of its own with a BPF file system of its own, which end with the command. The number
# that a kernel has for itself tells little: distributors of long-lived kernels take over what is newer.
has_kernel() {
	local output
	((EUID == 0)) || missing "not tried, as only root can load programs; try 'sudo netracker check'" || return
	[[ -s $OBJECT ]] || missing "not tried, as there is no $OBJECT; 'make' builds it" || return
	# shellcheck disable=SC2016 # for the inner shell
	output=$(unshare --net --mount bash -c 'mount -t bpf bpf "$0" && exec bash "$@"' "$BPFFS" "$LIBDIR/load.bash" "$OBJECT" '' "${SECTIONS[@]}" \
		2>&1) || missing "$(explain_load "$output")"
}

# Where the kernel tells how it was built.
has_kernel_options() {
	local option config lacking=()
	config=$(zcat -f /proc/config.gz 2>/dev/null || cat "/boot/config-$(uname -r)" 2>/dev/null) || return 0
	for option in BPF_SYSCALL BPF_JIT NET_CLS_BPF NET_SCH_INGRESS BPF_EVENTS; do
		grep --quiet "^CONFIG_$option=[ym]" <<<"$config" || lacking+=("CONFIG_$option")
	done
	((${#lacking[@]} == 0)) || missing "this kernel was built without $(join ', ' "${lacking[@]}"); another kernel has it"
}

has_tc() {
	has_command tc iproute2 || return
	[[ $(command tc -V 2>/dev/null) == *libbpf* ]] || missing "tc is built without libbpf and cannot load the object; install an iproute2 that 'tc -V' calls 'libbpf'"
}

has_bpftool() {
	has_command bpftool bpftool || return
	command bpftool version >/dev/null 2>&1 || missing "bpftool does not run; install the one of this kernel ($(uname -r))"
}

has_jq() {
	has_command jq jq
}

has_curses() {
	has_command python3 python3 || return
	python3 -I -c 'import ctypes, curses' 2>/dev/null || missing "this python3 has no curses, with which top draws; install the package python3"
}

# The one that draws the plots; what it is asked for is not in all builds.
has_gnuplot() {
	has_command gnuplot gnuplot-nox || return
	command gnuplot -d -e 'set terminal svg' </dev/null >/dev/null 2>&1 || missing "this gnuplot draws no SVG, or does not run; install the package gnuplot-nox"
}

# Asked to do what it will be asked to do: there are many awks, and old ones.
has_awk() {
	has_command awk mawk && has_tables || return
	[[ $(try_awk 2>/dev/null) == '{"ts":"2024-02-29T12:34:56.000001Z","src":"192.0.2.129",'*$'"ifname":"\303\251\\u0001",'*'"duration_ns":3000000000,'*'"cgroup":18446744073709551615,'* ]] ||
		missing "this awk does not make of a record what it should; install mawk 1.3.4, gawk, original-awk or busybox and make it awk ('update-alternatives --config awk')"
}

# try_awk: two records, of which it is to pick one.
try_awk() (
	unset -v "${!NT_@}"
	printf 'x-1 [0] 1: bpf_trace_printk: netracker: %s:1 -> [::1]:80 dur_ns=3000000000 state=SF start_ns=0 ifname=\303\251\1 cgroup=18446744073709551615\n' \
		192.0.2.9 192.0.2.129 |
		NT_TABLES=$TABLES_TSV NT_ADDR=192.0.2.128/25 NT_MIN_NS=2999999999 NT_BOOT_US=1709210096000001 awk -f "$LIBDIR/address.awk" -f "$LIBDIR/owner.awk" -f "$LIBDIR/record.awk" -f "$LIBDIR/json.awk"
)

# Asked, too, to make one, which the specification publishes. Only some forms of output need it.
has_community_id() {
	[[ $(try_community_id 2>/dev/null) == 1:LQU9qZlK+B5F3KDmev6m5PMibrg= ]] ||
		missing "there is no perl with Digest::SHA, which makes the Community IDs of this format; install the package perl"
}

# try_community_id: the one of 128.232.110.120:34855 and 66.35.250.204:80.
try_community_id() {
	printf '%s\t%s\n' 00004223facc80e86e78060000508827 "$(printf '\1%.0s' {1..30})" | env -u NT_BATCHES perl "$LIBDIR/community_id.pl"
}

has_util_linux() {
	has_command flock util-linux && has_command nsenter util-linux && has_getopt
}

# Other systems have another program of this name, which knows no long options. This one answers so when it is asked.
has_getopt() {
	local status=0
	command getopt --test >/dev/null 2>&1 || status=$?
	((status == 4)) || missing "getopt is not there, or not the one of util-linux; install the package util-linux"
}

has_object() {
	[[ -s $OBJECT ]] || missing "$OBJECT is not there; 'make' builds it"
}

has_tables() {
	[[ -s $TABLES_TSV ]] || missing "$TABLES_TSV is not there; 'make' builds it" || return
	[[ $(tail -n 1 -- "$TABLES_TSV") == end ]] || missing "$TABLES_TSV is not whole; 'make clean all' builds it anew"
}

has_bpffs() {
	is_mounted bpf_fs "$BPFFS" || missing "no BPF file system on $BPFFS; 'mount -t bpf bpf $BPFFS' mounts it, attach does so by itself"
}

missing() {
	printf '%s\n' "$*"
	return 1
}

# has_command NAME PACKAGE
has_command() {
	type -P "$1" >/dev/null || missing "no command $1; install the package $2 ('make deps' does)"
}

# is_mounted TYPE DIR: TYPE as stat names it.
is_mounted() {
	[[ $(stat --file-system --format=%T "$2" 2>/dev/null) == "$1" ]]
}

# `ip netns exec` and `tc -n` run a command with a /sys of its own, where there is no bpffs; what is mounted there goes with the
# command. So such a command is run again with the mounts of PID 1, which has the same root directory, in the network
# namespace where it is.
# leave_private_sys WORD…: of the command line. Returns if there is nothing to leave.
leave_private_sys() {
	[[ $EUID == 0 && ! ${NETRACKER_LEFT-} ]] && ! is_mounted bpf_fs "$BPFFS" || return 0
	[[ $(readlink /proc/self/ns/mnt) != "$(readlink /proc/1/ns/mnt)" ]] || return 0
	[[ $(stat --dereference --format=%d:%i /) == "$(stat --dereference --format=%d:%i /proc/1/root/)" ]] 2>/dev/null || return 0
	export NETRACKER_LEFT=1
	command nsenter --mount=/proc/1/ns/mnt true 2>/dev/null ||
		die "$EXIT_PREREQUISITE" "this shell has a /sys of its own without the machine's BPF file system, as 'ip netns exec' makes it; run netracker outside of it, with --netns NAME"
	exec nsenter --mount=/proc/1/ns/mnt --wd="$PWD" -- "$(readlink --canonicalize -- "$0")" "$@"
}

mount_bpffs() {
	is_mounted bpf_fs "$BPFFS" || run mount -t bpf bpf "$BPFFS"
}

# How long the same attach or detach may be at work before those behind it give up, in seconds.
readonly LOCK_SECONDS=${NETRACKER_LOCK_SECONDS:-60}

# One attach or detach at a time. The lock ends with this process and leaves nothing but an empty file. Many may be waiting, when all units
# of a machine start at once; each that gets its turn touches the file, so that those behind it see that it goes on.
TAKEN_LOCK= # its descriptor
take_lock() {
	local since now
	((!DRY_RUN)) || return 0
	{ exec {TAKEN_LOCK}>>"$LOCK"; } 2>/dev/null || die "$EXIT_FAILED" "cannot open the lock $LOCK; is its directory there, and can it be written to?"
	if ! flock --nonblock "$TAKEN_LOCK" 2>/dev/null; then
		say "another attach or detach is at work; waiting for it"
		since=$(stat --format=%Y.%Z -- "$LOCK")
		until flock --timeout "$LOCK_SECONDS" "$TAKEN_LOCK" 2>/dev/null; do
			now=$(stat --format=%Y.%Z -- "$LOCK")
			[[ $now != "$since" ]] || die "$EXIT_FAILED" "$LOCK has been held by the same command for $LOCK_SECONDS s; 'fuser -v $LOCK' shows it"
			since=$now
		done
	fi
	touch -- "$LOCK"
}
