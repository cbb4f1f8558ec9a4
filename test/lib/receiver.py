#!/usr/bin/env python3
"""Receivers of alerts for the tests: receiver.py http|https|smtp|smtps DIRECTORY [CERTIFICATE KEY]

Listens on a free port of 127.0.0.1 and writes its number to DIRECTORY/port.
Every request, or mail, becomes a line of JSON in DIRECTORY/received. A mail
server with a certificate offers STARTTLS; who logs in must be "user". What a web
server answers depends on the path:

    /ok         200
    /status/N   N
    /after/K/N  503 to the first K requests for that path, then N
    /redirect   302 to /ok
    /slow/S     200 after S seconds
    /never      nothing, as long as the other side waits
    /silent/K   nothing to the first K requests for that path, then 200
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


def certified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[3:5])
    return context


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
        first = False
        if what in ("after", "silent"):
            with lock:
                counts[self.path] = counts.get(self.path, 0) + 1
                first = counts[self.path] <= int(rest[0])
        if what == "status":
            self.answer(int(rest[0]))
        elif what == "after":
            self.answer(503 if first else int(rest[1]))
        elif what == "redirect":
            self.answer(302, Location="/ok")
        elif what == "slow":
            time.sleep(float(rest[0]))
            self.answer(200)
        elif what == "never" or first:
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
    if kind == "https":
        server.socket = certified().wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    listening(server.server_address[1])
    server.serve_forever()


def serve_smtp():
    import asyncio
    from aiosmtpd.smtp import SMTP, AuthResult

    class Mailbox:
        async def handle_DATA(self, server, session, envelope):
            received({"from": envelope.mail_from, "to": envelope.rcpt_tos, "user": session.auth_data,
                      "tls": server.transport.get_extra_info("sslcontext") is not None,
                      "data": base64.b64encode(envelope.original_content).decode()})
            return "250 OK"

        async def handle_RCPT(self, server, session, envelope, address, options):
            if address.startswith("nobody@"):
                return "550 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

    def authenticate(server, session, envelope, mechanism, data):
        known = (data.login, data.password) == (b"user", b"p4ssword-of-mail")
        return AuthResult(success=known, handled=False, auth_data=data.login.decode())

    context = certified() if len(sys.argv) > 3 else None

    def session():
        return SMTP(Mailbox(), tls_context=context if kind == "smtp" else None, hostname="localhost",
                    authenticator=authenticate, auth_require_tls=kind == "smtp")

    async def serve():
        server = await asyncio.get_running_loop().create_server(
            session, "127.0.0.1", 0, ssl=context if kind == "smtps" else None)
        listening(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


serve_http() if kind.startswith("http") else serve_smtp()
