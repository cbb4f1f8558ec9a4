# mals.write_mode autonomous and async: entries outlive whatever becomes of their
# caller, are written once and in order, and what cannot be written is kept.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('modes', "shared_preload_libraries = 'mals'", "mals.ring_size = '256kB'",
	'deadlock_timeout = 10ms', 'max_connections = 40', 'log_statement = none');

# The messages of an agent in the order of their ids, after all of them are written.
sub messages
{
	my ($agent) = @_;

	return $node->safe_psql('postgres',
		qq{SELECT mals_flush() \\g /dev/null\nSELECT string_agg(message, ',' ORDER BY id) FROM mals.entries WHERE agent_id = '$agent'});
}

# Runs statements that fail; returns what psql says.
sub failing
{
	my ($script, %options) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0, %options);

	return $err;
}

for my $mode ('autonomous', 'async')
{
	my $set = "SET mals.write_mode = '$mode';";

	$node->safe_psql('postgres', "$set BEGIN; SELECT mals_log('$mode', 'rollback'); ROLLBACK;");
	is(messages($mode), 'rollback', "$mode: ROLLBACK");

	$node->safe_psql('postgres', qq{$set BEGIN; SAVEPOINT s; SELECT mals_log('$mode-sub', 'inner');
		ROLLBACK TO s; SELECT mals_log('$mode-sub', 'outer'); COMMIT;});
	is(messages("$mode-sub"), 'inner,outer', "$mode: an aborted subtransaction");

	like(failing(qq{$set SELECT mals_log('$mode-error', 'before'), 1 / (random() * 0)::int;}),
		qr/division by zero/, "$mode: a caller that fails");
	is(messages("$mode-error"), 'before', "$mode: leaves its entry");

	$node->psql('postgres', qq{$set SELECT mals_log('$mode-killed', 'last words') \\g /dev/null
		SELECT pg_terminate_backend(pg_backend_pid())});
	is(messages("$mode-killed"), 'last words', "$mode: a session that is terminated right after");

	$node->safe_psql('postgres', qq{$set BEGIN READ ONLY; SELECT mals_log('$mode-read', 'read only'); COMMIT;});
	is(messages("$mode-read"), 'read only', "$mode: a transaction that is read-only");

	# one transaction only: SET LOCAL
	$node->safe_psql('postgres', qq{BEGIN; SET LOCAL mals.write_mode = '$mode'; SELECT mals_log('$mode-local', 'stays'); ROLLBACK;
		BEGIN; SELECT mals_log('$mode-local', 'goes'); ROLLBACK;});
	is(messages("$mode-local"), 'stays', "$mode: SET LOCAL");

	# all ways in, each statement one unit
	my $returned = $node->safe_psql('postgres', qq{$set
		INSERT INTO mals.logs (agent_id, message) VALUES ('$mode-ways', '1') RETURNING id IS NOT NULL;
		INSERT INTO mals.inbox VALUES ('{"agent": "$mode-ways", "msg": "2"}');
		SELECT mals_log_json('{"agent": "$mode-ways", "msg": "3"}') IS NOT NULL;
		SELECT mals_log_batch('[{"agent": "$mode-ways", "msg": "4"}, {"agent": "$mode-ways", "msg": "5"}]');
		SELECT mals_log_otlp('{"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "$mode-ways"}}]}, "scopeLogs": [{"logRecords": [{"body": {"stringValue": "6"}}]}]}]}');
		COPY mals.logs (agent_id, message) FROM STDIN;
$mode-ways	7
$mode-ways	8
\\.
		SET mals.min_level = 'error';
		SELECT mals_log('$mode-ways', 'quiet') IS NULL});
	is($returned, "t\nt\n2\n1\nt", "$mode: what they return");
	is(messages("$mode-ways"), '1,2,3,4,5,6,7,8', "$mode: every way in, in order");
	like(failing(qq{$set SELECT mals_log_batch('[{"agent": "$mode-bad", "msg": "1"}, {"agent": "$mode-bad", "level": "loud", "msg": "2"}]')}),
		qr/entry 1: .*loud/, "$mode: bad input fails in the caller");
	is(messages("$mode-bad"), '', "$mode: and takes its statement with it");

	# secrets are redacted before they are in memory
	$node->safe_psql('postgres', qq{$set SELECT mals_log('$mode-secret', 'postgres://ann:s3cretpw\@db/x', metadata => '{"password": "s3cretpw"}')});
	sql_is($node, qq{SELECT mals_flush() \\g /dev/null
		SELECT message LIKE '%[redacted:%', e::text LIKE '%s3cretpw%' FROM mals.entries e WHERE agent_id = '$mode-secret'}, 't|f', "$mode: secrets are redacted");

	# retries
	is( $node->safe_psql('postgres', qq{$set SELECT mals_log('$mode-retry', 'once') AS id \\gset
			SELECT mals_flush() \\g /dev/null
			SELECT mals_log('$mode-retry', 'twice', id => :'id') = :'id';
			SELECT mals_log_batch(jsonb_build_array(jsonb_build_object('agent', '$mode-retry', 'msg', 'thrice', 'id', :'id'), '{"agent": "$mode-retry", "msg": "new"}'::jsonb))}),
		"t\n" . ($mode eq 'async' ? 2 : 1), "$mode: an id that is stored");
	is(messages("$mode-retry"), 'once,new', "$mode: is stored once");

	# entries larger than the ring's blocks, and than the ring
	is( $node->safe_psql('postgres', qq{$set SELECT mals_log('$mode-huge', repeat('x', 20000000)) IS NOT NULL;
			SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', '$mode-huge', 'msg', repeat('y', 1000)))) FROM generate_series(1, 3000);
			SELECT mals_log('$mode-huge', repeat('x', 70000)) IS NOT NULL}),
		"t\n3000\nt", "$mode: huge units");
	is( $node->safe_psql('postgres', qq{SELECT mals_flush() \\g /dev/null\nSELECT count(*), sum(length(message)), max(length(message)) FROM mals.entries WHERE agent_id = '$mode-huge'}),
		'3002|23070000|20000000', "$mode: are written");
}

# The victim of a deadlock.
$node->safe_psql('postgres', 'CREATE TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1), (2)');
my $one = $node->background_psql('postgres', on_error_stop => 0);
my $two = $node->background_psql('postgres', on_error_stop => 0);
for my $session ([ $one, 'one', 1 ], [ $two, 'two', 2 ])
{
	$session->[0]->query("SET mals.write_mode = 'async'");
	$session->[0]->query("BEGIN");
	$session->[0]->query("UPDATE t SET i = i WHERE i = $session->[2]");
	$session->[0]->query("SELECT mals_log('deadlock', '$session->[1]')");
}
$one->query_until(qr/waits/, "\\echo waits\nUPDATE t SET i = i WHERE i = 2;\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'});
$two->query_until(qr/goes on/, "UPDATE t SET i = i WHERE i = 1;\n\\echo goes on\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'});
is(messages('deadlock'), 'one,two', 'the victim of a deadlock');
$_->quit foreach $one, $two;

# Access is checked in the caller, as the caller.
$node->safe_psql('postgres', q{
	CREATE ROLE nobody LOGIN;
	CREATE ROLE bound LOGIN;
	SELECT mals_grant('bound', 'writer');
	SELECT mals_bind_agent('bound', 'bound-*');
	ALTER ROLE bound SET mals.write_mode = 'autonomous';
	ALTER ROLE nobody SET mals.write_mode = 'autonomous'});
my @as_bound = (connstr => $node->connstr('postgres') . ' user=bound');
my @as_nobody = (connstr => $node->connstr('postgres') . ' user=nobody');
like(failing(q{SELECT mals_log('x', 'y')}, @as_nobody), qr/permission denied/, 'a role without the privilege');
like(failing(q{SELECT mals_log('other', 'y')}, @as_bound), qr/not allowed to log as this agent/, 'a role that is bound to other agents');
like(failing(q{SET mals.write_mode = 'async'; INSERT INTO mals.logs (agent_id, message) VALUES ('other', 'y')}, @as_bound),
	qr/not allowed to log as this agent/, 'by INSERT');
my $id = $node->safe_psql('postgres', q{SELECT mals_log('secret', 'of another')});
my ($status, $given) = $node->psql('postgres', qq{SELECT mals_log('bound-1', 'mine', id => '$id') AS id \\gset
	SELECT :'id' <> '$id', :'id' = mals_log('bound-1', 'mine again', id => '$id')}, @as_bound);
is($given, 't|t', 'an id that is stored for another agent is not told of');
is(messages('bound-1'), 'mine', 'and its own entry is stored once');

# What cannot be written takes nothing else with it.
$node->safe_psql('postgres', q{
	ALTER TABLE mals.entries ADD CONSTRAINT poison CHECK (message <> 'poison');
	SET mals.write_mode = 'async';
	SELECT mals_log('dead', CASE i WHEN 5 THEN 'poison' ELSE i::text END, metadata => '{"a": null}') FROM generate_series(1, 9) AS i;
	SELECT mals_log_batch('[{"agent": "dead", "msg": "in its unit"}, {"agent": "dead", "msg": "poison"}]')});
is(messages('dead'), '1,2,3,4,6,7,8,9', 'one bad unit does not keep others from being written');
sql_is($node, q{SELECT count(*), count(*) FILTER (WHERE entry->>'message' = 'poison'), min(sqlstate), bool_and(error LIKE '%"poison"%'), min(attempts) FROM mals.dead_letters},
	'3|2|23514|t|3', 'it is kept with its error');
sql_is($node, q{SELECT (mals_health()->'ring'->>'dead_letters')::int, mals_health()->>'status'}, '3|degraded', 'and shown by mals_health');
$node->safe_psql('postgres', q{CREATE ROLE blinkered; SELECT mals_grant('blinkered', 'reader'), mals_bind_agent('blinkered', 'none')});
sql_is($node, q{SET ROLE blinkered; SELECT mals_health()->>'status', mals_health()->'ring', mals_health()->'warnings', (SELECT count(*) FROM mals_metrics() m WHERE m ~ 'ring|bytes|estimate')},
	'ok|null|[]|0', 'but not to roles that are bound to agents');
like(failing(q{SET mals.write_mode = 'autonomous'; SELECT mals_log('dead', 'poison')}),
	qr/ERROR:  mals_log\(\): new row for relation .* violates check constraint "poison"\nDETAIL:.*\nHINT:  The entries are kept in mals.dead_letters/,
	'an autonomous caller gets the error');
$node->safe_psql('postgres', q{
	ALTER TABLE mals.entries DROP CONSTRAINT poison;
	WITH letters AS (DELETE FROM mals.dead_letters RETURNING entry)
	SELECT mals_log_batch(jsonb_agg(entry)) FROM letters});
is(messages('dead'), '1,2,3,4,poison,6,7,8,9,in its unit,poison,poison', 'dead letters can be logged again');
sql_is($node, q{SELECT count(*) FROM mals.entries WHERE agent_id = 'dead' AND metadata = '{"a": null}'}, '9', 'as they were');

# Forgetting reaches dead letters and what is still in memory.
$node->safe_psql('postgres', q{
	ALTER TABLE mals.entries ADD CONSTRAINT venom CHECK (message <> 'venom');
	SET mals.write_mode = 'async';
	SELECT mals_log('forgotten', message) FROM unnest('{venom,in memory}'::text[]) AS message;
	SELECT mals_log('remembered', 'venom')});
sql_is($node, q{SELECT mals_forget('agent:forgotten'), mals_forget('agent:forgotten', false), mals_forget('agent:forgotten')}, '2|2|0', 'mals_forget');
sql_is($node, q{SELECT string_agg(agent_id, ',') FROM mals.dead_letters}, 'remembered', 'dead letters of others stay');
$node->safe_psql('postgres', 'ALTER TABLE mals.entries DROP CONSTRAINT venom; DELETE FROM mals.dead_letters');

# The writer waits for a lock, and callers for it, as long as they say.
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE mals.entries IN ACCESS EXCLUSIVE MODE');
# what the writer has not taken in hand within the time, on a slow machine, is not stored
my $late;
for my $timeout (100, 1000, 10000)
{
	$late = failing("SET mals.write_mode = 'autonomous'; SET mals.write_timeout = $timeout; SELECT mals_log('late', 'first')");
	last if $late !~ /are not stored/;
}
like($late, qr/ERROR:  mals_log\(\): the writer of mals did not write within mals.write_timeout\n.*may be stored yet/, 'mals.write_timeout');
like(failing(q{SET mals.write_mode = 'autonomous'; SET mals.write_timeout = 100; SELECT mals_log('late', 'second')}),
	qr/ERROR:  mals_log\(\): the writer.*\n.*are not stored/, 'withdrawn');
like(failing(q{SET mals.write_mode = 'autonomous'; SET statement_timeout = 100; SELECT mals_log('late', 'third')}),
	qr/canceling statement due to statement timeout/, 'a caller is cancelled as it waits');
like(failing(q{SET mals.write_mode = 'async'; SET mals.write_timeout = 100;
	SELECT mals_log('full', repeat('x', 1000)) FROM generate_series(1, 1000)}), qr/the writer of mals did not write/, 'a full ring');
like(failing(q{SET mals.write_mode = 'async'; SET statement_timeout = 200;
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'large', 'msg', repeat('y', 1000)))) FROM generate_series(1, 3000);
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'large', 'msg', repeat('y', 1000)))) FROM generate_series(1, 3000)}),
	qr/canceling statement/, 'a caller is cancelled as it waits for room for a large unit');
$holder->query_safe('COMMIT');
$holder->quit;
is(messages('late'), 'first', 'what was withdrawn is not stored');
sql_is($node, q{SELECT count(*) IN (0, 3000) FROM mals.entries WHERE agent_id = 'large'}, 't', 'a unit is stored wholly or not at all');
sql_is($node, q{SELECT count(*) BETWEEN 50 AND 999, count(DISTINCT message) FROM mals.entries WHERE agent_id = 'full'}, 't|1',
	'what was acknowledged is');

# A caller that holds a lock in the writer's way gets an error, not a deadlock.
like(failing(q{SET mals.write_timeout = 200; BEGIN; LOCK TABLE mals.entries IN EXCLUSIVE MODE; SET LOCAL mals.write_mode = 'autonomous'; SELECT mals_log('self', 'x')}),
	qr/locks that this transaction must not hold/, 'a caller in its own way');

# 16 producers and the smallest ring: nothing is lost, doubled or out of order.
my $script = q{\set n :n + 10
SELECT mals_log('many-' || :client_id, i::text, metadata => jsonb_build_object('pad', repeat('z', 500))) FROM generate_series(:n - 9, :n) AS i};
my $whole = q{SELECT agent_id ~ '^many' AS a, count(DISTINCT agent_id), min(n), max(n), bool_and(ordered) FROM
	(SELECT agent_id, count(DISTINCT message) AS n, bool_and(message::int = row) AS ordered
	   FROM (SELECT *, row_number() OVER (PARTITION BY agent_id ORDER BY id) AS row FROM mals.entries WHERE agent_id LIKE 'many-%') AS e
	  GROUP BY agent_id) AS p GROUP BY 1};
for my $mode ('async', 'autonomous')
{
	my $turns = $mode eq 'async' ? 100 : 20;
	my $entries = 10 * $turns;
	local $ENV{PGOPTIONS} = "-c mals.write_mode=$mode";

	$node->pgbench("-n -c 16 -j 2 -t $turns -D n=0", 0, [qr{processed: ${\(16 * $turns)}/}], [],
		"$mode: 16 producers", { "070_$mode" => $script });
	sql_is($node, qq{SELECT mals_flush() \\g /dev/null\n$whole}, "t|16|$entries|$entries|t", "$mode: all are there, in order");
	$node->safe_psql('postgres', q{DELETE FROM mals.entries WHERE agent_id LIKE 'many-%'});
}
sql_is($node, q{SELECT (r->>'waits')::int > 0, (r->>'entries')::int > 16000, (r->>'flushes')::int > 0, (r->>'used')::int >= 0, r->>'size'
	FROM (SELECT mals_health()->'ring' AS r) AS h}, 't|t|t|t|262144', 'the ring was full many times over');

# Two databases at once; a writer that is terminated under load.
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION mals');
my @runs;
for my $database ('postgres', 'second')
{
	my $file = PostgreSQL::Test::Utils::tempdir() . "/$database";

	append_to_file($file, $script);
	local $ENV{PGOPTIONS} = '-c mals.write_mode=' . ($database eq 'second' ? 'autonomous' : 'async');
	push @runs, IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-t', '200', '-D', 'n=0', '-f', $file, '-d', $node->connstr($database) ],
		'>', "$file.out", '2>&1');
}
# as long as the load lasts one is there, or will be
for my $turn (1 .. 8)
{
	$node->poll_query_until('postgres', q{SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE backend_type = 'mals writer'})
	  or die 'no writer';
}
$_->finish foreach @runs;
for my $database ('postgres', 'second')
{
	is($node->safe_psql($database, qq{SELECT mals_flush() \\g /dev/null\n$whole}), 't|4|2000|2000|t',
		"$database: nothing is lost or doubled, two databases at once");
}

# Statements that want a database for themselves: the writer writes, and goes.
$node->safe_psql('second', q{SET mals.write_mode = 'async'; SELECT mals_log('copied', 'before')});
$node->safe_psql('postgres', 'CREATE DATABASE third TEMPLATE second');
is($node->safe_psql('third', q{SELECT count(*) FROM mals.entries WHERE agent_id = 'copied'}), '1', 'CREATE DATABASE TEMPLATE');
$node->safe_psql('second', q{SET mals.write_mode = 'async'; SELECT mals_log('copied', 'after')});
$node->safe_psql('postgres', 'DROP DATABASE second');
$node->safe_psql('third', q{SET mals.write_mode = 'async'; SELECT mals_log('copied', 'late'); SET mals.allow_drop = on; DROP EXTENSION mals});
$node->poll_query_until('third', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'third' AND backend_type = 'mals writer'});
is($node->safe_psql('third', q{CREATE EXTENSION mals; SET mals.write_mode = 'autonomous'; SELECT mals_log('copied', 'anew') \g /dev/null
		SELECT string_agg(message, ',') FROM mals.entries WHERE agent_id = 'copied'}), 'anew', 'DROP EXTENSION, and CREATE EXTENSION');
$node->safe_psql('postgres', 'DROP DATABASE third');

# Shutdowns write what is there first.
for my $how ('fast', 'smart')
{
	$node->safe_psql('postgres', qq{SET mals.write_mode = 'async'; SELECT mals_log('$how', i::text, metadata => jsonb_build_object('pad', repeat('z', 500))) FROM generate_series(1, 1000) AS i});
	$node->stop($how);
	$node->start;
	sql_is($node, qq{SELECT count(*), bool_and(message::int = row) FROM (SELECT *, row_number() OVER (ORDER BY id) AS row FROM mals.entries WHERE agent_id = '$how') AS e},
		'1000|t', "$how shutdown");
}

# What was acknowledged before a fast shutdown, under load.
{
	my $file = PostgreSQL::Test::Utils::tempdir() . '/load';

	append_to_file($file, "SET mals.write_mode = 'async';\n" . join('', map { "SELECT $_ FROM mals_log('load', '$_');\n" } 1 .. 100000));
	my $load = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', $file ], '>', "$file.out", '2>', "$file.err");
	$node->poll_query_until('postgres', q{SELECT count(*) > 100 FROM mals.entries WHERE agent_id = 'load'});
	$node->stop('fast');
	$load->finish;
	$node->start;

	my @acknowledged = split /\n/, slurp_file("$file.out");
	my $stored = $node->safe_psql('postgres', q{SELECT count(*) FROM mals.entries WHERE agent_id = 'load'});

	cmp_ok(scalar @acknowledged, '<', 100000, 'the load was cut off');
	ok($stored >= @acknowledged && $stored <= @acknowledged + 1, 'all that was acknowledged was written');
}

# A standby refuses; promoted, it writes.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my ($code, $out, $err) = $standby->psql('postgres', q{SET mals.write_mode = 'async'; SELECT mals_log('standby', 'x')});
like($err, qr/cannot execute mals_log\(\) in a read-only transaction\nHINT:.*standby/, 'a standby');
$node->wait_for_catchup($standby);
$standby->promote;
is( $standby->safe_psql('postgres', q{SET mals.write_mode = 'async'; SELECT mals_log('promoted', '1') \g /dev/null
		SET mals.write_mode = 'autonomous'; SELECT mals_log('promoted', '2') \g /dev/null
		SELECT count(*) FROM mals.entries WHERE agent_id = 'promoted'}),
	'2', 'a standby that was promoted');
$standby->stop;
$node->stop;

# Without the library in shared_preload_libraries.
my $bare = mals_node('bare');
($code, $out, $err) = $bare->psql('postgres', q{\set VERBOSITY verbose
	SELECT mals_log('bare', 'loads the library') \g /dev/null
	SET mals.write_mode = 'async'});
like($err, qr/ERROR:  55000: mals.write_mode = async needs mals in shared_preload_libraries\nHINT:  Add mals/, 'not preloaded');
for my $setting ('mals.write_mode = async', 'mals.write_mode = autonomous', 'mals.rate_limit = 5', 'mals.repeat_limit = 5')
{
	my ($name) = $setting =~ /limit/ ? $setting =~ /^(\S+)/ : $setting;

	for my $call (q{SELECT mals_log('early', 'x')}, q{INSERT INTO mals.logs (agent_id, message) VALUES ('early', 'x')})
	{
		($code, $out, $err) = $bare->psql('postgres', "\\set VERBOSITY verbose\nSET $setting; $call");
		like($err, qr/ERROR:  55000: $name needs mals in shared_preload_libraries\nHINT:  Add mals/, "set before the library is loaded: $setting");
	}
}
sql_is($bare, q{SELECT mals_count('agent:early')}, '0', 'nothing was logged in another way');
is($bare->safe_psql('postgres', q{
		SET mals.write_mode = async; SELECT mals_version() \g /dev/null
		SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \g /dev/null
		SELECT count(*) FROM mals.entries}), '1', 'such a session reads all the same, in parallel too');
$bare->safe_psql('postgres', q{CREATE ROLE agent LOGIN; SELECT mals_grant('agent', 'writer')});
$bare->psql('postgres', q{ALTER ROLE agent SET mals.write_mode = 'async'});
is($bare->safe_psql('postgres', q{SELECT mals_log('bare', 'y') IS NOT NULL; SHOW mals.write_mode; SELECT mals_flush()},
		connstr => $bare->connstr('postgres') . ' user=agent'),
	"t\ntransactional\n", 'a setting of a role does not lock it out');
sql_is($bare, q{SELECT mals_health()->'ring'}, 'null', 'mals_health says that there is no ring');
$bare->stop;

done_testing();
