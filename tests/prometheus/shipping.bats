#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# contrib/log and contrib/systemd: the configurations that Debian's programs can try.

load ../helpers

@test "rsyslog forwards the log's lines as they are, also after logrotate has cut the file" {
	local dir=$BATS_TEST_TMPDIR
	requires tool_rsyslogd tool_logrotate
	new_netns shipper
	printf '{"src": "198.51.100.1", "sport": %d, "uid": null}\n' {1..1000} >"$dir/sent"
	sed "s|/var/log/netracker.jsonl|$dir/netracker.jsonl|; s|logs.example.net|127.0.0.1|" "$ROOT/contrib/log/rsyslog.conf" >"$dir/rsyslog.conf"
	echo "global(workDirectory=\"$dir\")" >>"$dir/rsyslog.conf"
	rsyslogd -N 1 -f "$dir/rsyslog.conf"

	background in_netns shipper python3 -c '
import shutil, socket, sys
with socket.create_server(("127.0.0.1", 10514)) as server:
    shutil.copyfileobj(server.accept()[0].makefile("rb", 0), open(sys.argv[1], "wb", 0), 4096)' "$dir/received"
	wait_for listening shipper 10514
	: >"$dir/netracker.jsonl"
	background in_netns shipper rsyslogd -n -f "$dir/rsyslog.conf" -i "$dir/rsyslog.pid"
	wait_for test -e "$dir/rsyslog.pid"
	cat "$dir/sent" >>"$dir/netracker.jsonl"
	wait_for cmp "$dir/sent" "$dir/received"

	# A day later: what follows is shorter than what has been cut off.
	sed "s|/var/log/netracker.jsonl|$dir/netracker.jsonl|" "$ROOT/contrib/log/logrotate.conf" >"$dir/logrotate.conf"
	chmod 644 "$dir/logrotate.conf"
	logrotate --force --state "$dir/state" "$dir/logrotate.conf"
	wait_for test ! -s "$dir/netracker.jsonl"
	tee --append "$dir/netracker.jsonl" <<<'{"src": "198.51.100.2"}' >>"$dir/sent"
	wait_for cmp "$dir/sent" "$dir/received"
}

@test "logrotate takes the configuration" {
	requires tool_logrotate
	install --mode=644 "$ROOT/contrib/log/logrotate.conf" "$BATS_TEST_TMPDIR/logrotate.conf"
	logrotate --debug --state "$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/logrotate.conf"
}

@test "systemd takes the units" {
	local unit
	requires tool_systemd-analyze
	mkdir "$BATS_TEST_TMPDIR/units"
	for unit in "$ROOT"/contrib/systemd/netracker-{metrics,log}.*; do
		# The command and the manual page are not installed here.
		sed 's|^ExecStart=netracker|ExecStart=/bin/true|; /^Documentation=/d' "$unit" >"$BATS_TEST_TMPDIR/units/${unit##*/}"
	done
	install -D --mode=644 "$ROOT/contrib/fleet/netracker-log.conf" "$BATS_TEST_TMPDIR/units/netracker-log.service.d/file.conf"
	assert_equal "systemd-analyze verify" "$(systemd-analyze verify "$BATS_TEST_TMPDIR"/units/*.{service,timer} 2>&1)" ""
}
