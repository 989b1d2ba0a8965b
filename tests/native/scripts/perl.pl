# perl: hashes, fork, pipes, signals
use strict;
use List::Util qw(sum);
my %h = (a => 1, b => 2);
print join(",", map { "$_$h{$_}" } sort keys %h), sum(1 .. 10), "\n";
print `echo sub`;
my $pid = fork;
if (!$pid) { exit 3 }
waitpid $pid, 0;
print $? >> 8, "\n";
printf "%.3f %s\n", atan2(1, 1) * 4, "x" x 3;
open my $p, "-|", "echo piped" or die;
print <$p>;
$_ = "aXbX";
s/X/-/g;
print "$_\n";
local $SIG{ALRM} = sub { print "alarm\n" };
alarm 1;
select undef, undef, undef, 3;
print sprintf("%b", 10), " ", sort({ $b <=> $a } 1, 3, 2), "\n";
