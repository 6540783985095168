# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Figures of groups of connections as people read them. Needs service_rows.awk, of whose row at hand they are.

# failures(): REJ:12,S0:3, those that there are most of first.
function failures(   i, list, most, n, part)
{
	for (n = 1; n <= states; n++) {
		most = 0
		for (i = 1; i <= states; i++) {
			split(state[i], part, ":")
			if ((part[1] in is_failed) && part[2] > 0 && (!most || part[2] > part_count(state[most])))
				most = i
		}
		if (!most)
			break
		list = list (list == "" ? "" : ",") state[most]
		state[most] = ""
	}
	return list
}

function part_count(text_)
{
	return substr(text_, index(text_, ":") + 1) + 0
}

function or_dash(text_)
{
	return text_ == "" ? "-" : text_
}

# share(PART, WHOLE): what is there is never 0%, and what is not all never 100%.
function share(part_, whole,   of_hundred)
{
	of_hundred = percent(part_, whole)
	if (of_hundred == "" || of_hundred == 0)
		return of_hundred == "" ? "" : "0%"
	if (of_hundred < 0.1)
		return "<0.1%"
	if (of_hundred < 9.95)
		return sprintf("%.1f%%", of_hundred)
	return sprintf("%.0f%%", of_hundred > 99 && of_hundred < 100 ? 99 : of_hundred)
}

# time(NS): in two figures, as the histograms tell no more: 0.5us 51us 1.3ms 130ms 2.4s 59s 4m07s. Behind > what it is more than.
function time(ns,   mark)
{
	if (ns == "")
		return ""
	mark = sub(/^>/, "", ns) ? ">" : ""
	ns += 0
	if (ns < 999500)
		return mark two_figures(ns / 1e3) "us"
	if (ns < 999500000)
		return mark two_figures(ns / 1e6) "ms"
	if (ns < 59500000000)
		return mark two_figures(ns / 1e9) "s"
	ns = int(ns / 1e9 + 0.5)
	return mark sprintf("%dm%02ds", int(ns / 60), ns % 60)
}

function two_figures(number)
{
	return sprintf(number < 9.95 ? "%.1f" : "%.0f", number)
}

# size(BYTES): in powers of 1000.
function size(bytes,   i)
{
	if (bytes == "" || bytes < 1000)
		return bytes
	for (i = 1; bytes >= 999.5 && i < 7; i++)
		bytes /= 1000
	return two_figures(bytes) substr("kMGTPE", i - 1, 1)
}
