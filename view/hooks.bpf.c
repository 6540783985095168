// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * hooks: the filters, in all network namespaces, that run a program on our maps. Iterates over nt_ifaces.
 *
 *	hooks 1 MAP                                  1: this kernel can be asked, 0: it cannot, and nothing follows
 *	NETNS IFINDEX HOOK PROGRAM NAME              a line for each filter: inode of the namespace, number of the interface in it,
 *	…                                            ingress or egress (tcx_ingress or tcx_egress: no filter, but a program of TCX),
 *	                                             id of the program, name of the interface with ? for control characters and for
 *	                                             what is no UTF-8
 *	incomplete                                   only if there may be more than was printed
 *
 * MAP is the id of the map that makes a program ours, nt_ifaces: whoever has reason to doubt compares it with the pinned one's.
 *
 * The elements of nt_ifaces mean nothing here but steps: a step walks through all there is and prints its share of the lines. One
 * step is enough for as many interfaces as attach can take on. What changes between two steps can be missing or there twice.
 */
#include "hooks.h"

#define NAME_WRONG "?"
#include "name.h"

/* So many lines, of 64 bytes at the most, fit a step. */
#define SHARE 512

/* What a step needs; walk comes first, so that found() has the rest. */
struct step {
	struct walk walk;
	struct seq_file *seq;
	__u64 line; /* from -SHARE * step up to 0 are those of the steps before */
};

/*
 * At which step a reader came to the end, so that the steps behind it need not walk: the reader's number * MAX_IFACES + step.
 * Readers that share a place only lose time by it. A step may be done twice, so it is never held to be behind itself.
 */
static __u64 ended[64];

static const char hook_names[][16] = {
	[INGRESS] = "ingress",
	[EGRESS] = "egress",
	[INGRESS | TCX] = "tcx_ingress",
	[EGRESS | TCX] = "tcx_egress",
};

static __always_inline void found(struct walk *walk)
{
	struct step *step = (void *)walk;
	struct bpf_prog *prog = walk->prog;
	struct net_device *dev = walk->dev;
	char name[IFACE_NAME_LEN] = {};

	if (step->line++ >= SHARE)
		return;
	bpf_probe_read_kernel_str(name, sizeof(name), MEMBER(dev, name));
	BPF_SEQ_PRINTF(step->seq, "%u %d %s %u %s\n", walk->netns, BPF_CORE_READ(dev, ifindex), hook_names[walk->hook & 3],
	               BPF_CORE_READ(prog, aux, id), shown_name(name));
}

SEC("iter/bpf_map_elem")
int hooks(struct bpf_iter__bpf_map_elem *ctx)
{
	struct step step = { .seq = ctx->meta->seq };
	__u64 session = ctx->meta->session_id;
	const __u32 *key = ctx->key;
	__u64 *end = &ended[session % 64];

	if (!key)
		return 0;
	if (*key == 0)
		BPF_SEQ_PRINTF(step.seq, "hooks %u %u\n", can_walk(), ctx->map->id);
	if (!can_walk() || (*end / MAX_IFACES == session && *end % MAX_IFACES < *key))
		return 0;
	step.line = UNTOLD(-(__u64)SHARE * *key);
	if (!walk_hooks(&step.walk, ctx->map->id) || (*key == MAX_IFACES - 1 && (__s64)step.line > SHARE))
		BPF_SEQ_PRINTF(step.seq, "incomplete\n");
	else if ((__s64)step.line <= SHARE)
		*end = session * MAX_IFACES + *key;
	return 0;
}
