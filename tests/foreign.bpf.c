// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Somebody else's filters: one in front of the tracker's marks each packet and notes what is in it, one behind the tracker notes
 * what arrives there. The two notes must be the same.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

/* enum tcx_action_base of <linux/bpf.h>, which older headers lack. */
#define TCX_NEXT -1
#define TCX_PASS 0

#define __unused __attribute__((unused))

#define MARK 7
#define PRIORITY 9

enum place {
	BEFORE,
	BEHIND,
	PLACES,
};

struct seen {
	__u64 packets;
	__u64 bytes;
	__u64 content; /* sum over the words of the packets' beginnings */
	__u64 changed; /* packets with another mark or priority */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, struct seen);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} foreign_seen SEC(".maps");

static __always_inline void note(struct __sk_buff *skb, __u32 place)
{
	struct seen *seen = bpf_map_lookup_elem(&foreign_seen, &place);
	__u64 sum = 0;
	__u32 word, i;

	if (!seen)
		return;
	for (i = 0; i < 32; i++)
		if (!bpf_skb_load_bytes(skb, i * sizeof(word), &word, sizeof(word)))
			sum += (__u64)word << (i % 8);
	__sync_fetch_and_add(&seen->packets, 1);
	__sync_fetch_and_add(&seen->bytes, skb->len);
	__sync_fetch_and_add(&seen->content, sum);
	if (skb->mark != MARK || skb->priority != PRIORITY)
		__sync_fetch_and_add(&seen->changed, 1);
}

SEC("before")
int foreign_before(struct __sk_buff *skb)
{
	skb->mark = MARK;
	skb->priority = PRIORITY;
	note(skb, BEFORE);
	return TC_ACT_OK; /* without direct-action: no match, the next filter */
}

SEC("behind")
int foreign_behind(struct __sk_buff *skb)
{
	note(skb, BEHIND);
	return TC_ACT_OK;
}

/* At TCX: notes what arrives and lets it go on; lets nothing go on. */
SEC("next")
int foreign_next(struct __sk_buff *skb)
{
	note(skb, BEHIND);
	return TCX_NEXT;
}

SEC("ends")
int foreign_ends(__unused struct __sk_buff *skb)
{
	return TCX_PASS;
}

SEC("xdp")
int foreign_xdp(__unused struct xdp_md *packet)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
