#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# src/one_reg.c and src/synthetic.c behave as the ABI says, in user space under the sanitizers (see one_reg.c), and the
# table of registers is valid.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

unit=$top/tests/unit
# The kernel's dialect of C takes the addresses of members through user pointers that are null or not aligned.
flags="-std=gnu11 -O2 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize=alignment,null
	-fno-sanitize-recover=all -I$unit/stubs -I$top/src -I$top/include/uapi"
export ASAN_OPTIONS=detect_leaks=0

echo 'int main(void) { return 0; }' >"$tmp/probe.c"
{ gcc -fsanitize=address,undefined "$tmp/probe.c" -o "$tmp/probe" 2>/dev/null && "$tmp/probe"; } ||
	skip_all "gcc with the sanitizers' libraries is needed"

# build_with N: build with N made-up registers in the table; for -1, with the real table.
# shellcheck disable=SC2317 # ok and not_ok call it
build_with() {
	local n=$1 i
	cp "$top/src/synthetic.c" "$tmp/synthetic.c"
	if [ "$n" -gt 0 ]; then
		for ((i = 0; i < n; i++)); do
			echo "{ .id = TABLE_ID($i), .msr = TABLE_MSR($i), .exists = has_$i },"
		done >"$tmp/entries"
		# Replace the entries of the table.
		awk -v entries="$tmp/entries" '
			BEGIN { print "#include \"table.h\"" }
			!skip || /^};$/ { print; skip = 0 }
			/registers\[\] = {$/ { while ((getline line <entries) > 0) print line; skip = 1 }
		' "$top/src/synthetic.c" >"$tmp/synthetic.c"
	fi
	# shellcheck disable=SC2086 # a list
	gcc $flags -Wno-unused-function -DREGISTERS="$n" "$unit/one_reg.c" "$top/src/one_reg.c" "$tmp/synthetic.c" \
		-o "$tmp/one_reg.$n"
}

for n in -1 1 3; do
	name="$n registers"
	[ "$n" != -1 ] || name="the table as it is"
	ok "builds, $name" build_with "$n" || continue
	"$tmp/one_reg.$n" >"$tmp/log" 2>&1
	status=$?
	while read -r verdict text; do
		case $verdict in
		pass) ok "$name: $text" true ;;
		fail) is "$name: ${text%%: *}" "${text#*: }" "" ;;
		*) diag "$verdict $text" ;;
		esac
	done < <(awk '!seen[$0]++' "$tmp/log")
	is "$name: the program runs to its end" $status 0
done

# The real table: conditions that each entry must meet.
cat >"$tmp/table.c" <<'END'
#include "synthetic.c"
#include <stdio.h>
int main(void)
{
	size_t i, j;
	int bad = 0;

	for (i = 0; i < ARRAY_SIZE(registers); i++) {
		u64 id = registers[i].id;
		u32 index = (u32)id;

#define MUST(condition, text) do { if (!(condition)) { printf("%#llx: " text "\n", id); bad = 1; } } while (0)
		MUST(id >> 32 == 0x20300003, "no 64-bit KVM-defined register");
		MUST(index < 0xff000000, "the range of local experiments");
		MUST(index >= 0x80000000 || index == KVM_REG_GUEST_SSP, "mainline's range, not mainline's register");
		MUST(id == KVM_X86_REG_KVM(index), "not the id that the header's builder gives");
		MUST(registers[i].exists, "no exists()");
		for (j = 0; j < i; j++) {
			MUST(registers[j].id != id, "twice in the table");
			MUST(registers[j].msr != registers[i].msr, "its MSR serves another register, too");
		}
	}
	return bad;
}
bool has_0(struct kvm_vcpu *vcpu) { return vcpu != NULL; }
bool kvm_cpu_cap_has(unsigned int feature) { return feature; }
bool guest_cpuid_has(struct kvm_vcpu *vcpu, unsigned int feature) { return vcpu && feature; }
END
# shellcheck disable=SC2317 # ok and not_ok call it
check_table() { # ENTRY...: check the table with these entries added
	printf '{ .exists = has_0, %s },\n' "$@" >"$tmp/entries"
	[ $# -gt 0 ] || : >"$tmp/entries"
	sed -e '/registers\[\] = {$/r '"$tmp/entries" -e '1i #include "table.h"' "$top/src/synthetic.c" \
		>"$tmp/synthetic.c"
	# shellcheck disable=SC2086 # a list
	gcc $flags -Wno-type-limits -I"$tmp" "$tmp/table.c" -o "$tmp/table" && "$tmp/table"
}
ok "table: every entry is a register of this release" check_table
not_ok "table: a local register is refused" 1 check_table '.id = 0x20300003ff000000, .msr = 1'
like "... for that reason" "$output" 'local experiments'
not_ok "table: a register in mainline's range is refused" 1 check_table '.id = 0x2030000300000005, .msr = 1'
like "... for that reason" "$output" "mainline's range"
not_ok "table: an id of another kind is refused" 1 check_table '.id = 0x2020000300000000, .msr = 1'
like "... for that reason" "$output" 'no 64-bit'
not_ok "table: an id that appears twice is refused" 1 check_table '.id = 0x2030000300000000, .msr = 1'
like "... for that reason" "$output" 'twice'

done_testing
