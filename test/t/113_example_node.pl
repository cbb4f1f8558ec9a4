# examples/node: what is logged arrives once, in order, also while the server restarts,
# and a bad entry does not take others along. Needs Node.js and its driver for PostgreSQL:
# installed, or by test/get-node-pg.

use strict;
use warnings;

use File::Copy;
use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Where Node.js finds the driver.
sub modules
{
	my $cache = ($ENV{MALS_CHROOTS} // ($ENV{XDG_CACHE_HOME} // '/var/cache') . '/mals') . '/node-pg/node_modules';
	my ($found) = grep { -d "$_/pg" } $cache, '/usr/share/nodejs', '/usr/lib/node_modules', '/usr/local/lib/node_modules';

	return $found;
}

my $modules = modules();
my $version = '';
plan skip_all => 'no node' if !eval { IPC::Run::run([ 'node', '--version' ], '>', \$version) };
plan skip_all => 'no driver for node: run test/get-node-pg' if !$modules;

my $node = mals_node('node', 'synchronous_commit = on');
my $dir = PostgreSQL::Test::Utils::tempdir();
copy("$ENV{TESTDIR}/examples/node/log.mjs", $dir) or die $!;
symlink($modules, "$dir/node_modules") or die $!;
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
$ENV{PGUSER} = getpwuid($<);

# Starts a script that uses the example.
my $scripts = 0;
sub script
{
	my ($script, $stderr) = @_;
	my $file = "$dir/script" . ++$scripts . '.mjs';

	append_to_file($file, "import { log, flush } from './log.mjs';\n$script\nawait flush();\nprocess.exit(0);\n");
	return IPC::Run::start([ 'node', $file ], '>', \my $out, '2>', $stderr // \my $err);
}

my ($out, $err);
ok(IPC::Run::run([ 'node', "$dir/log.mjs" ], '>', \$out, '2>', \$err), 'the example runs') or diag($err);
sql_is($node, q{SELECT agent_id, level, message, jsonb_typeof(metadata->'pid') FROM mals.logs}, 'node|info|hello from node|number', 'and its entry is stored');

$ENV{AGENT_ID} = 'many';
ok(script(q{for (let i = 0; i < 2000; i++) log(i % 2 ? 'info' : 'warn', `entry ${i} "quoted" \\\\ é`, { i });})->finish, 'a script that logs a lot ends');
sql_is($node, q{SELECT count(*), bool_and((metadata->>'i')::int = n - 1) FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM mals.logs WHERE agent_id = 'many') l},
	'2000|t', 'and all is stored, in order');
sql_is($node, q{SELECT bool_and(abs(extract(epoch FROM ts - created_at)) < 60) FROM mals.logs}, 't', 'at its time');

# The server stops, stays away and comes back.
my $stderr;
$ENV{AGENT_ID} = 'patient';
my $running = script(<<'JS', \$stderr);
for (let i = 0; i < 300; i++) {
	log('info', 'patient', { key: i });
	await new Promise((resolve) => setTimeout(resolve, 10));
}
JS
$node->poll_query_until('postgres', q{SELECT count(*) > 20 FROM mals.entries WHERE agent_id = 'patient'});
$node->stop('immediate');
sleep 1;
$node->start;
ok($running->finish, 'a script goes on while the server restarts') or diag($stderr);
sql_is($node, q{SELECT count(*), count(DISTINCT metadata->>'key') FROM mals.entries WHERE agent_id = 'patient'}, '300|300', 'every entry is stored once');

$ENV{AGENT_ID} = 'mixed';
ok(script(q{for (let i = 0; i < 100; i++) log(i === 37 ? 'loud' : 'info', 'mixed');}, \$stderr)->finish, 'a script with a bad entry ends');
like($stderr, qr/mals: .*loud/, 'the bad entry is reported');
sql_is($node, q{SELECT mals_count('agent:mixed')}, '99', 'and the others are stored');
$node->stop;

done_testing();
