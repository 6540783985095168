# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Who owns a record's socket: the systemd unit or container of its cgroup, the user of its uid; and names as JSON has them. Needs address.awk,
# and known() and field() of record.awk.
#
# NT_CGROUPS: the directory where cgroup2 is mounted; empty: nowhere. A cgroup's id is the inode number of its directory. The tree is
# read when an id turns up that is not known yet, so once for each cgroup at most and not once a record. An id that is not there even
# then will never be: its cgroup is gone, and the kernel does not give the id to another one.

# owner(): of the record. nginx.service; 4f8ad5dc1e7b, a container; /, the root cgroup; #4711, one that is gone; "" if nobody knows.
function owner()
{
	return owner_of(known("cgroup"))
}

# owner_of(ID): of a cgroup.
function owner_of(id)
{
	if (id == "")
		return ""
	if (!(id in owner_name))
		read_cgroups(id)
	return owner_name[id]
}

# read_cgroups(ID): name all cgroups that have no name yet, and ID whether it is there or not.
function read_cgroups(id,   list, line, found, at)
{
	list = "find \"$NT_CGROUPS\" -type d -printf '%i /%P\\n' </dev/null 2>/dev/null"
	if (ENVIRON["NT_CGROUPS"] != "") {
		while ((list | getline line) > 0) {
			at = index(line, " ")
			found = substr(line, 1, at - 1)
			if (found in owner_name)
				continue
			cgroup_path[found] = substr(line, at + 1)
			owner_name[found] = owner_of_path(cgroup_path[found])
		}
		close(list)
	}
	if (!(id in owner_name))
		owner_name[id] = "#" id
}

# owner_of_path(PATH): the innermost container, else the innermost unit that is no slice, else the innermost slice, else the path.
function owner_of_path(path,   part, n, i, unit, slice)
{
	n = split(path, part, "/")
	for (i = n; i > 1; i--) {
		if (container_id(part[i]) != "")
			return substr(container_id(part[i]), 1, 12)
		# PID 1 is in /init.scope; each user's manager has an init.scope too, which tells less than user@1000.service.
		if (unit == "" && part[i] ~ /[^.]\.(service|scope|socket|mount|swap)$/ && (part[i] != "init.scope" || i == 2))
			unit = part[i]
		if (slice == "" && part[i] ~ /[^.]\.slice$/)
			slice = part[i]
	}
	return unit != "" ? unit : slice != "" ? slice : path
}

# container_id(NAME): the 64 digits in the names that Docker, containerd, Podman and CRI-O give to cgroups: ID, docker-ID.scope,
# cri-containerd-ID.scope, libpod-payload-ID, …:cri-containerd:ID; "" if there are none. libpod-conmon-ID.scope is Podman's monitor,
# which is outside the container. (mawk knows no {64}.)
function container_id(name)
{
	sub(/\.scope$/, "", name)
	if (name ~ /^(libpod|crio)-conmon-/)
		return ""
	sub(/^.*[-:]/, "", name)
	return length(name) == 64 && name !~ /[^0-9a-f]/ ? name : ""
}

# is_owned_by(WHOM): WHOM is what owner() says; a unit without its suffix, or without its instance either (postgresql of postgresql@15-main.service);
# a service that its socket listens for (ssh.service of ssh.socket), as an accepted socket is in the cgroup of who made the listener; a container's
# id, cut off anywhere behind the twelfth digit or not at all; or a path: of the cgroup itself or one above it. NT_UNITS: other units that are
# meant by it.
function is_owned_by(whom,   name, stem, path)
{
	name = owner()
	if (name == "")
		return 0
	if (name == whom || index(" " ENVIRON["NT_UNITS"] " ", " " name " "))
		return 1
	stem = name
	if (sub(/\.(service|scope|slice|socket|mount|swap)$/, "", stem) &&
		(stem == whom || index(stem, whom "@") == 1 || (name == stem ".socket" && whom == stem ".service")))
		return 1
	path = cgroup_path[field("cgroup")]
	if (length(whom) > 12 && whom !~ /[^0-9a-f]/)
		return index(path, whom) > 0
	sub(/\/$/, "", whom)
	return whom ~ /^\// && index(path "/", whom "/") == 1
}

# user(): of the record: the name that the user database has for its uid, else the uid; "" if nobody knows.
function user()
{
	return user_of(known("uid"))
}

# user_of(UID): the database is asked once for each.
function user_of(uid,   lookup, line, part)
{
	if (uid == "" || uid in user_name)
		return user_name[uid]
	user_name[uid] = uid
	lookup = "getent passwd " uid " </dev/null 2>/dev/null"
	if ((lookup | getline line) > 0 && split(line, part, ":") > 2 && part[1] != "")
		user_name[uid] = part[1]
	close(lookup)
	return user_name[uid]
}

# unescaped(NAME): in a name, the line has \xHH for bytes that would do harm or are no UTF-8, and for the backslash.
function unescaped(name,   at, plain)
{
	while (at = index(name, "\\x")) {
		plain = plain substr(name, 1, at - 1) sprintf("%c", 16 * digit_value(substr(name, at + 2, 1)) + digit_value(substr(name, at + 3, 1)))
		name = substr(name, at + 4)
	}
	return plain name
}

# text(VALUE): between quotes, with what RFC 8259 wants escaped, and the other control characters; what is no UTF-8 is replaced by U+FFFD;
# null if it is empty.
function text(value_)
{
	if (value_ == "")
		return "null"
	if (!is_plain(value_) || index(value_, "\"") || index(value_, "\\"))
		value_ = with_replaced(value_, "\357\277\275", "")
	return "\"" value_ "\""
}

# is_plain(TEXT): it has nothing but the characters of ASCII that can be printed.
function is_plain(text_)
{
	return text_ !~ /[^ -~]/
}

# with_replaced(TEXT, WRONG, CONTROL): with WRONG in place of what is no UTF-8, a character that is cut off or a byte that begins none, and
# with CONTROL in place of each control character; without CONTROL they are escaped as JSON has them, and so are quotes and backslashes.
function with_replaced(text_, wrong, control,   i, n, c, number, done)
{
	for (i = 1; i <= length(text_); i += n) {
		n = length_at(text_, i)
		c = substr(text_, i, n)
		number = byte_value(c)
		if (!is_whole)
			c = wrong
		else if (number < 32 || number == 127 || (number == 194 && byte_value(substr(c, 2)) < 160))
			c = control != "" ? control : sprintf("\\u%04x", byte_value(substr(c, n)))
		else if (control == "" && (c == "\"" || c == "\\"))
			c = "\\" c
		done = done c
	}
	return done
}

# length_at(TEXT, I): how many bytes from there on make a character of UTF-8, or what of one is there; is_whole: it is one.
function length_at(text_, i,   first, wanted, n, low, high, next_)
{
	first = byte_value(substr(text_, i, 1))
	is_whole = first < 128
	if (first < 194 || first > 244)
		return 1
	wanted = 2 + (first >= 224) + (first >= 240)
	low = first == 224 ? 160 : first == 240 ? 144 : 128
	high = first == 237 ? 159 : first == 244 ? 143 : 191
	for (n = 1; n < wanted; n++) {
		next_ = byte_value(substr(text_, i + n, 1))
		if (next_ < low || next_ > high)
			return n
		low = 128
		high = 191
	}
	is_whole = 1
	return n
}

# byte_value(TEXT): of its first byte; 0 if there is none. awk cannot tell a character's number.
function byte_value(text_,   i)
{
	if (!bytes_known++)
		for (i = 1; i < 256; i++)
			value_of_byte[sprintf("%c", i)] = i
	return text_ == "" ? 0 : value_of_byte[substr(text_, 1, 1)] + 0
}
