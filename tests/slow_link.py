#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A link between two network namespaces on which each packet takes its time.

slow_link.py MS NETNS INTERFACE NETNS INTERFACE

Makes a tun interface in each of the two namespaces, which are files, prints a line when both are there, and carries packets from one to
the other, MS milliseconds each way, until it is killed; then they are gone.
"""
import collections
import ctypes
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
CLONE_NEWNET = 0x40000000
LONGEST = 65536

libc = ctypes.CDLL(None, use_errno=True)


def enter(netns):
    with open(netns) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"{netns}: {os.strerror(ctypes.get_errno())}")


def tun(netns, interface):
    """A descriptor of the interface: what it sends is read there, what it is to receive is written."""
    enter(netns)
    link = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(link, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN | IFF_NO_PI))
    return link


def take(link, way, due):
    """All that the interface has sent by now goes on its way, and is due then."""
    while True:
        try:
            way.append((due, os.read(link, LONGEST)))
        except BlockingIOError:
            return


def give(link, packet):
    try:
        os.write(link, packet)
    except OSError:
        pass  # it is down: a packet that arrives there is lost


def main(ms, *places):
    links = [tun(*places[:2]), tun(*places[2:])]
    print("ready", flush=True)
    ways = {links[0]: collections.deque(), links[1]: collections.deque()}  # by where they begin
    while True:
        dues = [way[0][0] for way in ways.values() if way]
        sent = select.select(links, [], [], max(min(dues) - time.monotonic(), 0) if dues else None)[0]
        now = time.monotonic()
        for link in sent:
            take(link, ways[link], now + float(ms) / 1000)
        for begin, end in (links, links[::-1]):
            while ways[begin] and ways[begin][0][0] <= now:
                give(end, ways[begin].popleft()[1])


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
