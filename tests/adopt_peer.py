#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""One end of a connection that is open before the tracker is there.

adopt_peer.py serve|connect ADDRESS PORT BYTES N FILE   send BYTES, wait until N have come, print the own port; once FILE has the word of this
                                                        side, "serve" or "connect", send 7 more and close, or reset if "reset" stands behind
                                                        it; and close when the other side has
"""
import os
import select
import socket
import struct
import sys


def open_end(side, address, port):
    if side == "connect":
        return socket.create_connection((address, port))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as server:
        return server.accept()[0]


def told(side, file):
    if not os.path.exists(file):
        return None
    with open(file, encoding="ascii") as words:
        found = words.read().split()
    return found[1:] if found[:1] == [side] else None


def main(side, address, port, count, wanted, file):
    end = open_end(side, address, int(port))
    end.sendall(b"a" * int(count))
    wanted = int(wanted)
    while wanted:
        wanted -= len(end.recv(wanted))
    print(end.getsockname()[1], flush=True)
    while (words := told(side, file)) is None:
        if select.select([end], [], [], 0.05)[0] and not end.recv(65536):
            break
    if words is not None:
        end.sendall(b"b" * 7)
        if "reset" in words:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ConnectionResetError:
        pass
