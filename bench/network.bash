# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is for those who source it
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What ./run and ./soak share. Both work in a sandbox (scripts/sandbox), in a network namespace of their own: that is the server's, with
# the tracker on its end of a veth pair; the other end is in a namespace for the client. Everything ends with the sandbox.

# shellcheck source=../tests/laboratory.bash
source "$root/tests/laboratory.bash"

dir=''
readonly SERVER4=198.51.100.2 CLIENT4=198.51.100.1 PORT=8000 PINS=/sys/fs/bpf/tc/globals VIEWS=/sys/fs/bpf/netracker
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
WAIT_SECONDS=10

# Which tracker is measured.
NETRACKER=$root/scripts/netracker

# A directory that is gone with the sandbox, and a name for what is not.
make_place() {
	open_own_laboratory
	dir=$LABORATORY
	mount -o remount,size=2G "$dir"
	export NETRACKER_LOCK=$dir/lock
	at_exit clean_up
}

clean_up() {
	set +e
	end "${BACKGROUND_PIDS[@]}"
	netracker detach -q --all 2>/dev/null
	close_laboratory
}

make_network() {
	ip link set lo up
	new_netns client
	new_veth here veth0 client veth0
	add_address here veth0 "$SERVER4"
	add_address client veth0 "$CLIENT4"
	in_netns client bash -c 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range'
}

# / answers with a few bytes, /status with nginx's own counts. One worker on the first CPU; the load is made on the last one.
start_server() {
	nginx_server here "$PORT" taskset --cpu-list 0 nginx -g 'master_process off;' <<-EOF
		access_log off;
		keepalive_requests 1000000000;
		server {
			listen $PORT backlog=65535;
			location / { return 200 "hello\n"; }
			location /status { stub_status; }
		}
	EOF
}

# load SECONDS [OPTION…]: wrk with 50 connections; prints requests per second.
load() {
	in_netns client taskset --cpu-list "$(($(nproc) - 1))" wrk --threads 1 --connections 50 --duration "$1s" "${@:2}" "http://$SERVER4:$PORT/" |
		awk '$1 == "Requests/sec:" { print $2 }'
}

# Connections that nginx has accepted so far, with the one that asks.
accepted() {
	in_netns client curl --silent "http://$SERVER4:$PORT/status" | awk 'NR == 3 { print $1 }'
}

netracker() {
	"$NETRACKER" "$@"
}

attach() {
	netracker attach -q veth0
}

detach() {
	netracker detach -q veth0
}

# set_log on|off
set_log() {
	netracker config log="$1" 2>/dev/null
}

# counter JQ-PATH: of struct counters, summed over the CPUs.
counter() {
	bpftool --json map dump pinned "$PINS/nt_counters" | jq "[.[0].formatted.values[].value$1] | add"
}

# Records that were overwritten in the log before they were read.
records_lost() {
	sed -n 1p "$VIEWS/unread" | cut -d ' ' -f 2
}

# follow_log: print what ends, in the words of the trace, until it is ended: the least that a reader can do.
follow_log() {
	while true; do
		cat "$VIEWS/log"
		sleep 0.1
	done
}

at_rest() {
	bpftool --json map dump pinned "$PINS/conn_map" | jq length
}
