# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Runs in the system that tests/secureboot/machine starts, and prints what the cases check, in sections, each after a
# line "== NAME". The output of a command ends with a line "status N".

PATH=/usr/bin:/bin
export NO_COLOR=1
run() {
	"$@" 2>&1
	echo "status $?"
}
K=$(uname -r)
# logged: print the kernel's messages since the section began.
section() {
	echo "== $*"
	echo "<6>section $*" >/dev/kmsg
	this=$*
}
logged() { dmesg | sed "1,/section $this\$/d"; }
# Use modprobe of kmod, as Debian does, not that of busybox.
modprobe() { run /usr/bin/modprobe "$@"; }
unload() { /usr/bin/modprobe -r kvm-amd; }

/usr/bin/modprobe efivarfs
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
[ -e /sys/kernel/security/lockdown ] || mount -t securityfs securityfs /sys/kernel/security

section state
echo "firmware $(tail -c 1 /sys/firmware/efi/efivars/SecureBoot-* | od -An -t u1 | tr -d ' ')"
echo "lockdown $(cat /sys/kernel/security/lockdown)"
echo "enforced $(cat /sys/module/module/parameters/sig_enforce)"
echo "mokutil $(mokutil --sb-state | head -n 1), $(mokutil --test-key /var/lib/dkms/mok.pub)"
echo "keys $(grep -c 'DKMS module signing key' /proc/keys)"

# Our module as DKMS installs it if it cannot sign.
section unsigned
/usr/bin/modprobe irqbypass
run /usr/bin/insmod /host/unsigned/"$K"/updates/dkms/kvm.ko*
logged
/usr/bin/modprobe -r kvm

# Our module, changed after it was signed.
section changed
run /usr/bin/insmod /host/changed.ko
/usr/bin/modprobe -r kvm

section ours
modprobe kvm-amd
logged
echo "version $(cat /sys/module/kvm/version 2>/dev/null)"
run /host/show
section doctor
run /usr/bin/kvm-onereg doctor
unload

# After make uninstall.
section distro
modprobe -d /removed kvm-amd
logged
echo "version $(cat /sys/module/kvm/version 2>/dev/null)"
run /host/show
unload

# What an administrator does to enroll the key. MokManager asks for the password at the next start.
section import
case $(mokutil --test-key /var/lib/dkms/mok.pub) in
*"is not enrolled")
	printf '12345678\n12345678\n' | run mokutil --import /var/lib/dkms/mok.pub
	mokutil --test-key /var/lib/dkms/mok.pub
	;;
esac
section doctor-import
run /usr/bin/kvm-onereg doctor

# A machine whose DKMS could not sign, and has no key.
section doctor-unsigned
mv /usr/lib/modules /usr/lib/modules.signed
ln -s /host/unsigned /usr/lib/modules
rm /var/lib/dkms/mok.pub
modprobe kvm-amd
run /usr/bin/kvm-onereg doctor
exit 0
