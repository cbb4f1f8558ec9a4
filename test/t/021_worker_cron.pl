# pg_cron as the other way to run the maintenance: without mals's own worker, and
# beside it.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
plan skip_all => 'pg_cron is not installed' unless -e "$sharedir/extension/pg_cron.control";

my $node = PostgreSQL::Test::Cluster->new('cron');
$node->init;
$node->append_conf('postgresql.conf', join("\n",
	"shared_preload_libraries = 'mals, pg_cron'", 'mals.worker = off', "cron.database_name = 'postgres'",
	'cron.use_background_workers = on', 'max_worker_processes = 20', "cron.log_run = on"));
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION mals; CREATE EXTENSION pg_cron');

# Waits for runs of the job that began after now, and tells how they ended.
sub runs
{
	my ($count) = @_;

	my $since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$node->poll_query_until('postgres', "SELECT count(*) >= $count FROM cron.job_run_details
		WHERE start_time > '$since' AND status IN ('succeeded', 'failed')") or diag('no run');
	return $node->safe_psql('postgres', "SELECT DISTINCT status FROM cron.job_run_details WHERE end_time IS NOT NULL");
}

# From 1.5 on pg_cron also counts seconds.
my $seconds = $node->safe_psql('postgres', "SELECT installed_version <> '1.4' AND installed_version <> '1.4-1'
	FROM pg_available_extensions WHERE name = 'pg_cron'") eq 't';
my $schedule = $seconds ? '5 seconds' : '* * * * *';
$node->safe_psql('postgres', "SELECT cron.schedule('mals', '$schedule', 'SELECT mals_maintain()')");
$node->safe_psql('postgres', "SELECT mals_log('a', 'Seen ' || i) FROM generate_series(1, 10) AS i");
is(runs(1), 'succeeded', 'pg_cron runs mals_maintain()');
sql_is($node, 'SELECT (SELECT count(*) FROM mals._sights), (SELECT count(*) FROM mals._templates)', '0|1', 'which does the work');

# Both at once: pg_cron's next run falls among many turns of the worker and
# sessions that log and maintain by hand.
$node->safe_psql('postgres', 'ALTER SYSTEM SET mals.worker = on; SELECT pg_reload_conf()');
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'mals worker'});
append_to_file($node->basedir . '/load.sql', <<'SQL');
SELECT mals_log('a', 'Message ' || chr(97 + (random() * 25)::int) || ' took ' || random());
SQL
append_to_file($node->basedir . '/maintain.sql', "SELECT mals_maintain();\n");
my $load = IPC::Run::start([ 'pgbench', '-n', '-T', $seconds ? 10 : 65, '-c', '2', '-R', '100', '-f', $node->basedir . '/load.sql@20', '-f',
		$node->basedir . '/maintain.sql@1', $node->connstr('postgres') ], '>', \my $out, '2>', \my $err);
is(runs(1), 'succeeded', 'pg_cron beside the worker succeeds');
ok($load->finish, 'and so do sessions that log and maintain') or diag($err);
sql_is($node, 'SELECT count(*) > 10 + 100 FROM mals.entries', 't', 'entries were logged');
$node->safe_psql('postgres', 'SELECT mals_maintain()');
sql_is($node, 'SELECT count(*) = count(DISTINCT fingerprint) FROM mals.templates', 't', 'each template is there once');
sql_is($node, 'SELECT COALESCE(sum(failures), 0) FROM mals._jobs', '0', 'no job of the worker has failed');
unlike(slurp_file($node->logfile), qr/ERROR|deadlock|PANIC/, 'nothing failed');
$node->stop;

done_testing();
