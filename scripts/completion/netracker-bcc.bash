# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Bash completion for netracker-bcc.

_netracker_bcc() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words
	case $before in
		-i | --interface) words=$(command ip -json link 2>/dev/null | tr -d '[:cntrl:]' | jq --raw-output '.[].ifname' 2>/dev/null) ;;
		-p | --pid | -L | --localport | -D | --remoteport) return ;;
		*) words='--help --interface --pid --localport --remoteport --ipv4 --ipv6 --wide --csv --time --timestamp --failed --list' ;;
	esac
	# Not compgen -W: it would evaluate what an interface may be called.
	mapfile -t COMPREPLY < <(printf '%s\n' "$words" | tr ' ' '\n' | PREFIX=$word awk 'length && index($0, ENVIRON["PREFIX"]) == 1')
}

complete -F _netracker_bcc netracker-bcc
