# The launcher keeps one worker in every database that has the extension, sees
# databases and extensions come and go, and is in nobody's way.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('worker');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--no-locale' ]);
# Autovacuum's transactions would count as those of an idle database.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'mals'\nmax_worker_processes = 20\nautovacuum = off\n");
$node->start;

my $drop = 'SET mals.allow_drop = on; DROP EXTENSION mals';

# Waits until these are the databases that have a worker. One look, so that none
# that is about to end is seen by a first look and not by a second.
sub workers_are
{
	my ($on, $expected, $name) = @_;

	ok($on->poll_query_until('postgres',
		"SELECT COALESCE(string_agg(datname, ' ' ORDER BY datname), '') = '$expected'
		   FROM pg_stat_activity WHERE backend_type = 'mals worker'"), $name)
	  or diag($on->safe_psql('postgres', "SELECT * FROM pg_stat_activity WHERE backend_type LIKE 'mals%'"));
	return;
}

# Two with the extension, one without, another made at run time.
workers_are($node, '', 'no worker where there is no extension');
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two none);
$node->safe_psql($_, 'CREATE EXTENSION mals') for qw(one two);
workers_are($node, 'one two', 'CREATE EXTENSION starts a worker');
$node->restart;
workers_are($node, 'one two', 'both are found again after a restart');
$node->safe_psql('postgres', 'CREATE DATABASE three');
$node->safe_psql('three', "BEGIN; CREATE EXTENSION mals; ROLLBACK");
$node->safe_psql('three', "BEGIN; CREATE EXTENSION mals; COMMIT");
workers_are($node, 'one three two', 'an extension made at run time is seen');

# A worker does its work: first sights become templates.
$node->safe_psql('one', "SELECT mals_log('a', 'Seen ' || i) FROM generate_series(1, 10) AS i");
ok($node->poll_query_until('one', 'SELECT count(*) = 1 AND NOT EXISTS (SELECT FROM mals._sights) FROM mals._templates'),
	'the worker takes first sights over');
is($node->safe_psql('one', "SELECT failures, error IS NULL FROM mals._jobs WHERE job = 'templates'"), '0|t',
	'and keeps that it went well');
is($node->safe_psql('one', q{SELECT h->>'status', h->>'last_maintenance' IS NOT NULL,
	jsonb_path_exists(h, '$.workers[*] ? (@.type == "mals worker")') FROM mals_health() AS h}), 'ok|t|t',
	'health shows worker and last maintenance');

# A database into which a dump is being restored is left alone: one partition is attached, the next is a table yet.
$node->safe_psql('postgres', 'CREATE DATABASE dump');
$node->safe_psql('dump', q{BEGIN; CREATE EXTENSION mals;
	CREATE TABLE mals.entries_21000101 (LIKE mals.entries);
	CREATE TABLE mals.entries_21000102 (LIKE mals.entries);
	ALTER TABLE mals.entries ATTACH PARTITION mals.entries_21000101 FOR VALUES FROM ('2100-01-01') TO ('2100-01-02');
	COMMIT});
$node->poll_query_until('dump', q{SELECT EXISTS (SELECT FROM mals._jobs WHERE job = 'premake')}) or die 'no turn of premake';
is($node->safe_psql('dump', 'SELECT count(*) FROM mals.partitions'), '1', 'nothing is made ahead while a dump is restored');
$node->safe_psql('postgres', 'DROP DATABASE dump');

# An idle database gets no query: its transactions, seen from another one. All of
# mals's processes but the worker have gone, and this sleeps; nothing is due until
# the next ten minutes begin.
my $worker_of_two = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname = 'two'};
my $idle = q{SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'two'};
sleep 1 while time % 600 > 570;
ok($node->poll_query_until('postgres', q{SELECT string_agg(wait_event, ' ') = 'Extension' FROM pg_stat_activity WHERE datname = 'two'}), 'a worker sleeps when its work is done');
my $worker = $node->safe_psql('postgres', $worker_of_two);
my $before = $node->safe_psql('postgres', $idle);
sleep 3;
is($node->safe_psql('postgres', $idle), $before, 'no transaction while nothing is due');
is($node->safe_psql('postgres', $worker_of_two), $worker, 'by the same worker');

# Loggers do not wake it at every commit, only the first since it has last begun with what they leave.
sub switches
{
	return (slurp_file("/proc/$worker/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m)[0];
}
my $switches = switches();
$node->safe_psql('two', "SELECT mals_log('a', 'Commit') IS NULL;\n" x 3000);
cmp_ok(switches() - $switches, '<', 1000, 'it sleeps through most commits');

# A job that fails is tried again, later and later, and health says so.
$node->safe_psql('two', 'ALTER TABLE mals._sights RENAME TO away');
$node->safe_psql('two', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname = 'two'});
ok($node->poll_query_until('two', "SELECT failures >= 2 FROM mals._jobs WHERE job = 'templates'"), 'a failing job is tried again');
like($node->safe_psql('two', q{SELECT mals_health()->>'warnings'}), qr/job templates has failed \d+ times/, 'health warns');
is($node->safe_psql('two', q{SELECT mals_health()->>'status'}), 'degraded', 'and is degraded');
like(slurp_file($node->logfile), qr/CONTEXT:.*job "templates" of mals in database "two"/, 'the log names job and database');
$node->safe_psql('two', 'ALTER TABLE mals.away RENAME TO _sights');
ok($node->poll_query_until('two', "SELECT failures = 0 FROM mals._jobs WHERE job = 'templates'"), 'it recovers by itself');

# Dropped while the worker works: it waits for a lock of the session that drops, and
# has one that this needs. It has waited long enough not to see the deadlock itself.
my $session = $node->background_psql('one', on_error_stop => 1);
$node->safe_psql('one', 'DELETE FROM mals._expiry');
$session->query_safe('BEGIN; LOCK TABLE mals.dead_letters IN ACCESS EXCLUSIVE MODE;');
$node->safe_psql('one', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname = 'one'});
ok($node->poll_query_until('one', q{SELECT count(*) = 1 FROM pg_stat_activity JOIN pg_locks USING (pid)
	WHERE backend_type = 'mals worker' AND datname = 'one' AND NOT granted AND clock_timestamp() - waitstart > '1.5 s'}), 'the worker is at work');
$session->query_safe("$drop; COMMIT;");
$session->quit;
workers_are($node, 'three two', 'DROP EXTENSION ends the worker');
$node->safe_psql('one', 'CREATE EXTENSION mals');
workers_are($node, 'one three two', 'and it comes back with the extension');
$node->safe_psql('one', "BEGIN; $drop; ROLLBACK");
workers_are($node, 'one three two', 'a DROP that is rolled back changes nothing');

# Who may not drop it does not stop a worker.
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN; CREATE ROLE maker LOGIN CREATEDB');
my $pids = $node->safe_psql('postgres', q{SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE backend_type = 'mals worker'});
for my $try ([ qw(stranger one), $drop ], [ qw(stranger postgres), 'DROP DATABASE three' ],
	[ qw(stranger postgres), 'ALTER DATABASE three RENAME TO drei' ], [ qw(stranger postgres), 'ALTER DATABASE three SET TABLESPACE pg_default' ],
	[ qw(stranger postgres), 'CREATE DATABASE copy TEMPLATE three' ], [ qw(maker postgres), 'CREATE DATABASE copy TEMPLATE three' ])
{
	my ($user, $database, $statement) = @$try;

	isnt(($node->psql($database, $statement, extra_params => [ '-U', $user ]))[0], 0, "$user is refused: $statement");
}
is($node->safe_psql('postgres', q{SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE backend_type = 'mals worker'}), $pids,
	'who may not do it stops no worker');

# Statements that need a database to themselves.
is(($node->psql('postgres', 'DROP DATABASE three'))[0], 0, 'a worker is not in the way of DROP DATABASE');
workers_are($node, 'one two', 'a dropped database has no worker');
$node->safe_psql('postgres', 'ALTER DATABASE two RENAME TO zwei');
workers_are($node, 'one zwei', 'a database can be renamed');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE zwei');
workers_are($node, 'copy one zwei', 'a copy with the extension has a worker, and so has its template');
my $refused = $node->background_psql('copy', on_error_stop => 1);
$refused->query_safe('SELECT 1');
my ($status) = $node->psql('postgres', 'DROP DATABASE copy');
isnt($status, 0, 'a database that is in use is not dropped');
$refused->quit;
workers_are($node, 'copy one zwei', 'and its worker comes back');
$node->safe_psql('postgres', 'DROP DATABASE copy WITH (FORCE)');
$node->safe_psql('postgres', 'ALTER DATABASE zwei IS_TEMPLATE true');
workers_are($node, 'one', 'a template has no worker');
is(($node->psql('postgres', 'CREATE DATABASE copy TEMPLATE zwei', extra_params => [ '-U', 'maker' ]))[0], 0,
	'so that others can make databases from it');
workers_are($node, 'copy one', 'which have one');
$node->safe_psql('postgres', $_) for 'DROP DATABASE copy', 'ALTER DATABASE zwei IS_TEMPLATE false';
workers_are($node, 'one zwei', 'and so has what is no template any more');

# Settings.
$node->safe_psql('postgres', q{SET client_min_messages = error; ALTER SYSTEM SET mals.databases = 'zwei, nowhere'});
$node->reload;
workers_are($node, 'zwei', 'mals.databases limits the databases');
$node->safe_psql('postgres', 'ALTER SYSTEM SET mals.worker = off');
$node->reload;
workers_are($node, '', 'mals.worker = off ends all');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->reload;
workers_are($node, 'one zwei', 'and they come back');
$worker = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname = 'one'});
$node->safe_psql('postgres', q{ALTER DATABASE one SET mals.retention = '7 days'});
ok($node->poll_query_until('postgres', qq{SELECT pid <> $worker FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname = 'one'}),
	'a setting of the database is taken in by a new worker');

# A standby has no worker until it is promoted.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mals%'}), '0', 'none on a standby');
is($standby->safe_psql('zwei', q{SELECT mals_health()->>'status'}), 'ok', 'where health can be asked');
$standby->promote;
workers_are($standby, 'one zwei', 'promotion starts the workers');

# Nothing stands in the way of the end.
ok($node->stop('fast', fail_ok => 1), 'a fast shutdown succeeds');
$standby->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');

done_testing();
