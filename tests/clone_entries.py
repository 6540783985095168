#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Fill a BPF map with copies of the entry that is in it.

clone_entries.py MAP COUNT OFFSET [FIRST [BYTE]]

MAP is a pinned file, the map behind it has one entry at least. The COUNT copies differ in the four bytes at OFFSET of their
keys, a little-endian number that counts up from FIRST (0). BYTE (0 to 255), if given, fills their values instead of a copy.
"""
import struct
import sys

from bpf import Map

BATCH = 65536


def main(path, count, offset, first="0", byte=None):
    count, offset, first = int(count), int(offset), int(first)
    bpf_map = Map(path)
    key, value = bpf_map.first()
    head, tail = key[:offset], key[offset + 4 :]
    content = bytes([int(byte)]) * bpf_map.value_size if byte else value
    for start in range(first, first + count, BATCH):
        numbers = range(start, min(start + BATCH, first + count))
        keys = b"".join(head + struct.pack("<I", number) + tail for number in numbers)
        bpf_map.update_all(keys, content * len(numbers))


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
