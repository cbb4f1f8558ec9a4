# Mals.pm
#   What the TAP tests of mals share.

package Mals;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(mals_node sql_is);

# Starts a server with the settings given (lines of postgresql.conf) and, in
# its database postgres, the extension. Its directories and those of the staged
# extension come from TEMP_CONFIG.
sub mals_node
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--no-locale' ]);
	$node->append_conf('postgresql.conf', join("\n", @settings) . "\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION mals');
	return $node;
}

# Checks what a query gives, as psql -At prints it.
sub sql_is
{
	my ($node, $query, $expected, $name) = @_;

	is($node->safe_psql('postgres', $query), $expected, $name);
	return;
}

1;
