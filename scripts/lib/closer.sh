# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The closer (tracker/closer.bpf.c), which runs when a process closes a socket and notes which one it is, for FINs that leave later. It is at
# the root of cgroup v2, by a link that is pinned in $VIEWS and ends with that pin. Each tracker has its own. Where it cannot be, the
# tracker works without: these FINs name nobody, and status says why.

readonly CLOSER_LINK=$VIEWS/closer

# Its program, on the way to its place.
readonly CLOSER_PIN=$BPFFS/netracker_closer_$BASHPID

# What nt_config has for closers=off; 0 is on.
readonly CLOSERS_OFF=1

CLOSER_LACKS= # why hang_closer could not do it

# cgroup_root: print where the root of cgroup v2 is mounted; nothing if it is nowhere.
cgroup_root() {
	local root
	root=$(awk '$4 == "/" { for (i = 7; i < NF && $i != "-"; i++); if ($(i + 1) == "cgroup2") { print $5; exit } }' /proc/self/mountinfo)
	printf '%b\n' "$root" # a blank in it is \040
}

# Can the closer be there? Whether the kernel takes it is not tried.
has_closer() {
	local object
	object=$(shipped tracker/closer.bpf.o)
	has_command perl perl-base || return
	[[ $SYS_BPF ]] || missing "how to ask a kernel for $HOSTTYPE for it is not known here" || return
	[[ $(cgroup_root) ]] || missing "the root of cgroup v2 is mounted nowhere here; 'mount -t cgroup2 cgroup2 DIRECTORY' mounts it" || return
	[[ -e /sys/kernel/btf/vmlinux ]] || missing "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), which one of the distribution has" || return
	[[ -s $object ]] || missing "$object is not there; 'make' builds it"
}

# closer_program: print the number of the program that $CLOSER_LINK keeps, if it is a closer. What bpftool 7.8 ends with says nothing: it
# shows a link and fails.
closer_program() {
	local program
	[[ -e $CLOSER_LINK ]] || return 0
	program=$({ command bpftool --json link show pinned "$CLOSER_LINK" 2>/dev/null || true; } | command jq '.prog_id // empty' 2>/dev/null) || return 0
	[[ ! $program ]] || command bpftool --json prog show id "$program" 2>/dev/null | command jq 'select(.name == "netracker_close").id' 2>/dev/null || true
}

# has_own_closer: is it there, and does it write into our map?
has_own_closer() {
	local program
	program=$(closer_program)
	[[ $program ]] && is_pinned nt_closers && uses_pinned_maps "$program" nt_closers
}

# hang_closer: have a closer there, a new one. Fails with the reason in CLOSER_LACKS, and there is none.
hang_closer() {
	local root object
	CLOSER_LACKS=$(has_closer) || return
	leave_closer
	[[ ! -e $CLOSER_LINK ]] || {
		CLOSER_LACKS="$CLOSER_LINK is not the tracker's; whoever made it has to pin it elsewhere"
		return 1
	}
	root=$(cgroup_root)
	object=$(shipped tracker/closer.bpf.o)
	run mkdir -p -- "$VIEWS" || return
	change_by_closer bpftool prog load "$object" "$CLOSER_PIN" type cgroup/sock_release map name nt_closers pinned "$PINS/nt_closers" || return
	change_by_closer perl "$LIBDIR/closer.pl" "$SYS_BPF" "$CLOSER_PIN" "$root" "$CLOSER_LINK" || {
		rm -f -- "$CLOSER_PIN"
		return 1
	}
	run rm -f -- "$CLOSER_PIN"
}

# change_by_closer COMMAND…: run it; fails with the kernel's reason in CLOSER_LACKS.
change_by_closer() {
	local said
	announce "$(quoted "$@")"
	((!DRY_RUN)) || return 0
	said=$(command "$@" 2>&1) || {
		[[ $1 != bpftool ]] || said=$(explain_view "$said")
		CLOSER_LACKS="this kernel ($(uname -r)) does not take it: $(last_words "$said")"
		return 1
	}
}

# leave_closer: take it away, if it is there and ours. Idempotent, and for traps: it succeeds.
leave_closer() {
	[[ ! $(closer_program) ]] || run rm -f -- "$CLOSER_LINK"
	return 0
}

# closers_are_off: did somebody say so?
closers_are_off() {
	local settings
	is_pinned nt_config || return
	settings=$(read_config)
	[[ ${settings##* } == "$CLOSERS_OFF" ]]
}

# note_closers: for attach, which has put all else in place. What is up to date stays.
note_closers() {
	! closers_are_off || return 0
	if ((${#SUPERSEDED[@]} == 0)) && has_own_closer; then
		return 0
	fi
	hang_closer || [[ $CLOSER_LACKS != *perl* ]] || say "FINs that leave after their process is gone name nobody, as there is $CLOSER_LACKS"
	return 0
}

# closers_json: print whether closers are noted, and if not, why.
closers_json() {
	local reason
	if has_own_closer; then
		printf '{"noted":true}\n'
		return 0
	elif closers_are_off; then
		reason="somebody said so; 'netracker config closers=on' has them noted again"
	elif reason=$(has_closer); then
		reason="the closer is not attached; 'netracker config closers=on' does that, or says what this kernel lacks"
	fi
	jq --null-input --compact-output --arg reason "$reason" '{noted: false, $reason}'
}
