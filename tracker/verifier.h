/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * verifier.h - what stands in the code only for the kernel's verifier, or against an optimization of clang that it cannot follow:
 * each has a name, and says who needs it. For every room.
 *
 * What has no name, but is the same everywhere:
 *
 * - A function that is not static is global: the verifier looks at it once and by itself, not once a call. What loops or branches
 *   much is one. Its pointers may be NULL, as far as the verifier knows, and it may return anything: both are checked.
 *   It has to return a number, as kernels refuse a global function that returns none (btf_prepare_func_args, kernel/bpf/btf.c): one
 *   that has nothing to tell is an int and returns 0, at which nobody looks.
 * - All functions of a call chain have 512 bytes of stack together, and a chain has eight functions at most: what is large is kept
 *   in scratch.h, and some things are called from further up than they would be.
 * - What counts up in a loop or with the text of a record is kept in a map, where the verifier does not follow it: to it, each
 *   number on the stack makes another state.
 * - A number that is compared and then used as an index is 64 bits wide if it may be put on the stack meanwhile: of a shorter one
 *   Linux 6.1 forgets the bound.
 * - What may not be there is memory with a flag in it, and not a pointer that may be NULL, if it is handed on through branches:
 *   there Linux 6.1 forgets which of both it is.
 */
#ifndef NETRACKER_VERIFIER_H
#define NETRACKER_VERIFIER_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

/* A parameter that the kernel passes and nobody here wants. */
#define __unused __attribute__((unused))

/*
 * Before a loop: clang is not to unroll it. All of them would, and make eight copies of a body that the verifier then goes through
 * eight times over.
 */
#define NOT_UNROLLED _Pragma("clang loop unroll(disable)")

/*
 * Gives the value back by way of memory, where no verifier follows it. So it goes once, not eight times, through what is done to
 * the slot that a loop has found. memory: a place in nt_scratch, which is nobody's but this CPU's.
 */
static __always_inline __u32 forget(volatile __u32 *memory, __u32 value)
{
	*memory = value;
	return *memory;
}

/*
 * The index, bounded by a size that is a power of two. It is in bounds as it is; but the verifier does not know, if the index comes
 * out of a map or another function.
 */
#define bounded(index, size) ((index) & ((size)-1))

/*
 * From here on clang takes the variable for any number. Otherwise it drops a bound that it knows to be kept and the verifier does
 * not: one that follows from a comparison, or (clang 21 and newer; Linux 6.18 then refuses the program) from inside the function
 * that returned the number. Behind a comparison it also keeps clang 21 from comparing a register and using a copy on the stack, for
 * which Linux 6.1 has no bound.
 */
#define forget_range(variable) barrier_var(variable)

/* From here on the pointer is what is in one register: what is compared with the packet's end is what is used. */
#define settle(pointer) barrier_var(pointer)

/* Nothing behind the pointer is read before this place: clang would read a whole key before a loop, and put it on the stack. */
#define read_from_here(pointer) barrier_var(pointer)

#endif
