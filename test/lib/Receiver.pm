# Receiver.pm
#   Receivers of alerts: a web server or a mail server of test/lib/receiver.py.

package Receiver;

use strict;
use warnings;

use Cwd 'abs_path';
use File::Basename 'dirname';
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 'decode_base64';
use PostgreSQL::Test::Utils;

my $script = dirname(abs_path(__FILE__)) . '/receiver.py';

# Tells whether python3 has the modules named.
sub possible
{
	my (@modules) = @_;
	my ($out, $err);

	return IPC::Run::run([ 'python3', '-c', 'import ' . join(', ', 'http.server', @modules) ], '>', \$out, '2>', \$err);
}

# Makes a certificate for names, such as DNS:localhost, and its key; nothing where there is no openssl.
sub certificate
{
	my (@names) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;

	return unless IPC::Run::run([ qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext), 'subjectAltName=' . join(',', @names),
			'-keyout', "$dir/key", '-out', "$dir/certificate" ], '>&', '/dev/null');
	return ("$dir/certificate", "$dir/key");
}

# Starts a receiver: "http", "smtp", or "https", "smtps" with a certificate and its key; "smtp" may have them, too.
sub new
{
	my ($class, $kind, @certificate) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $self = bless { dir => $dir, kind => $kind }, $class;

	$self->{handle} = IPC::Run::start([ 'python3', $script, $kind, $dir, @certificate ],
		'<', \undef, '>', "$dir/out", '2>', "$dir/err");
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if -e "$dir/port";
		select undef, undef, undef, 0.1;
	}
	-e "$dir/port" or die "no receiver: " . slurp_file("$dir/err");
	$self->{port} = slurp_file("$dir/port");
	return $self;
}

# Gives the URL of a path; by another name of the host if given.
sub url
{
	my ($self, $path, $host) = @_;

	$host //= '127.0.0.1';
	return "$self->{kind}://$host:$self->{port}/$path";
}

# Gives what was received (for a path), oldest first, with bodies decoded.
sub received
{
	my ($self, $path) = @_;
	my @all;

	return () unless -e "$self->{dir}/received";
	# a line that is being written has no end yet
	for (slurp_file("$self->{dir}/received") =~ /^(.*)\n/mg)
	{
		my $one = JSON::PP::decode_json($_);

		$one->{$_} = decode_base64($one->{$_}) for grep { exists $one->{$_} } qw(body data);
		push @all, $one if !defined $path || $one->{path} eq "/$path";
	}
	return @all;
}

# Waits until so many were received (for a path); returns them.
sub wait_for
{
	my ($self, $count, $path) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my @all = $self->received($path);

		return @all if @all >= $count;
		select undef, undef, undef, 0.1;
	}
	die "timed out waiting for $count at " . ($path // 'the receiver');
}

# Ends it.
sub stop
{
	my ($self) = @_;

	$self->{handle}->kill_kill;
	return;
}

1;
