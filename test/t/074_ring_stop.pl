# A writer that is told to stop writes what is there, waits for locks for a while
# only, and keeps as dead letters what it cannot write; one that is cancelled goes on.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('stop', "shared_preload_libraries = 'mals'", 'max_prepared_transactions = 5', 'log_statement = none');
my $writer = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'mals writer'};

# Logs numbered entries, async.
sub log_entries
{
	my ($agent, $n) = @_;

	$node->safe_psql('postgres', "SET mals.write_mode = 'async'; SELECT mals_log('$agent', i::text) FROM generate_series(1, $n) AS i");
	return;
}

# Waits until the writer waits for a lock.
sub wait_for_lock
{
	$node->poll_query_until('postgres', "SELECT EXISTS ($writer AND wait_event_type = 'Lock')")
	  or die 'the writer waits for no lock';
	return;
}

# pg_cancel_backend costs no entry and ends no writer.
log_entries('cancel', 1);
my $pid = $node->safe_psql('postgres', qq{SELECT mals_flush() \\g /dev/null\n$writer});
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE mals.entries IN ACCESS EXCLUSIVE MODE');
log_entries('cancel', 10);
wait_for_lock();
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)") for 1 .. 5;
$holder->query_safe('COMMIT');
sql_is($node, q{SELECT mals_flush() \g /dev/null
	SELECT count(*), (SELECT count(*) FROM mals.dead_letters) FROM mals.entries WHERE agent_id = 'cancel'}, '11|0', 'cancelled at work');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)") for 1 .. 2;
sql_is($node, q{SET mals.write_mode = 'autonomous'; SELECT mals_log('cancel', 'again') IS NOT NULL}, 't', 'cancelled as it sleeps');
sql_is($node, $writer, $pid, 'the writer is the same');

# Told to stop while it waits for a lock that comes free.
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE mals.entries IN ACCESS EXCLUSIVE MODE');
log_entries('soon', 1000);
wait_for_lock();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)") for 1 .. 3;
wait_for_lock();
$holder->query_safe('COMMIT');
$holder->quit;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM ($writer AND pid = $pid) AS w") or die 'the writer does not end';
sql_is($node, q{SELECT count(*), bool_and(message::int = row), (SELECT count(*) FROM mals.dead_letters)
	FROM (SELECT *, row_number() OVER (ORDER BY id) AS row FROM mals.entries WHERE agent_id = 'soon') AS e}, '1000|t|0',
	'it ends when it has got its lock and written all');

# A lock that nobody will let go does not keep the server from stopping.
$node->safe_psql('postgres', q{BEGIN; LOCK TABLE mals.entries IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'forever'});
log_entries('never', 100);
$node->stop('fast');
$node->start;
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'forever'});
sql_is($node, q{SELECT count(*), min(sqlstate), max(sqlstate) FROM mals.dead_letters WHERE agent_id = 'never'}, '100|55P03|55P03',
	'what it could not write are dead letters');

$node->stop;
done_testing();
