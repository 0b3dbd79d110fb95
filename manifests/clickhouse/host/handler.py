"""One client connection: routes, credentials, the way of a query in and of its result out."""

import base64
import binascii
import os
import socket
import sys
import tempfile
import traceback
import uuid
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, NamedTuple, Optional, Tuple
from urllib.parse import parse_qsl, urlsplit

from engine import STREAMABLE, Answer, EngineError, Query
from http_body import BodyError, Compressor, read_body
from protocol import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    RESERVED_PARAMETERS,
    SYNTAX_ERROR,
    UNKNOWN_EXCEPTION,
    Refusal,
    content_type,
)
from sql import SqlError, Statement, insert_from_file, inspect

if TYPE_CHECKING:
    from server import Server

MAX_QUERY = 1 << 20  # bytes of SQL in a body; an INSERT's data may be larger
SOCKET_TIMEOUT = 60.0
LINGER_TIMEOUT, LINGER_BYTES = 2.0, 64 << 20


class Credentials(NamedTuple):
    user: str
    password: str


class Input(NamedTuple):
    """A query ready for the engine. `file` holds an INSERT's data until the query has ended."""

    text: bytes
    statement: Statement
    file: Optional[Path]


class Handler(BaseHTTPRequestHandler):
    """One client connection. Nothing here may raise: socketserver would only log it and hang up."""

    server: "Server"  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "chdb", ""
    timeout = SOCKET_TIMEOUT
    disable_nagle_algorithm = True
    _headers_sent = False
    _body_read = False
    _chunked = False
    _query_id = ""

    def do_GET(self) -> None:
        self._guarded(readonly=True)

    def do_HEAD(self) -> None:
        self._guarded(readonly=True)

    def do_POST(self) -> None:
        self._guarded(readonly=False)

    def do_PUT(self) -> None:
        self._guarded(readonly=False)

    # Routing and errors

    def _guarded(self, readonly: bool) -> None:
        self._headers_sent, self._body_read, self._query_id = False, False, ""
        try:
            self._route(readonly)
        except Refusal as error:
            self._fail(error)
        except SqlError as error:
            self._fail(Refusal((error.code, error.name), error.message))
        except EngineError as error:
            self._fail(Refusal((error.code, error.name), error.message))
        except BodyError as error:
            self.close_connection = True
            self._fail(
                Refusal(NOT_IMPLEMENTED if error.status == 501 else BAD_ARGUMENTS, str(error), error.status)
            )
        except (ConnectionError, socket.timeout):
            self.close_connection = True  # the client has gone, or stalled
        except Exception:  # a fault of this program: the log gets the trace, the client does not
            traceback.print_exc(file=sys.stderr)
            self._fail(Refusal(UNKNOWN_EXCEPTION, "Internal error of the HTTP front"))

    def _route(self, readonly: bool) -> None:
        url = urlsplit(self.path)
        if url.path == "/ping" or url.path == "/replicas_status":
            return self._plain(200, b"Ok.\n")
        if url.path != "/":
            self.close_connection = True  # a body, if any, stays unread
            return self._plain(404, b"There is no handle for this path. Use / or /ping for health checks.\n")
        if not url.query and self.command in ("GET", "HEAD") and not self.headers.get("X-ClickHouse-User"):
            return self._plain(200, b"Ok.\n")
        parameters = dict(parse_qsl(url.query, keep_blank_values=True, errors="replace"))
        self._authenticate(parameters)
        with self.server.running_slot():
            self._run(parameters, readonly)

    def _fail(self, error: Refusal) -> None:
        """Answer with an error; inside a started answer only breaking it off can tell."""
        body = f"{error} (version {self.server.engine.version})\n".encode("utf-8", "replace")
        try:
            if self._headers_sent:
                self.close_connection = True
                self._write_part(body)
                return
            self.close_connection = self.close_connection or self._has_unread_body()
            self._plain(error.status, body, {"X-ClickHouse-Exception-Code": str(error.code)})
            if self._has_unread_body():
                self._linger()
        except OSError:
            self.close_connection = True

    def _has_unread_body(self) -> bool:
        return not self._body_read and (
            "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        )

    def _linger(self) -> None:
        """Take what a client is still sending: closing at once resets it before it reads the answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(LINGER_TIMEOUT)
        left = LINGER_BYTES
        while left > 0:
            piece = self.connection.recv(min(left, 1 << 16))
            if not piece:
                return
            left -= len(piece)

    def send_error(self, code: int, message: Optional[str] = None, explain: Optional[str] = None) -> None:
        """Malformed requests and unknown methods, in plain text (the base class answers in HTML)."""
        self.close_connection = True
        self._query_id = ""
        self._plain(code, f"{message or 'Bad request'}\n".encode())

    def _plain(self, status: int, body: bytes, headers: Optional[Dict[str, str]] = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self._end(body)

    def _end(self, body: bytes) -> None:
        self._common_headers()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._headers_sent = True
        if self.command != "HEAD":
            self.wfile.write(body)

    def _common_headers(self) -> None:
        if self._query_id:
            self.send_header("X-ClickHouse-Query-Id", self._query_id)
        if self.close_connection:
            self.send_header("Connection", "close")

    # One query

    def _authenticate(self, parameters: Dict[str, str]) -> None:
        given = self._credentials(parameters)
        if not self.server.users.accept(given.user, given.password):
            reason = "Authentication failed: password is incorrect, or there is no user with such name."
            raise Refusal(AUTHENTICATION_FAILED, f"{_header_safe(given.user)}: {reason}")

    def _credentials(self, parameters: Dict[str, str]) -> Credentials:
        """Headers, then basic auth, then parameters; the user `default` when nothing is said."""
        user, key = self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")
        if user is not None or key is not None:
            return Credentials(_utf8(user or "default"), _utf8(key or ""))
        scheme, _, encoded = (self.headers.get("Authorization") or "").partition(" ")
        if scheme.lower() == "basic":
            try:
                name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise Refusal(AUTHENTICATION_FAILED, "Invalid HTTP Basic authentication") from None
            return Credentials(name, password)
        return Credentials(parameters.get("user", "default"), parameters.get("password", ""))

    def _run(self, parameters: Dict[str, str], readonly: bool) -> None:
        self._query_id = _header_safe(parameters.get("query_id", "")) or str(uuid.uuid4())
        for name in ("compress", "decompress"):
            if parameters.get(name, "0") not in ("0", "false"):
                raise Refusal(NOT_IMPLEMENTED, f"{name}=1 is not supported; use HTTP compression")
        source = self._input(parameters)
        try:
            query = self._query_of(source, parameters, readonly)
            answer = self.server.engine.execute(query)
            try:
                self._send(answer, query, source.statement, parameters)
            finally:
                answer.close()
        finally:
            if source.file:
                source.file.unlink()

    def _query_of(self, source: Input, parameters: Dict[str, str], readonly: bool) -> Query:
        default_format = (
            parameters.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
        )
        format_name = source.statement.format or default_format
        selects = source.statement.verb in ("SELECT", "WITH", "FROM")
        return Query(
            text=source.text,
            format=default_format,
            database=parameters.get("database") or self.headers.get("X-ClickHouse-Database") or "",
            query_id=self._query_id,
            readonly=readonly,
            stream=selects and format_name in STREAMABLE and parameters.get("wait_end_of_query") != "1",
            settings={
                k: v
                for k, v in parameters.items()
                if k not in RESERVED_PARAMETERS and not k.startswith("param_")
            },
            parameters={k[len("param_") :]: v for k, v in parameters.items() if k.startswith("param_")},
        )

    def _input(self, parameters: Dict[str, str]) -> Input:
        """The query from URL and body. Data of an INSERT goes to a file, the rest stays in memory."""
        pieces = read_body(self.rfile, self.headers)
        head, ended = _read_up_to(pieces, MAX_QUERY)
        text = parameters.get("query", "").encode()
        text = text + b"\n" + head if text and head else text or head
        statement = inspect(text)
        if statement.data_at is None:
            if not ended:
                raise Refusal(SYNTAX_ERROR, f"Max query size exceeded ({MAX_QUERY} bytes)")
            self._body_read = True
            return Input(text, statement, None)
        file = self._store(text[statement.data_at :], pieces)
        self._body_read = True
        return Input(insert_from_file(text, file.name), statement, file)

    def _store(self, start: bytes, rest: Iterator[bytes]) -> Path:
        descriptor, name = tempfile.mkstemp(suffix=".data", dir=self.server.engine.files_dir)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(start)
                for piece in rest:
                    file.write(piece)
        except BaseException:
            os.unlink(name)
            raise
        return Path(name)

    def _send(self, answer: Answer, query: Query, statement: Statement, parameters: Dict[str, str]) -> None:
        """One part is sent with its length, more are sent in chunks while the engine works."""
        parts = answer.chunks()
        parts_known = [part for part in (next(parts, None), next(parts, None)) if part is not None]
        wanted = parameters.get("enable_http_compression", "0") in ("1", "true")
        compressor = Compressor(self.headers.get("Accept-Encoding") if wanted else None)
        is_insert = statement.data_at is not None
        self.send_response(200)
        self._result_headers(
            answer, compressor, (not is_insert and statement.format) or query.format, is_insert
        )
        if len(parts_known) < 2:
            body = b"".join(parts_known)
            return self._end(compressor.feed(body) + compressor.finish())
        self._send_chunked(compressor, parts_known, parts)

    def _result_headers(
        self, answer: Answer, compressor: Compressor, format_name: str, is_insert: bool
    ) -> None:
        self.send_header("Content-Type", content_type(format_name))
        self.send_header("X-ClickHouse-Format", format_name)
        self.send_header("X-ClickHouse-Timezone", self.server.engine.timezone)
        progress = answer.progress()
        if progress:
            self.send_header("X-ClickHouse-Summary", progress.summary(is_insert))
        if compressor.encoding:
            self.send_header("Content-Encoding", compressor.encoding)

    def _send_chunked(self, compressor: Compressor, known: List[bytes], rest: Iterator[bytes]) -> None:
        self._chunked = self.request_version == "HTTP/1.1"
        self.close_connection = self.close_connection or not self._chunked
        self._common_headers()
        if self._chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._headers_sent = True
        if self.command == "HEAD":
            return
        for part in _chain(known, rest):
            self._write_part(compressor.feed(part))
        self._write_part(compressor.finish())
        if self._chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _write_part(self, data: bytes) -> None:
        if data:  # an empty chunk would end the answer
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    # Logging: the query string may hold a password, so only the path is ever written.

    def log_request(self, code: object = "-", size: object = "-") -> None:
        if self.server.access_log:
            path = urlsplit(getattr(self, "path", "")).path
            print(
                f"{self.command} {path} {int(code) if isinstance(code, int) else code}",
                file=sys.stderr,
                flush=True,
            )

    def log_error(self, format: str, *args: object) -> None:
        """Malformed requests and idle connections are the client's affair."""


def _read_up_to(pieces: Iterator[bytes], limit: int) -> Tuple[bytes, bool]:
    """The body, or its first `limit` bytes and a little; and whether that was all."""
    taken = bytearray()
    for piece in pieces:
        taken += piece
        if len(taken) > limit:
            return bytes(taken), False
    return bytes(taken), True


def _chain(known: List[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield from known
    yield from rest


def _header_safe(text: str) -> str:
    return "".join(char for char in text if " " <= char <= "~")[:200]


def _utf8(header: str) -> str:
    """http.client and http.server read header bytes as Latin-1; ClickHouse's clients send UTF-8."""
    return header.encode("latin-1", "replace").decode("utf-8", "replace")
