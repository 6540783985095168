# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the documents show of the program, made by the program.

.PHONY: picture
picture: ## draw docs/terminal.svg, the README's picture of a terminal, anew (root)
	@scripts/deps --quiet build run demo picture
	@$(MAKE) --no-print-directory all
	@scripts/picture docs/terminal.svg
