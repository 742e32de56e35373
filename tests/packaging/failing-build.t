#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A build fails, because of a hook that does not apply or in kbuild: the distro's modules stay, and the exit status
# reports the failure. The same if dkms runs by itself.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

for release in $releases; do
	begin
	before=$(in_root -- 'sums')
	out=$(in_root -o "$ready" -- '
		cp -r Makefile Kbuild dkms.conf src include tools /tmp/ && cd /tmp
		h=$(ls src/hooks/*.patch | head -n 1)
		cp "$h" h; sed -i "0,/^ /s/^ .*/ a line that no kernel has/" "$h"
		status tools/install
		echo "resolved $(resolved)"
		cp h "$h"; echo "\$(error broken on purpose)" >>Kbuild
		status tools/install
		echo "resolved $(resolved)"
		grep -h -o "broken on purpose" /var/lib/kvm-onereg/log/"$K" | head -n 1 | sed "s/^/log: /"
		status dkms autoinstall -k "$K" >/tmp/out
		[ "$(tail -n 1 /tmp/out)" = "status 0" ] || echo "autoinstall failed"
		echo "dkms $(dkms status)"
		sums | sed "s/^/sum /"
	')
	like "$release: a hook that does not apply is named" "$out" 'failed: hook .*\.patch does not apply'
	like "$release: a build that fails: the message names its log" "$out" \
		'failed: the build failed.* log: /var/lib/kvm-onereg/log/'
	like "$release: the log contains the reason" "$out" '^log: broken on purpose'
	is "$release: both exit 1" "$(grep -c '^status 1$' <<<"$out")" 2
	is "$release: both leave the distro's modules" "$(grep -c '^resolved distro distro distro$' <<<"$out")" 2
	like "$release: dkms autoinstall of a broken build reports an error" "$out" '^autoinstall failed$'
	like "$release: and dkms has no built modules" "$out" '^dkms kvm-onereg/[0-9.]+: added$'
	is "$release: the distro's modules are unchanged" "$(sed -n 's/^sum //p' <<<"$out")" "$before"
done
done_testing
