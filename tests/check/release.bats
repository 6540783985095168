#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Which release is the last one, and what is said when there is none; and how a tree that is not ready to be released is told.

# shellcheck disable=SC2030,SC2031 # bats' run sets them anew in each test

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

# check_of STEP…: of a copy of these sources, in $copy, that is committed.
check_of() {
	run "$copy/scripts/release-check" "$@"
}

# new_copy: that copy.
new_copy() {
	copy=$BATS_TEST_TMPDIR/copy
	copy_of_tree "$copy"
	git -C "$copy" -c user.name=nobody -c user.email=nobody@example.org commit --quiet --message all
}

# says_missing STEP TEXT
says_missing() {
	check_of "$1"
	[[ $status == 1 && $output == "MISSING  $1 "*"$2"* && $output != *$'\n'* ]] || fail "$1 ended with $status: $output"
}

@test "a release: a tree that is not as it was committed, or is no commit, is not ready" {
	local copy
	new_copy
	check_of tree
	assert_equal "exit status" "$status:$output" "0:$output"
	echo >>"$copy/README.md"
	says_missing tree "1 files are not as they were committed, README.md among them; commit them"
	rm -r "$copy/.git"
	git init --quiet "$copy"
	says_missing tree "no commit of git's"
}

@test "a release: each place where the version, its day, or what is still to be done stands is looked at" {
	local copy file
	local -A change=(
		[CHANGELOG.md]='s/^## [0-9.]*, /## 9.9, /' ['debian/changelog']='1s/(.*)/(9.9)/'
		['docs/quickstart.md']='s/netracker-[0-9.]*[.]tar/netracker-9.9.tar/'
		['man/netracker.8']='s/Mdocdate: .* [$]/Mdocdate: January 1 1999 $/'
	)
	new_copy
	# While something is unreleased the version is the last one's, of which alone this tree may have a day.
	sed -i "0,/^## /s/^## .*/## $(<"$copy/VERSION"), $(sed -n 's/^ -- .*>  //p' "$copy/debian/changelog" | head -n 1 | date --file=- +%F)/" "$copy/CHANGELOG.md"
	sed -i "s/Mdocdate: .* [$]/Mdocdate: $(sed -n 's/^ -- .*>  //p' "$copy/debian/changelog" | head -n 1 | date --file=- '+%B %-d %Y') $/" "$copy/man/netracker.8"
	check_of versions changelog marks
	assert_equal "exit status" "$status:$output" "0:$output"
	for file in "${!change[@]}"; do
		cp "$copy/$file" "$BATS_TEST_TMPDIR/before"
		sed -i "${change[$file]}" "$copy/$file"
		says_missing versions "$file says '"
		cp "$BATS_TEST_TMPDIR/before" "$copy/$file"
	done
	sed -i '0,/^## /s/^## .*/## Unreleased/' "$copy/CHANGELOG.md"
	says_missing changelog "'Unreleased'; make that heading"
	echo "# FIX""ME" >>"$copy/Makefile"
	says_missing marks "Makefile:"
	check_of nonsense
	[[ $status == 2 && $output == *"there is no step 'nonsense'; there are tree "* ]] || fail "$output"
}
