/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bpf/bpf_core_read.h for the host, in place of libbpf's: here every struct is as it is declared.
 */
#ifndef HOST_BPF_CORE_READ_H
#define HOST_BPF_CORE_READ_H

#define BPF_CORE_READ_BITFIELD(at, field) ((at)->field)

#endif
