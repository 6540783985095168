#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The sources are in the style that `make lint` checks.

load ../helpers
load ../cli_helpers

# looked_over WAY: lint finds nothing. What it left out, as the agreed formatter is not in every release, the report says.
looked_over() {
	run "$ROOT/scripts/lint" "$1"
	assert_equal "exit status" "$status:$output" "0:$output"
	[[ ! $output ]] || printf '# %s\n' "$output" >&3
	[[ ! $output || $output == 'lint: the format of '*' files left out: '* ]] || fail "$output"
}

setup() { :; }
teardown() { :; }

@test "shellcheck finds nothing" {
	requires tool_shellcheck tool_shfmt
	"$ROOT/scripts/lint" shellcheck
}

@test "shell and bats files are formatted, unless the report says that nobody looked" {
	requires tool_shfmt
	looked_over shfmt
}

@test "C files are formatted, unless the report says that nobody looked" {
	requires tool_shfmt
	looked_over clang-format
}

@test "a formatter that is not the one agreed upon is not asked, and that is said" {
	local tool
	requires tool_shfmt
	mkdir "$BATS_TEST_TMPDIR/bin"
	for tool in shfmt clang-format-14 clang-format; do
		cat >"$BATS_TEST_TMPDIR/bin/$tool" <<-EOF
			#!/bin/sh
			case \$1 in
				--version) echo "version 99.0" ;;
				-f) exec $(command -v shfmt) -f . ;;
				*) exit 1 ;;
			esac
		EOF
		chmod +x "$BATS_TEST_TMPDIR/bin/$tool"
	done
	PATH=$BATS_TEST_TMPDIR/bin:$PATH run "$ROOT/scripts/lint" shfmt clang-format
	assert_equal "exit status" "$status:$output" "0:$output"
	assert_equal "left out" "$(grep --only-matching -E '[a-z-]+ [0-9][0-9., or]*[0-9]' <<<"$output" | sort)" $'clang-format 14\nshfmt 3.6, 3.7 or 3.8'
}

@test "no line of C and no comment of the shell is too long" {
	requires tool_shfmt
	"$ROOT/scripts/lint" columns
}

# repeat N TEXT: TEXT, N times over.
repeat() {
	printf "%.0s$2" $(seq "$1")
}

@test "a line that is one column too long is found, be it with tabs or with wide characters; a table's row and a message are not" {
	local tree=$BATS_TEST_TMPDIR/tree
	requires tool_shfmt
	mkdir -p "$tree/scripts"
	cp "$ROOT/scripts/lint" "$tree/scripts/"
	{
		printf '/* %s */\n' "$(repeat 126 …)" "$(repeat 127 …)"
		printf '\t// %s\n' "$(repeat 121 x)" "$(repeat 122 x)"
		printf '\tROW(%s) \\\n' "$(repeat 140 x)"
	} >"$tree/a.h"
	{
		printf '# %s\n' "$(repeat 148 x)" "$(repeat 149 x)"
		printf 'echo %s\n' "$(repeat 160 x)"
	} >"$tree/b.sh"
	run "$tree/scripts/lint" columns
	assert_equal "exit status" "$status:$output" "1:$output"
	assert_equal "too long" "$output" "b.sh:2: 151 columns, where 150 are the most
./a.h:2: 133 columns, where 132 are the most
./a.h:4: 133 columns, where 132 are the most"
}

@test "every source file names its licence" {
	requires tool_shfmt
	"$ROOT/scripts/lint" spdx
}

# known LISTS FILE…: what the tests in FILEs require is in one of these lists of scripts/deps.
known() {
	local tool
	local -a tools
	mapfile -t tools < <(grep --no-filename --only-matching -E '\<tool_[a-z0-9-]+' "${@:2}" | sed 's/tool_//' | sort -u)
	((${#tools[@]} > 0)) || fail "no test requires a tool"
	for tool in "${tools[@]}"; do
		grep --quiet -E "^($1) +$tool " "$ROOT/scripts/deps" || fail "scripts/deps does not know $tool"
	done
}

@test "make deps installs every tool that a test requires" {
	known 'build|run|demo|check|test' "$ROOT"/tests/*.bats
	known check "$ROOT"/tests/check/*.bats
}

# asked_for KNOWN: $asked is what `make deps` says it misses for checks and benchmarks, where no program is but what it runs itself
# and tcplife under its newer name, and apt knows of the package KNOWN only.
asked_for() {
	local tool bin=$BATS_TEST_TMPDIR/bin-$1
	mkdir "$bin"
	for tool in bash grep sort; do
		ln -s "$(type -P "$tool")" "$bin/$tool"
	done
	for tool in apt-get tcplife-libbpf; do
		ln -s "$(type -P true)" "$bin/$tool"
	done
	cat >"$bin/apt-cache" <<-EOF
		#!$bin/bash
		[[ \$2 == $1 ]]
	EOF
	chmod +x "$bin/apt-cache"
	status=0
	asked=$(as_user env PATH="$bin" "$bin/bash" -s check bench <"$ROOT/scripts/deps" 2>&1) || status=$?
	assert_equal "exit status" "$status:$asked" "4:$asked"
	asked=" ${asked//$'\n'/ } "
}

@test "make deps asks for no package that the release lacks, if the tests can do without, and knows a program's other name" {
	local status asked
	requires tool_setpriv
	asked_for clang-format-14
	[[ $asked == *' shellcheck '* && $asked == *' clang-format-14 '* ]] || fail "$asked"
	[[ $asked != *' libbpf-tools '* ]] || fail "tcplife-libbpf is tcplife: $asked"
	asked_for nothing
	[[ $asked == *' shellcheck '* && $asked != *' clang-format-14 '* ]] || fail "$asked"
}
