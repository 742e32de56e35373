# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For cases that run the program hostile, and tell tests/hosts/boot what may be in the log: hostile-host.c has the same
# list, with the reasons.
#
# shellcheck disable=SC2034 # they use it
hostile_known='WARNING: .* (kvm_multiple_exception|nested_vmx_vmexit|vmx_handle_exit)\+'
