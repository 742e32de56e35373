#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guests keep their CET state on a host with two CPUs, while vCPUs move and CPUs go offline
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

like_native 1 'isolation cpus' --cpus 2
done_testing
