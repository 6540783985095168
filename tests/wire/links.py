# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Ways to put a packet before the tracker's two programs. They belong to the namespace that wire.bash makes."""
import fcntl
import ipaddress
import os
import select
import socket
import struct

from packets import AH, DSTOPTS, ETH_P_8021AD, ETH_P_8021Q, ETH_P_802_EX1, ETH_P_802_EX2, FRAGMENT, HOPOPTS, MAC, ROUTING, ethertype, frame, ip4, ip6
from tracker import wait_until

TRACKED, PEER, TUN = "nt0", "nt1", "tun0"

# The addresses of this run of the tests: helpers.bash. The last two, as originators, look like an EtherType.
NET = int(os.environ["NETRACKER_TEST_NET"])
CLIENT4, SERVER4 = (str(ipaddress.IPv4Address(10 << 24 | NET << 8 | host)) for host in (1, 2))
CLIENT6, SERVER6 = (str(ipaddress.IPv6Address(0x20010DB8 << 96 | NET << 80 | host)) for host in (1, 2))
ETHERTYPE4, ETHERTYPE6 = "8.0.64.1", "2001:db8:86dd::1"


def stay_on_one_cpu():
    """Then send() returns after the tracker has seen the packet, and packets of both directions stay in order."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def packet_socket(interface):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((interface, 0))
    return link


class Dress:
    """What stands around a TCP segment: frame and IP header."""

    def __init__(self, vlans=(), options=b"", extensions=(), length=None, mac=MAC, pad=0):
        self.vlans, self.options, self.extensions, self.length, self.mac, self.pad = vlans, options, extensions, length, mac, pad

    def ip(self, source, destination, segment, fragment=0):
        if len(source) == 4:
            return ip4(source, destination, segment, options=self.options, fragment=fragment, length=self.length)
        # In IPv6 the offset is in the upper 13 bits, M is the lowest one.
        ipv6_fragment = struct.pack("!BHI", 0, (fragment & 0x1FFF) << 3 | fragment >> 13 & 1, 1)
        extensions = self.extensions + (((FRAGMENT, ipv6_fragment),) if fragment else ())
        return ip6(source, destination, segment, extensions=extensions, length=self.length)

    def frame(self, packet, inbound):
        del inbound
        return frame(packet, vlans=self.vlans, mac=self.mac).ljust(self.pad, b"\xff")


class VlanBySender(Dress):
    def frame(self, packet, inbound):
        return frame(packet, vlans=[(ETH_P_8021Q, 7 if inbound else 8)])


class MacLikeLength(Dress):
    """A destination that begins like an IP header with this packet's length in it."""

    def frame(self, packet, inbound):
        del inbound
        if packet[0] >> 4 == 4:
            mac = struct.pack("!BBHH", 0x44, 0, 14 + len(packet), 0)
        else:
            mac = struct.pack("!BBHH", 0x60, 0, 0, 14 + len(packet) - 40)
        return frame(packet, mac=(mac, MAC[1]))


def extension(kind, words=1):
    """An extension header of 8 * words bytes."""
    return kind, struct.pack("!B", words - 1) + b"\1\4".ljust(8 * words - 2, b"\0")


AUTHENTICATION = AH, struct.pack("!BHIIIII", 5, 0, 1, 1, 0, 0, 0) + bytes(4)
ATOMIC_FRAGMENT = FRAGMENT, struct.pack("!BHI", 0, 0, 1)
QINQ = (ETH_P_8021AD, 7), (ETH_P_8021Q, 8)

DRESSES = {
    "plain": Dress(),
    "vlan": Dress(vlans=[(ETH_P_8021Q, 7)]),
    "vlan-by-sender": VlanBySender(),
    "qinq": Dress(vlans=QINQ),
    "three-tags": Dress(vlans=((ETH_P_8021AD, 6),) + QINQ),
    "hop-by-hop": Dress(extensions=(extension(HOPOPTS),)),
    "routing": Dress(extensions=(extension(ROUTING, 3),)),
    "destination": Dress(extensions=(extension(DSTOPTS, 2),)),
    "ah": Dress(extensions=(AUTHENTICATION,)),
    "atomic-fragment": Dress(extensions=(ATOMIC_FRAGMENT,)),
    "long": Dress(extensions=(extension(DSTOPTS, 32),)),
    "chain": Dress(extensions=(extension(HOPOPTS), extension(DSTOPTS), extension(ROUTING), ATOMIC_FRAGMENT, AUTHENTICATION)),
    "eight": Dress(extensions=(extension(DSTOPTS),) * 8),
    "padded": Dress(pad=100),
    "length-0": Dress(length=0),
    "mac-like-ip": Dress(mac=(bytes.fromhex("450000000001"), bytes.fromhex("600000000001"))),
    "mac-like-ip-and-length": MacLikeLength(),
    **{f"options-{words}": Dress(options=b"\1" * 4 * words) for words in range(1, 11)},
}


class Veth:
    """What comes in is sent by the pair's other end."""

    def __init__(self, dress=DRESSES["plain"]):
        self.dress, self.arrives, self.leaves = dress, packet_socket(PEER), packet_socket(TRACKED)

    def send(self, inbound, packet):
        self.send_frame(inbound, self.dress.frame(packet, inbound))

    def send_frame(self, inbound, data):
        (self.arrives if inbound else self.leaves).send(data)

    def flush(self):
        """Something that is not IP, on which the tracker obeys config.flush."""
        self.send_frame(True, frame(bytes(46), proto=ETH_P_802_EX1))


class Loopback:
    """Every packet passes egress, then ingress."""

    def __init__(self):
        self.link = packet_socket("lo")

    def send(self, inbound, packet):
        del inbound
        self.link.send(frame(packet, mac=(bytes(6), bytes(6))))


class Tun:
    """No Ethernet header."""

    TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

    def __init__(self):
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.fd, self.TUNSETIFF, struct.pack("16sH22x", TUN.encode(), self.IFF_TUN | self.IFF_NO_PI))
        self.leaves = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        # Until the kernel has noticed that it is plugged in, what leaves is thrown away.
        if not wait_until(self.is_passed, 10):
            raise TimeoutError(f"{TUN}: nothing that leaves comes out after 10 s")
        while self.is_readable():
            os.read(self.fd, 65536)

    def is_passed(self):
        self.leaves.sendto(b"\0", (TUN, ETH_P_802_EX2))
        return self.is_readable()

    def is_readable(self):
        return bool(select.select([self.fd], [], [], 0.05)[0])

    def send(self, inbound, packet):
        if inbound:
            os.write(self.fd, packet)
        else:
            self.leaves.sendto(packet, (TUN, ethertype(packet)))
            os.read(self.fd, 65536)


class Forwarded:
    """Both of a router's interfaces are tracked: what comes in at one goes out of the other."""

    def __init__(self, outside, inside):
        self.outside, self.inside = outside, inside

    def send(self, inbound, packet):
        first, then = (self.outside, self.inside) if inbound else (self.inside, self.outside)
        first.send(True, packet)
        then.send(False, packet)
