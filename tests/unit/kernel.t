#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/debian/kernel chooses the newest kernel with image, headers and source of one version, in made-up archives in
# every state of an upload: only the source is new, only the images are, both are, or a part is missing.
# shellcheck disable=SC1091 # tap.sh
. "$(dirname "$0")/../tap.sh"

kernel=$top/tests/debian/kernel
command -v apt-get >/dev/null || skip_all "needs apt"

# offer SUITE PACKAGE=VERSION...: add these packages to SUITE of the made-up archive.
offer() {
	local suite=$1 d=$tmp/archive/dists/$1 p
	shift
	mkdir -p "$d/main/binary-amd64"
	for p; do
		printf '%s\n' "Package: ${p%%=*}" "Version: ${p#*=}" "Architecture: amd64" \
			"Maintainer: nobody <nobody@localhost>" "Filename: pool/${p%%=*}_${p#*=}.deb" "Size: 1" \
			"SHA256: $(printf 0 | sha256sum | cut -d' ' -f1)" "Description: none" ""
	done >>"$d/main/binary-amd64/Packages"
	{
		printf '%s\n' "Suite: $suite" "Codename: $suite" "Date: Wed, 01 Jan 2020 00:00:00 UTC" \
			"Architectures: amd64" "Components: main" "SHA256:"
		(
			cd "$d" && for p in main/binary-*/Packages; do
				echo " $(sha256sum "$p" | cut -d' ' -f1) $(stat -c %s "$p") $p"
			done
		)
	} >"$d/Release"
	grep -q -s " $suite main\$" "$tmp/sources" ||
		echo "deb [trusted=yes] file:$tmp/archive $suite main" >>"$tmp/sources"
}

# images KERNEL VERSION: print the image and headers packages.
images() { printf '%s\n' "linux-image-$1=$2" "linux-headers-$1=$2"; }

# Start with a new archive.
archive() { rm -rf "$tmp/archive" "$tmp/sources" "$tmp/build"; }
ask() { BUILD=$tmp/build ARCHIVE_SOURCES=$tmp/sources "$kernel" "$@" 2>&1; }

# takes DESCRIPTION NAME RELEASE VERSION [PASSED-OVER]: check which kernel is chosen for NAME
takes() {
	is "$1" "$(ask taken "$2")" "$3 ($4)${5:+; newer, and passed over: $5}"
	is "$1: release and version" "$(ask release "$2") $(ask version "$2")" "$3 $4"
}
# none DESCRIPTION NAME: check that no kernel is chosen, with the reason
none() {
	not_ok "$1: refused" 1 env BUILD="$tmp/build" ARCHIVE_SOURCES="$tmp/sources" "$kernel" version "$2"
	like "$1: the message says why" "$output" "no kernel '$2' with image, headers and source of one version"
}

for revision in 3 8 9 10 19 99; do
	next=$((revision + 1))
	old=6.1.192-$revision new=6.1.192-$next
	# shellcheck disable=SC2046 # lists
	{
		archive
		offer bookworm-security $(images 6.1.0-56-amd64 $old) linux-source-6.1=$old linux-source-6.1=$new
		takes "only the source is new, $old to $new" 6.1 6.1.0-56-amd64 $old "source $new (no kernel of it)"

		archive
		offer bookworm-security $(images 6.1.0-56-amd64 $old) $(images 6.1.0-57-amd64 $new) \
			linux-source-6.1=$old
		takes "only the images are new, $old to $new" 6.1 6.1.0-56-amd64 $old \
			"6.1.0-57-amd64 ($new: no source of it)"

		archive
		offer bookworm-security $(images 6.1.0-56-amd64 $old) $(images 6.1.0-57-amd64 $new) \
			linux-source-6.1=$old linux-source-6.1=$new
		takes "both are new, $old to $new" 6.1 6.1.0-57-amd64 $new

		archive
		offer bookworm-security $(images 6.1.0-56-amd64 $new) $(images 6.1.0-56-amd64 $old) \
			linux-source-6.1=$old linux-source-6.1=$new
		takes "a newer version under the same name, $old to $new" 6.1 6.1.0-56-amd64 $new
	}
done

# shellcheck disable=SC2046 # lists
{
	archive
	offer bookworm $(images 6.1.0-50-amd64 6.1.176-1) linux-source-6.1=6.1.176-1
	offer bookworm-security $(images 6.1.0-56-amd64 6.1.192-2)
	takes "only the point release's kernel has its source in the archive" 6.1 6.1.0-50-amd64 6.1.176-1 \
		"6.1.0-56-amd64 (6.1.192-2: no source of it)"

	archive
	offer bookworm $(images 6.1.0-50-amd64 6.1.176-1)
	offer bookworm-security $(images 6.1.0-56-amd64 6.1.192-2) linux-source-6.1=6.1.193-1
	none "no source has the version of a kernel" 6.1
	like "no source has the version of a kernel: the available ones are named" "$output" \
		'image 6\.1\.0-56-amd64 6\.1\.192-2'

	archive
	offer bookworm linux-source-6.1=6.1.176-1
	none "no kernel at all" 6.1

	archive
	offer bookworm-security $(images 6.1.0-56-amd64 6.1.192-2) linux-image-6.1.0-57-amd64=6.1.193-1 \
		linux-source-6.1=6.1.192-2 linux-source-6.1=6.1.193-1
	takes "the newest image has no headers yet" 6.1 6.1.0-56-amd64 6.1.192-2 \
		"source 6.1.193-1 (no kernel of it), 6.1.0-57-amd64 (6.1.193-1: no source of it)"

	archive
	offer bookworm-security $(images 6.1.0-9-amd64 6.1.99-1) $(images 6.1.0-10-amd64 6.1.100-1) \
		linux-source-6.1=6.1.99-1 linux-source-6.1=6.1.100-1
	takes "versions with more digits are newer" 6.1 6.1.0-10-amd64 6.1.100-1
	is "pairs are sorted by version, oldest first" "$(ask pairs 6.1 | xargs)" \
		"6.1.0-9-amd64 6.1.99-1 6.1.0-10-amd64 6.1.100-1"

	archive
	offer bookworm-security $(images 6.1.0-56-amd64 6.1.192-2) $(images 6.1.0-57-rt-amd64 6.1.193-1) \
		$(images 6.1.0-57-cloud-amd64 6.1.193-1) linux-image-6.1.0-57-amd64-unsigned=6.1.193-1 \
		linux-image-6.1.0-57-amd64-dbg=6.1.193-1 \
		linux-source-6.1=6.1.192-2 linux-source-6.1=6.1.193-1
	takes "other flavours are ignored" 6.1 6.1.0-56-amd64 6.1.192-2 "source 6.1.193-1 (no kernel of it)"

	archive
	offer bookworm-security $(images 6.12.117+deb12-amd64 6.12.117-1~deb12u1) linux-source-6.12=6.12.117-1~deb12u1
	offer bookworm-backports $(images 6.12.95+deb12-amd64 6.12.95-1~bpo12+1) linux-source-6.12=6.12.95-1~bpo12+1
	offer trixie $(images 6.12.107+deb13-amd64 6.12.107-1) linux-source-6.12=6.12.107-1
	offer trixie-backports $(images 6.12.118+deb13-amd64 6.12.118-1~bpo13+1) linux-source-6.12=6.12.118-1~bpo13+1 \
		$(images 7.3.4+deb13-amd64 7.3.4-1~bpo13+1) linux-source-7.3=7.3.4-1~bpo13+1 \
		$(images 7.4.1+deb13-amd64 7.4.1-1~bpo13+1)
	takes "Debian 13's own kernel, not that of its backports" 6.12 6.12.107+deb13-amd64 6.12.107-1
	takes "Debian 12's second kernel" 6.12-bpo12 6.12.117+deb12-amd64 6.12.117-1~deb12u1
	takes "a native kernel" native 7.3.4+deb13-amd64 7.3.4-1~bpo13+1 \
		"7.4.1+deb13-amd64 (7.4.1-1~bpo13+1: no source of it)"
	none "an archive without a kernel of the series" 6.1
}
is "series lists the supported series, the newest first" "$("$kernel" series | xargs)" \
	"$(sed -n "s/\tDebian.*//p" "$top/src/series" | sort -rV | xargs)"
is "each series has a Debian root to build in" "$(for s in $("$kernel" series); do
	"$top/tests/debian/root" list | tr " " "\n" | grep -q -x "$("$kernel" root "$s")" || echo "$s"
done)" ""
not_ok "a native kernel has no such root" 1 "$kernel" root native
not_ok "an unknown name is refused" 1 ask taken 5.10
like "an unknown name: the message lists the known ones" "$output" "have: 6\.1 6\.12"
done_testing
