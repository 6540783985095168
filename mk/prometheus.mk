# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

.PHONY: test-prometheus
test-prometheus: ## test the metrics with a real Prometheus, its alerts and the dashboard, and the log's way through a fleet into a table (root)
	@scripts/deps --quiet build run test prometheus
	@$(MAKE) --no-print-directory all
	@tests/run tests/prometheus/*.bats
