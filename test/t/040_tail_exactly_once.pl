# 8 writers with transactions of random length, nesting and order of commit, and
# 3 tails beside them: each entry that was committed comes exactly once in each.
# One tail reads in small pieces, one stops in the middle of what it was given,
# and reconnects for every call.

use strict;
use warnings;

use IPC::Run qw(start finish);
use Mals;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = mals_node('tail', "shared_preload_libraries = 'mals'", 'max_connections = 40', 'max_prepared_transactions = 8');

$node->safe_psql('postgres', q{
	CREATE TABLE control (writing boolean);
	INSERT INTO control VALUES (true);
	CREATE TABLE cursors (tail text PRIMARY KEY, cursor text);
	INSERT INTO cursors SELECT t, mals_tail_cursor() FROM unnest('{all,pieces,again}'::text[]) AS t;
	CREATE TABLE seen (tail text, id uuid, level mals_level);

	-- Follows until the writers have gone and nothing is left; commits call by call.
	CREATE PROCEDURE follow(name text, max_rows int) LANGUAGE plpgsql AS $$
	DECLARE
		c text := (SELECT cursor FROM cursors WHERE tail = name);
		r record;
		more boolean;
		last_turn boolean;
	BEGIN
		LOOP
			last_turn := NOT (SELECT writing FROM control);
			more := false;
			FOR r IN SELECT * FROM mals_tail('agent:writer-*', c, '0.3 s', max_rows) LOOP
				c := r.next_cursor;
				IF r.id IS NOT NULL THEN
					INSERT INTO seen VALUES (name, r.id, r.level);
					more := true;
				END IF;
			END LOOP;
			UPDATE cursors SET cursor = c WHERE tail = name;
			COMMIT;
			EXIT WHEN last_turn AND NOT more;
		END LOOP;
	END $$;

	-- One call, of which a random part is kept; tells whether there was anything.
	CREATE FUNCTION follow_in_part(name text) RETURNS boolean LANGUAGE plpgsql AS $$
	DECLARE
		c text;
		n int := 1 + floor(random() * 20);
		r record;
		i int := 0;
	BEGIN
		FOR r IN SELECT * FROM mals_tail('agent:writer-*', (SELECT cursor FROM cursors WHERE tail = name), '0.1 s', 20) LOOP
			c := r.next_cursor;
			IF r.id IS NOT NULL THEN
				INSERT INTO seen VALUES (name, r.id, r.level);
				i := i + 1;
			END IF;
			EXIT WHEN i = n;
		END LOOP;
		UPDATE cursors SET cursor = c WHERE tail = name;
		RETURN i > 0;
	END $$;

	-- Logs in subtransactions, some of which are taken back, to a depth.
	CREATE FUNCTION nested(agent text, depth int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM mals_log(agent, 'nested ' || depth, 'debug');
		IF depth > 0 THEN
			BEGIN
				PERFORM nested(agent, depth - 1);
				IF random() < 0.2 THEN
					PERFORM 1 / 0;
				END IF;
			EXCEPTION WHEN division_by_zero THEN
				PERFORM mals_log(agent, 'instead', 'warn');
			END;
		END IF;
	END $$;
});

# Writers; each transaction waits in between, so that they end in another order.
my $begin = q{
\set n random(1, 6)
\set ms random(0, 12)
\set end random(1, 10)
BEGIN;
SELECT mals_log('writer-' || :client_id, 'first');
\sleep :ms ms
};
my %scripts = (
	'040_plain' => $begin . q{
INSERT INTO mals.logs (agent_id, message, ts) SELECT 'writer-' || :client_id, 'row', now() - i * interval '7 hours' FROM generate_series(1, :n) AS i;
\sleep :ms ms
\if :end = 1
ROLLBACK;
\else
COMMIT;
\endif
},
	'040_saved' => $begin . q{
SAVEPOINT a;
SELECT mals_log('writer-' || :client_id, 'saved', 'error');
\if :end > 5
ROLLBACK TO a;
\endif
SAVEPOINT b;
SELECT nested('writer-' || :client_id, :n);
\sleep :ms ms
RELEASE b;
COMMIT;
},
	'040_prepared' => $begin . q{
SAVEPOINT a;
SELECT mals_log('writer-' || :client_id, 'prepared');
PREPARE TRANSACTION 'writer :client_id';
\sleep :ms ms
\if :end = 1
ROLLBACK PREPARED 'writer :client_id';
\else
COMMIT PREPARED 'writer :client_id';
\endif
},
	'040_single' => q{SELECT mals_log('writer-' || :client_id, 'single')},
	'040_batch' => q{SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent', 'writer-' || :client_id, 'msg', 'batch ' || i)) FROM generate_series(1, 60) AS i))},
	# more subtransactions than shared memory remembers
	'040_deep' => q{SELECT nested('writer-' || :client_id, 80)});

my $dir = PostgreSQL::Test::Utils::tempdir();
my @files;
my %weights = ('040_single' => 6, '040_plain' => 6, '040_saved' => 4, '040_prepared' => 3, '040_batch' => 1, '040_deep' => 1);
for my $name (sort keys %scripts)
{
	append_to_file("$dir/$name", $scripts{$name});
	push @files, '-f', "$dir/$name\@$weights{$name}";
}

# Starts a program beside this one.
my $errors = '';
sub beside
{
	my (@command) = @_;
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;

	return start(\@command, '<', \undef, '>', \$errors, '2>', \$errors);
}

my @tails = (beside('psql', '-Xq', '-d', 'postgres', '-v', 'ON_ERROR_STOP=1', '-c', q{CALL follow('all', NULL)}),
	beside('psql', '-Xq', '-d', 'postgres', '-v', 'ON_ERROR_STOP=1', '-c', q{CALL follow('pieces', 3)}));
my $writers = beside('pgbench', '-n', '-c', '8', '-j', '2', '-t', '60', @files, 'postgres');

# The one that reconnects, and is thrown out now and then
my $more;
my $calls = 0;
my $lost = 0;
my $writing = 1;
do
{
	my $kill = $calls++ % 5 == 4 ? q{, pg_terminate_backend(pg_backend_pid())} : '';
	my ($status, $out) = $node->psql('postgres', "SELECT follow_in_part('again')$kill");

	$lost++ if $status != 0;
	$more = $kill ne '' || $out eq 't';
	if ($writing && !$writers->pumpable)
	{
		$writing = 0;
		ok(finish($writers), 'all writers have done their work');
		like($errors, qr{number of transactions actually processed: 480/480}, 'all of it') or diag($errors);
		$node->safe_psql('postgres', 'UPDATE control SET writing = false');
	}
	elsif ($writing)
	{
		$writers->pump_nb;
	}
} while ($writing || $more);
ok(finish($_), 'a tail has come to its end') or diag($errors) for @tails;
cmp_ok($lost, '>', 0, 'connections were lost');

my $entries = $node->safe_psql('postgres', q{SELECT count(*) FROM mals.entries WHERE agent_id LIKE 'writer-%'});
cmp_ok($entries, '>', 1000, "many entries ($entries)");
for my $tail ('all', 'pieces', 'again')
{
	sql_is($node, qq{SELECT count(*), count(DISTINCT id) FROM seen WHERE tail = '$tail'}, "$entries|$entries", "$tail: each once");
	sql_is($node, qq{SELECT count(*) FROM mals.entries e WHERE agent_id LIKE 'writer-%' AND NOT EXISTS (SELECT FROM seen s WHERE s.tail = '$tail' AND s.id = e.id)},
		'0', "$tail: none is missing");
}

# With a filter a tail of all that was gives the same as a search.
my $levels = q{SELECT md5(string_agg(id::text, ' ' ORDER BY id)) FROM };
sql_is($node, $levels . q{seen WHERE tail = 'all' AND level >= 'warn'}, $node->safe_psql('postgres', $levels . q{mals_search('agent:writer-* level:warn', max_rows => NULL)}), 'levels are right');

$node->stop;
done_testing();
