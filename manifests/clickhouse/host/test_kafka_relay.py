"""Tests of kafka_relay.py: against recorded forms of messages, and against a scripted broker in this process."""

import json
import os
import socket
import struct
import tempfile
import threading
import unittest
from pathlib import Path
from typing import List, Optional, Tuple

import kafka_relay
from kafka_relay import Broken, Relay, Scram

CORRELATION = struct.pack(">i", 7)


def string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def broker(node: int, host: str, port: int) -> bytes:
    return struct.pack(">i", node) + string(host) + struct.pack(">i", port)


def elsewhere(address: Tuple[str, int]) -> Tuple[str, int]:
    return "127.0.0.1", address[1] + 1


class MessagesTest(unittest.TestCase):
    def test_versions_that_name_brokers_in_tagged_fields_are_not_offered(self) -> None:
        plain = CORRELATION + struct.pack(">hi", 0, 2) + struct.pack(">hhh", 3, 0, 13) + struct.pack(">hhh", 18, 0, 4)
        want = CORRELATION + struct.pack(">hi", 0, 2) + struct.pack(">hhh", 3, 0, 8) + struct.pack(">hhh", 18, 0, 4)
        self.assertEqual(kafka_relay.lowered(plain, 0), want)
        # A key, an unknown tag of two bytes, another key; then the time and the tags of all.
        tagged = struct.pack(">hhh", 10, 0, 6) + b"\1\5\2ab" + struct.pack(">hhh", 1, 4, 17) + b"\0"
        flexible = CORRELATION + struct.pack(">h", 0) + b"\3" + tagged + bytes(4) + b"\0"
        want = flexible.replace(struct.pack(">hhh", 10, 0, 6), struct.pack(">hhh", 10, 0, 2))
        want = want.replace(struct.pack(">hhh", 1, 4, 17), struct.pack(">hhh", 1, 4, 15))
        self.assertEqual(kafka_relay.lowered(flexible, 3), want)
        refused = CORRELATION + struct.pack(">hi", 35, 0)
        self.assertEqual(kafka_relay.lowered(refused, 3), refused)

    def test_addresses_are_replaced_wherever_they_stand(self) -> None:
        rest = b"cluster and topics"
        head = CORRELATION + bytes(4) + struct.pack(">i", 2)
        rack = string("a")
        answer = head + broker(1, "kafka-1.example", 9093) + rack + broker(2, "k2", 9094) + b"\xff\xff" + rest
        want = head + broker(1, "127.0.0.1", 9094) + rack + broker(2, "127.0.0.1", 9095) + b"\xff\xff" + rest
        self.assertEqual(kafka_relay.readdressed(answer, kafka_relay.METADATA, 8, elsewhere), want)
        head = CORRELATION + bytes(4) + struct.pack(">h", 0) + string("NONE")
        answer, want = head + broker(1, "k1", 9093), head + broker(1, "127.0.0.1", 9094)
        self.assertEqual(kafka_relay.readdressed(answer, kafka_relay.FIND_COORDINATOR, 2, elsewhere), want)
        none = CORRELATION + bytes(4) + struct.pack(">h", 15) + string("none yet") + broker(-1, "", -1)
        self.assertEqual(kafka_relay.readdressed(none, kafka_relay.FIND_COORDINATOR, 2, elsewhere), none)
        with self.assertRaises(Broken):
            kafka_relay.readdressed(answer[:-3], kafka_relay.FIND_COORDINATOR, 2, elsewhere)

    def test_a_login_is_that_of_rfc_7677(self) -> None:
        scram = Scram("SCRAM-SHA-256", "user", "pencil", "rOprNGfwEbeRWgbNEkqO")
        self.assertEqual(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        final = scram.final(f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
        self.assertEqual(final, f"c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        for wrong in ("v=AAAA", "e=other-error"):
            with self.assertRaises(Broken):
                scram.verify(wrong)
        for challenge in (f"r={nonce},s=W22Z,i=4294967295", "r=another,s=W22Z,i=4096", ""):
            with self.assertRaises(Broken):
                scram.final(challenge)


class ScriptedBroker:
    """Takes PLAIN with one password, and answers every other request with a coordinator."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: List[int] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        while True:
            frame = receive(client)
            if frame is None:
                return
            key, version = struct.unpack(">hh", frame[:4])
            self.asked.append(key)
            if key == kafka_relay.SASL_HANDSHAKE:
                body = struct.pack(">hi", 0, 1) + string("PLAIN")
            elif key == kafka_relay.SASL_AUTHENTICATE:
                is_right = frame.endswith(b"\0etl\0right")
                body = struct.pack(">hhi", 0 if is_right else 58, -1, 0)
            else:
                body = struct.pack(">ihh", 0, 0, -1) + broker(1, "127.0.0.1", self.port)
            answer = frame[4:8] + body
            client.sendall(struct.pack(">i", len(answer)) + answer)


def receive(stream: socket.socket) -> Optional[bytes]:
    head = stream.recv(4, socket.MSG_WAITALL)
    return stream.recv(struct.unpack(">i", head)[0], socket.MSG_WAITALL) if len(head) == 4 else None


def ask(stream: socket.socket, key: int, version: int, body: bytes) -> Optional[bytes]:
    frame = struct.pack(">hhi", key, version, 7) + string("test") + body
    stream.sendall(struct.pack(">i", len(frame)) + frame)
    return receive(stream)


def log_in(stream: socket.socket, user: str, password: str) -> Optional[bytes]:
    assert ask(stream, kafka_relay.SASL_HANDSHAKE, 1, string("PLAIN")) is not None
    message = f"\0{user}\0{password}".encode()
    return ask(stream, kafka_relay.SASL_AUTHENTICATE, 0, struct.pack(">i", len(message)) + message)


class RelayTest(unittest.TestCase):
    def setUp(self) -> None:
        self.broker = ScriptedBroker()

    def relay(self, password: str, mode: int = 0o600) -> Relay:
        settings = {"ca": None, "mechanism": "PLAIN", "user": "etl", "password": password}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kafka.json"
            path.write_text(json.dumps({"broker": f"127.0.0.1:{self.broker.port}", **settings}))
            os.chmod(path, mode)
            return Relay(path)

    def connection(self, relay: Relay) -> socket.socket:
        host, port = relay.consumer()["metadata_broker_list"].split(":")
        stream = socket.create_connection((host, int(port)), timeout=20)
        self.addCleanup(stream.close)
        return stream

    def test_the_engine_gets_through_and_stays_on_this_way(self) -> None:
        relay = self.relay("right")
        consumer = relay.consumer()
        stream = self.connection(relay)
        answer = log_in(stream, consumer["sasl_username"], consumer["sasl_password"])
        self.assertEqual(answer, CORRELATION + struct.pack(">hhi", 0, -1, 0))
        answer = ask(stream, kafka_relay.FIND_COORDINATOR, 1, string("group"))
        address = consumer["metadata_broker_list"].split(":")
        want = CORRELATION + struct.pack(">ihh", 0, 0, -1) + broker(1, address[0], int(address[1]))
        self.assertEqual(answer, want)

    def test_nobody_else_gets_through(self) -> None:
        relay = self.relay("right")
        stream = self.connection(relay)
        answer = log_in(stream, "engine", "guessed")
        self.assertEqual(answer, CORRELATION + struct.pack(">hhi", 58, -1, 0))
        self.assertIsNone(receive(stream))
        # Without a login.
        self.assertIsNone(ask(self.connection(relay), kafka_relay.METADATA, 1, bytes(4)))
        own = [kafka_relay.SASL_HANDSHAKE, kafka_relay.SASL_AUTHENTICATE]
        self.assertTrue(set(self.broker.asked) <= set(own), self.broker.asked)

    def test_a_refused_login_ends_the_connection(self) -> None:
        stream = self.connection(self.relay("wrong"))
        self.assertIsNone(receive(stream))

    def test_a_file_that_others_may_read_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            self.relay("right", 0o644)


if __name__ == "__main__":
    unittest.main()
