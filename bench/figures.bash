# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is for those who source it
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Figures, for ./run and ./scale: gathered in $dir, written to $OUT.json, shown by ./table.

# result PART WHAT VALUE UNIT [TARGET [ROUNDS]]: a line of the table. TARGET: `<= N` or `>= N`. ROUNDS: the values that it is the median of, with
# commas between them.
result() {
	local IFS=$'\t'
	echo "$*" | tee -a "$dir/results" | awk -F '\t' '{ printf "%s: %s: %s %s\n", $1, $2, $3, $4 }' >&2
}

# result_of PART WHAT FILE UNIT [TARGET [FORMAT]]: the median of the numbers in FILE, a line a round.
result_of() {
	result "$1" "$2" "$(median "${6-}" <"$3")" "$4" "${5-}" "$(paste --serial --delimiters=, "$3")"
}

machine() {
	jq --null-input --arg kernel "$(uname -r)" --arg cpu "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" \
		--arg cpus "$(nproc)" --arg memory_gb "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1e6 }' /proc/meminfo)" \
		--arg hypervisor "$(lscpu | sed -n 's/^Hypervisor vendor: *//p')" --arg date "$(date --utc +%F)" \
		--arg version "$(cat "$root/VERSION")" --arg last_release "$LAST_NAME" '$ARGS.named'
}

report() {
	jq --raw-input --null-input --argjson machine "$(machine)" --rawfile seconds "$dir/seconds" '
		def met($value; $target):
			if $target == "" then null
			else ($target | split(" ")) as [$relation, $bound]
				| if $relation == "<=" then $value <= ($bound | tonumber) else $value >= ($bound | tonumber) end
			end;
		{machine: $machine, seconds: ($seconds / "\n" | map(select(. != "") / " " | {(.[0]): (.[1] | tonumber)}) | add),
			results: [inputs | split("\t") | {part: .[0], what: .[1], value: (.[2] | tonumber), unit: .[3], target: (.[4] // "")}
				+ {rounds: (.[5] // "" | if . == "" then [] else split(",") | map(tonumber) end)}
			| .met = met(.value; .target)]}' "$dir/results" >"$OUT.json"
	"$here/table" "$OUT.json" | tee "$OUT.md"
}

# median [FORMAT]: of the numbers on stdin, one a line.
median() {
	sort --general-numeric-sort | awk -v format="${1:-%.6g}" '{ value[NR] = $1 }
		END { printf format "\n", NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

# divide A B [FORMAT]
divide() {
	awk -v a="$1" -v b="$2" -v format="${3:-%.3f}" 'BEGIN { printf format "\n", a / b }'
}
