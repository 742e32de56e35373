# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The kernel's KVM selftests on one emulated host: with a native kernel, then with each kernel with the distro's modules
# and with ours. To be sourced with one argument, svm or vmx.
#
# A test, and each of its "ok" lines, that passes with the distro's modules must pass with ours. A test that fails or
# skips with both says nothing about our modules, and is reported as a skip, with the reason: the tests are those of the
# native kernel, and need features that older ones do not have.
#
# Environment: SELFTESTS, the group of the file "tests" to run, check (default) or long; SELFTESTS_KERNELS,
# default "6.1 6.12".
host=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

# The test that calls ONE_REG; the time limit of a test, in seconds of the host's clock, which on vmx take half a minute
# or more each; and the time limit of a boot, in real seconds. The clock of svm counts instructions, so that the times
# that a test reads do not depend on the load of this machine. An instruction counts as 8 ns, which is about the real
# time: with 1 ns, tests that are busy for seconds would take ten times as long.
case $host in
svm) one_reg_test=msrs_test_tcg limit=60 wall=900 clock=(--icount-shift 3) ;;
vmx) one_reg_test=msrs_test limit=2 wall=900 clock=() ;;
esac
group=${SELFTESTS:-check}
if [ "$group" = long ]; then
	limit=$((limit * 2)) wall=7200
fi

programs=$("$here/build") || {
	echo "Bail out! no selftests"
	exit 1
}
mapfile -t list < <(awk -v host="$host" -v group="$group" \
	'!/^(#|$)/ && ($2 == host || $2 == "both") && $3 == group { print $1 }' "$here/tests")
# This test is run in each group, because it tests our modules.
[[ " ${list[*]} " = *" $one_reg_test "* ]] || list=("$one_reg_test" "${list[@]}")

# boot NAME KERNEL OPTIONS... -- PROGRAM...: run the programs; set $status, and write $tmp/NAME/{out,err}
boot() {
	local name=$1 kernel options=() files=() p
	mkdir -p "$tmp/$name"
	: >"$tmp/$name/out"
	status=127
	kernel=$("$top/tests/debian/kernel" path "$2") || return
	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	for p; do
		files+=(-i "$programs/$p")
		echo "counted $limit $p"
	done >"$tmp/$name/commands"
	status=0
	"$top/tests/hosts/boot" -H "$host" -k "$kernel" -t "$wall" -i "$programs/counted" "${files[@]}" \
		-f "$tmp/$name/commands" -o "$tmp/$name" ${clock[@]+"${clock[@]}"} ${options[@]+"${options[@]}"} \
		>"$tmp/$name/out" 2>"$tmp/$name/err" || status=$?
	# Tests print through a terminal; ignore its line ends.
	sed -i 's/\r$//' "$tmp/$name/out"
	diag "$name: $(grep -c '^counted: ' "$tmp/$name/out") tests, status $status"
	sed 's/^/#   /' "$tmp/$name/err"
}

# verdict NAME PROGRAM: pass, skip, fail N, signal N, timeout, or missing
verdict() {
	local v
	v=$(sed -n "s/^counted: $2: \\([^;]*\\);.*/\\1/p" "$tmp/$1/out")
	echo "${v:-missing}"
}

# calls NAME PROGRAM: the ONE_REG calls that the program made
calls() {
	sed -n "s/^counted: $2: [^;]*; onereg-calls: \\([^;]*\\);.*/\\1/p" "$tmp/$1/out"
}

# output NAME PROGRAM: the program's output
output() {
	awk -v end="counted: $2: " 'index($0, end) == 1 { printf "%s", text; exit }
		/^counted: / { text = ""; next }
		{ text = text $0 "\n" }' "$tmp/$1/out"
}

# reason NAME PROGRAM: why it failed or skipped, in one line
reason() {
	output "$1" "$2" | awk '/Test Assertion Failure/ { getline; where = $1; getline; getline; print where $0; exit }
		/^1\.\.0 # S|# SKIP|^# FAILED|, skipping test/ { print; exit }' | tr -s ' \t' ' '
}

# passed NAME PROGRAM: the names of the subtests that passed
passed() {
	output "$1" "$2" | sed -n 's/^ok [0-9]* *//p' | grep -v '# SKIP' | sort
}

# complaints NAME: what the kernel complained about in this boot (tests/hosts/boot prints it last), without what differs
# from boot to boot, or between two builds of a module: times, CPUs, PIDs, addresses, offsets, folders, line numbers
complaints() {
	sed -n -E '/^# the kernel complained/,${
		s/^# //
		s/^(<[0-9]+>)?\[ *[0-9]+\.[0-9]+\] *//
		s/\<(CPU|PID|pid)([:#]? *)[0-9]+/\1\2N/g
		s/\<(0x)?[0-9a-f]{9,16}\>/ADDRESS/g
		s/\+0x[0-9a-f]+\/0x[0-9a-f]+//g
		s/(^| )[^ ]*\/([^ \/]+\.[ch]:)/\1\2/g
		s/:[0-9]+/:N/g
		s/for [0-9]+s!/for N s!/
		p
	}' "$tmp/$1/err" | sort -u | grep . || echo "$1: no complaint found"
}

# Whether the last host ran to its end. The caller checks whether the kernel complained (126).
ended() {
	[ "$status" = 0 ] || [ "$status" = 126 ]
}

# compare KERNEL: compare the results with the distro's modules and with ours
compare() {
	local kernel=$1 p distro
	boot "$1-distro" "$1" -- "${list[@]}"
	ok "$1: the host with the distro's modules runs to its end" ended
	distro=$status
	boot "$1-ours" "$1" -m "$build/$("$top/tests/debian/kernel" release "$1")" -- "${list[@]}"
	ok "$1: the host with our modules runs to its end" ended
	if [ "$distro" = 126 ] && [ "$status" = 126 ]; then
		is "$1: the kernel complains about nothing else than with the distro's modules" \
			"$(comm -13 <(complaints "$1-distro") <(complaints "$1-ours"))" ""
	else
		is "$1: the kernel does not complain with our modules" "$status" 0
	fi

	for p in "${list[@]}"; do
		no_less "$kernel" "$kernel-distro" "$kernel-ours" "$p"
	done

	# If both pass, only the counts show which calls were made.
	is "$kernel $one_reg_test: passes with the distro's modules, without ONE_REG" \
		"$(verdict "$kernel-distro" "$one_reg_test"), $(calls "$kernel-distro" "$one_reg_test")" \
		"pass, get 0/0 set 0/0 list 0/0"
	if [ "$host" = vmx ]; then
		# On this host, the native kernel has CET, and therefore more MSRs.
		like "$kernel $one_reg_test: reads, writes and lists registers with our modules" \
			"$(calls "$kernel-ours" "$one_reg_test")" \
			'^get [1-9][0-9]+/[0-9]+ set [1-9][0-9]+/[0-9]+ list ([1-9])/\1$'
	else
		is "$kernel $one_reg_test: makes the same ONE_REG calls as on native with our modules" \
			"$(calls "$kernel-ours" "$one_reg_test")" "$native_calls"
	fi
}

# no_less NAME REFERENCE OURS PROGRAM: check that what passes in the boot REFERENCE passes in the boot OURS
no_less() {
	local reference ours lost p=$4
	reference=$(verdict "$2" "$p") ours=$(verdict "$3" "$p")
	lost=$(comm -23 <(passed "$2" "$p") <(passed "$3" "$p"))
	if [ -n "$lost" ]; then
		report 1 "$1 $p: no subtest is lost" || diag "only in $2: $lost" "$(output "$3" "$p")"
	elif [ "$ours" = pass ]; then
		report 0 "$1 $p: passes$([ "$reference" = pass ] || echo ", in $2: $reference")"
	elif [ "$ours" = "$reference" ] && [ "$ours" != missing ]; then
		skip "$1 $p" "in $2, too: $ours: $(reason "$3" "$p")"
	else
		report 1 "$1 $p: has no worse result than in $2" || diag "$2: $reference, $3: $ours" \
			"$(output "$3" "$p")"
	fi
}

# compare_cet KERNEL: run all tests with kvm_intel.cet=1. Tests that pass without it must pass with it, and the test
# that calls ONE_REG must make the same calls as on native, also for the MSRs of CET. Call it after compare KERNEL.
compare_cet() {
	local p
	boot "$1-cet" "$1" -m "$build/$("$top/tests/debian/kernel" release "$1")" -p kvm_intel.cet=1 -- "${list[@]}"
	ok "$1: the host with CET runs to its end" ended
	is "$1: the kernel does not complain with CET" "$status" 0
	for p in "${list[@]}"; do
		no_less "$1 with CET" "$1-ours" "$1-cet" "$p"
	done
	is "$1 with CET $one_reg_test: makes the same ONE_REG calls as on native" \
		"$(calls "$1-cet" "$one_reg_test")" "$native_calls"
	# The lines are "get N/N set N/N list N/N"
	# shellcheck disable=SC2016 # awk expands it
	ok "$1 with CET $one_reg_test: makes more of them than without" awk -F '[ /]' '{ n[NR] = $2; m[NR] = $5 }
		END { exit !(n[1] > 0 && n[2] > n[1] && m[2] > m[1]) }' \
		<(
			calls "$1-ours" "$one_reg_test"
			calls "$1-cet" "$one_reg_test"
		)
}

# native NAME OPTIONS...: check that the test that calls ONE_REG passes on native; set $native_calls
native() {
	local name=$1
	shift
	boot "$name" native "$@" -- "$one_reg_test"
	is "$name: the host runs to its end" "$status" 0
	is "$name: $one_reg_test passes" "$(verdict "$name" "$one_reg_test")" pass ||
		diag "$(output "$name" "$one_reg_test")"
	native_calls=$(calls "$name" "$one_reg_test")
	like "$name: $one_reg_test reads and writes with ONE_REG" "$native_calls" 'get [1-9][0-9]*/.* set [1-9][0-9]*/'
	diag "$name: $one_reg_test: $native_calls"
}

compare_all() {
	local kernel
	# shellcheck disable=SC2086 # a list
	for kernel in ${SELFTESTS_KERNELS:-$("$top/tests/debian/kernel" series)}; do
		compare "$kernel"
	done
}
