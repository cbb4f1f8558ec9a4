# Prometheus scrapes mals_metrics() through the exporter in examples/prometheus,
# and its API gives back the figures. Needs prometheus and promtool (installed, or
# unpacked by test/get-prometheus) and Python 3.

use strict;
use warnings;

use HTTP::Tiny;
use IPC::Run ();
use JSON::PP qw(decode_json);
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $cache = ($ENV{MALS_CHROOTS} // ($ENV{XDG_CACHE_HOME} // '/var/cache') . '/mals') . '/prometheus/usr/bin';
local $ENV{PATH} = "$ENV{PATH}:$cache";

# Tells whether a program is there and runs.
sub runs
{
	my @command = @_;
	my $output = '';

	return eval { IPC::Run::run(\@command, '>', \$output, '2>&1') };
}

plan skip_all => 'no prometheus: install it, or run test/get-prometheus'
  if !runs('prometheus', '--version') || !runs('promtool', '--version');
plan skip_all => 'no python3' if !runs('python3', '--version');

my $top = $ENV{TESTDIR};
my $node = mals_node('prometheus');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $http = HTTP::Tiny->new(timeout => 10);

# What agents report, with all that is odd about names and values.
$node->safe_psql('postgres', q{
	CREATE ROLE prometheus LOGIN;
	SELECT mals_grant('prometheus', 'reader');
	SELECT mals_metric_define('tasks_completed_total', 'counter', E'Tasks: "done" \\\\ or\nnot.');
	SELECT mals_metric_define('step_seconds', 'histogram', 'How long steps took.', '{0.1,1,10}');
	SELECT mals_counter('tasks_completed_total', '{"queue": "mail"}', 41), mals_counter('tasks_completed_total', '{"queue": "mail"}');
	SELECT mals_counter('odd_total', jsonb_build_object('text', E'a "quoted" \\\\ back\nslash \u00e9', 'n', 1.5));
	SELECT mals_gauge('queue_length', 17), mals_gauge('queue_length', -4, relative => true), mals_gauge('nothing', 'NaN'), mals_gauge('all', 'Infinity');
	SELECT mals_observe('step_seconds', v) FROM unnest('{0.05,0.1,0.5,5,50}'::float8[]) v;
	SELECT mals_log('planner', 'ok'), mals_log('planner', 'oh no', 'error'), mals_log(E'odd "agent" \\\\ \u00e9', 'x', 'warn');
});

my $metrics = $node->safe_psql('postgres', 'SELECT mals_metrics()') . "\n";
my ($out, $err) = ('', '');
ok(IPC::Run::run([ 'promtool', 'check', 'metrics' ], '<', \$metrics, '>', \$out, '2>', \$err), 'promtool finds nothing to complain about')
  or diag($out, $err);
ok(runs('promtool', 'check', 'config', "$top/examples/prometheus/prometheus.yml"), 'the example configuration is good');

my $exporter_port = PostgreSQL::Test::Cluster::get_free_port();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $config = slurp_file("$top/examples/prometheus/prometheus.yml");
$config =~ s/127\.0\.0\.1:9187/127.0.0.1:$exporter_port/ or die 'no target in the example';
$config =~ s/15s/1s/ or die 'no interval in the example';
append_to_file("$dir/prometheus.yml", $config);
append_to_file("$dir/mals_rules.yml", slurp_file("$top/examples/prometheus/mals_rules.yml"));
my $exporter;
{
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = 'postgres';
	local $ENV{PGUSER} = 'prometheus';
	$exporter = IPC::Run::start([ 'python3', "$top/examples/prometheus/mals_exporter", "127.0.0.1:$exporter_port" ],
		'>', "$dir/exporter.log", '2>&1');
}
my $prometheus = IPC::Run::start([ 'prometheus', "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/tsdb",
		"--web.listen-address=127.0.0.1:$port" ], '>', "$dir/prometheus.log", '2>&1');

# What a query gives over Prometheus's API: the value of its one series, or undef.
sub ask
{
	my ($query) = @_;
	my $answer = $http->post_form("http://127.0.0.1:$port/api/v1/query", { query => $query });

	return if !$answer->{success};
	my $result = decode_json($answer->{content})->{data}{result};
	return @$result == 1 ? $result->[0]{value}[1] : undef;
}

# Waits until a query gives a value; checks that it does.
sub comes_to
{
	my ($query, $expected, $name) = @_;
	my $value;

	for my $try (1 .. 450)
	{
		$value = ask($query);
		last if defined $value && $value eq $expected;
		usleep(200_000);
	}
	is($value, $expected, $name);
	return;
}

comes_to('up{job="mals"}', 1, 'the exporter is scraped');
comes_to('tasks_completed_total{queue="mail"}', 42, 'a counter');
comes_to('queue_length', 13, 'a gauge');
comes_to('nothing', 'NaN', 'a gauge that is not a number');
comes_to('all', '+Inf', 'an infinite gauge');
comes_to("odd_total{n=\"1.5\",text='a \"quoted\" \\\\ back\\nslash \xe9'}", 1, 'labels come through');
comes_to('step_seconds_count', 5, 'a histogram counts');
comes_to('step_seconds_bucket{le="1"}', 3, 'a histogram\'s buckets');
comes_to('histogram_quantile(0.5, step_seconds_bucket)', 0.55, 'a quantile of it');
comes_to('mals_entries_total{agent_id="planner",level="error"}', 1, 'entries by agent and level');
comes_to("mals_entries_total{agent_id='odd \"agent\" \\\\ \xe9'}", 1, 'an agent with an odd name');
comes_to('mals_healthy', 1, 'health');
comes_to('count(count by (__name__) ({job="mals"})) > bool 15', 1, 'the rest is there, too');

$node->safe_psql('postgres', q{SELECT mals_counter('tasks_completed_total', '{"queue": "mail"}', 8), mals_maintain(), mals_log('planner', 'again', 'error')});
comes_to('tasks_completed_total{queue="mail"}', 50, 'what is new comes with the next scrape');
comes_to('mals_entries_total{agent_id="planner",level="error"}', 2, 'and new entries');
is($http->get("http://127.0.0.1:$exporter_port/other")->{status}, 404, 'the exporter serves nothing else');
$node->stop('fast');
is($http->get("http://127.0.0.1:$exporter_port/metrics")->{status}, 503, 'without a server there is nothing to scrape');

$_->kill_kill(grace => 5) for $prometheus, $exporter;
done_testing();
