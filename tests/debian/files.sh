# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For scripts that copy programs from a Debian root, $root, into an emulated host.
# shellcheck disable=SC2154 # they set it

# copy FILE FOLDER: copy the root's FILE, with links followed, to FOLDER/NAME-OF-FILE
copy() {
	mkdir -p "$2"
	cp "$root$(chroot "$root" readlink -f "$1")" "$2/$(basename "$1")"
}

# libraries PROGRAM: print the libraries that it loads
libraries() { chroot "$root" /lib64/ld-linux-x86-64.so.2 --list "$1" | sed -n 's/.* => \(.*\) (.*/\1/p'; }
