#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154 # helpers set them
#
# The questions of docs/questions.md: each command there is run in a small world with one of everything that is asked about. With
# QUESTIONS=FILE the commands and what they print go there, too: what the page shows is from such a file.

load helpers

readonly PAGE=$ROOT/docs/questions.md WIDTH=132

# The line that answers: an extended regular expression, by the heading of the question; blanks in the output are squeezed.
# shellcheck disable=SC2034 # by its name
declare -gAr ANSWERS=(
	['What fails, and how?']='^out 6379 [a-z-]+ 3 100% REJ:3 '
	['Which process opened that connection?']=' 192.0.2.10:[0-9]+ 192.0.2.30:6379 out REJ .* [0-9]+ worker( |$)'
	['Which peers are worst?']='^out 192.0.2.30 3 100% REJ:3 .* worker '
	['Why was it reset?']='^\["RSTO","192.0.2.20",80,"crawler","unread_data"\]$'
	['What is slow, and what holds it back?']='^192.0.2.10:[0-9]+ 192.0.2.20:8080 [0-9.]+ application report '
	['Who talks to my database?']='^192.0.2.10:[0-9]+ 192.0.2.20:5432 out S1 .* shop'
	['What has been open since yesterday?']='^192.0.2.10:[0-9]+ 192.0.2.20:5432 out S1 .* billing'
	['What was open before the tracker came?']='^\["192.0.2.10",[0-9]+,"192.0.2.20",5432,"billing"\]$'
	['What is using the uplink now?']='^192.0.2.10:[0-9]+ 192.0.2.20:873 out S1 .* backup/'
	['Does the tracker see everything?']='^untracked eth1,'
)

# The addresses are the page's own. Nothing here reads the trace, where others would see them.
readonly APP=192.0.2.10 DATABASE=192.0.2.20 CACHE=192.0.2.30 NOBODY=192.0.2.99

setup() { :; }

teardown() {
	clean_up
	[[ ! -v CGROUP ]] || find "$CGROUP" -depth -type d -delete
}

# questions: of each command on the page the number of its line, the heading of its question, and itself, with tabs between.
questions() {
	awk -v OFS='\t' '
		/^## / { heading = substr($0, 4) }
		/^```/ { inside = !inside }
		inside && /^# netracker / { print NR, heading, substr($0, 3) }' "$PAGE"
}

# shown NUMBER: what the page shows as the output of the command on that line.
shown() {
	awk -v line="$1" 'NR <= line { next } /^```$/ { exit } { print }' "$PAGE"
}

# answer_in HEADING <OUTPUT: the lines that answer the question.
answer_in() {
	tr --squeeze-repeats ' ' | grep -E -- "${ANSWERS[$1]}" || true
}

# form HEADING <OUTPUT: its line of column headings; of what has none the lines that answer, each number an N.
form() {
	local output headings
	output=$(tr --squeeze-repeats ' ')
	headings=$(grep -E '^([A-Z][A-Z0-9_/]* ?){3,}$' <<<"$output") || headings=$(answer_in "$1" <<<"$output" | sed 's/[0-9]\+/N/g')
	printf '%s\n' "$headings"
}

# app NAME ARGUMENT…: python3 by this name, as a unit of this name, on the host that is tracked.
app() {
	local cgroup=$CGROUP/system.slice/$1.service
	mkdir --parents "$cgroup"
	# shellcheck disable=SC2016 # for that shell
	in_netns app bash -c 'echo 0 >"$1/cgroup.procs" && exec "${@:2}"' app "$cgroup" "$BIN/$1" "${@:2}"
}

# connected: what was last put into the background has said that it is.
connected() {
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
}

serve() {
	background in_netns world python3 "$ROOT/tests/$1.py" serve "${@:2}"
	wait_for listening world "$2"
}

# The host `app` has two interfaces, behind which is all else: a database, a cache that is down, slow services, and nobody.
make_world() {
	local python name
	new_netns app
	new_netns world
	new_veth app eth0 world eth0
	new_veth app eth1 world eth1
	add_address app eth0 "$APP"
	add_address app eth1 198.51.100.10
	add_address world eth0 "$DATABASE" "$CACHE"
	in_netns app ip neighbour replace "$NOBODY" lladdr 02:00:00:00:00:99 dev eth0
	in_netns world nft 'add table inet slow; add chain inet slow in { type filter hook input priority 0; }; add rule inet slow in tcp dport 25 tcp flags & (syn | ack) == syn numgen inc mod 2 0 drop'
	BIN=$BATS_TEST_TMPDIR/bin
	mkdir "$BIN"
	ln -s "$NETRACKER" "$BIN/netracker"
	python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
	for name in backup billing checker crawler mailer report shop sshd worker; do
		ln -s "$python" "$BIN/$name"
	done
	serve live_peer 5432 4000
	serve live_peer 80 4000
	serve peer 443 reset
	serve peer 873
	serve peer 8081
	serve held 25
	serve held 8080
}

# What billing has open is older than the tracker. The 11 connections that end are in the log when this is done.
make_traffic() {
	background app billing "$ROOT/tests/live_peer.py" connect "$DATABASE" 5432 600 4000
	connected
	in_netns app "$NETRACKER" attach --quiet eth0
	in_netns app "$NETRACKER" config handshake_timeout=3 2>/dev/null
	app worker -c 'import socket, sys
with socket.socket() as attempt:
    attempt.settimeout(0.05)
    attempt.connect_ex((sys.argv[1], 389))' "$NOBODY"
	background app report "$ROOT/tests/held.py" connect "$DATABASE" 8080 think
	background app report "$ROOT/tests/held.py" connect "$DATABASE" 8080 late
	background app mailer "$ROOT/tests/held.py" connect "$DATABASE" 25 chat 0.1
	background app shop "$ROOT/tests/live_peer.py" connect "$DATABASE" 5432 900 4000
	connected
	background app sshd "$ROOT/tests/peer.py" serve 22
	wait_for listening app 22
	background in_netns world python3 "$ROOT/tests/peer.py" connect "$APP" 22
	connected
	background app backup -c 'import socket, sys, time
with socket.create_connection((sys.argv[1], 873)) as upload:
    while True:
        upload.sendall(bytes(200000))
        time.sleep(0.1)' "$DATABASE"
	for _ in 1 2 3; do
		app worker "$ROOT/tests/peer.py" connect "$CACHE" 6379 2>/dev/null || true
	done
	# What has come is not read.
	app crawler -c 'import select, socket, sys
with socket.create_connection((sys.argv[1], 80)) as page:
    select.select([page], [], [])' "$DATABASE"
	app crawler "$ROOT/tests/peer.py" connect "$DATABASE" 443 >/dev/null
	app checker "$ROOT/tests/peer.py" connect "$DATABASE" 8081 reset >/dev/null
	in_netns world python3 "$ROOT/tests/peer.py" connect "$APP" 9200 2>/dev/null || true
	wait_for all_ended 11
}

all_ended() {
	assert_equal "records" "$(counter logged)" "$1"
}

# on_terminal COMMAND: on one that is as wide as the page; without the colours, which not every jq can be told to leave out.
on_terminal() {
	in_netns app env PATH="$BIN:$PATH" COMMAND="$1" script --quiet --return \
		--command "stty cols $WIDTH; exec bash -o pipefail -c \"\$COMMAND\"" /dev/null </dev/null | sed $'s/\r//g; s/\e\\[[0-9;]*m//g'
}

@test "the page has ten questions, each with one command and an output that has the answer and fits" {
	local line heading command
	assert_equal "questions" "$(questions | cut -f 2 | sort)" "$(printf '%s\n' "${!ANSWERS[@]}" | sort)"
	assert_equal "number" "${#ANSWERS[@]}" 10
	assert_equal "headings" "$(sed -n 's/^## //p' "$PAGE")" "$(questions | cut -f 2)"
	while IFS=$'\t' read -r line heading command; do
		[[ $(shown "$line" | answer_in "$heading") ]] || fail "'$heading' has no answer on the page"
	done < <(questions)
	assert_equal "lines too wide" "$(awk -v width="$WIDTH" '/^```/ { inside = !inside } inside && length > width' "$PAGE")" ""
}

@test "each command of the page answers its question, in the form that the page shows" {
	local line heading command status output
	requires kernel_5.19 object tool_nft tool_script
	NT_CGROUPS=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[[ $NT_CGROUPS ]] || lacking "needs cgroup2 to be mounted"
	isolate
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	CGROUP=$NT_CGROUPS/$NETRACKER_TEST_ID-$BATS_TEST_NUMBER
	mkdir "$CGROUP"
	make_world
	make_traffic
	while IFS=$'\t' read -r line heading command <&9; do
		status=0
		output=$(on_terminal "$command") || status=$?
		[[ ! ${QUESTIONS-} ]] || printf '## %s\n\n# %s\n%s\n\n' "$heading" "$command" "$output" >>"$QUESTIONS"
		assert_equal "exit status of '$command', which says: $output" "$status" 0
		[[ $(answer_in "$heading" <<<"$output") ]] || fail "'$command' does not answer '$heading': $output"
		assert_equal "form of '$command' (wanted: the page's)" "$(form "$heading" <<<"$output")" "$(shown "$line" | form "$heading")"
	done 9< <(questions)
}
