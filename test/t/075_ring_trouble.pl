# The ring in trouble: producers that are cancelled and terminated at any point,
# a partition that cannot be made, a disk that is full. What was acknowledged is
# stored once, or kept as a dead letter; nothing else is in its way.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('trouble');
$node->init(extra => [ '--encoding=UTF8', '--no-locale', '--wal-segsize=1' ]);
$node->append_conf('postgresql.conf', join("\n", "shared_preload_libraries = 'mals'", "mals.ring_size = '32MB'", 'autovacuum = off',
	'min_wal_size = 4MB', 'log_statement = none', ''));
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION mals');

# Producers that log numbered entries, small and large, and print the numbers that are acknowledged.
my %producers;
for my $mode ('autonomous', 'async')
{
	for my $n (1 .. 3)
	{
		append_to_file("$dir/$mode-$n.sql", "SET mals.write_mode = '$mode';\n" . join('', map {
			my $pad = $_ % 50 == 0 ? 80000 : 10;
			"SELECT $_ FROM mals_log('$mode-$n', '$_', metadata => jsonb_build_object('pad', repeat('z', $pad)));\n"
		} 1 .. 4000));
		$producers{"$mode-$n"} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', "$dir/$mode-$n.sql" ],
			'>', "$dir/$mode-$n.out", '2>', "$dir/$mode-$n.err");
	}
}
my $one = q{FROM (SELECT pid FROM pg_stat_activity WHERE query LIKE '%mals_log(%' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) AS p};
for my $turn (1 .. 40)
{
	$node->safe_psql('postgres', $turn % 10 == 0 ? "SELECT pg_terminate_backend(pid) $one" : "SELECT pg_cancel_backend(pid) $one");
}
$_->finish foreach values %producers;
my ($acknowledged, $cut) = (0, 0);
for my $producer (sort keys %producers)
{
	my @said = split /\n/, slurp_file("$dir/$producer.out");
	my @stored = split /\n/, $node->safe_psql('postgres',
		qq{SELECT mals_flush() \\g /dev/null\nSELECT message FROM mals.entries WHERE agent_id = '$producer' ORDER BY id});
	my %times;

	$times{$_}++ foreach @stored;
	$acknowledged += @said;
	$cut += () = slurp_file("$dir/$producer.err") =~ /FATAL|canceling/g;
	is_deeply([ [ grep { !$times{$_} } @said ], [ grep { $_ > 1 } values %times ], [ sort { $a <=> $b } @stored ] ], [ [], [], \@stored ],
		"$producer: what was acknowledged is there, once, in order");
}
cmp_ok($acknowledged, '>', 1000, 'many were acknowledged');
cmp_ok($cut, '>', 5, 'some were cut off');
sql_is($node, q{SELECT h->>'queued', h->>'used' FROM (SELECT mals_health()->'ring' AS h) AS r}, '0|0', 'nothing is left in the ring');

# A partition that cannot be made.
$node->safe_psql('postgres', q{
	CREATE FUNCTION no_tables() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no tables today'; END $$;
	CREATE EVENT TRIGGER no_tables ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION no_tables();
	SET mals.write_mode = 'async'; SET mals.max_past = '-1';
	SELECT mals_log('partition', i::text, ts => CASE WHEN i = 5 THEN '2001-02-03'::timestamptz END) FROM generate_series(1, 9) AS i});
sql_is($node, q{SELECT mals_flush() \g /dev/null
	SELECT string_agg(message, ',' ORDER BY id), (SELECT string_agg(concat(entry->>'message', ' ', error), ',') FROM mals.dead_letters)
	  FROM mals.entries WHERE agent_id = 'partition'}, '1,2,3,4,6,7,8,9|5 no tables today', 'a partition that cannot be made');
$node->safe_psql('postgres', 'DROP EVENT TRIGGER no_tables; DELETE FROM mals.dead_letters');

# A writer that may write files of four megabytes at most: entries become dead letters, and then wait in memory.
my $batch = q{SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent', 'disk', 'msg', i || ' ' || repeat(md5(i::text), 30))) FROM generate_series(1, 1000) AS i))};
my $writer = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'mals writer'});
$node->safe_psql('postgres', 'TRUNCATE mals.entries');
system_or_bail('prlimit', '--pid', $writer, '--fsize=4194304:');
is($node->safe_psql('postgres', "SET mals.write_mode = 'async';" . "$batch;" x 12), join("\n", (1000) x 12), 'full disk: async goes on');
for (1 .. 1800)
{
	last if slurp_file($node->logfile) =~ /They stay in memory/;
	select undef, undef, undef, 0.1;
}
like(slurp_file($node->logfile), qr/mals could not write 1000 entries: could not extend file.*\n.*Nor could it keep them in mals.dead_letters: could not extend file.*\n.*They stay in memory/,
	'full disk: the log says that entries stay in memory');
my ($status, $out, $err) = $node->psql('postgres', q{SET mals.write_mode = 'autonomous'; SET mals.write_timeout = '100ms'; SELECT mals_log('disk', 'now')});
like($err, qr/did not write within mals.write_timeout\n.*are not stored/, 'full disk: autonomous is refused');
sql_is($node, q{SELECT count(*) > 0 FROM mals.dead_letters WHERE error LIKE 'could not extend file%'}, 't', 'full disk: some are dead letters');
system_or_bail('prlimit', '--pid', $writer, '--fsize=unlimited:');
sql_is($node, q{SELECT mals_flush() \g /dev/null
	SELECT count(*), (SELECT count(*) > 1000 FROM mals.entries) FROM (SELECT id FROM mals.entries UNION SELECT id FROM mals.dead_letters) AS e}, '12000|t',
	'room again: every entry is stored, or a dead letter');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
