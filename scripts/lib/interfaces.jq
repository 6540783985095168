# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# nt_ifaces as bpftool dumps it, to a line for each entry in use: INDEX IFINDEX OWNS_QDISC NETNS ATTACHED_NS NAME, the name as printf's \x
# wants it. bpftool makes numbers of a name that is not plain ASCII, so it is taken from the bytes.

.[] | .formatted.value as $iface | select($iface.ifindex != 0)
| [.formatted.key, $iface.ifindex, $iface.owns_qdisc, $iface.netns, $iface.attached_ns,
	(.value[:16] | map(select(. != "0x00") | "\\x" + .[2:]) | join(""))]
| map(tostring) | join(" ")
