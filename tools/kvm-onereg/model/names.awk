# SPDX-License-Identifier: GPL-2.0
#
# Names of MSRs and of feature bits, out of headers: awk -f names.awk HEADER... >names.inc
#
# Prints tables for names.c. Where several names have one index or bit, the first of them is the one to print:
# names of a family of CPUs come after the others, the rest as the headers are named.

function number_of_word(text) {
	return match(text, /word [0-9]+/) ? substr(text, RSTART + 5, RLENGTH - 5) + 0 : -1
}

# Position of the bit in a mask, -1 if it has none or several. mawk has no strtonum().
function bit_of(hex, i, n, d, bit) {
	bit = -1
	hex = tolower(substr(hex, 3))
	for (i = length(hex); i > 0; i--) {
		d = index("0123456789abcdef", substr(hex, i, 1)) - 1
		if (d == 0)
			continue
		n = d == 1 ? 0 : d == 2 ? 1 : d == 4 ? 2 : d == 8 ? 3 : -1
		if (n < 0 || bit >= 0)
			return -1
		bit = (length(hex) - i) * 4 + n
	}
	return bit
}

function entry(table, where, name) {
	tables[table] = tables[table] "\t{ " where ", \"" name "\" },\n"
}

function msr(name, value, plain) {
	known[name] = value
	plain = name
	sub(/^MSR_/, "", plain)
	entry(plain ~ /^(P[0-9]|K[0-9]|KNC|IDT|ATOM|GEODE|AMD64)_/ ? "late" : "msrs", value, plain)
}

FNR == 1 {
	file = FILENAME
	sub(/.*\//, "", file)
	in_xfeature = 0
	delete word
}

{ gsub(/\t/, " ") }

# Bits are in decimal, or expressions of them: what is in hexadecimal is an MSR, but for the masks called RSVD.
$1 == "#define" && $2 ~ /^(MSR|HV_X64_MSR)_[A-Za-z0-9_]+$/ && $2 !~ /_RSVD$/ {
	if ($3 ~ /^0[xX][0-9a-fA-F]+$/)
		msr($2, $3)
	else if ($3 in known)
		msr($2, known[$3])
	else if (match($0, /\([A-Z0-9_]+ \+ [0-9]+\)/)) {
		split(substr($0, RSTART + 1, RLENGTH - 2), sum, / \+ /)
		if (sum[1] in known)
			msr($2, known[sum[1]] " + " sum[2])
	} else if ($3 ~ /^MSR_[A-Z0-9_]+$/)
		alias[aliases++] = $2 " " $3
}

# Mainline's, and those that only kvm-onereg has
file == "kvm_onereg.h" && $1 == "#define" && match($2, /^KVM_(ONEREG_)?REG_/) {
	entry("kvm_registers", $3, substr($2, RLENGTH + 1))
}
$1 == "#define" && $2 ~ /^KVM_FEATURE_/ && $3 ~ /^[0-9]+$/ { entry("cpuid_bits", "0x40000001, 0, EAX, " $3, $2) }

# The comment above a word tells where the CPU shows it; words of Linux's own have no "CPUID level 0x...".
file == "cpufeatures.h" && /^[\/ ]\*.*CPUID level 0x[0-9a-fA-F]+/ && number_of_word($0) >= 0 {
	match($0, /0x[0-9a-fA-F]+/)
	leaf = substr($0, RSTART, RLENGTH)
	after = substr($0, RSTART + RLENGTH)
	subleaf = match(after, /^:[0-9]+/) ? substr(after, 2, RLENGTH - 1) : 0
	# Those without a register are the oldest words
	register = match(after, /E[ABCD]X/) ? substr(after, RSTART, RLENGTH) : "EDX"
	words[number_of_word($0)] = "cpuid_bits"
	word[number_of_word($0)] = leaf ", " subleaf ", " register ", "
}
file == "vmxfeatures.h" && /-Execution Controls/ && number_of_word($0) >= 0 {
	words[number_of_word($0)] = "msr_bits"
	word[number_of_word($0)] = (/Pin/ ? "PINBASED" : /Primary/ ? "PROCBASED" : /Secondary/ ? "PROCBASED2" : "PROCBASED3") " << 8 | "
}
$1 == "#define" && $2 ~ /^(X86|VMX)_FEATURE_/ && match($0, /\( *[0-9]+\*32 *\+ *[0-9]+\)/) {
	split(substr($0, RSTART + 1, RLENGTH - 2), place, /\*32 *\+/)
	name = $2
	sub(/^[A-Z0-9]*_FEATURE_/, "", name)
	# Linux keeps other things in the upper half of the word of the pin-based controls
	if (place[1] + 0 in word && !(word[place[1] + 0] ~ /PINBASED/ && place[2] > 15))
		entry(words[place[1] + 0], word[place[1] + 0] place[2] + 0, name)
}
file == "vmx.h" && $1 == "#define" && $2 ~ /^VM_(EXIT|ENTRY)_/ && $3 ~ /^0x/ && bit_of($3) >= 0 {
	entry("msr_bits", ($2 ~ /EXIT/ ? "EXIT" : "ENTRY") " << 8 | " bit_of($3), substr($2, 4))
}

$1 == "#define" && $2 ~ /^ARCH_CAP_/ && match($3, /^BIT(_ULL)?\([0-9]+\)/) {
	match($3, /[0-9]+/)
	entry("msr_bits", "ARCH_CAPABILITIES << 8 | " substr($3, RSTART, RLENGTH), substr($2, 10))
}

/^enum xfeature / { in_xfeature = 1; bit = 0 }
in_xfeature && /^ XFEATURE_[A-Za-z0-9_]+,/ {
	name = substr($1, 10, length($1) - 10)
	if (name == "MAX")
		in_xfeature = 0
	sub(/_UNIMPLEMENTED.*|_UNUSED$/, "", name)
	if (in_xfeature && name !~ /^RSRVD/)
		entry("xfeatures", bit, name)
	bit++
}

END {
	# Those that stand before what they are the same as
	for (i = 0; i < aliases; i++) {
		split(alias[i], pair, " ")
		if (pair[2] in known)
			entry("late", known[pair[2]], substr(pair[1], 5))
	}
	tables["msrs"] = tables["msrs"] tables["late"]
	n = split("msrs kvm_registers xfeatures msr_bits cpuid_bits", names, " ")
	for (i = 1; i <= n; i++)
		printf "static const struct %s %s[] = {\n%s};\n", names[i] == "cpuid_bits" ? "cpuid_bit" : "name", names[i], tables[names[i]]
}
