"""Reading: the declared columns of all sources as text, and the digest of the files."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import obstore
import polars as pl
from obstore.store import from_url

from modelward_api import csv_errors
from modelward_api.resources.data import Data, Source
from modelward_api.resources.reasons import Reason
from modelward_api.store import InvalidAddressError, client_options, is_missing, resolve, shown, split, trouble
from modelward_training.errors import InvalidInputError, StoreError


@dataclass(frozen=True)
class Table:
    """The rows of all sources."""

    frame: pl.DataFrame
    """One text column per declared column, in the order of the declaration; missing is null."""
    digest: str
    """SHA-256 over the bytes of the sources, in the order of the declaration."""


def read_sources(data: Data, store: str | None) -> Table:
    """Read every source.

    Raises:
        InvalidInputError: InvalidAddress, MissingFile, UnreadableFile, EmptyData, UnknownColumn, DuplicateColumn.
        StoreError: the store cannot be read now.
    """
    digest, frames = hashlib.sha256(), []
    _reject_duplicates(data)
    _require_site_column(data)
    for index, source in enumerate(data.sources):
        content = _fetch(source, f"spec.data.sources[{index}]", store)
        digest.update(hashlib.sha256(content).digest())
        field = f"spec.data.sources[{index}]"
        frames.append(_declared(_with_site(_parse(source, content, field, data), source, field, data), data))
    frame = pl.concat(frames)
    if frame.height == 0:
        message = "the sources have a header but no rows: upload files with rows"
        raise InvalidInputError(Reason.EMPTY_DATA, message, "spec.data.sources[0]")
    return Table(frame, f"sha256:{digest.hexdigest()}")


def _reject_duplicates(data: Data) -> None:
    names = [column.name for column in data.columns]
    for index, name in enumerate(names):
        if name in names[:index]:
            message = f"column {name} is declared twice: remove one, or rename it"
            raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"spec.data.columns[{index}].name")


def _require_site_column(data: Data) -> None:
    for index, source in enumerate(data.sources):
        if source.site is not None and _site_column(data) is None:
            message = "site needs a column with role: site in spec.data.columns"
            raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, f"spec.data.sources[{index}].site")


def _site_column(data: Data) -> str | None:
    return next((column.name for column in data.columns if column.role == "site"), None)


def _with_site(frame: pl.DataFrame, source: Source, field: str, data: Data) -> pl.DataFrame:
    """Add the declared site of the source's rows as the site column."""
    name = _site_column(data)
    if source.site is None or name is None:
        return frame
    if name in frame.columns:
        message = f"{shown(source.uri)} has column {name}, and its source declares a site: remove one of them"
        raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"{field}.site")
    return frame.with_columns(pl.lit(source.site).alias(name))


def _fetch(source: Source, field: str, store: str | None) -> bytes:
    address = shown(source.uri)
    try:
        folder, name = split(resolve(source.uri, store))
        return bytes(obstore.get(from_url(folder, **client_options(folder)), name).bytes())
    except InvalidAddressError as error:
        raise InvalidInputError(Reason.INVALID_ADDRESS, str(error), f"{field}.uri") from None
    except (OSError, obstore.exceptions.BaseError) as error:
        if is_missing(error):
            message = f"no file at {address}: upload it, or correct the address"
            raise InvalidInputError(Reason.MISSING_FILE, message, f"{field}.uri") from None
        problem = trouble(error, source.uri)
        raise StoreError(problem.reason, problem.sentence) from None


def _parse(source: Source, content: bytes, field: str, data: Data) -> pl.DataFrame:
    address = shown(source.uri)
    if not content.strip():
        raise InvalidInputError(
            Reason.EMPTY_DATA, f"{address} is empty: upload a file with a header and rows", f"{field}.uri"
        )
    try:
        if source.format == "parquet":
            return pl.read_parquet(io.BytesIO(content))
        csv_errors.check(io.BytesIO(content))
        _check_names(csv_errors.header(content), data, address)
        return pl.read_csv(io.BytesIO(content), infer_schema=False)
    except csv_errors.MalformedError as error:
        raise InvalidInputError(Reason.UNREADABLE_FILE, f"{address}: {error}", f"{field}.uri") from None
    except pl.exceptions.DuplicateError:
        message = f"{address} has two columns with the same name: rename or remove one"
        raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"{field}.uri") from None
    except (pl.exceptions.PolarsError, ValueError, OSError) as error:
        message = (
            f"{address} cannot be read as {source.format} ({type(error).__name__}): check that the file is complete and has "
            "this format"
        )
        raise InvalidInputError(Reason.UNREADABLE_FILE, message, f"{field}.format") from None


def _check_names(names: list[str], data: Data, address: str) -> None:
    """Refuse two columns of the same name: polars would rename the second, and it would be lost without notice."""
    if (name := csv_errors.twice(names, [column.name for column in data.columns])) is not None:
        index = [column.name for column in data.columns].index(name)
        message = f"{address} has column {name} twice: rename or remove one"
        raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"spec.data.columns[{index}].name")


def _declared(frame: pl.DataFrame, data: Data) -> pl.DataFrame:
    """Return only the declared columns, as text, with null for the values that the declaration calls missing."""
    names = [column.name for column in data.columns]
    for index, column in enumerate(data.columns):
        field = f"spec.data.columns[{index}]"
        if column.name not in frame.columns:
            hint = csv_errors.present(frame.columns, names, column.name)
            raise InvalidInputError(
                Reason.UNKNOWN_COLUMN, f"no column {column.name!r} in the data; {hint}", f"{field}.name"
            )
        if frame.schema[column.name].is_nested():
            message = f"column {column.name} holds lists or structures: store one value per row"
            raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.kind")
    expressions = []
    for column in data.columns:
        text = _text(column.name, frame.schema[column.name]).str.strip_chars()
        missing = ["", *column.missing_values]
        expressions.append(pl.when(text.is_in(missing)).then(None).otherwise(text).alias(column.name))
    try:
        return frame.select(expressions)
    except pl.exceptions.PolarsError as error:
        message = f"the columns cannot be read as text ({type(error).__name__}): store text, numbers or timestamps"
        raise InvalidInputError(Reason.WRONG_KIND, message, "spec.data.columns") from None


def _text(name: str, kind: pl.DataType) -> pl.Expr:
    """The column as the text that a CSV file would hold."""
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return pl.col(name).dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return pl.col(name).cast(pl.String)
