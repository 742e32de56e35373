#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guests that use shadow stacks on an AMD host are saved and restored: on a native kernel, the reference, and on 6.12
# and 6.1 with our modules; from each of the three to each; and refused if KVM does not offer shadow stacks
#
# THOROUGH=y does all of it on native, too, and adds programs whose results depend less on the vendor.
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/snapshot.sh"

# shellcheck disable=SC2154 # snapshot.sh sets kernel, modules and saved

# shellcheck disable=SC2034 # snapshot.sh uses them
host=svm-cet travelling=(snapshot)
others=$(printf '%s\n' reset smm)
[ "${THOROUGH:-}" != y ] || others+=$'\nredeliver\nguest32\ndirty'

# without_cet PARAMETER NAME...: commands for the same host after its module was reloaded, without shadow stacks
without_cet() {
	printf '%s\n' 'module unload kvm_amd' "module load kvm-amd.ko $1" "$(refused "${@:2}")"
}

# of_the_distro NAME...: the same with the distro's modules
of_the_distro() {
	printf '%s\n' 'module unload kvm_amd kvm' 'module load distro-kvm.ko' 'module load distro-kvm-amd.ko' \
		"$(refused "$@")"
}

# distro SERIES: set $more, the options that put the distro's modules into the host
distro() {
	local m
	more=(-i "$build/tests/ioctl/64/module")
	mkdir "$tmp/distro-$1"
	for m in kvm kvm-amd; do
		distro_module "${kernel[$1]}" $m "$tmp/distro-$1/distro-$m.ko"
		more+=(-i "$tmp/distro-$1/distro-$m.ko")
	done
}

if [ "${THOROUGH:-}" = y ]; then
	on native native '' '' "$(travels native)
$others"
else
	on native native '' '' 'snapshot --only-save /out/native
snapshot --load /out/native #direction here small moved
reset'
fi
keep native
on 6.12 6.12 "${modules[6.12]}" 1 "$(travels 6.12)
$others
$(from native)" "${saved[@]}"
keep 6.12
distro 6.1
on 6.1 6.1 "${modules[6.1]}" 1 "$(travels 6.1)
$others
$(from native 6.12)
$(without_cet cet=0 native 6.12 /out/6.1)
$(of_the_distro native)" "${saved[@]}" "${more[@]}"
keep 6.1
# Native has no such parameter, but needs nested paging, too.
on 'native, from the others' native '' '' "$(from 6.12 6.1)
$(without_cet npt=0 native 6.12 6.1)" "${saved[@]}" -i "$build/tests/ioctl/64/module"
distro 6.12
on '6.12, from 6.1' 6.12 "${modules[6.12]}" 1 "$(from 6.1)
$(without_cet cet=0 native 6.12 6.1)
$(of_the_distro native)" "${saved[@]}" "${more[@]}"
same_state

done_testing
