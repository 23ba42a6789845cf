"""Reading: spec.data.sources as lazy tables in the data's own names."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection
from pathlib import Path

import polars as pl

from modelward_api import csv_errors
from modelward_api.resources.data import Data, Source
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
    wanted = _wanted(data)
    for index, source in enumerate(data.sources):
        if source.sql is not None:
            path, hashed = sql.rows(source.sql, index, folder)
            parts.append(Part(index, source, *columnar.scan_parquet(path), f"the query of source {index}"))
            digest.update(hashed)
            continue
        for file in files.find(source, index, store):
            spool = Spool(file, folder, len(parts))
            part, told = _part(spool, source, index, wanted)
            parts.append(part)
            notes += told
            digest.update(spool.digest.digest())
    return Parts(tuple(parts), f"sha256:{digest.hexdigest()}", tuple(notes), mappings.read(data, store, folder))


def _wanted(data: Data) -> set[str]:
    """Return the names in the data that any site may use."""
    names = {column.source or column.name for column in data.columns}
    return names | {column.source or column.name for site in data.sites for column in site.columns}


def _part(spool: Spool, source: Source, index: int, wanted: Collection[str]) -> tuple[Part, list[str]]:
    file = spool.file
    try:
        if source.format == "parquet":
            names, frame = columnar.scan_parquet(spool.keep())
            return Part(index, source, names, frame, file.where), []
        if source.format == "ndjson":
            names, frame = columnar.scan_ndjson(spool, wanted)
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
    return Part(index, source, found.names, found.frame, file.where, found.is_trimmed), _notes(found, file)


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
