#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# On the machine of enroll.t without Secure Boot, the modules load that are rejected there: Secure Boot is the reason.
#
# THOROUGH=y: on both releases
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/secureboot/lib.sh
. "$(dirname "$0")/lib.sh"

[ "${THOROUGH:-}" = y ] || releases=bookworm
for release in $releases; do
	{ made off && starts "starts"; } || continue
	is "$release: nothing is enforced, and no key is enrolled" "$(part state)" "firmware 0
lockdown [none] integrity confidentiality
enforced N
mokutil SecureBoot disabled, /var/lib/dkms/mok.pub is not enrolled
keys 0"
	loads_ours
	loads_distro
	like "$release: a module without a signature loads" "$(part unsigned)" '^status 0$'
	like "$release: ... and the kernel logs it" "$(part unsigned)" \
		'module verification failed: signature and/or required key missing'
	off="off, and the kernel accepts modules with any key"
	doctor_content doctor "" "$off"
	doctor_content doctor-unsigned ", also if modules have no signature" "$off"
done
done_testing
