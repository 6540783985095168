// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * closer - notes which process closes a connection's socket, for the FINs that leave later. For process.h, which looks there when
 * nobody who runs can be believed to send a FIN or RST.
 *
 * A process that writes more than the peer takes at once, and closes, is gone by the time that its FIN leaves: from a softirq, when
 * the peer has room again. But it was there in close(), before the FIN. There this program runs, which is attached to the root of
 * cgroup v2, and so also when a process is killed and its sockets are closed for it: scripts/lib/closer.sh. The tracker works
 * without.
 *
 * What it notes is kept with the socket, and goes with it. The last to close a socket that several processes have is who closes it.
 * The memory for that costs several times as much as to see that it is not needed, as mostly: then close() sends the FIN itself.
 */
#include <linux/in.h>

#include "../NeTracker.h"
#include "kernel.h"

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* As in maps.h. Not pinned by this object: who loads it says which tracker's it is. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct process);
} nt_closers SEC(".maps");

/* States of a connection whose FIN may not have left: that of shutdown() may be waiting, too. */
#define MAY_SEND \
	(1 << BPF_TCP_ESTABLISHED | 1 << BPF_TCP_FIN_WAIT1 | 1 << BPF_TCP_CLOSE_WAIT | 1 << BPF_TCP_CLOSING | 1 << BPF_TCP_LAST_ACK)

/* What is in the kernel's own socket, to which the context is a pointer. */
#define VALUE_OF(sk, member)                                                                              \
	({                                                                                                \
		__u32 value_ = 0;                                                                         \
		bpf_probe_read_kernel(&value_, sizeof(value_), &((const struct tcp_sock *)(sk))->member); \
		value_;                                                                                   \
	})

/*
 * Is the FIN likely to wait? Not if hardly anything is unacknowledged and the peer has room. There are other reasons: where this
 * is wrong, the FIN names nobody.
 */
static __always_inline bool has_to_wait(struct bpf_sock *sk)
{
	__u32 unacknowledged = VALUE_OF(sk, write_seq) - VALUE_OF(sk, snd_una);

	return unacknowledged > VALUE_OF(sk, mss_cache) || unacknowledged >= VALUE_OF(sk, snd_wnd);
}

SEC("cgroup/sock_release")
int netracker_close(struct bpf_sock *sk)
{
	const struct task_struct *task;
	struct process *closer;

	if (sk->protocol != IPPROTO_TCP || sk->type != STREAM_SOCKET || !(1U << (sk->state & 31) & MAY_SEND) || !has_to_wait(sk))
		return 1;
	task = (const struct task_struct *)bpf_get_current_task_btf();
	if (task->flags & PF_KTHREAD)
		return 1;
	closer = bpf_sk_storage_get(&nt_closers, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!closer)
		return 1;
	if (!bpf_probe_read_kernel(closer->comm, sizeof(closer->comm), task->group_leader->comm))
		closer->pid = task->tgid;
	return 1;
}
