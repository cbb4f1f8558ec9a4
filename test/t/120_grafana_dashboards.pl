# The Grafana dashboards: their JSON is sound, and every statement in them, expanded as
# Grafana does it, answers a read-only role with the columns that its panel needs, reads
# no partition outside the window, and shows the figures that it says it shows.

use strict;
use warnings;

use Grafana;
use IPC::Run ();
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = $ENV{TESTDIR};
my @files = sort glob "$top/grafana/dashboards/*.json";
my %dashboards = map { $_->{uid} => $_ } map { Grafana::load($_) } @files;

# Macros, variables and gaps, as Grafana's documentation and source have them.

my $window = { from => 1767225600, to => 1767229200.5, step => 60_000, variables => {
	one => { name => 'one', value => q{a'b"c} },
	many => { name => 'many', value => [ q{a'b}, 'c d' ], quoted => 1 },
	all => { name => 'all', value => '$__all', quoted => 1, all_value => q{''} } } };
my @cases = (
	[ 'SELECT $__time(ts)', 'SELECT ts AS "time"' ],
	[ '$__timeEpoch(ts)', 'extract(epoch from ts) as "time"' ],
	[ '$__timeFilter(ts)', q{ts BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-01T01:00:00.5Z'} ],
	[ '$__timeFrom() $__timeTo()', q{'2026-01-01T00:00:00Z' '2026-01-01T01:00:00.5Z'} ],
	[ q{$__timeGroup(ts,'5m')}, 'floor(extract(epoch from ts)/300)*300' ],
	[ q{$__timeGroup(ts,'5m'), x}, 'floor(extract(epoch from ts)/300)*300 AS "time", x' ],
	[ '$__timeGroupAlias(ts, $__interval, 0)', 'floor(extract(epoch from ts)/60)*60 AS "time"' ],
	[ '$__timeGroupAlias(ts,500ms)', 'floor(extract(epoch from ts)/0.5)*0.5 AS "time"' ],
	[ '$__unixEpochFilter(t)', 't >= 1767225600 AND t <= 1767229200' ],
	[ '$__unixEpochNanoFilter(t)', 't >= 1767225600000000000 AND t <= 1767229200500000000' ],
	[ '$__unixEpochGroupAlias(t,1h)', 'floor((t)/3600)*3600 AS "time"' ],
	[ '$__unixEpochFrom()', '1767225600' ],
	[ '$__interval_ms $__interval ${__interval}', '60000 1m 1m' ],
	[ q{'$one' ${one:sqlstring} ${one:raw} [[one:percentencode]]}, q{'a''b"c' 'a''b\\"c' a'b"c a'b%22c} ],
	[ '$many ${many:sqlstring} ${many:csv}', q{'a''b','c d' 'a''b','c d' a'b,c d} ],
	[ '${many:queryparam}', q{var-many=a'b&var-many=c%20d} ],
	[ '$all ${all:sqlstring} ${all:text}', q{'' '' All} ],
	[ '$nothing ${one}', q{$nothing a''b"c} ],
	[ '$__timeFilter()', 'missing time column argument for macro __timeFilter' ],
	[ '$__timeGroup(ts)', 'macro __timeGroup needs time column and interval and optional fill value' ],
	[ '$__timeGroup(ts,1m,x)', 'error parsing fill value x' ],
	[ '$__timeGruop(ts,1m)', 'unknown macro __timeGruop' ],
	[ 'SELECT $total(x)', 'unknown macro total' ],
	[ '${nothing:sqlstring}', 'unknown variable nothing' ],
	[ '${one:sqlstrnig}', 'unknown format sqlstrnig of variable one' ]);
for my $case (@cases)
{
	my ($got) = eval { Grafana::expand($case->[0], $window) };

	chomp(my $error = $@);
	is($got // $error, $case->[1], "expands $case->[0]");
}
my $fill = (Grafana::expand('$__timeGroupAlias(ts,20m,previous)', $window))[1];
my @long = ([ 'time', 'timestamp with time zone' ], [ 'metric', 'text' ], [ 'n', 'bigint' ]);
is_deeply(Grafana::series(\@long, [ [ 1767225600, 'a', 1 ], [ 1767228000, 'a', 2 ], [ 1767228000, 'b', 3 ] ], $window, $fill),
	{ a => [ [ 1767225600, 1 ], [ 1767226800, 1 ], [ 1767228000, 2 ], [ 1767229200, 2 ] ],
	  b => [ [ 1767225600, undef ], [ 1767226800, undef ], [ 1767228000, 3 ], [ 1767229200, 3 ] ] }, 'series with gaps filled');
is(eval { Grafana::series(\@long, [ [ 2, 'a', 1 ], [ 1, 'a', 2 ] ], $window) } // $@, "times are not in order\n", 'series out of order');
is_deeply([ map { Grafana::settings($dashboards{'mals-logs'}, { maxDataPoints => 100 }, 0, $_)->{step} } 60, 3600, 86400, 1e9 ],
	[ 1000, 30_000, 900_000, 31_536_000_000 ], 'lengths of $__interval');

# Statements that depend on no window: of one trace, of all agents, of the state of mals.
my $all_time = qr/mals_(trace|health|metrics|query_explain)\(|max\(e\.ts\)|min\(e?\.?agent_id\)|mals\.(partitions|progress|_jobs|templates)\b/;

# The JSON.

my %units = map { $_ => 1 } qw(short none bytes s ms percent dateTimeFromNow dateTimeAsIso dateTimeAsLocal);
my %kinds = map { $_ => 1 } qw(row stat timeseries table logs);
my @wrong;

is(scalar(keys %dashboards), scalar(@files), 'uids are unique');
is_deeply([ sort keys %dashboards ], [ qw(mals-agent mals-errors mals-health mals-logs mals-overview mals-trace) ], 'all dashboards are there');

# All hashes within some JSON.
sub hashes
{
	my ($json) = @_;

	return ($json, map { hashes($_) } values %$json) if ref $json eq 'HASH';
	return map { hashes($_) } @$json if ref $json eq 'ARRAY';
	return;
}

for my $uid (sort keys %dashboards)
{
	my $dashboard = $dashboards{$uid};
	my %variables = map { $_->{name} => $_ } @{ $dashboard->{templating}{list} };
	my (%ids, @taken);
	my $note = sub { push @wrong, "$uid: @_" };

	$note->('schemaVersion') unless $dashboard->{schemaVersion} == 39;
	$note->('an id of its own') if exists $dashboard->{id};
	$note->('not named as its file') unless -f "$top/grafana/dashboards/$uid.json";
	$note->('untitled, undescribed or not tagged') unless $dashboard->{title} && $dashboard->{description} && "@{ $dashboard->{tags} }" eq 'mals';
	$note->('time range') unless $dashboard->{time}{from} =~ /^now-\d+[hd]$/ && $dashboard->{time}{to} eq 'now';
	$note->('no variable of data sources')
	  unless $variables{datasource}{type} eq 'datasource' && $variables{datasource}{query} eq 'grafana-postgresql-datasource';
	for my $variable (values %variables)
	{
		$note->("variable $variable->{name} has no label") unless $variable->{label};
		$note->("variable $variable->{name}: all of nothing is bad SQL") if $variable->{includeAll} && $variable->{type} eq 'query' && !length($variable->{allValue} // '');
	}
	for my $panel (@{ $dashboard->{panels} })
	{
		my $at = $panel->{gridPos};
		my $name = "panel $panel->{id}";

		$note->("$name: id is taken") if $ids{ $panel->{id} }++;
		$note->("$name: kind $panel->{type}") unless $kinds{ $panel->{type} };
		$note->("$name: no title") unless length $panel->{title};
		$note->("$name: off the grid") if $at->{x} < 0 || $at->{x} + $at->{w} > 24 || $at->{y} < 0 || $at->{w} < 1 || $at->{h} < 1;
		for my $y ($at->{y} .. $at->{y} + $at->{h} - 1)
		{
			for my $x ($at->{x} .. $at->{x} + $at->{w} - 1)
			{
				$note->("$name: over panel $taken[$y][$x]") if $taken[$y][$x];
				$taken[$y][$x] = $panel->{id};
			}
		}
		next if $panel->{type} eq 'row';
		$note->("$name: data source") unless ($panel->{datasource}{uid} // '') eq '${datasource}';
		$note->("$name: no unit") if $panel->{type} ne 'logs' && !$panel->{fieldConfig}{defaults}{unit};
		$note->("$name: not one statement") unless @{ $panel->{targets} } == 1;
		$note->("$name: format") unless $panel->{targets}[0]{format} eq ($panel->{type} eq 'timeseries' ? 'time_series' : 'table');
		$note->("$name: logs panels take no overrides") if $panel->{type} eq 'logs' && @{ $panel->{fieldConfig}{overrides} };
		for my $property (map { @{ $_->{properties} } } @{ $panel->{fieldConfig}{overrides} })
		{
			$note->("$name: property $property->{id}") if $property->{id} !~ /^(unit|links|mappings|color|min|custom\.(width|cellOptions))$/;
		}
		for my $unit ($panel->{fieldConfig}{defaults}{unit} // (), map { $_->{value} } grep { ($_->{id} // '') eq 'unit' } hashes($panel->{fieldConfig}{overrides}))
		{
			$note->("$name: unit $unit") unless $units{$unit};
		}
	}
	for my $statement (Grafana::statements($dashboard))
	{
		my $sql = $statement->{sql};
		my $name = "$uid, $statement->{name}";

		$note->("$name: data source") unless $statement->{datasource}{type} eq 'grafana-postgresql-datasource' && $statement->{datasource}{uid} eq '${datasource}';
		$note->("$name: unquoted variable $1") if $sql =~ /\$(?!__)\{?(\w+)(?!:sqlstring|\w|:raw\} *(?:\n|$|\)))/;
		$note->("$name: raw text") if grep { ($variables{$_} // { type => 'none' })->{type} ne 'custom' } $sql =~ /\$\{(\w+):raw\}/g;
		$note->("$name: no limit") unless $statement->{kind} eq 'stat' || $sql =~ /LIMIT (\d+|\$\{limit:raw\})$/ || $sql =~ /mals_(search|patterns)\([^()]*(\(\)[^()]*)*, \d+\)/;
		$note->("$name: window is not the dashboard's")
		  unless $sql =~ /\$__time(Filter|From)\(/ || $sql =~ $all_time;
	}

	# Links lead to a dashboard, and set variables that it has.
	for my $link (grep { ($_->{url} // '') ne '' } hashes($dashboard))
	{
		my ($target, $query) = $link->{url} =~ m{^/d/([\w-]+)\?(.*)$} or do { $note->("link $link->{url}"); next };

		$note->("link to $target") unless $dashboards{$target};
		$note->("link $link->{url}: data source or time range") unless $query =~ /^\$\{datasource:queryparam\}&/ && $query =~ /&\$\{__url_time_range\}$/;
		for my $variable ($query =~ /var-(\w+)=/g)
		{
			$note->("link to $target: variable $variable") unless grep { $_->{name} eq $variable } @{ $dashboards{$target}{templating}{list} };
		}
		$note->("link $link->{url}: value") if $query =~ /\$\{__(?!url_time_range\})(?!value\.raw:percentencode\})/;
	}
	$note->('links by tag') unless grep { $_->{type} eq 'dashboards' && "@{ $_->{tags} }" eq 'mals' && $_->{keepTime} } @{ $dashboard->{links} };
}
is(join("\n", @wrong), '', 'the JSON is sound');

my $source = slurp_file("$top/grafana/provisioning/datasources/mals.yaml");
my $provider = slurp_file("$top/grafana/provisioning/dashboards/mals.yaml");
like($source, qr/^  - name: .*\n    uid: mals\n    type: grafana-postgresql-datasource$/m, 'the data source has a fixed uid');
is(join(' ', map { $_->{templating}{list}[0]{current}{value} } values %dashboards), join(' ', ('mals') x keys %dashboards), 'which dashboards begin with');
like($provider, qr{^      path: /var/lib/grafana/dashboards/mals$}m, 'the provider reads a folder');

# The statements.

my $node = mals_node('grafana', 'max_parallel_workers_per_gather = 0');
$node->safe_psql('postgres', 'CREATE DATABASE filled');
$node->safe_psql('filled', 'CREATE EXTENSION mals');
$node->safe_psql('postgres', 'CREATE ROLE grafana LOGIN');
$node->safe_psql('postgres', 'ALTER ROLE grafana SET default_transaction_read_only = on');
$node->safe_psql($_, q{SELECT mals_grant('grafana', 'reader')}) for qw(postgres filled);
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('filled'), '-f', "$top/test/grafana/data.sql" ], 'entries are loaded');
my $now = $node->safe_psql('filled', 'SELECT extract(epoch FROM clock_timestamp())::numeric(20, 3)') + 1;

# Partitions that this transaction has read although they hold nothing of a window.
my $elsewhere = q{
SELECT c.relname
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_stat_xact_all_tables s ON s.relid = c.oid,
       regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('(.*)'\) TO \('(.*)'\)$$) AS b
 WHERE i.inhparent = 'mals.entries'::regclass AND s.seq_scan + COALESCE(s.idx_scan, 0) > 0
   AND (b[1]::timestamptz > to_timestamp(%s) OR b[2]::timestamptz <= to_timestamp(%s)) ORDER BY 1};

# Runs a statement as the read-only role, with settings. Returns the error or undef,
# the columns, the rows, and the partitions that it should not have read.
sub run_statement
{
	my ($database, $sql, $from, $to) = @_;
	my ($mark, $columns, $out, $err) = ("\x1c", "\x1d", '', '');
	my $script = join "\n", "BEGIN;", $sql, '\gdesc', "\\echo $mark", $sql, ';', "\\echo $mark", sprintf($elsewhere, $to, $from) . ';', 'COMMIT;';

	IPC::Run::run([ 'psql', '-XqAtU', 'grafana', '-F', "\x1f", '-R', "\x1e", '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', '-' ],
		'<', \$script, '>', \$out, '2>', \$err);
	return $err =~ s/^psql:<stdin>:\d+: //r if $err ne '';
	utf8::decode($out);
	my @parts = map { [ map { [ split /\x1f/, $_, -1 ] } grep { $_ ne '' } split /\x1e/, s/^[\n\x1e]+|[\n\x1e]+$//gr ] } split /$mark\n/, $out, -1;
	return (undef, $parts[0], $parts[1], [ map { $_->[0] } @{ $parts[2] } ]);
}

# What is wrong with a statement in a window with some values of variables; and what it gave.
sub check_statement
{
	my ($database, $dashboard, $statement, $from, $to, %values) = @_;
	my ($kind, $panel) = @{$statement}{qw(kind panel)};
	my $settings = Grafana::settings($dashboard, $panel // {}, $from, $to, %values);
	my ($sql, $filled) = eval { Grafana::expand($statement->{sql}, $settings) };
	my @problems;

	return $@ unless defined $sql;
	my $reach = $sql =~ /mals_errors\(/ ? $to - $from : 0;
	my ($error, $columns, $rows, $strays) = run_statement($database, $sql =~ s/;?\s*$//r, $from - $reach, $to);

	return ("$error$sql") if defined $error;
	my @names = map { $_->[0] } @$columns;
	my @kinds = map { Grafana::column_kind($_->[1]) } @$columns;
	my %seen;

	push @problems, "columns twice: @names" if grep { $seen{$_}++ } @names;
	push @problems, map { "column $_->[0] is $_->[1]" } grep { Grafana::column_kind($_->[1]) eq 'other' } @$columns;
	push @problems, "reads @$strays" if @$strays && $sql !~ $all_time;
	if ($kind eq 'stat')
	{
		push @problems, scalar(@$rows) . ' rows' unless @$rows == 1;
		push @problems, "no numbers: @kinds" if $panel->{options}{reduceOptions}{fields} eq '' && grep { $_ ne 'number' } @kinds;
	}
	elsif ($kind eq 'logs')
	{
		push @problems, "columns: @names[0..3]" unless "@names[0..3]" eq 'time message level id';
		push @problems, "types: @kinds[0..3]" unless "@kinds[0..3]" eq 'time string string string';
	}
	elsif ($kind eq 'annotation')
	{
		push @problems, "columns: @names" unless "@names" eq 'time text tags' && "@kinds" eq 'time string string';
	}
	elsif ($kind eq 'variable')
	{
		push @problems, "columns: @names" unless "@kinds" eq 'string';
	}
	elsif ($kind eq 'timeseries')
	{
		push @problems, "first column is $names[0]" unless $names[0] eq 'time';
		my $numbered = [ map { [ $_->[0] =~ /^(\d+)-(\d+)-(\d+) (\d+):(\d+):([\d.]+)\+00$/ ? POSIX::mktime($6, $5, $4, $3, $2 - 1, $1 - 1900) : $_->[0], @$_[ 1 .. $#$_ ] ] } @$rows ];
		my $series = eval { Grafana::series($columns, $numbered, $settings, $filled) };

		push @problems, $@ unless $series;
		for my $points (values %{ $series // {} })
		{
			push @problems, scalar(@$points) . ' points' if @$points > 2 + ($to - $from) * 1000 / $settings->{step} + 1;
		}
		$statement->{series} = $series;
	}
	if ($kind ne 'timeseries' && $panel)
	{
		for my $override (@{ $panel->{fieldConfig}{overrides} })
		{
			push @problems, "no column $override->{matcher}{options}" unless grep { $_ eq $override->{matcher}{options} } @names;
		}
	}
	$statement->{rows} = [ map { my $row = $_; +{ map { $names[$_] => $row->[$_] } 0 .. $#names } } @$rows ];
	return map { "$_\n$sql" } @problems;
}

# The window of a dashboard.
sub own_window
{
	my ($dashboard) = @_;

	return ($now - Grafana::interval($dashboard->{time}{from} =~ s/^now-//r) / 1000, $now);
}

local $ENV{TZ} = 'UTC';
local $ENV{PGTZ} = 'UTC';
local $ENV{PGDATESTYLE} = 'ISO';
my $hostile = q{o'neil "the" \ *bot};
my $quoted = q{-"nothing 'like' \"this\"" "it's 50%" agent:"o'neil *"};
my $disk = $node->safe_psql('filled', q{SELECT mals_fingerprint('Disk 1 is full')});
my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
my @scenarios = (
	[ 'its own window', sub { own_window($_[0]) } ],
	[ 'a day', sub { ($now - 86400, $now) } ],
	[ 'ten minutes of three days ago', sub { ($now - 3 * 86400, $now - 3 * 86400 + 600) } ],
	[ 'a window without entries', sub { ($now + 86400, $now + 90000) } ],
	[ 'some of everything', sub { own_window($_[0]) }, agent => 'agent-2', state => [ 'new', 'regressed' ], fingerprint => $disk,
		trace => $trace, query => 'level:error "is full"', level => 'warn', field => 'meta.host', limit => '100' ],
	[ 'quotes', sub { own_window($_[0]) }, agent => $hostile, state => [ q{o'neil}, q{"x"} ], trace => qq{' OR "1"=1 -- $hostile}, query => $quoted, field => q{it's "} ]);
for my $uid (sort keys %dashboards)
{
	for my $scenario (@scenarios)
	{
		my ($name, $range, %values) = @$scenario;

		for my $database ('filled', %values || $name =~ /own/ ? 'postgres' : ())
		{
			my @problems;

			for my $statement (Grafana::statements($dashboards{$uid}))
			{
				push @problems, map { "$statement->{name}: $_" } check_statement($database, $dashboards{$uid}, $statement, $range->($dashboards{$uid}), %values);
			}
			is(join("\n", @problems), '', "$uid: $name" . ($database eq 'postgres' ? ', in an empty database' : ''));
		}
	}
}

# What panels show.

# The rows of a panel, by its title; of a time series, the series.
sub panel
{
	my ($uid, $title, %values) = @_;
	my ($statement) = grep { $_->{panel} && $_->{panel}{title} eq $title } Grafana::statements($dashboards{$uid});
	my @problems = check_statement('filled', $dashboards{$uid}, $statement, own_window($dashboards{$uid}), %values);

	die "$uid, $title: @problems" if @problems;
	return $statement->{series} // $statement->{rows};
}

# The one value of a query on the window of a dashboard, which it has as :since and :until.
sub in_window
{
	my ($uid, $query) = @_;
	my ($since, $until) = own_window($dashboards{$uid});

	$query =~ s/:(since|until)/sprintf 'to_timestamp(%s)', $1 eq 'since' ? $since : $until/ge;
	return $node->safe_psql('filled', $query);
}

# The sum of all values of some series.
sub total
{
	my ($series, @names) = @_;
	my $sum = 0;

	$sum += $_->[1] // 0 for map { @{ $series->{$_} // [] } } @names ? @names : keys %$series;
	return $sum;
}

my $entries = in_window('mals-overview', 'SELECT count(*) FROM mals.logs WHERE ts BETWEEN :since AND :until');
my $errors = in_window('mals-overview', q{SELECT count(*) FROM mals.logs WHERE ts BETWEEN :since AND :until AND level >= 'error'});
is(panel('mals-overview', 'Entries')->[0]{entries}, $entries, 'overview: entries');
is(panel('mals-overview', 'Errors')->[0]{errors}, $errors, 'overview: errors');
is(total(panel('mals-overview', 'Entries by level')), $entries, 'overview: entries by level');
is(total(panel('mals-overview', 'Entries by level'), 'error', 'critical'), $errors, 'overview: errors among them');
is(total(panel('mals-overview', 'Errors by agent')), $errors, 'overview: errors by agent');
is_deeply([ sort map { scalar @$_ } values %{ panel('mals-overview', 'Errors by agent') } ]->[0],
	scalar(@{ (values %{ panel('mals-overview', 'Errors by agent') })[0] }), 'overview: without gaps');

my %templates = map { my $title = $_; $title => join ', ', sort map { $_->{message} } @{ panel('mals-errors', $title) } } qw(New Regressed Recurring);
is($templates{New}, 'Disk <*> is full, Login of <*> failed, Queue <*> is stuck, Upstream timeout', 'errors: new ones');
is($templates{Regressed}, 'Login of <*> failed', 'errors: regressed ones');
like($templates{Recurring}, qr/Connection to <\*> refused/, 'errors: recurring ones');
unlike(join(' ', values %templates), qr/Cache storm/, 'errors: ignored ones are not among them');
is(join(', ', map { $_->{message} } @{ panel('mals-errors', 'All kinds', state => ['ignored']) }), 'Cache storm <*>', 'errors: by state');
is(panel('mals-errors', 'In this window')->[0]{errors},
	in_window('mals-errors', q{SELECT count(*) FROM mals.logs WHERE ts >= :since AND ts < :until AND level >= 'error'}), 'errors: all of them');
is(panel('mals-errors', 'In this window', agent => 'agent-2')->[0]{errors},
	in_window('mals-errors', q{SELECT count(*) FROM mals.logs WHERE ts >= :since AND ts < :until AND level >= 'error' AND agent_id = 'agent-2'}), 'errors: of one agent');

# Follows the link of a row's field: returns the dashboard's uid and its variables.
sub follow
{
	my ($uid, $title, $row, $field, $to) = @_;
	my ($panel) = grep { $_->{title} eq $title } @{ $dashboards{$uid}{panels} };
	my ($override) = grep { $_->{matcher}{options} eq $field } @{ $panel->{fieldConfig}{overrides} };
	my ($links) = grep { $_->{id} eq 'links' } @{ $override->{properties} };
	my ($link) = grep { $_->{url} =~ m{^/d/$to\?} } @{ $links->{value} };
	my $url = $link->{url} =~ s/\$\{__value\.raw:percentencode\}/Grafana::percent($row->{$field})/er;
	my %values = map { my ($name, $value) = /var-(\w+)=(.*)/; $value =~ s/%(..)/chr hex $1/ge; utf8::decode($value); $name => $value } grep { /^var-/ } split /[?&]/, $url;

	return ($to, %values);
}

my ($new) = grep { $_->{message} =~ /Disk/ } @{ panel('mals-errors', 'New') };
my ($uid, %values) = follow('mals-errors', 'New', $new, 'fingerprint', 'mals-errors');
is(scalar(@{ panel($uid, 'Its entries', %values) }), 20, 'a click on a kind of error shows its entries');
is(total(panel($uid, 'Its course', %values)), 20, 'and its course');
is(panel($uid, 'The kind', %values)->[0]{message}, 'Disk <*> is full', 'and what it is');
($uid, %values) = follow('mals-errors', 'New', $new, 'fingerprint', 'mals-logs');
is_deeply([ map { $_->{fingerprint} } @{ panel($uid, 'Entries', %values) } ], [ ($new->{fingerprint}) x 10 ], 'another shows them among all logs');

my ($agent) = grep { $_->{agent} eq $hostile } @{ panel('mals-overview', 'Agents, most errors first') };
($uid, %values) = follow('mals-overview', 'Agents, most errors first', $agent, 'agent', 'mals-agent');
is($values{agent}, $hostile, 'a click on an agent shows it, whatever its name');
is(panel($uid, 'Entries', %values)->[0]{entries}, $agent->{entries}, 'its number of entries');
is(total(panel($uid, 'Entries by level', %values)), $agent->{entries}, 'and they by level');
my ($status) = @{ panel($uid, 'Status', agent => 'agent-0') };
is($status->{status}, 'active', 'its status');
cmp_ok(scalar(@{ panel($uid, 'Latest tasks', agent => 'agent-1') }), '>', 10, 'its tasks');
cmp_ok(panel($uid, 'Tasks', agent => 'agent-1')->[0]{completed}, '>', 10, 'how many it completed');
cmp_ok(scalar(@{ panel($uid, 'Latest sessions', agent => 'agent-1') }), '>', 3, 'its sessions');
my %states = map { $_->{agent} => $_->{status} } @{ panel('mals-health', 'Agents') };
is_deeply(\%states, { map { split /\|/ } split /\n/, $node->safe_psql('filled', 'SELECT agent_id, status FROM mals_agents()') }, 'the status of all agents');

my ($one) = grep { $_->{agents} eq 'flights, gateway, planner' } @{ panel('mals-trace', 'Latest traces') };
($uid, %values) = follow('mals-trace', 'Latest traces', $one, 'trace', 'mals-trace');
is(join("\n", map { $_->{message} } @{ panel($uid, 'Tree', %values) }), "POST /trips\n\x{b7} Plan a trip\n\x{b7} \x{b7} Upstream timeout\n\x{b7} 201 Created",
	'a click on a trace shows it as a tree');
is_deeply(panel($uid, 'This trace', %values), [ { entries => 4, agents => 3, warnings => 0, errors => 1, duration => 910 } ], 'and its figures');
is(scalar(@{ panel($uid, 'Entries', %values) }), 4, 'and its entries');

my ($entry) = grep { $_->{agent} eq 'flights' } @{ panel('mals-logs', 'Latest entries', agent => 'flights') };
($uid, %values) = follow('mals-logs', 'Latest entries', $entry, 'trace', 'mals-trace');
is(panel($uid, 'This trace', %values)->[0]{entries}, 4, 'a click on an entry leads to its trace');

is(scalar(@{ panel('mals-logs', 'Entries', limit => '100') }), 100, 'logs: as many entries as asked for');
is(total(panel('mals-logs', 'Entries by level', query => '"it\'s 50% \\\\ off"', agent => 'agent-3')),
	in_window('mals-logs', q{SELECT count(*) FROM mals.logs WHERE ts >= :since AND ts < :until AND message LIKE '%off%' AND agent_id = 'agent-3'}),
	'logs: quotes in a query reach mals as they are');
is(panel('mals-logs', 'What the query means', level => 'warn', agent => $hostile, query => 'a "b"')->[0]{query},
	q{level:warn agent:"o'neil \"the\" \\\\ \*bot" a "b"}, 'logs: level and agent become part of the query');
my ($explain) = grep { $_->{panel} && $_->{panel}{title} eq 'Entries' } Grafana::statements($dashboards{'mals-logs'});
like((check_statement('filled', $dashboards{'mals-logs'}, $explain, own_window($dashboards{'mals-logs'}), query => 'levle:x'))[0],
	qr/^ERROR:  query: unknown key "levle"/, 'logs: what is wrong with a query is shown');

is(panel('mals-health', 'State')->[0]{status}, 'ok', 'health: status');
is(total(panel('mals-health', 'Entries')), $entries, 'health: entries');
is((grep { $_->{name} eq 'tasks_total' } @{ panel('mals-health', 'Metrics') })[0]{value}, 7, 'health: metrics');
$node->stop;

done_testing();
