# mals.capture_server_log: what the server reports in a session of the database
# becomes an entry, once, with what it says; never what mals itself reports.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('capture', "shared_preload_libraries = 'mals'", 'log_statement = none', 'mals.capture_query_length = 40',
	'autovacuum = off', 'log_lock_waits = off');
my $entries = q{FROM mals.entries WHERE category = 'postgres'};

# Waits until the worker has seen the extension: before that nothing is captured.
sub wait_for_worker
{
	my ($database) = @_;

	$node->poll_query_until($database, q{SELECT count(*) > 0 FROM mals._jobs}) or die 'no worker';
	return;
}

wait_for_worker('postgres');
$node->psql('postgres', 'SELECT 1 / 0');
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT count(*) $entries}, '0', 'off by default');

$node->append_conf('postgresql.conf', "mals.capture_server_log = 'error'");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('mals.capture_server_log') = 'error'});

$node->psql('postgres', q{SET application_name = 'the test'; SELECT 1 / 0 AS a_column_with_a_long_name, 2 AS another});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null
	SELECT agent_id, level, message, source, metadata->>'sqlstate', metadata->>'query', metadata->>'database', metadata->>'application_name',
		metadata->>'user' = current_user, (metadata->>'pid')::int > 0, mals_id_ts(id) = ts, ts <= created_at $entries},
	'postgres|error|division by zero|postgres|22012|SELECT 1 / 0 AS a_column_with_a_long_nam|postgres|the test|t|t|t|t',
	'an error, with the statement cut');

$node->psql('postgres', q{SET mals.agent_id = 'trader'; SET mals.session_key = 's-1'; SET mals.correlation_id = 'req-1'; SET mals.trace_id = '0af7651916cd43dd8448eb211c80319c';
	DO $$ BEGIN RAISE EXCEPTION 'out of funds' USING DETAIL = 'balance 0', HINT = 'top up', ERRCODE = 'P0042'; END $$});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null
	SELECT message, metadata->>'sqlstate', metadata->>'detail', metadata->>'hint', metadata->>'context' LIKE 'PL/pgSQL function%', session_key, correlation_id, trace_id
	  $entries AND agent_id = 'trader'},
	'out of funds|P0042|balance 0|top up|t|s-1|req-1|0af76519-16cd-43dd-8448-eb211c80319c', 'all that it says, in the context of its session');

# in whatever state the session is
$node->psql('postgres', q{SET mals.agent_id = 'states';
	SELEC 'syntax';
	BEGIN; SELECT 'no such column' FROM nowhere; SELECT 'aborted'; ROLLBACK;
	BEGIN; SAVEPOINT s; SELECT 1 / 0; ROLLBACK TO s; SELECT no_such_column; COMMIT;
	CREATE TABLE u (i int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO u VALUES (1), (1);
	SELECT pg_terminate_backend(pg_backend_pid())}, on_error_stop => 0);
sql_is($node, qq{SELECT mals_flush() \\g /dev/null
	SELECT string_agg(concat(level, ' ', metadata->>'sqlstate'), ',' ORDER BY ts) $entries AND agent_id = 'states'},
	'error 42601,error 42P01,error 25P02,error 22012,error 42703,error 23505,critical 57P01', 'in any state of a transaction');

# in a parallel worker, once; where there is no session yet; in none of this database
$node->safe_psql('postgres', 'CREATE TABLE many AS SELECT g AS i FROM generate_series(1, 10000) AS g; ANALYZE many');
$node->psql('postgres', q{SET mals.agent_id = 'parallel'; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SET parallel_leader_participation = off; SELECT count(*) FROM many WHERE 1 / (i - 5000) = 1});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT string_agg(concat(message, ' ', metadata->>'context'), ',') $entries AND agent_id = 'parallel'},
	'division by zero parallel worker', 'in a parallel worker');
# With a statement, psql may be gone before it is written to: a broken pipe.
$node->psql('postgres', '', connstr => $node->connstr('postgres') . ' user=nobody_there');
$node->psql('nothing_there', '');
$node->psql('postgres', q{SET mals.agent_id = 'replication'; IDENTIFY_NOTHING}, replication => 'database');
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT string_agg(metadata->>'sqlstate', ',') $entries AND agent_id = 'replication'}, '42601',
	'in a session for replication');

# secrets are redacted, in the message and in the statement
$node->psql('postgres', q{SET mals.agent_id = 'secrets'; DO $$ BEGIN RAISE EXCEPTION 'cannot reach postgres://ann:s3cretpw@db/x'; END $$});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT message LIKE '%[redacted:%', e::text LIKE '%s3cretpw%' FROM mals.entries e WHERE agent_id = 'secrets'},
	't|f', 'secrets are redacted');

# out of memory: the message is kept
$node->psql('postgres', q{SET mals.agent_id = 'memory'; SELECT repeat('x', 1000000000) || repeat('x', 1000000000)});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT count(*) $entries AND agent_id = 'memory'}, '1', 'out of memory');

# its own errors are those of a session; those of its processes are not
$node->psql('postgres', q{SET mals.agent_id = 'own'; SELECT mals_log('x', NULL)});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT message, metadata->>'sqlstate' $entries AND agent_id = 'own'},
	'message: a value is required|22004', q{an error of mals's functions});
$node->safe_psql('postgres', q{ALTER TABLE mals.entries ADD CONSTRAINT poison CHECK (message <> 'poison')});
$node->psql('postgres', q{SET mals.write_mode = 'async'; SELECT mals_log('poison', 'poison')});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT count(*) $entries AND message LIKE '%poison%'}, '0', q{none of its processes'});
$node->safe_psql('postgres', q{ALTER TABLE mals.entries DROP CONSTRAINT poison; DELETE FROM mals.dead_letters});

# warnings only where they are asked for
$node->psql('postgres', q{SET mals.agent_id = 'warns'; DO $$ BEGIN RAISE WARNING 'careful'; END $$});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT count(*) $entries AND agent_id = 'warns'}, '0', 'a warning is below error');
$node->append_conf('postgresql.conf', "mals.capture_server_log = 'info'");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('mals.capture_server_log') = 'info'});
$node->psql('postgres', q{SET mals.agent_id = 'warns'; DO $$ BEGIN RAISE WARNING 'careful'; RAISE LOG 'by the way'; RAISE NOTICE 'not in the log'; END $$});
sql_is($node, qq{SELECT mals_flush() \\g /dev/null\nSELECT string_agg(concat(level, ' ', message), ',' ORDER BY ts) $entries AND agent_id = 'warns'},
	'warn careful,info by the way', 'levels of warnings and log messages');

# a database without the extension, a full ring
$node->safe_psql('postgres', 'CREATE DATABASE bare');
$node->psql('bare', 'SELECT 1 / 0');
my $before = $node->safe_psql('postgres', qq{SELECT mals_flush() \\g /dev/null\nSELECT count(*) $entries});
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE mals.entries IN ACCESS EXCLUSIVE MODE');
$node->psql('postgres', q{SET client_min_messages = error; DO $$ BEGIN FOR i IN 1 .. 20000 LOOP RAISE WARNING 'flood % %', i, repeat('x', 1000); END LOOP; END $$});
$holder->query_safe('COMMIT');
$holder->quit;
is( $node->safe_psql('postgres', qq{SELECT mals_flush() \\g /dev/null
		SELECT (r->>'uncaptured')::int > 0, (r->>'uncaptured')::int + (SELECT count(*) $entries AND message LIKE 'flood%') FROM (SELECT mals_health()->'ring' AS r) AS h}),
	't|20000', 'messages that find no room are counted');

# limits hold for them, too
$node->safe_psql('postgres', q{ALTER SYSTEM SET mals.rate_limit = 5});
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('mals.rate_limit') = '5'});
$node->psql('postgres', q{SET mals.agent_id = 'loop'; DO $$ BEGIN FOR i IN 1 .. 1000 LOOP RAISE WARNING 'again %', i; END LOOP; END $$});
$node->poll_query_until('postgres', q{SELECT count(*) FILTER (WHERE category = 'mals') > 0 AND
	1000 = count(*) FILTER (WHERE category = 'postgres') + sum((metadata->>'suppressed')::int) FROM mals.entries WHERE agent_id = 'loop'})
  or die 'suppressed messages are not told of';
sql_is($node, qq{SELECT count(*) BETWEEN 5 AND 100 $entries AND agent_id = 'loop'}, 't', 'a rate limit');

is($before, $node->safe_psql('postgres', qq{SELECT count(*) $entries AND message NOT LIKE 'flood%' AND agent_id <> 'loop'}),
	'nothing of other databases, and nothing of its own');

# a level has all the names that it has elsewhere
sub captures_from
{
	my ($name) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET mals.capture_server_log = '$name'");
	return $node->safe_psql('postgres', "SELECT setting FROM pg_file_settings WHERE name = 'mals.capture_server_log' AND error IS NULL AND sourcefile LIKE '%auto.conf'");
}
is(captures_from($_), $_, "level $_") for qw(DBG Verbose notice LOG information WARNING err severe FATAL panic crit alert emerg emergency);
is(($node->psql('postgres', q{ALTER SYSTEM SET mals.capture_server_log = 'loud'}))[0], 3, 'no level');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET mals.capture_server_log');

$node->stop;
done_testing();
