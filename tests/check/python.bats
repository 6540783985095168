#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# netracker-bcc and the Python module, as far as they need neither root nor bcc nor a kernel.

load ../helpers

setup() { :; }
teardown() { :; }

@test "what netracker-bcc makes of records and of its command line" {
	requires tool_python3
	run python3 "$ROOT/tests/unit/netracker_bcc.py"
	assert_equal "exit status" "$status:$output" "0:$output"
	[[ $output == *$'\nOK' ]] || fail "$output"
}

@test "pyflakes finds nothing in the command and the module" {
	requires tool_pyflakes3
	run pyflakes3 "$ROOT/scripts/netracker-bcc" "$ROOT/scripts/netracker.py" "$ROOT/tests/unit/netracker_bcc.py"
	assert_equal "pyflakes" "$output" ""
}

@test "the types of the command and the module are whole, for whoever builds on them" {
	requires tool_mypy
	run env MYPYPATH="$ROOT/scripts" mypy --strict --ignore-missing-imports --scripts-are-modules --cache-dir "$BATS_TEST_TMPDIR/cache" "$ROOT/scripts/netracker-bcc"
	assert_equal "exit status" "$status:$output" "0:$output"
}

@test "whatever is public has a word about it" {
	requires tool_python3
	run env PYTHONPATH="$ROOT/scripts" python3 - <<-'EOF'
		import inspect
		import netracker

		public = {name: thing for name, thing in inspect.getmembers(netracker) if getattr(thing, "__module__", "") == "netracker"}
		public.update(vars(netracker.Tracker))
		assert {"attach", "attached", "records", "connections", "counters", "close"} <= set(public)
		for name, thing in public.items():
		    assert name.startswith("_") or thing.__doc__, name
		for name in netracker.__all__:
		    assert getattr(netracker, name).__doc__, name
	EOF
	assert_equal "without a word" "$status:$output" "0:"
}

@test "man page, help and completion of netracker-bcc tell of the same options" {
	local option
	local -a options
	requires tool_mandoc tool_python3
	run mandoc -Tlint -Wstyle "$ROOT/man/netracker-bcc.8"
	assert_equal "mandoc" "$(grep --invert-match -E 'outdated mandoc.db|referenced manual not found: Xr netracker 8' <<<"$output")" ""
	mandoc -Tascii "$ROOT/man/netracker-bcc.8" | col -b >"$BATS_TEST_TMPDIR/page"
	mapfile -t options < <(python3 "$ROOT/scripts/netracker-bcc" --help | grep --only-matching -E -- '--[a-z0-9]+' | sort -u)
	((${#options[@]} >= 13)) || fail "options are not found any more: ${options[*]}"
	for option in "${options[@]}"; do
		grep --quiet --fixed-strings -- "$option" "$BATS_TEST_TMPDIR/page" || fail "the page does not name $option"
		[[ $option == --pid ]] || grep --quiet --fixed-strings -- "$option" "$ROOT/scripts/completion/netracker-bcc.bash" || fail "the completion does not know $option"
	done
}
