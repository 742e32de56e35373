# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # tests/tap.sh sets build, tmp and top
#
# For the cases in this folder that need an emulated host; source it after tests/tap.sh.
#
#   make_host NAME RELEASE     make $tmp/NAME, a tree for the option -I of tests/hosts/boot: the command, bash and some
#                              programs, and KVM's modules with their dependencies, as `make install` leaves them in a
#                              Debian 12 (bookworm) or 13 (trixie) root; if RELEASE is "native", those of a kernel that
#                              has ONE_REG and CET itself. Sets $kernel, the folder for -k, and $K, the kernel's release
#   changed_module FILE SECTION OFFSET TO
#                              write a copy of a module to TO, with one bit of a section changed
#   strip_modules FOLDER       remove those parts of the modules that take an emulated host seconds to load
#   run_script NAME HOST SCRIPT [OPTION]...
#                              run a bash script with the tree NAME on the host svm or vmx, where KVM is not loaded; its
#                              output is $out. OPTION as for tests/hosts/boot. Scripts have these functions:
#                                run WORDS -- COMMAND...   print "== WORDS", the command's output, "== status N"
#                                hold COMMAND...           start a program, and wait until it prints that it is ready
#   part WORDS                 print the part of $out under these words
#
# Scripts set $between in the environment of a command to do something between its steps: see between.c.

[ "$(id -u)" = 0 ] || skip_all "needs root"
command -v mmdebstrap >/dev/null || skip_all "mmdebstrap is missing: apt-get install mmdebstrap"

here=$top/tests/command

strip_modules() {
	local f
	find "$1" -name '*.ko*' | while read -r f; do
		case $f in
		*.ko.xz) xz -d "$f" ;;
		*.ko) cp -p "$f" "$f.own" && mv "$f.own" "$f" ;; # other trees have the same file
		esac
		objcopy --strip-debug -R .BTF -R .BTF.base -R __mcount_loc -R .rela__mcount_loc "${f%.xz}"
		case $f in *.xz) "$here/store-xz" "${f%.xz}" ;; esac
	done
}

# add_programs TREE FILE...: copy programs, with their libraries, from the root in which the command was built
add_programs() {
	local tree=$1 root f l
	shift
	root=$("$top/tests/debian/root" path compilers)
	for f; do
		mkdir -p "$tree$(dirname "$f")"
		cp -L "$root$f" "$tree$f"
		chroot "$root" /lib64/ld-linux-x86-64.so.2 --list "$f" | sed -n 's/.* => \(.*\) (.*/\1/p' |
			while read -r l; do
				[ -e "$tree/usr/lib/x86_64-linux-gnu/${l##*/}" ] ||
					cp -L "$root$l" "$tree/usr/lib/x86_64-linux-gnu/"
			done
	done
}

make_host() {
	local tree=$tmp/$1 made m f dependency
	if [ "$2" = native ]; then
		made=$("$top/tests/debian/kernel" path native) || return
	else
		made=$("$top/tests/packaging/installed" "$2") || return
	fi
	kernel=$made
	K=$(ls "$made/lib/modules")
	mkdir -p "$tree/lib/modules/$K" "$tree/usr/lib" "$tree/host" "$tree/etc/modprobe.d"
	cp -a "$("$here/tree")/." "$tree/" || return
	ln -s ../../lib/modules "$tree/usr/lib/modules"
	add_programs "$tree" /usr/bin/{bash,cat,cp,dd,flock,grep,ls,mkdir,mv,rm,rmdir,sed,setpriv,sleep,unshare,xz}
	gcc -O2 -D_GNU_SOURCE -static -Wall -Wextra -Werror -o "$tree/host/holder" "$here/holder.c" &&
		gcc -O2 -D_GNU_SOURCE -shared -fPIC -Wall -Wextra -Werror -o "$tree/host/between.so" \
			"$here/between.c" || return
	cp "$made/lib/modules/$K"/modules.{order,builtin}* "$tree/lib/modules/$K/" 2>/dev/null
	(
		cd "$made/lib/modules/$K" || exit
		for m in kvm kvm-intel kvm-amd irqbypass ccp; do find . -name "$m.ko*"; done | while read -r f; do
			for dependency in "$f" $(sed -n "s,^${f#./}: ,,p" modules.dep); do
				[ -e "$tree/lib/modules/$K/$dependency" ] ||
					install -D -m 644 "$dependency" "$tree/lib/modules/$K/$dependency"
			done
		done
	)
	strip_modules "$tree"
	depmod -b "$tree" "$K"
}

changed_module() {
	local work=$tmp/changed
	case $1 in *.xz) xz -dc "$1" >"$work.ko" ;; *) cp "$1" "$work.ko" ;; esac
	objcopy --dump-section "$2=$work.section" "$work.ko"
	perl -e 'local $/; open F, "+<", $ARGV[0]; seek F, $ARGV[1], 0; read F, $c, 1; seek F, $ARGV[1], 0; print F chr(ord($c) ^ 1)' "$work.section" "$3"
	objcopy --update-section "$2=$work.section" "$work.ko"
	case $4 in *.xz) "$here/store-xz" "$work.ko" && mv "$work.ko.xz" "$4" ;; *) cp "$work.ko" "$4" ;; esac
}

run_script() {
	local name=$1 host=$2 status
	cat - <(printf '%s\n' "$3") >"$tmp/$name.sh" <<-'END'
		export NO_COLOR=1
		run() {
			local words=""
			while [ "$1" != -- ]; do words="$words $1"; shift; done
			shift
			echo "==$words"
			if [ -n "${between:-}" ]; then BETWEEN=$between LD_PRELOAD=/host/between.so "$@"; else "$@"; fi 2>&1
			echo "== status $?"
		}
		hold() {
			local f=/tmp/ready.$RANDOM
			/host/holder "$@" >$f 2>&1 &
			until grep -q . $f; do sleep 0.01; done
			cat $f
		}
	END
	shift 3
	echo "/usr/bin/bash /host/$name.sh" >"$tmp/$name.commands"
	"$top/tests/hosts/boot" -H "$host" -k "$kernel" -N -I "$tmp/$name" -i "$tmp/$name.sh" -o "$tmp/$name.out" \
		-f "$tmp/$name.commands" "$@" >"$tmp/$name.output" 2>&1
	status=$?
	out=$(tr -d '\r' <"$tmp/$name.output")
	report "$((status != 0))" "$name: the host runs to its end, and its kernel does not complain" ||
		diag "exit status $status" "$out"
}

part() { sed -n "/^== $*\$/,/^== status/p" <<<"$out"; }
