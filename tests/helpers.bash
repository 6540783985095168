# shellcheck shell=bash disable=SC2034 # much of what is set here is for the tests
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the tests share. A test file says `load helpers`; setup and teardown below then give each test a bpffs and network
# namespaces of its own, and take them away. The suite as a whole runs in scripts/sandbox (see tests/run). Namespaces, veth
# pairs, the waiting and more are the laboratory's: new_netns, in_netns, new_veth, add_address, listening, peer, wait_for; what
# they do is at the head of laboratory.bash.
#
# Prerequisites and assertions
#   requires WORD…               skip the test, with the reason, unless the machine has what the words name; in CI fail instead:
#                                root kernel_N.M object ipv6 tool_COMMAND
#   fail MESSAGE                 end the test
#   assert_equal WHAT GOT WANT   fail, naming all three, unless the two are the same text
#   runnable FILE                the commands of a page that are marked `sh runnable`, as one script
#   copy_of_tree DIR             the sources, to build there what is not to be built in the tester's tree
#
# Namespaces and traffic
#   new_pair                     namespaces client and server joined by a veth pair, veth0 in both: $CLIENT4 $CLIENT6 $SERVER4 $SERVER6.
#                                $NOBODY4 is on that link, too, if somebody were there. No other run of the tests has these addresses
#   new_far                      namespace far behind server, with $FAR4, which client finds by that way
#   background COMMAND…          run COMMAND (a function may be) until teardown; its process group is $BACKGROUND_PID, its output
#                                goes to the file $BACKGROUND_OUTPUT
#   has_ended PID                that process has
#   ends PID STATUS              such a job does, and with this exit status
#   http_server NS [PORT]        nginx on PORT (8000) of every address in NS. / answers and leaves the closing to the client, /close
#                                closes itself, /files/ is the directory $WWW. $ACCESS_LOG has `address port status` of each request
#   build TARGET…                make what only tests need, in this tree, which another run may be using
#
# The tracker
#   use_installed                for setup_file: test the tree as it is installed, below $BATS_FILE_TMPDIR; for who is less than root, as
#                                the tree may be in a home that is closed to all but its owner
#   attach_raw NS IF             clsact and both filters, with plain tc
#   detach_raw NS IF             remove them
#   attach_again NS IF NS2 IF2   the programs that are on IF2 in NS2. To load them a second time gives the same, only slower
#   set_times HANDSHAKE CLOSE    time-outs of a tracker that is attached by hand, seconds
#   track NS                     attach to veth0 there, with the command, and have all records in the trace
#   library COMMAND…             run a function of the command's libraries, of view.sh and what it needs
#   trace_start                  start to capture the lines about this run's addresses: trackers of others write to the same trace. Nobody
#                                else's reader takes them away
#   trace_stop                   throw the lines away
#   records [REGEX]              the lines captured so far, without the tracer's prefix, that match REGEX. Reading takes nothing away
#   wait_for_records N [REGEX]   wait until there are N; more are a failure
#   program_id NS IF HOOK        the number of the tracker's program there
#   note_maps                    what is pinned now has to be gone from the kernel at the end of the suite
#   record_value KEY             the value of KEY in each record on stdin
#   counters                     struct counters as JSON, summed over the CPUs
#   counter NAME                 one of them: attempts, ended.SF, …
#   at_rest                      entries of conn_map
#   in_motion                    places in use in syn_map
#   assert_conserved             no connection has been lost: the law at struct counters in NeTracker.h holds
#   assert_tables_empty          no connection and no handshake is left in the maps
#                                Both wait: a record is written before its connection has left the table, and the counters and tables
#                                are not read at one instant.

# shellcheck source=laboratory.bash
source "${BASH_SOURCE[0]%/*}/laboratory.bash"
BACKGROUND_GROUPS=1
# OBJ is what the tests attach with tc themselves: NETRACKER_OBJECT, and not NETRACKER_OBJ, which gives the command an object in place of
# its own. A command that is tested where it is installed has to find its own; what sets NETRACKER_OBJ are tests that give it a stub.
readonly ROOT OBJ=${NETRACKER_OBJECT:-$ROOT/NeTracker.bpf.o} NETRACKER=${NETRACKER_COMMAND:-$ROOT/scripts/netracker} PINS=/sys/fs/bpf/tc/globals

# The trace is the machine's: what is a test's own is told by the addresses, 10.x.y.0/24 and 2001:db8:z::/48 by the number that tests/run
# has drawn for this run.
export NETRACKER_TEST_NET=${NETRACKER_TEST_NET:-1}
readonly NET4=10.$((NETRACKER_TEST_NET >> 8)).$((NETRACKER_TEST_NET & 255))
NET6=2001:db8:$(printf %x "$NETRACKER_TEST_NET")
readonly NET6 CLIENT4=$NET4.1 SERVER4=$NET4.2 NOBODY4=$NET4.99 CLIENT6=$NET6::1 SERVER6=$NET6::2 FAR4=203.0.113.2

# NT_TABLES: for tests that hand records to the formatters themselves. Python must not leave its caches in the tree.
export LC_ALL=C NT_TABLES=$ROOT/scripts/lib/tables.tsv PYTHONDONTWRITEBYTECODE=1

setup() {
	isolate
}

teardown() {
	clean_up
}

# A bpffs for this test alone; names for what cannot be private.
isolate() {
	requires root
	open_laboratory "$BATS_TEST_TMPDIR"
	WWW=$BATS_TEST_TMPDIR/www
	ACCESS_LOG=$BATS_TEST_TMPDIR/access.log
	mkdir "$WWW"
	mount -t bpf bpf /sys/fs/bpf
	export NETRACKER_LOCK=$BATS_TEST_TMPDIR/lock
	TRACE=/sys/kernel/tracing/instances/$NETRACKER_TEST_ID-$BATS_TEST_NUMBER
}

clean_up() {
	[[ -v NETNS_DIR ]] || return 0
	close_laboratory
	[[ ! -e $TRACE ]] || wait_for rmdir "$TRACE"
	note_maps
	umount /sys/fs/bpf
}

#
# Prerequisites and assertions
#

requires() {
	local word
	for word in "$@"; do
		case $word in
			root)
				((EUID == 0)) || lacking "needs root"
				;;
			kernel_[0-9]*.[0-9]*)
				kernel_is_at_least "${word#kernel_}" || lacking "needs Linux ${word#kernel_}, this is $(uname -r)"
				;;
			object)
				[[ -s $OBJ ]] || lacking "needs NeTracker.bpf.o: run 'make'"
				;;
			ipv6)
				[[ -e /proc/net/if_inet6 ]] || lacking "needs IPv6 in the kernel"
				;;
			tool_?*)
				command -v "${word#tool_}" >/dev/null || lacking "needs ${word#tool_}: 'make deps' installs it"
				;;
			*)
				fail "requires: unknown word '$word'"
				;;
		esac
	done
}

lacking() {
	[[ ${NETRACKER_CI-} != 1 ]] || fail "$1, and nothing is skipped in CI"
	skip "$1"
}

kernel_is_at_least() {
	[[ $(printf '%s\n' "$1" "$(uname -r)" | sort --version-sort | head -1) == "$1" ]]
}

# The files under version control as they are now, as a repository.
copy_of_tree() {
	mkdir "$1"
	(cd "$ROOT" && git -c safe.directory="$ROOT" ls-files -z | tar -c --null --ignore-failed-read --files-from=- 2>/dev/null) | tar -x -C "$1"
	git -C "$1" init --quiet
	git -C "$1" add --all
}

runnable() {
	# shellcheck disable=SC2016 # these marks are Markdown's
	sed -n '/^```sh runnable$/,/^```$/ { /^```/! p }' "$1"
}

fail() {
	printf '%s\n' "$*" >&2
	return 1
}

assert_equal() {
	[[ $2 == "$3" ]] || fail "$1: got '$2', want '$3'"
}

#
# Namespaces and traffic
#

new_pair() {
	new_netns client
	new_netns server
	new_veth client veth0 server veth0
	add_address client veth0 "$CLIENT4" "$CLIENT6"
	add_address server veth0 "$SERVER4" "$SERVER6"
}

new_far() {
	new_netns far
	new_veth server veth1 far veth0
	in_netns server ip address add 203.0.113.1/24 dev veth1
	in_netns server bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	in_netns far ip address add "$FAR4/24" dev veth0
	in_netns far ip route add default via 203.0.113.1
	in_netns client ip route add 203.0.113.0/24 via "$SERVER4"
}

background() {
	BACKGROUND_OUTPUT=$BATS_TEST_TMPDIR/background.${#BACKGROUND_PIDS[@]}
	in_background "$@" >"$BACKGROUND_OUTPUT" 2>&1
}

has_ended() {
	! kill -0 "$1" 2>/dev/null
}

ends() {
	local status=0
	wait_for has_ended "$1"
	wait "$1" || status=$?
	assert_equal "exit status" "$status" "$2"
}

http_server() {
	local netns=$1 port=${2:-8000}
	nginx_server "$netns" "$port" nginx -g 'master_process off;' <<-EOF
		log_format tuple '\$remote_addr \$remote_port \$status';
		access_log $ACCESS_LOG tuple;
		server {
			listen $port backlog=4096;
			listen [::]:$port backlog=4096;
			location / { return 200 "hello\n"; }
			location /close { keepalive_timeout 0; return 200 "bye\n"; }
			location /files/ { alias $WWW/; }
		}
	EOF
}

build() {
	flock "$ROOT/Makefile" make --silent --directory "$ROOT" "$@"
}

#
# The tracker
#

use_installed() {
	local dir=$BATS_FILE_TMPDIR/installed
	[[ -s $OBJ && ! -v NETRACKER_COMMAND ]] || return 0
	make --silent -C "$ROOT" install-built DESTDIR="$dir" PREFIX=/usr
	export NETRACKER_COMMAND=$dir/usr/bin/netracker NETRACKER_OBJECT=$dir/usr/lib/netracker/NeTracker.bpf.o
}

attach_raw() {
	requires object
	in_netns "$1" tc qdisc add dev "$2" clsact
	add_filter "$1" "$2" ingress tc_ing
	add_filter "$1" "$2" egress tc_en
}

# add_filter NS IF HOOK SECTION: of what tc says when it fails the end is enough; the verifier's log before it can be megabytes.
add_filter() {
	in_netns "$1" tc filter add dev "$2" "$3" bpf obj "$OBJ" sec "$4" >"$BATS_TEST_TMPDIR/tc" 2>&1 ||
		fail "tc could not load $4: $(tail -n 12 "$BATS_TEST_TMPDIR/tc")"
}

detach_raw() {
	in_netns "$1" tc qdisc del dev "$2" clsact
}

attach_again() {
	local hook
	in_netns "$1" tc qdisc add dev "$2" clsact
	for hook in ingress egress; do
		[[ -e /sys/fs/bpf/$hook ]] || bpftool prog pin id "$(program_id "$3" "$4" "$hook")" "/sys/fs/bpf/$hook"
		in_netns "$1" tc filter add dev "$2" "$hook" bpf object-pinned "/sys/fs/bpf/$hook"
	done
}

# set_times HANDSHAKE CLOSE: the time-outs of a tracker that is attached by hand, seconds below 256; all else in nt_config is 0.
set_times() {
	local size
	size=$(bpftool --json map show pinned "$PINS/nt_config" | jq .bytes_value)
	# shellcheck disable=SC2046 # bytes are words
	bpftool map update pinned "$PINS/nt_config" key 0 0 0 0 value "$1" 0 0 0 "$2" $(printf '0 %.0s' $(seq 6 "$size"))
}

track() {
	in_netns "$1" "$NETRACKER" attach --quiet veth0
	"$NETRACKER" config trace=on 2>/dev/null
}

library() {
	bash -c '
		set -euo pipefail
		shopt -s extglob nullglob
		LIBDIR=$0
		for library in common prerequisites maps hooks tcx view consumer; do
			source "$0/$library.sh"
		done
		ECHO=0
		find_maps
		"$@"' "$ROOT/scripts/lib" "$@"
}

trace_start() {
	mkdir "$TRACE"
	echo boot >"$TRACE/trace_clock"
	echo 8192 >"$TRACE/buffer_size_kb"
	# An address follows on a blank, and kernels differ in whether they write the zeros of one of IPv6. A ? stands for the bracket.
	echo "bpf_string ~ \"netracker:* $NET4.*\" || bpf_string ~ \"netracker:* ?2001:*db8*[:0]${NET6##*:}:*\"" \
		>"$TRACE/events/bpf_trace/bpf_trace_printk/filter"
	echo 1 >"$TRACE/events/bpf_trace/bpf_trace_printk/enable"
}

trace_stop() {
	wait_for rmdir "$TRACE"
}

records() {
	sed -n 's/^.*: bpf_trace_printk: netracker: /netracker: /p' "$TRACE/trace" | grep -E -- "${1-}" || true
}

wait_for_records() {
	wait_for records_reach "$@" || return
	assert_equal "records" "$(records "${2-}" | wc -l)" "$1"
}

records_reach() {
	local lines
	lines=$(records "${2-}")
	echo "$lines"
	(($(grep -c . <<<"$lines") >= $1))
}

# bpftool's list is the machine's, but it says which maps have a pin here.
note_maps() {
	bpftool --bpffs --json map show | jq '.[] | select(any(.pinned[]?; startswith("/sys/fs/bpf/"))).id' >>"$BATS_SUITE_TMPDIR/maps" || true
}

program_id() {
	in_netns "$1" tc -json filter show dev "$2" "$3" | jq '.[] | select(.options.bpf_name // "" | startswith("NeTracker.bpf.o:")).options.prog.id // empty'
}

record_value() {
	sed -n "s/^netracker: .* $1=\([^ ]*\).*$/\1/p"
}

counters() {
	bpftool --json map dump pinned "$PINS/nt_counters" | jq --compact-output '
		def sum: if (.[0] | type) == "array" then transpose | map(add) else add end;
		[.[0].formatted.values[].value] | (.[0] | keys_unsorted[]) as $name | {($name): (map(.[$name]) | sum)}' |
		jq --compact-output --slurp --rawfile tables "$NT_TABLES" '
		[$tables | split("\n")[] | split("\t") | select(.[0] == "state")[1]] as $states |
		add | .ended |= ([$states, .] | transpose | map({(.[0]): .[1]}) | add)'
}

counter() {
	counters | jq --arg path "$1" 'getpath($path / ".")'
}

at_rest() {
	bpftool map dump pinned "$PINS/conn_map" | grep -c '"key":' || true
}

in_motion() {
	python3 "$ROOT/tests/wire/tracker.py"
}

assert_conserved() {
	wait_for is_conserved
}

is_conserved() {
	local now
	now=$(counters)
	jq --exit-status --argjson moving "$(in_motion)" --argjson resting "$(at_rest)" '
		.attempts + .adopted == ([.ended[]] | add) + $moving + $resting + .syn_evicted + .syn_disbelieved + .conn_full' \
		<<<"$now" >/dev/null || fail "connections are not conserved; $(in_motion) in motion, $(at_rest) at rest; $now"
}

assert_tables_empty() {
	wait_for are_tables_empty
}

are_tables_empty() {
	assert_equal "connections at rest" "$(at_rest)" 0 && assert_equal "connections in motion" "$(in_motion)" 0
}
