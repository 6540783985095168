# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Other releases of Debian, on this kernel.

.PHONY: test-distros

test-distros: ## type `make demo` and `make test` in minimal roots of Debian 12, 13 and sid, try their objects in Debian's kernels; SUITES='trixie' tries some (root)
	@scripts/deps --quiet build run test kernels distros
	@tests/distros/run $(SUITES)
