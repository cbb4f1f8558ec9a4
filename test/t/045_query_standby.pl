# Functions that read entries work on a hot standby; those that write say why not.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = mals_node('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my $id = $primary->safe_psql('postgres',
	"SELECT mals_log('standby-agent', 'over there', 'error', trace_id => md5('t')::uuid, metadata => '{\"k\": 1}')");
$primary->wait_for_catchup($standby);

for my $query (
	"SELECT message FROM mals_get('$id')",
	"SELECT message FROM mals_search('level:error meta.k:1')",
	"SELECT mals_list('standby-agent')->'items'->0->>'message'",
	"SELECT message FROM mals_trace(md5('t'))",
	"SELECT message FROM mals_context('$id')",
	"SELECT substring(mals_export('text') FROM 'over there')")
{
	sql_is($standby, $query, 'over there', $query);
}
for my $query (
	"SELECT mals_count('agent:standby-agent')",
	"SELECT entries FROM mals_agents()",
	"SELECT mals_stats()->'total_entries'",
	"SELECT sum(entries) FROM mals_histogram('1 hour')",
	"SELECT entries FROM mals_facets(field => 'k')")
{
	sql_is($standby, $query, '1', $query);
}

my ($status, $out, $err) = $standby->psql('postgres',
	"\\set VERBOSITY sqlstate\nSELECT mals_resolve('$id')");
like($err, qr/25006/, 'nothing is resolved on a standby');

$standby->stop;
$primary->stop;
done_testing();
