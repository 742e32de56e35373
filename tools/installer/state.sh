# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # the caller sets $state
#
# state.sh - remove /var/lib/kvm-onereg

# Remove all of it except the states of guests that an interrupted "kvm-onereg swap --keep-guests" has saved.
forget_state() {
	[ ! -d "$state" ] || find "$state" -mindepth 1 -maxdepth 1 ! -name guests -exec rm -rf {} + || return
	rmdir "$state/guests" "$state" 2>/dev/null || :
}
