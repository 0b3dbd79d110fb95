"""The server's half of SCRAM, as MongoDB speaks it."""

import base64
import hashlib
import hmac
import secrets
from typing import Dict

ITERATIONS = {"SCRAM-SHA-1": 10_000, "SCRAM-SHA-256": 15_000}


class Refused(Exception):
    """Not this user, or not this password."""


class Conversation:
    """saslStart, then saslContinue until `done`."""

    def __init__(self, mechanism: str, users: Dict[str, str], first: bytes) -> None:
        self.name = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[mechanism]
        self.iterations = ITERATIONS[mechanism]
        self.done = False
        bare = first.decode().split(",", 2)[2]
        fields = dict(part.split("=", 1) for part in bare.split(","))
        self.user = fields["n"].replace("=2C", ",").replace("=3D", "=")
        if self.user not in users:
            raise Refused
        password = users[self.user]
        if mechanism == "SCRAM-SHA-1":
            password = hashlib.md5(f"{self.user}:mongo:{password}".encode()).hexdigest()
        # The salt of a user stays the same; here it follows from the name.
        salt = hashlib.sha256(self.user.encode()).digest()[: 16 if self.name == "sha1" else 28]
        self.salted = hashlib.pbkdf2_hmac(self.name, password.encode(), salt, self.iterations)
        self.nonce = fields["r"] + secrets.token_urlsafe(18)
        self.challenge = f"r={self.nonce},s={base64.b64encode(salt).decode()},i={self.iterations}"
        self._begin = f"{bare},{self.challenge}"

    def _mac(self, key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, self.name).digest()

    def finish(self, final: bytes) -> bytes:
        """The server's signature, if the client's proof is right."""
        without, _, proof = final.decode().rpartition(",p=")
        if dict(part.split("=", 1) for part in without.split(","))["r"] != self.nonce:
            raise Refused
        message = f"{self._begin},{without}".encode()
        client = self._mac(self.salted, b"Client Key")
        stored = hashlib.new(self.name, client).digest()
        signature = self._mac(stored, message)
        wanted = bytes(a ^ b for a, b in zip(client, signature))
        if not hmac.compare_digest(wanted, base64.b64decode(proof)):
            raise Refused
        self.done = True
        server = self._mac(self._mac(self.salted, b"Server Key"), message)
        return b"v=" + base64.b64encode(server)
