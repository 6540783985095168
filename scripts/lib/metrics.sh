# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# metrics: the view of that name.

cmd_metrics() {
	local dir=${GIVEN[textfile]-}
	(($# == 0)) || die_word "$1"
	require_metrics
	if [[ $dir ]]; then
		metrics_to_textfile "$dir"
	else
		print_metrics
	fi
}

# require_metrics: we may read them. Who may needs no privilege.
require_metrics() {
	[[ ! -r $VIEWS/metrics ]] || return 0
	require root
	await_attach
	[[ ! -r $VIEWS/metrics ]] || return 0
	# Whose it is, only who may open it could tell.
	[[ -e $PINS/nt_counters ]] || die "$EXIT_NOT_ATTACHED" "not attached to any interface; 'netracker attach IFACE' does that"
	die_without_view metrics
}

# await_attach: the end of one that is at work, if there is one: it pins the views last. Succeeds, whatever comes of it.
await_attach() {
	local descriptor
	[[ -e $PINS/nt_counters ]] || return 0
	{ exec {descriptor}<"$LOCK"; } 2>/dev/null || return 0
	flock --shared --timeout "$LOCK_SECONDS" "$descriptor" 2>/dev/null || true
	exec {descriptor}<&-
}

print_metrics() {
	cat -- "$VIEWS/metrics"
}

# metrics_to_textfile DIR: put them where node_exporter's textfile collector finds them. It may look at any time, so the file is
# put in place whole; names that do not end in .prom it leaves alone. On failure the file of before stays, and its age tells.
metrics_to_textfile() (
	dir=$1
	[[ -d $dir && -w $dir ]] || die "$EXIT_FAILED" "$dir: no directory that can be written to; name the one that node_exporter reads"
	new=$(mktemp -- "$dir/.netracker.XXXXXX" 2>/dev/null) || die_unkept "$dir" "no file can be made there"
	trap 'rm -f -- "$new"' EXIT
	reason=$(print_metrics 2>&1 >"$new" && chmod 644 "$new" 2>&1 && mv -f -T -- "$new" "$dir/netracker.prom" 2>&1) || die_unkept "$dir" "${reason##*: }"
)

# die_unkept DIR REASON
die_unkept() {
	die "$EXIT_FAILED" "cannot write $1/netracker.prom: $2; the one of before stays; make room there, or see to whom it belongs"
}
