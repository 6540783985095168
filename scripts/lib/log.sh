# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# log: from the kernel's trace to the output, and nothing is lost on the way without a word.
#
# Reading the trace takes the records out of it, so this shell takes them a batch at a time: dd hands what is there to an awk that
# runs all the while, awk answers with the text, another dd writes it, and only then comes the next batch. Signals stop the shell
# between two batches; awk and dd do not see them. Should the output fail, the batch at hand is all that can be missing, and awk knows
# which of its rows went out. Looking for new records a few times a second costs the kernel less than being woken for each of them.

# A batch is at most so many reads, each of which brings what fits into a page or two. It begins small, as what a full disk meets is
# one batch, and grows while there is more to read than fits: each batch costs two processes.
readonly BATCH_READS_MIN=8 BATCH_READS_MAX=128

# With --max-rows: records that are taken one by one. What a larger read took beyond the last row would be lost.
readonly BATCH_RECORDS=256

# Seconds: between two looks, and for an output that is stuck when a signal asks for the end.
readonly LOG_PAUSE=0.1 LOG_GRACE=2

LOG_SIGNAL=   # the one that asked for the end
LOG_DEADLINE= # for a stuck output, then
BATCH_READS=$BATCH_READS_MIN
TRACE= # descriptor of trace_pipe
TO_AWK='' FROM_AWK='' AWK_PID=''
MORE=1     # 0: awk has seen the last that is wanted
AT_END=0   # 1: the trace had no more, when it was last asked
ROWS_LEFT= # with --max-rows
TAKE_LEFT= # records that were there when a log that is not followed was begun

cmd_log() {
	local dir
	obey_record_options "$@"
	require root awk
	((!WAIT)) || wait_for_log
	dir=$(instance)
	[[ -d $dir ]] || die "$EXIT_NOT_ATTACHED" "no log at $dir; 'netracker attach IFACE' makes it"

	open_trace "$dir/trace_pipe" ||
		die "$EXIT_FAILED" "the log is being read by somebody else; 'fuser -v $dir/trace_pipe' shows by whom"
	prepare_output log
	ROWS_LEFT=$NT_MAX_ROWS
	read -r TAKE_LEFT _ < <(buffer_fill)
	trap 'end_log HUP' HUP
	trap 'end_log INT' INT
	trap 'end_log TERM' TERM
	trap '' PIPE
	start_awk
	write_batch # the headings
	while ((MORE)) && [[ ! $LOG_SIGNAL ]]; do
		watch_trace "$dir"
		! take_batch || write_batch
		((AT_END)) || continue
		((FOLLOW)) || break
		pause
	done
	stop_awk
	if [[ $LOG_SIGNAL ]]; then
		# Whoever sent it looks whether it was that which ended us.
		trap - "$LOG_SIGNAL"
		kill -s "$LOG_SIGNAL" "$BASHPID"
	fi
}

# open_trace FILE: the lock is on the file that is read, so it ends with the reader, however the reader ends. Newer kernels let only one
# open it. A reader that is just ending, or has only looked, is waited for.
open_trace() {
	local i
	for ((i = 0; i < 10; i++)); do
		if { exec {TRACE}<"$1"; } 2>/dev/null; then
			flock --timeout 1 "$TRACE" 2>/dev/null
			return
		fi
		sleep "$LOG_PAUSE"
	done
	return 1
}

# end_log SIGNAL
end_log() {
	[[ $LOG_SIGNAL ]] || LOG_DEADLINE=$((SECONDS + LOG_GRACE))
	LOG_SIGNAL=$1
}

start_awk() {
	coproc FORMAT_LOG {
		trap '' HUP INT TERM
		exec {TRACE}<&- # and with it the lock, which is this shell's alone
		NT_BATCHES=1 exec "${FORMATTER[@]}"
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

# Without a fork: awk says nothing unless it is asked. If it has ended, there is no waiting.
pause() {
	local status=0
	read -r -t "$LOG_PAUSE" -u "$FROM_AWK" || status=$?
	((status > 128)) || die_without_awk
}

# take_batch: hand what has come to awk, and set AT_END; fails if there was nothing.
take_batch() {
	AT_END=1
	read -r -t 0 -u "$TRACE" || return 1
	if [[ $ROWS_LEFT ]]; then
		take_records
	elif (
		trap '' HUP INT TERM
		exec dd iflag=nonblock bs=64K count="$BATCH_READS" status=none <&"$TRACE" >&"$TO_AWK" 2>/dev/null
	); then
		AT_END=0
		((BATCH_READS >= BATCH_READS_MAX)) || BATCH_READS=$((BATCH_READS * 2))
	else
		BATCH_READS=$BATCH_READS_MIN
	fi
}

# take_records: the same, one by one, and no more than may be shown.
take_records() {
	local line taken limit=$BATCH_RECORDS
	((limit < ROWS_LEFT)) || limit=$ROWS_LEFT
	((FOLLOW || limit < TAKE_LEFT)) || limit=$TAKE_LEFT
	for ((taken = 0; taken < limit; taken++)); do
		{ read -r -t 0 -u "$TRACE" && IFS= read -r -u "$TRACE" line; } 2>/dev/null || break
		tell_awk "$line" || die_without_awk
	done
	TAKE_LEFT=$((TAKE_LEFT - taken))
	((taken < limit || (!FOLLOW && TAKE_LEFT <= 0))) || AT_END=0
	((taken > 0))
}

# write_batch: have the batch formatted, and write it. The newline ends a line that the trace may have left open.
write_batch() {
	local rows bytes said='' text pid words status=0 written=0 missing=''
	tell_awk '' 'netracker: end of batch' || die_without_awk
	read -r -u "$FROM_AWK" rows bytes MORE || die_without_awk
	[[ ! $ROWS_LEFT ]] || ROWS_LEFT=$((ROWS_LEFT - rows))
	((bytes > 0)) || return 0

	# One block, so that all of it is out of the pipe before anything is written.
	exec {words}< <(
		trap '' HUP INT TERM
		exec {TRACE}<&- {TO_AWK}>&-
		exec dd iflag=fullblock bs="$bytes" count=1 <&"$FROM_AWK" 2>&1 >&"$OUT"
	)
	pid=$!
	while true; do
		status=0
		IFS= read -r -d '' -t 1 -u "$words" text || status=$?
		said+=$text
		((status > 128)) || break
		if [[ $LOG_SIGNAL ]] && ((SECONDS >= LOG_DEADLINE)); then
			kill -KILL "$pid" 2>/dev/null || true
			said='nobody takes it'
			break
		fi
	done
	exec {words}<&-
	# What dd says of itself tells more than its exit status, which bash may have forgotten by now.
	wait "$pid" 2>/dev/null || true
	[[ ! $said =~ ([0-9]+)\ bytes ]] || written=${BASH_REMATCH[1]}
	((written != bytes)) || return 0

	! tell_awk "netracker: written $written" || read -r -t 5 -u "$FROM_AWK" missing || true
	[[ $missing =~ ^[0-9]+$ ]] || missing=$rows
	said=${said%%$'\n'*}
	kill -KILL "$AWK_PID" 2>/dev/null || true
	die_missing "${said##*: }" "$missing"
}

# die_missing REASON RECORDS
die_missing() {
	local remedy="make room there, or write it elsewhere"
	[[ $1 != 'Broken pipe' && $1 != 'nobody takes it' ]] || remedy="those after them are still in the log"
	(($2 > 0)) || die_unwritten "$1"
	die "$EXIT_FAILED" "cannot write the output: $1; $2 records that were taken from the log have not been shown; $remedy"
}

die_without_awk() {
	local status=0
	wait "$AWK_PID" || status=$?
	die "$EXIT_FAILED" "awk ended with status $status in the middle of the log, and the records it had at hand have not been shown; start again"
}
