# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Interfaces in their network namespaces, and what tc has hung on them. A filter is ours if it runs on our maps (find_maps). Nobody
# else's is ever touched.

readonly OBJECT_NAME=NeTracker.bpf.o HOOKS=(ingress egress)
declare -rA SECTION=([ingress]=tc_ing [egress]=tc_en)
readonly SECTIONS=(ingress "${SECTION[ingress]}" egress "${SECTION[egress]}") # as load.bash wants them

OBJECT=${NETRACKER_OBJ-}
if [[ ! $OBJECT ]]; then
	# A kernel that has no BTF, or lets no program read its memory, takes the one that reads nothing of its structs.
	OBJECT=$OBJECT_NAME
	if [[ ! -e /sys/kernel/btf/vmlinux ]] || grep --quiet --no-messages --fixed-strings '[confidentiality]' /sys/kernel/security/lockdown; then
		OBJECT=no-btf/$OBJECT_NAME
	fi
	OBJECT=$(shipped "$OBJECT")
fi
readonly OBJECT

IN_NETNS=() # what to put before a command to have it done in the namespace at hand
NETNS=      # and its inode
NETNS_FILE= # what find_netns has found

# enter_netns [NAME|PID|FILE]: commands of this file speak of that namespace's interfaces from now on; without argument of ours.
# Only the network changes: in the mount namespaces that `ip netns exec` makes there is no bpffs.
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

# The namespaces that can be entered: inode to a file that stands for it; empty until somebody asks.
declare -A NETNS_FILES=()

# find_netns INODE: set NETNS_FILE to a file that stands for it: a mount, for a name if there is one, else a process; fail if there is
# none.
find_netns() {
	local inode file
	if ((${#NETNS_FILES[@]} == 0)); then
		while read -r inode file; do
			NETNS_FILES[$inode]=$file
		done < <(namespaces)
	fi
	NETNS_FILE=${NETNS_FILES[$1]-}
	[[ $NETNS_FILE ]]
}

# enter_netns_by_inode INODE: succeeds if the namespace can be entered.
enter_netns_by_inode() {
	enter_netns
	[[ $NETNS == "$1" ]] && return 0
	# It may be gone by now.
	find_netns "$1" && is_mounted nsfs "$NETNS_FILE" && enter_netns "$NETNS_FILE"
}

# is_interface_name WORD: could the kernel have an interface of this name?
is_interface_name() {
	[[ $1 =~ ^[^/:[:space:]]{1,15}$ && $1 != . && $1 != .. ]]
}

# is_alternative_name WORD: … or one that has this name beside its own, as `ip link property add … altname` gives it?
is_alternative_name() {
	[[ $1 =~ ^[^/[:space:]]{1,127}$ && $1 != . && $1 != .. ]]
}

# find_interface NAME: print INDEX KIND MASTER USE NAME (links.awk) of the interface that has this name or has it beside its own; nothing if
# there is none.
find_interface() {
	local link
	if ! link=$("${IN_NETNS[@]}" ip -json -details link show dev "$1" 2>/dev/null); then
		# No interface, or no way to ask? Only the first goes by in silence.
		"${IN_NETNS[@]}" ip -json link >/dev/null
		return 0
	fi
	awk -f "$LIBDIR/links.awk" <<<"$link"
}

# vrf_above MASTER: print the index of the VRF that an interface with this master is in, at whatever remove; 0 if it is in none.
vrf_above() {
	local found index=0 kind='' master=$1
	while [[ $master && $master != - && $kind != vrf ]]; do
		found=$(find_interface "$master")
		read -r index kind master _ <<<"$found" || break
	done
	[[ $kind == vrf ]] || index=0
	printf '%s\n' "$index"
}

# interface_names: print INDEX NAME of each interface.
interface_names() {
	local links
	links=$("${IN_NETNS[@]}" ip -json link)
	awk -f "$LIBDIR/links.awk" <<<"$links" | cut -d ' ' -f 1,5
}

# interface_name INDEX: print it; nothing if there is no such interface.
interface_name() {
	interface_names | awk -v number="$1" '$1 == number { print $2 }'
}

# worth_tracking: print INDEX KIND MASTER USE NAME of each interface that carries addresses, IPv6's link-local ones too, or is a port of a
# bridge. What lies below or above another one is not told apart: a connection that crosses both is one all the same.
worth_tracking() {
	local links
	links=$("${IN_NETNS[@]}" ip -json -details address)
	awk -f "$LIBDIR/links.awk" <<<"$links" | awk '$4 != "-"'
}

# qdiscs DEV…: print NUMBER KIND, clsact or ingress, of those that have one of these in the place where filters hang. NUMBER counts the DEVs
# from 0 on.
qdiscs() {
	(($#)) || return 0
	tc_of_each qdisc '' "$@" | jq --raw-output --slurp 'to_entries[] | "\(.key) \(.value[].kind | select(IN("clsact", "ingress")))"'
}

# programs: the trackers' programs that are loaded, a line each: ID WHOSE. ours: on our maps. theirs: on the maps of another tracker,
# which has a BPF file system of its own, in a container for instance. stray: on maps that are pinned nowhere any more; nobody can
# read their records, and nobody but us takes them away. A program that has our name but no conn_map is nobody's tracker.
programs() {
	local loaded lost conn_maps
	loaded=$(show_all prog | jq --raw-output --argjson ours "$(our_map_ids)" '
		.[] | select(.name // "" | startswith("netracker_"))
		| "\(.id) \(if [.map_ids[]? | IN($ours[])] | any then "ours" else (.map_ids // [] | map(tostring) | join(",")) end)"')
	[[ $loaded ]] || return 0
	if grep --quiet --invert-match ' ours$' <<<"$loaded"; then
		conn_maps=$(show_all map | jq '.[] | select(.name == "conn_map") | .id')
		lost=$(orphans) || lost=
		ORPHANS=$lost CONN_MAPS=$conn_maps awk -f "$LIBDIR/whose.awk" <<<"$loaded"
	else
		printf '%s\n' "$loaded"
	fi
}

# Print a JSON array.
our_map_ids() {
	local IFS=,
	printf '[%s]\n' "${OUR_MAPS[*]}"
}

# filters DEV: all filters on both hooks in the order in which packets pass them, a line each:
# HOOK PREF HANDLE PROTOCOL KIND WHOSE DIRECT_ACTION PROGRAM TAG CLASSID NAME
# WHOSE is that of `programs`, or - if the filter is no tracker's. A program at TCX has the KIND and PREF tcx, and its id is its HANDLE.
filters() {
	filters_of "$1" | cut -d ' ' -f 2-
}

# filters_of DEV…: the same of each, in no more time than of one, with the number of the DEV before it, from 0 on.
filters_of() {
	local ingress egress tcx known='[]' loaded=''
	(($#)) || return 0
	tcx=$(tcx_programs "$@")
	ingress=$(tc_of_each filter ingress "$@")
	egress=$(tc_of_each filter egress "$@")
	[[ ! $tcx ]] || known=$(show_all prog)
	[[ $ingress$egress$known != *'"netracker_'* ]] || loaded=$(programs)
	printf '%s\n' "$known" "${ingress:-[]}" "${egress:-[]}" |
		jq --raw-output --slurp --argjson n "$#" --arg programs "$loaded" --arg elsewhere "$tcx" --from-file "$LIBDIR/filters.jq"
}

# tc_of_each OBJECT HOOK DEV…: print what tc has as `OBJECT show dev DEV HOOK`, an array for each. HOOK may be empty. Of many by one process,
# as far as their names can stand in its file.
tc_of_each() {
	local object=$1 hook=$2 dev plain=1 found
	shift 2
	for dev in "$@"; do
		is_plain "$dev" || plain=
	done
	if [[ $plain ]] && (($# > 1)) && found=$(printf "$object show dev %s $hook\n" "$@" | "${IN_NETNS[@]}" tc -json -batch - 2>/dev/null); then
		printf '%s\n' "$found"
		return
	fi
	for dev in "$@"; do
		tc_of_one "$object" "$hook" "$dev"
	done
}

# tc_of_one OBJECT HOOK DEV: an interface that has gone meanwhile has none.
tc_of_one() {
	local found
	if found=$("${IN_NETNS[@]}" tc -json "$1" show dev "$3" ${2:+"$2"} 2>/dev/null); then
		printf '%s\n' "${found:-[]}"
	elif [[ $(find_interface "$3") ]]; then
		"${IN_NETNS[@]}" tc -json "$1" show dev "$3" ${2:+"$2"}
	else
		printf '[]\n'
	fi
}

# is_plain WORD: can it stand in a file of commands for tc and bpftool? Those have quotes, but none for all characters.
is_plain() {
	[[ $1 =~ ^[[:alnum:]_.@:+-]+$ ]]
}

# run_batch tc|bpftool COMMAND…: all these commands by one process; the first that fails is the last, but one of tc's that takes something away
# keeps none behind it. What it says is on stdout.
run_batch() {
	local tool=$1 command words='' before=() force=()
	shift
	(($#)) || return 0
	if [[ $tool == tc ]]; then
		before=("${IN_NETNS[@]}")
		words=$(quoted "${before[@]}" '')
		words=${words%"''"}
	fi
	for command in "$@"; do
		announce "$words$tool $command"
	done
	((!DRY_RUN)) || return 0
	if [[ $tool == tc ]]; then
		[[ $1 != *' del '* ]] || force=(-force)
		printf '%s\n' "$@" | command "${before[@]}" tc "${force[@]}" -batch - 2>&1 | { grep -v '^Command failed ' || true; }
	else
		printf '%s\n' "$@" | { command bpftool batch file - >/dev/null; } 2>&1
	fi
}

# our_filters: of what `filters` printed, ours and strays alone: HOOK PREF HANDLE PROGRAM TAG CLASSID
our_filters() {
	awk '$6 == "ours" || $6 == "stray" { print $1, $2, $3, $8, $9, $10 }'
}

# add_filter DEV HOOK FILTERS: load the object afresh and put it before all other filters, which `filters` has printed, so that none of them
# can hide packets.
add_filter() {
	local output lowest pref=()
	local -a command
	lowest=$(awk -v hook="$2" '$1 == hook && $5 != "tcx" && (!n++ || $2 < least) { least = $2; kind = $5; protocol = $4 }
		END { if (n) print least, kind, protocol }' <<<"$3")
	# Left alone, tc takes the number below the lowest. Below 1 there is none, but of the bpf filters that share a number, the
	# newest comes first.
	[[ $lowest != '1 bpf all' ]] || pref=(pref 1)
	[[ $lowest != '1 '* || ${pref[*]} ]] || pref=(pref "$(free_pref "$2" "$3")")
	command=("${IN_NETNS[@]}" tc filter add dev "$1" "$2" "${pref[@]}" bpf obj "$OBJECT" sec "${SECTION[$2]}")
	announce "$(quoted "${command[@]}")"
	((DRY_RUN)) || output=$(command "${command[@]}" 2>&1) || die_of_load "$output"
}

# free_pref HOOK FILTERS: print the lowest number that none of FILTERS has.
free_pref() {
	awk -v hook="$1" '$1 == hook { taken[$2] } END { for (i = 1; i in taken; i++); print i }' <<<"$2"
}

# die_of_load OUTPUT: what tc and libbpf meant by it; a kernel that is too old is a prerequisite that is missing.
die_of_load() {
	local explanation
	explanation=$(explain_load "$1")
	[[ $explanation != *"boot a newer kernel"* && $explanation != *modprobe* ]] || die "$EXIT_PREREQUISITE" "$explanation"
	die "$EXIT_FAILED" "$explanation"
}

# explain_load OUTPUT: what tc and libbpf meant by it, in a sentence.
explain_load() {
	local pin
	case $1 in
		*"couldn't reuse pinned map at '"*)
			pin=${1#*"couldn't reuse pinned map at '"}
			explain_layout "${pin%%"'"*}"
			;;
		*' func '*#[0-9]*)
			explain_helper "$1"
			;;
		*"func_info doesn't match number of subprogs"*)
			explain_lack bpf_for_each_map_elem 5.13 # it knows no functions that are called back
			;;
		*'program load failed'*)
			printf '%s\n' "this kernel ($(uname -r)) refuses $OBJECT: $(verifier_words "$1"); report it with these words, or try another kernel"
			;;
		*'Specified qdisc kind is unknown'* | *'Specified filter kind is unknown'* | *'TC classifier not found'*)
			printf '%s\n' "this kernel ($(uname -r)) has no clsact or no bpf filter; load its modules: 'modprobe -a sch_ingress cls_bpf'"
			;;
		*)
			printf '%s\n' "tc could not attach $OBJECT: $(last_words "$1")"
			;;
	esac
}

# What the tracker and the views need of the kernel that came last, by the number of the helper function: name and release. From there on,
# distributors of long-lived kernels have taken over some and not others, so the release that a kernel calls itself tells nothing.
readonly -A HELPER_CAME=([99]='bpf_skc_lookup_tcp 5.2' [125]='bpf_ktime_get_boot_ns 5.8' [164]='bpf_for_each_map_elem 5.13'
	[156]='bpf_task_storage_get 5.11' [158]='bpf_get_current_task_btf 5.11' [162]='bpf_sock_from_file 5.11' [169]='bpf_timer_init 5.15' [170]='bpf_timer_set_callback 5.15' [171]='bpf_timer_start 5.15' [177]='bpf_trace_vprintk 5.16'
	[181]='bpf_loop 5.17' [195]='bpf_map_lookup_percpu_elem 5.19')

# explain_helper OUTPUT: the kernel lacks a function that the programs call.
explain_helper() {
	local name release
	read -r name release < <(lacking_helper "$1")
	explain_lack "$name" "$release"
}

# lacking_helper OUTPUT: print NAME RELEASE of the function that the verifier does not know.
lacking_helper() {
	local number
	number=$(sed -n 's/.* func [^#]*#\([0-9]*\).*/\1/p' <<<"$1" | head -n 1)
	printf '%s\n' "${HELPER_CAME[$number]:-"helper_$number later"}"
}

# explain_lack FUNCTION RELEASE: … which came with that release.
explain_lack() {
	printf '%s\n' "this is Linux $(uname -r), which has no $1; the tracker needs it (Linux $2, in full from $MINIMUM_KERNEL on): boot a newer kernel"
}

# verifier_words OUTPUT: the last thing that the verifier said before its statistics.
verifier_words() {
	grep -vE '^(processed [0-9]+ insns|-- (BEGIN|END)|libbpf: |Unable to load|Error fetching|Error: |[[:space:]]*$)' <<<"$1" | tail -n 1
}

# explain_layout PIN
explain_layout() {
	local remedy="'netracker detach --all' ends and reports them" tracked
	tracked=$(tracked_interfaces)
	[[ $tracked == *ours* ]] || remedy="nobody uses it: 'netracker detach --all' removes it"
	printf '%s\n' "$1 holds records in the layout of another version; $remedy, then attach again"
}

# check_layout: the maps that are pinned hold what the object would put there. libbpf compares sizes; fields may differ all the same.
check_layout() {
	local pin structs here
	((${#OUR_MAPS[@]})) || return 0
	structs=$(command bpftool btf dump file "$OBJECT" format c 2>/dev/null) || die "$EXIT_FAILED" "$OBJECT has no BTF; 'make' builds it"
	# Mostly they come from this very object.
	here=$(for btf in "${!OUR_BTFS[@]}"; do bpftool btf dump id "$btf" format c; done)
	[[ $here != "$structs" ]] || return 0
	for pin in $(pins); do
		here=$(bpftool btf dump map pinned "$pin" format c)
		awk -f "$LIBDIR/layout.awk" <(printf '%s\n' "$structs") <(printf '%s\n' "$here") ||
			die "$EXIT_FAILED" "$(explain_layout "$pin")"
	done
}

# object_tags: print HOOK TAG for what the object has, as the kernel sees it, from a load in a namespace that ends with the command.
object_tags() {
	# A load that fails is explained when it is tried in earnest.
	{ unshare --net bash "$LIBDIR/load.bash" "$OBJECT" '' "${SECTIONS[@]}" 2>/dev/null || true; } | cut -d ' ' -f 1,3
}

# iface_id of a load on many interfaces, whose filters tell what it has to know: NeTracker.h.
readonly FILTERS_TELL=$((0xffffffff))

# name_loads LOAD…: tell loads of the object, each in its own .bss, what they have to know. LOAD is PROGRAM INDEX SCOPE ANSWER: which entry of
# nt_ifaces is its interface's, its scope, what it is to answer where it hangs; and whoever has hung it does not take it away any more.
name_loads() {
	local load program index scope answer maps=''
	local -a commands=()
	local -A bss=()
	(($#)) || return 0
	((DRY_RUN)) || maps=$(own_maps)
	while read -r program index; do
		bss[${program:-0}]=$index
	done <<<"$maps"
	for load in "$@"; do
		read -r program index scope answer <<<"$load"
		HEX=
		put_bytes 4 0 "$index" "$scope" "$answer" 0 0
		commands+=("map update id ${bss[${program:-0}]:-ID} key hex ${HEX:1:11} value hex${HEX:12}")
	done
	change_by_batch bpftool "${commands[@]}"
}

# own_maps: print PROGRAM MAP of each tracker's program and its .bss.
own_maps() {
	{
		show_all prog
		show_all map
	} | jq --raw-output --slurp '
		(.[1] | map(select(.name // "" | endswith(".bss")) | {("\(.id)"): true}) | add // {}) as $bss
		| .[0][] | select(.name // "" | startswith("netracker_")) | "\(.id) \(.map_ids[]? | select($bss["\(.)"]))"'
}

# change_by_batch tc|bpftool COMMAND…: run_batch for what must not fail.
change_by_batch() {
	local output
	if ((DRY_RUN)); then
		run_batch "$@"
		return
	fi
	output=$(run_batch "$@") || {
		say "${VERB:+$VERB: }$1 failed: $(last_words "$output"); 'netracker check' looks for what is missing"
		return $((SAID + EXIT_FAILED))
	}
}

# remove_filter DEV HOOK PREF HANDLE
remove_filter() {
	if [[ $3 == tcx ]]; then
		leave_tcx "$1" "$2" "$4"
		return
	fi
	run "${IN_NETNS[@]}" tc filter del dev "$1" "$2" pref "$3" handle "$4" bpf
}

# remove_qdisc DEV: the clsact that attach made, unless somebody has hung filters there since.
remove_qdisc() {
	# What --dry-run leaves there is not others'.
	if [[ $(filters "$1" | awk '$5 != "tcx" && $6 != "ours" && $6 != "stray"') ]]; then
		say "$1: the clsact qdisc stays, others have filters on it"
	elif [[ $(qdiscs "$1") == '0 clsact' ]]; then
		run "${IN_NETNS[@]}" tc qdisc del dev "$1" clsact
	fi
}

# uses_pinned_maps PROGRAM MAP…: not so if somebody has removed pins since it was loaded.
uses_pinned_maps() {
	local unused
	((${#OUR_MAPS[@]})) || return
	unused=$(bpftool --json prog show id "$1" | jq --compact-output --argjson ours "$(map_ids "${@:2}")" '$ours - .map_ids')
	[[ $unused == '[]' ]]
}

# programs_on_pinned_maps: print, in a row, the programs for which uses_pinned_maps is true of all tables.
programs_on_pinned_maps() {
	((${#OUR_MAPS[@]})) || return 0
	show_all prog | jq --raw-output --argjson ours "$(map_ids "${TABLES[@]}")" '
		[.[] | select(.name // "" | startswith("netracker_")) | select($ours - (.map_ids // []) == []).id] | join(" ")'
}

# map_ids MAP…: print the numbers of these, null for one that is not pinned: a JSON array.
map_ids() {
	local name ids=()
	for name in "$@"; do
		ids+=("${OUR_MAPS[$name]:-null}")
	done
	printf '[%s]\n' "$(join , "${ids[@]}")"
}

# Print INODE FILE of each network namespace that can be entered, ours first.
namespaces() {
	# shellcheck disable=SC2033 # the program stat is meant
	{
		printf '%s\n' /proc/self/ns/net
		awk '$4 ~ /^net:\[/ { if ($5 ~ "^/run/netns/") print $5; else other = other $5 "\n" } END { printf "%s", other }' /proc/self/mountinfo
		printf '%s\n' /proc/[0-9]*/ns/net
	} | { xargs --delimiter='\n' stat --dereference --format='%i %n' 2>/dev/null || true; } | awk '!seen[$1]++'
}

# Print NETNS IFINDEX WHOSE of every interface with a filter of a tracker's that is ours or stray, whoever attached it. The programs
# that are loaded do not tell: the clock keeps them until the maps go.
tracked_interfaces() {
	local loaded hooks
	loaded=$(programs)
	# The kernel tells of filters on our maps, in all namespaces at once. Strays, and old kernels, take a walk.
	if [[ $loaded == *ours* ]] && hooks=$(hooks_by_view); then
		awk 'NF && !seen[$1, $2]++ { print $1, $2, "ours" }' <<<"$hooks"
		loaded=$(grep --invert-match ' ours$' <<<"$loaded" || true)
	fi
	[[ $loaded != *ours* && $loaded != *stray* ]] || walk_namespaces "$loaded"
}

# walk_namespaces PROGRAMS: tracked_interfaces, by entering one namespace after the other. They may vanish at any time, which is no
# failure: what was in them is gone as well. Not by the names that bpftool prints: it garbles some.
walk_namespaces() {
	local netns file hooks
	while read -r netns file; do
		# bpftool knows TCX from 7.3 on.
		tcx_in_netns "$file" | NETNS=$netns PROGRAMS=$1 awk '
			BEGIN { for (n = split(ENVIRON["PROGRAMS"], line, "\n"); n; n--) { split(line[n], word, " "); whose[word[1]] = word[2] } }
			($3 in whose) && whose[$3] ~ /^(ours|stray)$/ && !seen[$1, whose[$3]]++ { print ENVIRON["NETNS"], $1, whose[$3] }'
		# It escapes no control characters in names, whose bytes are not wanted here.
		hooks=$(command nsenter --net="$file" bpftool --json net show 2>/dev/null | tr -d '[:cntrl:]') || continue
		[[ $hooks == *netracker_* || $hooks == *"$OBJECT_NAME"* ]] || continue
		jq --raw-output --arg netns "$netns" --arg programs "$1" --from-file "$LIBDIR/tracked.jq" <<<"$hooks"
	done < <(namespaces)
}
