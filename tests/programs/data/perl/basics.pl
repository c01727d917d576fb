# SPDX-License-Identifier: Apache-2.0
use strict;
use warnings;
my %count;
open(my $in, '<', 'words') or die "words: $!";
while (<$in>) {
	$count{$_}++ for /\b([a-z]{3,})\b/g;
}
close $in;
open(my $out, '>', 'counts') or die;
printf $out "%-10s %d\n", $_, $count{$_} for sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
close $out;
print scalar(keys %count), " words counted, arguments @ARGV\n";
print join(',', map { $_ ** 2 } grep { $_ % 2 } 1 .. 15), "\n";
(my $text = 'The quick brown fox') =~ s/(\w+)/\u\L$1/g;
print "$text\n", scalar reverse($text), "\n";
print sprintf('%vd', '1.22.333'), ' ', 1e100, ' ', 10 / 3, ' ', int(-7 / 2), "\n";
local $| = 1;
eval { die { code => 42 } };
print "died with $@->{code}\n";
my @sorted = sort { $a <=> $b } map { ($_ * 7919) % 1009 } 1 .. 1000;
print "@sorted[0 .. 9]\n";
mkdir 'made' or die;
rename 'counts', 'made/counts' or die;
symlink 'made/counts', 'link' or die;
print -s 'link', ' ', (-l 'link' ? 'link' : 'no link'), ' ', readlink('link'), "\n";
opendir(my $dir, '.') or die;
print join(' ', sort grep { !/^\./ } readdir $dir), "\n";
print "no such file: ", (open(my $none, '<', 'nothing') ? 'opened' : "$!"), "\n";
print "ends\n";
