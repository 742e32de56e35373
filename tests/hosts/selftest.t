#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The emulated hosts themselves: each kind of failure is recognized as what it is.
#
# Environment: HOSTS_KERNEL  KERNELDIR[:RELEASE] as run -k takes it; default: the
# root "trixie".
#
# The WARNING is a line that a program writes to the kernel log: no stock module
# provokes a real one. The panic is real.
#
# shellcheck disable=SC2317 # ok calls the functions
set -u

here=$(cd "$(dirname "$0")" && pwd)
misbehave=$here/../../build/hosts/bin/misbehave
if [ -z "${HOSTS_KERNEL:-}" ]; then
	HOSTS_KERNEL=$("$here/../debian/root" path trixie) || {
		echo "1..0 # SKIP no root with a kernel"
		exit 77
	}
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
make -s -C "$here" || exit 1

count=0 failed=0
# ok NAME COMMAND...: a test that passes when COMMAND does
ok() {
	local name=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count - $name"
	else
		echo "not ok $count - $name"
		failed=1
		sed 's/^/# /' "$dir/err"
	fi
}

# host ARGUMENT...: run a host; sets $status and $seconds, and leaves $dir/out, $dir/err, $dir/o/
host() {
	local start=$SECONDS
	rm -rf "$dir/o"
	status=0
	"$here/run" -k "$HOSTS_KERNEL" -o "$dir/o" "$@" \
		>"$dir/out" 2>"$dir/err" || status=$?
	seconds=$((SECONDS - start))
}

is() { [ "$status" = "$1" ] || {
	echo "# status $status"
	return 1
}; }
out() { diff - "$dir/out"; }
complained() { grep -q "$1" "$dir/err"; }
reported() { grep -qx "$1" "$dir/o/report"; }

commands() { printf '%s\n' "$@" >"$dir/commands"; }

#
# What works
#
head -c 100003 /dev/urandom >"$dir/random"
: >"$dir/empty"
commands "misbehave say 'two words' \"it's\" a\\ b" 'misbehave kvm' \
	'misbehave copy random deep/random' 'misbehave copy empty empty' \
	'misbehave daemon'
host -H svm -f "$dir/commands" -i "$misbehave" -i "$dir/random" -i "$dir/empty"
ok "svm: status 0 when all commands succeed" is 0
ok "stdout is their output only; quotes work" \
	out <<<$'two words\nit\'s\na b\napi 12'
ok "files are returned unchanged" cmp "$dir/random" "$dir/o/files/deep/random"
ok "an empty one too" cmp "$dir/empty" "$dir/o/files/empty"
ok "the kernel log is there from its first line" \
	grep -q '^<5>\[    0.000000\] Linux version' "$dir/o/dmesg"
ok "a process that keeps running does not matter" reported "command 5 exit 0"

#
# Programs that fail
#
commands 'misbehave abort' 'misbehave exit 3' nosuch 'misbehave exit 0'
host -H svm -f "$dir/commands" -i "$misbehave"
ok "killed by a signal: 128 and its number; the first failure counts" is 134
ok "its earlier output is kept" grep -qx "about to abort" "$dir/out"
ok "a status is reported" reported "command 2 exit 3"
ok "so is a program that does not exist" reported "command 3 exit 127"
ok "later commands run" reported "command 4 exit 0"

host -H svm -- "$misbehave" exit 3
ok "a program's own status" is 3

host -H svm -t 15 -- "$misbehave" loop
ok "an endless loop: 124" is 124
ok "in the time allowed" [ "$seconds" -le 18 ]
ok "its output appeared immediately" out <<<"about to loop"

#
# Kernels that complain
#
host -H svm -- "$misbehave" log "WARNING: CPU: 0 PID: 1 at nothing.c:1"
ok "a WARNING: 126" is 126
ok "and the line is shown" complained "WARNING: CPU: 0 PID: 1 at nothing"
ok "and kept" grep -q "WARNING: CPU: 0 PID: 1" "$dir/o/dmesg"

host -H svm --complaint-ok 'at nothing\.c' -- \
	"$misbehave" log "WARNING: CPU: 0 PID: 1 at nothing.c:1"
ok "except if it is allowed" is 0

host -H svm -- "$misbehave" taint 1
ok "a taint besides O and E: 126" is 126
ok "and it is named" complained "taint P"

host -H svm --taint-ok P -- "$misbehave" taint 1
ok "except if it is allowed" is 0

#
# Hosts that fail
#
host -H svm -t 60 -- "$misbehave" panic
ok "a panic: 125" is 125
ok "at once, not at the time-out" [ "$seconds" -lt 40 ]
ok "and its line is shown" complained "Kernel panic"

mkdir "$dir/modules"
head -c 5000 /dev/zero >"$dir/modules/kvm-amd.ko"
host -H svm -p kvm.nosuch=1 -p kvm-amd.nested=maybe -- "$misbehave" say running
ok "a module that does not load: 125" is 125
ok "and it is named" complained "module kvm-amd.ko failed"
ok "and nothing runs" out </dev/null

host -H svm --module-may-fail -p kvm-amd.nested=maybe -- "$misbehave" kvm
ok "except if it is allowed; then the program has no /dev/kvm" is 1
ok "which says so" grep -q "/dev/kvm" "$dir/out"

host -H svm -m "$dir/modules" -- "$misbehave" kvm
ok "a file that is not a module: 127" is 127
host -H svm -M nosuch -- "$misbehave" kvm
ok "a module that does not exist: 127" is 127
host -H svm -- "$dir/nosuch"
ok "a program that does not exist: 127" is 127
host -H vmx --icount -- "$misbehave" kvm
ok "a wrong option: 127" is 127
host -H vmx --icount-shift 3 -- "$misbehave" kvm
ok "the same for --icount-shift: 127" is 127
host -H svm --icount-shift some -- "$misbehave" kvm
ok "a shift that is not a number: 127" is 127
host -H svm -c rdinit=/nosuch -t 60 -- "$misbehave" kvm
ok "a host that does not boot: 125" is 125

#
# Runs side by side, and killed ones
#
mark=$dir/killed
mkdir "$mark"
"$here/run" -H svm -k "$HOSTS_KERNEL" -t 60 -o "$mark" -- "$misbehave" loop \
	>"$dir/loop" 2>&1 &
victim=$!
host -H svm -- "$misbehave" kvm
ok "two runs at once" is 0
for ((i = 0; i < 300; i++)); do
	[ ! -s "$dir/loop" ] || break
	sleep 0.1
done
# The folder that is mounted at /mnt/work in its emulator's mount namespace
work=$(readlink "/proc/$victim/fd/8")
emulators() {
	# Not grep's status: processes come and go
	grep -sl "${work##*/} [^ ]*/mnt/work " /proc/[0-9]*/mountinfo >"$dir/err"
	[ -s "$dir/err" ]
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
ok "icount: a run" is 0
cp "$dir/o/channel" "$dir/first"
cat "$dir/out" >"$dir/first.out"
host -H svm --icount -- "$misbehave" cycles 1000
ok "icount: two runs are the same, to the bit" \
	cmp "$dir/first" "$dir/o/channel"
host -H svm --icount-shift 3 -- "$misbehave" cycles 1000
ok "icount-shift: a run" is 0
cp "$dir/o/channel" "$dir/first"
eightfold() {
	local one eight
	one=$(cat "$dir/first.out") eight=$(cat "$dir/out")
	[ "$eight" -ge $((7 * one)) ] && [ "$eight" -le $((9 * one)) ]
}
ok "icount-shift: eight ticks per instruction" eightfold
host -H svm --icount-shift 3 -- "$misbehave" cycles 1000
ok "icount-shift: two runs are the same, to the bit" cmp "$dir/first" "$dir/o/channel"

#
# The other hosts
#
host -H vmx -- "$misbehave" kvm
ok "vmx: boots and has KVM" is 0
ok "vmx: output" out <<<"api 12"
PACKAGED_BOCHS=y host -H vmx -- "$misbehave" kvm
ok "vmx with the package's own Bochs: boots and has KVM" is 0
ok "vmx with the package's own Bochs: output" out <<<"api 12"
host -H svm-cet -- "$misbehave" kvm
ok "svm-cet: boots and has KVM" is 0
ok "svm-cet: output" out <<<"api 12"
PACKAGED_BOCHS=y host -H svm-cet -- "$misbehave" kvm
ok "svm-cet with the package's own Bochs: 127" is 127
ok "which says why" complained 'the packaged Bochs has no svm-cet host'
BOCHS=$dir/nosuch host -H svm-cet -- "$misbehave" kvm
ok "a Bochs that does not exist: 127" is 127
host -H svm-cet --cpus 2 -- "$misbehave" kvm
ok "svm-cet: boots with two CPUs and has KVM" is 0
not_built() { [ -z "$(BUILD=$dir/nothing "$here/bochs" path)" ]; }
ok "a Bochs that was not built has no path" not_built
wrong_use() {
	"$here/bochs" >"$dir/out" 2>"$dir/err"
	[ $? = 2 ]
}
ok "bochs without a command: 2" wrong_use

echo "1..$count"
exit $failed
