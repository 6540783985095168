/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * noting.h - a socket under whose key something is noted. For the views holders and sockets, which note.
 */
#ifndef NETRACKER_NOTING_H
#define NETRACKER_NOTING_H

#include "ends.h"
#include "noted.h"

/* What is noted of the socket for who reads has this key. *key: zeros. */
static __always_inline void read_key(struct noted_key *key, const struct sock_common___ends *sk)
{
	read_ends(sk, (struct address *)key->local, (struct address *)key->remote);
	key->lport = sk->skc_num;
	key->rport = bpf_ntohs(sk->skc_dport);
	key->netns = netns_of(sk);
	key->reader = reader_of_notes();
}

/* Writes both ends of the socket with this key: LOCAL REMOTE. */
static __always_inline void put_key(struct text *t, const struct noted_key *key)
{
	put_endpoint(t, (const struct address *)key->local, key->lport);
	put_char(t, ' ');
	put_endpoint(t, (const struct address *)key->remote, key->rport);
}

#endif
