# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# bash completion of kvm-onereg(8)

_kvm_onereg() {
	local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=''

	# What follows an option
	case $COMP_CWORD/$last in
	1/*) words='status doctor regs swap preflight --help --version' ;;
	*/-k | */--kernel) words=$(cd /lib/modules 2>/dev/null && echo *) ;;
	*/--without) words='cet nested' ;;
	*/--qemu) words='7.2 10 11' ;;
	*/--save | */--compare | */--baseline | */--qmp | */--state-dir)
		compopt -o default
		COMPREPLY=()
		return
		;;
	*)
		case $command in
		status) words='--json --kernel --check --help' ;;
		doctor) words='--json --kernel --help' ;;
		swap) words='ours distro --keep-guests --qmp --state-dir --dry-run --json --help' ;;
		regs) words="--json --bare --features --names --help $(kvm-onereg regs --names 2>/dev/null)" ;;
		preflight)
			words='--json --save --compare --baseline --qemu --without --help'
			[[ $word = -* ]] || compopt -o default
			;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _kvm_onereg kvm-onereg
