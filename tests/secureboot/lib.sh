# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2034 # tests/tap.sh and the cases set and use them
#
# For cases that boot with Secure Boot; source it after tests/tap.sh.
#
#   releases        the releases over which cases loop
#   made on|off     make $machine with $release, Secure Boot on or off (tests/secureboot/machine)
#   starts WHAT     start it. made and starts are checks, and return false if they fail
#   part SECTION    print what inside.sh printed in this section
#   loads_ours, loads_distro  check that the modules are loaded and work
#   doctor_content SECTION WHAT STATE  check that doctor runs to its end, reports this state of Secure Boot, and no
#                   problem with it. WHAT is added to the descriptions

releases="trixie bookworm"
[ "$(id -u)" = 0 ] || skip_all "needs root"
command -v mmdebstrap >/dev/null || skip_all "mmdebstrap is missing: apt-get install mmdebstrap"
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"$/\1/p' "$top/dkms.conf")

made() {
	machine=$tmp/$release
	ok "$release: a machine with Secure Boot $1" "$top/tests/secureboot/machine" make "$machine" "$1" "$release"
	[ -e "$machine/disk" ]
}

starts() {
	ok "$release: $1" "$top/tests/secureboot/machine" start "$machine"
	said=$output
	grep -q '^== doctor-unsigned$' <<<"$said"
}

part() { sed -n "/^== $1\$/,/^== /p" <<<"$said" | grep -v '^== '; }

loads_ours() {
	like "$release: modprobe loads our modules" "$(part ours)" "^version ${version//./\\.}\$"
	like "$release: ... KVM reports KVM_CAP_ONE_REG" "$(part ours)" '^KVM_CAP_ONE_REG\|1$'
	like "$release: ... and KVM_GET_ONE_REG reads a register" "$(part ours)" \
		'^  read by KVM_GET_ONE_REG\|0x7f0123456000$'
}

loads_distro() {
	like "$release: the distro's modules load after a removal" "$(part distro)" '^status 0$'
	like "$release: ... and KVM does not report KVM_CAP_ONE_REG" "$(part distro)" '^KVM_CAP_ONE_REG\|0$'
}

doctor_content() {
	like "$release: doctor checks Secure Boot$2" "$(part "$1")" "^ok +Secure Boot: $3\$"
	is "$release: doctor does not complain about Secure Boot$2" \
		"$(part "$1" | grep -E 'problem.*Secure Boot|mokutil --import|openssl')" ""
	like "$release: ... and runs to its end" "$(part "$1" | tail -n 1)" '^status [01]$'
}
