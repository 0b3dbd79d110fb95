"""Constants of ClickHouse's HTTP interface: error codes, their HTTP status, content types."""

from typing import Optional, Tuple

ErrorKind = Tuple[int, str]

AUTHENTICATION_FAILED: ErrorKind = (516, "AUTHENTICATION_FAILED")
BAD_ARGUMENTS: ErrorKind = (36, "BAD_ARGUMENTS")
NOT_IMPLEMENTED: ErrorKind = (48, "NOT_IMPLEMENTED")
TOO_MANY_QUERIES: ErrorKind = (202, "TOO_MANY_SIMULTANEOUS_QUERIES")
SYNTAX_ERROR: ErrorKind = (62, "SYNTAX_ERROR")
UNKNOWN_EXCEPTION: ErrorKind = (1002, "UNKNOWN_EXCEPTION")

# The codes that Server/HTTP/exceptionCodeToHTTPStatus.cpp names, by the engine's errorCodeToName().
_CODES_OF_STATUS = {
    400: (
        6,
        8,
        15,
        25,
        26,
        27,
        36,
        37,
        38,
        41,
        44,
        53,
        62,
        72,
        117,
        123,
        167,
        168,
        223,
        321,
        376,
        427,
        441,
        675,
        676,
    ),
    401: (194,),
    403: (192, 193, 497, 512, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    501: (48,),
    503: (76, 209, 439),
}
_STATUS_OF_CODE = {code: status for status, codes in _CODES_OF_STATUS.items() for code in codes}

# Parameters with a meaning of their own; every other one is a setting of the request.
RESERVED_PARAMETERS = frozenset(
    "query database default_format user password quota_key query_id session_id session_timeout session_check "
    "close_session stacktrace buffer_size wait_end_of_query compress decompress role client_protocol_version".split()
)

_BINARY = (
    "Native",
    "RowBinary",
    "Parquet",
    "Arrow",
    "ORC",
    "Avro",
    "Protobuf",
    "MsgPack",
    "BSON",
    "CapnProto",
)
_CONTENT_TYPES = (  # the first prefix that fits
    (("TabSeparated", "TSV"), "text/tab-separated-values; charset=UTF-8"),
    (("CSVWithNames",), "text/csv; charset=UTF-8; header=present"),
    (("CSV",), "text/csv; charset=UTF-8; header=absent"),
    (("XML",), "application/xml; charset=UTF-8"),
    (("Markdown",), "text/markdown; charset=UTF-8"),
    (_BINARY, "application/octet-stream"),
    (("JSON",), "application/json; charset=UTF-8"),
)


def status_of(code: int) -> int:
    return _STATUS_OF_CODE.get(code, 500)


def content_type(format_name: str) -> str:
    if format_name == "NDJSON" or (
        format_name.startswith("JSON") and ("EachRow" in format_name or "Lines" in format_name)
    ):
        return "application/x-ndjson; charset=UTF-8"
    for prefixes, value in _CONTENT_TYPES:
        if format_name.startswith(prefixes):
            return value
    return "text/plain; charset=UTF-8"


class Refusal(Exception):
    """An answer with an error, decided before the engine runs anything."""

    def __init__(self, kind: ErrorKind, message: str, status: Optional[int] = None) -> None:
        code, name = kind
        super().__init__(f"Code: {code}. DB::Exception: {message} ({name})")
        self.code, self.status = code, status or status_of(code)
