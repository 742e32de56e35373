#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guests that use shadow stacks and IBT are saved and restored: on a native kernel, the reference, and on 6.12 and 6.1
# with our modules; from each of the three to each; and refused if KVM does not offer CET
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/snapshot.sh"

# shellcheck disable=SC2154 # snapshot.sh sets modules and saved

# shellcheck disable=SC2034 # snapshot.sh uses them
host=vmx travelling=(snapshot tracker)
others=$(printf '%s\n' reset smm redeliver guest32 dirty)

on native native '' 1 "$(travels native)
$others"
keep native
on 6.12 6.12 "${modules[6.12]}" 1 "$(travels 6.12)
$others
$(from native)" "${saved[@]}"
keep 6.12
on 6.1 6.1 "${modules[6.1]}" 1 "$(travels 6.1)
$others
$(from native 6.12)" "${saved[@]}"
keep 6.1
on 'native, from the others' native '' 1 "$(from 6.12 6.1)" "${saved[@]}"
on '6.12, from 6.1' 6.12 "${modules[6.12]}" 1 "$(from 6.1)" "${saved[@]}"
same_state

on 'native, cet=0' native '' 0 "$(refused native 6.12 6.1)" "${saved[@]}"
for series in $("$top/tests/debian/kernel" series); do
	on "$series, cet=0" "$series" "${modules[$series]}" 0 "$(refused native 6.12 6.1)" "${saved[@]}"
	on "$series of the distro" "$series" '' '' "$(refused native)" "${saved[@]}"
done

done_testing
