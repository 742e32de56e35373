#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Every shell script passes shellcheck, every C file passes checkpatch.pl, and shfmt and clang-format find nothing to
# change. Lines of shell scripts have at most 120 columns. codespell finds no misspelt word.
#
# checkpatch.pl is the kernel's: $CHECKPATCH, or the one in build/checkpatch/scripts/, which is extracted from an
# installed linux-source package.
# shellcheck disable=SC2016 # scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
cd "$top" || exit 1

find . -name .git -prune -o -path ./build -prune -o -type f -print | sed 's,^\./,,' | sort >"$tmp/files"

# ---- shell

mapfile -t shell < <(tr '\n' '\0' <"$tmp/files" | xargs -0 awk '
	FNR > 4 { nextfile }
	FNR == 1 && /^#! ?(\/usr)?\/bin\/(env )?(ba|da)?sh/ || /^# shellcheck shell=/ { print FILENAME; nextfile }')

if command -v shellcheck >/dev/null; then
	# One run for all files; then a check for each file.
	shellcheck -x -P SCRIPTDIR -f gcc "${shell[@]}" >"$tmp/shellcheck.log" 2>&1
	is "shellcheck passes all files" $? 0
	for f in "${shell[@]}"; do
		is "shellcheck $f" "$(awk -v f="$f:" 'index($0, f) == 1' "$tmp/shellcheck.log")" ""
	done
	printf '#!/bin/sh\nrm -rf $1/*\n' >"$tmp/bad.sh"
	not_ok "shellcheck detects an error" 1 shellcheck "$tmp/bad.sh"
else
	skip "shellcheck" "not installed"
fi

if command -v shfmt >/dev/null; then
	for f in "${shell[@]}"; do
		ok "shfmt $f" shfmt -d "$f"
	done
	printf '#!/bin/sh\nif a\nthen b; fi\n' >"$tmp/bad-form.sh"
	not_ok "shfmt detects an error" 1 shfmt -d "$tmp/bad-form.sh"
else
	skip "shfmt" "not installed: install shfmt"
fi

# long FILE: print its lines of more than 120 columns (a tab is 8) that could be broken according to shfmt's syntax
# tree. A line may be longer
#   in a here-document,
#   inside a string of several lines, such as a script in quotes,
#   if a word in it, such as a string, would not fit on its own line, one tab deeper, either.
# A word with a $(...), and an array, can be broken there: only their parts are considered.
long() {
	shfmt --to-json <"$1" >"$tmp/tree.json"
	perl -e '
		use strict; use warnings;
		open my $f, "<", $ARGV[0] or die "$ARGV[0]: $!";
		chomp(my @line = ("", <$f>));
		my (%exempt, @open);
		sub columns { my $s = shift; 1 while $s =~ s/\t+/" " x (length($&) * 8 - length($`) % 8)/e; length $s }
		sub word { # from a line and column to a line and column
			my ($first, $from, $last, $to) = @_;
			for my $n ($first .. $last) {
				my $start = $n == $first ? $from - 1 : 0;
				my $text = substr $line[$n], $start, ($n == $last ? $to - 1 : length $line[$n]) - $start;
				$text = $line[$n] =~ s/[^\t].*//r . "\t$text" if $n == $first;
				$exempt{$n} = 1 if columns($text) > 120 or $n > $first && $n < $last;
			}
		}
		while (<STDIN>) {
			if (/^\t*(?:"(\w+)": )?\{$/) { push @open, { name => $1 // "" } }
			elsif (/^\t*"Type": "(\w+)"/) { $open[-1]{type} = $1 }
			elsif (/^\t*"(Line|Col)": (\d+)/) { $open[-1]{$1} = $2 }
			elsif (/^\t*"Parts": \[/) { $open[-1]{type} //= "Word" }
			elsif (/^\t*\}/) {
				my $node = pop @open;
				my $up = $open[-1] or last;
				my ($name, $at, $end) = @$node{qw(name Pos End)};
				$up->{$name} = [@$node{qw(Line Col)}] if $name =~ /^(Pos|End)$/;
				$up->{type} //= "Assign" if $name eq "Name";
				my $type = $node->{type} // "";
				$up->{commands} = 1 if $node->{commands} or $type =~ /^(CmdSubst|ProcSubst)$/ or $name eq "Array";
				next unless $at and $end;
				if ($name eq "Hdoc") { @exempt{$at->[0] .. $end->[0]} = (1) x 9999 }
				elsif ($type =~ /^(Word|Assign|Lit|SglQuoted|DblQuoted|ParamExp)$/ and !$node->{commands}) {
					word(@$at, @$end);
				}
			}
		}
		for my $n (grep { !$exempt{$_} } 1 .. $#line) {
			print "$ARGV[0]:$n: ", columns($line[$n]), " columns\n" if columns($line[$n]) > 120;
		}' "$1" <"$tmp/tree.json"
}
if ! shfmt --to-json </dev/null >/dev/null 2>&1 || ! perl -e 1; then
	skip "lines of more than 120 columns" "shfmt with --to-json, or perl, is not installed"
else
	# The tree is needed only for files with long lines.
	for f in "${shell[@]}"; do
		! expand "$f" | grep -q '.\{121\}' || is "no line of $f is too long" "$(long "$f")" ""
	done
	{
		x=$(printf '%060d' 0)
		# Lines 2 to 6 can be broken.
		printf '#!/bin/bash\necho %s %s\n\techo %s | cat %s\n' "$x" "$x" "$x" "$x"
		printf '# %s %s\na=(%s %s)\necho "$(echo %s %s)"\n' "$x" "$x" "$x" "$x" "$x" "$x"
		printf "cat <<E\n%s %s \$(echo)\nE\necho '\n%s %s\n'\n" "$x" "$x" "$x" "$x"
		printf 'echo "%s %s"\na=%s$a%s\necho %s %s\n' "$x" "$x" "$x" "$x" "$x$x" a
	} >"$tmp/long.sh"
	is "exactly the lines that are too long are detected" "$(long "$tmp/long.sh" | cut -d: -f2 | xargs)" "2 3 4 5 6"
fi

# ---- words

if command -v codespell >/dev/null; then
	is "codespell" "$(grep -v '[.]svg$' "$tmp/files" | tr '\n' '\0' | xargs -0 codespell -L inout)" ""
	printf 'te%s\n' h >"$tmp/bad.md"
	not_ok "codespell detects an error" 65 codespell "$tmp/bad.md"
else
	skip "codespell" "not installed: install codespell"
fi

# ---- C

# One run for all files; then a check for each file.
format() { clang-format --dry-run -Werror "$@"; }
version=$(clang-format --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
case $version in
"") skip "clang-format" "not installed: install clang-format" ;;
14 | 19)
	# The header of the ABI is not formatted: like the kernel's headers, it has its values in a column.
	mapfile -t list < <(grep -E '^(src|tests|tools)/.*[.][ch]$' "$tmp/files")
	format "${list[@]}" 2>"$tmp/format.log"
	is "clang-format passes all files" $? 0
	for f in "${list[@]}"; do
		is "clang-format $f" "$(grep -E "^$f:[0-9]+:" "$tmp/format.log")" ""
	done
	printf 'int f(void)\n{\n    return 1;\n}\n' >"$tmp/bad-form.c"
	cp .clang-format "$tmp"
	not_ok "clang-format detects an error" 1 format "$tmp/bad-form.c"
	;;
*) skip "clang-format" "version $version may format differently from 14 and 19, which agree" ;;
esac

checkpatch=${CHECKPATCH:-$build/checkpatch/scripts/checkpatch.pl}
if [ ! -e "$checkpatch" ]; then
	for tarball in /usr/src/linux-source-*.tar.*; do
		[ -e "$tarball" ] || continue
		mkdir "$tmp/checkpatch"
		# The files are near the end of the tarball: this takes a while, but only once.
		tar -C "$tmp/checkpatch" --strip-components=1 --wildcards -xf "$tarball" '*/scripts/checkpatch.pl' \
			'*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch' &&
			mv -T "$tmp/checkpatch" "$build/checkpatch"
		break
	done
fi
if [ ! -e "$checkpatch" ]; then
	skip "checkpatch.pl" "there is none: give CHECKPATCH=<file>, or install a linux-source package"
elif ! perl -e 1; then
	skip "checkpatch.pl" "no perl"
else
	# Run it in its own folder, where it writes a cache, and where it looks for a tree with --strict.
	mkdir "$tmp/include"
	run_checkpatch() {
		(
			cd "$tmp" &&
				perl "$checkpatch" --no-tree --root="$tmp" --no-summary --terse --show-types \
					--max-line-length=120 "$@"
		)
	}
	# One run for all files of a kind, because reading its word lists takes longest; then a check for each file.
	checked() { # FILES-PATTERN OPTION...
		local pattern=$1 f list=()
		shift
		mapfile -t list < <(grep -E "$pattern" "$tmp/files" | sed "s,^,$top/,")
		[ ${#list[@]} -gt 0 ] || return 0
		run_checkpatch "$@" -f "${list[@]}" >"$tmp/checkpatch.log" 2>&1
		for f in "${list[@]}"; do
			is "checkpatch ${f#"$top"/}" "$(grep -F "$f:" "$tmp/checkpatch.log")" ""
		done
		is "checkpatch has no other complaint" "$(grep -v -F "$top/" "$tmp/checkpatch.log")" ""
	}
	# The macros are constant expressions, and have to use an argument more than once.
	checked '^include/.*[.]h$' --strict --ignore MACRO_ARG_REUSE
	# tree.t checks that only compat.h uses the version.
	checked '^src/.*[.][ch]$' --strict --ignore LINUX_VERSION_CODE
	# User space does not have the kernel's headers and helpers
	ignored=PREFER_KERNEL_TYPES,BIT_MACRO,ARRAY_SIZE,STRCPY,PREFER_DEFINED_ATTRIBUTE_MACRO
	# Names of elf.h, inttypes.h and C11
	ignored+=,CAMELCASE
	# Symbols of assembly, and memory that assembly, a guest or another thread changes
	ignored+=,AVOID_EXTERNS,VOLATILE
	# Titles of checks with words that are also names of functions
	ignored+=,EMBEDDED_FUNCTION_NAME
	# Macros that define functions, and stand-ins for the kernel's macros
	ignored+=,MACRO_ARG_REUSE,MACRO_WITH_FLOW_CONTROL
	# clang-format aligns and breaks lines
	ignored+=,PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE
	checked '^(tests|tools)/.*[.][ch]$' --strict --ignore $ignored
	printf '// SPDX-License-Identifier: GPL-2.0\nint f(void)\n{\n    return (1);\n}\n' >"$tmp/bad.c"
	not_ok "checkpatch.pl detects an error" 1 run_checkpatch -f "$tmp/bad.c"
	printf '// SPDX-License-Identifier: GPL-2.0\nint f(char *p)\n{\n\treturn p == NULL;\n}\n' >"$tmp/bad-strict.c"
	ok "checkpatch.pl without --strict misses one" run_checkpatch -f "$tmp/bad-strict.c"
	not_ok "checkpatch.pl --strict detects it" 1 run_checkpatch --strict --ignore $ignored -f "$tmp/bad-strict.c"
fi

done_testing
