# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Put everything in its place, and take it away again. The command finds its libraries from where it is itself, so what is
# installed may be moved as a whole: that is how `make dist` and the tests use it.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
DOCDIR ?= $(DATADIR)/doc/netracker
UNITDIR ?= $(PREFIX)/lib/systemd/system
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
COMPLETIONDIR ?= $(DATADIR)/bash-completion/completions
PYTHONDIR ?= $(LIBDIR)/python3/dist-packages

# All that is the tracker's alone: objects, libraries, version.
OWNDIR = $(LIBDIR)/netracker
UNITS = $(notdir $(wildcard contrib/systemd/*))
relative = $(shell realpath --canonicalize-missing --relative-to='$(1)' '$(2)')
FROM_BIN_TO_OWN = $(call relative,$(BINDIR),$(OWNDIR))

.PHONY: install install-built uninstall

install: all ## install under PREFIX (/usr/local); DESTDIR, BINDIR, LIBDIR, DATADIR, MANDIR, DOCDIR, UNITDIR, UDEVDIR, COMPLETIONDIR, PYTHONDIR are heeded
	@$(MAKE) --no-print-directory install-built

install-built:
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(PYTHONDIR)'
	install -d '$(DESTDIR)$(OWNDIR)/tracker' '$(DESTDIR)$(OWNDIR)/view' '$(DESTDIR)$(OWNDIR)/no-btf' '$(DESTDIR)$(MANDIR)/man8' '$(DESTDIR)$(COMPLETIONDIR)' '$(DESTDIR)$(DOCDIR)/docs'
	install -m 644 VERSION NeTracker.bpf.o scripts/lib/* '$(DESTDIR)$(OWNDIR)/'
	install -m 644 tracker/*.bpf.o '$(DESTDIR)$(OWNDIR)/tracker/'
	install -m 644 view/*.bpf.o '$(DESTDIR)$(OWNDIR)/view/'
	install -m 644 no-btf/*.bpf.o '$(DESTDIR)$(OWNDIR)/no-btf/'
	sed 's|^LIBDIR=$$|LIBDIR=$$(realpath -- "$$(dirname -- "$$(readlink -f -- "$${BASH_SOURCE[0]}")")/$(FROM_BIN_TO_OWN)")|' \
		scripts/netracker >'$(DESTDIR)$(BINDIR)/netracker'
	sed 's|^MODULES = ""|MODULES = "$(call relative,$(BINDIR),$(PYTHONDIR))"|' scripts/netracker-bcc >'$(DESTDIR)$(BINDIR)/netracker-bcc'
	chmod 755 '$(DESTDIR)$(BINDIR)/netracker' '$(DESTDIR)$(BINDIR)/netracker-bcc'
	sed 's|^_OWN_DIR = ""|_OWN_DIR = "$(call relative,$(PYTHONDIR),$(OWNDIR))"|; s|^_COMMAND = ""|_COMMAND = "$(call relative,$(PYTHONDIR),$(BINDIR)/netracker)"|' \
		scripts/netracker.py >'$(DESTDIR)$(PYTHONDIR)/netracker.py'
	chmod 644 '$(DESTDIR)$(PYTHONDIR)/netracker.py'
	install -m 644 man/netracker.8 man/netracker-bcc.8 '$(DESTDIR)$(MANDIR)/man8/'
	install -m 644 scripts/completion/netracker.bash '$(DESTDIR)$(COMPLETIONDIR)/netracker'
	install -m 644 scripts/completion/netracker-bcc.bash '$(DESTDIR)$(COMPLETIONDIR)/netracker-bcc'
	for unit in $(UNITS); do \
		sed 's|=\(:*\)netracker |=\1$(BINDIR)/netracker |' "contrib/systemd/$$unit" >'$(DESTDIR)$(UNITDIR)'/"$$unit" && \
		chmod 644 '$(DESTDIR)$(UNITDIR)'/"$$unit" || exit; \
	done
	install -D -m 644 --target-directory='$(DESTDIR)$(UDEVDIR)' contrib/udev/90-netracker.rules
	install -m 644 README.md CHANGELOG.md LICENSE NeTracker.h '$(DESTDIR)$(DOCDIR)/'
	install -D -m 644 --target-directory='$(DESTDIR)$(DOCDIR)/tracker' tracker/tables.h
	cp -R docs contrib LICENSES '$(DESTDIR)$(DOCDIR)/'
	chmod -R u=rwX,go=rX '$(DESTDIR)$(DOCDIR)'

# With the command goes the means to detach; so that comes first.
uninstall: ## remove what `make install` installed, with the same variables
	@if [ -z '$(DESTDIR)' ] && [ -e /sys/fs/bpf/tc/globals/nt_config ]; then \
		echo "uninstall: the tracker is attached; 'netracker detach --all' comes first" >&2; exit 1; \
	fi
	rm -f $(foreach name,netracker netracker-bcc,'$(DESTDIR)$(BINDIR)/$(name)' '$(DESTDIR)$(MANDIR)/man8/$(name).8' '$(DESTDIR)$(COMPLETIONDIR)/$(name)')
	rm -f '$(DESTDIR)$(PYTHONDIR)/netracker.py' '$(DESTDIR)$(PYTHONDIR)'/__pycache__/netracker.*.pyc
	rm -f $(foreach unit,$(UNITS),'$(DESTDIR)$(UNITDIR)/$(unit)') '$(DESTDIR)$(UDEVDIR)/90-netracker.rules'
	rm -rf '$(DESTDIR)$(OWNDIR)' '$(DESTDIR)$(DOCDIR)'
