# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The services' figures, out of the view metrics and, behind that, of the objects of the live connections. Needs object.awk and figures.awk.
#
# Ports that have no figures of their own, as nothing was established there from outside or the table is full, have port "other" together:
# view/metrics.bpf.c. So do the live connections of such a port.

# NAME{dir="in",port="443",state="SF"} 5: part[2] and part[4] are of all, part[6] of those that have a third label.
/^netracker_[a-z_]+\{dir="/ {
	split($0, part, "\"")
	metric = substr(part[1], 11, length(part[1]) - 15)
	service = part[2] "\t" part[4]
	number = $NF
	if (metric == "connections_ended_total") {
		if (!(service in ended))
			name[++services] = service
		state_count[service, part[6]] = number
		ended[service] += number
	} else if (metric == "bytes_total" && part[6] == "originator") {
		resp_bytes[service] = number
	} else if (metric == "bytes_total") {
		orig_bytes[service] = number
	} else if (metric == "connection_duration_seconds_bucket") {
		note_bucket(DURATION)
	} else if (metric == "handshake_seconds_bucket") {
		note_bucket(HANDSHAKE)
	} else if (metric == "handshake_seconds_count") {
		established[service] = number
	} else if (metric == "segments_sent_total") {
		segments[service] = number
	} else if (metric == "segments_retransmitted_total") {
		resent[service] = number
	} else if (metric == "connections_held_total") {
		know_reason(part[6])
		held_count[service, part[6]] = number
	}
	next
}

# note_bucket(KIND): the buckets of a service come in their order, and each counts those of the ones before it, too.
function note_bucket(kind)
{
	if (!((service, kind) in buckets))
		buckets[service, kind] = 0
	bucket[service, kind, buckets[service, kind]++] = number - timed[service, kind]
	timed[service, kind] = number
}

substr($0, 1, 1) == "{" {
	service = value("dir") "\t" value("dport")
	if (!(service in ended)) {
		service = value("dir") "\tother"
		if (!(service in ended)) {
			name[++services] = service
			ended[service] = 0
		}
	}
	live[service]++
	count_holder(service, value("comm"), value("cgroup"), 0)
}

END {
	for (i = 1; i <= services; i++)
		put_figures(name[i])
}
