#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Attach the tracker with plain tc and take it away again, many times.

reattach.py IFACE OBJECT COUNT

Prints a line for each time: CLOCK_BOOTTIME in ns before the first filter and behind the second, between which packets of one
direction alone are seen; and the ids of the maps that were pinned. No program of the tracker's outlives its maps: it holds them.
"""
import os
import struct
import subprocess
import sys
import time

from bpf import PINS, Map


def tc(*words):
    ran = subprocess.run(("tc",) + words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if ran.returncode:
        sys.exit(f"reattach: tc {' '.join(words)}: {ran.stderr[-500:]}")


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def main(iface, obj, count):
    for _ in range(int(count)):
        tc("qdisc", "add", "dev", iface, "clsact")
        before = now_ns()
        for hook, section in ("ingress", "tc_ing"), ("egress", "tc_en"):
            tc("filter", "add", "dev", iface, hook, "bpf", "obj", obj, "sec", section)
        behind = now_ns()
        pins = os.listdir(PINS)
        maps = [Map(PINS + name) for name in pins]
        ids = [bpf_map.id for bpf_map in maps]
        for bpf_map in maps:
            bpf_map.close()
        tc("qdisc", "del", "dev", iface, "clsact")
        for name in pins:
            os.remove(PINS + name)
        print(before, behind, *ids, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
