# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Of each object of the log, but interim records, or of the live connections what groups.awk counts, behind what it is sorted by: a line, its fields with tabs between.
# Needs object.awk. NT_BY: peer or service.

BEGIN {
	by_peer = ENVIRON["NT_BY"] == "peer"
}

substr($0, 1, 1) == "{" {
	dir = value("dir")
	if (dir == "" || value("interim") != "")
		next
	syn_rtt = value("syn_rtt_ns")
	ack_rtt = value("ack_rtt_ns")
	duration = value("duration_ns")
	handshake = syn_rtt != "" && ack_rtt != "" ? sprintf("%.0f", syn_rtt + ack_rtt) : ""
	print dir "\t" (by_peer ? peer() : value("dport")) "\t" value("state") "\t" duration "\t" handshake "\t" \
		value("orig_bytes") "\t" value("resp_bytes") "\t" value(dir == "in" ? "resp_segs" : "orig_segs") "\t" value("retrans") "\t" \
		value("held_by") "\t" value("comm") "\t" value("cgroup")
}

# peer(): the other end's address. Of link-local ones it takes the interface to tell them apart.
function peer(   address)
{
	address = value(dir == "in" ? "src" : "dst")
	return address ~ /^fe[89ab]/ ? address "%" value("ifname") : address
}
