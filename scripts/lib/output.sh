# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Data on their way out: a disk can be full, a reader can go away. What cannot be written is said, and never passes for written.

OUT=             # standard output, under a number that redirections leave alone
OUTPUT_IS_OPEN=1 # 0: the command was started without

# open_output: the command may have been started with descriptors closed. The next file to be opened would get their numbers.
open_output() {
	[[ -e /proc/self/fd/0 ]] || exec </dev/null
	[[ -e /proc/self/fd/2 ]] || exec 2>/dev/null
	[[ -e /proc/self/fd/1 ]] || {
		OUTPUT_IS_OPEN=0
		exec >/dev/null
	}
	exec {OUT}>&1
}

# require_output: end if the verb prints something, as these options and OPERANDS have it, and nobody would see it.
require_output() {
	((!OUTPUT_IS_OPEN)) || return 0
	case $VERB in
		attach | detach) [[ -v GIVEN[dry_run] ]] || return 0 ;;
		stats) [[ ! -v GIVEN[reset] ]] || return 0 ;;
		report) [[ ! -v GIVEN[output] ]] || return 0 ;;
		metrics) [[ ! -v GIVEN[textfile] ]] || return 0 ;;
		config) ((${#OPERANDS[@]} == 0)) || return 0 ;;
	esac
	die "$EXIT_FAILED" "standard output is closed, so nothing can be shown; give it a file or a reader"
}

# show_and_end COMMAND…: run it in a subshell, write what it prints, and end with its exit status. Never returns.
show_and_end() {
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
