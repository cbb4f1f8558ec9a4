# A crash or a cancel in the middle of a step of maintenance: the next turn
# finishes it, and the entries are those that must be there. Steps are held up by
# locks of others, where the worker, its caller, the postmaster are then killed.
use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = mals_node('crash', 'max_connections = 40', 'max_prepared_transactions = 2', "mals.max_past = '-1'", "session_preload_libraries = 'mals'",
	'restart_after_crash = on', 'autovacuum = off');
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'mals task'};

# Entries of 10 days that are due, and of 10 that are not.
sub load_entries
{
	$node->safe_psql('postgres', q{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'crash', 'message', 'Entry ' || i,
		'level', CASE WHEN i % 4 = 0 THEN 'info' ELSE 'debug' END, 'ts', now() - interval '25 days 30 minutes' - i * interval '1 hour')))
		FROM generate_series(0, 239) AS i});
	return;
}

# Runs a statement in a session of its own, when tasks of those before have gone:
# after its report one may go on for a while with what needs no caller.
sub start_caller
{
	my ($statement) = @_;
	my %run = (out => '');

	wait_for_tasks();
	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', q{SET application_name = 'caller'}, '-c', $statement ],
		'>', \$run{out}, '2>&1');
	return \%run;
}

# Holds what a statement has locked, over crashes too, until it is released.
sub hold
{
	my ($statement, $name) = @_;

	$node->safe_psql('postgres', "BEGIN; $statement; PREPARE TRANSACTION '" . ($name // 'holder') . q{'});
	return;
}

sub release
{
	my ($name) = @_;

	$node->safe_psql('postgres', q{ROLLBACK PREPARED '} . ($name // 'holder') . q{'});
	return;
}

sub wait_for
{
	my ($condition) = @_;

	$node->poll_query_until('postgres', "SELECT $condition")
	  or die "never: $condition\n" . $node->safe_psql('postgres', q{SELECT pid, backend_type, wait_event, query FROM pg_stat_activity; SELECT * FROM mals._jobs; TABLE mals._partition_state});
	return;
}

# Waits until no task is at work.
sub wait_for_tasks
{
	wait_for("NOT EXISTS ($worker)");
	return;
}

# Makes what was committed up to now outlive a crash: removal does not wait for the disk.
sub flush
{
	$node->safe_psql('postgres', q{SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'test', 'flush')});
	return;
}

# Kills the postmaster, and starts the server again when it and its children have gone.
sub kill_server
{
	my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity');

	push @pids, split /\n/, (slurp_file($node->data_dir . '/postmaster.pid') =~ /(\d+)/)[0];
	$node->kill9;
	for my $try (1 .. 600)
	{
		last unless grep { kill 0, $_ } @pids;
		usleep(100_000);
	}
	$node->start;
	return;
}

# What must be true when the next turn is done.
sub is_finished
{
	my ($name) = @_;

	$node->safe_psql('postgres', 'SELECT mals_prune()');
	sql_is($node, q{SELECT count(*), count(*) FILTER (WHERE ts < now() - interval '30 days') FROM mals.entries WHERE agent_id = 'crash'}, '120|0', "$name: what is not due is there, the rest is gone");
	sql_is($node, q{SELECT count(*) FROM pg_class c WHERE relname ~ '^entries_2' AND relkind = 'r' AND NOT relispartition}, '0', "$name: no table is left");
	sql_is($node, q{SELECT count(*) FROM mals.partitions WHERE state ~ 'detach' OR to_ts < now() - interval '30 days'}, '0', "$name: nor a partition");
	sql_is($node, q{SELECT count(*) FROM mals._partition_state WHERE removing IS NOT NULL}, '0', "$name: nor a mark");
	wait_for_tasks();
	$node->safe_psql('postgres', q{DELETE FROM mals.entries WHERE agent_id = 'crash'});
	return;
}

my %victims = (
	worker => sub { kill_backend($node, $node->safe_psql('postgres', $worker)) },
	caller => sub { kill_backend($node, $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name = 'caller'})) },
	postmaster => sub { kill_server() });

# In the middle of making partitions ahead: some are there, the next one's table is
# in the making; and of one that an entry needs, which is about to be attached
my $tables = q{SELECT count(*) FROM pg_class WHERE relname ~ '^entries_2' AND relkind = 'r'};
my $days = q{SELECT count(*), count(DISTINCT from_ts), bool_and(to_ts - from_ts = interval '1 day') FROM mals.partitions};
foreach my $victim (sort keys %victims)
{
	hold(q{DO $$ BEGIN EXECUTE 'CREATE TABLE mals.entries_' || to_char(now() AT TIME ZONE 'UTC' + interval '2 days', 'YYYYMMDD') || ' ()'; END $$});
	my $run = start_caller('SELECT mals_maintain()');
	wait_for(q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'mals task' AND wait_event = 'transactionid')});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	sql_is($node, $tables, '2', "premake, killed $victim: two partitions are there");
	sql_is($node, $days, '2|2|t', "premake, killed $victim: and are complete");
	release();
	sql_is($node, q{SELECT mals_maintain() -> 'premade'}, '2', "premake, killed $victim: the next turn makes the others");
	sql_is($node, $days, '4|4|t', "premake, killed $victim: all are there");

	hold('LOCK TABLE pg_inherits IN SHARE MODE');
	$run = start_caller(q{SELECT mals_log('made', 'Needs a partition', ts => now() - interval '9 days')});
	wait_for(q{EXISTS (SELECT FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE backend_type = 'mals task' AND relation = 'pg_inherits'::regclass AND NOT granted)});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	sql_is($node, $tables, '4', "made for an entry, killed $victim: no table is left");
	release();
	sql_is($node, q{SELECT count(*) FROM mals.entries}, '0', "made for an entry, killed $victim: nor an entry");
	$node->safe_psql('postgres', q{SELECT mals_log('made', 'Needs a partition', ts => now() - interval '9 days')});
	sql_is($node, 'SELECT (SELECT count(*) FROM mals.entries), (' . $tables . ')', '1|5', "made for an entry, killed $victim: the next one is stored");
	sql_is($node, $days, '5|5|t', "made for an entry, killed $victim: in its partition");
	$node->safe_psql('postgres', q{DO $$ BEGIN EXECUTE (SELECT 'DROP TABLE ' || string_agg(inhrelid::regclass::text, ', ') FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass); END $$});
}

# In the middle of a detach, beside a reader
foreach my $victim (sort keys %victims)
{
	load_entries();
	hold('SELECT count(*) FROM mals.entries');
	my $run = start_caller('SELECT mals_prune()');
	wait_for(q{EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	sql_is($node, q{SELECT count(*) FROM pg_inherits WHERE inhdetachpending}, '1', "killed $victim: a detach is left");
	release();
	is_finished("killed $victim");
}

# Detached, and not yet dropped
foreach my $victim (sort keys %victims)
{
	load_entries();
	hold('SELECT count(*) FROM mals.entries', 'reader');
	my $run = start_caller('SELECT mals_prune()');
	wait_for(q{EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)});
	hold('LOCK TABLE mals._partition_state IN ACCESS EXCLUSIVE MODE');
	release('reader');
	wait_for(q{EXISTS (SELECT FROM pg_class WHERE relname ~ '^entries_2' AND relkind = 'r' AND NOT relispartition)});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	sql_is($node, q{SELECT count(*) FROM pg_class WHERE relname ~ '^entries_2' AND relkind = 'r' AND NOT relispartition}, '1', "killed $victim later: a table is left");
	release();
	is_finished("killed $victim later");
}

# A table that looks like a partition is nobody's but its owner's
$node->safe_psql('postgres', 'CREATE TABLE mals.entries_20010101 (LIKE mals.entries)');
$node->safe_psql('postgres', 'SELECT mals_prune()');
sql_is($node, q{SELECT to_regclass('mals.entries_20010101') IS NOT NULL}, 't', 'a table of the same kind is left alone');
$node->safe_psql('postgres', 'DROP TABLE mals.entries_20010101');

# Cancelled: the caller takes the worker with it; the worker's error is the caller's
load_entries();
hold('SELECT count(*) FROM mals.entries');
my $run = start_caller('SELECT mals_prune()');
wait_for(q{EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)});
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'caller'});
$run->{handle}->finish;
like($run->{out}, qr/canceling statement due to user request/, 'the caller is cancelled');
$run = start_caller('SELECT mals_prune()');
wait_for(qq{EXISTS ($worker)});
wait_for(q{EXISTS (SELECT FROM mals.progress)});
$node->safe_psql('postgres', qq{SELECT pg_cancel_backend(pid) FROM ($worker) AS w});
$run->{handle}->finish;
like($run->{out}, qr/canceling statement due to user request/, 'the worker is cancelled');
release();
is_finished('cancelled');

# In the middle of a sift: some entries are deleted, the others wait for a row that someone holds
$node->safe_psql('postgres', q{SELECT mals_set_retention('10 days', 'debug')});
my $sift = q{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'sift', 'message', repeat('Entry to sift ', 20) || i,
	'level', CASE WHEN i % 5 = 0 THEN 'info' ELSE 'debug' END, 'ts', date_trunc('day', now()) - interval '12 days' + i * interval '1 second')))
	FROM generate_series(0, 29999) AS i};
my $sifted = q{SELECT count(*), count(*) FILTER (WHERE level = 'debug'), count(DISTINCT id) FROM mals.entries WHERE agent_id = 'sift'};
foreach my $victim (sort keys %victims)
{
	$node->safe_psql('postgres', $sift);
	hold(q{SELECT FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug' AND ts = (SELECT max(ts) FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug') FOR UPDATE});
	my $run = start_caller('SELECT mals_prune()');
	wait_for(q{(SELECT count(*) < 24000 FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug')});
	wait_for(q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'mals task' AND wait_event_type = 'Lock')});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	sql_is($node, q{SELECT count(*) > 0 FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug'}, 't', "sift, killed $victim: some are left");
	release();
	$node->safe_psql('postgres', 'SELECT mals_prune()');
	sql_is($node, $sifted, '6000|0|6000', "sift, killed $victim: then none");
	# not beside a rewrite, which would copy what is deleted meanwhile
	wait_for_tasks();
	$node->safe_psql('postgres', q{DELETE FROM mals.entries WHERE agent_id = 'sift'});
}

# In the middle of a rewrite, which waits for a reader
my $rewritten = q{EXISTS (SELECT FROM mals._partition_state s JOIN mals._partitions() p USING (partition) WHERE s.inserted = 6000 AND s.deleted = 0)};
$node->safe_psql('postgres', q{SELECT mals_prune('12 hours')});
foreach my $victim ('worker', 'postmaster')
{
	$node->safe_psql('postgres', $sift);
	my $reader = $node->background_psql('postgres', on_error_stop => 0);
	$reader->query_safe('BEGIN; SELECT FROM mals.entries LIMIT 1');
	wait_for_tasks();
	$node->safe_psql('postgres', 'SELECT mals_prune()');
	# the new table is there, for the worker alone
	wait_for(q{EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.backend_type = 'mals task'
		AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = l.relation))});
	$victims{$victim}->();
	sql_is($node, $sifted, '6000|0|6000', "rewrite, killed $victim: nothing has happened");
	sql_is($node, 'SELECT mals_prune()', '0', "rewrite, killed $victim: nothing is due");
	wait_for($rewritten);
	sql_is($node, $sifted, '6000|0|6000', "rewrite, killed $victim: the next one succeeds");
	$node->safe_psql('postgres', q{SELECT mals_prune('12 hours')});
}

# Archives of a partition of large entries; a cast that their lines go through waits
# at the last entry
my $archive = PostgreSQL::Test::Utils::tempdir();
$node->append_conf('postgresql.conf', "mals.archive_directory = '$archive'");
$node->reload;
$node->safe_psql('postgres', q{
	CREATE FUNCTION as_json(mals_level) RETURNS json LANGUAGE plpgsql AS $$
	BEGIN
		IF $1::text = 'critical' THEN
			PERFORM pg_advisory_xact_lock_shared(7);
		END IF;
		RETURN to_json($1::text);
	END $$;
	CREATE CAST (mals_level AS json) WITH FUNCTION as_json(mals_level)});
my $large = q{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'archive', 'level', CASE WHEN i = 40 THEN 'critical' ELSE 'info' END,
	'message', (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 1000) AS j), 'ts', date_trunc('day', now()) - interval '35 days' + i * interval '1 minute')))
	FROM generate_series(1, 40) AS i};
my $archived = q{SELECT count(*), count(DISTINCT id), count(DISTINCT ts) FROM mals.entries WHERE agent_id = 'archive'};

# Removes the partition, and restores all of its archives; both give so many entries.
sub is_archived
{
	my ($entries, $archives, $name) = @_;
	my $restored = 0;

	sql_is($node, 'SELECT mals_prune()', $entries, "$name: the next turn removes all");
	sql_is($node, q{SELECT count(*) FROM mals.partitions WHERE to_ts < now() - interval '30 days'}, '0', "$name: with the partition");
	is(join(' ', map { s/.*\.(json|zst|tmp)$/$1/r } sort glob "$archive/postgres/*"), join(' ', ('json', 'zst') x $archives), "$name: whole archives are left");
	$restored += $node->safe_psql('postgres', "SELECT mals_restore_archive('$_')") for glob "$archive/postgres/*.json";
	is($restored, $entries, "$name: they hold all entries");
	sql_is($node, $archived, "$entries|$entries|$entries", "$name: each once");
	$node->safe_psql('postgres', 'TRUNCATE mals._exemptions; SELECT mals_prune()');
	unlink glob "$archive/postgres/*";
	return;
}

foreach my $victim (sort keys %victims)
{
	# in the middle of the lines
	$node->safe_psql('postgres', $large);
	hold('SELECT pg_advisory_xact_lock(7)');
	my $run = start_caller('SELECT mals_prune()');
	wait_for(q{EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted)});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	my @files = glob "$archive/postgres/*";
	is(scalar(@files), 1, "archive, killed $victim: a part is left");
	cmp_ok(-s $files[0], '>', 100_000, "archive, killed $victim: a large one");
	sql_is($node, $archived, '40|40|40', "archive, killed $victim: the entries are there");
	release();
	is_archived(40, 1, "archive, killed $victim");

	# between archive and removal; then an entry comes late
	$node->safe_psql('postgres', $large);
	hold('LOCK TABLE mals._partition_state IN SHARE MODE');
	$run = start_caller('SELECT mals_prune()');
	wait_for(q{EXISTS (SELECT FROM pg_locks WHERE relation = 'mals._partition_state'::regclass AND NOT granted)});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	is(scalar(() = glob "$archive/postgres/*.json"), 1, "archived, killed $victim: the archive is there");
	sql_is($node, $archived, '40|40|40', "archived, killed $victim: and so are the entries");
	release();
	$node->safe_psql('postgres', q{SELECT mals_log('archive', 'Late', ts => date_trunc('day', now()) - interval '35 days')});
	is_archived(41, 2, "archived, killed $victim");
}

# A sift that archives is one transaction: all of it, or nothing
$node->safe_psql('postgres', $sift);
hold(q{SELECT FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug' AND ts = (SELECT max(ts) FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug') FOR UPDATE});
$run = start_caller('SELECT mals_prune()');
wait_for(q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'mals task' AND wait_event_type = 'Lock')});
flush();
$victims{worker}->();
$run->{handle}->finish;
sql_is($node, $sifted, '30000|24000|30000', 'archived sift, killed worker: nothing has gone');
release();
sql_is($node, 'SELECT mals_prune()', '24000', 'archived sift, killed worker: the next turn removes all');
is(scalar(() = glob "$archive/postgres/*.json"), 1, 'archived sift, killed worker: with one archive');
sql_is($node, qq{SELECT mals_restore_archive('$_')}, '24000', 'archived sift, killed worker: which has all') for glob "$archive/postgres/*.json";
sql_is($node, $sifted, '30000|24000|30000', 'archived sift, killed worker: each once');
$node->safe_psql('postgres', q{TRUNCATE mals._exemptions; SELECT mals_prune('12 hours')});

# The resident worker finishes by itself what a crash has left of its job
$node->safe_psql('postgres', q{SELECT mals_drop_retention('debug')});
load_entries();
hold('SELECT count(*) FROM mals.entries');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'mals'");
$node->restart;
wait_for(q{EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)});
flush();
kill_backend($node, $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'mals job' AND query = 'retention'}));
sql_is($node, q{SELECT count(*) FROM pg_inherits WHERE inhdetachpending}, '1', 'killed job: a detach is left');
release();
wait_for(q{NOT EXISTS (SELECT FROM mals.partitions WHERE state ~ 'detach' OR to_ts <= now() - interval '30 days')});
is_finished('killed job');

$node->stop;
done_testing();
