"""Reading: spec.data.sources as lazy tables in the data's own names."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Collection
from pathlib import Path

import polars as pl

from modelward_api import csv_errors
from modelward_api.resources.data import Data, DataColumn, Dialect, SiteColumn, Source
from modelward_api.resources.reasons import Reason
from modelward_training.data.declaration import check
from modelward_training.data.parts import Part, Parts
from modelward_training.data.sources import columnar, delimited, files, mappings, sql
from modelward_training.data.sources.files import File
from modelward_training.data.sources.spool import Spool
from modelward_training.errors import InvalidInputError

_folders: list[tempfile.TemporaryDirectory[str]] = []
"""What was read is there until the process ends: the tables are lazy."""


def read(data: Data, store: str | None) -> Parts:
    """Read every source once, to check and to hash it, and return tables that polars can scan.

    Raises:
        InvalidInputError: InvalidSpec, UnknownSite, InvalidAddress, MissingFile, UnreadableFile, EmptyData, TooLarge,
            QueryFailed, QueryTimedOut, InvalidMapping.
        StoreError: the store cannot be read now.
    """
    check(data)
    _folders.append(tempfile.TemporaryDirectory(prefix="modelward-"))
    folder = Path(_folders[-1].name)
    digest, parts, notes = hashlib.sha256(), list[Part](), list[str]()
    wanted, numbers = _wanted(data), _numbers(data)
    seen: dict[str, str] = {}
    for index, source in enumerate(data.sources):
        if source.sql is not None:
            path, hashed = sql.rows(source.sql, index, folder)
            parts.append(Part(index, source, *columnar.scan_parquet(path), f"the query of source {index}"))
            digest.update(hashed)
            continue
        for file in files.find(source, index, store):
            _require_new(file.address, file, seen)
            spool = Spool(file, folder, len(parts))
            part, told = _part(spool, source, index, wanted, numbers)
            content = spool.digest.hexdigest()
            if content not in seen or not part.frame.head(1).collect().is_empty():  # files without rows may be equal
                _require_new(content, file, seen)
            parts.append(part)
            notes += told
            digest.update(spool.digest.digest())
    return Parts(tuple(parts), f"sha256:{digest.hexdigest()}", tuple(notes), mappings.read(data, store, folder))


def _require_new(mark: str, file: File, seen: dict[str, str]) -> None:
    """Refuse a file that was read before, by its address or its content."""
    if mark in seen:
        message = f"{file.where} is the same as {seen[mark]}: its rows would count twice; remove one of them"
        raise InvalidInputError(Reason.INVALID_SPEC, message, file.field)
    seen[mark] = file.where


def _wanted(data: Data) -> set[str]:
    """Return the names in the data that any site may use."""
    names = {column.source or column.name for column in data.columns}
    return names | {column.source or column.name for site in data.sites for column in site.columns}


def _part(
    spool: Spool, source: Source, index: int, wanted: Collection[str], numbers: Collection[str]
) -> tuple[Part, list[str]]:
    file = spool.file
    try:
        if source.format == "parquet":
            names, frame = columnar.scan_parquet(spool.keep())
            return Part(index, source, names, frame, file.where), []
        if source.format == "ndjson":
            names, frame = columnar.scan_ndjson(spool, wanted, is_plain=_is_plain(source.dialect))
            if not names:
                raise delimited.EmptyError
            return Part(index, source, names, frame, file.where), []
        found = delimited.scan(spool, source.dialect)
    except delimited.EmptyError:
        message = f"{file.where} is empty: upload a file with a header and rows"
        raise InvalidInputError(Reason.EMPTY_DATA, message, file.field) from None
    except csv_errors.MalformedError as error:
        raise InvalidInputError(Reason.UNREADABLE_FILE, f"{file.where}: {error}", file.field) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(file, source, index, error) from None
    frame = _kept(spool, found, wanted, numbers if _is_plain(source.dialect) else set())
    return Part(index, source, found.names, frame, file.where, found.is_trimmed), _notes(found, file)


def _kept(spool: Spool, found: delimited.Scan, wanted: Collection[str], numbers: Collection[str]) -> pl.LazyFrame:
    """Return the wanted columns of a CSV file, kept as Parquet if there is room: later steps read them several times.

    Numbers are read as such, and as text if one of them is something else, which must be told apart from a missing value.
    """
    target = spool.target.with_suffix(".parquet")
    places = [str(place) for place, name in enumerate(found.names) if name in wanted]
    if not places or not spool.has_room(2 * found.path.stat().st_size):
        frame = found.frame().select(places)
        if places:
            _require_rows(frame, found.rows, spool.file)
        return frame
    try:
        found.frame(numbers).select(places).sink_parquet(target, compression="uncompressed", statistics=False)
    except pl.exceptions.ComputeError:
        found.frame().select(places).sink_parquet(target, compression="uncompressed", statistics=False)
    spool.drop()
    frame = pl.scan_parquet(target)
    _require_rows(frame, found.rows, spool.file)
    return frame


def _require_rows(frame: pl.LazyFrame, rows: int, file: File) -> None:
    """Refuse a file of which polars reads another number of rows than its structure has."""
    if frame.select(pl.len()).collect(engine="streaming").item() != rows:
        message = f"{file.where}: where its records end is not clear: write values and names without line breaks"
        raise InvalidInputError(Reason.UNREADABLE_FILE, message, file.field)


def _is_plain(dialect: Dialect) -> bool:
    return dialect.decimal == "." and dialect.thousands is None


def _numbers(data: Data) -> set[str]:
    """Return the names in the data of what can be read as a number at once, at all sites."""
    textual, found = set(), set()
    declared = {column.name: column for column in data.columns}
    recorded: list[tuple[DataColumn, DataColumn | SiteColumn]] = [(column, column) for column in data.columns]
    recorded += [(declared[c.name], c) for site in data.sites for c in site.columns if c.name in declared]
    for column, recording in recorded:
        name = recording.source or column.source or column.name
        has_text = bool(recording.values or recording.values_from or recording.censored)
        codes = recording.missing_values or ()
        if column.kind not in ("numeric", "integer") or has_text or not all(map(_is_number, codes)):
            textual |= {name, column.source or column.name}
        found.add(name)
    return found - textual


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _unreadable(file: File, source: Source, index: int, error: Exception) -> InvalidInputError:
    message = (
        f"{file.where} cannot be read as {source.format} ({type(error).__name__}): check that the file is complete and has this "
        "format"
    )
    return InvalidInputError(Reason.UNREADABLE_FILE, message, f"spec.data.sources[{index}].format")


def _notes(found: delimited.Scan, file: File) -> list[str]:
    notes = []
    if found.separator is not None:
        notes.append(f"{file.where}: the separator {delimited.NAMES[found.separator]} was recognised")
    if found.encoding is not None:
        notes.append(f"{file.where}: the encoding {found.encoding} was recognised by the byte-order mark")
    return notes
