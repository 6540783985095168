# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# `make help` lists the targets. Parts with targets of their own are mk/*.mk.

CLANG ?= clang
LLVM_STRIP ?= llvm-strip

# The directory of asm/types.h, which clang does not search when it compiles for the bpf target.
BPF_CFLAGS = -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -I/usr/include/$(shell uname -m)-linux-gnu
# No path of the machine that builds is in the objects, so that everybody who builds gets the same ones.
BPF_CFLAGS += -fdebug-compilation-dir=.
BPF_CFLAGS += $(if $(MAX_CONNECTIONS),-DMAX_CONNECTIONS=$(MAX_CONNECTIONS))
BPF_CFLAGS += $(if $(LOG_RECORDS),-DLOG_RECORDS=$(LOG_RECORDS))

LOG_SIZES = 64 128 256 512 1024 2048 4096 8192 16384 32768 65536 131072 262144 524288 1048576 2097152 4194304
ifneq ($(LOG_RECORDS),$(firstword $(filter $(LOG_SIZES),$(LOG_RECORDS))))
$(error LOG_RECORDS=$(LOG_RECORDS): the log holds so many records; it has to be a power of two from 64 to 4194304)
endif

# The tracker once more, for kernels without BTF. tc names filters by their object's file, so it has the same name.
WITHOUT_BTF = no-btf/NeTracker.bpf.o
BPF_OBJECTS = $(patsubst %.c,%.o,$(wildcard *.bpf.c tracker/*.bpf.c view/*.bpf.c)) $(WITHOUT_BTF)

.PHONY: all deps demo run check test test-beside lint clean help FORCE
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

all: $(BPF_OBJECTS) scripts/lib/tables.tsv ## build the BPF objects; MAX_CONNECTIONS=N sets the size of the connection table, LOG_RECORDS=N (a power of two) that of the log

# llvm-strip -g takes DWARF away and leaves BTF. The move replaces what root may have built in a user's tree.
%.bpf.o: %.bpf.c .bpf-flags
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $*.bpf.d -c $< -o $@.new
	$(LLVM_STRIP) -g $@.new
	mv -f $@.new $@

# Newer compilers call a function of the kernel where they see no way on, and only BTF says whether it is there.
$(WITHOUT_BTF): NeTracker.bpf.c .bpf-flags
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -DWITHOUT_KERNEL_TYPES $(shell $(CLANG) -target bpf -mllvm -bpf-disable-trap-unreachable -c -x c /dev/null -o /dev/null 2>/dev/null && echo -mllvm -bpf-disable-trap-unreachable) \
		-MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@.new
	$(LLVM_STRIP) -g $@.new
	mv -f $@.new $@

# What the shell's programs have to know of tracker/tables.h.
scripts/lib/tables.tsv: tracker/tables.tsv.in tracker/tables.h NeTracker.h
	$(CLANG) $(BPF_CFLAGS) -E -P -x c $< | awk 'BEGIN { RS = "@"; FS = "\"" } NR > 1 { for (i = 2; i < NF; i += 2) printf "%s%s", $$i, i + 2 < NF ? "\t" : "\n" }' >$@.new
	mv -f $@.new $@

# Changes when the flags do, and only then.
.bpf-flags: FORCE
	@echo '$(CLANG) $(BPF_CFLAGS)' | cmp -s - $@ || { rm -f $@; echo '$(CLANG) $(BPF_CFLAGS)' >$@; }

deps: ## install what is missing to build, run and test (Debian, Ubuntu)
	scripts/deps build run check test

demo: ## see it work: two throw-away namespaces, real HTTP connections, nothing left behind (root)
	@scripts/deps --quiet build run demo
	@$(MAKE) --no-print-directory all
	@scripts/demo

run: ## attach to IFACE (without: the default route's interface) and follow the log until Ctrl-C (root)
	@scripts/deps --quiet build run
	@$(MAKE) --no-print-directory all
	@scripts/run $(if $(IFACE),"$(IFACE)")

check: ## run the tests that need no root and no kernel, in seconds: lint, formatters, documents, the tracker's C on this host
	@scripts/deps --quiet check
	@if [ -w scripts/lib ]; then \
		$(MAKE) --silent --no-print-directory scripts/lib/tables.tsv; \
	elif ! $(MAKE) --question scripts/lib/tables.tsv; then \
		echo "check: scripts/lib belongs to somebody else, who has to run 'make' in this tree first; or clone it" >&2; \
		exit 1; \
	fi
	@NETRACKER_JOBS=$(shell nproc) tests/run tests/check

# Two files of tests at a time, where there are two CPUs and more than one file.
JOBS ?= $(if $(filter-out 1,$(shell nproc)),$(if $(filter -%,$(TESTS))$(filter 1,$(words $(TESTS))),,2))

test: ## run all tests, those of `make check` first; TESTS='tests/raw.bats …' runs a part, JOBS= one file after the other, BESIDE=1 beside other people's work (root)
	@scripts/deps --quiet build run check test
	@$(MAKE) --no-print-directory all
	@NETRACKER_JOBS=$(JOBS) $(if $(BESIDE),tests/beside) tests/run $(TESTS)

test-beside: ## run the tests that share most with other users of the machine while there are some (root)
	@$(MAKE) --no-print-directory test BESIDE=1 TESTS='tests/raw.bats tests/demo.bats tests/privileges.bats tests/metrics.bats'

lint: ## check the shell and C sources: shellcheck; shfmt and clang-format, where they are the agreed versions
	scripts/lint

clean: ## remove what was built
	rm -f $(foreach dir,. tracker view no-btf,$(addprefix $(dir)/,*.bpf.o *.bpf.o.new *.bpf.d)) .bpf-flags scripts/lib/tables.tsv
	[ ! -d no-btf ] || rmdir no-btf

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

-include $(BPF_OBJECTS:.o=.d)
-include $(sort $(wildcard mk/*.mk))
