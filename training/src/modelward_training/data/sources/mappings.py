"""Mappings of values in CSV files of the store: the value in the data, and the declared value."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from modelward_api.csv_errors import MalformedError
from modelward_api.resources.data import Data, Recording
from modelward_api.resources.reasons import Reason
from modelward_training.data.sources import files
from modelward_training.data.sources.spool import Spool
from modelward_training.errors import InvalidInputError

MAX_BYTES = 8 * 1024 * 1024
HEADER = ("value", "declared")
"""Without it the first pair of a file that lacks a header would be lost."""
MAX_LENGTH = 128
"""Characters of a value, as of those that are declared inline."""


def read(data: Data, store: str | None, folder: Path) -> dict[str, dict[str, str]]:
    """Return all mappings of valuesFrom, by address.

    Raises:
        InvalidInputError: InvalidAddress, MissingFile, InvalidMapping.
        StoreError: the store cannot be read now.
    """
    found: dict[str, dict[str, str]] = {}
    for path, recording in _recordings(data):
        if recording.values_from is not None and recording.values_from.uri not in found:
            uri, field = recording.values_from.uri, f"{path}.valuesFrom.uri"
            found[uri] = _mapping(uri, field, store, folder)
    return found


def _recordings(data: Data) -> Iterator[tuple[str, Recording]]:
    for i, column in enumerate(data.columns):
        yield f"spec.data.columns[{i}]", column
    for i, site in enumerate(data.sites):
        for j, given in enumerate(site.columns):
            yield f"spec.data.sites[{i}].columns[{j}]", given


def _mapping(uri: str, field: str, store: str | None, folder: Path) -> dict[str, str]:
    file = files.one(uri, field, store)
    spool = Spool(file, folder, -1)
    content = bytearray()
    try:
        spool.decode(None)
        for block in spool.blocks:
            content += block
            if len(content) > MAX_BYTES:
                raise MalformedError(f"the file is larger than {MAX_BYTES} bytes")
        return _pairs(content.decode())
    except MalformedError as error:
        message = f"{file.where}: {error}: write a CSV file with the header value,declared"
        raise InvalidInputError(Reason.INVALID_MAPPING, message, field) from None
    except csv.Error:
        message = f"{file.where} is not a CSV file with the header value,declared: correct it"
        raise InvalidInputError(Reason.INVALID_MAPPING, message, field) from None


def _pairs(text: str) -> dict[str, str]:
    header = text.split("\n", 1)[0]
    separator = ";" if ";" in header and "," not in header else "\t" if "\t" in header and "," not in header else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found: dict[str, str] = {}
    is_header, line = True, 1
    for record in reader:
        begin, line = line, reader.line_num + 1
        if not record:
            continue
        if len(record) != 2:
            raise MalformedError(f"line {begin} has {len(record)} fields, and must have two")
        value, target = record[0].strip(), record[1].strip()
        if is_header and (value, target) != HEADER:
            raise MalformedError(f"line {begin} must be the header {','.join(HEADER)}")
        if not is_header and max(len(value), len(target)) > MAX_LENGTH:
            raise MalformedError(f"line {begin} has a value of more than {MAX_LENGTH} characters")
        if not is_header and found.setdefault(value, target) != target:
            raise MalformedError(f"line {begin} gives a second target to a value: keep one of them")
        is_header = False
    if not found:
        raise MalformedError("the file has no rows")
    return found
