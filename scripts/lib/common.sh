# shellcheck shell=bash disable=SC2034 # what is set here is for the other libraries
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Words, exit statuses and the running of commands that change something.

readonly EXIT_FAILED=1 EXIT_USAGE=2 EXIT_NOT_ATTACHED=3 EXIT_PREREQUISITE=4

VERB=     # the command being done: its name is in usage errors
ECHO=1    # print each privileged command before it runs
DRY_RUN=0 # print privileged commands, run none

# say SENTENCE: a notice. Data go to stdout, everything else to stderr.
say() {
	printf 'netracker: %s\n' "$*" >&2
}

# die STATUS SENTENCE: the thing, the cause, the remedy; and the end.
die() {
	say "${@:2}"
	exit "$1"
}

# die_usage SENTENCE: the command line names something that is not there.
die_usage() {
	die "$EXIT_USAGE" "${VERB:+$VERB: }$*"
}

# die_word WORD: the verb does not know this option or operand.
die_word() {
	case $1 in
		-*) die_usage "unknown option '$1'; 'netracker help $VERB' lists them" ;;
		*) die_usage "'$1' is not expected here; 'netracker help $VERB' tells what is" ;;
	esac
}

# need_value OPTION [VALUE]: an option that takes a value has got one.
need_value() {
	(($# > 1)) || die_usage "$1 needs a value; 'netracker help $VERB' tells which"
}

# need_number OPTION [VALUE [MINIMUM MAXIMUM]]: … and it is a whole number in this range.
need_number() {
	local minimum=${3:-0} maximum=${4:-999999999999}
	need_value "${@:1:2}"
	[[ $2 =~ ^(0|[1-9][0-9]{0,11})$ && $2 -ge minimum && $2 -le maximum ]] ||
		die_usage "$1 wants a whole number from $minimum to $maximum, not '$2'"
}

# join SEPARATOR WORD…
join() {
	local separator=$1 joined=${2-}
	shift 2
	(($# == 0)) || joined+=$(printf '%s' "${@/#/"$separator"}")
	printf '%s\n' "$joined"
}

# announce LINE: print a privileged command as it can be typed. What --dry-run prints is its data, so it goes to stdout.
announce() {
	if ((DRY_RUN)); then
		printf '[#] %s\n' "$1"
	elif ((ECHO)); then
		printf '[#] %s\n' "$1" >&2
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
	((DRY_RUN)) || "$@"
}

# set_file VALUE FILE: tell the kernel something through one of its files.
set_file() {
	announce "echo $(quoted "$1") > $(quoted "$2")"
	((DRY_RUN)) || tee -- "$2" <<<"$1" >/dev/null
}
