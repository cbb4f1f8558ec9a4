# ALTER EXTENSION mals UPDATE: every version that was released, and this one to a
# next version that is made here, becomes what CREATE EXTENSION makes of the newest,
# with every entry; and the library works with the SQL of the version before and
# after it. What was released is never changed.

use strict;
use warnings;

use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = $ENV{TESTDIR};
plan skip_all => 'needs what make tempcheck stages' unless -d "$top/tmp_stage";
my $dir = PostgreSQL::Test::Utils::tempdir();
my ($version) = slurp_file("$top/mals.control") =~ /^default_version *= *'(.*)'/m;
my $next_version = "$version.1test";
my $frozen = "$top/sql/upgrade/mals--$version.sql";

if (-e $frozen)
{
	ok(slurp_file($frozen) eq slurp_file("$top/sql/mals--$version.sql"),
		"what was released as $version is what is installed as $version: later changes need a new default_version");
}

# The next version: a copy of this tree, changed as a real one may be.
my $tree = "$dir/next";

# Replaces a text, which must be there, in a file of the next version; returns the file's new text.
sub edit
{
	my ($file, $from, $to) = @_;
	my $text = slurp_file("$tree/$file");

	$text =~ s/\Q$from\E/$to/ or die "$file has no: $from";
	open my $out, '>', "$tree/$file" or die "$file: $!";
	print $out $text;
	close $out;
	return $text;
}

# Writes a file of the next version.
sub put
{
	my ($file, $text) = @_;

	append_to_file("$tree/$file", $text);
	return;
}

# Runs make in the next version's tree.
sub run_make
{
	command_ok([ 'make', '-s', '-C', $tree, 'PG_CONFIG=' . ($ENV{PG_CONFIG} // 'pg_config'), 'with_llvm=no', @_ ], "make $_[0]");
	return;
}

mkdir $tree;
system('cp', '-Rp', (grep { -e } map { "$top/$_" } qw(Makefile mals.control sql src tmp_flags)), $tree) == 0 or die 'cp failed';
run_make('freeze');
edit('mals.control', "'$version'", "'$next_version'");

edit('sql/install/30_entries.sql', "  xact           bigint\n)", "  xact           bigint,\n  host           text        COLLATE \"C\"\n)");
edit('sql/install/30_entries.sql', "  note        text\n);", "  note        text,\n  reviewed_at timestamptz\n);");
my $entries = edit('sql/install/30_entries.sql', " END AS resolved_by\n", " END AS resolved_by,\n         e.host\n");
my $health = edit('sql/install/90_health.sql', "    'db', current_database(),\n", "    'db', current_database(),\n    'reviews', (SELECT count(*) FROM mals.reviews),\n");
my ($logs) = $entries =~ /^CREATE (VIEW mals\.logs .*?;)$/ms or die;
my ($mals_health) = $health =~ /^CREATE (FUNCTION mals_health.*?^\$\$;)$/ms or die;
my $column = "COMMENT ON COLUMN mals.resolutions.reviewed_at IS 'When it was reviewed.';\n";
my $new = <<'SQL';
CREATE TABLE mals.reviews (
  agent_id text COLLATE "C" PRIMARY KEY,
  state    text NOT NULL
);
COMMENT ON TABLE mals.reviews IS 'Reviews.';
SELECT pg_catalog.pg_extension_config_dump('mals.reviews', '');
CREATE FUNCTION mals_reviews(agent_id text DEFAULT '*') RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT current_setting('mals.review', true) || count(*) FROM mals.reviews $$;
COMMENT ON FUNCTION mals_reviews(text) IS 'Reviews.';
SQL
put('sql/install/40_reviews.sql', $new . $column);
put("sql/upgrade/mals--$version--$next_version.sql", <<"SQL");
\\echo Use "ALTER EXTENSION mals UPDATE" to load this file. \\quit
ALTER TABLE mals.entries ADD host text COLLATE "C";
ALTER TABLE mals.resolutions ADD reviewed_at timestamptz;
$column
CREATE OR REPLACE $logs
$new
CREATE OR REPLACE $mals_health
SELECT mals._set_access();
SQL
edit('src/mals_guc.c', qq{\tMarkGUCPrefixReserved("mals");\n}, <<'C');
	{
		static bool review;

		DefineCustomBoolVariable("mals.review", "Reviews.", NULL, &review, true, PGC_USERSET, 0,
								 NULL, NULL, NULL);
	}
	MarkGUCPrefixReserved("mals");
C
run_make('install', "DESTDIR=$dir/new");

# Stages of SQL and library: of this version (old), of the next (new), and mixed.
my $pkglibdir = `pg_config --pkglibdir`;
chomp $pkglibdir;
system('cp', '-Rp', "$top/tmp_stage", "$dir/old") == 0 or die 'cp failed';
for (qw(old new))
{
	my ($sql, $library) = $_ eq 'old' ? ('old', 'new') : ('new', 'old');

	system('cp', '-Rp', "$dir/$sql", "$dir/$sql-sql") == 0 or die 'cp failed';
	system('cp', '-p', "$dir/$library$pkglibdir/mals.so", "$dir/$sql-sql$pkglibdir/mals.so") == 0 or die 'cp failed';
}

my $node = mals_node('update', "shared_preload_libraries = 'mals'", "mals.retention = '100 years'");

# Restarts the server with one of the stages.
sub use_stage
{
	my ($stage) = @_;

	$node->append_conf('postgresql.conf', scalar `$top/test/conf $dir/$stage`);
	$node->restart;
	return;
}

# All that the extension consists of, line by line, as text that is the same in every database.
my $catalog = <<'SQL';
WITH extension AS (SELECT * FROM pg_extension WHERE extname = 'mals'),
members AS (SELECT d.classid, d.objid FROM pg_depend d, extension e
  WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'),
relations AS (SELECT c.*, c.oid::regclass::text AS name FROM pg_class c JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid),
functions AS (SELECT p.*, p.oid::regprocedure::text AS name FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
SELECT line FROM (
  SELECT concat_ws(' ', 'member', pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::text)) FROM members
  UNION ALL SELECT concat_ws(' ', 'function', pg_get_functiondef(oid)) FROM functions WHERE prokind <> 'a'
  UNION ALL SELECT concat_ws(' ', 'aggregate', aggfnoid::regprocedure, aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggtranstype::regtype, agginitval)
    FROM pg_aggregate WHERE aggfnoid IN (SELECT oid FROM functions)
  UNION ALL SELECT concat_ws(' ', 'privileges', name, a) FROM functions, unnest(proacl) a
  UNION ALL SELECT concat_ws(' ', 'relation', name, relkind, relpersistence, relrowsecurity, reloptions) FROM relations
  UNION ALL SELECT concat_ws(' ', 'privileges', name, a) FROM relations, unnest(relacl) a
  UNION ALL SELECT concat_ws(' ', 'column', r.name, row_number() OVER (PARTITION BY r.oid ORDER BY attnum), attname, format_type(atttypid, atttypmod),
      attnotnull, attcollation::regcollation, pg_get_expr(adbin, adrelid), attacl, col_description(r.oid, attnum))
    FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND attnum > 0 AND NOT attisdropped LEFT JOIN pg_attrdef ON adrelid = r.oid AND adnum = attnum
  UNION ALL SELECT concat_ws(' ', 'view', name, pg_get_viewdef(oid)) FROM relations WHERE relkind = 'v'
  UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid)) FROM pg_index WHERE indrelid IN (SELECT oid FROM relations)
  UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relations)
  UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relations) AND NOT tgisinternal
  UNION ALL SELECT concat_ws(' ', 'policy', polname, polrelid::regclass, polcmd, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM pg_policy WHERE polrelid IN (SELECT oid FROM relations)
  UNION ALL SELECT concat_ws(' ', 'event trigger', evtname, evtevent, evtenabled, evttags, evtfoid::regproc) FROM pg_event_trigger
  UNION ALL SELECT concat_ws(' ', 'initial privileges', pg_describe_object(classoid, objoid, objsubid), a)
    FROM pg_init_privs JOIN members ON objid = objoid AND classid = classoid, unnest(initprivs) a
  UNION ALL SELECT concat_ws(' ', 'dumped', c::regclass, w) FROM extension, unnest(extconfig, extcondition) AS u (c, w)
  UNION ALL SELECT concat_ws(' ', 'extension', extversion, extnamespace::regnamespace) FROM extension) x (line)
ORDER BY line COLLATE "C"
SQL

# Compares the extension of a database with that of another one, made anew.
sub same_catalog
{
	my ($database, $name) = @_;
	my @got = split /\n/, $node->safe_psql($database, $catalog);
	my @expected = split /\n/, $node->safe_psql('fresh', $catalog);

	cmp_ok(scalar(@expected), '>', 1000, 'the catalog is compared');
	is_deeply(\@got, \@expected, $name);
	return;
}

# What must stay, of the entries that are there at first.
my %state = (
	entries => q{SELECT count(*), md5(string_agg((id, ts, created_at, level, agent_id, message, category, source, session_key, trace_id, parent_id,
		correlation_id, metadata, fingerprint, xact)::text, E'\n' ORDER BY id)) FROM mals.entries WHERE source <> 'later'},
	logs => q{SELECT count(*) FILTER (WHERE resolved), md5(string_agg((id, resolved, resolved_at, resolved_by)::text, E'\n' ORDER BY id))
		FROM mals.logs WHERE source <> 'later'},
	resolutions => q{SELECT string_agg((entry_id, resolved, resolved_at, resolved_by, note)::text, E'\n' ORDER BY entry_id) FROM mals.resolutions WHERE note = 'a note'},
	templates => q{SELECT string_agg((fingerprint, version, template, first_seen, sample_id)::text, E'\n' ORDER BY fingerprint) FROM mals.templates
		WHERE template ~ 'Step|Disk|Network'},
	status => q{SELECT string_agg((fingerprint, resolved_at, resolved_by)::text, E'\n' ORDER BY fingerprint) FROM mals.error_status WHERE resolved_by = 'me'},
	bindings => q{SELECT role, agent_glob FROM mals.agent_bindings ORDER BY role},
	rules => q{SELECT mals_redact('x C-12')},
	bound => q{SET ROLE bot; SELECT count(*), count(*) FILTER (WHERE resolved) FROM mals.logs WHERE source <> 'later'},
	reader => q{SET ROLE watcher; SELECT mals_count('-source:later')});

# The state, as psql prints it.
sub state
{
	my ($database) = @_;

	return { map { $_ => $node->safe_psql($database, $state{$_}) } keys %state };
}

# Checks that a database has what was there at first.
my $expected;
sub unchanged
{
	my ($database, $how) = @_;
	my $got = state($database);

	is($got->{$_}, $expected->{$_}, "$how: $_") for sort keys %state;
	return;
}

# Logs by every way in and reads by every way out.
my $steps = 0;
sub works
{
	my ($database, $how) = @_;
	my $tag = 'later' . ++$steps;
	my $kind = join '', map { chr(ord('a') + $_) } split //, sprintf '%03d', $steps;

	is($node->safe_psql($database, qq{
		SET mals.source = 'later';
		SET mals.correlation_id = '$tag';
		SELECT mals_log('bot-1', 'kind $kind', 'error') IS NOT NULL;
		SELECT mals_log('a', 'retried', id => ('018bcfe5-6800-7000-8000-' || lpad('$steps', 12, '0'))::uuid)
		     = mals_log('a', 'retried', id => ('018bcfe5-6800-7000-8000-' || lpad('$steps', 12, '0'))::uuid);
		SELECT mals_log_json('{"agent": "a", "msg": "json"}') IS NOT NULL;
		SELECT mals_log_batch('[{"agent": "a", "msg": "one"}, {"agent": "b", "msg": "two"}]') IS NOT NULL;
		INSERT INTO mals.logs (agent_id, message) VALUES ('a', 'inserted') RETURNING level = 'info' AND resolved_by IS NULL AND metadata = '{}';
		INSERT INTO mals.inbox VALUES ('{"agent": "a", "msg": "inbox"}');
		SET mals.write_mode = autonomous;
		SELECT mals_log('a', 'autonomous') IS NOT NULL;
		RESET mals.write_mode;
		SELECT mals_counter('$kind') IS NOT NULL, mals_agent_register('$tag') IS NOT NULL;
		SELECT mals_resolve(id, 'later') FROM mals.logs WHERE message = 'kind $kind';
		SELECT mals_resolve_error(mals_fingerprint('kind $kind'), 'later') IS NOT NULL;
		SELECT mals_maintain() IS NOT NULL;
		SELECT mals_count('correlation:$tag'), (SELECT count(*) FROM mals_search('correlation:$tag')), (SELECT count(*) FROM mals_trace('$tag')),
			(SELECT count(*) FROM mals_export('json', 'correlation:$tag')), mals_list(search => 'kind $kind')->>'total',
			(SELECT count(*) FROM mals_errors() WHERE template = 'kind $kind'), (SELECT bool_or(m ~ 'TYPE $kind counter') FROM mals_metrics() m), mals_digest() <> '', mals_forget('correlation:$tag');
		SET ROLE bot;
		SELECT mals_log('bot-2', 'by a bound writer') IS NOT NULL, (SELECT resolved FROM mals.logs WHERE message = 'kind $kind')}),
		join("\n", ('t') x 6, 't|t', 't', 't', 't', '8|8|8|8|1|1|t|t|8', 't|t'), "$how: logging, resolving and reading");
	ok($node->poll_query_until($database, q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname = current_database())
		AND NOT EXISTS (SELECT FROM mals._sights) AND NOT EXISTS (SELECT FROM mals._samples)}), "$how: the worker works");
	return;
}

# Checks what mals_health says of the versions, and of what is new and not granted yet.
sub health_is
{
	my ($database, $sql, $library, $how, $due) = @_;
	my @warns = map { $_ ? 't' : 'f' } $sql ne $library || $due, $sql ne $library, $due;

	is($node->safe_psql($database, qq{SELECT h->>'version', h->>'library_version', h->>'status' <> 'ok',
		h->>'warnings' ~ 'library $library is loaded, but the extension is $sql', h->>'warnings' ~ 'not been granted .*mals_regrant' FROM mals_health() h}),
		join('|', $sql, $library, @warns), "$how: health");
	return;
}

$node->safe_psql('postgres', q{
	CREATE ROLE bot; CREATE ROLE watcher; CREATE ROLE boss;
	SELECT mals_grant('bot', 'writer'), mals_grant('bot', 'reader'), mals_grant('watcher', 'reader'), mals_grant('boss', 'admin');
	SELECT mals_bind_agent('bot', 'bot-*');
	SET mals.max_past = '-1';
	SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', CASE WHEN i % 3 = 0 THEN 'bot-' ELSE 'other-' END || i % 7,
		'message', 'Step ' || i || ' of plan', 'level', CASE WHEN i % 5 = 0 THEN 'error' ELSE 'info' END, 'i', i,
		'ts', '2023-11-10T00:00:00Z'::timestamptz + i * interval '7 min'))) FROM generate_series(1, 1000) AS i;
	SELECT mals_log('bot-1', 'Disk full', 'error'), mals_log('a', 'Network down', 'critical');
	SELECT mals_resolve(id, 'me', 'a note') FROM mals.entries WHERE level = 'error' AND message ~ '^Step' LIMIT 5;
	SELECT mals_resolve_error(mals_fingerprint('Disk full'), 'me');
	INSERT INTO mals.redact_rules VALUES ('customer', 'C-[0-9]+', true)});
$expected = state('postgres');
like($expected->{entries}, qr/^1002\|/, 'all entries are there to be updated');
works('postgres', 'before');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/old.dump", 'postgres' ], 'dumped before');

# The new library with the SQL of before, as after an upgrade of the package.
use_stage('new');
health_is('postgres', $version, $next_version, 'new library, old SQL');
unchanged('postgres', 'new library, old SQL');
works('postgres', 'new library, old SQL');
is($node->safe_psql('postgres', 'SHOW mals.review'), 'on', 'new library, old SQL: a new setting');

# The worker is at work: it waits for a lock of the session that updates, and has one that
# this needs. It has waited long enough not to see the deadlock itself.
my $session = $node->background_psql('postgres', on_error_stop => 1);
$node->safe_psql('postgres', 'DELETE FROM mals._expiry');
$session->query_safe('BEGIN; LOCK TABLE mals.dead_letters IN ACCESS EXCLUSIVE MODE');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'mals worker' AND datname = 'postgres'});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity JOIN pg_locks USING (pid)
	WHERE backend_type = 'mals worker' AND datname = 'postgres' AND NOT granted AND clock_timestamp() - waitstart > '1.5 s'}), 'the worker is at work');
$session->query_safe('ALTER EXTENSION mals UPDATE');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^mals' AND datname = 'postgres'}), '0', 'it is kept away from an update');
$session->query_safe('COMMIT');
$session->quit;
health_is('postgres', $next_version, $next_version, 'updated', 1);
unchanged('postgres', 'updated');
works('postgres', 'updated');
is($node->safe_psql('postgres', 'SELECT mals_reviews()'), 'on0', 'updated: a new function');
isnt($node->psql('postgres', 'SET ROLE watcher; SELECT mals_reviews()'), 0, 'updated: which is for its owner at first');
isnt($node->psql('postgres', 'SET ROLE boss; SELECT mals_reviews()'), 0, 'updated: even for admins');
is($node->safe_psql('postgres', 'SELECT mals_regrant()'), '4', 'updated: privileges are granted anew');
health_is('postgres', $next_version, $next_version, 'granted anew');
is($node->safe_psql('postgres', q{SET ROLE boss; SELECT mals_reviews()}), 'on0', 'updated: then admins may call it');
isnt($node->psql('postgres', 'SET ROLE watcher; SELECT mals_reviews()'), 0, 'updated: but no reader');
unchanged('postgres', 'granted anew');

# From every version that there is a script of, to what is made anew.
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION mals');
my @versions = split /\n/, $node->safe_psql('postgres', "SELECT source FROM pg_extension_update_paths('mals') WHERE target = '$next_version' AND path IS NOT NULL");
ok((grep { $_ eq $version } @versions), 'this version can be installed still');
for my $from (@versions)
{
	(my $database = "from_$from") =~ tr/./_/;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "CREATE EXTENSION mals VERSION '$from'; ALTER EXTENSION mals UPDATE");
	same_catalog($database, "$from is updated to what $next_version is");
}

# A dump of either version is restored in the next one. A partition has the columns that it
# had when it was dumped, so the extension is made in the dump's version first.
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/new.dump", 'postgres' ], 'dumped after');
my $grants = q{SELECT md5(string_agg(c::text, E'\n' ORDER BY c)) FROM (
	SELECT relname || a FROM pg_class, unnest(relacl) a WHERE relnamespace = 'mals'::regnamespace AND NOT relispartition
	UNION ALL SELECT oid::regprocedure::text || a FROM pg_proc, unnest(proacl) a WHERE proname ~ '^mals_' OR pronamespace = 'mals'::regnamespace) AS x (c)};
for my $dump (qw(old new))
{
	my $database = "restored_$dump";

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$node->safe_psql($database, "CREATE EXTENSION mals VERSION '$version'") if $dump eq 'old';
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $database, "$dir/$dump.dump" ], "$dump dump: restored");
	$node->safe_psql($database, 'ALTER EXTENSION mals UPDATE');
	health_is($database, $next_version, $next_version, "$dump dump", $dump eq 'old');
	unchanged($database, "$dump dump");
	works($database, "$dump dump");
}
is($node->safe_psql('restored_new', $grants), $node->safe_psql('postgres', $grants), 'new dump: privileges');

# The library of before with the new SQL, as after a downgrade of the package or in
# sessions that go on while the extension is updated; and then every table with one column more.
use_stage('new-sql');
health_is('postgres', $next_version, $version, 'old library, new SQL');
unchanged('postgres', 'old library, new SQL');
works('postgres', 'old library, new SQL');
$node->append_conf('postgresql.conf', 'mals.worker = off');
$node->reload;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^mals (worker|job)'}) or die 'workers';
$node->safe_psql('postgres', q{
	DO $$
	DECLARE t regclass;
	BEGIN
	  FOR t IN SELECT objid FROM pg_depend JOIN pg_class c ON c.oid = objid AND relkind IN ('r', 'p')
	            WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_extension'::regclass AND deptype = 'e' AND relnamespace = 'mals'::regnamespace LOOP
	    EXECUTE format('ALTER TABLE %s ADD later text', t);
	  END LOOP;
	END $$});
$node->append_conf('postgresql.conf', 'mals.worker = on');
$node->reload;
unchanged('postgres', 'more columns');
works('postgres', 'more columns');

# And back.
use_stage('old-sql');
is($node->safe_psql('postgres', 'SELECT mals_version()'), $next_version, 'the new library again');
works('postgres', 'new library again');

$node->stop;
done_testing();
