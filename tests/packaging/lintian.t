#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# lintian of Debian 12 and of Debian 13 reports no error and no warning about the packages built there.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

for release in $releases; do
	packages=$("$top/tests/packaging/installed" packages "$release") || unprepared
	is "$release: make deb creates three packages" "$(cd "$packages" && echo *.deb | sed 's/_[^ ]*//g')" \
		"kvm-onereg-dkms kvm-onereg-tools libkvm-onereg-dev"
	# lint FILES [SCRIPT]: run lintian on the files, after the script
	# shellcheck disable=SC2317 # ok calls it
	lint() {
		"$root" run "build-$release" -n -b "$packages:/packages:ro" -w /packages -- \
			bash -c "${2:-:}; lintian --allow-root --fail-on error,warning -EvIL +pedantic $1" 2>&1
	}
	ok "$release: lintian reports no error and no warning" lint '*.changes'
	diag "$(grep -E '^[A-Z]:' <<<"$output")"
	not_ok "$release: it reports an invalid maintainer script" 2 lint /tmp/bad.deb \
		'dpkg-deb -R kvm-onereg-dkms_*.deb /tmp/p; sed -i 1d /tmp/p/DEBIAN/prerm; dpkg-deb -b /tmp/p /tmp/bad.deb'
	like "$release: ... and says so" "$output" '^E: kvm-onereg-dkms: '

	if ! command -v systemd-analyze >/dev/null; then
		skip "$release: systemd accepts the units" "no systemd-analyze"
		continue
	fi
	# The machine's systemd looks for the programs of the units in the machine's folders: use those of the package.
	rm -rf "$tmp/package" "$tmp/units"
	mkdir "$tmp/units"
	dpkg-deb -x "$packages"/kvm-onereg-dkms_*.deb "$tmp/package"
	for u in service timer; do
		sed "s,/usr/lib/kvm-onereg/,$tmp/package&," "$tmp/package"/*lib/systemd/system/kvm-onereg-source.$u \
			"$tmp/package"/usr/lib/systemd/system/kvm-onereg-source.$u \
			>"$tmp/units/kvm-onereg-source.$u" 2>/dev/null
	done
	verify() { systemd-analyze verify --man=no "$tmp"/units/* 2>&1; }
	is "$release: systemd accepts the units" "$(verify)" ""
	sed -i 's/^Nice=.*/Nice=very/' "$tmp/units/kvm-onereg-source.service"
	like "$release: ... and rejects an invalid setting" "$(verify)" 'nice'
done
done_testing
