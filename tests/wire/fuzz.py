#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Sends frames that no sane host sends through both attached programs, and checks that the tracker takes them as they come.

fuzz.py TRACE SEED COUNT

Every frame must arrive behind the tracker as it was sent, the law of struct counters hold all the while, and the tables be empty
once everything has timed out. Half of the frames are segments in good order with flags and numbers at random, of so few tuples that
they meet each other in every state; the other half are frames with bytes at random, cut off or with headers put in.

Behind the ingress hook wire.bash has a filter that sends everything on to nt2, whose peer is nt3: what arrives there has passed. What
leaves passes the egress hook and arrives at nt1.
"""
import collections
import random
import select
import socket
import struct
import sys

from links import CLIENT4, CLIENT6, DRESSES, PEER, SERVER4, SERVER6, TRACKED, packet_socket, stay_on_one_cpu
from packets import ETH_P_802_EX1, flag_bits, frame, packed, tcp
from tracker import Tracker, wait_until

BATCH = 400
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_VLAN_VALID = 1 << 4
ETH_P_ALL = 3
SHORTEST = 20  # below this, the kernel itself drops a frame with a VLAN tag

FAMILIES = (packed(CLIENT4), packed(SERVER4)), (packed(CLIENT6), packed(SERVER6))
USUAL_FLAGS = [flag_bits(letters) for letters in ("S", "S", "SA", "SA", "A", "A", "A", "PA", "FA", "FA", "R", "RA")]
EDGES = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 16, 1 << 20, 1 << 24)


class Receiver:
    """All frames that come in at an interface, with the VLAN tag that the kernel takes out put back."""

    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE

    def receive(self, count):
        """A multiset of count frames; fewer if no more come."""
        frames = collections.Counter()
        for _ in range(count):
            if not select.select([self.socket], [], [], 10)[0]:
                break
            data, ancillary, _, _ = self.socket.recvmsg(65536, 64)
            status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", ancillary[0][2])
            if status & TP_STATUS_VLAN_VALID:
                data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
            frames[data] += 1
        return frames


class Fuzzer:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.dresses = list(DRESSES.values())

    def number(self, near):
        r = self.random
        choice = r.random()
        if choice < 0.7:
            return near + r.randrange(4)
        return near + r.choice(EDGES) if choice < 0.95 else r.getrandbits(32)

    def segment(self):
        """An IP packet on one of 256 tuples, and whether the originator sent it."""
        r = self.random
        here, there = r.choice(FAMILIES)
        near, far = (here, 1024 + r.randrange(16)), (there, 80 + r.randrange(8))
        sender = r.random() < 0.5
        source, destination = (near, far) if sender else (far, near)
        # Few initial sequence numbers, so that segments fit together by chance.
        isn, peer = r.choice((0, 1 << 31)), r.choice((0, 1 << 31))
        flags = r.choice(USUAL_FLAGS) if r.random() < 0.95 else r.getrandbits(8)
        payload = bytes(r.choice((0, 0, 1, 2, 1000)))
        dress = self.dresses[0] if r.random() < 0.8 else r.choice(self.dresses)
        return dress, dress.ip(source[0], destination[0], tcp(source, destination, flags, self.number(isn), self.number(peer), payload))

    def frame(self):
        r = self.random
        dress, packet = self.segment()
        data = dress.frame(packet, True)
        if r.random() < 0.5:
            return data
        data = bytearray(data)
        for _ in range(r.choice((0, 1, 1, 2, 5, 20))):
            data[r.randrange(12, min(len(data), 100))] = r.getrandbits(8)
        choice = r.random()
        if choice < 0.3:
            del data[r.randrange(SHORTEST, len(data)) :]
        elif choice < 0.5:
            at = r.randrange(12, min(len(data), 80))
            data[at:at] = r.randbytes(r.choice((1, 2, 4, 8, 20, 40)))
        elif choice < 0.6:
            at = r.randrange(12, min(len(data), 80))
            del data[at : at + r.choice((1, 2, 4, 8))]
        # 0x88b5 is the flush frame's type; the test sends that itself.
        return bytes(data).ljust(SHORTEST, b"\0")


def is_conserved(tracker):
    """A connection that ends between two of the readings is no loss: then read again."""
    return wait_until(lambda: not tracker.missing(), 30)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    seed, count = int(sys.argv[2]), int(sys.argv[3])
    stay_on_one_cpu()
    tracker = Tracker(sys.argv[1])
    before = tracker.counters()
    fuzzer = Fuzzer(seed)
    ways = (packet_socket(PEER), Receiver("nt3")), (packet_socket(TRACKED), Receiver(PEER))
    for start in range(0, count, BATCH):
        for sender, receiver in ways:
            sent = collections.Counter()
            for _ in range(BATCH // 2):
                data = fuzzer.frame()
                sender.send(data)
                sent[data] += 1
            got = receiver.receive(BATCH // 2)
            if got != sent:
                lost, strange = sent - got, got - sent
                sys.exit(
                    f"fuzz: frames did not pass unchanged; sent: {[f.hex() for f in lost][:3]}, came: {[f.hex() for f in strange][:3]}"
                )
        if start // BATCH % 50 == 0 and not is_conserved(tracker):
            sys.exit(f"fuzz: connections are not conserved: {tracker.missing()} are missing after {start} frames")

    grown = {name: n - before[name] for name, n in tracker.counters().items()}
    print(f"fuzz: {count} frames passed: { {name: n for name, n in grown.items() if n} }")
    # What needs a full table, a failing kernel or a socket of this host's, none of which has a part in this.
    not_met_here = {"conn_full", "timer_failed", "close_evicted", "left_out", "adopted"}
    unmet = {name for name, n in grown.items() if not n} - not_met_here
    if unmet:
        sys.exit(f"fuzz: nothing came of {unmet}: these frames do not try the tracker")

    def end_all():
        # What is established and never closed ends at detach only.
        tracker.configure(handshake_timeout=1, close_timeout=1, flush=1)
        ways[0][0].send(frame(bytes(46), proto=ETH_P_802_EX1))
        return tracker.is_empty()

    if not wait_until(end_all, 60):
        sys.exit(f"fuzz: left: {tracker.in_motion()} in motion, {tracker.at_rest()} at rest; {tracker.counters()}")
    if not is_conserved(tracker):
        sys.exit(f"fuzz: connections are not conserved: {tracker.missing()} are missing; {tracker.counters()}")


if __name__ == "__main__":
    main()
