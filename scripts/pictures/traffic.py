#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A server's traffic, for pictures of it: each process has the name that it is given.

traffic.py NAME serve PORT [reset|think]   answer each request of "LENGTH\\n" with so many bytes; `think`: after a while, now and then
                                           after a long one; `reset`: now and then close with what has come unread
traffic.py NAME ask SECONDS ADDRESS PORT RATE LENGTH   RATE connections a second, more and fewer as the minutes go, each with such a request
traffic.py NAME send SECONDS ADDRESS PORT BYTES        one connection that carries so many bytes a second
"""
import ctypes
import math
import random
import socket
import sys
import threading
import time

PR_SET_NAME = 15  # include/uapi/linux/prctl.h
WAVE_SECONDS = 45


def answer(connection, way):
    with connection:
        if way == "reset" and random.random() < 0.4:
            time.sleep(0.05)
            return
        request = connection.makefile("rb").readline(16)
        if way == "think":
            time.sleep(random.choice((0.002, 0.005, 0.01, 0.02, 0.04, 0.3)))
        if request.strip().isdigit():
            connection.sendall(bytes(int(request)))
        while connection.recv(1 << 16):
            pass


def serve(port, way=""):
    listener = socket.create_server(("", int(port)), backlog=256)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, way), daemon=True).start()


def ask_once(address, port, length):
    try:
        with socket.create_connection((address, port), 2) as connection:
            connection.sendall(b"%d\n" % random.randint(length // 2, length))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
    except OSError:
        pass


def ask(seconds, address, port, rate, length):
    start = time.monotonic()
    while (passed := time.monotonic() - start) < float(seconds):
        threading.Thread(target=ask_once, args=(address, int(port), int(length)), daemon=True).start()
        now = float(rate) * (1 + 0.6 * math.sin(passed / WAVE_SECONDS * math.tau))
        time.sleep(random.expovariate(now))


def send(seconds, address, port, size):
    end = time.monotonic() + float(seconds)
    with socket.create_connection((address, int(port))) as connection:
        while time.monotonic() < end:
            connection.sendall(bytes(int(size) // 10))
            time.sleep(0.1)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    ctypes.CDLL(None).prctl(PR_SET_NAME, sys.argv[1].encode())
    {"serve": serve, "ask": ask, "send": send}[sys.argv[2]](*sys.argv[3:])


if __name__ == "__main__":
    main()
