# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Consumers of the log. Each has a cursor, which says what it has read, and views of its own (view/log.h):
#
#	log         what has ended since it was last read, in the words of the trace
#	log.json    the same as JSON, one object a line
#	unread      UNREAD LOST: how many records it can still read, and how many were overwritten before it did; in a second line
#	            NEXT LOST UNSAID SEEN AT, what the cursor is
#
# The one without a name has its files in $VIEWS, the others in $CONSUMERS/NAME. All of them go with the tables.

readonly CONSUMERS=$VIEWS/consumers
readonly LOG_MAPS=(nt_log nt_log_head) CURSOR_BYTES=80

# The name of a consumer that goes with the process that has made it: this and the number of the process. No other can be called so.
readonly PASSING_CONSUMER=+

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
	mkdir -p -- "$VIEWS" "${dir%/*}"
	[[ -d $dir ]] || in_closed "${dir%/*}" mkdir -- "$dir"
	[[ -e $VIEWS/boot ]] || command bpftool map create "$VIEWS/boot" type array key 4 value 8 entries 1 name nt_boot
	if [[ ! -e $dir/cursor ]]; then
		command bpftool map create "$dir/cursor" type array key 4 value "$CURSOR_BYTES" entries 1 name nt_cursor
		write_cursor "$dir" "$(oldest_record)" 0
	fi
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
	in_closed "$dir" pin_log_views "$objects" "$dir"
)

# pin_log_views OBJECTS DIR: for pin_consumer.
pin_log_views() {
	local view
	for view in "${!LOG_VIEWS[@]}"; do
		rm -f -- "$2/$view"
		pin_one_view "$1" "$view" "$2" "$2/${LOG_VIEWS[$view]}"
	done
}

# in_closed DIR COMMAND…: run it while nobody may enter DIR; only then the kernel takes a name with a dot there (bpf_lookup(),
# kernel/bpf/inode.c).
in_closed() {
	local mode status=0
	mode=$(stat --format=%a -- "$1")
	((mode)) || mode=700 # somebody was killed meanwhile
	chmod 0 -- "$1"
	"${@:2}" || status=$?
	chmod "$mode" -- "$1"
	return "$status"
}

# oldest_record: print the number of the first record that the log still holds.
oldest_record() {
	local written entries
	written=$(dump nt_log_head | jq '.[0].formatted.value.written')
	entries=$(bpftool --json map show pinned "$PINS/nt_log" | jq .max_entries)
	printf '%s\n' "$((written > entries ? written - entries : 0))"
}

# make_consumer NAME: have a consumer of this name, which begins with the oldest record that the log still holds; ends if that cannot be.
make_consumer() {
	local lacking view reason group
	lacking=$(
		trap '' HUP INT TERM
		take_lock
		sweep_consumers
		pin_consumer "$(shipped view)" "$1"
	)
	if [[ ! $lacking ]]; then
		group=$(stat --format=%g -- "$VIEWS")
		((group == 0)) || share_consumer "$1" "$group"
		return 0
	fi
	read -r view reason <<<"$lacking"
	remove_consumer "$1"
	die "$EXIT_PREREQUISITE" "$(consumer_dir "$1")/$view cannot be, as $reason"
}

# share_consumer NAME GROUP: its members may read the log as this consumer.
share_consumer() {
	local dir
	dir=$(consumer_dir "$1")
	chgrp -- "$2" "$CONSUMERS" "$dir" "$dir"/{log,log.json,unread}
	chmod 750 -- "$CONSUMERS" "$dir"
	chmod 440 -- "$dir"/{log,log.json,unread}
}

# forget_consumer NAME: remove it, unless somebody reads as this consumer.
forget_consumer() {
	require_attached
	take_lock
	[[ -d $CONSUMERS/$1 ]] || die "$EXIT_FAILED" "no consumer '$1' of the log; the directories in $CONSUMERS are those that there are"
	is_unread "$CONSUMERS/$1" || die "$EXIT_FAILED" "consumer '$1' reads the log at this moment; 'fuser -v $CONSUMERS/$1/log' shows who it is"
	remove_consumer "$1"
}

# remove_consumer NAME: idempotent.
remove_consumer() {
	local dir
	dir=$(consumer_dir "$1")
	[[ -d $dir ]] || return 0
	remove_files "$dir"
	rmdir --ignore-fail-on-non-empty -- "$dir"
	rmdir --ignore-fail-on-non-empty -- "$CONSUMERS"
}

# remove_files DIR: of the consumer there.
remove_files() {
	local file
	[[ ! -e $1/cursor ]] || rm -f -- "$RUN/$(mark_of "$1")"
	for file in "$1"/{log,log.json,unread,plan,cursor}; do
		# To remove a name with a dot that is not there, the kernel forbids.
		[[ ! -e $file ]] || rm -f -- "$file"
	done
}

# sweep_consumers: remove those that processes which were killed have left.
sweep_consumers() {
	local dir
	for dir in "$CONSUMERS/$PASSING_CONSUMER"*; do
		[[ -d /proc/${dir##*"$PASSING_CONSUMER"} ]] || ! is_unread "$dir" || remove_consumer "${dir##*/}"
	done
}

# is_unread DIR: nobody reads as the consumer whose files are there. Who does holds a lock on its file log.
is_unread() {
	[[ ! -e $1/log ]] || flock --nonblock "$1/log" true 2>/dev/null
}

# mark_of DIR: print the name of the file in $RUN that tells of a batch at work (log.sh).
mark_of() {
	stat --format=log-%d-%i -- "$1/cursor"
}

# may_set_cursor DIR: may we set the cursor there?
may_set_cursor() {
	local value
	value=$(only_value "$1/cursor") && [[ $value ]]
}

# write_cursor DIR NEXT LOST: no reading goes on, and nothing is unsaid.
write_cursor() {
	local zero i value
	zero=$(bytes 8 0)
	value="$(bytes 8 "$2") $(bytes 8 "$2") $(bytes 8 "$3")"
	for ((i = 24; i < CURSOR_BYTES; i += 8)); do
		value+=" $zero"
	done
	# shellcheck disable=SC2086 # bytes are words
	bpftool map update pinned "$1/cursor" key hex 00 00 00 00 value hex $value
}

# only_value PIN: print the bytes of a map's one value; fails, with nothing said, if we may not look.
only_value() {
	command bpftool --json map lookup pinned "$1" key hex 00 00 00 00 2>/dev/null | command jq --raw-output '.value | map(ltrimstr("0x")) | join(" ")' 2>/dev/null
}

# number BYTE…: print what they are in the order of this machine.
number() {
	local byte hex=
	for byte in "$@"; do
		if [[ $BYTE_ORDER == 1 ]]; then
			hex=$byte$hex
		else
			hex+=$byte
		fi
	done
	printf '%u\n' "0x$hex"
}

# read_boot: print what the views take for the time of boot; nothing if we may not look.
read_boot() {
	local value
	local -a byte
	value=$(only_value "$VIEWS/boot") || return 0
	read -r -a byte <<<"$value"
	((${#byte[@]} != 8)) || number "${byte[@]}"
}

# write_boot MICROSECONDS
write_boot() {
	# shellcheck disable=SC2046 # bytes are words
	bpftool map update pinned "$VIEWS/boot" key hex 00 00 00 00 value hex $(bytes 8 "$1")
}

# unpin_consumers: remove all of them, cursors too.
unpin_consumers() {
	local dir
	for dir in "$CONSUMERS"/*; do
		remove_consumer "${dir##*/}"
	done
	remove_files "$VIEWS"
	[[ ! -e $VIEWS/boot ]] || rm -f -- "$VIEWS/boot"
	[[ ! -d $CONSUMERS ]] || rmdir --ignore-fail-on-non-empty -- "$CONSUMERS"
}
