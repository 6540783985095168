#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154,SC2016,SC2030,SC2031 # helpers set variables; inner shells expand what they are given
#
# What the log promises: each record is shown, once, or what has become of it is said; at signals, with outputs that fail, after a reader that
# was killed, with several readers. And what goes to standard output gets there, or the command fails.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19
	new_pair
	netracker attach --quiet veth0
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	LOG=$BATS_TEST_TMPDIR/log
	PORT=$((20000 + RANDOM % 12000))
}

# refused N: so many connections that end at once, from ports that do not come again soon: the kernel chooses some twice in 3,000, and two
# connections from one port can have the same duration, to the nanosecond.
refused() {
	in_netns client python3 - "$SERVER4" "$PORT" "$1" <<-'EOF'
		import socket, sys
		for i in range(int(sys.argv[3])):
		    try:
		        socket.create_connection((sys.argv[1], int(sys.argv[2])), source_address=("", 1024 + i % 64000))
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

# keys FILE: of each whole record there what tells it from the others.
keys() {
	sed -nE 's/.*"sport":([0-9]+),.*"duration_ns":([0-9]+),.*\}$/\1 \2/p' "$@" | sort
}

# left: how many records are still in the log; it is empty then. They are in the file left, and what is said meanwhile in left.words.
left() {
	netracker log --no-follow --json >"$BATS_TEST_TMPDIR/left" 2>"$BATS_TEST_TMPDIR/left.words"
	ours "$BATS_TEST_TMPDIR/left"
}

# follow [OPTION…]: netracker log --json OPTION… into $LOG by the awk that is $AWK, its words into $LOG.words; the process is $BACKGROUND_PID.
follow() {
	mkdir -p "$BATS_TEST_TMPDIR/${AWK-awk}"
	[[ ! ${AWK-} ]] || ln -sf "$(command -v "$AWK")" "$BATS_TEST_TMPDIR/$AWK/awk"
	: >"$LOG"
	# shellcheck disable=SC2016 # for the inner shell
	background env PATH="$BATS_TEST_TMPDIR/${AWK-awk}:$PATH" bash -c 'exec "$@" >"$0" 2>"$0.words"' "$LOG" \
		nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --json "$@"
	wait_for is_read
}

# into_pipe [OPTION…]: netracker log --json OPTION… into a pipe that nobody empties, as descriptor 9, until it is full.
into_pipe() {
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	exec 9<>"$BATS_TEST_TMPDIR/pipe"
	# shellcheck disable=SC2016 # for the inner shell
	background bash -c 'exec "$@" >"$0" 2>"$0.words"' "$BATS_TEST_TMPDIR/pipe" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --json "$@" 9<&-
	wait_for pipe_full "$BATS_TEST_TMPDIR/pipe"
}

# out_of_pipe FILE: what is in it.
out_of_pipe() {
	timeout 0.5 cat <&9 >"$1" || true
	exec 9<&-
}

rejected() {
	assert_equal "refused connections" "$(counter ended.REJ)" "$1"
}

# pipe_full FILE: the pipe's 64 KiB are taken, as far as pages that are not quite full let them be.
pipe_full() {
	python3 -c 'import array, fcntl, os, sys, termios
n = array.array("i", [0])
fcntl.ioctl(os.open(sys.argv[1], os.O_RDWR), termios.FIONREAD, n)
sys.exit(n[0] <= 49152)' "$1"
}

teardown() {
	[[ ! ${SMALL-} ]] || umount "$SMALL"
	clean_up
}

# descriptors PID: of this process and those below it.
descriptors() {
	local pid
	for pid in "$1" $(pgrep --parent "$1"); do
		ls "/proc/$pid/fd"
	done | wc -l
}

@test "who follows the log needs no more descriptors, however often there is something to read" {
	local before i
	follow
	refused 1
	wait_for has_ours "$LOG" 1
	before=$(descriptors "$BACKGROUND_PID")
	for i in {2..12}; do
		refused 1
		wait_for has_ours "$LOG" "$i"
	done
	assert_equal "descriptors" "$(descriptors "$BACKGROUND_PID")" "$before"
}

@test "lines come as they are written, by any awk, and none is lost when the reader is told to end" {
	local signal
	requires tool_mawk tool_gawk tool_busybox tool_original-awk
	for AWK in mawk gawk busybox original-awk; do
		follow
		refused 3
		wait_for has_ours "$LOG" 3
		kill -TERM "$BACKGROUND_PID"
		ends "$BACKGROUND_PID" 143
		assert_equal "records left" "$(left)" 0
	done
	unset -v AWK
	for signal in INT:130 HUP:129; do
		follow --numeric
		refused 1
		wait_for has_ours "$LOG" 1
		kill -s "${signal%:*}" "$BACKGROUND_PID"
		ends "$BACKGROUND_PID" "${signal#*:}"
		assert_equal "records left" "$(left)" 0
	done
}

@test "a reader that is ended amid many connections has shown each record it has taken, and leaves the others" {
	local options load total=0 shown=0
	for options in '' --numeric "--port $PORT"; do
		# shellcheck disable=SC2086 # options are words
		follow $options
		background refused 2000
		load=$BACKGROUND_PID
		wait_for grep --quiet "\"dport\":$PORT," "$LOG"
		# All of its processes, as systemd does it.
		kill -TERM -- "-${BACKGROUND_PIDS[-2]}"
		ends "${BACKGROUND_PIDS[-2]}" 143
		ends "$load" 0
		shown=$((shown + $(ours "$LOG")))
		total=$((total + 2000))
		wait_for rejected "$total"
		shown=$((shown + $(left)))
		assert_equal "shown after '$options'" "$shown" "$total"
		assert_equal "words" "$(cat "$LOG.words" "$BATS_TEST_TMPDIR/left.words")" ''
	done
}

@test "a reader that is killed amid a backlog has lost nothing, and the next says how much it shows again" {
	local options said
	for options in '' --numeric "--port $PORT"; do
		refused 3000
		# shellcheck disable=SC2086 # options are words
		into_pipe $options
		# Batches grow while somebody takes them.
		head -c 400000 <&9 >"$LOG"
		wait_for pipe_full "$BATS_TEST_TMPDIR/pipe"
		kill -KILL -- "-$BACKGROUND_PID"
		wait "$BACKGROUND_PID" || true
		out_of_pipe "$LOG.rest"
		cat "$LOG.rest" >>"$LOG"
		rm "$BATS_TEST_TMPDIR/pipe"
		left >/dev/null
		said=$(sed -n 's/^netracker: the reader before this one did not come to its end; the last \([0-9]*\) records .* again$/\1/p' "$BATS_TEST_TMPDIR/left.words")
		assert_equal "records shown" "$(keys "$LOG" "$BATS_TEST_TMPDIR/left" | uniq | wc -l)" 3000
		# Of them some have been shown, of which the last may have been cut off.
		(($(keys "$LOG" "$BATS_TEST_TMPDIR/left" | uniq -d | wc -l) <= said)) || fail "more are shown twice than ${said:-nothing}, which is what is said"
		(($(ours "$BATS_TEST_TMPDIR/left") >= said && said > 0)) || fail "$said are more than all"
		assert_equal "left after all" "$(left)$(<"$BATS_TEST_TMPDIR/left.words")" 0
		[[ ! -e $NETRACKER_RUN ]] || assert_equal "files" "$(ls "$NETRACKER_RUN")" ''
	done
}

# write_to FILE [OPTION…]: netracker log --no-follow OPTION… into it.
write_to() {
	# shellcheck disable=SC2016 # for the inner shell
	bash -c 'exec "$@" >"$0"' "$1" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --no-follow "${@:2}"
}

@test "a full disk ends the log with 1, and what has not got on it comes again, nothing else" {
	local options said
	small_disk
	for options in '' "--port $PORT" '--max-rows 350'; do
		refused 400
		# shellcheck disable=SC2086 # options are words
		assert_status 1 write_to "$SMALL/log" --json $options
		assert_says 'No space left on device'
		assert_equal "sentences" "$(wc -l <"$BATS_TEST_TMPDIR/stderr")" 1
		assert_equal "on the disk + left ($options)" "$(($(ours "$SMALL/log") + $(left)))" 400
		assert_equal "words" "$(<"$BATS_TEST_TMPDIR/left.words")" ''
		assert_equal "records" "$(keys "$SMALL/log" "$BATS_TEST_TMPDIR/left" | uniq | wc -l)" 400
	done
	# Straight from the kernel, by pieces.
	refused 400
	assert_status 1 write_to "$SMALL/log" --json --numeric
	assert_says 'No space left on device'
	said=$(sed -n 's/.*; the last \([0-9]*\) records, which have not all been written, .*/\1/p' "$BATS_TEST_TMPDIR/stderr")
	left >/dev/null
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/left.words")" ''
	assert_equal "records" "$(keys "$SMALL/log" "$BATS_TEST_TMPDIR/left" | uniq | wc -l)" 400
	(($(keys "$SMALL/log" "$BATS_TEST_TMPDIR/left" | uniq -d | wc -l) < said)) || fail "more come twice than said: $output"
}

@test "a log whose reader has gone keeps what nobody has taken, and fails" {
	local options
	for options in '' --numeric "--port $PORT"; do
		refused 300
		# shellcheck disable=SC2016,SC2086 # for the inner shell; options are words
		assert_status 1 bash -c 'exec 8> >(:); wait "$!"; exec "$@" >&8' bash nsenter --net="$NETNS_DIR/server" -- \
			"$NETRACKER" log --json --no-follow $options
		assert_says 'Broken pipe'
		assert_equal "left" "$(left)" 300
	done
}

@test "--all whose reader has gone says that the log is as it was" {
	refused 300
	# shellcheck disable=SC2016 # for the inner shell
	assert_status 1 bash -c 'exec 8> >(:); wait "$!"; exec "$@" >&8' bash nsenter --net="$NETNS_DIR/server" -- \
		"$NETRACKER" log --json --no-follow --all
	[[ $output =~ 'Broken pipe; '[1-9][0-9]*' records have not been shown, and --all takes none from the log; start again to read them' ]] ||
		fail "$output"
	assert_equal "left" "$(left)" 300
}

# all_are_there FILE N: so many records of ours are there and in the log, each of them.
all_are_there() {
	left >/dev/null
	assert_equal "records in $1 and the log" "$(keys "$1" "$BATS_TEST_TMPDIR/left" | uniq | wc -l)" "$2"
}

@test "an output that fails at the first byte of a piece fails like any other" {
	local piece room
	refused 400
	# Who takes a piece and does not come back has read nothing.
	piece=$(dd if="$VIEWS/log.json" bs=64K count=1 status=none | wc -c)
	# A pipe that has no room for what comes behind that piece, which would be lost with the pipe.
	# shellcheck disable=SC2016 # for the inner shell
	assert_status 1 timeout 20 bash -c 'exec 8> >(exec python3 -c "$0" "${@:1:2}"); until [[ -e $2.ready ]]; do sleep 0.01; done; exec "${@:3}" >&8' \
		'import fcntl, os, sys
fcntl.fcntl(0, 1031, 4096) # F_SETPIPE_SZ
open(sys.argv[2] + ".ready", "w").close()
with open(sys.argv[2], "wb", buffering=0) as log:
    left = int(sys.argv[1])
    while left:
        left -= log.write(os.read(0, min(left, 4096)))' "$piece" "$LOG" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --json --numeric --no-follow
	assert_says 'cannot write the output: Broken pipe'
	all_are_there "$LOG" 400
	small_disk
	for room in "$((piece - 1))" "$piece" "$((piece + 1))"; do
		refused 400
		piece=$(dd if="$VIEWS/log.json" bs=64K count=1 status=none | wc -c)
		head -c "$((65536 - room))" /dev/zero | tr '\0' '\n' >"$SMALL/log"
		# shellcheck disable=SC2016 # for the inner shell
		assert_status 1 timeout 20 bash -c 'exec "$@" >>"$0"' "$SMALL/log" \
			nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --json --numeric --no-follow
		assert_says 'cannot write the output: No space left on device'
		assert_equal "sentences" "$(grep -c 'cannot write' "$BATS_TEST_TMPDIR/stderr")" 1
		all_are_there "$SMALL/log" 400
	done
}

@test "what a reader could not write goes with its log, and the log that comes after it is left alone" {
	local options
	for options in '' --numeric; do
		refused 400
		# shellcheck disable=SC2086 # options are words
		into_pipe $options
		netracker detach --quiet veth0
		netracker attach --quiet veth0
		refused 5
		exec 9<&-
		ends "$BACKGROUND_PID" 1
		grep --quiet 'Broken pipe; .* records.* have gone with the log when the last interface was detached; ' "$BATS_TEST_TMPDIR/pipe.words" ||
			fail "$(<"$BATS_TEST_TMPDIR/pipe.words")"
		assert_equal "sentences" "$(wc -l <"$BATS_TEST_TMPDIR/pipe.words")" 1
		rm "$BATS_TEST_TMPDIR/pipe"
		assert_equal "left" "$(left)" 5
		assert_equal "words" "$(<"$BATS_TEST_TMPDIR/left.words")" ''
	done
}

# nobody_reads: the last reading has come to its end.
nobody_reads() {
	assert_equal "seen" "$(sed -n 2p "$VIEWS/unread" | cut -d ' ' -f 4)" 0
}

@test "what another one reads in between does not come again" {
	follow --port "$PORT" -n 5
	refused 2
	wait_for has_ours "$LOG" 2
	wait_for nobody_reads
	kill -STOP -- "-$BACKGROUND_PID"
	refused 3
	assert_equal "read by another" "$(grep -c "\"dport\":$PORT," "$VIEWS/log.json")" 3
	refused 10
	kill -CONT -- "-$BACKGROUND_PID"
	ends "$BACKGROUND_PID" 0
	has_ours "$LOG" 5
	assert_equal "left" "$(left)" 7
	assert_equal "words" "$(cat "$LOG.words" "$BATS_TEST_TMPDIR/left.words")" ''
}

@test "log -n takes no record beyond those it shows" {
	refused 200
	assert_status 0 netracker log --json --no-follow --port "$PORT" -n 30
	assert_equal "rows" "$(wc -l <<<"$stdout")" 30
	assert_status 0 netracker log --json -n 2
	assert_equal "rows" "$(wc -l <<<"$stdout")" 2
	assert_status 0 netracker log --json --numeric -n 3
	assert_equal "rows" "$(wc -l <<<"$stdout")" 3
	assert_status 0 netracker log --json -n 0
	assert_equal "left" "$(left)" 165
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/left.words")" ''
}

# its_awk: print the awk of the reader in the background.
its_awk() {
	local child
	local -a children
	read -r -a children <"/proc/$BACKGROUND_PID/task/$BACKGROUND_PID/children"
	for child in "${children[@]}"; do
		[[ $(readlink "/proc/$child/exe") == *awk* ]] || continue
		printf '%s\n' "$child"
		return
	done
	return 1
}

@test "an awk that is killed takes nothing with it" {
	follow
	wait_for its_awk
	kill -KILL "$(its_awk)"
	ends "$BACKGROUND_PID" 1
	grep --quiet 'awk ended with status 137 in the middle of the log' "$LOG.words" || fail "$(<"$LOG.words")"
	refused 3
	assert_equal "left" "$(left)" 3
}

@test "of two readers at once the second is told; with names of their own both see all" {
	follow
	refused 2
	wait_for has_ours "$LOG" 2
	assert_status 1 netracker log --no-follow
	assert_says "being read by somebody else; 'fuser -v $VIEWS/log'"
	assert_status 0 netracker log --json --no-follow --consumer second.reader
	assert_equal "records since before there was the second" "$(wc -l <<<"$stdout")" 2
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/stderr")" ''
	refused 3
	wait_for has_ours "$LOG" 5
	assert_status 0 netracker log --json --no-follow --consumer second.reader
	assert_equal "records of the second" "$(wc -l <<<"$stdout")" 3
	assert_status 0 netracker log --consumer second.reader --forget
	assert_status 1 netracker log --consumer second.reader --forget
	assert_says "no consumer 'second.reader'"
	[[ ! -e $VIEWS/consumers ]] || fail "$(find "$VIEWS/consumers")"
}

@test "a consumer that reads is not forgotten, and its name is a name" {
	local name
	background netracker log --json --consumer archive
	wait_for is_read archive
	assert_status 1 netracker log --consumer archive --forget
	assert_says "reads the log at this moment"
	for name in ../log .x -x a/b 'a b' "$(printf '%033d' 0)" '+1'; do
		assert_status 2 netracker log --consumer="$name"
	done
	assert_status 2 netracker log --forget
	assert_status 2 netracker log --all --consumer archive
	netracker detach --quiet veth0
	wait_for has_ended "$BACKGROUND_PID"
}

@test "log --all shows what the log holds, and moves nobody's cursor" {
	refused 4
	assert_equal "read" "$(left)" 4
	refused 2
	assert_status 0 netracker log --all --no-follow --json
	assert_equal "history" "$(wc -l <<<"$stdout")" 6
	[[ ! -e $VIEWS/consumers ]] || fail "$(find "$VIEWS/consumers")"
	# What one left whose process had the same number, and has read all.
	netracker log --json --no-follow --consumer left >/dev/null
	# shellcheck disable=SC2016 # for the inner shell
	assert_status 0 bash -c 'mv "$0/left" "$0/+$$"; exec "$@"' "$VIEWS/consumers" \
		nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" log --all --no-follow --json
	assert_equal "history" "$(wc -l <<<"$stdout")" 6
	[[ ! -e $VIEWS/consumers ]] || fail "$(find "$VIEWS/consumers")"
	# Following; what is killed is swept by the next.
	background netracker log --all --json
	wait_for has_ours "$BACKGROUND_OUTPUT" 6
	refused 1
	wait_for has_ours "$BACKGROUND_OUTPUT" 7
	kill -KILL -- "-$BACKGROUND_PID"
	wait "$BACKGROUND_PID" || true
	[[ -e $VIEWS/consumers ]] || fail "it had no cursor of its own"
	assert_status 0 netracker log --all --no-follow --json
	[[ ! -e $VIEWS/consumers ]] || fail "$(find "$VIEWS/consumers")"
	assert_equal "unread all the while" "$(left)" 3
}

@test "what is overwritten before it is read is counted exactly" {
	local shown marked lost
	refused 100
	assert_equal "read" "$(left)" 100
	refused 70000
	assert_status 0 netracker log --no-follow --json
	shown=$(wc -l <<<"$stdout")
	lost=$((70000 - shown))
	((lost > 0)) || fail "all of them were there"
	assert_says "netracker: $lost records lost"
	marked=$(sed -nE 's/.*,"lost_before":([0-9]+)\}$/\1/p' <<<"$stdout")
	assert_equal "lost_before" "$marked" "$lost"
	read -r shown marked <"$VIEWS/unread"
	assert_equal "UNREAD LOST" "$shown $marked" "0 $lost"
	# Who has a name from now on has missed nothing.
	netracker log --no-follow --json --consumer new >"$LOG" 2>"$LOG.words"
	assert_equal "words" "$(<"$LOG.words")" ''
	assert_equal "records" "$(ours "$LOG")" 65536
	# Nor is a loss counted twice when a full disk gives records back.
	small_disk
	refused 66000
	assert_status 1 write_to "$SMALL/log" --json
	left >/dev/null
	marked=$(sed -nE 's/.*,"lost_before":([0-9]+)\}$/\1/p' "$SMALL/log" "$BATS_TEST_TMPDIR/left" | awk '{ n += $1 } END { print n }')
	assert_equal "shown + lost" "$((marked + $(ours "$SMALL/log") + $(ours "$BATS_TEST_TMPDIR/left")))" 66000
	read -r _ shown <"$VIEWS/unread"
	assert_equal "LOST" "$shown" $((lost + marked))
}

@test "JSON is the same by the kernel and by awk, and names are filled in unless they are not wanted" {
	local all
	http_server server
	in_netns client curl --silent "http://$SERVER4:8000/" >/dev/null
	in_netns client curl --silent "http://[$SERVER6]:8000/close" >/dev/null
	refused 2
	wait_for sees_all 4
	all=$(netracker log --json --all --no-follow)
	assert_equal "through awk" "$(netracker log --json --all --no-follow --port 8000 | jq --compact-output --sort-keys .)" \
		"$(jq --compact-output --sort-keys 'select(.dport == 8000)' <<<"$all")"
	assert_equal "limited" "$(netracker log --json --all -n 2)" "$(head -n 2 <<<"$all")"
	assert_equal "names" "$(jq --raw-output 'select(.state == "SF").user' <<<"$all" | sort --unique)" root
	assert_equal "owners" "$(jq 'select(.state == "SF").owner' <<<"$all" | grep -c null || true)" 0
	assert_equal "numeric" "$(netracker log --json --numeric --all --no-follow)" "$(sed -E 's/"user":.*"owner":[^}]*/"user":null,"owner":null/' <<<"$all")"
	assert_equal "numeric, through awk" "$(netracker log --json --numeric --all --no-follow --port 8000 | jq --compact-output '[.user, .owner]' | sort --unique)" '[null,null]'
	assert_equal "numeric table" "$(netracker log --wide --no-header --numeric --no-follow --port 8000 | awk '{ print $12, $18 }' | sort --unique)" \
		"$(jq --raw-output 'select(.dport == 8000) | "\(.cgroup) \(.uid)"' <<<"$all" | sort --unique)"
}

# sees_all N: so many have ended.
sees_all() {
	local unread
	read -r unread _ <"$VIEWS/unread"
	assert_equal "unread" "$unread" "$1"
}

# is_followed: somebody reads with --all.
is_followed() {
	local dirs
	dirs=("$VIEWS"/consumers/+*)
	is_read "${dirs[0]##*/}"
}

@test "who follows gets what is still alive at the last detach, and ends" {
	local options reader
	background peer server serve 8000
	wait_for listening server 8000
	for options in '' --numeric --all; do
		netracker attach --quiet --no-adopt veth0 # that of the round before is still open
		# shellcheck disable=SC2086 # options are words
		background netracker log --json $options
		reader=$BACKGROUND_PID LOG=$BACKGROUND_OUTPUT
		[[ $options != --all ]] || wait_for is_followed
		[[ $options == --all ]] || wait_for is_read
		background peer client connect "$SERVER4" 8000
		wait_for grep --quiet . "$BACKGROUND_OUTPUT"
		netracker detach --quiet veth0
		ends "$reader" 0
		assert_equal "records of what was alive" "$(grep -c '"dport":8000,.*"state":"S1"' "$LOG")" 1
		grep --quiet 'netracker: the last interface was detached' "$LOG" || fail "$(<"$LOG")"
	done
}

@test "who is told to end as the last interface is detached still shows what nobody else can" {
	local options
	background peer server serve 8000
	wait_for listening server 8000
	for options in '' --numeric; do
		netracker attach --quiet --no-adopt veth0 # that of the round before is still open
		# shellcheck disable=SC2086 # options are words
		follow $options
		background peer client connect "$SERVER4" 8000
		wait_for grep --quiet . "$BACKGROUND_OUTPUT"
		# It does not look before all is over, as where a CPU is busy.
		kill -STOP "${BACKGROUND_PIDS[-2]}"
		netracker detach --quiet veth0
		kill -TERM "${BACKGROUND_PIDS[-2]}"
		kill -CONT "${BACKGROUND_PIDS[-2]}"
		ends "${BACKGROUND_PIDS[-2]}" 143
		assert_equal "records of what was alive" "$(grep -c '"dport":8000,.*"state":"S1"' "$LOG")" 1
	done
}

@test "who waits for the first interface shows what it has seen, however short that was" {
	local i reader
	netracker detach --quiet veth0
	for i in 0 2 4 6 8; do
		background netracker log --json --wait
		reader=$BACKGROUND_PID LOG=$BACKGROUND_OUTPUT
		wait_for grep --quiet 'waiting for' "$LOG"
		sleep "0.$i" # whenever it looks
		netracker attach --quiet veth0
		refused 1
		netracker detach --quiet veth0
		ends "$reader" 0
		has_ours "$LOG" 1
	done
}

@test "a time of day that is wrong is set right by who reads" {
	refused 1
	bpftool map update pinned "$VIEWS/boot" key 0 0 0 0 value 0 0 0 0 0 0 0 0
	assert_status 0 netracker log --json --no-follow
	(($(date +%s) - $(date --date="$(jq --raw-output .ts <<<"$stdout")" +%s) < 60)) || fail "$stdout"
}

@test "views that attach puts into the place of those that are read: nothing is lost or shown twice, and there is still one reader" {
	follow
	refused 2
	wait_for has_ours "$LOG" 2
	rm "$VIEWS/metrics"
	netracker attach --quiet veth0
	refused 2
	wait_for has_ours "$LOG" 4
	wait_for is_read
	assert_status 1 netracker log --no-follow
	kill "$BACKGROUND_PID"
	ends "$BACKGROUND_PID" 143
	assert_equal "left" "$(left)" 0
}

@test "a record that somebody is still writing is waited for, not run after, and views that change meanwhile are seen" {
	local value
	# Each reading has a dd, which leaves a line.
	mkdir "$BATS_TEST_TMPDIR/awk"
	printf '%s\n' '#!/bin/sh' "echo >>'$BATS_TEST_TMPDIR/readings'" "exec $(command -v dd) \"\$@\"" >"$BATS_TEST_TMPDIR/awk/dd"
	chmod +x "$BATS_TEST_TMPDIR/awk/dd"
	follow
	refused 2
	wait_for has_ours "$LOG" 2
	# A number is taken, and nothing written: 3 is the count, in the order of this machine.
	value=$(python3 -c 'import struct; print(*struct.pack("=Q56x", 3))')
	# shellcheck disable=SC2086 # bytes are words
	bpftool map update pinned "$PINS/nt_log_head" key 0 0 0 0 value $value
	: >"$BATS_TEST_TMPDIR/readings"
	wait_for test -s "$BATS_TEST_TMPDIR/readings"
	still_runs "$BACKGROUND_PID" 2
	value=$(wc -l <"$BATS_TEST_TMPDIR/readings")
	((value <= 40)) || fail "$value readings of nothing in two seconds"
	rm "$VIEWS/metrics"
	netracker attach --quiet veth0
	wait_for is_read
	kill "$BACKGROUND_PID"
	ends "$BACKGROUND_PID" 143
	assert_equal "words" "$(<"$LOG.words")" ''
}

# share: let the group of nobody read the log.
share() {
	chgrp 65534 "$VIEWS" "$VIEWS"/{log,log.json,unread}
	chmod 750 "$VIEWS"
	chmod 440 "$VIEWS"/{log,log.json,unread}
}

# as_member COMMAND…: as nobody, who is in that group, and may do no more than to read this tree.
as_member() {
	setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
}

@test "members of the group need no root, and what they cannot set back is said" {
	share
	assert_equal "left" "$(left)" 0
	refused 300
	small_disk
	chmod 777 "$SMALL"
	# shellcheck disable=SC2016 # for the inner shell
	assert_status 1 as_member bash -c 'exec "$@" >"$0"' "$SMALL/log" "$NETRACKER" log --json --no-follow
	assert_says 'come again with those of the same piece that have been'
	left >/dev/null
	assert_equal "records" "$(keys "$SMALL/log" "$BATS_TEST_TMPDIR/left" | uniq | wc -l)" 300
	refused 200
	assert_status 0 as_member "$NETRACKER" log --json -n 20
	assert_says 'the last records are shown again'
	assert_status 0 as_member "$NETRACKER" log --json --no-follow
	assert_equal "rows" "$(wc -l <<<"$stdout")" 200
	assert_status 4 as_member "$NETRACKER" log --consumer other
}

# still_runs PID SECONDS: for so long.
still_runs() {
	! timeout "$2" tail --pid="$1" -f /dev/null || fail "it has ended: $(<"$LOG.words")"
}

# as_powerless [OPTION…]: netracker log --json OPTION… into $LOG as a root that can do no more than what files allow, from where it may be.
as_powerless() {
	local command=$BATS_TEST_TMPDIR/installed/usr/bin/netracker
	[[ ! -v NETRACKER_COMMAND ]] || command=$NETRACKER_COMMAND
	[[ -e $command ]] || make --silent -C "$ROOT" install-built DESTDIR="$BATS_TEST_TMPDIR/installed" PREFIX=/usr
	: >"$LOG.words"
	# shellcheck disable=SC2016 # for the inner shell
	background bash -c 'exec "$@" >"$0" 2>"$0.words"' "$LOG" setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$command" log --json "$@"
}

@test "views that are closed for a while, as attach is making others, are waited for" {
	local mode
	requires tool_setpriv
	mode=$(stat --format=%a "$VIEWS")
	as_powerless
	wait_for is_read
	refused 2
	wait_for has_ours "$LOG" 2
	chmod 0 "$VIEWS"
	still_runs "$BACKGROUND_PID" 2
	chmod "$mode" "$VIEWS"
	refused 2
	wait_for has_ours "$LOG" 4
	kill "$BACKGROUND_PID"
	ends "$BACKGROUND_PID" 143
	refused 3
	chmod 0 "$VIEWS"
	as_powerless --no-follow
	still_runs "$BACKGROUND_PID" 1
	chmod "$mode" "$VIEWS"
	ends "$BACKGROUND_PID" 0
	has_ours "$LOG" 3
	assert_equal "words" "$(<"$LOG.words")" ''
}

@test "who cannot go back to where a reader was killed says what may be missing, and root shows it" {
	refused 3000
	into_pipe
	head -c 400000 <&9 >"$BATS_TEST_TMPDIR/first"
	wait_for pipe_full "$BATS_TEST_TMPDIR/pipe"
	kill -KILL -- "-$BACKGROUND_PID"
	wait "$BACKGROUND_PID" || true
	out_of_pipe "$BATS_TEST_TMPDIR/rest"
	cat "$BATS_TEST_TMPDIR/rest" >>"$BATS_TEST_TMPDIR/first"
	share
	assert_status 0 as_member "$NETRACKER" log --json --no-follow
	assert_equal "sentences" "$(grep -c "may not have been shown; 'netracker log' by root shows them\$" "$BATS_TEST_TMPDIR/stderr")" 1
	left >/dev/null
	assert_equal "records shown" "$(keys "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/left" | uniq | wc -l)" 3000
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

@test "an output that is stuck does not keep the reader from ending, and what it had is still there" {
	local options
	for options in '' --numeric; do
		refused 400
		# shellcheck disable=SC2086 # options are words
		into_pipe $options
		kill -TERM "$BACKGROUND_PID"
		ends "$BACKGROUND_PID" 1
		grep --quiet 'nobody takes it; .*; some may have been shown; ' "$BATS_TEST_TMPDIR/pipe.words" || fail "$(<"$BATS_TEST_TMPDIR/pipe.words")"
		out_of_pipe "$LOG"
		rm "$BATS_TEST_TMPDIR/pipe"
		left >/dev/null
		assert_equal "records" "$(keys "$LOG" "$BATS_TEST_TMPDIR/left" | uniq | wc -l)" 400
	done
}

# without_time: of stats. The second since when it counts is rounded.
without_time() {
	sed 's/^Since [^ ]* //'
}

@test "what the environment can do to bash and the tools changes nothing" {
	local setting verb want
	local -a words
	refused 3
	for verb in stats 'list --json' config 'log --help' version; do
		read -r -a words <<<"$verb"
		want=$(netracker "${words[@]}" 2>&1 | without_time)
		for setting in POSIXLY_CORRECT=1 SHELLOPTS=noclobber:noglob _POSIX2_VERSION=200112 TMPDIR=/nowhere HOME= CDPATH=/:/usr GLOBIGNORE='*' \
			GREP_OPTIONS=--invert-match JQ_COLORS=x AWKPATH=/nowhere GAWK_READ_TIMEOUT=1 BLOCKSIZE=1 'BASH_FUNC_jq%%=() { echo wrong; }' LC_ALL=C.UTF-8; do
			assert_equal "$verb with $setting" "$(env "$setting" nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" "${words[@]}" 2>&1 | without_time)" "$want"
		done
	done
}
