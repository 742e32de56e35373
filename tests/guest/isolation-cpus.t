#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The CET state of guests on a host with two CPUs: vCPUs that move, CPUs that go offline
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

like_native 1 'isolation cpus' --cpus 2
done_testing
