"""Stands before mongo-java-server: who may enter, and what a replica set says about itself.

It is not MongoDB. What it has of it: SCRAM (nothing but a handshake is answered before it), users and roles that are made by
command, of whom all but root may only read the databases that they have `read` on, a set that is no set until
`replSetInitiate`, whose configuration is kept, and data and change streams that outlive the process.
"""

import json
import os
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import bson
from scram import Conversation, Refused

HOME = Path(__file__).parent
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
OPEN = {"hello", "ismaster", "isMaster", "saslStart", "saslContinue", "ping", "buildInfo", "buildinfo", "logout"}
# What a connection from this machine may do while there is no user.
FIRST = {"replSetInitiate", "replSetGetStatus", "replSetGetConfig", "createUser"}
# What every user may do, and what `read` on a database permits there (MongoDB's manual, "Built-In Roles").
ANYBODY = OPEN | {"endSessions", "refreshSessions", "killSessions", "connectionStatus", "listDatabases"}
READ = {"find", "aggregate", "count", "distinct", "getMore", "killCursors", "listCollections", "listIndexes", "dbStats", "collStats"}
USERS = {"createUser", "updateUser", "dropUser", "usersInfo", "createRole", "updateRole"}
BUILT_IN = {"read", "readWrite", "dbAdmin", "clusterMonitor", "root"}


class State:
    """Options, users and the set's configuration."""

    def __init__(self, directory: Path, replica_set: Optional[str], root: Dict[str, str], asks: bool) -> None:
        self.file = directory / "replica-set.json"
        self.replica_set, self.asks = replica_set, asks
        self.config = json.loads(self.file.read_text()) if self.file.exists() else None
        self.access_file = directory / "users.json"
        kept = json.loads(self.access_file.read_text()) if self.access_file.exists() else {"users": {}, "roles": {}}
        self.access: Dict[str, Dict[str, Any]] = kept
        for name, password in root.items():
            self.access["users"][name] = {"pwd": password, "roles": [{"role": "root", "db": "admin"}]}

    @property
    def passwords(self) -> Dict[str, str]:
        return {name: user["pwd"] for name, user in self.access["users"].items()}

    def change(self, kind: str, name: str, value: Dict[str, Any]) -> None:
        self.access[kind].setdefault(name, {}).update(value)
        self.access_file.touch(mode=0o600)
        self.access_file.write_text(json.dumps(self.access))

    def roles(self, user: str) -> List[Dict[str, str]]:
        return self.access["users"].get(user, {}).get("roles", [])

    def may(self, user: str, command: str, database: str) -> bool:
        roles = self.roles(user)
        if command in ANYBODY or any(role["role"] == "root" for role in roles):
            return True
        if command not in READ:
            return False
        for role in roles:
            own = self.access["roles"].get(role["role"])
            if role["role"] in ("read", "readWrite") and role["db"] == database:
                return True
            if own and any(p["resource"].get("db") in ("", database) and "find" in p["actions"] for p in own["privileges"]):
                return True
        return False

    def initiate(self, config: bson.Document) -> None:
        members = [{"_id": int(m["_id"]), "host": m["host"]} for m in config.get("members") or []]
        self.config = {"_id": config.get("_id", self.replica_set), "members": members}
        self.file.write_text(json.dumps(self.config))

    @property
    def me(self) -> str:
        return self.config["members"][0]["host"]

    def hello(self, query: bson.Document) -> bson.Document:
        found: bson.Document = {
            "helloOk": True,
            "maxBsonObjectSize": 16 << 20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "localTime": bson.Raw(b"\x09" + struct.pack("<q", time.time_ns() // 1_000_000)),
            "logicalSessionTimeoutMinutes": 30,
            "minWireVersion": 0,
            "maxWireVersion": 13,
            "readOnly": False,
        }
        if self.replica_set and not self.config:
            found.update({"ismaster": False, "isWritablePrimary": False, "secondary": False, "isreplicaset": True})
            found["info"] = "Does not have a valid replica set config"
        else:
            found.update({"ismaster": True, "isWritablePrimary": True})
        if self.config:
            now = int(time.time())
            stamp = bson.Raw(b"\x11" + struct.pack("<II", 0, now))
            date = bson.Raw(b"\x09" + struct.pack("<q", now * 1000))
            found.update({"setName": self.config["_id"], "setVersion": 1, "secondary": False})
            found.update({"hosts": [m["host"] for m in self.config["members"]], "primary": self.me, "me": self.me})
            found["lastWrite"] = {"opTime": {"ts": stamp, "t": bson.Int64(1)}, "lastWriteDate": date}
            found["operationTime"] = stamp  # where Debezium begins
        if "saslSupportedMechs" in query:
            found["saslSupportedMechs"] = ["SCRAM-SHA-1", "SCRAM-SHA-256"]
        return {**found, "ok": 1.0}


def failure(code: int, name: str, message: str) -> bson.Document:
    return {"ok": 0.0, "errmsg": message, "code": code, "codeName": name}


class Session(socketserver.BaseRequestHandler):
    """One connection of a client, and the one behind it."""

    def setup(self) -> None:
        self.state: State = self.server.state
        self.user = None if self.state.asks or self.state.access["users"] else ""
        self.conversation: Optional[Conversation] = None
        self.skip_empty = False
        self.upstream: Optional[socket.socket] = None
        self.lock = threading.Lock()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self) -> None:
        while True:
            message = _message(self.request)
            if message is None:
                return
            _, number, _, opcode = struct.unpack_from("<iiii", message)
            query = _command(message, opcode)
            answer = self._answer(query) if query else None
            if answer is None:
                self._pass_on(message)
                continue
            body = bson.encode(answer)
            if opcode == OP_QUERY:
                body = struct.pack("<iqii", 8, 0, 0, 1) + body
                head = struct.pack("<iiii", 16 + len(body), 0, number, OP_REPLY)
            else:
                body = struct.pack("<I", 0) + b"\0" + body
                head = struct.pack("<iiii", 16 + len(body), 0, number, OP_MSG)
            with self.lock:
                self.request.sendall(head + body)

    def finish(self) -> None:
        if self.upstream:
            self.upstream.close()

    def _answer(self, query: bson.Document) -> Optional[bson.Document]:
        """None for what the server behind answers."""
        command = next(iter(query))
        if command in ("hello", "ismaster", "isMaster"):
            return self.state.hello(query)
        if command in ("saslStart", "saslContinue"):
            return self._sasl(command, query)
        if self.user is None and command not in OPEN:
            if self.state.access["users"] or command not in FIRST:
                return failure(13, "Unauthorized", f"command {command} requires authentication")
        database = query.get("$db", "?")
        if self.user and not self.state.may(self.user, command, database):
            return failure(13, "Unauthorized", f"not authorized on {database} to execute command {command}")
        if command in USERS:
            return self._users(command, query)
        if command == "replSetInitiate":
            return self._initiate(query[command] or {})
        if command in ("replSetGetStatus", "replSetGetConfig"):
            return self._replica_set(command)
        return None

    def _sasl(self, command: str, query: bson.Document) -> bson.Document:
        try:
            if command == "saslStart":
                self.conversation = Conversation(query["mechanism"], self.state.passwords, bytes(query["payload"]))
                self.skip_empty = bool((query.get("options") or {}).get("skipEmptyExchange"))
                payload = self.conversation.challenge.encode()
            elif self.conversation.done:
                payload = b""
            else:
                payload = self.conversation.finish(bytes(query["payload"]))
                self.user = self.conversation.user
                # Clients that did not ask to skip the empty exchange send one more.
                return {"conversationId": 1, "done": self.skip_empty, "payload": payload, "ok": 1.0}
        except Refused:
            return failure(18, "AuthenticationFailed", "Authentication failed.")
        return {"conversationId": 1, "done": self.conversation.done, "payload": payload, "ok": 1.0}

    def _users(self, command: str, query: bson.Document) -> bson.Document:
        name, access = query[command], self.state.access
        if command == "usersInfo":
            name = name["user"] if isinstance(name, dict) else name
            found = [{"_id": f"admin.{name}", "user": name, "db": "admin", "roles": self.state.roles(name)}]
            return {"users": found if name in access["users"] else [], "ok": 1.0}
        kind = "users" if command.endswith("User") else "roles"
        if command.startswith("create") and name in access[kind]:
            code = 51003 if kind == "users" else 51002
            return failure(code, f"Location{code}", f'{kind[:-1].capitalize()} "{name}@admin" already exists')
        if not command.startswith("create") and name not in access[kind]:
            code, text = (11, "UserNotFound") if kind == "users" else (31, "RoleNotFound")
            return failure(code, text, f"Could not find {kind[:-1]} {name}@admin")
        if command == "dropUser":
            del access["users"][name]
            self.state.change("users", next(iter(access["users"])), {})
            return {"ok": 1.0}
        roles = [role if isinstance(role, dict) else {"role": role, "db": "admin"} for role in query.get("roles") or []]
        for role in roles:
            if role["role"] not in BUILT_IN and role["role"] not in access["roles"]:
                return failure(31, "RoleNotFound", f"Could not find role: {role['role']}@{role['db']}")
        change = {key: query[key] for key in ("pwd", "privileges") if key in query}
        self.state.change(kind, name, {**change, **({"roles": roles} if "roles" in query else {})})
        return {"ok": 1.0}

    def _initiate(self, config: bson.Document) -> bson.Document:
        if not self.state.replica_set:
            return failure(76, "NoReplicationEnabled", "This node was not started with replication enabled.")
        if self.state.config:
            return failure(23, "AlreadyInitialized", "already initialized")
        self.state.initiate(config)
        return {"ok": 1.0}

    def _replica_set(self, command: str) -> bson.Document:
        if not self.state.replica_set:
            return failure(76, "NoReplicationEnabled", "not running with --replSet")
        if not self.state.config:
            return failure(94, "NotYetInitialized", "no replset config has been received")
        if command == "replSetGetConfig":
            return {"config": {**self.state.config, "version": 1}, "ok": 1.0}
        members = [
            {"_id": m["_id"], "name": m["host"], "health": 1.0, "state": 1, "stateStr": "PRIMARY", "self": True}
            for m in self.state.config["members"]
        ]
        return {"set": self.state.config["_id"], "myState": 1, "members": members, "ok": 1.0}

    def _pass_on(self, message: bytes) -> None:
        if self.upstream is None:
            self.upstream = socket.create_connection(("127.0.0.1", self.server.behind))
            self.upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._relay, daemon=True).start()
        self.upstream.sendall(message)

    def _relay(self) -> None:
        try:
            while True:
                message = _message(self.upstream)
                if message is None:
                    break
                with self.lock:
                    self.request.sendall(message)
        except OSError:
            pass
        try:
            self.request.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def _message(stream: socket.socket) -> Optional[bytes]:
    head = _exactly(stream, 4)
    if head is None:
        return None
    rest = _exactly(stream, struct.unpack("<i", head)[0] - 4)
    return None if rest is None else head + rest


def _exactly(stream: socket.socket, count: int) -> Optional[bytes]:
    data = b""
    while len(data) < count:
        try:
            more = stream.recv(count - len(data))
        except OSError:
            return None
        if not more:
            return None
        data += more
    return data


def _command(message: bytes, opcode: int) -> Optional[bson.Document]:
    """The command: of those that are not decided here, its name and its database."""
    if opcode == OP_MSG:
        at = 21
        if message[20] != 0:
            return {"?": None}
    elif opcode == OP_QUERY:
        at = message.index(b"\0", 20) + 9
    else:
        return None
    name = message[at + 5 : message.index(b"\0", at + 5)].decode()
    if name in OPEN | USERS or name.startswith("replSet"):
        return bson.decode(message, at)[0]
    return {name: None, "$db": bson.text_at(message, at, "$db")}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str, port: int, state: State, behind: int) -> None:
        self.state, self.behind = state, behind
        super().__init__((address, port), Session)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"connection: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _option(arguments: list, name: str) -> Optional[str]:
    return arguments[arguments.index(name) + 1] if name in arguments else None


def _users() -> Dict[str, str]:
    def value(name: str) -> Optional[str]:
        file = os.environ.get(f"{name}_FILE")
        return Path(file).read_text().rstrip("\n") if file else os.environ.get(name)

    user, password = value("MONGO_INITDB_ROOT_USERNAME"), value("MONGO_INITDB_ROOT_PASSWORD")
    return {user: password} if user and password else {}


def main() -> int:
    arguments = sys.argv[1:]
    data = Path(_option(arguments, "--dbpath") or "/data/db")
    key = _option(arguments, "--keyFile")
    if key and Path(key).stat().st_mode & 0o077:
        print(f"permissions on {key} are too open", file=sys.stderr)
        return 1
    state = State(data, _option(arguments, "--replSet"), _users(), key is not None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        upstream = free.getsockname()
    java = ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    java += ["-Djava.io.tmpdir=/tmp", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{HOME}/classes:{HOME}/libs/*"]
    java += ["MongoMain", str(data / "data.mv"), str(upstream[1])]
    behind = subprocess.Popen(java)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set() and behind.poll() is None:
        try:
            socket.create_connection(upstream, timeout=1).close()
            break
        except OSError:
            stop.wait(0.1)
    address = "0.0.0.0" if "--bind_ip_all" in arguments else _option(arguments, "--bind_ip") or "127.0.0.1"
    server = Server(address, int(_option(arguments, "--port") or 27017), state, upstream[1])
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    print("a stand-in for mongod is ready", flush=True)
    while not stop.wait(0.2) and behind.poll() is None:
        pass
    behind.terminate()
    return behind.wait() if not stop.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
