#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A TCP server that asks its sockets what they know, just before they close.

tcp_info.py serve PORT                      accept connections, IPv4 and IPv6, until killed; print a line of JSON for each
tcp_info.py connect ADDRESS PORT UP DOWN END
                                            connect, send UP bytes (64 at least), receive DOWN bytes, end it as END says; print
                                            the source port

END: client closes first, server closes first, client-reset or server-reset: that side resets it. The server asks once everything
it has sent is acknowledged, and says so by UDP to who waits with a reset.

SNDBUF, RCVBUF in the environment: the size of the server's send buffer, of the client's receive buffer; without: as the kernel has it.
"""
import fcntl
import json
import os
import socket
import struct
import sys
import termios
import threading
import time

HEADER_LEN = 64
CHUNK = bytes(1 << 20)
DISCARD = bytearray(1 << 20)

# From struct tcp_info (linux/tcp.h): the fields in question and their places.
FIELDS = {
    "mss": ("I", 16), "srtt_us": ("I", 68), "cwnd": ("I", 80), "retrans": ("I", 100), "bytes_acked": ("Q", 120),
    "bytes_received": ("Q", 128), "segs_out": ("I", 136), "segs_in": ("I", 140), "min_rtt_us": ("I", 148),
    "delivery_rate": ("Q", 160), "busy_us": ("Q", 168), "rwnd_limited_us": ("Q", 176), "sndbuf_limited_us": ("Q", 184),
    "delivered_ce": ("I", 196), "bytes_retrans": ("Q", 208), "dsack_dups": ("I", 216), "reord_seen": ("I", 220),
    "rcv_ooopack": ("I", 224),
}

CLOCK_MONOTONIC_COARSE = 6  # it goes by the kernel's ticks


def tcp_info(connection):
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return {name: struct.unpack_from(kind, info, at)[0] for name, (kind, at) in FIELDS.items()}


def send(connection, count):
    view = memoryview(CHUNK)
    while count:
        count -= connection.send(view[:count])


def receive(connection, count=None):
    """Receive and throw away count bytes, or all until the peer ends it: returns how it did."""
    try:
        while count is None or count:
            received = connection.recv_into(DISCARD, min(count or len(DISCARD), len(DISCARD)), socket.MSG_TRUNC)
            if not received:
                return "close"
            count = count and count - received
    except ConnectionResetError:
        return "reset"
    return None


def wait_until_acknowledged(connection):
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:
        time.sleep(0.001)


def reset(connection):
    """Linger on, for 0 seconds: close() sends RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def size_buffer(connection, which):
    if which in os.environ:
        connection.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_" + which), int(os.environ[which]))


def treat(connection, client):
    size_buffer(connection, "SNDBUF")
    up, down, end = connection.recv(HEADER_LEN, socket.MSG_WAITALL).split()
    receive(connection, int(up) - HEADER_LEN)
    send(connection, int(down))
    if end == b"client":
        receive(connection)
    wait_until_acknowledged(connection)
    tick_us = round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1000000)
    line = json.dumps({"sport": client[1], "tick_us": tick_us, **tcp_info(connection)}) + "\n"
    os.write(sys.stdout.fileno(), line.encode())
    if end == b"server-reset":
        reset(connection)
    elif end == b"client-reset":
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as word:
            word.sendto(b"asked", client)
        receive(connection)
    connection.close()


def serve(port):
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128) as server:
        while True:
            connection, client = server.accept()
            threading.Thread(target=treat, args=(connection, client), daemon=True).start()


def connect(address, port, up, down, end):
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    size_buffer(connection, "RCVBUF")
    connection.connect((address, int(port)))
    word = socket.socket(connection.family, socket.SOCK_DGRAM)
    word.bind(connection.getsockname())
    word.settimeout(30)
    print(connection.getsockname()[1], flush=True)
    connection.send(f"{up} {down} {end}".encode().ljust(HEADER_LEN))
    send(connection, int(up) - HEADER_LEN)
    receive(connection, int(down))
    if end == "client-reset":
        word.recv(16)  # the server has asked: a reset socket knows nothing
        reset(connection)
    elif end != "client":
        receive(connection)
    connection.close()


if __name__ == "__main__":
    verbs = {"serve": serve, "connect": connect}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
