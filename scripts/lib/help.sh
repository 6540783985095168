# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# help and version.

help_overview() {
	cat <<-'EOF'
		netracker - every TCP connection that crosses an interface, with its true duration

		usage: netracker COMMAND [OPTION…] [ARGUMENT…]

		  attach IFACE…      start tracking on these interfaces; --all: on every one that is worth it
		  detach IFACE…      stop, and leave nothing behind; --all: everywhere
		  status             what is attached, how full the tables are, what was lost
		  list               connections that are alive
		  top                which connections are busy now, second by second; services, processes, peers
		  log                connections that have ended, as they end
		  services           what is wrong on this host: a line for each service, the worst first
		  report             the log as a page for a browser: figures, plots, tables
		  stats              counts by final state, failures first; histograms of times
		  metrics            the same for Prometheus
		  config             show or change the settings
		  check              is everything here that the tracker needs?
		  version            print the version
		  help [COMMAND]     this text, or all about one command

		Commands and long options may be abbreviated; a value may follow on =. Which connections fail, and why:
		  netracker attach eth0       then, at any time later
		  netracker services          of which services, and which are slow
		  netracker stats             how many, by kind of failure
		  netracker log --failed      which ones: S0 no answer, REJ refused, RSTO RSTR reset

		Exit status: 0 done, 1 failed, 2 usage, 3 not attached, 4 something that is needed is missing.
	EOF
}

cmd_help() {
	local word=${1-}
	(($# <= 1)) || die_word "$2"
	if [[ ! $word ]]; then
		help_overview
		return
	fi
	find_verb "$word"
	help_verb "$VERB"
}

cmd_version() {
	local version
	(($# == 0)) || die_word "$1"
	version=$(version)
	printf 'netracker %s\n' "$version"
}

# version: print its number.
version() {
	local file
	file=$(shipped VERSION)
	[[ -e $file ]] || die "$EXIT_FAILED" "no file VERSION in $LIBDIR; install again"
	cat -- "$file"
}

# help_verb VERB
help_verb() {
	case $1 in
		attach) help_attach ;;
		detach) help_detach ;;
		status) help_status ;;
		list) help_list ;;
		top) help_top ;;
		log) help_log ;;
		services) help_services ;;
		report) help_report ;;
		stats) help_stats ;;
		metrics) help_metrics ;;
		config) help_config ;;
		check) help_check ;;
		version) printf '%s\n' 'usage: netracker version' '' 'Print the version.' ;;
		help) printf '%s\n' 'usage: netracker help [COMMAND]' '' 'Tell what the commands are, or all about one of them.' ;;
	esac
}

help_attach() {
	cat <<-'EOF'
		usage: netracker attach [--quiet] [--dry-run] [--tcx] [--no-adopt] [--group GROUP] [--netns NAME|PID|FILE]
		                        [--match GLOB] [--if-there] IFACE…
		       netracker attach [… the same …] --all [IFACE…]

		Put the tracker's two filters on each interface, before all other filters there, and start the log. Interfaces that are
		attached already get the object as it is now, without a gap. All or nothing: on failure what was done is taken back.
		What this host's sockets have open through them is tracked, too, from now on (adopted).
		For containers behind a bridge, or what is in a VRF, attach to the ports or members, not to the bridge or VRF device.

		  --all                  every interface that carries addresses (IPv6's link-local ones, too) or is a port of a bridge: not lo, not
		                         VRF devices, unless they are named. Those that come later: /etc/default/netracker, see netracker(8)
		  --match GLOB           of these, and of those that are named, only what matches: 'eth*', '!(veth*|docker0)'. Repeated, or with
		                         blanks in between, any of them
		  --if-there             it is no failure if one is not there, or goes meanwhile; of those of --all it is none anyway
		  -q, --quiet            do not print the privileged commands
		  -v, --verbose          print them, as without --quiet
		  -n, --dry-run          print them (on stdout) and do nothing
		  --tcx                  at TCX (Linux 6.6), before all that hangs there: where Cilium or Calico would hide packets from a filter.
		                         An interface that is attached so stays so
		  --no-adopt             do not take over the connections that this host's sockets have open already
		  --group GROUP          let this group's members use list, top, log, services and metrics without being root
		  --netns NAME|PID|FILE  interfaces of this network namespace: of `ip netns`, of a process, or of a file
		  --                     what follows are interfaces, even if they begin with -
	EOF
}

help_detach() {
	cat <<-'EOF'
		usage: netracker detach [--quiet] [--dry-run] [--netns NAME|PID|FILE] IFACE…
		       netracker detach [--quiet] [--dry-run] --all

		Remove the tracker's filters from the interfaces, nobody else's. After the last one, what is still alive gets its record (S1, S2,
		S3; a handshake S0, S1, SH, OTH), and the maps and the log are removed.

		  --all                  wherever the tracker is attached, in any network namespace
		  -q, --quiet            do not print the privileged commands
		  -v, --verbose          print them, as without --quiet
		  -n, --dry-run          print them (on stdout) and do nothing
		  --netns NAME|PID|FILE  interfaces of this network namespace: of `ip netns`, of a process, or of a file
		  --                     what follows are interfaces, even if they begin with -
	EOF
}

help_status() {
	cat <<-'EOF'
		usage: netracker status [--json]

		Per interface: since when, which filters, who else has filters on the same hooks, programs of TCX or XDP, and whether one
		before ours can hide packets. Then how full the tables are, how many records each consumer of the log has not read, and
		what was lost; and the interfaces of this network namespace that attach --all would add ("untracked").
		Exit status 3 if nothing is attached, or not any more.

		  -j, --json             as one JSON object
	EOF
}

# Options of list and log alike.
help_filters() {
	cat <<-'EOF'
		  -4, -6                 IPv4, IPv6 alone
		  --addr PREFIX          originator or responder in PREFIX: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32; fe80::1%eth0, there
		  --port N               of the responder
		  --state S[,S…]         in one of these states
		  --iface IFACE          first seen on this interface
		  --owner NAME           of a local socket: a systemd unit (nginx or nginx.service, its socket unit too), a container's id,
		                         a cgroup's path (/user.slice)
		  --process NAME         of a process of exactly this name, as `ps -o comm` has it, of which the kernel keeps 15 characters
		  --pid N                of the process with this id, as the whole machine has it, not a container
	EOF
}

help_output() {
	cat <<-'EOF'
		  -H, --no-header        no line of headings; in zeek none that begins with #
		  -w, --wide             all columns, however wide the terminal is
		  -N, --numeric          nothing is looked up, users and owners are null in JSON, in the table their numbers; not there in
		                         csv and ecs. In list, processes of connections that came in are not there either
		  -j, --json             JSON, one object a line; null where unknown: --format json
		  --format FORMAT        table, json, csv (RFC 4180, all fields), ecs (Elastic Common Schema 8, as JSON); of log also zeek (Zeek's
		                         conn.log) and zeek-json. What is not known is empty in csv, - in zeek, and absent in the others
		  --community-id         zeek, zeek-json, csv: with the column community_id, which Zeek has if its policy script
		                         community-id-logging is loaded; ecs has it anyway. A perl with Digest::SHA makes it
	EOF
}

help_list() {
	cat <<-'EOF'
		usage: netracker list [OPTION…]

		Connections that are alive: open, and those in motion, which are being opened or closed.

	EOF
	help_filters
	cat <<-'EOF'
		  --sort KEY             age (oldest first; on a terminal the default), src, dst, port; most first: bytes both ways, rate (bytes a
		                         second since the SYN), retrans; without: as the kernel has them
		  -n, --max-rows N       no more than N rows
	EOF
	help_output
	cat <<-'EOF'

		States: S0 no answer yet, S1 open, S2 the originator has closed, S3 the responder has closed, SH, OTH: the
		responder has not been seen, and the originator has closed, or acknowledges what it has got.
		ORIGINATOR sent the first SYN; DIR in: it came in by the interface. SYN_MS: SYN to SYN-ACK, ACK_MS: SYN-ACK to ACK.
		ORIG_BYTES, RESP_BYTES, SRTT_MS, RETR: payload each way so far, smoothed round-trip time, segments sent again, as this host's own
		socket says now; root sees those of every network namespace with an interface that is attached. -: unknown, as of what is forwarded.
		OWNER and USER: of this host's own socket; OWNER is the systemd unit, the container or the cgroup, #ID if that is gone.
		PID and COMM: the process that holds that socket. Root sees here those of the whole machine, in containers too, by the ids that
		they have outside; a container's own root those of the container. Not with --numeric, but for whom the tracker itself knows.
	EOF
}

help_top() {
	cat <<-'EOF'
		usage: netracker top [OPTION…]

		What this host's connections carry now, the busiest first, on a screen that is drawn anew every second. Above it new, failed and live
		connections, below it the keys: c s p o or Tab for connections, services, processes, other ends; b r a n to sort; / to filter.

		  -d, --delay SECONDS    between two frames (1)
		  --once                 print one frame as text, after so many seconds, and end
		  -b, --batch N          print N frames as text
		  --by WHAT              begin with connections, services, processes or peers, the addresses of the other ends
		  --sort KEY             bytes (a second, both ways), retrans, age (oldest first), connections (most first)
		  -n, --max-rows N       of a frame as text, no more than N rows

		IN/S, OUT/S: payload that came to this host, that it sent and was acknowledged, bytes a second. RETR: segments sent again since the
		frame before. -: unknown, as of what is forwarded. Among so many sockets that a look at them takes long, they are looked at less
		often, so that it takes no more than 5 % of a CPU; the head line says how often then. Needs python3.
	EOF
}

help_log() {
	cat <<-'EOF'
		usage: netracker log [OPTION…]

		Connections that have ended: those since the log was last read, then on as they end, until Ctrl-C. What has been read does not come
		again, shown or not, and one process reads at a time; --all and --consumer read beside others.

		  --no-follow            end after what is there
		  --all                  begin with the oldest that the log holds, whatever has been read, and take nothing away from others
		  --consumer NAME        read as NAME, who at first sees all that the log holds, and then what is new to NAME
		  --forget               with --consumer: there is no such consumer any more
		  --wait                 while there is no log to read, wait for it: not attached yet, or another reader
		  --failed               those that failed: REJ, S0, RSTO, RSTR, RSTOS0
		  --quality              another table: what held the connection back, whose it was, round-trip times, throughput
	EOF
	help_filters
	cat <<-'EOF'
		  --min-ms MS            no shorter than this
		  --since TIME           ended since TIME: 90s, 10m, 2h, 1d ago, or a time that `date -d` knows: 14:30, '2026-01-31 08:00'
		  -n, --max-rows N       end after N rows
		  -u, --utc              times in UTC, not in local time
	EOF
	help_output
	cat <<-'EOF'

		States (Zeek's): SF both closed; RSTO, RSTR reset by originator, responder; REJ refused; S0 no answer; RSTOS0 given up before an
		answer; S1 handshake or connection never completed; S2, S3 only originator, responder closed; SH, OTH the responder was never seen,
		and the originator closed, or did not.
		STARTED: first SYN. MS: first SYN to the packet that ended it. SYN_MS: SYN to SYN-ACK. SRTT_MS, MIN_MS, RETR, OWNER, USER: what this
		host's own socket knew at the end: smoothed and least round-trip time, segments sent again, systemd unit or container (#ID: its
		cgroup is gone), user. PID, COMM: the process that opened an outgoing connection, or closed an incoming one; unknown where this host
		neither opened nor closed it. ORIG_MBIT, RESP_MBIT: payload over the duration in Mbit/s. -: unknown. As many columns as fit into the
		terminal; -w has all. Where records were lost because the log's buffer was full, a notice says so on stderr and the next record
		says so at its end.
		RESET: why this host reset it; - if it did not, but the other side:
		  no_listener   nobody listens at that port
		  no_socket     the socket it was for had been closed, or its process had gone
		  unread_data   the process closed it, or ended, before it had read all that had come
		  linger        the process wanted it so: SO_LINGER with no time
		  abort         a process took it down in another way
		  given_up      the kernel did: nobody answered, or there was no memory

		Whose connections were slow, and why: netracker log --all --no-follow --quality --min-ms 1000
		COMM, PID: the process. HELD_BY: what took most of the time, HELD_PCT: how much of it, percent; as this host's socket saw it:
		  application   neither side had anything on its way: one of the two programs took its time, or had no more to ask
		  receiver      the receiving program, on the other side, read too slowly: its window was full or is too small
		  send_buffer   this side's socket holds too little for so long a way
		  loss          segments were lost on the way and sent again
		  round_trips   the way itself, its length and its bandwidth: all waited for answers from the other side
		  -             unknown: forwarded, too short to tell, or most came from the other side, which alone knows: look there
	EOF
}

help_services() {
	cat <<-'EOF'
		usage: netracker services [OPTION…]

		What is wrong on this host: a line for each service, the worst first. Of those that have ended since the first attach how many, how
		many failed and how, how long handshake and connection took, what held them back; then how many are alive, and whose.

		  --by WHAT              service, a direction and a port of the responder; peer, the address of the other end
		  --since TIME           those that ended since TIME alone: 90s, 10m, 2h, 1d ago, or a time that `date -d` knows
		  --sort KEY             worst, failed (share), ended, live, handshake, duration (99th percentiles), bytes, retransmitted (share)
		  -n, --max-rows N       no more than N rows (1000)
		  -H, --no-header        no line of headings
		  -w, --wide             all columns, however wide the terminal is
		  -N, --numeric          nothing is looked up: names of ports, owners, processes of connections that came in
		  -j, --json             JSON, one object a line; null where unknown

		Worst: each failure weighs as much as the share of its service's connections that failed: 50 of 50 weigh 50, 50 of 500 weigh 5,
		and less than 1 counts as none. What weighs the same goes by the 99th percentile of the handshake, the slowest first.
		--by peer and --since go over the log, the newest 65,536 records, as `log --all` does, and so take root, with attach --group too.

		DIR in: they come to this host, or through it; out: it opens them. PORT, NAME: the service; other: all that have no figures of
		their own. PEER: the other end. ENDED: how many; FAILED: of them, per cent; FAILURES: how, and how many of each: REJ refused, S0 no
		answer, RSTO, RSTR reset by originator, responder, RSTOS0 given up before an answer. HS_50, HS_99: median and 99th percentile of
		first SYN to third ACK; DUR_50, DUR_99: of first SYN to the end; right within a factor of two. HELD_BY: what held most of them back,
		see `netracker help log`. RESENT: of the segments that this host sent, those sent again, per cent. LIVE: alive now. COMM: the
		process that has most of them, with --by peer and --since most failures; +2: and two more. ORIG_B, RESP_B: payload of
		originators, responders. OWNER: systemd unit or container. -: unknown.

		Which ones: netracker log --all --failed --port 5432
	EOF
}

help_report() {
	cat <<-'EOF'
		usage: netracker report [OPTION…] > FILE

		The connections that have ended, as one page for a browser: in words what is wrong, then connections and failures over time, how
		they ended, services, the worst first, how long handshakes and connections took, what held them back, the slowest and the latest
		failures, the busiest peers and processes. The page has no script, takes nothing from anywhere, and can be printed or mailed.

		  -i, --input FILE       of the records in FILE, as `netracker log --json` writes them; -: standard input. Without it of all that
		                         the log holds, as `log --all` has it; nothing is taken away from others
		  -o, --output FILE      write the page there, whole or not at all; without it to standard output, if that is no terminal
		  --since TIME           those that ended since TIME alone: 90s, 10m, 2h, 1d ago, or a time that `date -d` knows
		  -u, --utc              times in UTC, not in local time

		Of the log it takes root, as `log --all` does; of a file nothing. Memory does not grow with the number of records: what does not
		fit is kept in $TMPDIR. Interim records are left out. Needs gnuplot (package gnuplot-nox).

		The last day, then a page for each hour from files:
		  netracker report --since 1d --output report.html
		  zcat connections-14.json.gz | netracker report --input - --output 14.html
	EOF
}

help_stats() {
	cat <<-'EOF'
		usage: netracker stats [--json]
		       netracker stats --reset

		Counts since the first attach or the last reset: failures first, then losses, then all final states; how many segments this
		host's sockets have sent, and sent again; for each direction histograms of the connections' durations and of the handshakes'
		round-trip times.

		  -j, --json             as one JSON object
		  --reset                count from now on; metrics and the kernel's own counters are not touched
	EOF
}

help_metrics() {
	cat <<-'EOF'
		usage: netracker metrics [--textfile DIRECTORY]

		Print the counters and histograms in the text format of Prometheus: connections by state, their durations, handshakes and bytes
		by service, segments and retransmissions, the log, the interfaces; docs/monitoring.md explains each.

		  --textfile DIRECTORY   write netracker.prom there instead, whole or not at all: for node_exporter's textfile collector
	EOF
}

help_config() {
	cat <<-'EOF'
		usage: netracker config [KEY=VALUE…]

		Print the settings, or change them while packets flow. They live as long as the tracker is attached somewhere.

		  handshake_timeout=S    seconds from the last SYN until a handshake is given up (75)
		  close_timeout=S        seconds from the last packet until a half-closed connection is given up (120)
		  idle_timeout=S         seconds without a packet until an open connection is watched, and as many again until it is given
		                         up (8100; 0: never). One that has a socket on this host lives as long as that
		  interim=S              write an interim record of each connection whenever it has lived for S seconds more (0: none)
		  only=RULE[,RULE…]      track these connections alone, from now on; only= (nothing behind it): all
		  exclude=RULE[,RULE…]   do not track these, even if `only` has them. A RULE is a PREFIX that one of the two ends is in,
		                         PORTS of the responder, or PREFIX:PORTS: 10.0.0.0/8, 443, 8000-8999, 192.0.2.7:443,
		                         [2001:db8::/32]:443, in brackets for the port's sake. IPv4 is ::ffff:0:0/96, so ::/0 is
		                         all. Both lists have room for 12 rules. What is left out has no record and its SYNs are
		                         counted, at each interface: skipped.left_out
		  log=on|off             off: write no records, count all the same
		  trace=auto|on|off      which records are written to the kernel's trace (trace_pipe) as well: 300 a second and how many
		                         more there were (auto), all, none. The log has all of them
		  closers=on|off         note which process closes a socket, so that a FIN that leaves later has its pid and comm (on)
	EOF
}

help_check() {
	cat <<-'EOF'
		usage: netracker check

		Say of each prerequisite whether it is there, and if not, what to do; and which programs of TCX and XDP get packets before
		a filter does. Changes nothing. Without root, whether the kernel takes the programs is not tried, nor what hangs where. Exit
		status 4 if something is missing.
	EOF
}
