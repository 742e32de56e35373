# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2016,SC2154,SC2034 # the host expands scripts; others set or use the variables
#
# For cases and the demo: guests under Debian's QEMU on a host of make_host, which count, and write each number into a
# file. Source it after tap.sh and lib.sh.
#
#   prepare_host NAME RELEASE   call make_host, and add the files that the guests need; "${trees[@]}" are options for
#                               run_script
#   $setup                      functions for its scripts: "guest NAME OPTION..." starts a guest, "goes_on NAME" prints
#                               whether it counts, and so on
#   sequence HOST GUEST         print "consecutive" if each number that the guest wrote is the previous one plus one

prepare_host() { # NAME RELEASE
	make_host "$1" "$2"
	is "$1: there is a host" $? 0
	add_programs "$tmp/$1" /usr/bin/{chmod,cut,head,mount,nice,stat,tail,touch,tr}
	gcc -m32 -c -o "$tmp/count.o" "$here/count.S" &&
		objcopy -O binary -j .text "$tmp/count.o" "$tmp/$1/host/count.bin"
	mkdir -p "$tmp/$1/usr/bin"
	cp "$here/virsh" "$tmp/$1/usr/bin/virsh"
	trees=(-I "$("$top/tests/qemu/tree" "${qemu:-qemu}")")
}

setup='
D=$(echo /lib/modules/*)
mkdir -p /shm /var/lib/kvm-onereg /run/libvirt/qemu
/host/holder mount tmpfs /shm size=64m >/tmp/null
/host/holder mount tmpfs /var/lib/kvm-onereg size=1g >/tmp/null
machine="-accel kvm -M pc,hpet=off,usb=off,vmport=off,smm=off -m 4 -nodefaults -no-user-config -display none -cpu host"
count="-bios /host/count.bin -device isa-debugcon,iobase=0xe9,chardev=d"
console() { echo "-chardev file,id=d,path=/out/$1.count,append=on"; }
monitor() { echo "-qmp unix:/tmp/$1.qmp,server=on,wait=off"; }
# backed FILE SHARED: the memory of a guest in a file
backed() { echo "-object memory-backend-file,id=m,size=4M,mem-path=$1,share=$2 -machine memory-backend=m"; }
shared() { backed "/shm/$1" on; }
until_true() {
	local i
	for ((i = 0; i < 600; i++)); do
		! "$@" || return 0
		sleep 0.05
	done
	echo "in vain: $*"
	return 1
}
# counts NAME [SIZE]: whether the guest has written two more numbers, of nine bytes each, since its file had this size
counts() { [ "$(stat -c %s /out/$1.count 2>/tmp/null)" -ge $((${2:-0} + 18)) ] 2>/tmp/null; }
guest() { # NAME OPTION...
	local name=$1
	shift
	nice -n 19 qemu-system-x86_64 $machine $count $(console $name) $(monitor $name) -name $name "$@" \
		>/tmp/$name.log 2>&1 &
	until_true counts $name || cat /tmp/$name.log
}
qmp() { local name=$1; shift; /host/holder qmp /tmp/$name.qmp "$@"; }
state() { qmp $1 "{\"execute\":\"query-status\"}" | sed -n "s/.*\"status\": \"\([a-z-]*\)\".*/\1/p"; }
goes_on() { # NAME: it counts further, by two numbers
	local size=$(stat -c %s /out/$1.count)
	until_true counts $1 $size >/tmp/null && echo "$1 goes on" || echo "$1 stands"
}
loaded() { if [ -e /sys/module/kvm/version ]; then echo ours; else echo distro; fi; }
other() { if [ -e /sys/module/kvm/version ]; then echo distro; else echo ours; fi; }
left() { echo "left: $(cd /var/lib/kvm-onereg/guests 2>/tmp/null && echo *)"; }
# What there is for each process must not start programs: on this host, each takes milliseconds
words_of() { # FOLDER: $words
	local all=()
	{ mapfile -d "" -t all <$1/cmdline; } 2>/tmp/null
	words="${all[*]} "
}
pid_of() {
	local p words
	for p in /proc/[0-9]*; do words_of $p; case $words in *"-name $1 "*) echo ${p#/proc/} ;; esac done
}
has_started() { [ -n "$(pid_of $1)" ]; }
has_ended() { ! has_started $1; }
'

# sequence HOST GUEST: "consecutive" if each number is the one before it, plus one. There are at least two from "guest",
# and two from a "goes_on" after it
sequence() {
	perl -e 'my ($n, $last) = (0, 0);
		while (<>) { /^([0-9a-f]{8})\n$/ or (eof() ? last : do { print "line $.: $_"; exit });
			hex($1) == $last + 1 or do { print "line $.: $1 after ", sprintf("%08x", $last), "\n"; exit };
			$last = hex $1; $n++ }
		print $n >= 4 ? "consecutive\n" : "only $n numbers\n"' "$tmp/$1.out/files/$2.count" 2>&1
}
