#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The svm-cet host: VMRUN, #VMEXIT, nested paging, WRMSR, XRSTORS and CPUID follow AMD's rules for shadow stacks
#
# A module does all of it on one boot, without KVM: tests/hosts/svm-rules.c.
#
# Environment: BOCHS  as tests/hosts/run takes it
# needs: kernel-6.12 root-emulators bochs svm-rules
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

misbehave=$top/build/hosts/bin/misbehave
make -s -C "$top/tests/hosts"
run_host 6.12 svm-cet "$("$top/tests/debian/kernel" path 6.12)" '' 'misbehave load svm-rules.ko' -N -t 600 \
	-i "$misbehave" -i "$build/tests/svm-rules-6.12/svm-rules.ko"
# The module's lines, without the time stamps
{
	echo '# program svm-rules'
	sed -n 's/^[^]]*\] svm-rules: //p' "$tmp/6.12/dmesg"
} >"$tmp/rules"
like "the module ran to its end" "$(tail -n 1 "$tmp/rules")" '^1\.\.[1-9]'
relay 6.12 "$tmp/rules"
is "the emulator says what changed under a set clean bit" \
	"$(grep -c '^svm: VMRUN of VMCB .* ignores what changed' "$tmp/6.12/screen")" 7
done_testing
