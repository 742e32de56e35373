#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's KVM selftests on vmx
# shellcheck source=tests/selftests/compare.sh
. "$(dirname "$0")/compare.sh" vmx

native native
# Our modules have no CET: the judge is a native kernel that does not see SHSTK and IBT, by number because SHSTK
# has no name. The parameter taints (S).
native native-without-CET -c clearcpuid=519,596 --taint-ok S
compare_all
done_testing
