#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg status on made-up hosts: whose modules are on disk and loaded, in every mixture; who holds KVM; CET; the
# exit status; and no crash, whatever the files contain. swap.t tests it on real kernels.
# shellcheck disable=SC2154,SC2016 # made-up.sh sets the variables; Perl in quotes
. "$(dirname "$0")/made-up.sh"

D=$R/lib/modules/$K
E=${K//+/[+]} # in a regular expression
ours() { echo "$D/updates/dkms/$1.ko"; }
distro() { echo "$D/kernel/arch/x86/kvm/$1.ko"; }
load_both() {
	load kvm "$1" "${3:-}"
	load kvm-amd "$2" "${3:-}"
}

# shows DESCRIPTION STATUS REGEX...
shows() {
	local text=$1 want=$2
	shift 2
	onereg status
	is "$text: exit $want" "$status" "$want"
	for r; do like "$text: says so" "$output" "$r"; done
}

# ---- on disk and loaded

host
shows "ours" 0 "^\* $E  +ours $V, from linux-source-6.12 6.12.117-1" "Loaded +ours $V: kvm, kvm_amd$" \
	'KVM is ours, complete'
is "no line is longer than a terminal" "$(grep -E '^.{81,}' <<<"$output")" ""
onereg status --json
is "ours, as JSON" "$(json '"$j->{one_reg} $j->{kernels}[0]{modules_are} $j->{kernels}[0]{origin} $j->{loaded}{modules_are} $j->{loaded}{as_on_disk}"')" \
	"1 ours linux-source-6.12 6.12.117-1 ours 1"
is "... the build-id of what is loaded" "$(json '$j->{loaded}{modules}[1]{build_id}')" "$(id ours $K kvm-amd)"
is "... no /dev/kvm is asked in a made-up host" "$(json '$j->{dev_kvm}')" null

load_both "$(distro kvm)" "$(distro kvm-amd)"
shows "the distro's loaded, ours on disk" 1 'Loaded +distro: kvm, kvm_amd' 'not what is on disk' \
	'"kvm-onereg swap ours", or a reboot'
load_both "$(ours kvm)" "$(distro kvm-amd)" out
shows "our kvm, the distro's vendor module" 1 "mixed: kvm ours $V, kvm_amd distro" 'do not belong together'
host
ko "$(ours kvm-amd)" "version=$V" "origin=linux-source-6.12 6.12.117-1" "srcversion=kvm-amd$V" "vermagic=$K SMP" \
	ID="$(id another build)"
shows "the same version, rebuilt: the build-id shows it" 0 'not what is on disk'
host
rm "$R/sys/module/kvm_amd" -r
shows "no vendor module" 1 'no vendor module, so no VM can run'
rm "$R/sys/module/kvm" -r
shows "nothing loaded" 1 '^Loaded +none' 'No KVM is loaded'
host
rm "$(ours kvm-intel)"
dep
shows "two of ours, one of the distro's" 0 "mixed: kvm ours $V, kvm-intel distro, kvm-amd ours $V"
host
ko "$(ours kvm-intel)" version=0.0.1 "origin=linux-source-6.12 6.12.117-1" "vermagic=$K SMP"
shows "three of ours, of two versions" 0 "mixed: kvm ours $V, kvm-intel ours 0.0.1"
host
ko "$(ours kvm-intel)" "version=$V" "origin=linux-source-6.12 6.12.99-1" "vermagic=$K SMP"
shows "three of ours, from two sources" 0 "mixed:"
host
for m in kvm kvm-intel kvm-amd; do ko "$D/updates/$m.ko" "vermagic=$K SMP"; done
rm -r "$D/updates/dkms"
dep
load_both "$D/updates/kvm.ko" "$D/updates/kvm-amd.ko" out
shows "somebody else's" 1 'of another package: /lib/modules/'
like "... loaded too" "$output" 'Loaded +foreign'
host
rm -r "$D/updates" "$D/kernel/arch"
dep
shows "no modules" 0 "^\* $E +no KVM modules" 'not what is on disk'
host
head -c 100 "$(ours kvm)" >"$tmp/cut"
cp "$tmp/cut" "$(ours kvm)"
shows "a truncated module" 0 'kvm damaged'
host
: >"$(ours kvm)"
shows "an empty one" 0 'kvm damaged'
rm "$(ours kvm)"
shows "one that modules.dep names and that does not exist" 0 'kvm missing'

# ---- several kernels, native ones

host
kernel 6.1.0-56-amd64 distro '' 6.1.192-2
kernel 7.3.4+deb13-amd64 distro
kernel 6.6.1-amd64 none
mkdir -p "$R/lib/modules/6.12.1-headers-only/build"
shows "several kernels" 0 '^  6.1.0-56-amd64 +distro' '^  7.3.4\+deb13-amd64 +native' '^  6.6.1-amd64 +no KVM' "^\* $E"
is "... not a folder that has headers only" "$(grep -c headers-only <<<"$output")" 0
onereg status -k 7.3.4+deb13-amd64
is "-k: a native kernel: exit 0" "$status" 0
is "... only that one" "$(grep -c -E '^[ *] [67]\.' <<<"$output")" 1
onereg status --kernel=6.1.0-56-amd64
is "-k: one with the distro's: exit 1" "$status" 1
onereg status -k 6.1.0-56-amd64 --json
is "... as JSON" "$(json '"$j->{one_reg} " . @{$j->{kernels}}')" "0 1"
onereg status -k 6.99
is "-k: no such kernel: exit 2" "$status" 2
like "... and says so" "$output" "no kernel '6.99' is installed"
put /proc/sys/kernel/osrelease 7.3.4+deb13-amd64
for m in kvm kvm-amd; do load $m "$R/lib/modules/7.3.4+deb13-amd64/kernel/arch/x86/kvm/$m.ko"; done
shows "a native kernel runs" 0 'Loaded +native' "kernel's own, complete"
put /lib/modules/7.3.4+deb13-amd64/modules.builtin kernel/arch/x86/kvm/kvm.ko
rm -r "$R"/lib/modules/7.3.4+deb13-amd64/kernel/arch "$R"/sys/module/kvm{,_amd}/initstate
dep 7.3.4+deb13-amd64
shows "... with KVM built in" 0 'Loaded +native'

# ---- VMs

host
vm 4711 qemu-system-x86 2 3 qemu-system-x86_64 -name guest=web1,debug-threads=on -m 1G
vm 4712 crosvm 1 1 crosvm run
vm 4713 libvirtd 0 0 libvirtd
vm 4714 odd 1 0 odd -name
shows "VMs" 0 '^VMs +4$' '4711 qemu-system-x86 \(web1\): 2 VMs, 3 vCPUs' '4712 crosvm: 1 VM, 1 vCPU$' \
	'4713 libvirtd: no VM, has /dev/kvm open'
onereg status --json
is "... as JSON" "$(json '"$j->{vms}{count} $j->{vms}{complete} " . join(",", map { $_->{pid} . "=" . ($_->{name} // "-") } @{$j->{vms}{processes}})')" \
	"4 1 4711=web1,4712=-,4713=-,4714=-"
mkdir "$R/sys/module/kvm/holders/kvmgt"
shows "a module that uses KVM" 0 'module kvmgt uses KVM'
onereg swap distro --dry-run
is "... and VMs: swap refuses: exit 4" "$status" 4
like "... and names them" "$output" '4711 qemu-system-x86 \(web1\)'
rm -r "$R"/proc/47*
vm 4711 $'a\033[31m\xff' 1 1 qemu -name $'\033]0;x\a\xc3'
shows "a process with an odd name: no escape sequence" 0 '4711 a\?\[31m\? \(\?\]0;x\?\?\): 1 VM, 1 vCPU'
onereg status --json
is "... and JSON all the same" "$(json '$j->{vms}{processes}[0]{pid}')" 4711
rm -r "$R"/proc/47*
onereg swap distro --dry-run
is "a single module: also refused" "$status" 4
like "... with the command that helps" "$output" 'modprobe -r kvmgt'
rmdir "$R/sys/module/kvm/holders/kvmgt"

# ---- whatever else holds KVM: status names it, and swap refuses because of it alone

# refs KVM VENDOR: set the references that the kernel counts; kvm_amd itself holds one of those to kvm
refs() {
	mkdir -p "$R/sys/module/kvm/holders/kvm_amd"
	echo "$1" >"$R/sys/module/kvm/refcnt"
	echo "$2" >"$R/sys/module/kvm_amd/refcnt"
}
# process PID TARGET [INFO]: make a process with a file that links to TARGET, or, if TARGET is "-", to the device INFO
process() {
	mkdir -p "$R/proc/$1/fd"
	put "/proc/$1/comm" "one$1"
	if [ "$2" != - ]; then
		ln -sf "$2" "$R/proc/$1/fd/7"
		[ $# = 2 ] || put "/proc/$1/fdinfo/7" "$3"
		return
	fi
	rm -f "$R/proc/$1/fd/7"
	# shellcheck disable=SC2086 # words
	mknod "$R/proc/$1/fd/7" $3
}
# held DESCRIPTION REGEX [FIX]: status shows the holder, as text and as JSON, and swap refuses
held() {
	onereg status
	like "held: $1: status names it" "$output" "$2"
	onereg status --json
	is "... JSON says that KVM is held" "$(json '$j->{vms}{held}')" true
	onereg swap distro --dry-run
	is "... swap refuses" "$status" 4
	like "... for that" "$output" "$2"
	[ $# = 2 ] || like "... with what ends it" "$output" "to fix: $3"
}
free() {
	onereg status
	like "free: $1: status says so" "$output" "^VMs +none$"
	onereg status --json
	is "... JSON, too" "$(json '"$j->{vms}{held} " . @{$j->{vms}{others}} . ($j->{vms}{unnamed} // "-")')" "0 0-"
	onereg swap distro --dry-run
	is "... swap --dry-run: exit 0" "$status" 0
}
host
refs 1 0
free "one reference to kvm, which is the vendor module's"
process 70 - 'c 10 232'
held "the device, whatever its name" '70 one70: no VM, has /dev/kvm open' 'end or migrate it'
put /proc/70/fdinfo/7 $'pos:\t0\nflags:\t0100002'
held "... opened to read and write" '70 one70: no VM'
put /proc/70/fdinfo/7 $'pos:\t0\nflags:\t012000000'
free "... with O_PATH"
rm "$R/proc/70/fdinfo/7"
for node in 'c 10 231' 'c 232 10' 'b 10 232' p; do
	process 70 - "$node"
	free "another node: $node"
done
put /dev/kvm "no device"
process 70 "$R/dev/kvm"
free "a file of that name"
process 70 /dev/null
mkdir -p "$R/proc/70/task/"{70,71}/fd
mknod "$R/proc/70/task/71/fd/3" c 10 232
held "a thread that has files of its own" '70 one70: no VM, has /dev/kvm open'
rm -r "$R/proc/70/task"
for part in kvm-vm-stats kvm-vcpu-stats:0 kvm-vfio '[kvm-gmem]'; do
	process 70 "anon_inode:$part"
	held "$part" "70 one70: no VM, has \\[?${part//[\[\]]/}"
done
process 70 anon_inode:kvm
free "another anonymous file"
process 70 /dev/null
put /proc/70/maps $'7f00-7f01 r--p 0 00:00 1 /bin/x\n7ff7-7ff8 r--s 00000000 00:10 150                        anon_inode:kvm-vcpu:0\n'
free "a mapping, with no reference to explain"
refs 1 1
held "a vCPU that is mapped" '70 one70: no VM, has kvm-vcpu:0, mapped'
mkdir -p "$R/proc/70/task/"{70,71}
mv "$R/proc/70/maps" "$R/proc/70/task/71/"
: >"$R/proc/70/maps"
held "... in a process whose first thread has ended" '70 one70: no VM, has kvm-vcpu:0, mapped'
rm -r "$R/proc/70/"{maps,task}
held "nothing that can be seen" 'KVM is in use 1 time, by something that is not visible from here' \
	'look for it on the host itself'
process 70 "anon_inode:[io_uring]" $'SqMask:\t0x3\nUserFiles:\t1\n    0: kvm\nUserBufs:\t0'
held "io_uring" '70 one70: has kvm as a registered file of io_uring' 'end process 70'
is "... which explains it" "$(grep -c 'not visible from here' <<<"$output")" 0
process 70 "anon_inode:[io_uring]" $'UserFiles:\t2\n    0: x\n    1: y'
held "io_uring, with files of other names" 'maybe 70 one70: has 2 registered files of io_uring' 'end process 70'
process 70 "anon_inode:[io_uring]" $'UserFiles:\t0'
held "io_uring without files" 'not visible from here'
is "... which is not named" "$(grep -c one70 <<<"$output")" 0
process 70 'socket:[5]' $'flags:\t02\nscm_fds: 1'
held "a file on its way" 'maybe 70 one70: has a socket with 1 file that nobody has received yet'
process 70 'anon_inode:[vfio-device]'
held "VFIO" 'maybe 70 one70: has a VFIO device open'
process 70 'anon_inode:[perf_event]'
held "a perf event, which does not hold the vendor module" 'not visible from here'
is "... is not named" "$(grep -c one70 <<<"$output")" 0
refs 2 0
held "a perf event" 'maybe 70 one70: has a perf event open' 'end process 70'
like "... nothing says what it is on" "$output" 'module kvm is held 1 time by something other than VMs'
process 70 anon_inode:bpf_link $'link_type:\traw_tracepoint\nlink_id:\t7\ntp_name:\tkvm_exit'
held "BPF" '70 one70: has a BPF program on the tracepoint kvm_exit' 'end process 70'
process 70 anon_inode:bpf_link $'link_type:\traw_tracepoint\nlink_id:\t7\ntp_name:\tsched_switch'
held "BPF on another tracepoint" 'module kvm is held 1 time' 'end what traces KVM'
is "... is not named" "$(grep -c one70 <<<"$output")" 0
process 70 anon_inode:bpf-prog $'prog_type:\t26'
held "BPF on a function" 'maybe 70 one70: has a BPF program on functions'
process 70 /sys/kernel/debug/kvm/exits
held "a file in debugfs" '70 one70: no VM, has /sys/kernel/debug/kvm/exits'
process 70 /dev/null
put /sys/kernel/tracing/events/sched/sched_switch/trigger $'# Available triggers:\nenable_event:kvm:kvm_exit:unlimited'
held "a trigger on another event" 'trace event sched:sched_switch has the trigger enable_event:kvm:kvm_exit$' \
	"echo '!enable_event:kvm:kvm_exit' >/sys/"
refs 1 0
put /sys/kernel/tracing/events/sched/sched_switch/trigger enable_event:sched:sched_waking:unlimited
free "a trigger for another event"
mkdir "$R/sys/module/kvm/holders/kvmgt"
refs 2 0
held "kvmgt" 'module kvmgt' 'modprobe -r kvmgt'
rmdir "$R/sys/module/kvm/holders/kvmgt"
refs 1 0
event=/sys/kernel/tracing/events/kvm/kvm_exit
put $event/enable 0
put $event/trigger '# Available triggers:'
put /sys/kernel/tracing/dynamic_events $'p:kprobes/one kvm_vcpu_ioctl\ne:probes/one sched.sched_switch'
free "no trace event is enabled"
put $event/enable 1
held "a trace event" 'trace event enabled in /sys/kernel/tracing: kvm:kvm_exit$' \
	'echo 0 >/sys/kernel/tracing/events/kvm/enable'
put $event/enable 0
put $event/trigger 'stacktrace:unlimited'
held "its trigger" 'trace event kvm:kvm_exit has the trigger stacktrace$' \
	"echo '!stacktrace' >/sys/kernel/tracing/events/kvm/kvm_exit/trigger"
put $event/trigger ''
put /sys/kernel/tracing/instances/a/events/kvmmmu/fast_page_fault/enable '1*'
held "an event of an instance" 'in /sys/kernel/tracing/instances/a: kvmmmu:fast_page_fault' \
	'echo 0 >/sys/kernel/tracing/instances/a/events/kvmmmu/enable'
rm -r "$R/sys/kernel/tracing/instances"
put /sys/kernel/tracing/dynamic_events $'e:probes/one kvm.kvm_exit x=$y'
held "an event probe" 'dynamic trace event probes/one on kvm.kvm_exit' \
	"echo '-:probes/one' >>/sys/kernel/tracing/dynamic_events"
put /sys/kernel/tracing/dynamic_events 't:tracepoints/one kvm_exit'
held "a tracepoint probe" 'dynamic trace event tracepoints/one on kvm_exit'
rm -r "$R/sys/kernel/tracing" "$R"/proc/70
free "all of that gone"
rm -r "$R/sys/module/kvm_amd" "$R/sys/module/kvm/holders/kvm_amd"
echo 1 >"$R/sys/module/kvm/refcnt"
load kvm "$(distro kvm)"
rm -rf "$R/sys/module/kvm/holders/kvm_amd"
echo 1 >"$R/sys/module/kvm/refcnt"
shows "half of a set" 1 '"kvm-onereg swap distro" completes it'
onereg swap ours --dry-run
is "... which is held: swap to the other set cannot, exit 4" "$status" 4
like "... and would complete it" "$output" 'only the vendor module of the loaded kvm could be loaded'
onereg swap distro --dry-run
is "... swap to the same set can" "$status" 0
like "... and keeps kvm" "$(grep -c '^  load' <<<"$output") $(grep -c '^  unload' <<<"$output")" '^1 0$'
host

# ---- swap, as far as it can be tested here

onereg swap distro --dry-run
is "swap --dry-run: exit 0" "$status" 0
like "... the files that it would load" "$output" 'load /lib/modules/.*/kernel/arch/x86/kvm/kvm-amd.ko'
mkdir -p "$R/var/lib/dkms/kvm-onereg/original_module/$K/x86_64"
mv "$D"/kernel/arch/x86/kvm/*.ko "$R/var/lib/dkms/kvm-onereg/original_module/$K/x86_64/"
onereg swap distro --dry-run
like "... also from where DKMS puts them" "$output" 'load /var/lib/dkms/kvm-onereg/original_module/.*/kvm-amd.ko'
onereg swap distro
is "not for real on a made-up host: exit 2" "$status" 2
onereg swap ours --dry-run
like "already loaded: nothing to do" "$output" 'Nothing to do'
rm -r "$R/var/lib/dkms/kvm-onereg/original_module"
onereg swap distro --dry-run
is "the distro's modules are gone: exit 3" "$status" 3
like "... with the command that installs them" "$output" 'apt-get install --reinstall linux-image-6.12'
host
for m in kvm kvm-intel kvm-amd; do ko "$(distro $m)" "vermagic=6.12.9 SMP"; done
onereg swap distro --dry-run
is "modules of another kernel: exit 3" "$status" 3
host
put /proc/cpuinfo $'flags\t: fpu'
rm -r "$R"/sys/module/kvm*
onereg swap ours --dry-run
is "no virtualization: exit 3" "$status" 3
for words in '' both 'ours distro' '--no-such ours' '-n'; do
	# shellcheck disable=SC2086 # words
	onereg swap $words
	is "swap $words: exit 2" "$status" 2
done
host
put "/lib/modules/$K/build/.config" $'CONFIG_KVM=m\n# CONFIG_KVM_INTEL is not set\nCONFIG_KVM_AMD=m'
put /proc/cpuinfo $'flags\t: fpu vmx'
rm -r "$R"/sys/module/kvm* "$D"/{updates/dkms,kernel/arch/x86/kvm}/kvm-intel.ko
dep
onereg swap ours --dry-run
is "a kernel without this CPU's vendor module: exit 3" "$status" 3
like "... and says so" "$output" 'is configured without kvm_intel, which this CPU needs'
host
put /proc/sys/kernel/osrelease 7.3.4+deb13-amd64
onereg swap ours --dry-run --json
is "a native kernel: nothing to do" "$status $(json '$j->{result}')" "0 nothing to do"

# ---- CET

intel() {
	host
	put /proc/cpuinfo $'vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx user_shstk ibt'
	rm -r "$R/sys/module/kvm_amd"
	load kvm-intel "$(ours kvm-intel)" out
	put /sys/module/kvm_intel/parameters/cet "$1"
}
cet() {
	onereg status --json
	json '"$j->{cet}{asked} " . ($j->{cet}{effective} // "-") . " " . ($j->{cet}{asked_in} // "-")'
}
intel N
shows "CET: off" 0 'kvm_intel.cet=N; CPU: shadow stacks yes, IBT yes'
for line in 'options kvm_intel cet=1' 'options kvm-intel nested=0 cet=y ept=1' $'# x\noptions\tkvm_intel\tcet' \
	'options kvm_intel cet=on'; do
	put /etc/modprobe.d/a.conf "$line"
	is "asked by: ${line//$'\n'/; }" "$(cet)" "1 0 /etc/modprobe.d/a.conf"
done
for line in 'options kvm_intel cet=0' 'options kvm_intel cet=N'; do
	put /etc/modprobe.d/a.conf "$line"
	is "not asked by: $line" "$(cet)" "0 0 /etc/modprobe.d/a.conf"
done
for line in 'options kvm cet=1' 'options kvm_intel cetx=1' 'options kvm_intel ept=1' '#options kvm_intel cet=1' \
	'alias kvm_intel cet' options; do
	put /etc/modprobe.d/a.conf "$line"
	is "nothing asks: $line" "$(cet)" "0 0 -"
done
mv "$R/etc/modprobe.d/a.conf" "$R/etc/modprobe.d/a.conf.bak"
put /usr/lib/modprobe.d/b.conf 'options kvm_intel cet=1'
is "a file in /usr/lib" "$(cet)" "1 0 /usr/lib/modprobe.d/b.conf"
put /etc/modprobe.d/b.conf ''
is "... hidden by one of /etc" "$(cet)" "0 0 -"
# The last setting counts: within a line, within a file, and among files in the order of their names, whatever their
# folders; the command line comes last
rm -r "$R"/etc/modprobe.d "$R"/usr/lib/modprobe.d
put /etc/modprobe.d/a.conf 'options kvm_intel cet=0'
put /etc/modprobe.d/kvm-onereg.conf 'options kvm_intel cet=1'
is "two files: the later name" "$(cet)" "1 0 /etc/modprobe.d/kvm-onereg.conf"
put /etc/modprobe.d/z.conf 'options kvm-intel ept=1 cet=N nested=1'
is "... three" "$(cet)" "0 0 /etc/modprobe.d/z.conf"
put /etc/modprobe.d/z.conf \
	$'install kvm_intel /sbin/modprobe --ignore-install kvm_intel cet=0\nsoftdep kvm_intel pre: cet=0\n'"
alias cet kvm_intel
options kvm_intel_x cet=0
options kvm_intel xcet=0 cetx=0 a.cet=0"
is "lines that only look similar" "$(cet)" "1 0 /etc/modprobe.d/kvm-onereg.conf"
put /etc/modprobe.d/z.conf $'options kvm_intel cet=1\noptions kvm_intel cet=0'
is "two lines of a file" "$(cet)" "0 0 /etc/modprobe.d/z.conf"
put /etc/modprobe.d/z.conf $'options kvm_intel \\\n  cet=0'
is "a line that continues in the next" "$(cet)" "0 0 /etc/modprobe.d/z.conf"
put /etc/modprobe.d/z.conf 'options kvm_intel dump="a cet=0"'
is "a value of another parameter, in quotes" "$(cet)" "1 0 /etc/modprobe.d/kvm-onereg.conf"
put /etc/modprobe.d/z.conf 'options kvm_intel "cet=0"'
is "in quotes" "$(cet)" "0 0 /etc/modprobe.d/z.conf"
rm "$R/etc/modprobe.d/z.conf"
for folder in run usr/local/lib usr/lib lib; do
	put "/$folder/modprobe.d/n.conf" 'options kvm_intel cet=0'
	is "a later name in /$folder" "$(cet)" "0 0 /$folder/modprobe.d/n.conf"
	put /etc/modprobe.d/n.conf '# nothing'
	is "... hidden by /etc" "$(cet)" "1 0 /etc/modprobe.d/kvm-onereg.conf"
	rm "$R/etc/modprobe.d/n.conf" "$R/$folder/modprobe.d/n.conf"
	put "/$folder/modprobe.d/b.conf" 'options kvm_intel cet=0'
	is "an earlier name in /$folder" "$(cet)" "1 0 /etc/modprobe.d/kvm-onereg.conf"
	rm "$R/$folder/modprobe.d/b.conf"
done
for words in 'kvm_intel.cet=0 kvm_intel.cet=1' 'kvm-intel.cet=0 kvm_intel.cet=on' \
	'kvm_intel.cet=1 kvm_intel.cetx=0 xkvm_intel.cet=0 kvm_intel.ce=0' \
	'a="kvm_intel.cet=0 x" kvm_intel.cet' '"kvm_intel.cet=1"'; do
	put /proc/cmdline "quiet $words root=/dev/sda"
	is "the command line asks: $words" "$(cet)" "1 0 the kernel's command line"
done
for words in 'kvm_intel.cet=1 kvm_intel.cet=0' 'kvm_intel.cet=1 kvm-intel.cet=off' 'kvm-intel.cet=N'; do
	put /proc/cmdline "quiet $words root=/dev/sda"
	is "the command line, over modprobe.d: $words" "$(cet)" "0 0 the kernel's command line"
done
put /proc/cmdline "quiet kvm_intel.cet=1"
is "the command line" "$(cet)" "1 0 the kernel's command line"
put /dev/kmsg $'<6>[1] x\n<4>[2] kvm_intel: guests get no CET, although kvm_intel.cet=1: it needs EPT (kvm_intel.ept)\n<6>[3] y'
shows "the reason" 0 'although kvm_intel.cet=1: it needs EPT'

# On AMD's CPUs, kvm_amd's parameter counts, and only that.
amd() {
	host
	put /proc/cpuinfo $'vendor_id\t: AuthenticAMD\nflags\t\t: fpu svm user_shstk'
	load kvm-amd "$(ours kvm-amd)" out
	put /sys/module/kvm_amd/parameters/cet "$1"
}
amd N
shows "AMD: CET: off; IBT is not mentioned" 0 'kvm_amd.cet=N; CPU: shadow stacks yes$'
put /etc/modprobe.d/a.conf $'options kvm_intel cet=1\noptions kvm-amd nested=0'
is "AMD: nothing asks" "$(cet)" "0 0 -"
put /proc/cmdline 'quiet kvm_intel.cet=1'
is "... on the command line" "$(cet)" "0 0 -"
put /etc/modprobe.d/a.conf 'options kvm-amd cet=1'
is "AMD: asked" "$(cet)" "1 0 /etc/modprobe.d/a.conf"
onereg status --json
is "AMD: the parameter is named" "$(json '$j->{cet}{parameter}')" kvm_amd.cet
put /proc/cmdline 'quiet kvm_amd.cet=0'
is "AMD: the command line" "$(cet)" "0 0 the kernel's command line"
put /dev/kmsg '<4>[2] kvm_amd: guests get no CET, although kvm_amd.cet=1: it needs nested paging (kvm_amd.npt)'
shows "AMD: the reason" 0 'although kvm_amd.cet=1: it needs nested paging'
rm "$R/sys/module/kvm_amd/parameters/cet"
shows "AMD: no parameter" 0 'not offered: kvm_amd has no parameter cet; CPU: shadow stacks yes$'
intel N
put /etc/modprobe.d/a.conf 'options kvm_amd cet=1'
is "Intel: what AMD's module gets does not count" "$(cet)" "0 0 -"
onereg status --json
is "... the parameter is named" "$(json '$j->{cet}{parameter}')" kvm_intel.cet

# ---- the next boot

N=6.12.118+deb13-amd64 O=6.1.0-56-amd64
next() {
	onereg status --json
	json 'my $n = $j->{next_boot}; join " ", $n->{release} // "-", $n->{by}, $n->{kvm} // "-",
		$n->{loses_ours} ? "loses ours" : (), $n->{loses_cet} ? "loses CET" : ()'
}
checks() { # TEXT STATUS REGEX
	onereg status --check
	is "--check: $1: exit $2" "$status" "$2"
	like "... in one line" "$output" "$3"
	is "... not more" "$(wc -l <<<"$output")" 1
}
host
is "no boot loader: the newest" "$(next)" "$K the newest ours"
checks "all is well" 0 "^kvm-onereg OK: The loaded KVM is ours"
kernel $O distro '' 6.1.192-2
is "... not an older one" "$(next)" "$K the newest ours"
kernel $N distro
is "a newer one, with the distro's" "$(next)" "$N the newest distro loses ours"
shows "... is reported, and a reboot is pending" 0 "^Next boot 6.12.118[+]deb13-amd64 \(the newest\): distro" \
	'a reboot is pending: this kernel is newer' 'without our KVM, which another kernel has'
checks "a reboot is pending" 1 \
	"^kvm-onereg WARNING: .*A reboot is pending: 6.12.118.* boots next. Note: kernel 6.12.118.* boots next"
put /boot/vmlinuz-$K ''
is "modules without a kernel cannot be booted" "$(next)" "$K the newest ours"
put /boot/vmlinuz-$N ''
is "... with it" "$(next)" "$N the newest distro loses ours"
put /etc/modprobe.d/kvm-onereg.conf 'options kvm_intel cet=1'
is "cet=1 of Intel's module, on an AMD host" "$(next)" "$N the newest distro loses ours"
put /etc/modprobe.d/kvm-onereg.conf 'options kvm_amd cet=1'
is "... of AMD's" "$(next)" "$N the newest distro loses ours loses CET"
intel N
put /etc/modprobe.d/kvm-onereg.conf 'options kvm_intel cet=1'
kernel $N distro
is "cet=1, on an Intel host" "$(next)" "$N the newest distro loses ours loses CET"
shows "... is reported" 0 'guests lose CET at the next reboot'
checks "CET is lost" 2 \
	"^kvm-onereg CRITICAL: .*Guests lose CET at the next reboot: .*6.12.118.* has the distro's KVM, while 6.12.117"
rm "$R/etc/modprobe.d/kvm-onereg.conf"
is "... without cet=1" "$(next)" "$N the newest distro loses ours"
put /sys/module/kvm_intel/parameters/cet Y
is "... without cet=1, and on" "$(next)" "$N the newest distro loses ours loses CET"
rm -r "$R/lib/modules/$N"
kernel $N distro ours
is "the newer one has ours" "$(next)" "$N the newest ours"
for m in kvm kvm-intel kvm-amd; do
	ko "$R/lib/modules/$N/updates/dkms/$m.ko" version=0.0.1 "origin=linux-source-6.12 6.12.118-1" "vermagic=$N SMP"
done
is "... an old one without the parameter" "$(next)" "$N the newest ours loses ours loses CET"
rm -r "$R/lib/modules/$N"
kernel $N none
is "the newer one has no KVM" "$(next)" "$N the newest missing loses ours loses CET"
rm -r "$R/lib/modules/$N"
kernel 7.3.4+deb13-amd64 distro
is "the newer one is native" "$(next)" "7.3.4+deb13-amd64 the newest native"
host
rm -r "$D"
kernel $N distro
is "no kernel on disk has ours, but ours is loaded" "$(next)" "$N the newest distro loses ours"
host
rm -r "$R/lib/modules"
checks "no kernel on disk, as in a container" 0 '^kvm-onereg OK: The loaded KVM is ours'
host
rm -r "$D/updates"
dep
load_both "$(distro kvm)" "$(distro kvm-amd)"
kernel $N distro
is "no kernel has ours" "$(next)" "$N the newest distro"

host
kernel $O distro '' 6.1.192-2
kernel $N distro
grub 0 $N $K $O
is "GRUB: the first entry" "$(next)" "$N GRUB distro loses ours"
grub 0 $K $N $O
is "... which is not the newest" "$(next)" "$K GRUB ours"
checks "GRUB keeps to what runs" 0 OK
for default in "1>2" "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux $K" \
	"gnulinux-advanced-1-2>gnulinux-$K-advanced-1-2" \
	"1>gnulinux-$K-recovery-1-2" "gnulinux-advanced-1-2>3"; do
	grub "$default" $N $K $O
	is "GRUB: $default" "$(next)" "$K GRUB ours"
done
for default in no-such 7 "1>9" "1>no" "gnulinux-advanced-1-2" "gnulinux-$K-advanced-1-2" ''; do
	grub "$default" $N $K $O
	is "GRUB: $default: the first" "$(next)" "$N GRUB distro loses ours"
done
grub saved $N $K $O
is "GRUB: saved, and nothing is" "$(next)" "$N GRUB distro loses ours"
put /boot/grub/grubenv $'# GRUB Environment Block\nsaved_entry=1>2\n####'
is "GRUB: saved" "$(next)" "$K GRUB ours"
put /boot/grub/grubenv $'# GRUB Environment Block\nsaved_entry=0\nprev_saved_entry=1>4\n####'
is "GRUB: saved before grub-reboot" "$(next)" "$O GRUB distro loses ours"
put /boot/grub/grubenv $'# GRUB Environment Block\nsaved_entry=1>2\nnext_entry=1>4\n####'
is "GRUB: grub-reboot" "$(next)" "$O GRUB, once distro loses ours"
sed -i /load_env/d "$R/boot/grub/grub.cfg"
is "GRUB: a menu that does not read grubenv" "$(next)" "$N GRUB distro loses ours"
rm "$R/boot/grub/grubenv"
grub 0 6.12.200-gone $K
is "GRUB: a kernel without modules" "$(next)" "6.12.200-gone GRUB - loses ours"
put /boot/grub/grub.cfg $'menuentry "x" {\n linux /vmlinuz root=/dev/sda\n}'
ln -s boot/vmlinuz-$O "$R/vmlinuz"
is "GRUB: a link" "$(next)" "$O GRUB distro loses ours"
for text in '' $'menuentry {\n}}}' $'set default=1\n}' "menuentry 'x" $'menuentry x {\n linux\n}' 'submenu s {'; do
	put /boot/grub/grub.cfg "$text"
	is "GRUB: nothing to find in: ${text//$'\n'/; }" "$(next)" "$N the newest distro loses ours"
done

efi() {
	mkdir -p "$R/sys/firmware/efi/efivars"
	{
		printf '\6\0\0\0'
		printf '%s\0' "$2" | sed 's/./&\x00/g'
	} >"$R/sys/firmware/efi/efivars/$1-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
}
efi LoaderInfo "systemd-boot 257.9"
grub 0 $K
put /usr/bin/bootctl "#!/bin/sh
echo '[{\"id\":\"1-$O.conf\",\"version\":\"$O\",\"isDefault\":true},'
echo '{\"id\":\"1-$K.conf\",\"linux\":\"/boot/efi//1/$K/linux\",\"isDefault\":false}]'"
chmod +x "$R/usr/bin/bootctl"
is "systemd-boot: its default, whatever is left of GRUB" "$(next)" "$O systemd-boot distro loses ours"
efi LoaderEntryOneShot "1-$K.conf"
is "systemd-boot: once" "$(next)" "$K systemd-boot, once ours"
efi LoaderInfo "GRUB 2.12"
is "GRUB says that it is GRUB" "$(next)" "$K GRUB ours"
efi LoaderInfo "systemd-boot 257.9"
for answer in 'exit 1' 'echo nonsense' 'echo "{}"' 'echo "[1, {}, {\"isDefault\":true}]"'; do
	put /usr/bin/bootctl "#!/bin/sh
$answer"
	is "systemd-boot: bootctl: $answer" "$(next)" "$N the newest distro loses ours"
done

# ---- modules that do not load

host
ko "$(ours kvm)" "version=$V" "origin=linux-source-6.12 6.12.117-1" "vermagic=$K SMP modversions" EXPORT=kvm_a:0x22 \
	ID="$(id kvm)"
ko "$(ours kvm-amd)" "version=$V" "origin=linux-source-6.12 6.12.117-1" "vermagic=$K SMP modversions" \
	IMPORT=kvm_a:0x23 ID="$(id amd)"
ko "$(ours kvm-intel)" "version=$V" "origin=linux-source-6.12 6.12.117-1" "vermagic=$K SMP modversions" \
	IMPORT=kvm_a:0x22 ID="$(id intel)"
for m in kvm kvm-intel kvm-amd; do ko "$(distro $m)" "vermagic=$K SMP modversions"; done
load_both "$(ours kvm)" "$(ours kvm-amd)" out
shows "a module with a wrong CRC" 0 \
	"does not load: /lib/modules/$E/updates/dkms/kvm-amd.ko needs the symbol kvm_a with CRC 0x00000023, and kvm"
onereg status --json
like "... as JSON" "$(json '$j->{kernels}[0]{unloadable}')" 'kvm-amd.ko needs the symbol kvm_a'
checks "... is critical, as the next boot has no KVM" 2 \
	'^kvm-onereg CRITICAL: .* After the next boot no KVM loads: .*kvm-amd.ko needs'
kernel $N distro ours
for m in kvm kvm-amd; do load $m "$(ours $m)" out; done
checks "... not of a kernel that does not boot next" 1 '^kvm-onereg WARNING: .*A reboot is pending'
onereg status --json
is "a kernel whose modules load, as JSON" "$(json '$j->{kernels}[1]{unloadable}')" null

# ---- which source the modules are from, and what is pending

source_of() {
	onereg status --json
	json 'my ($l, $p) = @$j{qw(loaded pending)};
		join ", ", $l->{source} // "-", $l->{source_inferred} ? "inferred" : (),
		"disk " . ($p->{source_on_disk} // "-"), grep { $p->{$_} } qw(swap reboot)'
}
host
is "ours: the source of what is loaded" "$(source_of)" "linux 6.12.117-1, disk linux 6.12.117-1"
shows "... in words" 0 '^ +built from linux 6.12.117-1$'
for m in kvm kvm-intel kvm-amd; do
	ko "$(ours $m)" "version=$V" "origin=linux-source-6.12 6.12.118-1" "vermagic=$K SMP" ID="$(id new $m)"
done
is "ours, rebuilt from a newer source" "$(source_of)" "-, disk linux 6.12.118-1, swap"
shows "... in words" 0 'built from: not known' \
	'not what is on disk, which was built from linux 6.12.118-1: a swap or a reboot is pending'
put /var/lib/kvm-onereg/build-ids \
	"$(id other) linux-source-6.12 6.12.99-1"$'\n'"$(id ours $K kvm) linux-source-6.12 6.12.117-1"
is "... with the installer's note" "$(source_of)" "linux 6.12.117-1, disk linux 6.12.118-1, swap"
checks "... as a warning" 1 'WARNING: .*linux 6.12.117-1 is loaded, linux 6.12.118-1 is on disk'
put /var/lib/kvm-onereg/build-ids \
	"$(id other) kvm linux-source-6.12 6.12.99-1 0.0.9"$'\n'"$(
		id ours $K kvm
	) kvm linux-source-6.12 6.12.117-1 0.0.9"
is "... with module and version in it" "$(source_of)" "linux 6.12.117-1, disk linux 6.12.118-1, swap"
put /var/lib/kvm-onereg/build-ids "$(id ours $K kvm) kvm"
onereg status
is "... cut off" "$status" 0
put /var/lib/kvm-onereg/build-ids nonsense
is "... with a damaged one" "$(source_of)" "-, disk linux 6.12.118-1, swap"
host
rm -r "$D/updates"
dep
load_both "$(distro kvm)" "$(distro kvm-amd)"
is "the distro's: its image's version" "$(source_of)" "linux 6.12.117-1, disk linux 6.12.117-1"
for m in kvm kvm-intel kvm-amd; do ko "$(distro $m)" "vermagic=$K SMP" ID="$(id upgraded $m)"; done
sed -i "s/^\(linux-image-.*\t\)6.12.117-1/\16.12.117-2/" "$R/dpkg"
is "the distro's, upgraded on disk under the same name" "$(source_of)" \
	"linux 6.12.117-1, inferred, disk linux 6.12.117-2, swap, reboot"
shows "... in words" 1 'built from linux 6.12.117-1, like the kernel; its file is no longer on disk' \
	'which was built from linux 6.12.117-2: a swap or a reboot' \
	'a reboot is pending: 6.12.117-1 runs, 6.12.117-2 is installed'
checks "... without ONE_REG, it is critical" 2 '^kvm-onereg CRITICAL: '

# ---- source that is not there yet; modules from a package, and from one's own tree

waited() { json 'my $w = $j->{kernels}[0]{source_wanted}; join ",", map { $w->{$_} // "null" } qw('"$*"')'; }
host
rm -r "$D/updates"
dep
load_both "$(distro kvm)" "$(distro kvm-amd)"
put "/var/lib/kvm-onereg/wanted/$K" $'version=6.12.117-1\nresult=offline\nmessage=\ntried=1700000000\nnext=1700003600'
shows "a kernel waits for its source" 1 '^ +waits for the source of linux 6.12.117-1$' \
	'\(no network; tried 2023-11-14 22:13; next attempt 2023-11-14 23:13\)'
is "... without a command, because an attempt is planned" "$(grep -c 'to fix' <<<"$output")" 0
onereg status --json
is "... as JSON" "$(waited version result tried next)" \
	"6.12.117-1,offline,1700000000,1700003600"
put "/var/lib/kvm-onereg/wanted/$K" $'version=6.12.117-1\nresult=untried\ntried=0\nnext=0'
put /usr/sbin/kvm-onereg-install ''
shows "... and no attempt is planned" 1 'not downloaded yet; no automatic attempt is planned' \
	'to fix: /usr/sbin/kvm-onereg-install$'
onereg status --json
is "... as JSON" "$(waited version message tried next)" \
	"6.12.117-1,null,null,null"
put "/var/lib/kvm-onereg/wanted/$K" \
	$'version=6.12.117-1\nresult=unavailable\nmessage=linux-source-6.12 has 6.12.120-1\ntried=1700000000\nnext=0'
shows "... not available" 1 'not available: linux-source-6.12 has 6.12.120-1; tried'
put "/var/lib/kvm-onereg/wanted/$K" $'version=6.12.117-1\nresult=failed\nmessage=no room\ntried=x\nnext=-5'
shows "... failed" 1 'the download failed: no room; no automatic attempt is planned'
put "/var/lib/kvm-onereg/wanted/$K" nonsense
onereg status --json
is "... nonsense in that file" "$(json '$j->{kernels}[0]{source_wanted}')" null

host
mv "$D/updates/dkms" "$D/updates/kvm-onereg"
dep
load_both "$D/updates/kvm-onereg/kvm.ko" "$D/updates/kvm-onereg/kvm-amd.ko" out
shows "ours, prebuilt" 0 "^\* $E  +ours $V, prebuilt, from linux-source-6.12 6.12.117-1" \
	"Loaded +ours $V, prebuilt: kvm, kvm_amd$"
onereg status --json
is "... as JSON" "$(json '"$j->{kernels}[0]{prebuilt} $j->{kernels}[0]{modules_are} $j->{loaded}{as_on_disk}"')" \
	"1 ours 1"
load_both "$(distro kvm)" "$(distro kvm-amd)"
onereg swap ours --dry-run
like "... swap takes them" "$output" 'load /lib/modules/.*/updates/kvm-onereg/kvm-amd.ko'
mkdir "$D/updates/dkms"
mv "$D/updates/kvm-onereg/kvm.ko" "$D/updates/dkms/"
dep
shows "one built here, two prebuilt" 1 '^\* .*mixed: '
host
onereg status --json
is "built here: not prebuilt" "$(json '$j->{kernels}[0]{prebuilt}')" false
for m in kvm kvm-intel kvm-amd; do
	ko "$(ours $m)" "version=$V" "origin=tree /home/me/linux 6.12.117" "vermagic=$K SMP" ID="$(id tree $m)"
done
load_both "$(ours kvm)" "$(ours kvm-amd)" out
shows "from somebody's own tree" 0 "^\* $E  +ours $V, from tree /home/me/linux 6.12.117$" \
	'built from tree /home/me/linux 6.12.117$'

# ---- missing files and nonsense

rm -rf "$R"
mkdir "$R"
shows "an empty host" 1 'no kernel has modules here' '^Loaded +unknown: there is no /sys' 'none that this user can see'
onereg status --json
is "... as JSON" "$(json '$j->{one_reg}')" false
for words in --no-such 'x' '-k' '--check x' '--check --json' "--check -k $K"; do
	# shellcheck disable=SC2086 # words
	onereg status $words
	is "status $words: exit 2" "$status" 2
done
onereg status --help
is "--help: exit 0" "$status" 0

host
vm 99 qemu 1 1 qemu
put /etc/modprobe.d/kvm.conf 'options kvm_intel cet=1'
before=$failures
grub 'Advanced options for Debian GNU/Linux>2' $K $K
put /boot/grub/grubenv saved_entry=1
put "/var/lib/kvm-onereg/wanted/$K" $'version=1\nresult=failed\ntried=17\nnext=18'
odd=("$R/boot/grub/grub.cfg" "$R/boot/grub/grubenv" "$R/var/lib/kvm-onereg/wanted/$K" "$D/modules.dep"
	"$D/modules.dep.bin" "$(ours kvm)" "$(distro kvm)" "$R/sys/module/kvm/notes/.note.gnu.build-id"
	"$R/sys/module/kvm/version"
	"$R/proc/99/cmdline" "$R/proc/cpuinfo" "$R/proc/cmdline" "$R/etc/modprobe.d/kvm.conf" "$R/dev/kmsg"
	"$R/proc/99/comm")
for ((i = 0; i < 75; i++)); do
	f=${odd[i % ${#odd[@]}]}
	[ -e "$tmp/was" ] || cp "$f" "$tmp/was" 2>/dev/null
	if ((i / ${#odd[@]} % 2)); then
		perl -e 'srand $ARGV[0]; print pack "C*", map { int rand 256 } 1 .. rand 3000' "$i" >"$f"
	else
		perl -e 'srand $ARGV[0]; local $/; $_ = <STDIN> // ""; substr($_, int rand length, 1) = chr rand 256 for 1 .. 40; print' "$i" <"$tmp/was" >"$f"
	fi
	onereg status
	[ "$status" -le 1 ] || {
		is "nonsense $i in ${f#"$R"}: an answer" "$status" "0 or 1"
		diag "$output"
	}
	if [ -s "$tmp/was" ]; then cp "$tmp/was" "$f"; else rm "$f"; fi
	rm -f "$tmp/was"
done
ok "nonsense in files: always an answer" test "$failures" = "$before"
done_testing
