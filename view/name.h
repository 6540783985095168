/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * name.h - an interface's name, which may hold any byte but white space, '/' and ':', made harmless. For the views hooks and
 * metrics, which define what a character stands for that cannot be shown, a control character or what is no UTF-8: NAME_WRONG;
 * and, if they want a '\' before '"' and '\', NAME_ESCAPED.
 */
#ifndef NETRACKER_NAME_H
#define NETRACKER_NAME_H

#include "../tracker/text.h"

#ifndef NAME_ESCAPED
#define NAME_ESCAPED false
#endif

#define SHOWN_LEN 64 /* a power of two; three bytes for each of a name's fit it */

struct shown_name {
	char name[IFACE_NAME_LEN]; /* as the kernel has it */
	char text[SHOWN_LEN];      /* as it is shown, with a NUL behind it */
	volatile __u32 len;
};

/* In memory of the task that reads the file, as it can be interrupted by another, and the stack has no room. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct shown_name);
} names SEC(".maps");

static __always_inline void put_byte(struct shown_name *n, char c)
{
	__u32 at = n->len;

	n->text[at & (SHOWN_LEN - 1)] = c;
	n->len = at + 1;
}

/* Sets n->text to what n->name is to be shown as. A global function, which is verified once. Returns 0. */
__noinline int set_text(struct shown_name *n)
{
	static const char wrong[] = NAME_WRONG;
	__u32 i, j, length, end;
	bool plain;

	if (!n)
		return 0;
	n->len = 0;
	for (i = 0; i < IFACE_NAME_LEN && n->name[i];) {
		length = utf8_length(n->name + i, IFACE_NAME_LEN - i, &plain);
		if (is_control(n->name + i, length))
			plain = false;
		if (!plain)
			for (j = 0; j < sizeof(wrong) - 1; j++)
				put_byte(n, wrong[j]);
		else if (NAME_ESCAPED && (n->name[i] == '"' || n->name[i] == '\\'))
			put_byte(n, '\\');
		for (end = i + length; i < end && i < IFACE_NAME_LEN; i++)
			if (plain)
				put_byte(n, n->name[i]);
	}
	put_byte(n, 0);
	return 0;
}

/* Returns the name as it is shown; "" if there is no memory. */
static __always_inline const char *shown_name(const char name[IFACE_NAME_LEN])
{
	struct shown_name *n = bpf_task_storage_get(&names, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!n)
		return "";
	__builtin_memcpy(n->name, name, IFACE_NAME_LEN);
	set_text(n);
	return n->text;
}

#endif
