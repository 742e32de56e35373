#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Debian's libvirt 12, with QEMU 11, runs a domain on shadow stacks and IBT, with the <cpu> of docs/libvirt.md: it is
# saved and restored on the same host and on others, and by managedsave, while the guest is in the middle of calls; and
# it migrates live from one libvirtd to another. Without CET, libvirt restores nothing and keeps what it has saved.
#
# THOROUGH=y: each direction between native, 6.12 and 6.1, not only native to 6.12 and 6.12 to 6.1; and the distro's
# 6.12 and 6.1, which refuse
# needs: emulated-hosts root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/libvirt/on-host.sh
. "$(dirname "$0")/on-host.sh"

files=()
for model in qemu64 host-passthrough; do
	ok "the documentation has a CPU: $model" cpu_of_docs $model "$tmp/$model.xml"
	files+=(-i "$tmp/$model.xml")
done
cp "$tmp/qemu64.xml" "$tmp/cpu.xml"
files+=(-i "$tmp/cpu.xml")

# keep NAME: keep what it has saved for the hosts that follow
keep() { cp "$tmp/$1/files/state" "$tmp/from-$1" && files+=(-i "$tmp/from-$1"); }
# from VERB NAME...
from() {
	local verb=$1 name
	shift
	for name; do echo "$verb /host/from-$name"; done
}

libvirt_on native native 'own /out/state' "${files[@]}"
keep native
libvirt_on 6.12 6.12 "$(from take native)
own /out/state refused
start /host/host-passthrough.xml
live" "${files[@]}"
keep 6.12
if [ "${THOROUGH:-}" != y ]; then
	libvirt_on 6.1 6.1 "$(from take 6.12)" "${files[@]}"
	done_testing
fi
libvirt_on 6.1 6.1 "$(from take native 6.12)
own /out/state refused
start /host/host-passthrough.xml
live" "${files[@]}"
keep 6.1
libvirt_on 'native, from the others' native "$(from take 6.12 6.1)
live" "${files[@]}"
libvirt_on '6.12, from 6.1' 6.12 "$(from take 6.1)" "${files[@]}"
for series in $("$top/tests/debian/kernel" series); do
	libvirt_on "distro-$series" "distro-$series" "$(from refuse native 6.12 6.1)" "${files[@]}"
done
done_testing
