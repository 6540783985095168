# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# report: a page for a browser, of what the log has, or of records that `log --json` wrote before.
#
# The records are gone over once. What concerns all of them is counted on the way (report.awk); each becomes a line for its service, its peer and its
# process, which sort brings together, and one group at a time is counted, as `services` does it. So memory does not grow with the log: what sort
# cannot hold it keeps in $TMPDIR. Behind the page's words (report_page.awk) gnuplot draws, and its drawings are put in (report_plot.awk).

REPORT_DIR= # where the report is made

cmd_report() {
	local input=${GIVEN[input]-} output=${GIVEN[output]-} page
	(($# == 0)) || die_word "$1"
	[[ ! -v GIVEN[since] ]] || since_us "${GIVEN[since]}" >/dev/null
	[[ $output || ! -t 1 ]] || die_usage "a page is for a browser, and standard output is a terminal; --output FILE writes it to a file"
	require awk gnuplot
	export NT_HOSTNAME='' NT_VERSION NT_NOW NT_SINCE=${GIVEN[since]-} NT_SINCE_US='' NT_UTC=${GIVEN[utc]-0}
	[[ ! -v GIVEN[since] ]] || NT_SINCE_US=$(since_us "${GIVEN[since]}")
	if [[ $input ]]; then
		open_input "$input"
	else
		require_attached
		read -r NT_HOSTNAME </proc/sys/kernel/hostname || true
	fi
	REPORT_DIR=$(mktemp --directory -- "${TMPDIR:-/tmp}/netracker-report.XXXXXX" 2>/dev/null) ||
		die "$EXIT_FAILED" "no directory can be made in ${TMPDIR:-/tmp}, where a report is put together; TMPDIR=/elsewhere names another place"
	# A signal for the whole group comes twice: to us, and to rm.
	trap 'trap "" HUP INT TERM; rm -rf -- "$REPORT_DIR"' EXIT
	NT_VERSION=$(version)
	NT_NOW=$(date +'%Y-%m-%d %H:%M:%S %z')
	page=$REPORT_DIR/page
	write_words "${input:+1}" >"$page.words"
	need_records "$input"
	draw_plots
	NT_PLOTS=$REPORT_DIR awk -f "$LIBDIR/report_plot.awk" "$page.words" >"$page" 2>/dev/null ||
		die "$EXIT_FAILED" "the plots could not be put into the page; is there room in ${TMPDIR:-/tmp}, and is it gnuplot 5.4 or newer?"
	if [[ ! $output ]]; then
		copy_out <"$page"
	elif [[ -e $output && ! -f $output ]]; then
		# A device or a pipe is written to, and stays what it is.
		{ cat -- "$page" >"$output"; } 2>/dev/null || die_without_report "$output" "it cannot be written to"
	else
		put_report "$page" "$output"
	fi
}

# open_input FILE: have it as standard input; - is that already.
open_input() {
	[[ $1 != - ]] || return 0
	[[ ! -d $1 ]] || die "$EXIT_FAILED" "cannot read $1: it is a directory; name a file that 'netracker log --json' wrote"
	{ exec <"$1"; } 2>/dev/null || die "$EXIT_FAILED" "cannot read $1: is it there, and may you? name a file that 'netracker log --json' wrote"
}

# write_words FROM_FILE: print the page without its plots, and leave in $REPORT_DIR what they are drawn of.
write_words() {
	local -a source=(cat) ended
	local -x NT_TABLES=$TABLES_TSV NT_TOTALS=$REPORT_DIR/totals NT_PLOTS=$REPORT_DIR NT_BY='service peer process' NT_NAMED=1 NT_LIVE=0 NT_SORT='' NT_CGROUPS=''
	local -x NT_MAX_ROWS=1 NT_NUMERIC=0 NT_STYLE=$LIBDIR/report.css NT_STYLE_HASH
	NT_STYLE_HASH=$(sha256_base64 <"$NT_STYLE")
	if [[ ! $1 ]]; then
		source=("$(readlink --canonicalize -- "$0")" log --all --no-follow --json)
		[[ ! -v GIVEN[since] ]] || source+=(--since "${GIVEN[since]}")
	fi
	"${source[@]}" | awk -f "$LIBDIR/address.awk" -f "$LIBDIR/owner.awk" -f "$LIBDIR/object.awk" -f "$LIBDIR/report.awk" -f "$LIBDIR/grouped.awk" \
		-f "$LIBDIR/record.awk" 2>/dev/null | sort --buffer-size="$SORT_MEMORY" --field-separator=$'\t' --key=1,2 2>/dev/null |
		awk -f "$LIBDIR/figures.awk" -f "$LIBDIR/groups.awk" 2>/dev/null |
		sort --buffer-size="$SORT_MEMORY" --field-separator=$'\t' --key=1,1nr --key=2,2nr --key=3,3nr --key=4,4 --key=5,5n --key=5,5 2>/dev/null |
		awk -f "$LIBDIR/address.awk" -f "$LIBDIR/owner.awk" -f "$LIBDIR/report_page.awk" -f "$LIBDIR/service_rows.awk" \
			-f "$LIBDIR/service_cells.awk" 2>/dev/null || {
		ended=("${PIPESTATUS[@]}")
		# The log has said it, unless nobody was left to listen to it.
		[[ $1 ]] || ((ended[1] + ended[2] + ended[3] + ended[4] + ended[5] != 0)) || ended[0]=$((SAID + ended[0]))
		die_of_figures "${ended[@]}"
	}
}

# need_records FILE: end if it has lines, and none of them is a record; say how many are not.
need_records() {
	local ended strange
	[[ $1 ]] || return 0
	ended=$(total_of ended) strange=$(total_of strange)
	((strange == 0)) || ((ended > 0)) || die "$EXIT_FAILED" "no line of $1 is a record; what is wanted is what 'netracker log --json' writes"
	((strange == 0)) || say "$1: lines that are no records were left out: $strange"
}

# total_of NAME: print what report.awk has counted.
total_of() {
	awk -F '\t' -v name="$1" '$1 == "total" && $2 == name { print $3 }' "$REPORT_DIR/totals"
}

# sha256_base64: of standard input, as a page's policy wants it.
sha256_base64() {
	local digits
	digits=$(sha256sum)
	printf '%b' "$(sed 's/ .*//; s/../\\x&/g' <<<"$digits")" | base64
}

draw_plots() {
	local reason
	reason=$(cd -- "$REPORT_DIR" && command gnuplot -d "$LIBDIR/report.gp" 2>&1) ||
		die "$EXIT_FAILED" "gnuplot could not draw the plots: $(last_words "$reason"); is there room in ${TMPDIR:-/tmp}? start again"
}

# put_report PAGE FILE: in place whole; on failure the one of before stays.
put_report() (
	file=$(readlink --canonicalize -- "$2") || die_without_report "$2" "its directory is not there"
	new=$(mktemp -- "${file%/*}/.netracker.XXXXXX" 2>/dev/null) || die_without_report "$2" "no file can be made in its directory"
	trap 'rm -f -- "$new"' EXIT
	printf -v mode %o $((0666 & ~0$(umask)))
	reason=$(cat -- "$1" 2>&1 >"$new" && chmod "$mode" "$new" 2>&1 && mv -f -T -- "$new" "$file" 2>&1) || die_without_report "$2" "${reason##*: }"
)

# die_without_report FILE REASON
die_without_report() {
	die "$EXIT_FAILED" "cannot write $1: $2; nothing of it has been left there; make room, or write it elsewhere"
}
