#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The svm-cet host: VMRUN, #VMEXIT, nested paging, WRMSR, XRSTORS and CPUID follow AMD's rules for shadow stacks
#
# A module checks all of them in one boot, without KVM: tests/hosts/svm-rules.c.
#
# Environment: BOCHS  as tests/hosts/boot takes it
# needs: kernel-6.12 root-emulators bochs svm-rules
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

misbehave=$top/build/hosts/bin/misbehave
make -s -C "$top/tests/hosts"
# rules NAME [OPTION]...: boot a host, and write the module's messages to $tmp/NAME/rules, without their time stamps
rules() {
	run_host "$1" svm-cet "$("$top/tests/debian/kernel" path 6.12)" '' 'misbehave load svm-rules.ko' -N -t 600 \
		-i "$misbehave" -i "$build/tests/svm-rules-6.12/svm-rules.ko" "${@:2}"
	sed -n 's/^[^]]*\] svm-rules: //p' "$tmp/$1/dmesg" >"$tmp/$1/rules"
	like "$1: the module ran to its end" "$(tail -n 1 "$tmp/$1/rules")" '^1\.\.[1-9]'
}

rules 6.12
sed -i '1i # program svm-rules' "$tmp/6.12/rules"
relay 6.12 "$tmp/6.12/rules"
is "the emulator says what changed under a set clean bit" \
	"$(grep -c '^svm: VMRUN of VMCB .* ignores what changed' "$tmp/6.12/screen")" 7

rules no-clean-bits --no-clean-bits
is "a CPU that keeps nothing differs only where software sets the clean bit wrongly" \
	"$(sed -n 's/^not ok [0-9]* - //p' "$tmp/no-clean-bits/rules")" "$(
		cat <<-'END'
			clean bit set: S_CET is not seen
			... and what is saved is what was used
			clean bit set: SSP is not seen
			clean bit set: ISST_ADDR is not seen
			two VMCBs: changes of the first are not seen
			two VMCBs: nor of the second
			two VMCBs: those of the other are not
			a refused VMCB does not change what is remembered
		END
	)"
done_testing
