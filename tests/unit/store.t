#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The store of src/prepare keeps several versions, detects damage, and recovers from kill -9, from a full disk, and from
# runs at the same time. THOROUGH=y interrupts every command in every way, and not only a sample of them.
# shellcheck disable=SC2016 # scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/unit/fixture.sh
. "$top/tests/unit/fixture.sh"

few_hooks

# ---- several versions

world
prepare
first=$(content "$store" "$tree")
old=$kver
kver=6.12.118+deb13-amd64
headers "$kver" $((code + 1)) 6.12.118-1
tarball 6.12.118-1
prepare
is "a second version is stored, too" "$status $(cd "$store" && echo *)" "0 6.12.117-1 6.12.118-1"
kver=$old
headers "$kver" "$code" "$debian"
prepare
is "the first one again, with a tarball of the second" "$status $(cat "$w/err")" "0 "
is "... gives the same result as before" "$(content "$store/$debian" "$tree")" "${first//  .\/$debian\//  .\/}"
rm -r "$SOURCE_DIR"
prepare
is "... and needs no tarball" "$status" 0

# ---- damage

world
prepare
good=$(content "$store" "$tree")
for how in 'a file is cut|: >virt/kvm/kvm_main.c' 'a file is changed|echo >>arch/x86/kvm/x86.c' \
	'a file is gone|rm virt/kvm/kvm_main.c' \
	'a folder is gone|rm -r arch' 'the checksums are gone|rm SHA256SUMS' 'the checksums are empty|: >SHA256SUMS' \
	'the checksums are cut|sed -i "\$d" SHA256SUMS' 'a file is new|echo >arch/x86/kvm/new.h' \
	'the checksums are noise|head -c 99 /dev/urandom >SHA256SUMS' \
	'a file became a folder|rm Makefile && mkdir Makefile' 'all of it is gone|rm -r ./*'; do
	(cd "$store/$debian" && eval "${how#*|}")
	prepare
	is "stored source, ${how%%|*}: extracted again" "$status $(content "$store" "$tree")" "0 $good"
	like "... and says that it extracts" "$(cat "$w/out.log")" 'extracting'
done
mv "$tar" "$w/away"
echo >>"$store/$debian/arch/x86/kvm/x86.c"
refused 12 "stored source is damaged, and there is no tarball" 'is not on this machine' \
	'source KVER=|kvm-onereg-install'
mv "$w/away" "$tar"
tarball 6.12.118-1
refused 13 "stored source is damaged, and the tarball has another version" 'has version 6\.12\.118-1' \
	'source KVER=|kvm-onereg-install'

# ---- at the same time

world
prepare
good=$(content "$store" "$tree")
rm -r "$store" "$w/out"
for i in 1 2 3; do
	"$prepare" -k "$kver" -d "$kdir" -s "$store" -o "$tree" >"$w/log$i" 2>&1 &
done
all=0
for i in 1 2 3; do wait -n || all=$?; done
is "three runs at once" "$all $(content "$store" "$tree")" "0 $good"
is "... and only one extracts" "$(cat "$w"/log? | grep -c extracting)" 1

# ---- killed

# Stand-ins for commands, which count the calls and run the real ones. At call number $AT, prepare and everything that
# it started are killed before the command runs; with HALF, while it runs. With FAIL, that command fails instead.
wrap=$tmp/wrap
mkdir "$wrap"
for c in tar cp mv rm mkdir sync patch sha256sum apt-get dpkg-deb ln; do
	cat >"$wrap/$c" <<-END
		#!/bin/bash
		real=$(command -v $c)
		if [ -n "\${AT:-}" ]; then
			# Commands in a pipe run at the same time: one must not kill the other while that writes the
			# number.
			exec 7>"\$COUNT.lock"
			flock 7
			n=\$((\$(<"\$COUNT") + 1))
			echo \$n >"\$COUNT"
			if [ \$n = "\$AT" ]; then
				if [ -n "\${FAIL:-}" ]; then
					echo "$c: cannot write: No space left on device" >&2
					exit 1
				fi
				[ -z "\${HALF:-}" ] || {
					"\$real" "\$@" 7>&- &
					sleep 0.00\$((RANDOM % 4))
					kill -9 \$!
				}
				kill -9 -- "-\$(<"\$COUNT.pid")"
				exit 1
			fi
			exec 7>&-
		fi
		exec "\$real" "\$@"
	END
done
chmod +x "$wrap"/*

with=()
interrupted() { # AT [VARIABLE...]: run prepare, interrupted at command number AT; sets $status and $reached
	local at=$1
	shift
	echo 0 >"$w/count"
	status=0
	(
		echo $BASHPID >"$w/count.pid"
		exec setsid env AT="$at" COUNT="$w/count" "$@" PATH="$wrap:$PATH" \
			"$prepare" -k "$kver" -d "$kdir" -s "$store" -o "$tree" ${with[@]+"${with[@]}"}
	) >"$w/out.log" 2>"$w/err" || status=$?
	reached=$(($(cat "$w/count") >= at))
} 2>/dev/null

world
prepare
good_store=$(content "$store/$debian") good=$(content "$store" "$tree")
cp -rp "$w/out" "$w/done"
sweep() { # START MODE STEP: from the state START, interrupt at every STEPth command; MODE: kill, half or fail
	local start=$1 mode=$2 step=$3 v='' bad='' points=0 at
	case $mode in half) v=HALF=1 ;; fail) v=FAIL=1 ;; esac
	[ "${THOROUGH:-}" != y ] || step=1
	for ((at = 1; at < 200; at += step)); do
		rm -rf "$w/out"
		case $start in
		fresh | download) rm -rf "$store" ;;
		replace) cp -rp "$w/done" "$w/out" && echo other >"$tree/.state" ;;
		update) cp -rp "$w/done" "$w/out" && echo stale >>"$tree/arch/x86/kvm/x86.c" && rm -r "$tree/src/vmx" ;;
		esac
		# shellcheck disable=SC2086 # none, or one
		interrupted $at $v
		[ "$reached" = 1 ] || break
		points=$((points + 1))
		case $mode:$status in
		fail:16 | kill:137 | half:137) ;;
		# Some failures are no reason to stop: a checksum, for example, is calculated again.
		fail:0) [ "$(content "$store" "$tree")" = "$good" ] || bad="$bad $at:incomplete" ;;
		*) bad="$bad $at:$status:$(tail -n 1 "$w/err")" ;;
		esac
		[ ! -d "$store/$debian" ] || [ "$(content "$store/$debian")" = "$good_store" ] || bad="$bad $at:unsound"
		prepare ${with[@]+"${with[@]}"}
		[ "$status" = 0 ] || bad="$bad $at:next:$status"
		[ "$(content "$store" "$tree")" = "$good" ] || bad="$bad $at:next:differs"
		[ -z "$(ls -d "$store"/.part* "$store"/.fetch.*[0-9] "$tree".part* 2>/dev/null)" ] ||
			bad="$bad $at:next:leftovers"
	done
	is "$start, $mode at $points commands: the store is intact, and the next run recovers" "$bad" ""
	ok "... at least three commands were interrupted" test $points -ge 3
}
sweep fresh kill 2
sweep fresh half 3
sweep fresh fail 2
sweep replace kill 3
sweep update kill 3
sweep update fail 3
# The same source, downloaded with apt.
rm -r "$SOURCE_DIR"
package "$debian"
offer
with=(-f)
sweep download kill 3
sweep download half 4
with=()
tarball "$debian"

for signal in TERM INT HUP; do
	rm -rf "$store" "$w/out"
	# A compiler that sends a signal: prepare calls it late, after it has used both temporary folders.
	printf '#!/bin/sh\ntouch %s/late\nkill -%s $(cat %s/pid)\n' "$w" $signal "$w" >"$w/bin/signalling"
	chmod +x "$w/bin/signalling"
	rm -f "$w/late"
	status=0
	{
		(
			echo $BASHPID >"$w/pid" &&
				CC=signalling exec "$prepare" -k "$kver" -d "$kdir" -s "$store" -o "$tree"
		) || status=$?
	} >/dev/null 2>&1
	is "SIG$signal: prepare ends, and no temporary folders remain" \
		"$([ -e "$w/late" ] && echo late) $((status > 128)) $(
			ls -d "$store"/.part* "$tree".part* 2>/dev/null
		)" "late 1 "
	prepare
	is "... and the next run succeeds" "$status $(content "$store" "$tree")" "0 $good"
done

# ---- the disk is full

cat >"$tmp/full" <<'END'
#!/bin/bash
# Runs in its own mount name space. With each size of the disk, prepare works or fails with a clear message; then, with
# enough space, it works.
set -u
. "$1/tests/tap.sh" && rm -rf "$tmp" && trap - EXIT
top=$1 tmp=$2 w=$3
. "$top/tests/unit/fixture.sh"
store=$w/disk/store kdir=$w/headers tree=$w/disk/out/tree
mkdir -p "$w/disk"
full=0
mount -t tmpfs -o size=4k none "$w/disk" && mount -o remount,size=1m "$w/disk" && umount "$w/disk" || exit 77
for ((size = 4; size < 800; size += 28)); do
	mount -t tmpfs -o size=${size}k none "$w/disk"
	prepare
	[ "$status" != 0 ] || { umount "$w/disk"; break; }
	full=$((full + 1))
	[ "$status" = 16 ] && grep -q 'cannot write\|disk full' "$w/err" || echo "$size k: status $status: $(cat "$w/err")"
	[ -z "$(ls -d "$store"/.part* "$tree".part* 2>/dev/null)" ] || echo "$size k: leftovers"
	mount -o remount,size=1m "$w/disk"
	prepare
	[ "$status" = 0 ] || echo "$size k, then space: $status $(cat "$w/err")"
	[ "$(content "$store" "$tree")" = "$(cat "$w/good")" ] || echo "$size k, then space: differs"
	umount "$w/disk"
done
[ "$full" -ge 5 ] || echo "only $full sizes were too small"
END
world
echo "$good" >"$w/good"
if ! unshare -rm true 2>/dev/null; then
	skip "a disk too small, of many sizes" "no user name spaces"
else
	unshare -rm bash "$tmp/full" "$top" "$tmp" "$w" >"$w/log" 2>&1
	case $? in
	77) skip "a disk too small, of many sizes" "no tmpfs that can grow in user name spaces" ;;
	*) is "a disk too small, of many sizes: a clear message, and the next run recovers" "$(cat "$w/log")" "" ;;
	esac
fi

done_testing
