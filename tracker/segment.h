/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * segment.h - one TCP segment. For every room on its way: parse.h fills it in, the others read it.
 */
#ifndef NETRACKER_SEGMENT_H
#define NETRACKER_SEGMENT_H

#include "../NeTracker.h"

#include <stdbool.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* One TCP segment as the connection's life sees it. */
struct segment {
	struct flow_key key; /* as on the wire: sender first */
	__u32 seq;
	__u32 ack;
	__u32 len;  /* payload, bytes */
	__u64 hash; /* of the tuple: mix() */
	__u64 now;
	__u32 ifindex;
	__u16 iface; /* index in nt_ifaces of the interface where it was seen; 0: not named */
	__u8 flags;
	__u8 dir;   /* enum direction */
	__u8 scope; /* in which it was seen: scope.h */
};

/* Where a packet has its TCP segment. */
struct where {
	__u32 ip_off; /* offsets in the frame, bytes */
	__u32 tcp_off;
	bool ipv6;
	__u64 hash;
};

static __always_inline bool is_plain_ack(__u8 flags)
{
	return (flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) == TCP_ACK;
}

#endif
