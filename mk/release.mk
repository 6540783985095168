# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What a release needs.

.PHONY: release-check

release-check: ## all that a release needs, a line for each, and at the end whether it is ready; RELEASE_FULL=1 runs what takes hours, too (root)
	@scripts/deps --quiet build run check test package
	@RELEASE_FULL='$(RELEASE_FULL)' scripts/release-check
