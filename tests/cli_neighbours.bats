#!/usr/bin/env bats
# shellcheck disable=SC2154 # $stdout and $output are set in cli_helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The command among others on the machine: other tools' maps, another tracker, a bpffs that is not what it was, interfaces that are gone.
# What is ours is known by what it is; nobody else's is touched.

load helpers
load cli_helpers

setup_file() {
	((EUID)) || build_stub "$BATS_FILE_TMPDIR/stub"
}

setup() {
	isolate
	export NETRACKER_LOCK=$BATS_TEST_TMPDIR/lock NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	use_stub
	new_netns server
	new_netns client
	new_veth server veth0 client veth0
}

# foreign_map NAME [WHAT…]: somebody else's, pinned where tc pins all programs' maps.
foreign_map() {
	local what=("${@:2}")
	((${#what[@]})) || what=(type hash key 4 value 4 entries 10)
	mkdir -p "$PINS"
	bpftool map create "$PINS/$1" "${what[@]}" name "${1:0:15}"
}

foreign_id() {
	bpftool --json map show pinned "$PINS/$1" | jq .id
}

@test "another tool's map of a name that we need: named with what it is, never touched, never advised to be" {
	local before
	foreign_map conn_map type hash key 16 value 8 entries 1000
	before=$(foreign_id conn_map)
	assert_status 3 netracker status
	assert_status 1 netracker attach veth0
	assert_says "$PINS/conn_map is not the tracker's"
	assert_says 'type hash, key 16 bytes, value 8 bytes'
	[[ $output != *'detach --all'* ]] || fail "$output"
	assert_status 3 netracker detach --all
	assert_equal "the map" "$(foreign_id conn_map)" "$before"
	assert_equal "qdiscs" "$(in_netns server tc qdisc show dev veth0 | grep clsact || true)" ''
}

# load_their_tool NAME: an object of somebody else's on veth0 in client, which has a conn_map and pins it as tc has it done.
load_their_tool() {
	cat >"$BATS_TEST_TMPDIR/theirs.c" <<-EOF
		#include <linux/bpf.h>
		#include <bpf/bpf_helpers.h>
		char LICENSE[] SEC("license") = "GPL";
		struct {
			__uint(type, BPF_MAP_TYPE_HASH);
			__uint(max_entries, 10);
			__type(key, __u64);
			__type(value, __u32);
			__uint(pinning, LIBBPF_PIN_BY_NAME);
		} conn_map SEC(".maps");
		volatile __u32 seen;
		SEC("theirs")
		int $1(struct __sk_buff *skb)
		{
			__u64 key = skb->mark;
			seen = key;
			return bpf_map_lookup_elem(&conn_map, &key) ? 0 : -1;
		}
	EOF
	clang -O2 -g -target bpf -I"/usr/include/$(uname -m)-linux-gnu" -c "$BATS_TEST_TMPDIR/theirs.c" -o "$BATS_TEST_TMPDIR/theirs.o"
	in_netns client tc qdisc add dev veth0 clsact
	in_netns client tc filter add dev veth0 ingress bpf da obj "$BATS_TEST_TMPDIR/theirs.o" sec theirs
}

@test "who uses the map that is in the way is said" {
	local before
	load_their_tool their_tool
	before=$(foreign_id conn_map)
	assert_status 1 netracker attach veth0
	assert_says "$PINS/conn_map is not the tracker's"
	assert_says 'used by the program their_tool'
	assert_equal "the map" "$(foreign_id conn_map)" "$before"
	in_netns client tc qdisc del dev veth0 clsact
	rm "$PINS/conn_map"
}

@test "another tool's filter whose program is named like ours, on maps that nobody pins, lives through attach and detach" {
	local before
	load_their_tool netracker_lookalike
	rm "$PINS/conn_map"
	sed -i 's/conn_map/their_map/' "$BATS_TEST_TMPDIR/theirs.c"
	clang -O2 -g -target bpf -I"/usr/include/$(uname -m)-linux-gnu" -c "$BATS_TEST_TMPDIR/theirs.c" -o "$BATS_TEST_TMPDIR/theirs.o"
	in_netns server tc qdisc add dev veth0 clsact
	in_netns server tc filter add dev veth0 ingress bpf da obj "$BATS_TEST_TMPDIR/theirs.o" sec theirs
	rm "$PINS/their_map"
	before=$(filters_on ingress)
	assert_status 3 netracker status
	assert_status 0 netracker attach --quiet veth0
	assert_equal "theirs" "$(filters_on ingress | grep -v tc_ing)" "$before"
	assert_status 0 netracker detach --quiet veth0
	assert_status 3 netracker detach --all
	assert_equal "theirs" "$(filters_on ingress)" "$before"
}

@test "another tool's maps whose names begin like ours live through attach and detach" {
	local before
	foreign_map nt_policy
	bpftool map update pinned "$PINS/nt_policy" key 1 0 0 0 value 7 0 0 0
	before=$(foreign_id nt_policy)
	assert_status 0 netracker attach --quiet veth0
	assert_status 0 netracker status
	assert_status 0 netracker detach --quiet --all
	assert_equal "the map" "$(foreign_id nt_policy)" "$before"
	rm "$PINS/nt_policy"
	assert_clean
}

# container NAME COMMAND…: in a mount namespace with a bpffs of its own, as a container has, where a tracker of its own may be.
container() {
	local name=$1
	shift
	if [[ ! -e $BATS_TEST_TMPDIR/$name.pid ]]; then
		# shellcheck disable=SC2016 # for the inner shell
		background unshare --mount bash -c 'mount -t bpf bpf /sys/fs/bpf && echo $$ >"$1" && exec sleep 600' bash "$BATS_TEST_TMPDIR/$name.pid"
		wait_for test -s "$BATS_TEST_TMPDIR/$name.pid"
	fi
	nsenter --mount="/proc/$(<"$BATS_TEST_TMPDIR/$name.pid")/ns/mnt" --net="$NETNS_DIR/server" -- "$@"
}

# our_side: the maps that are pinned here.
our_side() {
	find "$PINS" -type f 2>/dev/null | wc -l
}

@test "two trackers with a bpffs each: neither takes the other's filters for its own" {
	in_netns server ip link add other type veth peer name other2
	netracker attach --quiet veth0
	container box "$NETRACKER" attach --quiet other
	assert_equal "interfaces here" "$(netracker status --json | jq --raw-output '.interfaces[].ifname' | paste -sd ' ')" veth0
	assert_equal "interfaces there" "$(container box "$NETRACKER" status --json | jq --raw-output '.interfaces[].ifname' | paste -sd ' ')" other
	assert_status 3 netracker detach other
	assert_says 'the tracker there is another one'

	# The last interface here: all of ours goes, and nothing of theirs.
	assert_status 0 netracker detach --quiet veth0
	assert_equal "pins here" "$(our_side)" 0
	assert_equal "filters on other" "$(in_netns server tc filter show dev other ingress | grep -c tc_ing)" 1
	assert_status 0 container box "$NETRACKER" status
	assert_status 3 netracker detach --all
	assert_equal "filters on other" "$(in_netns server tc filter show dev other ingress | grep -c tc_ing)" 1
	container box "$NETRACKER" detach --quiet --all
	assert_clean
}

@test "two trackers on one interface: each attaches and detaches its own" {
	netracker attach --quiet veth0
	container box "$NETRACKER" attach --quiet veth0
	assert_equal "filters" "$(filters_on ingress | grep -c tc_ing)" 2
	assert_status 0 netracker status --json
	assert_equal "state" "$(jq --raw-output '.interfaces[].state' <<<"$stdout")" attached
	netracker detach --quiet veth0
	assert_equal "filters" "$(filters_on ingress | grep -c tc_ing)" 1
	assert_equal "state there" "$(container box "$NETRACKER" status --json | jq --raw-output '.interfaces[].state')" attached
	container box "$NETRACKER" detach --quiet veth0
	assert_equal "filters" "$(all_filters)" ''
	# Made here, with the other's filters on it when ours went.
	in_netns server tc qdisc del dev veth0 clsact
	assert_clean
}

# used_entries: how many of nt_ifaces are taken.
used_entries() {
	bpftool --json map dump pinned "$PINS/nt_ifaces" | jq '[.[].formatted.value | select(.ifindex != 0)] | length'
}

# fill_entries: nt_ifaces is full of interfaces that have come and gone, the one with the entry 7 first of all.
fill_entries() {
	local i since
	for ((i = 2; i < 256; i++)); do
		since=$((i == 7 ? 1 : 100))
		printf 'map update pinned %s key %d 0 0 0 value 103 111 110 101 0 0 0 0 0 0 0 0 0 0 0 0 %d 1 0 0 0 0 0 0 1 0 0 0 0 0 0 0 %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n' \
			"$PINS/nt_ifaces" "$i" "$i" "$since"
	done >"$BATS_TEST_TMPDIR/batch"
	bpftool batch file "$BATS_TEST_TMPDIR/batch" >/dev/null
}

@test "a table of interfaces full of those that are gone has room: the one that came first gives way" {
	netracker attach --quiet veth0
	fill_entries
	assert_equal "entries" "$(used_entries)" 255
	in_netns server ip link add other type veth peer name other2
	assert_status 0 netracker attach --quiet other
	assert_equal "entry 7" "$(bpftool --json map dump pinned "$PINS/nt_ifaces" | jq --raw-output '.[7].formatted.value.name')" other
	assert_equal "entry 1" "$(bpftool --json map dump pinned "$PINS/nt_ifaces" | jq --raw-output '.[1].formatted.value.name')" veth0
	netracker detach --quiet --all
	assert_clean
}

# connection_tables: the kernel's numbers of the maps that hold connections.
connection_tables() {
	local name
	for name in conn_map syn_map nt_pool nt_rest nt_places nt_watch nt_silence; do
		bpftool --json map show pinned "$PINS/$name" | jq .id
	done
}

@test "a pin is removed under live filters: each verb says so, attach makes it anew, detach leaves nothing" {
	local verb name before
	for name in conn_map syn_map nt_pool nt_rest nt_counters nt_ifaces nt_config nt_log nt_log_head; do
		netracker attach --quiet veth0
		before=$(connection_tables)
		rm "$PINS/$name"
		# The views hold the maps as the filters do.
		assert_status 0 netracker list
		for verb in stats config 'stats --reset'; do
			# shellcheck disable=SC2086 # words
			assert_status 1 netracker $verb
			assert_says "the pin $PINS/$name is gone"
			assert_equal "lines of $verb" "$(wc -l <<<"$output")" 1
		done
		assert_status 0 netracker status
		assert_says "$PINS/$name"
		assert_equal "words on stderr" "$(cat "$BATS_TEST_TMPDIR/stderr")" ''
		assert_status 0 netracker attach --quiet veth0
		assert_whole
		assert_status 0 netracker stats
		# Those that tell of each other are made anew together.
		[[ $name != @(conn_map|syn_map|nt_pool|nt_rest|nt_places|nt_watch|nt_silence) ]] ||
			assert_equal "tables that are still there" "$(comm -12 <(sort <<<"$before") <(connection_tables | sort))" ""
		netracker detach --quiet veth0
		# Whose it was stood in the map that was lost.
		[[ $name != nt_ifaces ]] || in_netns server tc qdisc del dev veth0 clsact
		assert_clean
	done
}

# set_log WRITTEN READ: as if so many records had been written, and read by the consumer without a name. Less than 256.
set_log() {
	# shellcheck disable=SC2046 # bytes are words
	bpftool map update pinned "$PINS/nt_log_head" key 0 0 0 0 value "$1" $(printf '0 %.0s' {1..63})
	# shellcheck disable=SC2046
	bpftool map update pinned "$VIEWS/cursor" key 0 0 0 0 value "$2" $(printf '0 %.0s' {1..79})
}

@test "a log that begins anew has nothing unread, whatever had been read of the one before" {
	local name
	netracker attach --quiet veth0
	set_log 7 5
	assert_equal "unread and lost" "$(sed -n 1p "$VIEWS/unread")" '2 0'
	for name in nt_log_head nt_log; do
		set_log 7 5
		rm "$PINS/$name"
		netracker attach --quiet veth0
		assert_equal "unread and lost without $name" "$(sed -n 1p "$VIEWS/unread")" '0 0'
	done
	# A cursor that was meant for another log: all is unread.
	set_log 7 9
	assert_equal "unread and lost" "$(sed -n 1p "$VIEWS/unread")" '7 0'
	set_log 7 5
	find "$PINS" -type f -delete
	netracker attach --quiet veth0
	assert_equal "unread and lost" "$(sed -n 1p "$VIEWS/unread")" '0 0'
}

# status_says TEXT
status_says() {
	assert_status 0 netracker status
	assert_says "$1"
}

@test "all pins are removed: status says so, detach removes the filters, attach begins anew" {
	netracker attach --quiet veth0
	find /sys/fs/bpf -type f ! -name '*.debug' -delete
	# Whoever lists all maps of the machine holds ours for a moment, too.
	wait_for status_says 'veth0: stray'
	assert_status 0 netracker status
	assert_says 'pinned nowhere any more'
	assert_equal "words on stderr" "$(cat "$BATS_TEST_TMPDIR/stderr")" ''
	assert_status 3 netracker stats
	assert_status 0 netracker attach --quiet veth0
	assert_whole
	find /sys/fs/bpf -type f ! -name '*.debug' -delete
	wait_for assert_status 0 netracker detach --quiet veth0
	assert_equal "filters" "$(all_filters)" ''
	# Whose it was stood in the map that was lost.
	in_netns server tc qdisc del dev veth0 clsact
	assert_clean
}

@test "another bpffs lies over the one with the pins: each verb says so, nothing under it is touched" {
	local before
	netracker attach --quiet veth0
	before=$(all_filters)
	mount -t bpf bpf /sys/fs/bpf
	assert_status 3 netracker status
	assert_says 'another tracker is, whose tables are in another BPF file system'
	assert_status 3 netracker stats
	assert_status 3 netracker detach --quiet veth0
	assert_says 'the tracker there is another one'
	assert_equal "filters" "$(all_filters)" "$before"
	umount /sys/fs/bpf
	assert_whole
	netracker detach --quiet veth0
	assert_clean
}

@test "the interface is gone: status says so with exit status 3, and attach takes the place again" {
	netracker attach --quiet veth0
	in_netns server tc qdisc del dev veth0 clsact
	assert_status 3 netracker status
	assert_says 'veth0: gone'
	assert_says 'not attached to any interface any more'
	assert_status 0 netracker attach --quiet veth0
	assert_whole
	netracker detach --quiet veth0
	assert_clean
}

# in_ip_netns_exec COMMAND…: as `ip netns exec server` runs it.
in_ip_netns_exec() {
	if [[ ! -e /run/netns/server ]]; then
		mkdir -p /run/netns
		mount -t tmpfs tmpfs /run/netns
		: >/run/netns/server
		mount --bind "$NETNS_DIR/server" /run/netns/server
	fi
	ip netns exec server "$@"
}

@test "ip netns exec: what is attached in it lasts, and is seen from everywhere" {
	in_ip_netns_exec test ! -e /sys/fs/bpf/tc
	assert_status 0 in_ip_netns_exec "$NETRACKER" attach --quiet veth0
	assert_whole
	assert_status 0 in_ip_netns_exec "$NETRACKER" status
	assert_says 'veth0: attached'
	assert_status 0 netracker status
	assert_status 0 in_ip_netns_exec "$NETRACKER" config handshake_timeout=2
	assert_equal config "$(netracker config | head -1)" handshake_timeout=2
	assert_status 0 in_ip_netns_exec "$NETRACKER" detach --quiet veth0
	umount --recursive /run/netns
	assert_clean
}

@test "a device whose packets do not pass the hooks: attach says where to attach instead" {
	in_netns server ip link add bridge0 type bridge
	assert_status 0 netracker attach --quiet bridge0
	assert_says "bridge0: what the ports of a bridge send each other does not pass its hooks"
	if in_netns server ip link add vrf0 type vrf table 10 2>/dev/null; then
		assert_status 0 netracker attach --quiet vrf0
		assert_says "vrf0: what its members receive and send does not pass"
	fi
	assert_status 0 netracker attach --quiet veth0
	[[ $output != *hooks* ]] || fail "$output"
	netracker detach --quiet --all
	assert_clean
}

@test "others' pins where the views are stay; attach names them, detach goes on without" {
	local name
	for name in "" /records /plan; do
		[[ ! $name ]] || mkdir -p "$VIEWS"
		bpftool map create "$VIEWS$name" type array key 4 value 4 entries 1 name foreign
		assert_status 1 netracker attach --quiet veth0
		assert_says "$VIEWS$name is not the tracker's: a map of type array"
		bpftool map show pinned "$VIEWS$name" >/dev/null || fail "it was taken away"
		rm -r "${VIEWS:?}"
	done
	assert_status 0 netracker attach --quiet veth0
	mkdir -p "$VIEWS"
	bpftool map create "$VIEWS/flush" type array key 4 value 4 entries 1 name foreign
	bpftool map create "$VIEWS/other" type array key 4 value 4 entries 1 name foreign
	assert_status 0 netracker detach --quiet veth0
	assert_says "$VIEWS/flush is not the tracker's"
	assert_says "$VIEWS stays, as others have pinned something there"
	assert_equal "left" "$(find "$VIEWS" -type f | sort | xargs)" "$VIEWS/flush $VIEWS/other"
	rm -r "${VIEWS:?}"
}
