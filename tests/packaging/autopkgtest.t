#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# autopkgtest of Debian 12 and of Debian 13 runs debian/tests with the packages that were built on that release, and
# reports a test that fails.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

mkdir "$tmp/source"
cp -r "$top"/{debian,src,dkms.conf} "$tmp/source/"
# The packages of the test bed. Those under test are installed from their files.
test_bed=(autopkgtest pkg-config perl libjson-c5)

for release in $releases; do
	begin_deb
	ok "$release: autopkgtest can be downloaded" download "$tmp/bed" "${test_bed[@]}"
	rm -rf "$tmp/layer"
	cp -a "$deb_plain" "$tmp/layer"
	out=$(in_root -l "$tmp/layer" -b "$tmp/bed:/bed:ro" -- 'apt --no-install-recommends install /bed/*.deb')
	like "$release: autopkgtest can be installed" "$out" '^apt 0$'
	rm -rf "$tmp/layer/work" "$tmp/layer/m"

	# in_test_bed SCRIPT [OPTION]...: run the script, then autopkgtest with these options
	in_test_bed() {
		in_root -o "$tmp/layer" -b "$tmp/source:/source:ro" -- '
			repos base
			# apt sets another PATH for dpkg, in which the stand-in for make must be, too.
			ln -s /stub/make /usr/local/bin/make
			echo "DPkg::Path \"/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\";" >/etc/apt/apt.conf.d/path
			cp -r /source /tmp/source
			cd /tmp
			'"$1"'
			autopkgtest '"${*:2}"' --no-built-binaries --output-dir /tmp/out /packages/*.deb /tmp/source -- null
			echo "autopkgtest $?"'
	}
	out=$(in_test_bed '')
	like "$release: the modules are built, modinfo finds them, and a purge removes them" "$out" '^installed +PASS'
	like "$release: pkg-config finds the header" "$out" '^header +PASS'
	like "$release: autopkgtest succeeds" "$out" '^autopkgtest 0$'
	diag_if_failed "$out"

	out=$(in_test_bed 'sed -i "s/!= 0x4010aeab/== 0x4010aeab/" source/debian/tests/header' --test-name=header)
	like "$release: a wrong number in the header is reported" "$out" '^header +FAIL'
	like "$release: autopkgtest fails then" "$out" '^autopkgtest 4$'
	diag_if_failed "$out"

	out=$(in_test_bed 'ln -sf /bin/false /usr/local/bin/make')
	like "$release: a build that fails is reported as an error of the package" "$out" \
		'^installed +FAIL badpkg|^erroneous package'
	like "$release: and autopkgtest fails" "$out" '^autopkgtest [1-9]'
	diag_if_failed "$out"
done
done_testing
