#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# All ioctl tests on the svm host, with native KVM and with ours; then ours is compared with native, answer by answer.
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

same_as_native svm
done_testing
