# Eight sessions bump the same counter, a gauge and a histogram while others fold
# and read: figures only go up, and are exact in the end; after a crash of the
# server under that load they are what was acknowledged.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = mals_node('metrics', 'max_connections = 40', 'synchronous_commit = on', 'restart_after_crash = on');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $value = q{SELECT COALESCE(max((regexp_match(l, '^hits_total (\S+)$'))[1]::bigint), 0) FROM mals_metrics() l};

# A client of eight that bumps a counter so many times, and prints a line each
# time it was committed.
sub client
{
	my ($number, $times) = @_;
	my %client = (out => "$dir/out-$number-$times", in => "$dir/in-$number-$times");

	append_to_file($client{in}, join '', map {
		"SELECT 'done' FROM (SELECT mals_counter('hits_total'), mals_counter('by_client_total', '{\"client\": $number}'),"
		  . " mals_gauge('level', 1, relative => true), mals_observe('took_seconds', $_ % 12)) AS s;\n" } 1 .. $times);
	$client{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', $client{in} ],
		'>', $client{out}, '2>', "$client{out}.err");
	return \%client;
}

# How many times a client was told that it is committed.
sub answers
{
	my ($client) = @_;

	return -s $client->{out} ? (slurp_file($client->{out}) =~ tr/\n//) : 0;
}

my @clients = map { client($_, 500) } 1 .. 8;
my $last = 0;
my $falls = 0;
my $folded = 0;
for my $try (1 .. 1000)
{
	my $now = $node->safe_psql('postgres', $value);

	$falls++ if $now < $last;
	$last = $now;
	$folded += $node->safe_psql('postgres', 'SELECT mals._fold_metrics()');
	last if $now >= 4000;
}
ok($_->{run}->finish, 'a client is done') for @clients;
is($falls, 0, 'the counter never went down');
cmp_ok($folded, '>', 0, 'samples were folded meanwhile');
for my $state ('as they are', 'folded')
{
	sql_is($node, $value, 4000, "samples $state: a counter");
	sql_is($node, q{SELECT count(*) FROM mals_metrics() l WHERE l ~ '^by_client_total\{client="\d"\} 500$'}, 8, "samples $state: its labels");
	sql_is($node, q{SELECT l FROM mals_metrics() l WHERE l ~ '^level '}, 'level 4000', "samples $state: a gauge");
	sql_is($node, q{SELECT string_agg(substring(l FROM ' (\S+)$'), ' ') FROM mals_metrics() l WHERE l ~ '^took_seconds_(sum|count|bucket.*"(1|10|.Inf)")'},
		'664 3672 4000 21936 4000', "samples $state: a histogram");
	$node->safe_psql('postgres', 'SELECT mals._fold_metrics()');
}
sql_is($node, 'SELECT count(*) FROM mals._samples', 0, 'all is folded once nothing runs');

# The server dies under the load, with one fold on its way.
@clients = map { client($_, 20000) } 1 .. 8;
for my $try (1 .. 1800)
{
	last if !grep { answers($_) < 50 } @clients;
	$node->safe_psql('postgres', 'SELECT mals._fold_metrics()');
	usleep(100_000);
}
$node->stop('immediate');
$_->{run}->finish for @clients;
my $acknowledged = 4000;
$acknowledged += answers($_) for @clients;
$node->start;
my $stored = $node->safe_psql('postgres', $value);
cmp_ok($acknowledged, '>', 4400, 'there was load');
cmp_ok($stored, '>=', $acknowledged, 'nothing that was acknowledged is lost');
cmp_ok($stored, '<=', $acknowledged + 8, 'and nothing is counted twice');
sql_is($node, q{SELECT sum(substring(l FROM ' (\d+)$')::bigint) FROM mals_metrics() l WHERE l ~ '^by_client_total\{'}, $stored, 'the labels sum up to the same');
$node->safe_psql('postgres', 'SELECT mals._fold_metrics()');
sql_is($node, $value, $stored, 'folding changes nothing');
sql_is($node, q{SELECT l FROM mals_metrics() l WHERE l ~ '^level '}, "level $stored", 'nor of the gauge');

$node->stop;
done_testing();
