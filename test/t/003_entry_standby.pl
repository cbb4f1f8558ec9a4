# A hot standby: entries can be read, logging says where to go, and after its
# promotion it logs.
use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = mals_node('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$primary->safe_psql('postgres', "SELECT mals_log('standby', 'from the primary')");
$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
# A partition that is made later comes over too.
$primary->safe_psql('postgres', "SELECT mals_log('standby', 'from yesterday', ts => now() - interval '1 day')");
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
sql_is($standby, "SELECT string_agg(message, ', ' ORDER BY ts) FROM mals.logs", 'from yesterday, from the primary', 'a standby reads');

for my $statement (
	"SELECT mals_log('standby', 'm')",
	"SELECT mals_log_json('{\"agent_id\": \"standby\", \"message\": \"m\"}')",
	"SELECT mals_log_batch('[]')",
	"SELECT mals_log_otlp('{\"resourceLogs\": []}')",
	'SELECT mals_make_partitions(now(), now())')
{
	my ($status, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$statement");

	like($err, qr/25006.*standby: connect to the primary/s, $statement);
}
for my $statement (
	"INSERT INTO mals.logs (agent_id, message) VALUES ('standby', 'm')",
	"INSERT INTO mals.inbox VALUES ('{}')",
	"COPY mals.logs (agent_id, message) FROM STDIN")
{
	my ($status, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\n$statement");

	like($err, qr/25006/, $statement);
}

$primary->stop;
$standby->promote;
sql_is($standby, "SELECT mals_log('standby', 'promoted') IS NOT NULL", 't', 'it logs when it is promoted');
sql_is($standby, "SELECT mals_log('standby', 'older', ts => now() - interval '2 days') IS NOT NULL", 't', 'and makes partitions');
sql_is($standby, "SELECT string_agg(message, ', ' ORDER BY ts) FROM mals.logs", 'older, from yesterday, from the primary, promoted', 'all are there');
sql_is($standby, 'SELECT count(*) - count(DISTINCT id) FROM mals.entries', '0', 'under ids of their own');

$standby->stop;
done_testing();
