#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What ./soak sends, and how it compares what the tracker says of it with what nginx says.

soak.py load ADDRESS[,ADDRESS…] PORT REFUSED CLIENTS
        connections of all kinds from so many clients to nginx on PORT, and some to the port REFUSED where nobody listens, until SIGTERM;
        then prints how many it has opened
soak.py compare ACCESS_LOG PORT REFUSED SUMMARY
        reads nginx's access log (a named pipe; FORMAT) and `netracker log --json` on standard input, until that ends; prints each
        connection of which the two do not say the same, with the lines of both, and writes its counts to the file SUMMARY

Exit status of compare: 1 if there are any.
"""
from __future__ import annotations

import asyncio
import collections
import json
import os
import random
import selectors
import signal
import socket
import struct
import sys
import time
from typing import Any

FORMAT = "$remote_addr $remote_port $connection $status $bytes_sent $body_bytes_sent $request_length $uri"

# What a path begins with says how the connection ends. A burst is wrk's, which gives up what is open at its end.
ENDS = {"/close/": {"SF"}, "/keep/": {"SF"}, "/slow/": {"SF"}, "/reset/": {"RSTO"}, "/burst/": {"SF", "RSTO", "RSTR"}}

# Sizes of nginx's files, bytes; the reset comes in the midst of the last.
SIZES = ("0", "100", "20000", "3000000")

# Seconds that a record waits for the lines of nginx, which come by another way, and those for a record.
GRACE = 3.0
MOST_SHOWN = 20


class Load:
    """Clients that open one connection after the other."""

    def __init__(self, addresses: list[str], port: int, refused: int):
        self.addresses, self.port, self.refused = addresses, port, refused
        self.opened: collections.Counter[str] = collections.Counter()
        self.stopping = False
        self.random = random.Random(1)

    async def run(self, clients: int) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, self.stop)
        await asyncio.gather(*(self.client() for _ in range(clients)))

    def stop(self) -> None:
        self.stopping = True

    async def client(self) -> None:
        kinds = (self.close, self.keep, self.reset, self.silent, self.refuse, self.slow)
        while not self.stopping:
            (kind,) = self.random.choices(kinds, (40, 30, 8, 4, 8, 1))
            self.opened[kind.__name__] += 1
            await kind()
            await asyncio.sleep(self.random.uniform(0, 0.1))

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.random.choice(self.addresses), self.port)

    async def get(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, last: bool = False) -> None:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: soak\r\n{'Connection: close' if last else 'X: y'}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)

    async def end(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    async def close(self) -> None:
        """One request; nginx closes."""
        reader, writer = await self.open()
        await self.get(reader, writer, "/close/" + self.random.choice(SIZES[:3]), last=True)
        await reader.read()
        await self.end(writer)

    async def keep(self) -> None:
        """Some requests; the client closes."""
        reader, writer = await self.open()
        for _ in range(self.random.randint(1, 8)):
            await self.get(reader, writer, "/keep/" + self.random.choice(SIZES))
        await self.end(writer)

    async def slow(self) -> None:
        """Requests with pauses: it lives through some intervals of interim records."""
        reader, writer = await self.open()
        for _ in range(self.random.randint(2, 6)):
            await self.get(reader, writer, "/slow/" + self.random.choice(SIZES))
            await asyncio.sleep(0 if self.stopping else self.random.uniform(0.5, 2))
        await self.end(writer)

    async def reset(self) -> None:
        """The client resets in the midst of the answer."""
        reader, writer = await self.open()
        writer.write(b"GET /reset/" + SIZES[-1].encode() + b" HTTP/1.1\r\nHost: soak\r\n\r\n")
        await reader.read(1000)
        # Linger on, for 0 seconds: close() sends RST.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def silent(self) -> None:
        """The client opens, says nothing, and closes."""
        _, writer = await self.open()
        await self.end(writer)

    async def refuse(self) -> None:
        """There is nobody."""
        try:
            await asyncio.open_connection(self.random.choice(self.addresses), self.refused)
        except ConnectionRefusedError:
            pass


class Served:
    """What nginx says of one connection: a line for each request."""

    def __init__(self, number: str, at: float):
        self.number, self.at = number, at
        self.sent = self.asked = self.requests = 0
        self.path = ""
        self.lines: list[str] = []

    def add(self, status: str, sent: int, asked: int, path: str, line: str) -> None:
        self.sent += sent
        self.asked += asked
        self.requests += 1
        self.path = path
        self.lines = [*self.lines[-7:], line]


class Comparison:
    """Both sides by the client's address and port; a pair of these may come again, so each has a queue, the oldest first."""

    def __init__(self, port: int, refused: int):
        self.port, self.refused = port, refused
        self.served: dict[tuple[str, int], collections.deque[Served]] = {}
        self.waiting: collections.deque[tuple[float, dict[str, Any], str]] = collections.deque()
        self.states: collections.Counter[str] = collections.Counter()
        self.counts: collections.Counter[str] = collections.Counter()
        self.mismatches = 0

    def nginx_says(self, line: str, now: float) -> None:
        address, port, number, status, sent, _, asked, path = line.split(" ", 7)
        queue = self.served.setdefault((address, int(port)), collections.deque())
        if not queue or queue[-1].number != number:
            queue.append(Served(number, now))
        queue[-1].add(status, int(sent), int(asked), path, line)
        self.counts["requests"] += 1

    def tracker_says(self, line: str, now: float) -> None:
        self.counts["read"] += 1
        record = json.loads(line)
        if record.get("interim") is not None:
            self.counts["interim"] += 1
        elif record["dport"] in (self.port, self.refused):
            self.waiting.append((now, record, line))

    def settle(self, before: float) -> None:
        """Compare the records that came before then."""
        while self.waiting and self.waiting[0][0] <= before:
            _, record, line = self.waiting.popleft()
            self.states[record["state"]] += 1
            self.counts["records"] += 1
            key = record["src"], record["sport"]
            # Who asks for nothing has no line, also where the same port is used again before this is compared.
            asks = record["dport"] == self.port and record["orig_bytes"] != 0
            queue = self.served.get(key) if asks else None
            served = queue.popleft() if queue else None
            if queue is not None and not queue:
                del self.served[key]
            why = self.differs(record, served)
            if why:
                self.mismatch(why, [line], served.lines if served else [])

    def differs(self, record: dict[str, Any], served: Served | None) -> str:
        state, sent, asked = record["state"], record["resp_bytes"], record["orig_bytes"]
        if record["dport"] == self.refused:
            return "" if state == "REJ" else "to a port where nobody listens"
        if served is None:
            # Silent ones, and what wrk has given up before it asked, or before nginx knew.
            return "nginx has no line of it" if sent or state not in ("SF", "RSTO", "RSTR", "RSTOS0") else ""
        self.counts["connections"] += 1
        begin = "/" + served.path.split("/")[1] + "/"
        if state not in ENDS.get(begin, ()):
            return f"{state} is no end of {begin}"
        if state != "SF":
            # What nginx has handed to its socket, of which not all has left.
            return f"more than the {served.sent} bytes that nginx sent" if sent is not None and sent > served.sent else ""
        if (sent, asked) != (served.sent, served.asked):
            return f"nginx sent {served.sent} bytes and got {served.asked}"
        return ""

    def mismatch(self, why: str, *lines: list[str]) -> None:
        self.mismatches += 1
        if self.mismatches <= MOST_SHOWN:
            print(f"mismatch: {why}", *(f"    {line}" for side in lines for line in side), sep="\n", flush=True)

    def end(self) -> None:
        """There will be no more."""
        self.settle(float("inf"))
        for queue in self.served.values():
            for served in queue:
                self.mismatch("no record", served.lines)


def lines_of(descriptor: int, rest: bytes) -> tuple[list[str], bytes, bool]:
    """What can be read now: whole lines, the beginning of the next, and whether there will be more."""
    data = os.read(descriptor, 1 << 20)
    *lines, rest = (rest + data).split(b"\n")
    return [line.decode() for line in lines], rest, bool(data)


def compare(access_log: str, port: int, refused: int, summary: str) -> int:
    comparison = Comparison(port, refused)
    # For writing, too: so it does not end when nginx does.
    access = os.open(access_log, os.O_RDWR | os.O_NONBLOCK)
    selector = selectors.DefaultSelector()
    selector.register(access, selectors.EVENT_READ, comparison.nginx_says)
    selector.register(0, selectors.EVENT_READ, comparison.tracker_says)
    rests = {access: b"", 0: b""}
    more = True
    while more:
        for key, _ in selector.select(timeout=1):
            lines, rests[key.fd], open_still = lines_of(key.fd, rests[key.fd])
            now = time.monotonic()
            for line in lines:
                key.data(line, now)
            more = more and (open_still or key.fd != 0)
        comparison.settle(time.monotonic() - GRACE)
    selector.unregister(0)
    while selector.select(timeout=1):
        lines, rests[access], _ = lines_of(access, rests[access])
        for line in lines:
            comparison.nginx_says(line, time.monotonic())
    comparison.end()
    with open(summary, "w", encoding="ascii") as file:
        json.dump({**comparison.counts, "states": comparison.states, "mismatches": comparison.mismatches}, file)
    return 1 if comparison.mismatches else 0


def main(arguments: list[str]) -> int:
    if len(arguments) == 5 and arguments[0] == "load":
        load = Load(arguments[1].split(","), int(arguments[2]), int(arguments[3]))
        asyncio.run(load.run(int(arguments[4])))
        print(json.dumps(load.opened))
        return 0
    if len(arguments) == 5 and arguments[0] == "compare":
        return compare(arguments[1], int(arguments[2]), int(arguments[3]), arguments[4])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
