# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The file that `stats --reset` has left, all documents in an array, to what is to be subtracted; to nothing if it is of other maps than
# $maps. Fails unless it is such a file.

def has_form: type == "object" and (.maps | type) == "object" and (.counters | type) == "object" and (.counters.ended | type) == "object"
	and ([.time_ns, .live, .log_lost // 0, (.counters | del(.ended) | .[])] | all(type == "number" and . < 1e19 and . > -1e19))
	and ([.in, .out] | all(type == "object" and (.ended | type) == "object" and (.duration | type) == "array" and (.handshake | type) == "array"));

if length == 1 and (.[0] | has_form) then .[0] | select(.maps == $maps) | del(.maps, .reset) else error("no baseline") end
