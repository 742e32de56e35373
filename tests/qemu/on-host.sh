# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases here, after tap.sh: run tests/qemu/drive on an emulated host: $HOST, vmx (default) or svm-cet.

# shellcheck source=tests/hosts/relay.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

# drive_on NAME KERNEL COMMANDS [OPTION]...: KERNEL is native, distro-6.12 or distro-6.1 as shipped, or 6.12 or 6.1 with
# our modules and CET. COMMANDS, one per line, run drive, and can have directions (directions_to). OPTIONS are those of
# tests/hosts/boot. $qemu names the root whose QEMU is used, if not the root qemu.
drive_on() {
	local name=$1 kernel=$2 commands=$3 modules='' f options=()
	shift 3
	case $kernel in
	6.*)
		modules=$build/$("$top/tests/debian/kernel" release "$kernel")
		options=(-p kvm_intel.cet=1)
		[ "${HOST:-vmx}" = vmx ] || options=(-p kvm_amd.cet=1)
		;;
	esac
	kernel=${kernel#distro-}
	for f in drive forget.so guest.bin; do
		options+=(-i "$build/tests/qemu/$f")
	done
	run_host "$name" "${HOST:-vmx}" "$("$top/tests/debian/kernel" path "$kernel")" "$modules" \
		"$(directions_to "$kernel" "$commands")" -r 512 -t 1500 -I "$("$top/tests/qemu/tree" "${qemu:-qemu}")" \
		"${options[@]}" "$@"
}

# keep NAME: keep its image for the hosts that follow: "${saved[@]}" are options for them
saved=()
keep() {
	cp "$tmp/$1/files/image" "$tmp/from-$1" && saved+=(-i "$tmp/from-$1")
}

# refuse NAME...: commands for what was kept, on a host without CET. $guest and $plain are options of QEMU: the guest,
# and a CPU without CET.
# shellcheck disable=SC2154 # the caller sets them
refuse() {
	local name
	for name; do
		echo "drive -f /host/from-$name -e 'Failed to set special registers' refuse $guest $plain" \
			"#direction $name QEMU refused"
	done
}

# same_points NAME OTHER: OTHER must pass all checks that NAME passed
same_points() {
	is "$1 and $2: the same checks" "$(comm -23 <(passed_in "$1") <(passed_in "$2"))" ""
}

passed_in() {
	awk '/^# program / { program = $0; next } sub(/^ok [0-9]+ - /, "") { print program ": " $0 }' "$tmp/$1/points" |
		sort -u
}

# linux_guest: prepares a Debian kernel with tests/qemu/guest/user.c as its only process. $linux_command moves it, and
# ${linux_files[@]} are the options of drive_on for that.
# shellcheck disable=SC2034 # for the caller
linux_guest() {
	local kernel line
	make -s -C "$top/tests/hosts"
	kernel=$("$top/tests/debian/kernel" path 6.12)
	mkdir "$tmp/kernel" "$tmp/root"
	"$build/hosts/bin/mkboot" kernel "$kernel/boot/vmlinuz-$("$top/tests/debian/kernel" release 6.12)" "$tmp/kernel"
	cp "$build/tests/qemu/user" "$tmp/root/init"
	(cd "$tmp/root" && echo init | cpio -o -H newc --quiet) >"$tmp/guest-initrd"

	# As tests/hosts/boot has it, and no driver for the serial port, as the guest reads it itself
	line="quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check cryptomgr.notests audit=0 apparmor=0"
	line+=" numa=off initcall_blacklist=jent_mod_init,trace_eval_init,load_system_certificate_list 8250.nr_uarts=0"
	linux_command="drive -m 128 -f /tmp/image move -kernel /host/vmlinux -initrd /host/guest-initrd -append '$line'"
	linux_files=(-i "$tmp/kernel/vmlinux" -i "$tmp/guest-initrd" -r 1024)
}
