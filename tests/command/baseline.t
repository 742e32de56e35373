#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg preflight --baseline finds a CPU for the files of emulated hosts: with it, Debian's QEMU 11 starts on each
# host, as -cpu and as libvirt makes it from <cpu>, and the guest has exactly its features. On the Intel hosts, libvirt
# starts a domain with <cpu>. QEMU does not start on a host that lacks a feature of the CPU.
# needs: emulated-hosts root-qemu root-emulators
# shellcheck disable=SC2016 # Perl in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/hosts/relay.sh
. "$top/tests/hosts/relay.sh"

command_tree=$("$here/tree") || skip_all "the command cannot be built"
# shellcheck disable=SC2317 # ok calls it
preflight() { # FILE OPTION...: JSON into a file
	local to=$1
	shift
	"$command_tree/lib64/ld-linux-x86-64.so.2" --library-path "$command_tree/usr/lib/x86_64-linux-gnu" \
		"$command_tree/usr/bin/kvm-onereg" preflight --json "$@" >"$to"
}

# boot NAME COMMANDS [OPTION]...: boot a host such as vmx-6.12, and run COMMANDS; what they leave in /out is in
# $tmp/boot/NAME
boot() {
	local name=$1 series=${1##*-} options=() vendor=kvm_intel
	printf '%s\n' "$2" >"$tmp/commands"
	shift 2
	[[ $name = vmx-* ]] || vendor=kvm_amd
	[ "$series" = native ] ||
		options=(-m "$build/$("$top/tests/debian/kernel" release "$series")" -p "$vendor.cet=1")
	rm -rf "${tmp:?}/boot/$name"
	ok "$name: the host runs to its end" "$top/tests/hosts/boot" -H "${name%-*}" \
		-k "$("$top/tests/debian/kernel" path "$series")" "${options[@]}" -o "$tmp/host" -f "$tmp/commands" "$@"
	mkdir -p "$tmp/boot"
	mv "$tmp/host/files" "$tmp/boot/$name"
}

intel=(vmx-native vmx-6.12 vmx-6.1) amd=(svm-6.12 svm-cet-native svm-cet-6.1)
for host in "${intel[@]}" "${amd[@]}"; do
	boot "$host" '/usr/bin/kvm-onereg preflight --save /out/saved' -I "$command_tree"
	# The emulated hosts have no name
	sed 's/"name" : "(none)"/"name" : "'"$host"'"/' "$tmp/boot/$host/saved" >"$tmp/$host.json"
done

# make_cpu NAME HOST... [OPTION]...: write the CPU of a baseline to $tmp/cpus/NAME, and the one that libvirt makes from
# it to NAME-libvirt
mkdir "$tmp/cpus"
make_cpu() {
	local name=$1 files=()
	shift
	while [ $# -gt 0 ] && [[ $1 != --* ]]; do
		files+=("$tmp/$1.json")
		shift
	done
	ok "$name: there is a baseline" preflight "$tmp/$name.json" "$@" --baseline "${files[@]}"
	"$here/baseline" qemu "$tmp/$name.json" >"$tmp/cpus/$name"
	"$here/baseline" libvirt "$tmp/$name.json" >"$tmp/cpus/$name-libvirt"
}
make_cpu intel "${intel[@]}"
make_cpu intel-plain "${intel[@]}" --without cet --without nested
make_cpu intel-10 "${intel[@]}" --qemu 10
make_cpu amd "${amd[@]}"
make_cpu amd-cet svm-cet-native svm-cet-6.1
for host in "${intel[@]}" "${amd[@]}"; do make_cpu "own-$host" "$host"; done

has() { # NAME FEATURES: those of them that are in it
	"$here/baseline" get 'join " ", grep { my $n = $_; grep { $_ eq $n } @{$j->{features}} } qw('"$2"')' \
		<"$tmp/$1.json"
}
is "intel: it has CET, and nested VMX" "$(has intel 'cet-ss cet-ibt vmx vmx-ept')" "cet-ss cet-ibt vmx vmx-ept"
is "intel-plain: it does not" "$(has intel-plain 'cet-ss cet-ibt vmx vmx-ept xsave')" "xsave"
is "intel-10: what QEMU 10 does not know is not in it" "$(has intel-10 'cet-ss cet-ibt vmx vmx-ept')" "vmx vmx-ept"
is "amd: a host without shadow stacks takes them away" "$(has amd 'cet-ss svm npt')" "svm npt"
is "amd-cet: without it, they are there" "$(has amd-cet 'cet-ss svm npt')" "cet-ss svm npt"
is "... and the first baseline tells who it was" \
	"$("$here/baseline" get '[map { @{$_->{lacking}} } grep { $_->{name} eq "cet-ss" } @{$j->{taken}}]' \
		<"$tmp/amd.json")" "$tmp/svm-6.12.json"
# What one host has more, of those that vmx-6.1 lacks
more=$("$here/baseline" get '[map { $_->{name} } grep { "@{$_->{lacking}}" =~ /vmx-6.1.json/ } @{$j->{taken}}]' \
	<"$tmp/intel.json")
ok "intel: something is taken away by 6.1" test -n "$more"
sed "s/,enforce/,+${more// /,+},enforce/" "$tmp/cpus/intel" >"$tmp/cpus/intel-more"

# ---- they start

tree=$tmp/programs
mkdir -p "$tree/usr/lib/x86_64-linux-gnu"
add_programs "$tree" /usr/bin/{bash,cat}
cat >"$tmp/start.sh" <<'END'
for name; do
	printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"qom-get","arguments":
		{"path":"/machine/unattached/device[0]","property":"feature-words"}}' '{"execute":"quit"}' |
		qemu-system-x86_64 -accel kvm -cpu "$(</host/$name)" -nodefaults -display none -S -qmp stdio \
			>/out/$name.qmp 2>/out/$name.stderr
	echo $? >/out/$name.status
done
END

# start_on HOST CPU...: start QEMU of the root $qemu with each; what comes of it is in $tmp/boot/HOST. With $domain, a
# domain with the <cpu> of this file is started, too
start_on() {
	local host=$1 files=() cpu commands
	shift
	for cpu; do files+=(-i "$tmp/cpus/$cpu"); done
	commands="/usr/bin/bash /host/start.sh $*"
	if [ -n "${domain:-}" ]; then
		commands+=$'\n'"/usr/bin/bash /host/inside.sh 'start /host/${domain##*/}'"
		files+=(-I "$("$top/tests/libvirt/tree")" -i "$top/tests/libvirt/inside.sh" -i "$domain"
		-i "$build/tests/qemu/guest.bin")
	else
		files+=(-I "$("$top/tests/qemu/tree" "${qemu:-qemu}")" -I "$tree")
	fi
	boot "$host" "$commands" -r 512 -t 600 -i "$tmp/start.sh" "${files[@]}"
	[ -z "${domain:-}" ] || relay "$host, libvirt" <(tr -d '\r' <<<"$output")
}
starts() { # HOST CPU JSON
	local libvirt=()
	is "$1: QEMU starts with $2" "$(cat "$tmp/boot/$1/$2.status" "$tmp/boot/$1/$2.stderr" 2>&1)" 0
	[[ $2 != *-libvirt ]] || libvirt=(libvirt)
	is "... and the guest has its features, and no others" \
		"$("$here/baseline" differs "$tmp/$3.json" "$tmp/boot/$1/$2.qmp" "${libvirt[@]}" 2>&1)" ""
}
refuses() { # HOST CPU MESSAGE
	is "$1: QEMU does not start with $2" "$(cat "$tmp/boot/$1/$2.status")" 1
	like "... and says why" "$(cat "$tmp/boot/$1/$2.stderr")" "$3"
}
"$here/baseline" get '$j->{libvirt_cpu}' <"$tmp/intel.json" >"$tmp/intel.xml"
for host in "${intel[@]}"; do
	domain=$tmp/intel.xml start_on "$host" intel intel-libvirt intel-plain intel-plain-libvirt \
		"own-$host" intel-more
	starts "$host" intel intel
	starts "$host" intel-libvirt intel
	starts "$host" intel-plain intel-plain
	starts "$host" intel-plain-libvirt intel-plain
	starts "$host" "own-$host" "own-$host"
done
refuses vmx-6.1 intel-more "Host doesn't support requested features"
for host in "${amd[@]}"; do
	start_on "$host" amd amd-libvirt amd-cet "own-$host"
	starts "$host" amd amd
	starts "$host" amd-libvirt amd
	starts "$host" "own-$host" "own-$host"
	[ "$host" = svm-6.12 ] || starts "$host" amd-cet amd-cet
done
refuses svm-6.12 amd-cet "Host doesn't support requested features"
# Debian 13's QEMU 10
qemu=emulators start_on vmx-6.12 intel intel-10 intel-10-libvirt
starts vmx-6.12 intel-10 intel-10
starts vmx-6.12 intel-10-libvirt intel-10
refuses vmx-6.12 intel "Property .* not found"
done_testing
