#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154,SC2016,SC2030,SC2031 # helpers set variables; inner shells expand what they are given
#
# What is taken from the log is shown, or said: at signals, with outputs that fail, beside other tools of tracing. And what goes to
# standard output gets there, or the command fails.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19
	new_pair
	netracker attach --quiet veth0
	LOG=$BATS_TEST_TMPDIR/log
	# Trackers of other tests write into our log, too; nobody else's connections go there.
	PORT=$((20000 + RANDOM % 12000))
	TRACING=$INSTANCES/$NETRACKER_INSTANCE
}

# refused N: so many connections that end at once.
refused() {
	in_netns client python3 - "$SERVER4" "$PORT" "$1" <<-'EOF'
		import socket, sys
		for i in range(int(sys.argv[3])):
		    try:
		        socket.create_connection((sys.argv[1], int(sys.argv[2])))
		    except OSError:
		        pass
	EOF
}

# ours FILE: how many whole lines of our connections' records it has.
ours() {
	grep -c "\"dport\":$PORT,.*}\$" "$1" || true
}

has_ours() {
	assert_equal "records in $1" "$(ours "$1")" "$2"
}

# left: how many records are still in the log; it is empty then.
left() {
	netracker log --no-follow --json >"$BATS_TEST_TMPDIR/left"
	ours "$BATS_TEST_TMPDIR/left"
}

# said: how many records the command says that it has not shown.
said() {
	sed -nE 's/^netracker: cannot write the output: .*; ([0-9]+) records that were taken .*/\1/p' "${1-$BATS_TEST_TMPDIR/stderr}"
}

# follow [AWK]: netracker log --json into $LOG by this awk, its words into $LOG.words; the process is $BACKGROUND_PID.
follow() {
	mkdir -p "$BATS_TEST_TMPDIR/${1-awk}"
	[[ ! ${1-} ]] || ln -sf "$(command -v "$1")" "$BATS_TEST_TMPDIR/$1/awk"
	: >"$LOG"
	# shellcheck disable=SC2016 # for the inner shell
	background env PATH="$BATS_TEST_TMPDIR/${1-awk}:$PATH" bash -c 'exec "$@" >"$0" 2>"$0.words"' "$LOG" \
		nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --json
	wait_for is_read
}

# is_read: the process in the background has the log open. Trying the lock would take it.
is_read() {
	find "/proc/$BACKGROUND_PID/fd" -lname "*/$NETRACKER_INSTANCE/trace_pipe" | grep --quiet .
}

rejected() {
	assert_equal "refused connections" "$(counter ended.REJ)" "$1"
}

# pipe_full FILE: of the pipe's 64 KiB there is not a page left.
pipe_full() {
	python3 -c 'import array, fcntl, os, sys, termios
n = array.array("i", [0])
fcntl.ioctl(os.open(sys.argv[1], os.O_RDWR), termios.FIONREAD, n)
sys.exit(n[0] <= 61440)' "$1"
}

has_ended() {
	! kill -0 "$1" 2>/dev/null
}

# ends PID STATUS: the job does, and so.
ends() {
	local status=0
	wait_for has_ended "$1"
	wait "$1" || status=$?
	assert_equal "exit status" "$status" "$2"
}

# small_disk: a file system of 64 KiB at $SMALL.
small_disk() {
	SMALL=$BATS_TEST_TMPDIR/small
	mkdir "$SMALL"
	mount -t tmpfs -o size=64k small "$SMALL"
}

teardown() {
	[[ ! ${SMALL-} ]] || umount "$SMALL"
	clean_up
}

@test "lines come as they are written, by any awk, and none is lost when the reader is told to end" {
	local awk signal
	requires tool_mawk tool_gawk tool_busybox tool_original-awk
	for awk in mawk gawk busybox original-awk; do
		follow "$awk"
		refused 3
		wait_for has_ours "$LOG" 3
		kill -TERM "$BACKGROUND_PID"
		ends "$BACKGROUND_PID" 143
		assert_equal "records left" "$(left)" 0
	done
	for signal in INT:130 HUP:129; do
		follow
		refused 1
		wait_for has_ours "$LOG" 1
		kill -s "${signal%:*}" "$BACKGROUND_PID"
		ends "$BACKGROUND_PID" "${signal#*:}"
	done
}

@test "a reader that is ended amid many connections has shown each record it has taken, and leaves the others" {
	local round load total=0 shown=0
	for round in 1 2 3; do
		follow
		background refused 400
		load=$BACKGROUND_PID
		wait_for grep --quiet "\"dport\":$PORT," "$LOG"
		# All of its processes, as systemd does it.
		kill -TERM -- "-${BACKGROUND_PIDS[-2]}"
		ends "${BACKGROUND_PIDS[-2]}" 143
		ends "$load" 0
		shown=$((shown + $(ours "$LOG")))
		total=$((total + 400))
		wait_for rejected "$total"
		shown=$((shown + $(left)))
		assert_equal "shown after round $round" "$shown" "$total"
	done
}

@test "a full disk ends the log with 1, and of the records taken each is on the disk or counted" {
	refused 400
	small_disk
	# shellcheck disable=SC2016 # for the inner shell
	assert_status 1 bash -c 'exec "$@" >"$0"' "$SMALL/log" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --json --no-follow --port "$PORT"
	assert_says 'No space left on device'
	assert_equal "on the disk + said + left" "$(($(ours "$SMALL/log") + $(said) + $(left)))" 400
	assert_equal "sentences" "$(wc -l <"$BATS_TEST_TMPDIR/stderr")" 1
}

@test "a log whose reader has gone says how many records it had taken, and fails" {
	refused 300
	# shellcheck disable=SC2016 # for the inner shell
	assert_status 1 bash -c 'exec 8> >(:); wait "$!"; exec "$@" >&8' bash nsenter --net="$NETNS_DIR/server" -- \
		"$NETRACKER" log --json --no-follow --port "$PORT"
	assert_says 'Broken pipe'
	assert_equal "said + left" "$(($(said) + $(left)))" 300
}

@test "log -n takes no record beyond those it shows" {
	refused 20
	assert_status 0 netracker log --json --no-follow --port "$PORT" -n 3
	assert_equal "rows" "$(wc -l <<<"$stdout")" 3
	assert_status 0 netracker log --json --port "$PORT" -n 2
	assert_equal "rows" "$(wc -l <<<"$stdout")" 2
	assert_status 0 netracker log --json -n 0
	assert_equal "left" "$(left)" 15
}

@test "a standard output that is closed or full takes no record from the log" {
	refused 5
	for words in 'log --no-follow' 'log --json' list stats status config version help 'log --help' 'attach veth0 --dry-run' 'metrics' check; do
		# shellcheck disable=SC2016,SC2086 # options are words
		assert_status 1 bash -c 'exec "$@" >&-' bash nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" $words
		assert_says 'standard output is closed'
	done
	assert_equal "left" "$(left)" 5
}

@test "what cannot be written is said in a sentence by each command, which fails then" {
	local words
	refused 5
	for words in 'log --no-follow' 'log --json --no-follow' list 'list --sort src' stats 'stats --json' status 'status --json' config version help \
		'log --help' 'attach veth0 --dry-run' 'metrics' check; do
		# shellcheck disable=SC2016,SC2086 # options are words
		assert_status 1 bash -c 'exec "$@" >/dev/full' bash nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" $words
		assert_says 'netracker: cannot write the output: No space left on device'
		assert_equal "sentences of $words" "$(grep -cv '^\[#\]' <<<"$output")" 1
	done
}

@test "metrics on a full disk: the file of before stays, nothing else does, and exit status 1" {
	small_disk
	assert_status 0 netracker metrics --textfile "$SMALL"
	cp "$SMALL/netracker.prom" "$BATS_TEST_TMPDIR/before"
	dd if=/dev/zero of="$SMALL/fill" bs=1k status=none 2>/dev/null || true
	assert_status 1 netracker metrics --textfile "$SMALL"
	assert_says "netracker: cannot write $SMALL/netracker.prom: No space left on device"
	assert_equal "files" "$(cd "$SMALL" && find . -type f | sort | xargs)" './fill ./netracker.prom'
	cmp "$SMALL/netracker.prom" "$BATS_TEST_TMPDIR/before"
}

@test "an output that is stuck does not keep the reader from ending, and what it had is said" {
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	exec 9<>"$BATS_TEST_TMPDIR/pipe"
	refused 400
	# shellcheck disable=SC2016 # for the inner shell
	background bash -c 'exec "$@" >"$0" 2>"$0.words"' "$BATS_TEST_TMPDIR/pipe" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --json
	wait_for is_read
	wait_for pipe_full "$BATS_TEST_TMPDIR/pipe"
	kill -TERM "$BACKGROUND_PID"
	ends "$BACKGROUND_PID" 1
	(($(said "$BATS_TEST_TMPDIR/pipe.words") > 0)) || fail "$(<"$BATS_TEST_TMPDIR/pipe.words")"
	exec 9<&-
}

@test "other tools' forms of the trace's lines are set right by the log, and no record is lost" {
	local option
	for option in bin raw hex nocontext-info fields latency-format printk-msg-only norecord-cmd; do
		grep --quiet --line-regexp -E "(no)?${option#no}" "$TRACING/trace_options" || continue
		refused 1
		echo "$option" >"$TRACING/trace_options"
		refused 1
		assert_equal "records after $option" "$(left)" 2
		[[ $option =~ ^(latency|norecord) ]] || grep --quiet --line-regexp -E "no$option|${option#no}" "$TRACING/trace_options" || fail "$option is still set"
	done
	follow
	echo raw >"$TRACING/trace_options"
	wait_for grep --quiet 'noraw is set again' "$LOG.words"
	refused 1
	wait_for has_ours "$LOG" 1
}

# off FILE VALUE: what another tool does; the log says so, and so does status; attach sets it right.
off() {
	echo "$2" >"$TRACING/$1"
	for words in 'status' 'log --no-follow'; do
		# shellcheck disable=SC2086 # options are words
		assert_status 0 netracker $words
		assert_says "no records get into the log: $TRACING/$1"
	done
	assert_status 0 netracker attach --quiet veth0
	assert_status 0 netracker status
	[[ $output != *'no records get'* ]] || fail "$output"
	refused 1
	assert_equal "records after attach" "$(left)" 1
}

@test "a log that another tool has switched off says so, and attach switches it on" {
	off tracing_on 0
	off events/bpf_trace/bpf_trace_printk/enable 0
	off set_event_pid 1
}

@test "attach sets right what other tools have set in the log's instance, and keeps its records" {
	refused 2
	(
		cd "$TRACING"
		for option in bin raw hex nocontext-info nooverwrite nomarkers block; do
			echo "$option" >trace_options
		done
		echo 1 >tracing_cpumask
		echo 0 >events/bpf_trace/bpf_trace_printk/filter
		echo 1 >events/sched/sched_process_exit/enable
	)
	assert_status 0 netracker attach --quiet veth0
	assert_equal "options" "$(grep -cxE 'nobin|noraw|nohex|context-info|overwrite|markers|noblock' "$TRACING/trace_options")" 7
	assert_equal "events" "$(<"$TRACING/set_event")" bpf_trace:bpf_trace_printk
	assert_equal "CPUs" "$(tr -d ,0 <"$TRACING/tracing_cpumask")" "$(python3 -c '
import sys
print("%x" % (2 ** (int(sys.argv[1]) + 1) - 1))' "$(sed 's/.*[-,]//' /sys/devices/system/cpu/possible)")"
	assert_equal "records" "$(left)" 2
}

@test "lines that cannot be read are counted" {
	printf '%s\n' 'a-1 [0] 1: bpf_trace_printk: netracker: 192.0.2.1:1 -> cut' '0 1 2 3' 'a-1 [0] 1: sched_switch: x' 'netracker: end of batch' |
		NT_BATCHES=1 awk -f "$ROOT/scripts/lib/address.awk" -f "$ROOT/scripts/lib/owner.awk" -f "$ROOT/scripts/lib/record.awk" \
			-f "$ROOT/scripts/lib/json.awk" 2>"$BATS_TEST_TMPDIR/stderr" >/dev/null
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/stderr")" 'netracker: 2 lines of the log could not be read: they are not in the form of records'
}

# without_losses: of stats. The records of everybody on the machine fill the log, so some may be overwritten meanwhile.
without_losses() {
	sed '/^LOST/,/^$/d'
}

@test "what the environment can do to bash and the tools changes nothing" {
	local setting verb want
	local -a words
	refused 3
	for verb in stats 'list --json' config 'log --help' version; do
		read -r -a words <<<"$verb"
		want=$(netracker "${words[@]}" 2>&1 | without_losses)
		for setting in POSIXLY_CORRECT=1 SHELLOPTS=noclobber:noglob _POSIX2_VERSION=200112 TMPDIR=/nowhere HOME= CDPATH=/:/usr GLOBIGNORE='*' \
			GREP_OPTIONS=--invert-match JQ_COLORS=x AWKPATH=/nowhere GAWK_READ_TIMEOUT=1 BLOCKSIZE=1 'BASH_FUNC_jq%%=() { echo wrong; }' LC_ALL=C.UTF-8; do
			assert_equal "$verb with $setting" "$(env "$setting" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" "${words[@]}" 2>&1 | without_losses)" "$want"
		done
	done
}
