#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Kernels whose exact source is not on the machine. apt does not download it, and says at its end what to do. The
# administrator's command or the systemd service downloads it, and builds the modules. The service tries again if the
# archive cannot be reached or does not have that version, waits while dpkg runs, and can be disabled.
#
# THOROUGH=y: on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

functions='
gone() { [ -z "$(ls /usr/src/linux-source-*)" ] || sources_gone >/dev/null; rm -rf /var/lib/kvm-onereg/source; }
block() { sed -n "/^\*\*\* kvm-onereg/,/^apt /p"; }
want() { for w in "$@"; do sed -n "s/^$w=//p" /var/lib/kvm-onereg/wanted/*; done | xargs; }
# Pretend that systemd runs: units are enabled while /on exists, and /started lists those that are started.
systemd() {
	mkdir -p /run/systemd/system /stubs
	touch /on
	cat >/stubs/systemctl <<-"END"
	#!/bin/sh
	case $1 in
	is-enabled) [ -e /on ] ;;
	start) echo "$*" >>/started ;;
	esac
	END
	chmod +x /stubs/systemctl
	PATH=/stubs:$PATH
}
service() { status $(sed -n "s/^ExecStart=//p" /lib/systemd/system/kvm-onereg-source.service); }
offline() { echo "deb [trusted=yes] http://127.0.0.1:9 ./" >/etc/apt/sources.list; rm -rf /var/lib/apt/lists/*; }
'

on_one bookworm
for release in $releases; do
	begin_deb
	run() { out=$(in_root -o "$1" -- "$functions$2"); }

	run "$deb_plain" '
		gone
		repos base
		install_ours >/tmp/log
		block </tmp/log
		echo "apt: $(resolved), $(states kvm-onereg-dkms), $(want result tried next), $(ls /var/lib/kvm-onereg/source)"
		status kvm-onereg-install >/tmp/log; tail -n 1 /tmp/log
		echo "by hand: $(resolved), $(ls /var/lib/kvm-onereg | xargs), $(ls /usr/src/linux-source-* 2>/dev/null)"
		apt install --reinstall kmod | block
		echo "later: nothing more is told"
		gone
		status dpkg-reconfigure kvm-onereg-dkms >/tmp/log; tail -n 1 /tmp/log
		echo "reconfigured: $(resolved), $(ls /var/lib/kvm-onereg/source)"'
	like "$release: apt does not download it" "$out" '^apt: distro distro distro, ii , untried 0 0, $'
	like "$release: at its end, a message names the kernel" "$out" \
		'^  6\.[^ ]+ +the source of kernel .* is not on this machine$'
	is "$release: the last line of that message is the command" \
		"$(sed -n '/^\*\*\*/,/^apt 0/p' <<<"$out" | tail -n 2 | xargs)" \
		"kvm-onereg-install apt 0"
	like "$release: which downloads the source and builds the modules" "$out" \
		'^by hand: ours ours ours, build-ids built log source, $'
	is "$release: the message is printed once" "$(grep -c '^\*\*\*' <<<"$out")" 1
	like "$release: installed modules need no source" "$out" '^reconfigured: ours ours ours, $'
	is "$release: all commands succeed" "$(grep '^status' <<<"$out" | xargs)" "status 0 status 0"
	diag_if_failed "$out"

	run "$deb_plain" '
		systemd
		gone
		repos base
		install_ours | block
		echo "apt: $(resolved), $(want result tried), $(($(date +%s) - $(want next) < 60)), $(cat /started)"
		(
			perl -MFcntl -e "open(F, q(+<), q(/var/lib/dpkg/lock-frontend)); \
				\$l = pack(q(s s l! l! i), F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, \$l) or die; sleep 100" & locked=$!
			sleep 1
			service >/tmp/log & s=$!
			sleep 5
			echo "dpkg runs: $(ls /var/lib/kvm-onereg/source)$(cat /tmp/log)"
			kill $locked
			wait $s
		)
		tail -n 1 /tmp/log
		echo "service: $(resolved), $(ls /var/lib/kvm-onereg | xargs)"
		service
		gone; rm -r /var/lib/kvm-onereg/built; rm /on /started
		repack 9.1.0 9.1.0
		apt install /new.deb >/tmp/log; tail -n 1 /tmp/log
		echo "off: $(want result next), $(cat /started 2>&1)"'
	like "$release: systemd: apt leaves it to the service" "$out" \
		'^apt: distro distro distro, untried 0, 1, start --no-block kvm-onereg-source.service$'
	like "$release: ... and names the command that shows its log" "$out" '^  journalctl -u kvm-onereg-source$'
	like "$release: the service waits for dpkg" "$out" '^dpkg runs: $'
	like "$release: then it downloads the source and builds the modules" "$out" \
		'^service: ours ours ours, build-ids built log source$'
	is "$release: after that, it has nothing to do" \
		"$(sed -n '/^service:/,/^status/p' <<<"$out" | xargs -d '\n' | sed 's/.*source //')" "status 0"
	like "$release: if the timer is disabled, apt does not start it" "$out" \
		'^off: untried 0, cat: /started: No such file'
	diag_if_failed "$out"

	run "$deb_plain" '
		systemd
		gone
		repos base
		install_ours >/tmp/log; tail -n 1 /tmp/log
		offline
		service
		echo "offline: $(resolved), $(want result), $(($(want next) - $(want tried)))"
		echo "message: $(want message)"
		service >/tmp/log
		echo "not due: $(cat /tmp/log)"
		t=$(($(date +%s) - 700))
		sed -i "s/^tried=.*/tried=$t/; s/^next=.*/next=$((t + 600))/" /var/lib/kvm-onereg/wanted/*
		service >/dev/null
		echo "again: $(want result), $(($(want next) - $(want tried)))"
		sed -i "s/^tried=.*/tried=1/; s/^next=.*/next=99999/" /var/lib/kvm-onereg/wanted/*
		service >/dev/null
		echo "at most: $(want result), $(($(want next) - $(want tried)))"
		repos next
		sed -i "s/^next=.*/next=1/" /var/lib/kvm-onereg/wanted/*
		service
		echo "unavailable: $(want result)"
		kvm-onereg status >/tmp/log 2>&1
		# The archive has the source again, but the lists of apt are not updated yet.
		printf "deb [trusted=yes] file:/repo/base ./\n" >/etc/apt/sources.list
		sed -i "s/^next=.*/next=1/" /var/lib/kvm-onereg/wanted/*
		service >/tmp/log
		echo "on offer: $(resolved), $(ls /var/lib/kvm-onereg | xargs)"'
	like "$release: offline: the service records that, and when it will try again" "$out" \
		'^offline: distro distro distro, offline, 600$'
	like "$release: ... and why" "$out" '^message: the archive cannot be reached'
	like "$release: it does not try again before that time" "$out" '^not due: status 0$'
	like "$release: after the second attempt, it waits longer" "$out" '^again: offline, 1200$'
	like "$release: ... up to a limit" "$out" '^at most: offline, 1800$'
	like "$release: not available: the message says so, and to which kernel to move" "$out" \
		'to fix: to move to a kernel whose source is available: apt-get install linux-image-amd64=|no available kernel has its source'
	like "$release: ... and the service records that" "$out" '^unavailable: unavailable$'
	like "$release: available again: the service queries the archive again" "$out" \
		'^on offer: ours ours ours, build-ids built log source$'
	diag_if_failed "$out"

	run "$deb_light" '
		printf "options kvm_%s cet=1\n" intel amd >/etc/modprobe.d/a.conf
		repos base next next-source
		N=$(apt-cache depends linux-image-amd64 | sed -n "s/.*Depends: linux-image-//p" | head -n 1)
		apt -o APT::Install-Recommends=false install linux-image-amd64 linux-headers-amd64 | block
		echo "new: $(resolved "$N"), old: $(resolved), $(ls /var/lib/kvm-onereg/wanted)"
		rm /etc/modprobe.d/a.conf
		printf "options kvm_%s cet=0\n" intel amd >/etc/modprobe.d/z.conf
		apt install --reinstall linux-headers-amd64 linux-headers-"$N" | block | sed "s/^/without: /"
		status kvm-onereg-install >/tmp/log; tail -n 1 /tmp/log
		echo "then: $(resolved "$N"), old: $(resolved), $(ls /var/lib/kvm-onereg/source | wc -l)"
		apt purge "linux-image-$N" "linux-headers-$N" linux-image-amd64 linux-headers-amd64 >/tmp/log; tail -n 1 /tmp/log
		echo "purged: $(ls /var/lib/kvm-onereg/source | wc -l) $(ls /var/lib/kvm-onereg | xargs)"'
	like "$release: apt leaves a new kernel for later" "$out" '^new: distro distro distro, old: ours ours ours, 6\.'
	is "$release: CET is requested, and the kernel boots next: a warning says so" \
		"$(grep -c '^\*\*\* 6.* boots next, and CET for guests is enabled' <<<"$out")" 1
	like "$release: if CET is off, there is no such warning" "$out" '^without: \*\*\* kvm-onereg'
	like "$release: the administrator's command installs modules for it, and the first kernel keeps its modules" \
		"$out" \
		'^then: ours ours ours, old: ours ours ours, 2$'
	like "$release: a purge of the new kernel removes its source, too" "$out" \
		'^purged: 1 build-ids built log source$'
	diag_if_failed "$out"
done
done_testing
