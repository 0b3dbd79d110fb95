"""What the HTTP front must know about a query before the engine sees it.

This is a tokenizer, not a parser: the engine parses. Three things cannot be left to it, because chdb is a
command-line client around the server and reads a query as that client does:

* chdb would run several statements and write `INTO OUTFILE` / read `FROM INFILE` on this machine;
  the server refuses all three over HTTP.
* chdb ends an INSERT's inline data at the first blank line and takes what follows for the next
  statement. So the data leaves the query here and reaches the engine as a file.
* `INSERT ... SELECT ... FROM input('...')` takes no data at all from chdb (it inserts nothing and reports
  success); reading the same file with `file()` does what the server does.
"""

import re
from dataclasses import dataclass
from typing import Iterator, List, NamedTuple, Optional, Tuple

SYNTAX_ERROR = 62
UNKNOWN_TYPE_OF_QUERY = 78
INTO_OUTFILE_NOT_ALLOWED = 358

_TOKEN = re.compile(
    rb"""
      (?P<space>   \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/ )
    | (?P<heredoc> \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
    | (?P<quoted>  '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` )
    | (?P<word>    [^\W\d]\w* )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)


class SqlError(Exception):
    """A query the front refuses, with the code and name that ClickHouse uses for the same refusal."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code, self.name, self.message = code, name, message


class Token(NamedTuple):
    text: bytes  # upper case for words, so that keywords compare directly
    start: int
    end: int
    is_word: bool


@dataclass(frozen=True)
class Statement:
    verb: str
    format: Optional[str] = None  # of the FORMAT clause
    has_totals: bool = False
    data_at: Optional[int] = None  # INSERT only: where its inline data starts in the text


@dataclass(frozen=True)
class _Insert:
    """Offsets inside an INSERT whose data is inline."""

    head_end: int  # FROM INFILE goes here: before SETTINGS, VALUES or FORMAT
    clause_at: int  # VALUES or FORMAT
    data_at: int
    format: str
    input_call: Optional[Tuple[int, int]]  # the span of `input(` in an input('structure') call


def inspect(text: bytes) -> Statement:
    """Describe a query, or raise SqlError for one that ClickHouse refuses over HTTP."""
    tokens = _tokens(text)
    first = next(tokens, None)
    while first is not None and first.text == b"(":
        first = next(tokens, None)
    if first is None:
        raise SqlError(SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error: Empty query")
    verb = first.text.decode("utf-8", "replace")
    if verb == "INSERT":
        insert = _find_insert(text)
        if insert:
            return Statement(verb, insert.format, data_at=insert.data_at)
    outer = list(_outer(text))
    _refuse_files_and_second_statement(outer)
    return Statement(verb, _format_clause(text, outer), any(t.text == b"TOTALS" for t in outer))


def insert_from_file(text: bytes, path: str) -> bytes:
    """Rewrite an INSERT with inline data so that it reads the data from `path` (a name without quotes)."""
    insert = _find_insert(text)
    if insert is None:
        raise ValueError("not an INSERT with inline data")
    name, fmt = path.encode(), insert.format.encode()
    if insert.input_call:
        start, end = insert.input_call
        return text[:start] + b"file('%s', '%s', " % (name, fmt) + text[end : insert.clause_at]
    source = b" FROM INFILE '%s' COMPRESSION 'none' " % name
    return text[: insert.head_end] + source + text[insert.head_end : insert.clause_at] + b" FORMAT " + fmt


def _tokens(text: bytes, start: int = 0) -> Iterator[Token]:
    for match in _TOKEN.finditer(text, start):
        if match.lastgroup == "space":
            continue
        is_word = match.lastgroup == "word"
        yield Token(match.group().upper() if is_word else match.group(), *match.span(), is_word)


def _outer(text: bytes) -> Iterator[Token]:
    """Tokens outside all parentheses."""
    depth = 0
    for token in _tokens(text):
        if token.text in (b")", b"]", b"}"):
            depth -= 1
        elif token.text in (b"(", b"[", b"{"):
            depth += 1
        elif depth <= 0:
            yield token


def _refuse_files_and_second_statement(outer: List[Token]) -> None:
    for token, following in zip(outer, outer[1:]):
        if token.text == b";" and following.text != b";":
            raise SqlError(SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
        if token.text == b"INTO" and following.text == b"OUTFILE":
            raise SqlError(
                INTO_OUTFILE_NOT_ALLOWED, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed"
            )
        if token.text == b"FROM" and following.text == b"INFILE":
            raise SqlError(
                UNKNOWN_TYPE_OF_QUERY,
                "UNKNOWN_TYPE_OF_QUERY",
                "Query has infile and was send directly to server",
            )


def _format_clause(text: bytes, outer: List[Token]) -> Optional[str]:
    """The name in a trailing `FORMAT name [SETTINGS ...]`; a column called format is not a clause."""
    words = outer + [Token(b";", len(text), len(text), False)]
    for before, token, name, after in zip(words, words[1:], words[2:], words[3:]):
        ends = after.text in (b";", b"SETTINGS", b"INTO")
        if token.text == b"FORMAT" and name.is_word and ends and before.text not in (b"SELECT", b",", b"."):
            return text[name.start : name.end].decode()
    return None


def _find_insert(text: bytes) -> Optional[_Insert]:
    """Locate the data of an INSERT; None when it takes its rows from a plain SELECT.

    Tokens are read lazily and never past the start of the data, which need not be text.
    """
    depth, settings_at, input_call = 0, None, None
    selects, previous = False, Token(b"", 0, 0, False)
    tokens = _tokens(text)
    for token in tokens:
        if token.text in (b"(", b")"):
            depth += 1 if token.text == b"(" else -1
            if token.text == b"(" and previous.text == b"INPUT" and selects:
                input_call = (previous.start, token.end)
        elif depth:
            pass
        elif token.text == b"INFILE" and previous.text == b"FROM":
            return None
        elif token.text in (b"SELECT", b"WITH"):
            selects = True
        elif token.text == b"SETTINGS" and not selects:
            settings_at = token.start
        elif token.text == b"VALUES" and not selects and previous.text != b"INTO":
            return _insert(token.start, settings_at, token.end, "Values", None)
        elif token.text == b"FORMAT" and (input_call or not selects) and previous.text != b"INTO":
            name = next(tokens, None)
            if name is None or not name.is_word:
                return None
            fmt = text[name.start : name.end].decode()
            return _insert(token.start, settings_at, _data_start(text, name.end), fmt, input_call)
        previous = token
    return None


def _insert(
    clause: int, settings: Optional[int], data: int, fmt: str, input_call: Optional[Tuple[int, int]]
) -> _Insert:
    return _Insert(clause if settings is None else settings, clause, data, fmt, input_call)


def _data_start(text: bytes, after_format: int) -> int:
    """Data starts on the next line, or on the same one after blanks (as the server reads it)."""
    match = re.compile(rb"[ \t\f]*(?:\r?\n)?").match(text, after_format)
    return match.end() if match else after_format
