# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Puts the plots into the page. A line of it "@plot NAME CLASS TITLE", a tab, and what is to be seen in words, becomes what gnuplot has drawn in
# NT_PLOTS/NAME.svg: of that its lines, areas and words alone, with names of classes in place of their colours (report.gp). What these look like is the
# page's affair. Exit status 1: one of them has nothing in it.

BEGIN {
	plots = ENVIRON["NT_PLOTS"]
	class_of["1,1,1"] = "bar"
	class_of["2,2,2"] = "failed"
	class_of["3,3,3"] = "quiet"
	class_of["4,4,4"] = "ink"
	class_of["5,5,5"] = "rule"
}

substr($0, 1, 6) != "@plot " {
	print
	next
}

{
	split($0, part, "\t")
	title = part[1]
	sub(/^@plot [^ ]+ [^ ]+ /, "", title)
	file = plots "/" $2 ".svg"
	shape = shape_class = ""
	drawing = 0
	while ((getline line < file) > 0) {
		if (line ~ /^ viewBox=/)
			printf "<svg class=\"plot %s\" role=\"img\"%s aria-labelledby=\"%s-title %s-desc\">\n<title id=\"%s-title\">%s</title>\n<desc id=\"%s-desc\">%s</desc>\n", \
				$3, line, $2, $2, $2, title, $2, part[2]
		else if (line ~ /^<\/defs>/)
			drawing = 1
		else if (drawing && line ~ /<(path|polygon) /) {
			# One that has many points is on several lines.
			while (line !~ /\/>/ && (getline more < file) > 0)
				line = line more
			put_shape(line)
		}
		if (drawing && line ~ /<g transform="translate/)
			words = line
		else if (drawing && line ~ /<text>/)
			put_words(line)
	}
	close(file)
	end_shape()
	print "</svg>"
	if (!shapes)
		exit 1
	shapes = 0
}

# put_shape(LINE): those of one colour, one after the other, become one.
function put_shape(line,   class, points)
{
	class = class_in(line)
	points = line ~ /<polygon/ ? attribute(line, "points = ") "z" : attribute(line, " d=")
	if (class == "" || points !~ /[0-9] +M?L?-?[0-9]/)
		return
	if (class != shape_class)
		end_shape()
	shape_class = class
	gsub(/ +z?$/, "", points)
	gsub(/\.00/, "", points)
	gsub(/ +L/, " ", points)
	shape = shape (points ~ /^M/ ? "" : "M") points (line ~ /<polygon/ ? "z" : "")
}

function end_shape()
{
	shapes += shape != ""
	if (shape != "")
		printf "<path class=\"%s\" d=\"%s\"/>\n", shape_class, shape
	shape = shape_class = ""
}

# put_words(LINE): where they stand was said before them.
function put_words(line,   place)
{
	end_shape()
	sub(/^[ \t]*<text>/, "", line)
	sub(/<\/text>.*$/, "", line)
	match(words, /translate\([^)]*\)/)
	split(substr(words, RSTART + 10, RLENGTH - 11), place, ",")
	printf "<text class=\"%s\" x=\"%s\" y=\"%s\" text-anchor=\"%s\">%s</text>\n", class_in(words), place[1], place[2], attribute(words, "text-anchor="), line
}

# class_in(LINE): of the colour that is named there.
function class_in(line,   colour)
{
	if (!match(line, /rgb\([ 0-9,]+\)/))
		return ""
	colour = substr(line, RSTART + 4, RLENGTH - 5)
	gsub(/ /, "", colour)
	return class_of[colour]
}

# attribute(LINE, NAME): between its quotes, of either kind.
function attribute(line, name,   at, quote)
{
	at = index(line, name)
	if (!at)
		return ""
	line = substr(line, at + length(name))
	quote = substr(line, 1, 1)
	line = substr(line, 2)
	return substr(line, 1, index(line, quote) - 1)
}
