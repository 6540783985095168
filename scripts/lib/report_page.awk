# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# A report as a page: reads the figures of services, peers and processes, in the order in which they are to be shown, and at the end what report.awk has
# told of all connections; writes the page, in which a line "@plot …" stands for each plot (report_plot.awk), and what gnuplot draws them of (report.gp).
# Needs address.awk, owner.awk, service_rows.awk, before which it stands, and service_cells.awk.
#
# NT_TOTALS: the file of report.awk. NT_PLOTS: the directory for gnuplot's files. NT_STYLE: the page's style sheet; NT_STYLE_HASH: its SHA-256, as the page's
# policy names it. NT_HOSTNAME: whose log it is; empty: nobody says. NT_VERSION; NT_NOW: when the page was made. NT_SINCE: since when, as it was asked for.
#
# All that comes from outside goes through html(). Each figure has its exact value beside it, in <data value>.

BEGIN {
	MOST_SERVICES = 25
	MOST_OTHERS = 15
	MOST_DRAWN = 8
	NO_BREAK = "\302\240"
	DASH = "\342\200\223"
	meaning["application"] = "neither side had anything on its way: one of the two programs took its time"
	meaning["receiver"] = "the receiving program read too slowly, or its window is too small"
	meaning["send_buffer"] = "the sending socket holds too little for so long a way"
	meaning["loss"] = "segments were lost and sent again"
	meaning["round_trips"] = "the way itself: its length and its bandwidth"
	while ((getline line < ENVIRON["NT_TABLES"]) > 0) {
		split(line, column, "\t")
		if (column[1] == "state")
			meaning[column[2]] = column[4]
		if (column[1] == "constant")
			constant[column[2]] = column[3]
	}
	close(ENVIRON["NT_TABLES"])
	upper = 1
	for (i = 0; i < constant["HIST_SHIFT"]; i++)
		upper *= 2
	for (i = 0; i < constant["HIST_BUCKETS"]; i++) {
		limit[i] = upper / 1e9
		upper *= 2
	}
	FS = OFS = "\t"
}

# Which group it is stands before its direction. Of names, those that the records have are taken, as they may come from another host.
{
	kind = substr($4, 1, index($4, " ") - 1)
	groups[kind]++
	if (kind == "service")
		draw_if_busy($6 + 0)
	if (groups[kind] > (kind == "service" ? MOST_SERVICES : MOST_OTHERS))
		next
	$4 = substr($4, index($4, " ") + 1)
	owner_name[$22] = $22
	by_peer = kind != "service"
	NR = 1
}

# draw_if_busy(ENDED): the service at hand is among the MOST_DRAWN with most connections.
function draw_if_busy(n,   i)
{
	if (drawn == MOST_DRAWN && n <= drawn_ended[drawn])
		return
	if (drawn < MOST_DRAWN)
		drawn++
	for (i = drawn; i > 1 && drawn_ended[i - 1] < n; i--) {
		drawn_ended[i] = drawn_ended[i - 1]
		drawn_line[i] = drawn_line[i - 1]
	}
	drawn_ended[i] = n
	drawn_line[i] = $0
}

# show_row(): of a group. Rows are few, and wait for what stands above them.
function show_row(   row, many)
{
	many = ended + 0
	if (kind == "service" && !worst_failed && failed + 0 > 0)
		note_worst()
	row = "<tr data-dir=\"" dir "\" data-key=\"" html(key) "\">"
	if (kind == "service")
		row = row "<th scope=\"row\">" service_name(key, name) "</th>"
	else
		row = row "<th scope=\"row\"" (kind == "peer" ? " class=\"code\"" : "") ">" (key == "" ? unknown() : html(key)) "</th>"
	row = row "<td>" dir "</td>" figure_cell(ended, thousands(ended)) figure_cell(failed, failed + 0 ? thousands(failed) : "0", is_bad()) \
		figure_cell("", share(failed, ended), is_bad())
	if (kind == "service")
		row = row "<td class=\"list\">" spaced(failures()) "</td>"
	row = row times(handshake_p50) times(handshake_p99) times(duration_p50) times(duration_p99)
	if (kind == "service")
		row = row "<td>" (held_by == "" ? unknown() : words_of(held_by)) "</td>"
	row = row figure_cell("", share(resent, segments))
	row = row figure_cell(orig_bytes, bytes_of(orig_bytes)) figure_cell(resp_bytes, bytes_of(resp_bytes))
	if (kind != "process")
		row = row "<td>" (comm == "" ? unknown() : html(comm)) (comms > 1 ? " <span class=\"quiet\">+" comms - 1 "</span>" : "") "</td>"
	if (kind != "peer")
		row = row "<td>" (whose == "" ? unknown() : html(whose)) "</td>"
	rows[kind] = rows[kind] row "</tr>\n"
}

# note_worst(): the first service that has failures.
function note_worst()
{
	worst_failed = failed + 0
	worst_ended = ended + 0
	worst_name = service_name(key, name)
	worst_dir = dir
	worst_failures = failure_words()
}

function failure_words(   saved, i, list)
{
	for (i = 1; i <= states; i++)
		saved[i] = state[i]
	list = spaced(failures())
	for (i = 1; i <= states; i++)
		state[i] = saved[i]
	return list
}

function is_bad()
{
	return failed * 20 >= ended && failed + 0 > 0
}

function service_name(port, name_)
{
	return html(port) (name_ == "" ? "" : " <span class=\"quiet\">" html(name_) "</span>")
}

# spaced(LIST): REJ:12,S0:3 as words.
function spaced(list)
{
	gsub(/:/, NO_BREAK, list)
	gsub(/,/, ", ", list)
	return list
}

#
# Words, figures, cells
#

# html(TEXT): as JSON has it, with nothing in it that means something to HTML.
function html(text_)
{
	text_ = with_replaced(readable(text_), "?", "?")
	gsub(/&/, "\\&amp;", text_)
	gsub(/</, "\\&lt;", text_)
	gsub(/>/, "\\&gt;", text_)
	gsub(/"/, "\\&quot;", text_)
	gsub(/'/, "\\&#39;", text_)
	return text_
}

function unknown()
{
	return "<span class=\"quiet\">unknown</span>"
}

# figure_cell(VALUE, SHOWN [, IS_BAD]): a cell. Without VALUE it has none that is exact.
function figure_cell(value_, shown, is_bad_)
{
	if (shown == "")
		return "<td class=\"number quiet\">" DASH "</td>"
	return "<td class=\"number" (is_bad_ ? " bad" : "") "\">" (value_ == "" ? shown : "<data value=\"" value_ "\">" shown "</data>") "</td>"
}

function times(ns,   exact)
{
	exact = ns
	sub(/^>/, "", exact)
	return figure_cell(exact, time_of(ns))
}

# time_of(NS): 1.3 ms
function time_of(ns,   shown)
{
	shown = time(ns)
	sub(/^>/, "\\&gt;", shown)
	if (sub(/us$/, "", shown))
		return shown NO_BREAK "\302\265s"
	if (sub(/ms$/, "", shown))
		return shown NO_BREAK "ms"
	if (shown !~ /m/)
		sub(/s$/, NO_BREAK "s", shown)
	return shown
}

function bytes_of(n,   shown)
{
	shown = size(n)
	if (shown == "")
		return ""
	return sub(/[kMGTPE]$/, NO_BREAK "&B", shown) ? shown : shown NO_BREAK "B"
}

# words_of(KEY): round_trips as people write it.
function words_of(key_)
{
	gsub(/_/, " ", key_)
	return html(key_)
}

# thousands(DIGITS): 12,345
function thousands(digits,   done)
{
	digits = sprintf("%s", digits)
	while (length(digits) > 3) {
		done = "," substr(digits, length(digits) - 2) done
		digits = substr(digits, 1, length(digits) - 3)
	}
	return digits done
}

# figure_of(ID, NUMBER): within a sentence.
function figure_of(id, n)
{
	return "<data id=\"" id "\" value=\"" n "\">" thousands(n) "</data>"
}

#
# The page
#

function finish(   i)
{
	read_totals(ENVIRON["NT_TOTALS"])
	total_ended = total["ended"] + 0
	total_failed = total["failed"] + 0
	print "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"
	print "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-" ENVIRON["NT_STYLE_HASH"] "'; base-uri 'none'; form-action 'none'\">"
	print "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">"
	host = ENVIRON["NT_HOSTNAME"] == "" ? "" : " of " html(ENVIRON["NT_HOSTNAME"])
	print "<title>TCP connections" host "</title>"
	printf "<style>"
	while ((getline line < ENVIRON["NT_STYLE"]) > 0)
		print line
	print "</style>\n</head>\n<body>\n<header>\n<h1>TCP connections" host "</h1>"
	if (total_ended)
		print "<p class=\"period\">" period_words() "</p>"
	print "</header>\n<main>"
	put_summary()
	if (total_ended) {
		put_time()
		put_states()
		put_groups("service", "Services", "The worst first: each failure weighs as much as the share of its service" apostrophe() "s connections that failed.")
		put_distributions()
		put_connections("slow", "The slowest connections", "Those that lived longest, the longest first.")
		if (total_failed)
			put_connections("failure", "The latest failures", "The latest first.")
		put_groups("peer", "Busiest peers", "The other ends: who opened what came in, whom this host called.")
		put_groups("process", "Busiest processes", "Of this host" apostrophe() "s own sockets. Forwarded and refused connections have none.")
	}
	print "</main>\n<footer>"
	print "<p>Way <b>in</b>: it came in by the interface; <b>out</b>: it went out. Handshake: first SYN to the ACK that completes it. Duration: first SYN to the packet that ended it."
	print "p50, p99: median and 99th percentile, right within a factor of two. Resent: of the segments that this host sent, those sent again. "
	print "Bytes: payload; k is 1000. Owner: systemd unit or container.</p>"
	print "<p>netracker " html(ENVIRON["NT_VERSION"]) ", " html(ENVIRON["NT_NOW"]) "</p>\n</footer>\n</body>\n</html>"
	put_variables()
}

function apostrophe()
{
	return "\342\200\231"
}

function read_totals(file,   line, part)
{
	while ((getline line < file) > 0) {
		split(line, part, "\t")
		if (part[1] == "total")
			total[part[2]] = part[3]
		else if (part[1] == "state" || part[1] == "held") {
			counted[part[1], ++lines[part[1]]] = part[2]
			count_of[part[1], part[2]] = part[3]
		} else if (part[1] == "period") {
			first_us = part[2]
			last_us = part[3]
			offset = part[4]
			width_us = part[5]
			first_text = part[6]
			last_text = part[7]
		} else if (part[1] == "place") {
			places++
			place_us[places] = part[2]
			place_ended[places] = part[3]
			place_failed[places] = part[4]
		} else {
			connection[part[1], ++lines[part[1]]] = line
		}
	}
	close(file)
}

function period_words()
{
	if (last_us - first_us < 1e6)
		return first_text (first_text == last_text ? "" : " to " substr(last_text, 12)) ", " zone()
	if (substr(first_text, 1, 10) == substr(last_text, 1, 10))
		return substr(first_text, 1, 10) ", " substr(first_text, 12, 8) " to " substr(last_text, 12, 8) ", " zone()
	return substr(first_text, 1, 19) " to " substr(last_text, 1, 19) ", " zone()
}

# zone(): UTC+01:00
function zone(   minutes)
{
	minutes = int((offset < 0 ? -offset : offset) / 60)
	return offset == 0 ? "UTC" : "UTC" (offset < 0 ? "\342\210\222" : "+") sprintf("%02d:%02d", int(minutes / 60), minutes % 60)
}

function put_summary(   seconds, list, i, best, n, known_, left, name_)
{
	print "<section class=\"summary\" aria-label=\"Summary\">"
	if (!total_ended) {
		print "<p class=\"lead\">" figure_of("ended", 0) " connections: " (ENVIRON["NT_SINCE"] == "" ? "none has ended." : "none has ended since " html(ENVIRON["NT_SINCE"]) ".") "</p>"
		put_gaps()
		print "</section>"
		return
	}
	seconds = (last_us - first_us) / 1e6
	print "<p class=\"lead\">" figure_of("ended", total_ended) (total_ended == 1 ? " connection has ended" : " connections have ended") \
		(seconds >= 1 && total_ended > 1 ? " within " span_words(seconds) ", " rate_words(total_ended / seconds) : "") "; " \
		(total_failed ? "<span class=\"bad\">" figure_of("failed", total_failed) " failed (" share(total_failed, total_ended) ")</span>" : figure_of("failed", 0) " failed") ".</p>"
	print "<ul>"
	if (total_failed) {
		list = ""
		for (n = 1; n <= lines["state"]; n++) {
			best = ""
			for (i = 1; i <= lines["state"]; i++) {
				name_ = counted["state", i]
				if ((name_ in is_failed) && count_of["state", name_] + 0 > 0 && !(name_ in told) && (best == "" || count_of["state", name_] + 0 > count_of["state", best] + 0))
					best = name_
			}
			if (best == "")
				break
			told[best]
			list = list (list == "" ? "" : "; ") thousands(count_of["state", best]) " <b>" best "</b>, " html(meaning[best])
		}
		print "<li><span class=\"what\">How they failed</span> " list ".</li>"
		print "<li id=\"worst\"><span class=\"what\">Worst service</span> " worst_dir " <b>" worst_name "</b>: " thousands(worst_failed) " of " \
			thousands(worst_ended) " failed (" share(worst_failed, worst_ended) "): " worst_failures "." \
			(worst_failed * worst_failed < worst_ended ? " That is few; none stands out." : "") "</li>"
	}
	known_ = total_ended - total["unknown.held"]
	if (known_ > 0) {
		list = ""
		for (i = 1; i <= lines["held"]; i++)
			if (best_held == "" || count_of["held", counted["held", i]] + 0 > count_of["held", best_held] + 0)
				best_held = counted["held", i]
		print "<li id=\"held\"><span class=\"what\">Held back by</span> mostly <b>" words_of(best_held) "</b>: " \
			thousands(count_of["held", best_held]) " of the " thousands(known_) " of which it is known (" share(count_of["held", best_held], known_) ")" \
			(best_held in meaning ? ": " html(meaning[best_held]) : "") ".</li>"
	}
	print "<li><span class=\"what\">Unknown</span> the process of " figure_of("unknown-process", total["unknown.process"] + 0) \
		", and what held back " figure_of("unknown-held", total["unknown.held"] + 0) ": forwarded, failed, or too short to tell.</li>"
	print "</ul>"
	put_gaps()
	print "</section>"
}

# put_gaps(): what the figures lack.
function put_gaps()
{
	if (total["adopted"] + 0)
		print "<p class=\"note\">" figure_of("adopted", total["adopted"]) (total["adopted"] == 1 ? " connection is" : " connections are") \
			" older than the tracker: how long " (total["adopted"] == 1 ? "it" : "they") " lived in all is not known, and is in no distribution.</p>"
	if (total["lost"] + 0)
		print "<p class=\"note bad\">" figure_of("lost", total["lost"]) (total["lost"] == 1 ? " record was" : " records were") \
			" overwritten in the log before " (total["lost"] == 1 ? "it was" : "they were") " read, and " (total["lost"] == 1 ? "is" : "are") " missing here.</p>"
	if (total["strange"] + 0)
		print "<p class=\"note\">" figure_of("strange", total["strange"]) (total["strange"] == 1 ? " line was no record" : " lines were no records") " and left out.</p>"
}

function span_words(seconds)
{
	if (seconds < 120)
		return sprintf("%.0f", seconds) NO_BREAK "s"
	if (seconds < 7200)
		return sprintf("%.0f", seconds / 60) NO_BREAK "minutes"
	if (seconds < 172800)
		return sprintf("%.0f", seconds / 3600) NO_BREAK "hours"
	return sprintf("%.0f", seconds / 86400) NO_BREAK "days"
}

function rate_words(a_second)
{
	if (a_second >= 0.95)
		return two_figures(a_second) " a second"
	if (a_second * 60 >= 0.95)
		return two_figures(a_second * 60) " a minute"
	return two_figures(a_second * 3600) " an hour"
}

# width_words(): how long a place of time is.
function width_words(   seconds)
{
	seconds = width_us / 1e6
	if (seconds < 1)
		return seconds * 1000 " ms"
	if (seconds < 60)
		return (seconds == 1 ? "" : seconds " ") (seconds == 1 ? "second" : "s")
	if (seconds < 3600)
		return seconds == 60 ? "minute" : seconds / 60 " minutes"
	if (seconds < 86400)
		return seconds == 3600 ? "hour" : seconds / 3600 " hours"
	return seconds == 86400 ? "day" : seconds / 86400 " days"
}

function put_time(   i)
{
	if (places < 2)
		return
	for (i = 1; i <= places; i++) {
		printf "%.6f %s %s\n", place_us[i] / 1e6 + offset, place_ended[i], place_failed[i] > (ENVIRON["NT_PLOTS"] "/places.dat")
		if (place_ended[i] + 0 > most_ended)
			most_ended = place_ended[i] + 0
		if (place_failed[i] + 0 > most_failed)
			most_failed = place_failed[i] + 0
	}
	close(ENVIRON["NT_PLOTS"] "/places.dat")
	print "<section>\n<h2>Over time</h2>\n<figure id=\"time\" data-places=\"" places "\">"
	put_plot("time", "Connections over time", "Connections that ended, and those of them that failed, in each " width_words() ", " period_words() ": at most " \
		thousands(most_ended) " ended and " thousands(most_failed + 0) " failed.")
	print "</figure>\n</section>"
}

# put_plot(NAME, TITLE, WORDS): for a wide screen, and for a narrow one.
function put_plot(name_, title, words)
{
	print "@plot " name_ " wide " title "\t" words
	print "@plot narrow-" name_ " narrow " title "\t" words
}

# bar(SHARE, CLASS): a cell with a bar of this share of its length.
function bar(share_, class)
{
	return sprintf("<td class=\"bars\"><svg viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"%s\" width=\"%.2f\" height=\"8\"/></svg></td>", class, share_ < 0.015 ? 1.5 : 100 * share_)
}

function put_states(   i, most, key_, n, known_)
{
	print "<div class=\"pair\">"
	begin_table("states", "How they ended", "By final state; failures in red.")
	print "<thead><tr>" heading("State") heading("Ended", 1) heading("Share", 1) "<td></td>" heading("Meaning") "</tr></thead>\n<tbody>"
	for (i = 1; i <= lines["state"]; i++)
		if (count_of["state", counted["state", i]] + 0 > most)
			most = count_of["state", counted["state", i]] + 0
	for (i = 1; i <= lines["state"]; i++) {
		key_ = counted["state", i]
		n = count_of["state", key_]
		if (n + 0 > 0)
			print "<tr data-key=\"" key_ "\"><th scope=\"row\">" key_ "</th>" figure_cell(n, thousands(n)) figure_cell("", share(n, total_ended)) \
				bar(n / most, (key_ in is_failed) ? "failed" : "bar") "<td>" html(meaning[key_]) "</td></tr>"
	}
	end_table()
	known_ = total_ended - total["unknown.held"]
	if (known_ == 0) {
		print "<section>\n<h2>What held them back</h2>\n<p class=\"about\">Of none of them is it known: forwarded, failed, or too short to tell.</p>\n</section>\n</div>"
		return
	}
	begin_table("reasons", "What held them back", "What took most of a connection" apostrophe() "s time, of the " thousands(known_) " of which it is known.")
	print "<thead><tr>" heading("Held by") heading("Ended", 1) heading("Share", 1) "<td></td>" heading("Meaning") "</tr></thead>\n<tbody>"
	while (1) {
		key_ = ""
		for (i = 1; i <= lines["held"]; i++)
			if (!(counted["held", i] in shown_reason) && (key_ == "" || count_of["held", counted["held", i]] + 0 > count_of["held", key_] + 0))
				key_ = counted["held", i]
		if (key_ == "")
			break
		shown_reason[key_]
		n = count_of["held", key_]
		print "<tr data-key=\"" html(key_) "\"><th scope=\"row\">" words_of(key_) "</th>" figure_cell(n, thousands(n)) figure_cell("", share(n, known_)) \
			bar(n / count_of["held", best_held], "bar") "<td>" ((key_ in meaning) ? html(meaning[key_]) : "") "</td></tr>"
	}
	end_table()
	print "</div>"
}

# begin_table(ID, TITLE, ABOUT): a section with it. It may be wider than a screen, and then moves below its words.
function begin_table(id, title, about, attributes)
{
	print "<section>\n<h2>" title "</h2>\n<p class=\"about\">" about "</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" title "\">"
	print "<table id=\"" id "\"" attributes ">\n<caption>" title "</caption>"
}

function end_table()
{
	print "</tbody>\n</table>\n</div>\n</section>"
}

function heading(text_, is_number)
{
	return "<th scope=\"col\"" (is_number ? " class=\"number\"" : "") ">" text_ "</th>"
}

function put_groups(kind_, title, caption,   shown)
{
	shown = kind_ == "service" ? MOST_SERVICES : MOST_OTHERS
	shown = groups[kind_] < shown ? groups[kind_] : shown
	begin_table(kind_, title, caption (groups[kind_] > shown ? " The first " shown " of " thousands(groups[kind_]) "." : ""), " data-groups=\"" groups[kind_] "\"")
	printf "<thead><tr>%s%s%s%s%s", tall(kind_ == "service" ? "Port" : kind_ == "peer" ? "Address" : "Process"), tall("Way"), tall("Ended", 1), tall("Failed", 1), tall("Share", 1)
	printf "%s%s%s", (kind_ == "service" ? tall("How") : ""), broad("Handshake"), broad("Duration")
	printf "%s%s%s", (kind_ == "service" ? tall("Held by") : ""), tall("Resent", 1), broad("Bytes")
	printf "%s%s</tr>\n<tr>", (kind_ != "process" ? tall("Process") : ""), (kind_ != "peer" ? tall("Owner") : "")
	print heading("p50", 1) heading("p99", 1) heading("p50", 1) heading("p99", 1) heading("originator", 1) heading("responder", 1) "</tr></thead>\n<tbody>"
	printf "%s", rows[kind_]
	end_table()
}

# tall(TEXT, IS_NUMBER), broad(TEXT): a heading over both rows of headings; over two columns.
function tall(text_, is_number)
{
	return "<th scope=\"col\" rowspan=\"2\"" (is_number ? " class=\"number\"" : "") ">" text_ "</th>"
}

function broad(text_)
{
	return "<th scope=\"colgroup\" colspan=\"2\" class=\"broad\">" text_ "</th>"
}

function put_connections(list, title, caption,   i, part)
{
	begin_table(list, title, caption (total[list == "slow" ? "ended" : "failed"] > lines[list] ? " " lines[list] " of " thousands(total[list == "slow" ? "ended" : "failed"]) "." : ""))
	printf "<thead><tr>%s%s%s%s", tall("Began, " zone()), tall("Duration", 1), tall("State"), tall("Way")
	printf "%s%s%s%s", tall("Originator"), tall("Responder"), tall("Process"), tall("Held by")
	if (list == "slow")
		print broad("Bytes") "</tr>\n<tr>" heading("originator", 1) heading("responder", 1) "</tr></thead>\n<tbody>"
	else
		print tall("Why this host reset it") "</tr></thead>\n<tbody>"
	for (i = lines[list]; i > 0; i--) {
		split(connection[list, i], part, "\t")
		printf "<tr><td class=\"code\">%s</td>", html(part[2])
		printf "<td class=\"number\"><data value=\"%s\">%s%s</data></td>", part[3], (part[15] ? "&gt;" : ""), time_of(part[3])
		printf "<td%s>%s</td><td>%s</td>", ((part[4] in is_failed) ? " class=\"bad\"" : ""), part[4], part[5]
		printf "<td class=\"code\">%s</td><td class=\"code\">%s</td>", html(part[6]), html(part[7])
		printf "<td>%s</td>", (part[9] == "" ? unknown() : html(part[9]))
		printf "<td>%s</td>", (part[10] == "" ? unknown() : words_of(part[10]) (part[11] == "" ? "" : NO_BREAK "<span class=\"quiet\">" html(part[11]) "%</span>"))
		if (list == "slow")
			printf "%s%s", figure_cell(part[13], bytes_of(part[13])), figure_cell(part[14], bytes_of(part[14]))
		else
			printf "<td>%s</td>", (part[12] == "" ? DASH : words_of(part[12]))
		print "</tr>"
	}
	end_table()
}

# put_distributions(): of handshake and duration of the services with most connections.
function put_distributions()
{
	print "<div class=\"pair\">"
	put_distribution("handshake", "Handshake by service", 23, 11)
	put_distribution("duration", "Duration by service", 24, 13)
	print "</div>"
}

function put_distribution(what, title, column, middle,   i, j, n, figure_, part, pair, most, row, low, from, to, words, label, p50, p99)
{
	for (i = 1; i <= drawn; i++) {
		split(drawn_line[i], figure_, "\t")
		n = split(figure_[column], part, ",")
		if (!n)
			continue
		row++
		most = 0
		for (j = 1; j <= n; j++) {
			split(part[j], pair, ":")
			if (pair[2] + 0 > most)
				most = pair[2] + 0
			low = pair[1] + 0 ? limit[pair[1] - 1] : limit[0] / 2
			if (from == "" || low < from)
				from = low
			if (low * 2 > to)
				to = low * 2
		}
		for (j = 1; j <= n; j++) {
			split(part[j], pair, ":")
			low = pair[1] + 0 ? limit[pair[1] - 1] : limit[0] / 2
			printf "%.9f\t%.9f\t%.4f\t%.4f\n", low, low * 2, -row + 0.04, -row + 0.04 + 0.5 * pair[2] / most > (ENVIRON["NT_PLOTS"] "/" what ".dat")
		}
		p50 = figure_[middle]
		p99 = figure_[middle + 1]
		label = substr(figure_[4], index(figure_[4], " ") + 1) " " figure_[5] plain_name(name_of(figure_[5]))
		printf "%.4f\t%s\tp50 %s, p99 %s\n", -row + 0.8, label, plain_time(p50), plain_time(p99) > (ENVIRON["NT_PLOTS"] "/" what "-names.dat")
		sub(/^>/, "", p50)
		printf "%.9f\t%.4f\t0.56\n", p50 / 1e9, -row + 0.04 > (ENVIRON["NT_PLOTS"] "/" what "-marks.dat")
		words = words (words == "" ? "" : "; ") html(label) ": median " time_of(figure_[middle]) ", 99th percentile " time_of(figure_[middle + 1])
	}
	close(ENVIRON["NT_PLOTS"] "/" what ".dat")
	close(ENVIRON["NT_PLOTS"] "/" what "-names.dat")
	close(ENVIRON["NT_PLOTS"] "/" what "-marks.dat")
	drawn_rows[what] = row + 0
	drawn_from[what] = decade(from + 0)
	drawn_to[what] = decade(to / 1.001) * 10
	if (!row)
		return
	print "<section>\n<h2>" title "</h2>\n<figure id=\"" what "\" data-rows=\"" row "\">"
	put_plot(what, title, "How many connections took how long, on a logarithmic scale. " words ".")
	print "<figcaption>How many took how long, each step twice as long as the one before. The line is the median." \
		(groups["service"] > MOST_DRAWN ? " The " MOST_DRAWN " services with most connections." : "") "</figcaption>\n</figure>\n</section>"
}

# decade(SECONDS): the power of ten below.
function decade(seconds,   ten)
{
	for (ten = 1e-7; ten * 10 <= seconds; ten *= 10)
		;
	return ten
}

# plain_name(NAME), plain_time(NS): for gnuplot, which takes a line as it is.
function plain_name(name_)
{
	gsub(/[^A-Za-z0-9._+-]/, "?", name_)
	return name_ == "" ? "" : " " name_
}

function plain_time(ns,   shown)
{
	shown = time_of(ns)
	sub(/^&gt;/, ">", shown)
	return shown
}

# put_variables(): what the plots are to be drawn with.
function put_variables(   file, seconds, i, n, step)
{
	file = ENVIRON["NT_PLOTS"] "/plots.gp"
	print "has_time = " (total_ended && places > 1 ? 1 : 0) > file
	if (total_ended && places > 1) {
		seconds = places * width_us / 1e6
		n = split("0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10 15 30 60 120 300 600 900 1800 3600 7200 10800 21600 43200 86400 172800 604800 1209600 2592000 7776000 31536000", step, " ")
		for (i = 1; i < n && seconds / step[i] > 8; i++)
			;
		printf "time_from = %.6f\ntime_to = %.6f\n", place_us[1] / 1e6 + offset, place_us[places] / 1e6 + offset + width_us / 1e6 > file
		printf "time_step = %s\ntime_width = %.6f\n", step[i], width_us / 1e6 > file
		print "time_per = ' per " width_words() "'" > file
		print "time_format = '" (step[i] >= 86400 ? "%d %b" : step[i] < 1 ? "%H:%M:%.2S" : step[i] < 60 ? "%H:%M:%S" : seconds > 86400 ? "%d %b %H:%M" : "%H:%M") "'" > file
		print "ended_step = " round_step(most_ended) "\nfailed_step = " round_step(most_failed) > file
		print "ended_to = " top_of(most_ended) "\nfailed_to = " top_of(most_failed) > file
	}
	print "handshake_rows = " drawn_rows["handshake"] + 0 "\nduration_rows = " drawn_rows["duration"] + 0 > file
	if (drawn_rows["handshake"])
		printf "handshake_from = %.9f\nhandshake_to = %.9f\n", drawn_from["handshake"], drawn_to["handshake"] > file
	if (drawn_rows["duration"])
		printf "duration_from = %.9f\nduration_to = %.9f\n", drawn_from["duration"], drawn_to["duration"] > file
	close(file)
}

# round_step(MOST): 1, 2, 5, 10, 20 … of which three reach it.
function round_step(most,   step, i)
{
	step = 1
	for (i = 0; step * 3 < most; i++)
		step *= i % 3 == 1 ? 2.5 : 2
	return step
}

function top_of(most,   step, i)
{
	step = round_step(most)
	for (i = 1; step * i < most; i++)
		;
	return step * i
}
