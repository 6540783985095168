/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * hooks.h - where the tracker hangs, from the kernel's own structures: all network namespaces, their interfaces, the filters of
 * these. An interface that is deleted takes its filters with it and tells nobody; so what attach has noted is asked of the kernel.
 *
 * A program is ours if it uses our map. Its name says nothing: others may choose the same.
 *
 * Everything is read with bpf_probe_read_kernel() under RCU, whose lists lead on from an element that is being removed. The number
 * of steps has a limit, so that the walk ends whatever it meets.
 *
 * Who includes this defines found().
 */
#ifndef NETRACKER_HOOKS_H
#define NETRACKER_HOOKS_H

#include "iterator.h"

/* The most that bpf_loop() can do; a namespace takes seven. */
#define MAX_STEPS (1 << 23)

#define MAX_MPROGS 64 /* BPF_MPROG_MAX */

enum hook {
	INGRESS,
	EGRESS,
	HOOKS,
};

/* Flag of walk.hook: a program without a filter, which passes packets on to the filters (Linux 6.6). */
#define TCX 2

/* ---------------------------------------------------------------------------------- of the kernel, by way of its BTF */

/* Nothing of it is const: BPF_CORE_READ() would declare a variable of the same type, and newer compilers object to that. */

struct list_head {
	struct list_head *next;
} KERNEL;

struct ns_common {
	const void *ops;
	unsigned int inum;
} KERNEL;

struct net {
	struct list_head list;
	struct ns_common ns;
	struct list_head dev_base_head;
} KERNEL;

struct nsproxy {
	struct net *net_ns;
} KERNEL;

struct task_struct {
	struct nsproxy *nsproxy;
} KERNEL;

struct bpf_prog_aux {
	__u32 id;
	__u32 used_map_cnt;
	struct bpf_map **used_maps;
} KERNEL;

struct bpf_prog {
	struct bpf_prog_aux *aux;
} KERNEL;

struct cls_bpf_head {
	struct list_head plist;
} KERNEL;

struct cls_bpf_prog {
	struct bpf_prog *filter;
	struct list_head link;
} KERNEL;

struct tcf_proto_ops {
	char kind[16];
} KERNEL;

struct tcf_proto {
	struct tcf_proto *next;
	void *root;
	struct tcf_proto_ops *ops;
} KERNEL;

struct mini_Qdisc {
	struct tcf_proto *filter_list;
} KERNEL;

struct bpf_mprog_bundle;

struct bpf_mprog_fp {
	struct bpf_prog *prog;
} KERNEL;

struct bpf_mprog_entry {
	struct bpf_mprog_fp fp_items[MAX_MPROGS];
	struct bpf_mprog_bundle *parent;
} KERNEL;

struct bpf_mprog_bundle {
	struct bpf_mprog_entry a;
} KERNEL;

struct tcx_entry {
	struct mini_Qdisc *miniq;
	struct bpf_mprog_bundle bundle;
} KERNEL;

struct net_device {
	char name[IFACE_NAME_LEN];
	struct list_head dev_list;
	int ifindex;
} KERNEL;

/* Until Linux 6.5, and since. libbpf ignores what follows three underscores. */
struct net_device___miniq {
	struct mini_Qdisc *miniq_ingress;
	struct mini_Qdisc *miniq_egress;
} KERNEL;

struct net_device___tcx {
	struct bpf_mprog_entry *tcx_ingress;
	struct bpf_mprog_entry *tcx_egress;
} KERNEL;

/* The address of what the member at this address is in. */
#define CONTAINER(member_at, type, member) \
	((type *)((unsigned long)(member_at) - (unsigned long)__builtin_preserve_access_index(&((type *)0)->member)))

#define MEMBER(container, member) ((void *)__builtin_preserve_access_index(&(container)->member))

/* Constants by the time the verifier looks, so it skips what this kernel cannot do. */
static __always_inline bool has_tcx(void)
{
	return bpf_core_field_exists(((struct net_device___tcx *)0)->tcx_ingress) &&
	       bpf_core_field_exists(((struct tcx_entry *)0)->miniq);
}

static __always_inline bool has_miniq(void)
{
	return bpf_core_field_exists(((struct net_device___miniq *)0)->miniq_ingress);
}

/* cls_bpf may be a module, and have no BTF of its own. */
static __always_inline bool can_walk(void)
{
	return (has_tcx() || has_miniq()) && bpf_core_type_exists(struct cls_bpf_head) &&
	       bpf_core_field_exists(((struct cls_bpf_prog *)0)->link) && bpf_core_field_exists(((struct net *)0)->dev_base_head) &&
	       bpf_core_field_exists(((struct net_device *)0)->dev_list) &&
	       bpf_core_field_exists(((struct bpf_prog_aux *)0)->used_maps) &&
	       bpf_core_field_exists(((struct tcf_proto *)0)->root) &&
	       bpf_core_field_exists(((struct mini_Qdisc *)0)->filter_list) && bpf_core_field_exists(((struct ns_common *)0)->ops);
}

/* -------------------------------------------------------------------------------------------------------- the walk */

/*
 * How far the walk has come: it goes into each list before it goes on with the one around it. One loop, because the verifier gets
 * lost in loops within loops.
 */
struct walk {
	struct net *start; /* the reader's own namespace */
	const void *ns_ops;
	struct net *net;
	struct net_device *dev;
	const void *next_dev, *end_of_devs;
	struct bpf_mprog_fp *next_mprog;
	struct tcf_proto *next_filter;
	const void *next_prog, *end_of_progs;
	struct bpf_prog *prog;
	struct bpf_map **next_map;
	__u64 maps_left;
	__u64 mprogs_left;
	__u64 hooks_left;
	__u32 netns; /* inode of net */
	__u32 hook;
	__u32 sought; /* see has_namespace() */
	__u32 map_id; /* ours */
};

/*
 * A number that the verifier does not know, as it may be changed from elsewhere for all it knows. What it knows, it follows: round
 * the loop once for each combination of known numbers.
 */
static volatile __u64 nought;

#define UNTOLD(number) ((number) + nought)

/* walk->prog is ours, and hangs at walk->hook of walk->dev in walk->netns. */
static __always_inline void found(struct walk *walk);

/* The kernel decides what a callback is passed. */
#pragma clang diagnostic ignored "-Wunused-parameter"

static __always_inline void enter_program(struct walk *walk, struct bpf_prog *prog)
{
	walk->prog = prog;
	walk->next_map = BPF_CORE_READ(prog, aux, used_maps);
	walk->maps_left = BPF_CORE_READ(prog, aux, used_map_cnt);
}

static __always_inline void look_at_map(struct walk *walk)
{
	struct bpf_map *map = NULL;

	bpf_probe_read_kernel(&map, sizeof(map), walk->next_map);
	walk->next_map++;
	walk->maps_left--;
	if (BPF_CORE_READ(map, id) == walk->map_id) {
		walk->maps_left = UNTOLD(0);
		found(walk);
	}
}

static __always_inline void enter_filter(struct walk *walk)
{
	struct tcf_proto *filter = walk->next_filter;
	struct tcf_proto_ops *ops = BPF_CORE_READ(filter, ops);
	struct cls_bpf_head *head = BPF_CORE_READ(filter, root);
	__u32 kind = 0;

	walk->hook &= ~TCX;
	walk->next_filter = BPF_CORE_READ(filter, next);
	bpf_probe_read_kernel(&kind, sizeof(kind), MEMBER(ops, kind));
	if (kind != *(const __u32 *)"bpf")
		return;
	walk->end_of_progs = MEMBER(head, plist);
	walk->next_prog = BPF_CORE_READ(head, plist.next);
}

static __always_inline void enter_cls_bpf_prog(struct walk *walk)
{
	struct cls_bpf_prog *prog = CONTAINER(walk->next_prog, struct cls_bpf_prog, link);

	walk->next_prog = BPF_CORE_READ(prog, link.next);
	enter_program(walk, BPF_CORE_READ(prog, filter));
}

/* The programs of TCX stand in a row; the first that is NULL is behind them. */
static __always_inline void enter_mprog(struct walk *walk)
{
	struct bpf_mprog_fp *mprog = walk->next_mprog;
	struct bpf_prog *prog = BPF_CORE_READ(mprog, prog);

	walk->hook |= TCX;
	walk->next_mprog = (void *)mprog + bpf_core_type_size(struct bpf_mprog_fp);
	walk->mprogs_left--;
	if (prog)
		enter_program(walk, prog);
	else
		walk->mprogs_left = UNTOLD(0);
}

static __always_inline struct mini_Qdisc *enter_tcx(struct walk *walk)
{
	struct net_device___tcx *dev = (void *)walk->dev;
	struct bpf_mprog_entry *entry = walk->hook == INGRESS ? BPF_CORE_READ(dev, tcx_ingress) : BPF_CORE_READ(dev, tcx_egress);
	struct bpf_mprog_bundle *bundle;
	struct tcx_entry *tcx;

	if (!entry)
		return NULL;
	walk->next_mprog = MEMBER(entry, fp_items);
	walk->mprogs_left = UNTOLD(MAX_MPROGS);
	bundle = BPF_CORE_READ(entry, parent);
	tcx = CONTAINER(bundle, struct tcx_entry, bundle);
	return BPF_CORE_READ(tcx, miniq);
}

static __always_inline struct mini_Qdisc *enter_miniq(struct walk *walk)
{
	struct net_device___miniq *dev = (void *)walk->dev;

	return walk->hook == INGRESS ? BPF_CORE_READ(dev, miniq_ingress) : BPF_CORE_READ(dev, miniq_egress);
}

static __always_inline void enter_hook(struct walk *walk)
{
	struct mini_Qdisc *miniq;

	walk->hook = HOOKS - walk->hooks_left--;
	miniq = has_tcx() ? enter_tcx(walk) : enter_miniq(walk);
	if (miniq)
		walk->next_filter = BPF_CORE_READ(miniq, filter_list);
}

static __always_inline void enter_device(struct walk *walk)
{
	struct net_device *dev = CONTAINER(walk->next_dev, struct net_device, dev_list);

	walk->dev = dev;
	walk->next_dev = BPF_CORE_READ(dev, dev_list.next);
	walk->hooks_left = UNTOLD(HOOKS);
}

/*
 * The namespaces are a ring with the list's head in it, which is no namespace. Its address is not to be had on every kernel; but
 * what would be its operations are not those that all namespaces of this kind share.
 */
static __always_inline void enter_namespace(struct walk *walk)
{
	struct net *net = walk->net;

	if (BPF_CORE_READ(net, ns.ops) != walk->ns_ops)
		return;
	walk->netns = BPF_CORE_READ(net, ns.inum);
	walk->end_of_devs = MEMBER(net, dev_base_head);
	walk->next_dev = BPF_CORE_READ(net, dev_base_head.next);
}

/* Goes on to the next in the ring: false if it has been round, or is lost. */
static __always_inline bool next_namespace(struct walk *walk)
{
	struct net *net = walk->net;
	struct list_head *next = BPF_CORE_READ(net, list.next);

	walk->net = CONTAINER(next, struct net, list);
	return next && walk->net != walk->start;
}

static long take_step(__u32 i, struct walk *walk)
{
	if (walk->maps_left) {
		look_at_map(walk);
	} else if (walk->next_prog && walk->next_prog != walk->end_of_progs) {
		enter_cls_bpf_prog(walk);
	} else if (has_tcx() && walk->mprogs_left) {
		enter_mprog(walk);
	} else if (walk->next_filter) {
		enter_filter(walk);
	} else if (walk->hooks_left) {
		enter_hook(walk);
	} else if (walk->next_dev && walk->next_dev != walk->end_of_devs) {
		enter_device(walk);
	} else {
		if (!next_namespace(walk))
			return 1;
		enter_namespace(walk);
	}
	return 0;
}

/* Calls found() for each program that uses the map of this id. False: there may be more. */
static __always_inline bool walk_hooks(struct walk *walk, __u32 map_id)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *own = BPF_CORE_READ(task, nsproxy, net_ns);

	walk->maps_left = walk->mprogs_left = walk->hooks_left = UNTOLD(0);
	walk->next_filter = (void *)UNTOLD(0);
	walk->next_prog = walk->end_of_progs = (void *)UNTOLD(0);
	walk->map_id = map_id;
	walk->start = walk->net = own;
	walk->ns_ops = BPF_CORE_READ(own, ns.ops);
	enter_namespace(walk);
	return walk->ns_ops && bpf_loop(MAX_STEPS, take_step, walk, 0) < MAX_STEPS;
}

static long seek_namespace(__u32 i, struct walk *walk)
{
	struct net *net = walk->net;

	if (BPF_CORE_READ(net, ns.ops) == walk->ns_ops && BPF_CORE_READ(net, ns.inum) == walk->sought) {
		walk->sought = 0;
		return 1;
	}
	return !next_namespace(walk);
}

/* Behind a walk: is there a namespace of this inode? */
static __always_inline bool has_namespace(struct walk *walk, __u32 netns)
{
	walk->net = walk->start;
	walk->sought = netns;
	bpf_loop(MAX_STEPS, seek_namespace, walk, 0);
	return !walk->sought;
}

#endif
