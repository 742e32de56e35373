#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The last two steps of a build: src/check-exports accepts only modules with the distro's exports, and src/publish puts
# all modules into the output folder, or none.
# shellcheck disable=SC2016,SC2086 # scripts in quotes; lists
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

check=$top/src/check-exports publish=$top/src/publish
cd "$tmp" || exit 1

# ---- check-exports

symvers() { # MODULE: lines of Module.symvers from lines "CRC SYMBOL KIND NAMESPACE"
	local crc symbol kind space
	while read -r crc symbol kind space; do
		printf '%s\t%s\t%s\t%s\t%s\n' "$crc" "$symbol" "$1" "$kind" "$space"
	done
}
exports='0x11111111 kvm_one EXPORT_SYMBOL_GPL
0x22222222 kvm_two EXPORT_SYMBOL_GPL KVM_SPACE
0x33333333 kvm_three EXPORT_SYMBOL'
distros() {
	symvers arch/x86/kvm/kvm <<<"$exports"
	echo '0x44444444 printk EXPORT_SYMBOL' | symvers vmlinux
	echo '0x55555555 intel_only EXPORT_SYMBOL_GPL' | symvers arch/x86/kvm/kvm-intel
	echo '0x66666666 other EXPORT_SYMBOL_GPL' | symvers drivers/other/kvm
}
distros >distro
for module in kvm /build/x/tree/arch/x86/kvm/kvm arch/x86/kvm/kvm; do
	symvers $module <<<"$exports" >ours
	ok "all equal, module $module" "$check" distro ours
	is "... and the number is printed" "$output" "kvm-onereg: exports: 3 of 3 equal to the distro's"
done
(
	tac ours
	echo '0x77777777 kvm_new EXPORT_SYMBOL_GPL' | symvers kvm
) >longer
ok "another order, and one more export" "$check" distro longer

differs() { # NAME SCRIPT REGEX
	sed "$2" ours >changed
	not_ok "$1" 1 "$check" distro changed
	like "... is named" "$output" "$3"
	like "... and counted" "$output" '2 of 3 equal'
}
differs "a missing export" 2d 'kvm_two: not exported'
differs "another CRC" 's/^0x33333333/0x33333334/' 'kvm_three: CRC 0x33333334, the distro has 0x33333333'
differs "another kind" '1s/_GPL//' 'kvm_one: EXPORT_SYMBOL , the distro has EXPORT_SYMBOL_GPL'
differs "a symbol that is now restricted to GPL" '3s/EXPORT_SYMBOL/&_GPL/' \
	'kvm_three: EXPORT_SYMBOL_GPL , the distro has EXPORT_SYMBOL'
differs "another name space" 's/KVM_SPACE/KVM_OTHER/' \
	'kvm_two: EXPORT_SYMBOL_GPL KVM_OTHER, the distro has EXPORT_SYMBOL_GPL KVM_SPACE'
differs "no name space" 's/KVM_SPACE//' 'kvm_two: EXPORT_SYMBOL_GPL , the distro has EXPORT_SYMBOL_GPL KVM_SPACE'
differs "an export that moved to another module" '1s/kvm\tEX/kvm-intel\tEX/' 'kvm_one: not exported'
differs "no CRC" '1s/^0x1*/0x00000000/' 'kvm_one: CRC 0x00000000'

# A kernel without CONFIG_MODVERSIONS.
for f in distro ours; do sed 's/^0x[0-9]*/0x00000000/' $f >$f-plain; done
ok "no CRCs on both sides" "$check" distro-plain ours-plain
is "... and the line says so" "$output" \
	"kvm-onereg: exports: 3 of 3 equal to the distro's; 3 have no CRC to compare (CONFIG_MODVERSIONS is off)"
not_ok "no CRCs in the distro's only" 1 "$check" distro-plain ours
like "... is a difference" "$output" 'kvm_one: CRC 0x11111111, the distro has 0x00000000'
sed 2d ours-plain >changed
not_ok "a missing export, no CRCs" 1 "$check" distro-plain changed

: >empty
not_ok "our modules have no exports" 1 "$check" distro empty
like "... is reported" "$output" '0 of 3'
not_ok "the distro's list is empty" 1 "$check" empty ours
grep -v arch/x86/kvm/kvm distro >without
not_ok "the distro's list has no exports of kvm.ko" 1 "$check" without ours
like "... is reported" "$output" 'lists no export'
for args in "" "distro" "distro ours ours" "distro absent" "absent ours"; do
	not_ok "wrong usage: '$args'" 2 "$check" $args
done

# ---- publish

modules='kvm.ko kvm-intel.ko kvm-amd.ko'
fresh() {
	rm -rf from to
	mkdir -p from to
	for m in $modules; do echo "new $m" >"from/$m" && echo "old $m" >"to/$m"; done
	echo other >to/other.ko
}
published() (
	cd to && for m in $modules; do [ ! -e $m ] || cat $m; done
	ls -A
)

fresh
ok "modules are published" "$publish" "$tmp/from" "$tmp/to"
is "... all three" "$(published | tr '\n' ' ')" \
	"new kvm.ko new kvm-intel.ko new kvm-amd.ko kvm-amd.ko kvm-intel.ko kvm.ko other.ko "
for m in $modules; do
	fresh
	rm "from/$m"
	not_ok "without $m" 1 "$publish" "$tmp/from" "$tmp/to"
	is "... no module is published, and the old ones are removed" "$(published)" "other.ko"
	fresh
	rm "to/$m" && mkdir "to/$m"
	not_ok "a folder in the place of $m" 1 "$publish" "$tmp/from" "$tmp/to"
	not_ok "... no new module is published" 1 grep -rq new to
done
fresh
mv to 'to [x] y'
ok "a folder with an odd name" "$publish" "$tmp/from" "$tmp/to [x] y"
ok "... gets them" test -s 'to [x] y/kvm-amd.ko'
fresh
rm from/kvm-intel.ko
ok "two of three modules, by name" "$publish" "$tmp/from" "$tmp/to" kvm.ko kvm-amd.ko
like "... the output names them" "$output" "built $tmp/to/kvm.ko, kvm-amd.ko\$"
is "... and no old third module stays" "$(published | tr '\n' ' ')" \
	"new kvm.ko new kvm-amd.ko kvm-amd.ko kvm.ko other.ko "
not_ok "no such folder" 1 "$publish" "$tmp/from" "$tmp/absent"
not_ok "wrong usage" 1 "$publish" "$tmp/from"
fresh
mkdir bin
printf '#!/bin/sh\ncase $1 in */kvm-amd.ko) head -c 2 "$1" >"$2"; echo "cp: No space left on device" >&2; exit 1 ;; esac\nexec %s "$@"\n' \
	"$(command -v cp)" >bin/cp
chmod +x bin/cp
not_ok "the disk is full at the last module" 1 env PATH="$tmp/bin:$PATH" "$publish" "$tmp/from" "$tmp/to"
is "... no module is published" "$(published)" "other.ko"

done_testing
