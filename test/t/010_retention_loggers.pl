# Loggers never wait for maintenance: eight of them log one entry at a time,
# some of them late ones, while partitions are made, thirty are archived and
# removed, policies take most of what others hold and these are rewritten, all
# of it beside a reader who has a transaction on mals.entries open. Nothing is
# lost, and in the end everything due is gone.
use strict;
use warnings;

use IPC::Run ();
use List::Util qw(max sum);
use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $archive = PostgreSQL::Test::Utils::tempdir();
my $logs = PostgreSQL::Test::Utils::tempdir();
my $node = mals_node('loggers', 'max_connections = 40', "mals.max_past = '-1'", "session_preload_libraries = 'mals'",
	'log_lock_waits = on', 'deadlock_timeout = 200ms', "mals.archive_directory = '$archive'", 'autovacuum_naptime = 5s');

append_to_file("$logs/log.sql", "SELECT mals_log('logger', 'Logged by :client_id')\n");
append_to_file("$logs/late.sql", "\\set day random(28, 65)\n"
	  . "SELECT mals_log('late', 'Late by :client_id', ts => now() - :day * interval '1 day')\n");

# Starts the loggers for some seconds.
sub start_loggers
{
	my ($name, $seconds) = @_;
	my %run = (name => $name, out => '');

	$run{handle} = IPC::Run::start([ 'pgbench', '-n', '-c', '8', '-j', '2', '-T', $seconds, '-l', "--log-prefix=$logs/$name",
			'-f', "$logs/log.sql\@20", '-f', "$logs/late.sql\@1", $node->connstr('postgres') ],
		'>', \$run{out}, '2>&1');
	return \%run;
}

# Waits for them; returns how many entries they have logged, and the longest wait in ms.
sub finish_loggers
{
	my ($run) = @_;
	my $longest = 0;
	my $count = 0;

	ok($run->{handle}->finish, "$run->{name}: no logger has failed") or diag($run->{out});
	foreach my $file (glob "$logs/$run->{name}.*")
	{
		open(my $in, '<', $file) or die "$file: $!";
		while (<$in>)
		{
			$longest = max($longest, (split)[2] / 1000);
			$count++;
		}
		close($in);
	}
	return ($count, $longest);
}

# 60 days of entries; three days have many of a level that goes early
$node->safe_psql('postgres', q{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'old', 'message', 'Entry ' || i, 'ts', now() - i * interval '10 minutes')))
	FROM generate_series(0, 60 * 144) AS i});
$node->safe_psql('postgres', qq{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'old', 'level', CASE WHEN i % 5 = 0 THEN 'info' ELSE 'debug' END,
	'message', 'Entry with some text to make it longer ' || i, 'ts', now() - interval '$_ days' - i * interval '1 second'))) FROM generate_series(0, 20000) AS i}) for 5 .. 7;
$node->safe_psql('postgres', q{SELECT mals_set_retention('2 days', 'debug')});
my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM mals.entries');

my ($baseline, $usual) = finish_loggers(start_loggers('baseline', 8));

# The reader comes first, and goes when removal has waited for it a while
my $reader = $node->background_psql('postgres');
my $run = start_loggers('maintained', 30);
$reader->query_safe('BEGIN; SELECT count(*) FROM mals.entries');
my $pruned = '';
my $pruner = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', 'SELECT mals_prune()' ], '>', \$pruned, '2>&1');
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM mals.partitions WHERE state = 'detaching')}) or die 'nothing is being detached';
sql_is($node, q{SELECT operation, total > 30 FROM mals.progress}, 'prune|t', 'progress is shown');
sql_is($node, q{SELECT mals_make_partitions(now() + interval '10 days', now() + interval '20 days') >= 10}, 't', 'partitions are made meanwhile');
sql_is($node, q{SELECT mals_maintain() -> 'pruned'}, '0', 'mals_maintain does not wait for another who removes');
sleep 10;
sql_is($node, q{SELECT count(*) FROM mals.partitions WHERE state = 'detaching'}, '1', 'removal waits for the reader, one partition at a time');
$reader->query_safe('COMMIT');
$pruner->finish;
chomp $pruned;
like($pruned, qr/^\d+$/, 'it ends when the reader has gone');
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM mals._partition_state s JOIN mals._partitions() p USING (partition) WHERE s.deleted > 10000})
  or die 'no partition was rewritten';
my ($logged, $longest) = finish_loggers($run);
$reader->quit;

note("longest wait: $usual ms without maintenance, $longest ms beside it; $baseline and $logged entries");
cmp_ok($longest, '<', 3 * $usual + 200, 'no logger has waited much longer than without maintenance');
my @waits = grep { /pgbench .*still waiting for/ } split /\n/, slurp_file($node->logfile);
is_deeply(\@waits, [], 'nor 200 ms for a lock');

my $last = $node->safe_psql('postgres', 'SELECT mals_prune()');
sql_is($node, 'SELECT count(*) FROM mals.entries', $before + $baseline + $logged - $pruned - $last, 'nothing is lost: all that went was counted');
sql_is($node, q{SELECT count(*) FROM mals.entries WHERE ts < now() - CASE level WHEN 'debug' THEN interval '2 days' ELSE interval '30 days' END - interval '1 minute'}, '0', 'everything due is gone');
sql_is($node, q{SELECT count(*) FROM mals.partitions WHERE to_ts < now() - interval '31 days' OR state ~ 'detach'}, '0', 'and so are its partitions');
sql_is($node, q{SELECT count(*) FROM mals.entries WHERE agent_id = 'logger'}, $node->safe_psql('postgres', q{SELECT count(DISTINCT id) FROM mals.entries WHERE agent_id = 'logger'}), 'no entry is there twice');
cmp_ok(scalar(() = glob "$archive/*/*.json"), '>=', 30, 'thirty partitions were archived');

$node->stop;
done_testing();
