#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# After an update of this project to a new version, or to changed files of the same version, the modules are rebuilt,
# and the older version is removed.
#
# THOROUGH=y: on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

older='
mkdir /older && cp -r Makefile Kbuild dkms.conf src include tools /older/
sed -i "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=\"0.0.9\"/" /older/dkms.conf
VERSION_IS=0.0.9 status /older/tools/install
echo "older: $(resolved) $(modinfo -k "$K" -F version kvm)"
'
on_one trixie
for release in $releases; do
	begin
	built_once
	out=$(in_root -o "$ready" -- "$older"'
		status tools/install
		echo "newer: $(resolved) $([ "$(modinfo -k "$K" -F version kvm)" = "$V" ] && echo of ours)"
		echo "dkms: $(dkms status | cut -d, -f1)"
		echo "sources: $(ls -d /usr/src/kvm-onereg-*)"
		rm -rf /newer; cp -r /older /newer; cp dkms.conf /newer/; echo "/* changed */" >>/newer/src/module_info.c
		status /newer/tools/install
		echo "changed: $(resolved) $(grep -c changed /usr/src/kvm-onereg-"$V"/src/module_info.c)"
	')
	like "$release: the older version is installed" "$out" '^older: ours ours ours 0\.0\.9$'
	like "$release: the newer one replaces it" "$out" '^newer: ours ours ours of ours$'
	like "$release: dkms has only the newer version" "$out" \
		"^dkms: kvm-onereg/$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")\$"
	is "$release: /usr/src has only one version" "$(sed -n 's/^sources: //p' <<<"$out" | wc -w)" 1
	like "$release: changed files of the same version are rebuilt" "$out" '^changed: ours ours ours 1$'
	is "$release: the modules are built all three times" "$(grep -c 'installed (' <<<"$out")" 3
	is "$release: exit status 0 each time" "$(grep '^status' <<<"$out" | xargs)" "status 0 status 0 status 0"

	out=$(in_root -o "$ready" -- "$older"'
		printf "%s\n" "#!/bin/sh" "case \"\$*\" in *modules*) echo no; exit 2 ;; esac" "exec /usr/bin/make \"\$@\"" >/tmp/make
		mkdir /wrap && mv /tmp/make /wrap/ && chmod +x /wrap/make
		PATH=/wrap:$PATH status tools/install
		echo "failed: $(resolved) $(modinfo -k "$K" -F version kvm-intel)"
	')
	like "$release: a newer version that does not build leaves the older one in place" "$out" \
		'^failed: ours ours ours 0\.0\.9$'
	is "$release: ... and make install exits with status 1" "$(grep '^status' <<<"$out" | xargs)" \
		"status 0 status 1"
done
done_testing
