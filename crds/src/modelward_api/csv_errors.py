"""Error messages for CSV files: they name the line and the remedy, and never quote the file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import BinaryIO

SEPARATORS = {";": "';'", "\t": "a tab", "|": "'|'"}
MAX_FIELD = MAX_LINE = 16 * 1024 * 1024
UTF16, UTF8_MARK = (b"\xff\xfe", b"\xfe\xff"), b"\xef\xbb\xbf"


class MalformedError(Exception):
    """A malformed file. The message says where and what to do, and never quotes the file."""


def check(file: BinaryIO) -> None:
    """Read a CSV file to its end, in bounded memory.

    Raises:
        MalformedError: it is not UTF-8, has NUL bytes, another separator, an open quote, or a line with other fields.
    """
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(_lines(file), strict=True)
    width, before = 0, 1
    try:
        for record in reader:
            if width == 0:
                width = _header(record)
            elif record and len(record) != width:
                raise MalformedError(_ragged(before, len(record), width))
            before = reader.line_num + 1
    except csv.Error as error:
        if "new-line" in str(error):
            raise MalformedError(f"line {before} has a carriage return alone: end lines with LF or CRLF") from None
        raise MalformedError(unclosed(before)) from None


def header(content: bytes) -> list[str]:
    """Return the column names of a checked file's content."""
    return next(csv.reader(_lines(io.BytesIO(content))), [])


def unclosed(line: int) -> str:
    """Return the message for a record with a quote that does not end a field."""
    return f"a quote in line {line} is not closed, or text follows it: close it, and double quotes in values"


def separator(header: str) -> str | None:
    """Return the separator of the column names, if it is not a comma."""
    if "," in header:
        return None
    return next((name for mark, name in SEPARATORS.items() if mark in header), None)


def _header(record: list[str]) -> int:
    if len(record) == 1 and (found := separator(record[0])):
        message = f"line 1 uses the separator {found}: separate fields with commas"
        raise MalformedError(message)
    return len(record)


def _ragged(line: int, fields: int, wanted: int) -> str:
    has = "one field" if fields == 1 else f"{fields} fields"
    if fields > wanted:
        return (
            f"line {line} has {has}, and the header {wanted}: use decimal points, and quote values that contain commas"
        )
    return f"line {line} has {has}, and the header {wanted}: separate fields with commas, and complete the line"


def _lines(file: BinaryIO) -> Iterator[str]:
    """Lines as text, each of bounded length."""
    source = io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file
    for number, line in enumerate(iter(lambda: source.readline(MAX_LINE), b""), 1):
        if len(line) == MAX_LINE:
            raise MalformedError(f"line {number} is longer than {MAX_LINE} bytes: end lines with LF or CRLF")
        if number == 1 and line.startswith(UTF16):
            raise MalformedError("the file is UTF-16: save it as UTF-8")
        if b"\0" in line:
            raise MalformedError(f"line {number} has a NUL byte; the file may be UTF-16 or truncated: save it as UTF-8")
        try:
            yield (line.removeprefix(UTF8_MARK) if number == 1 else line).decode()
        except UnicodeDecodeError:
            raise MalformedError(f"line {number} is not UTF-8, possibly Latin-1: save the file as UTF-8") from None


def twice(names: Collection[str], declared: Collection[str]) -> str | None:
    """Return a declared column that a file has more than once."""
    counts = Counter(names)
    return next((name for name in declared if counts[name] > 1), None)


def present(names: Collection[str], declared: Collection[str], wanted: str) -> str:
    """Describe a file that lacks a column. Declared names may be quoted; the others are only counted."""
    others = [name for name in names if name not in declared]
    names_sentence = f"of {len(names)} columns {len(names) - len(others)} are declared"
    if any(_plain(name) == _plain(wanted) for name in others):
        return f"{names_sentence}; one name differs in case, spaces or underscores only: correct it"
    if get_close_matches(_plain(wanted), [_plain(name) for name in others], n=1, cutoff=0.8):
        return f"{names_sentence}; one name is similar: check the spelling"
    if len(others) == len(names):
        return f"{names_sentence}: check that the file has a header line"
    return names_sentence


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
