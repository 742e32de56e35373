#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The CET states of a guest, of other guests and of the host are kept apart
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

# The test disables the host kernel's IBT for a moment: writing to MSRs taints (S).
like_native 1 'isolation --facts /out/isolation' --taint-ok S
done_testing
