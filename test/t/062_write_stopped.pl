# INSERT ... RETURNING that its caller stops after some rows, as procedural
# languages may: what it has returned by then is stored, and nothing else.
use strict;
use warnings;

use Cwd qw(abs_path);
use Mals;
use PostgreSQL::Test::Utils;
use Test::More;

my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my $dir = abs_path(PostgreSQL::Test::Utils::tempdir());
chomp(my $include = `$pg_config --includedir-server`);
chomp(my $flags = `$pg_config --cppflags`);
system("cc -shared -fPIC $flags -I$include -o $dir/limit.so test/lib/limit.c") == 0
	or BAIL_OUT('could not compile test/lib/limit.c');

my $node = mals_node('primary', "shared_preload_libraries = 'mals'");
$node->safe_psql('postgres', qq{
	CREATE FUNCTION run_limited(query text, rows bigint) RETURNS bigint LANGUAGE c AS '$dir/limit', 'run_limited'});
my $insert = q{INSERT INTO mals.logs (agent_id, message) SELECT '%s', 'm' || i FROM generate_series(1, 50) AS i RETURNING id};

for my $mode (qw(transactional autonomous async))
{
	my $query = sprintf($insert, $mode);
	is($node->safe_psql('postgres', qq{
			SET mals.write_mode = $mode;
			BEGIN;
			SELECT run_limited(\$\$$query\$\$, 3);
			INSERT INTO mals.logs (agent_id, message) VALUES ('$mode', 'next');
			COMMIT;
			SELECT mals_flush() \\g /dev/null
			SELECT count(*), string_agg(message, ' ' ORDER BY id) FROM mals.logs WHERE agent_id = '$mode'}),
		"3\n4|m1 m2 m3 next", "stopped after three rows: $mode");
}

# Its rows are the transaction's own from then on.
is($node->safe_psql('postgres', sprintf(q{
		BEGIN;
		SELECT run_limited($$%s$$, 1), mals_count('agent:once');
		SELECT mals_count('agent:once');
		SAVEPOINT here;
		SELECT run_limited($$%1$s$$, 1);
		ROLLBACK TO here;
		COMMIT;
		SELECT mals_count('agent:once')}, sprintf($insert, 'once'))),
	"1|0\n1\n1\n1", 'seen by the next statement, gone with a savepoint');

# An INSERT inside another statement, and one within an INSERT.
is($node->safe_psql('postgres', sprintf(q{
		SELECT run_limited($$WITH i AS (%s) SELECT * FROM i$$, 2);
		INSERT INTO mals.logs (agent_id, message) SELECT 'outer', run_limited($$%s$$, 2) FROM generate_series(1, 3);
		SELECT mals_count('agent:cte'), mals_count('agent:inner'), mals_count('agent:outer')}, sprintf($insert, 'cte'), sprintf($insert, 'inner'))),
	"2\n50|6|3", 'nested');

$node->stop;
done_testing();
