#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The help texts, the man page and the bash completion of kvm-onereg agree on its commands and options. The man page has
# the exit statuses of the help texts, and exactly the codes that doctor can report; docs/recover.md has no other code.
# shellcheck disable=SC2154,SC2016 # made-up.sh sets the variables; back quotes
. "$(dirname "$0")/made-up.sh"

source=$top/tools/kvm-onereg
commands=$("$checked/kvm-onereg" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p')

# What the help texts say, one fact per line: "command NAME", "NAME option --x", "NAME short -x", "NAME status N"
of_help() {
	local c help
	for c in $commands; do
		help=$("$checked/kvm-onereg" "$c" --help)
		echo "command $c"
		grep -o -E '(^ *(-[a-z], )?|[[ ])--[a-z][a-z-]*' <<<"$help" | grep -o -E -e '--.*' |
			sed "s/^/$c option /"
		grep -o -E '^ +-[a-z],' <<<"$help" | tr -d ' ,' | sed "s/^/$c short /"
		sed -n '/^Exit status/,$p' <<<"$help" | grep -o -E '(^| )[0-9]\b' | tr -d ' ' | sed "s/^/$c status /"
	done | grep -v -e 'option --help$' | sort -u
}

# The same facts from the source of a man page
of_page() { # FILE
	local c section
	# In the synopsis
	sed -n '/^# SYNOPSIS$/,/^# DESCRIPTION$/s/^\*kvm-onereg \([a-z]*\)[ *].*/command \1/p' "$1" >"$tmp/facts"
	for c in $commands; do
		section=$(sed -n "/^# ${c^^}\$/,/^# /p" "$1")
		grep -E '^\*--?[a-z]' <<<"$section" | grep -o -E -e '--[a-z][a-z-]*' | sed "s/^/$c option /"
		grep -o -E '^\*-[a-z]\*' <<<"$section" | tr -d '*' | sed "s/^/$c short /"
		sed -n "/^## Exit status of $c\$/,/^##/s/^- \*\([0-9]\)\*: .*/$c status \1/p" <<<"$section"
	done >>"$tmp/facts"
	sort -u "$tmp/facts"
}

# What the completion offers: commands and options
of_completion() ( # FILE
	complete_words() {
		COMP_WORDS=(kvm-onereg "$@") COMP_CWORD=$# COMPREPLY=()
		_kvm_onereg 2>/dev/null
		printf '%s\n' "${COMPREPLY[@]}"
	}
	# shellcheck disable=SC1090 # an argument
	. "$1"
	complete_words "" | sed -n 's/^[a-z]/command &/p'
	for c in $commands; do complete_words "$c" -- | sed "s/^/$c option /"; done | grep -v -e 'option --help$'
)

# Facts that the help texts and the page do not share; then the commands and options that the help texts and the
# completion do not share
differences() { # PAGE COMPLETION
	of_help >"$tmp/help"
	of_page "$1" | diff "$tmp/help" - | sed -n 's/^</page lacks/p; s/^>/page invents/p'
	of_completion "$2" | sort -u | diff <(grep -v -E ' (short|status) ' "$tmp/help") - |
		sed -n 's/^</completion lacks/p; s/^>/completion invents/p'
}

page=$source/kvm-onereg.8.scd completion=$source/completion.bash
is "the command has commands" "$(xargs <<<"$commands")" "status doctor regs swap preflight"
ok "the help texts are understood: an option" grep -q -x 'swap option --dry-run' <(of_help)
ok "... its short form" grep -q -x 'swap short -n' <(of_help)
ok "... an exit status" grep -q -x 'swap status 6' <(of_help)
is "help texts, man page and completion agree" "$(differences "$page" "$completion")" ""
while read -r c _ option; do
	onereg "$c" "$option" cet --help
	is "$c takes $option" "$status" 0
done < <(of_help | grep ' option ')

# without WHAT FACT SED-EXPRESSION: a page, or a completion, that is changed in this way differs in exactly this fact
without() {
	local changed=("$page" "$completion")
	sed "$3" "${changed[$1]}" >"$tmp/changed"
	changed[$1]=$tmp/changed
	is "detected: $2" "$(differences "${changed[@]}")" "$2"
}
without 0 "page lacks doctor short -k" '/^# DOCTOR$/,/^# SWAP$/s/^\*-k\*, //'
without 0 "page lacks swap option --dry-run" '/^# SWAP$/,/^# REGS$/s/^\(\*-n\*\), .*/\1/'
without 0 "page invents regs option --all" 's/^\*--bare\*/&, *--all*/'
without 0 "page lacks preflight status 3" '/^## Exit status of preflight/,/^# /{/^- \*3\*/d}'
without 0 "page lacks command doctor" '/^\*kvm-onereg doctor/d'
without 1 "completion lacks regs option --features" 's/ --features//'
without 1 "completion invents command stop" "s/words='status /&stop /"

# ---- the codes of doctor

codes() {
	find "$source" -name '*.c' -exec cat {} + | tr -s '\n\t ' ' ' |
		grep -o -E '(report_problem\( ?|report_on_kernel\( ?kernel, only, |code = |obstacle\) \{ )"[a-z-]+"' |
		grep -o '"[^"]*"' | tr -d '"' | sort -u
}
listed() { sed -n '/^|\[ \*code\*/,/^$/s/^|  \([a-z-]*\)$/\1/p' "$1" | sort; }
codes >"$tmp/codes"
ok "doctor has codes" grep -q -x swap-pending "$tmp/codes"
is "the man page has each code, and no other" "$(listed "$page" | diff "$tmp/codes" -)" ""
sed 's/^|  cet-off$/|  cet-of/' "$page" >"$tmp/page"
is "... a wrong one is seen" "$(listed "$tmp/page" | diff "$tmp/codes" - | grep '^[<>]' | sort)" $'< cet-off\n> cet-of'
recover() { sed -n '/^| code |/,/^$/s/^| \(`[^|]*\) |.*/\1/p' "$1" | tr -cs 'a-z-' '\n' | grep -v '^-*$' | sort -u; }
ok "docs/recover.md has some of them" test "$(recover "$top/docs/recover.md" | wc -l)" -gt 4
is "... and no other" "$(recover "$top/docs/recover.md" | comm -23 - "$tmp/codes")" ""
is "... a wrong one is seen" \
	"$(sed 's/`cet-invalid`/`cet-bad`/' "$top/docs/recover.md" | recover /dev/stdin | comm -23 - "$tmp/codes")" \
	cet-bad

# ---- the exit statuses of all commands

overall() { sed -n '/^# EXIT STATUS$/,/^# ENV/s/^- \*\([0-9]\)\*: .*/\1/p' "$1" | xargs; }
is "the section EXIT STATUS has each status of a command" "$(overall "$page")" \
	"$(of_help | sed -n 's/.* status //p' | sort -u | xargs)"

# ---- the page itself

log=$(flock "$checked" make -C "$source" O="$checked" "$checked/kvm-onereg.8" 2>&1) || diag "$log"
ok "the page is made" test -s "$checked/kvm-onereg.8"
is "... for man(1) with tbl" "$(head -n 1 "$checked/kvm-onereg.8")" "'\\\" t"
like "... with the version" "$(cat "$checked/kvm-onereg.8")" "\"kvm-onereg ${V//./\\.}\""
is "... mandoc accepts it" "$(mandoc -T lint -W error "$checked/kvm-onereg.8" 2>&1)" ""
text=$(mandoc -T utf8 "$checked/kvm-onereg.8" | sed 's/.\x08//g')
like "... and shows a code beside its meaning" "$text" '^ +read-only +a file system is read-only$'
done_testing
