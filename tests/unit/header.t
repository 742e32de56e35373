#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The header for programs compiles in every language that it supports, together with older and newer kernel headers, and
# its values are those of the ABI.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

uapi=$top/include/uapi
strict='-pedantic -Wall -Wextra -Wconversion -Wsign-conversion -Werror -fsyntax-only'

echo '#include <asm/kvm.h>' >"$tmp/probe.c"
gcc -fsyntax-only "$tmp/probe.c" 2>/dev/null || skip_all "no <asm/kvm.h>: install linux-libc-dev"

# A newer <asm/kvm.h>: the system's, plus what Linux 6.18 adds, with the same names and values. Statement expressions
# and uncast arguments are intended: our header must work with them.
mkdir -p "$tmp/newer/asm"
cat >"$tmp/newer/asm/kvm.h" <<'END'
#include_next <asm/kvm.h>
#ifndef STAND_IN
#define STAND_IN
#undef KVM_X86_KVM_REG_SIZE
#undef KVM_X86_REG_TYPE_SIZE
#undef KVM_X86_REG_ID
#undef KVM_X86_REG_MSR
#undef KVM_X86_REG_KVM
#undef KVM_X86_REG_TYPE_MSR
#undef KVM_X86_REG_TYPE_KVM
#undef KVM_REG_GUEST_SSP
#define KVM_X86_REG_TYPE_MSR 2
#define KVM_X86_REG_TYPE_KVM 3
#define KVM_REG_GUEST_SSP 0
#define KVM_X86_KVM_REG_SIZE(r) ({ __u64 s_ = 0; if (r == KVM_REG_GUEST_SSP) s_ = 0x30000000000000ULL; s_; })
#define KVM_X86_REG_TYPE_SIZE(t, r) ({ __u64 ts_ = t; ts_ <<= 32;					\
	if (t == KVM_X86_REG_TYPE_MSR) ts_ |= 0x30000000000000ULL;					\
	else if (t == KVM_X86_REG_TYPE_KVM) ts_ |= KVM_X86_KVM_REG_SIZE(r);				\
	ts_; })
#define KVM_X86_REG_ID(t, i) (0x2000000000000000ULL | KVM_X86_REG_TYPE_SIZE(t, i) | i)
#define KVM_X86_REG_MSR(i) KVM_X86_REG_ID(KVM_X86_REG_TYPE_MSR, i)
#define KVM_X86_REG_KVM(i) KVM_X86_REG_ID(KVM_X86_REG_TYPE_KVM, i)
#endif
END

# Every use that requires a constant expression, in C and C++. Expected values are literals: values from the header
# would agree with any mistake in it.
cat >"$tmp/uses.h" <<'END'
#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)
#define CHECK(c) extern char PASTE(check_, __LINE__)[(c) ? 1 : -1]
#define HEX(high, low) (((__u64)high << 32) | (__u64)low)

CHECK(KVM_X86_REG_TYPE_MSR == 2 && KVM_X86_REG_TYPE_KVM == 3 && KVM_X86_REG_TYPE_SYNTHETIC_MSR == 3);
CHECK(KVM_REG_GUEST_SSP == 0 && KVM_SYNTHETIC_GUEST_SSP == 0);
CHECK(KVM_X86_REG_KVM_ONEREG_BASE == 0x80000000U && KVM_X86_REG_KVM_LOCAL_BASE == 0xff000000U);

CHECK(KVM_X86_REG_MSR(0x10) == HEX(0x20300002U, 0x00000010U));
CHECK(KVM_X86_REG_MSR(0xc0000080) == HEX(0x20300002U, 0xc0000080U));
CHECK(KVM_X86_REG_MSR(0xda0) == HEX(0x20300002U, 0x00000da0U));
CHECK(KVM_X86_REG_MSR(0x6a0) == HEX(0x20300002U, 0x000006a0U));
CHECK(KVM_X86_REG_MSR(0x6a2) == HEX(0x20300002U, 0x000006a2U));
CHECK(KVM_X86_REG_MSR(0x6a4) == HEX(0x20300002U, 0x000006a4U));
CHECK(KVM_X86_REG_MSR(0x6a8) == HEX(0x20300002U, 0x000006a8U));
CHECK(KVM_X86_REG_MSR(0x4b564d01) == HEX(0x20300002U, 0x4b564d01U));
CHECK(KVM_X86_REG_MSR(0) == HEX(0x20300002U, 0U));
CHECK(KVM_X86_REG_MSR(0xffffffff) == HEX(0x20300002U, 0xffffffffU));
CHECK(KVM_X86_REG_KVM(0) == HEX(0x20300003U, 0U));
CHECK(KVM_X86_REG_KVM(KVM_REG_GUEST_SSP) == HEX(0x20300003U, 0U));
CHECK(KVM_X86_REG_KVM(1) == HEX(0x20000003U, 1U));
CHECK(KVM_X86_REG_KVM(0xffffffff) == HEX(0x20000003U, 0xffffffffU));
CHECK(KVM_X86_REG_SYNTHETIC_MSR(KVM_SYNTHETIC_GUEST_SSP) == HEX(0x20300003U, 0U));
CHECK(KVM_X86_REG_ENCODE(2, 0x10) == HEX(0x20300002U, 0x10U));
CHECK(KVM_X86_REG_ENCODE(KVM_X86_REG_TYPE_SYNTHETIC_MSR, 0) == HEX(0x20300003U, 0U));
CHECK(KVM_X86_REG_ID(2, 0x10) == HEX(0x20300002U, 0x10U));
CHECK(KVM_X86_REG_ID(3, 0) == HEX(0x20300003U, 0U));
CHECK(KVM_X86_REG_ID(0, 0x10) == HEX(0x20000000U, 0x10U));
CHECK(KVM_X86_REG_ID(4, 0x10) == HEX(0x20000004U, 0x10U));
CHECK(KVM_X86_REG_ID(8, 0) == HEX(0x20000008U, 0U));
CHECK(KVM_X86_REG_ID(255, 1) == HEX(0x200000ffU, 1U));

/* An index that is an int, negative, narrow or wide: 32 bits of it are used, without sign extension. */
CHECK(KVM_X86_REG_MSR((int)0xc0000080) == HEX(0x20300002U, 0xc0000080U));
CHECK(KVM_X86_REG_MSR(-1) == HEX(0x20300002U, 0xffffffffU));
CHECK(KVM_X86_REG_MSR((signed char)-1) == HEX(0x20300002U, 0xffffffffU));
CHECK(KVM_X86_REG_MSR(HEX(0x5U, 0x10U)) == HEX(0x20300002U, 0x10U));
CHECK(KVM_X86_REG_KVM(-1) == HEX(0x20000003U, 0xffffffffU));
CHECK(KVM_X86_REG_KVM(HEX(0x1U, 0U)) == HEX(0x20300003U, 0U));
CHECK(KVM_X86_REG_ID(-1, 0) == HEX(0x200000ffU, 0U));
/* Operators of low precedence as arguments. */
CHECK(KVM_X86_REG_ID(1 ? 2 : 3, 1 ? 0x10 : 0x20) == HEX(0x20300002U, 0x10U));
CHECK(KVM_X86_REG_ID(1 | 2, 0 | 0) == HEX(0x20300003U, 0U));
CHECK(sizeof(KVM_X86_REG_MSR(0)) == 8 && sizeof(KVM_X86_REG_KVM(0)) == 8 && sizeof(KVM_X86_REG_ID(9, 0)) == 8);
CHECK(KVM_X86_REG_MSR(0) * 0 - 1 > 1 && KVM_X86_REG_KVM(0) * 0 - 1 > 1 && KVM_X86_REG_ID(9, 0) * 0 - 1 > 1);

static const __u64 in_static_initialiser[] = { KVM_X86_REG_MSR(0x10), KVM_X86_REG_KVM(0), KVM_X86_REG_ID(2, 0x11),
	KVM_X86_REG_ENCODE(2, 0x12), KVM_X86_REG_SYNTHETIC_MSR(0) };
extern char in_array_bound[KVM_X86_REG_MSR(0x10) & 0xff];
struct in_bit_field { unsigned f : KVM_X86_REG_MSR(0x10) & 0xff; };

int in_case_label(__u64 id, unsigned int type, int index);
int in_case_label(__u64 id, unsigned int type, int index)
{
	switch (id) {
	case KVM_X86_REG_MSR(0xc0000080): return 1;
	case KVM_X86_REG_KVM(KVM_REG_GUEST_SSP): return 2;
	case KVM_X86_REG_ENCODE(KVM_X86_REG_TYPE_MSR, 0x10): return 3;
	case KVM_X86_REG_ID(4, 0): return 4;
	}
	return id == KVM_X86_REG_ID(type, index) || id == in_static_initialiser[type];
}

#if defined(__cplusplus) && __cplusplus >= 201103L
static_assert(KVM_X86_REG_MSR(0x10) == 0x2030000200000010ULL, "");
static_assert(KVM_X86_REG_KVM(0) == 0x2030000300000000ULL, "");
constexpr __u64 in_constexpr = KVM_X86_REG_ID(KVM_X86_REG_TYPE_MSR, 0x10);
enum in_enum : __u64 { tsc = KVM_X86_REG_MSR(0x10), ssp = KVM_X86_REG_KVM(0) };
constexpr __u64 id_of(int msr) { return KVM_X86_REG_MSR(msr); }
static_assert(id_of((int)0xc0000080) == 0x20300002c0000080ULL && in_constexpr + 0x70 == id_of(0x80), "");
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(KVM_X86_REG_MSR(0x10) == 0x2030000200000010ULL, "");
_Static_assert(KVM_X86_REG_KVM(0) == 0x2030000300000000ULL, "");
_Static_assert(_Generic(KVM_X86_REG_MSR(0), __u64: 1, default: 0), "");
_Static_assert(_Generic(KVM_X86_REG_KVM(1), __u64: 1, default: 0), "");
#endif
#ifdef __cplusplus
template <__u64 id> struct as_template { static int f() { return id == KVM_X86_REG_MSR(0x10); } };
template struct as_template<KVM_X86_REG_MSR(0x10)>;
template struct as_template<KVM_X86_REG_KVM(0)>;
#endif
#ifdef LOOSE_ENUM
enum in_enum { tsc = KVM_X86_REG_MSR(0x10), ssp = KVM_X86_REG_KVM(0) };
#endif
END

# unit NAME LINE...: a file with these headers before the uses. Our header is combined with others in each order.
unit() {
	local name=$1
	shift
	printf '%s\n' "$@" '#include "uses.h"' >"$tmp/$name.c"
	cp "$tmp/$name.c" "$tmp/$name.cc"
}
unit alone '#include <asm/kvm_onereg.h>'
unit twice '#include <asm/kvm_onereg.h>' '#include <asm/kvm_onereg.h>'
unit before '#include <asm/kvm_onereg.h>' '#include <linux/kvm.h>'
unit after '#include <linux/kvm.h>' '#include <asm/kvm_onereg.h>'
unit between '#include <linux/kvm.h>' '#include <asm/kvm_onereg.h>' '#include <linux/kvm.h>' '#include <asm/kvm.h>'
# Not in C++: there <linux/kvm.h> of 6.1 makes struct kvm_reg_list 16 bytes long, so KVM_GET_REG_LIST is not a valid
# ioctl.
cat >>"$tmp/after.c" <<'END'
CHECK(KVM_GET_ONE_REG == 0x4010aeabU && KVM_SET_ONE_REG == 0x4010aeacU && KVM_GET_REG_LIST == 0xc008aeb0U);
CHECK(KVM_CAP_ONE_REG == 70 && sizeof(struct kvm_one_reg) == 16 && sizeof(struct kvm_reg_list) == 8);
END

# shellcheck disable=SC2317 # ok and not_ok call it
compile() { # COMPILER STANDARD UNIT [OPTION...]
	local cc=$1 std=$2 file=$tmp/$3.c
	shift 3
	case $std in *++*) file=${file}c ;; esac
	# shellcheck disable=SC2086 # a list
	"$cc" -std="$std" $strict "$@" -I"$uapi" -I"$tmp" "$file"
}

m32=-m32
for cc in gcc g++ clang clang++; do
	case $cc in
	*++) stds="c++98 c++11 c++17 c++20" ends="c++98 c++20" loose=gnu++98 end=cc ;;
	*) stds="c89 c99 c11 c17 c2x" ends="c89 c2x" loose=gnu89 end=c ;;
	esac
	if ! "$cc" --version >/dev/null 2>&1; then
		skip "$cc" "$cc is not installed"
		continue
	fi
	m32=-m32
	"$cc" -m32 -fsyntax-only -x c "$tmp/probe.c" 2>/dev/null || {
		m32=
		skip "$cc -m32" "no 32-bit headers: install gcc-multilib"
	}
	for std in $stds; do
		for m in -m64 $m32; do
			ok "$cc -std=$std $m" compile "$cc" "$std" after "$m"
		done
		ok "$cc -std=${std/c/gnu}" compile "$cc" "${std/c/gnu}" after
	done
	for std in $ends; do
		for order in alone twice before between; do
			ok "$cc -std=$std: $order" compile "$cc" "$std" "$order"
		done
		for order in alone before after between; do
			ok "$cc -std=$std: with a newer <asm/kvm.h>, $order" compile "$cc" "$std" "$order" \
				-isystem "$tmp/newer"
		done
	done
	ok "$cc: as values of an enum, if the language allows it" \
		"$cc" -std=$loose -Wall -Wextra -Werror -DLOOSE_ENUM -fsyntax-only -I"$uapi" -I"$tmp" "$tmp/after.$end"
done

# The values are those of the stand-in's macros, for each type and many indices.
cat >"$tmp/native.c" <<'END'
#include <linux/types.h>
#include <asm/kvm.h>
__u64 native_id(__u8 type, __u32 index);
__u64 native_id(__u8 type, __u32 index) { return KVM_X86_REG_ID(type, index); }
END
cat >"$tmp/same.c" <<'END'
#include <asm/kvm_onereg.h>
#include <stdio.h>
__u64 native_id(__u8 type, __u32 index);
int main(void)
{
	unsigned int type, bit, low, n = 0;

	for (type = 0; type < 256; type++)
		for (bit = 0; bit < 33; bit++)
			for (low = 0; low < 64; low++, n++) {
				__u32 index = (bit < 32 ? 1U << bit : 0) ^ (low < 32 ? low : ~(low - 32));

				/* Mainline's macros do not have the registers in our range. */
				if (type == 3 && index >= 0x80000000U && index < 0xff000000U && KVM_X86_KVM_REG_SIZE(index))
					continue;
				if (KVM_X86_REG_ID(type, index) == native_id((__u8)type, index) &&
				    KVM_X86_REG_ID((int)type, (int)index) == native_id((__u8)type, index))
					continue;
				printf("type %u index %#x\n", type, index);
				return 1;
			}
	return n != 256 * 33 * 64;
}
END
for m in -m64 $m32; do
	gcc "$m" -w -c -I"$tmp/newer" "$tmp/native.c" -o "$tmp/native.o" &&
		gcc "$m" -Wall -Wextra -Werror -I"$uapi" "$tmp/same.c" "$tmp/native.o" -o "$tmp/same" 2>"$tmp/same.err"
	case $m:$(
		cat "$tmp/same.err"
		{ "$tmp/same"; } 2>&1
	) in
	-m32:*"cannot find"*) skip "$m: equal to mainline's macros" "no 32-bit libc" ;;
	-m32:*"Exec format error"*) skip "$m: equal to mainline's macros" "this kernel does not run 32-bit programs" ;;
	*) ok "$m: equal to mainline's macros, each type with many indices" "$tmp/same" ;;
	esac
done

# Each index that the header defines must be in the range of its owner. Each macro besides those below is taken for an
# index, so that no new one can be forgotten here.
known='KVM_X86_REG_TYPE_MSR KVM_X86_REG_TYPE_KVM KVM_X86_REG_TYPE_SYNTHETIC_MSR KVM_SYNTHETIC_GUEST_SSP
KVM_X86_REG_KVM_ONEREG_BASE KVM_X86_REG_KVM_LOCAL_BASE _UAPI_ASM_X86_KVM_ONEREG_H'
out_of_range() { # HEADER: print the names whose index is in the wrong range
	local name
	gcc -E -dM -include linux/types.h -include asm/kvm.h -x c /dev/null | sort >"$tmp/without"
	{ printf '#include "%s"\n' "$1" && echo 'int x[] = {'; } >"$tmp/range.c"
	# shellcheck disable=SC2086 # a list
	gcc -E -dM -I"$uapi" "$tmp/range.c" | sort | comm -23 - "$tmp/without" |
		sed -n 's/^#define \([A-Za-z0-9_]*\) ..*/\1/p' |
		grep -v -x -F -e "$(printf '%s\n' $known)" >"$tmp/names"
	while read -r name; do
		case $name in
		KVM_REG_*) echo "_Static_assert((__u64)($name) < 0x80000000U, \"$name: not mainline's range\");" ;;
		*) echo "_Static_assert((__u64)($name) >= 0x80000000U && (__u64)($name) < 0xff000000U, \"$name: not our range\");" ;;
		esac
	done <"$tmp/names" >"$tmp/asserts"
	{
		printf '#include "%s"\n' "$1"
		cat "$tmp/asserts"
	} >"$tmp/range.c"
	gcc -fsyntax-only -I"$uapi" "$tmp/range.c" 2>&1 |
		sed -n 's/.*static assertion failed: "\([A-Za-z0-9_]*\):.*/\1/p'
}
is "every index is in its owner's range" "$(out_of_range "$uapi/asm/kvm_onereg.h")" ""
like "GUEST_SSP is one of the checked indices" "$(cat "$tmp/names")" '^KVM_REG_GUEST_SSP$'

# Print the places that lack a register: docs/extend.md lists them. The names are those that out_of_range has found.
forgotten() {
	local name short file text
	while read -r name; do
		short=${name#KVM_REG_} short=${short#KVM_ONEREG_REG_}
		while read -r file text; do
			grep -q -F -- "$text" "$top/$file" || echo "$short: $file"
		done <<-END
			include/uapi/asm/kvm_onereg.h * $name:
			src/synthetic.c KVM_X86_REG_KVM($name)
			tools/kvm-onereg/kvm-onereg.8.scd kvm:$short
			tests/ioctl/golden.h ID_$short
			tests/ioctl/cet_regs.c ID_$short
			tests/ioctl/model.c ID_$short
			tests/guest/snap.c KVM_X86_REG_KVM($name)
		END
	done <"$tmp/names"
}
is "every register is in all places that need it" "$(forgotten)" ""
sed 's/^#define KVM_SYNTHETIC_GUEST_SSP.*/&\
#define KVM_REG_MAINLINE_BAD 0x80000000\
#define KVM_REG_MAINLINE_GOOD 0x7fffffff\
#define KVM_ONEREG_REG_LOW 0x7fffffff\
#define KVM_ONEREG_REG_GOOD 0x80000000U\
#define KVM_ONEREG_REG_LOCAL 0xff000000U/' "$uapi/asm/kvm_onereg.h" >"$tmp/mutant.h"
is "an index outside its range is detected" "$(out_of_range "$tmp/mutant.h" | sort | tr '\n' ' ')" \
	"KVM_ONEREG_REG_LOCAL KVM_ONEREG_REG_LOW KVM_REG_MAINLINE_BAD "
is "a register that is only in the header is missed in each place" "$(forgotten | grep -c '^GOOD: ')" 7

# The ioctl numbers in the header's comment are those of the kernel.
text=$(cat "$uapi/asm/kvm_onereg.h")
for n in 'KVM_GET_ONE_REG +0x4010aeab' 'KVM_SET_ONE_REG +0x4010aeac' 'KVM_GET_REG_LIST +0xc008aeb0'; do
	like "the comment says $n" "$text" "$n"
done

done_testing
