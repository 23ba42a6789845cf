"""Step 1: the declared columns of all sources, as text, and the digest of what was read."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import obstore
import polars as pl
from obstore.store import from_url

from modelward_api import csv_errors
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import Data, Source
from modelward_api.store import InvalidAddressError, client_options, is_missing, resolve, shown, split, trouble
from modelward_training.errors import InvalidInputError, StoreError


@dataclass(frozen=True)
class Loaded:
    """All rows of all sources."""

    frame: pl.DataFrame
    """One text column per declared column, in the order of the declaration; missing is null."""
    digest: str
    """SHA-256 over the sources' bytes, in their order."""


def load(data: Data, store: str | None) -> Loaded:
    """Read every source.

    Raises:
        InvalidInputError: InvalidAddress, MissingFile, UnreadableFile, EmptyData, UnknownColumn, DuplicateColumn.
        StoreError: the store cannot be read now.
    """
    digest, frames = hashlib.sha256(), []
    _once(data)
    for index, source in enumerate(data.sources):
        content = _fetch(source, f"spec.data.sources[{index}]", store)
        digest.update(hashlib.sha256(content).digest())
        frames.append(_declared(_parse(source, content, f"spec.data.sources[{index}]", data), data))
    frame = pl.concat(frames)
    if frame.height == 0:
        raise InvalidInputError(Reason.EMPTY_DATA, "the sources have a header and no rows", "spec.data.sources[0]")
    return Loaded(frame, f"sha256:{digest.hexdigest()}")


def _once(data: Data) -> None:
    names = [column.name for column in data.columns]
    for index, name in enumerate(names):
        if name in names[:index]:
            message = f"column {name} is declared twice: remove one, or correct its name"
            raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"spec.data.columns[{index}].name")


def _fetch(source: Source, field: str, store: str | None) -> bytes:
    told = shown(source.uri)
    try:
        folder, name = split(resolve(source.uri, store))
        return bytes(obstore.get(from_url(folder, **client_options(folder)), name).bytes())
    except InvalidAddressError as error:
        raise InvalidInputError(Reason.INVALID_ADDRESS, str(error), f"{field}.uri") from None
    except (OSError, obstore.exceptions.BaseError) as error:
        if is_missing(error):
            message = f"no file at {told}: upload it, or correct the address"
            raise InvalidInputError(Reason.MISSING_FILE, message, f"{field}.uri") from None
        found = trouble(error, source.uri)
        raise StoreError(found.reason, found.sentence) from None


def _parse(source: Source, content: bytes, field: str, data: Data) -> pl.DataFrame:
    told = shown(source.uri)
    if not content.strip():
        raise InvalidInputError(
            Reason.EMPTY_DATA, f"{told} is empty: upload a file with a header and rows", f"{field}.uri"
        )
    try:
        if source.format == "parquet":
            return pl.read_parquet(io.BytesIO(content))
        csv_errors.check(io.BytesIO(content))
        _check_names(csv_errors.header(content), data, told)
        return pl.read_csv(io.BytesIO(content), infer_schema=False)
    except csv_errors.MalformedError as error:
        raise InvalidInputError(Reason.UNREADABLE_FILE, f"{told}: {error}", f"{field}.uri") from None
    except pl.exceptions.DuplicateError:
        message = f"{told} has two columns of one name: rename or remove one"
        raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"{field}.uri") from None
    except (pl.exceptions.PolarsError, ValueError, OSError) as error:
        message = f"{told} cannot be read as {source.format} ({type(error).__name__}): is it whole, and of this format?"
        raise InvalidInputError(Reason.UNREADABLE_FILE, message, f"{field}.format") from None


def _check_names(names: list[str], data: Data, told: str) -> None:
    """A reader renames the second of two columns of one name: it would be lost in silence."""
    if (name := csv_errors.twice(names, [column.name for column in data.columns])) is not None:
        index = [column.name for column in data.columns].index(name)
        message = f"{told} has column {name} twice: rename or remove one"
        raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"spec.data.columns[{index}].name")


def _declared(frame: pl.DataFrame, data: Data) -> pl.DataFrame:
    """Only the declared columns, as text; what a column calls missing is null."""
    names = [column.name for column in data.columns]
    for index, column in enumerate(data.columns):
        field = f"spec.data.columns[{index}]"
        if column.name not in frame.columns:
            hint = csv_errors.present(frame.columns, names, column.name)
            raise InvalidInputError(
                Reason.UNKNOWN_COLUMN, f"no column {column.name!r} in the data; {hint}", f"{field}.name"
            )
        if frame.schema[column.name].is_nested():
            message = f"column {column.name} holds lists or structures: give it one value a row"
            raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.kind")
    wanted = []
    for column in data.columns:
        text = _text(column.name, frame.schema[column.name]).str.strip_chars()
        missing = ["", *column.missing_values]
        wanted.append(pl.when(text.is_in(missing)).then(None).otherwise(text).alias(column.name))
    try:
        return frame.select(wanted)
    except pl.exceptions.PolarsError as error:
        message = f"the columns cannot be read as text ({type(error).__name__}): write text, numbers or timestamps"
        raise InvalidInputError(Reason.WRONG_KIND, message, "spec.data.columns") from None


def _text(name: str, kind: pl.DataType) -> pl.Expr:
    """A column as the text that a CSV file would hold."""
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return pl.col(name).dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return pl.col(name).cast(pl.String)
