# What drivers do: prepared statements with parameters, pipelines, COPY in binary.
use strict;
use warnings;

use Cwd qw(abs_path);
use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('primary');
my $dir = abs_path(PostgreSQL::Test::Utils::tempdir());

for my $mode (qw(simple extended prepared))
{
	$node->pgbench("-n -M $mode -c 4 -j 2 -t 25", 0, [qr{number of transactions actually processed: 100/100}], [],
		"pgbench -M $mode",
		{ "005_single_$mode" => qq{\\set level 10 * random(1, 4)
SELECT mals_log('$mode', 'client ' || :client_id, (:level)::int::mals_level);
INSERT INTO mals.logs (agent_id, message, metadata) VALUES ('$mode', 'view', jsonb_build_object('client', (:client_id)::int));
} });
	sql_is($node, "SELECT count(*), count(DISTINCT id) FROM mals.entries WHERE agent_id = '$mode'", '200|200', "all are there: $mode");
}
$node->pgbench('-n -M prepared -c 2 -t 10', 0, [qr{number of transactions actually processed: 20/20}], [], 'pipelines',
	{ '005_pipeline' => q{\startpipeline
BEGIN;
SELECT mals_log('pipeline', 'one');
INSERT INTO mals.logs (agent_id, message) VALUES ('pipeline', 'two') RETURNING id;
INSERT INTO mals.inbox VALUES (jsonb_build_object('agent_id', 'pipeline', 'message', 'three'));
COMMIT;
SELECT mals_log('pipeline', 'four');
\endpipeline
} });
sql_is($node, q{SELECT message, count(*) FROM mals.entries WHERE agent_id = 'pipeline' GROUP BY 1 ORDER BY min(id::text)},
	"one|20\ntwo|20\nthree|20\nfour|20", 'all are there: pipelines');

# Binary out of one table, binary into the views
$node->safe_psql('postgres', qq{
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'binary', 'message', 'é ' || i, 'level', CASE i % 3 WHEN 0 THEN 'error' ELSE 'debug' END,
		'trace_id', md5(i::text), 'metadata', jsonb_build_object('i', i, 'big', repeat('x', i * 100))))) FROM generate_series(1, 100) AS i;
	COPY (SELECT 'binary 2', ts, level, message, trace_id, metadata FROM mals.entries WHERE agent_id = 'binary') TO '$dir/logs' (FORMAT binary);
	COPY (SELECT jsonb_build_object('agent_id', 'binary 3', 'ts', ts, 'level', level, 'message', message, 'trace_id', trace_id, 'metadata', metadata) FROM mals.entries WHERE agent_id = 'binary') TO '$dir/inbox' (FORMAT binary);
	COPY mals.logs (agent_id, ts, level, message, trace_id, metadata) FROM '$dir/logs' (FORMAT binary);
	COPY mals.inbox FROM '$dir/inbox' (FORMAT binary);});
sql_is($node, q{SELECT count(*), count(DISTINCT (ts, level, message, trace_id, metadata)), count(DISTINCT id), count(*) FILTER (WHERE mals_id_ts(id) = ts)
	FROM mals.entries WHERE agent_id LIKE 'binary%'}, '300|100|300|300', 'COPY in binary keeps every value');

$node->stop;
done_testing();
