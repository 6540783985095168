# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Data on their way out: a disk can be full, a reader can go away. What cannot be written is said, and never passes for written.

OUT= # standard output, under a number that redirections leave alone

# open_output VERB…: the command may have been started with descriptors closed. The next file to be opened would get their numbers.
open_output() {
	[[ -e /proc/self/fd/0 ]] || exec </dev/null
	[[ -e /proc/self/fd/2 ]] || exec 2>/dev/null
	if [[ ! -e /proc/self/fd/1 ]]; then
		[[ $1 != attach && $1 != detach ]] || is_dry_run "${@:2}" || exec >/dev/null
		[[ -e /proc/self/fd/1 ]] ||
			die "$EXIT_FAILED" "standard output is closed, so nothing can be shown; give it a file or a reader"
	fi
	exec {OUT}>&1
}

# is_dry_run WORD…: what attach and detach print then is their data.
is_dry_run() {
	local word
	for word in "$@"; do
		case $word in
			-n | --dry-run) return 0 ;;
			--) break ;;
		esac
	done
	return 1
}

# show COMMAND…: run it in a subshell and write what it prints; its exit status is the command's.
show() {
	local text status=0 reason
	# Whatever its status, what it has printed is written.
	set +e
	trap - ERR
	text=$(
		set -e
		trap 'on_error $? "$BASH_COMMAND"' ERR
		"$@"
	)
	status=$?
	if [[ $text ]]; then
		reason=$({ printf '%s\n' "$text" >&"$OUT"; } 2>&1) || die_unwritten "$reason"
	fi
	end "$status"
}

# copy_out: write what comes on standard input.
copy_out() {
	local reason
	reason=$(cat 2>&1 >&"$OUT") || die_unwritten "$reason"
}

# die_unwritten REASON: what the tool that wrote said last. Readers that have seen enough go away, which is no fault.
die_unwritten() {
	local reason=${1##*: }
	[[ $reason && $reason != 'Broken pipe' ]] || end "$EXIT_FAILED"
	die "$EXIT_FAILED" "cannot write the output: $reason; make room there, or write it elsewhere"
}
