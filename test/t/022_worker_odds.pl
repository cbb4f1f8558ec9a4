# No statement keeps mals from a database that stays, whoever runs it and however
# it ends; no database that went, or takes no connections, keeps mals busy; and
# where there is no place for a worker, mals_health says so.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('odds', "shared_preload_libraries = 'mals'", 'max_worker_processes = 20', 'max_prepared_transactions = 5',
	'log_statement = none');
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname =};

# Waits until a database has a worker, or has none. Returns its pid.
sub worker_of
{
	my ($database, $there) = @_;

	$node->poll_query_until('postgres', "SELECT EXISTS ($worker '$database') = ${\($there ? 'true' : 'false')}")
	  or die "worker of $database";
	return $node->safe_psql('postgres', "$worker '$database'");
}

# How many processes were refused by their database, by the reason.
sub refused
{
	my %n = ('does not exist' => 0, 'not currently accepting connections' => 0, 'invalid database' => 0);

	for my $line (split /\n/, slurp_file($node->logfile))
	{
		$line =~ /FATAL:  .*\Q$_\E/ and $n{$_}++ for keys %n;
	}
	return \%n;
}

my $pid = worker_of('postgres', 1);

# Who may not run a statement that needs a database for itself stops nothing; who may, until it has failed.
$node->safe_psql('postgres', $_) for 'CREATE ROLE joe LOGIN', 'CREATE ROLE maker LOGIN CREATEDB', 'CREATE DATABASE desk';
my $session = $node->background_psql('desk', on_error_stop => 0, extra_params => [ '-U', 'joe' ]);
for my $statement ('DROP DATABASE postgres', 'ALTER DATABASE postgres RENAME TO mine', 'CREATE DATABASE mine TEMPLATE postgres',
	'ALTER DATABASE postgres SET TABLESPACE pg_default')
{
	$session->query('BEGIN; SAVEPOINT s');
	$session->query($statement);
	is($node->safe_psql('postgres', "$worker 'postgres'"), $pid, "not by anyone: $statement");
	$session->query('ROLLBACK');
}
$session->quit;

$session = $node->background_psql('desk', on_error_stop => 0);
for my $statement ('DROP DATABASE postgres', 'ALTER DATABASE postgres RENAME TO template0')
{
	$session->query('BEGIN; SAVEPOINT s');
	$session->query($statement);
	$session->query('ROLLBACK TO s');
	worker_of('postgres', 1);
	is($node->safe_psql('postgres', q{SET mals.write_mode = 'autonomous'; SELECT mals_log('a', 'meanwhile') IS NOT NULL}), 't',
		"only until it has failed: $statement");
	$session->query('ROLLBACK');
}

# A transaction may want more than one.
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two);
$node->safe_psql($_, 'CREATE EXTENSION mals') for qw(one two);
worker_of($_, 1) for qw(one two);
$session->query('BEGIN; ALTER DATABASE one RENAME TO three; SAVEPOINT s; ALTER DATABASE two RENAME TO one; RELEASE s; COMMIT');
$session->quit;
worker_of($_, 1) for qw(one three);
sql_is($node, q{SELECT count(*) FROM pg_database WHERE datname IN ('one', 'three')}, '2', 'two databases are renamed at once');

# A template may be copied by who makes databases, though mals has written there.
$node->safe_psql('one', q{SET mals.write_mode = 'autonomous'; SELECT mals_log('a', 'into a template')});
$node->safe_psql('postgres', 'ALTER DATABASE one IS_TEMPLATE true');
worker_of('one', 0);
my ($status, $out, $err) = $node->psql('desk', 'CREATE DATABASE copy TEMPLATE one', connstr => $node->connstr('desk') . ' user=maker');
is($err, '', 'a template is copied by another role');
worker_of('copy', 1);

# Two sessions drop a database at once; one that is gone is forgotten.
$node->safe_psql('postgres', 'CREATE DATABASE twice');
$node->safe_psql('twice', 'CREATE EXTENSION mals');
worker_of('twice', 1);
my @runs = map { IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', 'DROP DATABASE twice' ], '>', '/dev/null', '2>&1') } 1 .. 3;
$_->finish foreach @runs;

# A statement that keeps mals from a database keeps nobody from logging there: who needs a
# worker, to make a partition, waits for its end.
$session = $node->background_psql('desk', on_error_stop => 1);
$session->query_safe('CREATE EXTENSION mals');
worker_of('desk', 1);
$session->query_safe('BEGIN; SET client_min_messages = error; ALTER EXTENSION mals UPDATE');
is($node->safe_psql('postgres', "$worker 'desk'"), '', 'an update has no worker beside it');
my $said = '';
my $logger = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('desk'), '-c', q{SELECT mals_log('a', 'of last week', ts => now() - interval '7 days') IS NOT NULL} ], '>', \$said, '2>&1');
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query ~ 'of last week' AND datname = 'desk' AND wait_event = 'Extension')}) or die 'logger';
$session->query_safe('COMMIT');
$session->quit;
$logger->finish;
is($said, "t\n", 'who needs a partition has waited for it');
worker_of('desk', 1);

# Prepared transactions.
$node->safe_psql('postgres', 'CREATE DATABASE prepared');
$node->safe_psql('prepared', q{BEGIN; CREATE EXTENSION mals; PREPARE TRANSACTION 'make'});
$node->safe_psql('prepared', q{COMMIT PREPARED 'make'});
ok(worker_of('prepared', 1), 'CREATE EXTENSION in a prepared transaction');
$node->safe_psql('prepared', q{SET mals.allow_drop = on; BEGIN; DROP EXTENSION mals; PREPARE TRANSACTION 'drop'});
$node->safe_psql('prepared', q{COMMIT PREPARED 'drop'});
is(worker_of('prepared', 0), '', 'DROP EXTENSION likewise');

# Databases that take no connections, or few.
$node->safe_psql('postgres', 'ALTER DATABASE three ALLOW_CONNECTIONS false');
is(worker_of('three', 0), '', 'a database without connections has no worker');
$node->safe_psql('postgres', 'ALTER DATABASE three ALLOW_CONNECTIONS true CONNECTION LIMIT 0');
ok(worker_of('three', 1), 'one for superusers only has');
$node->safe_psql('postgres', qq{
	UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'three';
	UPDATE pg_database SET datallowconn = false WHERE datname = 'copy';
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('three', 'copy')});
worker_of($_, 0) for qw(three copy);

# Sessions that are there already can log into such a database.
$session = $node->background_psql('prepared', on_error_stop => 0);
$session->query_safe('CREATE EXTENSION mals');
$node->safe_psql('postgres', 'ALTER DATABASE prepared ALLOW_CONNECTIONS false');
is($session->query_safe(q{SET mals.write_mode = 'autonomous'; SELECT mals_log('a', 'still there') IS NOT NULL}), 't',
	'sessions log on where no others may connect');
$session->quit;

# Refused is, once, who was on the way when a database was closed; a worker that failed
# would be started again within a second, and by another launcher.
my $refused = refused();
for (1 .. 10)
{
	my $before = $refused;

	sleep 1;
	$refused = refused();
	last if join(' ', %$before{ sort keys %$before }) eq join(' ', %$refused{ sort keys %$refused });
}
cmp_ok($_, '<=', 4, 'few are refused') for values %$refused;

# A launcher that ended is started again, and sees what came meanwhile.
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'mals launcher'});
$node->safe_psql('postgres', 'CREATE DATABASE late');
$node->safe_psql('late', 'CREATE EXTENSION mals');
ok(worker_of('late', 1), 'another launcher');

is_deeply(refused(), $refused, 'databases that are gone or closed are left alone');

# No place for a worker.
sql_is($node, q{SELECT mals_health()->>'status'}, 'ok', 'mals_health is content');
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
$node->poll_query_until('late', q{SELECT mals_health()->>'warnings' LIKE '%no background worker can be started: raise max_worker_processes, which is 2%'})
  or die 'no warning';
($status, $out, $err) = $node->psql('late', q{SET mals.write_mode = 'autonomous'; SET mals.write_timeout = '100ms'; SELECT mals_log('a', 'nowhere')});
like($err, qr/did not write within.*\nDETAIL:  The entries are not stored.\nHINT:.*max_worker_processes/, 'nor for a writer');
is($node->safe_psql('late', q{SELECT mals_log('a', 'in place') IS NOT NULL}), 't', 'transactional needs none');
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
like($node->safe_psql('late', q{SELECT mals_health()->>'warnings'}), qr/no background worker can be started/, 'no launcher');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
