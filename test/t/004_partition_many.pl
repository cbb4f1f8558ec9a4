# Partitions that many sessions miss at once, without free workers, and beside
# locks of others: each is made once, and nobody hangs.
use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('primary', 'max_connections = 40', "mals.max_past = '-1'", "session_preload_libraries = 'mals'");
my $partitions = q{SELECT count(*), count(DISTINCT pg_get_expr(relpartbound, c.oid)) FROM pg_class c JOIN pg_inherits ON inhrelid = c.oid WHERE relname LIKE 'entries_%s%%'};

# The SQLSTATE of a statement, or what it gives.
sub outcome
{
	my ($statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSET statement_timeout = '60s';\n$statement");

	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out;
}

# Starts a session that stays open; logs at a day.
sub session
{
	return $node->background_psql('postgres', on_error_stop => 0);
}
sub log_at
{
	my ($day) = @_;

	return "SELECT mals_log('many', 'm', ts => '$day') IS NOT NULL";
}

# 16 sessions, each with a batch over the same 20 days, in different orders
$node->pgbench('-n -c 16 -j 2 -t 3', 0, [qr{number of transactions actually processed: 48/48}], [],
	'16 sessions miss the same partitions',
	{ '004_many' => q{SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'batch', 'message', i::text,
	'ts', '2020-03-01T00:00:00Z'::timestamptz + i % 20 * interval '1 day') ORDER BY md5((i + :client_id)::text)) FROM generate_series(0, 39) AS i))} });
sql_is($node, sprintf($partitions, '202003'), '20|20', 'each is made once');
sql_is($node, q{SELECT count(*), count(*) FILTER (WHERE metadata <> '{}') FROM mals.entries WHERE agent_id = 'batch'}, '1920|0', 'all entries are at their time');

# A batch over more partitions than there are shared buffers, which are 128 here
sql_is($node, 'SHOW shared_buffers', '1MB', 'few buffers');
sql_is($node, q{SELECT mals_make_partitions('2021-01-01', '2021-05-20') > 130}, 't', 'many partitions');
sql_is($node, q{SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'wide', 'message', i::text,
	'ts', '2021-01-01T00:00:00Z'::timestamptz + i % 139 * interval '1 day')) FROM generate_series(0, 4169) AS i))}, '4170', 'a batch over more partitions than buffers');

# A lock that keeps the worker out, but not the loggers
my $locker = session();
$locker->query_safe('BEGIN; LOCK TABLE mals.entries IN SHARE UPDATE EXCLUSIVE MODE');
my @waiters = map { session() } 1 .. 6;
$waiters[$_]->query_until(qr/asked/, "\\set VERBOSITY sqlstate\n\\echo asked\n" . log_at('2020-04-0' . ($_ + 1)) . ";\n") for 0 .. 5;
for my $waiter (@waiters)
{
	$waiter->query('SELECT 1');
	like($waiter->{stderr}, qr/ERROR:\s+55000/, 'a lock keeps the worker out: an error');
	$waiter->quit;
}
sql_is($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'mals.entries'::regclass AND mode = 'ShareUpdateExclusiveLock' AND granted}, '1',
	'nobody waits until it goes');
is(outcome(log_at('2020-03-01')), 't', 'partitions that are there take entries');
$locker->query_safe('COMMIT');
is(outcome(log_at('2020-04-01')), 't', 'afterwards it is made');

# A lock request that waits for the logger, who needs a partition
my $logger = session();
$logger->query_safe('BEGIN; ' . log_at('2020-03-01'));
$locker->query_until(qr/asked/, "\\echo asked\nBEGIN;\nLOCK TABLE mals.entries IN SHARE MODE;\nCOMMIT;\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'}) or die 'nobody waits';
$logger->query("\\set VERBOSITY sqlstate\n" . log_at('2020-04-02'));
like($logger->{stderr}, qr/ERROR:\s+55000/, 'a lock request in between: an error, no hang');
$logger->{stderr} = '';
$logger->query_safe('ROLLBACK');
is(outcome(log_at('2020-04-02')), 't', 'and it is made when all have gone');
$_->quit for $logger, $locker;

# No worker can be had: partitions are made in place
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
is(outcome(log_at('2020-05-01')), 't', 'without workers it is made in place');
$node->pgbench('-n -c 8 -j 2 -t 20', 0, [qr{number of transactions actually processed: 160/160}], [],
	'8 sessions without workers',
	{ '004_place' => q{\set day random(2, 9)
SELECT mals_log('place', 'm', ts => '2020-05-01T00:00:00Z'::timestamptz + :day * interval '1 day')} });
sql_is($node, q{SELECT count(*), count(*) FILTER (WHERE metadata <> '{}') FROM mals.entries WHERE agent_id = 'place'}, '160|0', 'all entries are at their time');
like($node->safe_psql('postgres', sprintf($partitions, '202005')), qr/^(\d+)\|\1$/, 'each is made once');
$logger = session();
$logger->query_safe('BEGIN; ' . log_at('2020-06-01'));
is(outcome(log_at('2020-06-02')), '55000', 'one who made a partition and has not ended keeps others out: an error, no hang');
is(outcome(log_at('2020-05-01')), 't', 'but from missing ones only');
$logger->query_safe('ROLLBACK');
sql_is($node, sprintf($partitions, '202006'), '0|0', 'what is made in place goes with its transaction');
is(outcome(log_at('2020-06-02')), 't', 'and is made again');
$logger->quit;

$node->stop;
done_testing();
