// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the other programs are measured against: the cost of running any program at all. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return skb ? TC_ACT_OK : TC_ACT_SHOT;
}
