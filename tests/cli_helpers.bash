# shellcheck shell=bash disable=SC2034 # much of what is set here is for the tests
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the tests of the command share, beside helpers.bash.
#
#   build_stub DIR [CFLAG…]      tests/cli_stub.bpf.c as DIR/NeTracker.bpf.o
#   use_stub                     the command attaches it from now on
#   netracker ARGUMENT…          the command in the namespace `server`
#   assert_status WANT COMMAND…  run COMMAND, which has to end so; $output is what it wrote, $stdout the data alone
#   assert_says TEXT             $output has it
#   filters_on HOOK              HANDLE NAME of each filter on veth0 in `server`
#   all_filters                  the same on both hooks
#   assert_whole, assert_clean   veth0 in `server` is attached with all that belongs to it; there is nothing of the tracker's
#   is_read [CONSUMER]           somebody reads the log as this consumer
#   small_disk                   a file system of 64 KiB at $SMALL, which the test has to unmount
#   foreign_filter HOOK PREF     hang somebody else's there
#   as_user COMMAND…             run COMMAND as nobody, if we are root
# bats sets $BATS_FILE_TMPDIR; a file's setup_file builds the stub there.

stdout='' output=''
VIEWS=/sys/fs/bpf/netracker

build_stub() {
	local dir=$1
	shift
	mkdir -p "$dir"
	clang -O2 -g -target bpf -mcpu=v3 -I"$ROOT" -I"/usr/include/$(uname -m)-linux-gnu" "$@" -c "$ROOT/tests/cli_stub.bpf.c" -o "$dir/NeTracker.bpf.o"
}

use_stub() {
	export NETRACKER_OBJ=${1:-$BATS_FILE_TMPDIR/stub}/NeTracker.bpf.o
}

netracker() {
	in_netns server "$NETRACKER" "$@"
}

as_user() {
	if ((EUID)); then
		"$@"
	else
		# The clone may be where only root gets in: the right to read it is all that is kept.
		setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
	fi
}

assert_status() {
	local want=$1 status=0
	shift
	"$@" >"$BATS_TEST_TMPDIR/stdout" 2>"$BATS_TEST_TMPDIR/stderr" </dev/null || status=$?
	stdout=$(<"$BATS_TEST_TMPDIR/stdout")
	output=$(cat "$BATS_TEST_TMPDIR/stderr" "$BATS_TEST_TMPDIR/stdout")
	[[ $status == "$want" ]] || fail "'${*: -3}' ended with $status, want $want: $output"
}

assert_says() {
	[[ $output == *"$1"* ]] || fail "'$1' is not in: $output"
}

filters_on() {
	in_netns server tc -json filter show dev veth0 "$1" 2>/dev/null |
		jq --raw-output '.[] | select(.options) | "\(.options.handle) \(.options.bpf_name // "bytecode")"'
}

all_filters() {
	filters_on ingress
	filters_on egress
}

assert_whole() {
	assert_equal ingress "$(filters_on ingress | cut -d ' ' -f 2)" 'NeTracker.bpf.o:[tc_ing]'
	assert_equal egress "$(filters_on egress | cut -d ' ' -f 2)" 'NeTracker.bpf.o:[tc_en]'
	assert_equal 'named interfaces' "$(named_interfaces)" veth0
	[[ -e $VIEWS/log ]] || fail "no log"
}

named_interfaces() {
	bpftool --json map dump pinned "$PINS/nt_ifaces" | jq --raw-output '.[].formatted.value | select(.ifindex != 0) | .name'
}

assert_clean() {
	assert_equal ingress "$(filters_on ingress)" ''
	assert_equal egress "$(filters_on egress)" ''
	assert_equal qdiscs "$(in_netns server tc qdisc show dev veth0 | grep clsact || true)" ''
	assert_equal pins "$(find /sys/fs/bpf -type f ! -name '*.debug')" ''
	[[ ! -d $VIEWS ]] || fail "$VIEWS is still there"
}

is_read() {
	[[ -e $VIEWS${1:+/consumers/$1}/log ]] && ! flock --nonblock "$VIEWS${1:+/consumers/$1}/log" true
}

small_disk() {
	SMALL=$BATS_TEST_TMPDIR/small
	mkdir "$SMALL"
	mount -t tmpfs -o size=64k small "$SMALL"
}

foreign_filter() {
	in_netns server tc filter add dev veth0 "$1" pref "$2" bpf bytecode '1,6 0 0 0' flowid 1:1
}
