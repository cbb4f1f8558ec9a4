# The extension in a schema of its own that no search path names: it logs, makes
# partitions, and is dumped and restored, a partition of another's with it.
use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('primary');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $summary = q{SELECT count(*), count(*) FILTER (WHERE resolved), md5(string_agg(l::text, '|' ORDER BY ts, id)),
	(SELECT string_agg(c.relname || pg_get_expr(c.relpartbound, c.oid) || (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid), ' ' ORDER BY relname COLLATE "C")
	 FROM pg_class c JOIN pg_inherits ON inhrelid = c.oid WHERE inhparent = 'mals.entries'::regclass) FROM mals.logs l};
my $more = q{SET mals.max_past = '-1';
	INSERT INTO mals.logs (agent_id, message, ts) SELECT 'after', 'm', unnest('{2024-02-01,2024-07-06,2024-09-01}'::timestamptz[]);
	INSERT INTO mals.inbox VALUES ('{"agent_id": "after", "message": "m", "level": "error"}')};

$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(elsewhere restored);
$node->safe_psql('elsewhere', q{
	CREATE SCHEMA "some where";
	CREATE EXTENSION mals SCHEMA "some where";
	SET mals.max_past = '-1';
	SELECT "some where".mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'agent-' || i % 7, 'message', 'Step ' || i,
		'level', CASE WHEN i % 9 = 0 THEN 'error' ELSE 'info' END, 'ts', '2024-01-29T00:00:00Z'::timestamptz + i * interval '3 hours')) FROM generate_series(1, 100) AS i));
	CREATE TABLE mals.theirs (xact bigint, fingerprint bigint NOT NULL, metadata jsonb NOT NULL, correlation_id text COLLATE "C", parent_id uuid, trace_id uuid, session_key text COLLATE "C",
		source text COLLATE "C" NOT NULL, category text COLLATE "C", message text NOT NULL, agent_id text COLLATE "C" NOT NULL, level "some where".mals_level NOT NULL,
		created_at timestamptz NOT NULL, ts timestamptz NOT NULL, id uuid NOT NULL, PRIMARY KEY (ts, id));
	ALTER TABLE mals.entries ATTACH PARTITION mals.theirs FOR VALUES FROM ('2024-07-01') TO ('2024-08-01');
	SELECT "some where".mals_log('theirs', 'July', ts => '2024-07-05');
	SELECT "some where".mals_resolve(id) FROM mals.logs WHERE level::text = 'error' AND agent_id < 'agent-3'});
my $expected = $node->safe_psql('elsewhere', $summary);
like($expected, qr/^101\|[1-9]/, 'it logs, makes partitions and resolves');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", 'elsewhere' ], 'pg_dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-1', '-d', 'restored', "$dir/dump" ], 'pg_restore');
is($node->safe_psql('restored', $summary), $expected, 'all is there again');
for my $database (qw(elsewhere restored))
{
	$node->safe_psql($database, $more);
	is($node->safe_psql($database, q{SELECT count(*), count(DISTINCT tableoid) FROM mals.entries WHERE agent_id = 'after'}), '4|4', "logging goes on: $database");
}

$node->stop;
done_testing();
