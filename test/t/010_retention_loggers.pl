# Loggers never wait for maintenance: eight of them log one entry at a time,
# some of them late ones, while partitions are made, thirty are archived and
# removed, policies take most of what others hold and these are rewritten, all
# of it beside a reader who has a transaction on mals.entries open for a minute.
# Nothing is lost, and in the end everything due is gone.
use strict;
use warnings;

use IPC::Run ();
use List::Util qw(max);
use Mals;
use POSIX qw(ceil);
use PostgreSQL::Test::Utils;
use Test::More;

my $archive = PostgreSQL::Test::Utils::tempdir();
my $logs = PostgreSQL::Test::Utils::tempdir();
my $node = mals_node('loggers', 'max_connections = 40', "mals.max_past = '-1'", "session_preload_libraries = 'mals'",
	'statement_timeout = 120s', 'log_lock_waits = on', 'deadlock_timeout = 200ms', "mals.archive_directory = '$archive'", 'autovacuum_naptime = 5s');

append_to_file("$logs/log.sql", "SELECT mals_log('logger', 'Logged by :client_id')\n");
append_to_file("$logs/late.sql", "\\set day random(28, 65)\n"
	  . "SELECT mals_log('late', 'Late by :client_id', ts => now() - :day * interval '1 day')\n");

# Starts the loggers.
sub start_loggers
{
	my ($name) = @_;
	my %run = (name => $name, out => '');

	$run{handle} = IPC::Run::start([ 'pgbench', '-n', '-c', '8', '-j', '2', '-T', '900', '-R', '5000', '-l', "--log-prefix=$logs/$name",
			'-f', "$logs/log.sql\@20", '-f', "$logs/late.sql\@1", $node->connstr('postgres') . ' application_name=logger' ],
		'>', \$run{out}, '2>&1');
	return \%run;
}

# Ends them; returns how many entries they have logged, and of the calls' times, in
# ms, the longest, and what 999 of 1000 stay below.
sub finish_loggers
{
	my ($run) = @_;
	my $count = 0;
	my %times;

	# as if their time were over
	$run->{handle}->signal('ALRM');
	ok($run->{handle}->finish, "$run->{name}: no logger has failed") or diag($run->{out});
	foreach my $file (glob "$logs/$run->{name}.*")
	{
		open(my $in, '<', $file) or die "$file: $!";
		while (<$in>)
		{
			# without what pgbench was late itself
			my ($time, $late) = (split)[ 2, 6 ];

			$times{ ceil(($time - $late) / 1000) }++;
			$count++;
		}
		close($in);
	}

	my $longest = max(keys %times);
	my $below = $longest;
	my $rest = $count / 1000;

	foreach my $time (sort { $b <=> $a } keys %times)
	{
		$below = $time;
		last if ($rest -= $times{$time}) < 0;
	}
	note("$run->{name}: $count entries; the longest call took $longest ms, 999 of 1000 up to $below ms");
	return ($count, $longest, $below);
}

# 60 days of entries; three days have many of a level that goes early
$node->safe_psql('postgres', q{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'old', 'message', 'Entry ' || i, 'ts', now() - i * interval '10 minutes')))
	FROM generate_series(0, 60 * 144) AS i});
$node->safe_psql('postgres', qq{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'old', 'level', CASE WHEN i % 5 = 0 THEN 'info' ELSE 'debug' END,
	'message', 'Entry with some text to make it longer ' || i, 'ts', now() - interval '$_ days' - i * interval '1 second'))) FROM generate_series(0, 20000) AS i}) for 5 .. 7;
$node->safe_psql('postgres', q{SELECT mals_set_retention('2 days', 'debug')});
my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM mals.entries');

my $run = start_loggers('alone');
sleep 8;
my ($baseline, $usual_longest, $usual) = finish_loggers($run);

# The reader comes first and stays a minute. Policies take entries from some days
# meanwhile, partitions are made, one is archived and waits to be removed.
my $reader = $node->background_psql('postgres');
$run = start_loggers('maintained');
$reader->query_safe('BEGIN; SELECT count(*) FROM mals.entries');
my $begin = time;
my $pruned = '';
my $pruner = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', 'SELECT mals_prune()' ], '>', \$pruned, '2>&1');
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM mals.partitions WHERE state = 'detaching')}) or die 'nothing is being detached';
sql_is($node, q{SELECT operation, total > 30 FROM mals.progress}, 'prune|t', 'progress is shown');
sql_is($node, q{SELECT count(*) >= 3 FROM mals._partition_state s JOIN mals._partitions() p USING (partition) WHERE s.deleted > 10000}, 't', 'policies have taken entries');
sql_is($node, q{SELECT mals_make_partitions(now() + interval '10 days', now() + interval '20 days') >= 10}, 't', 'partitions are made');
sql_is($node, q{SELECT mals_maintain() -> 'pruned'}, '0', 'mals_maintain does not wait for another who removes');
is(scalar(() = glob "$archive/*/*.json") > 0, 1, 'a partition is archived');
my @left = map { $begin + $_ } 16, 31, 46, 61;
while (@left)
{
	sleep max(shift(@left) - time, 0);
	sql_is($node, q{SELECT count(*) FROM mals.partitions WHERE state = 'detaching'}, '1', 'removal waits for the reader, one partition at a time');
}
cmp_ok($reader->query_safe('SELECT extract(epoch FROM clock_timestamp() - now())'), '>=', 60, 'for a minute');
$reader->query_safe('COMMIT');
$reader->quit;
$pruner->finish;
chomp $pruned;
like($pruned, qr/^\d+$/, 'it ends when the reader has gone');

# then those that have lost entries are rewritten
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM mals._partition_state s JOIN mals._partitions() p USING (partition) WHERE s.deleted > 10000})
  or die 'no partition was rewritten';
my ($logged, $longest, $most) = finish_loggers($run);

# What blocks loggers, or workers that make partitions for them, shows as a wait
# for a lock on a table; not the queue of those who miss the same partition (an
# object). The times of calls depend on what else the machine does, and tell only
# of the rest.
my @waits = grep { /still waiting for/ && !/010_retention_loggers| on object / } split /\n/, slurp_file($node->logfile);
is_deeply(\@waits, [], 'no logger has waited 200 ms for a lock');
cmp_ok($most, '<', 3 * $usual + 100, 'of 1000 calls 999 take about as long as without maintenance');
cmp_ok($longest, '<', 5 * $usual_longest + 5000, 'and none as long as the reader was there');

my $last = $node->safe_psql('postgres', 'SELECT mals_prune()');
sql_is($node, 'SELECT count(*) FROM mals.entries', $before + $baseline + $logged - $pruned - $last, 'nothing is lost: all that went was counted');
sql_is($node, q{SELECT count(*) FROM mals.entries WHERE ts < now() - CASE level WHEN 'debug' THEN interval '2 days' ELSE interval '30 days' END - interval '1 minute'}, '0', 'everything due is gone');
sql_is($node, q{SELECT count(*) FROM mals.partitions WHERE to_ts < now() - interval '31 days' OR state ~ 'detach'}, '0', 'and so are its partitions');
sql_is($node, q{SELECT count(*) FROM mals.entries WHERE agent_id = 'logger'}, $node->safe_psql('postgres', q{SELECT count(DISTINCT id) FROM mals.entries WHERE agent_id = 'logger'}), 'no entry is there twice');
cmp_ok(scalar(() = glob "$archive/*/*.json"), '>=', 30, 'thirty partitions were archived');

$node->stop;
done_testing();
