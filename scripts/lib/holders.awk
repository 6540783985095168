# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Gives live connections whose record names no process the one that holds this host's socket: the line pid and comm behind all it has, the
# object those in the places where it has null. Needs address.awk and owner.awk; stands before once.awk, which prints what has been read.
#
# NT_HOLDERS: the view holders. It is read when the first such connection comes. If it is not there, nobody is named.
#
# A connection has the socket whose ends are its own, from the side that dir names: out, the originator's; in, the responder's. Others may have
# the same ends in other network namespaces. So it is looked for in that of the interface; interfaces of several may have one name, then in
# these. What is not the only one then names nobody. Of the processes that hold the same socket it is the one with the lowest pid. Where the
# record has no owner, this host has no socket.
#
# A list can be long, and so can be that of the holders: their lines are not taken apart before somebody asks for them.

BEGIN {
	nobody = "\"pid\":null,\"comm\":null"
}

substr($0, 1, 1) == "{" && (nobody_at = index($0, nobody)) && !index($0, "\"uid\":null") {
	if (!holders_read)
		read_holders()
	if (any_holder && (socket_ends = ends_in_object()) in held_by && is_found(held_by[socket_ends], name_in_object()))
		$0 = substr($0, 1, nobody_at - 1) "\"pid\":" found_pid ",\"comm\":" text_of_comm(found_comm) substr($0, nobody_at + length(nobody))
}

substr($0, 1, 1) != "{" && !index($0, " pid=") && index($0, " uid=") {
	if (!holders_read)
		read_holders()
	if (any_holder && (socket_ends = ends_in_line()) in held_by && is_found(held_by[socket_ends], name_in_line()))
		$0 = $0 " pid=" found_pid " comm=" found_comm
}

# read_holders(): set held_by to what the view says of each two ends, LOCAL REMOTE: a line for each process that holds a socket with them.
function read_holders(   file, line, at_, ends_, part)
{
	holders_read = 1
	file = ENVIRON["NT_HOLDERS"]
	while ((getline line < file) > 0) {
		if (at_ = index(line, " pid=")) {
			ends_ = substr(line, 1, at_ - 1)
			held_by[ends_] = ends_ in held_by ? held_by[ends_] "\n" substr(line, at_ + 1) : substr(line, at_ + 1)
			any_holder = 1
		} else if (split(line, part, " ") == 3 && part[1] == "interface") {
			space_of_iface[part[2]] = space_of_iface[part[2]] " " part[3] " "
		}
	}
	close(file)
}

# ends_in_line(), ends_in_object(): LOCAL REMOTE, as the connection's socket would have them.
function ends_in_line(   line, at_, orig)
{
	line = substr($0, 1, 256)
	at_ = index(line, " -> ")
	orig = substr(line, 1, at_ - 1)
	if (index(line, " dir=in "))
		return substr(line, at_ + 4, index(line, " age_ns=") - at_ - 4) " " orig
	return orig " " substr(line, at_ + 4, index(line, " age_ns=") - at_ - 4)
}

# It begins with {"ts":"…","src":"…","sport":N,"dst":"…","dport":N,
function ends_in_object(   part, orig, resp)
{
	split(substr($0, 1, index($0, ",\"family\":") - 1), part, "\"")
	orig = bracketed(part[8]) substr(part[11], 1, length(part[11]) - 1)
	resp = bracketed(part[14]) part[17]
	return index(substr($0, 1, 288), "\"dir\":\"in\"") ? resp " " orig : orig " " resp
}

function bracketed(address)
{
	return index(address, ":") ? "[" address "]" : address
}

# text_of_comm(COMM): as JSON has it. They are few.
function text_of_comm(comm)
{
	if (!(comm in comm_text))
		comm_text[comm] = text(unescaped(comm))
	return comm_text[comm]
}

# name_in_line(), name_in_object(): of the interface, as a line has it.
function name_in_line(   line)
{
	line = substr($0, index($0, " ifname=") + 8, 80)
	return substr(line, 1, index(line " ", " ") - 1)
}

# A quote within a string has a backslash before it, so no name looks like the key behind it.
function name_in_object(   object, iface)
{
	object = substr($0, index($0, "\"ifname\":") + 9, 160)
	object = substr(object, 1, index(object, ",\"srtt_us\":") - 1)
	if (!(object in name_of_text)) {
		name_of_text[object] = "-"
		for (iface in space_of_iface)
			name_of_text[text(unescaped(iface))] = iface
	}
	return name_of_text[object]
}

# is_found(HOLDERS, IFACE): set found_pid and found_comm to those of the process that it is, of what the view says of two ends. False if it is none,
# or nobody can tell which: there is more than one socket left.
function is_found(holders, iface,   line, part, n, i, inode, pid)
{
	inode = ""
	n = split(holders, line, "\n")
	for (i = 1; i <= n; i++) {
		# pid=N comm=NAME inode=N netns=N
		split(line[i], part, " ")
		if ((iface in space_of_iface) && !index(space_of_iface[iface], " " substr(part[4], 7) " "))
			continue
		if (inode != "" && part[3] != inode)
			return 0
		pid = substr(part[1], 5) + 0
		if (inode == "" || pid < found_pid) {
			found_pid = pid
			found_comm = substr(part[2], 6)
		}
		inode = part[3]
	}
	return inode != ""
}

# owner.awk wants these; nobody asks here whose a record is.
function known(key)
{
	return ""
}

function field(key)
{
	return ""
}
