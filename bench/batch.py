#!/usr/bin/python3
"""Sends batches of entries to one side, each as the bound parameter of a prepared
statement in a transaction of its own, and prints the seconds that takes:
bench/batch.py mals|hand FILE, with a JSON array on each line of FILE."""
import sys
import time

import psycopg

STATEMENTS = {
    "mals": "SELECT mals_log_batch(%s)",
    "hand": """
INSERT INTO bench.hand
SELECT id, ts, clock_timestamp(), level::mals_level::int, agent_id, message, category, source,
       session_key, trace_id, NULL, correlation_id, metadata
  FROM jsonb_to_recordset(%s) AS r(id uuid, ts timestamptz, level text, agent_id text,
       message text, category text, source text, session_key text, trace_id uuid,
       correlation_id text, metadata jsonb)""",
}

side, file = sys.argv[1:]
with open(file, encoding="utf-8") as lines:
    batches = [line.rstrip("\n") for line in lines]
with psycopg.connect(autocommit=True) as connection:
    begin = time.perf_counter()
    for batch in batches:
        connection.execute(STATEMENTS[side], [batch], prepare=True)
    print(f"{time.perf_counter() - begin:.4f}")
