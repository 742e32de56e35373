#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# apt installs, upgrades and removes kernels, headers and sources in any order, with the Debian package installed.
# Afterwards, modprobe finds the right modules for each kernel, and our package never makes apt or a kernel's package
# fail.
#
# THOROUGH=y: each scenario on both releases, not only on one of them
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

series_of() { case $1 in bookworm) echo 6.1 ;; *) echo 6.12 ;; esac }
# in_case NAME LAYER SCRIPT: run SCRIPT in LAYER. Its output is $out
in_case() {
	what="$release: $1"
	out=$(in_root -o "$2" -- "$3")
}
shows() { like "$what: $1" "$out" "$2"; }
apt_succeeds() { is "$what: apt succeeds" "$(grep -c '^apt 0$' <<<"$out")" "$1"; } # TIMES

for release in $releases; do
	begin_deb
	series=$(series_of "$release")
	# The version in the made-up archive that updates the root's kernel without changing its name.
	newer=$(dpkg-deb -f "$("$top/tests/packaging/repo" "$release")"/source/linux-source-*.deb Version)

	if take_turn; then
		in_case "a new kernel, with headers and source" "$deb_light" '
		sums >/tmp/before
		repos base next next-source
		apt dist-upgrade
		N=$(other)
		echo "new: $(resolved "$N") $(modinfo -k "$N" -F origin kvm)"
		echo "old: $(resolved) $(sums | cmp - /tmp/before && echo untouched)"
		echo "states: $(states linux-image-"$N" linux-headers-"$N" kvm-onereg-dkms)"
		echo "kept: $(ls /var/lib/kvm-onereg/source | wc -l)"
		apt purge "linux-image-$N" "linux-headers-$N" linux-image-amd64 linux-headers-amd64 >/tmp/log; tail -n 1 /tmp/log
		echo "gone: $(ls -d /lib/modules/"$N" 2>&1 | grep -v "No such"; dkms status | grep -c -F "$N"), $(ls /var/lib/kvm-onereg/source | wc -l)"'
		shows "modprobe finds our modules for the new kernel" "^new: ours ours ours linux-source-$series "
		shows "the first kernel is untouched" '^old: ours ours ours untouched$'
		shows "a line reports the new kernel" '^  6\.[^ ]* +installed \('
		shows "a line reports the first kernel" '^  6\.[^ ]* +installed already'
		is "$what: the package's trigger ran once" "$(sed '/^new:/q' <<<"$out" | grep -c 'installed already')" 1
		shows "all packages are configured" '^states: ii ii ii $'
		shows "the sources of both kernels are kept" '^kept: 2$'
		apt_succeeds 2
		shows "a purge of the new kernel leaves nothing of it, and removes its source" '^gone: 0, 1$'
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "a new kernel whose source comes later" "$deb_light" '
		repos base next
		apt dist-upgrade
		N=$(other)
		echo "without: $(resolved "$N"), $(states linux-image-"$N" linux-headers-"$N" kvm-onereg-dkms)"
		repos base next next-source
		apt install "$(source_package)"
		echo "with: $(resolved "$N"), old: $(resolved)"
		apt install --reinstall linux-headers-"$N" | tee /tmp/log | grep -c "installed already" | sed "s/^/already: /"'
		shows "the new kernel is skipped, with a command to fix that" 'to fix: kvm-onereg-install$'
		shows "it has the distro's modules, and all packages are configured" \
			'^without: distro distro distro, ii ii ii $'
		shows "with the source, its modules are built, and the first kernel keeps its own" \
			'^with: ours ours ours, old: ours ours ours$'
		shows "if there is nothing to do, a line reports each kernel" '^already: 2$'
		apt_succeeds 2
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "a fresh installation with two kernels, one of which matches the source" "$deb_plain" '
		repos base next
		apt dist-upgrade >/tmp/log; tail -n 1 /tmp/log
		install_ours
		echo "both: $(resolved), $(resolved "$(other)")"'
		shows "one kernel gets our modules, the other keeps the distro's" \
			'^both: ours ours ours, distro distro distro$'
		shows "a line says why" \
			"skipped: kernel 6\\.[^ ]* was built from linux 6\\.[^ ]*, but .* has version 6\\."
		apt_succeeds 2
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "a fresh installation without headers and source, which come later in that order" "$deb_plain" '
		sources_gone >/dev/null
		dpkg -r --force-depends linux-headers-"$K" >/dev/null
		dpkg --force-depends -i /packages/kvm-onereg-dkms_*.deb; echo "configure $?"
		echo "neither: $(resolved)"
		repos base image headers
		dpkg --force-depends -i /repo/image/linux-image-"$K"_*.deb /repo/headers/linux-headers-"$K"_*.deb; echo "headers $?"
		echo "headers: $(resolved)"
		dpkg -i /repo/source/*.deb; echo "source $?"
		echo "source: $(resolved)"'
		shows "without both: skipped, with a command to fix that" "to fix: apt-get install linux-headers-6\\."
		shows "without both: dpkg succeeds" '^configure 0$'
		shows "with the headers only: the distro's modules" '^headers: distro distro distro$'
		shows "with both: our modules" '^source: ours ours ours$'
		shows "with both: dpkg succeeds" '^source 0$'
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "a fresh installation with the source, whose headers come later" "$deb_plain" '
		dpkg -r --force-depends linux-headers-"$K" linux-headers-amd64 linux-image-amd64 >/dev/null
		install_ours
		echo "source: $(resolved)"
		repos base image headers source
		apt install "$(source_package)"
		apt install linux-image-"$K" linux-headers-"$K"
		echo "headers: $(resolved)"'
		shows "without headers: skipped, with a command to fix that" \
			"to fix: apt-get install linux-headers-6\\."
		shows "without headers: the distro's modules" '^source: distro distro distro$'
		shows "with headers: our modules" '^headers: ours ours ours$'
		apt_succeeds 3
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "a newer version under the same kernel name" "$deb_light" '
		repos base image headers source
		apt dist-upgrade
		echo "newer: $(resolved), $(modinfo -k "$K" -F origin kvm-amd)"
		apt remove kvm-onereg-dkms
		echo "removed: $(resolved)"
		intact "$K"'
		shows "the modules are rebuilt from the newer source" \
			"^newer: ours ours ours, linux-source-$series ${newer//./\\.}\$"
		shows "after a removal, modprobe finds the newer image's own modules" '^removed: distro distro distro$'
		shows "dpkg finds those unchanged" '^intact$'
		apt_succeeds 2
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "a newer version under the same kernel name, whose source comes later" "$deb_light" '
		repos base image headers
		apt dist-upgrade
		echo "without: $(resolved), $(states linux-image-"$K" linux-headers-"$K" kvm-onereg-dkms)"
		intact "$K"
		repos base image headers source
		apt dist-upgrade
		echo "with: $(resolved), $(modinfo -k "$K" -F origin kvm-amd)"'
		shows "the modules of the older version are removed" \
			'removed the installed modules: they were built from linux-source-'
		shows "modprobe finds the newer image's own modules" '^without: distro distro distro, ii ii ii $'
		shows "dpkg finds those unchanged" '^intact$'
		shows "with the source, the modules are rebuilt" \
			"^with: ours ours ours, linux-source-$series ${newer//./\\.}\$"
		apt_succeeds 2
		diag_if_failed "$out"
	fi

	# dkms itself installs the modules. On Debian 13, it then moves the distro's modules to a folder of its own.
	if take_turn; then
		in_case "a newer version under the same kernel name, after dkms itself installed the modules" \
			"$deb_light" '
		dkms uninstall -m kvm-onereg -v "$V" -k "$K" >/dev/null 2>&1
		dkms install -m kvm-onereg -v "$V" -k "$K" >/dev/null 2>&1
		echo "by dkms: $(resolved), $(ls /var/lib/dkms/kvm-onereg/original_module 2>/dev/null | wc -l)"
		repos base image headers source
		apt dist-upgrade
		echo "newer: $(resolved), $(modinfo -k "$K" -F origin kvm-amd)"
		dkms remove -m kvm-onereg -v "$V" --all >/dev/null 2>&1
		echo "removed: $(resolved)"
		intact "$K"'
		case $release in trixie) aside=1 ;; *) aside=0 ;; esac
		shows "dkms installs our modules, and on Debian 13 moves the distro's" \
			"^by dkms: ours ours ours, $aside\$"
		shows "the modules are rebuilt from the newer source" \
			"^newer: ours ours ours, linux-source-$series ${newer//./\\.}\$"
		shows "dkms does not replace the newer package's own modules with old ones" '^intact$'
		shows "modprobe finds the distro's modules" '^removed: distro distro distro$'
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "a native kernel next to the first" "$deb_light" '
		repos base native
		apt dist-upgrade
		N=$(other)
		echo "native: $(resolved "$N"), $(states linux-image-"$N" linux-headers-"$N" kvm-onereg-dkms), old: $(resolved)"
		find /lib/modules/"$N"/ ! -type d -path "*/updates/*" | sed "s/^/added: /"'
		shows "a line says that it is native" '^  [^ ]+ +native: '
		shows "its modules are left alone" '^native: distro distro distro, ii ii ii , old: ours ours ours$'
		is "$what: nothing is installed for it" "$(sed -n 's/^added: //p' <<<"$out")" ""
		apt_succeeds 1
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "the source is no longer on the machine" "$deb_light" '
		source=$(source_package)
		rm -r /usr/src/linux-source-*.tar.xz /var/lib/kvm-onereg/source
		repos base next
		apt dist-upgrade
		echo "kernels: $(resolved), $(resolved "$(other)")"
		apt remove "$source"
		echo "removed: $(resolved)"'
		shows "installed modules stay, a new kernel is skipped" \
			'^kernels: ours ours ours, distro distro distro$'
		shows "with a command to fix that" 'to fix: kvm-onereg-install$'
		shows "apt can remove the source package, and the installed modules stay" '^removed: ours ours ours$'
		apt_succeeds 2
		diag_if_failed "$out"
	fi

	if take_turn; then
		in_case "a build that fails in a kernel upgrade" "$deb_light" '
		repos base next next-source
		FAIL_FOR=$(dpkg-deb -f /repo/next/linux-headers-6*.deb Package | cut -c15-) apt dist-upgrade
		N=$(other)
		echo "states: $(states linux-image-"$N" linux-headers-"$N" linux-image-amd64 linux-headers-amd64), $(states kvm-onereg-dkms)"
		echo "kernels: $(resolved), $(resolved "$N")"
		intact "$N"
		grep "failed as was asked for" /var/lib/kvm-onereg/log/"$N"
		/usr/lib/kvm-onereg/install; echo "install $?"
		echo "again: $(resolved), $(resolved "$N"), $(states kvm-onereg-dkms)"'
		shows "apt succeeds" '^apt 0$'
		shows "a line reports the failure" \
			'^  6\.[^ ]* +failed: the build failed; .*stay; log: /var/lib/kvm-onereg/log/'
		shows "the log says why" '^make: failed as was asked for'
		shows "the last line says how to try again" \
			'^kvm-onereg-dkms: a kernel does not have kvm-onereg'"'"'s KVM, see above; to try again: /usr/sbin/kvm-onereg-install$'
		shows "all packages are configured" '^states: ii ii ii ii , ii $'
		shows "the new kernel has the distro's modules, the old one ours" \
			'^kernels: ours ours ours, distro distro distro$'
		shows "dpkg finds those unchanged" '^intact$'
		shows "the installer tries again, and succeeds" '^install 0$'
		shows "then the new kernel has our modules" '^again: ours ours ours, ours ours ours, ii $'
		diag_if_failed "$out"
	fi
done
done_testing
