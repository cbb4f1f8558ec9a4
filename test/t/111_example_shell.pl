# examples/shell and examples/psqlrc.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = mals_node('shell');
my $top = $ENV{TESTDIR};
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';

# A program for the shell, and what comes out.
sub shell
{
	my ($script) = @_;
	my ($out, $err);

	my $ok = IPC::Run::run([ 'sh', '-c', $script ], '>', \$out, '2>', \$err);
	return wantarray ? ($ok, $out, $err) : $ok;
}

ok(shell(qq{AGENT_ID='cron job' $top/examples/shell/mals-log warning 'back\\slash	tab "quotes" \$x'}), 'mals-log logs a message');
ok(shell(qq{printf 'one\\ntwo\\\\.\\n' | AGENT_ID=lines $top/examples/shell/mals-log error}), 'and lines of its input');
sql_is($node, q{SELECT level, agent_id, source, message FROM mals.logs ORDER BY ts, id},
	"warn|cron job|shell|back\\slash\ttab \"quotes\" \$x\nerror|lines|shell|one\nerror|lines|shell|two\\.", 'as they were given');
my ($ok, undef, $err) = shell(qq{$top/examples/shell/mals-log loud x});
ok($ok && $err =~ /invalid value.*loud/, 'a bad level is a warning, and the entry is stored');

# Each shortcut runs.
$node->safe_psql('postgres', q{SELECT mals_log('a', 'in a trace', trace_id => '0af76519-16cd-43dd-8448-eb211c80319c')});
for my $shortcut ([ ':errors', qr/one/ ], [ ':last', qr/cron job/ ], [ ':agents', qr/lines/ ], [ ':patterns', qr/in a trace/ ],
	[ ":search\nlevel:warn", qr/quotes/ ], [ ":trace\n0af7651916cd43dd8448eb211c80319c", qr/in a trace/ ])
{
	my ($out, $error);
	IPC::Run::run([ 'psql', '-v', 'ON_ERROR_STOP=1' ], '<', \"$shortcut->[0]\n", '>', \$out, '2>', \$error,
		init => sub { $ENV{PSQLRC} = "$top/examples/psqlrc" });
	like($out, $shortcut->[1], "psqlrc $shortcut->[0]") or diag($error);
}

# :tail shows what is committed from then on, each entry once, until it is interrupted.
my ($out, $error) = ('', '');
my $input = PostgreSQL::Test::Utils::tempdir() . '/tail';
append_to_file($input, ":tail\n");
my $tail = IPC::Run::start([ 'psql', '-At' ], '<', $input, '>', \$out, '2>', \$error,
	init => sub { $ENV{PSQLRC} = "$top/examples/psqlrc" }, IPC::Run::timeout(180));
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'WITH t AS%mals_tail%'}),
	'psqlrc :tail waits');
$node->safe_psql('postgres', "SELECT mals_log('followed', 'entry $_', 'error')") for 1 .. 20;
$tail->pump until $out =~ /entry 20$/m;
is(join(' ', $out =~ /\|error\|followed\|entry (\d+)$/mg), join(' ', 1 .. 20), 'psqlrc :tail shows each entry once');
unlike($out, qr/in a trace/, 'and nothing that was there before');
# between two statements psql may not hear it
while ($tail->pumpable)
{
	$tail->signal('INT');
	usleep(200_000);
	$tail->pump_nb;
}
$tail->finish;
$node->stop;

done_testing();
