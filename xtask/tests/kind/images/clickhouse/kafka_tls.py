"""TLS and SCRAM-SHA-512 towards Kafka for an engine whose Kafka client was built with neither.

Listens on loopback addresses under the brokers' own names (the pod's host aliases), and leads each connection to the
broker of that name: verified against the given authority, logged in as the given user. What follows is copied.

    python kafka_tls.py PORT CA USER ADDRESS=NAME...    the password is in KAFKA_PASSWORD
"""

import base64
import hashlib
import hmac
import os
import secrets
import socket
import ssl
import struct
import sys
import threading

# Names that end like this are in no host alias: they lead to the broker itself.
REAL = ".cluster.local"


def exactly(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionError("the broker closed the connection")
        data += more
    return data


def ask(stream, key, version, body):
    frame = struct.pack(">hhih", key, version, 1, 5) + b"proxy" + body
    stream.sendall(struct.pack(">i", len(frame)) + frame)
    answer = exactly(stream, struct.unpack(">i", exactly(stream, 4))[0])
    (code,) = struct.unpack(">h", answer[4:6])
    if code and key == 17:
        raise ConnectionError(f"the broker refuses the mechanism: {code}")
    return code, answer[6:]


def say(stream, text):
    raw = text.encode()
    code, rest = ask(stream, 36, 0, struct.pack(">i", len(raw)) + raw)
    (length,) = struct.unpack(">h", rest[:2])
    message, rest = rest[2 : 2 + max(length, 0)], rest[2 + max(length, 0) :]
    if code:
        raise ConnectionError(f"login refused: {message.decode()}")
    (length,) = struct.unpack(">i", rest[:4])
    return rest[4 : 4 + length].decode()


def log_in(stream, user, password):
    name = b"SCRAM-SHA-512"
    ask(stream, 17, 1, struct.pack(">h", len(name)) + name)
    nonce = secrets.token_hex(16)
    first = f"n={user},r={nonce}"
    challenge = say(stream, f"n,,{first}")
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    if not fields["r"].startswith(nonce):
        raise ConnectionError("not our nonce")
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))

    def mac(key, text):
        return hmac.new(key, text, "sha512").digest()

    client = mac(salted, b"Client Key")
    bare = f"c=biws,r={fields['r']}"
    signed = f"{first},{challenge},{bare}".encode()
    proof = bytes(a ^ b for a, b in zip(client, mac(hashlib.sha512(client).digest(), signed)))
    last = say(stream, f"{bare},p={base64.b64encode(proof).decode()}")
    if last != f"v={base64.b64encode(mac(mac(salted, b'Server Key'), signed)).decode()}":
        raise ConnectionError("the broker does not know the password")


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for stream in (source, target):
        try:
            stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, name, port, context, user):
    try:
        raw = socket.create_connection((name + REAL, port), timeout=20)
        broker = context.wrap_socket(raw, server_hostname=name)
        log_in(broker, user, os.environ["KAFKA_PASSWORD"])
        broker.settimeout(None)
    except (OSError, KeyError, ValueError) as error:
        print(f"kafka_tls: {name}: {error}", file=sys.stderr, flush=True)
        client.close()
        return
    threading.Thread(target=copy, args=(client, broker), daemon=True).start()
    copy(broker, client)


def listen(address, name, port, context, user):
    with socket.create_server((address, port)) as server:
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve, args=(client, name, port, context, user), daemon=True).start()


def main():
    port, authority, user = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    context = ssl.create_default_context(cafile=authority)
    threads = []
    for pair in sys.argv[4:]:
        address, name = pair.split("=", 1)
        threads.append(threading.Thread(target=listen, args=(address, name, port, context, user)))
        threads[-1].start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
