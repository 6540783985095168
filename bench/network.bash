# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is for those who source it
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What ./run and ./soak share. Both work in a sandbox (scripts/sandbox), in a network namespace of their own: that is the server's, with
# the tracker on its end of a veth pair; the other end is in a namespace for the client. Everything ends with the sandbox, but for
# the trace instance, which clean_up removes.

dir='' instance=''
readonly SERVER4=198.51.100.2 CLIENT4=198.51.100.1 PORT=8000 PINS=/sys/fs/bpf/tc/globals
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

# Which tracker is measured.
NETRACKER=$root/scripts/netracker

# Processes whose end is not waited for by name.
BACKGROUND=()

# A directory that is gone with the sandbox, and names for what is not.
make_place() {
	dir=$(mktemp --directory)
	mount -t tmpfs -o size=2G bench "$dir"
	export NETRACKER_INSTANCE=netracker-bench-${dir##*.} NETRACKER_LOCK=$dir/lock
	instance=/sys/kernel/tracing/instances/$NETRACKER_INSTANCE
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

clean_up() {
	set +e
	end "${BACKGROUND[@]}"
	netracker detach -q --all 2>/dev/null
	[[ ! -d $instance ]] || rmdir "$instance"
	umount --lazy "$dir"
	rmdir "$dir"
}

make_network() {
	ip link set lo up
	: >"$dir/client"
	unshare --net="$dir/client" ip link set lo up
	ip link add veth0 type veth peer name veth0 netns "$dir/client"
	ip address add "$SERVER4/24" dev veth0
	ip link set veth0 up
	in_client ip address add "$CLIENT4/24" dev veth0
	in_client ip link set veth0 up
	in_client bash -c 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range'
}

in_client() {
	nsenter --net="$dir/client" -- "$@"
}

# background COMMAND…: its process id is $BACKGROUND_PID.
background() {
	"$@" </dev/null &
	BACKGROUND_PID=$!
	BACKGROUND+=("$BACKGROUND_PID")
}

# end PID…: and wait for it.
end() {
	local pid
	for pid in "$@"; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done || true
}

# / answers with a few bytes, /status with nginx's own counts. One worker on the first CPU; the load is made on the last one.
start_server() {
	cat >"$dir/nginx.conf" <<-EOF
		daemon off;
		master_process off;
		pid $dir/nginx.pid;
		error_log $dir/error.log;
		events { worker_connections 16384; }
		http {
			access_log off;
			keepalive_requests 1000000000;
			client_body_temp_path $dir/nginx.tmp;
			proxy_temp_path $dir/nginx.tmp;
			fastcgi_temp_path $dir/nginx.tmp;
			uwsgi_temp_path $dir/nginx.tmp;
			scgi_temp_path $dir/nginx.tmp;
			server {
				listen $PORT backlog=65535;
				location / { return 200 "hello\n"; }
				location /status { stub_status; }
			}
		}
	EOF
	background taskset --cpu-list 0 nginx -e "$dir/error.log" -c "$dir/nginx.conf" 2>/dev/null
	wait_until listening "$PORT"
}

listening() {
	[[ -n $(ss --no-header --listening --tcp --numeric "sport = :$1") ]]
}

# wait_until COMMAND…: for at most 10 seconds.
wait_until() {
	local i
	for ((i = 0; i < 200; i++)); do
		! "$@" || return 0
		sleep 0.05
	done
	echo "bench: still not so after 10 s: $*" >&2
	return 1
}

# load SECONDS [OPTION…]: wrk with 50 connections; prints requests per second.
load() {
	in_client taskset --cpu-list "$(($(nproc) - 1))" wrk --threads 1 --connections 50 --duration "$1s" "${@:2}" "http://$SERVER4:$PORT/" |
		awk '$1 == "Requests/sec:" { print $2 }'
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

# What the log's buffer has dropped, on all CPUs.
records_lost() {
	awk '/^(overrun|dropped events):/ { n += $NF } END { print n + 0 }' "$instance"/per_cpu/cpu*/stats
}

live_connections() {
	bpftool --json map dump pinned "$PINS/conn_map" | jq length
}
