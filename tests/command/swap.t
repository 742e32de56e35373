#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg swap on emulated hosts with Debian's kernels: it works in both directions and keeps parameters, refuses
# while anything holds KVM, rolls back if a step fails, and repairs the host after kill -9. After each step, kvm-onereg
# status shows which modules are loaded.
#
# THOROUGH=y: holders of KVM and failing steps on both releases, not only on Debian 13
# shellcheck disable=SC2016,SC1091,SC2154 # the host's shell expands the scripts; the files set the variables
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

setup='
D=$(echo /lib/modules/*) X=$(ls $D/updates/dkms/kvm.ko* | sed "s/.*[.]ko//")
distro=$D/kernel/arch/x86/kvm
loaded() { kvm-onereg status --json | sed -n "s/^    \"modules_are\": \"\(.*\)\",/loaded: \1/p"; }
parameters() { for p in kvm_amd/parameters/nested kvm/parameters/ignore_msrs kvm/parameters/halt_poll_ns; do echo "$p $(cat /sys/module/$p)"; done; }
holders_die() { for p in /proc/[0-9]*; do { read -r c <$p/comm; } 2>/dev/null; [ "$c" != holder ] || kill -9 ${p#/proc/}; done; wait 2>/dev/null; sleep 0.05; }
'
script='
run nothing loaded -- kvm-onereg status
NO_COLOR="" run coloured -- kvm-onereg status
TERM=dumb NO_COLOR="" run dumb -- kvm-onereg status
run from nothing -- kvm-onereg swap distro
rmmod kvm_amd kvm
modprobe kvm_amd nested=0
echo Y >/sys/module/kvm/parameters/ignore_msrs
echo 12345 >/sys/module/kvm/parameters/halt_poll_ns
run dry -- kvm-onereg swap distro --dry-run; loaded
run to distro -- kvm-onereg swap distro
run after to distro -- kvm-onereg status
run parameters distro -- parameters
run again -- kvm-onereg swap distro
libs=/usr/lib/x86_64-linux-gnu
mkdir -p $libs/qemu $libs/libvirt/connection-driver
: >$libs/libvirt/connection-driver/libvirt_driver_qemu.so
: >/tmp/marker
run to ours -- kvm-onereg swap ours --json
[ $libs/qemu -nt /tmp/marker ] && echo "libvirt: told"
run after to ours -- kvm-onereg status
run parameters ours -- parameters
rmdir $libs/qemu
run libvirt not told -- kvm-onereg swap distro
rm -r $libs/libvirt
run no libvirt -- kvm-onereg swap ours

hold vm -name guest=web1,debug-threads=on; echo "pid $!"
run vm -- kvm-onereg swap distro
run vm json -- kvm-onereg swap distro --json
run vm status -- kvm-onereg status
run hidden vm -- unshare --pid --fork --mount-proc kvm-onereg swap distro
run user status -- setpriv --reuid 1000 --clear-groups kvm-onereg status
run user -- setpriv --reuid 1000 --clear-groups kvm-onereg swap distro
holders_die
hold device; echo "pid $!"
run device -- kvm-onereg swap distro
holders_die
run lock -- flock /usr/bin/kvm-onereg kvm-onereg swap distro

between=vm run late vm -- kvm-onereg swap distro
run after late vm -- loaded
holders_die
between=kill run killed -- kvm-onereg swap distro
run after killed -- loaded
run repaired -- kvm-onereg swap ours
between=load run reloaded -- kvm-onereg swap distro
run after reloaded -- loaded

mv $D/updates/dkms/kvm-amd.ko$X /tmp/good
run half -- kvm-onereg swap ours
dd if=/tmp/good of=$D/updates/dkms/kvm-amd.ko$X bs=1000 count=60 2>/dev/null
run cut off -- kvm-onereg swap ours
run after cut off -- kvm-onereg status
rmmod kvm_amd; modprobe -q kvm_amd; loaded
cp /host/bad $D/updates/dkms/kvm-amd.ko$X
rmmod kvm_amd kvm
insmod $distro/kvm.ko$X; insmod $distro/kvm-amd.ko$X nested=0
run bad -- kvm-onereg swap ours
run after bad -- loaded
run parameters bad -- parameters
mv $distro/kvm-amd.ko$X /tmp/distro
cp /tmp/good $D/updates/dkms/kvm-amd.ko$X
run no way back -- kvm-onereg swap ours --dry-run
cp /host/bad $D/updates/dkms/kvm-amd.ko$X
run broken -- kvm-onereg swap ours
run no distro -- kvm-onereg swap distro
mv /tmp/distro $distro/kvm-amd.ko$X
cp /tmp/good $D/updates/dkms/kvm-amd.ko$X
run after broken -- kvm-onereg swap ours
rmmod kvm_amd; insmod $distro/kvm-amd.ko$X
run mixed status -- kvm-onereg status
run mixed -- kvm-onereg swap ours
run after mixed -- kvm-onereg status
run doctor -- kvm-onereg doctor
mkdir -p /var/lib/dkms/kvm-onereg/original_module/${D##*/}/x86_64
mv $distro/kvm*.ko* /var/lib/dkms/kvm-onereg/original_module/${D##*/}/x86_64/
run moved aside -- kvm-onereg swap distro
run after moved aside -- kvm-onereg status
'

# ---- What holds KVM: swap refuses each before it unloads anything

# after WORDS, ended WORDS: what was printed after "try WORDS", and its exit status
after() { sed -n "s/^after $*: //p" <<<"$out"; }
ended() { sed -n "/^== step $*\$/,/^== status/s/^== status //p" <<<"$out"; }

kinds="node unlinked thread mapped stats uring passed perf perfmap bpf pinned stat"
holds='
tracing=/sys/kernel/tracing event=/sys/kernel/tracing/events/kvm/kvm_exit
release() { holders_die; rm -f /sys/fs/bpf/held; }
/host/holder tracefs
modprobe kvm_amd nested=0
for kind in '$kinds'; do
	hold $kind; echo "$kind pid $!"
	run held $kind -- kvm-onereg swap distro
	case $kind in node | stats | passed) run status $kind -- kvm-onereg status ;; esac
	release
done
run released -- kvm-onereg swap distro --dry-run
hold perf
run perf json -- kvm-onereg swap distro --dry-run --json
run perf status json -- kvm-onereg status --json
run perf user -- setpriv --reuid 1000 --clear-groups kvm-onereg status
release
hold path
echo 1 >$event/enable
run event -- kvm-onereg swap distro
run event status -- kvm-onereg status
echo 0 >$event/enable
mkdir $tracing/instances/other
echo 1 >$tracing/instances/other/events/kvm/kvm_exit/enable
run instance -- kvm-onereg swap distro
rmdir $tracing/instances/other
echo stacktrace >$event/trigger
run trigger -- kvm-onereg swap distro
echo "!stacktrace" >$event/trigger
echo enable_event:kvm:kvm_exit >$tracing/events/sched/sched_switch/trigger
run other trigger -- kvm-onereg swap distro
echo "!enable_event:kvm:kvm_exit" >$tracing/events/sched/sched_switch/trigger
echo 0 >$event/enable
echo "e:probes/one kvm.kvm_exit" >>$tracing/dynamic_events
run dynamic -- kvm-onereg swap distro
echo "-:probes/one" >>$tracing/dynamic_events
run path -- kvm-onereg swap distro
release
'

# ---- Each step fails once, or is killed, or something takes kvm between two steps. Before each, our modules are
# loaded, each with a parameter that can only be given at load, so a second load is needed

steps='
what_is() { if [ -e /sys/module/kvm/version ]; then echo ours; elif [ -e /sys/module/kvm ]; then echo distro; else echo none; fi; }
works() {
	if ! [ -c /dev/kvm ] || ! (exec 9<>/dev/kvm) 2>/dev/null; then echo "no KVM"; return; fi
	echo "works, nested=$(</sys/module/kvm_amd/parameters/nested) backdoor=$(</sys/module/kvm/parameters/enable_vmware_backdoor)"
}
try() {
	release
	rmmod kvm_amd kvm; modprobe kvm enable_vmware_backdoor=1; modprobe kvm_amd nested=0
	between=$1:$2 run step $1 $2 -- kvm-onereg swap distro
	echo "after $1 $2: $(what_is), $(works)"
	[ ! -e /tmp/updates ] || { mv /tmp/updates $D/; mv /tmp/kvm $D/kernel/arch/x86/; }
}
for n in $failing; do try fail $n; done
for n in 1 2 4; do try perf $n; done
try both 4
try gone 4
for n in $killed; do
	try kill $n
	[ $n != 2 ] || { run half status -- kvm-onereg status; run half doctor -- kvm-onereg doctor; }
	to=$([ $((n % 2)) = 0 ] && echo ours || echo distro)
	run completed $n -- kvm-onereg swap $to
	echo "completed $n: $to $(what_is), $(works)"
done

# One of the two modules is loaded, and kvm cannot be unloaded
release
kvm-onereg swap ours >/dev/null 2>&1
rmmod kvm_amd
hold perf
run half held dry -- kvm-onereg swap distro --dry-run
run half held -- kvm-onereg swap distro
echo "half held: $(what_is), $(works)"
rmmod kvm_amd
run half kept -- kvm-onereg swap ours
echo "half kept: $(what_is), $(works)"
release
sysctl=/proc/sys/kernel/modules_disabled
run no capability -- setpriv --bounding-set -sys_module --inh-caps -sys_module kvm-onereg swap distro
echo 1 >$sysctl
run disabled -- kvm-onereg swap distro
run disabled dry -- kvm-onereg swap distro --dry-run
'

for release in bookworm trixie; do
	make_host $release $release
	is "$release: there is a host" $? 0
	f=$(ls "$tmp/$release/lib/modules/$K"/updates/dkms/kvm-amd.ko*)
	changed_module "$f" __versions 0 "$tmp/${f##*/}" && mv "$tmp/${f##*/}" "$tmp/$release/host/bad"
	run_script $release svm "$setup$script" -t 900 --complaint-ok 'module_layout|disagrees' --module-may-fail
	r=$release

	like "$r: nothing loaded: status says so" "$(part nothing loaded)" 'No KVM is loaded'
	like "$r: ... and exits with 1" "$(part nothing loaded)" '^== status 1$'
	like "$r: colour on a terminal" "$(part coloured)" $'\033\\[31mNo KVM is loaded'
	like "$r: ... not on a dumb one, nor with NO_COLOR" "$(part dumb)" '^No KVM is loaded'
	like "$r: from nothing to the distro's" "$(part from nothing)" "the distro's KVM is loaded"
	like "$r: --dry-run prints the steps" "$(part dry)" 'unload kvm kvm_amd'
	like "$r: ... exits with 0" "$(part dry)" '^== status 0$'
	like "$r: ... and performs none" "$(sed -n '/^== dry/,/^== to distro/p' <<<"$out")" '^loaded: ours'
	like "$r: ours to the distro's" "$(part to distro)" '^== status 0$'
	like "$r: ... says what the next boot loads" "$(part to distro)" 'the next boot loads what modprobe finds: ours'
	like "$r: ... it is loaded" "$(part after to distro)" 'Loaded +distro: kvm, kvm_amd'
	like "$r: ... status says that it is not what is on disk" "$(part after to distro)" 'not what is on disk'
	like "$r: ... and has no ONE_REG" "$(part after to distro)" 'KVM_CAP_ONE_REG is 0'
	like "$r: ... which is exit 1" "$(part after to distro)" '^== status 1$'
	for p in distro ours bad; do
		like "$r: $p: a parameter that was given at load time is kept" "$(part parameters $p)" \
			'^kvm_amd/parameters/nested 0$'
		[ $p != bad ] || continue
		like "$r: $p: parameters that were changed since are kept" "$(part parameters $p)" \
			'^kvm/parameters/halt_poll_ns 12345$'
		like "$r: $p: ... all" "$(part parameters $p)" '^kvm/parameters/ignore_msrs Y$'
	done
	like "$r: once more: nothing to do" "$(part again)" 'Nothing to do'
	like "$r: ... exit 0" "$(part again)" '^== status 0$'
	like "$r: and back to ours, as JSON" "$(part to ours)" '"result": "swapped"'
	like "$r: ... exit 0" "$(part to ours)" '^== status 0$'
	like "$r: ... status says so" "$(part after to ours)" 'our KVM is loaded, complete'
	like "$r: ... exit 0" "$(part after to ours)" '^== status 0$'

	like "$r: libvirt is installed: a step says so" "$(part to ours)" \
		'"touch .*/qemu, so that libvirt asks KVM again'
	like "$r: ... it is done" "$out" '^libvirt: told$'
	like "$r: ... it cannot be done: a note says what to do" "$(part libvirt not told)" \
		'note: libvirt may still report .*No such file.*restart libvirtd'
	like "$r: ... which is no failure" "$(part libvirt not told)" '^== status 0$'
	is "$r: libvirt is not installed: no word of it" "$(part no libvirt | grep -c -v -e '^==' -e libvirt)" \
		"$(part no libvirt | grep -c -v '^==')"

	pid=$(sed -n 's/^pid //p' <<<"$out" | head -n 1)
	like "$r: refused while a VM runs, with its process and name" "$(part vm)" \
		"^ +$pid holder \(web1\): 1 VM, 2 vCPUs"
	like "$r: ... exit 4" "$(part vm)" '^== status 4$'
	like "$r: ... in JSON" "$(tr -d '\n' <<<"$(part vm json)")" "\"pid\": $pid,.*\"name\": \"web1\".*status 4"
	like "$r: status names it" "$(part vm status)" "$pid holder \(web1\): 1 VM, 2 vCPUs"
	like "$r: ... ours is still loaded" "$(part vm status)" 'our KVM is loaded'
	like "$r: refused when a VM cannot be seen from here" "$(part hidden vm)" 'not visible from here'
	like "$r: ... exit 4" "$(part hidden vm)" '^== status 4$'
	like "$r: a user without access: status says so" "$(part user status)" 'may not be opened by this user'
	like "$r: ... and that it may not see all VMs" "$(part user status)" 'run this as root'
	like "$r: ... and still responds" "$(part user status)" '^== status 0$'
	like "$r: a user cannot swap: exit 3" "$(part user)" '^== status 3$'
	like "$r: refused when /dev/kvm is held open" "$(part device)" 'holder: no VM, has /dev/kvm open'
	like "$r: ... exit 4" "$(part device)" '^== status 4$'
	like "$r: refused while another one runs: exit 4" "$(part lock)" '^== status 4$'

	like "$r: a VM starts after the check: nothing was changed" "$(part late vm)" 'came into use in the meantime.*$'
	like "$r: ... it is named" "$(part late vm)" 'holder \(late\): 1 VM'
	like "$r: ... exit 4" "$(part late vm)" '^== status 4$'
	like "$r: ... ours is still loaded" "$(part after late vm)" '^loaded: ours$'
	like "$r: killed in between" "$(part killed)" '^== status 137$'
	like "$r: ... run again, it repairs" "$(part repaired)" '^== status 0$'
	like "$r: another program loads kvm in between: it is unloaded again" "$(part reloaded)" \
		'loaded by something else in the meantime'
	like "$r: ... the requested set is loaded" "$(part after reloaded)" '^loaded: distro$'

	like "$r: a module of the requested set is missing: refused" "$(part half)" \
		'our modules are not complete.*kvm-amd (missing|distro)'
	like "$r: ... exit 3" "$(part half)" '^== status 3$'
	like "$r: ... truncated: refused" "$(part cut off)" 'kvm-amd damaged'
	like "$r: ... exit 3" "$(part cut off)" '^== status 3$'
	like "$r: ... and status says that the set is mixed" "$(part after cut off)" \
		'mixed: kvm ours .*, kvm-intel ours .*, kvm-amd damaged'
	like "$r: ... does not load: rolled back" "$(part bad)" \
		'kvm_amd does not load: .*previous modules are loaded again'
	like "$r: ... exit 5" "$(part bad)" '^== status 5$'
	like "$r: ... the distro's is loaded" "$(part after bad)" '^loaded: distro$'
	like "$r: there is no way back: it says so beforehand" "$(part no way back)" 'no way back'
	like "$r: ... and after" "$(part broken)" 'the previous modules could not be loaded again'
	like "$r: ... exit 6" "$(part broken)" '^== status 6$'
	like "$r: the distro's modules are not complete: the command that installs them" "$(part no distro)" \
		"apt-get install --reinstall linux-image-6.1[^ ]*$"
	like "$r: run again, it repairs" "$(part after broken)" '^== status 0$'
	like "$r: modules that do not belong together: status says so" "$(part mixed status)" \
		'Loaded +mixed: kvm ours .*, kvm_amd distro'
	like "$r: ... exit 1" "$(part mixed status)" '^== status 1$'
	like "$r: ... and swap repairs that" "$(part after mixed)" 'our KVM is loaded, complete'
	like "$r: doctor, too, sees ours loaded" "$(part doctor)" \
		'^loaded kvm_amd: ours .*, build-id [0-9a-f]{40}, /lib/modules/'
	like "$r: the distro's modules are where DKMS moves them: found there" "$(part moved aside)" \
		'load /var/lib/dkms/kvm-onereg/original_module/.*/kvm-amd.ko'
	like "$r: ... and loaded" "$(part after moved aside)" 'Loaded +distro: kvm, kvm_amd'
done

# refused WORDS REGEX [FIX]: swap refused before it unloaded anything
refused() {
	like "$r: $1: refused, and named" "$(part "$1")" "$2"
	like "... exit 4" "$(part "$1")" '^== status 4$'
	[ $# = 2 ] || like "... with what ends it" "$(part "$1")" "to fix: $3"
}

on="trixie"
[ "${THOROUGH:-}" != y ] || on="trixie bookworm"
for release in $on; do
	# All steps on one of them; on the other only those that continue differently
	failing="4" killed="2 3"
	[ "$release" = bookworm ] || failing="1 2 3 4 5 6 7 8" killed="2 3 4 5 6 7 8"
	r=$release
	K=$(ls "$tmp/$r/lib/modules") kernel=$("$top/tests/packaging/installed" "$r")
	run_script "$r" svm "$setup$holds failing='$failing' killed='$killed' $steps" -t 900

	for kind in $kinds; do
		pid=$(sed -n "s/^$kind pid //p" <<<"$out")
		case $kind in
		node | unlinked | thread)
			refused "held $kind" "^ +$pid holder: no VM, has /dev/kvm open" "end or migrate it"
			;;
		mapped) refused "held $kind" "^ +$pid holder: no VM, has kvm-vcpu:0, mapped" ;;
		stats) refused "held $kind" "^ +$pid holder: no VM, has kvm-vm-stats" ;;
		stat) refused "held $kind" "^ +$pid holder: no VM, has /sys/kernel/debug/kvm/exits" ;;
		uring)
			refused "held $kind" "^ +$pid holder: has kvm as a registered file of io_uring" \
				"end process $pid"
			;;
		passed) refused "held $kind" "^ +maybe $pid holder: has a socket with 1 file" "end process $pid" ;;
		perf | perfmap) refused "held $kind" "^ +maybe $pid holder: has a perf event open" "end process $pid" ;;
		bpf)
			refused "held $kind" "^ +$pid holder: has a BPF program on the tracepoint kvm_exit" \
				"end process $pid"
			;;
		pinned)
			refused "held $kind" "^ +BPF link [0-9]+ on the tracepoint kvm_exit" "remove what pins BPF link"
			;;
		esac
	done
	like "$r: status names them, too" "$(part status node)" '^ +[0-9]+ holder: no VM, has /dev/kvm open'
	like "... what the kernel counts under other names" "$(part status stats)" \
		'^ +[0-9]+ holder: no VM, has kvm-vm-stats'
	like "... what it does not say" "$(part status passed | tr -d '\n')" \
		'KVM is in use 1 time.*maybe [0-9]+ holder: has a socket with 1 file'
	like "$r: all released: nothing to refuse" "$(part released)" '^== status 0$'
	like "$r: --dry-run --json refuses for the same reason" "$(tr -d '\n' <<<"$(part perf json)")" \
		'"result": "refused",.*a perf event.*"dry_run": true.*"held": true.*status 4'
	like "$r: status --json has it" "$(part perf status json)" \
		'"unnamed": "module kvm is held 1 time by something other than VMs"'
	like "$r: a user sees that something holds it" "$(part perf user)" 'module kvm is held 1 time'
	refused event 'trace event enabled in /sys/kernel/tracing: kvm:kvm_exit' \
		'echo 0 >/sys/kernel/tracing/events/kvm/enable'
	like "$r: ... status says so" "$(part event status)" 'trace event enabled in /sys/kernel/tracing: kvm:kvm_exit'
	refused instance 'trace event enabled in /sys/kernel/tracing/instances/other: kvm:kvm_exit'
	refused trigger 'trace event kvm:kvm_exit has the trigger stacktrace' "echo '!stacktrace' >"
	refused "other trigger" 'trace event sched:sched_switch has the trigger enable_event:kvm:kvm_exit'
	refused dynamic 'dynamic trace event probes/one on kvm.kvm_exit' "echo '-:probes/one' >>"
	like "$r: all released, /dev/kvm open with O_PATH: swapped" "$(part path)" '^== status 0$'

	for n in $failing; do
		# 5 is the first step of the second load
		is "$r: step $n fails: KVM is loaded, the previous or the requested one" \
			"$(after fail "$n"), $(ended fail "$n")" "$(case $n in
				1) echo ours, works, nested=0 backdoor=Y, 3 ;;
				5) echo distro, works, nested=1 backdoor=N, 0 ;;
				6) echo distro, works, nested=0 backdoor=N, 0 ;;
				*) echo ours, works, nested=0 backdoor=Y, 5 ;;
				esac)"
	done
	[[ $failing != *5* ]] ||
		like "... which tells what it could not keep" "$(part step fail 5)" 'kvm_amd.nested was 0 and is 1 now'
	for n in 1 2; do
		is "$r: kvm is held before step $n: the vendor module is loaded again" \
			"$(after perf $n), $(ended perf $n)" "ours, works, nested=0 backdoor=Y, 5"
		like "... the holder is named" "$(part step perf $n)" 'maybe [0-9]+ holder: has a perf event open'
		like "... with what ends it" "$(part step perf $n)" 'to fix: end process [0-9]+, then'
	done
	is "$r: the new kvm is held before the vendor module is loaded: it continues" \
		"$(after perf 4), $(ended perf 4)" "distro, works, nested=0 backdoor=N, 0"
	like "... except a parameter of kvm" "$(part step perf 4)" 'kvm.enable_vmware_backdoor was Y and is N now'
	is "$r: ... and that fails: what is loaded is completed" "$(after both 4), $(ended both 4)" \
		"distro, works, nested=0 backdoor=N, 5"
	is "$r: all files disappear, and a step fails: they are still open" "$(after gone 4), $(ended gone 4)" \
		"ours, works, nested=0 backdoor=Y, 5"
	for n in $killed; do
		is "$r: killed before step $n" "$(ended kill "$n")" 137
		like "... the same command, for either set, completes it" "$(sed -n "s/^completed $n: //p" <<<"$out")" \
			'^(ours ours|distro distro), works'
		like "... exit 0" "$(part completed "$n")" '^== status 0$'
	done
	like "$r: half of it is loaded: status says so" "$(part half status)" \
		'no VM can run; "kvm-onereg swap ours" completes it'
	like "... doctor, too" "$(part half doctor)" 'kvm_amd is not loaded'
	like "$r: ... and kvm is held: --dry-run" "$(part half held dry)" \
		'only the vendor module of the loaded kvm could be loaded'
	like "... exit 4" "$(part half held dry)" '^== status 4$'
	like "... for real" "$(part half held)" 'was loaded, so that VMs can run'
	like "... exit 5" "$(part half held)" '^== status 5$'
	like "... it works" "$out" '^half held: ours, works'
	like "... a swap to the set that it belongs to only needs the vendor module" "$(part half kept)" '^== status 0$'
	like "... it works" "$out" '^half kept: ours, works'
	like "$r: without CAP_SYS_MODULE: refused" "$(part no capability)" \
		'nothing was changed: this root may not load modules'
	like "... exit 3" "$(part no capability)" '^== status 3$'
	for p in disabled "disabled dry"; do
		like "$r: $p: loading modules is disabled: refused" "$(part "$p")" \
			'nothing was changed: loading modules is switched off'
		like "... exit 3" "$(part "$p")" '^== status 3$'
	done
done

# ---- CET, on the machine that has it

make_host vmx trixie
f=$(echo "$tmp/vmx/lib/modules/$K"/updates/dkms/kvm-intel.ko*)
changed_module "$f" .note.gnu.build-id 20 "$tmp/${f##*/}" && mv "$tmp/${f##*/}" "$tmp/vmx/host/newer"
run_script vmx vmx '
D=$(echo /lib/modules/*)
conf() { echo "options kvm_intel $* enable_apicv=0" >/etc/modprobe.d/kvm-onereg.conf; }
cet() { cat /sys/module/kvm_intel/parameters/cet; }
conf cet=1
modprobe kvm_intel
run on -- kvm-onereg status
run to distro -- kvm-onereg swap distro
run to ours -- kvm-onereg swap ours
run on again -- cet
conf
cp /host/newer "$(echo $D/updates/dkms/kvm-intel.ko*)"
run newer status -- kvm-onereg status
run newer -- kvm-onereg swap ours
run newer cet -- cet
conf cet=1 ept=0
run to distro 2 -- kvm-onereg swap distro
run to ours 2 -- kvm-onereg swap ours
rmmod kvm_intel; modprobe kvm_intel
run refused -- kvm-onereg status
run refused doctor -- kvm-onereg doctor
' -t 900
like "vmx: status says that CET is on" "$(part on)" 'kvm_intel.cet=Y; CPU: shadow stacks yes, IBT yes'
like "... and what asks for it" "$(part on)" '/etc/modprobe.d/kvm-onereg.conf asks for cet=1'
like "vmx: the distro's modules have no such parameter: it is dropped, with a line" "$(part to distro)" \
	'kvm_intel.cet=Y is dropped'
like "... and loaded" "$(part to distro)" '^== status 0$'
like "vmx: back to ours" "$(part to ours)" '^== status 0$'
like "... with CET, as modprobe.d has it" "$(part on again)" '^Y$'
like "vmx: the same version, rebuilt, is on disk: status shows it" "$(part newer status)" 'not what is on disk'
like "... swap ours loads it" "$(part newer)" '^== status 0$'
like "... and keeps cet=1, which is no longer in modprobe.d" "$(part newer)" 'kvm_intel.cet=Y kept'
like "... really" "$(part newer cet)" '^Y$'
like "vmx: requested, but not possible: status shows the kernel's line" "$(part refused)" \
	'guests get no CET, although kvm_intel.cet=1: it needs EPT'
like "... doctor finds it, with a command" "$(part refused doctor)" 'to fix: sed -i .* /etc/modprobe.d/'

# ---- A native kernel

make_host native native
run_script native svm '
modprobe kvm_amd
run status -- kvm-onereg status
run swap -- kvm-onereg swap ours
run doctor -- kvm-onereg doctor
rmmod kvm_amd kvm
run not loaded -- kvm-onereg doctor
run loads nothing -- kvm-onereg status
'
like "native: status" "$(part status)" "kernel's own KVM is loaded, complete"
like "... exit 0" "$(part status)" '^== status 0$'
like "native: nothing to swap" "$(part swap)" 'has ONE_REG itself: there is nothing to swap'
like "... exit 0" "$(part swap)" '^== status 0$'
like "native: doctor reports nothing" "$(part doctor)" '^No problem found'
like "... exit 0" "$(part doctor)" '^== status 0$'
like "... and does not load any by looking" "$(part loads nothing)" '^Loaded +none'
like "native, KVM not loaded: doctor reports only that" "$(part not loaded)" '^1 problem found'
like "... with the command" "$(part not loaded)" 'to fix: modprobe kvm_amd'

# The same tree, without /proc, /sys and /dev
out=$(
	chroot "$tmp/native" /usr/bin/kvm-onereg status 2>&1
	echo "== status $?"
)
like "a chroot without /sys: status gives an answer" "$out" 'unknown: there is no /sys'
like "... exit 1" "$out" '^== status 1$'
like "... doctor, too" "$(
	chroot "$tmp/native" /usr/bin/kvm-onereg doctor 2>&1
	echo "== status $?"
)" '^== status 0$'
done_testing
