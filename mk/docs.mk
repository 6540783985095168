# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What the documents show of the program, made by the program.

.PHONY: pictures
pictures: ## draw the documents' pictures anew, docs/pictures, from real runs; PICTURES='top services' some of them (root)
	@scripts/deps --quiet build run demo picture prometheus
	@$(MAKE) --no-print-directory all
	@scripts/pictures/draw $(PICTURES)
