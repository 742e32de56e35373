#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A release upgrade from Debian 12 to 13 with the real packages of both, on a host with our modules for 6.1 and for
# Debian 12's 6.12. It is killed while dpkg runs, and continued. It ends without an error and, after the service has
# downloaded the source, with our modules for Debian 13's 6.12. The older kernels keep their modules.
#
# THOROUGH=y: also without the kill
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

kernel=$top/tests/debian/kernel archive=$top/tests/debian/archive
release=bookworm
begin_deb
other_modules=$("$top/tests/packaging/installed" modules trixie) || exit 1
second=$("$kernel" release 6.12-bpo12) second_version=$("$kernel" version 6.12-bpo12)
new=$("$kernel" release 6.12)
# Both releases have the keyring under its old name, whatever its name on this machine.
sources12=$("$archive" sources bookworm | sed 's/keyring\.pgp/keyring.gpg/')
sources13=$("$archive" sources trixie | sed 's/keyring\.pgp/keyring.gpg/')

# Downloaded packages are kept for later runs. Only a few modules and no documentation are unpacked from them.
debs=$build/release-upgrade
mkdir -p "$debs/partial"
find "$debs" -name '*.deb' -mtime +14 -delete
options+=(-b "$debs:/var/cache/apt/archives" -b "$other_modules:/prebuilt-6.12:ro")

functions="second=$second second_version=$second_version new=$new"'
few() {
	printf "%s\n" "path-exclude=/lib/modules/*/kernel/[dnsfm]*" "path-exclude=/usr/lib/modules/*/kernel/[dnsfm]*" \
		"path-exclude=/usr/share/doc/*" "path-exclude=/usr/share/man/*" "path-exclude=/usr/share/locale/*" force-unsafe-io \
		>/etc/dpkg/dpkg.cfg.d/few
}
all() { for k in "$K" "$second" "$new"; do [ ! -d "/lib/modules/$k" ] || echo "$k: $(resolved "$k"), $(modinfo -k "$k" -F origin kvm)"; done; }
state() { dpkg --audit; states kvm-onereg-dkms kvm-onereg-tools linux-image-"$K" linux-image-"$second" linux-image-"$new" linux-headers-"$new" | xargs; }
sources_are() { rm -f /etc/apt/sources.list.d/*; printf "%s\n" "$1" >/etc/apt/sources.list; apt-get update -qq; }
steps() {
	apt upgrade --without-new-pkgs
	apt full-upgrade
	apt autoremove
}
'
# with_network OPTION... -- SCRIPT: like in_root, but with the network; the output is $out
with_network() {
	local o=()
	while [ "$1" != -- ]; do
		o+=("$1")
		shift
	done
	out=$("$root" run bookworm "${o[@]}" "${options[@]}" -b "$made/project:/kvm-onereg:ro" -w /kvm-onereg -- \
		bash -c "$prelude$functions$2" 2>&1)
}

before=$tmp/before
cp -a "$deb_light" "$before"
with_network -l "$before" -- "sources12='$sources12'"'
	few
	sources_are "$sources12"
	apt install --no-install-recommends linux-image-"$second"="$second_version" linux-headers-"$second"="$second_version"
	/usr/sbin/kvm-onereg-install; echo "install $?"
	echo "options kvm_intel cet=1" >>/etc/modprobe.d/kvm-onereg.conf
	all >/before; cat /before'
like "Debian 12: our modules for its 6.1" "$out" '^6\.1\.0-[0-9]+-amd64: ours ours ours, linux-source-6\.1 '
like "Debian 12: and for its 6.12" "$out" \
	"^${second//+/\\+}: ours ours ours, linux-source-6\\.12 ${second_version//+/\\+}\$"
rm -rf "$before/work" "$before/m"
diag_if_failed "$out"

# after NAME: check the end of an upgrade
after() {
	local what=$1
	is "$what: apt ends without an error" "$(grep '^apt [0-9]' <<<"$out" | sort -u)" "apt 0"
	is "$what: all packages are configured" "$(sed -n 's/^state: //p' <<<"$out")" "ii ii ii ii ii ii"
	is "$what: 6.1 and Debian 12's 6.12 keep their modules" \
		"$(sed -n '/^then:/,/^service/p' <<<"$out" | grep -c '^kept$')" 1
	like "$what: the new 6.12 does not have our modules yet" "$out" \
		"^then: ${new//+/\\+}: distro distro distro"
	like "$what: the end of the apt run says so" "$(grep -A 1 '^\*\*\* kvm-onereg: these kernels' <<<"$out")" \
		"^  ${new//+/\\+} "
	like "$what: and that a reboot would disable CET, which is configured" "$out" \
		"^\\*\\*\\* ${new//+/\\+} boots next, and CET for guests"
	like "$what: then the service succeeds" "$out" '^service 0$'
	like "$what: the new 6.12 has our modules, from its exact source" "$out" \
		"^last: ${new//+/\\+}: ours ours ours, linux-source-6\\.12 $("$kernel" version 6.12)\$"
	is "$what: no source is wanted any more" "$(sed -n 's/^wanted: //p' <<<"$out")" ""
	diag_if_failed "$(tail -n 150 <<<"$out")"
}

end='
	echo "state: $(state)"
	head -n 2 /before | cmp - <(all | head -n 2) && kept=kept || { kept=changed; all; }
	echo "then: $(all | grep "^$new:")"; echo $kept
	/usr/sbin/kvm-onereg-install; echo "service $?"
	echo "last: $(all | grep "^$new:")"
	echo "wanted: $(ls /var/lib/kvm-onereg/wanted 2>/dev/null)"'

if [ "${THOROUGH:-}" = y ]; then
	with_network -o "$before" -- "sources13='$sources13'"'
	sources_are "$sources13"
	steps'"$end"
	after "without a kill"
fi

# Kill apt and dpkg and all their children, as a power cut would, when the new kernel's headers are set up.
with_network -o "$before" -- "sources13='$sources13'"'
	sources_are "$sources13"
	apt upgrade --without-new-pkgs
	mkfifo /log
	setsid apt-get -y -q -o Dpkg::Use-Pty=0 -o "DPkg::Path=$PATH" full-upgrade </dev/null >/log 2>&1 &
	while IFS= read -r line; do
		echo "$line"
		case $line in "Setting up linux-headers-6.12"*) kill -9 -- -$! 2>/dev/null; echo killed ;; esac
	done </log
	wait
	echo "half: $(dpkg --audit | grep -c .)"
	dpkg --configure -a; echo "apt $?"
	apt -f install
	apt full-upgrade
	apt autoremove'"$end"
like "it was killed in the middle" "$out" '^killed$'
after "killed"
done_testing
