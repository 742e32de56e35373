#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A guest's thread is preempted wherever KVM handles CET state, and continues on another CPU
# needs: emulated-hosts jostle
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

jostled
done_testing
