#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make install, killed with kill -9 in the midst of each step, the next run recovers: all three modules are ours,
# and a removal after that gives back the distro's, byte for byte.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

# what | program | its arguments, as a pattern of the shell | what happens: before, after, or cut off a copy
points='
our files being copied          | cp     | *kvm-onereg-*.part/*          | before
our files not yet in place      | mv     | *.part */kvm-onereg-*         | before
dkms is adding                  | ln     | *dkms/kvm-onereg/*/source*    | before
before the build                | make   | *modules*                     | before
after the build                 | make   | *modules*                     | after
two of three modules kept       | cp     | */module/kvm-amd.ko*          | before
a module kept in part           | cp     | */module/kvm.ko*              | cut
an original moved aside         | mv     | *original_module/*            | after
two of three installed          | cp     | */updates/dkms/kvm-amd.ko*    | before
a module installed in part      | cp     | */updates/dkms/kvm-intel.ko*  | cut
all installed, not marked so    | ln     | *kernel-*                     | before
installed, before depmod        | depmod | *                             | before
'

# Stands in front of a program: at the point that /wrap/point names, ends every process but the first.
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

for release in $releases; do
	begin
	options=()
	before=$(in_root -- sums)
	while IFS='|' read -r what program pattern how; do
		[ -n "$what" ] || continue
		read -r what <<<"$what"; read -r program <<<"$program"; read -r pattern <<<"$pattern"; read -r how <<<"$how"
		# dkms 3.0.10 moves nothing aside.
		[ "$release/$program" != bookworm/mv ] || [ "${pattern#*original}" = "$pattern" ] || continue
		built_once
		rm -rf "$tmp/wrap"
		mkdir "$tmp/wrap"
		cp "$tmp/killer" "$tmp/wrap/$program"
		printf '%s\n' "$pattern" "$how" >"$tmp/wrap/point"
		options+=(-b "$tmp/wrap:/wrap")
		out=$(in_root -o "$ready" -- '
			# In a PID name space of its own, all of which ends.
			PATH=/wrap:$PATH unshare --pid --fork --kill-child bash -c "tools/install >/tmp/first 2>&1; true" >/dev/null 2>&1
			[ -e /wrap/done ] && echo "was killed"
			sed "s/^/# /" /tmp/first
			echo "between: $(resolved)"
			status tools/install
			echo "after: $(resolved)"
			tools/install --remove | sed "s/^/# /"
			sums | sed "s/^/sum /"
			traces | sed "s/^/left /"
		')
		good=$(grep -c -E '^(was killed|status 0|after: ours ours ours)$' <<<"$out")
		[ "$good" = 3 ] && [ "$(sed -n 's/^sum //p' <<<"$out")" = "$before" ] && ! grep -q '^left' <<<"$out"
		report $? "$release: $what; $(grep '^between' <<<"$out")" || diag "$out"
	done <<<"$points"
done
done_testing
