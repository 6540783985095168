/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * interfaces.h - the tracker's table of interfaces, for the views that look their names and namespaces up: ends.h and view.h.
 */
#ifndef NETRACKER_INTERFACES_H
#define NETRACKER_INTERFACES_H

#include "iterator.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_IFACES);
	__type(key, __u32);
	__type(value, struct iface);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nt_ifaces SEC(".maps");

#endif
