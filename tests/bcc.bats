#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# netracker-bcc and the Python module behind it: what bcc's users expect, beside `netracker` and other tools, and nothing left behind.

load helpers
load cli_helpers

readonly BCC=${NETRACKER_COMMAND:-$ROOT/scripts/netracker}-bcc

setup() {
	isolate
	requires kernel_5.19 object tool_nginx tool_curl
	/usr/bin/python3 -c 'import bcc, pyroute2' 2>/dev/null || lacking "needs python3-bpfcc and python3-pyroute2: 'make deps' installs them"
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	new_pair
}

bcc() {
	in_netns server "$BCC" "$@"
}

# follow NAME [OPTION…]: netracker-bcc on veth0 in `server`, until it has begun; its lines are in $BATS_TEST_TMPDIR/NAME, its words in NAME.said.
# It gets the signals itself: $BACKGROUND_PID is its process.
follow() {
	local name=$BATS_TEST_TMPDIR/$1
	in_background nsenter --net="$NETNS_DIR/server" -- "$BCC" -i veth0 "${@:2}" >"$name" 2>"$name.said"
	wait_for_words "$name" LADDR
}

# wait_for_words FILE REGEX [N]: until N lines of it match, 1 without.
wait_for_words() {
	wait_for has_words "$@"
}

has_words() {
	(($(grep -c -E -- "$2" "$1") >= ${3:-1})) || {
		cat "$1" "$1.said"
		return 1
	}
}

# assert_ended STATUS PID [SIGNAL]: send the signal; the process ends with STATUS.
assert_ended() {
	local status=0
	[[ ! ${3-} ]] || kill -s "$3" "$2"
	wait "$2" 2>/dev/null || status=$?
	assert_equal "exit status ${3-}" "$status" "$1"
}

# get [PATH]: a connection that the server closes.
get() {
	in_netns client curl --silent --output /dev/null "http://$SERVER4:8000/${1-close}"
}

# python [ARGUMENT…]: a script on standard input, in `server`, with the module.
python() {
	in_netns server env PYTHONPATH="${NETRACKER_PYTHON:-$ROOT/scripts}" /usr/bin/python3 - "$@"
}

program_ids() {
	program_id server veth0 ingress
	program_id server veth0 egress
}

# uses: the files that tell who reads.
uses() {
	find "$NETRACKER_RUN" -type f 2>/dev/null
}

@test "a line as each connection ends, with tcplife's columns, and at Ctrl-C and TERM nothing is left" {
	local signal line
	http_server server
	head -c 100000 /dev/zero >"$WWW/file"
	for signal in INT TERM HUP; do
		follow out
		assert_whole_filters
		get files/file
		get close
		in_netns client curl --silent "http://$SERVER4:9/" || true
		wait_for_words "$BATS_TEST_TMPDIR/out" " $SERVER4 " 3
		assert_ended 0 "$BACKGROUND_PID" "$signal"
		assert_equal "words" "$(<"$BATS_TEST_TMPDIR/out.said")" ""
		assert_clean
		assert_equal "files left" "$(uses)" ""
		assert_equal "columns" "$(head -n 1 "$BATS_TEST_TMPDIR/out" | xargs)" \
			"PID COMM LADDR LPORT RADDR RPORT TX_KB RX_KB MS STATE HS_MS UID"
		line=$(sed -n 2p "$BATS_TEST_TMPDIR/out")
		[[ $line =~ ^[0-9]+\ +nginx\ +$SERVER4\ +8000\ +$CLIENT4\ +[0-9]+\ +98\ +0\ +[0-9]+\.[0-9]{2}\ SF\ +[0-9]+\.[0-9]{3}\ [0-9]+$ ]] || fail "$line"
		[[ $(sed -n 4p "$BATS_TEST_TMPDIR/out") =~ ^-\ +-\ +$SERVER4\ +9\ +$CLIENT4\ +[0-9]+\ +0\ +0\ +[0-9.]+\ REJ\ +-\  ]] || fail "$(<"$BATS_TEST_TMPDIR/out")"
		assert_equal "lines" "$(wc -l <"$BATS_TEST_TMPDIR/out")" 4
	done
}

# As cli_helpers' assert_whole, without the views, which this one does not pin.
assert_whole_filters() {
	assert_equal ingress "$(filters_on ingress | cut -d ' ' -f 2)" 'NeTracker.bpf.o:[tc_ing]'
	assert_equal egress "$(filters_on egress | cut -d ' ' -f 2)" 'NeTracker.bpf.o:[tc_en]'
	assert_equal 'named interfaces' "$(named_interfaces)" veth0
}

@test "the options of tcplife choose by port, family and failure, and say time, family and CSV" {
	local options
	local -A want=(["-L 8000"]=2 ["-L 9,8000"]=3 ["-D 1"]=0 [-4]=2 [-6]=1 [--failed]=1)
	requires ipv6
	http_server server
	for options in "${!want[@]}"; do
		# shellcheck disable=SC2086 # options are words
		follow "some$options" $options
	done
	follow csv -s -T -t
	follow wide -w
	get
	in_netns client curl --silent --output /dev/null "http://[$SERVER6]:8000/close"
	in_netns client curl --silent "http://$SERVER4:9/" || true
	wait_for_words "$BATS_TEST_TMPDIR/csv" , 4
	wait_for_words "$BATS_TEST_TMPDIR/wide" . 4
	end_followers
	for options in "${!want[@]}"; do
		assert_equal "lines with $options" "$(tail -n +2 "$BATS_TEST_TMPDIR/some$options" | wc -l)" "${want[$options]}"
	done
	assert_equal "heading" "$(head -n 1 "$BATS_TEST_TMPDIR/csv")" "TIME,TIME(s),PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS,STATE,HS_MS,UID"
	[[ $(sed -n 2p "$BATS_TEST_TMPDIR/csv") =~ ^[0-9]{2}(:[0-9]{2}){2},0\.000000,[0-9]+,nginx,4,$SERVER4,8000,$CLIENT4,[0-9]+,0,0,[0-9.]+,SF,[0-9.]+,[0-9]+$ ]] || fail "$(<"$BATS_TEST_TMPDIR/csv")"
	[[ $(sed -n 4p "$BATS_TEST_TMPDIR/csv") =~ ,9,.*,REJ,, ]] || fail "$(<"$BATS_TEST_TMPDIR/csv")"
	[[ $(sed -n 3p "$BATS_TEST_TMPDIR/wide") =~ ^[0-9]+\ +nginx\ +6\ +$SERVER6\ +8000\ +$CLIENT6\  ]] || fail "$(<"$BATS_TEST_TMPDIR/wide")"
	assert_clean
}

# end_followers: all that `follow` has begun, one after the other.
end_followers() {
	local pid
	for pid in "${BACKGROUND_PIDS[@]}"; do
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != *netracker-bcc* ]] || assert_ended 0 "$pid" TERM
	done
}

@test "live connections, young ones and those at rest, at Ctrl-\\ and with --list" {
	local young old stdout=''
	in_background in_netns server python3 "$ROOT/tests/peer.py" serve 7000
	wait_for listening server 7000
	follow out
	background peer client connect "$SERVER4" 7000
	old=$BACKGROUND_OUTPUT
	wait_for test -s "$old"
	wait_for is_at_rest 1
	background peer client connect "$SERVER4" 7000
	young=$BACKGROUND_OUTPUT
	wait_for test -s "$young"
	assert_status 0 bcc --list
	assert_equal "live, the oldest first" "$(sed 1d <<<"$stdout" | awk '{ print $3, $4, $5, $6, $7, $8, $10 }')" "$(
		printf "$SERVER4 7000 %s - - S1\n" "$(<"$old")" "$(<"$young")"
	)"
	assert_status 0 bcc --list -D "$(cut -d ' ' -f 2 "$young")"
	assert_equal "one" "$(sed 1d <<<"$stdout" | wc -l)" 1
	assert_status 0 bcc --list -i lo
	assert_equal "none on lo" "$(sed 1d <<<"$stdout")" ""
	kill -QUIT "$(follower)"
	wait_for_words "$BATS_TEST_TMPDIR/out" " S1 " 2
	assert_equal "headings" "$(grep -c LADDR "$BATS_TEST_TMPDIR/out")" 2
	end_followers
	assert_clean
}

is_at_rest() {
	[[ $(at_rest) == "$1" ]]
}

# follower: the process that `follow` has begun.
follower() {
	local pid
	for pid in "${BACKGROUND_PIDS[@]}"; do
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != *netracker-bcc* ]] || echo "$pid"
	done
}

@test "what netracker has attached is only read, stays, and none of the log's records is taken from it" {
	local before
	http_server server
	netracker attach --quiet veth0
	before=$(program_ids)
	follow out
	[[ $(<"$BATS_TEST_TMPDIR/out.said") == 'netracker-bcc: veth0: the tracker is attached already, and stays; it is only read' ]] || fail "$(<"$BATS_TEST_TMPDIR/out.said")"
	get
	get
	wait_for_words "$BATS_TEST_TMPDIR/out" " SF " 2
	assert_status 0 bcc --list
	end_followers
	assert_equal "programs" "$(program_ids)" "$before"
	assert_equal "the log" "$(netracker log --no-follow --json | jq --raw-output .state | xargs)" "SF SF"
	assert_whole
	get
	assert_equal "the log" "$(wait_for_log)" SF
	netracker detach --quiet veth0
	assert_clean
}

wait_for_log() {
	timeout 60 "$NETRACKER" log --json --max-rows 1 | jq --raw-output .state
}

@test "netracker sees what netracker-bcc has attached; attached to that interface as well it stays when netracker-bcc ends" {
	local before
	http_server server
	follow out
	before=$(program_ids)
	assert_status 0 netracker status
	assert_says "veth0: attached since"
	netracker attach --quiet veth0
	assert_equal "programs" "$(program_ids)" "$before"
	get
	wait_for_words "$BATS_TEST_TMPDIR/out" " SF "
	end_followers
	assert_whole
	assert_equal "programs" "$(program_ids)" "$before"
	assert_equal "files left" "$(uses)" ""
	assert_equal "the log" "$(wait_for_log)" SF
	netracker detach --quiet veth0
	assert_clean
}

@test "netracker on another interface keeps its tables and its log when netracker-bcc ends" {
	follow out
	netracker attach --quiet lo
	end_followers
	assert_equal "filters" "$(all_filters)" ""
	assert_equal "named interfaces" "$(named_interfaces)" lo
	in_netns server curl --silent http://127.0.0.1:9/ || true
	assert_equal "the log" "$(wait_for_log)" REJ
	netracker detach --quiet lo
	assert_clean
}

@test "if somebody detaches, it says so in a sentence and ends with 3; what is attached anew meanwhile is left alone" {
	follow out
	netracker detach --quiet veth0
	assert_ended 3 "$BACKGROUND_PID"
	[[ $(<"$BATS_TEST_TMPDIR/out.said") == *'veth0: the tracker is not there any more; '* ]] || fail "$(<"$BATS_TEST_TMPDIR/out.said")"
	assert_equal "lines said" "$(grep -c -v "another attach or detach is at work; waiting for it" "$BATS_TEST_TMPDIR/out.said")" 1
	assert_clean

	follow out
	kill -STOP "$BACKGROUND_PID"
	netracker detach --quiet --all
	netracker attach --quiet veth0
	kill -CONT "$BACKGROUND_PID"
	kill -TERM "$BACKGROUND_PID"
	wait "$BACKGROUND_PID" 2>/dev/null || true
	assert_whole
	netracker detach --quiet --all
	assert_clean
}

@test "killed, it leaves what the next one takes on and takes away, and netracker detach as well" {
	local before
	http_server server
	follow out
	before=$(program_ids)
	kill -KILL "$BACKGROUND_PID"
	assert_ended 137 "$BACKGROUND_PID"
	assert_whole_filters
	follow out
	assert_equal "programs" "$(program_ids)" "$before"
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/out.said")" ""
	get
	wait_for_words "$BATS_TEST_TMPDIR/out" " SF "
	assert_ended 0 "$BACKGROUND_PID" INT
	assert_clean
	assert_equal "files left" "$(uses)" ""

	follow out
	kill -KILL "$BACKGROUND_PID"
	wait "$BACKGROUND_PID" 2>/dev/null || true
	netracker detach --quiet --all
	assert_clean
}

@test "killed between its two filters, the next one hangs the other" {
	follow out
	kill -KILL "$BACKGROUND_PID"
	wait "$BACKGROUND_PID" 2>/dev/null || true
	in_netns server tc filter del dev veth0 egress
	follow out
	assert_whole_filters
	end_followers
	assert_clean
}

@test "two on one interface: the first to end harms the other one not, the last takes the tracker away" {
	local first
	http_server server
	follow one
	first=$BACKGROUND_PID
	follow two
	assert_ended 0 "$first" INT
	get
	wait_for_words "$BATS_TEST_TMPDIR/two" " SF "
	assert_equal "words" "$(cat "$BATS_TEST_TMPDIR"/{one,two}.said)" ""
	assert_ended 0 "$BACKGROUND_PID" INT
	assert_clean
	assert_equal "files left" "$(uses)" ""
}

@test "an interface that is deleted ends it with 3, and nothing is left" {
	follow out
	in_netns client ip link del veth0
	assert_ended 3 "$BACKGROUND_PID"
	[[ $(<"$BATS_TEST_TMPDIR/out.said") == *'veth0: the tracker is not there any more; '* ]] || fail "$(<"$BATS_TEST_TMPDIR/out.said")"
	assert_equal "lines said" "$(wc -l <"$BATS_TEST_TMPDIR/out.said")" 1
	assert_equal pins "$(find /sys/fs/bpf -type f ! -name '*.debug')" ''
	assert_equal "files left" "$(uses)" ""
}

@test "an interface that is renamed is still let go of" {
	follow out
	in_netns server ip link set veth0 down
	in_netns server ip link set veth0 name other0
	assert_ended 0 "$BACKGROUND_PID" TERM
	assert_equal "qdisc" "$(in_netns server tc qdisc show dev other0 clsact)" ""
	assert_equal pins "$(find /sys/fs/bpf -type f ! -name '*.debug')" ''
}

@test "an interface may be called by another name that it has, and from where ip netns exec runs commands" {
	http_server server
	in_netns server ip link property add dev veth0 altname a-name-longer-than-fifteen
	in_background nsenter --net="$NETNS_DIR/server" -- unshare --mount -- sh -c 'umount -l /sys; mount -t sysfs sysfs /sys; exec "$@"' sh \
		"$BCC" -i a-name-longer-than-fifteen >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/out.said"
	wait_for_words "$BATS_TEST_TMPDIR/out" LADDR
	assert_whole_filters
	get
	wait_for_words "$BATS_TEST_TMPDIR/out" " SF "
	assert_ended 0 "$BACKGROUND_PID" INT
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/out.said")" ""
	assert_clean
}

@test "what one would not expect is said: a log that is off, interfaces of one name in several namespaces" {
	in_netns client "$NETRACKER" attach --quiet veth0
	"$NETRACKER" config log=off 2>/dev/null
	follow out
	assert_equal "words" "$(cut -d ' ' -f 2-4 "$BATS_TEST_TMPDIR/out.said" | sort)" $'the log is\nveth0: interfaces of'
	end_followers
	assert_equal "filters" "$(all_filters)" ""
	"$NETRACKER" detach --quiet --all
	assert_clean
}

@test "other tools' filters and qdisc stay, see all packets, and are behind ours" {
	local hook before
	http_server server
	in_netns server tc qdisc add dev veth0 clsact
	for hook in ingress egress; do
		in_netns server tc filter add dev veth0 "$hook" protocol ip pref 1 bpf bytecode '1,6 0 0 0' flowid 1:1
	done
	before=$(in_netns server tc filter show dev veth0 ingress)
	follow out
	assert_equal "order" "$(in_netns server tc -json filter show dev veth0 ingress | jq --raw-output '[.[] | select(.options) | "\(.pref) \(.protocol)"] | join(", ")')" "1 ip, 2 all"
	assert_equal "direct-action" "$(in_netns server tc filter show dev veth0 egress | grep direct-action || true)" ""
	end_followers
	assert_equal "filters" "$(in_netns server tc filter show dev veth0 ingress)" "$before"
	in_netns server tc filter del dev veth0 ingress
	in_netns server tc filter del dev veth0 egress

	for hook in ingress egress; do
		foreign_filter "$hook" 1
		foreign_filter "$hook" 9
	done
	before=$(in_netns server tc -json filter show dev veth0 egress | jq 'map(del(.options.prog))')
	follow out
	for hook in ingress egress; do
		[[ $(filters_on "$hook" | head -n 1) == *NeTracker* ]] || fail "ours is not the first: $(filters_on "$hook")"
	done
	get
	wait_for_words "$BATS_TEST_TMPDIR/out" " SF "
	end_followers
	assert_equal "filters" "$(in_netns server tc -json filter show dev veth0 egress | jq 'map(del(.options.prog))')" "$before"
	assert_equal pins "$(find /sys/fs/bpf -type f ! -name '*.debug')" ''
}

@test "the interface has its name and its scope, and the trace is limited as by netracker" {
	local scope
	in_background in_netns server python3 "$ROOT/tests/peer.py" serve 7000
	wait_for listening server 7000
	netracker attach --quiet lo
	follow out
	background peer client connect "$SERVER4" 7000
	wait_for is_at_rest 1
	scope=$(bpftool --json map dump pinned "$PINS/nt_ifaces" | jq '[.[].formatted.value | select(.ifindex != 0) | .scope] | unique | .[]')
	assert_equal "scope of both interfaces, and of the connection" \
		"$scope $(bpftool --json map dump pinned "$PINS/conn_map" | jq '.[0].formatted.value.scope[0]')" "1 1"
	assert_equal "trace" "$(bpftool --json map dump pinned "$PINS/nt_config" | jq '.[0].formatted.value.trace')" 2
	end_followers
	netracker detach --quiet --all
}

# with CAPABILITIES COMMAND…: in `server`, as uid 0 with these alone, and that to read a clone where only its owner gets in.
with() {
	nsenter --net="$NETNS_DIR/server" -- setpriv --bounding-set="-all,+dac_read_search,+${1//,/,+}" --inh-caps=-all --no-new-privs -- "${@:2}"
}

@test "to attach and to detach needs NET_ADMIN and SYS_ADMIN, to read SYS_ADMIN" {
	assert_status 4 with sys_admin "$BCC" -i veth0
	assert_says "root here lacks CAP_NET_ADMIN"
	assert_status 4 with net_admin "$BCC" -i veth0
	assert_says "root here lacks CAP_SYS_ADMIN"
	in_background nsenter --net="$NETNS_DIR/server" -- setpriv --bounding-set=-all,+dac_read_search,+net_admin,+sys_admin --inh-caps=-all --no-new-privs -- \
		"$BCC" -i veth0 >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/out.said"
	wait_for_words "$BATS_TEST_TMPDIR/out" LADDR
	assert_status 0 with sys_admin "$BCC" --list
	assert_ended 0 "$BACKGROUND_PID" TERM
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/out.said")" ""
	assert_clean
}

@test "without an interface it reads what is attached, and ends with 3 when that is detached" {
	http_server server
	netracker attach --quiet veth0
	in_background nsenter --net="$NETNS_DIR/client" -- "$BCC" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/out.said"
	wait_for_words "$BATS_TEST_TMPDIR/out" LADDR
	get
	wait_for_words "$BATS_TEST_TMPDIR/out" " SF "
	netracker detach --quiet veth0
	assert_ended 3 "$BACKGROUND_PID"
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/out.said")" "netracker-bcc: the last interface was detached"
	assert_clean
}

@test "a sentence and a status for what is missing" {
	local module
	assert_status 2 bcc -i veth0 -p 0
	assert_says "a process id is a number from 1 to 4194304, not '0'"
	assert_status 2 bcc -i veth0 -L 80,http
	assert_says "ports are numbers from 0 to 65535 with commas between, not '80,http'"
	assert_status 2 bcc -i veth0 --frobnicate
	assert_says "'netracker-bcc --help' tells what there is"
	assert_status 1 bcc -i nowhere0
	assert_says "nowhere0: no such interface; 'ip link' lists them"
	assert_status 3 bcc --list
	assert_says "not attached to any interface; 'netracker attach IFACE' does that"
	assert_status 3 bcc
	assert_says "not attached to any interface; 'netracker attach IFACE' does that"
	assert_status 4 in_netns server setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$BCC" -i veth0
	assert_says "only root may do this; try sudo"
	assert_status 4 in_netns server setpriv --bounding-set=-all,+dac_read_search,+net_admin --inh-caps=-all "$BCC" -i veth0
	assert_says "root here lacks CAP_SYS_ADMIN"
	for module in bcc pyroute2; do
		mkdir "$BATS_TEST_TMPDIR/no_$module"
		echo "raise ModuleNotFoundError(\"No module named '$module'\")" >"$BATS_TEST_TMPDIR/no_$module/$module.py"
		assert_status 4 in_netns server env PYTHONPATH="$BATS_TEST_TMPDIR/no_$module" "$BCC" -i veth0
		[[ $output == "netracker-bcc: no module $module for /usr/bin/python3"*"; install the package python3-"* ]] || fail "$output"
	done
	assert_status 4 in_netns server env NETRACKER_OBJ=/nowhere/NeTracker.bpf.o "$BCC" -i veth0
	assert_says "/nowhere/NeTracker.bpf.o is not there; 'make' builds it"
	# shellcheck disable=SC2016 # for the inner shell
	assert_status 1 in_netns server bash -c 'exec "$0" -i veth0 >&-' "$BCC"
	assert_says "standard output is closed, so nothing can be shown; give it a file or a reader"
	assert_clean
	assert_equal "files left" "$(uses)" ""
}

@test "what cannot be written is said, and the tracker is taken away; a reader that goes away is no fault" {
	http_server server
	# shellcheck disable=SC2016 # for the inner shells
	assert_status 1 in_netns server bash -c '"$0" -i veth0 >/dev/full' "$BCC"
	assert_says "cannot write the output: No space left on device; make room there, or write it elsewhere"
	assert_clean
	# shellcheck disable=SC2016
	in_background nsenter --net="$NETNS_DIR/server" -- bash -c '"$0" -i veth0 2>"$1" | head -n 2 >"$2"' "$BCC" "$BATS_TEST_TMPDIR/said" "$BATS_TEST_TMPDIR/out"
	wait_for is_hung
	wait_for has_no_reader_after_one_more "$BACKGROUND_PID"
	wait "$BACKGROUND_PID" || true
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/said")" ""
	assert_clean
}

is_hung() {
	[[ $(filters_on egress) ]]
}

has_no_reader_after_one_more() {
	get
	! kill -0 "$1"
}

@test "with a reader that is stuck, a signal still ends it" {
	local i
	http_server server
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	exec 7<>"$BATS_TEST_TMPDIR/fifo"
	in_background nsenter --net="$NETNS_DIR/server" -- "$BCC" -i veth0 -w >"$BATS_TEST_TMPDIR/fifo" 2>"$BATS_TEST_TMPDIR/said"
	wait_for is_hung
	for ((i = 0; i < 5; i++)); do
		in_netns client wrk --threads 1 --connections 4 --duration 1s --header 'Connection: close' "http://$SERVER4:8000/" >/dev/null
	done
	wait_for is_stuck "$BACKGROUND_PID"
	assert_ended 0 "$BACKGROUND_PID" TERM
	exec 7>&-
	assert_clean
}

is_stuck() {
	[[ $(<"/proc/$1/wchan") == *pipe_write* ]]
}

@test "an ingress qdisc, others' pins, pins that are gone and another version's tables are named, and left as they are" {
	in_netns server tc qdisc add dev veth0 ingress
	assert_status 1 bcc -i veth0
	assert_says "veth0: somebody's ingress qdisc is in the place of clsact"
	assert_equal pins "$(find /sys/fs/bpf -type f ! -name '*.debug')" ''
	assert_equal qdisc "$(in_netns server tc qdisc show dev veth0 ingress | cut -d ' ' -f 2)" ingress
	in_netns server tc qdisc del dev veth0 ingress

	mkdir -p "$PINS"
	bpftool map create "$PINS/conn_map" type hash key 4 value 4 entries 1 name conn_map
	assert_status 1 bcc -i veth0
	assert_says "$PINS/conn_map is not the tracker's"
	rm "$PINS/conn_map"
	assert_clean

	netracker attach --quiet veth0
	rm "$PINS/nt_rest"
	assert_status 1 bcc -i veth0
	assert_says "the pin $PINS/nt_rest is gone, somebody has removed it"
	assert_equal "filters" "$(all_filters | wc -l)" 2
	netracker detach --quiet --all

	build_larger
	in_netns server env NETRACKER_OBJ="$BATS_TEST_TMPDIR/larger/NeTracker.bpf.o" "$NETRACKER" attach --quiet veth0
	assert_status 1 bcc --list
	assert_says "holds records in the layout of another version; 'netracker detach --all' ends and reports them, then attach again"
	assert_status 1 bcc -i lo
	assert_says "holds records in the layout of another version"
	netracker detach --quiet --all
	assert_clean
}

# build_larger: the object with a larger table.
build_larger() {
	copy_of_tree "$BATS_TEST_TMPDIR/larger"
	make --silent -C "$BATS_TEST_TMPDIR/larger" MAX_CONNECTIONS=300000 NeTracker.bpf.o
}

@test "the module: records come once each and in order, however they are asked for, and connections are conserved" {
	http_server server
	python "$SERVER4" >"$BATS_TEST_TMPDIR/said" <<-'EOF' &
		import sys
		import netracker

		with netracker.attach("veth0") as tracker:
		    print("attached", flush=True)
		    seen = []
		    while len(seen) < 50:
		        # Left in the middle again and again.
		        for record in tracker.records():
		            seen.append(record["sport"])
		            if len(seen) % 7 == 0 or len(seen) == 50:
		                break
		    counters = tracker.counters()
		    assert counters["ended.SF"] == counters["attempts"] == counters["logged"] == 50, counters
		    assert list(tracker.records(follow=False)) == []
		    with netracker.attached(oldest=True) as other:
		        again = [record["sport"] for record in other.records(follow=False)]
		    assert again == seen, (again, seen)
		    print(*seen)
	EOF
	wait_for grep --quiet attached "$BATS_TEST_TMPDIR/said"
	in_netns client bash -c "for i in {1..50}; do curl --silent --output /dev/null http://$SERVER4:8000/close; done"
	wait $!
	assert_equal "ports" "$(sed 1d "$BATS_TEST_TMPDIR/said")" "$(cut -d ' ' -f 2 "$ACCESS_LOG" | xargs)"
	assert_clean
}

@test "the module: what the log has lost is told exactly" {
	build_small_log
	http_server server
	NETRACKER_OBJ=$BATS_TEST_TMPDIR/small/NeTracker.bpf.o
	export NETRACKER_OBJ
	NETRACKER_PYTHON=$BATS_TEST_TMPDIR/small/scripts python >"$BATS_TEST_TMPDIR/said" <<-'EOF' &
		import sys
		import netracker

		with netracker.attach("veth0") as tracker:
		    print("attached", flush=True)
		    while tracker.counters()["logged"] < 100:
		        pass
		    records = list(tracker.records(follow=False))
		    assert len(records) + sum(record.get("lost_before", 0) for record in records) == 100, records
		    print(records[0]["lost_before"], len(records))
	EOF
	wait_for grep --quiet attached "$BATS_TEST_TMPDIR/said"
	in_netns client bash -c "for i in {1..100}; do curl --silent --output /dev/null http://$SERVER4:8000/close; done"
	wait $!
	assert_equal "lost, shown" "$(sed 1d "$BATS_TEST_TMPDIR/said")" "36 64"
	assert_clean
}

# build_small_log: a tree whose log holds 64 records.
build_small_log() {
	copy_of_tree "$BATS_TEST_TMPDIR/small"
	make --silent -C "$BATS_TEST_TMPDIR/small" LOG_RECORDS=64
}

@test "the module: tables are bcc's, with the members of NeTracker.h" {
	in_background in_netns server python3 "$ROOT/tests/peer.py" serve 7000
	wait_for listening server 7000
	follow out
	background peer client connect "$SERVER4" 7000
	wait_for is_at_rest 1
	run python "$CLIENT4" "$(cut -d ' ' -f 2 "$BACKGROUND_OUTPUT")" <<-'EOF'
		import ipaddress
		import sys
		import bcc.table
		import netracker

		with netracker.attached() as tracker:
		    connections = tracker["conn_map"]
		    assert isinstance(connections, bcc.table.HashTable)
		    ((key, connection),) = connections.items()
		    assert str(ipaddress.IPv6Address(bytes(key.src)).ipv4_mapped) == sys.argv[1]
		    assert (key.sport, key.dport) == (int(sys.argv[2]), 7000)
		    (live,) = tracker.connections()
		    flow = connection.flow
		    assert (flow.syn_rtt_ns, flow.ack_rtt_ns, flow.syn_retrans) == (live["syn_rtt_ns"], live["ack_rtt_ns"], 0)
		    assert tracker["nt_ifaces"][flow.iface].name == b"veth0"
		    assert not any(name in dir(flow) for name in ("sport", "nonsense"))
		    try:
		        tracker["nonsense"]
		    except KeyError:
		        print("right")
	EOF
	assert_equal "status, output" "$status:$output" "0:right"
	end_followers
}

@test "where the kernel does not tell where filters hang, tc is asked" {
	http_server server
	copy_of_tree "$BATS_TEST_TMPDIR/tree"
	make --silent -C "$BATS_TEST_TMPDIR/tree" all
	rm "$BATS_TEST_TMPDIR/tree/view/hooks.bpf.o"
	in_background nsenter --net="$NETNS_DIR/server" -- "$BATS_TEST_TMPDIR/tree/scripts/netracker-bcc" -i veth0 >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/out.said"
	wait_for_words "$BATS_TEST_TMPDIR/out" LADDR
	get
	wait_for_words "$BATS_TEST_TMPDIR/out" " SF "
	assert_status 0 in_netns server "$BATS_TEST_TMPDIR/tree/scripts/netracker-bcc" --list
	assert_ended 0 "$BACKGROUND_PID" INT
	assert_equal "words" "$(<"$BATS_TEST_TMPDIR/out.said")" ""
	assert_clean
}

# example N: the Nth runnable block of docs/python.md, on standard output.
example() {
	# shellcheck disable=SC2016 # these marks are Markdown's
	awk -v n="$1" '/^```/ { inside = /^```python runnable$/ ? ++seen : 0; next } inside == n' "$ROOT/docs/python.md"
}

@test "the examples in docs/python.md do what the page says" {
	local example
	in_netns server ip link set veth0 down
	in_netns server ip link set veth0 name eth0
	in_netns server ip link set eth0 up
	add_address server eth0 "$SERVER6"
	http_server server
	in_background in_netns server python3 "$ROOT/tests/peer.py" serve 7000
	wait_for listening server 7000
	for example in 1 2 3 4; do
		example "$example" >"$BATS_TEST_TMPDIR/$example.py"
		[[ $(<"$BATS_TEST_TMPDIR/$example.py") == *"import netracker"* ]] || fail "there is no example $example any more"
	done
	assert_equal "a fifth example" "$(example 5)" ""

	background in_netns server env PYTHONPATH="$ROOT/scripts" /usr/bin/python3 -u "$BATS_TEST_TMPDIR/1.py"
	wait_for is_attached_to eth0
	get
	get
	get
	wait "$BACKGROUND_PID"
	[[ $(grep -c -E "^$CLIENT4 -> $SERVER4 SF [0-9.]+ ms$" "$BACKGROUND_OUTPUT") == 3 ]] || fail "$(<"$BACKGROUND_OUTPUT")"

	netracker attach --quiet eth0
	background peer client connect "$SERVER4" 7000
	wait_for is_at_rest 1
	run python <"$BATS_TEST_TMPDIR/2.py"
	assert_equal "second" "$status:$output" "0:1 connections of $CLIENT4"$'\n''1 attempts so far'
	run python <"$BATS_TEST_TMPDIR/3.py"
	[[ $status:$output =~ ^0:$CLIENT4\ [0-9]+\ -\>\ 7000\ [0-9]+\ ns$ ]] || fail "$output"
	run python <"$BATS_TEST_TMPDIR/4.py"
	assert_equal "fourth" "$status:$output" "1:nowhere0: no such interface; 'ip link' lists them"
	netracker detach --quiet --all
}

is_attached_to() {
	[[ $(in_netns server tc filter show dev "$1" egress) ]]
}
