#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The Debian package while apt installs, upgrades and removes kernels, headers and sources, in any order: what modprobe
# finds for each kernel afterwards, and that apt and the kernel's packages never fail because of ours.
#
# THOROUGH=y: all of it on both releases, not each on one of them
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

# The modules of a kernel are as its package installed them: "intact 1" when dpkg finds no difference.
functions='
intact() { dpkg --verify "linux-image-$1" | grep /kvm/; echo "intact $?"; }
'
series_of() { case $1 in bookworm) echo 6.1 ;; *) echo 6.12 ;; esac }
# in_case NAME LAYER SCRIPT: run it; what it printed is $out, shown when a check of the case fails
in_case() {
	what="$release: $1"
	failed_before=$failures
	out=$(in_root -o "$2" -- "$functions$3")
}
shows() { like "$what: $1" "$out" "$2"; }
apt_succeeds() { is "$what: apt succeeds" "$(grep -c '^apt 0$' <<<"$out")" "$1"; } # so many times
end_case() { [ "$failures" = "$failed_before" ] || diag "$out"; }

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
		shows "modprobe finds ours for the new kernel" "^new: ours ours ours linux-source-$series "
		shows "the first kernel is untouched" '^old: ours ours ours untouched$'
		shows "one line for the new kernel" '^  6\.[^ ]* +installed \('
		shows "one line for the first" '^  6\.[^ ]* +installed already'
		is "$what: the package's trigger ran once" "$(sed '/^new:/q' <<<"$out" | grep -c 'installed already')" 1
		shows "all packages are configured" '^states: ii ii ii $'
		shows "the source of both is kept" '^kept: 2$'
		apt_succeeds 2
		shows "purged, nothing of it is left, and its source is removed" '^gone: 0, 1$'
		end_case
	fi

	if take_turn; then
		in_case "a new kernel, its source later" "$deb_light" '
		repos base next
		apt dist-upgrade
		N=$(other)
		echo "without: $(resolved "$N"), $(states linux-image-"$N" linux-headers-"$N" kvm-onereg-dkms)"
		repos base next next-source
		apt install "$(source_package)"
		echo "with: $(resolved "$N"), old: $(resolved)"
		apt install --reinstall linux-headers-"$N" | tee /tmp/log | grep -c "installed already" | sed "s/^/already: /"'
		shows "skipped, with the command that helps" 'to fix: kvm-onereg-install$'
		shows "apt succeeds, with the distro's modules" '^without: distro distro distro, ii ii ii $'
		shows "then its modules are built, and the other kernel keeps its own" \
			'^with: ours ours ours, old: ours ours ours$'
		shows "with nothing to do, a line for each" '^already: 2$'
		apt_succeeds 2
		end_case
	fi

	if take_turn; then
		in_case "fresh, two kernels, of which one matches the source" "$deb_plain" '
		repos base next
		apt dist-upgrade >/tmp/log; tail -n 1 /tmp/log
		install_ours
		echo "both: $(resolved), $(resolved "$(other)")"'
		shows "one kernel gets our modules, the other keeps the distro's" \
			'^both: ours ours ours, distro distro distro$'
		shows "the line says why" \
			"skipped: kernel 6\\.[^ ]* was built from linux 6\\.[^ ]*, but .* has version 6\\."
		apt_succeeds 2
		end_case
	fi

	if take_turn; then
		in_case "fresh, neither headers nor source, headers first" "$deb_plain" '
		sources_gone >/dev/null
		dpkg -r --force-depends linux-headers-"$K" >/dev/null
		dpkg --force-depends -i /packages/kvm-onereg-dkms_*.deb; echo "configure $?"
		echo "neither: $(resolved)"
		repos base image headers
		dpkg --force-depends -i /repo/image/linux-image-"$K"_*.deb /repo/headers/linux-headers-"$K"_*.deb; echo "headers $?"
		echo "headers: $(resolved)"
		dpkg -i /repo/source/*.deb; echo "source $?"
		echo "source: $(resolved)"'
		shows "neither: skipped, with the command" "to fix: apt-get install linux-headers-6\\."
		shows "neither: no failure" '^configure 0$'
		shows "headers: the distro's" '^headers: distro distro distro$'
		shows "source: ours" '^source: ours ours ours$'
		shows "source: no failure" '^source 0$'
		end_case
	fi

	if take_turn; then
		in_case "fresh, source first, headers later" "$deb_plain" '
		dpkg -r --force-depends linux-headers-"$K" linux-headers-amd64 linux-image-amd64 >/dev/null
		install_ours
		echo "source: $(resolved)"
		repos base image headers source
		apt install "$(source_package)"
		apt install linux-image-"$K" linux-headers-"$K"
		echo "headers: $(resolved)"'
		shows "without headers skipped, with the command" "to fix: apt-get install linux-headers-6\\."
		shows "the distro's" '^source: distro distro distro$'
		shows "with headers: ours" '^headers: ours ours ours$'
		apt_succeeds 3
		end_case
	fi

	if take_turn; then
		in_case "a newer version under the same kernel name" "$deb_light" '
		repos base image headers source
		apt dist-upgrade
		echo "newer: $(resolved), $(modinfo -k "$K" -F origin kvm-amd)"
		apt remove kvm-onereg-dkms
		echo "removed: $(resolved)"
		intact "$K"'
		shows "rebuilt from the newer source" "^newer: ours ours ours, linux-source-$series ${newer//./\\.}\$"
		shows "removed: the newer package's own modules" '^removed: distro distro distro$'
		shows "byte for byte" '^intact 1$'
		apt_succeeds 2
		end_case
	fi

	if take_turn; then
		in_case "a newer version under the same kernel name, its source later" "$deb_light" '
		repos base image headers
		apt dist-upgrade
		echo "without: $(resolved), $(states linux-image-"$K" linux-headers-"$K" kvm-onereg-dkms)"
		intact "$K"
		repos base image headers source
		apt dist-upgrade
		echo "with: $(resolved), $(modinfo -k "$K" -F origin kvm-amd)"'
		shows "removed" 'removed the installed modules: they were built from linux-source-'
		shows "the newer package's own modules" '^without: distro distro distro, ii ii ii $'
		shows "byte for byte" '^intact 1$'
		shows "then rebuilt" "^with: ours ours ours, linux-source-$series ${newer//./\\.}\$"
		apt_succeeds 2
		end_case
	fi

	# As dkms leaves it when it installs by itself, which on Debian 13 moves the distro's modules aside.
	if take_turn; then
		in_case "a newer version under the same kernel name, after dkms installed by itself" "$deb_light" '
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
		shows "ours, and what dkms moved aside" "^by dkms: ours ours ours, $aside\$"
		shows "rebuilt from the newer source" "^newer: ours ours ours, linux-source-$series ${newer//./\\.}\$"
		shows "dkms does not replace the newer package's own modules with old ones" '^intact 1$'
		shows "modprobe finds the distro's modules" '^removed: distro distro distro$'
		end_case
	fi

	if take_turn; then
		in_case "a native kernel next to it" "$deb_light" '
		repos base native
		apt dist-upgrade
		N=$(other)
		echo "native: $(resolved "$N"), $(states linux-image-"$N" linux-headers-"$N" kvm-onereg-dkms), old: $(resolved)"
		ls -d /lib/modules/"$N"/updates'
		shows "the line says that it is native" '^  [^ ]+ +native: '
		shows "its modules are left alone" '^native: distro distro distro, ii ii ii , old: ours ours ours$'
		apt_succeeds 1
		end_case
	fi

	if take_turn; then
		in_case "the source is gone" "$deb_light" '
		source=$(source_package)
		rm -r /usr/src/linux-source-*.tar.xz /var/lib/kvm-onereg/source
		repos base next
		apt dist-upgrade
		echo "kernels: $(resolved), $(resolved "$(other)")"
		apt remove "$source"
		echo "removed: $(resolved)"'
		shows "installed modules stay, a new kernel is skipped" \
			'^kernels: ours ours ours, distro distro distro$'
		shows "with the command that helps" 'to fix: kvm-onereg-install$'
		shows "apt can remove the source, and what is installed stays" '^removed: ours ours ours$'
		apt_succeeds 2
		end_case
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
		shows "byte for byte" '^intact 1$'
		shows "the command tries again" '^install 0$'
		shows "then the new kernel has our modules" '^again: ours ours ours, ours ours ours, ii $'
		end_case
	fi
done
done_testing
