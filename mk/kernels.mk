# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Debian's kernels under qemu.

.PHONY: test-kernels

test-kernels: ## try the tracker in Debian's kernels, oldest to newest, under qemu; SUITES='bookworm sid' tries some
	@scripts/deps --quiet build run test kernels
	@$(MAKE) --no-print-directory all
	@tests/kernels/run $(SUITES)
