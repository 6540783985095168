#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""verified.py VIEW: print how many instructions the verifier went through until it took the program of a pinned view."""
import sys

from bpf import fact, pinned, program

link = pinned(sys.argv[1])
print(fact(program(int(fact(link, "prog_id"))), "verified_insns"))
