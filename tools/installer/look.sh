# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # other parts use and set the variables
#
# look.sh - examine the host: the installed kernels, what each was built from, and whose KVM modules modprobe finds
#
# The caller sets $modules, and $place: the folder of our modules below /lib/modules/KERNEL. It also sources
# prebuilt.sh, module.sh and a file that knows where our modules come from (dkms.sh), with these functions, which
# look.sh and switch.sh call:
#
#   kept_file KERNEL VERSION FILE   print the file that FILE, in $place, was copied from; nothing if that is not known
#   kept_marked KERNEL              whether a mark says, rightly or wrongly, that KERNEL has ours
#   kept_moved KERNEL               whether some of the distro's modules may have been moved away
#   kept_restore KERNEL             move them back
#   kept_modules KERNEL             print the three files to copy to $place
#   kept_mark, kept_unmark KERNEL   set that mark; remove it, and all files that were moved away
#
# The command kvm-onereg has its own model of the host (tools/kvm-onereg), with the same results: see
# tests/command/model.t.

# Kernels: folders with modules. Headers alone make a folder too, with nothing but links in it, and so does a kernel
# that was removed and not purged, with depmod's lists.
kernels() {
	local d
	for d in /lib/modules/*/; do
		[ -d "$d/kernel" ] || [ -e "$d/vmlinuz" ] || [ -n "$(ours_files "$(basename "$d")")" ] || continue
		basename "$d"
	done | sort -V
}

# The Debian version of kernel $1's installed image; nothing if it is not installed, or its files are about to change.
image_version() {
	local p
	for p in "linux-image-$1" "linux-image-$1-unsigned"; do
		dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$p" 2>/dev/null
	done | awk '$1 ~ /^(installed|unpacked|half-configured|triggers-.*)$/ { print $2; exit }'
}

# Print the source to build from for kernel $1, according to its headers or, without them, the version of its image.
wanted() {
	local v
	v=$(sed -n 's/^#define LINUX_PACKAGE_ID " Debian \(.*\)"$/\1/p' \
		"/lib/modules/$1/build/include/generated/package.h" 2>/dev/null)
	[ -n "$v" ] || v=$(image_version "$1")
	[ -z "$v" ] || echo "linux-source-$(cut -d. -f1,2 <<<"$1") $v"
}

# The files with the three names in the place of ours.
ours_files() { ls "/lib/modules/$1/$place"/{kvm,kvm-intel,kvm-amd}.ko{,.xz,.gz,.zst} 2>/dev/null; }

# Whether kernel $1 is configured without module $2, as kernels of one's own may be: then the module is not missing.
left_out() {
	local c=/boot/config-$1 option
	case $2 in
	kvm-intel) option=CONFIG_KVM_INTEL=m ;;
	kvm-amd) option=CONFIG_KVM_AMD=m ;;
	*) return 1 ;;
	esac
	[ -r "$c" ] || c=/lib/modules/$1/build/.config
	grep -q -x CONFIG_KVM=m "$c" 2>/dev/null && ! grep -q -x "$option" "$c"
}

# Set $found for kernel $1: what the three modules resolve to.
#   ours      all three ours, of $found_version and $found_origin, and as they are kept
#   distro    all three the distro's
#   foreign   $found_file is of somebody else
#   none      the kernel has no KVM modules, and never had ours
#   mixed     anything else: a part of ours, files that nobody knows, a missing or unreadable module
look() {
	local k=$1 m f v o info kept n_ours=0 n_distro=0 n_left_out=0 known=''
	found=mixed found_version='' found_origin='' found_file=''
	for m in $modules; do
		f=$(modinfo -k "$k" -F filename "$m" 2>/dev/null)
		case $f in
		'' | '(builtin)')
			! left_out "$k" "$m" || n_left_out=$((n_left_out + 1))
			continue
			;;
		esac
		known=y
		# Of a file that is cut off the first sections may still be there.
		{ info=$(modinfo -k "$k" "$m" 2>/dev/null) && grep -q '^vermagic:' <<<"$info"; } || continue
		v=$(sed -n 's/^version: *//p' <<<"$info")
		o=$(sed -n 's/^origin: *//p' <<<"$info")
		[ -n "$v" ] || o=''
		case $f in
		"/lib/modules/$k/kernel/arch/x86/kvm/"* | "/usr/lib/modules/$k/kernel/arch/x86/kvm/"*)
			[ -n "$o" ] || n_distro=$((n_distro + 1))
			;;
		*/"$place"/* | */"$prebuilt_place"/*) [ -n "$o" ] || : "${found_file:=$f}" ;;
		*) : "${found_file:=$f}" ;;
		esac
		{ [ -n "$o" ] && [ -e "$f" ]; } || continue
		[ "$n_ours" = 0 ] || [ "$v/$o" = "$found_version/$found_origin" ] || continue
		found_version=$v found_origin=$o
		kept=''
		case $f in */"$place"/*) kept=$(kept_file "$k" "$v" "$f") ;; esac
		[ -n "$kept" ] && same_module "$kept" "$f" && n_ours=$((n_ours + 1))
	done
	# kvm alone is no set.
	[ "$n_left_out" -le 1 ] || n_left_out=0
	if [ -n "$found_file" ]; then
		found=foreign
	elif [ "$n_ours" -gt 0 ] && [ $((n_ours + n_left_out)) = 3 ]; then
		found=ours
	elif [ -z "$(ours_files "$k")" ] && ! kept_marked "$k"; then
		if [ "$n_distro" -gt 0 ] && [ $((n_distro + n_left_out)) = 3 ]; then
			found=distro
		elif [ -z "$known" ] && ! kept_moved "$k"; then
			found=none
		fi
	fi
}

# The distro's three modules of kernel $1 are what its package brought; prints those that are not.
changed_files() {
	local k=$1 m f p was
	for m in $modules; do
		f=$(modinfo -k "$k" -F filename "$m" 2>/dev/null)
		[ -e "$f" ] || {
			echo "$m"
			continue
		}
		p=$(dpkg-query -S "*/lib/modules/$k/kernel/${f##*/kernel/}" 2>/dev/null | sed -n '1s/: .*//p')
		[ -n "$p" ] || continue
		was=$(dpkg-query --control-show "$p" md5sums 2>/dev/null |
			sed -n "s,  .*lib/modules/$k/kernel/${f##*/kernel/}$,,p")
		[ -z "$was" ] || [ "$(md5sum <"$f" | cut -d' ' -f1)" = "$was" ] || echo "$f"
	done
}

# Whether CET is requested for this CPU, in the configuration that modprobe reads; the last setting counts.
cet_asked() {
	local module=kvm_intel
	! grep -q '^flags.* svm\( \|$\)' /proc/cpuinfo || module=kvm_amd
	modprobe -c 2>/dev/null | awk -v module="$module" '
		$1 == "options" { gsub("-", "_", $2) }
		$1 == "options" && $2 == module { for (i = 3; i <= NF; i++) if ($i ~ /^cet(=|$)/) v = $i }
		END { exit v !~ /^cet(=([1yY]|[oO][nN]).*)?$/ || v == "" }'
}
