#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An installation never leaves a set in which only some modules are ours, whether it existed before or dkms created it.
# dkms 3.0.10 creates such sets with exit status 0: it takes modules without a version for identical and skips them, and
# it ignores failed copies.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

for release in $releases; do
	begin
	built_once

	out=$(in_root -o "$light" -- '
		rm /lib/modules/"$K"/updates/dkms/kvm-amd.ko*
		depmod "$K"
		echo "before: $(resolved)"
		status tools/install
		echo "after: $(resolved)"
	')
	like "$release: a missing module of ours is detected" "$out" 'found a partial installation'
	like "$release: ... and repaired" "$out" '^after: ours ours ours$'
	like "$release: ... with exit status 0" "$out" '^status 0$'

	# dkms copies two modules and fails on the third.
	before=$(in_root -- sums)
	out=$(in_root -o "$ready" -- '
		mkdir /wrap
		printf "%s\n" "#!/bin/sh" "case \$* in *updates/dkms/kvm-amd*) echo \"cp: input/output error\" >&2; exit 1 ;; esac" "exec /bin/cp \"\$@\"" >/wrap/cp
		chmod +x /wrap/cp
		PATH=/wrap:$PATH
		status tools/install
		echo "after: $(resolved)"
		sums | sed "s/^/sum /"
		find /lib/modules/"$K"/ -path "*/updates/*" ! -type d | sed "s/^/left /"
	')
	like "$release: dkms installs two of three modules: an error" "$out" \
		"failed: .*cp: input/output error; the distro's modules stay"
	like "$release: ... with exit status 1" "$out" '^status 1$'
	is "$release: ... and the distro's modules are unchanged" "$(sed -n 's/^sum //p' <<<"$out")" "$before"
	like "$release: ... modprobe finds them" "$out" '^after: distro distro distro$'
	is "$release: ... and nothing is left of ours" "$(sed -n 's/^left //p' <<<"$out")" ""

	# Modules without a version: dkms gets those of the distro as if they were the result of the build.
	out=$(in_root -o "$ready" -- '
		mkdir /wrap
		for f in /lib/modules/"$K"/kernel/arch/x86/kvm/kvm*.ko*; do
			case $f in *.xz) xz -dc "$f" >/wrap/"$(basename "$f" .xz)" ;; *) cp "$f" /wrap/ ;; esac
		done
		export PREBUILT=/wrap
		status tools/install
		echo "after: $(resolved)"
		dkms build -m kvm-onereg -v "$V" -k "$K" >/dev/null 2>&1
		dkms install -m kvm-onereg -v "$V" -k "$K" >/dev/null 2>&1
		echo "dkms alone: status $?, $(ls /lib/modules/"$K"/updates/dkms 2>/dev/null | wc -l) copied"
	')
	like "$release: modules without version and origin: an error before anything is installed" "$out" \
		'failed: dkms has no complete kvm\.ko'
	like "$release: ... with exit status 1" "$out" '^status 1$'
	like "$release: ... and the distro's modules stay" "$out" '^after: distro distro distro$'
	case $release in
	bookworm)
		like "$release: (dkms 3.0.10 alone considers them installed, and copies nothing)" "$out" \
			'^dkms alone: status 0, 0 copied$'
		;;
	*) diag "$(grep '^dkms alone' <<<"$out")" ;;
	esac
done
done_testing
