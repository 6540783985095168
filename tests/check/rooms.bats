#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The tracker's rooms: what is done in one place only, is done there.

load ../helpers

setup_file() {
	local file
	mkdir "$BATS_FILE_TMPDIR/code"
	for file in "$ROOT"/NeTracker.bpf.c "$ROOT"/NeTracker.h "$ROOT"/tracker/*.h; do
		code "$file" >"$BATS_FILE_TMPDIR/code/${file##*/}"
	done
}

setup() { :; }
teardown() { :; }

# code FILE: its code, without comments and strings.
code() {
	sed -e 's|/\*.*\*/||g' -e 's|//.*||' -e '\|/\*|,\|\*/|d' -e 's/"[^"]*"//g' "$1"
}

# users PATTERN: the files of the tracker that have it in their code, on one line.
users() {
	grep --files-with-matches -E -e "$1" "$BATS_FILE_TMPDIR"/code/* | sed 's|.*/||' | xargs
}

# only_in ROOM PATTERN…: each is in the code of this room, and of no other.
only_in() {
	local room=$1 pattern
	for pattern in "${@:2}"; do
		assert_equal "who has $pattern" "$(users "$pattern")" "$room"
	done
}

@test "the lock of a set is taken by those who find its connections, that of a pool by who gives its slots or places out" {
	assert_equal "who takes a set's" "$(users 'bpf_spin_lock\(&(parts[.]|parts->)?set->lock\)')" "adopt.h interim.h motion.h rest.h sets.h silence.h timeout.h"
	assert_equal "who takes a pool's" "$(users 'bpf_spin_lock\(&pool->lock\)')" "rest.h sets.h"
	assert_equal "who takes any" "$(users 'bpf_spin_(un)?lock\(')" "adopt.h interim.h motion.h rest.h sets.h silence.h timeout.h"
}

# outside_locks FILE: where it calls what is for who holds a lock, neither holding one nor being called by who does.
outside_locks() {
	code "$1" | awk -v file="${1##*/}" '
		/^[a-z_].*\(/ { head = $0 }
		/bpf_spin_lock\(/ { held = 1 }
		/_locked\(/ && !held && head !~ /_locked\(/ { print file ": " $0 }
		/bpf_spin_unlock\(/ { held = 0 }'
}

@test "who needs a lock says so in its name, and none but those who hold it call it" {
	local file
	assert_equal "who has them" "$(users '_locked\(')" "adopt.h attempt.h closing.h motion.h rest.h sets.h silence.h timeout.h"
	for file in "$ROOT"/NeTracker.bpf.c "$ROOT"/tracker/*.h; do
		outside_locks "$file"
	done >"$BATS_TEST_TMPDIR/outside"
	# The one exception: its slot has ended, and so is its own.
	assert_equal "who calls them all the same" "$(sed 's/(.*//; s/\t//g' "$BATS_TEST_TMPDIR/outside" | xargs)" \
		"motion.h: keep_facts_locked motion.h: keep_sender_locked"
}

@test "nothing is looked up in a map, reported or counted while a lock is held" {
	local room
	for room in adopt interim motion rest sets silence timeout; do
		code "$ROOT/tracker/$room.h" | sed -n '/bpf_spin_lock(/,/bpf_spin_unlock(/p'
	done >"$BATS_TEST_TMPDIR/held"
	assert_equal "locked sections" "$(grep --count 'bpf_spin_lock(' "$BATS_TEST_TMPDIR/held")" \
		"$(grep --count 'bpf_spin_unlock(' "$BATS_TEST_TMPDIR/held")"
	(($(grep --count 'bpf_spin_lock(' "$BATS_TEST_TMPDIR/held") > 10)) || fail "too few locked sections"
	! grep -E 'bpf_map_|only_value|COUNT\(|report\w*\(|\<set_clock|\<set_of\(|find_parts|_slot\(.*pool|_timeout_ns\(|_resting\(|\<ask(_socket)?\(|return' \
		"$BATS_TEST_TMPDIR/held" || fail "this is"
}

@test "only rest.h puts connections into conn_map, and takes them out" {
	only_in rest.h 'bpf_map_update_elem\(&conn_map' 'bpf_map_delete_elem\(&conn_map' 'note_(rest|leave)_locked\(parts[.]set'
}

@test "only socket.h asks sockets" {
	only_in socket.h 'bpf_skc_lookup_tcp\(' 'bpf_sk_release\(' 'bpf_sk_fullsock\(' 'bpf_tcp_sock\(' 'bpf_get_listener_sock\(' \
		'bpf_get_socket_uid\(' 'bpf_skb_cgroup_id\(' '->sk\>'
}

@test "only report.h writes records, and counts what ended" {
	only_in report.h 'bpf_printk\(' '\<put_record\(t, &' 'COUNT\(logged\)' 'COUNT\(ended\[' 'COUNT\(established\)' '&nt_services\>'
}

@test "only clock.h arms the timer" {
	only_in clock.h 'bpf_timer_init\(' 'bpf_timer_set_callback\(' 'bpf_timer_start\(' '&nt_clock\>'
}

@test "only verifier.h hides something from clang, so that each such place has a name" {
	only_in verifier.h '\<barrier_var\(' '_Pragma\('
}

@test "large memory is fetched where the verifier begins anew, and handed down from there" {
	local file
	for file in "$ROOT"/NeTracker.bpf.c "$ROOT"/tracker/*.h; do
		code "$file" | awk -v file="${file##*/}" '
			/^[a-z_].*\(/ { head = $0 }
			/only_value\(&nt_scratch\)/ && head ~ /^static __/ && head !~ / track\(/ { print file ": " head }'
	done >"$BATS_TEST_TMPDIR/fetchers"
	assert_equal "who could have been handed it" "$(<"$BATS_TEST_TMPDIR/fetchers")" ""
}

# includes: a line for each room and for each room that one includes.
includes() {
	local room
	for room in "$ROOT"/tracker/*.h; do
		room=${room##*/}
		echo "$room $room"
		sed -n "s/^#include \"\([a-z]*\.h\)\"/$room \1/p" "$ROOT/tracker/$room"
	done
}

@test "every room includes what it needs" {
	local room
	command -v clang >/dev/null || lacking "needs clang: 'make deps' installs it"
	for room in "$ROOT"/tracker/*.h; do
		# The timer's callback alone is named before it is there.
		clang -fsyntax-only -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function -Wno-undefined-internal \
			-Wno-unused-const-variable -I"/usr/include/$(uname -m)-linux-gnu" -include "$room" -x c /dev/null ||
			fail "${room##*/} needs more"
	done
}

@test "no room includes itself by way of others" {
	includes >"$BATS_TEST_TMPDIR/includes"
	tsort "$BATS_TEST_TMPDIR/includes" >"$BATS_TEST_TMPDIR/order" || fail "a circle"
	assert_equal "rooms in order" "$(wc -l <"$BATS_TEST_TMPDIR/order")" "$(find "$ROOT/tracker" -name '*.h' | wc -l)"
}

@test "every room says at its head what it is, and for whom" {
	local room
	for room in "$ROOT"/tracker/*.h; do
		[[ $(sed -n 3p "$room") == " * ${room##*/} - "* ]] || fail "${room##*/} does not say what it is"
		[[ $(head_of "$room") == *[Ff]or\ * ]] || fail "${room##*/} does not say whom it is for"
	done
}

# head_of FILE: what it says before its first line of code, as one line.
head_of() {
	sed -n '/^#ifndef/q; s|^ \* *||p' "$1" | paste -sd ' '
}

# names_of FILE: an expression for each name that its code gives to others: macros, types, functions, variables, values of an enum. What
# it undefines again is for itself, and what others define if nobody else has is theirs.
names_of() {
	local undefined
	undefined=$(sed -n 's/^#undef //p' "$1" && sed -n 's/^#ifndef //p' "$ROOT"/tracker/*.h)
	sed -nE \
		-e 's/^#define (\w+).*/\1/p' \
		-e 's/^(struct|enum) (\w+) \{/\1 \2/p' \
		-e 's/^(static|__noinline) [^(=[]*\<(\w+)\(.*/\2\\(/p' \
		-e 's/^static const [^(]*\<(\w+)\[.*/\1/p' \
		-e 's/^\} (\w+) SEC.*/\1/p' \
		-e 's/^volatile .* (\w+);/\1/p' \
		-e 's/^\t([A-Z][A-Z_0-9]+)( = .*)?,$/\1/p' "$1" |
		grep --invert-match --line-regexp --fixed-strings -e "$undefined" | sed -e 's/^/\\</' -e 's/\w$/&\\>/'
}

@test "every room names at its head whoever uses it, or is for every room" {
	local room head user view users=0
	for view in "$ROOT"/view/*.[ch]; do
		code "$view"
	done >"$BATS_TEST_TMPDIR/views"
	for room in "$ROOT"/tracker/*.h; do
		head=$(head_of "$room")
		[[ $head != *[Ff]'or every room'* ]] || continue
		names_of "$BATS_FILE_TMPDIR/code/${room##*/}" >"$BATS_TEST_TMPDIR/names"
		[[ -s $BATS_TEST_TMPDIR/names ]] || fail "${room##*/} has nothing to offer"
		while read -r user; do
			user=${user##*/}
			[[ $user != "${room##*/}" ]] || continue
			[[ $user != views ]] || user='the views'
			users=$((users + 1))
			[[ $head == *"$user"* ]] || fail "${room##*/} is used by $user, and does not say so at its head"
		done < <(grep --files-with-matches -E -f "$BATS_TEST_TMPDIR/names" "$BATS_FILE_TMPDIR"/code/* "$BATS_TEST_TMPDIR/views")
	done
	((users > 20)) || fail "only $users uses of a room were found"
}
