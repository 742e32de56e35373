# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2016 # tests/tap.sh sets build, tmp and top; scripts in quotes
# Made-up hosts, for cases that need no kernel: trees for KVM_ONEREG_ROOT. The command in them is built with ASan and
# UBSan. Source this first, in place of tests/tap.sh: it continues the case in the root that has the compilers.
#
#   host            make a host without problems in $R: Debian 13's kernel $K with our modules $V installed and loaded,
#                   on an AMD CPU
#   kernel RELEASE DISTRO [OURS [VERSION-OF-LINUX]]
#                   add a kernel, with the distro's modules and, if OURS is "ours", ours
#   ko FILE [KEY=VALUE]...    make a module; ID=... (hexadecimal, 40 digits) is its build ID. EXPORT=NAME:CRC,
#                   IMPORT=NAME:CRC, UNVERSIONED=NAME (imported without a CRC) and WEAK=NAME are its symbols
#   initrd FILE PACKER...     make an initramfs in /boot: an archive of microcode, then the files in $tmp/in, compressed
#   load NAME FILE [out]      let a module be loaded from this file; "out": out of tree
#   grub DEFAULT RELEASE...   make a grub.cfg like grub-mkconfig, with kernels in this order; DEFAULT may be "saved",
#                   for the entry that grubenv has
#   put FILE TEXT   write a file below $R
#   dep [RELEASE]   run depmod
#   vm PID COMMAND VMS VCPUS [WORD]...    add a process with VMs
#   onereg WORD...  run the command on the host; sets $output and $status
#   json PERL       print the value of a Perl expression, in which $j is the JSON in $output

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${MADE_UP:-}" ]; then
	[ "$(id -u)" = 0 ] || {
		echo "1..0 # SKIP needs root"
		exit 0
	}
	command -v mmdebstrap >/dev/null || {
		echo "1..0 # SKIP mmdebstrap is missing: apt-get install mmdebstrap"
		exit 0
	}
	top=$(cd "$here/../.." && pwd)
	build=${BUILD:-$top/build}
	mkdir -p "$build"
	build=$(cd "$build" && pwd)
	exec "$top/tests/debian/root" run compilers -n -b "$top" -b "$build" -w "$top" -- \
		env MADE_UP=1 BUILD="$build" "$here/$(basename "$0")"
fi
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

checked=$build/command/checked
mkdir -p "$checked"
flags="-fsanitize=address,undefined -fno-sanitize-recover=all"
log=$(flock "$checked" make -C "$top/tools/kvm-onereg" O="$checked" CFLAGS="-O1 -g $flags" LDFLAGS="$flags" \
	"$checked/kvm-onereg" 2>&1) ||
	{
		diag "$log"
		ok "the command builds with sanitizers" false
		done_testing
	}

V=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")
K=6.12.117+deb13-amd64
R=$tmp/host

put() {
	mkdir -p "$R$(dirname "$1")"
	printf '%s\n' "$2" >"$R$1"
}

ko() {
	local file=$1 id='' a name crc
	shift
	mkdir -p "$(dirname "$file")"
	{
		echo '.section .modinfo,"a"'
		for a; do case $a in ID=*) id=${a#ID=} ;; [A-Z]*=*) ;; *) echo ".asciz \"$a\"" ;; esac done
		for a; do
			name=${a#*=} crc=${a##*:}
			name=${name%:*}
			case $a in
			EXPORT=*)
				echo ".globl __crc_$name; .set __crc_$name, $crc"
				echo ".section __ksymtab_strings,\"a\"; .asciz \"$name\""
				;;
			IMPORT=*)
				echo ".text; .quad $name"
				echo ".section __versions,\"a\"; .quad $crc; 1: .asciz \"$name\"; .org 1b + 56"
				;;
			UNVERSIONED=*) echo ".text; .quad $name" ;;
			WEAK=*) echo ".weak $name; .text; .quad $name" ;;
			esac
		done
		[ -z "$id" ] ||
			echo ".section .note.gnu.build-id,\"a\",@note; .long 4, 20, 3; .asciz \"GNU\"; .byte $(
				sed 's/../,0x&/g; s/^,//' <<<"$id"
			)"
	} | as -o "$file" -
}

initrd() {
	local file=$1
	shift
	mkdir -p "$tmp/early/kernel/x86/microcode" "$R/boot"
	: >"$tmp/early/kernel/x86/microcode/AuthenticAMD.bin"
	{
		(cd "$tmp/early" && find . | cpio -o -H newc --quiet)
		(cd "$tmp/in" && find . | cpio -o -H newc --quiet) | "$@"
	} >"$R/boot/$file"
}

# A build-id derived from these words
id() { sha1sum <<<"$*" | cut -c1-40; }

dep() { depmod -b "$R" "${1:-$K}" 2>/dev/null; }

kernel() {
	local k=$1 m d=$R/lib/modules/$1 linux=${4:-${1%%[+-]*}-1} series
	series=$(cut -d. -f1,2 <<<"$k")
	for m in kvm kvm-intel kvm-amd; do
		[ "$2" = none ] ||
			ko "$d/kernel/arch/x86/kvm/$m.ko" license=GPL "vermagic=$k SMP" "depends=" \
				ID="$(id distro "$k" "$m")" parmtype=nested:bool
		[ "${3:-}" != ours ] ||
			ko "$d/updates/dkms/$m.ko" license=GPL "version=$V" "origin=linux-source-$series $linux" \
				"srcversion=$m$V" "vermagic=$k SMP" "depends=" ID="$(id ours "$k" "$m")" \
				parmtype=nested:bool parmtype=cet:bool
	done
	mkdir -p "$d/kernel"
	dep "$k"
	put "/lib/modules/$k/build/include/generated/package.h" "#define LINUX_PACKAGE_ID \" Debian $linux\""
	put "/lib/modules/$k/build/Makefile" "all:"
	printf '%s\t%s\tinstalled\tok\n' "linux-image-$k" "$linux" "linux-headers-$k" "$linux" >>"$R/dpkg"
}

load() {
	local m=$R/sys/module/${1//-/_} file=$2
	mkdir -p "$m/notes" "$m/holders" "$m/parameters"
	echo live >"$m/initstate"
	echo 0 >"$m/refcnt"
	echo "${3:+O}" >"$m/taint"
	rm -f "$m/version" "$m/srcversion"
	modinfo -F version "$file" >"$m/version"
	modinfo -F srcversion "$file" >"$m/srcversion"
	[ -s "$m/version" ] || rm "$m/version" "$m/srcversion"
	objcopy -O binary --only-section=.note.gnu.build-id "$file" "$m/notes/.note.gnu.build-id"
}

grub_entry() {
	printf "\tmenuentry '%s' --class debian \$menuentry_id_option '%s' {\n" "$1" "$2"
	printf '\t\tload_video\n\t\tlinux\t/boot/vmlinuz-%s root=UUID=1-2 ro %s\n\t}\n' "$3" "$4"
}

grub() {
	local default=$1 k first=$2
	[ "$default" != saved ] || default='${saved_entry}'
	shift
	put /boot/grub/grub.cfg "if [ -s \$prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ \"\${next_entry}\" ] ; then
   set default=\"\${next_entry}\"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default=\"$default\"
fi
if [ x\"\${feature_menuentry_id}\" = xy ]; then
  menuentry_id_option=\"--id\"
else
  menuentry_id_option=\"\"
fi
function load_video {
  if [ x\$feature_all_video_module = xy ]; then
    insmod all_video
  fi
}
menuentry 'Debian GNU/Linux' --class debian --class os \$menuentry_id_option 'gnulinux-simple-1-2' {
	load_video
	if [ x\$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	echo	'Loading Linux $first ...'
	linux	/boot/vmlinuz-$first root=UUID=1-2 ro  quiet
	initrd	/boot/initrd.img-$first
}
submenu 'Advanced options for Debian GNU/Linux' \$menuentry_id_option 'gnulinux-advanced-1-2' {
$(for k; do
		grub_entry "Debian GNU/Linux, with Linux $k" "gnulinux-$k-advanced-1-2" "$k" quiet
		grub_entry "Debian GNU/Linux, with Linux $k (recovery mode)" "gnulinux-$k-recovery-1-2" "$k" single
	done)
}
menuentry 'UEFI Firmware Settings' \$menuentry_id_option 'uefi-firmware' {
	fwsetup
}"
}

vm() {
	local p=$R/proc/$1 i n=3
	put "/proc/$1/comm" "$2"
	mkdir -p "$p/fd"
	mknod "$p/fd/3" c 10 232
	for ((i = 0; i < $3; i++)); do ln -s anon_inode:kvm-vm "$p/fd/$((++n))"; done
	for ((i = 0; i < $4; i++)); do ln -s "anon_inode:kvm-vcpu:$i" "$p/fd/$((++n))"; done
	shift 4
	printf '%s\0' "$@" >"$p/cmdline"
}

host() {
	local m
	rm -rf "$R"
	# Made once, then copied
	if [ -d "$tmp/good-host" ]; then
		cp -a "$tmp/good-host" "$R"
		return
	fi
	mkdir -p "$R"/{proc/1,sys/module,sys/kernel/security,etc/modprobe.d,usr/bin,tmp,usr/src}
	put /proc/sys/kernel/osrelease "$K"
	put /proc/version "Linux version $K (x@y) #1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-01)"
	put /proc/cpuinfo $'vendor_id\t: AuthenticAMD\nmodel name\t: Made Up 1\nflags\t\t: fpu svm'
	put /proc/cmdline "root=/dev/sda1 quiet"
	put /dev/kmsg "<6>[    0.000000] Linux version $K"
	put /etc/os-release 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"'
	put /sys/kernel/security/lockdown "[none] integrity confidentiality"
	printf '%s\t%s\tinstalled\tok\n' dkms 3.2.2-1~deb13u1 kvm-onereg-dkms "$V" linux-source-6.12 6.12.117-1 \
		>"$R/dpkg"
	kernel "$K" distro ours
	for m in kvm kvm-amd; do load $m "$R/lib/modules/$K/updates/dkms/$m.ko" out; done
	echo "kvm-onereg/$V, $K, x86_64: installed" >"$R/dkms"
	put "/var/lib/dkms/kvm-onereg/$V/source/dkms.conf" ""
	mkdir -p "$R/var/lib/dkms/kvm-onereg/$V/$K"
	put "/usr/src/kvm-onereg-$V/dkms.conf" ""
	put /usr/src/linux-source-6.12.tar.xz ""
	put /usr/lib/kvm-onereg/install ""
	# These programs are two folders below $R
	put /usr/bin/dpkg-query '#!/bin/sh
cd "${0%/*}/../.."; case $1 in -W) cat dpkg ;; -S) grep " $2$" owners ;; esac'
	put /usr/bin/dkms '#!/bin/sh
cat "${0%/*}/../../dkms"'
	chmod +x "$R"/usr/bin/*
	cp -a "$R" "$tmp/good-host"
}

onereg() {
	status=0
	output=$(KVM_ONEREG_ROOT=$R UBSAN_OPTIONS=print_stacktrace=1 "$checked/kvm-onereg" "$@" 2>&1) || status=$?
	case $output in *AddressSanitizer* | *LeakSanitizer* | *"runtime error"*)
		report 1 "sanitizers: $*"
		diag "$output"
		;;
	esac
}

json() {
	perl -MJSON::PP -e 'local $/; my $j = eval { decode_json(<STDIN>) }; die "no JSON: $@" unless $j;
		my $r = eval $ARGV[0]; die $@ if $@; print JSON::PP::is_bool($r) ? ($r ? "true" : "false") : $r // "null"' "$1" <<<"$output" 2>&1
}
