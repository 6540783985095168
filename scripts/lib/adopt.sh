# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Adoption: attach takes over what this host's sockets have open already, so that its end is a record, too. An iterator goes over the
# sockets of the network namespace at hand (view/adopt.bpf.c) and puts those whose segments pass one of the interfaces into a map; a
# program that no packet meets (tracker/adopt.bpf.c) has them come to rest. All of it is there for that moment alone.

# Sizes of the map between the two: struct conn_key, struct flow; and how many connections fit it: NeTracker.h. Where the program is pinned.
readonly ADOPT_KEY_BYTES=40 ADOPT_BYTES=104 ADOPT_MAX=262144 ADOPTER=$BPFFS/netracker_adopt_$BASHPID

# Each run of the program looks at 1,024 connections; so many runs are one command, and so many commands empty the largest table.
readonly ADOPT_RUNS=16 ADOPT_ROUNDS=300

# adopt_connections: for attach, which has put all else in place; without it everything else works.
adopt_connections() {
	local before after lacking
	((!DRY_RUN)) && [[ ! -v GIVEN[no_adopt] ]] || return 0
	before=$(adopted)
	lacking=$(adopt_open)
	[[ ! $lacking ]] || say "connections that are open already are not tracked: $lacking"
	after=$(adopted)
	((after == before)) || [[ -v GIVEN[quiet] ]] || say "connections that were open already and are tracked from now on: $((after - before))"
}

# Print how many there have been.
adopted() {
	dump nt_counters | jq '[.[0].formatted.values[].value.adopted // 0] | add'
}

# adopt_open: print what is lacking, if it cannot be done. A subshell: whatever happens, its trap removes what is only needed on the way.
adopt_open() (
	passing=("$ADOPT_AT" "$ADOPT_VIEW" "$ADOPTER")
	trap 'rm -f -- "${passing[@]}"' EXIT

	[[ -e /sys/kernel/btf/vmlinux ]] || {
		printf '%s\n' "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), which one of the distribution has"
		exit 0
	}
	mkdir -p -- "$VIEWS"
	forget_adoption
	said=$(command bpftool map create "$ADOPT_MAP" type hash key "$ADOPT_KEY_BYTES" value "$ADOPT_BYTES" entries "$ADOPT_MAX" name nt_adopt \
		flags "$NO_PREALLOC" 2>&1) || lacks "$said"
	passing+=("$ADOPT_MAP")
	said=$(command bpftool map create "$ADOPT_AT" type hash key 4 value 4 entries "$MAX_IFACES" name nt_adopt_at 2>&1) || lacks "$said"
	commands=()
	for iface in "${!ENTRY[@]}"; do
		HEX=
		put_bytes 4 "${IFINDEX[$iface]}" "${ENTRY[$iface]}"
		commands+=("map update pinned $ADOPT_AT key hex${HEX:0:12} value hex${HEX:12}")
	done
	said=$(ECHO=0 run_batch bpftool "${commands[@]}") || lacks "$said"

	for pin in "$ADOPT_MAP" "$PINS/nt_ifaces"; do
		link_map "$pin" "${pin##*/}" || lacks "$BPFFS/${pin##*/} is somebody else's, who has to take it away or pin it elsewhere"
	done
	link_map "$ADOPT_AT" nt_adopt_at || lacks "$BPFFS/nt_adopt_at is somebody else's, who has to take it away or pin it elsewhere"
	said=$(command bpftool iter pin "$(shipped view)/adopt.bpf.o" "$ADOPT_VIEW" 2>&1) || lacks "$(explain_view "$said")"
	mapfile -t found < <(command "${IN_NETNS[@]}" cat -- "$ADOPT_VIEW" | sort -n -u)
	((${#found[@]})) || exit 0

	said=$(unshare --net bash "$LIBDIR/load.bash" "$(shipped tracker)/adopt.bpf.o" "$ADOPTER" ingress tc_adopt 2>&1) || lacks "$(explain_view "$said")"
	announce "bpftool prog run pinned $ADOPTER data_in … ctx_in …" >&2
	for index in "${found[@]}"; do
		for ((i = 0; i < ADOPT_ROUNDS; i++)); do
			left=$(command "${IN_NETNS[@]}" bpftool --json prog run pinned "$ADOPTER" data_in <(no_ip_frame) ctx_in <(packet_at "$index") \
				repeat "$ADOPT_RUNS" 2>/dev/null) || lacks "the kernel does not run $ADOPTER"
			(($(command jq .retval <<<"$left"))) || break
		done
	done
)

# lacks WORDS: for adopt_open, which ends with this.
lacks() {
	printf '%s\n' "$(last_words "$1")"
	exit 0
}

# packet_at IFINDEX: a struct __sk_buff that says so, up to where it does (include/uapi/linux/bpf.h).
packet_at() {
	local index
	head -c 40 /dev/zero
	index=$(bytes 4 "$1")
	printf '%b' "\\x${index// /\\x}"
}
