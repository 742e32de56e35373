#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's KVM selftests give no worse results with our modules than with the distro's, on the host svm.
# needs: emulated-hosts selftests
# shellcheck source=tests/selftests/compare.sh
. "$(dirname "$0")/compare.sh" svm

native native
compare_all
done_testing
