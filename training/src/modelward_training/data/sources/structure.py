"""The structure of a CSV file: every record has the fields of the first. Checked on bytes, many records at once.

polars reads a short line as one with missing values, and skips the end of a long one, so it is checked beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from modelward_api.csv_errors import MAX_LINE, MalformedError, unclosed

LF, CR = 10, 13
MAX_BLANK_LINES = 1_000_000
PIECE = 256 * 1024
"""Bytes that are checked at once: few enough to stay in the processor's cache."""
_SPACES = (b" ", b"\t", b"\x0b", b"\x0c")
_AROUND = b" \t\x0b\x0c\xc2\xe1\xe2\xe3"
"""Bytes that may be, or begin, white space."""


@dataclass
class Structure:
    """Checks blocks of a UTF-8 file in their order."""

    separator: str
    quote: str
    width: int
    """Number of fields of a record."""
    first: int = 0
    """Index of the first record that holds values: 1 after a header."""
    records: int = 0
    """Records so far, blank ones included."""
    blank: list[int] = field(default_factory=list)
    """Indices of the blank records among the records of values, from 0."""
    may_have_spaces: bool = False
    _line: int = 1
    _rest: bytes = b""

    def feed(self, block: bytes) -> None:
        """Check all lines that are complete.

        Raises:
            MalformedError: the structure is broken.
        """
        for start in range(0, len(block), PIECE):
            self._feed(block[start : start + PIECE])

    def _feed(self, block: bytes) -> None:
        content = self._rest + block
        end = content.rfind(b"\n") + 1
        if self.quote.encode() in content[:end]:
            end = self._end_outside_quotes(content, end)
        self._rest = content[end:]
        if end:
            self._check(content[:end])
        if len(self._rest) >= MAX_LINE and self.quote.encode() in self._rest:
            raise MalformedError(unclosed(self._line))
        if len(self._rest) >= MAX_LINE:
            raise MalformedError(f"line {self._line} is longer than {MAX_LINE} bytes: end lines with LF or CRLF")

    def finish(self) -> None:
        """Check the last line, which may have no end."""
        if self._rest:
            self._check(self._rest + b"\n")
            self._rest = b""

    def _end_outside_quotes(self, content: bytes, end: int) -> int:
        """Return the last end of a line that no quoted field spans."""
        array = np.frombuffer(content, dtype=np.uint8, count=end)
        is_quote = array == ord(self.quote)
        ends = np.flatnonzero((array == LF) & (np.cumsum(is_quote, dtype=np.int32) % 2 == 0))
        return int(ends[-1]) + 1 if len(ends) else 0

    def _check(self, content: bytes) -> None:
        if b"\0" in content:
            line = self._line + content[: content.index(b"\0")].count(b"\n")
            raise MalformedError(
                f"line {line} has a NUL byte; the file may be UTF-16 or truncated: set dialect.encoding, or save it as UTF-8"
            )
        array = np.frombuffer(content, dtype=np.uint8)
        separator, quote = ord(self.separator), ord(self.quote)
        outside = None
        if self.quote.encode() in content:
            outside = self._outside(content, array, quote, separator)
        if b"\r" in content:
            self._check_returns(content, array, outside)
        if outside is None and self.width > 1 and self._is_regular(array, separator):
            self._look_for_spaces(content, array, separator)
            return
        marks = (array == separator) | (array == LF)
        self._check_widths(content, array, np.flatnonzero(marks if outside is None else marks & outside))
        self._look_for_spaces(content, array, separator)
        self._line += content.count(b"\n")

    def _is_regular(self, array: np.ndarray, separator: int) -> bool:
        """Return whether no line is empty and all have their fields, and count them. It is faster than to find which has not."""
        separators, ends = np.flatnonzero(array == separator), np.flatnonzero(array == LF)
        each = self.width - 1
        if len(separators) != each * len(ends):
            return False
        is_before = (separators[each - 1 :: each] < ends).all()
        is_after = (separators[each::each] > ends[:-1]).all()
        if is_before and is_after:
            self.records += len(ends)
            self._line += len(ends)
        return bool(is_before and is_after)

    def _outside(self, content: bytes, array: np.ndarray, quote: int, separator: int) -> np.ndarray:
        """Return which bytes are outside quoted fields, [n]. Quotes must be at both ends of a field, or doubled within."""
        quotes = np.flatnonzero(array == quote)
        depth = np.cumsum(array == quote, dtype=np.int32) % 2
        if depth[-1]:
            self._refuse_quote(content, int(quotes[-1]))
        around = np.concatenate(([LF], array, [LF]))
        opening, closing = quotes[::2], quotes[1::2]
        before, after = around[opening], around[closing + 2]
        bad_open = ~np.isin(before, (separator, LF, quote))
        bad_close = ~np.isin(after, (separator, LF, CR, quote))
        bad = np.concatenate((opening[bad_open], closing[bad_close]))
        if len(bad):
            self._refuse_quote(content, int(bad.min()))
        outside: np.ndarray = depth == 0
        return outside

    def _refuse_quote(self, content: bytes, place: int) -> NoReturn:
        """Tell the line in which the record with a wrong quote begins."""
        array = np.frombuffer(content, dtype=np.uint8, count=place)
        inside = np.cumsum(array == ord(self.quote), dtype=np.int32) % 2
        ends = np.flatnonzero((array == LF) & (inside == 0))
        begin = int(ends[-1]) + 1 if len(ends) else 0
        raise MalformedError(unclosed(self._line + content[:begin].count(b"\n")))

    def _check_returns(self, content: bytes, array: np.ndarray, outside: np.ndarray | None) -> None:
        is_alone = (array[:-1] == CR) & (array[1:] != LF)
        if outside is not None:
            is_alone &= outside[:-1]
        if is_alone.any():
            line = self._line + content[: int(np.argmax(is_alone))].count(b"\n")
            raise MalformedError(f"line {line} has a carriage return alone: end lines with LF or CRLF")

    def _check_widths(self, content: bytes, array: np.ndarray, places: np.ndarray) -> None:
        last = np.flatnonzero(array[places] == LF)
        widths = np.diff(last, prepend=-1)
        ends = places[last]
        wrong = np.flatnonzero(widths != self.width)
        starts = np.concatenate(([0], ends[:-1] + 1))
        if self.width == 1:
            wrong = np.union1d(wrong, np.flatnonzero(ends - starts <= 1))
        for record in wrong.tolist():
            start, end = int(starts[record]), int(ends[record])
            if content[start:end].strip(b"\r") == b"":
                self._skip(self.records + record)
            elif widths[record] != self.width:
                line = self._line + content[:start].count(b"\n")
                raise RaggedError(line, int(widths[record]), self.width, content[start : min(end, start + 4096)])
        self.records += len(ends)

    def _skip(self, record: int) -> None:
        if record >= self.first:
            self.blank.append(record - self.first)
        if len(self.blank) > MAX_BLANK_LINES:
            raise MalformedError(f"more than {MAX_BLANK_LINES} lines are empty: remove them")

    def _look_for_spaces(self, content: bytes, array: np.ndarray, separator: int) -> None:
        """Note whether a field may begin or end with white space, or with a quote that hides it."""
        if self.may_have_spaces:
            return
        if self.quote.encode() in content:
            self.may_have_spaces = True
            return
        if content.isascii() and not any(space in content for space in _SPACES):
            return
        places = np.flatnonzero((array == separator) | (array == LF))
        around = np.frombuffer(_AROUND, dtype=np.uint8)
        after = array[np.minimum(places + 1, len(array) - 1)]
        before = array[np.maximum(places - 1, 0)]
        is_return = before == CR
        before = np.where(is_return, array[np.maximum(places - 2, 0)], before)
        # The last byte of a character of several bytes may be that of a wide space.
        self.may_have_spaces = bool(
            np.isin(after, around).any()
            or np.isin(before, around).any()
            or (before >= 0x80).any()
            or array[0] in _AROUND
        )


class RaggedError(MalformedError):
    """A record has another number of fields than the first."""

    def __init__(self, line: int, fields: int, wanted: int, record: bytes) -> None:
        super().__init__(f"line {line} has another number of fields")
        self.line, self.fields, self.wanted, self.record = line, fields, wanted, record
