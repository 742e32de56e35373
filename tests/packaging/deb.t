#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The Debian packages themselves: a fresh installation with a real build; reinstallation, an upgrade, and an upgrade
# that fails; removal and purge, after which nothing is left; installation over "make install" of a clone. None of these
# loads or unloads a module.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

for release in $releases; do
	begin_deb

	out=$(cat "$deb/deb-layer.log")
	like "$release: a fresh install with a real build prints one line for the kernel" "$(grep '^  6' <<<"$out")" \
		'^  6\.[^ ]* +installed \([0-9.]*, from linux-source-6\.[^ ]* 6\.[^ ]*\)$'
	is "$release: and no line for another kernel" "$(sed '1,/^kvm-onereg [0-9.]*:$/d' <<<"$out" | grep -c '^  ')" 1
	out=$(in_root -o "$deb/deb-layer" -- '
		echo "resolved $(resolved) $(modinfo -k "$K" -F version kvm-intel)"
		echo "dkms $(dkms status)"
		echo "state $(states kvm-onereg-dkms kvm-onereg-tools)"
		echo "conffile $(dpkg-query -W -f "\${Conffiles}" kvm-onereg-dkms | grep -c "^ /etc/modprobe.d/kvm-onereg.conf ")"
		echo "switch $(grep -c "^[^#]" /etc/modprobe.d/kvm-onereg.conf)/$(grep -c "^#options kvm_intel cet=1$" /etc/modprobe.d/kvm-onereg.conf)"
		find /usr/src/kvm-onereg-* -mindepth 1 -maxdepth 1 -printf "shipped %f\n"
		kvm-onereg --version')
	like "$release: modinfo finds our three modules" "$out" '^resolved ours ours ours [0-9.]+$'
	like "$release: dkms reports them as installed" "$out" '^dkms kvm-onereg/[0-9.]+, [^ ]*, x86_64: installed$'
	like "$release: both packages are configured" "$out" '^state ii ii $'
	like "$release: the file of the CET configuration is not a conffile" "$out" '^conffile 0$'
	like "$release: CET is off in it" "$out" '^switch 0/1$'
	is "$release: /usr/src has only the files that dkms needs" \
		"$(sed -n 's/^shipped //p' <<<"$out" | sort | xargs)" \
		"$(printf '%s\n' Kbuild Makefile dkms.conf include src | sort | xargs)"
	like "$release: the command runs, and has the same version" "$out" \
		"^kvm-onereg $(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")\$"

	out=$(in_root -o "$deb_plain" -- '
		spy
		# The DKMS key signs all DKMS modules, and may be enrolled: it stays.
		without_key() { grep -v "^/var/lib/dkms/mok\."; }
		everything | without_key >/tmp/before
		install_ours >/tmp/log; tail -n 1 /tmp/log
		sums >/tmp/sums
		apt install --reinstall /packages/kvm-onereg-dkms_*.deb
		echo "again: $(resolved) $(sums | cmp - /tmp/sums && echo untouched)"
		status make uninstall
		apt remove kvm-onereg-dkms kvm-onereg-tools
		echo "removed: $(resolved) $(intact), $(ls /etc/modprobe.d/kvm-onereg.conf)"
		traces | sed "s/^/left /"
		apt install /packages/kvm-onereg-dkms_*.deb >/tmp/log; tail -n 1 /tmp/log
		apt purge kvm-onereg-dkms kvm-onereg-tools libjson-c5
		everything | without_key >/tmp/after
		diff /tmp/before /tmp/after | sed "s/^/difference /"
		sed "s/^/called /" /spy/log')
	like "$release: a reinstallation builds nothing" "$out" '^again: ours ours ours untouched$'
	like "$release: make uninstall in a clone leaves the removal to apt" "$out" \
		'to fix: apt-get remove kvm-onereg-dkms'
	like "$release: and exits 2" "$out" '^status 2$'
	like "$release: after a removal, the distro's modules, unchanged; the CET configuration stays" "$out" \
		'^removed: distro distro distro intact, /etc/modprobe.d/kvm-onereg.conf$'
	is "$release: and nothing else of the package" "$(sed -n 's/^left //p' <<<"$out")" ""
	is "$release: after a purge, every file is as before the install" "$(sed -n 's/^difference //p' <<<"$out")" ""
	is "$release: apt succeeds each time" "$(grep -c '^apt 0$' <<<"$out")" 5
	is "$release: no module was loaded or unloaded" "$(sed -n 's/^called //p' <<<"$out")" ""
	diag_if_failed "$out"

	out=$(in_root -o "$deb_light" -- '
		spy
		repack 9.1.0 9.1.0
		(FAIL_FOR="*" apt install /new.deb)
		echo "failed: $(resolved) $(modinfo -k "$K" -F version kvm-amd | sed "s/^$V$/of the older/"), $(states kvm-onereg-dkms)"
		dkms status 2>&1 | sed "s/^/dkms /"
		dkms autoinstall -k 9.9.9-none >/tmp/log 2>&1; grep -i -e broken -e error /tmp/log | sed "s/^/dkms /"
		apt -f install
		echo "upgraded: $(resolved) $(modinfo -k "$K" -F version kvm-amd)"
		echo "dkms: $(dkms status | cut -d, -f1), $(ls -d /usr/src/kvm-onereg-* | xargs), $(ls /var/lib/kvm-onereg | xargs)"
		repack 9.1.0 9.1.0+1
		apt install /new.deb
		echo "revision: $(resolved) $(dpkg-query -W -f "\${Version}" kvm-onereg-dkms), $(readlink -f /var/lib/dkms/kvm-onereg/9.1.0/source)"
		repack 9.1.0 9.1.0+2
		(FAIL_FOR="*" apt install /new.deb)
		echo "failed revision: $(resolved), $(dkms status)"
		apt purge kvm-onereg-dkms
		echo "purged: $(resolved)"
		traces | sed "s/^/left /"
		sed "s/^/called /" /spy/log')
	like "$release: an upgrade that fails exits with an error, and the older version stays" "$out" \
		'^failed: ours ours ours of the older, iF $'
	like "$release: it says which version stays" "$out" 'failed: the build failed; version .* stays installed'
	like "$release: dkms still has the older version" "$out" '^dkms kvm-onereg/[0-9.]+, [^ ]*, x86_64: installed$'
	is "$release: and finds nothing broken" "$(grep -c -i -E '^dkms.*(broken|error)' <<<"$out")" 0
	like "$release: when apt tries again, the upgrade succeeds" "$out" '^upgraded: ours ours ours 9\.1\.0$'
	like "$release: nothing is left of the older version" "$out" \
		'^dkms: kvm-onereg/9\.1\.0, /usr/src/kvm-onereg-9\.1\.0, build-ids built log source$'
	like "$release: a Debian revision with other files of the same version is installed" "$out" \
		'^revision: ours ours ours 9\.1\.0\+1, /usr/src/kvm-onereg-9\.1\.0$'
	is "$release: ... and built" "$(sed -n '/^upgraded/,/^revision/p' <<<"$out" | grep -c 'installed (')" 1
	like "$release: ... if the build of another revision fails, the previous modules stay" "$out" \
		'^failed revision: ours ours ours, kvm-onereg/9\.1\.0, .*: installed$'
	like "$release: a purge in that state restores the distro's modules" "$out" '^purged: distro distro distro$'
	is "$release: nothing is left" "$(sed -n 's/^left //p' <<<"$out")" ""
	is "$release: apt's exit status, each time" "$(sed -n 's/^apt //p' <<<"$out" | xargs)" "100 0 0 100 0"
	is "$release: no module was loaded or unloaded in these upgrades" "$(sed -n 's/^called //p' <<<"$out")" ""
	diag_if_failed "$out"

	# The CET switch used to be a conffile of the package.
	out=$(in_root -o "$deb_plain" -- '
		p=/tmp/package conf=/etc/modprobe.d/kvm-onereg.conf
		repack 0.0.9 0.0.9
		mkdir -p $p/etc/modprobe.d && mv $p/usr/share/kvm-onereg/kvm-onereg.conf $p$conf && echo $conf >$p/DEBIAN/conffiles
		dpkg-deb -Zgzip -b $p /old.deb >/dev/null
		apt install /old.deb
		echo "old: $(dpkg-query -W -f "\${Conffiles}" kvm-onereg-dkms | grep -c " $conf ")"
		sed -i "s/^#options/options/" $conf
		md5sum $conf >/tmp/sum
		# An upgrade that is interrupted after the preinst.
		dpkg-deb -R /packages/kvm-onereg-dkms_*.deb /tmp/bad
		echo "exit 1" >>/tmp/bad/DEBIAN/preinst
		dpkg-deb -b /tmp/bad /bad.deb >/dev/null
		apt install /bad.deb
		echo "not upgraded: $(md5sum -c --quiet /tmp/sum && echo kept)"
		apt install /packages/kvm-onereg-dkms_*.deb
		echo "upgraded: $(md5sum -c --quiet /tmp/sum && echo kept)," \
			"$(dpkg-query -W -f "\${Conffiles}" kvm-onereg-dkms | grep -c " $conf ")"
		mkdir -p /var/lib/kvm-onereg/guests
		echo state >/var/lib/kvm-onereg/guests/web1.state
		apt purge kvm-onereg-dkms
		echo "guests: $(find /var/lib/kvm-onereg -type f | xargs)"
		echo "purged: $(ls /etc/modprobe.d | grep -c kvm)"')
	like "$release: a package whose CET configuration is a conffile" "$out" '^old: 1$'
	like "$release: an aborted upgrade of it keeps the CET configuration" "$out" '^not upgraded: kept$'
	like "$release: the upgrade keeps its content, and it is no longer a conffile" "$out" '^upgraded: kept, 0$'
	like "$release: ... and a purge removes it" "$out" '^purged: 0$'
	like "$release: the purge keeps the saved state of a guest" "$out" \
		'^guests: /var/lib/kvm-onereg/guests/web1.state$'
	is "$release: apt's exit status with that package" "$(sed -n 's/^apt //p' <<<"$out" | xargs)" "0 100 0 0"
	diag_if_failed "$out"

	out=$(in_root -o "$deb_plain" -- '
		cp -r Makefile Kbuild dkms.conf src include tools /tmp/
		sed -i "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=\"0.0.9\"/" /tmp/dkms.conf
		status /tmp/tools/install >/tmp/log; tail -n 1 /tmp/log
		status tools/install >/tmp/log; tail -n 1 /tmp/log
		touch /usr/src/kvm-onereg-"$V"/of-the-clone
		install_ours
		echo "over a clone: $(resolved) $(ls -d /usr/src/kvm-onereg-* | xargs)"
		status tools/install
		apt purge kvm-onereg-dkms
		echo "purged: $(resolved)"
		traces | sed "s/^/left /"')
	like "$release: the package replaces an installation from a clone" "$out" \
		'^over a clone: ours ours ours /usr/src/kvm-onereg-[0-9.]+$'
	like "$release: then, make install in the clone refuses, because the package is installed" "$out" \
		'belongs to the Debian package kvm-onereg-dkms'
	is "$release: the exit statuses of make install in the clone" "$(sed -n 's/^status //p' <<<"$out" | xargs)" \
		"0 0 2"
	like "$release: after a purge, modprobe finds the distro's modules" "$out" '^purged: distro distro distro$'
	is "$release: and nothing is left of either" "$(sed -n 's/^left //p' <<<"$out")" ""
	diag_if_failed "$out"
done
done_testing
