#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A peer with a name of its own.

process_peer.py serve PORT NAME [HOW]      accept connections on PORT and keep them until killed; what becomes of each, HOW says:
                                           keep (the default); fork: a child has it, and calls itself child; share: both have it
process_peer.py connect ADDRESS PORT NAME  connect, and keep the connection until killed

NAME is what the process calls itself, with Python's escapes for bytes: a\\x1b[2J. Each prints a port once it is so far: the one that it
serves, or that it has connected from. It also writes that port to $TRACE_MARKER, and so does a child with the port that its connection comes
from: there the kernel says which numbers they have outside of all PID namespaces.
"""
import ctypes
import os
import signal
import socket
import sys

PR_SET_NAME = 15


def call_itself(name):
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode("latin-1").decode("unicode_escape").encode("latin-1"), 0, 0, 0)


def mark(words):
    with open(os.environ["TRACE_MARKER"], "w", encoding="ascii") as marker:
        marker.write(words + "\n")


def serve(port, name, how="keep"):
    connections = []
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        mark(f"holder of {port}")
        call_itself(name)
        print(port, flush=True)
        while True:
            connection, peer = server.accept()
            if how != "keep" and not os.fork():
                mark(f"child has {peer[1]}")
                call_itself("child")
                signal.pause()
            if how == "fork":
                connection.close()
            else:
                connections.append(connection)


def connect(address, port, name):
    connection = socket.create_connection((address, int(port)))
    own_port = connection.getsockname()[1]
    mark(f"holder of {own_port}")
    call_itself(name)
    print(own_port, flush=True)
    signal.pause()


if __name__ == "__main__":
    verb, *words = sys.argv[1:] or [""]
    if verb == "serve" and len(words) in (2, 3):
        serve(*words)
    elif verb == "connect" and len(words) == 3:
        connect(*words)
    else:
        sys.exit(__doc__)
