# examples/rsyslog: a real rsyslogd stores syslog messages through ompgsql, and
# those that came while the server was away.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(usleep);

my ($rsyslogd) = grep { -x } qw(/usr/sbin/rsyslogd /sbin/rsyslogd);
plan skip_all => 'rsyslog or rsyslog-pgsql is not installed' unless $rsyslogd && glob('/usr/lib/*/rsyslog/ompgsql.so');

my $node = mals_node('rsyslog', "listen_addresses = '127.0.0.1'", 'synchronous_commit = on');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $port = $node->port;
$node->safe_psql('postgres', q{CREATE ROLE syslog LOGIN; SELECT mals_grant('syslog', 'writer')});

# The example, with this server's address and an input of its own.
my $conf = slurp_file("$ENV{TESTDIR}/examples/rsyslog/mals.conf");
my $host = $node->host;
$conf =~ s/server="[^"]*" port="5432"/server="$host" port="$port"/ or die 'no server in the example';
$conf =~ s/queue.type=/action.resumeInterval="1" queue.type=/;
append_to_file("$dir/rsyslog.conf", qq{global(workDirectory="$dir")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="$dir/log" RateLimit.Interval="0")
$conf});
my $running = IPC::Run::start([ $rsyslogd, '-n', '-f', "$dir/rsyslog.conf", '-i', "$dir/pid" ], '>', \my $out, '2>', \my $err);
for (1 .. 300) { last if -S "$dir/log"; usleep(100_000) }
my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => "$dir/log") or die "no rsyslogd: $!";

# facility 4 (auth), 3 (daemon); severities by number
$socket->send('<35>' . 'Nov 14 10:00:00 sshd[4711]: Failed password for "root" from 10.0.0.7');
$socket->send('<28>' . q{Nov 14 10:00:01 app[1]: it's 100% \\ done	tab});
$socket->send('<30>' . "Nov 14 10:00:02 " . 'x' x 80 . ': long program');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 3 FROM mals.entries'), 'syslog messages arrive') or diag($err);
sql_is($node, q{SELECT level, agent_id, category, source, metadata->>'procid', message FROM mals.logs WHERE agent_id = 'sshd'},
	'error|sshd|auth|syslog|4711|Failed password for "root" from 10.0.0.7', 'with level, agent, facility and process');
sql_is($node, q{SELECT level, message FROM mals.logs WHERE agent_id = 'app'}, "warn|it's 100% \\ done\ttab", 'and any character');

$node->stop;
$socket->send("<30>Nov 14 10:01:00 app[1]: while away $_") for 1 .. 50;
usleep(500_000);
$node->start;
ok($node->poll_query_until('postgres', q{SELECT count(DISTINCT message) = 50 FROM mals.entries WHERE message LIKE 'while away%'}),
	'messages of the time without a server arrive');
$running->signal('TERM');
$running->finish;
$node->stop;

done_testing();
