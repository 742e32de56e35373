#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# With Secure Boot on a machine as sold, which does not have DKMS's key, the kernel rejects our modules with a known
# message, doctor explains it, and the distro's modules load after a removal. After `mokutil --import` and MokManager,
# our modules load and work, but only as DKMS signed them.
#
# THOROUGH=y: on both releases
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/secureboot/lib.sh
. "$(dirname "$0")/lib.sh"

rejected='Key was rejected by service'
[ "${THOROUGH:-}" = y ] || releases=trixie
for release in $releases; do
	{ made on && starts "starts without the key"; } || continue
	is "$release: Secure Boot is enforced, and the key is not enrolled" "$(part state)" "firmware 1
lockdown none [integrity] confidentiality
enforced Y
mokutil SecureBoot enabled, /var/lib/dkms/mok.pub is not enrolled
keys 0"
	like "$release: our modules do not load" "$(part ours)" \
		"^modprobe: ERROR: could not insert 'kvm_amd': $rejected\$"
	like "$release: ... and the kernel says why" "$(part ours)" \
		'Loading of module with unavailable key is rejected$'
	like "$release: ... and there is no /dev/kvm" "$(part ours)" '^/dev/kvm: No such file or directory$'
	loads_distro
	like "$release: doctor says that Secure Boot is the cause" "$(part doctor)" 'Secure Boot is on.* key'
	like "$release: ... and how to enroll the key" "$(part doctor)" \
		'to fix: mokutil --import /var/lib/dkms/mok\.pub'
	like "$release: if modules have no signature, doctor says that DKMS needs openssl" "$(part doctor-unsigned)" \
		'to fix: .*apt-get install openssl'
	is "$release: ... and does not suggest to enroll a key that does not exist" \
		"$(part doctor-unsigned | grep -F 'mokutil --import /var')" ""
	like "$release: mokutil accepts the key" "$(part import)" \
		'^/var/lib/dkms/mok.pub is already in the enrollment request$'
	like "$release: then doctor suggests a reboot" "$(part doctor-import)" 'to fix: reboot'

	ok "$release: MokManager enrolls the key" "$top/tests/secureboot/machine" enroll "$machine" 12345678
	starts "starts with the key" || continue
	is "$release: Secure Boot is enforced, and the key is enrolled" "$(part state)" "firmware 1
lockdown none [integrity] confidentiality
enforced Y
mokutil SecureBoot enabled, /var/lib/dkms/mok.pub is already enrolled
keys 1"
	loads_ours
	loads_distro
	like "$release: our module without its signature does not load" "$(part unsigned)" "$rejected"
	like "$release: ... and the kernel says why" "$(part unsigned)" 'Loading of unsigned module is rejected$'
	like "$release: our module with a changed byte does not load" "$(part changed)" "$rejected"
	doctor_content doctor "" "Secure Boot is on, and our modules are loaded: their key is known"
done
done_testing
