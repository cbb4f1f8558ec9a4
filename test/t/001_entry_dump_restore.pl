# pg_dump keeps the entries and what was done about them, in every format; after
# the restore logging and retries go on as if nothing had happened.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('dump');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $own_id = '018bcfe5-6800-7000-8000-000000000001';
my $refused_id = '00dc6a9d-4c00-7000-8000-000000000001';

# Fills the source: several days, partitions of several lengths, every column,
# a refused id, resolved entries and groups, groups merged by hand.
$node->safe_psql('postgres', qq{
	SET mals.max_past = '-1';
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'agent-' || i % 7, 'message', 'Step ' || i || ' of plan',
		'level', CASE WHEN i % 5 = 0 THEN 'error' ELSE 'info' END, 'category', 'step', 'session_key', 's' || i % 3,
		'trace_id', md5((i / 10)::text)::uuid, 'correlation_id', 'task-' || i / 10, 'i', i, 'text', E'tab\\tquote" \\\\ é',
		'ts', '2023-11-10T00:00:00Z'::timestamptz + i * interval '7 min'))) FROM generate_series(1, 1000) AS i;
	SELECT mals_log('a', 'own id', 'error', id => '$own_id');
	SET mals.partition_interval = '1 hour';
	SELECT mals_log('a', 'in an hour', ts => '2023-12-01 10:30Z');
	RESET mals.partition_interval;
	RESET mals.max_past;
	SELECT mals_log('a', 'refused id', 'error', id => '$refused_id');
	SELECT mals_log('a', 'Disk full', 'error'), mals_log('a', 'Network down', 'critical'), mals_log('a', 'Network gone', 'critical');
	SELECT mals_resolve('$own_id', 'me', 'a note');
	SELECT mals_resolve_error(mals_fingerprint('Disk full'), 'me');
	SELECT mals_ignore_error(mals_fingerprint('refused id'));
	SELECT mals_merge_groups(mals_fingerprint('Network down'), mals_fingerprint('Network gone'));
	SELECT mals_split_group(mals_fingerprint('Step 1 of plan'));
	INSERT INTO mals.redact_rules VALUES ('customer', 'C-[0-9]+', true), ('unused', 'x', false)});

# What must be the same on both sides.
my %state = (
	entries => q{SELECT count(*), md5(string_agg(e::text, E'\n' ORDER BY id)) FROM mals.entries e},
	logs => q{SELECT count(*) FILTER (WHERE resolved), md5(string_agg(l::text, E'\n' ORDER BY id)) FROM mals.logs l},
	templates => q{SELECT string_agg(t::text, E'\n' ORDER BY fingerprint) FROM mals.templates t},
	partitions => q{SELECT string_agg(c.relname || pg_get_expr(relpartbound, c.oid), E'\n' ORDER BY relname)
		FROM pg_class c WHERE relispartition AND relkind = 'r'},
	indexes => q{SELECT string_agg(indexdef, E'\n' ORDER BY indexdef) FROM pg_indexes WHERE schemaname = 'mals'},
	errors => q{SELECT string_agg(e::text, E'\n' ORDER BY fingerprint) FROM mals_errors(since => '2023-01-01', until => '2200-01-01') e},
	status => q{SELECT string_agg(e::text, E'\n' ORDER BY e::text) FROM mals.error_status e},
	resolutions => q{SELECT string_agg(r::text, E'\n' ORDER BY entry_id) FROM mals.resolutions r},
	rules => q{SELECT string_agg(r::text || mals_redact('x C-12'), E'\n' ORDER BY name) FROM mals.redact_rules r},
	owners => q{SELECT string_agg(DISTINCT relowner::regrole::text, ' ') FROM pg_class WHERE relnamespace = 'mals'::regnamespace},
	grants => q{SELECT string_agg(relacl::text, E'\n' ORDER BY relname) FROM pg_class
		WHERE relnamespace = 'mals'::regnamespace AND NOT relispartition AND relkind IN ('r', 'p', 'v')});
my %expected = map { $_ => $node->safe_psql('postgres', $state{$_}) } keys %state;

like($expected{entries}, qr/^1006\|/, 'all entries are there to be dumped');

# Compares a restored database with the source and logs into it.
sub check_restored
{
	my ($database, $how) = @_;

	for my $what (sort keys %state)
	{
		is($node->safe_psql($database, $state{$what}), $expected{$what}, "$how: $what");
	}
	is($node->safe_psql($database, qq{
		SET mals.max_past = '-1';
		SELECT mals_log('a', 'retry', id => '$own_id')}), $own_id, "$how: a retry is recognised");
	my $id = $node->safe_psql($database, qq{SELECT mals_log('a', 'retry', 'error', id => '$refused_id')});
	is($node->safe_psql($database, qq{SELECT message FROM mals.entries WHERE id = '$id'}), 'refused id',
		"$how: so is one of an id that was refused");
	is($node->safe_psql($database, q{SELECT count(*) FROM mals.entries}), '1006', "$how: neither is stored again");
	is($node->safe_psql($database, q{
		SET mals.max_past = '-1';
		INSERT INTO mals.logs (agent_id, message, ts) VALUES ('a', 'new', now()), ('a', 'new', '2023-12-05'),
			('a', 'new', '2023-11-10 01:00Z') RETURNING mals_id_ts(id) = ts AND metadata = '{}'}),
		"t\nt\nt", "$how: logging goes on, into old and new partitions");
	$id = $node->safe_psql($database, q{SELECT mals_log('b', 'Disk full', 'error', ts => now() - interval '1 hour')});
	is($node->safe_psql($database, qq{SELECT resolved_by FROM mals.logs WHERE id = '$id'}), 'me',
		"$how: a late entry of a resolved group is resolved");
	is($node->safe_psql($database, q{SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid WHERE c.relispartition AND d.deptype = 'e'}),
		'0', "$how: no partition is a member of the extension");
	return;
}

# Makes an empty database.
sub fresh
{
	my ($database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	return $database;
}

$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", 'postgres' ], 'custom format: dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-1', '-d', fresh('custom'), "$dir/custom" ],
	'custom format: restored in one transaction');
check_restored('custom', 'custom format');

$node->command_ok([ 'pg_dump', '-Fp', '-f', "$dir/plain.sql", 'postgres' ], 'plain: dumped');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', fresh('plain'), '-f', "$dir/plain.sql" ],
	'plain: restored');
check_restored('plain', 'plain');

$node->command_ok([ 'pg_restore', '--exit-on-error', '--schema-only', '-d', fresh('parts'), "$dir/custom" ],
	'in two parts: schema');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '-d', 'parts', "$dir/custom" ],
	'in two parts: data');
check_restored('parts', 'in two parts');

$node->command_ok([ 'pg_dump', '-Fd', '-j', '2', '-f', "$dir/directory", 'postgres' ], 'directory: dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', fresh('directory'), "$dir/directory" ],
	'directory: restored by two');
check_restored('directory', 'directory');

# A dump of what was restored is restored as well.
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/again", 'custom' ], 'once more: dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-1', '-d', fresh('again'), "$dir/again" ], 'once more: restored');
is($node->safe_psql('again', $state{entries}), $node->safe_psql('custom', $state{entries}), 'once more: entries');

$node->stop;
done_testing();
