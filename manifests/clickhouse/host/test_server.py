"""Checks of the HTTP front against the real engine: `venv/bin/python test_server.py`.

Standard library only. KAFKA_BOOTSTRAP=host:port adds the checks that need a broker; topics are created by
the broker (auto.create.topics.enable) and left there.
"""

import base64
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid
import zlib
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple, Union
from urllib.parse import urlencode

HERE = Path(__file__).resolve().parent
PASSWORD = "correct horse"
sys.path.insert(0, str(HERE))

from sql import SqlError, insert_from_file, inspect  # noqa: E402
from test_kafka_relay import MessagesTest, RelayTest  # noqa: E402, F401


class Reply(NamedTuple):
    status: int
    headers: Dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def free_port() -> int:
    """Below the range from which outgoing connections take theirs."""
    for port in range(21000, 32000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


class RunningServer:
    """The real server in a process of its own."""

    def __init__(self, data_dir: Path, users_file: Path) -> None:
        self.port = free_port()
        self.log = tempfile.TemporaryFile()
        self.command = [sys.executable, str(HERE / "server.py"), "--port", str(self.port)]
        self.command += ["--data-dir", str(data_dir), "--users-file", str(users_file)]
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.log)
        assert self.process.stdout
        line = self.process.stdout.readline().decode()
        if not line.startswith("ready http://127.0.0.1:"):
            self.process.wait(10)
            raise RuntimeError(f"not ready: {line!r} {self.errors()}")

    def errors(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()
        return code

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self.log.close()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def call(
        self,
        sql: Union[str, bytes] = b"",
        method: str = "POST",
        headers: Optional[Dict[str, str]] = None,
        path: str = "/",
        auth: bool = True,
        **parameters: str,
    ) -> Reply:
        head = dict(headers or {})
        if auth:
            head["Authorization"] = "Basic " + base64.b64encode(f"default:{PASSWORD}".encode()).decode()
        body = sql.encode() if isinstance(sql, str) else sql
        connection = self.connection()
        try:
            connection.request(
                method, path + ("?" + urlencode(parameters) if parameters else ""), body or None, head
            )
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


class Scratch:
    """A directory with a users file, removed at the end."""

    def __init__(self) -> None:
        self._root = tempfile.TemporaryDirectory(prefix="chdb-test-")
        self.root = Path(self._root.name)
        self.data = self.root / "data"
        self.users = self.root / "users.json"
        self.users.write_text(json.dumps({"default": PASSWORD}))
        self.users.chmod(0o600)

    def close(self) -> None:
        self._root.cleanup()


class SqlTest(unittest.TestCase):
    def test_format_clause(self) -> None:
        for text, expected in (
            (b"SELECT 1 FORMAT JSON", "JSON"),
            (b"select 1 format CSV settings max_threads=1;", "CSV"),
            (b"select 'x FORMAT Y' -- format Z", None),
            (b"select format from t", None),
            (b"select format('{}', 1)", None),
        ):
            self.assertEqual(inspect(text).format, expected, text)

    def test_insert_data(self) -> None:
        for text, head in (
            (
                b"INSERT INTO t FORMAT CSV\n1,2",
                b"INSERT INTO t  FROM INFILE 'f' COMPRESSION 'none'  FORMAT CSV",
            ),
            (
                b"insert into t (`values`) values (1)",
                b"insert into t (`values`)  FROM INFILE 'f' COMPRESSION 'none'  FORMAT Values",
            ),
            (
                b"insert into t settings a=1 format TSV 1\t2",
                b"insert into t  FROM INFILE 'f' COMPRESSION 'none' settings a=1  FORMAT TSV",
            ),
            (
                b"insert into t select a from input('a Int8') format CSV\n1",
                b"insert into t select a from file('f', 'CSV', 'a Int8') ",
            ),
        ):
            self.assertEqual(insert_from_file(text, "f"), head)
        self.assertIsNone(inspect(b"insert into t select 1").data_at)

    def test_refusals(self) -> None:
        for text, code in (
            (b"", 62),
            (b"-- nothing", 62),
            (b"select 1; select 2", 62),
            (b"select 1 into outfile 'x'", 358),
            (b"insert into t from infile 'x' format CSV", 78),
        ):
            with self.assertRaises(SqlError) as caught:
                inspect(text)
            self.assertEqual(caught.exception.code, code, text)
        self.assertEqual(inspect(b"select ';' ; -- end\n;").verb, "SELECT")


class ServerTest(unittest.TestCase):
    scratch: Scratch
    server: RunningServer

    @classmethod
    def setUpClass(cls) -> None:
        cls.scratch = Scratch()
        cls.server = RunningServer(cls.scratch.data, cls.scratch.users)

    @classmethod
    def tearDownClass(cls) -> None:
        code, errors = cls.server.stop(), cls.server.errors()
        cls.server.close()
        cls.scratch.close()
        assert code == 0, code
        assert "Traceback" not in errors and PASSWORD not in errors, errors

    def ok(self, sql: Union[str, bytes], **parameters: str) -> str:
        reply = self.server.call(sql, **parameters)
        self.assertEqual(reply.status, 200, reply.body[:500])
        return reply.text

    def fails(self, sql: str, status: int, code: int, **parameters: str) -> Reply:
        reply = self.server.call(sql, **parameters)
        self.assertEqual(
            (reply.status, reply.headers.get("X-ClickHouse-Exception-Code")),
            (status, str(code)),
            reply.text[:500],
        )
        self.assertTrue(reply.text.startswith(f"Code: {code}. DB::Exception: "), reply.text)
        self.assertNotIn("Traceback", reply.text)
        return reply

    def table(self, columns: str = "a Int64, b String") -> str:
        name = "t" + uuid.uuid4().hex[:8]
        self.ok(f"CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY tuple()")
        return name

    # Paths and access

    def test_open_paths(self) -> None:
        for path in ("/ping", "/", "/replicas_status"):
            self.assertEqual(self.server.call(method="GET", path=path, auth=False)[::2], (200, b"Ok.\n"))
        self.assertEqual(self.server.call(method="GET", path="/nothing").status, 404)
        self.assertEqual(self.server.call("select 1", method="DELETE").status, 501)

    def test_authentication(self) -> None:
        for headers in (
            {},
            {"Authorization": "Basic eDp5"},
            {"Authorization": "Basic %%%"},
            {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "no"},
        ):
            reply = self.server.call("SELECT 1", headers=headers, auth=False)
            self.assertIn(reply.status, (401, 403))
            self.assertEqual(reply.headers["X-ClickHouse-Exception-Code"], "516")
        reply = self.server.call(
            "SELECT 1", headers={"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD}, auth=False
        )
        self.assertEqual(reply.text, "1\n")
        self.assertEqual(
            self.server.call("SELECT 1", auth=False, user="default", password=PASSWORD).text, "1\n"
        )

    def test_refusal_reaches_a_client_that_is_still_sending(self) -> None:
        reply = self.server.call(b"x" * (20 << 20), auth=False, query="INSERT INTO t FORMAT CSV")
        self.assertEqual(reply.status, 403)

    # Queries

    def test_query_in_url_and_body(self) -> None:
        self.assertEqual(self.server.call(method="GET", query="SELECT 1").text, "1\n")
        self.assertEqual(self.ok("SELECT 2"), "2\n")
        self.assertEqual(self.ok("+ 2", query="SELECT 1"), "3\n")
        self.assertEqual(self.ok(b"SELECT '\xc3\xa4;' -- ;\n;"), "ä;\n")

    def test_get_is_readonly(self) -> None:
        name = self.table()
        for parameters in ({}, {"readonly": "0"}):
            reply = self.server.call(method="GET", query=f"INSERT INTO {name} SELECT 1, 'x'", **parameters)
            self.assertEqual(reply.headers["X-ClickHouse-Exception-Code"], "164", reply.text)
        self.assertEqual(self.server.call(method="GET", query=f"DROP TABLE {name}").status, 500)
        self.assertEqual(
            self.server.call(method="GET", query="SELECT getSetting('max_threads')", max_threads="1").text,
            "1\n",
        )
        self.assertEqual(self.ok(f"SELECT count() FROM {name}"), "0\n")

    def test_head(self) -> None:
        reply = self.server.call(method="HEAD", query="SELECT 1")
        self.assertEqual((reply.status, reply.body), (200, b""))

    def test_formats(self) -> None:
        self.assertEqual(self.ok("SELECT 1 AS x", default_format="JSONEachRow"), '{"x":1}\n')
        self.assertEqual(self.ok("SELECT 1 AS x FORMAT CSV", default_format="JSONEachRow"), "1\n")
        reply = self.server.call("SELECT 1 AS x", headers={"X-ClickHouse-Format": "JSON"})
        self.assertEqual(json.loads(reply.body)["data"], [{"x": 1}])
        self.assertEqual(reply.headers["X-ClickHouse-Format"], "JSON")
        self.assertEqual(reply.headers["Content-Type"], "application/json; charset=UTF-8")
        self.fails("SELECT 1 FORMAT Nope", 404, 73)

    def test_totals(self) -> None:
        sql = "SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k"
        self.assertEqual(self.ok(sql), "0\t5\n1\t5\n\n0\t10\n")

    def test_parameters(self) -> None:
        text = self.ok(
            "SELECT {a:String}, {b:Array(UInt8)}, {c:UInt64} + 1",
            param_a="it's; ok",
            param_b="[1,2]",
            param_c="18446744073709551614",
        )
        self.assertEqual(text, "it\\'s; ok\t[1,2]\t18446744073709551615\n")
        self.fails("SELECT {missing:String}", 500, 456)

    def test_state_does_not_leak(self) -> None:
        usual = self.ok("SELECT getSetting('max_block_size')")
        self.assertEqual(self.ok("SELECT getSetting('max_block_size')", max_block_size="777"), "777\n")
        self.ok("SET max_block_size = 778")
        self.ok("CREATE DATABASE IF NOT EXISTS other")
        self.ok("USE other")
        self.assertEqual(self.ok("SELECT currentDatabase()", database="other"), "other\n")
        self.assertEqual(self.ok("SELECT getSetting('max_block_size')"), usual)
        self.assertEqual(self.ok("SELECT currentDatabase()"), "default\n")
        self.assertEqual(self.ok("SELECT 1 AS x"), "1\n")

    def test_setting_values_are_quoted(self) -> None:
        value = "it's, max_threads = 1 \\"
        self.assertEqual(
            self.ok(
                "SELECT getSetting('log_comment') = {v:String}",
                log_comment=value,
                param_v=value.replace("\\", "\\\\"),
            ),
            "1\n",
        )

    def test_errors(self) -> None:
        for sql, status, code in (
            ("SELEC 1", 400, 62),
            ("1 + 1", 400, 62),
            ("", 400, 62),
            ("SELECT 1; SELECT 2", 400, 62),
            ("SELECT * FROM no_such_table", 404, 60),
            ("SELECT no_such_column", 404, 47),
            ("SELECT no_such_function()", 404, 46),
            ("SELECT throwIf(1)", 500, 395),
            ("SELECT toInt8('x')", 400, 6),
            ("SELECT 1 INTO OUTFILE '/tmp/never'", 500, 358),
            ("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV", 404, 78),
            ("SELECT 1 SETTINGS no_such_setting = 1", 404, 115),
        ):
            self.fails(sql, status, code)
        self.fails("SELECT 1", 404, 115, no_such_setting="1")
        self.fails("SELECT 1", 404, 115, **{"bad name": "1"})
        self.fails("SELECT 1", 404, 81, database="no_such_database")
        self.fails("SELECT 1", 501, 48, compress="1")
        text = self.fails("SELECT 1", 404, 115, no_such_setting="1").text
        self.assertEqual(text.count("Code: "), 1)

    def test_headers(self) -> None:
        reply = self.server.call("SELECT number FROM numbers(3)", query_id="my-id")
        self.assertEqual(reply.headers["X-ClickHouse-Query-Id"], "my-id")
        summary = json.loads(reply.headers["X-ClickHouse-Summary"])
        self.assertEqual((summary["result_rows"], summary["read_rows"]), ("3", "3"))
        self.assertTrue(self.server.call("SELECT 1").headers["X-ClickHouse-Query-Id"])

    # INSERT

    def test_insert(self) -> None:
        name = self.table()
        reply = self.server.call('1,"a;\n\nb"\n2,c\n', query=f"INSERT INTO {name} FORMAT CSV")
        self.assertEqual(reply.status, 200, reply.text)
        self.assertEqual(json.loads(reply.headers["X-ClickHouse-Summary"])["written_rows"], "2")
        self.ok(f"INSERT INTO {name} (b, a) VALUES ('it''s', 3), ('x\\'y', 2 + 2)")
        self.ok(f'INSERT INTO {name} FORMAT JSONEachRow\n{{"a": 5, "b": "e"}}\n\n{{"a": 6, "b": "f"}}\n')
        self.ok(
            f"INSERT INTO {name} SELECT a + 100, b FROM input('a Int64, b String') FORMAT CSV\n7,g\n8,h\n"
        )
        self.ok(b"\x09\0\0\0\0\0\0\0\x02\xff\n", query=f"INSERT INTO {name} FORMAT RowBinary")
        self.ok(f"INSERT INTO {name} SELECT 10, 'k'")
        self.ok("", query=f"INSERT INTO {name} FORMAT CSV")
        self.assertEqual(
            self.ok(f"SELECT groupArray(a) FROM (SELECT a FROM {name} ORDER BY a)"),
            "[1,2,3,4,5,6,9,10,107,108]\n",
        )
        self.assertEqual(self.ok(f"SELECT b FROM {name} WHERE a = 1 FORMAT RowBinary"), "\x05a;\n\nb")
        reply = self.fails("x,y\n", 400, 27, query=f"INSERT INTO {name} FORMAT CSV")
        self.assertNotIn(str(self.scratch.root), reply.text)
        self.assertEqual(list((self.scratch.data / "host" / "files").iterdir()), [])

    def test_large_insert(self) -> None:
        name = self.table("a UInt64")
        rows = 1_000_000
        self.ok("".join(f"{n}\n" for n in range(rows)), query=f"INSERT INTO {name} FORMAT TSV")
        self.assertEqual(
            self.ok(f"SELECT count(), sum(a) FROM {name}"), f"{rows}\t{rows * (rows - 1) // 2}\n"
        )
        self.fails("SELECT '" + "x" * (1 << 21) + "'", 400, 62)

    def test_request_encodings(self) -> None:
        sql = b"SELECT 'compressed'"
        for encoding, body in (
            ("gzip", gzip.compress(sql)),
            ("deflate", zlib.compress(sql)),
            ("gzip", gzip.compress(sql[:9]) + gzip.compress(sql[9:])),
        ):
            reply = self.server.call(body, headers={"Content-Encoding": encoding})
            self.assertEqual(reply.text, "compressed\n", encoding)
        self.assertEqual(self.server.call(b"not gzip", headers={"Content-Encoding": "gzip"}).status, 400)
        self.assertEqual(
            self.server.call(gzip.compress(sql)[:-9], headers={"Content-Encoding": "gzip"}).status, 400
        )
        self.assertEqual(self.server.call(sql, headers={"Content-Encoding": "br"}).status, 501)

    def test_chunked_request_and_keep_alive(self) -> None:
        connection = self.server.connection()
        headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD}
        for _ in range(3):
            connection.request("POST", "/", iter([b"SELECT ", b"4", b"2"]), headers, encode_chunked=True)
            self.assertEqual(connection.getresponse().read(), b"42\n")
            first_socket = connection.sock
        connection.request("POST", "/", b"SELECT bad", headers)
        self.assertEqual(connection.getresponse().read()[:9], b"Code: 47.")
        self.assertIs(connection.sock, first_socket)
        connection.close()

    def test_response_compression(self) -> None:
        sql = "SELECT repeat('x', 100) FROM numbers(100000)"
        expected = ("x" * 100 + "\n") * 100000
        for name, decode in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
            reply = self.server.call(sql, headers={"Accept-Encoding": name}, enable_http_compression="1")
            self.assertEqual(reply.headers["Content-Encoding"], name)
            self.assertEqual(decode(reply.body).decode(), expected)
        self.assertNotIn(
            "Content-Encoding", self.server.call(sql, headers={"Accept-Encoding": "gzip"}).headers
        )

    # Large results, side by side, robustness

    def test_streaming(self) -> None:
        reply = self.server.call("SELECT number FROM numbers(3000000)")
        self.assertEqual(reply.headers.get("Transfer-Encoding"), "chunked")
        self.assertEqual(reply.body.count(b"\n"), 3000000)
        reply = self.server.call("SELECT number FROM numbers(100000) FORMAT JSON")
        self.assertEqual(len(json.loads(reply.body)["data"]), 100000)
        self.fails("SELECT number FROM numbers(1000000) FORMAT JSON", 500, 396, max_result_bytes="100000")

    def test_error_inside_stream(self) -> None:
        sql = "SELECT number, throwIf(number = 2000000) FROM numbers(3000000)"
        with self.assertRaises(http.client.IncompleteRead) as caught:
            self.server.call(sql)
        self.assertIn(b"Code: 395.", caught.exception.partial[-2000:])
        self.assertEqual(self.server.call(sql, wait_end_of_query="1").status, 500)

    def test_side_by_side(self) -> None:
        name = self.table()
        start = time.monotonic()
        threads = [threading.Thread(target=self.ok, args=("SELECT sleep(1)",)) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        asked = time.monotonic()
        self.assertEqual(self.server.call(path="/ping", method="GET", auth=False).status, 200)
        self.assertLess(time.monotonic() - asked, 0.3)
        self.ok(f"INSERT INTO {name} VALUES (1, 'x')")
        self.assertLess(time.monotonic() - asked, 0.8)
        for thread in threads:
            thread.join()
        self.assertLess(time.monotonic() - start, 1.8)

    def test_kill_query(self) -> None:
        replies: List[Reply] = []
        query = "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(number)"
        thread = threading.Thread(target=lambda: replies.append(self.server.call(query, query_id="victim")))
        thread.start()
        time.sleep(0.5)
        self.assertIn(query, self.ok("KILL QUERY WHERE Settings['log_comment'] = 'victim' SYNC"))
        thread.join(10)
        self.assertEqual(replies[0].headers["X-ClickHouse-Exception-Code"], "394")

    def test_malformed_requests(self) -> None:
        for request in (
            b"\r\n\r\n",
            b"garbage\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nshort",
            b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n",
            b"\xff\xfe\x00\n\n",
        ):
            with socket.create_connection(("127.0.0.1", self.server.port), 5) as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            self.assertEqual(self.ok("SELECT 1"), "1\n")

    def test_client_that_leaves(self) -> None:
        target = "/?" + urlencode(
            {"query": "SELECT number FROM numbers(1000000000)", "user": "default", "password": PASSWORD}
        )
        with socket.create_connection(("127.0.0.1", self.server.port), 5) as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            client.recv(1000)
        deadline = time.monotonic() + 10
        while "numbers(1000000000)" in self.ok(
            "SELECT query FROM system.processes WHERE query NOT LIKE '%processes%'"
        ):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def test_a_query_that_wants_too_much_memory_is_refused(self) -> None:
        answer = self.server.call(
            "SELECT sum(length(a)) FROM (SELECT number, groupArray(toString(number)) a "
            "FROM numbers(30000000) GROUP BY number)"
        )
        self.assertEqual(answer.headers["X-ClickHouse-Exception-Code"], "241")

    def test_memory(self) -> None:
        status = Path(f"/proc/{self.server.process.pid}/status")
        if status.exists():
            resident = int(status.read_text().split("VmRSS:")[1].split()[0]) // 1024
            self.assertLess(resident, 900)  # after the large tests; idle it is about 220


class LifecycleTest(unittest.TestCase):
    def setUp(self) -> None:
        self.scratch = Scratch()
        self.addCleanup(self.scratch.close)

    def start(self) -> RunningServer:
        server = RunningServer(self.scratch.data, self.scratch.users)
        self.addCleanup(server.close)
        return server

    def test_idle_memory(self) -> None:
        server = self.start()
        server.call("SELECT 1")
        status = Path(f"/proc/{server.process.pid}/status")
        if status.exists():
            self.assertLess(int(status.read_text().split("VmRSS:")[1].split()[0]) // 1024, 400)
        self.assertEqual(server.stop(signal.SIGINT), 0)

    def test_drop_sync_in_a_new_directory(self) -> None:
        server = self.start()
        server.call("CREATE TABLE brief (a Int64) ENGINE = MergeTree ORDER BY a")
        start = time.monotonic()
        self.assertEqual(server.call("DROP TABLE brief SYNC").status, 200)
        self.assertLess(time.monotonic() - start, 3)

    def test_data_survives_stop_and_kill(self) -> None:
        server = self.start()
        server.call("CREATE TABLE kept (a Int64) ENGINE = MergeTree ORDER BY a")
        for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -9)):
            server.call("INSERT INTO kept VALUES (1)")
            self.assertEqual(server.stop(number), code)
            server = self.start()
        self.assertEqual(server.call("SELECT count() FROM kept").text, "2\n")

    def test_second_server_on_the_same_directory(self) -> None:
        server = self.start()
        command = [str(free_port()) if part == str(server.port) else part for part in server.command]
        second = subprocess.run(command, capture_output=True, timeout=20)
        self.assertNotEqual(second.returncode, 0)
        self.assertEqual(len(second.stderr.decode().strip().splitlines()), 1, second.stderr)
        self.assertEqual(server.call("SELECT 1").text, "1\n")

    def test_taken_port_and_open_users_file(self) -> None:
        server = self.start()
        other = str(self.scratch.root / "other")
        command = [other if part == str(self.scratch.data) else part for part in server.command]
        self.assertNotEqual(subprocess.run(command, capture_output=True, timeout=20).returncode, 0)
        self.scratch.users.chmod(0o644)
        refused = subprocess.run(command, capture_output=True, timeout=20)
        self.assertIn(b"chmod 600", refused.stderr)

    def test_stop_cancels_a_long_query(self) -> None:
        server = self.start()
        replies: List[Union[Reply, Exception]] = []

        def ask() -> None:
            try:
                replies.append(
                    server.call("SELECT count() FROM numbers(100000000000) WHERE NOT ignore(number)")
                )
            except (OSError, http.client.HTTPException) as error:
                replies.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.5)
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 7)
        thread.join(5)
        self.assertEqual(len(replies), 1)


@unittest.skipUnless(os.environ.get("KAFKA_BOOTSTRAP"), "KAFKA_BOOTSTRAP is not set")
class KafkaTest(unittest.TestCase):
    """Kafka tables run in the background, and come back by themselves."""

    def setUp(self) -> None:
        self.scratch = Scratch()
        self.addCleanup(self.scratch.close)
        self.topic = "chdb_test_" + uuid.uuid4().hex[:8]

    def start(self) -> RunningServer:
        server = RunningServer(self.scratch.data, self.scratch.users)
        self.addCleanup(server.close)
        return server

    def create(self, server: RunningServer) -> None:
        broker = os.environ["KAFKA_BOOTSTRAP"]
        for sql in (
            f"CREATE TABLE source (line String) ENGINE = Kafka SETTINGS kafka_broker_list = '{broker}', kafka_topic_list = '{self.topic}', "
            "kafka_group_name = 'chdb_test', kafka_format = 'RawBLOB', kafka_flush_interval_ms = 10, kafka_poll_timeout_ms = 5",
            "CREATE TABLE target (line String, at DateTime64(3), place UInt64) ENGINE = MergeTree ORDER BY place",
            "CREATE MATERIALIZED VIEW mv TO target AS SELECT line, _timestamp_ms AS at, _offset AS place FROM source",
        ):
            reply = server.call(sql)
            self.assertEqual(reply.status, 200, reply.text)

    def produce(self, server: RunningServer, line: str) -> None:
        broker = os.environ["KAFKA_BOOTSTRAP"]
        server.call(
            "CREATE TABLE IF NOT EXISTS sink (line String) ENGINE = Kafka SETTINGS "
            f"kafka_broker_list = '{broker}', kafka_topic_list = '{self.topic}', kafka_group_name = 'none', kafka_format = 'LineAsString'"
        )
        reply = server.call(f"INSERT INTO sink SELECT '{line}'")
        self.assertEqual(reply.status, 200, reply.text)

    def wait_rows(self, server: RunningServer, count: int, seconds: float) -> float:
        start = time.monotonic()
        while server.call("SELECT count() FROM target").text != f"{count}\n":
            self.assertLess(
                time.monotonic() - start,
                seconds,
                server.call("SELECT * FROM system.kafka_consumers FORMAT Vertical").text,
            )
            time.sleep(0.05)
        return time.monotonic() - start

    def test_consumption_survives_stop_and_kill(self) -> None:
        server = self.start()
        self.create(server)
        self.produce(server, "one")
        self.wait_rows(server, 1, 20)
        took: List[Tuple[str, float]] = []
        for count, number in ((2, signal.SIGTERM), (3, signal.SIGKILL)):
            server.stop(number)
            server = self.start()
            start = time.monotonic()
            self.produce(server, f"line {count}")
            self.wait_rows(server, count, 20)
            took.append((number.name, round(time.monotonic() - start, 1)))
        print(f"\nconsumption resumed after: {took}", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
