# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What `ip -json -details link` prints, to a line for each interface: IFINDEX KIND MASTER USE NAME. KIND is what `ip link add … type` calls
# it, - if it is hardware; MASTER the interface that it belongs to, - if there is none. USE is `port`, if that is a bridge; `address`, if it
# carries one, which `ip address` alone tells; else -. So it is with a loopback and with VRF devices, whose hooks see nothing of their
# members. The name is the interface's own, byte by byte. Up to 7.2
# ip escapes quotes, backslashes and backspaces in it and nothing else, so what it prints is not always JSON; later ones escape what JSON
# wants escaped. A quote within a string has a backslash before it, so no name looks like a key.

BEGIN {
	escaped["b"] = "\b"
	escaped["f"] = "\f"
	escaped["n"] = "\n"
	escaped["r"] = "\r"
	escaped["t"] = "\t"
}

{
	n = split($0, link, /\{"ifindex":/)
	for (i = 2; i <= n; i++) {
		kind = string_behind(link[i], "\"linkinfo\":{\"info_kind\":\"")
		master = string_behind(link[i], "\"master\":\"")
		print link[i] + 0, (kind == "" ? "-" : kind), (master == "" ? "-" : master), use(link[i], kind), string_behind(link[i], "\"ifname\":\"")
	}
}

function use(text, kind)
{
	if (kind == "vrf" || index(text, "\"link_type\":\"loopback\""))
		return "-"
	if (text ~ /"info_slave_kind":"(bridge|openvswitch)"/)
		return "port"
	return index(text, "\"addr_info\":[{\"family\":\"") ? "address" : "-"
}

# string_behind(TEXT, KEY): the string whose quote KEY ends with; "" if there is none.
function string_behind(text, key,   at, c, string)
{
	at = index(text, key)
	if (!at)
		return ""
	for (at += length(key); (c = substr(text, at, 1)) != "\"" && c != ""; at++) {
		if (c == "\\") {
			c = substr(text, ++at, 1)
			if (c == "u") {
				# A control character: all others are as they are.
				c = sprintf("%c", 16 * hex(substr(text, at + 3, 1)) + hex(substr(text, at + 4, 1)))
				at += 4
			} else if (c in escaped) {
				c = escaped[c]
			}
		}
		string = string c
	}
	return string
}

function hex(digit)
{
	return index("123456789abcdef", tolower(digit))
}
