#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg swap --keep-guests on emulated hosts, under Debian's QEMU: guests that count go on counting over swaps in
# both directions, whether their memory is written to a file or stays; killed at each step, the command goes on or back;
# a guest that is not restored, or cannot be, changes nothing for the others; all that cannot be kept is refused and
# named before anything stops.
#
# KEEP=all: killed at each step, and not at some; on Debian 12's kernel, too
# needs: emulated-hosts root-qemu
# shellcheck disable=SC2016,SC1091,SC2154 # the host's shell expands the scripts; the files set the variables
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

prepare_host() { # NAME RELEASE
	make_host "$1" "$2"
	is "$1: there is a host" $? 0
	add_programs "$tmp/$1" /usr/bin/{chmod,cut,head,nice,stat,tail,touch,tr}
	gcc -m32 -c -o "$tmp/count.o" "$here/count.S" && objcopy -O binary -j .text "$tmp/count.o" "$tmp/$1/host/count.bin"
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
# What counts is slow enough for the command to be fast
count="-bios /host/count.bin -device isa-debugcon,iobase=0xe9,chardev=d"
console() { echo "-chardev file,id=d,path=/out/$1.count,append=on"; }
monitor() { echo "-qmp unix:/tmp/$1.qmp,server=on,wait=off"; }
shared() { echo "-object memory-backend-file,id=m,size=4M,mem-path=/shm/$1,share=on -machine memory-backend=m"; }
until_true() { local i; for ((i = 0; i < 600; i++)); do ! "$@" || return 0; sleep 0.05; done; echo "in vain: $*"; return 1; }
counts() { [ "$(stat -c %s /out/$1.count 2>/tmp/null)" -gt "${2:-8}" ] 2>/tmp/null; }
guest() { # NAME OPTION...
	local name=$1
	shift
	nice -n 19 qemu-system-x86_64 $machine $count $(console $name) $(monitor $name) -name $name "$@" >/tmp/$name.log 2>&1 &
	until_true counts $name || cat /tmp/$name.log
}
qmp() { local name=$1; shift; /host/holder qmp /tmp/$name.qmp "$@"; }
state() { qmp $1 "{\"execute\":\"query-status\"}" | sed -n "s/.*\"status\": \"\([a-z-]*\)\".*/\1/p"; }
goes_on() { # NAME: it counts further
	local size=$(stat -c %s /out/$1.count)
	until_true counts $1 $((size + 9)) >/tmp/null && echo "$1 goes on" || echo "$1 stands"
}
loaded() { if [ -e /sys/module/kvm/version ]; then echo ours; else echo distro; fi; }
other() { if [ -e /sys/module/kvm/version ]; then echo distro; else echo ours; fi; }
left() { echo "left: $(cd /var/lib/kvm-onereg/guests 2>/tmp/null && echo *)"; }
pid_of() { local p; for p in /proc/[0-9]*; do case "$(tail -n 1 $p/cmdline 2>/tmp/null | tr "\0" " ")" in *"-name $1 "*) echo ${p#/proc/} ;; esac; done; }
'

# sequence HOST GUEST: "consecutive" if each number is the one before it, plus one
sequence() {
	perl -e 'my ($n, $last) = (0, 0);
		while (<>) { /^([0-9a-f]{8})\n$/ or (eof() ? last : do { print "line $.: $_"; exit });
			hex($1) == $last + 1 or do { print "line $.: $1 after ", sprintf("%08x", $last), "\n"; exit };
			$last = hex $1; $n++ }
		print $n > 20 ? "consecutive\n" : "only $n numbers\n"' "$tmp/$1.out/files/$2.count" 2>&1
}

like_part() { like "$1: $3" "$(part "$2")" "$4"; }

prepare_host trixie trixie
r=trixie
# ---- What cannot be kept: all of it is named, and nothing stops

# bad NAME OPTION...: a QEMU whose guest does not run
refused='
bad() {
	local name=$1
	shift
	"${qemu[@]}" $machine -S -name $name "$@" >/tmp/$name.log 2>&1 &
	pid=$!
}
qemu=(qemu-system-x86_64)
modprobe kvm_amd
cd /out
guest good
mkdir -p /var/tmp
for f in 1 2; do dd if=/dev/zero of=/tmp/disk$f bs=65536 count=1 2>/tmp/null; done
exec 5</tmp/disk1
bad many $(monitor many) -snapshot -drive file=/tmp/disk1,format=raw,if=none,id=d1 -drive file=/tmp/disk2,format=raw,if=none,id=d2 \
	-device ide-hd,drive=d1 -device ide-hd,drive=d2 -add-fd fd=5,set=2 -device piix3-usb-uhci,id=u -device usb-mouse,id=cold \
	-object memory-backend-file,id=other,size=1M,mem-path=/shm/other,share=on -device ivshmem-plain,memdev=other
bad silent
bad busy $(monitor busy)
bad moving $(monitor moving) -incoming defer
qemu=(unshare --net qemu-system-x86_64)
bad elsewhere $(monitor elsewhere)
cp /usr/bin/qemu-system-x86_64 /tmp/qemu-system-x86_64
qemu=(/tmp/qemu-system-x86_64)
bad replaced $(monitor replaced)
qemu=(qemu-system-x86_64)
bad session $(monitor session)
mkdir -p /run/user/1000/libvirt/qemu/run
echo $pid >/run/user/1000/libvirt/qemu/run/inner.pid
bad service $(monitor service)
service=$pid
for d in transient strange passing; do
	/host/holder vm -name guest=$d >/tmp/null &
	echo $! >/run/libvirt/qemu/$d.pid
	echo running >/run/libvirt/$d.state
	echo "<domain/>" >/run/libvirt/$d.xml
done
echo no >/run/libvirt/transient.persistent
echo "in shutdown" >/run/libvirt/strange.state
echo "<domain><devices><hostdev mode=\"subsystem\"/></devices></domain>" >/run/libvirt/passing.xml
hold vm -name guest=mine
/host/holder tracefs >/tmp/null
hold perf
for q in many busy moving elsewhere replaced session service; do until_true [ -S /tmp/$q.qmp ]; done
[ -S /tmp/many.qmp ] || cat /tmp/many.log
until_true test -n "$(pid_of silent)"
rm /tmp/qemu-system-x86_64
/host/holder mount cgroup2 /sys/fs/cgroup "" || cat /proc/filesystems
mkdir /sys/fs/cgroup/own.service
echo $service >/sys/fs/cgroup/own.service/cgroup.procs
qmp many "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"usb-tablet\",\"id\":\"hot\"}}" \
	"{\"execute\":\"device_del\",\"arguments\":{\"id\":\"cold\"}}" \
	"{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-ram\",\"id\":\"more\",\"size\":1048576}}" \
	"{\"execute\":\"blockdev-snapshot-sync\",\"arguments\":{\"device\":\"d2\",\"snapshot-file\":\"/tmp/disk4\",\"format\":\"qcow2\"}}" \
	"{\"execute\":\"block-dirty-bitmap-add\",\"arguments\":{\"node\":\"d2\",\"name\":\"b\"}}" \
	"{\"execute\":\"nbd-server-start\",\"arguments\":{\"addr\":{\"type\":\"unix\",\"data\":{\"path\":\"/tmp/nbd\"}}}}" \
	"{\"execute\":\"nbd-server-add\",\"arguments\":{\"device\":\"d2\"}}"
/host/holder qmp /tmp/busy.qmp >/tmp/busy.held &
sleep 1
run refused -- kvm-onereg swap distro --keep-guests
echo "refused: $(loaded), $(left)"
run refused json -- kvm-onereg swap distro --keep-guests --json --dry-run
goes_on good
for p in /proc/[0-9]*; do
	{ read -r c <$p/comm; } 2>/tmp/null
	case "$(tail -n 1 $p/cmdline 2>/tmp/null | tr "\0" " ")" in *"-name good "*) continue ;; esac
	case $c in qemu-* | holder) kill -9 ${p#/proc/} ;; esac
done
sleep 0.5
rm /run/libvirt/qemu/*

mkdir -p /small /tmp/open
/host/holder mount tmpfs /small size=2m
run space -- kvm-onereg swap distro --keep-guests --state-dir /small/states
chmod 755 /tmp/open
run open -- kvm-onereg swap distro --keep-guests --state-dir /tmp/open
for words in "--qmp /x" "--state-dir /x" "-g --state-dir x" "-g --qmp x" "-g --qmp =/x"; do
	run usage $words -- kvm-onereg swap distro $words
done
bad other -chardev socket,id=m,path=/tmp/other.qmp,server=on,wait=off -mon chardev=m,mode=control $(monitor taken)
other=$pid
until_true [ -S /tmp/taken.qmp ]
run sockets -- kvm-onereg swap distro -g -n --qmp 1=/tmp/nothing --qmp /tmp/other.qmp
/host/holder qmp /tmp/other.qmp >/tmp/null &
sleep 1
run second socket -- kvm-onereg swap distro -g -n
run wrong socket -- kvm-onereg swap distro -g -n --qmp $other=/tmp/good.qmp
'
on_host trixie svm "$setup$refused" -t 400 -r 1024 "${trees[@]}"
names() { like "$r: refused: $1" "$(part refused)" "$2"; }
names "a temporary disk" 'many \([0-9]+\): the changes to its disk .* end with its process \(snapshot\)'
names "... a file from its parent" 'many \([0-9]+\): it has a file from its parent process: -add-fd fd=5,set=2'
names "... shared memory" 'many \([0-9]+\): it has memory that other guests share \(ivshmem\)'
names "... a device that was plugged in" 'many \([0-9]+\): device hot was plugged in since it was started'
names "... one that was unplugged" 'many \([0-9]+\): device cold was unplugged since it was started'
names "... an object that was added" 'many \([0-9]+\): object more was added since it was started'
names "... a disk in another file" 'many \([0-9]+\): its disk .* is in /tmp/disk4 now, which its command line does not'
names "... a bitmap" 'many \([0-9]+\): the bitmap b of its disk'
names "... an export" 'many \([0-9]+\): it exports a disk to others'
names "no QMP socket" 'silent \([0-9]+\): it has no QMP socket on its command line'
names "... what to do" 'to fix: start it with -qmp unix:PATH,server=on,wait=off, or name a QMP socket'
names "a monitor with another client" 'busy \([0-9]+\): its QMP socket /tmp/busy.qmp: it does not answer: another program'
names "one that waits for a migration" 'moving \([0-9]+\): its state is inmigrate'
names "one in a network of its own" 'elsewhere \([0-9]+\): it is in name spaces of its own \(net\)'
names "a program that is gone" 'replaced \([0-9]+\): its program, /tmp/qemu-system-x86_64, was replaced or deleted'
names "a service" 'service \([0-9]+\): it belongs to the systemd service own.service'
names "a libvirt of a user" "inner \([0-9]+\): it belongs to a libvirt of user 1000 \(qemu:///session\)"
names "a transient domain" 'transient \([0-9]+\): it is transient'
names "a domain in another state" 'strange \([0-9]+\): its state is in shutdown, neither running nor paused'
names "a domain with the host's device" 'passing \([0-9]+\): it has a passed-through device \(hostdev\)'
names "a VM that is no QEMU's" 'mine \([0-9]+\): it is neither libvirt.s nor a QEMU'
names "something else that holds KVM" 'maybe [0-9]+ holder: has a perf event open'
is "$r: ... nothing else is: not the good one" "$(part refused | grep -c '^    good')" 0
like_part $r refused "... exit 4" '^== status 4$'
like "$r: ... nothing was done" "$out" '^refused: ours, left: \*?$'
like "$r: ... in JSON" "$(part refused json | tr -d '\n')" '"name": "silent",.*"refused": \[ *\{ *"reason": "it has no QMP'
like "$r: the good guest goes on" "$out" '^good goes on$'
like_part $r space "no space: refused, with the numbers" 'good \([0-9]+\): /small has [0-9]+ MiB free, and the guests up to'
like_part $r space "... exit 4" '^== status 4$'
like_part $r open "a folder that others can enter: refused" '/tmp/open cannot be written: Operation not permitted'
like_part $r open "... exit 3" '^== status 3$'
is "$r: wrong use: exit 2" "$(grep -A9 '^== usage' <<<"$out" | grep -c '^== status 2$')" 5
like_part $r sockets "a socket that was given" '^  other \([0-9]+\): is paused, and stays so'
like_part $r 'second socket' "another socket, if one is taken" '^  other \([0-9]+\): is paused, and stays so'
like_part $r 'wrong socket' "one of another QEMU: refused" 'other \([0-9]+\): its QMP socket /tmp/good.qmp: process [0-9]+'

done_testing
