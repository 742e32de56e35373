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

# ---- Guests over swaps in both directions

both='
cd /out
modprobe kvm_amd nested=0
chmod 666 /dev/kvm
dd if=/dev/zero of=/out/disk bs=65536 count=1 2>/tmp/null
guest file -drive file=disk,format=raw,if=none,id=d1 -device ide-hd,drive=d1
guest stays $(shared stays)
(cd /; guest paused -daemonize -pidfile /tmp/paused.pid)
qmp paused "{\"execute\":\"stop\"}" >/tmp/null
stopped=$(stat -c %s paused.count)
touch /tmp/user.log; mkdir -m 777 /tmp/user
setpriv --reuid 1000 --regid 1000 --clear-groups nice -n 5 qemu-system-x86_64 $machine -name user -S \
	-chardev socket,id=m,server=on,wait=on,path=/tmp/user/user.qmp -mon m,mode=control >/tmp/user.log 2>&1 &
until_true [ -S /tmp/user/user.qmp ]
until_true state user/user
echo "<domain/>" >/run/libvirt/dom.xml
echo running >/run/libvirt/dom.state
/host/holder vm -name guest=dom >/tmp/null &
echo $! >/run/libvirt/qemu/dom.pid
sleep 0.2

run plain -- kvm-onereg swap distro
run dry -- kvm-onereg swap distro --keep-guests --dry-run
echo "dry: $(loaded), $(left)"
run dry json -- kvm-onereg swap distro -g -n --json
run to distro -- kvm-onereg swap distro --keep-guests
echo "to distro: $(loaded), $(left), nested=$(cat /sys/module/kvm_amd/parameters/nested)"
for g in file stays; do goes_on $g; done
echo "state: $(state paused), $(state user/user)"
user=$(pid_of user)
echo "user: $(sed -n "s/^Uid:.\([0-9]*\).*/\1/p" /proc/$user/status), $(cut -d " " -f 19 /proc/$user/stat)"
run again -- kvm-onereg swap distro --keep-guests
run to ours -- kvm-onereg swap ours --keep-guests --json
echo "to ours: $(loaded), $(left)"
for g in file stays; do goes_on $g; done
[ "$(stat -c %s paused.count)" = $stopped ] && echo "paused: stands"
echo "pidfile: $([ "$(cat /tmp/paused.pid)" = "$(pid_of paused)" ] && echo of it)"
qmp paused "{\"execute\":\"cont\"}" >/tmp/null
goes_on paused
run status -- kvm-onereg status
'

like_part() { like "$1: $3" "$(part "$2")" "$4"; }

prepare_host trixie trixie
on_host trixie svm "$setup$both" -t 400 -r 768 "${trees[@]}"
r=trixie
like_part $r plain "without the option, running guests are a reason to refuse" 'KVM is in use by'
like_part $r plain "... exit 4" '^== status 4$'
like_part $r dry "--dry-run says what pauses, and what is written" \
	'^  file \([0-9]+\): pauses, at most 68 MiB: its memory is written to a file$'
like_part $r dry "... and whose memory stays" '^  stays \([0-9]+\): pauses, .* stays in /shm/stays: only the state of'
like_part $r dry "... what that risks" 'a reboot or a power cut before it is restored loses it'
like_part $r dry "... and what is paused already" '^  paused \([0-9]+\): is paused, and stays so'
like_part $r dry "... a domain of libvirt" '^  dom \([0-9]+\): pauses, .*virsh managedsave'
like_part $r dry "... exit 0" '^== status 0$'
like "$r: ... nothing was done" "$out" '^dry: ours, left: \*?$'
like "$r: ... as JSON" "$(part dry json | tr -d '\n')" \
	'"guests": \[ *\{ *"name": "file", *"pid": [0-9]+, *"libvirt": false, *"phase": "running", *"running": true,'
like_part $r 'to distro' "all are saved and restored, and the pause of each is printed" \
	'^  file \([0-9]+\) paused for [0-9]+ ms$'
like_part $r 'to distro' "... of the one whose memory stays" '^  stays \([0-9]+\) paused for [0-9]+ ms$'
like_part $r 'to distro' "... of the domain" '^  dom \([0-9]+\) paused for [0-9]+ ms$'
like_part $r 'to distro' "... what was paused, is" '^  paused \([0-9]+\) is paused, as before$'
like_part $r 'to distro' "... what KVM offers was compared" 'compare what KVM offers guests'
like_part $r 'to distro' "... exit 0" '^== status 0$'
like "$r: ... the other modules are loaded, with their parameters, and no file is left" "$out" \
	'^to distro: distro, left: \*?, nested=0$'
like "$r: ... a user's QEMU has the same user, and nice value" "$out" '^user: 1000, 5$'
like "$r: ... one that was never run has not been run" "$out" '^state: paused, (prelaunch|paused)$'
like_part $r again "the same once more: nothing to do" 'Nothing to do'
like_part $r 'to ours' "and back, as JSON" '"result": "swapped"'
like "$r: ... with the pause of each" "$(part to ours | tr -d '\n')" '"name": "file",.*"pause_ms": [0-9]+'
like "$r: ... and the bytes" "$(part to ours | tr -d '\n')" '"name": "stays",.*"memory_stays": true,.*"written": [1-9]'
like "$r: ... ours is loaded" "$out" '^to ours: ours, left: \*?$'
for g in file stays paused; do
	is "$r: $g has counted on" "$(grep -c "^$g goes on\$" <<<"$out")" "$([ $g = paused ] && echo 1 || echo 2)"
	is "... from number to number" "$(sequence $r $g)" consecutive
done
like "$r: what is paused did not run" "$out" '^paused: stands$'
like "$r: -pidfile works, as it did with -daemonize" "$out" '^pidfile: of it$'
is "$r: libvirt's domain was saved and started twice" "$(grep -c -x 'managedsave dom --running' "$tmp/$r.out/files/virsh.log"), $(
	grep -c -x 'start dom --paused' "$tmp/$r.out/files/virsh.log"), $(grep -c -x 'resume dom ' "$tmp/$r.out/files/virsh.log")" "2, 2, 2"
is "$r: status knows of no interrupted swap" "$(part status | grep -c '^Guests')" 0
