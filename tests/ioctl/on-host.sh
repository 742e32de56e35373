# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases here, after tap.sh: run the programs on an emulated host, and take over their points.

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

# relay NAME FILE: each program's points become points of this case, as "NAME: PROGRAM: POINT".
# FILE is what they printed, one after the other; "# program PROGRAM" announces each.
relay() {
	local counts
	awk -v name="$1" -v n="$tests" '
		function finish() {
			if (program != "" && planned != points)
				printf "not ok %d - %s: %s: runs to its end\n", ++n, name, program
			program = ""
		}
		/^# program / { finish(); program = substr($0, 11); points = 0; planned = -1; next }
		/^(not )?ok [0-9]+ - / {
			points++
			match($0, /ok [0-9]+ - /)
			printf "%s%d - %s: %s: %s\n", substr($0, 1, RSTART + 2), ++n, name, program, substr($0, RSTART + RLENGTH)
			next
		}
		/^1\.\.0 / { print "not ok " ++n " - " name ": " program ": runs"; planned = points = 0; print "# " $0; next }
		/^1\.\.[0-9]+$/ { planned = substr($0, 4) + 0; next }
		/^#/ { print; next }
		{ print "# " $0 }
		END { finish() }
	' "$2" >"$tmp/relayed"
	cat "$tmp/relayed"
	counts=$(grep -c '^ok\|^not ok' "$tmp/relayed") || :
	tests=$((tests + counts))
	counts=$(grep -c '^not ok' "$tmp/relayed") || :
	failures=$((failures + counts))
}

# on_host NAME HOST KERNEL MODULES COMMANDS: HOST is svm or vmx, KERNEL what tests/debian/kernel knows,
# MODULES a folder or nothing for the kernel's own. COMMANDS, one a line, are BITS-PROGRAM ARGUMENT...; what
# they leave in /out is in $tmp/NAME/files.
on_host() {
	local name=$1 host=$2 kernel=$3 modules=$4 commands=$5 p
	local arguments=(-H "$host" -k "$kernel" -o "$tmp/$name" -t 900 -f "$tmp/$name/commands")

	mkdir -p "$tmp/$name/bin"
	printf '%s\n' "$commands" >"$tmp/$name/commands"
	[ -z "$modules" ] || arguments+=(-m "$modules")
	for p in 64/onereg 32/onereg 64/fuzz 32/fuzz; do
		cp "$build/tests/ioctl/$p" "$tmp/$name/bin/${p%/*}-${p#*/}"
		arguments+=(-i "$tmp/$name/bin/${p%/*}-${p#*/}")
	done
	diag "$name: $host, $kernel${modules:+, modules from $modules}"
	ok "$name: the host runs all programs and does not complain" \
		run_to "$tmp/$name/points" "$top/tests/hosts/run" "${arguments[@]}"
	relay "$name" "$tmp/$name/points"
}

run_to() {
	local to=$1
	shift
	"$@" >"$to"
}

# same_as_native HOST: everything on native and on ours; native is the judge of what is right.
same_as_native() {
	local host=$1 series release bits
	local commands='64-onereg --facts /out/facts-64
32-onereg --facts /out/facts-32
64-fuzz 5000 1
32-fuzz 5000 2'

	on_host native "$host" "$("$top/tests/debian/kernel" path native)" '' "$commands"
	for series in 6.1 6.12; do
		release=$("$top/tests/debian/kernel" release $series)
		on_host $series "$host" "$("$top/tests/debian/kernel" path $series)" "$build/$release" "$commands"
		for bits in 64 32; do
			ok "$series: same answers as native, $bits bits" "$top/tests/ioctl/compare-facts" \
				"$tmp/native/files/facts-$bits" "$tmp/$series/files/facts-$bits" "$host-$series"
		done
	done
}
