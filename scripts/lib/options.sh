# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The options of all verbs, in one table, and their parsing by getopt of util-linux: --option=value, -46Hj, unique beginnings of long
# options, and -- before operands that begin with -.

# What list and log have in common.
readonly RECORD_OPTIONS='4 6 addr: port: state: iface: owner: process: pid: n,max-rows: H,no-header w,wide N,numeric j,json format: community-id'

# Each verb's options: SHORT,LONG or one of the two, with a colon if a value belongs to it. Help, man page and completion tell the same; a
# test compares them. -h, --help is an option of all verbs.
declare -rA OPTIONS=(
	[attach]='all match: if-there q,quiet v,verbose n,dry-run tcx no-adopt group: netns:'
	[detach]='all q,quiet v,verbose n,dry-run netns:'
	[status]='j,json'
	[list]="$RECORD_OPTIONS sort:"
	[log]="$RECORD_OPTIONS no-follow wait failed quality min-ms: since: u,utc all consumer: forget"
	[top]='d,delay: once b,batch: by: sort: n,max-rows:'
	[services]='by: since: sort: n,max-rows: H,no-header w,wide N,numeric j,json'
	[report]='i,input: o,output: since: u,utc'
	[stats]='j,json reset'
	[metrics]='textfile:'
	[config]=''
	[check]=''
	[version]=''
	[help]=''
)

# Of two that contradict each other, the one that comes last counts.
declare -rA INSTEAD_OF=([4]=6 [6]=4 [quiet]=verbose [verbose]=quiet [failed]=state [state]=failed [json]=format [format]=json)

# Of these all values count, with a blank in between.
declare -rA REPEATED=([match]=1)

declare -A GIVEN=() # the options of the command line: their long names (short if there is no other; _ for -) to their values, or 1
OPERANDS=()         # its other words

# parse_options [WORD…]: set GIVEN and OPERANDS to what the command line of VERB says; end if it says something else than VERB knows.
parse_options() {
	local option name key short='' long='' parsed
	local -A keys=() takes_value=()
	require getopt
	for option in ${OPTIONS[$VERB]} h,help; do
		name=${option%:}
		name=${name#*,}
		key=${name//-/_}
		[[ $option != *: ]] || takes_value[$key]=1
		if [[ $option == ? || $option == ?[,:]* ]]; then
			short+=${option::1}${takes_value[$key]+:}
			keys["-${option::1}"]=$key
		fi
		if [[ $name != ? ]]; then
			long+=,$name${takes_value[$key]+:}
			keys["--$name"]=$key
		fi
	done
	parsed=$(command getopt --name netracker --shell bash --options "$short" --longoptions "${long#,}" -- "$@" 2>&1) ||
		die_option "$parsed"
	# Nothing is evaluated but words that getopt has quoted.
	eval "set -- $parsed"
	while [[ $1 != '--' ]]; do
		key=${keys[$1]}
		if [[ ${takes_value[$key]-} ]]; then
			# An empty one is what an empty variable or a command that failed has left: it is never meant as "not given".
			[[ $2 ]] || die_usage "$1 needs a value, and this one is empty; 'netracker help $VERB' tells which"
			[[ ${REPEATED[$key]-} ]] || unset -v "GIVEN[$key]"
			GIVEN[$key]=${GIVEN[$key]+${GIVEN[$key]} }$2
			shift
		else
			GIVEN[$key]=1
		fi
		[[ ! ${INSTEAD_OF[$key]-} ]] || unset -v "GIVEN[${INSTEAD_OF[$key]}]"
		shift
	done
	OPERANDS=("${@:2}")
}

# die_option WORDS: what getopt has said, in our words.
die_option() {
	local option=${1#*\'}
	option=${option%%[\'=]*}
	[[ $option == --* ]] || option=-$option
	case ${1%%$'\n'*} in
		*ambiguous*) die_usage "'$option' is the beginning of more than one option; 'netracker help $VERB' lists them" ;;
		*'requires an argument'*) die_usage "$option needs a value; 'netracker help $VERB' tells which" ;;
		*"doesn't allow an argument"*) die_usage "$option takes no value; 'netracker help $VERB' lists what does" ;;
		*) die_usage "unknown option '$option'; 'netracker help $VERB' lists them" ;;
	esac
}
