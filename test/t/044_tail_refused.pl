# Cursors that cannot be followed are refused: of another cluster, too old, or of
# a time that the server was taken back from. Rows of another cluster are never new.
# (Also a tail on a server without mals in shared_preload_libraries.)

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('old', 'autovacuum = off');
my $other = mals_node('other', 'autovacuum = off');
my $dir = PostgreSQL::Test::Utils::tempdir();

sub take_cursor
{
	my ($server) = @_;

	return $server->safe_psql('postgres', 'SELECT mals_tail_cursor()');
}

# What is new since a cursor, or the error.
sub news
{
	my ($server, $cursor) = @_;
	my ($status, $out, $err) = $server->psql('postgres', "\\set VERBOSITY verbose\nSELECT string_agg(message, ' ') FROM mals_tail('', '$cursor', '0')");

	return $err =~ /ERROR:\s+(.*)/ ? $1 : $out;
}

# Sets the next transaction id's upper half.
sub set_epoch
{
	my ($epoch) = @_;

	$node->stop;
	command_ok([ 'pg_resetwal', '-f', '-e', $epoch, $node->data_dir ], "epoch $epoch");
	$node->start;
	return;
}

my $before = take_cursor($node);
my $before_other = take_cursor($other);
$node->safe_psql('postgres', q{SELECT mals_log('a', 'first')});
is(news($node, $before), 'first', 'a cursor is followed on its cluster');
like(news($other, $before), qr/22023: cursor is of another database cluster/, 'not on another one');

# 2^32 transactions later
set_epoch(1);
like(news($node, $before), qr/22023: cursor is too old/, 'a cursor is too old');
my $later = take_cursor($node);
is(news($node, $later), '', 'what is old is not new to one of now');
$node->safe_psql('postgres', q{SELECT mals_log('a', 'second')});
is(news($node, $later), 'second', 'and it is followed');

# Back again
set_epoch(0);
like(news($node, $later), qr/22023: cursor is ahead of this server/, 'a cursor is ahead');
is(news($node, $before), 'first', 'the first one is not, and what came ahead is not new');

# Entries of a cluster that is ahead by far come by a dump
set_epoch(5);
$node->safe_psql('postgres', q{SELECT mals_log('a', 'third')});
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", 'postgres' ], 'dumped');
$other->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$other->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', "$dir/dump" ], 'restored on another cluster');
my $restored = sub { $other->psql('restored', "SELECT string_agg(message, ' ') FROM mals_tail('', '$_[0]', '0')") };
is(($restored->($before_other))[1], '', 'none of them is new');
$other->safe_psql('restored', q{SELECT mals_log('a', 'here')});
is(($restored->($before_other))[1], 'here', 'but what is logged there');
sql_is($other, 'SELECT count(*) FROM mals.entries', '0', 'and only there');

# Without shared memory a tail that waits looks from time to time.
my $waiting = $other->background_psql('postgres', on_error_stop => 1);
$waiting->query_until(qr/asked/, qq{\\echo asked\nSELECT message FROM mals_tail('agent:b', NULL, '1 hour');\n});
$other->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%1 hour%' AND pid <> pg_backend_pid() AND wait_event_type = 'Extension'})
	or die 'the tail does not wait';
$other->safe_psql('postgres', q{SELECT mals_log('b', 'awaited')});
is($waiting->query_safe('SELECT 1'), "awaited\n1", 'a tail without shared memory');
$waiting->quit;

$_->stop for $node, $other;
done_testing();
