# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Fails unless NT_ADDR is an address or a prefix. Needs address.awk.

BEGIN {
	n = split(ENVIRON["NT_ADDR"], part, "/")
	if (n > 2 || address_digits(part[1]) == "")
		exit 1
	exit n == 2 && (part[2] !~ /^[0-9]+$/ || part[2] + 0 > (part[1] ~ /:/ ? 128 : 32))
}
