#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154 # helpers set them
#
# report: the page is opened in a browser, and its figures are compared with what jq makes of the same records. What awk makes of records for it is in
# tests/check/report.bats.

load helpers
load cli_helpers

setup() {
	requires tool_jq
	PAGE=$BATS_TEST_TMPDIR/report.html
	LOG=$BATS_TEST_TMPDIR/log.json
}

teardown() {
	clean_up
}

# generate N [SECONDS]: so many records, spread over so much time, of six services; a twentieth of them failed.
generate() {
	awk -v n="$1" -v seconds="${2-3600}" 'BEGIN {
		split("443 5432 22 25 443 8080", port)
		split("in out in out out in", dir)
		split("nginx checkout sshd smtp curl java", comm)
		split("S0 REJ RSTO RSTR RSTOS0", failure)
		split("application receiver send_buffer loss round_trips", reason)
		srand(7)
		for (i = 0; i < n; i++) {
			s = 1 + int(rand() * 6)
			state = i % 20 ? (i % 50 == 1 ? "S1" : "SF") : failure[1 + i / 20 % 5]
			opened = state != "S0" && state != "REJ" && state != "RSTOS0"
			peer = sprintf("198.51.%d.%d", int(rand() * n / 2000) % 256, 1 + int(rand() * 250))
			at = i * seconds / n
			printf "{\"ts\":\"2026-11-27T%02d:%02d:%09.6fZ\"", int(at / 3600), int(at / 60) % 60, at - int(at / 60) * 60
			printf ",\"src\":\"%s\",\"sport\":%d,\"dst\":\"%s\",\"dport\":%d", dir[s] == "in" ? peer : "192.0.2.1", 32768 + i % 28000, dir[s] == "in" ? "192.0.2.1" : peer, port[s]
			printf ",\"family\":4,\"duration_ns\":%d,\"state\":\"%s\",\"dir\":\"%s\"", 1000 + rand() * 2000000000, state, dir[s]
			printf ",\"syn_rtt_ns\":%s,\"ack_rtt_ns\":%s", opened ? 20000 + i : "null", opened ? 30000 : "null"
			printf ",\"orig_bytes\":%s,\"resp_bytes\":%s,\"ifname\":\"eth0\"", opened ? i : "null", opened ? 3 * i : "null"
			printf ",\"retrans\":%s,\"orig_segs\":%s,\"resp_segs\":%s", opened ? 0 : "null", opened ? 9 : "null", opened ? 9 : "null"
			printf ",\"comm\":%s,\"held_by\":%s,\"held_pct\":null", opened && i % 7 ? "\"" comm[s] "\"" : "null", opened && i % 3 ? "\"" reason[1 + i % 5] "\"" : "null"
			printf ",\"adopted\":%s,\"interim\":%s,\"owner\":null}\n", i % 500 == 3 ? "true" : "false", i % 100 == 7 ? 1 : "null"
		}
	}'
}

# report OPTION…
report() {
	TZ=UTC "$NETRACKER" report "$@"
}

# browse FILE: what a browser has made of it, in $DOM, and what it has complained of, in $CONSOLE. It has no network.
browse() {
	DOM=$BATS_TEST_TMPDIR/dom CONSOLE=$BATS_TEST_TMPDIR/console
	timeout 60 unshare --net chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$BATS_TEST_TMPDIR/browser" \
		--enable-logging=stderr --dump-dom "file://$1" >"$DOM" 2>"$BATS_TEST_TMPDIR/chromium" </dev/null || fail "chromium: $(tail -n 3 "$BATS_TEST_TMPDIR/chromium")"
	grep CONSOLE "$BATS_TEST_TMPDIR/chromium" >"$CONSOLE" || true
	grep --quiet '</footer>' "$DOM" || fail "the page is not there: $(head -c 300 "$DOM")"
}

# shown ID: the exact value of the figure of this name.
shown() {
	grep --only-matching -E "<data id=\"$1\" value=\"[0-9]+\"" "$DOM" | sed 's/.*value="//; s/"$//'
}

# column TABLE N: KEY VALUE of each row of a table of the page: the Nth exact value of the row.
column() {
	sed -n "/<table id=\"$1\"/,/<\/table>/p" "$DOM" | awk -v n="$2" '
		function after(mark, text,   at) {
			at = index(text, mark)
			return at ? substr(text, at + length(mark)) : ""
		}
		function value(text) {
			return substr(text, 1, index(text, "\"") - 1)
		}
		/^<tr data-/ {
			rest = $0
			for (i = 1; i <= n; i++)
				rest = after("<data value=\"", rest)
			dir = value(after("data-dir=\"", $0))
			print (dir == "" ? "" : dir " ") value(after("data-key=\"", $0)) " " value(rest)
		}' | sort
}

# strangers: elements and attributes of the page on standard input that it has no use for.
strangers() {
	python3 -c '
import html.parser, sys

ELEMENTS = """html head meta title style body header h1 h2 p main section div figure figcaption svg path text rect desc table caption thead tbody tr th td
    data b ul li span footer""".split()
ATTRIBUTES = """lang charset http-equiv content name class id value role tabindex scope rowspan colspan viewbox preserveaspectratio aria-label aria-labelledby
    aria-hidden x y d width height text-anchor""".split()

class Parser(html.parser.HTMLParser):
    def handle_starttag(self, tag, attrs):
        for word in [tag] * (tag not in ELEMENTS) + [name for name, _ in attrs if name not in ATTRIBUTES and not name.startswith("data-")]:
            print(word)

Parser().feed(sys.stdin.read())'
}

# counted FILTER: what jq makes of the records that have ended.
counted() {
	jq --raw-output --slurp "map(select(.interim == null)) | $1" "$LOG"
}

@test "in a browser, without a network: no complaint, and the figures are jq's" {
	local failed='.state | IN("S0", "REJ", "RSTO", "RSTR", "RSTOS0")'
	requires tool_gnuplot tool_chromium root
	generate 6000 >"$LOG"
	report --input "$LOG" --output "$PAGE"
	browse "$PAGE"
	assert_equal "on the console" "$(<"$CONSOLE")" ''
	assert_equal "ended" "$(shown ended)" "$(counted length)"
	assert_equal "failed" "$(shown failed)" "$(counted "map(select($failed)) | length")"
	assert_equal "adopted" "$(shown adopted)" "$(counted 'map(select(.adopted)) | length')"
	assert_equal "processes unknown" "$(shown unknown-process)" "$(counted 'map(select(.comm == null)) | length')"
	assert_equal "held by nobody knows what" "$(shown unknown-held)" "$(counted 'map(select(.held_by == null)) | length')"
	assert_equal "states" "$(column states 1)" "$(counted 'group_by(.state)[] | "\(.[0].state) \(length)"' | sort)"
	assert_equal "reasons" "$(column reasons 1)" "$(counted 'map(select(.held_by)) | group_by(.held_by)[] | "\(.[0].held_by) \(length)"' | sort)"
	assert_equal "services" "$(column service 1)" "$(counted 'group_by(.dir, .dport)[] | "\(.[0].dir) \(.[0].dport) \(length)"' | sort)"
	assert_equal "their failures" "$(column service 2)" "$(counted "group_by(.dir, .dport)[] | \"\(.[0].dir) \(.[0].dport) \(map(select($failed)) | length)\"" | sort)"
	assert_equal "processes" "$(column process 1)" "$(counted 'group_by(.dir, .comm)[] | "\(.[0].dir) \(.[0].comm // "") \(length)"' | sort)"
	assert_equal "busiest peers" "$(column peer 1 | cut -d ' ' -f 3 | sort -nr)" \
		"$(counted '[group_by(.dir, if .dir == "in" then .src else .dst end)[] | length] | sort | reverse | .[:15][]')"
	assert_equal "slowest" "$(sed -n '/<table id="slow"/,/<\/table>/p' "$DOM" | grep --only-matching -E '^<tr><td[^>]*>[^<]*</td><td[^>]*><data value="[0-9]+"' | sed 's/.*value="//; s/"//')" \
		"$(counted 'map(.duration_ns) | sort | reverse | .[:15][]')"
	# Each place of time has a bar, and each of them once for each screen; what has none failed has none.
	assert_equal "bars over time" "$(grep -A 40 'svg class="plot wide".*time-title' "$DOM" | grep 'path class="bar"' | grep --only-matching z | wc -l)" \
		"$(grep --only-matching 'id="time" data-places="[0-9]*"' "$DOM" | sed 's/.*="//; s/"//')"
	assert_equal "rows of distributions" "$(grep --only-matching -E 'id="(handshake|duration)" data-rows="[0-9]+"' "$DOM" | xargs)" 'id=handshake data-rows=6 id=duration data-rows=6'
	assert_equal "plots with words" "$(grep --count '<desc id=' "$DOM"):$(grep --count '<svg class="plot ' "$DOM")" 6:6
}

@test "what comes from outside is text, and the page takes nothing from anywhere" {
	requires tool_gnuplot tool_chromium root
	{
		generate 50
		generate 1 | sed 's/"comm":null/"comm":"<script>alert(1)"/; s/"owner":null/"owner":"a\\"><img src=x onerror=console.error(1)>.service"/; s/"state":"S0"/"state":"SF"/'
		generate 1 | sed 's/"comm":null/"comm":"\\u001b[31m'\''\&lt;\\\\"/; s/"src":"[^"]*"/"src":"<b>"/; s/"dst":"[^"]*"/"dst":"<i>"/; s/"held_by":null/"held_by":"@plot time"/'
		printf '%s\n' "$(generate 1 | sed $'s/"comm":null/"comm":"\x01\xff\x80"/')" '<script>alert(2)</script>' '{"no":"record"}'
	} >"$LOG"
	report --input - --output "$PAGE" <"$LOG" 2>"$BATS_TEST_TMPDIR/said"
	grep --quiet 'lines that are no records were left out: 2' "$BATS_TEST_TMPDIR/said" || fail "$(<"$BATS_TEST_TMPDIR/said")"
	browse "$PAGE"
	assert_equal "on the console" "$(<"$CONSOLE")" ''
	grep --quiet --fixed-strings '&lt;script&gt;alert(1)' "$PAGE" || fail "the process is not there"
	assert_equal "elements that load or run, or are not the page's" "$(strangers <"$DOM")" ''
	assert_equal "addresses of others" "$(grep --only-matching -E '(https?:)?//[a-z]' "$PAGE" || true)" ''
	assert_equal "control characters" "$(tr -d '\n\t' <"$PAGE" | LC_ALL=C grep --count '[[:cntrl:]]' || true)" 0
	assert_equal "bytes that are no UTF-8" "$(iconv -f UTF-8 -t UTF-8 "$PAGE" >/dev/null && echo none)" none
	grep --quiet "Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-" "$PAGE" || fail "no policy"
}

@test "an empty log, one record, a second, a month: a page each, and no more than 200 kB of it" {
	local name
	requires tool_gnuplot
	: >"$LOG"
	report --input "$LOG" >"$PAGE"
	DOM=$PAGE
	assert_equal "of an empty log" "$(shown ended) $(grep --count '<svg' "$PAGE" || true)" '0 0'
	generate 1 >"$LOG"
	report --input "$LOG" >"$PAGE"
	assert_equal "of one" "$(shown ended) $(grep --count 'id="time"' "$PAGE" || true)" '1 0'
	for name in '500 0.9' '500 80000' '30000 3600'; do
		# shellcheck disable=SC2086 # two words
		generate $name >"$LOG"
		report --input "$LOG" >"$PAGE"
		assert_equal "of $name" "$(shown ended) $(grep --count 'id="time"' "$PAGE")" "$(counted length) 1"
		(($(stat --format=%s "$PAGE") < 200000)) || fail "the page of $name has $(stat --format=%s "$PAGE") bytes"
	done
	sed -n '/"state":"\(S0\|REJ\)"/p' "$LOG" >"$LOG.failed"
	mv "$LOG.failed" "$LOG"
	report --input "$LOG" >"$PAGE"
	assert_equal "of failures alone" "$(shown failed)" "$(counted length)"
	report --input "$LOG" --since '2026-11-27 00:30 UTC' >"$PAGE"
	assert_equal "since half past" "$(shown ended)" "$(counted 'map(select((.ts[:19] + "Z" | fromdate) + .duration_ns / 1e9 >= 1795739400 - 1)) | length')"
}

@test "memory does not grow with the log" {
	local most
	requires tool_gnuplot
	generate 100000 >"$LOG"
	(($(stat --format=%s "$LOG") > 35000000)) || fail "the log is too small to tell"
	# sort has been given 32 MiB.
	most=$(python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$NETRACKER" report --input "$LOG" --output "$PAGE")
	((most < 40000)) || fail "a process has taken $most kB"
	DOM=$PAGE
	assert_equal "records" "$(shown ended)" 99000
}

@test "what cannot be: a terminal, no file, no records, no gnuplot, no place" {
	local words
	assert_status 1 report --input "$BATS_TEST_TMPDIR/nowhere"
	assert_says "cannot read $BATS_TEST_TMPDIR/nowhere"
	assert_status 1 report --input "$BATS_TEST_TMPDIR"
	assert_says "it is a directory"
	seq 3 >"$LOG"
	assert_status 1 report --input "$LOG" --output "$PAGE"
	assert_says "no line of $LOG is a record"
	generate 5 >"$LOG"
	assert_status 1 report --input "$LOG" --output "$BATS_TEST_TMPDIR/nowhere/page"
	assert_says "cannot write $BATS_TEST_TMPDIR/nowhere/page"
	[[ ! -e $PAGE ]] || fail "there is a page of a report that failed"
	# shellcheck disable=SC2016 # for the inner shell
	words=$(script --quiet --command "'$NETRACKER' report --input '$LOG'; echo \$?" /dev/null </dev/null | tr -d '\r')
	[[ $words == *'standard output is a terminal'*$'\n2' ]] || fail "$words"
	mkdir "$BATS_TEST_TMPDIR/bin"
	printf '#!/bin/sh\nexit 1\n' >"$BATS_TEST_TMPDIR/bin/gnuplot"
	chmod +x "$BATS_TEST_TMPDIR/bin/gnuplot"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH assert_status 4 report --input "$LOG"
	assert_says 'install the package gnuplot-nox'
}

@test "a page is in place whole; on a full disk the one of before stays, and no half one" {
	requires root tool_gnuplot
	isolate
	small_disk
	mkdir "$BATS_TEST_TMPDIR/tmp"
	export TMPDIR=$BATS_TEST_TMPDIR/tmp
	generate 2000 >"$LOG"
	echo before >"$SMALL/page"
	assert_status 1 report --input "$LOG" --output "$SMALL/page"
	assert_says "cannot write $SMALL/page: No space left on device"
	assert_equal "on the disk" "$(find "$SMALL" -type f -exec cat {} +)" before
	umount "$SMALL"
	ln -s page "$BATS_TEST_TMPDIR/link"
	report --input "$LOG" --output "$BATS_TEST_TMPDIR/link"
	[[ -L $BATS_TEST_TMPDIR/link && -s $BATS_TEST_TMPDIR/page ]] || fail "the link is one no more"
	report --input "$LOG" --output /dev/null
	[[ -c /dev/null ]] || fail "/dev/null is no device any more"
	assert_equal "left behind" "$(ls "$TMPDIR")" ''
}

@test "of the log: real connections, and nothing is taken from its readers" {
	requires root object kernel_5.19 tool_gnuplot
	isolate
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	new_pair
	in_netns client "$NETRACKER" attach veth0 2>/dev/null
	background peer server serve 80
	wait_for listening server 80
	peer client connect "$SERVER4" 80 close >/dev/null 2>&1 || true
	peer client connect "$SERVER4" 81 close >/dev/null 2>&1 || true
	wait_for logged_both
	in_netns client "$NETRACKER" report --output "$PAGE"
	DOM=$PAGE
	assert_equal "ended, failed" "$(shown ended) $(shown failed)" '2 1'
	assert_equal "services" "$(column service 1 | xargs)" 'out 80 1 out 81 1'
	logged_both
	in_netns client "$NETRACKER" detach --all 2>/dev/null
}

logged_both() {
	[[ $(head -n 1 "$VIEWS/unread" | cut -d ' ' -f 1) == 2 ]]
}
