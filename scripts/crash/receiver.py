"""The marketplace's receiver of webhooks: a process that verifies, writes down, and then answers.

What it has answered with 2xx is in its SQLite file, however it ends. What cannot be verified is
written down too, and refused.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS received (number INTEGER PRIMARY KEY, id TEXT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refused (number INTEGER PRIMARY KEY, id TEXT, body TEXT, reason TEXT);
"""


def open_inbox(path: Path) -> sqlite3.Connection:
    """The receiver's file; rows in order of arrival."""
    inbox = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    inbox.execute("PRAGMA journal_mode=WAL")
    inbox.execute("PRAGMA synchronous=NORMAL")  # it is killed, not the machine
    inbox.executescript(_SCHEMA)
    return inbox


def main() -> None:
    """Serve on 127.0.0.1:CRASH_PORT with the secret CRASH_SECRET and the file CRASH_INBOX."""
    secret = Webhook(os.environ["CRASH_SECRET"])
    inbox = open_inbox(Path(os.environ["CRASH_INBOX"]))
    one_writer = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            message_id = headers.get("webhook-id")
            try:
                secret.verify(body, headers)
            except (WebhookVerificationError, ValueError) as error:
                row = (message_id, body.decode("utf-8", "replace"), str(error))
                with one_writer:
                    inbox.execute("INSERT INTO refused (id, body, reason) VALUES (?, ?, ?)", row)
                self._answer(401)
                return
            with one_writer:
                row = (message_id, body.decode())
                inbox.execute("INSERT INTO received (id, body) VALUES (?, ?)", row)
            self._answer(204)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    Server(("127.0.0.1", int(os.environ["CRASH_PORT"])), Handler).serve_forever()
