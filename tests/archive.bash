# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Where what is tried on other releases of Debian comes from: this machine's own archive.

codename() {
	sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
}

# archive: where this machine gets its own suite's "main" from, in either form of apt's sources; nothing if it is no Debian.
archive() {
	{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true; } | awk -v suite="$(codename)" '
		/^deb / { sub(/\[[^]]*\] */, ""); if ($3 == suite) uri = uri ? uri : $2 }
		/^URIs:/ { uris = $2 }
		/^Suites:/ { for (i = 2; i <= NF; i++) if ($i == suite && !uri) uri = uris }
		END { print uri }'
}
