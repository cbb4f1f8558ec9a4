# Grafana.pm
#   Reads Grafana dashboards and does with their SQL what Grafana does before and
#   after it asks PostgreSQL: variables, macros, and frames of time series.
#
# Variables are Grafana's front end (formats such as ${v:sqlstring}), macros its
# data source for PostgreSQL ($__timeFilter and its kin). The order is Grafana's:
# variables first, so that a macro may come out of a variable, and a macro's
# arguments end at the first closing parenthesis.

package Grafana;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();
use POSIX ();

our @EXPORT_OK = qw(load statements settings expand_variables expand_macros expand column_kind series interval);

# Reads a dashboard.
sub load
{
	my ($file) = @_;

	open(my $handle, '<:raw', $file) or die "$file: $!";
	local $/;
	return JSON::PP->new->utf8->decode(<$handle>);
}

# All statements of a dashboard: of panels, also in rows, of variables and of
# annotations. Each is a hash: name, kind (panel type, variable or annotation),
# format, sql, and of a panel the panel.
sub statements
{
	my ($dashboard) = @_;
	my @found;

	for my $variable (grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} })
	{
		push @found, { name => "variable $variable->{name}", kind => 'variable', format => 'table', sql => $variable->{query},
			datasource => $variable->{datasource} };
	}
	for my $annotation (@{ $dashboard->{annotations}{list} })
	{
		push @found, { name => "annotation $annotation->{name}", kind => 'annotation', format => $annotation->{target}{format},
			sql => $annotation->{target}{rawSql}, datasource => $annotation->{target}{datasource} };
	}
	for my $panel (map { ($_, @{ $_->{panels} // [] }) } @{ $dashboard->{panels} })
	{
		for my $target (@{ $panel->{targets} // [] })
		{
			push @found, { name => "panel $panel->{id} ($panel->{title})", kind => $panel->{type}, format => $target->{format},
				sql => $target->{rawSql}, datasource => $target->{datasource}, panel => $panel };
		}
	}
	return @found;
}

# Lengths of $__interval: one is taken for all that is below the first number, in
# milliseconds.
my @steps = (
	[ 10, 1 ], [ 15, 10 ], [ 35, 20 ], [ 75, 50 ], [ 150, 100 ], [ 350, 200 ], [ 750, 500 ], [ 1500, 1000 ],
	[ 3500, 2000 ], [ 7500, 5000 ], [ 12500, 10_000 ], [ 17500, 15_000 ], [ 25_000, 20_000 ], [ 45_000, 30_000 ],
	[ 90_000, 60_000 ], [ 210_000, 120_000 ], [ 450_000, 300_000 ], [ 750_000, 600_000 ], [ 1_050_000, 900_000 ],
	[ 1_500_000, 1_200_000 ], [ 2_700_000, 1_800_000 ], [ 5_400_000, 3_600_000 ], [ 9_000_000, 7_200_000 ],
	[ 16_200_000, 10_800_000 ], [ 32_400_000, 21_600_000 ], [ 86_400_000, 43_200_000 ], [ 604_800_000, 86_400_000 ],
	[ 1_814_400_000, 604_800_000 ], [ 3_628_800_000, 2_592_000_000 ]);
my @units = ([ y => 31_536_000_000 ], [ d => 86_400_000 ], [ h => 3_600_000 ], [ m => 60_000 ], [ s => 1000 ], [ ms => 1 ]);
my %unit = ((map { @$_ } @units), w => 604_800_000, M => 2_592_000_000);

# Milliseconds of an interval such as 30s.
sub interval
{
	my ($text) = @_;

	die "no interval: $text\n" unless $text =~ /^([0-9]+(?:\.[0-9]+)?)(ms|[smhdwMy])$/;
	return $1 * $unit{$2};
}

# What a panel's statements are expanded with: the window (seconds since 1970), the
# length of $__interval, and the values of variables, those given or the dashboard's own.
sub settings
{
	my ($dashboard, $panel, $from, $to, %values) = @_;
	my $least = interval($panel->{interval} // '1s');
	my $wanted = ($to - $from) * 1000 / ($panel->{maxDataPoints} // 1000);
	my ($step) = map { $_->[1] } grep { $wanted < $_->[0] } @steps;
	my %variables;

	for my $variable (@{ $dashboard->{templating}{list} })
	{
		my $name = $variable->{name};
		my $value = exists $values{$name} ? $values{$name} : $variable->{current}{value};
		my $all = $variable->{includeAll} && grep { $_ eq '$__all' } ref $value ? @$value : $value;

		if ($all && !defined $variable->{allValue})
		{
			$value = [ map { $_->{value} } grep { $_->{value} ne '$__all' } @{ $variable->{options} } ];
		}
		$variables{$name} = { name => $name, value => $value, quoted => $variable->{multi} || $variable->{includeAll} };
		$variables{$name}{all_value} = $variable->{allValue} if $all;
	}
	$step = $least if ($step // $unit{y}) < $least;
	$step //= $unit{y};
	return { from => $from, to => $to, step => $step, variables => \%variables };
}

# An interval of milliseconds as Grafana writes it: the largest unit only.
sub interval_text
{
	my ($milliseconds) = @_;
	my ($found) = grep { $milliseconds >= $_->[1] } @units;

	return int($milliseconds / $found->[1]) . $found->[0];
}

# A value in text that goes into single quotes.
sub doubled
{
	my ($text, $double) = @_;

	$text =~ s/'/''/g;
	$text =~ s/"/\\"/g if $double;
	return $text;
}

# A value in a URL.
sub percent
{
	my ($text) = @_;

	utf8::encode($text);
	$text =~ s/([^A-Za-z0-9_.!~*'()-])/sprintf '%%%02X', ord $1/ge;
	return $text;
}

# What each format makes of a value, or of several. sqlstring writes \" for ", which
# PostgreSQL does not take back.
my %formats = (
	raw => sub { join ',', @_ },
	csv => sub { join ',', @_ },
	text => sub { join ' + ', @_ },
	json => sub { @_ == 1 ? $_[0] : JSON::PP->new->canonical->encode([@_]) },
	pipe => sub { join '|', @_ },
	singlequote => sub { join ',', map { s/'/\\'/gr =~ s/^|$/'/gr } @_ },
	doublequote => sub { join ',', map { s/"/\\"/gr =~ s/^|$/"/gr } @_ },
	sqlstring => sub { join ',', map { "'" . doubled($_, 1) . "'" } @_ },
	percentencode => sub { @_ == 1 ? percent($_[0]) : percent('{' . join(',', @_) . '}') });

# One variable in a format; without one, as the data source for SQL wants it.
sub format_variable
{
	my ($variable, $format) = @_;
	my @values = ref $variable->{value} ? @{ $variable->{value} } : ($variable->{value});

	if ($format && $format eq 'queryparam')
	{
		return join '&', map { 'var-' . percent($variable->{name}) . '=' . percent($_) } @values;
	}
	if (defined $variable->{all_value})
	{
		return 'All' if $format && $format eq 'text';
		return percent($variable->{all_value}) if $format && $format eq 'percentencode';
		return $variable->{all_value};
	}
	if (!$format)
	{
		return doubled($values[0]) unless $variable->{quoted} || ref $variable->{value};
		return join ',', map { "'" . doubled($_) . "'" } @values;
	}
	die "unknown format $format of variable $variable->{name}\n" unless $formats{$format};
	return $formats{$format}->(@values);
}

# Puts the values of variables into a statement. A name that is none is left for the
# macros, as Grafana does; as ${name} it is an error here.
sub expand_variables
{
	my ($sql, $settings) = @_;
	my %own = (
		__interval => interval_text($settings->{step}),
		__interval_ms => $settings->{step},
		__from => int($settings->{from} * 1000),
		__to => int($settings->{to} * 1000));
	my $one = sub {
		my ($name, $format, $whole) = @_;
		my $variable = $settings->{variables}{$name};

		return format_variable($variable, $format) if $variable;
		return $own{$name} if exists $own{$name} && !$format;
		die "unknown variable $name\n" if $whole =~ /^\$\{/;
		return $whole;
	};

	$sql =~ s/(\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?::([^}]+))?\})/$one->($2 \/\/ $3 \/\/ $5, $4 \/\/ $6, $1)/ge;
	return $sql;
}

# A time as macros write it.
sub timestamp
{
	my ($seconds) = @_;
	my $micro = sprintf '%.6f', $seconds - POSIX::floor($seconds);
	my $whole = POSIX::strftime('%Y-%m-%dT%H:%M:%S', gmtime(POSIX::floor($seconds)));

	$micro =~ s/^0|\.?0+$//g;
	return "'$whole${micro}Z'";
}

# Seconds as macros write them: no more digits than needed.
sub seconds
{
	my ($text) = @_;

	$text =~ s/^'|'$//g;
	return 0 + sprintf '%.3f', interval($text) / 1000;
}

# One macro; fills in how gaps are to be filled if it says so.
sub macro
{
	my ($name, $settings, $fill, @arguments) = @_;
	my ($from, $to) = @{$settings}{qw(from to)};
	my %plain = (
		__time => sub { qq{$_[0] AS "time"} },
		__timeEpoch => sub { qq{extract(epoch from $_[0]) as "time"} },
		__timeFilter => sub { "$_[0] BETWEEN " . timestamp($from) . ' AND ' . timestamp($to) },
		__timeFrom => sub { timestamp($from) },
		__timeTo => sub { timestamp($to) },
		__unixEpochFilter => sub { sprintf '%s >= %d AND %s <= %d', $_[0], $from, $_[0], $to },
		__unixEpochFrom => sub { int $from },
		__unixEpochTo => sub { int $to },
		__unixEpochNanoFilter => sub { sprintf '%s >= %d AND %s <= %d', $_[0], $from * 1e9, $_[0], $to * 1e9 },
		__unixEpochNanoFrom => sub { sprintf '%d', $from * 1e9 },
		__unixEpochNanoTo => sub { sprintf '%d', $to * 1e9 });
	my %needs = map { $_ => 1 } qw(__time __timeEpoch __timeFilter __unixEpochFilter __unixEpochNanoFilter);

	if ($plain{$name})
	{
		die "missing time column argument for macro $name\n" if $needs{$name} && !length($arguments[0] // '');
		return $plain{$name}->(@arguments);
	}
	die "unknown macro $name\n" unless $name =~ /^__(time|unixEpoch)Group(Alias)?$/;
	my ($kind, $alias) = ($1, $2 ? ' AS "time"' : '');
	die "macro $name needs time column and interval and optional fill value\n" if @arguments < 2;
	my $length = seconds($arguments[1]);
	if (@arguments == 3)
	{
		die "error parsing fill value $arguments[2]\n" unless $arguments[2] =~ /^(NULL|previous|-?[0-9.]+)$/;
		$fill->{seconds} = $length;
		$fill->{mode} = $arguments[2];
	}
	return ($kind eq 'time' ? "floor(extract(epoch from $arguments[0])/$length)*$length" : "floor(($arguments[0])/$length)*$length") . $alias;
}

# Expands the macros of a statement; returns it and how to fill gaps (or undef).
sub expand_macros
{
	my ($sql, $settings) = @_;
	my %fill;
	my $one = sub {
		my ($name, $arguments, $next) = @_;

		# before a comma, $__timeGroup names its column
		$name = '__timeGroupAlias' if $name eq '__timeGroup' && $next eq ',';
		return macro($name, $settings, \%fill, map { s/^ +| +$//gr } split /,/, $arguments, -1);
	};

	$sql =~ s/\$([_a-zA-Z0-9]+)\(([^)]*)\)(?=(.?))/$one->($1, $2, $3)/ges;
	return ($sql, %fill ? \%fill : undef);
}

# A statement as PostgreSQL gets it, and how to fill gaps.
sub expand
{
	my ($sql, $settings) = @_;

	return expand_macros(expand_variables($sql, $settings), $settings);
}

# What Grafana takes a column of a type for: time, number, string, boolean or json; or
# other, for what it does not know and may break on.
sub column_kind
{
	my ($type) = @_;

	return 'time' if $type =~ /^(timestamp|date$)/;
	return 'number' if $type =~ /^(smallint|integer|bigint|real|double precision|numeric)/;
	return 'string' if $type =~ /^(text|character|name$)/ && $type !~ /\[\]$/;
	return $type if $type eq 'boolean';
	return 'json' if $type =~ /^jsonb?$/;
	return 'other';
}

# The series of a result of format time_series: columns ([name, type]) and rows (arrays
# of texts, times in seconds since 1970), with gaps filled. Returns a hash of series,
# each an array of [time, value]. Dies of what Grafana refuses.
sub series
{
	my ($columns, $rows, $settings, $fill) = @_;
	my ($time) = grep { $columns->[$_][0] eq 'time' } 0 .. $#$columns;
	my (@labels, @values, %series, $last);

	die "no column \"time\"\n" unless defined $time;
	for my $i (grep { $_ != $time } 0 .. $#$columns)
	{
		my $kind = column_kind($columns->[$i][1]);

		push @labels, $i if $kind eq 'string';
		push @values, $i if $kind eq 'number';
		die "column $columns->[$i][0] is $columns->[$i][1]\n" unless $kind eq 'string' || $kind eq 'number';
	}
	die "no column of numbers\n" unless @values;
	for my $row (@$rows)
	{
		my $at = $row->[$time];

		die "a time is NULL\n" unless length $at;
		die "times are not in order\n" if defined $last && $at < $last;
		$last = $at;
		for my $i (@values)
		{
			# one label named metric, and one value, is the name of the series
			my $name = join ' ', ((@labels == 1 && @values == 1 && $columns->[ $labels[0] ][0] eq 'metric') ? () : $columns->[$i][0]),
			  map { $row->[$_] } @labels;

			die "series $name has two values at $at\n" if @{ $series{$name} // [] } && $series{$name}[-1][0] == $at;
			push @{ $series{$name} }, [ $at, $row->[$i] ];
		}
	}
	if ($fill)
	{
		my $begin = POSIX::floor($settings->{from} / $fill->{seconds}) * $fill->{seconds};

		for my $name (keys %series)
		{
			my %at = map { $_->[0] => $_->[1] } @{ $series{$name} };
			my (@filled, $value);

			for (my $t = $begin; $t <= $settings->{to}; $t += $fill->{seconds})
			{
				my $gap = $fill->{mode} eq 'NULL' ? undef : $fill->{mode} eq 'previous' ? $value : $fill->{mode};

				$value = exists $at{$t} ? $at{$t} : $gap;
				push @filled, [ $t, $value ];
			}
			$series{$name} = \@filled;
		}
	}
	return \%series;
}

1;
