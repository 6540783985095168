# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Views: BPF iterators, pinned as files, that show as text what is in the kernel (view/view.h). attach pins them in $VIEWS, detach
# removes them; the tracker works without them as well, but list, top, log, services and metrics do not. The kernel needs BTF, metrics and hooks
# newer helpers than the tracker (Linux 5.19 has all): each view is there if it can be.
#
#	connections  handshakes             tables for people: established connections, and those being opened
#	records      handshake_records      the same in the format of the trace's lines, for programs
#	records.json handshake_records.json the same as JSON Lines, for programs
#	metrics                             Prometheus text
#	hooks                               the filters that run our programs, in all network namespaces, for programs (view/hooks.bpf.c)
#	log  log.json  unread               what has ended, of each consumer of the log (consumer.sh)
#	holders                             which processes hold the sockets of connections, for programs (view/holders.bpf.c)
#	sockets                             what this host's sockets say; those above, read behind it, tell it too (view/sockets.bpf.c)
#	busy                                what has come to this host's sockets since, for top (view/busy.bpf.c)
#	orphans                             the maps that nothing but programs use, for programs (view/orphans.bpf.c)
#
# orphans is not in $VIEWS: whoever reads it pins it in $BPFFS for that moment. So is hooks, if the one in $VIEWS is not there or
# is not to be believed.

# Each view that attach pins, and the map it iterates over; none: that is something else.
declare -rA VIEW_MAP=(
	[connections]=conn_map
	[handshakes]=syn_map
	[records]=conn_map
	[handshake_records]=syn_map
	[records.json]=conn_map
	[handshake_records.json]=syn_map
	[metrics]=nt_plan
	[hooks]=nt_ifaces
	[holders]=''
	[sockets]=''
	[busy]=''
)

# The maps that views look things up in; and metrics in the cursor of the consumer without a name.
readonly VIEWED_MAPS=(nt_counters nt_ifaces nt_log_head nt_pool nt_services syn_map)

# The map by which sockets tells other views what it has found: view/noted.h. Entries are not allocated beforehand.
readonly NOTED_KEY_BYTES=48 NOTED_BYTES=160 NOTED_MAX=262144 NO_PREALLOC=1

# Of adopt.sh, for a moment: the map between the iterator and the program, where tc finds it; that of the interfaces; the iterator.
readonly ADOPT_MAP=$PINS/nt_adopt ADOPT_AT=$VIEWS/adopt_at ADOPT_VIEW=$VIEWS/adopt

# What view/metrics.bpf.c goes over the services for, and its steps behind these.
readonly METRICS_OF_SERVICES=8 STEPS_OF_INTERFACES=2

# view_pin DIR: pin the views, whose objects are in DIR, in place of those that may be there. Those that cannot be are left out, and said
# by name with the reason, a line for each reason. Fails if there is none.
view_pin() {
	local view reason lacking had_log=''
	local -a pinned=()
	local -A left_out=() # reason to the views that it concerns
	unpin_views
	[[ ! -e $VIEWS/cursor ]] || had_log=1
	lacking=$(view_pin_each "$1" | sort)
	while read -r view reason; do
		[[ ! $view ]] || left_out[$reason]+=${left_out[$reason]:+, }$view
	done <<<"$lacking"
	for reason in "${!left_out[@]}"; do
		say "views that cannot be in $VIEWS: ${left_out[$reason]}, as $reason; 'list' needs those with records in their names and knows whose incoming connections are by holders and how much they have carried by sockets, 'log' needs log, log.json and unread, 'top' needs busy, 'metrics' needs metrics"
	done
	for view in "${!VIEW_MAP[@]}" "${!LOG_VIEWS[@]}"; do
		[[ ! -e $VIEWS/$view ]] || pinned+=("$view")
	done
	if ((${#pinned[@]} == 0)); then
		[[ $had_log ]] || unpin_consumers
		[[ ! -d $VIEWS ]] || rmdir --ignore-fail-on-non-empty -- "$VIEWS"
		return 1
	fi
	announce "bpftool iter pin $(quoted "$1")/{$(join , "${pinned[@]}")}.bpf.o $VIEWS/"
}

# view_pin_each DIR: print VIEW REASON of each that cannot be. A subshell: whatever happens, its trap removes what is only needed on the way.
view_pin_each() (
	objects=$1
	# shellcheck disable=SC2030 # each subshell has its own
	passing=()
	trap '((${#passing[@]} == 0)) || rm -f -- "${passing[@]}"' EXIT

	if [[ ! -e /sys/kernel/btf/vmlinux ]]; then
		without_views "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), which one of the distribution has" "${!VIEW_MAP[@]}" "${!LOG_VIEWS[@]}"
		exit
	fi
	# Whoever was killed while he had closed the directory (pin_consumer) has left it so.
	[[ ! -d $VIEWS || $(stat --format=%a -- "$VIEWS") != 0 ]] || chmod 700 -- "$VIEWS"
	pin_consumer "$objects"
	for dir in "$CONSUMERS"/*; do
		pin_consumer "$objects" "${dir##*/}"
	done
	# libbpf finds the maps which a view only looks things up in by their names in $BPFFS itself: bpftool has no option to say
	# that tc keeps them elsewhere.
	for map in "${VIEWED_MAPS[@]}"; do
		lend_map "$PINS/$map" "$map" "${!VIEW_MAP[@]}" || exit 0
	done
	lend_map "$VIEWS/cursor" nt_cursor "${!VIEW_MAP[@]}" && lend_map "$VIEWS/boot" nt_boot "${!VIEW_MAP[@]}" || exit 0

	mkdir -p -- "$VIEWS"
	passing+=("$VIEWS/noted")
	rm -f -- "$VIEWS/noted"
	command bpftool map create "$VIEWS/noted" type hash key "$NOTED_KEY_BYTES" value "$NOTED_BYTES" entries "$NOTED_MAX" name nt_noted \
		flags "$NO_PREALLOC" 2>/dev/null || true
	lend_map "$VIEWS/noted" nt_noted "${!VIEW_MAP[@]}" || exit 0

	# A step for each service that there can be, for each of its metrics; then those of the interfaces.
	passing+=("$VIEWS/plan")
	rm -f -- "$VIEWS/plan"
	steps=$((METRICS_OF_SERVICES * $(bpftool --json map show pinned "$PINS/nt_services" | jq .max_entries) + STEPS_OF_INTERFACES))
	command bpftool map create "$VIEWS/plan" type array key 4 value 4 entries "$steps" name nt_plan 2>/dev/null || true

	for view in "${!VIEW_MAP[@]}"; do
		map=${VIEW_MAP[$view]:+$PINS/${VIEW_MAP[$view]}}
		[[ ${VIEW_MAP[$view]} != nt_plan ]] || map=$VIEWS/plan
		pin_one_view "$objects" "$view" "$VIEWS" "$map"
	done
)

# link_map PIN NAME: have a view that is pinned next find the map; the caller's trap removes what is in passing. Fails if the name is taken.
link_map() {
	remove_link "$BPFFS/$2"
	ln -s -- "$1" "$BPFFS/$2" 2>/dev/null || return
	# shellcheck disable=SC2031 # of the subshell that calls
	passing+=("$BPFFS/$2")
}

# remove_link FILE: a link to a pin of ours, which a command that was killed has left.
remove_link() {
	[[ -L $1 ]] || return 0
	case $(readlink -- "$1") in
		"$PINS"/* | "$VIEWS"/*) rm -f -- "$1" ;;
	esac
}

# lend_map PIN NAME VIEW…: likewise; if it fails it prints VIEW REASON of each.
lend_map() {
	link_map "$1" "$2" || {
		without_views "$BPFFS/$2 is somebody else's, who has to take it away or pin it elsewhere" "${@:3}"
		return 1
	}
}

# pin_one_view OBJECTS VIEW DIR MAP: pin it in DIR, as an iterator over the map that is pinned as MAP if that is not empty, or print VIEW REASON.
pin_one_view() {
	local output lacking mode=''
	local -a over=(${4:+map pinned "$4"})
	if [[ $2 == *.* ]]; then
		lacking=$(has_dac_override) || {
			without_views "$lacking" "$2"
			return 0
		}
		# The kernel takes no name with a dot in it while anybody may enter the directory (bpf_lookup(), kernel/bpf/inode.c).
		mode=$(stat --format=%a -- "$3")
		((mode)) || mode='' # by who calls
		chmod 0 -- "$3"
	fi
	if [[ ! -s $1/$2.bpf.o ]]; then
		printf '%s\n' "$2 it is not in $1; 'make' builds it"
	elif ! output=$(command bpftool iter pin "$1/$2.bpf.o" "$3/$2" "${over[@]}" 2>&1); then
		printf '%s\n' "$2 $(explain_view "$output")"
	fi
	[[ ! $mode ]] || chmod "$mode" -- "$3"
}

# without_views REASON VIEW…: print VIEW REASON of each.
without_views() {
	local view
	for view in "${@:2}"; do
		printf '%s\n' "$view $1"
	done
}

# explain_view OUTPUT: why the kernel does not take a view, by what bpftool and libbpf have said.
explain_view() {
	local name release words
	case $1 in
		*probe_read_kernel*)
			if [[ $(cat /sys/kernel/security/lockdown 2>/dev/null) == *'[confidentiality]'* ]]; then
				printf '%s\n' "the kernel is locked down (confidentiality), where no program may read its memory; boot with lockdown=integrity or none"
				return 0
			fi
			;;&
		*' func '*#[0-9]*)
			read -r name release < <(lacking_helper "$1")
			printf '%s\n' "this is Linux $(uname -r), which has no $name; boot a newer kernel (Linux $release)"
			;;
		*'PROG LOAD LOG'*)
			printf '%s\n' "this kernel ($(uname -r)) refuses it: $(verifier_words "$1")"
			;;
		*)
			# What they say first is the cause, what follows is that nothing came of it.
			words=$(sed -n 's/^libbpf: //p' <<<"$1" | head -n 1)
			printf '%s\n' "${words:-$(last_words "$1")}"
			;;
	esac
}

# die_without_view VIEW: attach has said why it could not pin it.
die_without_view() {
	die "$EXIT_PREREQUISITE" "$VIEWS/$1 is not there; 'netracker attach' on an interface makes it, or says what this kernel lacks for it"
}

# Remove what view_pin made. Who is reading one of the files may finish.
view_unpin() {
	unpin_views
	unpin_consumers
	[[ ! -d $VIEWS ]] || rmdir --ignore-fail-on-non-empty -- "$VIEWS"
}

# Remove all but what consumers of the log have, whose views have to know what they have read.
unpin_views() {
	local view
	local -a files=()
	for view in "${!VIEW_MAP[@]}"; do
		[[ ! -e $VIEWS/$view ]] || files+=("$VIEWS/$view")
	done
	((${#files[@]} == 0)) || run rm -f -- "${files[@]}"
	rm -f -- "$VIEWS"/{plan,noted}
	forget_adoption
}

# forget_adoption: take away what a command that was killed has left.
forget_adoption() {
	rm -f -- "$ADOPT_AT" "$ADOPT_VIEW"
	[[ ! -e $ADOPT_MAP ]] || ! is_adopt_map || rm -f -- "$ADOPT_MAP"
}

is_adopt_map() {
	[[ $(command bpftool --json map show pinned "$ADOPT_MAP" 2>/dev/null) == *'"name":"nt_adopt"'* ]]
}

# view_share GROUP: its members may read the views, and enter the directories before them if others may not. To read the log moves its
# cursor, which nothing but the view can write.
view_share() {
	local file
	local -a files=() dirs=("$VIEWS")
	[[ ! -d $CONSUMERS ]] || dirs+=("$CONSUMERS" "$CONSUMERS"/*)
	for file in "${!VIEW_MAP[@]}" "${!LOG_VIEWS[@]}"; do
		[[ ! -e $VIEWS/$file ]] || files+=("$VIEWS/$file")
	done
	for file in "${!LOG_VIEWS[@]}"; do
		files+=("$CONSUMERS"/*/"$file")
	done
	run chgrp -- "$1" "${dirs[@]}" "${files[@]}"
	run chmod 750 "${dirs[@]}"
	run chmod 440 "${files[@]}"
	if [[ ! $(find "$BPFFS" -maxdepth 0 -perm -o+x) ]]; then
		run chgrp -- "$1" "$BPFFS"
		run chmod g+x "$BPFFS"
	fi
}

# Take back what view_share gave to the group outside of our own files.
view_unshare() {
	local group
	group=$(stat --format=%g -- "$VIEWS" 2>/dev/null) || return 0
	if [[ $group != 0 && $group == "$(stat --format=%g -- "$BPFFS")" ]]; then
		run chmod g-x "$BPFFS"
		run chgrp 0 "$BPFFS"
	fi
}

# Are all views pinned?
view_has_all() {
	local view
	for view in "${!VIEW_MAP[@]}" "${!LOG_VIEWS[@]}"; do
		[[ -e $VIEWS/$view ]] || return 1
	done
}

# hooks_by_view: print NETNS IFINDEX HOOK PROGRAM of each filter that runs on the maps that are pinned, in whatever namespace it is,
# without entering one. HOOK is ingress or egress; a program that hangs there without a filter has tcx_ingress or tcx_egress. Fails with
# nothing printed where the kernel cannot tell, and says nothing: the caller has another way.
hooks_by_view() {
	local map hooks
	is_pinned nt_ifaces || return 1
	map=${OUR_MAPS[nt_ifaces]}
	hooks=$(read_hooks "$VIEWS/hooks" "$map") || hooks=$(read_hooks_once "$map") || return 1
	[[ ! $hooks ]] || printf '%s\n' "$hooks"
}

# read_hooks FILE MAP: the view is not believed if it is of other maps than those that are pinned now, or does not tell all.
read_hooks() {
	{ cat -- "$1" | awk -v map="$2" '
		NR == 1 && ($1 != "hooks" || $2 != 1 || $3 != map) || $1 == "incomplete" { exit bad = 1 }
		NR > 1 { print $1, $2, $3, $4 }
		END { exit bad || !NR }'; } 2>/dev/null
}

# read_hooks_once MAP: with a view that is pinned for this alone, under a name that nobody else has.
read_hooks_once() (
	pin=$BPFFS/netracker_hooks_${BASHPID}_$RANDOM
	[[ -e /sys/kernel/btf/vmlinux ]] || exit
	trap 'rm -f -- "$pin"' EXIT
	command bpftool iter pin "$(shipped view)/hooks.bpf.o" "$pin" map pinned "$PINS/nt_ifaces" >/dev/null 2>&1 || exit
	read_hooks "$pin" "$1"
)

# view_sweep: remove what a verb that was killed has left of views for the moment.
view_sweep() {
	local pin
	for pin in "$BPFFS"/{conn_map,syn_map,nt_*}; do
		remove_link "$pin"
	done
	for pin in "$BPFFS"/netracker_{hooks,orphans,tcx,closer}_*; do
		rm -f -- "$pin"
	done
}

# orphans: print the number of each map on the machine that nothing but programs uses, a line each. Fails with nothing printed where the
# kernel cannot tell.
orphans() (
	pin=$BPFFS/netracker_orphans_${BASHPID}_$RANDOM
	is_mounted bpf_fs "$BPFFS" && [[ -e /sys/kernel/btf/vmlinux ]] || exit
	trap 'rm -f -- "$pin"' EXIT
	command bpftool iter pin "$(shipped view)/orphans.bpf.o" "$pin" >/dev/null 2>&1 || exit
	cat -- "$pin"
)
