"""As much BSON as a handshake needs."""

import struct
from typing import Any, Dict, Tuple

Document = Dict[str, Any]


class Int64(int):
    """Encoded as a 64-bit integer."""


class Raw(bytes):
    """A value that is only passed on: its type's byte, then its bytes."""


def encode(document: Document) -> bytes:
    body = b"".join(_element(name, value) for name, value in document.items())
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _element(name: str, value: Any) -> bytes:
    key = name.encode() + b"\0"
    if isinstance(value, Raw):
        return value[:1] + key + value[1:]
    if isinstance(value, bool):
        return b"\x08" + key + (b"\1" if value else b"\0")
    if isinstance(value, Int64):
        return b"\x12" + key + struct.pack("<q", value)
    if isinstance(value, int):
        return b"\x10" + key + struct.pack("<i", value)
    if isinstance(value, float):
        return b"\x01" + key + struct.pack("<d", value)
    if isinstance(value, str):
        raw = value.encode() + b"\0"
        return b"\x02" + key + struct.pack("<i", len(raw)) + raw
    if isinstance(value, bytes):
        return b"\x05" + key + struct.pack("<i", len(value)) + b"\0" + value
    if isinstance(value, dict):
        return b"\x03" + key + encode(value)
    if isinstance(value, list):
        return b"\x04" + key + encode({str(index): item for index, item in enumerate(value)})
    if value is None:
        return b"\x0a" + key
    raise TypeError(f"{name}: {type(value)}")


_SIZES = {0x01: 8, 0x07: 12, 0x09: 8, 0x11: 8, 0x13: 16}


def decode(data: bytes, at: int = 0) -> Tuple[Document, int]:
    """The document at `at`, and where it ends."""
    end = at + struct.unpack_from("<i", data, at)[0]
    at, found = at + 4, {}
    while data[at]:
        kind = data[at]
        stop = data.index(b"\0", at + 1)
        name, at = data[at + 1 : stop].decode(), stop + 1
        found[name], at = _value(kind, data, at)
    return found, end


def _value(kind: int, data: bytes, at: int) -> Tuple[Any, int]:
    if kind == 0x02:
        size = struct.unpack_from("<i", data, at)[0]
        return data[at + 4 : at + 3 + size].decode(), at + 4 + size
    if kind in (0x03, 0x04):
        inner, end = decode(data, at)
        return (inner if kind == 0x03 else list(inner.values())), end
    if kind == 0x05:
        size = struct.unpack_from("<i", data, at)[0]
        return data[at + 5 : at + 5 + size], at + 5 + size
    if kind == 0x08:
        return data[at] == 1, at + 1
    if kind == 0x10:
        return struct.unpack_from("<i", data, at)[0], at + 4
    if kind == 0x12:
        return Int64(struct.unpack_from("<q", data, at)[0]), at + 8
    if kind == 0x01:
        return struct.unpack_from("<d", data, at)[0], at + 8
    if kind in (0x0A, 0x06, 0xFF, 0x7F):
        return None, at
    if kind in _SIZES:
        size = _SIZES[kind]
        return Raw(bytes([kind]) + data[at : at + size]), at + size
    raise ValueError(f"BSON type {kind}")


def text_at(data: bytes, at: int, wanted: str) -> str:
    """The text under a key of the document at `at`, whatever else is in it; empty if there is none."""
    at += 4
    while data[at]:
        kind = data[at]
        stop = data.index(b"\0", at + 1)
        name, at = data[at + 1 : stop].decode(), stop + 1
        if kind == 0x02 and name == wanted:
            return _value(kind, data, at)[0]
        at = _end(kind, data, at)
    return ""


def _end(kind: int, data: bytes, at: int) -> int:
    """Where a value ends, without looking into it."""
    if kind in (0x03, 0x04):
        return at + struct.unpack_from("<i", data, at)[0]
    if kind == 0x0B:
        return data.index(b"\0", data.index(b"\0", at) + 1) + 1
    return _value(kind, data, at)[1]
