# The library is hardened as the server's own program is: compiled and linked with
# the distribution's flags. And it shows other libraries no names but its own.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $bindir = `pg_config --bindir`);
chomp(my $pkglibdir = `pg_config --pkglibdir`);
my $server = "$bindir/postgres";
my $library = "$ENV{TESTDIR}/tmp_stage$pkglibdir/mals.so";

# Runs readelf on a file.
sub readelf
{
	my ($file, @options) = @_;
	my ($out, $err) = run_command([ 'readelf', '-W', @options, $file ]);

	die "readelf $file: $err" if $out eq '';
	return $out;
}

# What a file has of each protection; what it lacks is ''.
sub protections
{
	my ($file) = @_;
	my ($segments, $dynamic, $symbols, $notes) = map { readelf($file, $_) } qw(-l -d --dyn-syms -n);
	my ($features) = $notes =~ /x86 feature: (.*)/;

	return {
		'stack that cannot be executed' => $segments =~ /GNU_STACK .* RW +0x/ ? 1 : '',
		'relocations that are read-only' => $segments =~ /GNU_RELRO/ ? 1 : '',
		'symbols bound at load' => $dynamic =~ /BIND_NOW|\bNOW\b/ ? 1 : '',
		'stack protector' => $symbols =~ /__stack_chk_fail/ ? 1 : '',
		'FORTIFY_SOURCE' => $symbols =~ /UND __\w+_chk\b/ ? 1 : '',
		'control flow protection' => $features // '' };
}

my ($expected, $got) = map { protections($_) } $server, $library;
cmp_ok(scalar(grep { $_ } values %$expected), '>=', 3, 'the server is hardened');
is($got->{$_}, $expected->{$_}, $_) for sort grep { $expected->{$_} } keys %$expected;

my $dynamic = readelf($library, '-d');
unlike($dynamic, qr/TEXTREL/, 'no code is relocated');
unlike($dynamic, qr/RPATH|RUNPATH/, 'libraries are those of the system');
my @exported = map { /(?:GLOBAL|WEAK)\s+DEFAULT\s+(?!UND)\S+\s+(\S+)$/ ? $1 : () } split /\n/, readelf($library, '--dyn-syms');
cmp_ok(scalar(grep { /^mals_/ } @exported), '>', 100, 'functions are exported');
is_deeply([ grep { !/^(mals_|pg_finfo_mals_|_PG_init$|Pg_magic_func$)/ } @exported ], [], 'under no other names');

done_testing();
