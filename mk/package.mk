# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# What goes to other machines, into build/. Both are the same, byte for byte, whoever builds them from the same sources with the
# same compiler.

VERSION = $(shell cat VERSION)
DIST = build/netracker-$(VERSION).tar.gz

# The date of all files in them; dpkg-buildpackage takes the same.
SOURCE_DATE_EPOCH ?= $(shell date +%s --date="$$(sed -n 's/^ -- .*>  //p' debian/changelog | head -1)")

.PHONY: deb dist clean-build

# In a copy of what is under version control, so that nothing else gets into the package.
deb: ## build the Debian packages, build/netracker_*.deb and netracker-bcc_*.deb; the machine that installs them needs no compiler
	@scripts/deps --quiet build package
	rm -rf build/deb
	mkdir -p build/deb/netracker
	git -c safe.directory='$(CURDIR)' ls-files -z | tar -c --null --files-from=- | tar -x -C build/deb/netracker
	cd build/deb/netracker && SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) dpkg-buildpackage --build=binary --no-sign
	mv build/deb/netracker_* build/deb/netracker-bcc_* build/
	rm -rf build/deb

dist: all ## build a tarball for other systems, build/netracker-*.tar.gz, with the objects and a checksum: unpack it in /usr/local
	rm -rf build/dist
	mkdir -p build/dist
	@$(MAKE) --no-print-directory install-built DESTDIR='$(CURDIR)/build/dist' PREFIX=/usr/local
	tar -c -C build/dist/usr/local --transform='s|^\.|netracker-$(VERSION)|' --sort=name --mtime=@$(SOURCE_DATE_EPOCH) \
		--owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=gnu . | gzip -9n >$(DIST)
	cd build && sha256sum $(notdir $(DIST)) >$(notdir $(DIST)).sha256
	rm -rf build/dist

clean: clean-build
clean-build:
	rm -rf build
