# mals.rate_limit and mals.repeat_limit: what is over them is not stored, and told.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('limits', "shared_preload_libraries = 'mals'", 'log_statement = none');

# Checks that an agent could log what its limit allows: so many at once, and so many a second. The query gives how
# many it could, and how many seconds that took. Returns how many.
sub limited
{
	my ($query, $limit, $name) = @_;
	my ($stored, $seconds) = split /\|/, $node->safe_psql('postgres', $query);

	cmp_ok($stored, '>=', $limit, $name);
	cmp_ok($stored, '<=', $limit * (1 + $seconds), "$name: no more");
	return $stored;
}
my $took = q{extract(epoch FROM clock_timestamp() - statement_timestamp())};

# How many entries of an agent there are and how many are said to be suppressed, when they are as many as were sent.
sub told
{
	my ($agent, $sent) = @_;

	$node->poll_query_until('postgres', qq{SELECT $sent = count(*) FILTER (WHERE category IS DISTINCT FROM 'mals') + coalesce(sum((metadata->>'suppressed')::int), 0)
		FROM mals.entries WHERE agent_id = '$agent'}) or return 'never';
	return $node->safe_psql('postgres', qq{SELECT count(*) FILTER (WHERE category IS DISTINCT FROM 'mals'), count(*) FILTER (WHERE category = 'mals') > 0,
		bool_and(level = 'warn' AND message = format('suppressed %s entries', metadata->>'suppressed')) FILTER (WHERE category = 'mals')
		FROM mals.entries WHERE agent_id = '$agent'});
}

my $stored;
my $suppressed = 0;
for my $mode ('transactional', 'autonomous', 'async')
{
	$stored = limited(qq{SET mals.write_mode = '$mode'; SET mals.rate_limit = 10;
		SELECT count(*), $took FROM (SELECT mals_log('$mode', i::text) AS id FROM generate_series(1, 300) AS i) AS l WHERE id IS NOT NULL},
		10, "$mode: an agent that logs too much gets NULL");
	is(told($mode, 300), "$stored|t|t", "$mode: it is told how many were suppressed");
	$suppressed += 300 - $stored;
}
$stored = limited(qq{SET mals.rate_limit = 10;
	SELECT mals_log_batch(b), $took FROM (SELECT jsonb_agg(jsonb_build_object('agent', 'batch', 'msg', i::text)) AS b FROM generate_series(1, 100) AS i) AS l},
	10, 'a batch counts what is stored');
is(told('batch', 100), "$stored|t|t", 'and is told of the rest');
$suppressed += 100 - $stored;
is( $node->safe_psql('postgres', q{SET mals.rate_limit = 1;
		WITH i AS (INSERT INTO mals.logs (agent_id, message) SELECT 'agent-' || g, 'one each' FROM generate_series(1, 20) AS g RETURNING id) SELECT count(*) FROM i}),
	'20', 'agents have limits of their own');
is($node->safe_psql('postgres', q{SET mals.write_mode = 'async'; SELECT count(mals_log('free', i::text)) FROM generate_series(1, 1000) AS i}),
	'1000', 'no limit by default');

# what is rolled back was suppressed all the same
$stored = limited(qq{SET mals.rate_limit = 10; BEGIN; SELECT count(mals_log('rollback', i::text)), $took FROM generate_series(1, 100) AS i; ROLLBACK},
	10, 'what is rolled back');
is(told('rollback', 100 - $stored), '0|t|t', 'a ROLLBACK does not hide what was suppressed');
$suppressed += 100 - $stored;

# one fingerprint
is( $node->safe_psql('postgres', q{SET mals.repeat_limit = 5;
		SELECT count(mals_log('repeats', 'Order ' || i || ' failed')), count(mals_log('repeats', 'Something else: ' || repeat('again ', i))) FROM generate_series(1, 50) AS i}),
	'5|50', 'repeats of one message are limited, others are not');
is(told('repeats', 100), '55|t|t', 'and told of');

# more agents than there is room for limits: none is limited by another's entries
is( $node->safe_psql('postgres', q{SET mals.rate_limit = 1; SET mals.write_mode = 'async'; SELECT count(mals_log('many-' || i, 'x')) FROM generate_series(1, 5000) AS i}),
	'5000', 'more agents than there is room for');
$suppressed += 45;
sql_is($node, q{SELECT mals_health()->'ring'->>'suppressed'}, $suppressed, 'mals_health counts all that were suppressed');

# at most one a second for each agent
sql_is($node, q{SELECT count(*) FROM (SELECT ts - lag(ts) OVER (PARTITION BY agent_id ORDER BY ts) AS gap FROM mals.entries WHERE category = 'mals') AS g WHERE gap < '0.9 s'},
	'0', 'one entry an agent and second at most');

# only superusers set limits, and only where there is shared memory
$node->safe_psql('postgres', q{CREATE ROLE agent LOGIN; SELECT mals_grant('agent', 'writer')});
my ($status, $out, $err) = $node->psql('postgres', q{SET mals.rate_limit = 0}, connstr => $node->connstr('postgres') . ' user=agent');
like($err, qr/permission denied to set parameter "mals.rate_limit"/, 'an agent cannot lift its limit');
$node->stop;

my $bare = mals_node('bare');
for my $setting ('mals.rate_limit', 'mals.repeat_limit')
{
	($status, $out, $err) = $bare->psql('postgres', qq{SELECT mals_log('x', 'loads the library') \\g /dev/null\nSET $setting = 1});
	like($err, qr/ERROR:  $setting needs mals in shared_preload_libraries/, "$setting: not preloaded");
}
$bare->stop;

done_testing();
