"""The few requests to a Kafka 4 broker that the topic and the user operator make."""

import base64
import hashlib
import os
import socket
import struct
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

TIMEOUT_MS = 15_000
_ERRORS = {
    3: "UnknownTopicOrPartitionException",
    7: "TimeoutException",
    17: "InvalidTopicException",
    36: "TopicExistsException",
    37: "InvalidPartitionsException",
    38: "InvalidReplicationFactorException",
    40: "InvalidConfigurationException",
    44: "PolicyViolationException",
}


class KafkaError(Exception):
    """An error code, under its Java name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


@dataclass
class Topic:
    id: str
    partitions: int


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, kind: str) -> int:
        return struct.unpack(f">{kind}", self.take(struct.calcsize(kind)))[0]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> Optional[str]:
        length = self.varint()
        return self.take(length - 1).decode() if length else None

    def tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self.take(self.varint())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode()
    return _varint(len(raw) + 1) + raw


def _check(code: int, message: Optional[str]) -> None:
    if code:
        name = _ERRORS.get(code, f"error {code}")
        raise KafkaError(f"org.apache.kafka.common.errors.{name}", message or "")


class Broker:
    """A connection per request: they are rare."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)

    def _ask(self, key: int, version: int, body: bytes) -> _Reader:
        header = struct.pack(">hhi", key, version, 1) + struct.pack(">h", 7) + b"standin" + b"\0"
        with socket.create_connection(self.address, timeout=20) as stream:
            stream.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
            size = struct.unpack(">i", _exactly(stream, 4))[0]
            reader = _Reader(_exactly(stream, size))
        reader.number("i")
        reader.tags()
        return reader

    def topic(self, name: str) -> Optional[Topic]:
        """Metadata v12."""
        body = _varint(2) + bytes(16) + _text(name) + b"\0" + b"\0" + b"\0" + b"\0"
        reader = self._ask(3, 12, body)
        reader.number("i")
        for _ in range(reader.varint() - 1):  # brokers
            reader.number("i")
            reader.text()
            reader.number("i")
            reader.text()
            reader.tags()
        reader.text()
        reader.number("i")
        reader.varint()
        code = reader.number("h")
        reader.text()
        identity = reader.take(16)
        reader.take(1)
        partitions = reader.varint() - 1
        if code == 3:
            return None
        _check(code, f"metadata of {name}")
        return Topic(base64.urlsafe_b64encode(identity).decode().rstrip("="), partitions)

    def create_topic(self, name: str, partitions: int, replicas: int, config: Dict[str, str]) -> None:
        """CreateTopics v7."""
        settings = b"".join(_text(key) + _text(value) + b"\0" for key, value in config.items())
        body = _varint(2) + _text(name) + struct.pack(">ih", partitions, replicas) + _varint(1)
        body += _varint(len(config) + 1) + settings + b"\0" + struct.pack(">i?", TIMEOUT_MS, False) + b"\0"
        reader = self._ask(19, 7, body)
        reader.number("i")
        reader.varint()
        reader.text()
        reader.take(16)
        _check(reader.number("h"), reader.text())

    def delete_topic(self, name: str) -> None:
        """DeleteTopics v4; one that is not there is fine."""
        body = _varint(2) + _text(name) + struct.pack(">i", TIMEOUT_MS) + b"\0"
        reader = self._ask(20, 4, body)
        reader.number("i")
        reader.varint()
        reader.text()
        code = reader.number("h")
        if code != 3:
            _check(code, f"deleting {name}")

    def create_partitions(self, name: str, count: int) -> None:
        """CreatePartitions v2."""
        body = _varint(2) + _text(name) + struct.pack(">i", count) + b"\0" + b"\0"
        body += struct.pack(">i?", TIMEOUT_MS, False) + b"\0"
        reader = self._ask(37, 2, body)
        reader.number("i")
        reader.varint()
        reader.text()
        _check(reader.number("h"), reader.text())

    def set_config(self, name: str, config: Dict[str, str]) -> None:
        """IncrementalAlterConfigs v1."""
        if not config:
            return
        entries = b"".join(_text(key) + b"\0" + _text(value) + b"\0" for key, value in config.items())
        body = _varint(2) + b"\x02" + _text(name) + _varint(len(config) + 1) + entries + b"\0" + b"\0" + b"\0"
        reader = self._ask(44, 1, body)
        reader.number("i")
        reader.varint()
        _check(reader.number("h"), reader.text())


    def set_scram(self, user: str, password: str) -> None:
        """AlterUserScramCredentials v0, SCRAM-SHA-512."""
        salt, iterations = os.urandom(24), 4096
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
        entry = _text(user) + struct.pack(">bi", 2, iterations)
        entry += _varint(len(salt) + 1) + salt + _varint(len(salted) + 1) + salted + b"\0"
        reader = self._ask(51, 0, _varint(1) + _varint(2) + entry + b"\0")
        reader.number("i")
        reader.varint()
        reader.text()
        _check(reader.number("h"), reader.text())

    def set_acls(self, principal: str, rules: List[Tuple[str, str, str, str, str, str]]) -> None:
        """DeleteAcls v3 of everything that the principal may, then CreateAcls v3."""
        every = struct.pack(">b", 1) + b"\0" + struct.pack(">b", 1) + _text(principal) + b"\0" + struct.pack(">bb", 1, 1) + b"\0"
        reader = self._ask(31, 3, _varint(2) + every + b"\0")
        reader.number("i")
        reader.varint()
        _check(reader.number("h"), reader.text())
        body = _varint(len(rules) + 1)
        for kind, name, pattern, host, operation, permission in rules:
            body += struct.pack(">b", _KINDS[kind]) + _text(name) + struct.pack(">b", _PATTERNS[pattern])
            body += _text(principal) + _text(host) + struct.pack(">bb", _OPERATIONS[operation], _PERMISSIONS[permission]) + b"\0"
        reader = self._ask(30, 3, body + b"\0")
        reader.number("i")
        for _ in range(reader.varint() - 1):
            _check(reader.number("h"), reader.text())
            reader.tags()


_KINDS = {"topic": 2, "group": 3, "cluster": 4, "transactionalId": 5}
_PATTERNS = {"literal": 3, "prefix": 4}
_PERMISSIONS = {"deny": 2, "allow": 3}
_OPERATIONS = {
    name: number
    for number, name in enumerate(
        "All Read Write Create Delete Alter Describe ClusterAction DescribeConfigs AlterConfigs IdempotentWrite".split(), 2
    )
}


def _exactly(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionError("the broker closed the connection")
        data += more
    return data
