# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Words, exit statuses and the running of commands that change something.

readonly EXIT_FAILED=1 EXIT_USAGE=2 EXIT_NOT_ATTACHED=3 EXIT_PREREQUISITE=4

# Where the files are that outlast a command: what stats counts from, and what log had at hand.
readonly RUN=${NETRACKER_RUN:-/run/netracker}

# A subshell that has said why it fails ends with its exit status plus this, so that the shell above does not say it again.
readonly SAID=100

# shipped NAME: print where a file or directory is that came with the tracker: beside the libraries or, in the source tree, beside scripts/.
shipped() {
	local path
	for path in "$LIBDIR/$1" "${LIBDIR%/*/*}/$1"; do
		[[ ! -e $path ]] || break
	done
	printf '%s\n' "$path"
}

VERB=     # the command being done: its name is in errors
ECHO=1    # print each privileged command before it runs
DRY_RUN=0 # print privileged commands, run none

# say SENTENCE: a notice. Data go to stdout, everything else to stderr.
say() {
	# If nobody can read it, that is no reason to stop half-way.
	printf 'netracker: %s\n' "$*" >&2 || true
}

# die STATUS SENTENCE: the thing, the cause, the remedy; and the end.
die() {
	say "${@:2}"
	end "$1"
}

# end STATUS: leave this shell; what is to be said has been said.
end() {
	exit $((BASH_SUBSHELL > 0 && $1 < SAID ? $1 + SAID : BASH_SUBSHELL == 0 && $1 > SAID ? $1 - SAID : $1))
}

# end_interrupted: as Ctrl-C ends who has no trap for it, so that whoever started us sees that.
end_interrupted() {
	trap - INT
	kill -s INT "$BASHPID"
}

# on_error STATUS COMMAND: the trap for every command whose failure nobody expected. No verb ends without a word, whatever fails.
on_error() {
	# 141: SIGPIPE. Who reads what we print has had enough.
	if (($1 != 141 && ($1 <= SAID || $1 > SAID + EXIT_PREREQUISITE))); then
		say "${VERB:+$VERB: }'$(one_line "$2")' failed unexpectedly (exit status $1); 'netracker check' looks for what is missing"
		set -- "$EXIT_FAILED"
	fi
	end "$1"
}

# one_line TEXT: its first line, cut to what fits a sentence.
one_line() {
	local line=${1%%$'\n'*}
	((${#line} <= 120)) || line=${line:0:117}...
	printf '%s\n' "$line"
}

# told COMMAND…: run a program of somebody else. When it fails, what it had to say about it becomes the cause in a sentence of ours.
# Returns its status plus $SAID then, so that it fails the verb but is not reported twice.
told() {
	local errors status=0
	{ errors=$(command "$@" 2>&1 >&3 3>&-) || status=$?; } 3>&1
	((status)) || return 0
	# Nobody reads what it writes any more, which is no failure of its own.
	((status != 141)) || return "$status"
	say "${VERB:+$VERB: }'$(one_line "$(quoted "$@")")' failed: $(last_words "$errors"); 'netracker check' looks for what is missing"
	return $((SAID + EXIT_FAILED))
}

# last_words TEXT: the last line of what a program has said, without its own marks of an error.
last_words() {
	local line
	line=$(sed -nE '/[^[:space:]]/ { s/^[[:space:]]*(Error: )*//; s/[.[:space:]]*$//; h }; $ { x; p }' <<<"$1")
	printf '%s\n' "${line:-it gave no reason}"
}

# Every call of these is told, wherever it stands; where a failure is an answer, the call says `command`.
bpftool() { told bpftool "$@"; }
ip() { told ip "$@"; }
jq() { told jq "$@"; }
nsenter() { told nsenter "$@"; }
# shellcheck disable=SC2032 # xargs, which cannot call a function, takes the program itself
stat() { told stat "$@"; }
tc() { told tc "$@"; }

# die_usage SENTENCE: the command line names something that is not there.
die_usage() {
	die "$EXIT_USAGE" "${VERB:+$VERB: }$*"
}

# die_word WORD: the verb does not want this operand.
die_word() {
	die_usage "'$1' is not expected here; 'netracker help $VERB' tells what is"
}

# need_number NAME VALUE [MINIMUM MAXIMUM]: … is a whole number in this range.
need_number() {
	local minimum=${3:-0} maximum=${4:-999999999999}
	[[ $2 =~ ^(0|[1-9][0-9]{0,11})$ && $2 -ge minimum && $2 -le maximum ]] ||
		die_usage "$1 wants a whole number from $minimum to $maximum, not '$2'"
}

# join SEPARATOR [WORD…]
join() {
	local separator=$1 word joined=''
	for word in "${@:2}"; do
		joined+=${joined:+$separator}$word
	done
	printf '%s\n' "$joined"
}

# announce LINE: print a privileged command as it can be typed. What --dry-run prints is its data, so it goes to stdout.
announce() {
	if ((DRY_RUN)); then
		printf '[#] %s\n' "$1"
	elif ((ECHO)); then
		printf '[#] %s\n' "$1" >&2 || true
	fi
}

# quoted WORD…: print them as the shell would read them again.
quoted() {
	local word line=
	for word in "$@"; do
		[[ $word =~ ^[[:alnum:]_./:=@%+,-]+$ ]] || word=${word@Q}
		line+=" $word"
	done
	printf '%s\n' "${line# }"
}

# run COMMAND…: every command that changes the machine goes through here.
run() {
	announce "$(quoted "$@")"
	((DRY_RUN)) || told "$@"
}

# set_file VALUE FILE: tell the kernel something through one of its files.
set_file() {
	announce "echo $(quoted "$1") > $(quoted "$2")"
	((DRY_RUN)) || told tee -- "$2" <<<"$1" >/dev/null
}
