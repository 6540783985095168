#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""tcx.py PROGRAM IFINDEX ingress|egress: hang a pinned program on an interface without a filter, until killed.

TCX is of Linux 6.6; the bpftool of many distributions does not know it. Prints a line when the program hangs there.
"""
import signal
import sys

from bpf import attach_tcx, pinned

link = attach_tcx(pinned(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
print("attached", flush=True)
signal.pause()
