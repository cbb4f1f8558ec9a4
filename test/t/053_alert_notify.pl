# NOTIFY mals_alert, heard by another connection: one object an alert, no more than
# one in 250 ms, each under 8000 bytes and whole; in a storm many alerts in one.

use strict;
use warnings;

use JSON::PP ();
use Mals;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes 'time';

my $node = mals_node('main', q{shared_preload_libraries = 'mals'});
my $listener = $node->background_psql('postgres', on_error_stop => 1);

# Gives what was heard since, as hashes.
sub heard
{
	my ($out) = $listener->query('SELECT 1');

	return map { JSON::PP->new->decode($_) } map { Encode::decode('UTF-8', $_) } $out =~ /^Asynchronous notification "mals_alert" with payload "(.*)" received from server process/mg;
}

# Waits until so many were heard; returns them.
sub wait_for
{
	my ($count) = @_;
	my @all;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		push @all, heard();
		last if @all >= $count;
		select undef, undef, undef, 0.1;
	}
	return @all;
}

require Encode;
$listener->query_safe('LISTEN mals_alert');
$node->safe_psql('postgres', q{SELECT mals_alert_set('one', 'level:error', cooldown => '0'); SELECT mals_log('bot', 'it broke — ж', 'error', 'cat')});
my ($alert) = wait_for(1);
is_deeply([ @$alert{qw(rule state count database agent_id)} ], [ 'one', 'threshold', 1, 'postgres', 'bot' ], 'a notification says what fired');
is_deeply([ @{ $alert->{entry} }{qw(level message category agent_id)} ], [ 'error', "it broke \x{2014} \x{436}", 'cat', 'bot' ], 'and has the entry');
sql_is($node, qq{SELECT rule FROM mals.alerts WHERE id = '$alert->{id}' AND sample_id = '$alert->{entry}{id}' AND fingerprint = $alert->{fingerprint}}, 'one', 'the same as mals.alerts');
is(scalar(heard()), 0, 'once');

# Messages too long for a notification: the text is cut at a character, and the rest is whole.
for my $message (q{repeat('ж', 100000)}, q{repeat(E'\x01', 100000)}, q{repeat('"', 5000)}, q{repeat('€', 1999) || 'end'})
{
	$node->safe_psql('postgres', qq{SELECT mals_log(repeat('ü', 64), $message, 'error', repeat(E'\\x02', 256), session_key => repeat(E'\\x02', 256),
		source => repeat(E'\\x02', 256), correlation_id => repeat(E'\\x02', 256))});
	my ($long) = wait_for(1);

	is($long->{agent_id}, "\x{fc}" x 64, 'a long entry is told of');
	sql_is($node, qq{SELECT sample_id = '$long->{entry}{id}' FROM mals.alerts WHERE id = '$long->{id}'}, 't', 'by its id');
}
$node->safe_psql('postgres', q{SELECT mals_log('bot', repeat('ж', 100000), 'error')});
my ($cut) = wait_for(1);
like($cut->{entry}{message}, qr/^\x{436}+$/, 'a message is cut between characters');
cmp_ok(length $cut->{entry}{message}, '>=', 500, 'and not more than need be');

# Many alerts at once: all of them, one in 250 ms. The messages differ in two words: those that
# differ in one may have become one event before they are evaluated.
my $start = time;
$node->safe_psql('postgres', q{SELECT mals_log('bot', kind || ' trouble of ' || kind || ' origin', 'error')
	FROM unnest('{disk,network,clock,memory,cable,power,fan,printer,keyboard,router,proxy,mirror}'::text[]) kind});
my @all = wait_for(12);
is(scalar(keys %{ { map { $_->{id} => 1 } @all } }), 12, 'each alert is told of');
cmp_ok(time - $start, '>=', 11 * 0.25, 'one in 250 ms');
sql_is($node, q{SELECT min(delivered_at - before) >= '0.25 s' FROM (SELECT delivered_at, lag(delivered_at) OVER (ORDER BY delivered_at) AS before FROM mals.alerts) x},
	't', 'never two within');
sql_is($node, q{SELECT bool_and(delivered_at IS NOT NULL AND attempts = 1) FROM mals.alerts}, 't', 'all are delivered');

# Nothing is sent from the caller's transaction: not if it is rolled back.
$node->safe_psql('postgres', q{BEGIN; SELECT mals_log('bot', 'never happened', 'error'); SELECT mals_alert_test('one'); ROLLBACK});
$node->safe_psql('postgres', q{SELECT mals_alert_test('one')});
my @tests = wait_for(1);
is_deeply([ map { $_->{state} } @tests ], ['test'], 'a test alert');
is($tests[0]{entry}, undef, 'has no entry');
is(scalar(heard()), 0, 'what was rolled back fires nothing');

# Anyone may listen: where roles are bound to agents nothing is said of entries.
$node->safe_psql('postgres', q{CREATE ROLE bound; SELECT mals_bind_agent('bound', 'x'); SELECT mals_log('bot', 'not for all', 'error')});
my ($bare) = wait_for(1);
is(join(' ', sort keys %$bare), 'database fired_at id rule state', 'with bindings a notification tells nothing of entries');
sql_is($node, qq{SELECT rule FROM mals.alerts WHERE id = '$bare->{id}'}, 'one', 'it is found by its id');
$node->safe_psql('postgres', q{SELECT mals_bind_agent('bound', NULL)});

# A storm: thousands of new events at once. All fire, without another entry, and all are told of, of those
# that wait many by their ids in one notification; which fits, however long names are.
my $name = q{repeat(E'"\\\\', 64)};
$node->safe_psql('postgres', qq{SELECT mals_alert_drop('one'), mals_alert_set($name, 'level:error', on_state => 'new');
	SELECT mals_log(repeat(E'\\x02', 64), word || ' fell, so ' || word || ' is down: ' || repeat('"', 3000), 'error')
	  FROM (SELECT translate(md5(i::text), '0123456789', 'ghijklmnop') AS word FROM generate_series(1, 2500) i) w});
my (%told, @payloads);
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	my @new = heard();

	push @payloads, @new;
	$told{$_}++ for map { ($_->{id}, @{ $_->{others} // [] }) } @new;
	last if keys %told >= 2500;
	select undef, undef, undef, 0.1;
}
is(scalar(grep { $_ == 1 } values %told), 2500, 'each alert of a storm is told of once');
cmp_ok(scalar(@payloads), '<', 100, 'in few notifications');
is(scalar(grep { $_->{entry}{level} eq 'error' } @payloads), scalar(@payloads), 'that have the entry of one');
sql_is($node, qq{SELECT count(*), count(DISTINCT fingerprint), sum(count) FROM mals.alerts WHERE state = 'new' AND delivered_at IS NOT NULL AND id IN ('} . join(q{','}, keys %told) . q{')},
	'2500|2500|2500', 'the same as mals.alerts');

$listener->quit;
$node->stop;
done_testing();
