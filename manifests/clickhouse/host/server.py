"""ClickHouse's HTTP interface over the chdb engine, for machines without a `clickhouse` binary.

    python server.py --port 8123 --data-dir DIR --users-file FILE

FILE (mode 0600) is {"user": "password"}. Listens on 127.0.0.1 only, prints `ready http://...` once it
answers, stops on SIGTERM or SIGINT.

What differs from a ClickHouse server, beyond the engine's own limits (engine.py):

* Every user is the engine's `default`; the users file only opens the door. There are no roles or quotas.
* `session_id` is accepted and ignored: each request has a session of its own, so temporary tables and
  `SET` do not outlive it.
* `compress=1` and `decompress=1` (ClickHouse's own block format) are refused; use HTTP compression.
* An error after the first part of a streamed result is appended to it and the connection is closed
  without the final chunk, as the server does. `wait_end_of_query=1` avoids that.
* The engine may read every file that this process may (`file()`): give access to trusted users only.
"""

import argparse
import hmac
import json
import os
import secrets
import signal
import socketserver
import stat
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator

from engine import Engine, EngineError
from handler import Handler
from kafka_relay import Relay
from protocol import TOO_MANY_QUERIES, Refusal

HOST = "127.0.0.1"
MAX_RUNNING = 100
STOP_GRACE, STOP_CANCEL = 2.0, 3.0  # seconds to end by themselves, then to obey cancellation


class Users:
    """Names and passwords from the users file."""

    def __init__(self, path: Path) -> None:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ValueError(f"{path} must not be readable by others (chmod 600)")
        entries = json.loads(path.read_text())
        if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
            raise ValueError(f'{path} must be a JSON object {{"user": "password"}}')
        self._passwords: Dict[str, str] = entries
        self._nobody = secrets.token_hex(16)

    def accept(self, user: str, password: str) -> bool:
        """In constant time, for unknown users too."""
        expected = self._passwords.get(user, self._nobody)
        return hmac.compare_digest(expected.encode(), password.encode("utf-8", "replace"))


class Server(socketserver.ThreadingTCPServer):
    """Threads, one per connection, so that /ping answers whatever the queries do."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, engine: Engine, users: Users, access_log: bool) -> None:
        super().__init__((HOST, port), Handler)
        self.engine, self.users, self.access_log = engine, users, access_log
        self._slots = threading.BoundedSemaphore(MAX_RUNNING)

    @contextmanager
    def running_slot(self) -> Iterator[None]:
        """Room for one more query, or the refusal that ClickHouse gives."""
        if not self._slots.acquire(blocking=False):
            raise Refusal(TOO_MANY_QUERIES, f"Too many simultaneous queries. Maximum: {MAX_RUNNING}")
        try:
            yield
        finally:
            self._slots.release()

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"error in a connection: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="ClickHouse's HTTP interface over chdb")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--users-file", type=Path, required=True)
    parser.add_argument("--memory", type=int, default=512 << 20, help="bytes that one query may use")
    parser.add_argument("--kafka-session-ms", type=int, default=6000, help="for a silent consumer")
    parser.add_argument("--kafka-file", type=Path, help="what a Kafka wants that does not take anybody (kafka_relay.py)")
    parser.add_argument("--access-log", action="store_true")
    return parser.parse_args()


def _stop_event() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _serve(arguments: argparse.Namespace) -> int:
    stop = _stop_event()
    users = Users(arguments.users_file.resolve())
    started = time.monotonic()
    kafka = Relay(arguments.kafka_file.resolve()).consumer() if arguments.kafka_file else {}
    engine = Engine(arguments.data_dir, arguments.memory, arguments.kafka_session_ms, kafka)
    try:
        server = Server(arguments.port, engine, users, arguments.access_log)
    except OSError:
        engine.close(0, 0)
        raise
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    seconds = time.monotonic() - started
    print(
        f"ready http://{HOST}:{server.server_address[1]} (ClickHouse {engine.version}, {seconds:.1f} s)",
        flush=True,
    )
    stop.wait()
    server.shutdown()
    server.server_close()
    if not engine.close(STOP_GRACE, STOP_CANCEL):
        print("a query did not end; leaving without it", file=sys.stderr, flush=True)
        os._exit(0)  # the data directory is safe: it survives kill -9
    return 0


def main() -> int:
    try:
        return _serve(_arguments())
    except (EngineError, ImportError, OSError, ValueError) as error:
        print(f"cannot start: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
