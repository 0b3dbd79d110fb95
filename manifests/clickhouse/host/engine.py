"""The chdb engine behind the HTTP front.

What chdb 4.0.0 (engine 25.8.2.1) allows, measured on 2 cores:

* One process holds one data directory (a lock file; a second process gets error 76), and may open any number
  of connections to it. Opening one takes 0.2 ms, `SELECT 1` on it 1 ms. Each connection has its own
  session, so a connection per request is both the simplest and the only leak-proof way: `SET`, `USE` and
  temporary tables die with it.
* Queries of different connections run side by side and release Python's lock: three `sleep(1)` take 1.0 s.
* `query()` holds the whole result in memory. `send_query()` yields blocks, but each block is a complete
  document of its format, so only formats without head and tail (STREAMABLE) can be streamed. The others
  are limited to MAX_RESULT_BYTES (error 396 beyond it) unless the request sets max_result_bytes itself.
* The engine's query id cannot be chosen. The request's id is stored in the setting log_comment, so that
  `KILL QUERY WHERE Settings['log_comment'] = '<id>'` finds it.
* `import chdb` needs pandas and pyarrow; the extension module inside does not.
* In a data directory without `metadata/` chdb never starts the task that removes dropped tables, and
  `DROP ... SYNC` waits for ever. Creating that folder first is enough.
* chdb shrinks the pool that runs Kafka tables to 2 threads; a third table then starves. The
  configuration below gives it 16.
* This engine looks at an idle Kafka consumer every 500 ms and no setting changes that (later ones have
  kafka_consumer_reschedule_ms). It only pauses after a poll that returned nothing. So a heartbeat topic in
  kafka_topic_list, with a message every 50 ms and kafka_poll_timeout_ms a little above that, keeps it
  awake: 49 ms (p50) from producer to row, against 294 ms at best without.
"""

import fcntl
import importlib.machinery
import importlib.util
import json
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional
from xml.sax.saxutils import escape

STREAMABLE = frozenset(
    "TabSeparated TSV TabSeparatedRaw TSVRaw Raw CSV TSKV JSONEachRow JSONLines NDJSON JSONCompactEachRow "
    "JSONStringsEachRow JSONCompactStringsEachRow RowBinary Native LineAsString RawBLOB".split()
)
MAX_RESULT_BYTES = 512 << 20
UNKNOWN_SETTING = 115
UNKNOWN_EXCEPTION = 1002
QUERY_WAS_CANCELLED = 394

# Caches sized for a laptop. A broker that was away is noticed within a second (librdkafka's own limit is ten), and
# a connection to the address that it had before is given up after two (thirty).
_CONFIG = """<clickhouse>
    <mark_cache_size>33554432</mark_cache_size>
    <index_mark_cache_size>8388608</index_mark_cache_size>
    <primary_index_cache_size>33554432</primary_index_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
    <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
    <background_message_broker_schedule_pool_size>16</background_message_broker_schedule_pool_size>
    <background_schedule_pool_size>8</background_schedule_pool_size>
    <kafka>
        <session_timeout_ms>{session_ms}</session_timeout_ms>
        <heartbeat_interval_ms>{heartbeat_ms}</heartbeat_interval_ms>
        <reconnect_backoff_max_ms>1000</reconnect_backoff_max_ms>
        <socket_connection_setup_timeout_ms>2000</socket_connection_setup_timeout_ms>
{kafka}    </kafka>
</clickhouse>
"""

_ERROR = re.compile(r"(?:Code: (\d+)\. DB::Exception: )+(.*)", re.DOTALL)
_ERROR_TAIL = re.compile(r"\s*\(([A-Z][A-Z0-9_]+)\)(?: \(version [^)]*\)\.?| \([A-Z0-9_]+\))*\s*$")
_DATA_FILE = re.compile(r"(?:\(in file/uri [^)]*\)|: data for INSERT was parsed from [^:]*)")
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")


class EngineError(Exception):
    """An exception of the engine, taken apart."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message} ({name})")
        self.code, self.name, self.message = code, name, message


@dataclass(frozen=True)
class Query:
    text: bytes
    format: str = "TabSeparated"
    database: str = ""
    query_id: str = ""
    readonly: bool = False
    stream: bool = False
    settings: Dict[str, str] = field(default_factory=dict)
    parameters: Dict[str, str] = field(default_factory=dict)


@dataclass
class Progress:
    rows_out: int = 0
    bytes_out: int = 0
    rows_read: int = 0
    bytes_read: int = 0
    elapsed: float = 0.0

    def add(self, block: Any) -> None:
        self.rows_out += block.rows_read()
        self.bytes_out += block.bytes_read()
        self.rows_read += block.storage_rows_read()
        self.bytes_read += block.storage_bytes_read()
        self.elapsed += block.elapsed()

    def summary(self, is_insert: bool) -> str:
        """X-ClickHouse-Summary. chdb counts the rows of an INSERT's data as rows put out."""
        written = (self.rows_out, self.bytes_out) if is_insert else (0, 0)
        result = (0, 0) if is_insert else (self.rows_out, self.bytes_out)
        values = {
            "read_rows": self.rows_read,
            "read_bytes": self.bytes_read,
            "written_rows": written[0],
            "written_bytes": written[1],
            "total_rows_to_read": 0,
            "result_rows": result[0],
            "result_bytes": result[1],
            "elapsed_ns": int(self.elapsed * 1e9),
        }
        return json.dumps({key: str(value) for key, value in values.items()}, separators=(",", ":"))


class Answer:
    """A running or finished query. Close it: the connection and a half-read stream hang on it."""

    def __init__(self, engine: "Engine", connection: Any) -> None:
        self._engine, self._connection = engine, connection
        self._stream: Any = None
        self._result: Any = None
        self._progress = Progress()

    def start(self, query: Query) -> None:
        with _engine_errors():
            _apply_session(self._connection, query, self._engine.memory)
            if query.stream:
                self._stream = self._connection.send_query(query.text, query.format, params=query.parameters)
            else:
                self._result = self._connection.query(query.text, query.format, params=query.parameters)
        _raise_if_failed(self._stream if query.stream else self._result)

    def chunks(self) -> Iterator[bytes]:
        if self._result is not None:
            self._progress.add(self._result)
            yield self._result.bytes()
        while self._stream is not None:
            with _engine_errors():
                block = self._connection.streaming_fetch_result(self._stream)
            _raise_if_failed(block)
            self._progress.add(block)
            data = block.bytes()
            if block.rows_read() == 0:  # the end; it may still carry totals
                self._stream = None
            if data:
                yield data

    def progress(self) -> Optional[Progress]:
        """Known once the query has ended."""
        return self._progress if self._stream is None else None

    def close(self) -> None:
        try:
            if self._stream is not None:
                self._connection.streaming_cancel_query(self._stream)
        except RuntimeError:
            pass  # the query has ended by itself meanwhile
        finally:
            self._stream = self._result = None
            try:
                self._connection.close()
            finally:
                self._engine.release()


class Engine:
    """The open data directory. Lives until close(); then its Kafka consumers leave their groups."""

    def __init__(self, data_dir: Path, memory: int, session_ms: int, kafka: Mapping[str, str] = {}) -> None:
        data_dir = data_dir.resolve()
        self._lock = _lock_directory(data_dir)
        self.files_dir = _prepare_directory(data_dir, session_ms, kafka)
        self.memory = memory
        self._address = f"{data_dir}?config-file={data_dir / 'host' / 'config.xml'}"
        self._chdb = _load_chdb()
        self._idle = threading.Condition()
        self._active = 0
        self._closing = False
        with _engine_errors():
            self._anchor = self._chdb.connect(self._address)  # the engine lives as long as a connection does
        # Tables, Kafka tables included, are loaded and started by connect() itself; nothing needs touching.
        version, timezone = self._scalars("SELECT version(), timezone() FORMAT TSV")
        self.version, self.timezone = version, timezone

    def execute(self, query: Query) -> Answer:
        with self._idle:
            if self._closing:
                raise EngineError(QUERY_WAS_CANCELLED, "QUERY_WAS_CANCELLED", "The server is stopping.")
            self._active += 1
        try:
            with _engine_errors():
                answer = Answer(self, self._chdb.connect(self._address))
        except BaseException:
            self.release()
            raise
        try:
            answer.start(query)
        except BaseException:
            answer.close()
            raise
        return answer

    def release(self) -> None:
        with self._idle:
            self._active -= 1
            self._idle.notify_all()

    def close(self, grace: float, cancel: float) -> bool:
        """Refuse new queries, give the running ones `grace` seconds, cancel the rest, close the engine.

        False when a query outlived its cancellation: the engine then cannot be closed in order.
        """
        with self._idle:
            self._closing = True
        if not self._wait_idle(grace):
            with _engine_errors():
                self._anchor.query("KILL QUERY WHERE query_id != queryID() ASYNC")
            if not self._wait_idle(cancel):
                return False
        self._anchor.close()
        return True

    def _wait_idle(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with self._idle:
            return self._idle.wait_for(lambda: self._active == 0, max(0.0, deadline - time.monotonic()))

    def _scalars(self, sql: str) -> List[str]:
        with _engine_errors():
            return self._anchor.query(sql, "TSV").bytes().decode().rstrip("\n").split("\t")


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Turns chdb's RuntimeError into EngineError."""
    try:
        yield
    except RuntimeError as error:
        raise parse_error(str(error)) from None


def parse_error(text: str) -> EngineError:
    """chdb repeats code, name and version once per layer; ClickHouse says them once."""
    text = _DATA_FILE.sub("", text)
    found = _ERROR.search(text)
    if not found:
        return EngineError(UNKNOWN_EXCEPTION, "UNKNOWN_EXCEPTION", text)
    code, message = int(found.group(1)), found.group(2)
    tail = _ERROR_TAIL.search(message)
    if tail:
        return EngineError(code, tail.group(1), message[: tail.start()])
    return EngineError(code, "UNKNOWN_EXCEPTION", message)


def _raise_if_failed(result: Any) -> None:
    if result.has_error():
        raise parse_error(result.error_message())


def _apply_session(connection: Any, query: Query, memory: int) -> None:
    """Settings and database of this request. The connection is thrown away, so they cannot outlive it."""
    settings = {"implicit_select": "0", "log_comment": query.query_id}
    # chdb does not hold itself to max_server_memory_usage, but every query to this.
    settings["max_memory_usage"] = str(memory)
    if not query.stream:
        settings["max_result_bytes"] = str(MAX_RESULT_BYTES)
    settings.update(query.settings)
    if query.readonly and settings.get("readonly", "0") not in ("1", "2"):
        settings["readonly"] = "2"
    if query.database:
        connection.query(f"USE {_quote(query.database, '`')}")
    readonly = settings.pop("readonly", None)
    connection.query("SET " + ", ".join(_assignment(name, value) for name, value in settings.items()))
    if readonly is not None:  # last: nothing can be set after it
        connection.query("SET " + _assignment("readonly", readonly))


def _assignment(name: str, value: str) -> str:
    if not _SETTING_NAME.match(name):
        raise EngineError(UNKNOWN_SETTING, "UNKNOWN_SETTING", f"Unknown setting '{name}'.")
    quoted = _quote(value, "'")
    return f"{name} = {quoted}"


def _quote(value: str, mark: str) -> str:
    escaped = value.replace("\\", "\\\\").replace(mark, "\\" + mark).replace("\0", "\\0")
    return mark + escaped + mark


def _lock_directory(data_dir: Path) -> Any:
    """Hold the directory for this process. The engine has a lock too, but fails with less to the point."""
    (data_dir / "host").mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = open(data_dir / "host" / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ValueError(f"another process has opened the data directory {data_dir}") from None
    return lock


def _prepare_directory(data_dir: Path, session_ms: int, kafka: Mapping[str, str]) -> Path:
    """Create the directory and the configuration; change into an own, empty place for INSERT data.

    chdb resolves the names of files against the working directory, and takes the name of an unknown
    table for one. Relative names also keep `*` and `{` in the path of the data directory from being globs.
    """
    if re.search(r"[?&%]", str(data_dir)):
        raise ValueError("the data directory's path must not contain ?, & or % (chdb reads it as a URL)")
    files_dir = data_dir / "host" / "files"
    for folder in (files_dir, data_dir / "metadata"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left_over in files_dir.iterdir():  # of a process that was killed
        left_over.unlink()
    more = "".join(f"        <{key}>{escape(value)}</{key}>\n" for key, value in kafka.items())
    config = data_dir / "host" / "config.xml"
    config.touch(0o600)
    config.chmod(0o600)
    config.write_text(_CONFIG.format(session_ms=session_ms, heartbeat_ms=session_ms // 4, kafka=more))
    os.chdir(files_dir)
    return files_dir


def _load_chdb() -> Any:
    """Load chdb's extension module without its Python package (which imports pandas and pyarrow)."""
    package = importlib.util.find_spec("chdb")
    if package is None or not package.submodule_search_locations:
        raise ImportError("chdb is not installed (see requirements-*.lock)")
    folder = package.submodule_search_locations[0]
    path = os.path.join(folder, "_chdb.abi3.so")
    loader = importlib.machinery.ExtensionFileLoader("_chdb", path)
    spec = importlib.util.spec_from_file_location("_chdb", path, loader=loader)
    assert spec is not None
    working_directory = os.getcwd()
    os.chdir(folder)  # it looks for its pybind11 library in the working directory
    try:
        module = importlib.util.module_from_spec(spec)
        sys.modules["_chdb"] = module
        loader.exec_module(module)
    finally:
        os.chdir(working_directory)
    return module
