# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# C types of an object, C types of a map (bpftool btf dump … format c): fails if a struct of the map is another one in the object.

# The kernel's own; their declarations differ with the headers at hand.
/^struct (bpf_timer|bpf_spin_lock) / { skip = 1 }

FNR == 1 { file++ }
/^struct [a-z_]+ \{/ && !skip { name = $2; text = "" }
name { text = text $0 "\n" }
/^}/ {
	if (name && file == 1)
		object[name] = text
	else if (name && object[name] != text)
		differs = 1
	if (name && file == 2)
		seen++
	name = ""
	skip = 0
}

END { exit differs || !seen }
