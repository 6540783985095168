#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Play connections through the tracker's programs on two CPUs at once, both the same segments of the same tuples.

race.py IFACE COUNT

The tracker is attached to IFACE, in this network namespace. Every segment is given to the programs on both CPUs, as simultaneously as
can be: a process on each waits, spinning, until the other has come as far. A segment that is seen twice, and that races with its
copy, must not make a second record.
"""
import mmap
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
import packets  # noqa: E402


def play(cpu, mine, others, iface, count):
    """mine, others: where in the shared page each process says how far it is."""
    os.sched_setaffinity(0, {cpu})
    ingress, egress = packets.attached(iface, socket.if_nametoindex(iface))
    c = packets.Connection()
    segments = (ingress, c.syn), (egress, c.syn_ack), (ingress, c.ack), (ingress, c.client_fin), (egress, c.server_fin)
    step = 0
    for number in range(count):
        c.number(number)
        for program, frame in segments:
            step += 1
            mine[0] = step
            while others[0] < step:
                pass
            program.run(frame)


def main(iface, count):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        sys.exit("race.py: there is only one CPU")
    steps = memoryview(mmap.mmap(-1, 4096)).cast("Q")
    mine, others = steps[:1], steps[64:65]
    child = os.fork()
    if child == 0:
        play(cpus[1], others, mine, iface, int(count))
        os._exit(0)
    play(cpus[0], mine, others, iface, int(count))
    _, status = os.waitpid(child, 0)
    sys.exit(status != 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
