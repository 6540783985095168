# shellcheck shell=bash disable=SC2034 # what is set here is for those who source it
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The laboratory: network namespaces, veth pairs between them, servers in them, and the end of it all. The tests (helpers.bash, beside),
# bench/, scripts/demo and scripts/pictures/draw work in one. It is here and not in scripts/lib as nothing that is installed needs it.
# It belongs in scripts/sandbox: what a laboratory that was killed leaves behind is gone with the sandbox. $ROOT is the tree.
#
# Beginning and end
#   open_laboratory DIR          comes first. What the laboratory needs is in DIR, which is $LABORATORY from now on; $NETNS_DIR has
#                                the namespaces by their names
#   open_own_laboratory          the same in a directory of its own, in memory, that is gone when the laboratory is closed
#   close_laboratory             end what runs in the background or in the namespaces, and take the namespaces away
#   at_exit COMMAND              run COMMAND when this script ends; when a signal ends it, its exit status is 128 and the signal's number
#
# Namespaces
#   new_netns NAME               make an anonymous network namespace, lo up, with IPv6 if the kernel has it
#   in_netns NAME COMMAND…       run COMMAND in it; NAME may be `here`, the caller's own
#   new_veth NS IF NS2 IF2 [WORD…]
#                                join two namespaces with a veth pair, both ends up. WORDs are more for `ip link add IF`. NS2 is not `here`
#   add_address NS IF ADDRESS…   with the rest of its network, /24 or /64, behind IF. One of IPv6 is left out if the kernel has none
#
# What runs there
#   in_background COMMAND…       run COMMAND (a function may be), without input, until the laboratory is closed. Its process is
#                                $BACKGROUND_PID. With BACKGROUND_GROUPS=1 it leads a process group and does not ignore SIGINT
#   end PID…                     end such processes, not their children, with SIGTERM and wait until they have
#   end_background               end all of them at once, with their process groups
#   listening NS PORT            succeeds if somebody accepts connections there
#   file_server NS PORT DIR      python3's HTTP server, until it listens; what it says is in $LABORATORY/http.log
#   nginx_server NS PORT COMMAND… <CONFIGURATION
#                                nginx, until it listens on PORT. COMMAND is how it is called, CONFIGURATION stands inside `http { }`
#   peer NS ARGUMENT…            ./peer.py in NS: does to a TCP connection what curl and HTTP servers do not (see there)
#
# Waiting
#   wait_for COMMAND…            run COMMAND again and again until it succeeds, for WAIT_SECONDS (60) in all; else it fails with COMMAND and
#                                its last output. Use it instead of sleep

ROOT=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
# A machine may be busy, and who waits in vain has all the time in the world.
WAIT_SECONDS=60
BACKGROUND_PIDS=()
BACKGROUND_GROUPS=''
OWN_LABORATORY=''

#
# Beginning and end
#

open_laboratory() {
	LABORATORY=$1
	NETNS_DIR=$LABORATORY/netns
	mkdir "$NETNS_DIR"
}

open_own_laboratory() {
	OWN_LABORATORY=$(mktemp --directory)
	mount -t tmpfs laboratory "$OWN_LABORATORY"
	open_laboratory "$OWN_LABORATORY"
}

close_laboratory() {
	end_background
	[[ ! -v NETNS_DIR ]] || end_namespaces
	if [[ $OWN_LABORATORY ]]; then
		umount --lazy "$OWN_LABORATORY" 2>/dev/null || true
		rmdir "$OWN_LABORATORY"
	fi
}

# A test may have ended one of its namespaces itself: what is left of that is an empty file.
end_namespaces() {
	local netns
	for netns in "$NETNS_DIR"/*; do
		[[ $(stat --file-system --format=%T "$netns" 2>/dev/null) == nsfs ]] || continue
		kill_inside "$netns"
		umount "$netns"
	done
}

# kill_inside FILE: end every process whose network namespace FILE is.
kill_inside() {
	local inode pid
	inode=$(stat --format=%i "$1")
	for pid in /proc/[0-9]*; do
		[[ $(readlink "$pid/ns/net") != "net:[$inode]" ]] || kill -KILL "${pid#/proc/}" 2>/dev/null || true
	done
}

at_exit() {
	# shellcheck disable=SC2064 # the command is known now
	trap "$1" EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

#
# Namespaces
#

# A namespace lives by its mount on a file: no process holds it, no name is left when the sandbox dies.
new_netns() {
	: >"$NETNS_DIR/$1"
	unshare --net="$NETNS_DIR/$1" ip link set lo up
	if [[ -e /proc/net/if_inet6 ]]; then
		in_netns "$1" bash -c 'echo 0 | tee /proc/sys/net/ipv6/conf/{all,default}/disable_ipv6' >/dev/null
	fi
}

in_netns() {
	if [[ $1 == here ]]; then
		"${@:2}"
	else
		nsenter --net="$NETNS_DIR/$1" -- "${@:2}"
	fi
}

new_veth() {
	in_netns "$1" ip link add "$2" "${@:5}" type veth peer name "$4" netns "$NETNS_DIR/$3"
	in_netns "$1" ip link set "$2" up
	in_netns "$3" ip link set "$4" up
}

add_address() {
	local address
	for address in "${@:3}"; do
		if [[ $address != *:* ]]; then
			in_netns "$1" ip address add "$address/24" dev "$2"
		elif [[ -e /proc/net/if_inet6 ]]; then
			in_netns "$1" ip address add "$address/64" dev "$2" nodad
		fi
	done
}

#
# What runs there
#

# Process groups take job control, for which bash would put a script into a group of its own, and that out of reach of its caller's
# Ctrl-C: not everybody wants them. Descriptor 3 is bats' own: it waits for everybody who has it.
in_background() {
	[[ ! $BACKGROUND_GROUPS ]] || set -m
	"$@" </dev/null 3>&- &
	set +m
	BACKGROUND_PID=$!
	BACKGROUND_PIDS+=("$BACKGROUND_PID")
}

end() {
	local pid
	for pid in "$@"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

end_background() {
	local pid
	for pid in "${BACKGROUND_PIDS[@]}"; do
		kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	BACKGROUND_PIDS=()
}

listening() {
	[[ -n $(in_netns "$1" ss --no-header --listening --tcp --numeric "sport = :$2") ]]
}

file_server() {
	in_background in_netns "$1" python3 -m http.server --bind :: --directory "$3" "$2" >"$LABORATORY/http.log" 2>&1
	wait_for listening "$1" "$2"
}

nginx_server() {
	local dir
	dir=$(mktemp --directory "$LABORATORY/nginx.XXXXXX")
	{
		cat <<-EOF
			daemon off;
			pid $dir/pid;
			error_log $dir/error.log;
			events { worker_connections 16384; }
			http {
			client_body_temp_path $dir/tmp;
			proxy_temp_path $dir/tmp;
			fastcgi_temp_path $dir/tmp;
			uwsgi_temp_path $dir/tmp;
			scgi_temp_path $dir/tmp;
		EOF
		cat
		echo "}"
	} >"$dir/nginx.conf"
	in_background in_netns "$1" "${@:3}" -e "$dir/error.log" -c "$dir/nginx.conf" >"$dir/output" 2>&1
	wait_for listening "$1" "$2"
}

peer() {
	in_netns "$1" python3 "$ROOT/tests/peer.py" "${@:2}"
}

#
# Waiting
#

# By the clock, as COMMAND takes its time too. SECONDS counts whole ones: it is given up to one more.
wait_for() {
	local end=$((SECONDS + WAIT_SECONDS)) output
	until output=$("$@" 2>&1); do
		if ((SECONDS > end)); then
			echo "still failing after $WAIT_SECONDS s: $* ${output:+($output)}" >&2
			return 1
		fi
		sleep 0.05
	done
}
