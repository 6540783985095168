# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The package and its units under a real systemd.

.PHONY: test-systemd

test-systemd: ## test the package and its units on a machine with systemd, in a container that boots (root)
	@scripts/deps --quiet build run test package systemd
	@$(MAKE) --no-print-directory all
	@tests/run tests/systemd/*.bats
