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
	next unless /^  \('((?:[^']|'')*)', '\w*', (?:NULL|'((?:[^']|'')*)')\)/;
	my ($signature, $call) = ($1, $2);

	$calls{$signature} = $call =~ s/''/'/gr if defined $call;
}

$node->safe_psql('postgres', q{
	CREATE ROLE somebody;
	CREATE TABLE seen AS SELECT mals_log('mine', 'Seen before', 'error') AS id;
	SET mals.max_past = '-1';
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'agent-' || i % 7, 'message', 'Step ' || i || ' of plan ' || md5((i % 500)::text),
		'level', CASE WHEN i % 5 = 0 THEN 'error' ELSE 'info' END, 'session_key', 's' || i % 3, 'correlation_id', 'c',
		'trace_id', md5('')::uuid, 'ts', now() - i * interval '1 s'))) FROM generate_series(1, 20000) AS i;
	SELECT mals_log('old', 'Archived ' || i, ts => '2020-01-01') FROM generate_series(1, 1000) i;
	SELECT mals._archive(inhrelid) FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass AND inhrelid::regclass::text ~ 'entries_2020';
	SELECT mals_counter('c', jsonb_build_object('i', i % 100)) FROM generate_series(1, 1000) i;
	-- how many rows there are in which table
	CREATE FUNCTION counts() RETURNS text LANGUAGE sql AS $$
	  SELECT string_agg(objid::regclass || ' ' || (xpath('//n/text()', query_to_xml('SELECT count(*) AS n FROM ' || objid::regclass, false, true, '')))[1]::text, ', ' ORDER BY objid)
	    FROM pg_depend JOIN pg_class c ON c.oid = objid AND relkind IN ('r', 'p')
	   WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_extension'::regclass AND deptype = 'e' AND relnamespace = 'mals'::regnamespace
	$$;
	CREATE TABLE outcomes (what text, how text, state text, same boolean, hint boolean, writes boolean)});
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
	  AND p.proname ~ '^mals_' AND p.proname !~ '^mals_level'};
is_deeply([ grep { !$calls{$_} } split /\n/, $node->safe_psql('postgres', $members) ], [], 'every function is called');

# Runs every call with a setting, in a transaction of its own that is rolled back unless the call is
# on its own, and keeps what came of it.
sub try_all
{
	my ($how, $setting, %options) = @_;
	my $script = '';

	for my $what (sort keys %calls)
	{
		my $name = $what =~ s/'/''/gr;

		$script .= qq{
			SELECT counts() AS before \\gset
			SET $setting;
			$calls{$what};
			\\set state :SQLSTATE
			\\set hint :LAST_ERROR_MESSAGE
			RESET ALL;
			SELECT counts() AS after \\gset
			INSERT INTO outcomes VALUES ('$name', '$how', :'state', :'before' = :'after');
		};
	}
	$node->psql('postgres', $script, on_error_stop => 0, extra_params => [ '-o', '/dev/null' ]);
	return;
}

# Cancelled at many points.
my @timeouts = (1, 2, 3, 5, 8, 13, 21);
try_all($_, "statement_timeout = $_") for @timeouts;
sql_is($node, q{SELECT what, state FROM outcomes WHERE state NOT IN ('00000', '57014')}, '', 'statement_timeout: a call succeeds or is cancelled');
sql_is($node, q{SELECT what, how FROM outcomes WHERE state = '57014' AND NOT same}, '', 'statement_timeout: nothing is half done');
sql_is($node, q{SELECT count(*) > 50, count(DISTINCT what) > 20 FROM outcomes WHERE state = '57014'}, 't|t', 'statement_timeout: some were cancelled');
sql_is($node, q{SELECT count(*) > 50 FROM outcomes WHERE state = '00000'}, 't', 'statement_timeout: and some were not');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT (what, how)) FROM outcomes'), keys(%calls) * @timeouts, 'statement_timeout: all were tried, one session after the other call');
