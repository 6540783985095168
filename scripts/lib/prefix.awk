# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Fails unless NT_ADDR is an address or a prefix. Needs address.awk.

BEGIN {
	exit !parse_prefix(ENVIRON["NT_ADDR"])
}
