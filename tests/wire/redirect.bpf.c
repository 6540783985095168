// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A filter behind the tracker's that sends all it sees out of the interface with number 77: what arrives there has passed. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define BEHIND 77

SEC("redirect")
int send_on(struct __sk_buff *skb)
{
	(void)skb;
	return bpf_redirect(BEHIND, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
