#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""tcx.py PROGRAM IFINDEX ingress|egress: hang a pinned program on an interface without a filter, until killed.

TCX is of Linux 6.6; the bpftool of many distributions does not know it. Prints a line when the program hangs there.
"""
import ctypes
import os
import platform
import signal
import struct
import sys

BPF_OBJ_GET, BPF_LINK_CREATE = 7, 28
ATTACH_TYPE = {"ingress": 46, "egress": 47}
SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}[platform.machine()]

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    attributes = attributes.ljust(144, b"\0")
    result = libc.syscall(SYSCALL, command, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


path = ctypes.create_string_buffer(os.fsencode(sys.argv[1]))
program = bpf(BPF_OBJ_GET, struct.pack("QII", ctypes.addressof(path), 0, 0))
link = bpf(BPF_LINK_CREATE, struct.pack("IIIIIIQQ", program, int(sys.argv[2]), ATTACH_TYPE[sys.argv[3]], 0, 0, 0, 0, 0))
print("attached", flush=True)
signal.pause()
