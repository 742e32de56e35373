#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg doctor on made-up hosts. A good host has no problem. Each single fault is reported with the command that
# fixes it, and nothing else is reported.
# shellcheck disable=SC2154,SC2016 # made-up.sh sets the variables; Perl in quotes
. "$(dirname "$0")/made-up.sh"

D=$R/lib/modules/$K
INSTALL=/usr/lib/kvm-onereg/install
problems() { json 'join "\n", map { "$_->{code}: $_->{fix}" } @{$j->{problems}}'; }
texts() { json 'join "\n", map { $_->{problem} } @{$j->{problems}}'; }
remarks() { json 'join "\n", @{$j->{remarks}}'; }

# finds CODE FIX [REGEX]: doctor finds exactly this problem, and names the fix FIX; blanks and a remark do not count
finds() {
	local got
	onereg doctor --json
	got=$(problems | sed 's/  *#.*//')
	is "$1" "$status $got" "1 $1: $2"
	[ $# -lt 3 ] || like "... and explained" "$(texts)" "$3"
}
nothing() {
	onereg doctor --json
	is "$1: no problem" "$status $(problems)" "0 "
}
edit() { sed -i "$1" "$R/dpkg"; }

host_state() { find "$R" -printf '%P %y %m %s %T@ %l\n' | sort; }
host
before=$(host_state)
nothing "a good host"
is "... each check has a result" "$(json 'join ",", grep { !/^(ok|skipped)$/ } map { $_->{result} } @{$j->{checks}}')" \
	""
is "... only that of /dev/kvm is skipped" \
	"$(json 'join ",", map { $_->{check} } grep { $_->{result} eq "skipped" } @{$j->{checks}}')" /dev/kvm
onereg doctor
is "... it changes nothing" "$(diff <(echo "$before") <(host_state))" ""
like "... in words" "$output" '^No problem found\.$'
like "... a block for a bug report" "$output" '^loaded kvm_amd: ours .*, build-id [0-9a-f]{40}, /lib/modules/'
like "... the packages in it" "$output" '^linux-source-6.12	6.12.117-1	installed'

# ---- headers and source

distro() {
	host
	rm -r "$D/updates" "$R/var/lib/dkms/kvm-onereg/$V/$K"
	dep
	for m in kvm kvm-amd; do load $m "$D/kernel/arch/x86/kvm/$m.ko"; done
}
distro
finds not-built $INSTALL "ours is not built"
rm -r "$D/build"
finds headers-missing "apt-get install linux-headers-$K && $INSTALL"
mkdir -p "$D/build"
: >"$D/build/Makefile"
finds headers-missing "apt-get install linux-headers-$K && $INSTALL" 'not installed completely'
distro
rm "$R/usr/src/linux-source-6.12.tar.xz"
finds source-missing "apt-get install linux-source-6.12=6.12.117-1 && $INSTALL"
put /var/lib/kvm-onereg/source/6.12.117-1/SHA256SUMS x
finds not-built $INSTALL
distro
edit 's/^\(linux-source-6.12\t\)[^\t]*/\16.12.120-1/'
finds source-version "apt-get install linux-source-6.12=6.12.117-1 && $INSTALL" \
	'built from linux 6.12.117-1, but linux-source-6.12 has version 6.12.120-1'
distro
mkdir -p "$R/var/lib/dkms/kvm-onereg/$V/$K"
finds not-installed $INSTALL
host
rm -r "$D/build" "$R/usr/src/linux-source-6.12.tar.xz"
nothing "ours is installed, headers and source are gone"

# ---- a build that failed

distro
put "/var/lib/kvm-onereg/log/$K" $'make: entering\nkvm-onereg: extracting KVM\'s source\nkvm-onereg: hook 3 does not apply\n  to fix: apt-get install --reinstall linux-source-6.12\nmake: *** [Makefile:9: modules] Error 15'
finds build-failed "apt-get install --reinstall linux-source-6.12 && $INSTALL" 'hook 3 does not apply'
put "/var/lib/kvm-onereg/log/$K" $'  CC x.o\nx.c:3:4: error: unknown type\nx.c:9:4: error: another\ncc1: some\nmake[1]: *** [x.o] Error 1\nmake: *** last'
finds build-failed "less /var/lib/kvm-onereg/log/$K" 'x.c:3:4: error: unknown type'
is "... the decisive lines, and no others" "$(texts | grep -c '^    ')" 4
sleep 0.02
put "/var/lib/dkms/kvm-onereg/$V/build/make.log" "DKMS make.log for kvm-onereg-$V for kernel $K (x86_64)
cp: No space left on device"
finds build-failed "less /var/lib/dkms/kvm-onereg/$V/build/make.log" 'No space left'
put "/var/lib/dkms/kvm-onereg/$V/build/make.log" \
	$'DKMS make.log for kvm-onereg for kernel 6.1.0-9\ncp: No space left on device'
finds build-failed "less /var/lib/kvm-onereg/log/$K"
host
put "/var/lib/kvm-onereg/log/$K" 'x.c:3:4: error: old'
nothing "a log of an earlier build, with ours installed"

# ---- modules on disk

host
rm "$D/updates/dkms/kvm-intel.ko"
dep
finds disk-mixed $INSTALL 'kvm-intel distro'
host
edit 's/6.12.117-1/6.12.118-1/'
put "/lib/modules/$K/build/include/generated/package.h" '#define LINUX_PACKAGE_ID " Debian 6.12.118-1"'
put /proc/version "Linux version $K #1 SMP Debian 6.12.118-1 (2026-11-01)"
finds stale-build $INSTALL \
	'was built from linux-source-6.12 6.12.118-1, but our modules from linux-source-6.12 6.12.117-1'
host
for m in kvm kvm-intel kvm-amd; do
	ko "$D/updates/dkms/$m.ko" version=0.0.9 "origin=linux-source-6.12 6.12.117-1" "vermagic=$K SMP" ID="$(id "$m")"
done
for m in kvm kvm-amd; do load $m "$D/updates/dkms/$m.ko" out; done
finds other-version $INSTALL 'version 0.0.9'
host
for m in kvm kvm-intel kvm-amd; do
	ko "$D/updates/dkms/$m.ko" "version=$V" "origin=linux-source-6.12 6.12.117-1" "vermagic=6.12.1 SMP" \
		ID="$(id "$m")"
done
for m in kvm kvm-amd; do load $m "$D/updates/dkms/$m.ko" out; done
finds vermagic $INSTALL 'belongs to another kernel'
host
mkdir "$D/updates/old"
for m in kvm kvm-intel kvm-amd; do mv "$D/updates/dkms/$m.ko" "$D/updates/old/"; done
dep
finds stale "rm /lib/modules/$K/updates/old/kvm.ko && depmod $K && $INSTALL"
host
rm -r "$D/updates"
ko "$D/extra/kvm.ko" "vermagic=$K SMP"
mkdir -p "$R/etc/depmod.d"
cp "$D/extra/kvm.ko" "$D/kernel/arch/x86/kvm/"
sed -i 's,kernel/arch/x86/kvm/kvm.ko,extra/kvm.ko,' "$D/modules.dep"
rm -f "$D"/modules.dep.bin
mv "$D/extra" "$D/updates"
rm "$D/kernel/arch/x86/kvm/kvm.ko"
dep
load kvm-amd "$D/kernel/arch/x86/kvm/kvm-amd.ko"
load kvm "$D/updates/kvm.ko" out
onereg doctor --json
like "somebody's module in updates/ takes precedence" "$(problems)" \
	"^foreign: rm /lib/modules/${K//+/[+]}/updates/kvm.ko && depmod"
echo "other-kvm: /lib/modules/$K/updates/kvm.ko" >"$R/owners"
onereg doctor --json
like "... of a package: that is removed" "$(problems)" '^foreign: apt-get remove other-kvm$'
rm "$R/owners"
mkdir -p "$R/var/lib/dkms/other/1.2/$K/x86_64/module"
: >"$R/var/lib/dkms/other/1.2/$K/x86_64/module/kvm.ko"
ln -s "1.2/$K/x86_64" "$R/var/lib/dkms/other/kernel-$K-x86_64"
onereg doctor --json
like "... of another module of DKMS: that is removed" "$(problems)" '^foreign: dkms remove -m other -v 1.2 -k '
host
mv "$D/updates/dkms" "$D/updates/kvm-onereg"
dep
truncate -s 200 "$D/updates/kvm-onereg/kvm-amd.ko"
onereg doctor --json
like "a truncated prebuilt module" "$(problems)" "^damaged: apt-get install --reinstall kvm-onereg-modules-"
host
head -c 200 "$D/updates/dkms/kvm-intel.ko" >"$tmp/cut"
cp "$tmp/cut" "$D/updates/dkms/kvm-intel.ko"
finds damaged "rm /lib/modules/$K/updates/dkms/kvm-intel.ko && $INSTALL"
host
: >"$D/modules.dep"
rm "$D"/modules.dep.bin
onereg doctor --json
like "modules.dep without them" "$(problems)" "^depmod: depmod 6.12"
host
rm -r "$D"/updates "$D"/kernel/arch/x86/kvm
dep
rm -r "$R"/sys/module/kvm*
onereg doctor --json
like "no modules" "$(problems)" "^modules-missing: apt-get install --reinstall linux-image-6.12"

# ---- what is loaded

host
for m in kvm kvm-amd; do load $m "$D/kernel/arch/x86/kvm/$m.ko"; done
finds swap-pending "kvm-onereg swap ours" 'distro is loaded, built from linux 6.12.117-1, and modprobe would load ours'
host
for m in kvm kvm-intel kvm-amd; do
	ko "$D/updates/dkms/$m.ko" "version=$V" "origin=linux-source-6.12 6.12.117-1" "srcversion=x" "vermagic=$K SMP" \
		ID="$(id new $m)"
done
put /var/lib/kvm-onereg/build-ids "$(id ours "$K" kvm) linux-source-6.12 6.12.99-1"
finds swap-pending "kvm-onereg swap ours" \
	"ours $V is loaded, built from linux 6.12.99-1, and modprobe would load ours $V, from linux-source-6.12 6.12.1"
distro
rm -r "$R/usr/src" "$D/build"
for m in kvm kvm-intel kvm-amd; do
	ko "$D/kernel/arch/x86/kvm/$m.ko" "vermagic=$K SMP" ID="$(id upgraded $m)"
done
edit 's/^\(linux-image-.*\t\)6.12.117-1/\16.12.117-2/'
onereg doctor --json
is "the distro's, upgraded under the same name: a reboot, and no swap" \
	"$(problems | grep -E '^(swap|same)' | sed 's/  *#.*//')" "swap-pending: reboot"$'\n'"same-name-upgrade: reboot"
host
load kvm-amd "$D/kernel/arch/x86/kvm/kvm-amd.ko"
finds loaded-mixed "kvm-onereg swap ours"
host
rm -r "$R"/sys/module/kvm*
nothing "nothing loaded (/dev/kvm is not asked here)"
host
put /proc/cpuinfo $'flags\t: fpu'
finds cpu-no-virtualization "enable virtualization (VT-x, SVM) in the firmware setup, if the CPU has it"
put /proc/cpuinfo $'flags\t: fpu hypervisor'
finds cpu-no-virtualization "on the outer host: enable nested virtualization, and use -cpu host for this VM"
put /dev/kmsg '<3>[1.0] kvm_amd: SVM disabled by BIOS in MSR_VM_CR'
finds cpu-disabled "enable virtualization (VT-x, SVM) in the firmware setup, then power the machine off and on" \
	'SVM disabled by BIOS'

# ---- configuration

host
put /etc/modprobe.d/x.conf $'# ours\nblacklist kvm-amd'
finds blacklisted "sed -i '/^ *blacklist  *kvm[-_]amd/d' /etc/modprobe.d/x.conf && modprobe kvm_amd" \
	'x.conf has "blacklist kvm_amd"'
# The command does what it says
fix=$(problems)
fix=${fix#*: }
fix=${fix%% &&*}
eval "${fix/ \/etc/ $R/etc}"
nothing "... and the command fixes it"
put /etc/modprobe.d/x.conf 'install kvm /bin/false'
finds install-command "sed -i '/^ *install  *kvm\\b/d' /etc/modprobe.d/x.conf && modprobe kvm"
put /etc/modprobe.d/x.conf 'blacklist kvm_intel'
nothing "the other vendor's module is blacklisted"
put /etc/modprobe.d/x.conf $'blacklist kvm_amd_x\n#blacklist kvm_amd\ninstall kvm /sbin/modprobe --ignore-install kvm'
nothing "other lines"
put /etc/modprobe.d/x.conf $'softdep kvm_amd pre: blacklist kvm_amd\noptions kvm_amd install=/bin/false'
nothing "... of other kinds"
put /usr/lib/modprobe.d/x.conf 'blacklist kvm_amd'
nothing "... a file of /usr/lib that /etc hides"
rm "$R/etc/modprobe.d/x.conf"
finds blacklisted "sed -i '/^ *blacklist  *kvm[-_]amd/d' /usr/lib/modprobe.d/x.conf && modprobe kvm_amd" \
	'has "blacklist kvm_amd"'
host
put /etc/modprobe.d/x.conf $'install kvm* /bin/true'
onereg doctor --json
is "a command for all that match" "$(problems | sed 's/:.*//' | sort -u)" install-command
for p in module_blacklist modprobe.blacklist; do
	host
	put /proc/cmdline "quiet $p=foo,kvm-amd splash"
	finds blacklisted "remove kvm_amd from $p= in /etc/default/grub; update-grub && reboot"
done
put /proc/cmdline "xmodule_blacklist=kvm_amd module_blacklist=kvm_amdx"
nothing "other parameters"

# ---- CET

intel() {
	host
	put /proc/cpuinfo $'flags\t\t: fpu vmx user_shstk ibt'
	rm -r "$R/sys/module/kvm_amd"
	load kvm-intel "$D/updates/dkms/kvm-intel.ko" out
	put /sys/module/kvm_intel/parameters/cet "$1"
	put /etc/modprobe.d/kvm-onereg.conf 'options kvm_intel cet=1'
}
intel Y
nothing "cet=1, and Y"
intel N
put /dev/kmsg '<4>[2] kvm_intel: guests get no CET, although kvm_intel.cet=1: it needs EPT (kvm_intel.ept)'
finds cet-off "sed -i 's/ ept=[^ ]*//' /etc/modprobe.d/*.conf && kvm-onereg swap distro && kvm-onereg swap ours" \
	'it needs EPT'
for of in package build; do
	put /dev/kmsg "<4>[2] kvm_intel: guests get no CET, although kvm_intel.cet=1: the kvm module that is loaded is not of the same $of"
	finds cet-off "kvm-onereg swap ours" "not of the same $of"
done
put /dev/kmsg '<4>[2] kvm_intel: guests get no CET, although kvm_intel.cet=1: the CPU lacks something'
finds cet-off "sed -i '/kvm[-_]intel.*cet/d' /etc/modprobe.d/kvm-onereg.conf" 'the CPU lacks something'
put /dev/kmsg x
finds cet-off "kvm-onereg swap distro && kvm-onereg swap ours"
rm "$R/sys/module/kvm_intel/parameters/cet"
finds cet-off "kvm-onereg swap ours" 'has no such parameter'
intel N
rm "$R/etc/modprobe.d/kvm-onereg.conf"
nothing "not requested, and N"
like "... which is said" "$(json 'join ",", map { $_->{detail} // "" } @{$j->{checks}}')" 'not requested'
intel Y
rm "$R/etc/modprobe.d/kvm-onereg.conf"
nothing "not requested, and Y: somebody passed it to modprobe"
is "... is not reported as off" \
	"$(json 'join ",", grep { /not requested/ } map { $_->{detail} // "" } @{$j->{checks}}')" ""
like "... but a remark says that it does not last" "$(remarks)" \
	"neither modprobe.d .* asks for it: .* is lost at the next load .*'options kvm_intel cet=1' >>/etc/modprobe.d/kvm-onereg.conf"
put /etc/modprobe.d/kvm-onereg.conf 'options kvm_intel cet=0'
nothing "cet=0 in modprobe.d, and Y"
like "... is the same" "$(remarks)" '/etc/modprobe.d/kvm-onereg.conf says cet=0: '
intel Y
put /etc/modprobe.d/a.conf 'options kvm_intel cet=0'
nothing "cet=0 in an earlier file"
is "... without a remark" "$(remarks)" ""
put /etc/modprobe.d/z.conf 'options kvm_intel cet=2'
finds cet-invalid "sed -i 's/cet=2/cet=1/' /etc/modprobe.d/z.conf" 'neither yes nor no: kvm_intel does not load'

amd() {
	host
	put /proc/cpuinfo $'flags\t\t: fpu svm user_shstk'
	load kvm-amd "$D/updates/dkms/kvm-amd.ko" out
	put /sys/module/kvm_amd/parameters/cet "$1"
	put /etc/modprobe.d/kvm-onereg.conf 'options kvm_amd cet=1'
}
amd Y
nothing "AMD: cet=1, and Y"
amd N
put /dev/kmsg '<4>[2] kvm_amd: guests get no CET, although kvm_amd.cet=1: it needs nested paging (kvm_amd.npt)'
finds cet-off "sed -i 's/ npt=[^ ]*//' /etc/modprobe.d/*.conf && kvm-onereg swap distro && kvm-onereg swap ours" \
	'kvm_amd.cet=1, but it is N.*it needs nested paging'
put /dev/kmsg '<4>[2] kvm_amd: guests get no CET, although kvm_amd.cet=1: the CPU lacks something'
finds cet-off "sed -i '/kvm[-_]amd.*cet/d' /etc/modprobe.d/kvm-onereg.conf" 'the CPU lacks something'
rm "$R/sys/module/kvm_amd/parameters/cet"
finds cet-off "kvm-onereg swap ours" 'the loaded kvm_amd has no such parameter'
amd N
put /etc/modprobe.d/kvm-onereg.conf 'options kvm_intel cet=1'
nothing "AMD: requested of Intel's module"
amd Y
rm "$R/etc/modprobe.d/kvm-onereg.conf"
nothing "AMD: not requested, and Y"
like "... a remark says how to keep it" "$(remarks)" "'options kvm_amd cet=1' >>/etc/modprobe.d/kvm-onereg.conf"
amd N
put /etc/modprobe.d/kvm-onereg.conf 'options kvm_amd cet=maybe'
finds cet-invalid "sed -i 's/cet=maybe/cet=1/' /etc/modprobe.d/kvm-onereg.conf" \
	'neither yes nor no: kvm_amd does not load'

# ---- the next boot

N=6.12.118+deb13-amd64
no_cet() {
	intel Y
	kernel $N distro
	edit "/^linux-source/s/117/118/"
}
no_cet
onereg doctor --json
is "the next kernel has the distro's KVM, and CET is requested" \
	"$status $(problems | grep next-boot | sed 's/  *#.*//')" "1 next-boot-no-cet: $INSTALL"
like "... both kernels are named" "$(texts)" \
	"^kernel 6.12.118.* boots next \(the newest\) and has the distro's KVM, while 6.12.117.* has ours: guests with"
like "... and so is what it lacks" "$(problems)" "^not-built: "
grub 0 $K $N
nothing "GRUB stays with the running kernel"
like "... the newer one is a remark" "$(remarks)" \
	"^a newer kernel than the running one is installed, 6.12.118.*, but 6.12.117.* boots next \(GRUB\)$"
intel Y
kernel 6.16.3+deb13-amd64 distro
onereg doctor --json
is "the next kernel belongs to a series that we do not build for" "$(problems | grep next-boot | sed 's/  *#.*//')" \
	"next-boot-no-cet: apt-get remove linux-image-6.16.3+deb13-amd64"
no_cet
rm "$R/etc/modprobe.d/kvm-onereg.conf"
put /sys/module/kvm_intel/parameters/cet N
onereg doctor --json
is "without a request for CET it is not a problem" "$(problems | grep -c next-boot)" 0
like "... but a remark" "$(remarks)" \
	"^kernel 6.12.118[+]deb13-amd64 boots next .* while 6.12.117[+]deb13-amd64 has ours$"
no_cet
rm -r "$R/lib/modules/$N"
kernel $N distro ours
finds newer-kernel reboot
kernel 6.12.119+deb13-amd64 distro
grub 0 $N $K
nothing "a kernel boots next that is neither the newest nor running"
like "... a remark says so" "$(remarks)" '6.12.119[+]deb13-amd64, but 6.12.118[+]deb13-amd64 boots next'

# ---- source that is not there yet, modules from a package, a kernel built from one's own tree

distro
put "/var/lib/kvm-onereg/wanted/$K" $'version=6.12.117-1\nresult=offline\nmessage=\ntried=1700000000\nnext=1700003600'
finds source-missing $INSTALL \
	'waits for the source of linux 6.12.117-1: no network; tried 2023-11-14 22:13; next attempt 2023-11-14 23:13'
put /usr/sbin/kvm-onereg-install ''
finds source-missing /usr/sbin/kvm-onereg-install
put "/var/lib/kvm-onereg/wanted/$K" $'version=6.12.117-1\nresult=unavailable\nmessage=gone\ntried=1700000000\nnext=0'
finds source-missing "apt-get install linux-image-amd64 linux-headers-amd64 && reboot" 'not available: gone'
rm "$R/var/lib/kvm-onereg/wanted/$K" "$R/usr/src/linux-source-6.12.tar.xz"
finds source-missing /usr/sbin/kvm-onereg-install
host
put "/var/lib/kvm-onereg/wanted/$K" $'version=6.12.117-1\nresult=failed\ntried=17\nnext=0'
nothing "a leftover mark, with ours installed"
prebuilt() {
	host
	mv "$D/updates/dkms" "$D/updates/kvm-onereg"
	dep
	for m in kvm kvm-amd; do
		load $m "$D/updates/kvm-onereg/$m.ko" out
	done
}
prebuilt
nothing "prebuilt modules"
put "/lib/modules/$K/build/include/generated/package.h" '#define LINUX_PACKAGE_ID " Debian 6.12.118-1"'
finds stale-build "apt-get install --reinstall kvm-onereg-modules-$K"
host
for m in kvm kvm-intel kvm-amd; do
	ko "$D/updates/dkms/$m.ko" "version=$V" "origin=tree /home/me/linux 6.12.117" "vermagic=$K SMP" \
		ID="$(id tree $m)"
done
for m in kvm kvm-amd; do load $m "$D/updates/dkms/$m.ko" out; done
nothing "modules of one's own tree are not old"
host
rm "$D"/{updates/dkms,kernel/arch/x86/kvm}/kvm-intel.ko
dep
onereg doctor --json
is "one vendor's module is gone" "$(problems | sed 's/:.*//')" disk-mixed
config=$'CONFIG_KVM=m\n# CONFIG_KVM_INTEL is not set\nCONFIG_KVM_AMD=m'
put "/lib/modules/$K/build/.config" "$config"
nothing "... because the kernel is configured without it"
onereg swap distro --dry-run
is "... swap does not need it" "$status" 0
rm "$D"/{updates/dkms,kernel/arch/x86/kvm}/kvm-amd.ko
dep
onereg doctor --json
is "... and the other one's, which is configured" "$(problems | sed 's/:.*//')" "disk-mixed"
distro
rm -r "$D/build"
put "/lib/modules/$K/build/Makefile" ''
edit /linux-image/d
nothing "a kernel that is not Debian's"
like "... is called so" "$(json 'join "\n", map { $_->{detail} // "" } @{$j->{checks}}')" \
	"not a Debian kernel: make modules KVM_SOURCE=TREE KDIR=BUILD"

# ---- modules that do not load

# packed XZ-OPTION...: install our modules, compressed with these options
packed() {
	host
	rm -r "$R"/sys/module/kvm*
	for m in kvm kvm-intel kvm-amd; do
		xz "$@" "$D/updates/dkms/$m.ko"
	done
	dep
}
kmod() {
	put /usr/bin/kmod $'#!/bin/sh\necho "kmod version '"$1"'"\necho "+ZSTD +XZ"'
	chmod +x "$R/usr/bin/kmod"
}
config() { put "/boot/config-$K" $'CONFIG_MODULES=y\n'"$1"$'\nCONFIG_MODULE_COMPRESS_XZ=y'; }
for check in crc64 sha256; do
	packed --check=$check
	kmod 34.2
	config CONFIG_MODULE_DECOMPRESS=y
	finds xz-check $INSTALL "updates/dkms/kvm.ko.xz is compressed with xz's check (CRC64|SHA-256), .* \(EINVAL\)"
done
kmod 30
nothing "... with a kmod that unpacks by itself"
like "... a remark says what will happen" "$(remarks)" 'kmod here still decompresses it, but Debian 13.s will not'
for line in '# CONFIG_MODULE_DECOMPRESS is not set' 'CONFIG_MODULE_DECOMPRESS_X=y'; do
	kmod 34.2
	config "$line"
	nothing "... with a kernel that does not unpack"
	is "... no remark" "$(remarks)" ""
done
rm "$R/boot/config-$K"
put /sys/module/compression xz
finds xz-check $INSTALL
put /sys/module/compression zstd
nothing "... with a kernel that unpacks zstd"
for check in crc32 none; do
	packed --check=$check
	kmod 34.2
	config CONFIG_MODULE_DECOMPRESS=y
	nothing "compressed with the check $check"
	is "... no remark" "$(remarks)" ""
done
packed --check=crc32
truncate -s -9 "$D/updates/dkms/kvm-amd.ko.xz"
finds damaged "rm /lib/modules/$K/updates/dkms/kvm-amd.ko.xz && $INSTALL"
host
truncate -s -9 "$D/updates/dkms/kvm-amd.ko"
finds damaged "rm /lib/modules/$K/updates/dkms/kvm-amd.ko && $INSTALL"

# linked KVM-SYMBOLS VENDOR-SYMBOLS [VERMAGIC]: install our modules with these symbols; the kernel exports printk
linked() {
	local m words=$1
	host
	rm -r "$R"/sys/module/kvm*
	put "/lib/modules/$K/build/Module.symvers" \
		$'0x00000011\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n0x000000aa\tkvm_old\tarch/x86/kvm/kvm\tEXPORT_SYMBOL\t'
	for m in kvm kvm-intel kvm-amd; do
		ko "$D/kernel/arch/x86/kvm/$m.ko" "vermagic=$K SMP${3:- modversions}" ID="$(id distro "$m")"
		# shellcheck disable=SC2086 # words
		ko "$D/updates/dkms/$m.ko" "version=$V" "origin=linux-source-6.12 6.12.117-1" \
			"vermagic=$K SMP modversions" ID="$(id "$m")" $words
		words=$2
	done
	dep
}
linked 'EXPORT=kvm_a:0x22 IMPORT=_printk:0x11' 'IMPORT=kvm_a:0x22 IMPORT=_printk:0x11 WEAK=kvm_onereg_is_ours'
nothing "symbols that fit"
linked EXPORT=kvm_a:0x22 IMPORT=kvm_a:0x23
finds symbols $INSTALL 'kvm-intel.ko needs the symbol kvm_a with CRC 0x00000023, and kvm.ko has 0x00000022'
linked EXPORT=kvm_a:0x22 IMPORT=_printk:0x12
finds symbols $INSTALL 'kvm-intel.ko needs the symbol _printk with CRC 0x00000012, and the kernel has 0x00000011'
linked IMPORT=_printk:0x12 ''
finds symbols $INSTALL 'dkms/kvm.ko needs the symbol _printk with CRC 0x00000012'
linked EXPORT=kvm_a:0x22 IMPORT=kvm_b:0x22
finds symbols $INSTALL 'kvm-intel.ko needs the symbol kvm_b, which neither the kernel nor kvm.ko has'
linked EXPORT=kvm_a:0x22 UNVERSIONED=kvm_a
finds symbols $INSTALL 'kvm-intel.ko has no CRC for the symbol kvm_a'
linked EXPORT=kvm_a:0x22 'IMPORT=kvm_b:0x22 IMPORT=_printk:0x12'
rm "$D/build/Module.symvers"
nothing "without Module.symvers, symbols of the kernel"
linked EXPORT=kvm_a:0x22 'IMPORT=kvm_a:0x23'
rm "$D/build/Module.symvers"
finds symbols $INSTALL 'kvm.ko has 0x00000022'
linked EXPORT=kvm_a:0x22 IMPORT=_printk:0x12
edit 's/^\(linux-image-.*\t\)6.12.117-1/\16.12.117-2/'
put /proc/version x
nothing "headers of another version than the kernel's: their symbols do not count"
linked EXPORT=kvm_a:0x22 IMPORT=kvm_a:0x22 ' preempt modversions'
finds vermagic $INSTALL \
	"was built for .* SMP modversions\", and the kernel's own modules for .* SMP preempt modversions"
for odd in $'\t\n\t' $'0x1\n0x2\ta' ''; do
	linked EXPORT=kvm_a:0x22 IMPORT=kvm_a:0x22
	printf %s "$odd" >"$D/build/Module.symvers"
	nothing "an unusual Module.symvers"
done

# ---- the initramfs

details() {
	json 'join "\n", map { "$_->{result} $_->{check}: " . ($_->{detail} // "") }
		grep { $_->{check} =~ /initramfs/ } @{$j->{checks}}'
}
# holding FOLDER [FOLDER-IN-IT]: put these modules into $tmp/in
holding() {
	rm -rf "$tmp/in"
	mkdir -p "$tmp/in/${2:-usr/lib/modules/$K/updates/dkms}" "$tmp/in/bin"
	echo hello >"$tmp/in/bin/sh"
	cp "$1"/*.ko* "$tmp/in/${2:-usr/lib/modules/$K/updates/dkms}/" 2>/dev/null
	ln -s usr/lib "$tmp/in/lib"
}
update="update-initramfs -u -k $K"
host
nothing "no initramfs"
is "... no message about it" "$(details)" ""
for packer in cat 'gzip -1' 'xz -0 --check=crc32' 'zstd -q -1'; do
	host
	holding "$D/updates/dkms"
	# shellcheck disable=SC2086 # words
	initrd "initrd.img-$K" $packer
	nothing "an initramfs with ours ($packer)"
	is "... was read" "$(details)" "ok initramfs of kernel $K: contains kvm, kvm-intel, kvm-amd, as on disk"
	holding "$D/kernel/arch/x86/kvm" "usr/lib/modules/$K/kernel/arch/x86/kvm"
	# shellcheck disable=SC2086 # words
	initrd "initrd.img-$K" $packer
	finds initramfs-stale "$update" "a kvm that differs from the disk's, .*: the distro's, .*; on disk: ours $V"
done
host
holding /nonexistent
initrd "initrd.img-$K" zstd -q
nothing "an initramfs without KVM"
is "... was read" "$(details)" "ok initramfs of kernel $K: contains none of the modules"
host
holding "$D/updates/dkms"
xz --check=crc32 "$tmp/in/usr/lib/modules/$K/updates/dkms/"*.ko
initrd "initrd.img-$K" gzip -1
nothing "modules that are compressed in it, but not on the disk"
like "... were read" "$(details)" 'as on disk'
rm "$tmp/in/usr/lib/modules/$K/updates/dkms/"kvm{,-intel}.ko.xz
initrd "initrd.img-$K" cat
nothing "one of them, not compressed itself"
like "... was read" "$(details)" 'contains kvm-amd, as on disk'
holding "$D/updates/dkms" "usr/lib/modules/6.12.1-other/updates/dkms"
initrd "initrd.img-$K" cat
nothing "another kernel's modules in it"
holding "$D/kernel/arch/x86/kvm" "usr/lib/modules/$K/kernel/arch/x86/kvm"
mkdir -p "$tmp/in/usr/lib/modules/$K/updates/dkms"
cp "$D"/updates/dkms/*.ko "$tmp/in/usr/lib/modules/$K/updates/dkms/"
cp "$D/modules.dep" "$tmp/in/usr/lib/modules/$K/"
initrd "initrd.img-$K" cat
nothing "it has both, and modules.dep names ours"
sed -i 's,updates/dkms,kernel/arch/x86/kvm,' "$tmp/in/usr/lib/modules/$K/modules.dep"
initrd "initrd.img-$K" cat
finds initramfs-stale "$update" "the distro's"
host
for m in kvm kvm-intel kvm-amd; do
	ko "$tmp/old/$m.ko" "version=0.0.9" "origin=linux-source-6.12 6.12.99-1" ID="$(id old "$m")"
done
holding "$tmp/old"
initrd "initrd.img-$K" xz -0 --check=crc32
finds initramfs-stale "$update" ': ours 0.0.9, from linux-source-6.12 6.12.99-1; on disk: ours'
mkdir -p "$tmp/in/usr/lib/dracut/hooks"
rm "$R/boot/initrd.img-$K"
initrd "initramfs-$K.img" gzip -1
finds initramfs-stale "dracut --force /boot/initramfs-$K.img $K" 'ours 0.0.9'
host
holding "$D/updates/dkms"
initrd "initrd.img-$K" cat
rm -r "$D/updates"
dep
for m in kvm kvm-amd; do
	load $m "$D/kernel/arch/x86/kvm/$m.ko"
done
onereg doctor --json
like "ours is left in it after a removal" "$(problems)" "^initramfs-stale: update-initramfs -u -k "
like "... which is reported" "$(texts)" "ours $V, from linux-source-6.12 6.12.117-1; on disk: distro"
host
kernel 6.1.0-56-amd64 distro '' 6.1.192-2
holding "$D/updates/dkms" usr/lib/modules/6.1.0-56-amd64/updates
initrd initrd.img-6.1.0-56-amd64 cat
nothing "a problem of a kernel that neither runs nor boots next"
like "... is a remark" "$(remarks)" \
	'initrd.img-6.1.0-56-amd64 contains a kvm that differs .*update-initramfs -u -k 6.1.0-56-amd64'
onereg doctor --json -k 6.1.0-56-amd64
like "... and a problem if CET is requested" "$(problems)" '^initramfs-stale: '
conf=etc/modprobe.d/kvm-onereg.conf
host
holding "$D/updates/dkms"
mkdir -p "$tmp/in/etc/modprobe.d"
echo '# options kvm_intel cet=1' >"$tmp/in/$conf"
initrd "initrd.img-$K" cat
nothing "our modprobe.d file, all comments, in it alone"
put /$conf '  options kvm_intel cet=1 '
finds initramfs-stale "$update" "a /$conf that differs from the disk's, so the boot loads it with other options"
echo $'# on\noptions kvm_intel cet=1 ' >"$tmp/in/$conf"
initrd "initrd.img-$K" cat
nothing "the same options"
rm "$R/$conf"
finds initramfs-stale "$update" "a /$conf that differs"
holding /nonexistent
mkdir -p "$tmp/in/etc/modprobe.d"
echo 'options kvm_intel cet=1' >"$tmp/in/$conf"
initrd "initrd.img-$K" cat
nothing "... without the modules"
# An image that cannot be read is not reported as a problem
holding "$D/kernel/arch/x86/kvm"
initrd "initrd.img-$K" zstd -q
cp "$R/boot/initrd.img-$K" "$tmp/whole"
unread() {
	nothing "$1"
	like "... is skipped" "$(details)" "^skipped initramfs of kernel ${K//+/[+]}: /boot/initrd.img-.*$2"
}
head -c -100 "$tmp/whole" >"$R/boot/initrd.img-$K"
unread "an image that is cut off" 'zstd cannot decompress it|truncated'
head -c 300 "$tmp/whole" >"$R/boot/initrd.img-$K"
unread "... early" 'truncated'
{
	head -c 512 "$tmp/whole"
	echo nonsense
} >"$R/boot/initrd.img-$K"
unread "an image with something else in it" 'neither cpio nor compressed|damaged|truncated'
echo nonsense >"$R/boot/initrd.img-$K"
unread "nonsense" 'neither cpio nor compressed in a known format'
{
	printf '\2\x21\x4c\x18'
	echo x
} >"$R/boot/initrd.img-$K"
unread "a packer that is missing, or fails" 'lz4 (is not installed|cannot unpack it)'
rm "$R/boot/initrd.img-$K"
mkdir "$R/boot/initrd.img-$K"
unread "a folder" ''
rmdir "$R/boot/initrd.img-$K"
: >"$R/boot/initrd.img-$K"
nothing "an empty one"
before=$failures
for ((i = 0; i < 12; i++)); do
	cp "$tmp/whole" "$R/boot/initrd.img-$K"
	[ "$((i % 2))" = 0 ] || initrd "initrd.img-$K" cat
	perl -e 'srand $ARGV[0]; open F, "+<", $ARGV[1]; $s = -s F;
		for (1 .. 30) { seek F, int rand $s, 0; print F chr rand 256 }' "$i" "$R/boot/initrd.img-$K"
	onereg doctor --json
	[ "$status" -le 1 ] || {
		is "a damaged image $i: an answer" "$status" "0 or 1"
		diag "$output"
	}
done
ok "damaged images: always an answer" test "$failures" = "$before"

# ---- Secure Boot

secure() {
	host
	mkdir -p "$R/sys/firmware/efi/efivars"
	printf '\x06\0\0\0\1' >"$R/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	put /sys/kernel/security/lockdown "none [integrity] confidentiality"
	rm -r "$R"/sys/module/kvm*
	[ -z "${1:-}" ] || {
		put /usr/bin/mokutil "$1"
		chmod +x "$R/usr/bin/mokutil"
	}
}
secure
finds unsigned \
	"apt-get install openssl && dkms build --force kvm-onereg/$V -k $K && dkms install --force kvm-onereg/$V -k $K" 'Secure Boot is on'
host
put /sys/kernel/security/lockdown "none [integrity] confidentiality"
rm -r "$R"/sys/module/kvm*
finds unsigned \
	"apt-get install openssl && dkms build --force kvm-onereg/$V -k $K && dkms install --force kvm-onereg/$V -k $K" 'locked down \(integrity\)'
secure
for m in kvm kvm-amd; do load $m "$D/updates/dkms/$m.ko" out; done
nothing "Secure Boot, and ours are loaded all the same"
kernel $N distro ours
onereg doctor --json
like "... not signed for the kernel that boots next" "$(texts)" \
	"^Secure Boot is on, and /lib/modules/6.12.118.*/updates/dkms/kvm.ko is not signed"
like "... with the command for that one" "$(problems)" \
	"^unsigned: .* dkms install --force kvm-onereg/$V -k ${N//+/[+]}$"
distro
cp -r "$R" "$tmp/plain"
secure
rm -r "$D/updates"
dep
onereg doctor --json
is "Secure Boot, and the distro's modules: no problem" "$(problems | grep -c -E 'unsigned|key')" 0
secure
printf '\x06\0\0\0\0' >"$R/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
put /sys/kernel/security/lockdown "[none] integrity"
nothing "Secure Boot off"

# A signature that names its signer in plain text, in the form that libkmod reads.
sign() { perl -e 'my ($s, $k, $d) = ("DKMS module signing key", "key", "signature"); print $s, $k, $d, pack("C8N", 1, 4, 1, length $s, length $k, 0, 0, 0, length $d), "~Module signature appended~\n"' >>"$1"; }
signed() {
	secure "$@"
	for m in kvm kvm-intel kvm-amd; do sign "$D/updates/dkms/$m.ko"; done
}
signed
ko "$D/updates/dkms/kvm-intel.ko" "version=$V" "origin=linux-source-6.12 6.12.117-1" "vermagic=$K SMP" ID="$(id new)"
onereg doctor --json
like "one of three is not signed" "$(texts)" 'updates/dkms/kvm-intel.ko is not signed'
prebuilt
cp -r "$D" "$tmp/prebuilt"
secure
rm -r "$D"
mv "$tmp/prebuilt" "$D"
dep
onereg doctor --json
like "prebuilt modules without a signature: DKMS is not named" "$(problems)" \
	"^unsigned: dpkg -i kvm-onereg-modules-${K//+/[+]}_"
signed '#!/bin/sh
echo "$2 is not enrolled"'
finds key-not-enrolled "mokutil --import /var/lib/dkms/mok.pub" 'DKMS module signing key'
signed '#!/bin/sh
echo "/var/lib/dkms/mok.pub is already enrolled"; exit 1'
nothing "Secure Boot, and the key is enrolled"
signed '#!/bin/sh
echo "/var/lib/dkms/mok.pub is already in the enrollment request"; exit 1'
finds key-pending reboot
signed
put /proc/keys "1a2b I------     1 perm 1f030000     0     0 asymmetri DKMS module signing key: 0123: X509.rsa 0123 []"
nothing "no mokutil: /proc/keys has the key"
signed
put /proc/keys "1a2b I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: 0123: X509.rsa 0123 []"
nothing "no mokutil, and other keys: not known"
is "... which is said" \
	"$(json 'join ",", map { $_->{detail} =~ /mokutil is not installed/ ? $_->{result} : () } @{$j->{checks}}')" \
	skipped
put /dev/kmsg '<5>[9] Loading of module with unavailable key is rejected'
finds key-not-enrolled "mokutil --import /var/lib/dkms/mok.pub" 'unavailable key is rejected'

# ---- packages, DKMS, reboot

host
edit 's/^\(kvm-onereg-dkms\t.*\t\)installed/\1half-configured/'
finds package-state "dpkg --configure -a" 'kvm-onereg-dkms .* is half-configured'
host
edit 's/^\(linux-headers-6.*\t\)installed/\1unpacked/'
finds package-state "dpkg --configure -a"
host
printf 'linux-image-generic\t\tnot-installed\tok\nlinux-image-6.0\t6.0-1\tconfig-files\tok\n' >>"$R/dpkg"
nothing "packages that are not installed"
host
rm "$R/usr/bin/dkms"
finds dkms-missing "apt-get install dkms"
host
rm -r "$R/var/lib/dkms/kvm-onereg"
finds dkms-not-added $INSTALL
host
rm "$R/var/lib/dkms/kvm-onereg/$V/source/dkms.conf"
finds dkms-broken "rm -r /var/lib/dkms/kvm-onereg/$V && $INSTALL"
host
put /var/lib/dkms/kvm-onereg/0.0.9/source/dkms.conf ""
finds dkms-other-version "dkms remove -m kvm-onereg -v 0.0.9 --all; $INSTALL"
host
echo "kvm-onereg/$V, $K, x86_64: installed (WARNING! Diff between built and installed module!)" >"$R/dkms"
finds dkms-differs $INSTALL
host
kernel 6.12.200+deb13-amd64 distro ours
finds newer-kernel reboot '6.12.200'
host
put /proc/version "Linux version $K (x@y) #1 SMP Debian 6.12.116-2 (2026-10-01)"
finds same-name-upgrade reboot '6.12.116-2 runs, 6.12.117-1 is installed'
host
kernel 6.12.116+deb13-amd64 distro ours
rm -r "$D"
finds kernel-gone reboot

# ---- for kernels that do not matter now there are only remarks

host
kernel 6.1.0-56-amd64 distro '' 6.1.192-2
nothing "an older kernel without ours"
like "... is a remark" "$(remarks)" '6.1.0-56-amd64: its source is not installed'
onereg doctor --json -k 6.1.0-56-amd64
is "... and a problem if CET is requested" "$status $(problems | sed 's/=.*//')" \
	"1 source-missing: apt-get install linux-source-6.1"
host
kernel 6.6.1-amd64 distro
kernel 5.10.0-1-amd64 none
nothing "kernels of other series"
host
put /proc/sys/kernel/osrelease 7.3.4+deb13-amd64
put /proc/version x
kernel 7.3.4+deb13-amd64 distro
for m in kvm kvm-amd; do load $m "$R/lib/modules/7.3.4+deb13-amd64/kernel/arch/x86/kvm/$m.ko"; done
nothing "a native kernel runs"

# ---- programs and files that are missing, or that hang

host
rm "$R"/usr/bin/*
onereg doctor --json
is "neither dkms nor dpkg: still an answer" "$status $(problems)" "1 dkms-missing: apt-get install dkms"
rm -rf "$R"
mkdir "$R"
onereg doctor --json
is "an empty host: an answer" "$status $(problems)" "0 "
mkdir -p "$R/proc/sys/kernel"
echo 7.3.4 >"$R/proc/sys/kernel/osrelease"
onereg doctor
is "... in words" "$status" 0
like "... says what it could not examine" "$output" 'skipped +running kernel: there is no /proc'
put /proc/version "Linux version 7.3.4"
onereg doctor
like "... a container without modules" "$output" 'is this a container'
host
put /usr/bin/mokutil $'#!/bin/sh\nkill -9 $$'
onereg doctor -k "$K"
is "-k: the running one" "$status" 0
onereg doctor -k 1.2.3
is "-k: no such kernel: exit 2" "$status" 2
for words in --no-such x -k; do
	onereg doctor $words
	is "doctor $words: exit 2" "$status" 2
done
onereg doctor --help
is "--help: exit 0" "$status" 0

# A disk that is full because it is small. These roots have no mount(8): this is mount(2) on x86-64.
host
if perl -e '$t = "tmpfs"; $d = shift; $o = "size=4m"; syscall(165, $t, $d, $t, 0, $o) and exit 1' "$R/tmp"; then
	finds disk-full "apt-get clean; apt-get autoremove --purge" '/tmp has [34] MB free'
	perl -e '$d = shift; syscall(166, $d, 2)' "$R/tmp"
else
	skip "a full disk" "no mount here"
fi

done_testing
