#!/usr/bin/python3
"""Measures tails on the database that PG* variables name; called by bench/run.

latency SECONDS RATE QUERY  entries at a rate, one a transaction; prints the percentiles 50 and 99,
                            in milliseconds, from the commit known to its client to the row in the tail's
follow TAILS QUERY          follows with so many tails, until standard input ends; prints what all of them got.
                            %d in the query is a tail's number
"""
import multiprocessing
import os
import sys
import threading
import time

import psycopg

NEXT = "SELECT next_cursor, id, message FROM mals_tail(%s, %s, %s, 1000)"


def connect():
    return psycopg.connect("", autocommit=True)


def follow(query, take, ready):
    """Calls take(id, message) for each entry, until it returns false; ready() when plans are made."""
    with connect() as connection:
        for _ in range(10):
            cursor = connection.execute(NEXT, (query, None, "0")).fetchone()[0]
        ready()
        while True:
            for cursor, entry, message in connection.execute(NEXT, (query, cursor, "30 s")).fetchall():
                if entry is not None and not take(entry, message):
                    return


def write(seconds, rate, writers, number, times):
    """Logs a writer's share of a rate; puts (message, time of commit) into times."""
    done = []
    with connect() as connection:
        begin = time.monotonic() + 0.2 + number / rate
        for i in range(int(seconds * rate / writers)):
            pause = begin + i * writers / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            message = f"{number} {i}"
            connection.execute("SELECT mals_log('latency', %s)", (message,))
            done.append((message, time.monotonic()))
    times.put(done)


def latency(seconds, rate, query):
    writers = 4
    times = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=write, args=(seconds, rate, writers, n, times)) for n in range(writers)]
    expected = writers * int(seconds * rate / writers)
    seen = {}

    def take(_, message):
        seen[message] = time.monotonic()
        return len(seen) < expected

    ready = threading.Event()
    tail = threading.Thread(target=follow, args=(query, take, ready.set))
    tail.start()
    ready.wait()
    for process in processes:
        process.start()
    committed = dict(pair for _ in processes for pair in times.get())
    tail.join()
    delays = sorted(seen[message] - committed[message] for message in seen)
    print(" ".join(f"{1000 * delays[int(len(delays) * p)]:.2f}" for p in (0.5, 0.99)))


def follow_many(tails, query):
    """One process a tail, so that clients do not wait for each other."""
    got = multiprocessing.Value("q", 0)
    ready = multiprocessing.Semaphore(0)

    def take(*_):
        with got.get_lock():
            got.value += 1
        return True

    processes = [multiprocessing.Process(target=follow, daemon=True,
                                         args=(query.replace("%d", str(n)), take, ready.release))
                 for n in range(tails)]
    for process in processes:
        process.start()
    for _ in processes:
        while not ready.acquire(timeout=1):
            if not all(process.is_alive() for process in processes):
                sys.exit("a tail has failed")
    print("ready", flush=True)
    sys.stdin.read()
    for process in processes:
        process.kill()
    print(got.value)


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    if sys.argv[1] == "latency":
        latency(float(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
    else:
        follow_many(int(sys.argv[2]), sys.argv[3])
