#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The service that downloads missing sources, under the real systemd as process 1, with the restrictions of its unit.
# apt leaves a kernel to the service, which downloads the source; then DKMS builds the modules. One command disables it,
# which an upgrade respects. A removal stops it.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

script='
# The services of systemd find the stand-in for make first in this folder.
ln -s /stub/make /usr/local/bin/make
unit() { systemctl show -p "$2" --value kvm-onereg-source."$1"; }
repos base
sources_gone
rm -rf /var/lib/kvm-onereg /usr/src/linux-source-*
echo "process 1: $(cat /proc/1/comm)"
apt install /packages/kvm-onereg-dkms_*.deb
for ((i = 0; i < 200; i++)); do
	[ "$(unit service ActiveState)" = inactive ] && [ -e "/var/lib/kvm-onereg/built/$K" ] && break
	[ "$(unit service ActiveState)" != failed ] || break
	sleep 1
done
echo "service: $(resolved), $(unit service Result), wanted: $(ls /var/lib/kvm-onereg/wanted 2>/dev/null)"
journalctl -u kvm-onereg-source --no-pager
echo "timer: $(systemctl is-enabled kvm-onereg-source.timer), $(unit timer ActiveState)"
systemctl start kvm-onereg-source.service; echo "nothing to do: $?, $(unit service ConditionResult)"
systemctl disable --now kvm-onereg-source.timer
repack 9.1.0 9.1.0
apt install /new.deb >/tmp/log; tail -n 1 /tmp/log
echo "upgraded: $(systemctl is-enabled kvm-onereg-source.timer), $(unit timer ActiveState), $(resolved)"
systemctl enable --now kvm-onereg-source.timer
apt remove kvm-onereg-dkms >/tmp/log; tail -n 1 /tmp/log
echo "removed: $(unit timer ActiveState), $(resolved)"
echo end
'

for release in $releases; do
	begin_deb
	ok "$release: systemd can be installed" download "$tmp/systemd" systemd dbus
	rm -rf "$tmp/layer"
	cp -a "$deb_plain" "$tmp/layer"
	out=$(in_root -l "$tmp/layer" -b "$tmp/systemd:/systemd:ro" \
		-- 'apt --no-install-recommends install /systemd/*.deb')
	like "$release: apt installs it" "$out" '^apt 0$'
	rm -rf "$tmp/layer/work" "$tmp/layer/m"
	printf '%s\n' '#!/bin/bash' 'exec >/log 2>&1' 'trap "systemctl --force --force poweroff" EXIT' \
		'export DEBIAN_FRONTEND=noninteractive' "$prelude" "$script" >"$tmp/layer/up/script"
	chmod 755 "$tmp/layer/up/script"
	mkdir -p "$tmp/layer/up/etc/systemd/system/multi-user.target.wants"
	printf '%s\n' '[Unit]' 'After=multi-user.target' '[Service]' 'ExecStart=/script' \
		>"$tmp/layer/up/etc/systemd/system/script.service"
	ln -s ../script.service "$tmp/layer/up/etc/systemd/system/multi-user.target.wants/"

	timeout 400 "$root" run "$release" -n -i -l "$tmp/layer" "${options[@]}" -b "$made/project:/kvm-onereg:ro" -- \
		/lib/systemd/systemd --system --unit=multi-user.target >"$tmp/console" 2>&1
	out=$(cat "$tmp/layer/up/log")
	like "$release: systemd runs" "$out" '^process 1: systemd$'
	like "$release: apt leaves the download to the service" "$out" \
		'^kvm-onereg-source\.service is downloading the source'
	like "$release: the service succeeds, and the modules are built" "$out" \
		'^service: ours ours ours, success, wanted: $'
	like "$release: its journal reports the installation" "$out" 'install\[[0-9]+\]: +6\.[^ ]+ +installed \('
	like "$release: the timer remains active" "$out" '^timer: enabled, active$'
	like "$release: if nothing is wanted, the service is not started" "$out" '^nothing to do: 0, no$'
	like "$release: an upgrade keeps the timer disabled" "$out" '^upgraded: disabled, inactive, ours ours ours$'
	like "$release: a removal stops it" "$out" '^removed: inactive, distro distro distro$'
	is "$release: apt succeeds each time" "$(grep '^apt ' <<<"$out" | sort -u)" "apt 0"
	like "$release: the script ran to its end" "$out" '^end$'
	diag_if_failed "$out" "$(tail -n 30 "$tmp/console")"
done
done_testing
