#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The command's files depend on each other in one direction: base/ only on itself, model/ also on base/, a command on
# both, and on no other command. A header declares exactly what its own .c file defines, so that the includes of a file
# are its dependencies; and no two files depend on each other.
# shellcheck disable=SC2016 # Perl in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

if ! perl -e 1; then
	skip_all "no perl"
fi

# faults FOLDER: print what is wrong with the files in it, one fault per line
faults() {
	(cd "$1" && find . -name '*.[ch]' | sed 's,^\./,,' | sort | perl -ne '
		use strict; use warnings;
		our (%needs, %declared, %defined);
		chomp; my $file = $_; my ($unit) = /(.*)\.[ch]$/;
		$needs{$unit} //= {};
		open my $f, "<", $file or die "$file: $!"; my $text = do { local $/; <$f> };
		$text =~ s{/\*.*?\*/}{ }gs; $text =~ s{//.*}{}g;
		while ($text =~ /^#include "(.*)\.h"$/mg) { $needs{$unit}{$1} = 1 if $1 ne $unit; }
		$text =~ s/^#(?:[^\n]*\\\n)*[^\n]*//mg;
		print "$file declares what another file defines\n" if $file =~ /\.c$/ and $text =~ /^\s*extern\b/m;
		# Keep only the text outside braces
		1 while $text =~ s/\{[^{}]*\}/\x01/g;
		$text =~ s/"(?:\\.|[^"\\])*"//g;
		while ($text =~ /^([a-z][^;\x01]*?)(\x01[^;\x01\n]*;|\x01|;)/mg) {
			my ($what, $end) = ($1, $2);
			next if $what =~ /^(static|typedef)\b/;
			$what =~ s/__attribute__\s*\(\(.*\)\)//s;
			if ($what =~ /^[\w\s\*]*?\b(\w+)\s*\(/s and $what !~ /=/) {
				my $name = $1;
				if ($end =~ /^\x01/) { $defined{$unit}{$name} = 1 } else { $declared{$unit}{$name} = 1 }
			} elsif ($what =~ /^extern\b/) {
				my $names = $end =~ /^\x01(.*);/s ? $1 : $what;
				$declared{$unit}{$1} = 1 while $names =~ /\b(\w+)\s*(?:\[[^\]]*\])*\s*(?=,|$)/g;
			} elsif ($file =~ /\.c$/ and $what =~ /\w\s+\**\w+\s*(\[[^\]]*\]\s*)*(=|$|,)/s and
				 $what !~ /^(struct|enum|union)\s+\w+\s*$/) {
				my $names = $what =~ s/=.*//sr;
				$defined{$unit}{$1} = 1 while $names =~ /\b(\w+)\s*(?:\[[^\]]*\])*\s*(?=,|$)/g;
			}
		}
		END {
			for my $unit (sort keys %needs) {
				for (sort keys %{$declared{$unit}}) {
					print "$unit.h declares $_, which $unit.c does not define\n" unless $defined{$unit}{$_};
				}
				for (sort keys %{$defined{$unit}}) {
					print "$unit.c defines $_, which $unit.h does not declare\n"
						unless $declared{$unit}{$_} or $_ eq "main";
				}
				for (sort keys %{$needs{$unit}}) {
					my ($from) = $unit =~ m{(.*)/}; my ($to) = m{(.*)/};
					$from //= ""; $to //= "";
					my $good = $from eq "base" ? $to eq "base" : $from eq "model" ? $to =~ /^(base|model)$/ :
						$to =~ /^(base|model|)$/ || $to eq $from || $unit eq "main";
					print "$unit is below $_, and needs it\n" unless $good;
				}
			}
			# Repeatedly remove units that need no other that is left. The rest is in a cycle, or needs one
			my %left = %needs;
			my $needy = sub { grep(exists $left{$_}, keys %{$left{shift()}}) };
			while (my @free = grep(!$needy->($_), keys %left)) { delete @left{@free} }
			my %used; $used{$_} = 1 for map { keys %$_ } values %left;
			print "a cycle: ", join(" ", grep { $used{$_} } sort keys %left), "\n" if %left;
		}')
}

source=$top/tools/kvm-onereg
ok "there are files to look at" test "$(find "$source" -name '*.c' | wc -l)" -gt 40
is "dependencies go one way" "$(faults "$source")" ""

# ---- the checks detect errors

changed() { # FILE TEXT: print the faults after TEXT was appended to FILE
	rm -rf "$tmp/source"
	cp -r "$source" "$tmp/source"
	printf '%s\n' "$2" >>"$tmp/source/$1"
	faults "$tmp/source"
}
is "a cycle of two files" "$(changed base/memory.h '#include "base/text.h"' | sed -n 's/:.*//p' | sort -u)" "a cycle"
like "... which are named" "$(changed base/memory.h '#include "base/text.h"')" 'base/memory .*base/text'
like "a cycle of more files" "$(changed model/series.h '#include "model/outlook.h"')" \
	'^a cycle: .*model/kernel .*model/outlook .*model/series'
like "a file of base/ that needs model/" "$(changed base/json.c '#include "model/names.h"')" \
	'^base/json is below model/names'
like "a file of model/ that needs a command" "$(changed model/names.c '#include "status.h"')" \
	'^model/names is below status'
like "a command that needs another" "$(changed doctor/facts.c '#include "swap/set.h"')" \
	'^doctor/facts is below swap/set'
like "a header that declares a function of another file" \
	"$(changed base/file.h 'char *format(const char *form, ...);')" \
	'^base/file.h declares format, which base/file.c does not define'
like "... or variable" "$(changed base/file.h 'extern const char tools_version[];')" \
	'^base/file.h declares tools_version'
like "a function that no header declares" "$(changed base/file.c $'int hidden(void)\n{\n\treturn 1;\n}')" \
	'^base/file.c defines hidden'
like "a variable that no header declares" "$(changed base/file.c 'int hidden = 1;')" '^base/file.c defines hidden'
like "a declaration in a .c" "$(changed base/file.c 'extern int hidden;')" \
	'^base/file.c declares what another file defines'
done_testing
