#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the tracker makes of it when things are taken away from under it, when its tables or its log are full, and when both CPUs are at
# the same connection at once. docs/reliability.md says what each of these tests promises.

bats_require_minimum_version 1.5.0
load helpers

# hold N: N connections that stay open.
hold() {
	background in_netns client python3 -c '
import socket, sys, time
held = [socket.create_connection((sys.argv[1], 8000)) for _ in range(int(sys.argv[2]))]
time.sleep(600)' "$SERVER4" "$1"
	wait_for test_live "$1"
}

test_live() {
	assert_equal "live connections" "$(live_connections)" "$1"
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
	[[ ! -d /sys/kernel/tracing/instances/$NETRACKER_INSTANCE ]] || fail "the trace instance is left"
}

@test "an interface is deleted under its connections: detach gives each its record and leaves nothing" {
	tracked
	trace_start
	hold 20
	in_netns server ip link del veth0
	assert_equal "alive" "$(live_connections)" 20
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

@test "the trace instance is removed: connections are tracked and counted, the global trace has them, attach makes a new one" {
	tracked
	trace_start
	rmdir "/sys/kernel/tracing/instances/$NETRACKER_INSTANCE"
	request ''
	wait_for_records 1 ' state=SF '
	run -3 in_server log --no-follow
	in_server attach -q veth0
	request ''
	wait_for is_logged
	assert_conserved
}

# Other people's records are in the log as well.
is_logged() {
	in_server log --no-follow --json --addr "$SERVER4" | grep --quiet '"state":"SF"'
}

@test "conn_map full: new connections are lost and counted, those inside stay right, and there is room again" {
	local dir=$BATS_TEST_TMPDIR/small
	requires tool_nginx object
	mkdir "$dir"
	cp -a "$ROOT"/{Makefile,mk,scripts,view,VERSION,NeTracker.bpf.c,NeTracker*.h,tracker} "$dir/"
	make --silent --directory="$dir" MAX_CONNECTIONS=50 NeTracker.bpf.o
	new_pair
	http_server server
	in_netns server tc qdisc add dev veth0 clsact
	in_netns server tc filter add dev veth0 ingress bpf obj "$dir/NeTracker.bpf.o" sec tc_ing
	in_netns server tc filter add dev veth0 egress bpf obj "$dir/NeTracker.bpf.o" sec tc_en
	trace_start
	hold 50
	requests 20
	assert_equal "lost" "$(counter conn_full)" 20
	assert_equal "alive" "$(live_connections)" 50
	assert_equal "records" "$(records | wc -l)" 0
	kill -- "-${BACKGROUND_PIDS[-1]}"
	wait_for test_live 0
	requests 5
	wait_for_records 55 ' state=SF '
	assert_conserved
}

@test "log overrun: records written = records read + records counted as lost" {
	local instance=/sys/kernel/tracing/instances/$NETRACKER_INSTANCE written lost read
	tracked
	only_own "$instance"
	echo 64 >"$instance/buffer_size_kb"
	echo >"$instance/trace" # what others have written since it was made, and the count of what was lost
	requests 3000
	assert_conserved
	written=$(counter logged)
	assert_equal "records written" "$written" 3000
	lost=$(awk '/^(overrun|dropped events):/ { n += $NF } END { print n + 0 }' "$instance"/per_cpu/cpu*/stats)
	((lost > 0)) || fail "64 KB were enough for 3,000 records"
	read=$(dd iflag=nonblock bs=64K status=none if="$instance/trace_pipe" 2>/dev/null | grep -c 'bpf_trace_printk: netracker: ' || true)
	assert_equal "read + lost" "$((read + lost))" "$written"
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

@test "attached and detached 500 times under traffic: no program, map or memory is left, and no state is false" {
	local before states
	requires tool_nginx tool_wrk object
	new_pair
	http_server server
	trace_start
	background in_netns client wrk --threads 1 --connections 8 --duration 600s --header 'Connection: close' "http://$SERVER4:8000/"
	enter_cgroup
	reattach 20 # what is allocated once is there from now on
	wait_for none_left
	before=$(kernel_kb)
	reattach 480
	assert_equal "rounds" "$(wc -l <"$BATS_TEST_TMPDIR/rounds")" 500
	wait_for none_left
	wait_for memory_is_below $((before + 4096))
	# Between the two filters only what comes in is seen: of a connection that began then, the answer or the server's FIN can be missing,
	# and it is recorded as SH, or RSTOS0 if the client gave it up, or S2 when its ports are used again. Nobody was refused.
	assert_equal "false states" "$(false_states)" ''
	states=$(records | record_value state | sort -u | tr '\n' ' ')
	[[ $states =~ ^(RSTOS0 )?(S2 )?SF\ (SH )?$ ]] || fail "states: $states"
}
