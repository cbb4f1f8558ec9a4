"""Python's logging into mals: a logging.Handler on psycopg 3.

    import logging, mals_logging
    logging.getLogger().addHandler(mals_logging.MalsHandler("dbname=app", agent_id="crypto-bot"))

    logging.error("payment failed", extra={"order": 17})     # extra keys become metadata
    with mals_logging.context(trace_id=..., session_key=...):  # for all entries within
        logging.info("in a trace")

A thread sends what was logged in batches. Entries carry ids of their own, so
that a batch that was sent twice, because the connection broke before the
answer, is stored once. While the server cannot be reached entries wait, up to
`capacity`; what is over it is not kept, and an entry says how many that were.
Nothing is ever raised into the application.
"""
import atexit
import collections
import contextlib
import contextvars
import json
import logging
import os
import secrets
import sys
import threading
import time

import psycopg

_context = contextvars.ContextVar("mals", default={})
_plain_record = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextlib.contextmanager
def context(**fields):
    """Sets fields (trace_id, session_key, correlation_id, category, agent_id, ...) of all
    entries that are logged within, in this thread or task."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def new_id(at):
    """A UUIDv7 whose time is `at` (seconds since 1970), to the microsecond."""
    micros = int(at * 1_000_000)
    high = (micros // 1000) << 16 | 0x7000 | (micros % 1000) * 4096 // 1000
    value = high << 64 | 2 << 62 | secrets.randbits(62)
    return f"{value:032x}"


def _jsonable(value):
    """What of a value JSON and PostgreSQL can hold."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_jsonable(str(k)): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(v) for v in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    return _jsonable(str(value))


class MalsHandler(logging.Handler):
    def __init__(self, conninfo="", agent_id=None, level=logging.NOTSET, *, batch=500,
                 flush_interval=0.5, capacity=100_000, close_timeout=10.0, **fields):
        super().__init__(level)
        self.conninfo, self.batch, self.flush_interval = conninfo, batch, flush_interval
        self.capacity, self.close_timeout = capacity, close_timeout
        self.fields = {"agent_id": agent_id or os.path.basename(sys.argv[0]) or "python", **fields}
        self.waiting = collections.deque()
        self.refused = 0                 # entries over capacity, not yet told of
        self.sending = 0                 # entries in the batch that is being sent
        self.changed = threading.Condition()
        self.closing = False
        self._start()
        os.register_at_fork(after_in_child=self._after_fork)
        atexit.register(self.close)

    def _start(self):
        self.thread = threading.Thread(target=self._run, name="mals", daemon=True)
        self.thread.start()

    def _after_fork(self):               # the parent sends what the parent has logged
        self.waiting.clear()
        self.sending, self.changed = 0, threading.Condition()
        self._start()

    def emit(self, record):
        if record.name.startswith("psycopg") or threading.current_thread() is self.thread:
            return
        try:
            entry = self.entry(record)
        except Exception:
            return self.handleError(record)
        with self.changed:
            if len(self.waiting) >= self.capacity:
                self.refused += 1
                return
            self.waiting.append(entry)
            if len(self.waiting) >= self.batch or record.levelno >= logging.ERROR:
                self.changed.notify_all()

    def entry(self, record):
        """The JSON object that mals_log_batch takes for a record."""
        extra = {k: v for k, v in vars(record).items() if k not in _plain_record}
        metadata = {"file": record.pathname, "line": record.lineno, "function": record.funcName,
                    "process": record.process, "thread": record.threadName, **extra}
        if record.exc_info and record.exc_info[0]:
            kind, error, _ = record.exc_info
            text = logging.Formatter().formatException(record.exc_info)
            metadata["exception"] = {"type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
                                     "message": str(error), "stacktrace": text}
        fields = {"source": record.name, **self.fields, **_context.get()}
        return json.dumps(_jsonable({**fields, "id": new_id(record.created), "level": record.levelno,
                                     "message": record.getMessage(), "metadata": metadata}))

    def flush(self):
        """Waits until all that was logged is stored, for at most close_timeout seconds."""
        end = time.monotonic() + self.close_timeout
        with self.changed:
            self.changed.notify_all()
            while (self.waiting or self.sending) and self.thread.is_alive():
                if not self.changed.wait(min(0.05, end - time.monotonic())) and time.monotonic() > end:
                    return

    def close(self):
        if not self.closing:
            self.flush()
            with self.changed:
                self.closing = True
                self.changed.notify_all()
            self.thread.join(1)
            atexit.unregister(self.close)
            super().close()

    def _run(self):
        connection, delay = None, 0.1
        while not self.closing:
            with self.changed:
                if not self.waiting:
                    self.changed.wait(self.flush_interval)
                elif len(self.waiting) < self.batch:
                    self.changed.wait(min(self.flush_interval, 0.05))
                entries = [self.waiting.popleft() for _ in range(min(self.batch, len(self.waiting)))]
                self.sending = len(entries)
                if entries and self.refused:
                    entries.append(json.dumps({**_jsonable(self.fields), "level": "warn", "message":
                                               f"{self.refused} entries were logged while the server could not be reached, and are lost"}))
                    self.refused = 0
            while entries and not self.closing:
                try:
                    if connection is None or connection.closed:
                        connection = psycopg.connect(self.conninfo, autocommit=True, connect_timeout=5,
                                                     fallback_application_name="mals_logging")
                    self._send(connection, entries)
                    entries, delay = [], 0.1
                except Exception as error:   # the server is away: keep the entries, try again
                    if connection is not None:
                        connection.close()
                    connection = None
                    if delay == 0.1:
                        print(f"mals_logging: {error}", file=sys.stderr)
                    time.sleep(delay)
                    delay = min(delay * 2, 5.0)
            with self.changed:
                self.sending = 0
                self.changed.notify_all()

    def _send(self, connection, entries):
        try:
            connection.execute("SELECT mals_log_batch(%s::jsonb)", [f"[{','.join(entries)}]"])
        except psycopg.DataError as error:   # one entry is bad: it alone is not stored
            if len(entries) == 1:
                print(f"mals_logging: {error}: {entries[0]}", file=sys.stderr)
            for entry in entries if len(entries) > 1 else []:
                self._send(connection, [entry])
