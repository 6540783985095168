# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # the libraries share their globals; each is checked alone
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the machine must have. One function for each prerequisite: it succeeds, or fails and has printed what is missing and the
# remedy. `check` shows all of them, other verbs insist on those they need.

readonly MINIMUM_KERNEL=5.16 BPFFS=/sys/fs/bpf LOCK=${NETRACKER_LOCK:-/run/netracker.lock}

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

# has_capability NUMBER NAME PURPOSE
has_capability() {
	local effective
	effective=$(sed -n 's/^CapEff:\t//p' /proc/self/status)
	((16#$effective >> $1 & 1)) || missing "root here lacks $2, without which nobody may $3; run it with more capabilities"
}

# bpf_printk with many arguments (bpf_trace_vprintk) came last of what the programs use.
has_kernel() {
	local release
	release=$(uname -r)
	[[ $(printf '%s\n' "$MINIMUM_KERNEL" "$release" | sort --version-sort | head -1) == "$MINIMUM_KERNEL" ]] ||
		missing "this is Linux $release; the tracker needs $MINIMUM_KERNEL or newer"
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
	[[ $(tc -V) == *libbpf* ]] || missing "tc is built without libbpf and cannot load the object; install an iproute2 that 'tc -V' calls 'libbpf'"
}

has_bpftool() {
	has_command bpftool bpftool || return
	bpftool version >/dev/null 2>&1 || missing "bpftool does not run; install the one of this kernel ($(uname -r))"
}

has_jq() {
	has_command jq jq
}

has_awk() {
	[[ $(awk 'BEGIN { print strftime("%Y", 0, 1) }' 2>/dev/null) == 1970 ]] || missing "awk has no strftime; install mawk 1.3.4 or gawk"
}

has_util_linux() {
	has_command flock util-linux && has_command nsenter util-linux
}

has_object() {
	[[ -s $OBJECT ]] || missing "$OBJECT is not there; 'make' builds it"
}

has_bpffs() {
	is_mounted bpf_fs "$BPFFS" || missing "no BPF file system on $BPFFS; 'mount -t bpf bpf $BPFFS' mounts it, attach does so by itself"
}

has_tracefs() {
	[[ $(find_tracefs) ]] || missing "no tracefs; 'mount -t tracefs tracefs /sys/kernel/tracing' mounts it, attach does so by itself"
}

# In this mode of lockdown nobody, root included, may read the trace.
has_no_lockdown() {
	[[ $(cat /sys/kernel/security/lockdown 2>/dev/null) != *'[confidentiality]'* ]] ||
		missing "the kernel is locked down (confidentiality), so nobody may trace; boot with lockdown=integrity or none"
}

missing() {
	printf '%s\n' "$*"
	return 1
}

# has_command NAME PACKAGE
has_command() {
	command -v "$1" >/dev/null || missing "no command $1; install the package $2 ('make deps' does)"
}

# is_mounted TYPE DIR: TYPE as stat names it.
is_mounted() {
	[[ $(stat --file-system --format=%T "$2" 2>/dev/null) == "$1" ]]
}

# Print where tracefs is; nothing if nowhere. Old systems have it under debugfs alone.
find_tracefs() {
	local dir
	for dir in /sys/kernel/tracing /sys/kernel/debug/tracing; do
		if is_mounted tracefs "$dir"; then
			printf '%s\n' "$dir"
			return 0
		fi
	done
}

mount_file_systems() {
	is_mounted bpf_fs "$BPFFS" || run mount -t bpf bpf "$BPFFS"
	[[ $(find_tracefs) ]] || run mount -t tracefs tracefs /sys/kernel/tracing
}

# One attach or detach at a time. The lock ends with this process and leaves nothing but an empty file.
take_lock() {
	local descriptor
	((!DRY_RUN)) || return 0
	{ exec {descriptor}>"$LOCK"; } 2>/dev/null || die "$EXIT_FAILED" "cannot open the lock $LOCK; is its directory there?"
	flock --nonblock "$descriptor" && return 0
	say "another attach or detach is at work; waiting for it"
	flock --timeout 30 "$descriptor" || die "$EXIT_FAILED" "$LOCK is still held after 30 s; 'fuser -v $LOCK' shows by whom"
}
