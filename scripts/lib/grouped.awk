# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Of each object of the log, but interim records, or of the live connections what groups.awk counts, behind what it is sorted by: a line, its fields with tabs between.
# Needs object.awk. NT_BY: peer, service or process; of several of these each has a line, with its word and a blank before DIR. NT_NAMED=1: whose
# a connection is by the name that the object has, in place of the cgroup's number.

BEGIN {
	ways = split(ENVIRON["NT_BY"], way, " ")
	owner_key = ENVIRON["NT_NAMED"] == 1 ? "owner" : "cgroup"
}

substr($0, 1, 1) == "{" {
	dir = value("dir")
	if (dir == "" || value("interim") != "")
		next
	syn_rtt = value("syn_rtt_ns")
	ack_rtt = value("ack_rtt_ns")
	duration = value("duration_ns")
	handshake = syn_rtt != "" && ack_rtt != "" ? sprintf("%.0f", syn_rtt + ack_rtt) : ""
	comm = value("comm")
	figures = value("state") "\t" duration "\t" handshake "\t" \
		value("orig_bytes") "\t" value("resp_bytes") "\t" value(dir == "in" ? "resp_segs" : "orig_segs") "\t" value("retrans") "\t" \
		value("held_by") "\t" comm "\t" value(owner_key) "\t" (index($0, "\"adopted\":true") > 0)
	for (i = 1; i <= ways; i++)
		print (ways > 1 ? way[i] " " : "") dir "\t" (way[i] == "peer" ? peer() : way[i] == "process" ? comm : value("dport")) "\t" figures
}

# peer(): the other end's address. Of link-local ones it takes the interface to tell them apart.
function peer(   address)
{
	address = value(dir == "in" ? "src" : "dst")
	return address ~ /^fe[89ab]/ ? address "%" value("ifname") : address
}
