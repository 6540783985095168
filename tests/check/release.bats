#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Which release bench/ measures beside this build, and what it says when there is none.

load ../helpers

setup() {
	requires tool_git
	git init --quiet "$(tree)"
}
teardown() { :; }

tree() {
	echo "${BATS_TEST_TMPDIR:?}/tree"
}

in_tree() {
	git -C "$(tree)" -c user.name=nobody -c user.email=nobody@example.org "$@"
}

# commit HEADING…: the headings of CHANGELOG.md from now on; $commit is the commit's name.
commit() {
	printf '## %s\n' "$@" >"$(tree)/CHANGELOG.md"
	printf 'all:\n\ttouch built\n' >"$(tree)/Makefile"
	in_tree add .
	in_tree commit --quiet --message "$*"
	commit=$(in_tree rev-parse --short HEAD)
}

# look: $last is what release.bash has found there, with BASE=$base, and built; $said is what it says.
look() {
	local work
	work=$(mktemp --directory "$BATS_TEST_TMPDIR/XXXXXX")
	# shellcheck disable=SC2153 # ROOT is this tree, root the one that is looked at
	last=$(
		root=$(tree) dir=$work BASE=${base-}
		# shellcheck source=../../bench/release.bash
		source "$ROOT/bench/release.bash"
		! have_last 2>"$work/said" || [[ ! -e $LAST/built ]] || echo "$LAST_NAME"
	)
	said=$(<"$work/said")
}

@test "before there are tags, the last release is the commit before CHANGELOG.md had changes that are unreleased" {
	local commit last said release
	commit 1.0
	release=$commit
	commit Unreleased 1.0
	look
	assert_equal "last release" "$last$said" "$release"
	in_tree commit --quiet --allow-empty --message more
	look
	assert_equal "last release, more having come" "$last$said" "$release"
	commit 2.0 1.0
	look
	assert_equal "last release, while the next is being made" "$last$said" "$release"
	in_tree commit --quiet --allow-empty --message "more for the next"
	release=$(in_tree rev-parse --short HEAD)
	commit Unreleased 2.0 1.0
	look
	assert_equal "the second release" "$last$said" "$release"
}

@test "the newest tag is the last release; BASE is, if it is given" {
	local commit last said first base
	commit 1.0
	first=$commit
	commit Unreleased 1.0
	in_tree tag v1.1
	in_tree commit --quiet --allow-empty --message more
	look
	assert_equal "last release" "$last$said" v1.1
	in_tree tag v1.2
	look
	assert_equal "last release, of the one that has been tagged" "$last$said" v1.1
	in_tree tag --delete v1.2 >/dev/null
	base=HEAD
	look
	assert_equal "what lies behind it" "$last$said" "v1.1-1-g$(in_tree rev-parse --short HEAD)"
	base=$first
	look
	assert_equal "what was before tags" "$last$said" "$first"
}

@test "without a release that can be built, bench says why, and what to do, in a line" {
	local last said base=''
	look
	[[ -z $last && $said == *'git knows of none; name one: BASE=COMMIT' ]] || fail "$last: $said"
	commit 1.0
	base=nonsense
	look
	[[ -z $last && $said == *"git knows no 'nonsense'; name another: BASE=COMMIT" ]] || fail "$last: $said"
	printf 'all:\n\tfalse\n' >"$(tree)/Makefile"
	in_tree commit --quiet --all --message broken
	base=HEAD
	look
	[[ -z $last && $said == *" cannot be built; see why: mkdir "* && $said != *$'\n'* ]] || fail "$last: $said"
	base=''
	commit Unreleased 1.0
	commit 2.0 1.0
	git clone --quiet --depth 1 "file://$(tree)" "$BATS_TEST_TMPDIR/shallow"
	mv "$(tree)" "$BATS_TEST_TMPDIR/whole"
	mv "$BATS_TEST_TMPDIR/shallow" "$(tree)"
	look
	[[ -z $last && $said == *"it is not in this clone, which is shallow; git fetch --unshallow" ]] || fail "$last: $said"
	rm -r "$(tree)/.git"
	git init --quiet "$BATS_TEST_TMPDIR" # no business of the tree's in it
	look
	[[ -z $last && $said == *"no history that git could read; clone it" ]] || fail "$last: $said"
}
