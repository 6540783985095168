#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What is a row in tracker/tables.h is in the documents, and they have no other.

load ../helpers

setup() { :; }
teardown() { :; }

# column TABLE N: the Nth column of this table, the first being the name, without the rows that have nothing there.
column() {
	awk -F '\t' -v table="$1" -v n="$2" '$1 == table && $(n + 1) != "" { print $(n + 1) }' "$NT_TABLES"
}

# assert_same WHAT WANT GOT: the words of WANT and of GOT, one a line, are the same, in any order.
assert_same() {
	diff <(sort -u <<<"$2") <(sort -u <<<"$3") >"$BATS_TEST_TMPDIR/difference" ||
		fail "$1: $(grep '^[<>]' "$BATS_TEST_TMPDIR/difference" | paste -sd ' ') (<: missing there, >: only there)"
}

# section FILE HEADING: of a document, up to the next heading of any kind.
section() {
	awk -v heading="$2" '/^#/ { inside = $0 == heading } inside' "$1"
}

# first_cells: of the table's rows on stdin, what stands between backquotes in the first of their cells, a line each.
first_cells() {
	# shellcheck disable=SC2016 # these marks are Markdown's
	sed -n 's/^| \(`[^|]*\) |.*/\1/p' | grep --only-matching '`[^`]*`' | tr -d '`'
}

# man_words: the words of the manual page, a line each.
man_words() {
	mandoc -T ascii "$ROOT/man/netracker.8" | col -b | grep --only-matching -E '[A-Za-z_0-9]+' | sort -u
}

@test "each row has all its columns" {
	[[ -s $NT_TABLES ]] || lacking "needs $NT_TABLES: run 'make'"
	run awk -F '\t' '
		BEGIN { split("constant 3 state 4 field 8 counter 4 metric 4 end 1", want, " "); for (i = 1; i in want; i += 2) columns[want[i]] = want[i + 1] }
		NF != columns[$1] { print "row " NR ": " $0 }' "$NT_TABLES"
	assert_equal "rows of another width" "$output" ""
	(($(column field 1 | wc -l) > 20 && $(column counter 1 | wc -l) > 15 && $(column metric 1 | wc -l) > 20)) || fail "rows are missing"
	assert_equal "names that are twice in a table" "$(cut -f 1,2 "$NT_TABLES" | sort | uniq -d)" ""
}

@test "every field is in docs/fields.md and in the manual page, and no other" {
	local documented
	documented=$({
		section "$ROOT/docs/fields.md" '## Every record'
		section "$ROOT/docs/fields.md" "## This host's own sockets"
	} | first_cells | grep --invert-match 'SRC:SPORT')
	assert_same "fields" "$(column field 1 | grep --invert-match --line-regexp age_ns)" "$documented"
	# shellcheck disable=SC2016 # these marks are Markdown's
	assert_same "names in JSON that the page does not have" "" \
		"$(column field 2 | while read -r name; do grep --quiet --fixed-strings "\`$name\`" "$ROOT/docs/fields.md" || echo "$name"; done)"
	assert_same "headings and names in JSON that the manual page does not have" "" \
		"$({ column field 2 && column field 6; } | grep --invert-match --line-regexp --file=<(man_words) || true)"
}

@test "every column that is made of several fields is in the manual page" {
	local made
	made=$(sed -n 's/^\tsplit("\([^"]*\)", part, " ")$/\1/p' "$ROOT/scripts/lib/table.awk" | grep --only-matching -E '[A-Z_]+')
	(($(wc -l <<<"$made") > 5)) || fail "table.awk does not say where it was: $made"
	assert_same "headings that the manual page does not have" "" "$(grep --invert-match --line-regexp --file=<(man_words) <<<"$made" || true)"
}

@test "every state is in the documents, the help and the completion" {
	local states
	states=$(column state 1)
	assert_same "docs/states.md" "$states" \
		"$(sed -n '/^| state |/,/^$/ { /^| [A-Z]/ s/^| \([^|]*\) |.*/\1/p }' "$ROOT/docs/states.md" | sed 's/, /\n/g')"
	assert_same "completion" "$states" "$(sed -n "s/^\tlocal states='\(.*\)'/\1/p" "$ROOT/scripts/completion/netracker.bash" | tr ' ' '\n')"
	assert_same "states that the manual page does not have" "" "$(grep --invert-match --line-regexp --file=<(man_words) <<<"$states" || true)"
	assert_same "states that the help of log does not have" "" \
		"$(grep --invert-match --line-regexp --file=<("$NETRACKER" help log | grep --only-matching -E '\<[A-Z0-9]+\>') <<<"$states" || true)"
	grep --quiet "by state: $(paste -sd ' ' <<<"$states") " "$ROOT/docs/fields.md" || fail "docs/fields.md has another order of ended[]"
}

@test "every counter is in docs/fields.md, and no other" {
	assert_same "counters" "$(column counter 1)" "$(section "$ROOT/docs/fields.md" '## Counters' | first_cells | sed 's/\[.*//')"
}

@test "every metric is in docs/monitoring.md; alerts and dashboard ask for none that is not there" {
	local metrics asked
	metrics=$(column metric 1 | sed 's/^/netracker_/')
	# shellcheck disable=SC2016 # these marks are Markdown's
	assert_same "docs/monitoring.md" "$metrics" \
		"$(section "$ROOT/docs/monitoring.md" '## The metrics' | first_cells | sed 's/{.*//')"
	asked=$(grep --no-filename --only-matching -E '\<netracker_[a-z_]+' "$ROOT/contrib/prometheus/netracker.rules.yml" "$ROOT/contrib/grafana/netracker.json" |
		sed -E 's/(duration_seconds|handshake_seconds|srtt_seconds)_(bucket|sum|count)$/\1/' | sort -u)
	(($(wc -l <<<"$asked") > 5)) || fail "neither alerts nor dashboard ask for anything"
	assert_same "metrics that are asked for and not there" "" "$(grep --invert-match --line-regexp --file=<(printf '%s\n' "$metrics") <<<"$asked" || true)"
}

# constant NAME: its value.
constant() {
	awk -F '\t' -v name="$1" '$1 == "constant" && $2 == name { print $3 }' "$NT_TABLES"
}

@test "numbers that the shell has from NeTracker.h are what they are there" {
	local name value
	for name in IFACE_NAME_LEN MAX_IFACES; do
		value=$(constant "$name")
		[[ $value ]] && grep --quiet -E "^readonly .*\<$name=$value\>" "$ROOT/scripts/lib/maps.sh" || fail "maps.sh has another $name than $value"
	done
	for name in handshake close; do
		value=$(constant "${name^^}_TIMEOUT_S")
		grep --quiet "${name}_timeout=\$((.* : $value))" "$ROOT/scripts/lib/stats.sh" || fail "stats.sh has another default than $value for ${name}_timeout"
		"$NETRACKER" help config | grep --quiet "${name}_timeout=S .*($value)" || fail "the help has another default than $value for ${name}_timeout"
	done
}

@test "make takes a size of the log that is a power of two from 64 to 4194304, and says so of any other" {
	local size
	for size in 64 65536 4194304; do
		[[ $(make --dry-run --directory="$ROOT" LOG_RECORDS="$size" all 2>&1) != *"it has to be"* ]] || fail "$size is refused"
	done
	for size in 0 32 100 8388608 64k '64 128' % -64; do
		run make --dry-run --directory="$ROOT" LOG_RECORDS="$size" all
		assert_equal "exit status of '$size'" "$status" 2
		[[ $output == *"LOG_RECORDS=$size: the log holds so many records; it has to be a power of two from 64 to 4194304."* ]] || fail "$output"
	done
}
