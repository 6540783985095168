#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Open connections that end in known ways, and say what happened to them.

load.py ADDRESS COUNT OK_PORT REFUSED_PORT RESET_PORT

COUNT connections to OK_PORT, three in a hundred of them kept for 0.4 s; a fifth as many each to REFUSED_PORT and RESET_PORT.
Prints one JSON object: how many ended in which way, and the 99th percentile of those to OK_PORT in seconds.
"""
import concurrent.futures
import json
import socket
import sys
import time


def fetch(address, port, keep):
    start = time.monotonic()
    with socket.create_connection((address, port)) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        connection.recv(65536)
        time.sleep(keep)
    return time.monotonic() - start


def outcome(address, port):
    try:
        with socket.create_connection((address, port)) as connection:
            return "closed" if connection.recv(1) == b"" else "answered"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"


def main(address, count, ok_port, refused_port, reset_port):
    count = int(count)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        fetches = [pool.submit(fetch, address, int(ok_port), 0.4 if i % 100 < 3 else 0) for i in range(count)]
        others = [pool.submit(outcome, address, int(port)) for port in (refused_port, reset_port) for _ in range(count // 5)]
    durations = sorted(task.result() for task in fetches)
    outcomes = [task.result() for task in others]
    print(
        json.dumps(
            {
                "ok": len(durations),
                "refused": outcomes.count("refused"),
                "reset": outcomes.count("reset"),
                "p99": durations[int(len(durations) * 0.99)],
            }
        )
    )


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
