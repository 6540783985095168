#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154 # helpers set them
#
# status, list, stats, config and log on a server's interface where connections are open, refused, reset and unanswered.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	new_pair
	netracker attach --quiet veth0
}

# open PORT: a connection that stays open; the server's.
open() {
	background peer server serve "$1"
	wait_for listening server "$1"
	background peer client connect "$SERVER4" "$1"
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
}

# refused, reset: one connection that ends so.
refused() {
	peer client connect "$SERVER4" 9 close >/dev/null 2>&1 || true
}

reset() {
	peer client connect "$SERVER4" "$1" reset >/dev/null
}

# figure PATH: of stats.
figure() {
	netracker stats --json | jq "$1"
}

figure_is() {
	assert_equal "$1" "$(figure "$1")" "$2"
}

# on_terminal COLUMNS COMMAND…: its standard output is a terminal so wide; prints what came there.
on_terminal() {
	python3 -c 'import fcntl, os, pty, struct, subprocess, sys, termios
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, int(sys.argv[1]), 0, 0))
status = subprocess.run(sys.argv[2:], stdout=slave).returncode
os.set_blocking(master, False)
os.write(1, os.read(master, 4096))
sys.exit(status)' "$@"
}

@test "list and log: as many columns as fit into the terminal" {
	local verb
	open 8000
	refused
	for verb in list "log --all --no-follow"; do
		# shellcheck disable=SC2086 # words
		NO_COLOR=1 assert_status 0 on_terminal 200 "$NETRACKER" $verb
		[[ $stdout == *' COMM'* && $stdout == *' DIR'* ]] || fail "$verb, 200 columns: $stdout"
		assert_equal "words of $verb" "$(<"$BATS_TEST_TMPDIR/stderr")" ''
		# shellcheck disable=SC2086 # words
		NO_COLOR=1 assert_status 0 on_terminal 80 "$NETRACKER" $verb
		[[ $stdout != *' COMM'* && $stdout == *ORIGINATOR* ]] || fail "$verb, 80 columns: $stdout"
		# Of a terminal that does not know how wide it is, it is the same.
		# shellcheck disable=SC2086 # words
		NO_COLOR=1 assert_status 0 on_terminal 0 "$NETRACKER" $verb
		[[ $stdout != *' COMM'* && $stdout == *ORIGINATOR* ]] || fail "$verb, no size: $stdout"
		assert_equal "words of $verb" "$(<"$BATS_TEST_TMPDIR/stderr")" ''
	done
}

@test "stats: each way to end is counted, and from a reset on anew; live connections are carried over" {
	open 8000
	refused
	reset 8000
	wait_for figure_is .ended.RSTO 1
	assert_equal "REJ, failed, live, attempts" "$(netracker stats --json | jq --compact-output '[.ended.REJ, .failed, .live, .attempts]')" '[1,2,1,3]'
	assert_status 0 netracker stats
	assert_says '3 connections, 2 failed, 1 alive'
	[[ $stdout =~ 1\ +REJ ]] || fail "$stdout"
	assert_status 0 netracker stats --reset
	refused
	wait_for figure_is .ended.REJ 1
	assert_equal "after the reset" "$(netracker stats --json | jq --compact-output '[.attempts, .carried_over, .live, .ended.RSTO]')" '[1,1,1,0]'
	assert_status 2 netracker stats --reset --json
}

@test "stats --reset: a file that says what is counted from, for root alone; it goes with the last detach" {
	local file
	refused
	wait_for figure_is .ended.REJ 1
	assert_status 0 netracker stats --reset
	assert_says 'counting from now on'
	file=$(echo "$NETRACKER_RUN"/*)
	assert_equal "name" "$file" "$NETRACKER_RUN/baseline-$(stat --format=%d /sys/fs/bpf).json"
	assert_equal "modes" "$(stat --format=%a "$NETRACKER_RUN" "$file" | xargs)" '700 600'
	assert_equal "counters" "$(jq --compact-output '[.counters.attempts, .counters.ended.REJ]' "$file")" '[1,1]'
	assert_equal "map" "$(jq .maps.nt_counters "$file")" "$(bpftool --json map show pinned "$PINS/nt_counters" | jq .id)"
	netracker attach --quiet veth0
	figure_is .attempts 0
	echo '{"maps":' >"$file"
	assert_status 1 netracker stats
	assert_says "$file does not tell what to count from"
	assert_equal "lines" "$(wc -l <<<"$output")" 1
	assert_status 0 netracker stats --reset
	figure_is .attempts 0
	netracker detach --quiet veth0
	[[ ! -e $NETRACKER_RUN ]] || fail "$(find "$NETRACKER_RUN")"
}

@test "stats --reset: what is no baseline any more is refused, whatever it is" {
	local file kept change
	assert_status 0 netracker stats --reset
	file=$(echo "$NETRACKER_RUN"/*)
	kept=$(<"$file")
	for change in empty null '{}' 'del(.counters)' 'del(.time_ns)' '.live = "x"' '.counters = 5' '.in.duration = 1' '.time_ns = 1e30' '., .'; do
		case $change in
			empty) : >"$file" ;;
			null | '{}') echo "$change" >"$file" ;;
			*) jq "$change" <<<"$kept" >"$file" ;;
		esac
		assert_status 1 netracker stats
		assert_says "$file does not tell what to count from; 'netracker stats --reset' writes it anew"
		assert_equal "lines for '$change'" "$(wc -l <<<"$output")" 1
	done
	rm "$file"
	mkdir "$file"
	assert_status 1 netracker stats
	assert_says "$file is no file"
	assert_status 1 netracker stats --reset
	assert_says "cannot write $file: it is no file; nothing was reset"
	# It holds up no detach.
	assert_status 0 netracker detach --quiet veth0
	assert_says "$file cannot be removed"
	assert_clean
}

@test "stats --reset: files, links and directories of others stay as they are" {
	local name
	mkdir "$NETRACKER_RUN"
	echo theirs >"$BATS_TEST_TMPDIR/theirs"
	name=$NETRACKER_RUN/baseline-$(stat --format=%d /sys/fs/bpf).json
	ln -s "$BATS_TEST_TMPDIR/theirs" "$name.new"
	assert_status 0 netracker stats --reset
	assert_equal "what the link leads to" "$(<"$BATS_TEST_TMPDIR/theirs")" theirs
	assert_status 0 netracker detach --quiet veth0
	assert_equal "what is left" "$(find "$NETRACKER_RUN" -mindepth 1)" "$name.new"
	rm "$name.new"
	netracker attach --quiet veth0
	assert_status 0 netracker detach --quiet veth0
	[[ -d $NETRACKER_RUN ]] || fail "a directory that others may enter was removed"
}

# written_since N: as if so many records had been written in all.
written_since() {
	local hex
	printf -v hex '%016x' "$1"
	# shellcheck disable=SC2046 # bytes are words
	bpftool map update pinned "$PINS/nt_log_head" key 0 0 0 0 value hex $(for i in {14..0..-2}; do echo "${hex:i:2}"; done) $(printf '00 %.0s' {1..56})
}

@test "stats --reset: losses of the log before it do not count" {
	written_since 70000
	figure_is .losses.log $((70000 - 65536))
	assert_status 0 netracker stats --reset
	figure_is .losses.log 0
	written_since 70001
	figure_is .losses.log 1
}

@test "status: what each consumer of the log has not read, and what it lost" {
	refused
	refused
	wait_for figure_is .logged 2
	library pin_consumer "$ROOT/view" other
	assert_equal "other's" "$(grep -c state=REJ "$VIEWS/consumers/other/log")" 2
	refused
	wait_for figure_is .logged 3
	assert_equal "log" "$(netracker status --json | jq --compact-output .log)" \
		'{"records":3,"bytes":864,"size":18874368,"lost":0,"max_records":65536,"consumers":[{"name":"other","records":1,"bytes":288,"lost":0}]}'
	written_since 65540
	assert_status 0 netracker status
	assert_says 'log        65536 records unread; room for 65536 in 18 MiB: 100% full'
	assert_says '           other: 65536 records unread, 2 LOST'
	assert_says 'LOST       4 records, overwritten before they were read'
}

@test "log.json knows the time of day, and again after an attach if the clock was set meanwhile" {
	local before
	before=$EPOCHSECONDS
	refused
	wait_for figure_is .logged 1
	jq --exit-status --argjson before "$before" '.ts | sub("\\.[0-9]+Z"; "Z") | fromdate | . >= $before and . <= now' "$VIEWS/log.json"
	# As if it had been 1970.
	bpftool map update pinned "$VIEWS/boot" key 0 0 0 0 value 0 0 0 0 0 0 0 0
	netracker attach --quiet veth0
	refused
	wait_for figure_is .logged 2
	jq --exit-status --argjson before "$before" '.ts | sub("\\.[0-9]+Z"; "Z") | fromdate | . >= $before and . <= now' "$VIEWS/log.json"
}

@test "trackers with a BPF file system each have a log each" {
	refused
	wait_for figure_is .logged 1
	mount -t bpf bpf /sys/fs/bpf
	in_netns client "$NETRACKER" attach --quiet lo
	in_netns client ip address add 192.0.2.77/32 dev lo
	peer client connect 192.0.2.77 9 close >/dev/null 2>&1 || true
	wait_for grep --quiet '^1 ' "$VIEWS/unread"
	assert_equal "there" "$(sed -E 's/.* -> ([^ ]*) .*/\1/' "$VIEWS/log")" 192.0.2.77:9
	umount /sys/fs/bpf
	assert_equal "here" "$(sed -E 's/.* -> ([^ ]*) .*/\1/' "$VIEWS/log")" "$SERVER4:9"
}

@test "stats --reset: what it has kept is not believed of another load of the tracker" {
	local file
	refused
	wait_for figure_is .ended.REJ 1
	netracker stats --reset 2>/dev/null
	file=$(echo "$NETRACKER_RUN"/*)
	cp "$file" "$BATS_TEST_TMPDIR/kept"
	netracker detach --quiet veth0
	netracker attach --quiet veth0
	mkdir "$NETRACKER_RUN"
	cp "$BATS_TEST_TMPDIR/kept" "$file"
	refused
	refused
	wait_for figure_is .ended.REJ 2
	netracker stats --reset 2>/dev/null
	figure_is .attempts 0
}

@test "stats --reset: trackers with a BPF file system each have a file each" {
	refused
	wait_for figure_is .ended.REJ 1
	mount -t bpf bpf /sys/fs/bpf
	in_netns client "$NETRACKER" attach --quiet lo
	in_netns client "$NETRACKER" stats --reset 2>/dev/null
	assert_equal "files" "$(find "$NETRACKER_RUN" -type f | wc -l)" 1
	umount /sys/fs/bpf
	figure_is .attempts 1
	netracker stats --reset 2>/dev/null
	figure_is .attempts 0
	assert_equal "files" "$(find "$NETRACKER_RUN" -type f | wc -l)" 2
}

@test "stats --reset that cannot be kept: a sentence, and nothing was reset" {
	refused
	wait_for figure_is .ended.REJ 1
	: >"$NETRACKER_RUN"
	assert_status 1 netracker stats --reset
	assert_says "cannot write $NETRACKER_RUN/baseline-"
	assert_says 'nothing was reset'
	figure_is .attempts 1
}

@test "stats: durations and handshakes have histograms by direction" {
	open 8000
	refused
	wait_for figure_is .ended.REJ 1
	assert_equal "durations in, out" "$(netracker stats --json | jq --compact-output '[[.in, .out][] | .duration | map(.count) | add // 0]')" '[1,0]'
	assert_equal "handshakes in" "$(figure '.in.handshake | map(.count) | add')" 1
	assert_status 0 netracker stats
	assert_says 'HANDSHAKE, incoming'
}

@test "stats: segments that this host's sockets have sent, and sent again" {
	background peer server serve 8000
	wait_for listening server 8000
	peer client connect "$SERVER4" 8000 close
	wait_for figure_is .ended.SF 1
	assert_equal "sent" "$(figure .in.segments_sent)" "$(netracker log --all --no-follow --json | jq .resp_segs)"
	figure_is .in.segments_retransmitted 0
	figure_is .out.segments_sent 0
	assert_status 0 netracker stats
	assert_says 'SENT BY THIS HOST'
	assert_says 'of them again: 0 %'
	netracker stats --reset
	figure_is .in.segments_sent 0
	assert_status 0 netracker stats
	[[ $stdout != *'SENT BY THIS HOST'* ]] || fail "$stdout"
}

gave_up() {
	(($(figure .ended.S0) > 0))
}

@test "config: what is set is shown, obeyed and checked" {
	assert_status 0 netracker config
	assert_equal "defaults" "$stdout" $'handshake_timeout=75\nclose_timeout=120\nidle_timeout=8100\ninterim=0\nlog=on\ntrace=auto\nclosers=on\nonly=\nexclude='
	assert_status 0 netracker config handshake_timeout=1 log=off
	assert_status 0 netracker config
	assert_equal "settings" "$stdout" $'handshake_timeout=1\nclose_timeout=120\nidle_timeout=8100\ninterim=0\nlog=off\ntrace=auto\nclosers=on\nonly=\nexclude='
	# Nobody answers: the neighbour is made up. Each SYN that comes after a time-out is an attempt of its own.
	in_netns server ip neighbour add "$NOBODY4" lladdr 02:00:00:00:00:99 dev veth0
	background peer server connect "$NOBODY4" 80
	wait_for gave_up
	figure_is .logged 0
	for word in handshake_timeout=0 handshake_timeout=x close_timeout= idle_timeout=x idle_timeout= interim=x interim=86401 log=maybe trace=all trace= speed=9 log only=x only=0 only=70000 only=9-8 'only=80,' only=1.2.3 exclude=10.0.0.0/33 exclude=fe80::1%eth0 exclude=2001:db8::1:80x; do
		assert_status 2 netracker config "$word"
	done
}

# burst N: connections that are refused, one after the other, from the beginning of a second of the kernel's clock on.
burst() {
	in_netns client taskset --cpu-list 0 python3 -c '
import socket, sys, time
def now(): return time.clock_gettime(time.CLOCK_BOOTTIME)
time.sleep(1 - now() % 1 + 0.01)
for _ in range(int(sys.argv[2])):
    try:
        socket.create_connection((sys.argv[1], 9))
    except OSError:
        pass' "$SERVER4" "$1"
}

# seconds: how many records the trace has of each second.
seconds() {
	sed -nE 's/^.* ([0-9]+)\.[0-9]+: bpf_trace_printk: netracker: .* state=REJ .*/\1/p' "$TRACE/trace" | uniq --count | awk '{ print $1 }' | paste -sd ' '
}

# said_left_out N
said_left_out() {
	grep --quiet "netracker: $1 more connections ended in that second, which are in the log alone" "$TRACE/trace"
}

@test "config trace=auto: 300 records a second are in the trace, then how many more there were; the log has all" {
	local n=600 tries
	mkdir "$TRACE"
	echo boot >"$TRACE/trace_clock"
	# What the tracker says itself has no address in it.
	echo "bpf_string ~ \"netracker:* $SERVER4:*\" || bpf_string ~ \"netracker: * more connections*\"" \
		>"$TRACE/events/bpf_trace/bpf_trace_printk/filter"
	echo 1 >"$TRACE/events/bpf_trace/bpf_trace_printk/enable"
	# On a machine that is busy it may take longer than what is left of the second.
	for tries in {1..10}; do
		echo >"$TRACE/trace"
		burst "$n"
		[[ $(seconds) != 300 ]] || break
	done
	assert_equal "records of each second" "$(seconds)" 300
	burst 1
	wait_for said_left_out 300
	assert_equal "records written, of $tries bursts" "$(figure .logged)" $((tries * n + 1))
	assert_equal "records to read" "$(sed -n 1p "$VIEWS/unread" | cut -d ' ' -f 1)" $((tries * n + 1))
}

@test "config trace=on, off: all records are in the trace, none is; attach leaves it so" {
	netracker config trace=on
	netracker attach --quiet veth0
	assert_equal setting "$(netracker config | grep '^trace=')" trace=on
	trace_start
	burst 600
	wait_for_records 600 ' state=REJ '
	netracker config trace=off
	netracker attach --quiet veth0
	assert_equal setting "$(netracker config | grep '^trace=')" trace=off
	burst 600
	wait_for figure_is .logged 1200
	assert_equal "records in the trace" "$(records | wc -l)" 600
	assert_equal "records to read" "$(sed -n 1p "$VIEWS/unread")" '1200 0'
}

@test "list: what is open, and only what is asked for" {
	local sport
	open 8000
	read -r _ sport <"$BACKGROUND_OUTPUT"
	open 8001
	assert_status 0 netracker list --no-header
	assert_equal "rows" "$(wc -l <<<"$stdout")" 2
	assert_status 0 netracker list --json --port 8000
	assert_equal "port 8000" "$(jq --compact-output '[.src, .sport, .dst, .dport, .family, .dir, .ifname, .state]' <<<"$stdout")" \
		"[\"$CLIENT4\",$sport,\"$SERVER4\",8000,4,\"in\",\"veth0\",\"S1\"]"
	jq --exit-status '.age_ns > 0 and .syn_rtt_ns > 0 and .ack_rtt_ns > 0' <<<"$stdout" >/dev/null || fail "$stdout"
	for words in '-6' '--port 9' '--addr 192.0.2.0/24' '--state S2' '--iface lo' '-n 0'; do
		# shellcheck disable=SC2086 # options are words
		assert_status 0 netracker list --no-header $words
		assert_equal "rows of $words" "$stdout" ''
	done
	assert_equal "by port" "$(netracker list --json --sort port | jq .dport | paste -sd ' ')" '8000 8001'
	assert_equal "oldest" "$(netracker list --json --sort age --max-rows 1 | jq .dport)" 8000
}

# rests N: so many connections are at rest.
rests() {
	[[ $(at_rest) == "$1" ]]
}

@test "list: a connection that goes to rest between the two readings is there once" {
	local form view
	local -A rows
	open 8000
	wait_for rests 1
	for view in records{,.json}; do
		# What one has found who read those in motion a moment ago.
		sed -E 's/(age_ns"?[:=])[0-9]+/\11/' "$VIEWS/$view" >"$BATS_TEST_TMPDIR/$view"
		mount --bind "$BATS_TEST_TMPDIR/$view" "$VIEWS/handshake_$view"
	done
	for form in --no-header '--json' '--json --numeric' '--json --port 8000' '--sort port --no-header' '--format csv --no-header'; do
		# shellcheck disable=SC2086 # options are words
		rows[$form]=$(netracker list $form 2>&1)
	done
	umount "$VIEWS"/handshake_records{,.json}
	for form in "${!rows[@]}"; do
		assert_equal "rows of $form" "$(wc -l <<<"${rows[$form]}")" 1
	done
}

@test "list: as many rows as are wanted, also where SIGPIPE is ignored, as in a unit" {
	local form
	open 8000
	wait_for rests 1
	# More than a pipe holds.
	python3 "$ROOT/tests/clone_entries.py" "$PINS/conn_map" 5000 12
	trap '' PIPE
	for form in '--no-header -n 1' '--json -n 1' '--json --numeric -n 1' '--sort age --no-header -n 1'; do
		# shellcheck disable=SC2086 # options are words
		assert_status 0 netracker list $form
		assert_equal "rows and words of $form" "$(wc -l <<<"$output")" 1
	done
}

# without_age: objects on standard input with sorted keys, without what differs from one look to the next.
without_age() {
	jq --sort-keys --compact-output 'del(.age_ns)' | sort
}

# started: when connections began, in seconds, from the objects of list --json with these options.
started() {
	netracker list --json "$@" | jq --raw-output '.ts[:19] + "Z" | fromdate'
}

@test "list --json: the time of day is that of the clock on the wall, which may have been set meanwhile" {
	local before=$EPOCHSECONDS form
	open 8000
	for form in '' '--port 8000'; do
		bpftool map update pinned "$VIEWS/boot" key 0 0 0 0 value 0 0 0 0 0 0 0 0
		# shellcheck disable=SC2086 # options are words
		(($(started $form) >= before - 1 && $(started $form) <= EPOCHSECONDS)) || fail "$form: $(netracker list --json $form); it was $before"
	done
}

# same_objects OPTION…: list --json has the same two, whichever way they come.
same_objects() {
	local all
	all=$(netracker list --json | without_age)
	assert_equal "users" "$(jq --raw-output .user <<<"$all" | xargs)" 'root root'
	assert_equal "with $*" "$(netracker list --json "$@" | without_age)" "$all"
}

@test "list --json: all connections are the same objects as those that are picked, with the names of their owners" {
	open 8000
	open 8001
	# While the machine is very busy they may differ in the time of day.
	wait_for same_objects --addr 0.0.0.0/0
	wait_for same_objects --sort port
}

@test "list --numeric: no name of a user or an owner, in no form" {
	local form uid cgroup
	open 8000
	read -r uid cgroup < <(netracker list --json | jq --raw-output '"\(.uid) \(.cgroup)"')
	for form in '' '--port 8000' '--sort age'; do
		# shellcheck disable=SC2086 # options are words
		assert_equal "JSON $form" "$(netracker list --json --numeric $form | jq --compact-output '[.uid, .cgroup, .user, .owner]')" "[$uid,$cgroup,null,null]"
	done
	assert_equal "table" "$(netracker list --wide -N | awk 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i } NR == 2 { print $column["USER"], $column["OWNER"] }')" \
		"$uid $cgroup"
}

@test "list: a view that cannot be read to its end is no list" {
	local form
	open 8000
	rm "$VIEWS/records"
	mkdir "$VIEWS/records"
	for form in '' '--sort age' '--json --port 8000'; do
		# shellcheck disable=SC2086 # options are words
		assert_status 1 netracker list $form
		assert_says 'netracker: the kernel ended in the middle of the list'
		assert_equal "lines of $form" "$(wc -l <"$BATS_TEST_TMPDIR/stderr")" 1
	done
	rmdir "$VIEWS/records"
}

@test "status: what is attached, who else is there, how full it is; exit status 3 when nothing is" {
	open 8000
	foreign_filter ingress 7
	assert_status 0 netracker status --json
	assert_equal "interface" "$(jq --compact-output '.interfaces[] | [.ifname, .state, .ingress.others[0].pref, .ingress.others[0].place]' <<<"$stdout")" \
		'["veth0","attached",7,"before"]'
	assert_equal "live" "$(jq .tables.live <<<"$stdout")" 1
	assert_status 0 netracker status
	assert_says 'veth0: attached since'
	assert_says 'before it: bpf'
	[[ $output != *jq:* ]] || fail "a filter without a name is not understood: $output"
	netracker detach --quiet --all
	assert_status 3 netracker status
	assert_equal "data" "$stdout" ''
}

@test "log: one reader at a time, and one that is killed leaves nothing wrong" {
	local reader
	background netracker log --json
	reader=$BACKGROUND_PID
	wait_for is_read
	assert_status 1 netracker log --no-follow
	assert_says 'being read by somebody else'
	kill -KILL -- "-$reader"
	wait "$reader" || true
	refused
	wait_for figure_is .ended.REJ 1
	assert_status 0 netracker log --no-follow --json --addr "$SERVER4"
	[[ $stdout == *'"state":"REJ"'* ]] || fail "the record is not there: $stdout"
}

@test "list ends quietly when nobody listens any more" {
	open 8000
	netracker list 2>"$BATS_TEST_TMPDIR/words" | true
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/words")" ''
}

@test "who prints nothing does its work with the output closed" {
	assert_status 0 in_netns server bash -c "'$NETRACKER' config log=off >&-"
	assert_equal log "$(netracker config | grep '^log=')" log=off
	assert_status 0 in_netns server bash -c "'$NETRACKER' stats --reset >&-"
	assert_status 1 in_netns server bash -c "'$NETRACKER' stats >&-"
	assert_says 'standard output is closed'
}

@test "detach --dry-run shows what a detach would do to the interface" {
	assert_status 0 netracker detach --dry-run veth0
	[[ $output == *'tc filter del dev veth0 ingress'*'tc filter del dev veth0 egress'*'tc qdisc del dev veth0 clsact'* ]] || fail "$output"
	assert_status 0 netracker status
}
