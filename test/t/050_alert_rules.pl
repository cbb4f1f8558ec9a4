# Alerts are evaluated by the worker: on entries as they are committed, also late
# ones and those of prepared transactions, each once, also after the worker and
# the server were down; silence is noticed by time; without a worker mals_maintain
# does all of it. Writers beside the evaluation lose nothing.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('main', q{shared_preload_libraries = 'mals'}, q{synchronous_commit = on}, q{deadlock_timeout = 10ms},
	q{max_prepared_transactions = 2});

# Waits until a query of the figures of a rule's alerts gives what is expected.
sub fires
{
	my ($what, $rule, $expected, $name) = @_;
	my $query = "SELECT $what FROM mals.alerts WHERE rule = '$rule'";

	ok($node->poll_query_until('postgres', $query, $expected), $name)
	  or diag($node->safe_psql('postgres', "SELECT * FROM mals.alerts; SELECT * FROM mals.alert_rules; SELECT * FROM mals._jobs"));
	return;
}

# Waits until a job of the worker had a turn that began after the time that is the last that statements give.
sub turn_after
{
	my ($job, $statements) = @_;
	my $since = $node->safe_psql('postgres', $statements) =~ s/.*\n//sr;

	ok($node->poll_query_until('postgres', "SELECT started_at > '$since' FROM mals._jobs WHERE job = '$job'"), "a turn of $job");
	return;
}

$node->safe_psql('postgres', q{SELECT mals_alert_set('one', 'agent:a level:error', cooldown => '0');
	SELECT mals_log('a', 'first', 'error')});
fires('sum(count)', 'one', '1', 'an entry fires an alert');
ok($node->poll_query_until('postgres', q{SELECT bool_and(delivered_at IS NOT NULL AND attempts = 1 AND last_error IS NULL) FROM mals.alerts}),
	'which is delivered');

# Late: begun before others that were evaluated, in a subtransaction; and prepared.
my $late = $node->background_psql('postgres', on_error_stop => 1);
$late->query_safe(q{BEGIN; SAVEPOINT a; SELECT mals_log('a', 'late', 'error')});
$node->safe_psql('postgres', q{BEGIN; SELECT mals_log('a', 'prepared', 'error'); PREPARE TRANSACTION 'alert'});
$node->safe_psql('postgres', q{SELECT mals_log('a', 'second', 'error')});
fires('sum(count)', 'one', '2', 'another one while a transaction is open');
$late->query_safe('COMMIT');
fires('sum(count)', 'one', '3', 'an entry of a transaction that commits late');
$node->safe_psql('postgres', q{COMMIT PREPARED 'alert'});
fires('sum(count)', 'one', '4', 'an entry of a prepared transaction');

# What a turn could not look at, as another session had the rule in its hands, is looked at
# afterwards, also if that session changes nothing, and without another entry.
$late->query_safe(q{BEGIN; SELECT mals_alert_set('one', 'agent:a level:error', cooldown => '0')});
turn_after('alerts', q{SELECT mals_log('a', 'while the rule is held', 'error'); SELECT clock_timestamp()});
sql_is($node, q{SELECT sum(count) FROM mals.alerts WHERE rule = 'one'}, '4', 'a rule in other hands is left alone');
$late->query_safe('ROLLBACK');
fires('sum(count)', 'one', '5', 'and looked at afterwards');

# A prepared transaction leaves a delivery to the worker, whose one turn for it may begin right then.
fires('bool_and(delivered_at IS NOT NULL)', 'one', 't', 'nothing else is due');
turn_after('deliver', q{BEGIN; SELECT mals_alert_test('one'); SELECT clock_timestamp(); PREPARE TRANSACTION 'alert'});
$node->safe_psql('postgres', q{COMMIT PREPARED 'alert'});
ok($node->poll_query_until('postgres', q{SELECT delivered_at IS NOT NULL FROM mals.alerts WHERE state = 'test'}), 'a test alert of a prepared transaction is delivered');

# While the worker is down, and while the server is.
$node->safe_psql('postgres', q{ALTER SYSTEM SET mals.worker = off; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'mals worker%')}),
	'no worker');
$late->query_safe(q{BEGIN; SELECT mals_log('a', 'late again', 'error')});
$node->safe_psql('postgres', q{SELECT mals_log('a', 'third', 'error')});
$late->query_safe('COMMIT');
$node->safe_psql('postgres', q{SELECT mals_log('a', 'fourth', 'error')});
$late->quit;
$node->stop('immediate');
$node->start;
sql_is($node, q{SELECT sum(count) FROM mals.alerts WHERE rule = 'one'}, '5', 'nothing is evaluated without a worker');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET mals.worker; SELECT pg_reload_conf()});
fires('sum(count)', 'one', '8', 'all of it is when there is one again');

$node->safe_psql('postgres', q{SET mals.write_mode = async; SELECT mals_log('a', 'async', 'error')});
fires('sum(count)', 'one', '9', 'an entry that another process writes');

# Writers of transactions of any length beside the evaluation.
$node->safe_psql('postgres', q{SELECT mals_alert_set('all', 'agent:w-*', cooldown => '0', channels => '[]')});
$node->pgbench('-n -c 8 -j 2 -t 25', 0, [qr{number of transactions actually processed: 200/200}], [], 'eight writers',
	{ '050_write' => q{\set n random(1, 5)
BEGIN;
SELECT mals_log('w-' || :client_id, 'entry', 'info');
SAVEPOINT a;
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'w-x', 'message', 'more'))) FROM generate_series(1, :n);
SELECT pg_sleep(:n * 0.004);
COMMIT;} });
ok($node->poll_query_until('postgres', q{SELECT (SELECT sum(count) FROM mals.alerts WHERE rule = 'all') = (SELECT count(*) FROM mals.logs WHERE agent_id LIKE 'w-%')}),
	'each entry is counted once')
  or diag($node->safe_psql('postgres', q{SELECT (SELECT sum(count) FROM mals.alerts WHERE rule = 'all'), (SELECT count(*) FROM mals.logs WHERE agent_id LIKE 'w-%')}));

# Many more than one turn takes.
$node->safe_psql('postgres', q{SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'w-b', 'message', 'bulk ' || i)))
	FROM generate_series(1, 25000) i});
ok($node->poll_query_until('postgres', q{SELECT (SELECT sum(count) FROM mals.alerts WHERE rule = 'all') = (SELECT count(*) FROM mals.logs WHERE agent_id LIKE 'w-%')}),
	'a backlog is counted over several turns');

# Silence: once each time, noticed without an entry.
$node->safe_psql('postgres', q{SELECT mals_alert_set('dead', 'agent:beat', within => '1 s', cooldown => '0', on_state => 'silent');
	SELECT mals_alert_set('each', 'agent:beat*', within => '1 s', cooldown => '0', on_state => 'silent_agent')});
fires('count(*)', 'dead', '1', 'one that was never heard of is silent');
sql_is($node, q{SELECT count(*), min(count), bool_and(sample_id IS NULL), min(state) FROM mals.alerts WHERE rule = 'dead'}, '1|0|t|silent',
	'the alert says so');
$node->safe_psql('postgres', q{SELECT mals_log('beat', 'I am here'), mals_log('beat-2', 'me too')});
fires('count(*)', 'dead', '2', 'it is silent again after it came back');
fires(q{string_agg(agent_id, ' ' ORDER BY agent_id)}, 'each', 'beat beat-2', 'and so is each agent');
$node->safe_psql('postgres', q{SELECT mals_log('beat-2', 'I am back')});
fires(q{string_agg(agent_id, ' ' ORDER BY agent_id)}, 'each', 'beat beat-2 beat-2', 'once for each silence');
sql_is($node, q{SELECT count(*) FROM mals.alerts WHERE rule = 'dead'}, '2', 'not for what does not match');

# A database that is idle is left alone: turns come to an end.
$node->safe_psql('postgres', q{SELECT mals_alert_drop('dead'), mals_alert_drop('each')});
ok($node->poll_query_until('postgres', q{SELECT max(started_at) < clock_timestamp() - interval '5 s' FROM mals._jobs WHERE job IN ('alerts', 'deliver')}),
	'no turn without entries');

# What is committed while a job of the worker waits is not forgotten: here in a database where nothing else
# would ever wake it. (A check for deadlocks would.)
$node->safe_psql('postgres', q{CREATE DATABASE quiet});
$node->safe_psql('quiet', q{CREATE EXTENSION mals});
ok($node->poll_query_until('quiet', q{SELECT bool_or(job = 'deliver') AND max(finished_at) < clock_timestamp() - interval '1 s' FROM mals._jobs}), 'all jobs had a turn');
my $locker = $node->background_psql('quiet', on_error_stop => 1);
$locker->query_safe(q{BEGIN; LOCK TABLE mals._jobs});
$node->safe_psql('quiet', q{SELECT mals_alert_set('quiet', '')});
ok($node->poll_query_until('quiet', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname = 'quiet' AND wait_event_type = 'Lock'}),
	'the worker waits within a job');
$node->safe_psql('quiet', q{SELECT pg_sleep(0.1); SELECT mals_alert_test('quiet')});
$locker->query_safe('COMMIT');
$locker->quit;
ok($node->poll_query_until('quiet', q{SELECT delivered_at IS NOT NULL FROM mals.alerts}), 'an alert that fired meanwhile is delivered');
$node->safe_psql('postgres', q{DROP DATABASE quiet});

# A rule that changes, and one that is dropped while its deliveries are due.
$node->safe_psql('postgres', q{SELECT mals_alert_set('gone', '', channels => '[{"webhook": "http://127.0.0.1:1/"}]'); SELECT mals_alert_test('gone')});
ok($node->poll_query_until('postgres', q{SELECT attempts > 0 FROM mals.alerts WHERE rule = 'gone'}), 'a delivery fails');
$node->safe_psql('postgres', q{SELECT mals_alert_drop('gone')});
sql_is($node, q{SELECT count(*) FROM mals._alert_deliveries}, '0', 'nothing is due of a rule that was dropped');
sql_is($node, q{SELECT delivered_at IS NULL, last_error FROM mals.alerts WHERE rule = 'gone'}, 't|channel 1: taken from the rule', 'its alert says why');
$node->stop;

# Without shared_preload_libraries.
my $plain = mals_node('plain');
$plain->safe_psql('postgres', q{SELECT mals_alert_set('one', 'level:error'); SELECT mals_log('a', 'first', 'error')});
sql_is($plain, q{SELECT mals_maintain()->>'alerts'}, '1', 'mals_maintain evaluates');
sql_is($plain, q{SELECT delivered_at IS NOT NULL FROM mals.alerts}, 't', 'and delivers');
sql_is($plain, q{SELECT mals_maintain()->>'alerts'}, '0', 'once');
$plain->stop;

done_testing();
