"""Request bodies (length or chunks, gzip or deflate, a size limit) and response compression."""

import zlib
from email.message import Message
from io import BufferedIOBase
from typing import Iterator, Optional

MAX_BODY = 1 << 30  # after decompression
_PIECE = 1 << 16
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class BodyError(Exception):
    """A body that cannot be accepted; the connection cannot be used afterwards."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def read_body(source: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    """The decoded body in pieces, never more than one piece in memory."""
    encoding = (headers.get("Content-Encoding") or "identity").strip().lower()
    raw = _raw_body(source, headers)
    if encoding in ("gzip", "x-gzip", "deflate"):
        raw = _decompressed(raw)
    elif encoding != "identity":
        raise BodyError(501, f"Unknown compression method: {encoding}")
    total = 0
    for piece in raw:
        total += len(piece)
        if total > MAX_BODY:
            raise BodyError(413, f"The request body is larger than {MAX_BODY} bytes")
        yield piece


def _raw_body(source: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    transfer = (headers.get("Transfer-Encoding") or "").strip().lower()
    if transfer == "chunked":
        return _chunks(source)
    if transfer:
        raise BodyError(501, "Unknown Transfer-Encoding")
    length = (headers.get("Content-Length") or "0").strip()
    if not (length.isascii() and length.isdigit()):
        raise BodyError(400, "Bad Content-Length")
    if int(length) > MAX_BODY:
        raise BodyError(413, f"The request body is larger than {MAX_BODY} bytes")
    return _exactly(source, int(length))


def _exactly(source: BufferedIOBase, length: int) -> Iterator[bytes]:
    while length:
        piece = source.read(min(length, _PIECE))
        if not piece:
            raise BodyError(400, "The request body ended early")
        length -= len(piece)
        yield piece


def _chunks(source: BufferedIOBase) -> Iterator[bytes]:
    while True:
        size_line = source.readline(1024).split(b";")[0].strip()
        try:
            size = int(size_line, 16)
        except ValueError:
            raise BodyError(400, "Bad chunk size") from None
        if size < 0:
            raise BodyError(400, "Bad chunk size")
        if size == 0:
            while source.readline(8192).strip():  # trailers
                pass
            return
        yield from _exactly(source, size)
        if source.readline(8).strip():
            raise BodyError(400, "Bad chunk end")


def _decompressed(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Bounded steps, so that a small body that unpacks to gigabytes meets the limit and not the memory."""
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for piece in raw:
            while piece:
                if decoder.eof:  # gzip allows several members
                    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
                yield decoder.decompress(piece, _PIECE)
                piece = decoder.unconsumed_tail or decoder.unused_data
        tail = decoder.flush()
    except zlib.error:
        raise BodyError(400, "Cannot decompress the request body") from None
    if not decoder.eof:
        raise BodyError(400, "The compressed request body ended early")
    yield tail


class Compressor:
    """gzip, deflate or nothing, as negotiated."""

    def __init__(self, accept: Optional[str]) -> None:
        offered = [part.split(";")[0].strip().lower() for part in (accept or "").split(",")]
        self.encoding = next((name for name in ("gzip", "deflate") if name in offered), None)
        self._encoder = None
        if self.encoding:
            self._encoder = zlib.compressobj(
                3, zlib.DEFLATED, 31 if self.encoding == "gzip" else zlib.MAX_WBITS
            )

    def feed(self, data: bytes) -> bytes:
        return self._encoder.compress(data) if self._encoder else data

    def finish(self) -> bytes:
        return self._encoder.flush() if self._encoder else b""
