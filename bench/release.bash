# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is for those who source it
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The last release, for ./run to measure beside this build and for tests/upgrade.bats to upgrade from. Its sources are exported into $dir
# and built there: the tree at hand is read by git and not touched.
#
#   have_last        succeed if the last release is built, which the first call does; else fail, and the first call says why
#   with_last COMMAND…
#                    run COMMAND, a function of network.bash or ./run, with the last release's commands and objects
#   export_last      the same without building it
#   $LAST            where its sources are
#   $BASE            may name the release, any commit of git's
#   $LAST_NAME       what git calls it, once it is built

LAST='' LAST_NAME='' LAST_TRIED=''

# What is asked of git as root in a user's tree, of that tree alone: sources without history may lie in somebody's repository.
git_here() {
	GIT_CEILING_DIRECTORIES=${root%/*} git -c safe.directory="$root" -C "$root" "$@"
}

# find_base: print the commit that the last release is: BASE, else the newest tag behind this tree. Before there are tags CHANGELOG.md
# tells: what was there before its heading "Unreleased" came, be that heading a version by now: the release that is being made is not
# the last one yet.
find_base() {
	local change heading='^## Unreleased$'
	if [[ ${BASE-} ]]; then
		echo "$BASE"
		return
	fi
	! git_here describe --tags --abbrev=0 HEAD^ 2>/dev/null || return 0
	for change in $(git_here log --format=%h --pickaxe-regex -S"$heading" -- CHANGELOG.md 2>/dev/null); do
		if [[ $(git_here show "$change:CHANGELOG.md" | grep --count "$heading") != 0 ]]; then
			git_here rev-parse --short --verify --quiet "$change^"
			return
		fi
	done
	return 1
}

# without_last REASON REMEDY
without_last() {
	echo "bench: nothing is measured beside the last release: $1; $2" >&2
	return 1
}

have_last() {
	[[ ! $LAST_TRIED ]] || {
		[[ $LAST ]]
		return
	}
	LAST_TRIED=1
	build_last
}

build_last() {
	export_last || return
	if ! make --directory="$LAST" --silent all >/dev/null 2>&1; then
		LAST=''
		without_last "$LAST_NAME cannot be built" "see why: mkdir /tmp/last && git archive $LAST_NAME | tar -x -C /tmp/last && make -C /tmp/last"
	fi
}

# export_last: its sources, in $LAST.
export_last() {
	local base
	if ! command -v git >/dev/null || ! git_here rev-parse --git-dir >/dev/null 2>&1; then
		without_last "this tree has no history that git could read" "clone it"
	elif ! base=$(find_base); then
		if [[ $(git_here rev-parse --is-shallow-repository) == true ]]; then
			without_last "it is not in this clone, which is shallow" "git fetch --unshallow"
		else
			without_last "git knows of none" "name one: BASE=COMMIT"
		fi
	elif ! git_here rev-parse --verify --quiet "$base^{commit}" >/dev/null; then
		without_last "git knows no '$base'" "name another: BASE=COMMIT"
	else
		mkdir "$dir/last"
		git_here archive "$base" | tar -x -C "$dir/last"
		LAST=$dir/last LAST_NAME=$(git_here describe --tags --always "$base")
	fi
}

with_last() {
	local NETRACKER=$LAST/scripts/netracker
	"$@"
}
