# The server is killed 20 times under load. Every autonomous entry that was
# acknowledged is there, once, and every async one that was acknowledged before
# such a one was logged; of the async ones most often only some of the last
# mals.flush_interval are lost; and what is there of one producer is what it
# logged first, in its order.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = 20;
my $interval = 0.4;
my $node = mals_node('crash', "shared_preload_libraries = 'mals'", "mals.ring_size = '1MB'", 'mals.flush_interval = 400ms',
	'max_connections = 40', 'autovacuum = off', 'log_statement = none', 'synchronous_commit = on');
my $dir = PostgreSQL::Test::Utils::tempdir();
my %clients = map { ("autonomous-$_" => 'autonomous', "async-$_" => 'async') } 1 .. 3;

# A client logs numbered entries and prints the number of each that was acknowledged, when it was, and when it was logged.
for my $client (keys %clients)
{
	append_to_file("$dir/$client.sql", "SET mals.write_mode = '$clients{$client}';\n" . join('', map {
		"SELECT $_, extract(epoch FROM clock_timestamp()), extract(epoch FROM statement_timestamp()) FROM mals_log('$client', '$_', correlation_id => :'round');\n"
	} 1 .. 20000));
}

# How many lines a file has.
sub lines
{
	my ($file) = @_;

	return -e $file ? (slurp_file($file) =~ tr/\n//) : 0;
}

# Starts the server when all processes of the one that was killed have gone: before that it cannot start.
sub start
{
	my ($postmaster) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if !kill(0, $postmaster) && $node->start(fail_ok => 1);
		usleep(100_000);
	}
	die 'the server does not start';
}

my ($acknowledged, $lost_async) = (0, 0);
my @ages;
for my $round (1 .. $rounds)
{
	my %run;

	for my $client (keys %clients)
	{
		$run{$client} = IPC::Run::start([ 'psql', '-XqAt', '-v', "round=$round", '-d', $node->connstr('postgres'), '-f', "$dir/$client.sql" ],
			'>', "$dir/$client.$round", '2>', "$dir/$client.err");
	}
	for (1 .. 1800)
	{
		last unless grep { lines("$dir/$_.$round") < ($clients{$_} eq 'async' ? 300 : 30) } keys %clients;
		usleep(20_000);
	}
	usleep(int(rand(300_000)));

	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');

	$node->kill9;
	$_->finish foreach values %run;
	start($postmaster);

	my %stored = map { my ($client, $count, $ordered) = split /\|/; ($client => [ $count, $ordered ]) } split /\n/, $node->safe_psql('postgres', qq{
		SELECT agent_id, count(*), bool_and(message::int = row)
		  FROM (SELECT agent_id, message, row_number() OVER (PARTITION BY agent_id ORDER BY id) AS row
				  FROM mals.entries WHERE correlation_id = '$round') AS e
		 GROUP BY agent_id});
	my %said;
	my ($end, $sure, $age) = (0, 0, 0);
	my @problems;

	for my $client (keys %clients)
	{
		$said{$client} = [ map { [ split /\|/ ] } grep { /^\d+\|\d+\.\d+\|\d+\.\d+$/ } split /\n/, slurp_file("$dir/$client.$round") ];
		$end = $said{$client}[-1][1] if $said{$client}[-1][1] > $end;
		$sure = $said{$client}[-1][2] if $clients{$client} eq 'autonomous' && $said{$client}[-1][2] > $sure;
	}
	for my $client (keys %clients)
	{
		my ($count, $ordered) = @{ $stored{$client} // [ 0, 't' ] };
		my @lost = grep { $_->[0] > $count } @{ $said{$client} };

		$acknowledged += @{ $said{$client} };
		push @problems, "$client: doubled or out of order" if $ordered ne 't';
		push @problems, "$client: more than was logged" if $count > $said{$client}[-1][0] + 1;
		if ($clients{$client} eq 'async')
		{
			$lost_async += @lost;
			push @problems, sprintf('%s: lost an entry of %.3f s before one that is there', $client, $sure - $lost[0][1])
			  if @lost && $lost[0][1] < $sure;
			$age = $end - $lost[0][1] if @lost && $end - $lost[0][1] > $age;
		}
		elsif (@lost)
		{
			push @problems, "$client: lost " . @lost . ' that were acknowledged';
		}
	}
	is_deeply(\@problems, [], "crash $round");
	push @ages, $age;
}
# a machine that stands still may keep the writer from writing in time, but not most of the time
@ages = sort { $a <=> $b } @ages;
cmp_ok($ages[ $rounds / 2 ], '<=', $interval, 'most often what is lost is as young as it should be') or diag("@ages");
note("what was lost: up to @ages seconds old");
note("$acknowledged entries were acknowledged, $lost_async async ones lost");
cmp_ok($acknowledged, '>', $rounds * 900, 'many were acknowledged');
sql_is($node, 'SELECT count(*) - count(DISTINCT id) FROM mals.entries', '0', 'no id is there twice');
sql_is($node, 'SELECT count(*) FROM mals.dead_letters', '0', 'and no dead letter');

$node->stop;
done_testing();
