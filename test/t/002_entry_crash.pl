# What a crash leaves: every entry that was acknowledged, and no part of a batch.
# One backend is killed in the middle of a batch; the server stops at once under
# the load of several clients, twice.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = mals_node('crash', 'max_connections = 40', 'synchronous_commit = on', 'restart_after_crash = on');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $whole = q{SELECT count(*) FROM (SELECT metadata->>'batch' FROM mals.entries WHERE metadata ? 'batch'
	GROUP BY 1 HAVING count(*) <> 50) AS s};
my $sane = q{SELECT count(*) FROM mals.entries WHERE mals_id_ts(id) <> ts OR agent_id IS NULL OR fingerprint IS NULL};

# A client that logs single entries and batches over many days, and prints what
# was acknowledged: the number of the round, after its commit.
sub client
{
	my ($number) = @_;
	my $script = "SET mals.max_past = '-1';\n" . join('', map {
		my $key = "$number-$_";
		"SELECT 'one $key' FROM mals_log('client-$number', 'Round $_', metadata => '{\"one\": \"$key\"}', ts => '2015-01-01Z'::timestamptz + $_ * interval '3 hours');\n"
		  . "SELECT 'batch $key' FROM (SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'client-$number', 'message', 'Entry ' || i,\n"
		  . "	'batch', '$key', 'ts', '2015-01-01Z'::timestamptz + ($_ + i) * interval '2 hours'))) FROM generate_series(1, 50) AS i OFFSET 0) AS b (n) WHERE n = 50;\n"
	} 1 .. 5000);
	my %client = (out => "$dir/client-$number", in => "$dir/script-$number");

	append_to_file($client{in}, $script) unless -e $client{in};
	$client{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', $client{in} ],
		'>', $client{out}, '2>', "$client{out}.err");
	return \%client;
}

# Waits until a client has got so many answers.
sub wait_for_answers
{
	my ($client, $count) = @_;

	for my $try (1 .. 1800)
	{
		return if (-s $client->{out} // 0) > 0 && (slurp_file($client->{out}) =~ tr/\n//) >= $count;
		usleep(100_000);
	}
	die 'no answers';
}

# One backend is killed in the middle of a large batch: one after the other is
# stored by a statement that would not end.
$node->safe_psql('postgres', q{SELECT mals_log('kept', 'before')});
my $victim = IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c',
	q{SET application_name = 'victim'; SELECT mals_log_batch(b) FROM (SELECT jsonb_agg(jsonb_build_object('agent_id', 'victim', 'message', 'Entry ' || i, 'batch', 'victim')) AS b
	FROM generate_series(1, 100000) AS i) AS s, generate_series(1, 1000000)} ], '>', "$dir/victim", '2>', "$dir/victim.err");
$node->poll_query_until('postgres', q{SELECT sum(pg_relation_size(inhrelid)) > 100000 FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass})
	or die 'the batch has not begun to be stored';
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name = 'victim' AND state = 'active'});
ok($pid, 'the batch is being stored');
kill_backend($node, $pid);
$victim->finish;
sql_is($node, q{SELECT agent_id, count(*) FROM mals.entries GROUP BY 1}, 'kept|1', 'a killed backend leaves nothing of its batch');
sql_is($node, q{SELECT mals_log('kept', 'after') IS NOT NULL}, 't', 'and the others log on');

# The whole server stops at once.
my %acknowledged;
for my $crash (1, 2)
{
	my @clients = map { client("$crash$_") } 1 .. 4;

	wait_for_answers($_, 60) foreach @clients;
	$node->stop('immediate');
	$_->{run}->finish foreach @clients;
	$node->start;
	$acknowledged{$_} = 1 foreach map { split /\n/, slurp_file($_->{out}) } @clients;

	my %stored = map { $_ => 1 } split /\n/, $node->safe_psql('postgres',
		q{SELECT DISTINCT coalesce('one ' || (metadata->>'one'), 'batch ' || (metadata->>'batch')) FROM mals.entries WHERE metadata ?| '{one,batch}'});
	my @lost = grep { !$stored{$_} } sort keys %acknowledged;

	cmp_ok(scalar(keys %acknowledged), '>=', 240 * $crash, "crash $crash: many entries were acknowledged");
	is_deeply(\@lost, [], "crash $crash: all of them are there");
	cmp_ok(scalar(keys %stored) - keys %acknowledged, '<=', 4 * $crash, "crash $crash: of others one a client at most");
	sql_is($node, $whole, '0', "crash $crash: every batch is whole");
	sql_is($node, $sane, '0', "crash $crash: and every entry too");
	sql_is($node, q{SELECT count(*) - count(DISTINCT id) FROM mals.entries}, '0', "crash $crash: no id is there twice");
	sql_is($node, q{SELECT mals_log('kept', 'after a crash') IS NOT NULL}, 't', "crash $crash: logging goes on");
}

$node->stop;
done_testing();
