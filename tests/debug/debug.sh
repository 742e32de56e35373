# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For cases on debug kernels; source it after tap.sh.
#
# shellcheck disable=SC2154,SC2034 # tap.sh sets build, tmp and top; cases use what is set here

# shellcheck source=tests/hosts/relay.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/relay.sh"

# That line is not a complaint.
options=(-r 768 -t 3000 --complaint-ok 'RCU lockdep checking is enabled')
# Options of a host with CET. The tests write to MSRs, which taints (S).
with_cet=(-p kvm_intel.cet=1 -p kvm.force_emulation_prefix=1 -M msr --taint-ok S)

mkdir "$tmp/bin"

# program NAME: print the path of a program of tests/ioctl, as BITS-NAME, or of tests/guest
program() {
	local f
	case $1 in
	64-* | 32-*)
		f=$tmp/bin/$1
		cp "$build/tests/ioctl/${1/-//}" "$f"
		;;
	*) f=$build/tests/guest/$1 ;;
	esac
	echo "$f"
}

# on NAME HOST KERNEL MODULES COMMANDS [OPTION]...: like run_host, on a debug kernel; the programs are added
# automatically. $DEBUG_HOSTS, if set, is an extended regular expression: only hosts whose NAME matches run.
on() {
	local name=$1 host=$2 kernel=$3 modules=$4 commands=$5 p programs=()
	shift 5
	[[ $name =~ ${DEBUG_HOSTS:-.} ]] || return 0
	while read -r p; do
		programs+=(-i "$(program "$p")")
	done < <(awk '{ print $1 }' <<<"$commands" | sort -u)
	diag "$name:" "$commands"
	run_host "$name" "$host" "$kernel" "$modules" "$commands" "${programs[@]}" "${options[@]}" "$@"
}
