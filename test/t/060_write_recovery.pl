# Rows and index entries written many at a time outlive a crash: replay makes the
# same pages (wal_consistency_checking compares them), and a standby has them too.
use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('primary', 'wal_consistency_checking = all', 'max_wal_size = 1GB');
my $batch = q{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'agent-' || i % 13,
	'message', 'Step ' || i, 'trace_id', md5((i / 10)::text), 'correlation_id', 'req-' || i / 7)
	ORDER BY md5(i::text))) FROM generate_series(%d, %d) AS i};
my $check = q{SELECT count(bt_index_parent_check(x.indexrelid, true, true)) > 0
	FROM pg_inherits h JOIN pg_index x ON x.indrelid = h.inhrelid
	WHERE h.inhparent = 'mals.entries'::regclass};

$node->safe_psql('postgres', 'CREATE EXTENSION amcheck');
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

sql_is($node, sprintf($batch, 1, 5000), '5000', 'a batch is stored');
sql_is($node, sprintf($batch, 5001, 8000), '3000', 'another one too');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
sql_is($standby, 'SET enable_seqscan = off; SELECT count(*) FROM mals.entries WHERE agent_id >= $$$$',
	'8000', 'the standby finds them by their index');

# Several writers at once, in different orders, while VACUUM looks for pages to give back.
$node->pgbench('-n -c 4 -j 2 -t 25', 0, [qr{number of transactions actually processed: 100/100}], [],
	'writers beside each other',
	{ '060_batch@4' => q{\set seed random(1, 1000000)
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'agent-' || i % 13, 'message', 'Step ' || i,
	'trace_id', md5((i / 10 + :seed % 50)::text), 'correlation_id', 'req-' || i / 7)
	ORDER BY md5((i + :seed)::text))) FROM generate_series(1, 200) AS i}, '060_vacuum@1' => 'VACUUM mals.entries' });
sql_is($node, 'SELECT count(*) > 8000 AND (count(*) - 8000) % 200 = 0 FROM mals.entries', 't',
	'whole batches are stored');
sql_is($node, $check, 't', 'the indexes hold what the table holds');

my $count = $node->safe_psql('postgres', 'SELECT count(*) FROM mals.entries');
$node->stop('immediate');
$node->start;
sql_is($node, 'SELECT count(*) FROM mals.entries', $count, 'all are there after a crash');
sql_is($node, $check, 't', 'so are their index entries');
unlike(slurp_file($node->logfile), qr/inconsistent page/, 'replay makes the same pages');
unlike(slurp_file($standby->logfile), qr/inconsistent page/, 'on the standby too');

$standby->stop;
$node->stop;
done_testing();
