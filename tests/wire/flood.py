#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Floods the attached tracker with SYNs and checks that it loses none of the connections that were there before.

flood.py TRACE CONNECTIONS SYNS SOURCES

Each of the SYNs is an attempt of its own: no two of one tuple. They come in from all CPUs at once.
"""
import json
import os
import subprocess
import sys
import time

from links import CLIENT4, PEER, SERVER4, Veth, packet_socket, stay_on_one_cpu
from packets import flag_bits, frame, ip4, packed, tcp
from tracker import PINS, Tracker, wait_until

CLIENT, SERVER = packed(CLIENT4), (packed(SERVER4), 80)
FIRST_PORT, FIRST_SOURCE = 10000, int.from_bytes(packed("198.18.0.1"), "big")  # RFC 2544: for tests like this
SYN, SYNACK, ACK, FINACK = (flag_bits(letters) for letters in ("S", "SA", "A", "FA"))


def send_all(link, connections, *segments):
    """segments: (inbound, flags, seq, ack)."""
    for port in range(FIRST_PORT, FIRST_PORT + connections):
        client = CLIENT, port
        for inbound, flags, seq, ack in segments:
            source, destination = (client, SERVER) if inbound else (SERVER, client)
            link.send(inbound, ip4(source[0], destination[0], tcp(source, destination, flags, seq, ack)))


def flood(syns, sources, cpu, cpus):
    """This CPU's part of the SYNs."""
    os.sched_setaffinity(0, {cpu[1]})
    link = packet_socket(PEER)
    syn = bytearray(frame(ip4(bytes(4), SERVER[0], tcp((bytes(4), 0), SERVER, SYN, 0, 0))))
    for i in range(cpu[0], syns, cpus):
        syn[26:30] = (FIRST_SOURCE + i % sources).to_bytes(4, "big")
        syn[34:36] = (1024 + i // sources).to_bytes(2, "big")
        link.send(syn)


def flood_from_all_cpus(syns, sources):
    cpus = sorted(os.sched_getaffinity(0))
    children = []
    for cpu in enumerate(cpus):
        child = os.fork()
        if not child:
            flood(syns, sources, cpu, len(cpus))
            os._exit(0)
        children.append(child)
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit("flood: a sender failed")


def memory():
    shown = [
        json.loads(subprocess.run(("bpftool", "--json", "map", "show", "pinned", PINS + name), check=True, stdout=subprocess.PIPE).stdout)
        for name in sorted(os.listdir(PINS))
    ]
    return {m["name"]: m["bytes_memlock"] for m in shown}


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    connections, syns, sources = (int(word) for word in sys.argv[2:])
    tracker, link = Tracker(sys.argv[1]), Veth()
    before = tracker.counters()

    send_all(link, connections, (True, SYN, 0, 0), (False, SYNACK, 0, 1), (True, ACK, 1, 1))
    if not wait_until(lambda: tracker.at_rest() == connections, 10):
        sys.exit(f"flood: {tracker.at_rest()} connections at rest, want {connections}")
    bytes_before, began = memory(), time.monotonic()
    flood_from_all_cpus(syns, sources)
    took = time.monotonic() - began
    if tracker.at_rest() != connections:
        sys.exit(f"flood: {tracker.at_rest()} of {connections} connections are left")
    bytes_after = memory()
    if any(bytes_after[name] > bytes_before[name] for name in bytes_before):
        sys.exit(f"flood: memory grew from {bytes_before} to {bytes_after}")

    stay_on_one_cpu()
    send_all(link, connections, (True, FINACK, 1, 1), (False, FINACK, 1, 2))
    if not wait_until(tracker.is_empty, 60):
        sys.exit(f"flood: left: {tracker.in_motion()} in motion, {tracker.at_rest()} at rest; {tracker.counters()}")
    ends = {}
    recorded = tracker.records()
    for port in range(FIRST_PORT, FIRST_PORT + connections):
        end = tuple(record["state"] for record in recorded.get(f"{CLIENT4}:{port} -> {SERVER4}:80", []))
        ends[end] = ends.get(end, 0) + 1
    if ends != {("SF",): connections}:
        sys.exit(f"flood: states of a connection's records: {ends}, want one SF of each of {connections}")
    grown = {name: n - before[name] for name, n in tracker.counters().items() if n != before[name]}
    print(f"flood: {syns / took / 1000:.0f},000 SYNs a second: {grown}")
    if grown["attempts"] != syns + connections or grown["ended.SF"] != connections or tracker.missing():
        sys.exit(f"flood: not conserved: {tracker.missing()} are missing; {grown}")


if __name__ == "__main__":
    main()
