# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The plots of a report, in the working directory: from what report_page.awk has left there to time.svg, handshake.svg and duration.svg, and the same
# for a narrow screen, narrow-*.svg. Colours are names that report_plot.awk knows: the page gives them theirs, by day and by night.

load 'plots.gp'

BAR = '#010101'
FAILED = '#020202'
QUIET = '#030303'
INK = '#040404'
RULE = '#050505'

set encoding utf8
set border 0
set tics scale 0 nomirror textcolor rgb QUIET
set grid ytics linetype 1 linecolor rgb RULE linewidth 1
set style fill solid 1 noborder
unset key

do for [narrow in '0 1'] {
	prefix = narrow eq '1' ? 'narrow-' : ''
	width = narrow eq '1' ? 400 : 960
	if (has_time) {
		set terminal svg size width, 300 dynamic noenhanced font 'x,12'
		set output prefix.'time.svg'
		set multiplot
		set lmargin at screen 48.0 / width
		set rmargin at screen 1 - 40.0 / width
		set xdata time
		set timefmt '%s'
		set xrange [time_from : time_to]
		step = narrow eq '1' ? time_step * 2 : time_step
		set xtics step
		set format y '%.0s%c'
		set tmargin at screen 0.91
		set bmargin at screen 0.5
		set format x ''
		set yrange [0 : ended_to]
		set ytics 0, ended_step, ended_to
		set label 1 'ended'.time_per at graph 0, 1.12 left textcolor rgb INK
		plot 'places.dat' using ($1 + time_width / 2.0):2:(time_width * 0.86) with boxes linecolor rgb BAR
		set tmargin at screen 0.37
		set bmargin at screen 0.12
		set format x time_format timedate
		set yrange [0 : failed_to]
		set ytics 0, failed_step, failed_to
		set label 1 'of these failed' at graph 0, 1.16 left textcolor rgb INK
		plot 'places.dat' using ($1 + time_width / 2.0):3:(time_width * 0.86) with boxes linecolor rgb FAILED
		unset multiplot
		unset output
		unset label 1
	}
	do for [what in 'handshake duration'] {
		rows = what eq 'handshake' ? handshake_rows : duration_rows
		if (rows > 0) {
			width = narrow eq '1' ? 400 : 600 # two of them side by side
			set terminal svg size width, 30 + 52 * rows dynamic noenhanced font 'x,12'
			set output prefix.what.'.svg'
			set xdata
			set format x '%g'
			unset ytics
			unset label
			set lmargin at screen 20.0 / width
			set rmargin at screen 1 - 24.0 / width
			set tmargin at screen 1 - 2.0 / (30 + 52 * rows)
			set bmargin at screen 26.0 / (30 + 52 * rows)
			set logscale x
			set grid noytics xtics linetype 1 linecolor rgb RULE linewidth 1
			set xrange [what eq 'handshake' ? handshake_from : duration_from : what eq 'handshake' ? handshake_to : duration_to]
			set yrange [-rows : 0]
			set xtics ('1 µs' 1e-6, '10 µs' 1e-5, '100 µs' 1e-4, '1 ms' 1e-3, '10 ms' 1e-2, '100 ms' 1e-1, '1 s' 1, '10 s' 10, '100 s' 100, '1000 s' 1000)
			decades = log10(what eq 'handshake' ? handshake_to / handshake_from : duration_to / duration_from)
			if (narrow eq '1' && decades > 5.5) { set xtics ('1 µs' 1e-6, '100 µs' 1e-4, '10 ms' 1e-2, '1 s' 1, '100 s' 100) }
			set datafile separator "\t"
			plot what.'.dat' using (sqrt($1 * $2)):3:1:2:3:4 with boxxyerror linecolor rgb BAR, \
				what.'-marks.dat' using 1:2:(0):3 with vectors nohead linewidth 2 linecolor rgb INK, \
				what.'-names.dat' using (what eq 'handshake' ? handshake_from : duration_from):1:2 with labels left textcolor rgb INK, \
				what.'-names.dat' using (what eq 'handshake' ? handshake_to : duration_to):1:3 with labels right textcolor rgb QUIET
			unset output
			unset logscale x
			set datafile separator whitespace
			set ytics textcolor rgb QUIET
			set grid ytics noxtics
		}
	}
}
