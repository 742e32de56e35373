#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Without kvm_intel.cet, guests do not have CET, KVM emulates every instruction, and does not log CET state
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

like_native 0 'isolation --without-cet
dump --without-cet
emulator --without-cet --facts /out/emulator'
done_testing
