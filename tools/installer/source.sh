# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2034 # tools/install sets and uses the variables
#
# source.sh - kernels whose exact source is not on this machine
#
# If a person runs the installer, it downloads the source immediately (src/fetch says from where). While dpkg runs, it
# downloads nothing: it records what is wanted and starts kvm-onereg-source.service, which runs the installer again with
# --service. The timer repeats that until nothing is wanted. The text for the end of apt's output goes to $notice, which
# /etc/apt/apt.conf.d/zz-kvm-onereg shows.
#
# /var/lib/kvm-onereg/wanted/KERNEL exists while the source of KERNEL is not here. Lines:
#   version=   the Debian version of the source
#   result=    the result of the last attempt: untried, offline, unavailable or failed
#   message=   the reason, in one line
#   tried=     the time of the last attempt, in seconds since 1970, or 0
#   next=      the time of the service's next attempt; 0: there will be none

notice=/run/kvm-onereg.notice
wants=$state/wanted
unit=kvm-onereg-source
user_command=kvm-onereg-install
[ -n "$packaged" ] || user_command="make -C $here install"

# How this run may download source: by "hand", as the "service", or not at all.
fetching=hand
[ -z "${DPKG_MAINTSCRIPT_PACKAGE:-}" ] && [ "${FETCH:-yes}" = yes ] || fetching=''
asked_for=' ' lacking=() source_lacking=''

# Whether the service will try again by itself.
automatic() {
	[ -n "$packaged" ] && [ -d /run/systemd/system ] && systemctl is-enabled -q "$unit.timer" 2>/dev/null
}

want_value() { sed -n "s/^$2=//p" "$wants/$1" 2>/dev/null; }

# For the service: whether it is time to try kernel $1 again.
due() {
	local next
	next=$(want_value "$1" next)
	[ "${next:-0}" -le "$(date +%s)" ]
}

# Download the source of kernel $1 and return 0, or set $out and $status to what went wrong. This can take long; other
# runs may install in the meantime.
fetch_source() {
	local k=$1 now=''
	[ -n "$fetching" ] || return
	case $asked_for in *" $k "*) return 1 ;; esac
	asked_for="$asked_for$k "
	[ "$fetching" = hand ] || { due "$k" && now=-r; } || return
	flock -u 7
	{
		out=$("$here/src/prepare" -k "$k" -d "/lib/modules/$k/build" -s "$state/source" -S -f $now \
			2>&1 >&6 7>&-) &&
			status=0 || status=$?
	} 6>&1
	flock 7
	[ "$state/.lock" -ef /proc/self/fd/7 ] || die 5 "$name was removed in the meantime"
	[ "$status" = 0 ]
}

# Record how src/prepare ended for kernel $1: with status $2 and message $3, for version $4 of the source.
note_source() {
	local k=$1 message=$3 v=$4 result='' was='' tried next=0 delay least=600 most=21600
	case $2 in
	12 | 13) result=untried ;;
	18) result=unavailable most=86400 ;;
	19) result=offline most=1800 ;;
	14 | 16 | 20) result=failed ;;
	esac
	# If the source is there, nothing is wanted, whatever else is wrong.
	if [ -z "$result" ] || [ -z "$v" ] || [ -e "$state/source/$v/SHA256SUMS" ]; then
		rm -f "$wants/$k"
		return
	fi
	source_lacking="$source_lacking $k"
	tried=0 delay=0
	if [ "$(want_value "$k" version)" = "$v" ]; then
		was=$(want_value "$k" result) tried=$(want_value "$k" tried) next=$(want_value "$k" next)
		[ "${tried:-0}" = 0 ] || [ "${next:-0}" = 0 ] || delay=$((next - tried))
	fi
	if [ "$result" = untried ] && [ -z "$fetching" ]; then
		# Keep the result and the reason of the previous attempt; the service begins immediately.
		[ -z "$was" ] || { result=$was message=$(want_value "$k" message); }
		next=$(date +%s)
	elif [ "$fetching" = service ] && ! due "$k"; then
		return
	else
		tried=$(date +%s)
		delay=$((delay * 2))
		[ "$delay" -ge "$least" ] || delay=$least
		[ "$delay" -le "$most" ] || delay=$most
		next=$((tried + delay))
	fi
	automatic || next=0
	{ mkdir -p "$wants" &&
		printf '%s\n' "version=$v" "result=$result" "message=${message//$'\n'/ }" "tried=${tried:-0}" \
			"next=$next" >"$wants.part" &&
		mv "$wants.part" "$wants/$k"; } ||
		die 5 "cannot write to $wants: disk full?" "make room (1 MB), then run this again"
}

# Whether kernel $1 belongs to a series that is supported.
is_supported() { sed -n 's/\tDebian.*//p' "$here/src/series" | grep -q -x -F "$(cut -d. -f1,2 <<<"$1")"; }

# Kernel $1 could have our modules but does not, for reason $2; $3: what helps, unless it is the source.
lacks() { [ -n "${stays:-}" ] || ! is_supported "$1" || lacking+=("$1|$2|${3:-}"); }

# At the end of an install for all kernels.
end_source() {
	local k l why fix
	for k in "$wants"/*; do
		k=${k##*/}
		case "$source_lacking " in *" $k "*) ;; *) rm -f "$wants/$k" ;; esac
	done
	rmdir "$wants" 2>/dev/null
	[ ${#lacking[@]} -gt 0 ] || {
		rm -f "$notice"
		return
	}
	# By hand or as the service, this run's own output has said so already.
	[ -n "${DPKG_MAINTSCRIPT_PACKAGE:-}" ] || return 0
	{
		echo
		echo "*** kvm-onereg: these kernels have the distribution's KVM, not ours ***"
		for l in "${lacking[@]}"; do
			IFS='|' read -r k why fix <<<"$l"
			line "$k" "$why"
			[ -z "$fix" ] || more "to fix: $fix"
		done
		k=$(kernels | tail -n 1)
		if printf '%s\n' "${lacking[@]}" | grep -q "^${k//./\\.}|" && cet_asked; then
			echo "*** $k boots next, and CET for guests is enabled: after a reboot, guests with CET cannot run here ***"
		fi
		if [ -n "$source_lacking" ] && automatic; then
			echo "$unit.service is downloading the source and building the modules in the background. To follow it:"
			echo "  journalctl -u $unit"
		elif [ -n "$source_lacking" ]; then
			echo "To download the source and build the modules, run as root:"
			echo "  $user_command"
		fi
	} >"$notice.part" 2>/dev/null && mv "$notice.part" "$notice"
	[ -z "$source_lacking" ] || ! automatic || systemctl start --no-block "$unit.service" || :
}

# As the service: begin when neither dpkg nor apt is running, and only if there is something to do.
begin_service() {
	local k some='' n=0
	fetching=service
	for k in "$wants"/*; do [ ! -e "$k" ] || ! due "${k##*/}" || some=y; done
	[ -n "$some" ] || exit 0
	while dpkg_runs; do
		n=$((n + 1))
		[ "$n" -le 1800 ] || {
			echo "$name: dpkg has been running for an hour; the timer will try again later"
			exit 0
		}
		sleep 2
	done
}

# Whether a process holds one of dpkg's locks.
dpkg_runs() {
	local inodes
	inodes=$(stat -c %i /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock 2>/dev/null | sed 's/.*/:&$/')
	[ -n "$inodes" ] && awk '{ print $6 }' /proc/locks | grep -q -e "$inodes"
}
