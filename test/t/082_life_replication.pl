# Logical replication of mals.entries, published by its root: the subscriber has
# the extension, and its own worker makes its partitions ahead.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = mals_node('publisher', 'wal_level = logical');
my $subscriber = mals_node('subscriber', "shared_preload_libraries = 'mals'");
my $sum = q{SELECT count(*), md5(string_agg((e.id, e.ts, e.level, e.agent_id, e.message, e.metadata, e.fingerprint)::text, E'\n' ORDER BY id))
	FROM mals.entries AS e WHERE agent_id LIKE 'agent-%'};

$publisher->safe_psql('postgres', q{
	SELECT mals_log('agent-' || i % 7, 'Before ' || i, metadata => jsonb_build_object('n', i), ts => now() - i * interval '1 minute')
	  FROM generate_series(1, 100) AS i;
	CREATE PUBLICATION logs FOR TABLE mals.entries WITH (publish_via_partition_root = true, publish = 'insert')});
$subscriber->safe_psql('postgres', q{SELECT mals_make_partitions(now() - interval '3 days', now() + interval '2 days')});
my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION logs CONNECTION '$connection' PUBLICATION logs");
$subscriber->wait_for_subscription_sync($publisher, 'logs');
is($subscriber->safe_psql('postgres', $sum), $publisher->safe_psql('postgres', $sum), 'what was there is copied');

$publisher->safe_psql('postgres', q{
	SELECT mals_log('agent-' || i % 7, 'After ' || i, 'error', metadata => jsonb_build_object('n', i)) FROM generate_series(1, 100) AS i;
	SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'agent-x', 'message', 'Batch ' || i)) FROM generate_series(1, 2000) AS i));
	BEGIN; SELECT mals_log('agent-gone', 'rolled back'); ROLLBACK;
	INSERT INTO mals.logs (agent_id, message) SELECT 'agent-view', 'View ' || i FROM generate_series(1, 100) AS i});
$publisher->wait_for_catchup('logs');
is($subscriber->safe_psql('postgres', $sum), $publisher->safe_psql('postgres', $sum), 'and what is logged after that is replicated');
is($subscriber->safe_psql('postgres', q{SELECT mals_count('agent:agent-x batch'), mals_count('level:error after')}), '2000|100',
	'the subscriber finds it');
is($subscriber->safe_psql('postgres', q{SELECT entries FROM mals_errors() WHERE template LIKE 'After%'}), '100', 'and groups it');
$subscriber->safe_psql('postgres', q{SELECT mals_log('agent-own', 'of the subscriber')});
is($subscriber->safe_psql('postgres', q{SELECT mals_count('agent:agent-own')}), '1', 'and logs on its own');
is($subscriber->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_subscription_stats WHERE apply_error_count > 0}), '0', 'no entry failed to apply');
$subscriber->stop;
$publisher->stop;

done_testing();
