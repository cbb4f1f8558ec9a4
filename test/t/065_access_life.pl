# What keeps the log from those who must not have it, and from accidents, through
# the life of a database: DROP EXTENSION is refused until it is allowed; bindings
# and the audit survive a dump; other sessions and standbys obey bindings at once.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = mals_node('access', "mals.archive_directory = '$dir'");

# Each command runs in a session that has not loaded the library.
sub refused
{
	my ($database, $command, $name) = @_;
	my $before = $node->safe_psql($database, 'SELECT count(*) FROM mals.entries');
	my ($status, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\n$command");

	like($err, qr/ERROR:  55000: cannot drop extension mals.*HINT:  .*SET mals\.allow_drop = on/s, $name);
	sql_is($node, 'SELECT count(*) FROM mals.entries', $before, "$name: nothing is lost") if $database eq 'postgres';
	return;
}

$node->safe_psql('postgres', q{
	CREATE ROLE keeper SUPERUSER;
	CREATE ROLE bot LOGIN;
	CREATE ROLE watcher LOGIN;
	CREATE ROLE gone;
	SELECT mals_grant('bot', 'writer'), mals_grant('bot', 'reader'), mals_grant('watcher', 'reader');
	SELECT mals_bind_agent('bot', 'bot-*'), mals_bind_agent('gone', 'x');
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', a || i, 'msg', 'm' || i))) FROM generate_series(1, 10) i, unnest('{bot-, other-}'::text[]) a;
	SELECT mals_resolve_batch(array_agg(id), 'me', 'a note') FROM mals.logs WHERE agent_id = 'bot-1';
	DROP ROLE gone});

# The guard.
refused('postgres', 'DROP EXTENSION mals', 'DROP EXTENSION');
refused('postgres', 'DROP EXTENSION IF EXISTS mals CASCADE', 'DROP EXTENSION CASCADE');
refused('postgres', 'DROP SCHEMA public CASCADE', 'DROP SCHEMA of the functions');
refused('postgres', 'DROP EXTENSION plpgsql CASCADE', 'DROP EXTENSION of what mals requires');
refused('postgres', 'SET mals.allow_drop = off; DROP EXTENSION mals', 'with the setting off');
refused('postgres', 'SET ROLE watcher; SET mals.allow_drop = on; RESET ROLE; DROP EXTENSION mals', 'allowed by one who may not');
isnt($node->psql('postgres', 'DROP SCHEMA mals CASCADE'), 0, 'the schema of the tables is not dropped');
$node->safe_psql('postgres', 'CREATE DATABASE owned');
$node->safe_psql('owned', 'CREATE SCHEMA s; SET ROLE keeper; CREATE EXTENSION mals SCHEMA s');
refused('owned', 'DROP OWNED BY keeper', 'DROP OWNED');
$node->safe_psql('owned', 'CREATE SCHEMA other; DROP SCHEMA other; CREATE EXTENSION amcheck; DROP EXTENSION amcheck; DROP OWNED BY watcher');
$node->safe_psql('owned', 'SET mals.allow_drop = on; DROP SCHEMA s CASCADE');
sql_is($node, q{SELECT count(*) FROM mals.entries}, '20', 'what was dropped elsewhere is not dropped here');
sql_is($node, q{SELECT count(*) FROM pg_extension WHERE extname = 'mals'}, '1', 'nor the extension');
is($node->safe_psql('owned', q{SELECT count(*) FROM pg_extension WHERE extname = 'mals'}), '0', 'allowed, it is dropped');
$node->safe_psql('owned', 'CREATE EXTENSION mals');
$node->safe_psql('postgres', 'DROP DATABASE owned');

# What was forgotten may still be in archives: the audit names those of the query's time.
$node->safe_psql('postgres', q{SET mals.max_past = '-1';
	SELECT mals_log('bot-0', 'long ago', ts => '2020-01-01'), mals_log('bot-0', 'long ago', ts => '2020-02-01');
	SELECT mals._archive(inhrelid) FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass AND inhrelid::regclass::text ~ 'entries_20200[12]'});
sql_is($node, q{SELECT mals_forget('agent:bot-0 before:2020-01-15', false, 'a duty')}, '1', 'an entry is forgotten');
like($node->safe_psql('postgres', q{SELECT archives FROM mals.audit WHERE action = 'forget'}), qr{^\{\Q$dir\E/postgres/entries_20200101\.[^,]*\.json\}$},
	'the archive that has it is in the audit');
sql_is($node, q{SELECT mals_forget('agent:bot-0', false)}, '1', 'another is forgotten');
sql_is($node, q{SELECT array_length(archives, 1) FROM mals.audit WHERE action = 'forget' ORDER BY at DESC LIMIT 1}, '2', 'both archives are in the audit');

# Dumps.
my %state = (
	bindings => 'SELECT * FROM mals.agent_bindings WHERE role IN (SELECT oid FROM pg_roles)',
	audit => q{SELECT count(*), md5(string_agg(a::text, E'\n' ORDER BY at)) FROM mals.audit a},
	policies => q{SELECT count(*), md5(string_agg(polrelid::regclass || pg_get_expr(polqual, polrelid), E'\n' ORDER BY polrelid::regclass::text, polname)) FROM pg_policy},
	triggers => q{SELECT evtname, evtenabled FROM pg_event_trigger},
	bot => 'SET ROLE bot; SELECT count(*) FROM mals.logs');
my %expected = map { $_ => $node->safe_psql('postgres', $state{$_}) } keys %state;

is($expected{bindings}, 'bot|bot-*', 'bindings of roles that there are');
is($expected{bot}, '10', 'a bound role reads its own');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", 'postgres' ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-1', '-d', 'restored', "$dir/dump" ], 'restored');
is($node->safe_psql('restored', $state{$_}), $expected{$_}, "restored: $_") for sort keys %state;
is($node->safe_psql('restored', 'SELECT count(*) FROM mals.agent_bindings'), '1', 'a role that was dropped is not restored');

# pg_restore --clean drops the extension first, and so must be allowed to.
{
	local $ENV{PGOPTIONS} = '-c mals.allow_drop=on';

	$node->command_ok([ 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-d', 'restored', "$dir/dump" ],
		'restored in place of what was there');
}
is($node->safe_psql('restored', $state{$_}), $expected{$_}, "restored again: $_") for sort keys %state;
$node->command_fails([ 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-1', '-d', 'restored', "$dir/dump" ],
	'not allowed, pg_restore --clean fails');
is($node->safe_psql('restored', $state{bot}), '10', 'and leaves all as it was');

# Other sessions, with plans that are kept, and a standby.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my $count = 'EXECUTE seen';
my %sessions = (
	'another session' => $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'watcher' ]),
	'a standby' => $standby->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'watcher' ]));

$_->query('PREPARE seen AS SELECT count(*) FROM mals.logs') for values %sessions;
is($sessions{$_}->query($count), '20', "$_: all is seen") for sort keys %sessions;
$node->safe_psql('postgres', q{SELECT mals_bind_agent('watcher', 'other-1')});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($sessions{$_}->query($count), '1', "$_: bound at once") for sort keys %sessions;
is($sessions{$_}->query(q{SELECT string_agg(agent_id, ' ') FROM mals_search()}), 'other-1', "$_: in searches, too")
	for sort keys %sessions;
$node->safe_psql('postgres', q{SELECT mals_bind_agent('watcher', NULL)});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($sessions{$_}->query($count), '20', "$_: and free again") for sort keys %sessions;
$_->quit for values %sessions;

$standby->stop;
$node->stop;
done_testing();
