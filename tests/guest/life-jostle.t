#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A guest's thread is preempted wherever KVM handles CET state, and continues on another CPU. On 6.12
#
# THOROUGH=y: on 6.1, too
# needs: emulated-hosts jostle
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

[ "${THOROUGH:-}" = y ] || : "${CET_SERIES:=6.12}"
jostled
done_testing
