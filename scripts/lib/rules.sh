# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Which connections are tracked: `config only=RULE,… exclude=RULE,…`, in nt_rules. A RULE is PREFIX, PORTS or PREFIX:PORTS: 10.0.0.0/8, 443,
# 8000-8999, 192.0.2.7:443, [2001:db8::/32]:443. PREFIX is of one of the two ends, PORTS of the responder.

readonly MAX_RULES=12

# check_rules KEY RULES: ends if one of them is none.
check_rules() {
	local wrong
	wrong=$(NT_RULES=$2 awk -f "$LIBDIR/address.awk" -f "$LIBDIR/rules.awk") ||
		die_usage "$1 wants rules with commas in between, as 10.0.0.0/8, 443, 8000-8999, [2001:db8::/32]:443, and not '$wrong'"
}

# read_rules: print only=… and exclude=…, as they are in the map.
read_rules() {
	dump nt_rules | jq --raw-output '.[0].formatted.value | .rule[:.count][] | "\(.excludes) \(.first_port) \(.last_port) \(.address + .mask | map(tostring) | join(" "))"' |
		awk -f "$LIBDIR/rules_text.awk"
}

# write_rules ONLY EXCLUDE: lists of rules that have been checked.
write_rules() {
	local rules bytes='' excludes first last digits mask i count=0 selects=0
	rules=$(NT_RULES=$1 NT_EXCLUDES=$2 awk -f "$LIBDIR/address.awk" -f "$LIBDIR/rules.awk")
	while read -r excludes first last digits mask; do
		[[ $excludes ]] || continue
		digits+=$mask
		for ((i = 0; i < 64; i += 2)); do
			bytes+=" ${digits:i:2}"
		done
		bytes+=" $(bytes 2 "$first") $(bytes 2 "$last") $(bytes 4 "$excludes")"
		count=$((count + 1))
		selects=$((selects + !excludes))
	done <<<"$rules"
	((count <= MAX_RULES)) || die_usage "there is room for $MAX_RULES rules, and with these there are $count; shorter lists, or larger prefixes, do with less"
	for ((i = count; i < MAX_RULES; i++)); do
		bytes+=$(printf ' 00%.0s' {1..40})
	done
	# 488 bytes tell nobody anything.
	announce "bpftool map update pinned $PINS/nt_rules key hex $(bytes 4 0) value hex …"
	ECHO=0 write_struct nt_rules "$(bytes 4 0)" "$(bytes 4 "$count") $(bytes 4 "$selects")$bytes"
}
