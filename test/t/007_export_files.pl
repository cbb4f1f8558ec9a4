# Files of exports, as the documentation makes them: they hold every record as
# mals_export gives it, whatever is in it, and JSON lines go in again.
use strict;
use warnings;

use Cwd qw(abs_path);
use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('primary');
my $dir = abs_path(PostgreSQL::Test::Utils::tempdir());
my $as_it_is = q{(FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')};

$node->safe_psql('postgres', <<'SQL');
SELECT mals_log('export', m, metadata => jsonb_build_object('m', m))
  FROM unnest(ARRAY['plain', E'two\nlines', E'\r\nends\n', E'back\\slash \\n \\', '"quoted", ''comma''', E'\\.', '', E'\x01\x02', E'tab\t|é', E'a\n\\.\nb']) AS m
SQL

sub psql_to_file
{
	my ($format, $file) = @_;
	$node->command_ok([ 'psql', '-XAtq', '-v', 'FETCH_COUNT=3', '-o', $file, '-d', $node->connstr('postgres'), '-c', "SELECT mals_export('$format')" ],
		"psql: $format");
}

# What is stored: for comparison with what comes back
my $stored = $node->safe_psql('postgres', q{SELECT md5(string_agg(message || ' ' || (metadata->>'m'), '|' ORDER BY ts, id)) FROM mals.logs});

psql_to_file('csv', "$dir/export.csv");
is($node->safe_psql('postgres', qq{
		CREATE TABLE csv AS SELECT * FROM mals.logs WITH NO DATA;
		COPY csv FROM '$dir/export.csv' (FORMAT csv, HEADER);
		SELECT md5(string_agg(message || ' ' || (metadata->>'m'), '|' ORDER BY ts, id)) FROM csv}),
	$stored, 'CSV by psql');

psql_to_file('json', "$dir/export.jsonl");
$node->safe_psql('postgres', qq{\\copy (SELECT mals_export('json')) TO '$dir/copied.jsonl' $as_it_is});
is(slurp_file("$dir/copied.jsonl"), slurp_file("$dir/export.jsonl"), 'JSON by COPY is as JSON by psql');
for my $format (qw(text logfmt))
{
	psql_to_file($format, "$dir/export.$format");
	$node->safe_psql('postgres', qq{\\copy (SELECT mals_export('$format')) TO '$dir/copied.$format' $as_it_is});
	is(slurp_file("$dir/copied.$format"), slurp_file("$dir/export.$format"), "$format by COPY is as $format by psql");
}

$node->safe_psql('postgres', 'CREATE DATABASE other');
is($node->safe_psql('other', qq{
		CREATE EXTENSION mals;
		\\copy mals.inbox FROM '$dir/copied.jsonl' $as_it_is
		SELECT md5(string_agg(message || ' ' || (metadata->>'m'), '|' ORDER BY ts, id)) FROM mals.logs}),
	$stored, 'JSON lines in again');

$node->stop;
done_testing();
