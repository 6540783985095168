# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# TCX (Linux 6.6): a place at the same hooks that packets pass before all filters of tc, without a filter or a qdisc. Cilium and Calico hang
# their programs there. And XDP, before that, where packets come in. What hangs there looks like a filter to the rest: hooks.sh.

# The number of bpf(2) (asm/unistd.h), by what bash calls the machine; empty on others.
declare -rA SYS_BPF_OF=([x86_64]=321 [aarch64]=280 [riscv64]=280 [loongarch64]=280 [powerpc64]=361 [powerpc64le]=361 [s390x]=351)
readonly SYS_BPF=${SYS_BPF_OF[$HOSTTYPE]-}

# The answer of a load: 0 at clsact, TCX_NEXT at TCX (NeTracker.h, struct load).
declare -rA ANSWER=([clsact]=0 [tcx]=-1)

# A load on its way to its place.
readonly TCX_PIN=$BPFFS/netracker_tcx_$BASHPID

# Can the tracker hang there? Tried, as distributors of long-lived kernels take over what is newer.
has_tcx() {
	local said status=0
	has_command perl perl-base || return
	[[ $SYS_BPF ]] || missing "how to ask a kernel for $HOSTTYPE of TCX is not known here; attach without --tcx" || return
	said=$(in_tcx query lo 2>&1) || status=$?
	((status != 3)) || missing "this kernel ($(uname -r)) has no TCX, which came with Linux 6.6; attach without --tcx, or boot a newer kernel" || return
	((status == 0)) || missing "this kernel does not tell what hangs at TCX ($said); attach without --tcx"
}

# in_tcx WORD…: tcx.pl in the namespace at hand.
in_tcx() {
	command "${IN_NETNS[@]}" perl "$LIBDIR/tcx.pl" "$SYS_BPF" "$@"
}

# tcx_programs DEV…: print NUMBER HOOK PROGRAM of each that hangs there, in the order in which packets pass them; nothing where nobody can ask.
# NUMBER counts the DEVs from 0 on.
tcx_programs() {
	local found
	[[ $SYS_BPF ]] && type -P perl >/dev/null || return 0
	found=$(in_tcx query "$@" 2>/dev/null) || return 0
	[[ ! $found ]] || awk 'NR == FNR { number[$0] = NR - 1; next } { print number[$4], $2, $3 }' <(printf '%s\n' "$@") - <<<"$found"
}

# tcx_in_netns FILE: print IFINDEX HOOK PROGRAM of all that hangs at TCX in that network namespace; nothing where nobody can ask.
tcx_in_netns() {
	local links
	local -a names
	[[ $SYS_BPF ]] && type -P perl >/dev/null || return 0
	links=$(command nsenter --net="$1" ip -json link 2>/dev/null) || return 0
	mapfile -t names < <(awk -f "$LIBDIR/links.awk" <<<"$links" | cut -d ' ' -f 5)
	command nsenter --net="$1" perl "$LIBDIR/tcx.pl" "$SYS_BPF" query "${names[@]}" 2>/dev/null || true
}

# require_tcx_if_used: what hangs at TCX is ours to find only where it can be asked for.
require_tcx_if_used() {
	local hooks
	! hooks=$(hooks_by_view) || [[ $hooks != *' tcx_'* ]] || require tcx
}

# xdp_programs: print the programs that get each packet that comes in before all hooks, as `filters_of` would, with the index of the interface
# before it. bpftool escapes no control characters in names of interfaces, which are not wanted here.
xdp_programs() {
	local hooks known
	hooks=$(bpftool_of_netns --json net show | tr -d '[:cntrl:]')
	[[ $hooks == *'"mode"'* ]] || return 0
	known=$(show_all prog)
	jq --raw-output --argjson known "$known" '
		.[].xdp[]? | .ifindex as $index | .id // .multi_attachments[].id
		| . as $id | ($known[] | select(.id == $id)) // {}
		| "\($index) ingress xdp \($id) all xdp - false \($id) \(.tag // "-") - \(.name // "-")"' <<<"$hooks"
}

bpftool_of_netns() {
	command "${IN_NETNS[@]}" bpftool "$@" 2>/dev/null || true
}

# load_apart HOOK PIN: set LOADED to the id of a load of the object that hangs nowhere yet; PIN holds it. Empty with --dry-run.
LOADED=
load_apart() {
	local output
	LOADED=
	announce "unshare --net bash $(quoted "$LIBDIR/load.bash" "$OBJECT" "$2" "$1" "${SECTION[$1]}")"
	((!DRY_RUN)) || return 0
	output=$(unshare --net bash "$LIBDIR/load.bash" "$OBJECT" "$2" "$1" "${SECTION[$1]}" 2>&1) || die_of_load "$output"
	read -r _ LOADED _ < <(tail -n 1 <<<"$output")
}

# hang_at_tcx DEV HOOK PROGRAM: before all others there, so that none of them can hide packets.
hang_at_tcx() {
	use_tcx attach "$@"
	((DRY_RUN)) || rm -f -- "$TCX_PIN"
}

# leave_tcx DEV HOOK PROGRAM
leave_tcx() {
	use_tcx detach "$@"
}

# use_tcx VERB DEV HOOK PROGRAM. Returns its status plus $SAID when that fails, as `run` does: detach and undo go on.
use_tcx() {
	local said
	announce "$(quoted "${IN_NETNS[@]}" perl "$LIBDIR/tcx.pl" "$SYS_BPF" "$1" "$2" "$3" "${4:-ID}")"
	((!DRY_RUN)) || return 0
	said=$(in_tcx "$@" 2>&1) || {
		say "$2: the kernel refuses to $1 program $4 at TCX's $3: $said"
		return $((SAID + EXIT_FAILED))
	}
}
