#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The emulator's rules for shadow stacks with SVM are broken one at a time, and tests/hosts/svm-cet.t fails each time.
#
# Environment: MUTANTS, names of some of them instead of all
# needs: kernel-6.12 root-emulators root-compilers svm-rules
. "$(dirname "$0")/../tap.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

tree=$build/bochs-mutants
source=$tree/source/cpu
names=() files=() texts=() replacements=()

# mutant NAME FILE TEXT REPLACEMENT: TEXT occurs in the FILE once
mutant() {
	names+=("$1") files+=("$2") texts+=("$3") replacements+=("$4")
}

# Those of one file are together: each costs a compilation of the files that differ from the one before.
clean='if (vmcb_read32(SVM_CONTROL32_VMCB_CLEAN_BITS) & SVM_VMCB_CLEAN_CET)'
mutant clean-ignored svm.cc "$clean" 'if (0)'
mutant clean-always svm.cc "$clean" 'if (1)'
mutant clean-another-bit svm.cc "$clean" 'if (vmcb_read32(SVM_CONTROL32_VMCB_CLEAN_BITS) & (1 << 11))'
mutant one-vmcb-remembered svm.cc '  cached->valid = true;' '
  for (unsigned n=0; n < BX_SVM_CACHED_CET_STATES; n++) BX_CPU_THIS_PTR vmcb->cached_cet[n].valid = false;
  cached->valid = true;'
mutant any-vmcb-remembered svm.cc 'cached->valid && cached->vmcbptr == BX_CPU_THIS_PTR vmcbptr' 'cached->valid'
mutant exit-not-remembered svm.cc '  SvmRememberCetState(&cet);' ''
mutant clean-hides-no-ssp svm.cc '*cet = cached->cet;' 'Bit64u ssp = cet->ssp; *cet = cached->cet; cet->ssp = ssp;'
mutant s_cet-not-saved svm.cc 'vmcb_write64(SVM_GUEST_S_CET, cet.s_cet);' ''
mutant ssp-not-saved svm.cc 'vmcb_write64(SVM_GUEST_SSP, cet.ssp);' ''
mutant isst-not-saved svm.cc 'vmcb_write64(SVM_GUEST_ISST_ADDR, cet.isst_addr);' ''
for field in s_cet ssp isst_addr; do
	mutant "guest-$field-not-loaded" svm.cc 'SvmSetCetState(&guest.cet);' "{
      SVM_CET_STATE now; SvmGetCetState(&now); guest.cet.$field = now.$field; SvmSetCetState(&guest.cet);
    }"
	mutant "host-$field-not-loaded" svm.cc 'SvmSetCetState(&host->cet);' "
  SVM_CET_STATE now; SvmGetCetState(&now); host->cet.$field = now.$field; SvmSetCetState(&host->cet);"
done
mutant u_cet-swapped svm.cc '  SSP = cet->ssp;' 'SSP = cet->ssp; BX_CPU_THIS_PTR msr.ia32_cet_control[1] = 0;'
mutant pl0_ssp-swapped svm.cc '  SSP = cet->ssp;' 'SSP = cet->ssp; BX_CPU_THIS_PTR msr.ia32_pl_ssp[0] = 0;'
mutant reserved-not-checked svm.cc 'if (cet->s_cet & SVM_S_CET_RESERVED_BITS)' 'if (0)'
mutant reserved-checked-for-ibt-only svm.cc '= ~BX_CONST64(0x3);' '= 0x3c;'
mutant ssp-not-checked svm.cc '! IsCanonical(cet->ssp) || ' ''
mutant ssp-not-aligned svm.cc ' || (cet->ssp & 0x3) != 0' ''
mutant ssp-aligned-to-8 svm.cc '(cet->ssp & 0x3) != 0' '(cet->ssp & 0x7) != 0'
mutant isst-not-checked svm.cc 'if (! IsCanonical(cet->isst_addr))' 'if (0)'
mutant wp-not-checked svm.cc 'guest->cr4.get_CET() && ! guest->cr0.get_WP()' '0'
mutant wp-checked-without-cet svm.cc 'guest->cr4.get_CET() && ! guest->cr0.get_WP()' '! guest->cr0.get_WP()'
mutant refused-saved svm.cc 'if (loaded) {' '{'
mutant refused-remembered svm.cc '  if (cet->s_cet & SVM_S_CET_RESERVED_BITS) {' '
  SvmRememberCetState(cet);
  if (cet->s_cet & SVM_S_CET_RESERVED_BITS) {'
mutant ssp-not-taken-back svm.cc '    SSP = BX_CPU_THIS_PTR prev_ssp;' ''
mutant vmsave-has-s_cet svm.cc 'vmcb_write64(SVM_GUEST_SYSENTER_EIP_MSR, BX_CPU_THIS_PTR msr.sysenter_eip_msr);' \
	'vmcb_write64(SVM_GUEST_S_CET, BX_CPU_THIS_PTR msr.ia32_cet_control[0]);'
mutant vmload-has-isst svm.cc 'BX_CPU_THIS_PTR msr.star = vmcb_read64(SVM_GUEST_STAR_MSR);' '
  BX_CPU_THIS_PTR msr.star = vmcb_read64(SVM_GUEST_STAR_MSR);
  BX_CPU_THIS_PTR msr.ia32_interrupt_ssp_table = vmcb_read64(SVM_GUEST_ISST_ADDR);'
mutant nrip-not-used svm.cc '      RIP = vmcb_read64(SVM_CONTROL64_NRIP);' '{}'
mutant cs-not-taken-back exception.cc 'BX_CPU_THIS_PTR sregs[BX_SEG_REG_CS] = BX_CPU_THIS_PTR far_cs;' ''
mutant nrip-of-the-handler exception.cc 'RIP = BX_CPU_THIS_PTR far_rip;' ''
mutant old-event-reported svm.cc 'vmcb->ctrls.exitintinfo = vector | (type << 8)' \
	'if (type == BX_HARDWARE_EXCEPTION) vmcb->ctrls.exitintinfo = vector | (type << 8)'
mutant db-without-dr6 svm.cc '  if (vector == BX_DB_EXCEPTION)
    BX_CPU_THIS_PTR dr6.val32' '  if (0)
    BX_CPU_THIS_PTR dr6.val32'
mutant trap-of-guest-kept svm.cc '  BX_CPU_THIS_PTR debug_trap = 0;
  BX_CPU_THIS_PTR inhibit_mask = 0;

  for' '  for'
mutant interrupts-not-unmasked svm.cc '  // EFLAGS was loaded before this was a guest
  handleInterruptMaskChange();' ''
mutant interrupts-of-guest-if flag_ctrl_pro.cc 'if (SVM_HOST_IF)' 'if (get_IF())'
mutant npf-without-bit-6 paging.cc '#if BX_SUPPORT_CET
  if (rw & 4)
    error_code |= ERROR_SHADOW_STACK;
#endif

  if (is_page_walk)' 'if (is_page_walk)'
mutant wrmsr-of-ibt-bits msr.cc '(val_64 & ~BX_CONST64(0x3)) != 0' '(val_64 & ~BX_CONST64(0x3f)) != 0'
mutant sysenter-64-bits msr.cc '    case BX_MSR_SYSENTER_ESP:
#if BX_SUPPORT_X86_64
      if (BX_CPUID_SUPPORT_ISA_EXTENSION(BX_ISA_SVM))' '    case BX_MSR_SYSENTER_ESP:
#if BX_SUPPORT_X86_64
      if (0)'
mutant xrstors-of-ibt-bits xsave.cc 'wrmsr(BX_MSR_IA32_U_CET, ctrl) &&' 'wrmsr(BX_MSR_IA32_U_CET, ctrl & 3) &&'
mutant cpuid-ibt cpudb/amd/ryzen.cc 'BX_CPUID_STD7_SUBLEAF0_ECX_CET_SS : 0;
    leaf->edx = 0;' 'BX_CPUID_STD7_SUBLEAF0_ECX_CET_SS : 0;
    leaf->edx = 1 << 20;'

# breaks FILE TEXT REPLACEMENT
# shellcheck disable=SC2016 # perl expands it
breaks() {
	TEXT=$2 MORE=$3 perl -0777 -i -pe '
		s/\Q$ENV{TEXT}\E/$ENV{MORE}/g == 1 or die "no place for it, or several: $ENV{TEXT}\n"' "$source/$1" &&
		"$top/tests/hosts/bochs" again "$tree"
}

# The case fails, and not because the host does not start.
# shellcheck disable=SC2317 # ok calls it
seen() {
	! BOCHS=$tree/source/bochs "$top/tests/hosts/svm-cet.t" >"$tmp/points" 2>&1 || {
		echo "all checks passed"
		return 1
	}
	grep '^not ok.*svm-rules: ' "$tmp/points" >"$tmp/seen"
}

# shellcheck disable=SC2317 # ok calls it
unchanged() { BOCHS=$tree/source/bochs "$top/tests/hosts/svm-cet.t"; }

# The tree is kept for the next run, until the emulator's own build changes.
mkdir -p "$build/tmp"
key=$(cd "$top/tests/hosts" && cat bochs bochs.patch bochs-svm-cet.patch | sha256sum)
if [ "$(cat "$tree/key" 2>/dev/null)" != "$key" ]; then
	ok "Bochs is built" "$top/tests/hosts/bochs" tree "$tree"
	echo "$key" >"$tree/key"
fi
for file in $(printf '%s\n' "${files[@]}" | sort -u); do
	# Also what an interrupted run left
	[ ! -e "$tree/original/$file" ] || cmp -s "$tree/original/$file" "$source/$file" ||
		cp "$tree/original/$file" "$source/$file"
	mkdir -p "$tree/original/$(dirname "$file")"
	[ -e "$tree/original/$file" ] || cp "$source/$file" "$tree/original/$file"
done
ok "Bochs is up to date" "$top/tests/hosts/bochs" again "$tree"
ok "unchanged: all checks pass" unchanged
for i in "${!names[@]}"; do
	name=${names[i]} file=${files[i]}
	[[ -z ${MUTANTS:-} || " $MUTANTS " == *" $name "* ]] || continue
	if breaks "$file" "${texts[i]}" "${replacements[i]}" >"$tmp/make.log" 2>&1; then
		ok "$name: is seen" seen
		diag "$(head -n 3 "$tmp/seen")" "$(wc -l <"$tmp/seen") in all"
	else
		report 1 "$name: builds"
		diag "$(tail -n 5 "$tmp/make.log")"
	fi
	cp "$tree/original/$file" "$source/$file"
done
done_testing
