# Tails on a hot standby: cursors of either server go on on the other one,
# whatever was running when they were taken, and however far the standby lags;
# also after the standby has become the primary.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use Test::More;

# what is committed must be in the log when the standby is waited for
my $primary = mals_node('primary', 'max_connections = 40', 'max_prepared_transactions = 8', "shared_preload_libraries = 'mals'",
	'autovacuum = off', 'synchronous_commit = on');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$primary->safe_psql('postgres', q{
	CREATE FUNCTION deep(n int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM mals_log('standby', 'deep ' || n);
		IF n > 1 THEN
			BEGIN
				PERFORM deep(n - 1);
			EXCEPTION WHEN division_by_zero THEN NULL;
			END;
		END IF;
	END $$});
$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub take_cursor
{
	my ($node) = @_;

	return $node->safe_psql('postgres', 'SELECT mals_tail_cursor()');
}

# What a tail gives from a cursor on, in calls of some rows, and the cursor behind.
sub follow
{
	my ($node, $cursor, $rows) = @_;
	my @messages;

	for (;;)
	{
		my $out = $node->safe_psql('postgres', "SELECT next_cursor, message FROM mals_tail('agent:standby', '$cursor', '0', $rows)");
		my @lines = split /\n/, $out;
		my $found = 0;

		for my $line (@lines)
		{
			my ($next, $message) = split /\|/, $line;

			$cursor = $next;
			next if $message eq '';
			push @messages, $message;
			$found++;
		}
		return (join(' ', @messages), $cursor) if $found == 0;
	}
}

# Checks what a tail gives from a cursor on, in pieces of several sizes; returns the cursor behind.
sub follows
{
	my ($node, $cursor, $expected, $name) = @_;
	my $next;

	for my $rows (1, 3, 1000)
	{
		my $got;

		($got, $next) = follow($node, $cursor, $rows);
		is($got, $expected, "$name, by $rows");
	}
	return $next;
}

sub log_one
{
	my ($message) = @_;

	$primary->safe_psql('postgres', "SELECT mals_log('standby', '$message')");
	return;
}

# A transaction of each kind is open when cursors are taken on both
my $saved = $primary->background_psql('postgres');
my $deep = $primary->background_psql('postgres');
$saved->query_safe(q{BEGIN; SELECT mals_log('standby', 'saved 1'); SAVEPOINT s; SELECT mals_log('standby', 'saved 2'); RELEASE s});
$deep->query_safe('BEGIN; SELECT deep(70)');
$primary->safe_psql('postgres', q{BEGIN; SAVEPOINT s; SELECT mals_log('standby', 'prepared'); PREPARE TRANSACTION 'p'});
log_one('before');
$primary->wait_for_catchup($standby);
my $here = take_cursor($primary);
my $there = take_cursor($standby);
log_one('after');
$primary->wait_for_catchup($standby);
follows($_->[0], $_->[1], 'after', "$_->[2], others still open")
	for ([ $primary, $here, 'primary' ], [ $standby, $there, 'standby' ], [ $standby, $here, 'from primary to standby' ], [ $primary, $there, 'from standby to primary' ]);
my (undef, $here2) = follow($primary, $here, 1);
my (undef, $there2) = follow($standby, $there, 1);
$saved->query_safe('COMMIT');
$deep->query_safe('COMMIT');
$primary->safe_psql('postgres', q{COMMIT PREPARED 'p'});
$primary->wait_for_catchup($standby);
my $all = 'saved 1 saved 2 ' . join(' ', map { 'deep ' . (71 - $_) } 1 .. 70) . ' prepared';
follows($_->[0], $_->[1], $all, "$_->[2], others committed late")
	for ([ $primary, $here2, 'primary' ], [ $standby, $there2, 'standby' ], [ $standby, $here2, 'from primary to standby' ], [ $primary, $there2, 'from standby to primary' ]);
follows($standby, $there, "$all after", 'the first cursor again');

# One that waits on the standby gets what comes, and holds nothing meanwhile
my $tail = $standby->background_psql('postgres');
$tail->query_until(qr/asked/, qq{\\echo asked\nSELECT message FROM mals_tail('agent:standby', '} . take_cursor($standby) . qq{', '1 hour');\n});
$standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%1 hour%' AND pid <> pg_backend_pid() AND wait_event_type = 'Extension'})
	or die 'the tail does not wait';
# now and then it looks
ok($standby->poll_query_until('postgres', q{SELECT backend_xmin IS NULL, (SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid AND relation IS NOT NULL) FROM pg_stat_activity a WHERE query LIKE '%1 hour%' AND pid <> pg_backend_pid()},
	't|0'), 'a tail that waits holds no snapshot and no table');
log_one('awaited');
is($tail->query_safe('SELECT 1'), "awaited\n1", 'and gets what is replayed');
$tail->quit;

# The standby lags: a cursor that is ahead of it loses and repeats nothing
$primary->wait_for_catchup($standby);
$there = take_cursor($standby);
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die 'not paused';
$saved->query_safe(q{BEGIN; SELECT mals_log('standby', 'lag open')});
$primary->safe_psql('postgres', q{BEGIN; SELECT mals_log('standby', 'lag ' || i) FROM generate_series(1, 4) AS i; COMMIT});
my (undef, $inside) = split /\|/, $primary->safe_psql('postgres', qq{SELECT message, next_cursor FROM mals_tail('agent:standby', '$there', '0', 2) OFFSET 1});
my (undef, $ahead) = follow($primary, $there, 2);
log_one('lag later');
is((follow($standby, $_, 1))[0], '', 'nothing is there yet') for $there, $inside, $ahead;
my (undef, $waited) = follow($standby, $ahead, 1);
my (undef, $waited_inside) = follow($standby, $inside, 1);
$saved->query_safe('COMMIT');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$primary->wait_for_catchup($standby);
follows($standby, $there, 'lag open lag 1 lag 2 lag 3 lag 4 lag later', 'lag: from before');
follows($standby, $_, 'lag open lag later', 'lag: from ahead') for $ahead, $waited;
follows($standby, $_, 'lag 3 lag 4 lag open lag later', 'lag: from within a transaction ahead') for $inside, $waited_inside;

# The standby becomes the primary
$primary->safe_psql('postgres', q{BEGIN; SELECT mals_log('standby', 'prepared again'); PREPARE TRANSACTION 'p'});
log_one('last of all');
$primary->wait_for_catchup($standby);
($here) = (follow($primary, $there, 1000))[1];
$there = (follow($standby, $there, 1000))[1];
$_->quit for $saved, $deep;
$primary->stop;
$standby->promote;
$standby->safe_psql('postgres', q{SELECT mals_log('standby', 'promoted')});
$standby->safe_psql('postgres', q{COMMIT PREPARED 'p'});
follows($standby, $_, 'prepared again promoted', 'promoted') for $here, $there;

$standby->stop;
done_testing();
