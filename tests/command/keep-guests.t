#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg swap --keep-guests on emulated hosts, under Debian's QEMU: guests that count continue over swaps in both
# directions, whether their memory is written to a file or stays in place. If the command is killed at any step, the
# next run completes the swap or undoes it. A guest that is not restored does not affect the others. If a guest cannot
# be kept, swap names it and refuses before any guest stops.
#
# THOROUGH=y: killed at each step instead of some, and also on Debian 12's kernel
# needs: emulated-hosts root-qemu
# shellcheck disable=SC2016,SC1091,SC2154 # the host's shell expands the scripts; the files set the variables
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guests.sh"

# ---- Guests over swaps in both directions

both='
cd /out
modprobe kvm_amd nested=0
chmod 666 /dev/kvm
dd if=/dev/zero of=/out/disk bs=65536 count=1 2>/tmp/null
guest file -drive file=disk,format=raw,if=none,id=d1 -device ide-hd,drive=d1
guest stays $(shared stays)
mkdir /huge
/host/holder mount hugetlbfs /huge pagesize=2M
echo 16 >/proc/sys/vm/nr_hugepages
guest huge $(backed /huge/huge on)
guest private $(backed /huge/private off)
guest folder $(backed /huge on)
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
for g in file stays huge private folder; do goes_on $g; done
for g in huge private folder; do
	grep -q "^\(Private\|Shared\)_Hugetlb: *[1-9]" /proc/$(pid_of $g)/smaps && echo "$g: huge pages"
done
echo "state: $(state paused), $(state user/user)"
user=$(pid_of user)
echo "user: $(sed -n "s/^Uid:.\([0-9]*\).*/\1/p" /proc/$user/status), $(cut -d " " -f 19 /proc/$user/stat)"
run again -- kvm-onereg swap distro --keep-guests
run to ours -- kvm-onereg swap ours --keep-guests --json
echo "to ours: $(loaded), $(left)"
for g in file stays huge private folder; do goes_on $g; done
[ "$(stat -c %s paused.count)" = $stopped ] && echo "paused: stands"
echo "pidfile: $([ "$(cat /tmp/paused.pid)" = "$(pid_of paused)" ] && echo of it)"
qmp paused "{\"execute\":\"cont\"}" >/tmp/null
goes_on paused
run status -- kvm-onereg status
'

like_part() { like "$1: $3" "$(part "$2")" "$4"; }

prepare_host trixie trixie
run_script trixie svm "$setup$both" -t 1200 -r 768 "${trees[@]}"
r=trixie
like_part $r plain "without the option, running guests are a reason to refuse" 'KVM is in use by'
like_part $r plain "... exit 4" '^== status 4$'
like_part $r dry "--dry-run says what pauses, and what is written" \
	'^  file \([0-9]+\): pauses, at most 68 MiB: its memory is written to a file$'
like_part $r dry "... and whose memory stays" '^  stays \([0-9]+\): pauses, .* stays in /shm/stays: only the state of'
like_part $r dry "... also on hugetlbfs" '^  huge \([0-9]+\): pauses, .* stays in /huge/huge: only the state of'
like_part $r dry "... not if it is not shared" '^  private \([0-9]+\): pauses, .*: its memory is written to a file$'
like_part $r dry "... or has no name there" '^  folder \([0-9]+\): pauses, .*: its memory is written to a file$'
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
like_part $r 'to distro' "... of the one on hugetlbfs" '^  huge \([0-9]+\) paused for [0-9]+ ms$'
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
is "$r: the guests on hugetlbfs have huge pages again" "$(grep -c ': huge pages$' <<<"$out")" 3
for g in file stays huge private folder paused; do
	is "$r: $g has counted on" "$(grep -c "^$g goes on\$" <<<"$out")" "$([ $g = paused ] && echo 1 || echo 2)"
	is "... from number to number" "$(sequence $r $g)" consecutive
done
like "$r: what is paused did not run" "$out" '^paused: stands$'
like "$r: -pidfile works, as it did with -daemonize" "$out" '^pidfile: of it$'
for words in 'managedsave dom --running' 'start dom --paused' 'resume dom '; do
	is "$r: virsh was run twice: $words" "$(grep -c -x -e "$words" "$tmp/$r.out/files/virsh.log")" 2
done
is "$r: status knows of no interrupted swap" "$(part status | grep -c '^Guests')" 0

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
for f in 1 2 3 4; do dd if=/dev/zero of=/tmp/disk$f bs=65536 count=1 2>/tmp/null; done
exec 5</tmp/disk1
cp /usr/bin/bash /tmp/supervise
noted="/host/holder bind qemu-system-x86_64 $machine $count $(console noted) $(monitor noted) -name noted \
	-serial file:/tmp/serial -D /tmp/noted.log -chardev file,id=x,path=/tmp/noted.x,append=off" \
	/tmp/supervise -c "\$noted & wait" &
until_true counts noted
# There is one CPU here: that a thread may not run on those of the others is made up
threads=(/proc/$(pid_of noted)/task/*)
sed "s/^\(Cpus_allowed_list:.\).*/\1 7/" ${threads[-1]}/status >/tmp/status
mount --bind /tmp/status ${threads[-1]}/status
bad many $(monitor many) -blockdev file,node-name=exported,filename=/tmp/disk3 -snapshot \
	-drive file=/tmp/disk1,format=raw,if=none,id=d1 \
	-drive file=/tmp/disk2,format=raw,if=none,id=d2 -device ide-hd,drive=d1 -device ide-hd,drive=d2 \
	-add-fd fd=5,set=2 -device piix3-usb-uhci,id=u -device usb-mouse,id=cold \
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
bad jobs $(monitor jobs) -drive file=/tmp/disk4,format=raw,if=none,id=d4 -device ide-hd,drive=d4
bad service $(monitor service)
service=$pid
for d in transient strange passing; do
	/host/holder vm -name guest=$d >/tmp/null &
	echo $! >/run/libvirt/qemu/$d.pid
	echo running >/run/libvirt/$d.state
	echo "<domain/>" >/run/libvirt/$d.xml
done
touch /run/libvirt/transient.persistent
echo "in shutdown" >/run/libvirt/strange.state
echo "<domain><devices><hostdev mode=\"subsystem\"/></devices></domain>" >/run/libvirt/passing.xml
hold vm -name guest=mine
/host/holder tracefs >/tmp/null
hold perf
for q in many busy moving elsewhere replaced session jobs service; do until_true [ -S /tmp/$q.qmp ]; done
[ -S /tmp/many.qmp ] || cat /tmp/many.log
until_true has_started silent
rm /tmp/qemu-system-x86_64
/host/holder mount cgroup2 /sys/fs/cgroup "" || cat /proc/filesystems
mkdir /sys/fs/cgroup/own.service
echo $service >/sys/fs/cgroup/own.service/cgroup.procs
order() { qmp many "{\"execute\":\"$1\",\"arguments\":{$2}}"; }
order device_add "\"driver\":\"usb-tablet\",\"id\":\"hot\""
order device_del "\"id\":\"cold\""
order object-add "\"qom-type\":\"memory-backend-ram\",\"id\":\"more\",\"size\":1048576"
order blockdev-snapshot-sync "\"device\":\"d2\",\"snapshot-file\":\"/tmp/overlay\",\"format\":\"qcow2\""
order block-dirty-bitmap-add "\"node\":\"d2\",\"name\":\"b\""
order nbd-server-start "\"addr\":{\"type\":\"unix\",\"data\":{\"path\":\"/tmp/nbd\"}}"
order nbd-server-add "\"device\":\"d2\""
order nbd-server-add "\"device\":\"exported\",\"writable\":true"
bad remote $(monitor remote) -drive "file=nbd+unix:///exported?socket=/tmp/nbd,format=raw,if=none,id=r" \
	-device ide-hd,drive=r
qmp jobs "{\"execute\":\"drive-mirror\",\"arguments\":{\"device\":\"d4\",\"target\":\"/tmp/mirror\",\"sync\":\"full\"}}"
hold listen /tmp/silent
silent="-chardev socket,id=c,path=/tmp/silent"
bad vhost $(monitor vhost) $silent -device vhost-user-blk-pci,chardev=c
bad network $(monitor network) $silent -netdev vhost-user,id=n,chardev=c
bad tpm $(monitor tpm) $silent -tpmdev emulator,id=t,chardev=c -device tpm-tis,tpmdev=t
has_vm() { ls -l /proc/$(pid_of $1)/fd | grep -q kvm-vm; }
for q in remote vhost network tpm; do
	until_true has_vm $q || cat /tmp/$q.log
	until_true [ -S /tmp/$q.qmp ]
done
/host/holder qmp /tmp/busy.qmp >/tmp/busy.held &
sleep 1
run refused -- kvm-onereg swap distro --keep-guests
echo "refused: $(loaded), $(left)"
run refused json -- kvm-onereg swap distro --keep-guests --json --dry-run
goes_on good
for p in /proc/[0-9]*; do
	{ read -r c <$p/comm; } 2>/tmp/null
	words_of $p
	case $words in *"-name good "*) continue ;; esac
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
run_script trixie svm "$setup$refused" -t 1200 -r 1536 "${trees[@]}"
names() { like "$r: refused: $1" "$(part refused)" "$2"; }
names "a temporary disk" 'many \([0-9]+\): the changes to its disk .* end with its process \(snapshot\)'
names "... a file from its parent" 'many \([0-9]+\): it has a file from its parent process: -add-fd fd=5,set=2'
names "... shared memory" 'many \([0-9]+\): it has memory that other guests share \(ivshmem\)'
names "... a device that was plugged in" 'many \([0-9]+\): device hot was plugged in since it was started'
names "... one that was unplugged" 'many \([0-9]+\): device cold was unplugged since it was started'
names "... an object that was added" 'many \([0-9]+\): object more was added since it was started'
names "... a disk in another file" 'many \([0-9]+\): its disk .* is in /tmp/overlay now, which its command line does'
names "... a bitmap" 'many \([0-9]+\): the bitmap b of its disk'
names "... an export" 'many \([0-9]+\): it exports a disk to others'
names "no QMP socket" 'silent \([0-9]+\): it has no QMP socket on its command line'
names "... what to do" 'to fix: start it with -qmp unix:PATH,server=on,wait=off, or name another socket'
names "a monitor with another client" 'busy \([0-9]+\): its QMP socket /tmp/busy.qmp: it does not answer: another'
names "one that waits for a migration" 'moving \([0-9]+\): its state is inmigrate'
names "one in a network of its own" 'elsewhere \([0-9]+\): it is in name spaces of its own \(net\)'
names "a program that is gone" 'replaced \([0-9]+\): its program, /tmp/qemu-system-x86_64, was replaced or deleted'
names "a service" 'service \([0-9]+\): it belongs to the systemd service own.service'
names "a libvirt of a user" "inner \([0-9]+\): it belongs to a libvirt of user 1000 \(qemu:///session\)"
names "a transient domain" 'transient \([0-9]+\): it is transient'
names "a domain in another state" 'strange \([0-9]+\): its state is in shutdown, neither running nor paused'
names "a domain with the host's device" 'passing \([0-9]+\): it has a passed-through device \(hostdev\)'
names "a job that works on a disk" 'jobs \([0-9]+\): a job works on its disk: mirror'
names "a disk of another process" \
	'vhost \([0-9]+\): it has a device of another process \(vhost-user\): -device vhost-user-blk-pci'
names "... a network" 'network \([0-9]+\): it has a network of another process: -netdev vhost-user'
names "a TPM" 'tpm \([0-9]+\): it has a TPM whose state is elsewhere: -tpmdev emulator'
names "a VM without a QEMU" 'mine \([0-9]+\): it is neither libvirt.s nor a QEMU'
names "something else that holds KVM" 'maybe [0-9]+ holder: has a perf event open'
is "$r: ... nothing else is: not the good one" "$(part refused | grep -c '^    good')" 0
for note in 'CPUs of 1 of its [0-9]+ threads \(taskset\)' 'NUMA policy of its memory \(bind:0\)' \
	'its parent supervise \([0-9]+\): .* must not start another' 'what /tmp/serial has so far \(-serial\)' \
	'what /tmp/noted.log has so far \(-D\)' 'what /tmp/noted.x has so far \(-chardev\)'; do
	like "$r: noted: $note" "$(part refused | sed -n '/^  noted /,/^  [^ ]/p')" "^      not carried over: .*$note"
	like "$r: ... in JSON" "$(part refused json | tr -d '\n')" "\"notes\": \[[^]]*\"not carried over: [^\"]*$note"
done
is "$r: ... nothing of the good one" "$(part refused | sed -n '/^  good /{n;p}' | grep -c '^      ')" 0
like "$r: noted: a disk elsewhere" "$(part refused | sed -n '/^  remote /,/^  [^ ]/p')" \
	'^      its disk image nbd\+unix:///exported\?socket=/tmp/nbd is elsewhere: writes to it in the meantime'
like_part $r refused "... exit 4" '^== status 4$'
like "$r: ... nothing was done" "$out" '^refused: ours, left: \*?$'
like "$r: ... in JSON" "$(part refused json | tr -d '\n')" \
	'"name": "silent",.*"refused": \[ *\{ *"reason": "it has no QMP'
like "$r: the good guest goes on" "$out" '^good goes on$'
like_part $r space "no space: refused, with the numbers" 'good \([0-9]+\): /small has [0-9]+ MiB free, and the guests'
like_part $r space "... exit 4" '^== status 4$'
like_part $r open "a folder that others can enter: refused" '/tmp/open cannot be written: Operation not permitted'
like_part $r open "... exit 3" '^== status 3$'
is "$r: wrong use: exit 2" "$(grep -A9 '^== usage' <<<"$out" | grep -c '^== status 2$')" 5
like_part $r sockets "a socket that was given" '^  other \([0-9]+\): is paused, and stays so'
like_part $r 'second socket' "another socket, if one is taken" '^  other \([0-9]+\): is paused, and stays so'
like_part $r 'wrong socket' "one of another QEMU: refused" \
	'other \([0-9]+\): its QMP socket /tmp/good.qmp: process [0-9]+'

# ---- What fails

fails='
cd /out
modprobe kvm_amd
dd if=/dev/zero of=disk bs=65536 count=1 2>/tmp/null
guest one -drive file=disk,format=raw,if=none,id=d1 -device ide-hd,drive=d1
BETWEEN=only:ours LD_PRELOAD=/host/between.so guest two $(shared two)
run no restore -- kvm-onereg swap distro -g
echo "no restore: $(loaded), $(left)"
for g in one two; do goes_on $g; done
two=$(pid_of two)
between=deaf run deaf -- kvm-onereg swap distro -g
echo "deaf: $(loaded), $(left)"
goes_on one
run deaf still -- kvm-onereg swap ours -g
kill -CONT $two
run deaf no more -- kvm-onereg swap ours -g
for g in one two; do goes_on $g; done
[ "$(pid_of two)" = $two ] && echo "deaf: in its process"

echo "<domain/>" >/run/libvirt/dom.xml
echo running >/run/libvirt/dom.state
/host/holder vm -name guest=dom >/tmp/null &
echo $! >/run/libvirt/qemu/dom.pid
touch /run/libvirt/dom.refuses
run no save -- kvm-onereg swap distro -g
echo "no save: $(loaded), $(left)"
for g in one two; do goes_on $g; done
mv /run/libvirt/dom.refuses /run/libvirt/dom.slow
kvm-onereg swap distro -g >/tmp/slow 2>&1 &
until_true grep -q "are written" /tmp/slow
kill $!
wait $!
run slow -- bash -c "cat /tmp/slow; exit $?"
for g in one two; do goes_on $g; done
kill -9 $(pid_of two)
sleep 0.5
mv /run/libvirt/dom.slow /run/libvirt/dom.forgotten
run forgotten -- kvm-onereg swap distro -g
echo "forgotten: $(loaded), $(left), started: $(grep -c "^start dom" /out/virsh.log)"
goes_on one

between=full run full -- kvm-onereg swap distro -g
echo "full: $(loaded), $(left)"
goes_on one
between=load run other loads -- kvm-onereg swap distro -g
echo "other loads: $(loaded), $(left)"
goes_on one
between=fail:3 run does not load -- kvm-onereg swap ours -g
echo "does not load: $(loaded), $(left)"
goes_on one

# saved and interrupted: what may be restored, and what may not
saved() { # until its process has ended
	between=kill:1 run saved -- kvm-onereg swap $(other) -g
	until_true has_ended one
}
saved
run plain -- kvm-onereg swap $(other)
run saved status -- kvm-onereg status
run saved json -- kvm-onereg status --json
run saved check -- kvm-onereg status --check
run saved doctor -- kvm-onereg doctor
journal=/var/lib/kvm-onereg/guests/journal.json
cp $journal /tmp/journal
echo "{" >$journal
run damaged -- kvm-onereg swap $(other) -g
run damaged status -- kvm-onereg status
echo "damaged: $(left)"
cp /tmp/journal $journal
run dry on -- kvm-onereg swap $(other) -g -n
echo x >>disk
run written -- kvm-onereg swap $(loaded) -g
echo "written: $(left)"
dd if=/dev/zero of=disk bs=65536 count=1 2>/tmp/null
rm /var/lib/kvm-onereg/guests/*

rm one.count
guest one
between=resumed run resumed -- kvm-onereg swap $(other) -g
kill -9 $(pid_of one)
sleep 0.5
run run already -- kvm-onereg swap $(loaded) -g
echo "run already: $(pid_of one), $(left)"

rm one.count /var/lib/kvm-onereg/guests/*
guest one
saved
sed -i "s/\"boot\":\"[^\"]*\"/\"boot\":\"another\"/" $journal
run rebooted -- kvm-onereg swap $(loaded) -g
goes_on one
kill -9 $(pid_of one)
sleep 0.5
guest memory $(shared memory)
between=kill:1 run saved -- kvm-onereg swap $(other) -g
rm /shm/memory
run memory gone -- kvm-onereg swap $(loaded) -g
'
run_script trixie svm "$setup$fails" -t 1200 -r 768 "${trees[@]}"
like_part $r 'no restore' "a guest is not restored: the previous modules are loaded again" \
	'two cannot be restored: its new process has ended; QEMU said: not with these modules; the previous modules are'
like_part $r 'no restore' "... exit 5" '^== status 5$'
like_part $r 'no restore' "... both guests come back" '^  one \([0-9]+\) paused for'
like "$r: ... on ours" "$out" '^no restore: ours, left: \*?$'
like_part $r deaf "one that does not answer once it is saved is not ended: it is said" \
	'two \([0-9]+\) does not go on: .*QEMU hangs'
like_part $r deaf "... why the swap ended" \
	'two \([0-9]+\) cannot be ended: it no longer reports whether it is stopped \(QEMU does not answer\)'
like_part $r deaf "... exit 6" '^== status 6$'
like "$r: ... nothing was exchanged, and its state is kept" "$out" '^deaf: ours, left: journal.json two-[0-9-]*.state$'
like_part $r 'deaf still' "... the same again" \
	'two \([0-9]+\): .*; end what is connected to its QMP socket, or this process'
like_part $r 'deaf still' "... exit 4" '^== status 4$'
like_part $r 'deaf no more' "... when it answers, it goes on" '^== status 0$'
like "$r: ... where it was" "$out" '^deaf: in its process$'
like_part $r 'no save' "a guest is not saved: it is named, with the reason" \
	'dom \([0-9]+\) cannot be saved: virsh managedsave: error: Requested operation is not valid'
like_part $r 'no save' "... exit 5" '^== status 5$'
like "$r: ... nothing was exchanged" "$out" '^no save: ours, left: \*?$'
like_part $r slow "libvirt takes long: what is waited for is said" \
	'^      10 s, 0 MiB of at most 68 are written$'
like_part $r slow "... and can be ended" 'dom \([0-9]+\) cannot be saved: interrupted; the modules were not exchanged'
like_part $r slow "... exit 5" '^== status 5$'
like_part $r forgotten "libvirt has lost the state: it is said" \
	'dom cannot be restored: libvirt has no saved state of it'
like_part $r forgotten "... exit 6" '^== status 6$'
like_part $r forgotten "... and that it is lost" 'again; but dom has ended, and libvirt has no state of it$'
like "$r: ... the guest is not started again, and nothing waits" "$out" '^forgotten: ours, left: \*?, started: 0$'
like_part $r full "the disk is full in the middle: it is said" 'one \([0-9]+\) cannot be saved: .*No space left'
like_part $r full "... exit 5" '^== status 5$'
like "$r: ... nothing was exchanged" "$out" '^full: ours, left: \*?$'
like_part $r 'other loads' "something loads kvm in between: it goes on" '^== status 0$'
like_part $r 'does not load' "a module does not load: the previous ones do" 'the previous modules are loaded again'
like_part $r 'does not load' "... exit 5" '^== status 5$'
is "$r: the guests went on after each of these" "$(grep -c '^\(one\|two\) goes on$' <<<"$out")" 14
like_part $r plain "interrupted: a plain swap is refused" 'interrupted, and 1 guest is saved and does not run: one'
like_part $r plain "... both commands are named" \
	'kvm-onereg swap (ours|distro) --keep-guests +# goes on; to go back: kvm-onereg swap'
like_part $r plain "... exit 4" '^== status 4$'
like "$r: status says so" "$(part saved status | tr -s '\n ' ' ')" 'Guests .*1 guest is saved and does not run: one'
like "$r: ... as JSON" "$(part saved json | tr -d '\n')" '"unfinished_swap": \{ *"damaged": false,.*"waits": true'
like_part $r 'saved check' "... --check" 'kvm-onereg CRITICAL: .*1 guest is saved and does not run: one'
like_part $r 'saved check' "... exit 2" '^== status 2$'
like "$r: doctor, too" "$(part saved doctor | tr -s '\n ' ' ')" 'swap-interrupted'
like_part $r damaged "a damaged journal: refused" \
	'journal.json is damaged: .*their states are still in /var/lib/kvm-onereg/guests'
like_part $r damaged "... exit 4" '^== status 4$'
like_part $r 'damaged status' "... status says so" 'is damaged'
like "$r: ... the state is still there" "$out" '^damaged: left: journal.json one-[0-9-]*.state$'
like_part $r 'dry on' "--dry-run of going on says who is restored" '^  restore one$'
like_part $r written "its disk was written to since: not restored" \
	'its disk image /out/disk was written to since it was saved; its state in .*one-[0-9-]*.state is kept'
like_part $r written "... exit 6" '^== status 6$'
like "$r: ... the state is still there" "$out" '^written: left: journal.json one-[0-9-]*.state$'
like_part $r 'run already' "it may have run since: not restored again" \
	'one has ended since it was restored; it may have run, so it is not restored again'
like "$r: ... its file is kept" "$out" '^run already: , left: one-[0-9-]*.state$'
like_part $r rebooted "after a reboot, a guest whose memory is in the file is restored" '^  one \([0-9]+\) paused for'
is "$r: ... and has counted on" "$(sequence $r one)" consecutive
like_part $r 'memory gone' "... one whose memory was not is lost, and that is said" 'its memory /shm/memory is gone'

# ---- Killed at each step, with kill -9: the swap is completed or undone

steps='
cd /out
modprobe kvm_amd
guest one
guest two $(shared two)
for n in $steps; do
	to=$(other) back=$(loaded)
	between=step:$n run killed $n -- kvm-onereg swap $to -g
	[ $((n / 2 % 2)) = 0 ] || to=$back
	run then $n -- kvm-onereg swap $to -g
	echo "then $n: $([ $(loaded) = $to ] && echo loaded), $(left)"
	for g in one two; do goes_on $g; done
done
'
killed() { # HOST STEP...
	local n host=$1
	shift
	for n; do
		is "$host: killed before step $n" "$(part killed "$n" | tail -n 1)" "== status 137"
		is "... then it goes on or back" "$(part "then" "$n" | tail -n 1)" "== status 0"
		like "... and leaves nothing" "$out" "^then $n: loaded, left: \*?\$"
	done
	for n in one two; do
		is "$host: $n has gone on each time" "$(grep -c "^$n goes on\$" <<<"$out")" $#
		is "... from number to number" "$(sequence "$host" $n)" consecutive
	done
}
every="8 22 33 41 48"
[ "${THOROUGH:-}" != y ] || every=$(seq -s ' ' 2 60)
run_script trixie svm "steps='$every'; $setup$steps" -t 1500 -r 768 "${trees[@]}"
# shellcheck disable=SC2086 # words
killed trixie $every

# ---- CET, on the machine that has it

cet='
cd /out
conf() { echo "options kvm_intel $* enable_apicv=0" >/etc/modprobe.d/kvm-onereg.conf; }
conf cet=1
modprobe kvm_intel
guest cet
qemu-system-x86_64 $machine -cpu qemu64 $(monitor plain) -name plain -S &
until_true [ -S /tmp/plain.qmp ]
run refused -- kvm-onereg swap distro -g
cp /host/newer "$(echo $D/updates/dkms/kvm-intel.ko*)"
run kept -- kvm-onereg swap ours -g
echo "kept: $(cat /sys/module/kvm_intel/parameters/cet)"
goes_on cet
'
prepare_host vmx trixie
f=$(echo "$tmp/vmx/lib/modules/$K"/updates/dkms/kvm-intel.ko*)
changed_module "$f" .note.gnu.build-id 20 "$tmp/${f##*/}" && mv "$tmp/${f##*/}" "$tmp/vmx/host/newer"
run_script vmx vmx "$setup$cet" -t 1200 -r 768 "${trees[@]}"
like_part vmx refused "a guest with CET, and the distro's modules: refused" \
	'cet \([0-9]+\): it has CET, which the modules that are to be loaded do not offer'
is "vmx: ... not one without" "$(part refused | grep -c '^    plain')" 0
like_part vmx refused "... exit 4" '^== status 4$'
like_part vmx kept "another build of ours: it is kept" '^  cet \([0-9]+\) paused for'
like_part vmx kept "... exit 0" '^== status 0$'
like "vmx: ... with CET" "$out" '^kept: Y$'
is "vmx: ... and counts on, from number to number" "$(grep -c '^cet goes on$' <<<"$out"), $(sequence vmx cet)" \
	"1, consecutive"

if [ "${THOROUGH:-}" = y ]; then
	qemu=emulators prepare_host bookworm bookworm
	run_script bookworm svm "steps='$every'; $setup$steps" -t 1500 -r 768 "${trees[@]}"
	# shellcheck disable=SC2086 # words
	killed bookworm $every
fi
done_testing
