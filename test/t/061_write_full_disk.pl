# A disk that is full while entries are written: the loggers get an error, nothing
# is half stored, nothing that was acknowledged is lost, tables and indexes are
# sound, and there is logging again once there is room; also after a crash.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir() . '/space';
# a thousand entries of a kilobyte
my $entries = q{SELECT jsonb_agg(jsonb_build_object('agent', 'batch', 'msg', i || ' ' || repeat(md5(i::text), 30))) FROM generate_series(1, 1000) AS i};
my $batch = "SELECT mals_log_batch(($entries))";
my %ways = (
	batch => $batch,
	otlp => q{SELECT mals_log_otlp(jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object('scopeLogs', jsonb_build_array(jsonb_build_object('logRecords',
		(SELECT jsonb_agg(jsonb_build_object('body', jsonb_build_object('stringValue', repeat(md5(i::text), 30)), 'attributes', '[{"key": "agent.id", "value": {"stringValue": "otlp"}}]'::jsonb)) FROM generate_series(1, 1000) AS i)))))))},
	view => q{INSERT INTO mals.logs (agent_id, message) SELECT 'view', repeat(md5(i::text), 30) FROM generate_series(1, 1000) AS i},
	one => q{SELECT mals_log('one', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300000) AS i))});

my $indexes = q{SELECT count(*) FROM pg_index JOIN pg_inherits ON inhrelid = indrelid JOIN pg_class c ON c.oid = indexrelid
	CROSS JOIN LATERAL bt_index_check(indexrelid, true) WHERE inhparent = 'mals.entries'::regclass AND relam = (SELECT oid FROM pg_am WHERE amname = 'btree')};
my $heaps = q{SELECT count(*) FROM pg_inherits, verify_heapam(inhrelid) WHERE inhparent = 'mals.entries'::regclass};

# Checks that all of a server's entries are sound, and how many there are.
sub sound
{
	my ($node, $expected, $name) = @_;

	sql_is($node, q{SELECT count(*) FROM mals.entries}, $expected, "$name: what was acknowledged is there and no more");
	sql_is($node, $heaps, '0', "$name: tables are sound");
	cmp_ok($node->safe_psql('postgres', $indexes), '>', 0, "$name: indexes are sound");
	sql_is($node, q{SELECT count(*) FROM mals.entries WHERE mals_id_ts(id) <> ts OR fingerprint IS NULL OR message = ''}, '0', "$name: entries are sound");
	return;
}

# Fills the space of a session by batches; returns how many entries were acknowledged.
sub fill
{
	my ($session, $name) = @_;
	my $stored = 0;

	for my $round (1 .. 100)
	{
		my $result = $session->query("$batch;");

		last if $result ne '1000';
		$stored += 1000;
	}
	cmp_ok($stored, '<', 100000, "$name: the disk is full at last");
	return $stored;
}

# Checks that no way in stores anything.
sub refused
{
	my ($session, $pattern, $name) = @_;

	foreach my $way (sort keys %ways)
	{
		$session->{stderr} = '';
		my $result = $session->query("BEGIN; SELECT 1; $ways{$way}; COMMIT;");

		like($session->{stderr}, qr/ERROR:  could not (extend|write).*$pattern/s, "$name: $way is refused");
	}
	return;
}

# A process that may write files of four megabytes at most.
my $node = PostgreSQL::Test::Cluster->new('limit');
$node->init(extra => [ '--encoding=UTF8', '--no-locale', '--wal-segsize=1' ]);
$node->append_conf('postgresql.conf', "min_wal_size = 4MB\nautovacuum = off\nsynchronous_commit = on\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION mals; CREATE EXTENSION amcheck');
$node->safe_psql('postgres', q{SELECT mals_log('a', 'makes the partition')});
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
system_or_bail('prlimit', '--pid', $pid, '--fsize=4194304:');
my $stored = 1 + fill($session, 'file size limit');
cmp_ok($stored, '>', 1000, 'file size limit: some were stored');
refused($session, 'File too large', 'file size limit');
sound($node, $stored, 'file size limit');
sql_is($node, $batch, '1000', 'file size limit: others log on');
$session->query('ROLLBACK;');
$session->quit;
$node->stop('immediate');
$node->start;
sound($node, $stored + 1000, 'after a crash');
sql_is($node, $batch, '1000', 'after a crash: there is logging again');
$node->stop;

# A tablespace on a small tmpfs, in a mount name space of the server's own where users may have one.
SKIP:
{
	my $mount = "mount -t tmpfs -o size=12m tmpfs '$dir' && dd if=/dev/zero of='$dir/filler' bs=1M count=4 2>/dev/null && mkdir -m 700 '$dir/ts'";

	mkdir $dir or die;
	my $bin = mals_pg_ctl($mount) or skip 'users may not mount a tmpfs here', 16;

	$ENV{PATH} = "$bin:$ENV{PATH}";
	$node = PostgreSQL::Test::Cluster->new('tmpfs');
	$node->init;
	$node->append_conf('postgresql.conf', "autovacuum = off\n");
	$node->start;
	$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$dir/ts'");
	$node->safe_psql('postgres', 'CREATE EXTENSION mals; CREATE EXTENSION amcheck; ALTER DATABASE postgres SET default_tablespace = small');
	$node->safe_psql('postgres', q{SELECT mals_log('a', 'makes the partition')});
	sql_is($node, q{SELECT count(*) FROM pg_class c JOIN pg_tablespace s ON s.oid = reltablespace WHERE spcname = 'small' AND relispartition}, '1', 'full disk: the partition is on it');
	$session = $node->background_psql('postgres', on_error_stop => 0);
	$stored = 1 + fill($session, 'full disk');
	refused($session, 'No space left on device', 'full disk');
	sound($node, $stored, 'full disk');
	$node->safe_psql('postgres', "COPY (SELECT 1) TO PROGRAM 'rm $dir/filler'");
	is($session->query("ROLLBACK; $batch;"), '1000', 'room again: the session logs on');
	sound($node, $stored + 1000, 'room again');
	$session->quit;
	$node->stop;
}

done_testing();
