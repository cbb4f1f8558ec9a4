#!/bin/sh
# tail.sh: follows log entries in a terminal, as "tail -f" does a file.
#
#   examples/tail.sh [-n LINES] [-c auto|always|never] [-i SECONDS] [QUERY]
#
# QUERY is in the language of mals_search, such as 'level:warn agent:svc-*'; none
# is everything. The connection is psql's: PGHOST, PGDATABASE and so on. The last
# LINES entries that match come first (10), then what is committed from then on,
# each entry once and none left out, also across lost connections: those are tried
# again every SECONDS (2). Levels have colours on a terminal. Needs psql 14 or later
# and the privilege "reader".
set -eu

lines=10 colour=auto again=2
usage()
{
  sed -n '4s/^# *//p' "$0" >&2
  exit 2
}
while getopts n:c:i: option; do
  case $option in
    n) lines=$OPTARG ;;
    c) colour=$OPTARG ;;
    i) again=$OPTARG ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
[ $# -le 1 ] || usage
case $colour in
  auto) if [ -t 1 ]; then colour=on; else colour=off; fi ;;
  always) colour=on ;;
  never) colour=off ;;
  *) usage ;;
esac

state=$(mktemp) psql=
# Ends psql too, which otherwise would wait for the call it is in.
stop()
{
  [ -z "$psql" ] || kill "$psql" 2>/dev/null || :
  exit "$1"
}
trap 'rm -f "$state"' EXIT
trap 'stop 130' INT
trap 'stop 143' TERM

# A line of an entry; further lines of a message are indented.
line="concat(CASE WHEN :'colour' = 'on' THEN CASE
    WHEN level >= 'critical' THEN e'\\x1b[1;97;41m' WHEN level >= 'error' THEN e'\\x1b[31m'
    WHEN level >= 'warn' THEN e'\\x1b[33m' WHEN level >= 'info' THEN e'\\x1b[32m' ELSE e'\\x1b[90m' END END,
  to_char(ts, 'YYYY-MM-DD HH24:MI:SS.MS'), ' ', rpad(level::text, 8), ' ', agent_id, '  ',
  replace(message, e'\\n', e'\\n  '), CASE WHEN :'colour' = 'on' THEN e'\\x1b[0m' END)"

# Where to begin, and the entries before it: one snapshot for both.
first="BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT mals_tail_cursor() AS cursor \\gset
SELECT $line FROM mals_search(:'query', max_rows => :lines) ORDER BY ts, id;
COMMIT;"

# One call, and its entries.
next="SELECT string_agg($line, e'\\n' ORDER BY ordinality) FILTER (WHERE id IS NOT NULL) AS entries,
  (array_agg(next_cursor ORDER BY ordinality DESC))[1] AS cursor
  FROM mals_tail(:'query', :'cursor', '30 s', 1000) WITH ORDINALITY \\gset
\\if :{?entries}
\\echo :entries
\\unset entries
\\endif"

# The cursor is kept when what comes before it is printed.
keep="\\o $state
\\qecho :cursor
\\o"

# Prints what psql is to do, as long as it reads.
feed()
{
  [ -s "$state" ] || printf '%s\n%s\n' "$first" "$keep"
  while printf '%s\n%s\n' "$next" "$keep"; do
    :
  done
}

while :; do
  status=0
  feed 2>/dev/null | psql -XqAt -v ON_ERROR_STOP=1 -v query="${1-}" -v cursor="$(cat "$state")" \
    -v lines="$lines" -v colour="$colour" &
  psql=$!
  wait "$psql" || status=$?
  # 2: the connection was lost, or could not be had
  if [ "$status" != 2 ] || [ ! -s "$state" ]; then
    exit "$status"
  fi
  echo "tail.sh: no connection, next try in $again s" >&2
  sleep "$again"
done
