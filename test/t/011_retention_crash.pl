# A crash or a cancel in the middle of removal: the next turn finishes it, and
# the entries are those that must be there. Steps are held up by locks of other
# sessions, where the worker, its caller, the postmaster are then killed.
use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = mals_node('crash', 'max_connections = 40', "mals.max_past = '-1'", "session_preload_libraries = 'mals'",
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

# Starts mals_prune in a session of its own.
sub start_prune
{
	my %run = (out => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', q{SET application_name = 'pruner'}, '-c', 'SELECT mals_prune()' ],
		'>', \$run{out}, '2>&1');
	return \%run;
}

# A session that keeps what a statement has locked.
sub holder
{
	my ($statement) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_safe("BEGIN; $statement");
	return $session;
}

sub wait_for
{
	my ($condition) = @_;

	$node->poll_query_until('postgres', "SELECT $condition") or die "never: $condition";
	return;
}

# Makes what was committed up to now outlive a crash: removal does not wait for the disk.
sub flush
{
	$node->safe_psql('postgres', q{SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'test', 'flush')});
	return;
}

# Kills a process and waits until the server is up again.
sub kill_backend
{
	my ($pid) = @_;
	kill 'KILL', $pid;
	for my $try (1 .. 600)
	{
		my ($status, $out) = $node->psql('postgres', 'SELECT count(*) FROM pg_stat_activity WHERE pid = ' . $pid);
		return if $status == 0 && $out eq '0';
		usleep(100_000);
	}
	die 'the server has not come back';
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
	$node->safe_psql('postgres', q{DELETE FROM mals.entries WHERE agent_id = 'crash'});
	return;
}

# In the middle of a detach, beside a reader
my %victims = (
	worker => sub { kill_backend($node->safe_psql('postgres', $worker)) },
	caller => sub { kill_backend($node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name = 'pruner'})) },
	postmaster => sub { kill_server() });
foreach my $victim (sort keys %victims)
{
	load_entries();
	my $reader = holder('SELECT count(*) FROM mals.entries');
	my $run = start_prune();
	wait_for(q{EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	# where the postmaster goes, the reader may go a moment before the worker does
	sql_is($node, q{SELECT count(*) FROM pg_inherits WHERE inhdetachpending}, '1', "killed $victim: a detach is left")
	  unless $victim eq 'postmaster';
	is_finished("killed $victim");
}

# Detached, and not yet dropped
foreach my $victim (sort keys %victims)
{
	load_entries();
	my $reader = holder('SELECT count(*) FROM mals.entries');
	my $run = start_prune();
	wait_for(q{EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)});
	my $holder = holder('LOCK TABLE mals._partition_state IN ACCESS EXCLUSIVE MODE');
	$reader->query_safe('COMMIT');
	$reader->quit;
	wait_for(q{EXISTS (SELECT FROM pg_class WHERE relname ~ '^entries_2' AND relkind = 'r' AND NOT relispartition)});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	# (the same holds for the holder here)
	sql_is($node, q{SELECT count(*) FROM pg_class WHERE relname ~ '^entries_2' AND relkind = 'r' AND NOT relispartition}, '1', "killed $victim later: a table is left")
	  unless $victim eq 'postmaster';
	is_finished("killed $victim later");
}

# A table that looks like a partition is nobody's but its owner's
$node->safe_psql('postgres', 'CREATE TABLE mals.entries_20010101 (LIKE mals.entries)');
$node->safe_psql('postgres', 'SELECT mals_prune()');
sql_is($node, q{SELECT to_regclass('mals.entries_20010101') IS NOT NULL}, 't', 'a table of the same kind is left alone');
$node->safe_psql('postgres', 'DROP TABLE mals.entries_20010101');

# Cancelled: the caller takes the worker with it; the worker's error is the caller's
load_entries();
my $reader = holder('SELECT count(*) FROM mals.entries');
my $run = start_prune();
wait_for(q{EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)});
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'pruner'});
$run->{handle}->finish;
like($run->{out}, qr/canceling statement due to user request/, 'the caller is cancelled');
wait_for(q{NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'mals task')});
$run = start_prune();
wait_for(qq{EXISTS ($worker)});
wait_for(q{EXISTS (SELECT FROM mals.progress)});
$node->safe_psql('postgres', qq{SELECT pg_cancel_backend(pid) FROM ($worker) AS w});
$run->{handle}->finish;
like($run->{out}, qr/canceling statement due to user request/, 'the worker is cancelled');
$reader->query_safe('COMMIT');
$reader->quit;
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
	my $holder = holder(q{SELECT FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug' AND ts = (SELECT max(ts) FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug') FOR UPDATE});
	my $run = start_prune();
	wait_for(q{(SELECT count(*) < 24000 FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug')});
	wait_for(q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'mals task' AND wait_event_type = 'Lock')});
	flush();
	$victims{$victim}->();
	$run->{handle}->finish;
	sql_is($node, q{SELECT count(*) > 0 FROM mals.entries WHERE agent_id = 'sift' AND level = 'debug'}, 't', "sift, killed $victim: some are left");
	$node->safe_psql('postgres', 'SELECT mals_prune()');
	sql_is($node, $sifted, '6000|0|6000', "sift, killed $victim: then none");
	$node->safe_psql('postgres', q{DELETE FROM mals.entries WHERE agent_id = 'sift'});
}

# In the middle of a rewrite, which waits for a reader
my $rewritten = q{EXISTS (SELECT FROM mals._partition_state s JOIN mals._partitions() p USING (partition) WHERE s.inserted = 6000 AND s.deleted = 0)};
$node->safe_psql('postgres', q{SELECT mals_prune('12 hours')});
foreach my $victim ('worker', 'postmaster')
{
	$node->safe_psql('postgres', $sift);
	my $reader = holder('SELECT FROM mals.entries LIMIT 1');
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

$node->stop;
done_testing();
