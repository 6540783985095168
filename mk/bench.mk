# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What is claimed, measured.

.PHONY: bench bench-docs scale soak clean-bench

bench: ## measure speed, scale and accuracy, beside what one would use instead: 12 minutes; PARTS='packets rate …' runs a part, BASE=COMMIT is the release to measure beside (root)
	@scripts/deps --quiet build run test bench
	@$(MAKE) --no-print-directory all bench/empty.bpf.o bench/packets
	@BASE='$(BASE)' bench/run $(PARTS)

scale: ## measure each verb where there is much of something: connections, interfaces, namespaces; 5 minutes; CASES='live interfaces …' does some (root)
	@scripts/deps --quiet build run test bench
	@$(MAKE) --no-print-directory all bench/empty.bpf.o bench/packets
	@bench/scale $(CASES)

bench-docs: ## put the tables of bench/results.json and bench/scale.json into docs/performance.md
	@bench/docs

soak: ## everything on at once for SOAK_SECONDS (3600): every connection accounted for and compared with nginx, memory flat (root)
	@scripts/deps --quiet build run test bench
	@$(MAKE) --no-print-directory all
	@bench/soak $(SOAK_SECONDS)

bench/packets: bench/packets.c
	$(CLANG) -O2 -Wall -Wextra -Werror -o $@ $< -lbpf

clean: clean-bench
clean-bench:
	rm -f bench/packets bench/*.bpf.o bench/*.bpf.d
