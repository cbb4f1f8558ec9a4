# The documentation says what is: every public function, table, view and setting
# is in the reference, and the SQL in README.md and doc/*.md runs.
#
# A block fenced as ```sql runs by psql, each file's blocks in order in a fresh
# database; one fenced as ```sql error must fail. A ```text block right after it
# is what psql prints.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = $ENV{TESTDIR};
my $node = mals_node('docs', "shared_preload_libraries = 'mals'", 'max_worker_processes = 64');
my $reference = slurp_file("$top/doc/reference.md");

# Runs a script by psql; returns whether all of it succeeded, and what it printed.
sub run_psql
{
	my ($database, $script) = @_;
	my ($out, $err) = ('', '');
	my $good = IPC::Run::run(
		[ 'psql', '-XqP', 'footer=off', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', '-' ],
		'<', \$script, '>', \$out, '2>', \$err);

	return ($good, $out, $err);
}

# Strips trailing blanks and empty lines.
sub trimmed
{
	my ($text) = @_;

	$text =~ s/[ \t]+$//mg;
	$text =~ s/\n{2,}/\n/g;
	$text =~ s/\A\n+|\n+\z//g;
	return $text;
}

my $names = $node->safe_psql('postgres', q{
	LOAD 'mals';
	SELECT DISTINCT p.proname
	  FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	 WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
	   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals')
	   AND p.proname LIKE 'mals\_%'
	   AND p.proname !~ '^mals_level_(in|out|recv|send|eq|ne|lt|le|gt|ge|cmp|hash|hash_extended|sortsupport|smaller|larger)$'
	UNION ALL
	SELECT name FROM pg_settings WHERE name LIKE 'mals.%'
	UNION ALL
	SELECT 'mals.' || c.relname
	  FROM pg_class c
	 WHERE c.relnamespace = 'mals'::regnamespace AND c.relkind IN ('r', 'p', 'v')
	   AND c.relname NOT LIKE '\_%' AND NOT c.relispartition
	 ORDER BY 1});
my @missing = grep { $reference !~ /`\Q$_\E[(`]/ } split /\n/, $names;

cmp_ok(scalar(split /\n/, $names), '>', 60, 'functions, settings, tables and views were found');
is_deeply(\@missing, [], 'all of them are in doc/reference.md');

for my $path ("$top/README.md", sort glob "$top/doc/*.md")
{
	my $file = $path =~ s{.*/}{}r;
	my $text = slurp_file($path);
	my $database = 'doc_' . ($file =~ s/\W/_/gr);
	my $block = 0;

	$node->safe_psql('postgres', qq{CREATE DATABASE "$database"});
	$node->safe_psql($database, 'CREATE EXTENSION mals') if $text !~ /^CREATE EXTENSION mals;/m;
	while ($text =~ /^```sql( error)?\n(.*?)^```\n(?:\s*^```text\n(.*?)^```\n)?/msg)
	{
		my ($fails, $script, $expected) = (defined $1, $2, $3);
		my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);
		my ($good, $out, $err) = run_psql($database, $script);

		$block++;
		is($good ? 'runs' : "fails: $err", $fails ? "fails: $err" : 'runs', "$file:$line");
		is(trimmed($fails ? $err =~ s/^psql:[^ ]* //mgr : $out), trimmed($expected), "$file:$line: output")
			if defined $expected;
	}
	note("$file: $block blocks");
}

done_testing();
