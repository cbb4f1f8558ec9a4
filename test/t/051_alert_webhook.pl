# Webhooks, with a web server that answers well, badly, slowly, never, with a
# redirect, and not to the end: what is sent, what is tried again and how, that one
# receiver holds up nobody, hosts that are not allowed, secrets that show nowhere,
# and delivery across crashes.

use strict;
use warnings;

use Digest::SHA 'hmac_sha256_hex';
use JSON::PP ();
use Mals;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;

plan skip_all => 'no python3' unless Receiver::possible();

my $receiver = Receiver->new('http');
my $node = mals_node('main', q{shared_preload_libraries = 'mals'}, q{synchronous_commit = on}, q{mals.webhook_secret = 'K3Y-of-signatures'},
	q{mals.webhook_timeout = '5min'}, q{log_statement = none}, q{log_lock_waits = off});

# Makes a rule whose name is a path of the receiver's.
sub rule
{
	my ($path, %more) = @_;
	my $channel = JSON::PP->new->canonical->encode({ webhook => $receiver->url($path), %more });

	$node->safe_psql('postgres', "SELECT mals_alert_set('$path', 'meta.path:$path', cooldown => '0', channels => '[$channel]')");
	return;
}

# Has an alert fired for paths.
sub fire
{
	$node->safe_psql('postgres', "SELECT mals_log('bot', 'hook for $_ — ж', 'error', 'cat', jsonb_build_object('path', '$_'), 'session-1')") for @_;
	return;
}

# Sets a setting and waits until it is read; a session has the extension's settings once it has called it.
sub set
{
	my ($name, $value) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $name = '$value'; SELECT pg_reload_conf()");
	$node->poll_query_until('postgres', "SELECT current_setting('$name') = '$value' FROM mals_version()") or die "$name is not set";
	return;
}

# Waits until a condition holds for the alerts of a rule.
sub alert_has
{
	my ($rule, $condition, $name) = @_;

	ok($node->poll_query_until('postgres', "SELECT COALESCE(bool_and($condition), false) FROM mals.alerts WHERE rule = '$rule'"), $name)
	  or diag($node->safe_psql('postgres', 'SELECT * FROM mals.alerts'));
	return;
}

# What is sent.
rule('ok', headers => { 'X-Token' => 't0ken-in-header', Authorization => 'Bearer b3arer-token' });
fire('ok');
my ($request) = $receiver->wait_for(1, 'ok');
my $body = JSON::PP::decode_json($request->{body});
alert_has('ok', 'delivered_at IS NOT NULL AND attempts = 1 AND last_error IS NULL', 'a webhook is delivered');
is($request->{headers}{'Content-Type'}, 'application/json', 'JSON is sent');
is($request->{headers}{'X-Token'}, 't0ken-in-header', 'with the headers of the channel');
is($request->{headers}{'X-Mals-Signature'}, 'sha256=' . hmac_sha256_hex($request->{body}, 'K3Y-of-signatures'), 'and signed');
is($request->{headers}{'Idempotency-Key'}, "$body->{id}-1", 'with a key');
is_deeply([ @$body{qw(rule state count database agent_id query threshold)} ], [ 'ok', 'threshold', 1, 'postgres', 'bot', 'meta.path:ok', 1 ], 'the body says what fired');
is_deeply([ @{ $body->{entry} }{qw(level message category session_key metadata)} ],
	[ 'error', "hook for ok \x{2014} \x{436}", 'cat', 'session-1', { path => 'ok' } ], 'and has the entry');
sql_is($node, qq{SELECT rule, state FROM mals.alerts WHERE id = '$body->{id}' AND fingerprint = $body->{fingerprint}
	AND sample_id = '$body->{entry}{id}' AND fired_at = '$body->{fired_at}'}, 'ok|threshold', 'the same as mals.alerts');

# What fails is tried again, later and later, with the same key; a redirect is not followed.
my @bad = ('after/3/204', 'status/500', 'redirect', 'close', 'slow/1');
rule($_) for @bad;
fire(@bad);
my @tries = $receiver->wait_for(4, 'after/3/204');
alert_has('after/3/204', q{delivered_at IS NOT NULL AND attempts = 4 AND last_error = 'channel 1 (webhook): HTTP 503'}, 'the fourth attempt succeeds');
is(scalar(keys %{ { map { $_->{headers}{'Idempotency-Key'} => 1 } @tries } }), 1, 'all had the same key');
cmp_ok($tries[3]{time} - $tries[2]{time}, '>', 1.9, 'the pauses grow');
alert_has('status/500', q{attempts > 1 AND delivered_at IS NULL AND last_error = 'channel 1 (webhook): HTTP 500'}, 'errors are kept');
alert_has('redirect', q{attempts > 1 AND delivered_at IS NULL AND last_error ~ 'HTTP 302, redirects are not followed'}, 'also that it is a redirect');
alert_has('close', q{attempts > 1 AND delivered_at IS NULL AND last_error IS NOT NULL}, 'also that the answer broke off');
alert_has('slow/1', q{delivered_at IS NOT NULL AND attempts = 1}, 'a slow answer is one');
# only now: on a slow machine others might not answer in time either
set('mals.webhook_timeout', '1s');
rule('never');
fire('never');
alert_has('never', q{attempts > 0 AND delivered_at IS NULL AND last_error ~ 'Timeout'}, 'also that there was none');
is(scalar($receiver->received('ok')), 1, 'nothing came by the redirect');

# While those hang, others are evaluated and delivered; and the server stops at once.
$node->safe_psql('postgres', "SELECT mals_alert_drop(name) FROM mals.alert_rules WHERE name <> 'ok'");
set('mals.webhook_timeout', '10min');
my $hanging = $receiver->received('never');
rule('never');
fire('never');
$receiver->wait_for($hanging + 1, 'never');
fire('ok');
$receiver->wait_for(2, 'ok');
pass('a receiver that does not answer holds up no other');
# between two of those in which it looks for what is due
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'mals job' AND query = 'deliver' AND xact_start IS NULL}),
	'no transaction is open while it waits');
my $started = time;
$node->stop('fast');
cmp_ok(time - $started, '<', 60, 'nor the shutdown');
$node->start;

# A database without an encoding: what is no UTF-8 does not keep an alert back.
$node->safe_psql('postgres', q{CREATE DATABASE ascii ENCODING SQL_ASCII TEMPLATE template0});
my $ascii = $receiver->url('ascii');
$node->safe_psql('ascii', qq{CREATE EXTENSION mals; SELECT mals_alert_set('ascii', '', channels => '[{"webhook": "$ascii"}]');
	SELECT mals_log('bot', E'caf\\xe9 na\\xc3\\xafve')});
my ($foreign) = $receiver->wait_for(1, 'ascii');
is(JSON::PP::decode_json($foreign->{body})->{entry}{message}, "caf? na\x{ef}ve", 'bytes that are no UTF-8 are replaced');
$node->safe_psql('postgres', q{DROP DATABASE ascii});

# Given up after a while, with the error.
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET mals.alert_give_up = '1 s'});
$node->safe_psql('postgres', q{SELECT mals_alert_drop('never')});
rule('status/404');
fire('status/404');
alert_has('status/404', q{delivered_at IS NULL AND last_error = 'channel 1 (webhook): HTTP 404; given up'}, 'a delivery is given up, and its error kept');
sql_is($node, q{SELECT count(*), max(due_at) IS NULL FROM mals._alert_deliveries d JOIN mals.alerts a ON a.id = d.alert WHERE rule = 'status/404'}, '1|t', 'and is due no more');
$node->safe_psql('postgres', q{ALTER DATABASE postgres RESET mals.alert_give_up});

# Over TLS: to a host that the certificate is for, if somebody vouches for it.
my @certificate = Receiver::certificate('DNS:localhost');
SKIP:
{
	skip 'no openssl', 5 unless @certificate;
	my $secure = Receiver->new('https', @certificate);
	my $condition = q{last_error ~ 'SSL peer certificate'};

	my %urls = (number => $secure->url('ok'), name => $secure->url('ok', 'localhost'));

	$node->safe_psql('postgres', qq{SELECT mals_alert_set('$_', '', channels => '[{"webhook": "$urls{$_}"}]'); SELECT mals_alert_test('$_')}) for keys %urls;
	alert_has($_, $condition, "$_: a certificate that nobody vouches for") for keys %urls;
	$node->safe_psql('postgres', qq{ALTER SYSTEM SET mals.webhook_ca_file = '$certificate[0]'; SELECT pg_reload_conf()});
	alert_has('name', 'delivered_at IS NOT NULL', 'one that is vouched for');
	my $tries = $node->safe_psql('postgres', q{SELECT attempts FROM mals.alerts WHERE rule = 'number'});
	alert_has('number', "$condition AND attempts > $tries + 1", 'but not for another host');
	is(scalar($secure->received), 1, 'which got nothing');
	$node->safe_psql('postgres', q{SELECT mals_alert_drop(name) FROM unnest('{number,name}'::text[]) name; ALTER SYSTEM RESET mals.webhook_ca_file; SELECT pg_reload_conf()});
	$secure->stop;
}

# Hosts: private and link-local addresses are refused however they are written, others can be listed.
my ($code, $out, $err);
for my $host (qw(10.0.0.1 192.168.1.1 172.31.255.255 169.254.169.254 0.0.0.0 100.64.0.1 [fe80::1] [fd00::1] [::ffff:10.0.0.1] [::] 2886794753 0x0a000001))
{
	$node->safe_psql('postgres', qq{SELECT mals_alert_set('private $host', '', channels => '[{"webhook": "http://$host:1/"}]'); SELECT mals_alert_test('private $host')});
	alert_has("private $host", q{last_error = 'channel 1 (webhook): mals.webhook_allow does not allow the address'}, "$host is refused");
	$node->safe_psql('postgres', qq{SELECT mals_alert_drop('private $host')});
}
set('mals.webhook_allow', 'public, *.corp.example, 127.0.0.*');
fire('ok');
$receiver->wait_for(3, 'ok');
pass('a host that is listed is allowed');
$node->safe_psql('postgres', qq{SELECT mals_alert_set('local', '', channels => '[{"webhook": "http://localhost:$receiver->{port}/ok"}]'); SELECT mals_alert_test('local')});
alert_has('local', q{last_error = 'channel 1 (webhook): mals.webhook_allow does not allow the address'}, 'one that is not listed is not, if its address is none that is');
$node->safe_psql('postgres', q{SELECT mals_alert_drop('local')});
set('mals.webhook_allow', 'hooks.example.com');
($code, $out, $err) = $node->psql('postgres', qq{SELECT mals_alert_set('other', '', channels => '[{"webhook": "http://other.example.com/s3cret-path"}]')});
like($err, qr/mals.webhook_allow does not allow the host/, 'a host that is not listed cannot be set');
fire('ok');
ok($node->poll_query_until('postgres', q{SELECT bool_or(last_error = 'channel 1 (webhook): mals.webhook_allow does not allow the host') FROM mals.alerts WHERE rule = 'ok'}), 'nor is it sent to');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET mals.webhook_allow; SELECT pg_reload_conf()});
alert_has('ok', 'delivered_at IS NOT NULL', 'until it is allowed again');

# At least once: the process that delivers is killed between sending and writing that down.
rule('silent/1');
fire('silent/1');
$receiver->wait_for(1, 'silent/1');
$node->stop('immediate');
$node->start;
my @twice = $receiver->wait_for(2, 'silent/1');
alert_has('silent/1', 'delivered_at IS NOT NULL', 'a delivery that a crash interrupted is done');
is($twice[-1]{headers}{'Idempotency-Key'}, $twice[0]{headers}{'Idempotency-Key'}, 'with the same key');
fire(('ok') x 20);
$node->stop('immediate');
$node->start;
ok($node->poll_query_until('postgres', q{SELECT sum(count) = (SELECT count(*) FROM mals.logs WHERE metadata->>'path' = 'ok') AND bool_and(delivered_at IS NOT NULL)
	FROM mals.alerts WHERE rule = 'ok'}), 'nothing is lost by a crash');
my %keys = map { $_->{headers}{'Idempotency-Key'} => 1 } $receiver->received('ok');
sql_is($node, q{SELECT count(*) FROM mals.alerts WHERE rule = 'ok'}, scalar(keys %keys), 'each alert arrived');

# Secrets: in errors, in the log, in what is kept of failures.
for my $channels ('[{"webhook": "http://h/s3cret-path", "x": 1}]', '[{"webhook": "ftp://u:s3cret-path@h/"}]',
	'[{"webhook": "http://h/", "headers": {"a": "s3cret-path\n"}}]', '[{"webhook": "http://h/s3cret-path"}, 1]')
{
	($code, $out, $err) = $node->psql('postgres', qq{SELECT mals_alert_set('x', '', channels => '$channels')});
	is($code, 3, 'bad channels are refused');
	unlike($err =~ s/^LINE.*//mrs, qr/s3cret-path/, 'the error does not show them');
}
($code, $out, $err) = $node->psql('postgres', q{SELECT mals_alert_set('x', 'level:loud', channels => '[{"webhook": "http://h/s3cret-path"}]')});
is($code, 3, 'a bad query is refused');
rule('status/500', headers => { 'X-Token' => 's3cret-path' });
fire('status/500');
ok($node->poll_query_until('postgres', q{SELECT bool_or(attempts > 1) FROM mals.alerts WHERE rule = 'status/500' AND last_error LIKE '%500'}), 'another failure');
$node->append_conf('postgresql.conf', qq{mals.webhook_secret = 'file:$receiver->{dir}/key'});
append_to_file("$receiver->{dir}/key", "K3Y-of-signatures in a file");
$node->restart;
my $sent = () = $receiver->received('ok');
fire('ok');
my $signed = ($receiver->wait_for($sent + 1, 'ok'))[-1];
is($signed->{headers}{'X-Mals-Signature'}, 'sha256=' . hmac_sha256_hex($signed->{body}, 'K3Y-of-signatures in a file'), 'a key in a file');
my $log = slurp_file($node->logfile);
unlike($log, qr/s3cret-path|t0ken-in-header|b3arer-token|K3Y-of-signatures/, 'the log shows no secret');
unlike($node->safe_psql('postgres', 'SELECT * FROM mals.alerts; SELECT * FROM mals._jobs'), qr/s3cret-path|127\.0\.0\.1|token/, 'nor does what is kept of failures');

$node->stop;
$receiver->stop;
done_testing();
