#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# DKMS signs our modules with its own key, which it creates with openssl. Without openssl, it installs modules without a
# signature, and reports that only in its log.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/secureboot/lib.sh
. "$(dirname "$0")/lib.sh"

signers() { # FOLDER: print the name and the signer of each module, one per line
	local f
	for f in "$1"/*/updates/dkms/kvm{,-intel,-amd}.ko*; do
		echo "$(modinfo -F name "$f"): $(modinfo -F signer "$f")"
	done
}

for release in $releases; do
	ok "$release: installs with and without openssl" "$top/tests/secureboot/signed" "$release"
	signed=$(tail -n 1 <<<"$output") name="DKMS module signing key"
	is "$release: all three modules are signed" "$(signers "$signed/installed")" "kvm: $name
kvm_intel: $name
kvm_amd: $name"
	ok "$release: ... with the key of DKMS's certificate" grep -q -a "$name" "$signed/mok.pub"
	like "$release: ... and the log says so" "$(cat "$signed/log")" '^Signing module .*/kvm-amd\.ko$'
	is "$release: without openssl, no module is signed" "$(signers "$signed/without/installed")" \
		$'kvm: \nkvm_intel: \nkvm_amd: '
	like "$release: ... and the log says so" "$(cat "$signed/without/log")" "^openssl not found, can't generate key|^Key file .*mok\.key not found and can't be generated, modules won't be signed"
	is "$release: after a new build with openssl, all three are signed" "$(signers "$signed/without/again")" \
		"$(signers "$signed/installed")"
done
done_testing
