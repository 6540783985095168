# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The pinned maps, which tc makes with the first filter: how they are read and written. Layouts are in NeTracker.h.

readonly PINS=$BPFFS/tc/globals VIEWS=$BPFFS/netracker
readonly IFACE_NAME_LEN=16 MAX_IFACES=256 MAX_SCOPES=255

# The maps of this tracker: NAME to the kernel's number, once find_maps has looked. Another program may have pinned maps of the same
# names where tc pins everybody's; ours are known by what they are. Nobody else's is ever read, written or removed.
declare -A OUR_MAPS=()
declare -A VALUE_BYTES=() # NAME to the size of its values
declare -A OUR_BTFS=()    # the numbers of the BTF that they came with
OUR_NAMES=                # of all maps that came with those

# The maps that the verbs read; all of them are pinned by the first load of the object.
readonly TABLES=(conn_map syn_map nt_pool nt_rest nt_places nt_watch nt_silence nt_counters nt_config nt_rules nt_ifaces nt_services nt_closers nt_log nt_log_head)

# find_maps: see which of the pinned maps are ours: those that came with an object of the tracker's, of whatever version. The kernel
# keeps an object's BTF with its maps; in ours are the tracker's two entries and a variable of the map's name.
find_maps() {
	local pinned id btf size name names
	local -A names_in=()
	OUR_MAPS=() VALUE_BYTES=() OUR_BTFS=() OUR_NAMES=
	pinned=$(show_pinned | jq --raw-output '
		.[] | select(.output.btf_id) | "\(.output.id) \(.output.btf_id) \(.output.bytes_value) \(.command[-1] | split("/")[-1])"')
	while read -r id btf size name; do
		[[ $id ]] || continue
		if [[ ! -v names_in[$btf] ]]; then
			names=$(bpftool btf dump id "$btf" | awk -F "'" '
				/ FUNC .netracker_(ingress|egress). / { entries++ }
				/ VAR / { names = names " " $2 " " }
				END { if (entries) print names }')
			names_in[$btf]=$names
		fi
		[[ ${names_in[$btf]} == *" $name "* ]] || continue
		OUR_MAPS[$name]=$id
		VALUE_BYTES[$name]=$size
		[[ -v OUR_BTFS[$btf] ]] || OUR_NAMES+=${names_in[$btf]}
		OUR_BTFS[$btf]=1
	done <<<"$pinned"
}

# show_pinned: print what bpftool has on each pin of a name that may be ours: [{command, output}]. One by one, not from its list of all
# maps, where it gives those without BTF the BTF of the one before.
show_pinned() {
	local pin shown list=()
	for pin in "$PINS"/conn_map "$PINS"/syn_map "$PINS"/nt_*; do
		[[ ! -e $pin ]] || list+=("map show pinned $pin")
	done
	if ((${#list[@]} == 0)); then
		printf '[]\n'
	elif shown=$(printf '%s\n' "${list[@]}" | command bpftool --json batch file - 2>/dev/null); then
		printf '%s\n' "$shown"
	else
		# One of them is no map, at which it stops.
		for pin in "${list[@]}"; do
			printf '%s\n' "$pin" | command bpftool --json batch file - 2>/dev/null || true
		done | jq --slurp --compact-output 'add | map(select(.output.id))'
	fi
}

# show_all prog|map: print all that the kernel has, as bpftool's JSON. Others come and go meanwhile, at which bpftool may stumble.
show_all() {
	local i
	for ((i = 0; i < 20; i++)); do
		! command bpftool --json "$1" show 2>/dev/null || return 0
	done
	bpftool --json "$1" show
}

# is_pinned MAP: … and ours. find_maps has looked.
is_pinned() {
	[[ ${OUR_MAPS[$1]-} ]]
}

# Are all the maps that the verbs read pinned?
has_all_tables() {
	local name
	for name in "${TABLES[@]}"; do
		is_pinned "$name" || return 1
	done
}

# are_of_other_version: did our maps come with an object that has not all that the verbs read?
are_of_other_version() {
	local name
	((${#OUR_MAPS[@]})) || return
	for name in "${TABLES[@]}"; do
		[[ $OUR_NAMES == *" $name "* ]] || return 0
	done
	return 1
}

# The maps of which each tells of the others what is where: one of them alone is worth nothing.
readonly CONNECTION_TABLES=(conn_map syn_map nt_pool nt_rest nt_places nt_watch nt_silence) LOG_TABLES=(nt_log nt_log_head)

# unpin_remains MAP…: if one of these has been taken away, take the others away as well, so that the next load makes all of them anew.
unpin_remains() {
	local name
	local -a remains=()
	for name in "$@"; do
		! is_pinned "$name" || remains+=("$name")
	done
	((${#remains[@]} && ${#remains[@]} < $#)) || return 0
	run rm -f -- "${remains[@]/#/"$PINS/"}"
	for name in "${remains[@]}"; do
		unset -v "OUR_MAPS[$name]"
	done
}

# Print the file of each map of ours that is pinned.
pins() {
	local name
	for name in "${!OUR_MAPS[@]}"; do
		printf '%s\n' "$PINS/$name"
	done | sort
}

# check_names: nobody else has taken a name that the object wants for a map of its own.
check_names() {
	local file name wanted=''
	[[ ! -e $VIEWS || -d $VIEWS ]] || die_foreign "$VIEWS"
	# While we have no maps, what is there is what a killed command has left of views, which is neither a map nor a program, or others'.
	if ((${#OUR_MAPS[@]} == 0)); then
		for file in "$VIEWS"/*; do
			[[ ! -f $file ]] || ! is_foreign_pin "$file" || die_foreign "$file"
		done
	fi
	for file in "$PINS"/conn_map "$PINS"/syn_map "$PINS"/nt_*; do
		name=${file##*/}
		if [[ ! -e $file ]] || is_pinned "$name"; then
			continue
		fi
		[[ $wanted ]] || wanted=$(bpftool btf dump file "$OBJECT" | awk -F "'" '/ VAR / { print $2 }')
		[[ $'\n'$wanted$'\n' != *$'\n'$name$'\n'* ]] ||
			die_foreign "$PINS/$name"
	done
}

# die_foreign PIN
die_foreign() {
	die "$EXIT_FAILED" "$1 is not the tracker's: $(describe_pin "$1"); both cannot be there, so whoever made it has to take it away or pin it elsewhere"
}

# is_foreign_pin FILE: in $VIEWS, a map that has not the name of one that is there for the views, or a program that is not the tracker's.
is_foreign_pin() {
	local name
	if name=$(command bpftool --json map show pinned "$1" 2>/dev/null); then
		[[ $1 != "$VIEWS/baseline" && $name != *'"name":"nt_'* ]]
		return
	fi
	name=$(command bpftool --json prog show pinned "$1" 2>/dev/null | command jq --raw-output '.name // ""' 2>/dev/null) || return 1
	[[ $name && $name != netracker_* ]]
}

# describe_pin PIN: print what it is and whose, as far as the kernel knows.
describe_pin() {
	local map users
	map=$(command bpftool --json map show pinned "$1" 2>/dev/null) || {
		printf 'it is no map\n'
		return
	}
	users=$(show_all prog | jq --raw-output --argjson id "$(command jq .id <<<"$map")" '
		[.[] | select(.map_ids // [] | index($id)) | "\(.name // .type) (\(.id)\([.pids[]? | ", held by \(.comm)"] | first // ""))"] | join(", ")')
	command jq --raw-output --arg users "$users" '
		"a map of type \(.type), key \(.bytes_key) bytes, value \(.bytes_value) bytes, "
		+ if $users == "" then "used by no program at present" else "used by the program \($users)" end' <<<"$map"
}

# The verbs that only look have something to look at once the maps are there.
require_attached() {
	require root sys_admin bpftool jq bpffs
	find_maps
	((${#OUR_MAPS[@]})) || die "$EXIT_NOT_ATTACHED" "not attached to any interface; 'netracker attach IFACE' does that"
	require_tables
}

# require_tables: they are of this version, and none of the pins has been taken away.
require_tables() {
	local name
	! are_of_other_version || die "$EXIT_FAILED" "what is attached is another version, and so are its tables; 'netracker detach --all' ends and reports what is in them, then attach again"
	for name in "${TABLES[@]}"; do
		is_pinned "$name" || die "$EXIT_FAILED" "the pin $PINS/$name is gone, somebody has removed it; 'netracker attach' on the same interfaces makes it anew"
	done
}

# dump MAP: its entries as bpftool's JSON, by the names of NeTracker.h.
dump() {
	bpftool --json map dump pinned "$PINS/$1"
}

BYTE_ORDER=$(od -An -j5 -N1 -td1 "$BASH")
readonly BYTE_ORDER=${BYTE_ORDER// /} # 1: the lowest byte comes first

# bytes WIDTH NUMBER: as bpftool wants them, in the order of this machine.
bytes() {
	local HEX=
	put_bytes "$@"
	printf '%s\n' "${HEX# }"
}

# put_bytes WIDTH NUMBER…: add those of each to HEX, a blank before each byte. Without a process, as there may be thousands.
HEX=
put_bytes() {
	local width=$1 number i hex
	for number in "${@:2}"; do
		printf -v hex '%0*x' $((2 * width)) "$number"
		hex=${hex:${#hex}-2*width} # of a negative one
		for ((i = 0; i < width; i++)); do
			# The sixth byte of an ELF file's head; this shell is one.
			if [[ $BYTE_ORDER == 1 ]]; then
				HEX+=" ${hex:2*(width - 1 - i):2}"
			else
				HEX+=" ${hex:2*i:2}"
			fi
		done
	done
}

# put_name NAME: add its bytes to HEX, and as many 00 as a name has room for.
put_name() {
	local i code hex
	for ((i = 0; i < IFACE_NAME_LEN; i++)); do
		code=0
		((i >= ${#1})) || printf -v code %d "'${1:i:1}"
		printf -v hex %02x $((code & 255))
		HEX+=" $hex"
	done
}

# update PIN KEY VALUE: KEY and VALUE are bytes.
update() {
	# shellcheck disable=SC2086 # bytes are words
	run bpftool map update pinned "$1" key hex $2 value hex $3
}

# write_struct MAP KEY VALUE: likewise. Of a version that has fewer fields the map may be, for detach: those are missing at the end.
write_struct() {
	local -a value
	read -r -a value <<<"$3"
	value=("${value[@]:0:${VALUE_BYTES[$1]-${#value[@]}}}")
	update "$PINS/$1" "$2" "${value[*]}"
}

#
# nt_ifaces: the interfaces that attach has taken on
#

# Print a line each: INDEX IFINDEX OWNS_QDISC NETNS ATTACHED_NS NAME. Names have no white space; the kernel sees to that.
interfaces() {
	local index ifindex owns netns since escaped name entries
	is_pinned nt_ifaces || return 0
	entries=$(dump nt_ifaces | jq --raw-output --from-file "$LIBDIR/interfaces.jq")
	while read -r index ifindex owns netns since escaped; do
		[[ $index ]] || continue
		printf -v name '%b' "$escaped"
		printf '%s\n' "$index $ifindex $owns $netns $since $name"
	done <<<"$entries"
}

# find_entry INTERFACES NETNS IFINDEX NAME: of what `interfaces` printed, print the line of this interface, else of one of its name that has
# gone; nothing if there is none.
find_entry() {
	NAME=$4 awk -v netns="$2" -v ifindex="$3" '
		$4 == netns && $2 == ifindex { same = $0 }
		$4 == netns && $6 == ENVIRON["NAME"] { namesake = $0 }
		END { if (same || namesake) print same ? same : namesake }' <<<"$1"
}

# free_entry TRACKED: of the lines of `interfaces` on stdin, print the lowest index that is free; if none is, that of the interface that was
# attached first of those that are gone: on which there is no filter of ours, as TRACKED tells, which tracked_interfaces printed. Nothing if
# all are in use.
free_entry() {
	TRACKED=$1 awk -v max="$MAX_IFACES" -f "$LIBDIR/free_entry.awk"
}

# scopes: print a line each, of entries that are no longer in use as well: INDEX IFINDEX SCOPE NETNS VRF.
scopes() {
	is_pinned nt_ifaces || return 0
	dump nt_ifaces | jq --raw-output '.[].formatted | select((.value.scope // 0) != 0) | "\(.key) \(.value | "\(.ifindex) \(.scope) \(.netns) \(.vrf)")"'
}

# find_scope SCOPES NETNS VRF: print the scope of this namespace and VRF, as `scopes` has printed SCOPES. If it has none yet, the lowest that
# nobody has or had; else the lowest that nobody has.
find_scope() {
	awk -v netns="$2" -v vrf="$3" -v max="$MAX_SCOPES" '
		{ known[$3] }
		$2 { taken[$3] }
		$4 == netns && $5 == vrf { scope = $3 }
		END {
			for (i = 1; i <= max && !scope; i++) if (!(i in known)) scope = i
			for (i = 1; i <= max && !scope; i++) if (!(i in taken)) scope = i
			print scope + 0
		}' <<<"$1"
}

# put_entry INDEX NAME IFINDEX OWNS_QDISC NETNS ATTACHED_NS SCOPE VRF: add the command by which bpftool writes this to ENTRIES.
ENTRIES=()
put_entry() {
	local HEX=
	put_bytes 4 "$1"
	put_name "$2"
	put_bytes 4 "$3" "$4"
	put_bytes 8 "$5" "$6"
	put_bytes 4 "$7" "$8"
	# Of a version that has fewer fields the map may be, for detach: those are missing at the end.
	((${#HEX} <= 12 + 3 * ${VALUE_BYTES[nt_ifaces]-${#HEX}})) || HEX=${HEX:0:12+3*VALUE_BYTES[nt_ifaces]}
	ENTRIES+=("map update pinned $PINS/nt_ifaces key hex${HEX:0:12} value hex${HEX:12}")
}

# write_entries: all that is in ENTRIES, by one process.
write_entries() {
	change_by_batch bpftool "${ENTRIES[@]}" || return
	ENTRIES=()
}

# put_cleared_entry INDEX NAME: likewise, for one that is in use no more. The name stays: connections that live on have their record under it. So
# does the scope: if the interface comes back, they are its.
put_cleared_entry() {
	local index line known scope netns vrf
	# Once for all that one command clears.
	if [[ ! -v SCOPE_OF_ENTRY ]]; then
		declare -gA SCOPE_OF_ENTRY=([0]='')
		known=$(scopes)
		while read -r index _ line; do
			SCOPE_OF_ENTRY[${index:-0}]=$line
		done <<<"$known"
	fi
	read -r scope netns vrf <<<"${SCOPE_OF_ENTRY[$1]-}" || true
	put_entry "$1" "$2" 0 0 "${netns:-0}" 0 "${scope:-0}" "${vrf:-0}"
}

#
# nt_config
#

# Print handshake_timeout, close_timeout, quiet, trace, idle_timeout, interim and closers_off; old ones do not have the last three.
read_config() {
	dump nt_config | jq --raw-output '.[0].formatted.value | "\(.handshake_timeout) \(.close_timeout) \(.quiet) \(.trace) \(.idle_timeout // 0) \(.interim // 0) \(.closers_off // 0)"'
}

# write_config HANDSHAKE_TIMEOUT CLOSE_TIMEOUT QUIET TRACE IDLE_TIMEOUT INTERIM CLOSERS_OFF
write_config() {
	write_struct nt_config "$(bytes 4 0)" "$(bytes 4 "$1") $(bytes 4 "$2") $(bytes 4 "$3") $(bytes 4 "$4") $(bytes 4 0) $(bytes 4 "$5") $(bytes 4 "$7") $(bytes 4 "$6")"
}

# order_flush: the next frame of the local experimental type ends what is alive. Of another version the map may be, and have `flush` elsewhere
# among its numbers.
order_flush() {
	local numbers number words=
	numbers=$(dump nt_config | jq --raw-output '.[0].formatted.value | .flush = 1 | .[]')
	for number in $numbers; do
		words+=" $(bytes 4 "$number")"
	done
	update "$PINS/nt_config" "$(bytes 4 0)" "${words# }"
}
