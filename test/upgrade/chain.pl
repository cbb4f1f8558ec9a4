# pg_upgrade from each version to the next, and from the first to the last, keeps
# every entry and everything beside it; after each step logging, searching and the
# background worker go on. The versions are arguments, the oldest first.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @versions = @ARGV;

# Makes a server of a version.
sub server
{
	my ($version) = @_;
	my $node = PostgreSQL::Test::Cluster->new("server_$version" . int(rand(1e6)), install_path => "/usr/lib/postgresql/$version");

	$node->init(extra => [ '-k', '--locale=C', '--encoding=UTF8' ]);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'mals'\nmals.retention = '100 years'\n");
	return $node;
}

# What must be the same on both sides.
my %state = (
	entries => q{SELECT count(*), md5(string_agg(e::text, E'\n' ORDER BY id)) FROM mals.entries e},
	logs => q{SELECT count(*) FILTER (WHERE resolved), md5(string_agg(l::text, E'\n' ORDER BY id)) FROM mals.logs l},
	templates => q{SELECT string_agg(t::text, E'\n' ORDER BY fingerprint) FROM mals.templates t},
	resolutions => q{SELECT string_agg(r::text, E'\n' ORDER BY entry_id) FROM mals.resolutions r},
	status => q{SELECT string_agg(s::text, E'\n' ORDER BY fingerprint) FROM mals.error_status s},
	errors => q{SELECT string_agg(e::text, E'\n' ORDER BY fingerprint) FROM mals_errors(since => '2020-01-01', until => '2200-01-01') e},
	bindings => q{SELECT string_agg(b::text, E'\n' ORDER BY role) FROM mals.agent_bindings b},
	audit => q{SELECT count(*), md5(string_agg(a::text, E'\n' ORDER BY at)) FROM mals.audit a},
	rules => q{SELECT string_agg(r::text || mals_redact('x C-12'), E'\n') FROM mals.redact_rules r},
	metrics => q{SELECT string_agg(m, E'\n') FROM mals_metrics() m WHERE m !~ 'mals_(bytes|job|partitions|ring|workers)'},
	policies_of_retention => q{SELECT string_agg(r::text, E'\n' ORDER BY r::text) FROM mals.retention_policies r},
	alert_rules => q{SELECT string_agg(r::text, E'\n' ORDER BY name) FROM mals._alert_rules r},
	agents => q{SELECT string_agg(a::text, E'\n' ORDER BY agent_id) FROM mals.agents a},
	alerts => q{SELECT string_agg(a::text, E'\n' ORDER BY fired_at) FROM mals.alerts a},
	dead_letters => q{SELECT string_agg(d::text, E'\n') FROM mals.dead_letters d},
	settings => q{SELECT string_agg(unnest, ' ' ORDER BY unnest) FROM pg_db_role_setting, unnest(setconfig) WHERE unnest LIKE 'mals.%'},
	partitions => q{SELECT string_agg(c.relname || pg_get_expr(relpartbound, c.oid), E'\n' ORDER BY relname)
		FROM pg_class c WHERE relispartition AND relkind = 'r' AND relname ~ '^entries_202[13]'},
	indexes => q{SELECT string_agg(indexdef, E'\n' ORDER BY indexdef) FROM pg_indexes WHERE schemaname = 'mals' AND tablename !~ '^entries_' OR tablename ~ '^entries_202[13]'},
	grants => q{SELECT string_agg(relname || a.grantee::regrole || a.privilege_type, E'\n' ORDER BY relname, a.grantee, a.privilege_type)
		FROM pg_class, aclexplode(relacl) a
		WHERE a.grantee <> relowner AND relnamespace = 'mals'::regnamespace AND NOT relispartition AND relkind IN ('r', 'p', 'v')},
	triggers => q{SELECT string_agg(tgrelid::regclass || ' ' || tgname || tgenabled::text, E'\n' ORDER BY tgrelid::regclass::text, tgname)
		FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'mals'::regnamespace) AND NOT tgisinternal},
	policies => q{SELECT count(*), md5(string_agg(polrelid::regclass || polname, E'\n' ORDER BY polrelid::regclass::text, polname)) FROM pg_policy},
	bound => q{SET ROLE bot; SELECT count(*), md5(string_agg(id::text, '' ORDER BY id)) FROM mals.logs},
	reader => q{SET ROLE watcher; SELECT mals_count(), mals_count('level:error')});

# The state that must stay, as psql prints it.
sub state
{
	my ($node) = @_;

	return { map { $_ => $node->safe_psql('postgres', $state{$_}) } keys %state };
}

# Waits until the worker has nothing left to do.
sub settle
{
	my ($node) = @_;

	ok($node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'mals worker')
		AND NOT EXISTS (SELECT FROM mals._sights) AND NOT EXISTS (SELECT FROM mals._samples WHERE kind <> 'gauge')}), 'the worker has done its work')
	  or diag(slurp_file($node->logfile));
	return;
}

# Fills a server of the oldest version.
sub fill
{
	my ($node) = @_;

	$node->safe_psql('postgres', q{
		CREATE EXTENSION mals;
		CREATE ROLE bot; CREATE ROLE watcher; CREATE ROLE boss;
		SELECT mals_grant('bot', 'writer'), mals_grant('bot', 'reader'), mals_grant('watcher', 'reader'), mals_grant('boss', 'admin');
		SELECT mals_bind_agent('bot', 'bot-*');
		ALTER DATABASE postgres SET mals.partition_interval = '1 day';
		ALTER ROLE bot SET mals.min_level = 'debug';
		SET mals.max_past = '-1';
		SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', CASE WHEN i % 3 = 0 THEN 'bot-' ELSE 'other-' END || i % 7,
			'message', 'Step ' || i || ' of plan' || i % 11, 'level', CASE WHEN i % 5 = 0 THEN 'error' ELSE 'info' END,
			'category', 'step', 'session_key', 's' || i % 3, 'trace_id', md5((i / 10)::text)::uuid, 'correlation_id', 'task-' || i / 10,
			'i', i, 'text', E'tab\\tquote" \\\\ é', 'ts', '2023-11-10T00:00:00Z'::timestamptz + i * interval '7 min')))
		  FROM generate_series(1, 5000) AS i;
		RESET mals.max_past;
		SELECT mals_log('bot-1', 'refused id', 'error', id => '00dc6a9d-4c00-7000-8000-000000000001');
		SELECT mals_log('a', 'Disk full', 'error'), mals_log('a', 'Network down', 'critical'), mals_log('a', 'Network gone', 'critical');
		SELECT mals_resolve(id, 'me', 'a note') FROM mals.entries WHERE level = 'error' ORDER BY id LIMIT 50;
		SELECT mals_resolve_error(mals_fingerprint('Disk full'), 'me');
		SELECT mals_ignore_error(mals_fingerprint('refused id'));
		SELECT mals_merge_groups(mals_fingerprint('Network down'), mals_fingerprint('Network gone'));
		INSERT INTO mals.redact_rules VALUES ('customer', 'C-[0-9]+', true);
		SELECT mals_metric_define('took', 'histogram', 'how long', '{1,2,5}');
		SELECT mals_counter('calls', '{"to": "x"}', i), mals_observe('took', i) FROM generate_series(1, 10) i;
		SELECT mals_gauge('depth', 7);
		SELECT mals_set_retention('300 years', level => 'error'), mals_set_retention(NULL, agent_id => 'bot-1', category => 'step');
		SELECT mals_alert_set('many', 'level:critical agent:nobody', threshold => 2), mals_alert_test('many');
		SELECT mals_agent_register('bot-1', 'a bot');
		INSERT INTO mals.dead_letters (id, agent_id, attempts, sqlstate, error, entry)
		  VALUES (gen_random_uuid(), 'a', 1, '53100', 'disk full', '{"agent_id": "a", "message": "late"}')});
	$node->safe_psql('postgres', q{SET mals.write_mode = async; SELECT mals_log('a', 'by the ring ' || i) FROM generate_series(1, 100) i; SELECT mals_flush()});
	$node->safe_psql('postgres', 'CREATE DATABASE empty');
	$node->safe_psql('empty', 'CREATE SCHEMA logging; CREATE EXTENSION mals SCHEMA logging');
	return;
}

# Checks that a server goes on working.
sub goes_on
{
	my ($node) = @_;
	my $found = q{SELECT mals_count('"after an upgrade"'), count(*) FROM mals.entries};
	my ($before, $all) = split /\|/, $node->safe_psql('postgres', $found);

	is($node->safe_psql('postgres', q{SELECT h->>'status', h->>'version' = h->>'library_version', jsonb_array_length(h->'warnings')
		FROM mals_health() h}), 'degraded|t|1', 'health knows of the dead letter, and of nothing else');
	is($node->safe_psql('empty', q{SELECT logging.mals_health()->>'status'}), 'ok', 'and of nothing elsewhere');
	is($node->safe_psql('postgres', q{SET ROLE bot; SELECT mals_log('bot-9', 'after an upgrade') IS NOT NULL}), 't', 'a bound writer logs');
	isnt($node->psql('postgres', q{SET ROLE bot; SELECT mals_log('other-9', 'after an upgrade')}), 0, 'as its own agents only');
	isnt($node->psql('postgres', q{SET ROLE watcher; SELECT mals_log('a', 'after an upgrade')}), 0, 'a reader does not log');
	$node->safe_psql('postgres', q{SET session_replication_role = replica; INSERT INTO mals.logs (agent_id, message) VALUES ('a', 'after an upgrade')});
	$node->safe_psql('postgres', q{SET mals.write_mode = autonomous; SELECT mals_log('a', 'after an upgrade')});
	$node->safe_psql('postgres', q{SET mals.max_past = '-1';
		SELECT mals_log('a', 'after an upgrade', ts => '2023-11-10 01:00Z'), mals_log('a', 'after an upgrade', ts => '2021-01-01')});
	$node->safe_psql('postgres', q{SELECT mals_log('a', 'refused id', id => '00dc6a9d-4c00-7000-8000-000000000001')});
	is($node->safe_psql('postgres', $found), ($before + 5) . '|' . ($all + 5), 'what is logged is found, and nothing twice');
	is($node->safe_psql('empty', q{SELECT logging.mals_log('a', 'm') IS NOT NULL}), 't', 'logging elsewhere');
	is($node->safe_psql('postgres', q{SET ROLE boss; SELECT mals_resolve(id, 'boss') FROM mals.logs WHERE NOT resolved AND level = 'error' LIMIT 1}), 't', 'an admin resolves');
	settle($node);
	return;
}

# Upgrades a stopped server, and checks that the new one is as it was.
sub upgrade
{
	my ($old, $from, $to, $expected) = @_;
	my $new = server($to);
	my $got;

	chdir $new->basedir;
	command_ok([ "/usr/lib/postgresql/$to/bin/pg_upgrade", '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir,
			'-b', "/usr/lib/postgresql/$from/bin", '-B', "/usr/lib/postgresql/$to/bin",
			'-s', $new->host, '-p', $old->port, '-P', $new->port ], "pg_upgrade from $from to $to");
	$new->start;
	$got = state($new);
	is($got->{$_}, $expected->{$_}, "$to: $_") for sort keys %state;
	note("$from to $to: entries and checksum: $got->{entries}");
	goes_on($new);
	return $new;
}

my $first = server($versions[0]);
$first->start;
fill($first);
settle($first);
my $filled = state($first);
like($filled->{entries}, qr/^5104\|/, 'all entries are there to be upgraded');
$first->stop;

my ($node, $expected) = ($first, $filled);
for my $i (1 .. $#versions)
{
	$node = upgrade($node, $versions[ $i - 1 ], $versions[$i], $expected);
	$expected = state($node);
	$node->stop;
}
upgrade($first, $versions[0], $versions[-1], $filled)->stop if @versions > 2;

done_testing();
