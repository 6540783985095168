# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the attached tracker holds and says: its maps through bpf(2), its records from the trace.

As a program it prints how many connections are in motion, a tenth of a second where bpftool writes, and a reader reads, megabytes of text.
"""
import json
import os
import re
import struct
import subprocess
import sys
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)
from bpf import PINS, Map

with open(TESTS + "/../scripts/lib/tables.tsv") as tables:
    STATES = [row.split("\t")[1] for row in tables if row.startswith("state\t")]


TAGS = 24  # struct syn_set in NeTracker.h: eight tags of 16 bits, 0 where a place is free


def in_motion(syn_map):
    _, sets = syn_map.dump()
    return sum(tag != 0 for at in range(0, len(sets), syn_map.value_size) for tag in struct.unpack_from("=8H", sets, at + TAGS))


class Tracker:
    def __init__(self, trace):
        self.trace = trace
        self.syn_map, self.conn_map, self.config = (Map(PINS + name) for name in ("syn_map", "conn_map", "nt_config"))

    def configure(self, handshake_timeout=0, close_timeout=0, quiet=0, trace=0, flush=0, idle_timeout=0, closers_off=0, interim=0):
        self.config.update(bytes(4), struct.pack("=IIIIIIII", handshake_timeout, close_timeout, quiet, trace, flush, idle_timeout, closers_off, interim))

    def counters(self):
        """struct counters, summed over the CPUs, as a flat dictionary: attempts, ended.S0, ..."""
        dump = subprocess.run(
            ("bpftool", "--json", "map", "dump", "pinned", PINS + "nt_counters"), check=True, stdout=subprocess.PIPE
        ).stdout
        total = {}
        for cpu in json.loads(dump)[0]["formatted"]["values"]:
            for name, value in cpu["value"].items():
                named = {f"ended.{state}": n for state, n in zip(STATES, value)} if name == "ended" else {name: value}
                for key, n in named.items():
                    total[key] = total.get(key, 0) + n
        return total

    def in_motion(self):
        return in_motion(self.syn_map)

    def at_rest(self):
        keys, _ = self.conn_map.dump()
        return len(keys) // self.conn_map.key_size

    def is_empty(self):
        return self.in_motion() == 0 and self.at_rest() == 0

    def missing(self):
        """0 where the law of struct counters holds: no connection is lost, none is made up."""
        c = self.counters()
        accounted = sum(c[f"ended.{state}"] for state in STATES) + c["syn_evicted"] + c["syn_disbelieved"] + c["conn_full"]
        return c["attempts"] + c["adopted"] - accounted - self.in_motion() - self.at_rest()

    def forget_records(self):
        with open(self.trace, "w"):
            pass

    def records(self):
        """The records so far: tuple -> list of them, each a dictionary; `reported` is when it was written, seconds."""
        found = {}
        with open(self.trace, errors="replace") as trace:
            for line in trace:
                m = re.search(r" (\d+\.\d+): bpf_trace_printk: netracker: (\S+ -> \S+) (.*)", line)
                if m:
                    record = dict(pair.split("=", 1) for pair in m[3].split())
                    found.setdefault(m[2], []).append({**record, "reported": float(m[1])})
        return found


def wait_until(condition, seconds):
    """Polls. Returns whether the condition came true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


if __name__ == "__main__":
    print(in_motion(Map(PINS + "syn_map")))
