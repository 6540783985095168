#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the tracker makes of it when things are taken away from under it, when its tables or its log are full, and when both CPUs are at
# the same connection at once. docs/reliability.md says what each of these tests promises.

bats_require_minimum_version 1.5.0
load helpers

readonly VIEWS=/sys/fs/bpf/netracker

# hold N [M]: N connections that stay open, of which M go to rest.
hold() {
	background in_netns client python3 -c '
import socket, sys, time
held = [socket.create_connection((sys.argv[1], 8000)) for _ in range(int(sys.argv[2]))]
time.sleep(600)' "$SERVER4" "$1"
	wait_for test_live "${2-$1}"
}

is_lost() {
	assert_equal "lost" "$(counter conn_full)" "$1"
}

test_live() {
	assert_equal "live connections" "$(at_rest)" "$1"
}

request() {
	in_netns client curl --silent --fail --max-time 60 "http://$SERVER4:8000/$1" >/dev/null
}

# requests COUNT: all of them on connections of their own.
requests() {
	in_netns client python3 -c '
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.create_connection((sys.argv[1], 8000)) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while s.recv(4096):
            pass' "$SERVER4" "$1"
}

# tracked: a client and an HTTP server, the tracker on the server's veth0 by the command.
tracked() {
	requires tool_nginx tool_curl object
	new_pair
	http_server server
	in_server attach -q veth0
}

in_server() {
	nsenter --net="$NETNS_DIR/server" -- "$NETRACKER" "$@"
}

# The last user has gone: nothing of the tracker is left.
assert_detached() {
	assert_equal "pins" "$(find /sys/fs/bpf -type f ! -name '*.debug')" ""
}

@test "an interface is deleted under its connections: detach gives each its record and leaves nothing" {
	tracked
	trace_start
	hold 20
	in_netns server ip link del veth0
	assert_equal "alive" "$(at_rest)" 20
	in_server detach -q veth0
	wait_for_records 20 ' state=S1 '
	assert_detached
}

@test "an interface moves to another namespace: its connections live on, attach takes it on there" {
	tracked
	trace_start
	hold 5
	new_netns elsewhere
	in_netns server ip link set veth0 netns "$NETNS_DIR/elsewhere"
	in_netns elsewhere ip address add "$SERVER4/24" dev veth0
	in_netns elsewhere ip link set veth0 up
	run -3 --separate-stderr in_server status --json
	assert_equal "veth0" "$(jq --raw-output '.interfaces[].state' <<<"$output")" gone
	"$NETRACKER" attach -q --netns "$NETNS_DIR/elsewhere" veth0
	in_netns client curl --silent --max-time 20 "http://$SERVER4:8000/" >/dev/null || true # nobody listens there
	wait_for_records 1 ' state=REJ dir=in '
	"$NETRACKER" detach -q --all
	wait_for_records 5 ' state=S1 dir=in '
	assert_detached
}

@test "bpffs is unmounted: connections go on to be recorded, attach begins anew, detach leaves nothing" {
	tracked
	trace_start
	umount /sys/fs/bpf
	mount -t bpf bpf /sys/fs/bpf
	request ''
	wait_for_records 1 ' state=SF '
	run -3 in_server list
	in_server attach -q veth0
	request ''
	wait_for_records 2 ' state=SF '
	assert_equal "connections in the new maps" "$(counter ended.SF)" 1
	in_server detach -q veth0
	assert_detached
}

@test "an interface is renamed: it goes on being tracked, and detach by its new name works" {
	tracked
	trace_start
	in_netns server ip link set veth0 down
	in_netns server ip link set veth0 name renamed0
	in_netns server ip address show dev renamed0 >/dev/null
	in_netns server ip link set renamed0 up
	in_netns server ip address replace "$SERVER4/24" dev renamed0
	request ''
	wait_for_records 1 ' state=SF '
	in_server detach -q renamed0
	assert_detached
}

@test "an interface is set down and up: open connections keep their records" {
	tracked
	trace_start
	background in_netns client python3 -c '
import os, socket, sys, time
with socket.create_connection((sys.argv[1], 8000)) as s:
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    while s.recv(4096):
        pass' "$SERVER4" "$BATS_TEST_TMPDIR/up-again"
	wait_for test_live 1
	in_netns server ip link set veth0 down
	in_netns server ip link set veth0 up
	: >"$BATS_TEST_TMPDIR/up-again"
	request ''
	wait_for records_reach 2 ' state=SF '
	assert_conserved
}

# unread_is N: so many records wait for the log's consumer, none of them lost.
unread_is() {
	assert_equal "unread and lost" "$(sed -n 1p "$VIEWS/unread")" "$1 0"
}

@test "other tools of tracing do what they like: the log has all records" {
	local setting n=0
	tracked
	trace_start
	for setting in 'tracing_on 0' 'events/enable 0' 'trace -' 'events/bpf_trace/bpf_trace_printk/filter 0' 'trace_options raw' \
		'trace_options nocontext-info' 'set_event_pid 1' 'trace_clock global'; do
		echo "${setting#* }" >"$TRACE/${setting% *}"
		request ''
		n=$((n + 1))
		wait_for unread_is "$n"
	done
	assert_equal "records in the log" "$(grep -c "^netracker: $CLIENT4:.* state=SF " "$VIEWS/log")" "$n"
	assert_conserved
}

# without_tracefs COMMAND…: in the server's namespace, where no tracefs is mounted and where none may be left so.
without_tracefs() {
	# shellcheck disable=SC2016 # for the inner shell
	in_netns server unshare --mount bash -euc '
		umount --recursive --lazy /sys/kernel/debug 2>/dev/null || true
		umount --lazy /sys/kernel/tracing
		"$@"
		! grep " tracefs " /proc/self/mounts' bash "$@"
}

@test "no tracefs is mounted: all works, and none is mounted" {
	requires tool_nginx tool_curl object
	new_pair
	http_server server
	without_tracefs "$NETRACKER" check
	without_tracefs "$NETRACKER" attach -q veth0
	request ''
	wait_for unread_is 1
	[[ $(without_tracefs cat "$VIEWS/log") == *' state=SF '* ]] || fail "no record"
	without_tracefs "$NETRACKER" status
	without_tracefs "$NETRACKER" detach -q veth0
	assert_detached
}

# follows: reads the log as its reader does, with its lock, and takes its time once there is something.
follows() {
	local unread
	exec {lock}<"$VIEWS/log"
	flock "$lock"
	echo ready
	while { read -r unread _ <"$VIEWS/unread"; } 2>/dev/null; do
		sleep 0.01
		((unread > 0)) || continue
		sleep 0.7
		cat "$VIEWS/log" 2>/dev/null || true
	done
}

@test "detach waits for who follows the log: the last records come" {
	tracked
	hold 5
	background follows
	wait_for grep --quiet ready "$BACKGROUND_OUTPUT"
	in_server detach -q veth0
	assert_detached
	wait "$BACKGROUND_PID"
	assert_equal "last records" "$(grep -c ' state=S1 ' "$BACKGROUND_OUTPUT")" 5
}

@test "detach waits no longer than two seconds for a reader that does not come, and says so" {
	local began
	tracked
	hold 5
	background flock "$VIEWS/log" sleep 600
	wait_for locked
	began=${EPOCHREALTIME/./}
	run --separate-stderr in_server detach -q veth0
	assert_equal "exit status" "$status" 0
	# shellcheck disable=SC2154 # run sets it
	[[ $stderr == *"the reader of $VIEWS/log has not come for the last 5 records"* ]] || fail "$stderr"
	((${EPOCHREALTIME/./} - began >= 2000000)) || fail "it did not wait"
	assert_detached
}

locked() {
	! flock --nonblock "$VIEWS/log" true
}

# small_tree WORD…: a copy of the sources, $SMALL, in which make is given these words.
small_tree() {
	SMALL=$BATS_TEST_TMPDIR/small
	mkdir "$SMALL"
	cp -a "$ROOT"/{Makefile,mk,scripts,view,VERSION,NeTracker.bpf.c,NeTracker*.h,tracker} "$SMALL/"
	make --silent --directory="$SMALL" "$@"
}

@test "conn_map full: new connections are lost and counted, those inside stay right, and there is room again" {
	requires tool_nginx object
	small_tree MAX_CONNECTIONS=50 NeTracker.bpf.o
	new_pair
	http_server server
	in_netns server tc qdisc add dev veth0 clsact
	in_netns server tc filter add dev veth0 ingress bpf obj "$SMALL/NeTracker.bpf.o" sec tc_ing
	in_netns server tc filter add dev veth0 egress bpf obj "$SMALL/NeTracker.bpf.o" sec tc_en
	trace_start
	hold 50
	hold 20 50
	wait_for is_lost 20
	requests 20 # which end before they would go to rest
	assert_equal "alive" "$(at_rest)" 50
	assert_equal "records" "$(records | wc -l)" 20
	kill -- "-${BACKGROUND_PIDS[-1]}" "-${BACKGROUND_PIDS[-2]}"
	wait_for test_live 0
	hold 5
	wait_for_records 70 ' state=SF '
	assert_conserved
}

@test "log overrun: records written = records read + records counted as lost, in a log of the size that make was told" {
	local text
	requires tool_nginx object
	small_tree LOG_RECORDS=1024 all
	new_pair
	http_server server
	in_netns server "$SMALL/scripts/netracker" attach -q veth0
	requests 3000
	assert_conserved
	assert_equal "records written" "$(counter logged)" 3000
	assert_equal "unread and lost" "$(sed -n 1p "$VIEWS/unread")" "1024 1976"
	assert_equal "status" "$(in_netns server "$SMALL/scripts/netracker" status --json | jq --compact-output '.log | [.records, .lost, .max_records]')" \
		'[1024,1976,1024]'
	text=$(<"$VIEWS/log")
	assert_equal "records read" "$(grep -c ' state=SF ' <<<"$text")" 1024
	assert_equal "lost, by the first line" "$(head -n 1 <<<"$text" | record_value lost_before)" 1976
	assert_equal "lost, by others" "$(grep -c lost_before <<<"$text")" 1
	# Another size is another layout.
	run -1 in_server attach -q veth0
	[[ $output == *"globals/nt_log holds records in the layout of another version"* ]] || fail "$output"
}

@test "two CPUs with the same tuples at once: 100,000 connections, each with one record" {
	requires object
	build bench/packets bench/empty.bpf.o
	new_pair
	attach_raw server veth0
	trace_start
	echo 65536 >"$TRACE/buffer_size_kb"
	bpftool prog load "$ROOT/bench/empty.bpf.o" /sys/fs/bpf/empty type classifier
	# Each CPU spins until the other has come as far: that is soon only while both run.
	in_netns server nice --adjustment=-20 "$ROOT/bench/packets" veth0 "$(program_id server veth0 ingress)" "$(program_id server veth0 egress)" \
		/sys/fs/bpf/empty race 100000 "$CLIENT4" "$SERVER4"
	assert_tables_empty
	assert_conserved
	assert_equal "attempts" "$(counter attempts)" 100000
	assert_equal "SF" "$(counter ended.SF)" 100000
	assert_equal "tuples with a record" "$(records "-> $SERVER4:8000" | cut -d ' ' -f 2 | sort --unique | wc -l)" 100000
}

# enter_cgroup: what the kernel allocates for this process and its children, in maps that they make as well, is charged to $CGROUP from
# now on, where the machine counts that.
enter_cgroup() {
	local parent
	parent=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
	[[ $parent ]] || parent=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	CGROUP=$parent/$NETRACKER_TEST_ID-$BATS_TEST_NUMBER
	mkdir "$CGROUP" && echo "$BASHPID" >"$CGROUP/cgroup.procs"
}

# kernel_kb: that memory; 0 where it is not counted by cgroup.
kernel_kb() {
	if [[ -e $CGROUP/memory.kmem.usage_in_bytes ]]; then
		echo $(($(<"$CGROUP/memory.kmem.usage_in_bytes") / 1024))
	elif [[ -e $CGROUP/memory.stat ]] && grep --quiet '^kernel ' "$CGROUP/memory.stat"; then
		awk '$1 == "kernel" { printf "%d", $2 / 1024 }' "$CGROUP/memory.stat"
	else
		echo "# this machine does not count the kernel's memory by cgroup: not tried" >&3
		echo 0
	fi
}

teardown() {
	if [[ ${CGROUP-} ]]; then
		echo "$$" >"${CGROUP%/*}/cgroup.procs"
		wait_for rmdir "$CGROUP"
	fi
	clean_up
}

reattach() {
	in_netns server nice --adjustment=-10 python3 "$ROOT/tests/reattach.py" veth0 "$OBJ" "$1" >>"$BATS_TEST_TMPDIR/rounds"
}

# none_left: the kernel has freed every map that was pinned in one of the rounds.
none_left() {
	assert_equal "maps that are left" "$(bpftool --json map show | jq --compact-output --slurpfile made \
		<(cut -d ' ' -f 3- "$BATS_TEST_TMPDIR/rounds") '[.[] | select(.id | IN($made[])).name]')" '[]'
}

memory_is_below() {
	local now
	now=$(kernel_kb)
	((now < $1)) || fail "the kernel's memory: $now kB, not below $1"
}

# Lines `STATE START_NS` of records that say something else than SF, though the connection was opened when both directions were seen.
false_states() {
	records | sed -E 's/.* state=([^ ]*) .* start_ns=([0-9]*) .*/\1 \2/' | grep -v '^SF ' |
		awk 'FNR == NR { before[NR] = $1; behind[NR] = $2; rounds = NR; next }
			{
				known = 0
				for (i = 1; i <= rounds; i++)
					known += $2 >= before[i] && $2 <= behind[i]
				if (!known)
					print
			}' "$BATS_TEST_TMPDIR/rounds" - || true
}

# REATTACH=N has more rounds.
@test "attached and detached 100 times under traffic: no program, map or memory is left, and no state is false" {
	local before states rounds=${REATTACH:-100}
	requires tool_nginx tool_wrk object
	new_pair
	http_server server
	trace_start
	background in_netns client wrk --threads 1 --connections 8 --duration 600s --header 'Connection: close' "http://$SERVER4:8000/"
	enter_cgroup
	reattach 20 # what is allocated once is there from now on
	wait_for none_left
	before=$(kernel_kb)
	reattach $((rounds - 20))
	assert_equal "rounds" "$(wc -l <"$BATS_TEST_TMPDIR/rounds")" "$rounds"
	wait_for none_left
	wait_for memory_is_below $((before + 4096))
	# Between the two filters only what comes in is seen: of a connection that began then, the answer or the server's FIN can be missing,
	# and it is recorded as SH or OTH, or, if a RST was the answer or the end, as RSTOS0 or RSTO, or, when its ports are used again, as S2, or S1
	# if it was the server's RST that nobody saw. Nobody was refused.
	assert_equal "false states" "$(false_states)" ''
	states=$(records | record_value state | sort -u | tr '\n' ' ')
	[[ $states =~ ^(OTH )?(RSTO )?(RSTOS0 )?(S1 )?(S2 )?SF\ (SH )?$ ]] || fail "states: $states"
}
