#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# shellcheck disable=SC2154,SC2030,SC2031 # helpers set them; each subshell has its own
#
# top: its frames as text, and its screen on a real terminal, that of tmux.

load helpers
load cli_helpers

setup() {
	isolate
	requires object kernel_5.19
	export NETRACKER_RUN=$BATS_TEST_TMPDIR/run
	new_pair
}

teardown() {
	tmux -S "$BATS_TEST_TMPDIR/tmux" kill-server 2>/dev/null || true
	clean_up
}

# talk NAME PORT BYTES: a server in `server`, and a client in `client` that sends it so many bytes ten times a second; both processes have
# this name.
talk() {
	local prologue='import ctypes, socket, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode("latin-1", "surrogateescape"))'
	background in_netns server python3 -c "$prologue
s = socket.create_server(('', int(sys.argv[2])))
c, _ = s.accept()
while c.recv(1 << 20): pass" "$1" "$2"
	wait_for listening server "$2"
	background in_netns client python3 -c "$prologue
c = socket.create_connection((sys.argv[3], int(sys.argv[2])))
print(c.getsockname()[1], flush=True)
while True:
    c.send(bytes(int(sys.argv[4])))
    time.sleep(0.1)" "$1" "$2" "$SERVER4" "$3"
	wait_for grep --quiet . "$BACKGROUND_OUTPUT"
	port=$(<"$BACKGROUND_OUTPUT")
}

# frame [OPTION…]
frame() {
	netracker top --once --delay 0.5 "$@"
}

# screen_has REGEX, screen_lacks REGEX: what the terminal shows.
screen() {
	tmux -S "$BATS_TEST_TMPDIR/tmux" capture-pane -p
}
screen_has() {
	screen | grep --quiet -E -- "$1"
}
screen_lacks() {
	! screen_has "$1"
}
press() {
	tmux -S "$BATS_TEST_TMPDIR/tmux" send-keys "$@"
}

# open_screen: a shell in a terminal of 80 columns that calls top, and says with which status it ended, and how the terminal is then.
open_screen() {
	cat >"$BATS_TEST_TMPDIR/shell" <<-'SHELL'
		before=$(stty -g)
		trap : INT TERM HUP
		"$1" top --delay 0.5 2>"$2/said" &
		echo $! >"$2/pid"
		fg >/dev/null
		status=$?
		stty -g >"$2/after"
		[ "$(stty -g)" = "$before" ] && echo "ended with $status, restored" || echo "ended with $status, not restored"
		sleep 600
	SHELL
	in_netns server env -u TMUX tmux -S "$BATS_TEST_TMPDIR/tmux" -f /dev/null new-session -d -x 80 -y 24 \
		bash -m "$BATS_TEST_TMPDIR/shell" "$NETRACKER" "$BATS_TEST_TMPDIR" 3>&-
	wait_for screen_has 'live [0-9]+ .*connections by bytes'
}

@test "a frame has the busiest connection first, with its process and what was sent" {
	local busy idle out
	netracker attach --quiet veth0
	talk idler 8001 0
	idle=$port
	talk worker 8002 10000
	busy=$port
	wait_for test "$(frame --delay 1 | awk 'NR == 3 { print $1 }')" = "$SERVER4:8002"
	out=$(frame --delay 2)
	assert_equal "local ends, the busiest first" "$(awk 'NR > 2 { print $1, $2, $3, $4 }' <<<"$out" | xargs)" \
		"$SERVER4:8002 $CLIENT4:$busy in S1 $SERVER4:8001 $CLIENT4:$idle in S1"
	[[ $(sed -n 3p <<<"$out") == *worker/* && $(sed -n 4p <<<"$out") == *idler/* ]] || fail "$out"
	awk 'NR == 3 { exit !($6 ~ /K$/ && $6 + 0 > 50 && $6 + 0 < 110) }' <<<"$out" || fail "not 100 KB a second or somewhat less: $out"
	[[ $(head -1 <<<"$out") == "new/s 0.0  failed/s 0.0  live 2"* ]] || fail "$out"
	# The same by service, process, peer; sorted by age the idle one, which is older, comes first.
	assert_equal services "$(frame --by services | awk 'NR > 2 { print $1, $2, $3 }' | xargs)" "in 8002 1 in 8001 1"
	assert_equal processes "$(frame --by processes | awk 'NR > 2 { print $2, $3 }' | xargs)" "worker 1 idler 1"
	assert_equal peers "$(frame --by peers | awk 'NR > 2 { print $1, $2 }')" "$CLIENT4 2"
	assert_equal "the oldest" "$(frame --sort age --max-rows 1 | awk 'NR > 2 { print $1 }')" "$SERVER4:8001"
	assert_equal "frames" "$(netracker top --batch 3 --delay 0.2 | grep --count '^new/s')" 3
	# From another namespace root sees the same.
	assert_equal "from elsewhere" "$(in_netns client "$NETRACKER" top --once --delay 1 | awk 'NR == 3 { print $1, $6 ~ /K$/ }')" "$SERVER4:8002 1"
}

@test "new and failed connections are counted, also by service" {
	netracker attach --quiet veth0
	background in_netns client bash -c "while :; do : 2>/dev/null <>/dev/tcp/$SERVER4/8009; sleep 0.05; done" 2>/dev/null
	frame --delay 2 --by services >"$BATS_TEST_TMPDIR/out"
	awk 'NR == 1 { exit !($2 > 2 && $4 > 2) }' "$BATS_TEST_TMPDIR/out" || fail "$(<"$BATS_TEST_TMPDIR/out")"
	awk '$1 == "in" && $2 ~ /^(8009|other)$/ { found = $7 > 2 } END { exit !found }' "$BATS_TEST_TMPDIR/out" || fail "$(<"$BATS_TEST_TMPDIR/out")"
}

@test "the view busy tells a reader of all sockets once, then of those with traffic alone" {
	local idle busy
	netracker attach --quiet veth0
	talk idler 8001 0
	idle=$port
	talk worker 8002 1000
	busy=$port
	in_netns server python3 - "$VIEWS/busy" >"$BATS_TEST_TMPDIR/read" <<-'EOT'
		import sys, time
		for turn in range(3):
		    print(turn, *sorted(line.split()[1].rsplit(":", 1)[1] for line in open(sys.argv[1]) if not line.startswith("interface")))
		    time.sleep(1)
	EOT
	assert_equal "first" "$(sed -n 1p "$BATS_TEST_TMPDIR/read")" "0 $(printf '%s\n' "$idle" "$busy" | sort | xargs)"
	assert_equal "then" "$(sed -n 2,3p "$BATS_TEST_TMPDIR/read" | xargs)" "1 $busy 2 $busy"
}

@test "the screen: views, order, filter, resize, in 80 columns; a name with escape sequences does no harm" {
	requires tool_tmux
	netracker attach --quiet veth0
	talk $'\e[31mev\x07il' 8001 0
	talk worker 8002 10000
	open_screen
	wait_for screen_has "^:8002 +$CLIENT4:[0-9]+ +in +S1 .* worker$"
	wait_for screen_has '^:8001 .* \?\[31mev\?il$'
	assert_equal "a row too wide" "$(screen | awk 'length > 80')" ''
	press s
	wait_for screen_has '^in +8002 '
	press Tab
	wait_for screen_has ' worker +1 '
	press o
	wait_for screen_has "^$CLIENT4 +2 "
	press c a
	wait_for screen_has 'connections by age'
	wait_for test "$(screen | awk 'NR == 3 { print $1 }')" = :8001
	press / w o r k e r Enter
	wait_for screen_lacks '^:8001'
	screen_has '^:8002' || fail "$(screen)"
	press Escape
	wait_for screen_has '^:8001'
	press h
	wait_for screen_has 'by segments sent again'
	press h
	tmux -S "$BATS_TEST_TMPDIR/tmux" resize-window -x 130 -y 10
	wait_for screen_has "^LOCAL +REMOTE .* USER +PROCESS"
	assert_equal "the keys' line" "$(screen | sed -n 10p | cut -c 1-7)" "c s p o"
}

@test "whatever ends it, the terminal is as it was" {
	local how
	requires tool_tmux
	netracker attach --quiet veth0
	for how in q INT TERM HUP; do
		open_screen
		if [[ $how == q ]]; then
			press q
		elif [[ $how == INT ]]; then
			press C-c
		else
			kill -s "$how" "$(<"$BATS_TEST_TMPDIR/pid")"
		fi
		wait_for screen_has 'ended with [0-9]+, restored'
		assert_equal "status after $how" "$(screen | sed -n 's/^ended with \([0-9]*\),.*/\1/p')" "$(case $how in q) echo 0 ;; INT) echo 130 ;; TERM) echo 143 ;; HUP) echo 129 ;; esac)"
		assert_equal "alternate screen" "$(tmux -S "$BATS_TEST_TMPDIR/tmux" display-message -p '#{alternate_on}')" 0
		tmux -S "$BATS_TEST_TMPDIR/tmux" kill-server
	done
}

@test "without a terminal, an attachment, or with a wrong word it says what is wrong" {
	assert_status 2 netracker top
	assert_says "there is no terminal here to draw on"
	assert_status 3 netracker top --once
	assert_says "not attached to any interface"
	assert_status 2 netracker top --once --by nothing
	assert_says "--by knows"
	assert_status 2 netracker top --once --sort nothing
	assert_says "--sort knows"
	for word in 0 0.0 x -1 1e3; do
		assert_status 2 netracker top --once --delay "$word"
		assert_says "--delay wants seconds"
	done
	assert_status 2 netracker top --batch 0
	assert_says "--batch wants a whole number"
	assert_status 2 netracker top --once eth0
	assert_says "is not expected here"
}
