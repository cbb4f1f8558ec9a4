# Mals.pm
#   What the TAP tests of mals share.

package Mals;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(kill_backend mals_node mals_pg_ctl sql_is);

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

# Makes a pg_ctl that starts servers in a mount name space of their own, after a
# command that mounts something there. Returns the directory it is in, for PATH, or
# undef where users may not mount.
sub mals_pg_ctl
{
	my ($mount) = @_;
	my $ids = "--map-user=$> --map-group=" . (split ' ', $))[0];
	my $bin = PostgreSQL::Test::Utils::tempdir();
	my ($pg_ctl) = grep { -x } map { "$_/pg_ctl" } split /:/, $ENV{PATH};

	return if system(qq{unshare -Urm sh -c "$mount && unshare -U $ids true" 2>/dev/null}) != 0;
	append_to_file("$bin/pg_ctl", <<"SCRIPT");
#!/bin/sh
case " \$* " in
  *' start ') exec unshare -Urm sh -c "$mount"' && exec unshare -U $ids "\$0" "\$\@"' '$pg_ctl' "\$\@" ;;
  *) exec '$pg_ctl' "\$\@" ;;
esac
SCRIPT
	chmod 0755, "$bin/pg_ctl";
	return $bin;
}

# Kills a process and waits until the server is up again.
sub kill_backend
{
	my ($node, $pid) = @_;

	kill 'KILL', $pid;
	for my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		# not by psql's input: it may have ended before it is written, as it cannot connect
		my $out = '';
		my $up = IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid" ], '>', \$out, '2>', \my $err);
		return if $up && $out eq "0\n";
		usleep(100_000);
	}
	die 'the server has not come back';
}

# Checks what a query gives, as psql -At prints it.
sub sql_is
{
	my ($node, $query, $expected, $name) = @_;

	is($node->safe_psql('postgres', $query), $expected, $name);
	return;
}

1;
