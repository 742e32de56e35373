#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# inside.sh - runs libvirt on an emulated host, and speaks TAP
#
#   inside.sh ACTION...    one after the other, with one libvirtd; ACTION is one word, or several in quotes:
#
#   own STATE     a guest of its own: starts, is saved to STATE, restored, saved again by managedsave, started from that
#                 and goes to its end. "refused", if it is the next word, reloads KVM with cet=0 in between: libvirt
#                 then starts nothing, and keeps what it has saved
#   take STATE    restore a guest that another host has saved, and let it go to its end
#   refuse STATE  on a host without CET: libvirt restores nothing of it
#   start CPU     a guest with the <cpu> of the file CPU starts
#   live          migrate a guest to a second libvirtd on this host
#   swap          KVM's modules are swapped under libvirtd, and what libvirt says they offer follows
#   keep          KVM's modules are swapped under a domain without CET, by kvm-onereg swap --keep-guests
#   keep_cet      the same under one with CET
#   plain         a guest without CET is saved, restored and started again over swaps of KVM's modules
#
# In /host: cpu.xml, the <cpu> of the guest; its program, guest.bin or plain.bin; drive, as tests/qemu has it. What the
# guest checks become checks here.
set -u

export LC_ALL=C PATH=/host:/usr/sbin:/usr/bin
log=/tmp/guest.log serial=/tmp/serial n=0
mkfifo $serial.in $serial.out
mkdir -p /out

point() { # GOOD TEXT
	local not=''
	[ "$1" = 0 ] || not='not '
	n=$((n + 1))
	echo "${not}ok $n - $2"
}
remark() {
	local text=$*
	echo "# ${text//$'\n'/$'\n# '}"
}

# try TEXT COMMAND...: the command succeeds; what it prints is $output
try() {
	local text=$1 status=0
	shift
	output=$("$@" 2>&1) || status=$?
	point $status "$text"
	[ $status = 0 ] || remark "$output"
	return $status
}
# refused TEXT REGEX COMMAND...: it fails, and says why
refused() {
	local text=$1 regex=$2
	shift 2
	if output=$("$@" 2>&1); then
		point 1 "$text"
	else
		grep -q -E -- "$regex" <<<"$output"
		point $? "$text"
	fi
	remark "$output"
}
is() { # TEXT GOT WANTED
	local bad=1
	[ "$2" != "$3" ] || bad=0
	point $bad "$1"
	[ $bad = 0 ] || remark "got $2, expected $3"
}
give_up() {
	remark "$(tail -n 20 /tmp/libvirtd.log /var/log/libvirt/qemu/guest.log 2>&1)"
	echo "Bail out! $*"
	exit 1
}

# start_libvirtd SOCKET [OPTION]...
start_libvirtd() {
	local socket=$1
	shift
	libvirtd "$@" >/tmp/libvirtd.out 2>&1 &
	libvirtd=$!
	until [ -S "$socket" ]; do
		kill -0 $libvirtd 2>/dev/null || give_up "libvirtd ended: $(cat /tmp/libvirtd.out)"
		sleep 0.1
	done
}
stop_libvirtd() {
	kill $libvirtd
	wait $libvirtd
	rm -f /run/libvirt/libvirt-sock
}

# domain CPU: $domain is the XML of a guest with the <cpu> of a file
domain=/tmp/domain.xml rom=/host/guest.bin
domain() {
	cat >$domain <<-END
		<domain type='kvm'>
		  <name>guest</name>
		  <memory unit='MiB'>4</memory>
		  <vcpu>1</vcpu>
		  <os><type arch='x86_64' machine='pc'>hvm</type><loader type='rom'>$rom</loader></os>
		$(<"$1")
		  <features><vmport state='off'/></features>
		  <clock offset='utc'><timer name='hpet' present='no'/></clock>
		  <on_reboot>destroy</on_reboot>
		  <devices>
		    <emulator>/usr/bin/qemu-system-x86_64</emulator>
		    <controller type='usb' model='none'/>
		    <memballoon model='none'/>
		    <serial type='pipe'><source path='$serial'/></serial>
		    <serial type='file'><source path='$log' append='on'/>
		      <target type='isa-debug'><model name='isa-debugcon'/></target>
		      <address type='isa' iobase='0xe9'/></serial>
		    <audio id='1' type='none'/>
		  </devices>
		</domain>
	END
}

# until_says LINE: until the guest has said it, or its end, which nothing follows
until_says() {
	local i said
	for ((i = 0; i < 600; i++)); do
		said=$'\n'$(<$log)$'\n'
		case $said in
		*$'\n'"$1"$'\n'*)
			point 0 "the guest comes to \"$1\""
			return
			;;
		*$'\n'end$'\n'*) break ;;
		esac
		sleep 0.1
	done
	point 1 "the guest comes to \"$1\""
	remark "$(cat $log)"
	return 1
}
go_on() { printf g 1<>$serial.in; }

# What the guest has checked since it started
checks() {
	local line
	while read -r line; do
		case $line in
		'ok '*) point 0 "the guest: ${line#ok }" ;;
		'not ok '*) point 1 "the guest: ${line#not ok }" ;;
		esac
	done <$log
}
to_its_end() {
	until_says 'wait CPL 0' || return
	go_on
	until_says end && checks
	try "the guest is stopped" virsh destroy guest
}
state() { virsh domstate guest 2>&1 | sed -n 1p; }
managed_save() { virsh dominfo guest | sed -n 's/^Managed save: *//p'; }
reload() { drive reload "$@" | grep -q '^not ok' && give_up "KVM does not load with $*"; }
# What it learnt of the KVM that was loaded before
forget() { touch -d "@$(($(date +%s) + ++forgotten))" /usr/lib/x86_64-linux-gnu/qemu; }
forgotten=0

# refuse_to_start WHAT REGEX COMMAND...
without_cet='missing features: cet-ss,cet-ibt|does not provide required features: cet-ss, cet-ibt'

own() { # STATE [refused]
	: >$log
	domain /host/cpu.xml
	try "the domain is defined" virsh define $domain
	try "the domain starts" virsh start guest || return
	until_says 'wait CPL 3' || return
	try "the domain is saved" virsh save guest "$1" || return
	is "the domain is shut off" "$(state)" "shut off"
	try "the domain is restored" virsh restore "$1" || return
	go_on
	until_says 'wait CPL 0' || return
	try "managedsave saves the domain" virsh managedsave guest || return
	is "the domain is shut off" "$(state)" "shut off"
	is "libvirt keeps its state" "$(managed_save)" yes
	[ "${2:-}" != refused ] || without "$1"
	try "the domain starts from its state" virsh start guest || return
	is "the state is used up" "$(managed_save)" no
	to_its_end
	try "the domain is undefined" virsh undefine guest
}

# With cet=0, when there is a state to start from
without() {
	cp "$1" /tmp/before
	reload cet=0 enable_apicv=0
	refused "cet=0, libvirtd not told: the domain does not start from its state" "$without_cet" virsh start guest
	forget
	is "domcapabilities: no CET" "$(offers)" ""
	refused "cet=0: the domain does not start from its state" "$without_cet" virsh start guest
	is "libvirt still keeps the state" "$(managed_save)" yes
	is "the domain is shut off" "$(state)" "shut off"
	refused "cet=0: a saved domain is not restored" "$without_cet" virsh restore "$1"
	try "its file is what it was" cmp "$1" /tmp/before
	reload cet=1 enable_apicv=0
	forget
	is "domcapabilities: CET" "$(offers)" "cet-ibt cet-ss"
}

# The CET features of the CPU that libvirt says the host has for guests
offers() {
	local line found=''
	while read -r line; do
		case $line in *"'require' name='cet-"*)
			line=${line#*name=\'}
			found+=${found:+ }${line%%\'*}
			;;
		esac
	done <<<"$(virsh domcapabilities)"
	echo "$found"
}

take() {
	: >$log
	try "the domain that another host saved is restored" virsh restore "$1" || return
	go_on
	to_its_end
}

refuse() {
	refused "the domain that another host saved is not restored" "$without_cet" virsh restore "$1"
	refused "there is no such domain" 'failed to get domain' virsh domstate guest
}

start() {
	: >$log
	domain "$1"
	try "a domain with this CPU starts" virsh create $domain || return
	until_says 'wait CPL 3' || return
	checks
	try "the guest is stopped" virsh destroy guest
}

# What libvirtd thinks of the CPU of the guest, and says that the host has for guests
compares() { virsh hypervisor-cpu-compare $domain; }
cet_is_there() { # TEXT
	is "$1: domcapabilities have CET" "$(offers)" "cet-ibt cet-ss"
	try "$1: hypervisor-cpu-compare takes the CPU" compares
}
cet_is_gone() { # TEXT
	is "$1: domcapabilities have no CET" "$(offers)" ""
	refused "$1: hypervisor-cpu-compare rejects the CPU" 'incompatible' compares
}
in_capabilities() { virsh capabilities | grep -c "feature name='cet-"; }

# Our modules are loaded, with cet=1
swap() {
	local host
	host=$(in_capabilities)
	domain /host/cpu.xml
	cet_is_there "ours"
	try "swap to the distro's KVM" kvm-onereg swap distro
	is "it tells of libvirt" "$(grep -c libvirt <<<"$output")" 1
	cet_is_gone "the distro's KVM"
	is "capabilities, which are those of the CPU: the same" "$(in_capabilities)" "$host"
	refused "the distro's KVM: the domain does not start" "$without_cet" virsh create $domain
	try "swap to ours" kvm-onereg swap ours
	cet_is_there "ours again"
	try "KVM is loaded with cet=0" modprobe -r kvm_intel
	modprobe kvm_intel cet=0
	remark "cet=0, libvirtd not told: domcapabilities have: $(offers)"
	stop_libvirtd
	start_libvirtd /run/libvirt/libvirt-sock
	remark "libvirtd started again: domcapabilities have: $(offers)"
	bash -c "$(</host/command)"
	cet_is_gone "cet=0, after the command of the documentation"
	modprobe -r kvm_intel
	modprobe kvm_intel
	remark "cet=1, libvirtd not told: $(compares 2>&1)" "$(virsh create $domain 2>&1)" "$(virsh destroy guest 2>&1)"
	sleep 1
	bash -c "$(</host/command)"
	cet_is_there "cet=1, after the command of the documentation"
}

# start_new WHAT CPU: a domain with this <cpu>, until its guest waits for the first time
start_new() {
	: >$log
	domain "$2"
	try "$1 is defined" virsh define $domain
	try "$1 starts" virsh start guest && until_says 'wait CPL 3'
}

plain() {
	rom=/host/plain.bin
	start_new "the domain" /host/cpu.xml || return
	refused "while it runs, swap refuses" 'qemu-system-x86.*1 VM' kvm-onereg swap distro
	try "managedsave saves the domain" virsh managedsave guest || return
	try "swap to the distro's KVM" kvm-onereg swap distro
	try "the domain starts from its state" virsh start guest || return
	go_on
	until_says 'wait CPL 0' || return
	try "the domain is saved" virsh save guest /tmp/state || return
	try "swap to ours" kvm-onereg swap ours
	try "the domain is restored" virsh restore /tmp/state || return
	to_its_end
}

# kept WHOSE STATE: swap to these modules, and the domain is what it was
kept() {
	try "swap to $1 keeps the domain" kvm-onereg swap "$1" --keep-guests || return
	is "it tells how long the domain paused, if it did" \
		"$(grep -c -E '^  guest \([0-9]+\) paused for [0-9]+ ms$' <<<"$output")" \
		"$([ "$2" = running ] && echo 1 || echo 0)"
	is "the domain is $2" "$(state)" "$2"
	is "libvirt keeps no state of it" "$(managed_save)" no
	is "no state is left" "$(echo /var/lib/kvm-onereg/guests/* /var/lib/libvirt/qemu/save/*)" \
		'/var/lib/kvm-onereg/guests/* /var/lib/libvirt/qemu/save/*'
}

# Our modules are loaded, with cet=1; /host/newer is another build of kvm-intel.ko
keep_cet() {
	start_new "a domain with CET" /host/cpu.xml || return
	refused "swap to the distro's KVM refuses" \
		'guest .*it may have CET, which the modules that are to be loaded do not offer' \
		kvm-onereg swap distro --keep-guests
	is "the domain runs on" "$(state)" running
	cp /host/newer "$(echo /lib/modules/*/updates/dkms/kvm-intel.ko*)"
	kept ours running || return
	go_on
	to_its_end
}

# Our modules are loaded
keep() {
	echo "<cpu mode='custom' match='exact' check='partial'><model fallback='forbid'>qemu64</model>
		<feature policy='disable' name='svm'/></cpu>" >/tmp/plain.xml
	rom=/host/plain.bin
	start_new "a domain without CET" /tmp/plain.xml || return
	kept distro running || return
	is "the distro's KVM is loaded" "$(ls /sys/module/kvm/version 2>/dev/null)" ''
	go_on
	until_says 'wait CPL 0' || return
	try "the domain is paused" virsh suspend guest
	kept ours paused || return
	ls /sys/module/kvm/version >/dev/null
	point $? "our KVM is loaded"
	try "the domain continues" virsh resume guest
	to_its_end
}

# Those that only one libvirtd can use
folders="/run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt"
live() {
	local d other=/tmp/other
	for d in $folders; do mkdir -p "$d" "$other$d"; done
	cp -a /var/cache/libvirt/. $other/var/cache/libvirt/
	cat /etc/libvirt/libvirtd.conf - >$other/libvirtd.conf <<-'END'
		host_uuid = "11111111-2222-3333-4444-555555555555"
	END
	unshare --mount bash -c "for d in $folders; do mount --bind $other\$d \$d; done
		exec libvirtd -p $other/pid -f $other/libvirtd.conf" >$other/out 2>&1 &
	until [ -S $other/run/libvirt/libvirt-sock ]; do
		kill -0 $! 2>/dev/null || give_up "the second libvirtd ended: $(cat $other/out)"
		sleep 0.1
	done
	: >$log
	domain /host/cpu.xml
	try "the domain starts" virsh create $domain || return
	until_says 'wait CPL 3' || return
	try "it migrates live to another libvirtd" virsh migrate --live guest \
		"qemu+unix:///system?socket=$other/run/libvirt/libvirt-sock" --migrateuri unix://$other/migration ||
		return
	refused "it has left the first one" 'failed to get domain' virsh domstate guest
	virsh() { command virsh -c "qemu+unix:///system?socket=$other/run/libvirt/libvirt-sock" "$@"; }
	is "it runs under the other one" "$(state)" running
	go_on
	to_its_end
	unset -f virsh
}

echo host >/proc/sys/kernel/hostname
start_libvirtd /run/libvirt/libvirt-sock
for action; do
	echo "# program $action"
	n=0
	$action || remark "$action: not done to its end"
	# Nothing of it may be left for the next one
	virsh destroy guest >/dev/null 2>&1
	virsh undefine --managed-save guest >/dev/null 2>&1
	echo "1..$n"
done
