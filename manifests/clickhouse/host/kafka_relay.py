"""A way to a Kafka that wants TLS or a login, for an engine whose Kafka client has no TLS and of SASL only PLAIN.

The engine connects here, on the loopback address, with a password that is made at each start: no other user of the
machine gets through. Each of its connections leads to one broker, encrypted and verified, logged in as the user of
the settings. Requests and answers pass as they are, but for those that name brokers: an address in them is replaced
by that of a listener here, of which each broker has one.

Messages have the form of https://kafka.apache.org/protocol. Answers that name brokers are read in the newest version
that has no tagged fields; the engine is told that the broker knows no newer one.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
import ssl
import stat
import struct
import sys
import threading
from asyncio import StreamReader, StreamWriter
from collections import deque
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

HOST = "127.0.0.1"
USER = "engine"
CONNECT_WITHIN = 20.0  # seconds
LARGEST_FRAME = 256 << 20  # bytes; a change has at most 40 MB
BUFFERED = 1 << 20  # bytes

PRODUCE, FETCH, METADATA, FIND_COORDINATOR = 0, 1, 3, 10
SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
# Later versions have tagged fields, or addresses of brokers in them (KIP-951).
NEWEST = {PRODUCE: 9, FETCH: 15, METADATA: 8, FIND_COORDINATOR: 2, SASL_HANDSHAKE: 1, SASL_AUTHENTICATE: 1}
UNSUPPORTED_MECHANISM, AUTHENTICATION_FAILED = 33, 58
# What a client may demand of this machine, and what Kafka demands at the least.
ITERATIONS = range(4096, 100_001)

Address = Tuple[str, int]
Stream = Tuple[StreamReader, StreamWriter]


class Broken(Exception):
    """The other side said what makes no sense, or refused."""


class Reader:
    """Reads an answer field by field."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise Broken("a message ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def int16(self) -> int:
        return struct.unpack(">h", self.take(2))[0]

    def int32(self) -> int:
        return struct.unpack(">i", self.take(4))[0]

    def string(self) -> Optional[bytes]:
        length = self.int16()
        return None if length < 0 else self.take(length)

    def text(self) -> str:
        return (self.string() or b"").decode("utf-8", "replace")

    def blob(self) -> bytes:
        return self.take(max(self.int32(), 0))

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def skip_tags(self) -> None:
        for _ in range(self.unsigned()):
            self.unsigned()
            self.take(self.unsigned())


def lowered(answer: bytes, version: int) -> bytes:
    """An answer to ApiVersions with no version that is newer than those of NEWEST."""
    reader = Reader(answer, 4)
    if reader.int16() != 0:
        return answer
    patched = bytearray(answer)
    is_flexible = version >= 3
    count = reader.unsigned() - 1 if is_flexible else reader.int32()
    for _ in range(count):
        key, _oldest = reader.int16(), reader.int16()
        at, newest = reader.at, reader.int16()
        patched[at : at + 2] = struct.pack(">h", min(newest, NEWEST.get(key, newest)))
        if is_flexible:
            reader.skip_tags()
    return bytes(patched)


def readdressed(answer: bytes, key: int, version: int, local: Callable[[Address], Address]) -> bytes:
    """An answer that names brokers, with the addresses that `local` gives instead."""
    reader, parts, copied = Reader(answer, 4), [], 0
    if version >= (3 if key == METADATA else 1):
        reader.int32()  # throttle time
    if key == METADATA:
        count = reader.int32()
    else:
        error, count = reader.int16(), 1
        if version >= 1:
            reader.string()  # error message
        if error:
            return answer
    for _ in range(count):
        reader.int32()  # id
        parts.append(answer[copied : reader.at])
        host, port = local((reader.text(), reader.int32()))
        parts.append(_string(host) + struct.pack(">i", port))
        copied = reader.at
        if key == METADATA and version >= 1:
            reader.string()  # rack
    parts.append(answer[copied:])
    return b"".join(parts)


class Scram:
    """The client's side of RFC 5802."""

    def __init__(self, mechanism: str, user: str, password: str, nonce: str) -> None:
        self._hash = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[mechanism]
        self._password, self._nonce = password, nonce
        name = user.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={nonce}"
        self._signature = b""

    def first(self) -> str:
        return f"n,,{self._bare}"

    def final(self, challenge: str) -> str:
        fields = _fields(challenge)
        nonce, count = fields.get("r", ""), int(fields.get("i", "0"))
        if not nonce.startswith(self._nonce) or count not in ITERATIONS:
            raise Broken("the broker's SCRAM message does not continue this login")
        salt = base64.b64decode(fields.get("s", ""))
        salted = hashlib.pbkdf2_hmac(self._hash, self._password.encode(), salt, count)
        client = self._mac(salted, b"Client Key")
        bare = f"c=biws,r={nonce}"
        signed = f"{self._bare},{challenge},{bare}".encode()
        stored = hashlib.new(self._hash, client).digest()
        proof = bytes(a ^ b for a, b in zip(client, self._mac(stored, signed)))
        self._signature = self._mac(self._mac(salted, b"Server Key"), signed)
        return f"{bare},p={base64.b64encode(proof).decode()}"

    def verify(self, last: str) -> None:
        signature = base64.b64decode(_fields(last).get("v", ""))
        if not hmac.compare_digest(signature, self._signature):
            raise Broken("the broker did not prove that it knows the password: it is not the real one")

    def _mac(self, key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, self._hash).digest()


def _fields(message: str) -> Dict[str, str]:
    return dict(part.split("=", 1) for part in message.split(",") if "=" in part)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">h", len(raw)) + raw


class Relay:
    """Listens from the start on, until the process ends; in a thread of its own."""

    def __init__(self, path: Path) -> None:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ValueError(f"{path} must not be readable by others (chmod 600)")
        settings: Dict[str, Any] = json.loads(path.read_text())
        self._mechanism: Optional[str] = settings["mechanism"]
        self._user, self._password = settings["user"] or "", settings["password"] or ""
        self._tls: Optional[ssl.SSLContext] = None
        if settings["ca"]:
            self._tls = ssl.create_default_context(cafile=settings["ca"])
            # Python 3.13 wants more of a certificate than Kafka's own clients do.
            self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._token = secrets.token_hex(24)
        self._listeners: Dict[Address, Address] = {}
        self._servers: List[Any] = []  # a task that nobody holds is collected
        self._said = ""
        host, _, port = settings["broker"].rpartition(":")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        first = asyncio.run_coroutine_threadsafe(self._listen((host, int(port))), self._loop)
        self._first = first.result()

    def consumer(self) -> Dict[str, str]:
        """What the engine's consumers are told, by the names that ClickHouse has for it."""
        host, port = self._first
        return {
            # It wins over the address in a table's statement.
            "metadata_broker_list": f"{host}:{port}",
            "security_protocol": "sasl_plaintext",
            "sasl_mechanism": "PLAIN",
            "sasl_username": USER,
            "sasl_password": self._token,
        }

    async def _listen(self, broker: Address) -> Address:
        return self._local(broker)

    def _local(self, broker: Address) -> Address:
        """Where a broker is reached here."""
        if broker not in self._listeners:
            listener = socket.create_server((HOST, 0), backlog=64)
            self._listeners[broker] = listener.getsockname()[:2]
            self._servers.append(self._loop.create_task(self._accept(listener, broker)))
        return self._listeners[broker]

    async def _accept(self, listener: socket.socket, broker: Address) -> None:
        async def serve(reader: StreamReader, writer: StreamWriter) -> None:
            await self._serve((reader, writer), broker)

        await asyncio.start_server(serve, sock=listener)

    async def _serve(self, engine: Stream, broker: Address) -> None:
        ends = [engine]
        try:
            await asyncio.wait_for(self._connect(broker, ends), CONNECT_WITHIN)
            await self._carry(engine, ends[-1])
        except asyncio.TimeoutError:
            self._say(broker, f"no connection within {CONNECT_WITHIN:.0f} s")
        except asyncio.IncompleteReadError:
            self._say(broker, "it closed the connection during the login")
        except (OSError, Broken, ValueError, struct.error) as error:
            self._say(broker, str(error))
        finally:
            for _, writer in ends:
                writer.close()

    async def _carry(self, engine: Stream, upstream: Stream) -> None:
        """Until either side ends, which is nothing to tell of."""
        asked: Deque[Tuple[int, int]] = deque()
        both = [self._requests(engine, upstream, asked), self._answers(upstream, engine, asked)]
        ways = [asyncio.ensure_future(way) for way in both]
        ended, others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in others:
            way.cancel()
        for way in ended:
            try:
                way.result()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass

    def _say(self, broker: Address, text: str) -> None:
        """Once, however often it is tried again."""
        text = f"Kafka at {broker[0]}:{broker[1]}: {text}"
        if text != self._said:
            print(text, file=sys.stderr, flush=True)
        self._said = text

    async def _connect(self, broker: Address, ends: List[Stream]) -> None:
        host, port = broker
        upstream = await asyncio.open_connection(
            host, port, ssl=self._tls, server_hostname=host if self._tls else None, limit=BUFFERED
        )
        ends.append(upstream)
        if self._mechanism is not None:
            await self._log_in(upstream, self._mechanism)

    async def _log_in(self, upstream: Stream, mechanism: str) -> None:
        answer = await _ask(upstream, SASL_HANDSHAKE, 1, _string(mechanism))
        if answer.int16():
            raise Broken(f"the listener does not offer {mechanism}")
        if mechanism == "PLAIN":
            await _authenticate(upstream, f"\0{self._user}\0{self._password}")
            return
        scram = Scram(mechanism, self._user, self._password, secrets.token_hex(16))
        challenge = await _authenticate(upstream, scram.first())
        scram.verify(await _authenticate(upstream, scram.final(challenge)))

    async def _requests(self, engine: Stream, upstream: Stream, asked: Deque[Tuple[int, int]]) -> None:
        is_in = False
        while True:
            frame = await _frame(engine)
            key, version, correlation = struct.unpack(">hhi", frame[:8])
            if key in (SASL_HANDSHAKE, SASL_AUTHENTICATE):
                body, is_in = self._engine_login(key, version, frame)
                await _send(engine, struct.pack(">i", correlation) + body)
            if key == SASL_HANDSHAKE or (key == SASL_AUTHENTICATE and is_in):
                continue
            if not is_in and key != API_VERSIONS:
                return
            # Kafka answers a connection's requests in their order.
            asked.append((key, version))
            await _send(upstream, frame)

    def _engine_login(self, key: int, version: int, frame: bytes) -> Tuple[bytes, bool]:
        """The answer to a request of the engine's login (RFC 4616), and whether it is in."""
        reader = Reader(frame, 8)
        reader.string()  # client id
        if key == SASL_HANDSHAKE:
            error = 0 if reader.text() == "PLAIN" else UNSUPPORTED_MECHANISM
            return struct.pack(">hi", error, 1) + _string("PLAIN"), False
        is_in = hmac.compare_digest(reader.blob(), f"\0{USER}\0{self._token}".encode())
        body = struct.pack(">hhi", 0 if is_in else AUTHENTICATION_FAILED, -1, 0)
        return body + (struct.pack(">q", 0) if version >= 1 else b""), is_in

    async def _answers(self, upstream: Stream, engine: Stream, asked: Deque[Tuple[int, int]]) -> None:
        while True:
            frame = await _frame(upstream)
            if not asked:
                raise Broken("it answers what nobody asked")
            key, version = asked.popleft()
            if key == API_VERSIONS:
                frame = lowered(frame, version)
            elif key in (METADATA, FIND_COORDINATOR):
                frame = readdressed(frame, key, version, self._local)
            await _send(engine, frame)


async def _ask(stream: Stream, key: int, version: int, body: bytes) -> Reader:
    await _send(stream, struct.pack(">hhi", key, version, 0) + _string("cdc-xtask") + body)
    return Reader(await _frame(stream), 4)


async def _authenticate(stream: Stream, message: str) -> str:
    raw = message.encode()
    answer = await _ask(stream, SASL_AUTHENTICATE, 0, struct.pack(">i", len(raw)) + raw)
    error, words = answer.int16(), answer.text()
    if error:
        raise Broken(f"the login was refused: {words or error}")
    return answer.blob().decode("utf-8", "replace")


async def _send(stream: Stream, frame: bytes) -> None:
    stream[1].write(struct.pack(">i", len(frame)) + frame)
    await stream[1].drain()


async def _frame(stream: Stream) -> bytes:
    (length,) = struct.unpack(">i", await stream[0].readexactly(4))
    if not 4 <= length <= LARGEST_FRAME:
        raise Broken("what it sends is not Kafka's protocol")
    return await stream[0].readexactly(length)
