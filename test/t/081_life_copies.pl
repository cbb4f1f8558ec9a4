# What operators do to a database, with entries counted and compared before and
# after: dumps in parts and in parallel, a base backup under load, recovery to a
# point in time, VACUUM FULL, REINDEX CONCURRENTLY, a copy, another tablespace.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('life');
$node->init(has_archiving => 1, allows_streaming => 1, extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'mals'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION mals');
$node->safe_psql('postgres', q{
	SET mals.max_past = '-1';
	SELECT mals_log('agent-' || i % 7, 'Request ' || i || ' failed', CASE WHEN i % 3 = 0 THEN 'error' ELSE 'info' END,
		metadata => jsonb_build_object('n', i), ts => now() - i * interval '1 hour') FROM generate_series(1, 200) AS i;
	SELECT mals_resolve(id, 'me', 'done') FROM mals.entries WHERE level = 'error' LIMIT 5;
	SELECT mals_resolve_error(fingerprint) FROM mals.templates WHERE template LIKE 'Request%';
	SELECT mals_maintain();
});
my $dir = PostgreSQL::Test::Utils::tempdir();
my $sum = q{SELECT count(*), md5(string_agg(l::text, E'\n' ORDER BY id)) FROM mals.logs AS l};
my $before = $node->safe_psql('postgres', $sum);

# Checks that a database has everything and goes on logging.
sub complete
{
	my ($on, $database, $how, $rows) = @_;

	is($on->safe_psql($database, $sum), $rows // $before, "$how: every entry is there");
	is($on->safe_psql($database, q{BEGIN; SELECT mals_log('after', 'still logging') IS NOT NULL; ROLLBACK}), 't', "$how: logging goes on");
	is($on->safe_psql($database, q{SELECT mals_health()->>'status'}), 'ok', "$how: health is ok");
	return;
}

# Ends pgbench; what it has begun is done before anything is counted.
sub end_load
{
	my ($load) = @_;

	$load->signal('TERM');
	$load->finish;
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'}) or die 'pgbench runs';
	return;
}

# Dumps.
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(parts jobs);
$node->command_ok([ 'pg_dump', '-s', '-f', "$dir/schema.sql", 'postgres' ], 'dump of the schema');
$node->command_ok([ 'pg_dump', '-a', '-f', "$dir/data.sql", 'postgres' ], 'dump of the data');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'parts', '-f', "$dir/schema.sql" ], 'restore of the schema');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'parts', '-f', "$dir/data.sql" ], 'restore of the data');
complete($node, 'parts', 'schema, then data');
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/jobs", 'postgres' ], 'parallel dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-j2', '-d', 'jobs', "$dir/jobs" ], 'parallel restore');
complete($node, 'jobs', 'parallel');
is($node->safe_psql('jobs', q{SELECT count(*) FROM mals_errors(since => now() - interval '20 days') WHERE status = 'resolved'}), '1', 'what was resolved is resolved');

# A copy, and another tablespace.
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE jobs');
complete($node, 'copy', 'a copy of the database');
mkdir "$dir/space";
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$dir/space'");
$node->safe_psql('postgres', 'ALTER DATABASE copy SET TABLESPACE space');
complete($node, 'copy', 'in another tablespace');
$node->safe_psql('jobs', q{DO $$ DECLARE part regclass; BEGIN
	FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass LIMIT 3 LOOP
		EXECUTE format('ALTER TABLE %s SET TABLESPACE space', part);
	END LOOP; END $$});
complete($node, 'jobs', 'some partitions in another tablespace');

# Rewriting and reindexing beside a writer.
my $writing = $dir . '/write.sql';
append_to_file($writing, "SELECT mals_log('load', 'Entry of the load', ts => now());\n");
my $load = IPC::Run::start([ 'pgbench', '-n', '-T', '600', '-c', '2', '-R', '200', '-f', $writing, $node->connstr('jobs') ],
	'>', \my $out, '2>', \my $err);
$node->poll_query_until('jobs', q{SELECT count(*) > 10 FROM mals.entries WHERE agent_id = 'load'});
$node->safe_psql('jobs', 'REINDEX SCHEMA CONCURRENTLY mals');
$node->safe_psql('jobs', 'VACUUM FULL');
$node->safe_psql('jobs', 'VACUUM FREEZE');
end_load($load);
unlike($err, qr/ERROR|aborted/, 'the writer had no error');
is($node->safe_psql('jobs', q{SELECT count(*), md5(string_agg(l::text, E'\n' ORDER BY id)) FROM mals.logs AS l WHERE agent_id <> 'load'}),
	$before, 'VACUUM FULL and REINDEX CONCURRENTLY keep every entry');

$node->safe_psql('postgres', $_) for 'DROP DATABASE copy', 'DROP DATABASE jobs', 'DROP TABLESPACE space';

# A base backup under load, and recovery to a point in time: entries are
# numbered, and all up to the mark are there, and none after it.
append_to_file("$dir/numbered.sql", "SELECT mals_log('numbered', 'n', metadata => jsonb_build_object('n', nextval('n')));\n");
$node->safe_psql('postgres', 'CREATE SEQUENCE n');
$load = IPC::Run::start([ 'pgbench', '-n', '-T', '600', '-c', '1', '-R', '200', '-f', "$dir/numbered.sql", $node->connstr('postgres') ],
	'>', \$out, '2>', \$err);
$node->poll_query_until('postgres', q{SELECT count(*) > 10 FROM mals.entries WHERE agent_id = 'numbered'});
$node->backup('base');
$node->poll_query_until('postgres', q{SELECT count(*) > 100 FROM mals.entries WHERE agent_id = 'numbered'});
end_load($load);
my $numbers = q{SELECT count(*), max((metadata->>'n')::int) FROM mals.entries WHERE agent_id = 'numbered'};
my $marked = $node->safe_psql('postgres', $numbers);
my $all = $node->safe_psql('postgres', $sum);
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('mark')});
$node->safe_psql('postgres', q{SELECT mals_log('numbered', 'n', metadata => '{"n": 1000000}')});
my $walfile = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
$node->poll_query_until('postgres', "SELECT last_archived_wal >= '$walfile' FROM pg_stat_archiver") or die 'the mark is not archived';
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
$restored->append_conf('postgresql.conf', "recovery_target_name = 'mark'\nrecovery_target_action = 'promote'\n");
$restored->start;
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
# the launcher starts after that; until it has, mals_health tells that there is none
$restored->poll_query_until('postgres', q{SELECT mals_health()->>'status' = 'ok'}) or die 'health is not ok';
is($restored->safe_psql('postgres', $numbers), $marked, 'recovery to a point in time has what was committed before it');
complete($restored, 'postgres', 'recovered from a base backup under load', $all);
$restored->stop;

# A session that may not write says so, one out of time is stopped.
my ($status, $stdout, $stderr) = $node->psql('postgres', q{SET default_transaction_read_only = on; SELECT mals_log('a', 'b')});
like($stderr, qr/read-only/, 'default_transaction_read_only is an error');
is($node->safe_psql('postgres', q{SET default_transaction_read_only = on; SELECT mals_count('agent:agent-1') > 0}), 't', 'but reading is not');
$node->stop;

done_testing();
