# A partition is archived, removed and restored: all of it is as before. What is
# no archive, or may not be read, restores nothing.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir() . '/archive';
my $elsewhere = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('archive');
my $fingerprint = q{mals_fingerprint('Disk 7 is full')};

$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', "mals.archive_directory = '$dir'\nsynchronous_commit = on");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION mals');

# What must be the same before and after. Of templates those that entries have.
my %state = (
	entries => q{SELECT count(*), md5(string_agg(e::text, E'\n' ORDER BY id)) FROM mals.entries e},
	logs => q{SELECT count(*) FILTER (WHERE resolved), md5(string_agg(l::text, E'\n' ORDER BY id)) FROM mals.logs l},
	resolutions => q{SELECT string_agg(r::text, E'\n' ORDER BY entry_id) FROM mals.resolutions r WHERE resolved_by <> 'bob'},
	templates => q{SELECT string_agg(DISTINCT t.template, E'\n' ORDER BY t.template)
		FROM mals.templates t JOIN mals.entries e USING (fingerprint)});

sub state_of
{
	my ($database) = @_;

	return { map { $_ => $node->safe_psql($database // 'postgres', "SET timezone = 'UTC'; $state{$_}") } keys %state };
}

# The warnings of mals_health.
sub warnings_are
{
	my ($pattern, $name) = @_;

	like($node->safe_psql('postgres', q{SELECT (mals_health()->>'status') || (mals_health()->>'warnings')}), $pattern, $name);
	return;
}

# Restores, and expects an error with a hint that leaves everything as it was.
sub refused
{
	my ($path, $sqlstate, $pattern, $name, $role) = @_;
	my $before = state_of();
	my $exemptions = $node->safe_psql('postgres', 'SELECT count(*) FROM mals._exemptions');
	my ($out, $err);

	$role = $role ? "SET ROLE $role;" : '';
	$node->psql('postgres', "\\set VERBOSITY verbose\n$role SELECT mals_restore_archive('$path')", stderr => \$err);
	like($err, qr/ERROR:  $sqlstate: .*$pattern/s, $name);
	like($err, qr/^HINT: /m, "$name: hint");
	is_deeply(state_of(), $before, "$name: nothing restored");
	sql_is($node, 'SELECT count(*) FROM mals._exemptions', $exemptions, "$name: nothing exempt");
	return;
}

# The manifests of a database's archives, by name.
sub manifests
{
	my ($database) = @_;
	my %result;

	for my $path (sort glob "$dir/$database/*.json")
	{
		$result{ $path =~ s{.*/}{}r } = JSON::PP->new->decode(slurp_file($path));
	}
	return %result;
}

sub write_file
{
	my ($path, $bytes) = @_;

	open my $file, '>:raw', $path or die "$path: $!";
	print $file $bytes;
	close $file or die "$path: $!";
	return $path;
}

# One zstd frame: blocks that hold bytes as they are, or one byte so many times.
sub zstd_frame
{
	my (@blocks) = @_;
	my $frame = pack('VCC', 0xFD2FB528, 0, 0x38);

	for my $i (0 .. $#blocks)
	{
		my ($byte, $times) = ref $blocks[$i] ? @{ $blocks[$i] } : ($blocks[$i], undef);
		my $header = ($i == $#blocks ? 1 : 0) | (defined $times ? 2 | $times << 3 : length($byte) << 3);

		$frame .= substr(pack('V', $header), 0, 3) . $byte;
	}
	return $frame;
}

# Writes an archive as it should be, but for what is given; returns its path.
sub forge
{
	my ($frame, %manifest) = @_;

	write_file("$dir/forged.jsonl.zst", $frame);
	write_file("$dir/forged.json", JSON::PP->new->encode({
		format => 'mals archive', version => 1, entries => 1, min_ts => '2023-11-14T22:13:20Z',
		max_ts => '2023-11-14T22:13:21Z', bytes => length $frame, sha256 => sha256_hex($frame),
		compression => 'zstd', encoding => 'UTF8', %manifest }));
	return 'forged.json';
}

# Entries of three days: every column filled or not, text of every kind.
$node->safe_psql('postgres', q{
	SET mals.max_past = '-1';
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'agent-' || i % 7, 'message',
		CASE i % 4 WHEN 0 THEN E'Step ' || i || E' "of"\n\tplan \\\\ \u00e9 \u0001 {}' WHEN 1 THEN '' ELSE 'Disk ' || i || ' is full' END,
		'level', (ARRAY['trace', 'debug', 'info', 'warn', 'error', 'critical'])[i % 6 + 1],
		'category', CASE WHEN i % 3 = 0 THEN 'step' END, 'session_key', CASE WHEN i % 5 = 0 THEN E's\t' || i % 3 END,
		'source', CASE WHEN i % 2 = 0 THEN 'worker' END, 'trace_id', CASE WHEN i % 3 = 1 THEN md5((i / 10)::text)::uuid END,
		'parent_id', CASE WHEN i % 3 = 2 THEN md5((i / 10)::text)::uuid END,
		'correlation_id', CASE WHEN i % 2 = 1 THEN 'task-' || i / 10 END,
		'metadata', CASE WHEN i % 3 = 0 THEN jsonb_build_object('n', 12345678901234567890.123456789, 'a', ARRAY[i, NULL], 'o', '{"\u00fc": true}'::jsonb) END,
		'ts', '2023-11-10T00:00:00.123457Z'::timestamptz + i * interval '4.32123 min'))) FROM generate_series(0, 999) AS i;
	SELECT mals_resolve((SELECT id FROM mals.entries WHERE message = 'Disk 10 is full'), 'ann', E'swapped "it"');
	SELECT mals_unresolve((SELECT id FROM mals.entries WHERE message = 'Disk 10 is full'));
	SELECT mals_resolve((SELECT id FROM mals.entries WHERE message = 'Disk 22 is full'), 'ann', 'swapped');
	SELECT mals_maintain()});
$node->safe_psql('postgres', "SELECT mals_resolve_error($fingerprint, 'bob', 'new disks');
	SELECT mals_unresolve((SELECT id FROM mals.entries WHERE message = 'Disk 14 is full'))");
my $before = state_of();

like($before->{entries}, qr/^1000\|/, 'there are entries to archive');
like($before->{logs}, qr/^[1-9]\d\d\|/, 'and many of them resolved');

# Without its directory nothing is archived, and mals_health says so.
my $partitions = q{SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass AND inhrelid::regclass::text ~ '_2023' ORDER BY 1};
my @partitions = split /\n/, $node->safe_psql('postgres', $partitions);
my ($out, $err);

is(scalar @partitions, 3, 'three partitions');
$node->psql('postgres', "SELECT mals._archive('$partitions[0]') IS NULL", stdout => \$out, stderr => \$err);
is($out, 't', 'no directory: nothing archived');
like($err, qr/WARNING: .*could not archive partition "entries_20231110": could not create directory "\Q$dir\E\/postgres": No such file/, 'no directory: warning');
like($err, qr/HINT: /, 'no directory: hint');
warnings_are(qr/^degraded.*partition mals.entries_20231110 could not be archived at .*No such file/, 'no directory: seen in mals_health');
mkdir $dir or die;
chmod 0500, $dir;
$node->psql('postgres', "SELECT mals._archive('$partitions[0]') IS NULL", stdout => \$out, stderr => \$err);
is($out, 't', 'directory not writable: nothing archived');
like($err, qr/WARNING: .*Permission denied/, 'directory not writable: warning');
warnings_are(qr/^degraded.*Permission denied/, 'directory not writable: seen in mals_health');
chmod 0700, $dir;

# A partition of nothing has no archive.
$node->safe_psql('postgres', q{SELECT mals_make_partitions('2023-12-01', '2023-12-02')});
sql_is($node, q{SELECT mals._archive('mals.entries_20231201')}, '0', 'nothing to archive');
is(scalar(() = glob "$dir/postgres/*"), 0, 'nothing to archive: no file');

# Attached or detached, the bounds are in the manifest.
$node->safe_psql('postgres', "ALTER TABLE mals.entries DETACH PARTITION $partitions[1] CONCURRENTLY");
my $archived = 0;
for my $partition (@partitions)
{
	$archived += $node->safe_psql('postgres', "SELECT mals._archive('$partition')");
}
is($archived, 1000, 'all entries are archived');
warnings_are(qr/^ok\[\]$/, 'archived: mals_health has nothing to say');
my %manifests = manifests('postgres');
my @names = sort keys %manifests;

is(scalar @names, 3, 'one manifest each');
is(scalar(() = glob "$dir/postgres/*"), 6, 'and one data file, and nothing else');
for my $name (@names)
{
	my $manifest = $manifests{$name};
	my $data = slurp_file("$dir/postgres/$manifest->{file}");

	is($manifest->{file}, $name =~ s/json$/jsonl.zst/r, "$name: file");
	is($manifest->{sha256}, sha256_hex($data), "$name: sha256");
	is($manifest->{bytes}, length $data, "$name: bytes");
	is("$manifest->{from} $manifest->{to}",
		join(' ', map { sprintf '2023-11-%02dT00:00:00+00:00', $_ } $manifest->{partition} =~ /(\d\d)$/, $1 + 1), "$name: bounds");
	sql_is($node, "SELECT (count(*), min(ts), max(ts)) = ($manifest->{entries}, '$manifest->{min_ts}', '$manifest->{max_ts}')
		FROM mals.$manifest->{partition}", 't', "$name: entries, min_ts, max_ts");
}

# Any tool reads the lines.
SKIP:
{
	skip 'zstd is not installed', 2 if system('zstd --version >/dev/null 2>&1') != 0;
	my ($entry) = map { JSON::PP->new->decode($_) } grep { /"Disk 22 is full"/ } split /\n/,
		slurp_from("zstd -dc '$dir/postgres/$manifests{$names[0]}{file}'");

	is($entry->{level}, 'error', 'a line is a JSON object');
	is_deeply([ @{ $entry->{resolution} }{qw(of resolved_by note)} ], [ 'entry', 'ann', 'swapped' ], 'it says what was resolved');
}

sub slurp_from
{
	my ($command) = @_;

	return scalar `$command`;
}

# The same again has the same name; what has changed has another.
$node->safe_psql('postgres', "SELECT mals._archive('$partitions[0]')");
is_deeply([ sort keys %{ { manifests('postgres') } } ], \@names, 'archived again: the same');
$node->safe_psql('postgres', "BEGIN; DELETE FROM $partitions[0] WHERE message = ''; SELECT mals._archive('$partitions[0]'); ROLLBACK");
is(scalar keys %{ { manifests('postgres') } }, 4, 'other content: another archive');
sql_is($node, "SELECT mals._archive('$partitions[0]', \$\$e.level OPERATOR(public.>=) 'error' AND e.message <> ''\$\$) = (SELECT count(*) FROM $partitions[0] WHERE level >= 'error' AND message <> '')",
	't', 'with a condition: only what meets it');
is(scalar(grep { ($_->{condition} // '') =~ /error/ } values %{ { manifests('postgres') } }), 1, 'with a condition: it is in the manifest');

# All is dropped, with what was known of it; half of it comes back by data file, half by manifest.
$node->safe_psql('postgres', join(';', map { "DROP TABLE $_" } @partitions)
	. '; DELETE FROM mals.resolutions; DELETE FROM mals.error_status; DELETE FROM mals._templates; DELETE FROM mals._groups');
sql_is($node, 'SELECT count(*) FROM mals.entries', '0', 'all is gone');
sql_is($node, "SELECT mals_restore_archive('postgres/$names[0]')", $manifests{ $names[0] }{entries}, 'restored by a relative path');
sql_is($node, "SELECT mals_restore_archive('$dir/postgres/$manifests{$names[1]}{file}', '1 hour')", $manifests{ $names[1] }{entries}, 'restored by the data file');
sql_is($node, "SELECT mals_restore_archive('$dir/postgres/../postgres//$names[2]', NULL)", $manifests{ $names[2] }{entries}, 'restored by a path with ..');
is_deeply(state_of(), $before, 'all is as it was');
sql_is($node, q{SELECT DISTINCT note FROM mals.resolutions WHERE resolved_by = 'bob'}, 'new disks', 'also what the group said');
sql_is($node, q{SELECT array_agg(CASE WHEN until = 'infinity' THEN 'ever' WHEN until > now() + interval '6 days' THEN '7 days' WHEN until < now() + interval '1 hour' THEN '1 hour' END ORDER BY from_ts)
	FROM mals._exemptions WHERE to_ts > from_ts}, '{"7 days","1 hour",ever}', 'and exempt from retention');
sql_is($node, 'SELECT count(*) = 0 FROM mals.entries e JOIN mals._exemptions x ON ts >= from_ts AND ts < to_ts RIGHT JOIN mals.entries a ON a.id = e.id WHERE e.id IS NULL',
	't', 'all of them');
sql_is($node, "SELECT mals_restore_archive('postgres/$names[0]')", '0', 'restored again: nothing new');
is_deeply(state_of(), $before, 'restored again: all is as it was');
sql_is($node, q{SET mals.max_past = '-1'; SELECT mals_log('a', 'retry', id => (SELECT id FROM mals.entries ORDER BY ts LIMIT 1)) = (SELECT id FROM mals.entries ORDER BY ts LIMIT 1)},
	't', 'a retry of a restored entry is recognised');

# What was resolved since stays so; a group's resolution still covers its entries.
$node->safe_psql('postgres', "DELETE FROM mals.resolutions WHERE resolved_by = 'bob';
	DELETE FROM mals.entries WHERE message = 'Disk 26 is full'; SELECT mals_resolve_error($fingerprint, 'cid')");
sql_is($node, "SELECT mals_restore_archive('postgres/$names[0]'); SELECT resolved_by FROM mals.logs WHERE message = 'Disk 26 is full'",
	"1\ncid", 'one missing entry comes back, resolved by its group');

# Who may read what.
$node->safe_psql('postgres', q{CREATE ROLE keeper; SELECT mals_grant('keeper', 'admin'); CREATE ROLE nobody;
	CREATE ROLE files; SELECT mals_grant('files', 'admin'); GRANT pg_read_server_files TO files});
$node->safe_psql('postgres', "ALTER TABLE mals.entries ENABLE ROW LEVEL SECURITY; DELETE FROM mals.entries WHERE message = 'Disk 26 is full'");
sql_is($node, "SET ROLE keeper; SELECT mals_restore_archive('postgres/$names[0]')", '1', 'an administrator restores, past row security');
$node->safe_psql('postgres', 'ALTER TABLE mals.entries DISABLE ROW LEVEL SECURITY');
for my $file ($names[0], $manifests{ $names[0] }{file})
{
	write_file("$elsewhere/$file", slurp_file("$dir/postgres/$file"));
	symlink "$elsewhere/$file", "$dir/$file" or die;
}
refused("$elsewhere/$names[0]", 42501, 'permission denied to read file', 'an archive elsewhere', 'keeper');
refused("$dir/../" . ($elsewhere =~ s{.*/}{}r) . "/$names[0]", 42501, 'permission denied to read file', 'one reached by ..', 'keeper');
refused($names[0], 42501, 'permission denied to read file', 'one reached by a symbolic link', 'keeper');
refused("$elsewhere/none.json", 42501, 'permission denied to read file', 'no file elsewhere', 'keeper');
sql_is($node, "SET ROLE files; SELECT mals_restore_archive('$elsewhere/$names[0]')", '0', 'elsewhere, for a reader of server files');
$node->psql('postgres', "SET ROLE nobody; SELECT mals_restore_archive('postgres/$names[0]')", stderr => \$err);
like($err, qr/permission denied for function/, 'without privileges: refused');
refused('/etc/passwd', 22023, 'not that of an archive', 'another file');
refused('postgres/none.json', '58P01', 'could not open file', 'no file');
mkdir "$dir/sub.json";
mkdir "$dir/sub.jsonl.zst";
refused('sub.json', 22023, 'not a plain file', 'a directory');
$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT mals_restore_archive(NULL); SELECT mals_restore_archive('x.json', '-1 day');
	BEGIN READ ONLY; SELECT mals_restore_archive('x.json')", on_error_stop => 0, stderr => \$err);
is(join(' ', $err =~ /ERROR:  (\w+):/g), '22004 22023 25006', 'bad arguments');

# Archives that are not as they were written. Line breaks are those of the file.
my $good = q({"id":"018bcfe5-6800-7000-8000-000000000001","ts":"2023-11-14T22:13:20Z","created_at":"2023-11-14T22:13:20Z","level":"info",)
	. q("agent_id":"a","message":"forged","source":"api","metadata":{},"fingerprint":1});

sub changed
{
	my ($from, $to) = @_;
	my $line = $good;

	$line =~ s/\Q$from\E/$to/ or die "no $from";
	return zstd_frame("$line\n");
}

my $data = slurp_file("$dir/postgres/$manifests{$names[0]}{file}");
my $manifest = $manifests{ $names[0] };
my $broken = $data;

substr($broken, length($broken) / 2, 1) ^= "\x10";
refused(forge($broken, %$manifest), 'XX001', 'not what its manifest describes', 'a flipped bit');
refused(forge(substr($data, 0, -100), %$manifest), 'XX001', 'not what its manifest describes', 'a file that was cut off');
refused(forge($broken, %$manifest, sha256 => sha256_hex($broken)), '(?:XX001|22\w{3})', '', 'a flipped bit, with its checksum');
refused(forge(substr($data, 0, -100), %$manifest, bytes => length($data) - 100, sha256 => sha256_hex(substr($data, 0, -100))),
	'XX001', 'is damaged', 'a file that was cut off, with its checksum');
refused(forge('', entries => 1), 'XX001', 'is damaged', 'an empty file');
refused(forge($good), 'XX001', 'is damaged', 'a file that is not compressed');
refused(forge($data, %$manifest, entries => $manifest->{entries} - 1), 'XX001', 'It has more', 'more entries');
refused(forge($data, %$manifest, entries => $manifest->{entries} + 1), 'XX001', "It has $manifest->{entries} instead", 'fewer entries');
refused(forge($data, %$manifest, min_ts => $manifest->{max_ts}), 'XX001', 'not between min_ts and max_ts', 'entries of other times');
refused(forge(zstd_frame("$good\n", "not JSON\n"), entries => 2), '22P02', 'invalid input syntax for type json.*line 2', 'a line that is no JSON');
refused(forge(zstd_frame("$good\n\0\n"), entries => 2), 22021, 'line 2', 'a line of a null byte');
refused(forge(zstd_frame("$good\n\xff\xfe\n"), entries => 2), 22021, 'line 2', 'a line that is no UTF-8');
refused(forge(zstd_frame("$good\n", '{'), entries => 2), 'XX001', 'Its last line has no end', 'a line without an end');
refused(forge(zstd_frame("[1]\n")), 22023, 'line 1', 'a line that is no object');
refused(forge(zstd_frame("\n")), '22P02', 'line 1', 'an empty line');
refused(forge(changed('"info"', '"loud"')), '22P02', 'mals_level.*line 1', 'an unknown level');
refused(forge(changed('018bcfe5', '018bcfe6')), 22023, 'id: does not carry', 'an id of another time');
refused(forge(changed('"metadata":{}', '"metadata":[]')), 22023, 'missing or impossible', 'metadata that is no object');
refused(forge(changed('"fingerprint":1', '"x":1')), 22023, 'missing or impossible', 'a missing column');
refused(forge(changed('"a"', '"' . 'a' x 65 . '"')), 22023, 'agent_id: longer than 64', 'a name that is too long');
refused(forge(changed('"api"', '"' . 'a' x 257 . '"')), 22023, 'source: longer than 256', 'a source that is too long');
refused(forge(changed('"fingerprint":1', '"fingerprint":1,"resolution":7')), 22023, 'line 1', 'a resolution that is none');
refused(forge(zstd_frame('{"message":"', (map { [ 'x', 131072 ] } 1 .. 4096), "\"}\n")), 'XX001', 'longer than an entry can be', 'a line without measure');
refused(forge(changed('info', 'info'), max_ts => '2200-01-01T00:00:00Z'), 22023, 'max_partitions', 'more partitions than there may be');
refused(forge(changed('info', 'info'), max_ts => 'infinity'), 22023, 'wrong one', 'a time without end');
refused(forge(changed('info', 'info'), version => 2), 22023, 'unknown version', 'a later format');
refused(forge(changed('info', 'info'), format => 'tar'), 22023, 'not the manifest', 'another format');
refused(forge(changed('info', 'info'), entries => 'many'), '22P02', 'manifest', 'a manifest with a wrong type');
forge(changed('info', 'info'));
write_file("$dir/forged.json", 'x' x 100_000);
refused('forged.json', 22023, 'not a manifest', 'a manifest that is too long');
write_file("$dir/forged.json", '{"format"');
refused('forged.json', '22P02', 'manifest', 'a manifest that is no JSON');
sql_is($node, "SELECT mals_restore_archive('" . forge(changed('info', 'info')) . "')", '1', 'forged as it should be, it is restored');

# A file that was changed behind our back is noticed before anything depends on it:
# the condition waits at the last row until someone has overwritten the beginning.
$node->safe_psql('postgres', q{
	SET mals.max_past = '-1';
	SELECT mals_log('noise', (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 1000) AS j), ts => '2024-01-01 00:00Z'::timestamptz + i * interval '1 min')
	  FROM generate_series(1, 50) AS i});
my $waiting = q{SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'};
my $slow = q{SELECT mals._archive('mals.entries_20240101', 'e.ts < ''2024-01-01 00:50Z'' OR pg_advisory_xact_lock(7) IS NOT NULL') IS NULL};
my $holder = $node->background_psql('postgres');
my $worker = $node->background_psql('postgres', on_error_stop => 0);

$holder->query_safe('SELECT pg_advisory_lock(7)');
$worker->query_until(qr/started/, "\\echo started\n$slow;\n\\echo done\n");
$node->poll_query_until('postgres', $waiting, '1') or die 'the archive did not wait';
my ($temporary) = glob "$dir/postgres/*.data.tmp";
ok(-s $temporary > 100_000, 'a large part is written');
open my $file, '+<:raw', $temporary or die;
seek $file, 50_000, 0;
print $file 'overwritten';
close $file;
$holder->query_safe('SELECT pg_advisory_unlock(7)');
$worker->query('SELECT 1');
warnings_are(qr/^degraded.*entries_20240101.*(reads back other|is damaged)/, 'a file that was changed meanwhile is noticed');
is(scalar(() = glob "$dir/postgres/*20240101*"), 0, 'it is not taken for an archive');
ok(!-e $temporary, 'and removed');

# A crash leaves a temporary file to the next who archives.
$holder->query_safe('SELECT pg_advisory_lock(7)');
$worker->query_until(qr/started/, "\\echo started\n$slow;\n");
$node->poll_query_until('postgres', $waiting, '1') or die 'the archive did not wait';
$node->stop('immediate');
ok(-e $temporary, 'a crash leaves a temporary file');
$_->{run}->kill_kill for $holder, $worker;
$node->start;
sql_is($node, q{SELECT mals._archive('mals.entries_20240101')}, '50', 'the next one archives');
ok(!-e $temporary, 'and removes it');
is(scalar(() = glob "$dir/postgres/*20240101*"), 2, 'the archive is there');
warnings_are(qr/^ok\[\]$/, 'and all is well');

# Archives are UTF-8, whatever the database's encoding; any name of a database is one of a directory.
for my $encoding ('LATIN1', 'SQL_ASCII')
{
	my $name = "../o'$encoding";

	$node->safe_psql('postgres', qq{CREATE DATABASE "$name" TEMPLATE template0 ENCODING $encoding LC_COLLATE 'C' LC_CTYPE 'C'});
	my $connection = $node->connstr('postgres') =~ s/dbname=\S+//r . " dbname='../o\\'$encoding'";
	my $psql = sub {
		my ($sql) = @_;
		my $printed;

		IPC::Run::run([ 'psql', '-XAtq', '-d', $connection, '-v', 'ON_ERROR_STOP=1', '-f', '-' ],
			'<', \"SET client_encoding = '@{[ $encoding eq 'LATIN1' ? 'UTF8' : $encoding ]}';\n$sql", '>', \$printed) or die;
		chomp $printed;
		return $printed;
	};

	$psql->(q{CREATE EXTENSION mals; SET mals.max_past = '-1'; SELECT mals_log('a', 'Gr} . "\xc3\xbc" . q{n', ts => '2022-03-01 12:00Z')});
	is($psql->(q{SELECT mals._archive('mals.entries_20220301')}), '1', "$encoding: archived");
	my ($path) = glob "$dir/%2E%2E%2Fo%27$encoding/*.json";
	$psql->('DROP TABLE mals.entries_20220301');
	is($psql->("SELECT mals_restore_archive('$path'); SELECT message FROM mals.entries"), "1\nGr\xc3\xbcn", "$encoding: restored");
	next if $encoding eq 'SQL_ASCII';
	$node->safe_psql('postgres', "SELECT mals_restore_archive('$path')");
	sql_is($node, q{SELECT length(message) FROM mals.entries WHERE ts = '2022-03-01 12:00Z'}, '4', "$encoding: restored in UTF-8");
}

# The setting.
$node->append_conf('postgresql.conf', "mals.archive_directory = 'relative'");
$node->reload;
$node->poll_query_until('postgres', q{SELECT pg_conf_load_time() > pg_postmaster_start_time()});
$node->psql('postgres', q{SELECT mals._archive('mals.entries_20240101') IS NULL}, stdout => \$out, stderr => \$err);
is($out, 't', 'a relative directory: nothing archived');
like($err, qr/WARNING: .*not an absolute path/, 'a relative directory: warning');
$node->append_conf('postgresql.conf', "mals.archive_directory = ''");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('mals.archive_directory') = ''}) or die 'not reloaded';
$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT mals._archive('mals.entries_20240101'); SELECT mals_restore_archive('x.json');
	SET mals.archive_directory = '/tmp'", on_error_stop => 0, stderr => \$err);
is(join(' ', $err =~ /ERROR:  (\w+):/g), '55000 22023 55P02', 'without a directory nothing is archived or found in it');

$node->stop;
done_testing();
