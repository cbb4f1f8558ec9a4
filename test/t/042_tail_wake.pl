# With shared memory, commits wake the tails that wait: also those of prepared
# transactions, and all tails there are; tails that are cancelled, thrown out or
# in another database are in nobody's way. A tail that waits holds nothing.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes 'usleep';

my $node = mals_node('wake', "shared_preload_libraries = 'mals'", 'max_connections = 60', 'max_prepared_transactions = 50',
	'autovacuum = off');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION mals');
$node->safe_psql('postgres', q{CREATE TABLE bystander AS SELECT generate_series(1, 10) AS i});

# Sessions that are in mals_tail for an hour; those that wait just now: each looks once a second.
my $following = q{FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%''1 hour''%' AND pid <> pg_backend_pid()};
my $waiting = qq{$following AND wait_event_type = 'Extension'};
sub wait_for_tails
{
	my ($n) = @_;

	$node->poll_query_until('postgres', "SELECT count(*) = $n $waiting") or die 'tails do not wait';
	return;
}

sub tail
{
	my ($session, $query, $columns) = @_;

	$columns //= 'message';
	$session->query_until(qr/asked/, "\\echo asked\nSELECT $columns FROM mals_tail('$query', NULL, '1 hour');\n");
	return;
}

# What a session's tail gave; the session has been waiting for it.
sub given
{
	my ($session) = @_;

	return $session->query_safe(q{SELECT 'end'}) =~ s/\n?end$//r;
}

my @tails = map { $node->background_psql('postgres') } 1 .. 20;

# Follows and commits, round after round, until commits have woken the tail so many times: one that
# nobody wakes looks a second after it began to wait, so whatever ends within that was woken.
sub woken
{
	my ($n, $commit, $message, $name) = @_;
	my $rounds = 0;
	my $session = $node->background_psql('postgres');

	while ($n > 0 && $rounds < 40)
	{
		tail($tails[0], 'agent:one', q{message, clock_timestamp() < statement_timestamp() + interval '1 s'});
		wait_for_tails(1);
		$session->query_safe($commit->(++$rounds));
		my ($got, $early) = split /\|/, given($tails[0]);
		is($got, $message, "$name: round $rounds");
		$n-- if $early eq 't';
	}
	is($n, 0, "$name wakes a tail");
	$session->quit;
	return;
}

woken(10, sub { q{SELECT mals_log('one', 'a round') IS NULL} }, 'a round', 'COMMIT');

# Nothing is held: no snapshot, no transaction id, no table; so vacuum and DROP go on
tail($tails[0], 'agent:one');
wait_for_tails(1);
ok($node->poll_query_until('postgres', qq{SELECT backend_xmin IS NULL, backend_xid IS NULL, (SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid AND relation IS NOT NULL) $waiting} =~ s/pg_stat_activity/pg_stat_activity a/r,
	't|t|0'), 'a tail that waits holds nothing');
$node->safe_psql('postgres', q{DELETE FROM bystander});
# a worker, or a tail that looks, may be in the way for a moment
my $vacuumed = '';
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if $vacuumed =~ /10 removed/;
	(undef, undef, $vacuumed) = $node->psql('postgres', 'VACUUM (VERBOSE) bystander');
	usleep(100_000);
}
like($vacuumed, qr/10 removed/, 'vacuum can remove what was deleted since');
$node->safe_psql('postgres', q{SET lock_timeout = '2min'; SET mals.max_past = '-1';
	SELECT mals_log('other', 'm', ts => '2014-05-05'); ALTER TABLE mals.entries DETACH PARTITION mals.entries_20140505; DROP TABLE mals.entries_20140505});
pass('a partition can be dropped');
sql_is($node, "SELECT count(*) $following", '1', 'and the tail still waits');
$node->safe_psql('postgres', q{SELECT mals_log('one', 'after all')});
is(given($tails[0]), 'after all', 'and gets what comes');

# A transaction that was prepared ends in another session
$node->safe_psql('postgres', qq{BEGIN; SELECT mals_log('one', 'prepared'); PREPARE TRANSACTION 'p$_'}) for 1 .. 40;
woken(5, sub { "COMMIT PREPARED 'p$_[0]'" }, 'prepared', 'COMMIT PREPARED');

# All of many; each gets its own
tail($tails[$_], 'agent:' . ($_ % 2 ? 'odd' : 'even')) for 0 .. 19;
wait_for_tails(20);
$node->safe_psql('postgres', q{SELECT mals_log('even', 'for even')});
is(given($tails[2 * $_]), 'for even', "tail $_ of 10 gets it") for 0 .. 9;
wait_for_tails(10);
$node->safe_psql('postgres', q{SELECT mals_log('odd', 'for odd')});
is(given($tails[2 * $_ + 1]), 'for odd', "tail $_ of the others gets it") for 0 .. 9;

# Cancelled, thrown out; another database's commits are nothing to a tail
$_->{run}->pump_nb for @tails;
tail($tails[$_], 'agent:one') for 0 .. 3;
wait_for_tails(4);
my $pids = $node->safe_psql('postgres', "SELECT string_agg(pid::text, ',') FROM (SELECT pid $following ORDER BY pid LIMIT 2) AS p");
my ($cancelled, $gone) = split /,/, $pids;
$node->safe_psql('postgres', "SELECT pg_cancel_backend($cancelled), pg_terminate_backend($gone)");
$node->poll_query_until('postgres', "SELECT count(*) = 2 $following") or die 'not cancelled, or not gone';
$node->safe_psql('other', q{SELECT mals_log('one', 'elsewhere')});
sql_is($node, "SELECT count(*) $following", '2', 'two wait on');
$node->safe_psql('postgres', q{SELECT mals_log('one', 'for who is left')});
wait_for_tails(0);
my @got = map { my $s = $_; my $out = eval { $s->query(q{SELECT 'end'}) } // ''; $out } @tails[0 .. 3];
is(scalar(grep { /for who is left/ } @got), 2, 'and get what comes');
is(scalar(grep { /elsewhere/ } @got), 0, 'nothing from elsewhere');
eval { $_->quit } for @tails;

# One whose client has gone goes too, long before its time is up
my $client = IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', q{SELECT message FROM mals_tail('agent:one', NULL, '1 hour')} ], '<', \undef, '>', \my $out, '2>', \my $err);
wait_for_tails(1);
$client->kill_kill(grace => 0);
$node->poll_query_until('postgres', "SELECT count(*) = 0 $following") or die 'a tail stays';
pass('a tail goes with its client');

# A shutdown does not wait for them
my $last = $node->background_psql('postgres');
tail($last, 'agent:one');
wait_for_tails(1);
$node->stop('fast');
pass('a fast shutdown ends a tail');
eval { $last->quit };
done_testing();
