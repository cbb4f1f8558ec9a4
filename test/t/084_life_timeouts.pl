# What limits a statement holds for every function, from the catalog: under
# statement_timeout a call succeeds or is cancelled (57014), under lock_timeout it
# succeeds or gives up (55P03); either way nothing is half done, and the session goes
# on. In a read-only transaction whatever would write says so (25006), with a hint.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = mals_node('limits', "shared_preload_libraries = 'mals'", "mals.archive_directory = '$dir'", 'mals.worker = off');

# The calls of access_matrix.sql, which has a row for every function.
my %calls;
for (split /\n/, slurp_file("$ENV{TESTDIR}/test/sql/access_matrix.sql"))
{
	next unless /^  \('((?:\w|\.)+\([^']*\))', '\w*', (?:NULL|'((?:[^']|'')*)')\)/;
	my ($signature, $call) = ($1, $2);

	$calls{$signature} = $call =~ s/''/'/gr if defined $call;
}

$node->safe_psql('postgres', q{
	CREATE ROLE somebody;
	CREATE TABLE seen AS SELECT mals_log('mine', 'Seen before', 'error') AS id;
	SET mals.max_past = '-1';
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'agent-' || i % 7, 'message', 'Step ' || i || ' of plan ' || md5((i % 500)::text),
		'level', CASE WHEN i % 5 = 0 THEN 'error' ELSE 'info' END, 'session_key', 's' || i % 3, 'correlation_id', 'c',
		'trace_id', md5('')::uuid, 'ts', now() - i * interval '1 s'))) FROM generate_series(1, 10000) AS i;
	SELECT mals_log('old', 'Archived ' || i, ts => '2020-01-01') FROM generate_series(1, 1000) i;
	SELECT mals._archive(inhrelid) FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass AND inhrelid::regclass::text ~ 'entries_2020';
	SELECT mals_counter('c', jsonb_build_object('i', i % 100)) FROM generate_series(1, 1000) i;
	-- how many rows there are in which table
	CREATE FUNCTION counts() RETURNS text LANGUAGE sql AS $$
	  SELECT string_agg(objid::regclass || ' ' || (xpath('//n/text()', query_to_xml('SELECT count(*) AS n FROM ' || objid::regclass, false, true, '')))[1]::text, ', ' ORDER BY objid)
	    FROM pg_depend JOIN pg_class c ON c.oid = objid AND relkind IN ('r', 'p')
	   WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_extension'::regclass AND deptype = 'e' AND relnamespace = 'mals'::regnamespace
	$$;
	CREATE TABLE outcomes (what text, how text, state text, same boolean)});
my ($archive) = glob "$dir/postgres/entries_2020*.json";

# Those that are left alone there, those that take longer, and statements that are no calls.
my $batch = q{(SELECT jsonb_agg(jsonb_build_object('agent_id', 'batch', 'message', 'm' || i)) FROM generate_series(1, 3000) i)};
%calls = (
	%calls,
	'mals_bind_agent(regrole,text)' => q{SELECT mals_bind_agent('somebody', 'a')},
	'mals_grant(regrole,text)' => q{SELECT mals_grant('somebody', 'admin')},
	'mals_regrant()' => q{SELECT mals_regrant()},
	'mals_revoke(regrole,text)' => q{SELECT mals_revoke('somebody', 'writer')},
	'mals_restore_archive(text,interval)' => "SELECT mals_restore_archive('$archive')",
	'mals_log_batch(jsonb)' => "SELECT mals_log_batch($batch)",
	'mals_forget(text,boolean,text)' => q{SELECT mals_forget('agent:agent-1', false)},
	'mals_make_partitions(timestamp with time zone,timestamp with time zone)' => q{SELECT mals_make_partitions('2019-01-01', '2019-03-01')},
	'mals_resolve_batch(uuid[],text,text)' => q{SELECT mals_resolve_batch(array_agg(id)) FROM mals.entries WHERE agent_id = 'agent-2'},
	'INSERT INTO mals.logs' => q{INSERT INTO mals.logs (agent_id, message) SELECT 'inserted', 'm' || i FROM generate_series(1, 3000) i},
	'INSERT INTO mals.inbox' => "INSERT INTO mals.inbox SELECT * FROM jsonb_array_elements($batch)",
	'SELECT FROM mals.logs' => 'SELECT count(*) FROM mals.logs WHERE resolved');

my $members = q{SELECT p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals')
	  AND p.proname ~ '^mals_' AND p.proname !~ '^mals_(level|severity)'};
is_deeply([ grep { !$calls{$_} } split /\n/, $node->safe_psql('postgres', $members) ], [], 'every function is called');

# The limit may hit the statement that lifts it, too, on a busy machine.
my $reset = 'RESET ALL; ' x 10;

# Makes a script that runs every call with a setting and keeps what came of it.
sub try_all
{
	my ($how, $setting) = @_;
	my $script = '';

	for my $what (sort keys %calls)
	{
		$script .= qq{
			SELECT counts() AS before \\gset
			SET $setting;
			$calls{$what};
			\\set state :SQLSTATE
			$reset
			SELECT counts() AS after \\gset
			INSERT INTO outcomes VALUES ('$what', '$how', :'state', :'before' = :'after');
		};
	}
	return $script;
}

# Runs a script in one session, whatever fails in it.
sub run_script
{
	my ($script) = @_;

	$node->psql('postgres', $script, on_error_stop => 0, extra_params => [ '-o', '/dev/null' ]);
	return;
}

# Cancelled at many points, all in one session.
my @timeouts = (1, 3, 8, 20);
run_script(join '', map { try_all($_, "statement_timeout = $_") } @timeouts);
sql_is($node, q{SELECT what, state FROM outcomes WHERE state NOT IN ('00000', '57014')}, '', 'statement_timeout: a call succeeds or is cancelled');
# mals_maintain and mals_prune have others do one thing after the other, each as a whole.
sql_is($node, q{SELECT what, how FROM outcomes WHERE state = '57014' AND NOT same AND what !~ '^mals_(maintain|prune)'}, '',
	'statement_timeout: nothing is half done');
sql_is($node, q{SELECT count(*) > 30, count(DISTINCT what) > 10 FROM outcomes WHERE state = '57014'}, 't|t', 'statement_timeout: some were cancelled');
sql_is($node, q{SELECT count(*) > 30 FROM outcomes WHERE state = '00000'}, 't', 'statement_timeout: and some were not');
sql_is($node, 'SELECT count(*) FROM outcomes', keys(%calls) * @timeouts, 'statement_timeout: the session tried all');

# What goes by the ring is written as a whole or not at all, whatever the caller was told.
run_script(join '', map { qq{
	SET mals.write_mode = autonomous;
	SET mals.session_key = 'unit $_';
	SET statement_timeout = $_;
	SELECT mals_log_batch($batch);
	\\set state :SQLSTATE
	$reset
	INSERT INTO outcomes VALUES ('unit', 'unit $_', :'state');
} } 1 .. 40);
$node->safe_psql('postgres', 'SELECT mals_flush()');
sql_is($node, q{SELECT DISTINCT state IN ('00000', '57014') FROM outcomes WHERE what = 'unit'}, 't', 'by the ring: written or cancelled');
sql_is($node, q{SELECT o.how, o.state, count(e.id) FROM outcomes o LEFT JOIN mals.entries e ON e.session_key = o.how WHERE what = 'unit'
	GROUP BY 1, 2 HAVING count(e.id) NOT IN (0, 3000) OR state = '00000' AND count(e.id) = 0}, '', 'by the ring: all entries of a unit or none');

# Another session has every table locked.
$node->safe_psql('postgres', 'TRUNCATE outcomes');
my $locker = $node->background_psql('postgres');
$locker->query_safe(q{BEGIN; DO $$
	DECLARE t regclass;
	BEGIN
	  FOR t IN SELECT objid FROM pg_depend JOIN pg_class c ON c.oid = objid AND relkind IN ('r', 'p')
	            WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_extension'::regclass AND deptype = 'e' AND relnamespace = 'mals'::regnamespace LOOP
	    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', t);
	  END LOOP;
	END $$});
run_script(try_all('locked', 'lock_timeout = 5') =~ s/SELECT counts\(\) AS \w+ \\gset/\\set before 0\n\\set after 0\n/gr);
$locker->query_safe('ROLLBACK');
$locker->quit;
sql_is($node, q{SELECT what, state FROM outcomes WHERE state NOT IN ('00000', '55P03')}, '', 'lock_timeout: a call succeeds or gives up');
sql_is($node, q{SELECT count(*) > 30 FROM outcomes WHERE state = '55P03'}, 't', 'lock_timeout: many give up');
sql_is($node, 'SELECT count(*) FROM outcomes', scalar keys(%calls), 'lock_timeout: the session tried all');

# Read-only: what writes is what has a transaction number when it is left to.
$node->safe_psql('postgres', q{
	TRUNCATE outcomes;
	CREATE FUNCTION try(statement text, OUT state text, OUT hint text, OUT writes boolean) LANGUAGE plpgsql AS $$
	BEGIN
	  EXECUTE statement;
	  RAISE 'done' USING ERRCODE = 'P9999', HINT = pg_current_xact_id_if_assigned() IS NOT NULL;
	EXCEPTION WHEN OTHERS THEN
	  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT;
	  IF state = 'P9999' THEN
	    state := '00000';
	    writes := hint::boolean;
	  END IF;
	END $$});
my %volatile = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "$members AND p.provolatile = 'v'");
my %writes;
my ($before, $after) = ('', '');
delete @calls{ grep { !/\(/ } keys %calls }; # those are refused by the server itself
for my $what (sort keys %calls)
{
	my $call = $calls{$what} =~ s/'/''/gr;
	my ($state, $hint, $writes) = split /\|/, $node->safe_psql('postgres', "SELECT (try('$call')).*");

	if ($state eq '55000')
	{
		# what cannot run in a transaction block
		$state = '00000';
		$writes = 't';
	}
	$writes{$what} = $writes eq 't';
	$before .= "$what $state\n" if $state ne '00000';
	($state, $hint) = split /\|/, $node->safe_psql('postgres', "SET default_transaction_read_only = on; SELECT (try('$call')).*");
	# what found nothing to write may be refused as well
	$after .= "$what $state $hint\n" unless $state eq '25006' && $hint ne '' && $volatile{$what} || $state eq '00000' && !$writes{$what};
}
is($before, '', 'what may write succeeds');
is($after, '', 'read-only, what writes is refused with a hint, and what reads succeeds');
cmp_ok(scalar(grep { $_ } values %writes), '>', 20, 'some write');
cmp_ok(scalar(grep { !$_ } values %writes), '>', 20, 'some do not');

$node->stop;
done_testing();
