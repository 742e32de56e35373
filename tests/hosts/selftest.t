#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The emulated hosts themselves: each kind of failure has its exit status, and is reported.
#
# Environment: HOSTS_KERNEL  KERNELDIR[:RELEASE] as tests/hosts/boot -k takes it; default: the root "trixie".
#
# The WARNING is a line that a program writes to the kernel log: no stock module provokes a real one. The panic is real.
# shellcheck disable=SC2154,SC2317 # tap.sh sets variables; ok calls the functions
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

here=$top/tests/hosts
misbehave=$build/hosts/bin/misbehave
[ -n "${HOSTS_KERNEL:-}" ] || HOSTS_KERNEL=$("$top/tests/debian/root" path trixie) || skip_all "no root with a kernel"
make -s -C "$here" || exit 1

# host ARGUMENT...: run a host; sets $status and $seconds, and leaves $tmp/out, $tmp/err, $tmp/o/
host() {
	local start=$SECONDS
	rm -rf "$tmp/o"
	status=0
	"$here/boot" -k "$HOSTS_KERNEL" -o "$tmp/o" "$@" \
		>"$tmp/out" 2>"$tmp/err" || status=$?
	seconds=$((SECONDS - start))
}

# ends TEXT STATUS: the host ended with STATUS
ends() { is "$1" "$status" "$2" || diag "$(cat "$tmp/err")"; }
out() { diff - "$tmp/out"; }
complained() { grep -q "$1" "$tmp/err"; }
reported() { grep -qx "$1" "$tmp/o/report"; }

commands() { printf '%s\n' "$@" >"$tmp/commands"; }

#
# What works
#
head -c 100003 /dev/urandom >"$tmp/random"
: >"$tmp/empty"
commands "misbehave say 'two words' \"it's\" a\\ b" 'misbehave kvm' \
	'misbehave copy random deep/random' 'misbehave copy empty empty' \
	'misbehave daemon'
host -H svm -f "$tmp/commands" -i "$misbehave" -i "$tmp/random" -i "$tmp/empty"
ends "svm: all commands succeed: status 0" 0
ok "stdout has the output of the commands, and nothing else; quotes work" \
	out <<<$'two words\nit\'s\na b\napi 12'
ok "a file is returned unchanged" cmp "$tmp/random" "$tmp/o/files/deep/random"
ok "an empty file is returned, too" cmp "$tmp/empty" "$tmp/o/files/empty"
ok "the kernel log is complete from its first line" \
	grep -q '^<5>\[    0.000000\] Linux version' "$tmp/o/dmesg"
ok "a process that keeps running does not stop the host from ending" reported "command 5 exit 0"

#
# Programs that fail
#
commands 'misbehave abort' 'misbehave exit 3' nosuch 'misbehave exit 0'
host -H svm -f "$tmp/commands" -i "$misbehave"
ends "a program killed by a signal: 128 and its number; the first failure counts" 134
ok "the output from before the signal is kept" grep -qx "about to abort" "$tmp/out"
ok "the exit status of a command is reported" reported "command 2 exit 3"
ok "a program that does not exist in the guest: 127 is reported" reported "command 3 exit 127"
ok "commands after a failure run" reported "command 4 exit 0"

host -H svm -- "$misbehave" exit 3
ends "the status of a program that fails is the status of the host" 3

host -H svm -t 15 -- "$misbehave" loop
ends "an endless loop: 124" 124
ok "... within the time limit" [ "$seconds" -le 18 ]
ok "... its output is there, although it never ends" out <<<"about to loop"

#
# Kernels that complain
#
host -H svm -- "$misbehave" log "WARNING: CPU: 0 PID: 1 at nothing.c:1"
ends "a WARNING: 126" 126
ok "... and the line is shown" complained "WARNING: CPU: 0 PID: 1 at nothing"
ok "... and kept in the log" grep -q "WARNING: CPU: 0 PID: 1" "$tmp/o/dmesg"

host -H svm --complaint-ok 'at nothing\.c' -- \
	"$misbehave" log "WARNING: CPU: 0 PID: 1 at nothing.c:1"
ends "a WARNING that is allowed: 0" 0

host -H svm -- "$misbehave" taint 1
ends "a taint besides O and E: 126" 126
ok "... and the taint is named" complained "taint P"

host -H svm --taint-ok P -- "$misbehave" taint 1
ends "a taint that is allowed: 0" 0

#
# Hosts that fail
#
host -H svm -t 60 -- "$misbehave" panic
ends "a panic: 125" 125
ok "... at once, not at the time limit" [ "$seconds" -lt 40 ]
ok "... and the panic's line is shown" complained "Kernel panic"

mkdir "$tmp/modules"
head -c 5000 /dev/zero >"$tmp/modules/kvm-amd.ko"
host -H svm -p kvm.nosuch=1 -p kvm-amd.nested=maybe -- "$misbehave" say running
ends "a module that does not load: 125" 125
ok "... and the module is named" complained "module kvm-amd.ko failed"
ok "... and no program runs" out </dev/null

host -H svm --module-may-fail -p kvm-amd.nested=maybe -- "$misbehave" kvm
ends "a module that may fail to load: the program runs, without /dev/kvm" 1
ok "... and says so" grep -q "/dev/kvm" "$tmp/out"

host -H svm -m "$tmp/modules" -- "$misbehave" kvm
ends "a file that is not a module: 127" 127
host -H svm -M nosuch -- "$misbehave" kvm
ends "a module that does not exist: 127" 127
host -H svm -- "$tmp/nosuch"
ends "a program that does not exist: 127" 127
host -H vmx --icount -- "$misbehave" kvm
ends "an option that is not for this host: 127" 127
host -H vmx --icount-shift 3 -- "$misbehave" kvm
ends "--icount-shift on that host: 127" 127
host -H svm --icount-shift some -- "$misbehave" kvm
ends "a shift that is not a number: 127" 127
host -H svm -c rdinit=/nosuch -t 60 -- "$misbehave" kvm
ends "a host that does not boot: 125" 125

#
# Runs side by side, and killed ones
#
mark=$tmp/killed
mkdir "$mark"
"$here/boot" -H svm -k "$HOSTS_KERNEL" -t 60 -o "$mark" -- "$misbehave" loop \
	>"$tmp/loop" 2>&1 &
victim=$!
host -H svm -- "$misbehave" kvm
ends "two runs at the same time" 0
for ((i = 0; i < 300; i++)); do
	[ ! -s "$tmp/loop" ] || break
	sleep 0.1
done
# The folder that is mounted at /mnt in its emulator's mount namespace
work=$(readlink "/proc/$victim/fd/8")
emulators() {
	# Not grep's status: processes come and go
	grep -sl "${work##*/} [^ ]*/mnt " /proc/[0-9]*/mountinfo >"$tmp/err"
	[ -s "$tmp/err" ]
}
ok "a run has an emulator" emulators
kill -KILL "$victim"
wait "$victim" 2>/dev/null
gone() {
	local i
	for ((i = 0; i < 50; i++)); do
		emulators || return 0
		sleep 0.1
	done
	return 1
}
ok "a killed run takes its emulator with it" gone

#
# Instruction counts
#
host -H svm --icount -- "$misbehave" cycles 1000
ends "icount: the run ends well" 0
cp "$tmp/o/channel" "$tmp/first"
cat "$tmp/out" >"$tmp/first.out"
host -H svm --icount -- "$misbehave" cycles 1000
ok "icount: two runs are the same, to the bit" \
	cmp "$tmp/first" "$tmp/o/channel"
host -H svm --icount-shift 3 -- "$misbehave" cycles 1000
ends "icount-shift: the run ends well" 0
cp "$tmp/o/channel" "$tmp/first"
eightfold() {
	local one eight
	one=$(cat "$tmp/first.out") eight=$(cat "$tmp/out")
	[ "$eight" -ge $((7 * one)) ] && [ "$eight" -le $((9 * one)) ]
}
ok "icount-shift: eight ticks per instruction" eightfold
host -H svm --icount-shift 3 -- "$misbehave" cycles 1000
ok "icount-shift: two runs are the same, to the bit" cmp "$tmp/first" "$tmp/o/channel"

#
# The other hosts
#
host -H vmx -- "$misbehave" kvm
ends "vmx: boots and has KVM" 0
ok "... and prints its output" out <<<"api 12"
PACKAGED_BOCHS=y host -H vmx -- "$misbehave" kvm
ends "vmx with the package's own Bochs: boots and has KVM" 0
ok "... and prints its output" out <<<"api 12"
host -H svm-cet -- "$misbehave" kvm
ends "svm-cet: boots and has KVM" 0
ok "... and prints its output" out <<<"api 12"
PACKAGED_BOCHS=y host -H svm-cet -- "$misbehave" kvm
ends "svm-cet with the package's own Bochs: 127" 127
ok "... and says why" complained 'the packaged Bochs has no svm-cet host'
BOCHS=$tmp/nosuch host -H svm-cet -- "$misbehave" kvm
ends "a Bochs that does not exist: 127" 127
host -H svm-cet --cpus 2 -- "$misbehave" kvm
ends "svm-cet: boots with two CPUs and has KVM" 0
not_built() { [ -z "$(BUILD=$tmp/nothing "$here/bochs" path)" ]; }
ok "a Bochs that was not built has no path" not_built
wrong_use() {
	"$here/bochs" >"$tmp/out" 2>"$tmp/err"
	[ $? = 2 ]
}
ok "bochs without a command: 2" wrong_use

done_testing
