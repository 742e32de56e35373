#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# src/prepare gets the exact source if it is not on this machine: with the real apt from made-up archives, and from
# folders and URLs that the administrator names; and reports everything that can be wrong with them.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/unit/fixture.sh
. "$top/tests/unit/fixture.sh"

few_hooks
for c in apt-get apt-cache dpkg-deb perl; do command -v $c >/dev/null || skip_all "needs $c"; done
# In a root without a network, the loopback interface is down. Bring it up for the server below: SIOCSIFFLAGS with
# IFF_UP and IFF_RUNNING.
[ "$(id -u)" != 0 ] || perl -MSocket -e 'socket(S, AF_INET, SOCK_DGRAM, 0);
	$lo = pack("a16 s x22", "lo", 0x41); ioctl(S, 0x8914, $lo)'

# bare [DEBIAN]: a new world with a kernel of that version, without its source.
bare() {
	debian=${1:-6.12.117-1}
	world
	rm -r "$SOURCE_DIR" "${w:?}/usr/share"
	headers "$kver" "$code" "$debian"
}
left() {
	(
		cd "$store" 2>/dev/null &&
			find . -name '*.deb' -o -name '.part*' -o -name '.fetch.*[0-9]' -o -name '.download'
	)
}
fetched() { # NAME [OPTION...]: check that prepare succeeds with exactly the kernel's version
	local name=$1
	shift
	prepare "$@"
	is "$name: fetched" "$status $(cat "$w/err")" "0 "
	like "$name: the origin names the version" "$(cat "$tree/src/generated.h" 2>&1)" \
		"ORIGIN \"linux-source-6.12 ${debian//+/[+]}\""
	is "$name: nothing else is kept" "$(cd "$store" && echo *) $(left)" "$debian "
}

# ---- apt

bare
tarball "$debian"
prepare
good=$(content "$store/$debian")
bare
package "$debian"
offer "$debian"
prepare -f
is "the source is downloaded with apt" "$status $(cat "$w/err")" "0 "
like "... the output says so" "$(cat "$w/out.log")" "downloading linux-source-6.12 $debian with apt"
is "... and keeps the source from the package's tarball" "$(content "$store/$debian")" "$good"
is "... and nothing else" "$(left)" ""
prepare -f
not_ok "... it is downloaded only once" 1 grep downloading "$w/out.log"
rm -r "$store" "$w/out"
refused 12 "without -f nothing is downloaded" 'is not on this machine' 'source KVER=|kvm-onereg-install'
prepare -S -f
is "-S: only the source is stored, and no tree is made" \
	"$status $(cd "$store" && echo *) $(ls -d "$tree" 2>/dev/null)" "0 $debian "

bare
tarball 6.12.94-1
package "$debian"
offer
fetched "a tarball of another version in /usr/src" -f
bare
package "$debian"
offer
tarball "$debian"
prepare -f
not_ok "a tarball of this version in /usr/src is preferred" 1 grep downloading "$w/out.log"

# An archive with a newer source than the kernel's, and revisions that are prefixes of others.
for v in 6.12.117-1 6.12.117-9 6.12.117-10 6.12.117-19 '6.12.117-1~bpo12+1' 6.12.117-1+deb13u2; do
	bare "$v"
	for other in 6.12.117-1 6.12.117-10 6.12.117-11 6.12.117-100 6.12.118-1 "$v"; do package "$other"; done
	offer "$v" 6.12.118-1
	fetched "$v among others, with a newer source" -f
	rm "$w/archive/linux-source-6.12_${v}_all.deb"
	offer "$v" 6.12.118-1
	rm -r "$store" "$w/out"
	refused 18 "all but $v" "linux-source-6.12 ${v//+/[+]}, the exact source, is not available" \
		'apt-get update.* apt-get install linux-image-amd64=6\.12\.118-1 linux-headers-amd64=6\.12\.118-1 && reboot' -f
done
bare
package 6.12.94-1
offer 6.12.94-1 "$debian"
refused 18 "the image is newer than the source: names the older kernel whose source is available" 'is not available' \
	'linux-image-amd64=6\.12\.94-1 ' -f
bare
offer 6.12.118-1
refused 18 "no source at all" 'is not available' 'no available kernel has its source available: wait' -f
kver=6.12.117+deb13-cloud-amd64
bare
package 6.12.118-1
offer 6.12.118-1
sed -i 's/^Package: linux-\(image\|headers\)-amd64/Package: linux-\1-cloud-amd64/' "$w/archive/Packages"
apt-get update -qq
refused 18 "a cloud kernel moves to a cloud kernel" 'is not available' \
	'linux-image-cloud-amd64=6\.12\.118-1 linux-headers-cloud' -f
kver=6.12.117+deb13-amd64

# ---- apt's lists

bare
package "$debian"
offer
rm -r "$w/apt/lists"
refused 18 "apt has no lists" 'is not available' 'apt-get update, then run this again' -f
fetched "apt has no lists, and -r is given" -f -r
bare
package "$debian"
offer
mkdir "$w/archive/pool"
mv "$w"/archive/*.deb "$w/archive/pool/"
refused 18 "apt's lists are old" "archive no longer has the version in apt's lists" \
	'apt-get update, then run this again' -f
sed -i 's,^Filename: ./linux-source,Filename: ./pool/linux-source,' "$w/archive/Packages"
fetched "apt's lists are old, and -r is given" -f -r
bare
package "$debian"
offer
rm "$w"/archive/*.deb
refused 18 "the archive lacks a package that is in its index" 'no longer has' '' -f -r

# ---- packages that apt must refuse, and those that it cannot check

bare
package "$debian"
offer
echo >>"$w/archive/linux-source-6.12_${debian}_all.deb"
refused 20 "a package that does not have the checksum of the index" 'the download of .* failed: .*(size|Hash)' \
	'apt-get update' -f
bare
package "$debian"
apt_source="deb [allow-insecure=yes] file:$w/archive ./" offer 2>/dev/null
refused 20 "an archive without a signature" 'failed: .*(unauthenticated|authenticated)' '' -f
bare
package 6.12.118-1
mv "$w/archive/linux-source-6.12_6.12.118-1_all.deb" "$w/archive/linux-source-6.12_${debian}_all.deb"
offer
sed -i "s/^Version: .*/Version: $debian/" "$w/archive/Packages"
apt-get update -qq
refused 20 "a package of another version than the index says" '(apt downloaded another package|failed)' '' -f
bare
package "$debian"
offer
printf '#!/bin/sh\ncase "$*" in *%%a*) echo "10 * 512" ;; *) exec /usr/bin/stat "$@" ;; esac\n' >"$w/bin/stat"
chmod +x "$w/bin/stat"
refused 16 "no room on the disk" 'no room for the download: it needs [0-9]+ MB, and .* has 0 MB' 'make room' -f
bare
printf '#!/bin/sh\nexit 1\n' >"$w/bin/apt-get"
chmod +x "$w/bin/apt-get"
offer 2>/dev/null
refused 18 "apt does not work" 'is not available' '' -f

# ---- a network, and none

cat >"$tmp/serve" <<'END'
#!/usr/bin/perl
# Serve the folder $ARGV[0] on a free port. The port number goes to $ARGV[1], one line for each request to $ARGV[2].
use strict;
use IO::Socket::INET;
my ($root, $ready, $log) = @ARGV;
my $s = IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1", ReuseAddr => 1) or die $!;
open(my $r, ">", "$ready.part"); print $r $s->sockport; close $r; rename "$ready.part", $ready;
while (my $c = $s->accept) {
	my $request = <$c> // next;
	while (my $l = <$c>) { last if $l =~ /^\r?\n$/ }
	my ($path) = $request =~ m,^GET (\S+),;
	$path =~ s/%([0-9a-fA-F]{2})/chr hex $1/ge;
	open(my $l, ">>", $log); print $l "$path\n"; close $l;
	if (open(my $f, "<", "$root$path") and -f "$root$path") {
		local $/;
		my $data = <$f>;
		print $c "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " . length($data) . "\r\n\r\n$data";
	} else {
		print $c "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	}
	close $c;
}
END
server=''
serve() { # FOLDER: sets $url
	rm -f "$w/port"
	perl "$tmp/serve" "$1" "$w/port" "$w/requests" &
	server=$!
	for _ in $(seq 100); do
		[ ! -e "$w/port" ] || break
		sleep 0.1
	done
	url=http://127.0.0.1:$(cat "$w/port")
}
gone() {
	kill "$server"
	wait "$server" 2>/dev/null
	server=''
}
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tmp"' EXIT

bare
package "$debian"
serve "$w/archive"
apt_source="deb [trusted=yes] $url ./" offer
gone
refused 19 "no network" 'the archive cannot be reached for linux-source-6.12 6\.12\.117-1: ' 'connect this machine' -f
rm -r "$w/apt/lists"
refused 19 "no network, apt has no lists, and -r is given" 'the archive cannot be reached' 'connect this machine' -f -r
serve "$w/archive"
apt_source="deb [trusted=yes] $url ./" offer
fetched "the network is back" -f
gone

# ---- SOURCES: places that the administrator names

bare
package "$debian"
mv "$w/archive" "$w/debs"
echo "SOURCES='$w/nowhere $w/debs'" >"$w/default"
export DEFAULTS=$w/default
fetched "a folder, even if nothing may be downloaded"
rm -r "$store" "$w/out"
echo "SOURCES=$w/debs/linux-source-6.12_${debian}_all.deb" >"$w/default"
fetched "a file"
rm -r "$store" "$w/out"
echo "SOURCES=file://$w/debs" >"$w/default"
fetched "a folder as a URL"
rm -r "$store" "$w/out"
offer
mv "$w/debs"/*.deb "$w/archive/linux-source-6.12_of-any-name.deb"
echo "SOURCES=$w/archive" >"$w/default"
fetched "a file of another name"
for v in 6.12.117-10 6.12.117-2 6.12.118-1; do
	bare
	package $v
	echo "SOURCES='$w/archive $w/archive/linux-source-6.12_${v}_all.deb'" >"$w/default"
	mv "$w/archive/linux-source-6.12_${v}_all.deb" "$w/archive/linux-source-6.12_${debian}_all.deb"
	DEFAULTS=$w/default refused 12 "a folder with $v under the name of the wanted file" 'is not on this machine' ''
done
bare
package "$debian" linux-source-6.1
mv "$w/archive/linux-source-6.1_${debian}_all.deb" "$w/archive/linux-source-6.12_${debian}_all.deb"
echo "SOURCES=$w/archive" >"$w/default"
export DEFAULTS=$w/default
refused 12 "a folder with another package under the name of the wanted file" 'is not on this machine' ''
echo noise >"$w/archive/linux-source-6.12_${debian}_all.deb"
refused 12 "a folder with random data in the file" 'is not on this machine' ''
bare
package "$debian"
head -c 1000 "$w/archive/linux-source-6.12_${debian}_all.deb" >"$w/cut" &&
	mv "$w/cut" "$w/archive/linux-source-6.12_${debian}_all.deb"
echo "SOURCES=$w/archive" >"$w/default"
export DEFAULTS=$w/default
refused 14 "a folder with a truncated package" "cannot extract KVM's source" 'source KVER=|kvm-onereg-install'
echo "SOURCES=archive" >"$w/default"
prepare -f
like "a relative path is reported" "$(cat "$w/err")" \
	"SOURCES has 'archive', which is neither an absolute path nor a URL"

bare
package "$debian"
mv "$w/archive" "$w/served"
serve "$w/served"
offer 6.12.118-1
: >"$w/requests"
echo "SOURCES=$url" >"$w/default"
refused 12 "a URL: nothing is downloaded without -f" 'is not on this machine' ''
is "... and no request reaches the server" "$(cat "$w/requests")" ""
printf 'SOURCES=%s\nDOWNLOAD=no\n' "$url" >"$w/default"
refused 12 "a URL, and DOWNLOAD=no" 'nothing is downloaded' 'allow the download \(DOWNLOAD in ' -f
is "... and no request reaches the server" "$(cat "$w/requests")" ""
echo "SOURCES=$url/nowhere/" >"$w/default"
refused 18 "a URL without the package" 'is not available' '' -f
echo "SOURCES='$url/nowhere $url/'" >"$w/default"
fetched "a URL of a folder" -f
rm -r "$store" "$w/out"
echo "SOURCES=$url/linux-source-6.12_${debian}_all.deb" >"$w/default"
fetched "a URL of a file" -f
rm -r "$store" "$w/out"
mv "$w/served" "$w/archive"
package 6.12.118-1
mv "$w/archive" "$w/served"
mv "$w/served/linux-source-6.12_6.12.118-1_all.deb" "$w/served/linux-source-6.12_${debian}_all.deb"
refused 18 "a URL of another version under the name of the wanted file" 'is not available' '' -f
like "... and the output says so" "$(cat "$w/out.log")" "is not linux-source-6.12 $debian: left alone"
gone
refused 19 "a URL that cannot be reached, and an archive without the package" 'cannot be reached' \
	'connect this machine' -f

bare
package "$debian"
offer
printf 'DOWNLOAD=no\n' >"$w/default"
refused 12 "DOWNLOAD=no: apt does not download, either" 'nothing is downloaded' 'DOWNLOAD in ' -f
echo "SOURCES=$w/archive" >>"$w/default"
fetched "DOWNLOAD=no, and a folder" -f

# ---- KVM_SOURCE

bare
package "$debian"
fetched "KVM_SOURCE: a package" -u "$w/archive/linux-source-6.12_${debian}_all.deb"
bare
package 6.12.117-10
refused 13 "KVM_SOURCE: a package of another version" 'but .* has version 6\.12\.117-10' 'leave out KVM_SOURCE' \
	-u "$w/archive/linux-source-6.12_6.12.117-10_all.deb"
bare
package "$debian" linux-image
refused 14 "KVM_SOURCE: another package" 'is not a package linux-source-6.12' 'leave out KVM_SOURCE' \
	-u "$w/archive/linux-image_${debian}_all.deb"
echo noise >"$w/noise.deb"
refused 14 "KVM_SOURCE: not a package" 'is not a package linux-source-6.12' 'leave out KVM_SOURCE' -u "$w/noise.deb"

# ---- at the same time

bare
package "$debian"
offer
for i in 1 2 3; do "$prepare" -k "$kver" -d "$kdir" -s "$store" -S -f >"$w/log$i" 2>&1 & done
all=0
for i in 1 2 3; do wait -n || all=$?; done
is "three runs at once" "$all $(content "$store/$debian" | wc -l) $(left)" "0 $(wc -l <<<"$good") "
is "... and only one downloads" "$(cat "$w"/log? | grep -c downloading)" 1

# During a download, builds of other versions continue.
bare
package "$debian"
offer
tarball 6.12.118-1
apt_get=$(command -v apt-get)
cat >"$w/bin/apt-get" <<-END
	#!/bin/sh
	case "\$*" in "download linux"*) touch $w/downloading; while [ ! -e $w/go ]; do sleep 0.1; done ;; esac
	exec $apt_get "\$@"
END
chmod +x "$w/bin/apt-get"
"$prepare" -k "$kver" -d "$kdir" -s "$store" -S -f >"$w/log" 2>&1 &
waiting=$!
for _ in $(seq 100); do
	[ ! -e "$w/downloading" ] || break
	sleep 0.1
done
headers "$kver" $((code + 1)) 6.12.118-1
prepare
is "a build continues while the source of another version is downloaded" \
	"$([ -e "$w/downloading" ] && echo "$status")" 0
touch "$w/go"
wait "$waiting"
is "... which is then stored, too" "$? $(cd "$store" && echo *) $(left)" "0 6.12.117-1 6.12.118-1 "

# ---- wrong use

not_ok "wrong usage of fetch" 2 "$project/src/fetch" linux-source-6.12 1
not_ok "... a file in place of a folder" 2 "$project/src/fetch" linux-source-6.12 1 "$tmp/none"
ok "fetch -h prints the usage" "$project/src/fetch" -h
like "... with each exit status" "$output" '19 +the archive cannot be reached'
done_testing
