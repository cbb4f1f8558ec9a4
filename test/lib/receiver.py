#!/usr/bin/env python3
"""Receivers of alerts for the tests: receiver.py http|smtp DIRECTORY [CERTIFICATE KEY]

Listens on a free port of 127.0.0.1 and writes its number to DIRECTORY/port.
Every request, or mail, becomes a line of JSON in DIRECTORY/received. What a web
server answers depends on the path:

    /ok         200
    /status/N   N
    /after/K/N  503 to the first K requests for that path, then N
    /redirect   302 to /ok
    /slow/S     200 after S seconds
    /never      nothing, as long as the other side waits
    /close      nothing, closes in the middle of the answer
"""

import base64
import http.server
import json
import os
import ssl
import sys
import threading
import time

kind, directory = sys.argv[1:3]
lock = threading.Lock()
counts = {}


def received(what):
    with lock, open(os.path.join(directory, "received"), "a", encoding="utf-8") as f:
        f.write(json.dumps(what) + "\n")


def listening(port):
    path = os.path.join(directory, "port")
    with open(path + ".new", "w") as f:
        f.write(str(port))
    os.rename(path + ".new", path)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        received({"path": self.path, "time": time.time(), "headers": dict(self.headers),
                  "body": base64.b64encode(body).decode()})
        what, *rest = self.path.strip("/").split("/")
        if what == "status":
            self.answer(int(rest[0]))
        elif what == "after":
            with lock:
                counts[self.path] = counts.get(self.path, 0) + 1
                first = counts[self.path] <= int(rest[0])
            self.answer(503 if first else int(rest[1]))
        elif what == "redirect":
            self.answer(302, Location="/ok")
        elif what == "slow":
            time.sleep(float(rest[0]))
            self.answer(200)
        elif what == "never":
            time.sleep(3600)
        elif what == "close":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            self.wfile.flush()
            self.close_connection = True
        else:
            self.answer(200)

    do_GET = do_POST

    def log_message(self, *args):
        pass


def serve_http():
    http.server.ThreadingHTTPServer.daemon_threads = True
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening(server.server_address[1])
    server.serve_forever()


def serve_smtp():
    import asyncio
    from aiosmtpd.smtp import SMTP

    class Mailbox:
        async def handle_DATA(self, server, session, envelope):
            received({"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
                      "data": base64.b64encode(envelope.original_content).decode()})
            return "250 OK"

        async def handle_RCPT(self, server, session, envelope, address, options):
            if address.startswith("nobody@"):
                return "550 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

    context = None
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[3:5])

    async def serve():
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(Mailbox(), tls_context=context, hostname="localhost"), "127.0.0.1", 0)
        listening(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


serve_http() if kind == "http" else serve_smtp()
