#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Lay connections to rest that never were: copies of the one that is at rest, which go on from its place in nt_rest.

fill_rest.py COUNT    they differ in four bytes of the originator's address, were last known to be alive when that one was, and
                      have no socket on this host

Nobody has counted them as attempts, and their sets know nothing of them: they are for what the clock makes of many.
"""
import struct
import sys

from bpf import PINS, Map

BATCH = 65536
ADDRESS = 12  # the last four bytes of flow_key.src
POOLS = 8
PLACE = 104  # conn.place, behind the flow
HAS_OWNER = 1 << 13  # enum flow_flag; the flags come first
FRESH = 4  # place_pool.fresh, behind the lock


def main(count):
    count = int(count)
    conn_map, rests, pools = (Map(PINS + name) for name in ("conn_map", "nt_rest", "nt_places"))
    key, value = conn_map.first()
    value = struct.pack("=I", struct.unpack_from("=I", value)[0] & ~HAS_OWNER) + value[4:]
    (place,) = struct.unpack_from("=I", value, PLACE)
    rest = rests.lookup(struct.pack("=I", place))
    first = place // POOLS * POOLS + POOLS
    for start in range(first, first + count, BATCH):
        places = range(start, min(start + BATCH, first + count))
        keys = [key[:ADDRESS] + struct.pack("=I", n) + key[ADDRESS + 4 :] for n in places]
        rests.update_all(b"".join(struct.pack("=I", n) for n in places), b"".join(k + rest[len(k) :] for k in keys))
        conn_map.update_all(b"".join(keys), b"".join(value[:PLACE] + struct.pack("=I", n) + value[PLACE + 4 :] for n in places))
    for part in range(POOLS):
        pool = pools.lookup(struct.pack("=I", part))
        fresh = -(-(first + count) // POOLS)
        pools.update(struct.pack("=I", part), pool[:FRESH] + struct.pack("=I", fresh) + pool[FRESH + 4 :])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
