#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make install is killed with kill -9 in the middle of each step, as by a power failure. At every moment modprobe finds
# a complete set of modules, ours or the distro's. The next run recovers, and a removal after that restores the distro's
# modules, byte for byte. Other cases source this one for run_points, to kill dpkg.
#
# THOROUGH=y: each step on both releases, not only on one of them
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

# Step | program | a shell pattern for its arguments | when it is killed: before it runs, after that, or (cut) when it
# has copied only a part
points='
while our files are copied      | cp     | *kvm-onereg-*.part/*          | before
before our files are renamed    | mv     | *.part */kvm-onereg-*         | before
during dkms add                 | ln     | *dkms/kvm-onereg/*/source*    | before
before the build                | make   | *modules*                     | before
after the build                 | make   | *modules*                     | after
two of three modules in DKMS    | cp     | */module/kvm-amd.ko*          | before
a part of a module in DKMS      | cp     | */module/kvm.ko*              | cut
two of three modules installed  | cp     | */updates/dkms/kvm-amd.ko*    | before
a part of a module installed    | cp     | */updates/dkms/kvm-intel.ko*  | cut
before a module is renamed      | mv     | */updates/dkms/kvm-intel.ko*  | before
installed, not recorded by DKMS | ln     | *kernel-*                     | before
installed, before depmod        | depmod | *                             | before
installed, after depmod         | depmod | *                             | after
'

# A stand-in for a program: at the step in /wrap/point, it kills all processes of its PID name space but the first.
cat >"$tmp/killer" <<'END'
#!/bin/bash
{ read -r pattern; read -r how; } </wrap/point
PATH=${PATH#/wrap:}
# shellcheck disable=SC2053 # a pattern
if [[ " $* " == $pattern ]] && [ ! -e /wrap/done ]; then
	: >/wrap/done
	case $how in
	after) "${0##*/}" "$@" ;;
	cut) head -c 20000 "${@: -2:1}" >"${@: -1}" ;;
	esac
	kill -9 -1
	kill -9 $$
fi
exec "${0##*/}" "$@"
END
chmod +x "$tmp/killer"

# Print which modules modprobe finds, and "in N kinds", where N counts their different versions and each error. A set of
# ours has one kind; the distro's modules have no version, and therefore none.
between='
between() {
	local m f
	for m in kvm kvm-intel kvm-amd; do
		modinfo -k "$K" "$m" >/dev/null 2>&1 || echo "none for $m"
		modinfo -k "$K" -F version "$m" 2>/dev/null
		modprobe -S "$K" --show-depends "$m" 2>&1 | while read -r _ f; do modinfo "$f" >/dev/null 2>&1 || echo "no $f"; done
	done | sort -u | wc -l | sed "s/^/between: $(resolved), in /; s/$/ kinds/"
}
'
undo='make -s uninstall || dpkg -P kvm-onereg-dkms'
# run_points LAYER POINTS FIRST AGAIN WANTED: for each of POINTS, the command FIRST is killed there in LAYER; then the
# script AGAIN does what an administrator would do, and modprobe must find WANTED. $undo removes everything.
run_points() {
	local layer=$1 list=$2 first=$3 again=$4 wanted=$5 what program pattern how out good binds=("${options[@]}")
	while IFS='|' read -r what program pattern how; do
		[ -n "$what" ] || continue
		take_turn || continue
		read -r what <<<"$what"
		read -r program <<<"$program"
		read -r pattern <<<"$pattern"
		read -r how <<<"$how"
		rm -rf "$tmp/wrap"
		mkdir "$tmp/wrap"
		cp "$tmp/killer" "$tmp/wrap/$program"
		printf '%s\n' "$pattern" "$how" >"$tmp/wrap/point"
		options=("${binds[@]}" -b "$tmp/wrap:/wrap")
		out=$(in_root -o "$layer" -- "$between first='$first'"'
			# In its own PID name space, so that only its processes are killed.
			PATH=/wrap:$PATH unshare --pid --fork --kill-child bash -c "$first >/tmp/first 2>&1; true" >/dev/null 2>&1
			[ -e /wrap/done ] && echo "was killed"
			sed "s/^/# /" /tmp/first
			between
			'"$again"'
			echo "after: $(resolved)"
			{ '"$undo"'; } >/tmp/log 2>&1; sed "s/^/# /" /tmp/log
			sums | sed "s/^/sum /"
			traces | sed "s/^/left /"
		')
		good=$(grep -c -E "^(was killed|status 0|after: $wanted|between: ((ours ours ours|prebuilt prebuilt prebuilt), in 1 kinds|distro distro distro, in 0 kinds))\$" <<<"$out")
		[ "$good" = 4 ] && [ "$(sed -n 's/^sum //p' <<<"$out")" = "$before" ] && ! grep -q '^left' <<<"$out"
		report $? "$release: $what; $(grep '^between' <<<"$out")" || diag "$out"
	done <<<"$list"
	options=("${binds[@]}")
}

[ "${0##*/}" = killed.t ] || return 0
for release in $releases; do
	begin
	before=$(in_root -- sums)
	built_once
	run_points "$ready" "$points" tools/install 'status tools/install' "ours ours ours"
done
done_testing
