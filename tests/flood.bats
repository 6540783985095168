#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# A SYN flood takes no connection away.

load helpers
load wire/wire

@test "1,000 connections outlive 1,000,000 SYNs from 60,000 sources, and each is recorded once" {
	# Not the flood's own records: they are many more than the trace holds.
	echo "bpf_string ~ \"netracker: $CLIENT4:*\"" >"$TRACE/events/bpf_trace/bpf_trace_printk/filter"
	wire python3 "$ROOT/tests/wire/flood.py" "$TRACE/trace" 1000 1000000 60000
}
