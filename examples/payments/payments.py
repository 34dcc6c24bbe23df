#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A sample application that takes a payment once, whatever happens around it.

Weir's IdempotencyPolicy keeps most repetitions away. What it cannot know is whether a
request whose answer was lost had been executed; with guarantee AtLeastOnce it sends
that one again. So the application keeps weir-idempotency-id in the transaction that
does the work: the id is there if, and only if, the payment is.

    payments.py [--listen HOST:PORT] [--database FILE]

POST /pay takes a payment and answers 201. A field `lose-answer: true` makes the
application lose its answer the first time: it commits, and closes the connection.
GET /payments answers how many there are.
"""

import argparse
import http.server
import json
import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    id     TEXT PRIMARY KEY,
    fence  INTEGER NOT NULL,
    done   BOOLEAN NOT NULL DEFAULT FALSE,
    answer TEXT
);
CREATE TABLE IF NOT EXISTS payments (number INTEGER PRIMARY KEY, amount TEXT NOT NULL);
"""

# No row changes where the request is done already, or a newer attempt is on its way.
CLAIM = """
INSERT INTO requests (id, fence) VALUES (?, ?)
ON CONFLICT (id) DO UPDATE SET fence = excluded.fence
WHERE requests.fence < excluded.fence AND NOT requests.done
"""


def pay(db, request, fence, amount):
    """Returns (status, answer, outcome, executed) of one attempt of a request."""
    with db:  # one transaction: all of it, or nothing
        db.execute("BEGIN IMMEDIATE")
        if db.execute(CLAIM, (request, fence)).rowcount == 0:
            done, answer = db.execute("SELECT done, answer FROM requests WHERE id = ?", (request,)).fetchone()
            if done:
                return 201, answer, "committed", False
            return 409, '{"error":"a newer attempt is on its way"}', "in-progress", False
        number = db.execute("INSERT INTO payments (amount) VALUES (?)", (amount,)).lastrowid
        answer = json.dumps({"payment": number, "amount": amount})
        db.execute("UPDATE requests SET done = TRUE, answer = ? WHERE id = ?", (answer, request))
    return 201, answer, "committed", True


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    database = ""

    def connect(self):
        return sqlite3.connect(self.database, isolation_level=None, timeout=30)

    def do_GET(self):
        db = self.connect()
        (count,) = db.execute("SELECT count(*) FROM payments").fetchone()
        db.close()
        self.answer(200, json.dumps({"payments": count}))

    def do_POST(self):
        amount = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        request = self.headers.get("weir-idempotency-id")
        if request is None:
            self.answer(400, '{"error":"send an Idempotency-Key"}')
            return
        db = self.connect()
        status, answer, outcome, executed = pay(db, request, int(self.headers["weir-idempotency-fence"]), amount)
        db.close()
        if executed and self.headers.get("lose-answer") == "true":
            self.close_connection = True
            return
        self.answer(status, answer, outcome)

    def answer(self, status, text, outcome=None):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if outcome:
            self.send_header("weir-idempotency-outcome", outcome)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    flags = argparse.ArgumentParser(description="Takes payments once.")
    flags.add_argument("--listen", default="127.0.0.1:9000")
    flags.add_argument("--database", default="payments.db")
    flags = flags.parse_args()
    Handler.database = flags.database
    db = sqlite3.connect(flags.database)
    db.executescript(SCHEMA)
    db.close()
    host, port = flags.listen.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    print("listening on %s:%d" % server.server_address, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
