#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's KVM selftests give no worse results with our modules than with the distro's, on the host vmx, and none
# worse with cet=1 than without.
# needs: emulated-hosts selftests
# shellcheck source=tests/selftests/compare.sh
. "$(dirname "$0")/compare.sh" vmx

native native
compare_all
compare_cet 6.1
compare_cet 6.12
done_testing
