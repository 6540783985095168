# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# log: from the ring in the kernel to the output, and nothing is lost or shown twice on the way without a word.
#
# The kernel keeps for each consumer what it has read, and hands it the rest in pieces of some dozens of records (view/log.h). A piece
# counts as read when its reader comes back for the next one. So this shell takes a batch of pieces, sees it written, and only then looks
# for more: dd hands the batch to an awk that runs all the while, awk answers with the text, another dd writes it. What needs no awk, as
# JSON without names, goes straight from the kernel to the output. Signals stop the shell between two batches; awk and dd do not see them.
#
# While a batch is one piece, the kernel alone sees to it that what was not written comes again. Where there is more to read batches are
# larger, as each costs two processes; then a file in $RUN says where the batch began, for who comes after a reader that was killed. What an
# output that fails has not taken is given back by setting the cursor: awk knows which of its rows went out. Only root can do that, so the batches of
# who reads as a member of a group stay small.
#
# A new record is looked for a few times a second without a fork, which costs the kernel less than waking somebody for each of them.

# A batch is at most so many pieces, which have at least so many records, but for the last.
readonly PIECES_MAX=256 PIECE_RECORDS=40

# Seconds: between two looks, and for an output that is stuck when a signal asks for the end.
readonly LOG_PAUSE=0.1 LOG_GRACE=2

# Looks: for another reader to end; and for views that attach puts into the place of others, while which nobody may enter their directory for
# moments, nor the members of a group read them.
readonly LOG_PATIENCE=10 VIEWS_PATIENCE=100

CONSUMER=     # its name; empty: the one that all share who name none
LOG_DIR=      # where its files are
LOG_VIEW=log  # which of them is read
DIRECT=0      # 1: what it says is what is shown
LOG_SIGNAL=   # the one that asked for the end
LOG_DEADLINE= # for a stuck output, then
PIECES=1
LOCK_FD='' LOG_FD='' # descriptors of the consumer's lock, and of a reading, which may have begun
TO_AWK='' FROM_AWK='' AWK_PID='' NAP_FD=''
MORE=1     # 0: awk has seen the last that is wanted
AT_END=1   # 1: of the reading nothing is left
LEFT=0     # records of the last batch that were not wanted any more
PEEKED=    # its next byte, if it has been taken
CAN_SET=0  # 1: we may set the cursor
POSITION=0 # a record's number, by the cursor's count, if we may: what was to be shown next when a batch was marked
LOST=0     # the cursor's count of those that were lost until there
TAKEN=0    # so many have been shown since: after POSITION, or where nothing is marked, after what the kernel takes to be read
TAKEN_LOST=0
MARK=       # the file that tells of a batch at work
MARKED=0    # 1: it does
BOOT_US=    # what the file boot has, if we may set it
CHECKED_AT= # the second of the last look at the clock and the lock

cmd_log() {
	local reader=''
	obey_record_options "$@"
	obey_log_options
	if [[ -v GIVEN[forget] ]]; then
		forget_consumer "$CONSUMER"
		return
	fi
	require awk
	exec {NAP_FD}<> <(:)
	((!WAIT)) || wait_for_log
	find_log
	choose_view
	lock_log
	[[ $LOG_VIEW == log ]] || reader=objects.awk
	prepare_output log "$reader"
	look_at_cursor
	keep_time
	# A record has the same time however it is shown.
	NT_BOOT_US=${BOOT_US:-$NT_BOOT_US}
	trap 'end_log HUP' HUP
	trap 'end_log INT' INT
	trap 'end_log TERM' TERM
	trap '' PIPE
	if ((!DIRECT)); then
		start_awk
		write_batch # the headings
	fi
	read_on
	leave_log
	if [[ $LOG_SIGNAL ]]; then
		# Whoever sent it looks whether it was that which ended us.
		trap - "$LOG_SIGNAL"
		kill -s "$LOG_SIGNAL" "$BASHPID"
	fi
}

# obey_log_options: those that only log has and that say what is read.
obey_log_options() {
	CONSUMER=${GIVEN[consumer]-}
	[[ ! -v GIVEN[all] || ! $CONSUMER ]] || die_usage "--all and --consumer exclude each other: --all shows what is there and is forgotten"
	[[ ! -v GIVEN[forget] || $CONSUMER ]] || die_usage "--forget wants to know whom: --consumer NAME"
	[[ ! $CONSUMER || $CONSUMER =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$ ]] ||
		die_usage "--consumer wants up to 32 letters, digits, '_', '.' and '-', not one of the last two first, and not '$CONSUMER'"
	[[ ! -v GIVEN[all] ]] || CONSUMER=$PASSING_CONSUMER$BASHPID
	LOG_DIR=$(consumer_dir "$CONSUMER")
}

# choose_view: what is read, and whether anybody has to work on it. JSON of all that has ended is the kernel's own.
choose_view() {
	local option
	for option in 4 6 addr port state iface owner process pid failed min_ms since; do
		[[ ! -v GIVEN[$option] ]] || return 0
	done
	[[ $FORMAT == json ]] || return 0
	LOG_VIEW=log.json
	[[ ! -v GIVEN[numeric] || -v GIVEN[max_rows] ]] || DIRECT=1
}

# find_log: see that the consumer's files are there. Who may read them needs no privilege.
find_log() {
	local view i
	# A reader that was killed may have left one that has read, and the number of its process is ours now.
	[[ ! -v GIVEN[all] || ! -w $LOG_DIR ]] || ! is_unread "$LOG_DIR" || remove_consumer "$CONSUMER"
	for ((i = 0; i < VIEWS_PATIENCE; i++)); do
		if has_views "$LOG_DIR" || ! are_being_made; then
			break
		fi
		nap
	done
	if [[ $CONSUMER ]] && ! has_views "$LOG_DIR"; then
		require_attached
		has_views "$VIEWS" || die_without_view log
		[[ ! -v GIVEN[all] ]] || trap 'remove_consumer "$CONSUMER"' EXIT
		make_consumer "$CONSUMER"
	fi
	has_views "$LOG_DIR" && return
	require_attached
	for view in "${!LOG_VIEWS[@]}"; do
		[[ -e $LOG_DIR/$view ]] || die_without_view "$view"
	done
}

# has_views DIR: may we read all the views of the consumer there?
has_views() {
	local view
	for view in "${!LOG_VIEWS[@]}"; do
		[[ -r $1/$view ]] || return 1
	done
}

# are_being_made: is attach at work on the views? A directory that nobody may enter tells, or one that a group may enter with files that it may
# not read. Of a user who may never read them this is not true.
are_being_made() {
	local dir mode group
	for dir in "$VIEWS" "$CONSUMERS" "$LOG_DIR"; do
		read -r mode group < <(command stat --format='%a %g' -- "$dir" 2>/dev/null || true) || continue
		((mode != 0)) || return 0
		[[ $dir != "$LOG_DIR" || $group == 0 || ! -x $dir ]] || return 0
	done
	return 1
}

# nap [SECONDS]: without a fork. A signal that ends it has a trap, or ends us as well.
nap() {
	read -r -t "${1:-$LOG_PAUSE}" -u "$NAP_FD" || true
}

# lock_log: be the consumer's only reader. The lock is on its file, which attach may put another in the place of; it ends with this shell,
# however that ends. A reader that is just ending, or has only looked, is waited for, and so are files that attach is just making. Ends if there
# is another reader, or no file.
lock_log() {
	local looks=0 others=0
	while ((others < LOG_PATIENCE)); do
		[[ ! $LOCK_FD ]] || exec {LOCK_FD}<&-
		LOCK_FD=
		if ! { exec {LOCK_FD}<"$LOG_DIR/log"; } 2>/dev/null || ! open_reading; then
			looks=$((looks + 1))
			if [[ ! -d $VIEWS ]] || ((looks > VIEWS_PATIENCE)); then
				die_without_log
			fi
		elif flock --timeout "$LOG_PAUSE" "$LOCK_FD" 2>/dev/null && has_lock; then
			return 0
		else
			others=$((others + 1))
		fi
		nap
	done
	die_read_by_other
}

# has_lock: is the file that we hold a lock on still the consumer's?
has_lock() {
	[[ $LOG_DIR/log -ef /proc/self/fd/$LOCK_FD ]]
}

# open_reading: have LOG_FD for the next reading, which begins when the first piece of it is taken. Until then it needs no more of the file,
# so that who detaches can take it away, and the last records are still read.
open_reading() {
	local before=$LOG_FD
	{ exec {LOG_FD}<"$LOG_DIR/$LOG_VIEW"; } 2>/dev/null || return
	[[ ! $before ]] || exec {before}<&-
}

die_read_by_other() {
	die "$EXIT_FAILED" "the log is being read by somebody else; 'fuser -v $LOG_DIR/log' shows by whom, and with --consumer NAME each reader sees all"
}

# is_closed: is the log there, as far as we may see, and not for us to read?
is_closed() {
	[[ -d $VIEWS && ! -x $VIEWS || -d $LOG_DIR && (! -x $LOG_DIR || -e $LOG_DIR/log && ! -r $LOG_DIR/log) ]]
}

# die_without_log: of who could read it, and now may not, or does not find it.
die_without_log() {
	require_attached
	die_without_view log
}

# wait_for_log: until there is one that nobody else reads. The kernel tells nobody of new files there, so it is looked for. What the first
# interface has seen is lost if that is detached before we have looked.
wait_for_log() {
	local said=
	while true; do
		if ! has_views "$VIEWS"; then
			[[ $said == none ]] || say "not attached to any interface yet; waiting for 'netracker attach IFACE'"
			said=none
		elif [[ ! -e $LOG_DIR/log ]] || is_unread "$LOG_DIR"; then
			return 0
		else
			[[ $said == taken ]] || say "the log is being read by somebody else; waiting for its reader to end"
			said=taken
			nap 0.9
		fi
		nap
	done
}

# end_log SIGNAL
end_log() {
	[[ $LOG_SIGNAL ]] || LOG_DEADLINE=$((SECONDS + LOG_GRACE))
	LOG_SIGNAL=$1
}

#
# Where we stand
#

# look_at_cursor: if we may set it, set POSITION and LOST, and begin where a reader that did not come to its end had begun.
look_at_cursor() {
	local seen at mark_position='' mark_lost='' i before=''
	CAN_SET=0
	if ! may_set_cursor "$LOG_DIR"; then
		tell_of_mark
		return 0
	fi
	for ((i = 0; i < LOG_PATIENCE; i++)); do
		ask_position || {
			tell_of_mark
			return 0
		}
		# Another one reads while it is seen, as somebody without our lock may.
		[[ $seen != 0 && $seen != "$before" ]] || break
		before=$seen
		nap 0.3
	done
	((i < LOG_PATIENCE)) || die_read_by_other
	CAN_SET=1
	MARK=$RUN/$(mark_of "$LOG_DIR")
	[[ ! -s $MARK ]] || read -r mark_position mark_lost <"$MARK" || true
	if [[ $mark_position =~ ^[0-9]+$ && $mark_lost =~ ^[0-9]+$ ]] && ((mark_position <= POSITION)); then
		POSITION=$mark_position LOST=$mark_lost
	elif ((seen == 0)); then
		unmark
		return 0
	fi
	((at <= POSITION)) ||
		say "the reader before this one did not come to its end; the last $((at - POSITION)) records that it had at hand are shown again"
	set_cursor || true
}

# tell_of_mark: for who cannot go back to it, nor see how far behind it is.
tell_of_mark() {
	local mark
	mark=$RUN/$(mark_of "$LOG_DIR" 2>/dev/null || true)
	[[ ! -s $mark ]] ||
		say "the reader before this one did not come to its end, and the last records that it had at hand may not have been shown; 'netracker log' by root shows them"
}

# ask_position: set POSITION and LOST to what the kernel takes to be read, and the caller's at to where its reader is and seen to when that
# was seen, 0 if it has come to its end. Fails if the log has gone.
ask_position() {
	local next lost unsaid
	{ read -r && read -r next lost unsaid seen at; } <"$LOG_DIR/unread" || return
	# Those that are lost and have not been told of come before the next.
	POSITION=$((next - unsaid)) LOST=$((lost - unsaid))
} 2>/dev/null

# find_position: set POSITION and LOST to what is to be shown next. From a batch that is marked on, they are counted. Else the kernel knows where
# the batch began, which need not be where our last reading ended: others may read in between. Fails if that log has gone.
find_position() {
	local seen at
	if ((!MARKED)); then
		is_our_log && ask_position || return
		# What it had at hand has been read by another one.
		((seen)) || TAKEN=0 TAKEN_LOST=0
	fi
	POSITION=$((POSITION + TAKEN)) LOST=$((LOST + TAKEN_LOST))
	TAKEN=0 TAKEN_LOST=0
}

# is_our_log: is the log that we have read still there? Once the last interface has been detached another one can be in its place.
is_our_log() {
	local name
	! has_lock || return 0
	name=$(
		trap '' HUP INT TERM
		mark_of "$LOG_DIR" 2>/dev/null || true
	)
	[[ $name && $MARK == "$RUN/$name" ]]
}

# set_cursor: to what POSITION and LOST are. Whatever reading was going on is over. Fails if our log has gone.
set_cursor() {
	is_our_log || return
	(
		trap '' HUP INT TERM
		write_cursor "$LOG_DIR" "$POSITION" "$LOST"
	)
	unmark
}

# mark: a batch begins that the kernel does not give back by itself. All before it has been shown.
mark() {
	if ((PIECES > 1)); then
		if ! find_position; then
			PIECES=1
			return
		fi
		if ((!MARKED)) && [[ ! -d $RUN ]]; then
			(umask 077 && mkdir -p -- "$RUN") 2>/dev/null || true
		fi
		{ printf '%s\n' "$POSITION $LOST" >"$MARK"; } 2>/dev/null || PIECES=1
		MARKED=1
	elif ((MARKED)); then
		unmark
	fi
}

unmark() {
	MARKED=0 TAKEN=0 TAKEN_LOST=0
	[[ ! -s $MARK ]] || : >"$MARK"
}

# leave_log: what we have at hand and has not been shown is for the next reader.
leave_log() {
	if ((!AT_END && CAN_SET)); then
		if { ! find_position || ! set_cursor; } && ((LEFT > 0)); then
			say "$LEFT records that were taken from the log and not shown $GONE"
		fi
	elif ((!AT_END && !MORE)); then
		say "the last records are shown again by the next who reads the log, as only root can mark a part of what was read at once as read"
	fi
	[[ ! $MARK ]] || rm -f -- "$MARK"
	if [[ $FORMAT == zeek ]]; then
		# Its last line is for who wants to know whether the log has come to its end.
		tell_awk 'netracker: end of log' || die_without_awk
		write_batch
	fi
	((DIRECT)) || stop_awk
	if [[ -v GIVEN[all] ]]; then
		trap - EXIT
		remove_consumer "$CONSUMER"
	fi
}

# keep_time: have the views tell times of day by the clock on the wall as it is now. /proc/uptime has steps of 10 ms, which is enough to see
# whether it has been set; only then it is asked for exactly. Where this shell has to wait for a CPU in between, the answer comes out too late, so
# the earliest of some is taken.
keep_time() {
	local wall ahead
	if [[ ! $CHECKED_AT ]]; then
		BOOT_US=$(read_boot)
	fi
	CHECKED_AT=$EPOCHSECONDS
	[[ $BOOT_US ]] || return 0
	read_uptime
	wall=${EPOCHREALTIME/[^0-9]/}
	ahead=$((wall - UPTIME_CS * 10000 - BOOT_US))
	((ahead < -1000 || ahead > 11000)) || return 0
	wall=$(boot_us)
	((wall - BOOT_US < -5000 || wall - BOOT_US > 5000)) || return 0
	BOOT_US=$wall
	write_boot "$BOOT_US"
	((!TO_AWK)) || tell_awk "netracker: boot $BOOT_US" || die_without_awk
}

#
# Reading
#

# read_on: until all has been shown that is wanted, or a signal asks for the end.
read_on() {
	while true; do
		read_to_end
		((MORE && FOLLOW)) || return 0
		if [[ ! $LOG_SIGNAL ]]; then
			((EPOCHSECONDS == CHECKED_AT)) || check_log
			wait_for_more || break
		fi
		if [[ $LOG_SIGNAL ]]; then
			# Of a log that has gone this is the last reading.
			read_to_end
			return 0
		fi
	done
	if is_closed; then
		leave_log
		die_without_log
	fi
	say "the last interface was detached"
}

# read_to_end: a reading: what is there when it begins. It is over when the kernel says so; then all of it counts as read. What comes after
# that is there for another one, even if the last interface is detached meanwhile.
read_to_end() {
	local next=''
	goes_on || return 0
	{ exec {next}<"$LOG_DIR/$LOG_VIEW"; } 2>/dev/null || true
	AT_END=0
	while ((MORE && !AT_END)) && goes_on; do
		size_batch
		if ((DIRECT)); then
			copy_batch
		else
			((!CAN_SET)) || mark
			take_batch
			write_batch
		fi
		# To ask for the next byte is to come back. What has not been shown must not count as read.
		((LEFT == 0)) || break
		IFS= read -r -N 1 -u "$LOG_FD" PEEKED 2>/dev/null || AT_END=1
		((MARKED)) || TAKEN=0 TAKEN_LOST=0
	done
	((!AT_END || !MARKED)) || unmark
	[[ $next ]] || return 0
	if ((AT_END)); then
		exec {LOG_FD}<&-
		LOG_FD=$next
	else
		exec {next}<&-
	fi
}

# goes_on: has no signal asked for the end? What is left in a log that has gone is not there for the next reader, so it is still read.
goes_on() {
	[[ ! $LOG_SIGNAL ]] || ! has_lock
}

# size_batch: set PIECES to what will be about all that there is to read, if who comes after us can be told where that began.
size_batch() {
	local unread=0
	PIECES=1
	((DIRECT || CAN_SET)) || return 0
	{ read -r unread _ <"$LOG_DIR/unread"; } 2>/dev/null || true
	PIECES=$((unread / PIECE_RECORDS + 1))
	((PIECES <= PIECES_MAX)) || PIECES=$PIECES_MAX
}

# wait_for_more: until there is something to read, or a signal. Fails if the log has gone; what was in it at last has been read then.
wait_for_more() {
	local unread missing=0
	while ((MORE)) && [[ ! $LOG_SIGNAL ]]; do
		# Before a look, too, that would find something: what comes in a while makes larger batches, each of which costs two processes.
		pause
		unread=0
		if { read -r unread _ <"$LOG_DIR/unread"; } 2>/dev/null; then
			missing=0
			if ((unread != 0)); then
				has_lock || check_log
				! open_reading || return 0
			fi
		elif ((missing == 0)); then
			# The descriptor that we have still leads to what there was at last.
			[[ ! $LOG_FD ]] || read_to_end
			missing=1
		elif [[ ! -d $VIEWS ]] || ((missing > VIEWS_PATIENCE)); then
			return 1
		else
			missing=$((missing + 1))
		fi
		((EPOCHSECONDS == CHECKED_AT)) || check_log
	done
}

# check_log: once a second, for who follows.
check_log() {
	keep_time
	if [[ -e $LOG_DIR/log ]] && ! has_lock; then
		# attach has put other views in the place of ours, if not another log. Our descriptor still leads to what there was at last.
		read_to_end
		lock_log
		look_at_cursor
	fi
}

# Without a fork. awk says nothing unless it is asked; if it has ended, there is no waiting.
pause() {
	local status=0
	if ((DIRECT)); then
		nap
	else
		read -r -t "$LOG_PAUSE" -u "$FROM_AWK" || status=$?
		((status > 128)) || die_without_awk
	fi
}

start_awk() {
	coproc FORMAT_LOG {
		trap '' HUP INT TERM
		exec {LOCK_FD}<&- {LOG_FD}<&- # the lock is this shell's alone
		export NT_BATCHES=1
		((!COMMUNITY_ID)) || {
			# Should it end, awk is to end as well, without a word.
			trap - PIPE
			exec > >(exec "${IDENTIFIER[@]}" 2>/dev/null)
		}
		exec "${FORMATTER[@]}"
	}
	AWK_PID=$!
	# bash takes the descriptors of an awk that has ended away, so these are copies. They lead to the same awk, whose input ends with
	# the last of them.
	local to=${FORMAT_LOG[1]-} from=${FORMAT_LOG[0]-}
	if [[ ! $to || ! $from ]] || ! { exec {TO_AWK}>&"$to" {FROM_AWK}<&"$from"; } 2>/dev/null; then
		die_without_awk
	fi
	exec {to}>&- {from}<&-
}

# tell_awk LINE…
tell_awk() {
	printf '%s\n' "$@" >&"$TO_AWK"
} 2>/dev/null

stop_awk() {
	exec {TO_AWK}>&-
	wait "$AWK_PID" || true
}

# end_awk: what it has at hand is not wanted.
end_awk() {
	kill -KILL "$AWK_PID" || true
	wait "$AWK_PID" || true
} 2>/dev/null

# take_batch: hand the next pieces to awk. Another reader, who need not know our lock, is waited for.
take_batch() {
	local words i
	for ((i = 0; i < LOG_PATIENCE; i++)); do
		words=$(
			trap '' HUP INT TERM
			exec {LOCK_FD}<&-
			printf %s "$PEEKED" >&"$TO_AWK"
			exec dd bs=64K count="$PIECES" status=none <&"$LOG_FD" 2>&1 >&"$TO_AWK"
		) || true
		[[ $words ]] || return 0
		[[ $words == *' error reading '* ]] || die_without_awk
		[[ ! $PEEKED ]] || die_overtaken
		nap
		open_reading || true
		if ((MARKED)); then
			# That reader has moved what we took for the beginning.
			unmark
			mark
		fi
	done
	die_read_by_other
}

# copy_batch: the same to the output.
copy_batch() {
	local said i
	for ((i = 0; i < LOG_PATIENCE; i++)); do
		write_out "$LOG_FD" "$PEEKED" bs=64K count="$PIECES" status=none
		[[ $said == *' error reading '* ]] || break
		[[ ! $PEEKED ]] || die_overtaken
		nap
		open_reading || true
	done
	((i < LOG_PATIENCE)) || die_read_by_other
	LEFT=0
	[[ $said ]] || return 0
	said=${said%%$'\n'*}
	give_back_pieces "${said##*: }"
}

# give_back_pieces REASON: the output has failed behind what the kernel knows to be read. Never returns.
give_back_pieces() {
	local seen at what='the last records'
	if ((CAN_SET)); then
		if ! is_our_log || ! ask_position || ! set_cursor; then
			die_gone "$1" "$what, which have not all been written,"
		fi
		what="the last $((at - POSITION)) records"
	fi
	die_missing "$1" "$what, which have not all been written, are still in the log"
}

# die_overtaken: another reader, who does not know our lock, has come while we could not go on.
die_overtaken() {
	# Where the batch began is no place to go back to: that one begins behind it.
	[[ ! $MARK ]] || rm -f -- "$MARK"
	die "$EXIT_FAILED" "somebody else has begun to read the log where this reader was; 'fuser -v $LOG_DIR/log' may show by whom; start again"
}

# What has become of records, and why.
readonly GONE='have gone with the log when the last interface was detached'

readonly STUCK='nobody takes it'

# write_out DESCRIPTOR BYTES OPTION…: have dd write what is read there, and BYTES before it. Sets the caller's said to what dd says.
write_out() {
	local i
	for i in {1..3}; do
		said=
		try_to_write "$@"
		[[ $said != "$READY"* ]] || break
	done
	[[ $said == "$READY"* ]] || said=$READY': no process can be started for that'
	said=${said#"$READY"}
}

# try_to_write: as write_out; what it says begins with READY, unless a signal to all of us ended the writer before it could ignore that. Then
# nothing has been read.
readonly READY=$'ready\n'
try_to_write() {
	local words pid status text
	exec {words}< <(
		trap '' HUP INT TERM
		printf %s "$READY"
		exec {LOCK_FD}<&-
		[[ ! $TO_AWK ]] || exec {TO_AWK}>&-
		[[ ! $2 ]] || printf %s "$2" 2>&1 >&"$OUT" || {
			# bash has said why; if it could not, it has failed all the same.
			printf '%s\n' ': it cannot be written'
			exit
		}
		exec dd "${@:3}" <&"$1" 2>&1 >&"$OUT"
	)
	pid=$!
	while true; do
		status=0
		IFS= read -r -d '' -t 1 -u "$words" text || status=$?
		said+=$text
		((status > 128)) || break
		if [[ $LOG_SIGNAL ]] && ((SECONDS >= LOG_DEADLINE)); then
			kill -KILL "$pid" 2>/dev/null || true
			said=$READY$STUCK
			break
		fi
	done
	# Who has closed these words has ended, and says more of itself than its exit status. There is no waiting for it: bash may have seen its end
	# by now, and waits for ever then.
	exec {words}<&-
}

# write_batch: have the batch formatted, and write it. Then TAKEN and TAKEN_LOST count it, too, and LEFT is how many records of it were not wanted
# any more. The newline ends a line that may have been left open.
write_batch() {
	local rows bytes taken lost said='' written=0 missing=''
	tell_awk '' 'netracker: end of batch' || die_without_awk
	read -r -u "$FROM_AWK" rows bytes MORE taken lost LEFT || die_without_awk
	if ((bytes > 0)); then
		# One block, so that all of it is out of the pipe before anything is written.
		write_out "$FROM_AWK" '' iflag=fullblock bs="$bytes" count=1
		[[ ! $said =~ ([0-9]+)\ bytes ]] || written=${BASH_REMATCH[1]}
		if ((written != bytes)); then
			! tell_awk "netracker: written $written" || read -r -t 5 -u "$FROM_AWK" missing taken lost || true
			[[ $missing =~ ^[0-9]+$ ]] || missing=$rows taken=0 lost=0
			said=${said%%$'\n'*}
			end_awk
			give_back "$taken" "$lost" "${said##*: }" "$missing"
		fi
	fi
	TAKEN=$((TAKEN + taken)) TAKEN_LOST=$((TAKEN_LOST + lost))
}

# give_back TAKEN LOST REASON RECORDS: the output has failed behind so many of the batch. Never returns.
give_back() {
	(($4 > 0)) || die_unwritten "$3"
	[[ ! -v GIVEN[all] ]] ||
		die "$EXIT_FAILED" "cannot write the output: $3; $4 records have not been shown, and --all takes none from the log; start again to read them"
	if ((CAN_SET)); then
		TAKEN=$((TAKEN + $1)) TAKEN_LOST=$((TAKEN_LOST + $2))
		if ! find_position || ! set_cursor; then
			die_gone "$3" "$4 records that were taken from the log"
		fi
		die_missing "$3" "$4 records that were taken from the log are in it again"
	fi
	die_missing "$3" "$4 records that were taken from the log have not been shown, and come again with those of the same piece that have been"
}

# die_missing REASON WHAT
die_missing() {
	local remedy="make room there, or write it elsewhere"
	[[ $1 != 'Broken pipe' && $1 != "$STUCK" ]] || remedy="the next who reads the log begins with them"
	# dd had no time to say how much of it had got into the pipe.
	[[ $1 != "$STUCK" ]] || remedy="some may have been shown; $remedy"
	die "$EXIT_FAILED" "cannot write the output: $1; $2; $remedy"
}

# die_gone REASON WHAT
die_gone() {
	die "$EXIT_FAILED" "cannot write the output: $1; $2 $GONE; start again to read what has come since"
}

die_without_awk() {
	local status=0 fate='come again' what
	# It may still be there, if who comes behind it has ended.
	exec {TO_AWK}>&-
	wait "$AWK_PID" || status=$?
	what="awk ended with status $status"
	((!COMMUNITY_ID || status != 0 && status != 141)) || what="perl, which makes the Community IDs, has ended"
	if ((CAN_SET)) && { ! find_position || ! set_cursor; }; then
		fate=$GONE
	fi
	die "$EXIT_FAILED" "$what in the middle of the log; the records that it had at hand $fate; start again"
}
