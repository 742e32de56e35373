#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg preflight with made-up files: each kind of obstacle, each with a similar case that is not an obstacle;
# baselines; damaged files; wrong usage, also of regs; and the messages of both if KVM cannot be queried. Everything
# runs under ASan and UBSan.
# shellcheck disable=SC2016 # Perl and scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

[ "$(id -u)" = 0 ] || skip_all "needs root"
offer=$top/tests/command/offer
root=$("$top/tests/debian/root" path compilers)

ok "the command builds with sanitizers" "$top/tests/debian/root" run compilers -n -b "$top" -b "$build" -w "$top" -- \
	make -C tools/kvm-onereg O="$tmp/o" CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all' \
	"$tmp/o/kvm-onereg"
[ -x "$tmp/o/kvm-onereg" ] || done_testing
export ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99
# With the libraries that it was built with
command_line=("$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" "$tmp/o/kvm-onereg")
preflight() { "${command_line[@]}" preflight "$@"; }

# ---- obstacles

"$offer" make "$tmp/base"

# verdict WORDS CODE FORWARD BACKWARD [OPTION...]: compare a host that has everything with one changed by CODE, in both
# directions. Each verdict is "ok" or "no ...: NAMES"; warnings follow after a "!". CODE may have two parts, separated
# by a line "--": then the first part changes the first host.
verdict() {
	local words=$1 code=$2 forward=$3 backward=$4 got status=0 want=1 first=$tmp/base
	shift 4
	if [[ $code == *" -- "* ]]; then
		"$offer" make "$tmp/first" "${code%% -- *}"
		first=$tmp/first
	fi
	"$offer" make "$tmp/other" "${code#* -- }"
	preflight --json "$@" --compare "$first" "$tmp/other" >"$tmp/out" 2>"$tmp/err" || status=$?
	[[ "$forward $backward" == *no\ * || $forward = no* || $backward = no* ]] || want=0
	got=$("$offer" verdict <"$tmp/out" 2>&1 | tr '\n' '|')
	is "$words" "$status $(cat "$tmp/err")$got" \
		"$want forward ${forward/ ! /|forward warned: }|backward ${backward/ ! /|backward warned: }|"
}

verdict "the same host" '1' ok ok
verdict "another name, kernel, CPU model, date, module" \
	'$d->{host}{name} = "b"; $d->{host}{kernel} = "7.3.4"; $d->{cpu}{model} = 106;
	$d->{cpu}{name} = "B"; $d->{kvm}{version} = undef' ok ok
verdict "another vendor, and nothing else is said" '$d->{cpu}{vendor} = "AuthenticAMD"; clear(1, 0, "ecx", 0)' \
	'no: CPU vendor' 'no: CPU vendor'

verdict "a feature less" 'clear(7, 0, "ebx", 5)' 'no: AVX2 (CPUID 7.0:EBX[5])' ok
verdict "a feature more" 'set(7, 1, "eax", 23)' ok 'no: AVX_IFMA (CPUID 7.1:EAX[23])'
verdict "a bit without a name less" 'clear(0x80000001, 0, "edx", 11); set(7, 2, "edx", 30)' \
	'no: SYSCALL (CPUID 0x80000001:EDX[11])' 'no: CPUID 7.2:EDX[30]'
verdict "a leaf that is not there has no bits" 'drop(7, 1)' \
	'no: AVX_VNNI (CPUID 7.1:EAX[4]), AVX512_BF16 (CPUID 7.1:EAX[5]), FZRM (CPUID 7.1:EAX[10]), FSRS (CPUID 7.1:EAX[11]), FSRC (CPUID 7.1:EAX[12])' ok
verdict "bits that older kernels do not tell" 'set(1, 0, "ecx", 24, 31)' ok ok
verdict "... are told by a capability" 'capability("TSC_DEADLINE_TIMER", 0)' 'no: KVM_CAP_TSC_DEADLINE_TIMER' ok
verdict "bits that say that something is gone" \
	'clear(7, 0, "ebx", 13); put(7, 0, "ebx", hex(leaf(7, 0)->{ebx}) ^ 1 << 6)' ok ok
verdict "topology, caches and highest leaves are the host's own" \
	'put(0xb, 0, "ebx", 64); put(4, 0, "ebx", 1); put(0, 0, "eax", 0x16);
	put(0x40000000, 0, "eax", 0x40000010)' ok ok
verdict "a feature of KVM's own less" 'clear(0x40000001, 0, "eax", 5)' \
	'no: KVM_FEATURE_STEAL_TIME (CPUID 0x40000001:EAX[5])' ok
verdict "a hint of KVM's is none" 'set(0x40000001, 0, "edx", 0)' ok ok
verdict "an unknown leaf" 'put(0x20, 0, "eax", 5)' ok ok

verdict "a smaller MAXPHYADDR" 'put(0x80000008, 0, "eax", 0x302d)' 'no: MAXPHYADDR (CPUID 0x80000008)' ok
verdict "a larger one" 'put(0x80000008, 0, "eax", 0x3034)' ok 'no: MAXPHYADDR (CPUID 0x80000008)'
verdict "fewer performance counters" 'put(0xa, 0, "eax", 0x8300402)' 'no: performance counters (CPUID 0xa)' ok
verdict "an event that is missing" 'set(0xa, 0, "ebx", 2)' 'no: CPUID 0xa:EBX[2]' ok
verdict "... to a guest without a PMU" \
	'put(0xa, 0, $_, 0) for qw(eax edx) -- put(0xa, 0, $_, 0) for qw(eax edx); set(0xa, 0, "ebx", 2)' ok ok
verdict "tiles of another size" 'put(0x1d, 1, "ecx", 8)' 'no: tiles (CPUID 0x1d.1)' 'no: tiles (CPUID 0x1d.1)'
verdict "tiles where there were none" 'drop(0x1d, 1)' \
	'no: tiles (CPUID 0x1d.1), tiles (CPUID 0x1d.1), tiles (CPUID 0x1d.1)' ok

verdict "a component of XCR0 less" 'put(0xd, 0, "eax", 0x202e7)' 'no: XSAVE state XTILE_DATA' ok
verdict "its place is of no matter then" 'put(0xd, 0, "eax", 0x202e7); drop(0xd, 18)' 'no: XSAVE state XTILE_DATA' ok
verdict "a component at another place" 'put(0xd, 5, "ebx", 0x480)' 'no: XSAVE state OPMASK' 'no: XSAVE state OPMASK'
verdict "the sum of their sizes says nothing" 'put(0xd, 0, "ecx", 0x2000); put(0xd, 0, "ebx", 0x2000)' ok ok
verdict "a component of XSS more that is not CET's" 'put(0xd, 1, "ecx", 0x9800)' ok 'no: XSAVE state LBR'

verdict "an MSR that is not saved there" 'unlist(0x174)' 'ok ! IA32_SYSENTER_CS' ok
verdict "one that has no name" 'list(0x1fff)' ok 'ok ! MSR 0x1fff'
verdict "performance counters are told by CPUID" 'list(0x309, 0xc0010200)' ok ok
verdict "an MSR of CET's" 'unlist(0x6a8)' 'no cet: IA32_INT_SSP_TAB' ok
verdict "one of Hyper-V's" 'unlist(0x40000000)' 'ok ! HV_X64_MSR_GUEST_OS_ID' ok
verdict "the order of the list" '$d->{msrs} = [reverse @{$d->{msrs}}]' ok ok
verdict "an MSR that tells features has a bit less" 'feature_clear(0x10a, 6)' \
	'no: PSCHANGE_MC_NO (IA32_ARCH_CAPABILITIES[6])' ok
verdict "a bit that tells a weakness" 'feature_set(0x10a, 2)' 'no: RSBA (IA32_ARCH_CAPABILITIES[2])' ok
verdict "one that only one kernel tells" 'unfeature(0xce)' ok ok
verdict "other LBRs" 'feature(0x345, 0x32c6)' 'no: format of LBRs (IA32_PERF_CAPABILITIES)' \
	'no: format of LBRs (IA32_PERF_CAPABILITIES)'

verdict "VMX: a control that may be 1 no more" 'feature_clear(0x48b, 33)' \
	'no nested: EPT (IA32_VMX_PROCBASED_CTLS2[1])' ok
verdict "VMX: ... is nothing to guests that run no VMs" 'feature_clear(0x48b, 33)' ok ok --without nested
verdict "VMX: ... does not concern CET" 'feature_clear(0x48b, 33)' 'no nested: EPT (IA32_VMX_PROCBASED_CTLS2[1])' ok \
	--without cet
verdict "VMX: a control that must be 1" 'feature_set(0x48d, 3)' \
	'no nested: NMI_EXITING (IA32_VMX_TRUE_PINBASED_CTLS[3])' ok
verdict "VMX: what the true controls say is not said twice" 'feature_set(0x481, 3)' ok ok
verdict "VMX: without them, the others are asked" 'unfeature(0x48d) -- unfeature(0x48d); feature_set(0x481, 3)' \
	'no nested: NMI_EXITING (IA32_VMX_PINBASED_CTLS[3])' ok
verdict "VMX: a bit of CR0 that must be 1" 'feature_set(0x486, 1)' 'no nested: IA32_VMX_CR0_FIXED0[1]' ok
verdict "VMX: a bit of CR4 that may be 1" 'feature_clear(0x489, 22)' 'no nested: IA32_VMX_CR4_FIXED1[22]' ok
verdict "VMX: another VMCS revision" 'feature(0x480, value(0x480) ^ 1)' 'no nested: VMCS revision (IA32_VMX_BASIC)' \
	'no nested: VMCS revision (IA32_VMX_BASIC)'
verdict "VMX: fewer fields" 'feature(0x48a, 0x30)' 'no nested: highest index of a VMCS field (IA32_VMX_VMCS_ENUM)' ok
verdict "VMX: an MSR of it less" 'unlist(0x480); unfeature(0x48a)' \
	'no nested: highest index of a VMCS field (IA32_VMX_VMCS_ENUM)' ok
verdict "VMX: none there, and that is all that is said" \
	'clear(1, 0, "ecx", 5); feature_clear(0x48b, 33); unlist(0x480); capability("NESTED_STATE", 0)' \
	'no nested: VMX (CPUID 1:ECX[5]), KVM_CAP_NESTED_STATE' ok

verdict "CET: none there" no_cet \
	"no cet: SHSTK (CPUID 7.0:ECX[7]), IBT (CPUID 7.0:EDX[20]), XSAVE state CET_USER, XSAVE state CET_KERNEL, \
IA32_U_CET, IA32_S_CET, IA32_PL0_SSP, IA32_PL1_SSP, IA32_PL2_SSP, IA32_PL3_SSP, IA32_INT_SSP_TAB, IA32_XSS, IA32_VMX_BASIC[56], \
IA32_VMX_CR4_FIXED1[23], IA32_VMX_TRUE_EXIT_CTLS[28], IA32_VMX_TRUE_ENTRY_CTLS[20], kvm:GUEST_SSP" ok
verdict "CET: ... is nothing to guests without it" no_cet ok ok --without cet
verdict "CET: shadow stacks alone" 'clear(7, 0, "edx", 20)' 'no cet: IBT (CPUID 7.0:EDX[20])' ok
verdict "CET: no ONE_REG there" 'one_reg(0); $d->{kvm_defined_registers} = []' \
	'no cet: KVM_CAP_ONE_REG, kvm:GUEST_SSP' 'no cet: KVM_CAP_ONE_REG'
verdict "CET: no ONE_REG there, and no shadow stacks anywhere" 'no_cet -- no_cet; one_reg(0)' ok ok
verdict "CET and a feature" 'no_cet -- no_cet; clear(7, 0, "ecx", 1)' 'no: AVX512VBMI (CPUID 7.0:ECX[1])' ok
verdict "CET and VMs of the guest's own" 'clear(7, 0, "edx", 20); feature_clear(0x48b, 33)' \
	'no: IBT (CPUID 7.0:EDX[20]), EPT (IA32_VMX_PROCBASED_CTLS2[1])' ok
verdict "... a guest without both can go" 'clear(7, 0, "edx", 20); feature_clear(0x48b, 33)' ok ok --without cet \
	--without nested
verdict "another KVM-defined register" 'push @{$d->{kvm_defined_registers}}, "0x2030000380000000"' ok \
	'no: register 0x2030000380000000'

verdict "a capability less" 'capability("VCPU_EVENTS", 0)' 'no: KVM_CAP_VCPU_EVENTS' ok
verdict "a capability that is not in the file" 'delete $d->{kvm}{capabilities}{KVM_CAP_X86_SMM}' 'no: KVM_CAP_X86_SMM' \
	ok
verdict "more of it" 'capability("XSAVE", 3)' ok ok
verdict "fewer vCPUs" 'capability("MAX_VCPUS", 1024)' 'ok ! KVM_CAP_MAX_VCPUS' ok
verdict "another TSC, which can be scaled" 'tsc(2500000, 1)' ok ok
verdict "... which cannot" 'tsc(2500000, 0)' 'ok ! TSC' ok
verdict "the same within what KVM tolerates" 'tsc(2000499, 0)' ok ok
verdict "... and not" 'tsc(2000501, 0)' 'ok ! TSC' ok

verdict "nested state that is larger than the destination takes" 'capability("NESTED_STATE", 2048)' \
	'no nested: KVM_CAP_NESTED_STATE' ok
verdict "a quirk that only one KVM knows" '$d->{kvm}{quirks} = "0x7f"' 'ok ! KVM_X86_QUIRK_SLOT_ZAP_ALL' ok
verdict "an unknown quirk" '$d->{kvm}{quirks} = "0x800000ff"' ok 'ok ! quirk 31'
verdict "the PAT of a nested guest" 'amd; $d->{kvm}{quirks} = "0x8ff" -- amd' \
	'ok ! KVM_X86_QUIRK_NESTED_SVM_SHARED_PAT' ok
verdict "... where there is none" '$d->{kvm}{quirks} = "0x8ff" -- 1' ok ok
verdict "a file of the older format, which has no quirks" 'old_format; $d->{host}{id} = undef' ok ok

# ---- text

"$offer" make "$tmp/other" no_cet
not_ok "text: the way with CET is closed" 1 preflight --compare "$tmp/base" "$tmp/other"
like "... says so" "$output" '^A -> B: a guest with all of A CANNOT move:$'
like "... names it" "$output" 'SHSTK \(CPUID 7\.0:ECX\[7\]\)'
like "... says what to do" "$(tr -s '\n ' ' ' <<<"$output")" \
	'a guest without CET can move\. Give it a fixed -cpu model without cet-ss and cet-ibt'
like "... and that the other way is open" "$output" '^B -> A: a guest with all of B can move$'
is "... in 80 columns, apart from names of files" "$(sed 1,4d <<<"$output" | awk 'length > 80')" ""
"$offer" make "$tmp/other" \
	'$d->{host}{name} = "\e[31mred"; $d->{host}{kernel} = "x" x 5000; $d->{cpu}{name} = "\x{202e}back"'
ok "text from a file does not control the terminal" preflight --compare "$tmp/base" "$tmp/other"
not_ok "..." 1 grep -q -a -P '[^\n -~]' <<<"$output"
is "... and does not fill it" "$(awk 'length > 600' <<<"$output")" ""

ok "equal hosts" preflight --compare "$tmp/base" "$tmp/base"
like "what is not compared is told, with the way to look" "$output" "QEMU's version: qemu-system-x86_64 --version"
"$offer" make "$tmp/other" 'old_format; other("b")'
ok "a file of the older format is compared" preflight --compare "$tmp/base" "$tmp/other"
text=$(tr -s '\n ' ' ' <<<"$output")
like "... and what it lacks is told" "$text" \
	"$tmp/other has version 1 of the format, without quirks and the parameter nested: save it again"
is "... and not of the other one" "$(grep -o "$tmp/base has version" <<<"$text")" ""
"$offer" make "$tmp/other" 'other("b"); $d->{kvm}{quirks} = "0x37f"; $d->{kvm}{nested} = "N"'
ok "quirks differ" preflight --compare "$tmp/base" "$tmp/other"
text=$(tr -s '\n ' ' ' <<<"$output")
like "... those of one" "$text" 'quirks that only the KVM of A knows: KVM_X86_QUIRK_SLOT_ZAP_ALL'
like "... and of the other" "$text" \
	'quirks that only the KVM of B knows: KVM_X86_QUIRK_STUFF_FEATURE_MSRS, KVM_X86_QUIRK_IGNORE_GUEST_PAT'
like "... which are on by default" "$text" 'on by default: of A KVM_X86_QUIRK_CD_NW_CLEARED; of B none'
like "... and the parameter nested" "$text" 'parameter nested: Y, N'

# ---- baselines

# baseline_of NAME CODE...: $tmp/NAME.json, of the base and of hosts changed by each CODE; OPTIONS in $with
with=()
baseline_of() {
	local name=$1 files=("$tmp/base") n=1 code
	shift
	for code; do
		n=$((n + 1))
		"$offer" make "$tmp/host$n" "other('host$n'); $code"
		files+=("$tmp/host$n")
	done
	preflight --json "${with[@]}" --baseline "${files[@]}" >"$tmp/$name.json" 2>"$tmp/err" || cat "$tmp/err"
}
get() { "$top/tests/command/baseline" get "$2" <"$tmp/$1.json"; } # NAME PERL
cpu() { get "$1" '$j->{qemu_cpu}'; }
taken() { get "$1" '[map { my $t = $_; "$t->{name}:" . join "+", map { s,.*/,,r } @{$t->{lacking}} } @{$j->{taken}}]'; }
left_out() { get "$1" '[map { "$_->{name}" } @{$j->{left_out}}]'; }

baseline_of same 1
is "baseline: of equal hosts, nothing is taken away" "$(taken same)" ""
like "... it is a model, with features, address bits and enforce" "$(cpu same)" \
	'^[A-Z][A-Za-z-]+,[-+].*,\+cet-ss,.*,\+cet-ibt,.*,phys-bits=46,enforce$'
is "... the same features for libvirt" "$(get same '$j->{libvirt_cpu}' | grep -c "policy='require' name='cet-ss'")" 1
like "... with its own names" "$(get same '$j->{libvirt_cpu}')" "<feature policy='require' name='tsc_adjust'/>"
is "... and none of KVM's own, which it does not know" "$(get same '$j->{libvirt_cpu}' | grep -c kvm)" 0
like "... which libvirt is to check, as it has CET" "$(get same '$j->{libvirt_cpu}')" "^<cpu .* check='full'>"
like "... so that what belongs to the model is named, too" "$(get same '$j->{libvirt_cpu}')" \
	"<feature policy='require' name='hypervisor'/>"
like "... those QEMU has" "$(cpu same)" ',\+kvm-pv-unhalt,'
is "... what needs more than the host is left out" "$(left_out same)" full-width-write
is "... and told is which versions know it" \
	"$(get same '$j->{needs_qemu}{version} . " " . $j->{needs_libvirt}{version}')" \
	"11 12"

baseline_of less 'clear(7, 0, "ebx", 5)' 'no_cet' 'clear(7, 0, "ebx", 5, 8)'
is "baseline: who takes what away" "$(taken less)" \
	"avx2:host2+host4 bmi2:host4 cet-ss:host3 cet-ibt:host3 vmx-any-errcode:host3 vmx-exit-save-cet:host3 vmx-entry-load-cet:host3"
is "... these are not in it" "$(cpu less | grep -o -E '[+](avx2|bmi2|cet-ss|cet-ibt)\b')" ""
is "... nor for libvirt" "$(get less '$j->{libvirt_cpu}' | grep -E "require' name='(avx2|bmi2|cet-)")" ""
ok "... which says that the model's are off" grep -q "policy='disable' name='avx2'" <(get less '$j->{libvirt_cpu}')
like "... without CET, libvirt checks a part, so that an older one need not know all names" \
	"$(get less '$j->{libvirt_cpu}')" "^<cpu .* check='partial'>"
is "... where those of the model are not named" "$(get less '$j->{libvirt_cpu}' | grep hypervisor)" ""
baseline_of no_ssp '$d->{kvm_defined_registers} = []'
is "baseline: shadow stacks need their pointer saved" "$(taken no_ssp)" "cet-ss:host2"
baseline_of pkru 'put(0xd, 9, "eax", 8); put(0xd, 9, "ebx", 0xa80); set(7, 0, "ecx", 3)'
is "baseline: one host has PKU" "$(taken pkru)" "pku:base"
"$offer" make "$tmp/base2" 'other("base2"); set(7, 0, "ecx", 3); put(0xd, 9, "eax", 8); put(0xd, 9, "ebx", 0x340)'
preflight --json --baseline "$tmp/base2" "$tmp/host2" >"$tmp/moved.json"
is "... both have it, and its state is elsewhere" "$(left_out moved)" "pku full-width-write"
like "... which is told" "$(get moved '$j->{left_out}[0]{why}')" \
	'its XSAVE state is in another place on .*host2 than on .*base2'
baseline_of nameless 'set(7, 2, "edx", 30)'
"$offer" make "$tmp/base2" 'other("base2"); set(7, 2, "edx", 30)'
preflight --json --baseline "$tmp/base2" "$tmp/host2" >"$tmp/nameless.json"
is "baseline: a bit that QEMU has no name for" "$(left_out nameless)" "full-width-write CPUID 7.2:EDX[30]"
with=(--without cet --without nested)
baseline_of plain 'feature_clear(0x48b, 33)'
like "baseline: without CET and nested VMs" "$(cpu plain)" ',enforce$'
is "... there are none" "$(cpu plain | grep -o -E 'cet|vmx')" ""
is "... what concerns these alone is not told" "$(taken plain)" ""
with=(--qemu 10.0.2)
baseline_of old_qemu 1
is "baseline: for an older QEMU" "$(get old_qemu '$j->{needs_qemu}{version}')" 10
is "... what it does not know is not there" "$(cpu old_qemu | grep -o -E '[+]cet-(ss|ibt)')" ""
like "... and is told" "$(get old_qemu '[map { "$_->{name}: $_->{why}" } @{$j->{left_out}}]')" \
	'cet-ss: QEMU 10 does not know it'
with=()
baseline_of rest 'put(0x80000008, 0, "eax", 0x3027); tsc(2500000, 0); capability("VCPU_EVENTS", 0);
	feature_set(0x10a, 2); set(7, 0, "edx", 29)'
like "baseline: the fewest address bits" "$(cpu rest)" 'phys-bits=39,'
text=$(get rest '[map { "$_\n" } @{$j->{warnings}}]')
like "... which is told" "$text" 'guests get 39 bits, hosts have up to 46'
like "... clocks that go wrong" "$text" 'TSC: 2000000 kHz on .*base, 2500000 kHz on .*host2'
like "... a capability of KVM's" "$text" 'KVM_CAP_VCPU_EVENTS: not on .*host2'
"$offer" make "$tmp/host2" 'other("host2"); set(7, 0, "ebx", 4, 11)'
"$offer" make "$tmp/host3" 'other("host3"); set(7, 0, "ebx", 4, 11); $d->{cpu}{model} = 60'
preflight --json --baseline "$tmp/host2" "$tmp/host3" >"$tmp/haswell.json"
is "baseline: TSX, which QEMU gives to no guest" "$(taken haswell)" "hle:host3 rtm:host3"
"$offer" make "$tmp/a1" 'amd; other("a1")'
"$offer" make "$tmp/a2" 'amd; other("a2"); clear(0x8000000a, 0, "edx", 3)'
preflight --json --baseline "$tmp/a1" "$tmp/a2" >"$tmp/amd.json"
like "baseline: AMD" "$(get amd '$j->{libvirt_cpu}')" '<vendor>AMD</vendor>'
like "... nested SVM" "$(taken amd)" '(^| )nrip-save:a2( |$)'
like "... which a host has" "$(cpu amd)" ',\+svm,'
"$offer" make "$tmp/old" 'old_format; other("old"); delete $d->{host}{id}'
ok "baseline: a file of the older format" preflight --baseline "$tmp/base" "$tmp/old"
ok "baseline: of one host" preflight --baseline "$tmp/base"
like "... text: a -cpu" "$output" '^-cpu [A-Z].*,enforce$'
like "... libvirt's" "$output" "^  <model fallback='forbid'>"
like "... what is not compared" "$output" 'machine types: qemu-system-x86_64 -M help'
ok "baseline: of several" preflight --baseline "$tmp/host2" "$tmp/host3"
like "... text: who takes what away" "$(tr -s '\n ' ' ' <<<"$output")" \
	'because these hosts lack it: - .*/host3: hle, rtm '

not_ok "baseline: no files" 2 preflight --baseline
like "... says how to get them" "$output" 'needs files; on each host: kvm-onereg preflight --save FILE'
not_ok "baseline: one file twice" 2 preflight --baseline "$tmp/base" "$tmp/base"
like "... is reported" "$output" 'base .* and .*base .* are both of the host made-up$'
like "... with what to do" "$output" '  to fix: name one of the two, or save the other'
"$offer" make "$tmp/other" '$d->{host}{name} = "renamed"; $d->{host}{kernel} = "7"; $d->{host}{date} = "2026-02-02"'
not_ok "baseline: two files of one host, with another kernel" 2 preflight --baseline "$tmp/base" "$tmp/other"
"$offer" make "$tmp/other" 'old_format'
not_ok "baseline: one of them in the older format" 2 preflight --baseline "$tmp/base" "$tmp/other"
"$offer" make "$tmp/other" 'old_format; $d->{host}{name} = "b"'
ok "... another host's" preflight --baseline "$tmp/base" "$tmp/other"
not_ok "baseline: two vendors" 1 preflight --baseline "$tmp/base" "$tmp/a1"
like "... says which" "$output" 'no guest can move between CPUs of GenuineIntel \(.*base\) and AuthenticAMD \(.*a1\)'
like "... and what to do" "$output" '  to fix: make a baseline for the hosts of each vendor'
head -c 500 "$tmp/base" >"$tmp/x"
not_ok "baseline: a truncated file" 2 preflight --baseline "$tmp/base" "$tmp/x"
like "... is reported" "$output" 'x: damaged: it ends too early'
not_ok "baseline: no such file" 2 preflight --baseline "$tmp/base" "$tmp/nothing"

# ---- files that cannot be used

unusable() { # WORDS FILE REGEX
	not_ok "$1" 2 preflight --compare "$2" "$tmp/base"
	like "... and is reported" "$output" "$3"
	not_ok "$1, as the second one" 2 preflight --compare "$tmp/base" "$2"
}
unusable "no such file" "$tmp/missing" 'missing: No such file'
unusable "a folder" "$tmp" 'Is a directory'
: >"$tmp/x"
unusable "an empty file" "$tmp/x" 'the file is empty'
echo '{}' >"$tmp/x"
unusable "something else in JSON" "$tmp/x" 'not a file of preflight'
echo 'hello' >"$tmp/x"
unusable "something else" "$tmp/x" 'damaged, or not a file of preflight'
head -c 5000000 /dev/zero >"$tmp/x"
unusable "a large file" "$tmp/x" 'too large'
"$offer" make "$tmp/x" '$d->{version} = 3'
unusable "a newer format" "$tmp/x" 'by a newer kvm-onereg, in version 3 of the format; this one knows version 2'
"$offer" make "$tmp/x" '$d->{version} = 0'
unusable "version 0" "$tmp/x" 'damaged: version 0'
"$offer" make "$tmp/x" 'delete $d->{guest}'
unusable "a part is missing" "$tmp/x" "damaged: .*'guest' is missing"
"$offer" make "$tmp/x" 'delete $d->{kvm}{quirks}'
unusable "what version 2 has is missing" "$tmp/x" "damaged: in kvm\[0\], 'quirks' is missing"
"$offer" make "$tmp/x" '$d->{cpuid}[3]{eax} = "0x100000000"'
unusable "a register of 33 bits" "$tmp/x" 'damaged: cpuid\[3\] eax is too large'
"$offer" make "$tmp/x" '$d->{cpuid}[3]{eax} = 5'
unusable "a number instead of a string" "$tmp/x" "damaged: in cpuid\[3\], 'eax' is missing or not of type string"
"$offer" make "$tmp/x" '$d->{msrs}[0] = "16"'
unusable "a number without 0x" "$tmp/x" 'damaged: msrs\[0\]'
"$offer" make "$tmp/x" '$d->{cpu}{family} = 5000000000'
unusable "a number that is out of range" "$tmp/x" 'out of range'
"$offer" make "$tmp/x" '$d->{msrs} = [("0x10") x 70000]'
unusable "a long list" "$tmp/x" 'msrs is too long'
{
	cat "$tmp/base"
	echo '{}'
} >"$tmp/x"
unusable "more behind it" "$tmp/x" 'damaged'
perl -e 'print "[" x 100000' >"$tmp/x"
unusable "brackets" "$tmp/x" 'nesting too deep'

size=$(stat -c %s "$tmp/base") bad=''
for ((n = 1; n < size - 2; n += size / 40)); do
	head -c "$n" "$tmp/base" >"$tmp/x"
	preflight --compare "$tmp/x" "$tmp/base" >"$tmp/out" 2>&1 && status=0 || status=$?
	[ "$status" = 2 ] && grep -q 'ends too early\|not a file' "$tmp/out" || bad+="$n: $status "
done
is "a truncated file is recognized" "$bad" ""

statuses=() bad=''
: >"$tmp/out2"
for ((seed = 1; seed <= 400; seed++)); do
	"$offer" damage "$tmp/base" "$tmp/x" $seed
	preflight --compare "$tmp/x" "$tmp/base" >"$tmp/out" 2>&1 && status=0 || status=$?
	statuses[status]=$((${statuses[status]:-0} + 1))
	status2=0
	[ $((seed % 4)) != 0 ] || preflight --baseline "$tmp/x" "$tmp/host2" >"$tmp/out2" 2>&1 || status2=$?
	if [ "$status" -gt 2 ] || [ "$status2" -gt 2 ] ||
		grep -q -a 'Sanitizer\|runtime error' "$tmp/out" "$tmp/out2" ||
		{ [ "$status" = 2 ] && ! grep -q '^kvm-onereg: ' "$tmp/out"; }; then
		bad+="seed $seed: status $status "
	fi
done
is "400 damaged files: read, or rejected with a reason" "$bad" ""
ok "... of both kinds" test "${statuses[2]:-0}" -gt 100 -a $((${statuses[0]:-0} + ${statuses[1]:-0})) -gt 20
diag "exit status 0: ${statuses[0]:-0}, 1: ${statuses[1]:-0}, 2: ${statuses[2]:-0}"

# ---- wrong use, and no KVM

wrong() { # REGEX COMMAND ARGUMENT...
	local regex=$1
	shift
	not_ok "wrong usage: $*" 2 "${command_line[@]}" "$@"
	like "... is reported" "$output" "$regex"
}
wrong "unknown option '--foo'" preflight --foo
wrong "needs an argument" preflight --compare
wrong "needs an argument" preflight --save
wrong "unexpected argument 'c'" preflight --compare a b c
wrong "unexpected argument 'a'" preflight a
wrong "takes no other option" preflight --save a --compare b
wrong "cet or nested, not 'x'" preflight --without x --compare a
wrong "needs --compare or --baseline" preflight --without cet
wrong "takes no other option" preflight --save a --baseline b
wrong "cannot be combined" preflight --compare a --baseline b
wrong "needs --baseline" preflight --qemu 10 a
wrong "takes a version, such as 10, not 'new'" preflight --qemu new --baseline a
wrong "takes a version" preflight --qemu 0 --baseline a
wrong "knows QEMU 7 and later, not 6.2" preflight --qemu 6.2 --baseline a
wrong "unknown option '--foo'" regs --foo
# The messages name the option that is wrong, not the word before it
while read -r command; do
	# shellcheck disable=SC2086 # words
	{
		for options in -x -xh '--json -xh'; do wrong "unknown option '-x'" $command $options; done
		wrong "unknown option '--xh'" $command --xh
		wrong "option '--json' takes no argument" $command --json=1
		wrong "option '--help' takes no argument" $command --help=1
	}
done <<'END'
status
doctor
swap ours
regs
preflight
END
for command in status doctor; do
	wrong "option '-k' needs an argument" "$command" -k
	wrong "option '--kernel' needs an argument" "$command" --json --kernel
done
wrong "--features is for the list" regs --features TSC
wrong "no register is called 'lstarr'; the nearest: LSTAR" regs lstarr
wrong "no register is called 'kvm:lstar'" regs kvm:lstar
wrong "no register is called 'msr:guest_ssp'; the nearest: kvm:GUEST_SSP" regs msr:guest_ssp
wrong "no register is called ''" regs ''
wrong "'16' is not a number: write 0x" regs 16
wrong "'0x' is not a number" regs 0x
wrong "'0x12345678123456789' is not a number" regs 0x12345678123456789
wrong "'kvm:0x100000000': an index has 32 bits" regs kvm:0x100000000
ok "--help" preflight --help
is "... in 80 columns" "$(awk 'length > 80' <<<"$output")" ""
ok "regs --help" "${command_line[@]}" regs --help
is "... in 80 columns" "$(awk 'length > 80' <<<"$output")" ""
ok "regs --names needs no KVM" "${command_line[@]}" regs --names
like "... and has KVM-defined registers" "$output" '^kvm:GUEST_SSP$'

# shellcheck disable=SC2317 # ok calls it
without_kvm() { unshare --mount sh -c 'mount -t tmpfs none /dev && exec "$@"' - "${command_line[@]}" "$@"; }
# shellcheck disable=SC2317 # ok calls it
forbidden() {
	unshare --mount sh -c 'mount -t tmpfs none /dev && mknod -m 600 /dev/kvm c 10 232 && exec setpriv --reuid 65534 --clear-groups "$@"' - \
		"${command_line[@]}" "$@"
}
chmod a+rx "$tmp"
for arguments in "preflight" "preflight --json" "preflight --save $tmp/saved" "preflight --compare $tmp/base" "regs" \
	"regs --json TSC"; do
	# shellcheck disable=SC2086 # words
	not_ok "$arguments: no /dev/kvm" 3 without_kvm $arguments
	like "... is reported" "$output" 'there is no /dev/kvm'
	# shellcheck disable=SC2086 # words
	not_ok "$arguments: no access" 3 forbidden $arguments
	is "... is reported, and nothing else" "$output" \
		$'kvm-onereg: no permission to open /dev/kvm\n  to fix: run it as root, or as a user of the group kvm'
done
not_ok "nothing was saved" 1 test -e "$tmp/saved"
ok "a baseline needs no KVM" without_kvm preflight --baseline "$tmp/base"
ok "two files are compared without KVM" without_kvm preflight --compare "$tmp/base" "$tmp/base"
done_testing
