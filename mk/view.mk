# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The view that tells the version.

view/metrics.bpf.o: VERSION
view/metrics.bpf.o: private BPF_CFLAGS += -DVERSION='"$(shell cat VERSION)"'
