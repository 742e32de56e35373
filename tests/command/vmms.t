#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg status and doctor name the running VMMs that do not save CET state, and those for which this is unknown.
# The processes are made up; their programs are Debian's QEMUs and made-up files. None of them is started.
# needs: root-qemu root-emulators
# shellcheck disable=SC2154,SC2016 # made-up.sh sets the variables; Perl in quotes
. "$(dirname "$0")/made-up.sh"

newer=$(cat "$build/roots/qemu.path")/usr/bin/qemu-system-x86_64
older=$(cat "$build/roots/emulators.path")/usr/bin/qemu-system-x86_64
ok "there are two QEMUs" test -x "$newer" -a -x "$older"

# process PID COMMAND PROGRAM [WORD]...: a process that has one VM and runs PROGRAM
process() {
	local pid=$1 command=$2 program=$3
	shift 3
	vm "$pid" "$command" 1 1 "$command" "$@"
	ln -sfn "$program" "$R/proc/$pid/exe"
}
# program NAME TEXT: a made-up file that has TEXT behind 1 MiB of other bytes, which end in the middle of a page
program() {
	mkdir -p "$tmp/programs"
	{
		head -c 1048570 /dev/zero
		printf '%s\0more' "$2"
	} >"$tmp/programs/$1"
	echo "$tmp/programs/$1"
}
with_cet() {
	host
	mkdir -p "$R/sys/module/kvm_amd/parameters"
	echo "$1" >"$R/sys/module/kvm_amd/parameters/cet"
	put /etc/modprobe.d/kvm-onereg.conf "options kvm_amd cet=1"
}
about() { # PID: what status says of a process, in words for JSON
	json 'my ($v) = grep { $_->{pid} == '"$1"' } @{$j->{cet}{vmms}}; join "|", map { ref $_ ? ($_ ? "yes" : "no") : $_ // "?" }
		@$v{qw(vmm version saves_cet loses_cet)}'
}
version_of() { sed -n 's/.*QEMU emulator version \([0-9.]*\) .*/\1/p' <(strings -n 20 "$1") | head -n 1; }

with_cet Y
process 11 qemu-system-x86 "$newer" -cpu host
process 12 qemu-system-x86 "$older" -name guest=web1 -cpu host
process 13 qemu-system-x86 "$older" -name guest=web2 -cpu host,migratable=off
process 14 cloud-hyperviso "$(program cloud-hypervisor x)"
process 15 fc_vcpu "$(program firecracker x)"
process 16 mine "$(program mine x)"
process 17 qemu-system-x86 "$(program qemu-system-x86_64 'QEMU emulator version 12.0 (own)')"
process 18 qemu-system-x86 "$(program 'qemu-system-x86_64 (deleted)' 'QEMU emulator version 9.2.1')" \
	-cpu host,-migratable
process 19 qemu-kvm "$(program qemu-kvm 'nothing')"
process 20 kvm "$tmp/programs/gone"
vm 21 libvirtd 0 0 libvirtd
onereg status --json
is "QEMU 11 saves all" "$(about 11)" "QEMU|$(version_of "$newer")|yes|no"
is "an older one does not" "$(about 12)" "QEMU|$(version_of "$older")|no|no"
is "... and its guest has CET, with migratable=off" "$(about 13)" "QEMU|$(version_of "$older")|no|yes"
is "Cloud Hypervisor" "$(about 14)" "Cloud Hypervisor|?|no|yes"
is "Firecracker, by its program, whatever its thread is called" "$(about 15)" "Firecracker|?|no|yes"
is "one that is in no table" "$(about 16)" "mine|?|?|no"
is "a QEMU of no package" "$(about 17)" "QEMU|12.0|yes|no"
is "one that was deleted since" "$(about 18)" "QEMU|9.2.1|no|yes"
is "one without a version" "$(about 19)" "QEMU|?|?|no"
is "a program that cannot be read" "$(about 20)" "gone|?|?|no"
is "a process without a VM is none" "$(json 'scalar grep { $_->{pid} == 21 } @{$j->{cet}{vmms}}')" 0

onereg status
text=$(tr -s '\n ' ' ' <<<"$output")
like "status: a VMM that loses state" "$text" \
	"13 qemu-system-x86 \(web2\): 1 VM, 1 vCPU QEMU [0-9.]+ does not save the shadow stack pointer \(SSP\) and the MSRs of CET 14 "
like "... whose guest has none" "$text" "CET; its guest has no CET, as this QEMU does not know it 13 "
like "... that is not known" "$text" 'mine: not known whether it saves the state of CET'
like "... and one that saves all" "$text" '11 qemu-system-x86: 1 VM, 1 vCPU 12 '
is "... in 80 columns" "$(awk 'length > 80' <<<"$output")" ""

onereg doctor --json
is "doctor: those whose guests lose CET" \
	"$(json 'join " ", sort map { $_->{problem} =~ /^(\d+)/ } grep { $_->{code} eq "vmm-loses-cet" } @{$j->{problems}}')" \
	"13 14 15 18"
like "... what to do" "$(json '(grep { $_->{code} eq "vmm-loses-cet" } @{$j->{problems}})[0]{fix}')" \
	'shut this guest down'
is "... and remarks on the others" \
	"$(json 'join " ", sort map { ($_->{remark} // $_->{problem} // $_) =~ /^(\d+) / } @{$j->{remarks}}')" \
	"12 16 19 20"

with_cet N
process 14 cloud-hyperviso "$tmp/programs/cloud-hypervisor"
onereg status --json
is "without CET, nothing can be lost" "$(json '$j->{cet}{vmms}')" null
onereg status
is "... and status does not tell" "$(grep -c 'does not save' <<<"$output")" 0
onereg doctor --json
is "... nor doctor" "$(json 'scalar grep { $_->{code} eq "vmm-loses-cet" } @{$j->{problems}}')" 0

# The page has a row for each of them
table=$(sed -n '/^## VMMs$/,/^## /p' "$top/docs/cet-migration.md")
sed -n '/known_vmms\[\] = {/,/^};/p' "$top/tools/kvm-onereg/model/vmm.c" | grep -o '{ "[^"]*", "[^"]*"' |
	sed 's/.*, "//; s/"//' | sort -u >"$tmp/names"
ok "the table has VMMs" test "$(wc -l <"$tmp/names")" -ge 3
while read -r name; do
	ok "docs/cet-migration.md: $name" grep -q "^| $name" <<<"$table"
done <"$tmp/names"
done_testing
