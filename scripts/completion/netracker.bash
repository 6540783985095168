# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Bash completion for netracker.

_netracker() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]-} words=
	local verbs='attach detach status list top log services report stats metrics config check version help'
	local states='S0 S1 S2 S3 SF SH REJ RSTO RSTR RSTOS0 OTH'
	local filters='-4 -6 --addr --port --state --iface --owner --process --pid --max-rows --no-header --wide --numeric --json --format --community-id'

	if ((COMP_CWORD == 1)); then
		words=$verbs
	else
		case $before in
			--netns) words=$(command ip netns 2>/dev/null | cut -d ' ' -f 1) ;;
			--group) words=$(getent group | cut -d : -f 1) ;;
			--iface) words=$(_netracker_interfaces) ;;
			--state) words=$states ;;
			--sort)
				words='age src dst port bytes rate retrans'
				[[ $verb != services ]] || words='worst failed ended live handshake duration bytes retransmitted'
				[[ $verb != top ]] || words='bytes retrans age connections'
				;;
			--by)
				words='service peer'
				[[ $verb != top ]] || words='connections services processes peers'
				;;
			--format)
				words='table json ecs csv'
				[[ $verb != log ]] || words+=' zeek zeek-json'
				;;
			--consumer) words=$(_netracker_consumers) ;;
			--addr | --port | --owner | --process | --pid | --max-rows | -n | --delay | -d | --batch | -b | --min-ms | --since | --match) return ;;
			*)
				case $verb in
					attach)
						words="--all --match --if-there --quiet --verbose --dry-run --tcx --no-adopt --group --netns $(comm -23 <(_netracker_interfaces | sort) <(_netracker_attached | sort))"
						;;
					detach) words="--all --quiet --verbose --dry-run --netns $(_netracker_attached)" ;;
					status) words='--json' ;;
					list) words="$filters --sort" ;;
					top) words='--delay --once --batch --by --sort --max-rows' ;;
					log) words="$filters --no-follow --wait --failed --quality --min-ms --since --utc --all --consumer --forget" ;;
					services) words='--by --since --sort --max-rows --no-header --wide --numeric --json' ;;
					report) words='--input --output --since --utc' ;;
					stats) words='--json --reset' ;;
					metrics) words='--textfile' ;;
					config)
						words='handshake_timeout= close_timeout= idle_timeout= interim= only= exclude= log=on log=off trace=auto trace=on trace=off closers=on closers=off'
						[[ $word == *= ]] || compopt -o nospace
						;;
					help) words=$verbs ;;
				esac
				;;
		esac
	fi
	# Not compgen -W: it would evaluate what an interface may be called.
	mapfile -t COMPREPLY < <(printf '%s\n' "$words" | tr ' ' '\n' | PREFIX=$word awk 'length && index($0, ENVIRON["PREFIX"]) == 1')
}

_netracker_interfaces() {
	command ip -json link 2>/dev/null | tr -d '[:cntrl:]' | jq --raw-output '.[].ifname' 2>/dev/null
}

_netracker_consumers() {
	command ls /sys/fs/bpf/netracker/consumers 2>/dev/null | grep --invert-match '^+'
}

# Only root can tell; then as the tracker itself does.
_netracker_attached() {
	((EUID == 0)) || return 0
	netracker status --json 2>/dev/null | jq --raw-output '.interfaces[].ifname' 2>/dev/null
}

complete -F _netracker netracker
