#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Plays one TCP scenario before the attached tracker, on several links at once, and checks what it says.

play.py TRACE [--dress DRESS] [LINK...] <SCENARIO

LINK: veth-in-4 veth-out-6 lo-4 tun-in-6 forwarded-in-4 ...; without, all but the forwarded. DRESS: links.DRESSES.

in: somebody calls us, the originator's packets come in. out: the other way round. A scenario has a step a line:

    o SA data=3 @name    the originator (o) or responder (r) sends a segment with these flags (letters of FSRPAUEC, - for none)
    o again              ... its last segment once more
    wait 0.4             seconds
    flush                config.flush and the frame that carries it out

A segment follows on what its sender sent before and acknowledges all that the other has sent, unless it says otherwise:
    isn=N                for SYNs: a new initial sequence number, absolute (0 to 2^32 - 1)
    seq=N ack=N          relative to the initial sequence number of the sender, of the receiver
    data=N               bytes of payload
    doff=N               what the data offset says
    cut=N                so many bytes are missing at the packet's end
    fragment=N           the flags and offset of a fragment, as in an IPv4 header
    side                 the sender's next segment follows on the one before this one: a forgery, a segment out of order

Behind the steps stands what must come of them, and nothing else may:
    = STATE KEY=VALUE... a record, in the order in which they are written. Besides the record's own keys:
        bytes=O/R        orig_bytes and resp_bytes
        by=r             the responder opened this one
        after=SECONDS    written so long after the end (0.75 s more at most: machines can be busy)
    Times are checked at the names: @start (without: the first step), @end, @fin (without: no FIN), and where they are given @synack
    and @ack, the two ends of the round-trip times. start=@name, end=@name and so on take others.
    + COUNTER=N...       counters that went up. All that do are named here but attempts and established (ended and
                         logged follow from the records).
At the end the law of struct counters must hold and the tables be empty. A scenario that fails and was late is played again.
"""
import argparse
import shlex
import sys
import time

from links import CLIENT4, CLIENT6, DRESSES, ETHERTYPE4, ETHERTYPE6, SERVER4, SERVER6, Forwarded, Loopback, Tun, Veth, stay_on_one_cpu
from packets import flag_bits, packed, tcp
from tracker import Tracker, wait_until

LINKS = ("veth-in-4", "veth-in-6", "veth-out-4", "veth-out-6", "lo-4", "tun-in-4", "tun-out-6", "tun-in-6", "tun-out-4")
ADDRESSES = {"4": (CLIENT4, SERVER4), "6": (CLIENT6, SERVER6), "8": (ETHERTYPE4, SERVER4), "d": (ETHERTYPE6, SERVER6)}
UNNAMED_COUNTERS = ("attempts", "established")
MODULUS = 1 << 32
PATIENCE_S = 15
# Behind its own times by more than this, a scenario was not played as it is written: the machine did something else.
LATE_S = 0.1
ATTEMPTS = 10


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Endpoint:
    """One side of a connection, as its sequence numbers show it."""

    def __init__(self, address, port, isn, dress):
        self.dress = dress
        self.at, self.isn, self.next, self.last = (packed(address), port), isn, 0, None

    def segment(self, peer, flags, options, side):
        bits = flag_bits(flags)
        syn, fin = bits >> 1 & 1, bits & 1
        length = int(options.pop("data", 0))
        doff = int(options.pop("doff")) if "doff" in options else None
        cut, fragment = int(options.pop("cut", 0)), int(options.pop("fragment", "0"), 0)
        isn = int(options.pop("isn", self.isn))
        seq = int(options.pop("seq", 0 if syn else self.next))
        ack = int(options.pop("ack", peer.next)) + peer.isn if bits & flag_bits("A") else 0
        if options:
            sys.exit(f"play: unknown option {options}")
        if not side:
            if isn != self.isn:
                self.isn, self.next = isn, 0
            self.next = max(self.next, seq + syn + length + fin)
        packet = self.dress.ip(self.at[0], peer.at[0], tcp(self.at, peer.at, bits, isn + seq, ack, bytes(length), doff=doff), fragment)
        return packet[: len(packet) - cut]


class Connection:
    """The scenario on one link."""

    def __init__(self, name, link, port, dress):
        self.name, self.link = name, link
        kind, direction, family = (name.replace("lo-", "lo-out-")).split("-")
        self.inbound = direction == "in"
        here = ADDRESSES[family]
        # Sequence numbers that wrap early, so that nothing rests on their not doing so.
        self.ends = {"o": Endpoint(here[0], port, MODULUS - 3, dress), "r": Endpoint(here[1], 80, MODULUS - 2, dress)}
        shown = [f"[{address}]" if ":" in address else address for address in here]
        shown = f"{shown[0]}:{port}", f"{shown[1]}:80"
        # Who opens a connection, the tuple and the direction that its record has then.
        self.tuples = {"o": f"{shown[0]} -> {shown[1]}", "r": f"{shown[1]} -> {shown[0]}"}
        self.directions = {"o": direction, "r": "out" if direction == "in" or kind == "lo" else "in"}
        if kind == "forwarded":
            self.directions = {"o": "in", "r": "in"}
        self.when = {}

    def step(self, who, flags, options, label):
        sender, receiver = self.ends[who], self.ends["r" if who == "o" else "o"]
        options = dict(options)
        if flags != "again":
            sender.last = sender.segment(receiver, flags, options, options.pop("side", False))
        self.stamp(label, lambda: self.link.send(self.inbound == (who == "o"), sender.last))

    def stamp(self, label, action):
        before = now_ns()
        action()
        if label:
            self.when[label] = before, now_ns()

    def complaints(self, expected, records):
        if [r["state"] for r in records] != [e["state"] for e in expected]:
            yield f"records: got {[r['state'] for r in records]}, want {[e['state'] for e in expected]}"
            return
        for e, r in zip(expected, records):
            yield from self.compare(dict(e), r)

    def compare(self, expected, record):
        def differs(what, got, want):
            return f"{expected['state']} record: {what} is {got}, want {want}"

        wanted = self.directions[record["by"]]
        if record["dir"] != wanted:
            yield differs("dir", record["dir"], wanted)
        if "bytes" in expected:
            expected["orig_bytes"], expected["resp_bytes"] = expected.pop("bytes").split("/")
        start = int(record["start_ns"])
        instants = {
            "start": start,
            "end": start + int(record["dur_ns"]),
            "fin": start + int(record["first_fin_ns"]),
            "synack": start + int(record["syn_rtt_ns"]),
            "ack": start + int(record["syn_rtt_ns"]) + int(record["ack_rtt_ns"]),
        }
        seen = {"fin": "first_fin_ns", "synack": "syn_rtt_ns", "ack": "ack_rtt_ns"}
        for name, at in instants.items():
            label = expected.pop(name, "@" + name)
            if label in self.when:
                low, high = self.when[label]
                if not low <= at <= high:
                    yield differs(name, f"at {(at - start) / 1e6} ms", f"{(low - start) / 1e6} to {(high - start) / 1e6} ms")
            elif name in ("start", "end"):
                yield f"the scenario has no {label}"
            elif name == "fin" and record[seen[name]] != "0":
                yield differs(seen[name], record[seen[name]], 0)
            elif label == "@none" and record[seen[name]] != "0":
                yield differs(seen[name], record[seen[name]], 0)
        if "after" in expected:
            wanted, took = float(expected.pop("after")), record["reported"] - instants["end"] / 1e9
            if not wanted - 0.01 <= took <= wanted + 0.75:
                yield differs("reported", f"after {took:.3f} s", f"after {wanted} s")
        for key, value in expected.items():
            if record.get(key) != value:
                yield differs(key, record.get(key), value)


def parse(text):
    """The scenario as (steps, expected records, expected counters)."""
    steps, records, counters = [], [], {}
    for line in text:
        words = shlex.split(line, comments=True)
        if not words:
            continue
        pairs = dict(w.split("=", 1) for w in words if "=" in w[1:])
        label = next((w for w in words if w.startswith("@")), "@start" if not steps else None)
        if words[0] == "=":
            records.append({"state": words[1], **pairs})
        elif words[0] == "+":
            counters.update((name, int(n)) for name, n in pairs.items())
        else:
            if "side" in words:
                pairs["side"] = True
            steps.append((words[0], words[1] if len(words) > 1 else None, pairs, label))
    return steps, records, counters


def play(tracker, connections, flush, scenario):
    """What is wrong, and how late the scenario was."""
    steps, records, expected_counters = parse(scenario)
    if not wait_until(tracker.is_empty, PATIENCE_S):
        return ["tables not empty at the beginning"], 0
    tracker.forget_records()
    counters = tracker.counters()
    began, planned = time.monotonic(), 0
    for verb, argument, options, label in steps:
        if verb == "wait":
            time.sleep(float(argument))
            planned += float(argument)
        elif verb == "flush":
            before = now_ns()
            flush()
            for c in connections:
                c.when[label] = before, now_ns()
        else:
            for c in connections:
                c.step(verb, argument, options, label)
    late = time.monotonic() - began - planned

    problems = []
    if not wait_until(tracker.is_empty, PATIENCE_S):
        problems.append(f"left: {tracker.in_motion()} in motion, {tracker.at_rest()} at rest")
    found = tracker.records()
    for c in connections:
        own = [{**record, "by": by} for by, key in c.tuples.items() for record in found.pop(key, [])]
        own.sort(key=lambda record: record["reported"])
        problems += [f"{c.name}: {problem}" for problem in c.complaints([{"by": "o", **r} for r in records], own)]
    grown = {name: n - counters[name] for name, n in tracker.counters().items() if n != counters[name]}
    for state in {r["state"] for r in records}:
        expected_counters[f"ended.{state}"] = sum(r["state"] == state for r in records)
    # The trace is the machine's: other people's trackers write to it. This counter is of this one.
    expected_counters["logged"] = len(records)
    for name in sorted(grown.keys() | expected_counters.keys()):
        want = expected_counters.get(name, 0) * len(connections)
        if grown.get(name, 0) != want and (name in expected_counters or name not in UNNAMED_COUNTERS):
            problems.append(f"counter {name}: went up by {grown.get(name, 0)}, want {want}")
    if tracker.missing():
        problems.append(f"connections are not conserved: {tracker.missing()} are missing; {tracker.counters()}")
    return problems, late


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", help="the file with the tracker's lines")
    parser.add_argument("--dress", choices=DRESSES, default="plain")
    parser.add_argument("links", nargs="*", default=LINKS)
    arguments = parser.parse_intermixed_args()
    stay_on_one_cpu()
    tracker = Tracker(arguments.trace)
    dress = DRESSES[arguments.dress]
    links = {"veth": Veth(dress), "lo": Loopback(), "tun": Tun()}
    links["forwarded"] = Forwarded(links["veth"], links["tun"])
    scenario = sys.stdin.readlines()

    def flush():
        tracker.configure(handshake_timeout=1, close_timeout=2, flush=1)
        links["veth"].flush()

    for _ in range(ATTEMPTS):
        # Ports that the last scenario did not use.
        first_port = 10000 + time.monotonic_ns() // 1000000 % 50000
        connections = [Connection(name, links[name.split("-")[0]], first_port + i, dress) for i, name in enumerate(arguments.links)]
        problems, late = play(tracker, connections, flush, scenario)
        if not problems or late < LATE_S:
            break
        problems.append(f"the machine was busy: the scenario was late by {late:.3f} s, in the last of {ATTEMPTS} attempts")
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
