# examples/tail.sh: the last entries, then what is committed, in colours if wanted;
# it goes on after lost connections and a restart, with every entry once.

use strict;
use warnings;

use IPC::Run qw(start timer);
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('script', "shared_preload_libraries = 'mals'", 'max_connections = 30', "timezone = 'UTC'");
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
my $script = "$ENV{TESTDIR}/examples/tail.sh";
my $dir = PostgreSQL::Test::Utils::tempdir();
$ENV{TMPDIR} = $dir;

sub log_one
{
	my ($message, $level) = @_;

	$node->safe_psql('postgres', "SELECT mals_log('bot', '$message', '" . ($level // 'info') . "')");
	return;
}

# Starts the script, with its output in a file; a shell of its own, so that it can be ended as a whole.
sub follow
{
	my ($name, @arguments) = @_;

	return start([ 'sh', $script, @arguments ], '<', \undef, '>', "$dir/$name", '2>', "$dir/$name.err");
}

# Waits until a file has a text.
sub wait_for
{
	my ($name, $pattern) = @_;

	for (1 .. 1800)
	{
		return 1 if -e "$dir/$name" && slurp_file("$dir/$name") =~ $pattern;
		select undef, undef, undef, 0.1;
	}
	diag(slurp_file("$dir/$name"), slurp_file("$dir/$name.err"));
	return 0;
}

log_one("old $_") for 1 .. 5;
my $plain = follow('plain', '-n', '3', '-i', '0.2');
my $errors = follow('errors', '-n', '0', '-c', 'always', '-i', '0.2', 'level:error -word');
ok(wait_for('plain', qr/old 5/), 'the last entries come first');
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE query LIKE '%mals_tail(%' AND state = 'active' AND wait_event_type = 'Extension'})
	or die 'tails do not wait';
log_one("it''s \"new\" \\ :x `y` %s", 'error');
log_one("two\nlines", 'critical');
log_one('a word', 'error');
log_one("new $_") for 1 .. 3;
ok(wait_for('plain', qr/new 3/), 'then what is committed');
ok(wait_for('errors', qr/lines/), 'or what of it matches');

# Connections are lost, and the server for a while
my $lose = q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%mals_tail(%' AND pid <> pg_backend_pid()};
$node->safe_psql('postgres', $lose);
log_one('while away');
ok(wait_for('plain', qr/while away/), 'it goes on after a lost connection');
$node->restart;
log_one('after a restart', 'error');
ok(wait_for($_, qr/after a restart/), "$_: and after a restart") for 'plain', 'errors';
$node->stop;
ok(wait_for('plain.err', qr/no connection.*no connection.*no connection/s), 'it says that it tries again');
$node->start;
log_one('at last', 'critical');
ok(wait_for($_, qr/at last/), "$_: and goes on") for 'plain', 'errors';

my @lines = map { s/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} //r } split /\n/, slurp_file("$dir/plain");
is(join("\n", @lines), join("\n", (map { "info     bot  old $_" } 3 .. 5), q{error    bot  it's "new" \ :x `y` %s}, 'critical bot  two', '  lines', 'error    bot  a word',
	(map { "info     bot  new $_" } 1 .. 3), 'info     bot  while away', 'error    bot  after a restart', 'critical bot  at last'),
	'each entry once, as it is, further lines indented');
like(slurp_file("$dir/errors"), qr/^\e\[31m[^\e]*it's[^\e]*\e\[0m\n\e\[1;97;41m[^\e]*two\n  lines\e\[0m\n\e\[31m[^\e]*restart\e\[0m\n\e\[1;97;41m[^\e]*at last\e\[0m\n$/, 'levels have colours');

# It ends before the call it is in, which takes 30 s, and by what is wrong
for my $run ($plain, $errors)
{
	my $began = time;

	$run->signal('TERM');
	$run->finish;
	cmp_ok(time - $began, '<', 20, 'it ends at once when it is told to');
}
is(join(' ', glob("$dir/tmp.*")), '', 'and leaves no file behind');
command_fails_like([ 'sh', $script, 'level:loud' ], qr/invalid level/, 'a query that does not parse ends it');
command_fails_like([ 'sh', $script, '-c', 'blue' ], qr/tail\.sh \[-n/, 'and a wrong option');
$node->stop;
command_fails_like([ 'sh', $script ], qr/connection to server/, 'and no server to begin with');
done_testing();
