"""CSV files: what their dialect is, whether their structure holds, and how polars scans them."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from modelward_api.csv_errors import MAX_LINE, SEPARATORS, MalformedError, unclosed
from modelward_api.resources.data import Dialect
from modelward_training.data.sources.spool import Spool
from modelward_training.data.sources.structure import RaggedError, Structure

CANDIDATES = (",", ";", "\t", "|")
MAX_COLUMNS = 16_384
_PLACE = "\x00place"
NAMES = {",": "','", **SEPARATORS}


class EmptyError(MalformedError):
    """A file without a line."""


@dataclass(frozen=True)
class Scan:
    """A CSV file that polars can scan."""

    path: Path
    names: tuple[str, ...]
    marks: tuple[str, str]
    """Separator and quote."""
    skipped: int
    """Number of lines before the first record of values."""
    blank: list[int]
    """Which records are empty lines."""
    rows: int
    """Number of records of values that are not empty lines."""
    is_trimmed: bool
    """Whether no text has spaces around it."""
    separator: str | None
    """The separator, if it was recognised and is not a comma."""
    encoding: str | None
    """The encoding, if a mark told it."""

    def frame(self, numbers: Collection[str] = ()) -> pl.LazyFrame:
        """Return the columns, called 0, 1, 2 and so on: text as written, or Float64 for those of the given names.

        Null is where nothing is written. Collecting fails if a number is anything else.
        """
        kinds = {str(place): pl.Float64() if name in numbers else pl.String() for place, name in enumerate(self.names)}
        frame = pl.scan_csv(
            self.path,
            has_header=False,
            skip_lines=self.skipped,
            separator=self.marks[0],
            quote_char=self.marks[1],
            missing_columns="insert",  # or an empty line after the header would be taken for a record of one field
            schema=kinds,
        )
        if not self.blank:
            return frame
        is_blank = pl.col(_PLACE).is_in(pl.Series(self.blank, dtype=pl.UInt32).implode())
        return frame.with_row_index(_PLACE).filter(~is_blank).drop(_PLACE)


def scan(spool: Spool, dialect: Dialect) -> Scan:
    """Read a file once, in bounded memory, and return how to scan it.

    Raises:
        MalformedError: the file is not CSV in its dialect; EmptyError: it has no line.
    """
    encoding = spool.decode(dialect.encoding)
    if dialect.comment is not None:
        spool.blank_comments(dialect.comment, dialect.quote)
    begin = _begin(spool, dialect)
    if len(begin.fields) > MAX_COLUMNS:
        raise MalformedError(
            f"line {begin.lines} has more than {MAX_COLUMNS} fields: check the separator and the line ends"
        )
    structure = Structure(begin.separator, dialect.quote, len(begin.fields), begin.records if dialect.header else 0)
    try:
        path = spool.keep(structure.feed)
        structure.finish()
    except RaggedError as error:
        raise MalformedError(_ragged(error, begin.separator, dialect)) from None
    names = tuple(begin.fields) if dialect.header else tuple(map(str, range(1, len(begin.fields) + 1)))
    recognised = begin.separator if dialect.separator is None and begin.separator != "," else None
    skipped = begin.lines if dialect.header else 0
    marks = (begin.separator, dialect.quote)
    rows = structure.records - structure.first - len(structure.blank)
    is_trimmed = not structure.may_have_spaces
    return Scan(path, names, marks, skipped, structure.blank, rows, is_trimmed, recognised, encoding)


@dataclass(frozen=True, slots=True)
class _Begin:
    """The first record of a file."""

    separator: str
    fields: list[str]
    records: int
    """Number of records up to it, with empty ones."""
    lines: int
    """Number of lines up to its end, as polars counts them: a carriage return alone ends none."""


def _begin(spool: Spool, dialect: Dialect) -> _Begin:
    """Return the first record, and the separator that is declared or recognised."""
    while True:
        text = spool.head.decode(errors="ignore")
        cut = text.rfind("\n") + 1
        whole = text if spool.is_all else text[:cut]
        candidates = (dialect.separator,) if dialect.separator else CANDIDATES
        found = [_first(whole, separator, dialect.quote) for separator in candidates]
        if any(pair is not None for pair in found):
            return _chosen([pair for pair in found if pair is not None])
        if not spool.look_further():
            raise _without_begin(text)


def _without_begin(text: str) -> MalformedError:
    if not text.strip():
        return EmptyError("the file is empty")
    if len(text) >= MAX_LINE and "\n" not in text:
        return MalformedError(f"line 1 is longer than {MAX_LINE} bytes: end lines with LF or CRLF")
    return MalformedError(unclosed(1))


def _first(text: str, separator: str, quote: str) -> tuple[_Begin, int] | None:
    """Return the first record by a separator, and the number of fields of the next one, or None if it has no end."""
    if not text.strip():
        return None
    csv.field_size_limit(2 * MAX_LINE)
    source = io.StringIO(text, newline="")
    reader = csv.reader(iter(source.readline, ""), delimiter=separator, quotechar=quote, strict=True)
    begin, records = None, 0
    try:
        for record in reader:
            records += 1
            if record and begin is not None:
                return begin, len(record)
            if record:
                read = text[: source.tell()]
                begin = _Begin(separator, record, records, read.count("\n") + (not read.endswith("\n")))
    except csv.Error:
        pass
    return None if begin is None else (begin, len(begin.fields))


def _chosen(found: list[tuple[_Begin, int]]) -> _Begin:
    """Return the beginning by the separator that explains it, or by a comma if none does."""
    several = [pair for pair in found if len(pair[0].fields) > 1]
    if len(several) > 1:
        several = [pair for pair in several if len(pair[0].fields) == pair[1]]
    if len(several) > 1:
        marks = " or ".join(NAMES[begin.separator] for begin, _ in several)
        raise MalformedError(f"the separator may be {marks}: set dialect.separator")
    return several[0][0] if several else found[0][0]


def _ragged(error: RaggedError, separator: str, dialect: Dialect) -> str:
    """Return where a record has another number of fields, and what to set."""
    has = "one field" if error.fields == 1 else f"{error.fields} fields"
    told = (
        f"line {error.line} has {has}, and the header {error.wanted}"
        if dialect.header
        else (f"line {error.line} has {has}, and the first line {error.wanted}")
    )
    if error.fields > error.wanted:
        remedy = "quote values that contain the separator"
        if separator == ",":
            remedy = "use decimal points, or quote values that contain commas"
        return f"{told}: {remedy}"
    marks = [mark for mark in CANDIDATES if mark != separator]
    other = [mark for mark in marks if error.record.count(mark.encode()) == error.wanted - 1]
    if error.fields == 1 and other:
        return f"{told}: is separator {NAMES[other[0]]}? Set dialect.separator"
    return f"{told}: separate fields with {_plural(separator)}, and complete the line"


def _plural(separator: str) -> str:
    return {",": "commas", "\t": "tabs"}.get(separator, NAMES.get(separator, "the separator"))
