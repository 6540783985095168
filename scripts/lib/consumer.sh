# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Consumers of the log. Each has a cursor, which says what it has read, and views of its own (view/log.h):
#
#	log         what has ended since it was last read, in the words of the trace
#	log.json    the same as JSON, one object a line
#	unread      UNREAD LOST: how many records it can still read, and how many were overwritten before it did
#
# The one without a name has its files in $VIEWS, the others in $CONSUMERS/NAME. All of them go with the tables.

readonly CONSUMERS=$VIEWS/consumers
readonly LOG_MAPS=(nt_log nt_log_head) CURSOR_BYTES=80

# Each view of a consumer, and which of its maps it iterates over: steps of a reading, or its cursor.
declare -rA LOG_VIEWS=([log]=plan [log.json]=plan [unread]=cursor)

# consumer_dir [NAME]: print where its files are, whether they are there or not.
consumer_dir() {
	if [[ ${1-} ]]; then
		printf '%s\n' "$CONSUMERS/$1"
	else
		printf '%s\n' "$VIEWS"
	fi
}

# pin_consumer OBJECTS [NAME]: pin its views, whose objects are in the directory OBJECTS, in place of those that may be there. If it has no
# cursor yet it gets one that has read nothing, so that it gets all that the log holds. Prints VIEW REASON of each view that cannot be. A
# subshell: whatever happens, its trap removes what is only needed on the way.
pin_consumer() (
	objects=$1
	dir=$(consumer_dir "${2-}")
	# shellcheck disable=SC2030 # each subshell has its own
	passing=()
	trap '((${#passing[@]} == 0)) || rm -f -- "${passing[@]}"' EXIT
	mkdir -p -- "$dir"
	[[ -e $VIEWS/boot ]] || command bpftool map create "$VIEWS/boot" type array key 4 value 8 entries 1 name nt_boot
	[[ -e $dir/cursor ]] || command bpftool map create "$dir/cursor" type array key 4 value "$CURSOR_BYTES" entries 1 name nt_cursor
	for map in "${LOG_MAPS[@]}"; do
		lend_map "$PINS/$map" "$map" "${!LOG_VIEWS[@]}" || exit 0
	done
	lend_map "$dir/cursor" nt_cursor "${!LOG_VIEWS[@]}" && lend_map "$VIEWS/boot" nt_boot "${!LOG_VIEWS[@]}" || exit 0
	lacking=$(has_dac_override) || {
		without_views "$lacking" "${!LOG_VIEWS[@]}"
		exit 0
	}
	# What a reading has at most: a step for each piece of 32 KiB, of at least 16 records, and what it begins and ends with.
	steps=$(($(bpftool --json map show pinned "$PINS/nt_log" | jq .max_entries) / 16 + 8))
	rm -f -- "$dir/plan"
	command bpftool map create "$dir/plan" type array key 4 value 4 entries "$steps" name nt_log_plan
	passing+=("$dir/plan")
	mode=$(stat --format=%a -- "$dir")
	# The kernel takes no name with a dot in it while anybody may enter the directory (bpf_lookup(), kernel/bpf/inode.c).
	chmod 0 -- "$dir"
	for view in "${!LOG_VIEWS[@]}"; do
		rm -f -- "$dir/$view"
		pin_one_view "$objects" "$view" "$dir" "$dir/${LOG_VIEWS[$view]}"
	done
	chmod "$mode" -- "$dir"
)

# unpin_consumers: remove all of them, cursors too.
unpin_consumers() {
	local dir file
	for dir in "$VIEWS" "$CONSUMERS"/*; do
		[[ -d $dir ]] || continue
		for file in "$dir"/{log,log.json,unread,plan,cursor}; do
			# To remove a name with a dot that is not there, the kernel forbids.
			[[ ! -e $file ]] || rm -f -- "$file"
		done
		[[ $dir == "$VIEWS" ]] || rmdir --ignore-fail-on-non-empty -- "$dir"
	done
	rm -f -- "$VIEWS/boot"
	[[ ! -d $CONSUMERS ]] || rmdir --ignore-fail-on-non-empty -- "$CONSUMERS"
}
