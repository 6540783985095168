# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # the libraries share their globals; each is checked alone
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Interfaces in their network namespaces, and what tc has hung on them. A filter is ours if it carries the name that tc gave it for
# our object and section, and its program carries the name that the object gave it. Nobody else's is ever touched.

readonly OBJECT_NAME=NeTracker.bpf.o HOOKS=(ingress egress)
declare -rA SECTION=([ingress]=tc_ing [egress]=tc_en)

OBJECT=${NETRACKER_OBJ-}
if [[ ! $OBJECT ]]; then
	# In the source tree the object is two levels above the libraries; installed it is with them.
	for OBJECT in "$LIBDIR/$OBJECT_NAME" "${LIBDIR%/*/*}/$OBJECT_NAME"; do
		[[ ! -e $OBJECT ]] || break
	done
fi
readonly OBJECT

IN_NETNS=() # what to put before a command to have it done in the namespace at hand
NETNS=      # and its inode

# enter_netns [NAME|PID|FILE]: commands of this file speak of that namespace's interfaces from now on; without argument of ours.
# Only the network changes: in the mount namespaces that `ip netns exec` makes there is neither bpffs nor tracefs.
enter_netns() {
	local file=/proc/self/ns/net
	IN_NETNS=()
	if (($#)); then
		file=$(netns_file "$1") || die "$EXIT_FAILED" "no network namespace '$1'; 'ip netns' and 'lsns --type net' list them"
		IN_NETNS=(nsenter "--net=$file")
	fi
	NETNS=$(stat --dereference --format=%i "$file")
}

# netns_file NAME|PID|FILE: print the file that stands for it.
netns_file() {
	local file
	case $1 in
		*/*) file=$1 ;;
		+([0-9]))
			file=/run/netns/$1
			[[ -e $file ]] || file=/proc/$1/ns/net
			;;
		*) file=/run/netns/$1 ;;
	esac
	is_mounted nsfs "$file" && printf '%s\n' "$file"
}

# find_netns INODE: print a file that stands for it: a mount, for a name if there is one, else a process; fail if there is none.
find_netns() {
	local file
	file=$(awk -v root="net:[$1]" '$4 == root { if (!file || $5 ~ "^/run/netns/") file = $5 } END { print file }' /proc/self/mountinfo)
	if [[ ! $file ]]; then
		for file in /proc/[0-9]*/ns/net; do
			[[ $(readlink "$file" 2>/dev/null) != "net:[$1]" ]] || break
			file=
		done
	fi
	[[ $file ]] && printf '%s\n' "$file"
}

# enter_netns_by_inode INODE: succeeds if the namespace can be entered.
enter_netns_by_inode() {
	local file
	enter_netns
	[[ $NETNS == "$1" ]] && return 0
	file=$(find_netns "$1") || return 1
	enter_netns "$file"
}

# is_interface_name WORD: could the kernel have an interface of this name?
is_interface_name() {
	[[ $1 =~ ^[^/:[:space:]]{1,15}$ && $1 != . && $1 != .. ]]
}

# interface_index NAME: print it; nothing if there is no such interface.
interface_index() {
	"${IN_NETNS[@]}" ip -json link show dev "$1" 2>/dev/null | jq '.[0].ifindex' || true
}

# interface_name INDEX: likewise.
interface_name() {
	"${IN_NETNS[@]}" ip -json link 2>/dev/null | jq --raw-output --argjson index "$1" '.[] | select(.ifindex == $index) | .ifname'
}

# qdisc DEV: print clsact or ingress, whichever holds the place where filters hang; nothing if none does.
qdisc() {
	"${IN_NETNS[@]}" tc -json qdisc show dev "$1" | jq --raw-output '.[] | select(.kind | IN("clsact", "ingress")) | .kind'
}

# filters DEV: all filters on both hooks in the order in which packets pass them, a line each:
# HOOK PREF HANDLE PROTOCOL KIND OURS DIRECT_ACTION PROGRAM TAG NAME
filters() {
	local hook
	for hook in "${HOOKS[@]}"; do
		"${IN_NETNS[@]}" tc -json filter show dev "$1" "$hook" 2>/dev/null |
			jq --raw-output --arg hook "$hook" --arg name "$OBJECT_NAME:[${SECTION[$hook]}]" '
			.[] | select(.options) | (.options.prog // {}) as $program
			| (.kind == "bpf" and .options.bpf_name == $name and ($program.name // "" | startswith("netracker_"))) as $ours
			| [$hook, .pref, (.options.handle // .options.fh // "-"), .protocol, .kind, $ours, (.options["direct-action"] // false),
				($program.id // "-"), ($program.tag // "-"), (.options.bpf_name // $program.name // "-")]
			| map(tostring) | join(" ")'
	done
}

# our_filters DEV: ours alone: HOOK PREF HANDLE PROGRAM TAG
our_filters() {
	filters "$1" | awk '$6 == "true" { print $1, $2, $3, $8, $9 }'
}

# add_filter DEV HOOK: load the object afresh and put it before all other filters, so that none of them can hide packets.
add_filter() {
	local output lowest pref=()
	local -a command
	lowest=$(filters "$1" | awk -v hook="$2" '$1 == hook && (!n++ || $2 < least) { least = $2; kind = $5; protocol = $4 }
		END { if (n) print least, kind, protocol }')
	# Left alone, tc takes the number below the lowest. Below 1 there is none, but of the bpf filters that share a number, the
	# newest comes first.
	[[ $lowest != '1 bpf all' ]] || pref=(pref 1)
	[[ $lowest != '1 '* || ${pref[*]} ]] || pref=(pref "$(free_pref "$1" "$2")")
	command=("${IN_NETNS[@]}" tc filter add dev "$1" "$2" "${pref[@]}" bpf obj "$OBJECT" sec "${SECTION[$2]}")
	announce "$(quoted "${command[@]}")"
	((DRY_RUN)) || output=$("${command[@]}" 2>&1) || die "$EXIT_FAILED" "$(explain_load "$output")"
}

# free_pref DEV HOOK: the lowest number that no filter has.
free_pref() {
	filters "$1" | awk -v hook="$2" '$1 == hook { taken[$2] } END { for (i = 1; i in taken; i++); print i }'
}

# explain_load OUTPUT: what tc and libbpf meant by it.
explain_load() {
	local pin
	case $1 in
		*"couldn't reuse pinned map at '"*)
			pin=${1#*"couldn't reuse pinned map at '"}
			explain_layout "${pin%%"'"*}"
			;;
		*'program load failed'*)
			printf '%s\n' "the kernel refuses $OBJECT:" "$(tail -n 12 <<<"$1")"
			;;
		*)
			printf '%s\n' "tc could not attach $OBJECT: ${1:-it gave no reason}"
			;;
	esac
}

# explain_layout PIN
explain_layout() {
	local remedy="'netracker detach --all' ends and reports them"
	[[ $(tracked_interfaces) ]] || remedy="nobody uses it: 'netracker detach --all' removes it"
	printf '%s\n' "$1 holds records in the layout of another version; $remedy, then attach again"
}

# check_layout: the maps that are pinned hold what the object would put there. libbpf compares sizes; fields may differ all the same.
check_layout() {
	local pin structs
	structs=$(bpftool btf dump file "$OBJECT" format c) || die "$EXIT_FAILED" "$OBJECT has no BTF; 'make' builds it"
	for pin in $(pins); do
		bpftool btf dump map pinned "$pin" format c 2>/dev/null |
			awk -f "$LIBDIR/layout.awk" <(printf '%s\n' "$structs") - ||
			die "$EXIT_FAILED" "$(explain_layout "$pin")"
	done
}

# object_tags: print HOOK TAG for what the object has, as the kernel sees it, from a load in a namespace that ends with the command.
object_tags() {
	# shellcheck disable=SC2016 # for the inner shell
	unshare --net bash -c '
		tc qdisc add dev lo clsact
		while (($# > 1)); do
			tc filter add dev lo "$2" bpf obj "$1" sec "$3"
			tc filter show dev lo "$2" | sed -n "s/.* tag \([0-9a-f]*\).*/$2 \1/p"
			set -- "$1" "${@:4}"
		done' bash "$OBJECT" ingress "${SECTION[ingress]}" egress "${SECTION[egress]}" 2>/dev/null
}

# name_load PROGRAM INDEX: tell this load of the object, in its own .bss, which entry of nt_ifaces is its interface's.
name_load() {
	local map=ID
	((DRY_RUN)) || map=$(own_map "$1")
	# shellcheck disable=SC2046 # bytes are words
	run bpftool map update id "$map" key hex 00 00 00 00 value hex $(bytes 4 "$2")
}

# own_map PROGRAM: print the id of its .bss.
own_map() {
	bpftool --json map show | jq --argjson used "$(bpftool --json prog show id "$1" | jq .map_ids)" '
		.[] | select((.name // "" | endswith(".bss")) and ([.id] | inside($used))) | .id'
}

# remove_filter DEV HOOK PREF HANDLE
remove_filter() {
	run "${IN_NETNS[@]}" tc filter del dev "$1" "$2" pref "$3" handle "$4" bpf
}

# remove_qdisc DEV: the clsact that attach made, unless somebody has hung filters there since.
remove_qdisc() {
	if [[ $(filters "$1") ]]; then
		say "$1: the clsact qdisc stays, others have filters on it"
	elif [[ $(qdisc "$1") == clsact ]]; then
		run "${IN_NETNS[@]}" tc qdisc del dev "$1" clsact
	fi
}

# uses_pinned_maps PROGRAM: not so if somebody has removed the pins since it was loaded.
uses_pinned_maps() {
	bpftool --json prog show id "$1" | jq --exit-status --argjson map "$(map_id "$PINS/conn_map")" '.map_ids | index($map)' >/dev/null
}

# Print INODE FILE of each network namespace that can be entered, ours first.
namespaces() {
	{
		printf '%s\n' /proc/self/ns/net
		awk '$4 ~ /^net:\[/ { print $5 }' /proc/self/mountinfo
		printf '%s\n' /proc/[0-9]*/ns/net
	} | xargs --delimiter='\n' stat --dereference --format='%i %n' 2>/dev/null | awk '!seen[$1]++'
}

# Print NETNS IFINDEX of every interface with a filter of ours, whoever made it. Not by the names that bpftool prints: it garbles some.
# The programs that are loaded tell nothing: their timers keep them until the maps go.
tracked_interfaces() {
	local netns file
	while read -r netns file; do
		nsenter --net="$file" bpftool --json net show 2>/dev/null |
			jq --raw-output --arg netns "$netns" --arg name "$OBJECT_NAME:[" '
				[.[].tc[]? | select(.name // "" | startswith($name)) | "\($netns) \(.ifindex)"] | unique[]'
	done < <(namespaces)
}
