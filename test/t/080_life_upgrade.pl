# pg_upgrade keeps every entry and everything beside it. (The same major version
# on both sides goes the same way as two.)

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# There it looks for libraries in the server's own directory only, where nothing is
# installed for tests; "make upgrade-check" installs it.
plan skip_all => 'pg_upgrade finds no staged library' if `pg_config --version` !~ /^PostgreSQL 1[5-7]/;

my $old = mals_node('old');
$old->safe_psql('postgres', q{
	SET mals.max_past = '-1';
	SELECT mals_log('agent-' || i % 7, 'Request ' || i || ' failed', CASE WHEN i % 3 = 0 THEN 'error' ELSE 'info' END,
		metadata => jsonb_build_object('n', i), ts => now() - i * interval '1 hour') FROM generate_series(1, 200) AS i;
	SELECT mals_resolve(id, 'me', 'done') FROM mals.entries WHERE level = 'error' LIMIT 5;
	SELECT mals_maintain();
	CREATE ROLE bot; SELECT mals_grant('bot', 'writer');
});
$old->safe_psql('postgres', 'CREATE DATABASE empty');
$old->safe_psql('empty', 'CREATE EXTENSION mals');
my $sum = q{SELECT count(*), md5(string_agg(l::text, E'\n' ORDER BY id)) FROM mals.logs AS l};
my $before = $old->safe_psql('postgres', $sum);
my $templates = $old->safe_psql('postgres', 'SELECT * FROM mals.templates ORDER BY 1');
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
my $bin = `pg_config --bindir`;
chomp $bin;
chdir $new->basedir;
command_ok([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
		'-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade succeeds');
$new->start;
is($new->safe_psql('postgres', $sum), $before, 'every entry is there');
is($new->safe_psql('postgres', 'SELECT * FROM mals.templates ORDER BY 1'), $templates, 'and every template');
is($new->safe_psql('postgres', q{SELECT mals_health()->>'status'}), 'ok', 'health is ok');
is($new->safe_psql($_, q{SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger
	WHERE tgrelid IN ('mals.logs'::regclass, 'mals.inbox'::regclass)}), 'A', "triggers are as they were in $_") for qw(postgres empty);
$new->safe_psql('postgres', q{SET session_replication_role = replica; INSERT INTO mals.logs (agent_id, message) VALUES ('a', 'after')});
is($new->safe_psql('postgres', q{SET ROLE bot; SELECT mals_log('bot', 'after') IS NOT NULL}), 't', 'roles may do what they could');
is($new->safe_psql('postgres', q{SELECT mals_count('after')}), '2', 'logging goes on');
$new->stop;

done_testing();
