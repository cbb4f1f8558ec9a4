# What others do while entries are removed: they log entries that are to stay into
# what is going, follow what is being rewritten, and leave a detach of their own
# behind.
use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $archive = PostgreSQL::Test::Utils::tempdir();
my $node = mals_node('others', 'max_connections = 40', "mals.max_past = '-1'", "session_preload_libraries = 'mals'",
	'autovacuum = off', 'max_prepared_transactions = 2');

sub session
{
	my ($statement) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_safe($statement);
	return $session;
}

sub wait_for
{
	my ($condition) = @_;

	$node->poll_query_until('postgres', "SELECT $condition")
	  or die "never: $condition\n" . $node->safe_psql('postgres', q{SELECT pid, backend_type, wait_event, query FROM pg_stat_activity; SELECT * FROM mals._jobs; TABLE mals._partition_state});
	return;
}

# Entries of so many days that are due, one an hour.
sub load_entries
{
	my ($days) = @_;

	$node->safe_psql('postgres', qq{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'due', 'message', 'Entry ' || i,
		'ts', date_trunc('day', now()) - interval '40 days' + i * interval '1 hour'))) FROM generate_series(0, 24 * $days - 1) AS i});
	return;
}

# Runs statements in a session of its own; what they print is in out.
sub start_caller
{
	my (@statements) = @_;
	my %run = (out => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), map { ('-c', $_) } @statements ], '>', \$run{out}, '2>&1');
	return \%run;
}

my $detaching = q{SELECT count(*) FROM pg_inherits WHERE inhdetachpending};
my $due = q{SELECT count(*) FROM mals.entries WHERE ts < now() - interval '30 days' AND agent_id = 'due'};
my $table = $node->safe_psql('postgres', q{SELECT 'mals.entries_' || to_char(date_trunc('day', now()) - interval '40 days', 'YYYYMMDD')});

# An entry that is to stay for ever comes into a partition when all else in it is
# about to go: it is there when mals_prune returns, also where someone reads the
# partition itself, or archives fail
$node->safe_psql('postgres', q{SELECT mals_set_retention(NULL, 'critical')});
foreach my $way ('plainly', 'beside a reader', 'archived')
{
	load_entries(3);
	if ($way eq 'archived')
	{
		$node->append_conf('postgresql.conf', "mals.archive_directory = '$archive'");
		$node->reload;
	}
	my $logger = session(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM mals.entries});
	my $reader = $way eq 'beside a reader' ? session("BEGIN; SELECT count(*) FROM $table") : undef;
	my $run = start_caller('SELECT mals_prune()', $due, q{SELECT count(*) FROM mals.entries WHERE level = 'critical'}, $detaching);

	wait_for("($detaching) = 1");
	sql_is($node, $due, '48', "$way: a partition is out of sight");
	$logger->query_safe(q{SELECT mals_log('late', 'Kept', 'critical', ts => date_trunc('day', now()) - interval '40 days' + interval '1 minute')});
	$logger->query_safe('COMMIT');
	if ($reader)
	{
		# time to be in each other's way
		wait_for(qq{(SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'mals task' AND wait_event_type = 'Extension')});
		$reader->query_safe('COMMIT');
		$reader->quit;
	}
	$run->{handle}->finish;
	is($run->{out}, "72\n0\n1\n0\n", "$way: all that is due has gone, and what is to stay is there");
	sql_is($node, q{SELECT count(*) FROM mals.partitions WHERE state ~ 'detach' OR to_ts <= date_trunc('day', now()) - interval '37 days'}, '1', "$way: in its partition");
	sql_is($node, "SELECT count(*) FROM pg_constraint WHERE conrelid = '$table'::regclass AND contype = 'c'", '0', "$way: which is as it was");
	sql_is($node, 'SELECT count(*) FROM mals._partition_state WHERE removing IS NOT NULL', '0', "$way: and not marked");
	$logger->quit;
	$node->safe_psql('postgres', q{DELETE FROM mals.entries WHERE level = 'critical'; SELECT mals_prune()});
	sql_is($node, "SELECT to_regclass('$table') IS NULL", 't', "$way: which goes when nothing is to stay");
}
$node->append_conf('postgresql.conf', "mals.archive_directory = ''");
$node->reload;

# A tail that reads in small pieces while policies take entries and what stays is
# rewritten, and others come late: each entry that stays comes once
$node->safe_psql('postgres', q{
	CREATE TABLE control (writing boolean);
	INSERT INTO control VALUES (true);
	CREATE TABLE seen (id uuid, level mals_level);
	CREATE PROCEDURE follow(c text, max_rows int) LANGUAGE plpgsql AS $$
	DECLARE
		r record;
		more boolean;
		last_turn boolean;
	BEGIN
		LOOP
			last_turn := NOT (SELECT writing FROM control);
			more := false;
			FOR r IN SELECT * FROM mals_tail('agent:moved', c, '0.3 s', max_rows) LOOP
				c := r.next_cursor;
				IF r.id IS NOT NULL THEN
					INSERT INTO seen VALUES (r.id, r.level);
					more := true;
				END IF;
			END LOOP;
			COMMIT;
			EXIT WHEN last_turn AND NOT more;
		END LOOP;
	END $$;
	SELECT mals_set_retention('2 days', 'debug')});
my $cursor = $node->safe_psql('postgres', 'SELECT mals_tail_cursor()');
my $batch = q{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'moved', 'level', CASE WHEN i % 5 = 0 THEN 'info' ELSE 'debug' END,
	'message', repeat('Entry to move ', 20) || i, 'ts', date_trunc('day', now()) - interval '5 days' + i * interval '1 second'))) FROM generate_series(1, 20000) AS i};
my @tails = map { start_caller("CALL follow('$cursor', $_)") } 200, 1000;
my $rewritten = q{EXISTS (SELECT FROM mals._partition_state s JOIN mals._partitions() p USING (partition) WHERE s.inserted > 0 AND s.deleted = 0)};

foreach my $turn (1 .. 3)
{
	$node->safe_psql('postgres', $batch);
	my $late = start_caller(q{SELECT mals_log('moved', 'Late ' || i, ts => date_trunc('day', now()) - interval '5 days' + i * interval '1 minute') FROM generate_series(1, 200) AS i},
		q{SELECT mals_log('moved', 'New ' || i) FROM generate_series(1, 200) AS i});
	my $oid = $node->safe_psql('postgres', q{SELECT partition FROM mals._partitions() WHERE from_ts = date_trunc('day', now()) - interval '5 days'});
	wait_for("(SELECT count(*) > 500 * $turn FROM seen)");
	sql_is($node, 'SELECT mals_prune()', '16000', "turn $turn: four fifths have gone");
	wait_for("NOT EXISTS (SELECT FROM mals._partitions() WHERE partition = $oid)");
	$late->{handle}->finish;
	unlike($late->{out}, qr/ERROR/, "turn $turn: the others are rewritten, late ones are stored");
}
$node->safe_psql('postgres', 'UPDATE control SET writing = false');
foreach my $tail (@tails)
{
	$tail->{handle}->finish;
	is($tail->{out}, '', 'the tail has ended');
}
my $moved = q{SELECT count(*) FROM mals.entries WHERE agent_id = 'moved'};
sql_is($node, $moved, 3 * (4000 + 400), 'what is to stay is there');
sql_is($node, q{SELECT count(*), min(n), max(n) FROM (SELECT count(s.id) AS n FROM mals.entries e LEFT JOIN seen s USING (id) WHERE e.agent_id = 'moved' GROUP BY e.id) AS c},
	3 * (4000 + 400) . '|2|2', 'each tail has seen each entry once');
sql_is($node, q{SELECT count(*) FROM (SELECT FROM seen GROUP BY id HAVING count(*) > 2) AS s}, '0', 'and none twice that has gone');
$node->safe_psql('postgres', q{SELECT mals_drop_retention('debug'), mals_prune('12 hours')});

# Somebody's own detach, cancelled while it waited for a reader: loggers don't care,
# mals_health says so, all else that is due goes, and the table stays its owner's.
# First beside a snapshot that keeps it from being finished
load_entries(5);
my $reader = session('BEGIN; SELECT count(*) FROM mals.entries');
my $owner = start_caller("ALTER TABLE mals.entries DETACH PARTITION $table CONCURRENTLY");
wait_for("($detaching) = 1");
wait_for(q{EXISTS (SELECT FROM pg_stat_activity WHERE query ~ '^ALTER TABLE mals.entries DETACH' AND wait_event_type = 'Lock')});
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ '^ALTER TABLE mals.entries DETACH'});
$owner->{handle}->finish;
like($owner->{out}, qr/canceling statement/, 'a detach is cancelled');
my $snapshot = session('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$reader->query_safe('COMMIT');
$reader->quit;
like($node->safe_psql('postgres', q{SELECT mals_health() ->> 'warnings'}), qr/partition \Q$table\E is being detached, or was/, 'mals_health says so');
sql_is($node, q{SELECT mals_log('writer', 'Now') IS NOT NULL, mals_log('writer', 'Late', ts => date_trunc('day', now()) - interval '39 days') IS NOT NULL}, 't|t', 'loggers log');
$node->safe_psql('postgres', q{SELECT mals_log('writer', 'Of that time', ts => date_trunc('day', now()) - interval '40 days')});
sql_is($node, q{SELECT ts > now() - interval '1 minute' FROM mals.entries WHERE message = 'Of that time'}, 't', 'what is of that time is stored as of now');
sql_is($node, 'SELECT mals_prune()', 4 * 24 + 1, 'all else goes that is due');
sql_is($node, q{SELECT count(*) FROM mals.partitions WHERE to_ts < now() - interval '31 days' AND state <> 'detaching'}, '0', 'with its partitions');
sql_is($node, 'SELECT mals_make_partitions(now() + interval \'10 days\', now() + interval \'12 days\') >= 2', 't', 'others are made');
sql_is($node, $detaching, '1', 'the detach has to wait');
$snapshot->query_safe('COMMIT');
$snapshot->quit;
$node->safe_psql('postgres', 'SELECT mals_maintain()');
wait_for("($detaching) = 0");
sql_is($node, "SELECT count(*), (SELECT relispartition FROM pg_class WHERE oid = '$table'::regclass) FROM $table", '24|f', 'the next turn finishes it, and the table stays');
sql_is($node, q{SELECT mals_health() ->> 'warnings'}, '[]', 'mals_health has nothing to say');
$node->safe_psql('postgres', "DROP TABLE $table");

# A detach that nobody is in the way of is finished by the worker itself
load_entries(1);
$reader = session('BEGIN; SELECT count(*) FROM mals.entries');
$owner = start_caller("ALTER TABLE mals.entries DETACH PARTITION $table CONCURRENTLY");
wait_for("($detaching) = 1");
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'mals'");
$node->restart;
$owner->{handle}->finish;
$reader->{run}->kill_kill;
wait_for("($detaching) = 0");
sql_is($node, "SELECT count(*) FROM $table", '24', 'the worker finishes a detach, and the table stays');

$node->stop;
done_testing();
