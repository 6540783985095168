#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""verified.py VIEW: print how many instructions the verifier went through until it took the program of a pinned view."""
import ctypes
import os
import platform
import struct
import sys

BPF_OBJ_GET, BPF_PROG_GET_FD_BY_ID = 7, 13
SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}[platform.machine()]

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    attributes = attributes.ljust(144, b"\0")
    result = libc.syscall(SYSCALL, command, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def fact(fd, name):
    with open(f"/proc/self/fdinfo/{fd}") as info:
        return dict(line.split(None, 1) for line in info)[name + ":"].strip()


path = ctypes.create_string_buffer(os.fsencode(sys.argv[1]))
link = bpf(BPF_OBJ_GET, struct.pack("QII", ctypes.addressof(path), 0, 0))
program = bpf(BPF_PROG_GET_FD_BY_ID, struct.pack("I", int(fact(link, "prog_id"))))
print(fact(program, "verified_insns"))
