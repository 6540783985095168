#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Fill a BPF map with copies of the entry that is in it.

clone_entries.py MAP COUNT OFFSET [FIRST [BYTE]]

MAP is a pinned file, the map behind it has one entry at least. The COUNT copies differ in the four bytes at OFFSET of their
keys, a little-endian number that counts up from FIRST (0). BYTE (0 to 255), if given, fills their values instead of a copy.
"""
import ctypes
import os
import platform
import struct
import sys

BPF_MAP_LOOKUP_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_OBJ_GET, BPF_MAP_UPDATE_BATCH = 1, 4, 7, 26
SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}[platform.machine()]
BATCH = 65536

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    attributes = attributes.ljust(144, b"\0")
    result = libc.syscall(SYSCALL, command, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def sizes(fd):
    with open(f"/proc/self/fdinfo/{fd}") as info:
        facts = dict(line.split(None, 1) for line in info)
    return int(facts["key_size:"]), int(facts["value_size:"])


def main(path, count, offset, first="0", byte=None):
    count, offset, first = int(count), int(offset), int(first)
    name = ctypes.create_string_buffer(os.fsencode(path))
    fd = bpf(BPF_OBJ_GET, struct.pack("QII", ctypes.addressof(name), 0, 0))
    key_size, value_size = sizes(fd)
    key = ctypes.create_string_buffer(key_size)
    value = ctypes.create_string_buffer(value_size)
    bpf(BPF_MAP_GET_NEXT_KEY, struct.pack("QQQQ", fd, 0, ctypes.addressof(key), 0))
    bpf(BPF_MAP_LOOKUP_ELEM, struct.pack("QQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0))

    head, tail = key.raw[:offset], key.raw[offset + 4 :]
    content = bytes([int(byte)]) * value_size if byte else value.raw
    for start in range(first, first + count, BATCH):
        numbers = range(start, min(start + BATCH, first + count))
        keys = b"".join(head + struct.pack("<I", number) + tail for number in numbers)
        values = content * len(numbers)
        keys, values = ctypes.create_string_buffer(keys, len(keys)), ctypes.create_string_buffer(values, len(values))
        where = ctypes.addressof(keys), ctypes.addressof(values)
        bpf(BPF_MAP_UPDATE_BATCH, struct.pack("QQQQIIQQ", 0, 0, *where, len(numbers), fd, 0, 0))


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
