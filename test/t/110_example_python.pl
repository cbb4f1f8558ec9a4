# examples/python: what the handler logs arrives once, with all that a record has,
# also while the server restarts, from threads and at exit.

use strict;
use warnings;

use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'python3-psycopg is not installed' if system(q{python3 -c 'import psycopg' 2>/dev/null}) != 0;

my $node = mals_node('python', 'synchronous_commit = on');
my $dir = PostgreSQL::Test::Utils::tempdir();
$ENV{PYTHONPATH} = "$ENV{TESTDIR}/examples/python";
$ENV{PYTHONDONTWRITEBYTECODE} = 1;
$ENV{CONNINFO} = $node->connstr('postgres');

# Runs a script, with what comes before every one.
sub python
{
	my ($script, @options) = @_;

	append_to_file("$dir/head.py", '') unless -e "$dir/head.py";
	my $head = "import logging, os, sys, threading, time, mals_logging\n"
	  . "handler = mals_logging.MalsHandler(os.environ['CONNINFO'], agent_id='py', flush_interval=0.1)\n"
	  . "log = logging.getLogger('app'); log.setLevel(logging.DEBUG); log.addHandler(handler)\n";
	return IPC::Run::start([ 'python3', '-c', $head . $script ], '>', \my $out, '2>', $options[0] // \my $err);
}

ok(python(<<'PY')->finish, 'a script ends well');
log.debug('starting %s', 'up')
log.warning('disk %d%% full', 91, extra={'disk': '/dev/sda', 'ratio': float('nan'), 'odd': {1, 2}, 'obj': object()})
with mals_logging.context(trace_id='0af7651916cd43dd8448eb211c80319c', session_key='s1'):
    with mals_logging.context(correlation_id='req-1'):
        log.info('in a trace')
try:
    {}['missing']
except KeyError:
    log.exception('no such key')
log.critical('bad \0 character and \ud800 surrogate')
log.error('at exit')
PY
sql_is($node, q{SELECT level, message FROM mals.logs WHERE agent_id = 'py' ORDER BY id},
	join("\n", 'debug|starting up', 'warn|disk 91% full', 'info|in a trace', 'error|no such key',
		"critical|bad \x{ef}\x{bf}\x{bd} character and ? surrogate", 'error|at exit'), 'every record is stored, in order');
sql_is($node, q{SELECT metadata->>'disk', metadata->>'ratio', metadata ? 'line', metadata->>'function', source FROM mals.logs WHERE message LIKE 'disk%'},
	'/dev/sda|nan|t|<module>|app', 'with its extra fields');
sql_is($node, q{SELECT session_key, correlation_id FROM mals_trace('0af76519-16cd-43dd-8448-eb211c80319c')}, 's1|req-1', 'and the context');
sql_is($node, q{SELECT metadata->'exception'->>'type', metadata->'exception'->>'message', metadata->'exception'->>'stacktrace' LIKE 'Traceback%KeyError%'
	FROM mals.logs WHERE message = 'no such key'}, "KeyError|'missing'|t", 'and the exception');
sql_is($node, q{SELECT bool_and(abs(extract(epoch FROM ts - created_at)) < 60 AND mals_id_ts(id) = ts) FROM mals.logs}, 't', 'at its time');

# Four threads log while the server stops, stays away and comes back.
my $stderr;
my $running = python(<<'PY', \$stderr);
def work(k):
    for i in range(500):
        log.info('thread %d entry', k, extra={'key': f'{k}-{i}'})
        time.sleep(0.004)
threads = [threading.Thread(target=work, args=[k]) for k in range(4)]
for t in threads: t.start()
for t in threads: t.join()
handler.close_timeout = 60
PY
$node->poll_query_until('postgres', q{SELECT count(*) > 100 FROM mals.entries WHERE metadata ? 'key'});
$node->stop('immediate');
sleep 1;
$node->start;
ok($running->finish, 'a script goes on while the server restarts');
sql_is($node, q{SELECT count(*), count(DISTINCT metadata->>'key') FROM mals.entries WHERE metadata ? 'key'}, '2000|2000', 'every entry is stored once');

# No server at all: the application goes on, and ends in time.
$ENV{CONNINFO} = 'host=/nonexistent';
ok(python("handler.close_timeout = 0.5\nlog.error('lost')\nprint('done')", \$stderr)->finish, 'a script without a server ends');
like($stderr, qr/mals_logging: connection/, 'and says why nothing is stored');
$ENV{CONNINFO} = $node->connstr('postgres');

# A bad entry does not take the others along.
ok(python(<<'PY', \$stderr)->finish, 'a script with a bad entry ends');
with mals_logging.context(agent_id='x' * 100):
    log.info('bad agent')
log.info('good one'); log.info('good two')
PY
like($stderr, qr/agent_id/, 'the bad entry is reported');
sql_is($node, q{SELECT mals_count('"good"')}, '2', 'and the others are stored');

# A child process logs too.
ok(python(<<'PY')->finish, 'a script that forks ends');
log.info('parent before')
if os.fork() == 0:
    log.info('in the child')
    handler.flush()
    os._exit(0)
os.wait()
PY
sql_is($node, q{SELECT mals_count('"parent before"'), mals_count('"in the child"')}, '1|1', 'parent and child each log once');
$node->stop;

done_testing();
