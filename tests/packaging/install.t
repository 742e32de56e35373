#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make install with a real build by the release's dkms. modinfo finds our three modules. A second run has nothing to do.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

for release in $releases; do
	begin
	folder=$made/root
	kernel=$(basename "$folder"/lib/modules/*/)
	is "$release: three modules in updates/dkms, and nothing else" \
		"$(find "$folder/lib/modules/$kernel/updates/dkms/" -type f -printf '%f\n' | sed 's/\.ko.*//' | sort |
			xargs)" "kvm kvm-amd kvm-intel"
	is "$release: modprobe finds them in the folder that emulated hosts use" \
		"$(modprobe -d "$folder" -S "$kernel" -n -v kvm-intel | grep -c updates/dkms)" 2
	out=$(in_root -o "$installed" -- '
		echo "resolved $(resolved)"
		echo "version $(modinfo -k "$K" -F version kvm)"
		echo "dkms $(dkms status)"
		find /usr/src/kvm-onereg-* -mindepth 1 -maxdepth 1 -printf "shipped %f\n"
		before=$(sums; stat -c "%n %Y" /var/lib/dkms/kvm-onereg/*/"$K")
		status tools/install
		[ "$before" = "$(sums; stat -c "%n %Y" /var/lib/dkms/kvm-onereg/*/"$K")" ] && echo untouched
	')
	like "$release: modinfo finds our three modules" "$out" '^resolved ours ours ours$'
	like "$release: dkms reports them as installed, without a warning" "$out" \
		'^dkms kvm-onereg/[0-9.]+, [^ ]*, x86_64: installed( \(Original modules exist\))?$'
	is "$release: /usr/src has only the files that dkms needs" \
		"$(sed -n 's/^shipped //p' <<<"$out" | grep -v COPYING | sort | xargs)" \
		"$(printf '%s\n' Kbuild Makefile dkms.conf include src | sort | xargs)"
	like "$release: a second run says that they are installed" "$out" '^  6\.[^ ]* +installed already'
	like "$release: and exits 0" "$out" '^status 0$'
	like "$release: and changes nothing" "$out" '^untouched$'
done
done_testing
