# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The stats files of a trace instance's CPUs, with -F ': *', to ENTRIES BYTES LOST, summed over the CPUs.

$1 == "entries" { entries += $2 }
$1 == "bytes" { bytes += $2 }
$1 == "overrun" || $1 == "dropped events" { lost += $2 }

# mawk's print, and its %d, have no whole numbers from 2^31 on.
END { printf "%.0f %.0f %.0f\n", entries, bytes, lost }
