# shellcheck shell=bash disable=SC2034 # what is set here is for helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# For the tests that play crafted packets. All tests of a file share one namespace, since to attach takes seconds: interface nt0,
# tracked, with its peer nt1; lo and tun0, tracked as well. None has an address, so nothing but the test is on the wire. Handshakes
# time out after 1 s, half-closed connections after 2 s. Each test ends with the law at struct counters.
#
#   play [LINK…] <SCENARIO    tests/wire/play.py there
#   wire COMMAND…             COMMAND there

setup_file() {
	local BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR BATS_TEST_NUMBER=0
	isolate
	requires kernel_5.16 object
	export LABORATORY NETNS_DIR TRACE
	new_netns wire
	# Else the kernel's own frames, by which hosts find each other, are on the wire as well.
	if [[ -e /proc/net/if_inet6 ]]; then
		wire bash -c 'echo 1 | tee /proc/sys/net/ipv6/conf/{all,default}/disable_ipv6' >/dev/null
	fi
	wire ip link add nt0 mtu 65535 type veth peer name nt1 mtu 65535
	wire ip tuntap add tun0 mode tun
	wire ip link set nt0 up
	wire ip link set nt1 up
	wire ip link set tun0 up
	attach_raw wire nt0
	attach_again wire lo wire nt0
	attach_again wire tun0 wire nt0
	set_times 1 2
	trace_start
}

teardown_file() {
	clean_up
}

setup() {
	[[ -v TRACE ]] || skip "needs what setup_file could not make"
}

# No test of these files, whatever it has sent, may lose a connection.
teardown() {
	[[ ! -v TRACE ]] || assert_conserved
}

wire() {
	in_netns wire "$@"
}

play() {
	wire python3 "$ROOT/tests/wire/play.py" "$TRACE/trace" "$@"
}
