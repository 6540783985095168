#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The sources are in the style that `make lint` checks.

load helpers

setup() { :; }
teardown() { :; }

@test "shellcheck finds nothing" {
	requires tool_shellcheck tool_shfmt
	"$ROOT/scripts/lint" shellcheck
}

@test "shell and bats files are formatted" {
	requires tool_shfmt
	"$ROOT/scripts/lint" shfmt
}

@test "C files are formatted" {
	requires tool_clang-format-14 tool_shfmt
	"$ROOT/scripts/lint" clang-format
}

@test "every source file names its licence" {
	requires tool_shfmt
	"$ROOT/scripts/lint" spdx
}

@test "make deps installs every tool that a test requires" {
	local tool
	local -a tools
	mapfile -t tools < <(grep --no-filename --only-matching -E '\<tool_[a-z0-9-]+' "$ROOT"/tests/*.bats | sed 's/tool_//' | sort -u)
	((${#tools[@]} > 0)) || fail "no test requires a tool"
	for tool in "${tools[@]}"; do
		grep --quiet -E "^(test|demo) +$tool " "$ROOT/scripts/deps" || fail "scripts/deps does not know $tool"
	done
}
