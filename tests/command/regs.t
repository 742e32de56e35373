#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg regs and preflight on emulated hosts, with the distro's modules, with ours, and with a native kernel:
# registers are compared with the MSR ioctls, files with what another program gets from KVM, and the files of all hosts
# with each other.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

[ "$(id -u)" = 0 ] || skip_all "needs root"
tree=$("$top/tests/command/tree")
mkdir "$tmp/bin"
ok "the program that reads without the command builds" gcc -O2 -D_GNU_SOURCE -static -Wall -Wextra -Werror \
	-o "$tmp/bin/reading" "$top/tests/command/reading.c"
offer=$top/tests/command/offer
on_machine() {
	"$tree/lib64/ld-linux-x86-64.so.2" --library-path "$tree/usr/lib/x86_64-linux-gnu" "$tree/usr/bin/kvm-onereg" \
		"$@"
}

# read_on_host NAME HOST SERIES MODULES [OPTION]...: boot a host and run the commands. $tmp/NAME/files then has the file
# and the readings; said N prints the output and the status of command N
commands='reading /out/readings
kvm-onereg regs --json
kvm-onereg regs
kvm-onereg regs kvm:GUEST_SSP
kvm-onereg regs --bare kvm:GUEST_SSP
kvm-onereg regs ia32_efer 0x10 msr:0x277 0x20300002c0000082 U_CET
kvm-onereg regs 0x2030000400000000 0xdeadbeef TSC
kvm-onereg regs --features --json
kvm-onereg preflight --save /out/offer
kvm-onereg preflight
kvm-onereg preflight --compare /out/offer
reading --as-user kvm-onereg regs TSC'

read_on_host() {
	local name=$1 host=$2 series=$3 modules=$4 n=0 line
	shift 4
	[ -z "$modules" ] || set -- -m "$build/$("$top/tests/debian/kernel" release "$series")" "$@"
	# Statuses of all commands, not only of the first one that fails: a program runs each command and prints its
	# status
	while read -r line; do
		n=$((n + 1))
		line=${line/#kvm-onereg/\/usr\/bin\/kvm-onereg}
		line=${line/#reading /\/host\/reading }
		echo "/host/reading --told $n ${line/ kvm-onereg/ \/usr\/bin\/kvm-onereg}"
	done <<<"$commands" >"$tmp/commands"
	ok "$name: the host runs the commands and does not complain" "$top/tests/hosts/boot" -H "$host" \
		-k "$("$top/tests/debian/kernel" path "$series")" -o "$tmp/$name" -t 600 -f "$tmp/commands" -I "$tree" \
		-i "$tmp/bin/reading" "$@"
	tr -d '\r' <<<"$output" >"$tmp/$name/said"
}
said() { sed -n "/^== $2\$/,/^== $2 status/p" "$tmp/$1/said" | sed '1d'; }
status() { sed -n "s/^== $2 status //p" "$tmp/$1/said"; }

# All registers but clocks: the TSC, Hyper-V's reference time, and the frequency of the TSC
without_clocks() { grep -v -E '^0x(10|40000010|40000020|40000022) '; }
registers() { # "INDEX VALUE SETTABLE" of each MSR in the output of regs --json
	tr -d '\n' | sed 's/} *, */}\n/g; s/\] *$/\n/' |
		sed -n 's/.*"type": *"msr", *"index": *"\([^"]*\)".*"value": *"\([^"]*\)", *"settable": *\([a-z]*\).*/\1 \2 \3/p
			s/.*"type": *"msr", *"index": *"\([^"]*\)".*"value": *null.*/\1 -/p' | without_clocks | sort
}

# check NAME: what must be true on every host with ONE_REG
check() {
	local name=$1 readings=$tmp/$1/files/readings
	is "$name: each command has the expected status" \
		"$(for n in {1..12}; do status "$name" "$n"; done | tr '\n' ' ')" "$2"
	is "$name: regs --json: each MSR that KVM lists, its value and whether it can be set are those of the MSR ioctls" \
		"$(said "$name" 2 | sed '/^==/d' | registers)" \
		"$(sed -n 's/^msr //p' "$readings" | without_clocks | sort)"
	is "$name: regs: the same, as text" \
		"$(said "$name" 3 | sed -n 's/^0x20300002\([0-9a-f]*\)  msr .*/0x\1/p' | sed 's/0x0*/0x/' | sort)" \
		"$(sed -n 's/^msr \([^ ]*\).*/\1/p' "$readings" | sort)"
	like "$name: regs: EFER, by a name that the kernel does not use" "$(said "$name" 6)" \
		'^0x20300002c0000080  msr   EFER  '
	like "$name: regs: PAT has its reset value, which can be set" "$(said "$name" 6)" \
		'^0x2030000200000277  msr   [^ ]+ +0x0007040600070406  yes$'
	like "$name: regs: registers that cannot be read are reported" "$(said "$name" 7)" \
		'^kvm-onereg: 0xdeadbeef: EINVAL: not a register of this vCPU: '
	like "$name: regs: a malformed id is reported" "$(said "$name" 7)" '^0x2030000400000000  4     -  .*EINVAL'
	like "$name: regs: registers that can be read are printed all the same" "$(said "$name" 7)" \
		'^0x2030000200000010  msr   IA32_TSC  .*0x[0-9a-f]{16}  yes$'
	like "$name: regs: --bare says why there is no GUEST_SSP" "$(said "$name" 5)" \
		'without CPUID \(--bare\) it has no shadow stacks'
	is "$name: regs --features includes those" "$(said "$name" 8 | sed '/^==/d' | registers | cut -d' ' -f1)" \
		"$(sed -n 's/^\(msr\|feature\) \([^ ]*\).*/\2 /p' "$readings" | without_clocks | tr -d ' ' | sort -u)"
	check_offer "$name"
}
check_offer() {
	is "$1: preflight --save has what KVM says" "$("$offer" readings "$tmp/$1/files/offer" | sort)" \
		"$(sed 's/^\(msr [^ ]*\).*/\1/' "$tmp/$1/files/readings" | sort)"
	like "$1: preflight, as text" "$(said "$1" 10)" '^CPU  *(GenuineIntel|AuthenticAMD), family'
	like "$1: preflight --compare with itself" "$(said "$1" 11)" '^A -> B: a guest with all of A can move$'
	like "$1: a user without access" "$(said "$1" 12)" 'no permission to open /dev/kvm'
}

for host in svm vmx; do
	ssp=1
	[ $host = svm ] || ssp=0
	read_on_host $host-6.1 $host 6.1 ours
	check $host-6.1 '0 0 0 1 1 1 1 0 0 0 0 3 '
	read_on_host $host-native $host native ''
	check $host-native "0 0 0 $ssp 1 $ssp 1 0 0 0 0 3 "
	read_on_host $host-distro $host 6.12 ''
	is "$host-distro: without ONE_REG, regs does nothing" \
		"$(for n in {2..8}; do status $host-distro "$n"; done | tr '\n' ' ')" "3 3 3 3 3 3 3 "
	is "$host-distro: ... but says so" "$(said $host-distro 2 | sed '/^==/d')" \
		"kvm-onereg: the loaded KVM has no ONE_REG (it is the distro's, from before Linux 6.18)
  to fix: \"kvm-onereg status\" shows whose modules are loaded; \"kvm-onereg swap ours\" loads kvm-onereg's"
	check_offer $host-distro
	read_on_host $host-ours $host 6.12 ours
	check $host-ours '0 0 0 1 1 1 1 0 0 0 0 3 '
done
read_on_host vmx-cet vmx 6.12 ours -p kvm_intel.cet=1
check vmx-cet '0 0 0 0 1 0 1 0 0 0 0 3 '

for n in native cet; do
	like "vmx-$n: regs: GUEST_SSP" "$(said vmx-$n 4)" \
		'^0x2030000300000000  kvm   GUEST_SSP  0x0000000000000000  yes$'
	like "vmx-$n: regs: ... is in the list of all" "$(said vmx-$n 3)" '^0x2030000300000000  kvm   GUEST_SSP  '
	like "vmx-$n: preflight: CET" "$(said vmx-$n 10)" '^CET  *shadow stacks, IBT$'
done
like "vmx-ours: regs: no GUEST_SSP, and the reason" "$(said vmx-ours 4)" \
	'EINVAL: .* guests have no shadow stacks here: the module parameter kvm_intel.cet is off'
like "vmx-ours: preflight: the same" "$(said vmx-ours 10)" '^CET  *no: the module parameter kvm_intel.cet is off'
like "svm-ours: regs: no GUEST_SSP, and the reason" "$(said svm-ours 4)" \
	'EINVAL: .* guests have no shadow stacks here: this CPU has none'

# ---- from one host to another

# verdict FROM TO FORWARD BACKWARD [OPTION...]: warnings are left out, because each host measures the TSC's frequency
# anew
verdict() {
	is "$1, $2${5:+ ${*:5}}" \
		"$(on_machine preflight --json "${@:5}" --compare "$tmp/$1/files/offer" "$tmp/$2/files/offer" |
			"$offer" verdict | grep -v '^[a-z]* warned: ')" $'forward '"$3"$'\nbackward '"$4"
}
registers='IA32_U_CET, IA32_S_CET, IA32_PL0_SSP, IA32_PL1_SSP, IA32_PL2_SSP, IA32_PL3_SSP, IA32_INT_SSP_TAB'
cet="SHSTK (CPUID 7.0:ECX[7]), IBT (CPUID 7.0:EDX[20]), XSAVE state CET_USER, XSAVE state CET_KERNEL, IA32_XSS, $registers, \
IA32_VMX_BASIC[56], IA32_VMX_TRUE_EXIT_CTLS[28], IA32_VMX_TRUE_ENTRY_CTLS[20]"
# 7.3 offers features to nested guests that 6.12 does not know: separate execute permission for user and kernel mode,
# and more details of EPT violations
nested='MODE_BASED_EPT_EXEC (IA32_VMX_PROCBASED_CTLS2[22]), IA32_VMX_EPT_VPID_CAP[22]'
without_both=(--without cet --without nested)

verdict vmx-cet vmx-distro "no cet: $cet, KVM_CAP_ONE_REG, kvm:GUEST_SSP" ok
verdict vmx-cet vmx-ours "no cet: $cet, kvm:GUEST_SSP" ok
verdict vmx-cet vmx-distro ok ok --without cet
verdict vmx-distro vmx-ours ok ok
verdict vmx-native vmx-cet "no nested: $nested" ok
verdict vmx-native vmx-cet ok ok --without nested
text=$(on_machine preflight --json --compare "$tmp/vmx-native/files/offer" "$tmp/vmx-distro/files/offer" |
	"$offer" verdict)
for part in 'forward no: SHSTK' "$nested" KVM_CAP_ONE_REG kvm:GUEST_SSP 'backward ok'; do
	ok "vmx-native, vmx-distro: $part" grep -F "$part" <<<"$text"
done
for a in native cet; do
	for b in distro ours; do verdict vmx-$a vmx-$b ok ok "${without_both[@]}"; done
done
# tests/hosts/boot hides FSRM from this kernel
verdict vmx-6.1 vmx-ours ok 'no: FSRM (CPUID 7.0:EDX[4]), FLUSH_L1D (CPUID 7.0:EDX[28])'
verdict svm-distro svm-ours ok ok
verdict svm-distro svm-native ok 'no: CPUID 0x80000021:EAX[17]'
verdict svm-6.1 svm-ours ok 'no nested: FLUSHBYASID (CPUID 0x8000000a:EDX[6])'
verdict svm-ours vmx-ours 'no: CPU vendor' 'no: CPU vendor'
done_testing
