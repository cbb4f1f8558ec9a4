# A disk that is full while a partition is archived: the partition is kept, and
# mals_health says so until there is room again.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir() . '/archive';
my $archive = q{SELECT mals._archive('mals.entries_20240101')};
my $health = q{SELECT (mals_health()->>'status') || (mals_health()->>'warnings')};
my $files = "SELECT pg_ls_dir('$dir/postgres')";
my ($out, $err);

mkdir $dir or die;

# A server with 4 MB of entries that cannot be compressed by half. With small WAL
# files, so that no other file that it writes is as large.
sub filled_node
{
	my ($name, $before_start) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--no-locale', '--wal-segsize=1' ]);
	$node->append_conf('postgresql.conf', "mals.archive_directory = '$dir'\nmin_wal_size = 4MB\nautovacuum = off\n");
	$before_start->() if $before_start;
	$node->start;
	$node->safe_psql('postgres', q{
		CREATE EXTENSION mals;
		SET mals.max_past = '-1';
		SELECT mals_log('noise', (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 1000) AS j),
			ts => '2024-01-01 00:00Z'::timestamptz + i * interval '1 min') FROM generate_series(1, 128) AS i});
	$node->safe_psql('postgres', 'VACUUM');
	$node->safe_psql('postgres', 'CHECKPOINT');
	return $node;
}

# Checks that a failure has left the partition alone, and no file.
sub kept
{
	my ($node, $pattern, $name) = @_;

	is($out, '', "$name: not archived");
	like($err, qr/WARNING:  could not archive partition "entries_20240101": could not write file .*$pattern.*HINT:  Free space/s, "$name: warning");
	like($node->safe_psql('postgres', $health), qr/^degraded.*entries_20240101 could not be archived at .*, and is kept.*$pattern/, "$name: seen in mals_health");
	sql_is($node, q{SELECT count(*) FROM mals.entries}, '128', "$name: nothing is lost");
	sql_is($node, $files, '', "$name: no file is left");
	return;
}

# Checks that it works again.
sub works
{
	my ($node, $name) = @_;

	sql_is($node, $archive, '128', "$name: archived");
	sql_is($node, $health, 'ok[]', "$name: nothing in mals_health");
	$node->safe_psql('postgres', 'DROP TABLE mals.entries_20240101');
	sql_is($node, "SELECT mals_restore_archive('postgres/' || f) FROM ($files) AS l (f) WHERE f ~ 'json\$'", '128', "$name: restored");
	$node->stop;
	return;
}

# A process that may write files of a megabyte at most: write() fails in the middle.
my $node = filled_node('limit');
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my @limit = ('prlimit', '--pid', $pid);

system_or_bail(@limit, '--fsize=1048576:');
$out = $session->query("$archive;");
$err = $session->{stderr};
kept($node, 'File too large', 'file size limit');
$session->quit;
works($node, 'no limit');

# A small tmpfs, almost full, in a mount name space of the server's own where users may have one.
SKIP:
{
	my $mount = "mount -t tmpfs -o size=6m tmpfs '$dir' && dd if=/dev/zero of='$dir/filler' bs=1M count=5 2>/dev/null";
	my $bin = mals_pg_ctl($mount) or skip 'users may not mount a tmpfs here', 8;

	$node = filled_node('tmpfs', sub { $ENV{PATH} = "$bin:$ENV{PATH}" });
	$node->psql('postgres', $archive, stdout => \$out, stderr => \$err);
	kept($node, 'No space left on device', 'full disk');
	$node->safe_psql('postgres', "COPY (SELECT 1) TO PROGRAM 'rm $dir/filler'");
	works($node, 'room again');
}

done_testing();
