# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Who owns a record's socket: the systemd unit or container of its cgroup, the user of its uid; and names as JSON has them. Needs known()
# and field() of record.awk or names.awk.
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

# is_owned_by(WHOM): WHOM is what owner() says; a unit without its suffix; a container's id, cut off anywhere behind the twelfth
# digit or not at all; or a path: of the cgroup itself or one above it.
function is_owned_by(whom,   name, path)
{
	name = owner()
	if (name == "")
		return 0
	if (name == whom || name == whom ".service" || name == whom ".scope" || name == whom ".slice")
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

# text(VALUE): between quotes, with what RFC 8259 wants escaped; null if it is empty.
function text(value,   i, c, escaped)
{
	if (value == "")
		return "null"
	if (value !~ /["\\[:cntrl:]]/)
		return "\"" value "\""
	for (i = 1; i <= length(value); i++) {
		c = substr(value, i, 1)
		if (c == "\"" || c == "\\")
			c = "\\" c
		else if (c ~ /[[:cntrl:]]/)
			c = sprintf("\\u%04x", index(controls(), c))
		escaped = escaped c
	}
	return "\"" escaped "\""
}

# The control characters in their order: awk cannot tell a character's number.
function controls(   i)
{
	if (!control_characters)
		for (i = 1; i < 128; i++)
			control_characters = control_characters sprintf("%c", i)
	return control_characters
}
