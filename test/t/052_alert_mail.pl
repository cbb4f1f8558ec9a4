# Alerts by e-mail, with a mail server: the message, parsed; what cannot be
# delivered; STARTTLS and SMTPS, with a certificate that is checked, and never a
# password without them; secrets in the log.

use strict;
use warnings;

use Encode ();
use Mals;
use MIME::Base64 'decode_base64';
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;

plan skip_all => 'no python3-aiosmtpd' unless Receiver::possible('aiosmtpd');

my $receiver = Receiver->new('smtp');
my $node = mals_node('main', q{shared_preload_libraries = 'mals'}, "mals.smtp_url = 'smtp://127.0.0.1:$receiver->{port}'",
	q{mals.smtp_from = 'mals@db.example'}, q{log_statement = none}, q{log_lock_waits = off}, q{mals.webhook_timeout = '5min'});

# Has the server read its configuration file with lines added, and waits until it has.
my $turn = 0;
sub configure
{
	my (@lines) = @_;

	$node->append_conf('postgresql.conf', join("\n", @lines, 'test.turn = ' . ++$turn));
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('test.turn', true) = '$turn'") or die 'not read';
	return;
}

# Sets a setting, by statement; a session that has just begun has the extension's settings.
sub set
{
	my ($name, $value) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $name = '$value'");
	configure();
	return;
}

# Has a test alert sent by mail, and waits for its outcome: '' if it was delivered, else the error.
sub outcome
{
	my ($address) = @_;
	my $id = $node->safe_psql('postgres', qq{SELECT mals_alert_set('mail', 'level:error', channels => '[{"email": "$address"}]'); SELECT mals_alert_test('mail')});

	$id =~ s/\s//g;
	$node->poll_query_until('postgres', "SELECT attempts > 0 FROM mals.alerts WHERE id = '$id'") or die 'no attempt';
	my $error = $node->safe_psql('postgres', "SELECT CASE WHEN delivered_at IS NULL THEN last_error ELSE '' END FROM mals.alerts WHERE id = '$id'");
	$node->safe_psql('postgres', "SELECT mals_alert_drop('mail')");
	return $error;
}

# Header and body of a message; a header that is folded is put together.
sub parse
{
	my ($data) = @_;
	my ($head, $body) = $data =~ /\A(.*?)\r\n\r\n(.*)\z/s or die "no message: $data";
	my %header;

	is($data =~ s/\r\n//gr =~ tr/\r\n//, 0, 'lines end as mail has them');
	is(scalar(grep { length > 78 } split /\r\n/, $data), 0, 'no line is long');
	$head =~ s/\r\n[ \t]+/ /g;
	for (split /\r\n/, $head)
	{
		my ($name, $value) = /^([A-Za-z-]+): *(.*)$/ or die "no header: $_";

		die "twice: $name" if exists $header{$name};
		$header{$name} = $value;
	}
	return (\%header, Encode::decode('UTF-8', decode_base64($body), Encode::FB_CROAK));
}

$node->safe_psql('postgres', q{SELECT mals_alert_set('Größe — проверка', 'level:error', channels => '[{"email": "ops@example.com"}]')});
$node->safe_psql('postgres', q{SELECT mals_log('bot', E'Überlauf: ' || repeat('ж', 200) || E'\nBcc: all@example.com\n.\nQUIT', 'error', metadata => '{"k": "v"}')});
my ($mail) = $receiver->wait_for(1);
is($mail->{from}, 'mals@db.example', 'the sender');
is_deeply($mail->{to}, ['ops@example.com'], 'the recipient, and no other');
my ($header, $body) = parse($mail->{data});
my $id = $node->safe_psql('postgres', q{SELECT id FROM mals.alerts});
is($header->{From}, '<mals@db.example>', 'From');
is($header->{To}, '<ops@example.com>', 'To');
is(Encode::decode('MIME-Header', $header->{Subject}), "[mals] Gr\x{f6}\x{df}e \x{2014} \x{43f}\x{440}\x{43e}\x{432}\x{435}\x{440}\x{43a}\x{430}: \x{dc}berlauf: " . "\x{436}" x 140, 'Subject');
like($header->{Date}, qr/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000$/, 'Date');
is($header->{'Message-ID'}, "<$id-1\@db.example>", 'Message-ID');
is($header->{'Content-Type'}, 'text/plain; charset=UTF-8', 'Content-Type');
ok(!exists $header->{Bcc}, 'nothing of a message becomes a header');
like($body, qr/^Query:    level:error$/m, 'the body has the query');
like($body, qr/^\x{dc}berlauf: \x{436}{200}\nBcc: all\@example.com\n\.\nQUIT$/m, 'the message');
like($body, qr/"k": "v"/, 'and the metadata');
ok($node->poll_query_until('postgres', q{SELECT delivered_at IS NOT NULL FROM mals.alerts}), 'delivered');
$node->safe_psql('postgres', q{SELECT mals_alert_drop(name) FROM mals.alert_rules});

like(outcome('nobody@example.com'), qr/^channel 1 \(email\): .* \(SMTP 550\)$/, 'a recipient that is refused');
set('mals.smtp_url', '');
is(outcome('ops@example.com'), 'channel 1 (email): mals.smtp_url is not set', 'no mail server');
set('mals.smtp_url', "smtp://user:p4ssword-of-mail\@127.0.0.1:$receiver->{port}");
like(outcome('ops@example.com'), qr/^channel 1 \(email\): .*SSL/, 'no password without TLS');

# Servers with TLS, whose certificate the system does not know, and then the server of alerts does.
my $dir = PostgreSQL::Test::Utils::tempdir;
my @certificate = Receiver::certificate('DNS:localhost', 'IP:127.0.0.1');
SKIP:
{
	skip 'no openssl', 9 unless @certificate;
	my $secure = Receiver->new('smtp', @certificate);
	my $at = "127.0.0.1:$secure->{port}";

	set('mals.smtp_url', "smtp://$at");
	like(outcome('ops@example.com'), qr/^channel 1 \(email\): SSL peer certificate/, 'a certificate that nobody vouches for');
	set('mals.webhook_ca_file', $certificate[0]);
	is(outcome('ops@example.com'), '', 'one that is known');
	is(($secure->received)[-1]{tls}, JSON::PP::true(), 'by STARTTLS');
	set('mals.smtp_url', "smtp://user:p4ssword-of-mail\@$at");
	is(outcome('ops@example.com'), '', 'a user');
	is(($secure->received)[-1]{user}, 'user', 'is known');
	set('mals.smtp_url', "smtp://user:p4ssword-of-others\@$at");
	like(outcome('ops@example.com'), qr/^channel 1 \(email\): .*\(SMTP 535\)$/, 'with this password only');
	$secure->stop;

	$secure = Receiver->new('smtps', @certificate);
	set('mals.smtp_url', "smtps://user:p4ssword-of-mail\@127.0.0.1:$secure->{port}");
	is(outcome('ops@example.com'), '', 'TLS from the beginning');
	is_deeply([ @{ ($secure->received)[-1] }{qw(tls user)} ], [ JSON::PP::true(), 'user' ], 'it is, with the user');
	set('mals.webhook_ca_file', '');
	like(outcome('ops@example.com'), qr/^channel 1 \(email\): SSL peer certificate/, 'and the certificate is checked');
	$secure->stop;
}

my ($code, $out, $err) = $node->psql('postgres', q{LOAD 'mals'; ALTER SYSTEM SET mals.smtp_url = 'http://user:p4ssword-refused@mail/'});
like($err, qr/invalid value for parameter "mals.smtp_url"$/m, 'a bad URL is refused');
unlike($err =~ s/^(LINE|STATEMENT).*//mrs, qr/p4ssword/, 'without showing it');
($code, $out, $err) = $node->psql('postgres', q{LOAD 'mals'; ALTER SYSTEM SET mals.smtp_from = E'a@b\r\nBcc: c@d'});
is($code, 3, 'a bad sender is refused');
$node->safe_psql('postgres', q{CREATE ROLE plain});
($code, $out, $err) = $node->psql('postgres', q{SET ROLE plain; SHOW mals.smtp_url});
is($code, 3, 'not everybody can read the URL');
unlike($node->safe_psql('postgres', 'SELECT * FROM mals.alerts'), qr/p4ssword/, 'errors show no password');

# The log of a server whose secrets are set, changed, wrong and removed while it runs, by statement and in the file.
$node->safe_psql('postgres', q{ALTER SYSTEM RESET mals.smtp_url; ALTER SYSTEM SET mals.webhook_secret = 'p4ssword-of-hooks'});
configure(q{mals.smtp_url = 'smtp://user:p4ssword-of-mail@127.0.0.1:1'});
configure(q{mals.smtp_url = 'smtp://user:p4ssword-of-mail-2@127.0.0.1:1'});
is($node->safe_psql('postgres', q{SELECT mals_version() IS NULL; SHOW mals.smtp_url; SHOW mals.webhook_secret;
	SELECT setting, reset_val FROM pg_settings WHERE name IN ('mals.smtp_url', 'mals.webhook_secret')}),
	"f\n********\n********\n********|\n********|", 'settings only tell that there is a secret');
like(outcome('ops@example.com'), qr/^channel 1 \(email\): .*connect/, 'which is used all the same');
configure(q{mals.smtp_url = 'http://user:p4ssword-of-mail@127.0.0.1:1'});
$node->safe_psql('postgres', q{ALTER SYSTEM RESET mals.webhook_secret});
configure(q{mals.smtp_url = ''}, q{mals.smtp_from = 'other@db.example'});
is($node->safe_psql('postgres', q{SELECT mals_version() IS NULL; SHOW mals.smtp_url; SHOW mals.webhook_secret}), "f\n\n", 'no secret');
my $log = slurp_file($node->logfile);
like($log, qr/parameter "mals.smtp_from" changed to "other\@db.example"/, 'the log tells what changes');
like($log, qr/invalid value for parameter "mals.smtp_url"$/m, 'and what is wrong');
unlike($log, qr/p4ssword-of/, 'and no secret');

# A file has the secret instead; what it has at the time is used.
configure(qq{mals.smtp_url = 'file:$dir/url'}, qq{mals.webhook_secret = 'file:$dir/key'});
my $unread = 'the file that mals.smtp_url names';
is(outcome('ops@example.com'), "channel 1 (email): $unread cannot be read, see the server's log", 'no file');
append_to_file("$dir/url", "\n");
is(outcome('ops@example.com'), "channel 1 (email): $unread begins with an empty line", 'one with nothing');
unlink "$dir/url";
append_to_file("$dir/url", "smtp:\n");
is(outcome('ops@example.com'), "channel 1 (email): $unread has no URL of smtp or smtps", 'one that has no URL');
unlink "$dir/url";
append_to_file("$dir/url", "smtp://127.0.0.1:$receiver->{port}\r\nmore\n");
is(outcome('ops@example.com'), '', 'one that has');
is($node->safe_psql('postgres', q{SELECT mals_version() IS NULL; SHOW mals.smtp_url}), "f\n********", 'settings do not tell which');
($code, $out, $err) = $node->psql('postgres', q{LOAD 'mals'; ALTER SYSTEM SET mals.webhook_secret = 'file:key'});
like($err, qr/invalid value for parameter "mals.webhook_secret"$/m, 'a file without its directory is refused');

$node->stop;
$receiver->stop;
done_testing();
