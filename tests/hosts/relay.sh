# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For cases, after tap.sh: run programs that print TAP on an emulated host, and report their checks.

# shellcheck disable=SC2154 # tap.sh sets tests, failures, tmp and top

# relay NAME FILE [DIRECTIONS]: each program's checks become checks of this case, as "NAME: PROGRAM: CHECK". FILE has
# the programs' output, one after another, each after a line "# program PROGRAM". DIRECTIONS is a file with one line for
# each program: empty, or a direction (run_host). For each direction, the end of the output says how many checks passed.
relay() {
	local failed
	awk -v name="$1" -v n="$tests" -v counts="$tmp/relayed" -v directions="${3:-/dev/null}" '
		BEGIN { while ((getline line <directions) > 0) direction[++wanted] = line }
		function finish() {
			if (program != "" && planned != points) {
				printf "not ok %d - %s: %s: runs to its end\n", ++n, name, program
				points++
				failed++
			}
			passed[programs] = good
			made[programs] = points
			program = ""
		}
		/^# program / { finish(); program = substr($0, 11); programs++; good = points = 0; planned = -1; next }
		/^(not )?ok [0-9]+ - / {
			points++
			good += /^ok/
			failed += /^not/
			match($0, /ok [0-9]+ - /)
			printf "%s%d - %s: %s: %s\n", substr($0, 1, RSTART + 2), ++n, name, program, substr($0, RSTART + RLENGTH)
			next
		}
		# Skipped, or without a check.
		/^1\.\.0( |$)/ {
			print "not ok " ++n " - " name ": " program ": runs"
			failed++
			print "# " $0
			planned = points = 1
			next
		}
		/^1\.\.[0-9]+$/ { planned = substr($0, 4) + 0; next }
		/^#/ { print; next }
		{ print "# " $0 }
		END {
			finish()
			print n, failed + 0 >counts
			for (i = 1; i <= wanted; i++)
				if (direction[i] == "")
					continue
				else if (programs == wanted)
					print "# direction: " direction[i] " " passed[i] " of " made[i]
				else
					print "# direction: " direction[i] " 0 of 1: some programs did not start"
		}
	' "$2" || {
		report 1 "$1: the output of the programs is read"
		return
	}
	read -r tests failed <"$tmp/relayed"
	failures=$((failures + failed))
}

run_to() {
	local to=$1
	shift
	"$@" >"$to"
}

# cet_parameter HOST: the parameter of its vendor's module that offers guests CET
cet_parameter() {
	case $1 in
	vmx) echo kvm_intel.cet ;;
	*) echo kvm_amd.cet ;;
	esac
}

# for_series SERIES COMMANDS: adapt COMMANDS, one per line, to the kernel of the series: a 6.1 kernel does not use CET
# itself
for_series() {
	case $1 in
	6.1)
		sed -E 's/^(isolation|life|hostile-[a-z]+) /&--host-without-cet /
			s/^(hypervisor (no-)?cet)/\1 --host-s-cet 0/' <<<"$2"
		;;
	*) printf '%s\n' "$2" ;;
	esac
}

# distro_module KERNEL NAME FILE: write the module of the kernel's package to FILE, unpacked, and without debug
# information, BTF and signature, which would only take time to load
distro_module() {
	local from
	from=$(find "$1/" -name "$2.ko*" -path '*/kvm/*')
	case $from in
	*.xz) xz -dc "$from" >"$3" ;;
	*) cp "$from" "$3" ;;
	esac
	objcopy --strip-debug -R .BTF -R .BTF.base "$3"
}

# directions_to KERNEL COMMANDS: print COMMANDS for run_host. The input is the same for each kernel: its lines can end
# with "#direction FROM VMM RESULT", where FROM can be "here"
directions_to() {
	sed "s/ #direction here / #direction $1 /; s/ #direction /&$1 /" <<<"$2"
}

# run_host NAME HOST KERNEL MODULES COMMANDS [OPTION]...: HOST is that of tests/hosts/boot, KERNEL a folder made by
# tests/debian/kernel, MODULES a folder, or empty for the kernel's own. COMMANDS, one per line, are PROGRAM ARGUMENT...;
# what they leave in /out is in $tmp/NAME/files. OPTIONS are those of tests/hosts/boot, at least -i for each program.
#
# A command can end with "#direction TO FROM VMM RESULT": it moves a guest to the kernel TO from the kernel FROM (each
# native, 6.12 or 6.1) under VMM (small, QEMU or two-vCPUs), and there the guest must be RESULT (moved or refused).
# tests/migration-table counts these checks.
run_host() {
	local name=$1 host=$2 kernel=$3 modules=$4 commands=$5
	local arguments=(-H "$host" -k "$kernel" -o "$tmp/$name" -t 900 -f "$tmp/$name/commands")

	shift 5
	mkdir -p "$tmp/$name"
	printf '%s\n' "$commands" | sed 's/ *#direction .*//' >"$tmp/$name/commands"
	# "module" makes no checks.
	sed -E '/^(module .*)?$/d; s/^.* #direction /#/; s/^[^#].*//; s/^#//' <<<"$commands" >"$tmp/$name/directions"
	[ -z "$modules" ] || arguments+=(-m "$modules")
	arguments+=("$@")
	diag "$name: $host, $kernel${modules:+, modules from $modules}$(
		sed 's/ *-i [^ ]*//g; s/^ *//; s/^./: &/' <<<"$*"
	)"
	ok "$name: the host runs all programs and does not complain" \
		run_to "$tmp/$name/points" "$top/tests/hosts/boot" "${arguments[@]}"
	relay "$name" "$tmp/$name/points" "$tmp/$name/directions"
}
