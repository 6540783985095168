#!/usr/bin/env bats
# shellcheck disable=SC2153 # NETRACKER is set in helpers.bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Whose connection it was: docs/fields.md. First what the formatter makes of a cgroup's path, which needs no root: a tree of ordinary
# directories stands for the cgroups, as their inode numbers are ids too. Then real sockets of real cgroups.

load helpers

readonly ID=4f8ad5dc1e7b0c6d2a39885f7e6b1c0d9a8b7c6d5e4f30211203040506070809

setup() {
	[[ $BATS_TEST_DESCRIPTION == format:* ]] || isolate
	export NT_CGROUPS=$BATS_TEST_TMPDIR/cgroup NT_BOOT_US=0
	mkdir "$NT_CGROUPS"
}

teardown() {
	[[ $BATS_TEST_DESCRIPTION == format:* ]] || clean_up
	[[ ! -v CGROUP ]] || find "$CGROUP" -depth -type d -delete
}

# format json|table|NOTHING [KEY=VALUE…]: what the formatter makes of one record whose line ends with these.
format() {
	local form=$1
	shift
	echo "netracker: 192.0.2.1:40000 -> 192.0.2.2:80 dur_ns=2000000 state=SF dir=in first_fin_ns=1 syn_rtt_ns=1 ack_rtt_ns=1" \
		"orig_bytes=1000 resp_bytes=5000000000 syn_retrans=0 start_ns=1 ifindex=2 ifname=eth0 $*" |
		awk -f "$ROOT/scripts/lib/address.awk" -f "$ROOT/scripts/lib/owner.awk" -f "$ROOT/scripts/lib/record.awk" \
			-f "$ROOT/scripts/lib/$form.awk"
}

# make_cgroup PATH: print its id.
make_cgroup() {
	mkdir --parents "$NT_CGROUPS/$1"
	stat --format=%i "$NT_CGROUPS/$1"
}

# owner_of PATH
owner_of() {
	format json "uid=0 cgroup=$(make_cgroup "$1")" | jq --raw-output .owner
}

@test "format: systemd units" {
	assert_equal service "$(owner_of system.slice/nginx.service)" nginx.service
	assert_equal "service's own subtree" "$(owner_of system.slice/nginx.service/worker/1)" nginx.service
	assert_equal template "$(owner_of 'system.slice/system-getty.slice/getty@tty1.service')" getty@tty1.service
	assert_equal session "$(owner_of user.slice/user-1000.slice/session-3.scope)" session-3.scope
	assert_equal "user's service" "$(owner_of 'user.slice/user-1000.slice/user@1000.service/app.slice/sync.service')" sync.service
	assert_equal "user's manager" "$(owner_of 'user.slice/user-1000.slice/user@1000.service/init.scope')" user@1000.service
	assert_equal "PID 1" "$(owner_of init.scope)" init.scope
	assert_equal slice "$(owner_of user.slice)" user.slice
	assert_equal "inner slice" "$(owner_of user.slice/user-1000.slice)" user-1000.slice
}

@test "format: containers, by the names that their runtimes give to cgroups" {
	local path
	for path in "docker/$ID" "system.slice/docker-$ID.scope" "system.slice/docker-$ID.scope/init" "system.slice/containerd.service/$ID" \
		"machine.slice/libpod-$ID.scope/container" "system.slice/web.service/libpod-payload-$ID" \
		"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-$ID.scope" \
		"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-$ID.scope" \
		"kubepods.slice/kubepods-pod3.slice/crio-$ID.scope" "kubepods/besteffort/pod1-2/$ID" \
		"system.slice/containerd.service/kubepods-pod4.slice:cri-containerd:$ID" \
		"system.slice/docker-${ID/4/5}.scope/kubelet.slice/kubepods-pod5.slice/cri-containerd-$ID.scope" \
		"docker/$ID/system.slice/nginx.service"; do
		assert_equal "$path" "$(owner_of "$path")" "${ID:0:12}"
	done
	assert_equal "what is as long and not hexadecimal" "$(owner_of "docker/${ID/4/x}")" "/docker/${ID/4/x}"
	assert_equal "Podman's monitor" "$(owner_of "machine.slice/libpod-conmon-$ID.scope")" "libpod-conmon-$ID.scope"
}

@test "format: the root cgroup, other cgroups, one that is gone, one that nobody knows" {
	local gone
	assert_equal root "$(owner_of .)" /
	assert_equal other "$(owner_of lxc/web)" /lxc/web
	gone=$(make_cgroup gone)
	rmdir "$NT_CGROUPS/gone"
	assert_equal gone "$(format json "uid=0 cgroup=$gone" | jq --compact-output '[.owner, .cgroup]')" "[\"#$gone\",$gone]"
	assert_equal "not known" "$(format json '' | jq --compact-output '[.owner, .cgroup, .user, .uid]')" '[null,null,null,null]'
	assert_equal "cgroup 0, which is none" "$(format json uid=0 cgroup=0 | jq --compact-output '[.owner, .cgroup, .user]')" '[null,null,"root"]'
	NT_CGROUPS='' assert_equal "no cgroup2" "$(NT_CGROUPS='' format json uid=0 cgroup=7 | jq --raw-output .owner)" '#7'
}

@test "format: a name cannot break the JSON or the terminal" {
	local id name=$'a "b" \e[31m\\x2d.service'
	id=$(make_cgroup "system.slice/$name")
	assert_equal JSON "$(format json "cgroup=$id" | jq --raw-output .owner)" "$name"
	! NT_TABLE=log NT_WIDE=1 format table "cgroup=$id" | grep --quiet $'\e' || fail "an escape sequence in the table"
	id=$(make_cgroup $'system.slice/b\xfcro\xe2\x82.service')
	assert_equal "JSON of what is no UTF-8" "$(format json "cgroup=$id" | sed 's/.*"owner"://; s/,.*//')" $'"b\xef\xbf\xbdro\xef\xbf\xbd.service"'
	assert_equal "the table of what is no UTF-8" "$(NT_TABLE=quality NT_WIDE=1 format table "cgroup=$id" | tail -1 | awk '{ print $NF }')" 'b?ro?.service'
	[[ $(NT_OWNER=$'b\xfcro\xe2\x82' format json "cgroup=$id") ]] || fail "it is not found by its name"
}

# shellcheck disable=SC2094 # the pipe waits for what it has written itself
@test "format: a cgroup that is made later is found; for one that is known the tree is not read again" {
	local line='netracker: 192.0.2.1:1 -> 192.0.2.2:80 dur_ns=1 state=SF start_ns=1' first second
	local -a interactive=()
	[[ $(awk -W version </dev/null 2>&1) != mawk* ]] || interactive=(-W interactive)
	first=$(make_cgroup a.service)
	{
		echo "$line cgroup=$first"
		echo 'netracker: end of batch'
		wait_for test -s "$BATS_TEST_TMPDIR/out"
		second=$(make_cgroup b.service)
		rmdir "$NT_CGROUPS/a.service"
		echo "$line cgroup=$second"
		echo "$line cgroup=$first"
		echo 'netracker: end of batch'
	} | NT_BATCHES=1 awk "${interactive[@]}" -f "$ROOT/scripts/lib/address.awk" -f "$ROOT/scripts/lib/owner.awk" -f "$ROOT/scripts/lib/record.awk" \
		-f "$ROOT/scripts/lib/json.awk" >"$BATS_TEST_TMPDIR/out"
	assert_equal owners "$(grep '^{' "$BATS_TEST_TMPDIR/out" | jq --raw-output .owner | xargs)" "a.service b.service a.service"
}

@test "format: --owner" {
	local id container name
	id=$(make_cgroup system.slice/nginx.service)
	container=$(make_cgroup "system.slice/docker-$ID.scope")
	for name in nginx.service nginx /system.slice /system.slice/ /system.slice/nginx.service; do
		[[ $(NT_OWNER=$name format json "cgroup=$id") ]] || fail "$name is not nginx.service"
	done
	for name in "${ID:0:12}" "${ID:0:20}" "$ID" /system.slice; do
		[[ $(NT_OWNER=$name format json "cgroup=$container") ]] || fail "$name is not the container"
	done
	id=$(make_cgroup system.slice/ssh.socket)
	for name in ssh ssh.socket ssh.service; do
		[[ $(NT_OWNER=$name format json "cgroup=$id") ]] || fail "$name is not ssh.socket"
	done
	id=$(make_cgroup 'system.slice/system-postgresql.slice/postgresql@15-main.service')
	for name in postgresql postgresql@15-main; do
		[[ $(NT_OWNER=$name format json "cgroup=$id") ]] || fail "$name is not postgresql@15-main.service"
	done
	for name in postgresql@15 postgres postgresql.service ssh.service; do
		[[ ! $(NT_OWNER=$name format json "cgroup=$id") ]] || fail "$name is not to be postgresql@15-main.service"
	done
	id=$(make_cgroup system.slice/nginx.service)
	[[ ! $(NT_OWNER=nginx.socket format json "cgroup=$id") ]] || fail "nginx.socket is not to be nginx.service"
	for name in ngin nginx.s 'ngin.*' / /system /system.slice/ngin service "$ID"; do
		[[ ! $(NT_OWNER=$name format json "cgroup=$id") ]] || fail "$name is not to be nginx.service"
		[[ ! $(NT_OWNER=$name format json) ]] || fail "$name is not to be the owner that nobody knows"
	done
}

@test "format: users by name, ids that nobody has as numbers" {
	assert_equal root "$(format json uid=0 | jq --compact-output '[.uid, .user]')" '[0,"root"]'
	assert_equal nobody "$(format json uid=3999999999 | jq --compact-output '[.uid, .user]')" '[3999999999,"3999999999"]'
}

@test "format: --quality" {
	local id
	id=$(make_cgroup nginx.service)
	NT_TABLE=quality NT_WIDE=1 format table "uid=0 cgroup=$id srtt_us=1250 min_rtt_us=40 retrans=17 pid=4711 comm=nginx held_by=send_buffer held_pct=83" \
		>"$BATS_TEST_TMPDIR/table"
	assert_equal headings "$(head -1 "$BATS_TEST_TMPDIR/table" | xargs)" \
		"ORIGINATOR RESPONDER MS HELD_BY COMM PID HELD_PCT SRTT_MS RETR ORIG_MBIT RESP_MBIT MIN_MS OWNER"
	assert_equal row "$(tail -1 "$BATS_TEST_TMPDIR/table" | xargs)" \
		"192.0.2.1:40000 192.0.2.2:80 2.000 send_buffer nginx 4711 83 1.250 17 4.000 20000000.000 0.040 nginx.service"
	assert_equal "nothing known" "$(NT_TABLE=quality NT_WIDE=1 format table | tail -1 | xargs)" \
		"192.0.2.1:40000 192.0.2.2:80 2.000 - - - - - - 4.000 20000000.000 - -"
	assert_equal "80 columns" "$(NT_TABLE=quality NT_WIDTH=80 format table | head -1 | xargs)" "ORIGINATOR RESPONDER MS HELD_BY COMM"
	assert_equal "132 columns" "$(NT_TABLE=quality NT_WIDTH=132 format table | head -1 | xargs)" \
		"ORIGINATOR RESPONDER MS HELD_BY COMM PID HELD_PCT SRTT_MS RETR ORIG_MBIT RESP_MBIT"
}

@test "format: 200 cgroups, mixed: each record has the name of its own" {
	local i
	for ((i = 0; i < 200; i++)); do
		make_cgroup "system.slice/unit$i.service" >>"$BATS_TEST_TMPDIR/ids"
	done
	format json "uid=0 cgroup=7" >/dev/null
	awk '{ id[NR] = $1 }
		END {
			for (i = 0; i < 2000; i++)
				print "netracker: 192.0.2.1:" i % NR " -> 192.0.2.2:80 dur_ns=1 state=SF dir=in start_ns=1 uid=" i % 9 " cgroup=" id[i % NR + 1]
		}' "$BATS_TEST_TMPDIR/ids" |
		awk -f "$ROOT/scripts/lib/address.awk" -f "$ROOT/scripts/lib/owner.awk" -f "$ROOT/scripts/lib/record.awk" \
			-f "$ROOT/scripts/lib/json.awk" >"$BATS_TEST_TMPDIR/out"
	assert_equal "records, owners" "$(wc -l <"$BATS_TEST_TMPDIR/out") $(jq --raw-output .owner "$BATS_TEST_TMPDIR/out" | sort -u | wc -l)" "2000 200"
	assert_equal "records of somebody else's" "$(jq 'select(.owner != "unit\(.sport).service")' "$BATS_TEST_TMPDIR/out")" ''
}

# use_cgroups: the kernel's own tree from now on, not one of ordinary directories; in it, what is below $CGROUP.
use_cgroups() {
	NT_CGROUPS=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[[ $NT_CGROUPS ]] || lacking "needs cgroup2 to be mounted"
	CGROUP=$NT_CGROUPS/$NETRACKER_TEST_ID-$BATS_TEST_NUMBER
	mkdir "$CGROUP"
}

# peer_in CGROUP UID NS ARGUMENT…: tests/peer.py there. python3 gets the program as an argument: not every user can read this tree.
peer_in() {
	local cgroup=$CGROUP/$1 uid=$2 netns=$3
	mkdir --parents "$cgroup"
	# shellcheck disable=SC2016 # for that shell
	in_netns "$netns" bash -c 'echo 0 >"$1/cgroup.procs" && exec setpriv --reuid "$2" --regid "$2" --clear-groups -- "${@:3}"' \
		peer_in "$cgroup" "$uid" /usr/bin/python3 -c "$(<"$ROOT/tests/peer.py")" "${@:4}"
}

# busy: keep every CPU busy, as processes of load.service.
busy() {
	local i
	mkdir --parents "$CGROUP/system.slice/load.service"
	for ((i = 0; i < $(nproc); i++)); do
		# shellcheck disable=SC2016 # for that shell
		background bash -c 'echo 0 >"$1/cgroup.procs" && while :; do :; done' busy "$CGROUP/system.slice/load.service"
	done
}

# owners: of the records so far: how many have which direction, uid and owner.
owners() {
	records | awk -f "$ROOT/scripts/lib/address.awk" -f "$ROOT/scripts/lib/owner.awk" \
		-f "$ROOT/scripts/lib/record.awk" -f "$ROOT/scripts/lib/json.awk" |
		jq --raw-output '[.dir, .uid, .owner] | join(" ")' | sort | uniq -c | xargs
}

@test "a connection belongs to the socket on this host, whichever process runs as its packets arrive" {
	local i gone
	requires kernel_5.16 object
	use_cgroups
	new_pair
	attach_raw server veth0
	trace_start
	busy
	background peer_in system.slice/web.service 12345 server serve 8000 close
	wait_for listening server 8000
	for ((i = 0; i < 10; i++)); do
		peer_in user.slice/session-1.scope 34567 client connect "$SERVER4" 8000 >/dev/null
	done
	wait_for_records 10
	assert_equal "incoming, closed here first" "$(owners)" "10 in 12345 web.service"
	trace_stop

	trace_start
	background peer_in system.slice/other.service 23456 client serve 8001
	wait_for listening client 8001
	for ((i = 0; i < 10; i++)); do
		peer_in "system.slice/docker-$ID.scope" 12346 server connect "$CLIENT4" 8001 close >/dev/null
	done
	wait_for_records 10
	assert_equal outgoing "$(owners)" "10 out 12346 ${ID:0:12}"
	gone=$(stat --format=%i "$CGROUP/system.slice/docker-$ID.scope")
	rmdir "$CGROUP/system.slice/docker-$ID.scope"
	assert_equal "outgoing, container gone" "$(owners)" "10 out 12346 #$gone"
}

# facts: of the records so far: how many have which direction, uid, owner, bytes each way, and figures of the socket.
facts() {
	records | awk -f "$ROOT/scripts/lib/address.awk" -f "$ROOT/scripts/lib/owner.awk" \
		-f "$ROOT/scripts/lib/record.awk" -f "$ROOT/scripts/lib/json.awk" |
		jq --raw-output '[.state, .dir, .dport, .uid, .owner, .orig_bytes, .resp_bytes, .mss != null] | join(" ")' | sort | uniq -c | xargs
}

@test "NAT to a local port and NAT of what this host opens: the socket behind it is asked" {
	local from=$SERVER4 to=$CLIENT4
	requires kernel_5.16 object tool_nft
	use_cgroups
	new_pair
	in_netns server nft -f - <<-EOF
		table inet nat {
			chain incoming {
				type nat hook prerouting priority -100
				ip daddr $from tcp dport 80 redirect to :8000
				ip daddr $NOBODY4 tcp dport 81 dnat ip to $from:8000
			}
			chain outgoing {
				type nat hook output priority -100
				ip daddr $NOBODY4 tcp dport 9000 dnat ip to $to:8001
			}
		}
	EOF
	in_netns client ip route add "$NOBODY4" via "$SERVER4" dev veth0
	track server
	background peer_in system.slice/web.service 12345 server serve 8000 close
	wait_for listening server 8000
	background peer_in system.slice/far.service 12347 client serve 8001
	wait_for listening client 8001

	trace_start
	peer client connect "$SERVER4" 80 >/dev/null
	wait_for_records 1
	assert_equal "redirected, closed here first" "$(facts)" "1 SF in 80 12345 web.service 0 0 true"
	trace_stop
	trace_start
	peer client connect "$NOBODY4" 81 >/dev/null
	wait_for_records 1
	assert_equal "another address of this host's, closed here first" "$(facts)" "1 SF in 81 12345 web.service 0 0 true"
	trace_stop
	trace_start
	peer_in system.slice/app.service 12346 server connect "$NOBODY4" 9000 close >/dev/null
	wait_for_records 1
	assert_equal "opened here, to an address that stands for another" "$(facts)" "1 SF out 8001 12346 app.service 0 0 true"
	trace_stop

	# Of one that never got further than its handshake, the listener's.
	trace_start
	in_netns client nft -f - <<-EOF
		table inet deaf {
			chain input {
				type filter hook input priority 0
				tcp sport 80 drop
			}
		}
	EOF
	background peer client connect "$SERVER4" 80
	wait_for listed_of_web
	"$NETRACKER" detach --quiet --all
}

@test "--owner: units by the names that systemd knows, and those that listen for them" {
	local id
	requires kernel_5.16 object
	use_cgroups
	new_pair
	mkdir "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/systemctl" <<-'EOF'
		#!/bin/sh
		[ "$*" = 'show --property=Names,TriggeredBy --value -- sshd' ] && printf 'ssh.service sshd.service\nlistener.socket\n'
	EOF
	chmod +x "$BATS_TEST_TMPDIR/bin/systemctl"
	export PATH=$BATS_TEST_TMPDIR/bin:$PATH
	track server
	background peer_in system.slice/listener.socket 12345 server serve 2222
	wait_for listening server 2222
	background peer client connect "$SERVER4" 2222
	wait_for lists listener.socket "$(wait_for test -s "$BACKGROUND_OUTPUT" && awk '{ print $2 }' "$BACKGROUND_OUTPUT")"
	assert_equal "another name of the service" "$("$NETRACKER" list --json --owner sshd | jq --raw-output .owner)" listener.socket
	assert_equal "another service" "$("$NETRACKER" list --json --owner ssh)" ''
	"$NETRACKER" detach --quiet --all
}

listed_of_web() {
	[[ $("$NETRACKER" list --json --owner web | jq --raw-output '[.state, .dport, .uid] | join(" ")') == "S1 80 12345" ]]
}

@test "netracker list and log: the owner of what is alive and of what has ended; --owner" {
	local netracker=("$NETRACKER") sport
	requires kernel_5.16 object
	export NETRACKER_LOCK=$BATS_TEST_TMPDIR/lock NETRACKER_OBJ=$OBJ
	use_cgroups
	new_pair
	"${netracker[@]}" attach --quiet --netns "$NETNS_DIR/server" veth0
	background peer_in system.slice/web.service 12345 server serve 8000
	background peer_in system.slice/mail.service 12346 server serve 2525
	wait_for listening server 8000
	wait_for listening server 2525
	background peer client connect "$SERVER4" 8000
	wait_for test -s "$BACKGROUND_OUTPUT"
	read -r _ sport <"$BACKGROUND_OUTPUT"
	wait_for lists web "$sport"
	assert_equal "alive, of somebody else" "$("${netracker[@]}" list --json --owner mail)" ''
	# The listener's owner; there is no other socket until somebody accepts.
	assert_equal "facts of what is alive" "$("${netracker[@]}" list --json --owner web.service |
		jq --compact-output '[.owner, .uid, .srtt_us > 0, .min_rtt_us > 0, .retrans]')" '["web.service",12345,true,true,0]'

	peer client connect "$SERVER4" 2525 close >/dev/null
	kill -INT -- "-$BACKGROUND_PID"
	wait_for ended 2
	"${netracker[@]}" log --no-follow --json --owner web >"$BATS_TEST_TMPDIR/log"
	assert_equal "ended" "$(jq --compact-output '[.owner, .uid, .sport, .retrans]' "$BATS_TEST_TMPDIR/log")" "[\"web.service\",12345,$sport,0]"
	"${netracker[@]}" detach --quiet --all
}

lists() {
	"$NETRACKER" list --json --owner "$1" | jq --exit-status "select(.sport == $2)"
}

# ended N: so many connections have ended, both ways closed.
ended() {
	assert_equal "connections that have ended" "$(counter ended.SF)" "$1"
}
