"""Step 1: the declared columns of all sources, as text, and the digest of what was read."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import obstore
import polars as pl
from obstore.store import from_url

from modelward_api.store import InvalidAddressError, patient, resolve, split, trouble
from modelward_api.trainingjob import Data, Source
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
        InvalidInputError: MissingFile, UnreadableFile, EmptyData, UnknownColumn, StoreUnavailable.
    """
    digest, frames = hashlib.sha256(), []
    for index, source in enumerate(data.sources):
        content = _fetch(source, f"spec.data.sources[{index}]", store)
        digest.update(hashlib.sha256(content).digest())
        frames.append(_declared(_parse(source, content, f"spec.data.sources[{index}]"), data))
    frame = pl.concat(frames)
    if frame.height == 0:
        raise InvalidInputError("EmptyData", "the sources have a header and no rows", "spec.data.sources[0]")
    return Loaded(frame, f"sha256:{digest.hexdigest()}")


def _fetch(source: Source, field: str, store: str | None) -> bytes:
    try:
        folder, name = split(resolve(source.uri, store))
        return bytes(obstore.get(from_url(folder, **patient(folder)), name).bytes())
    except InvalidAddressError as error:
        raise InvalidInputError("InvalidAddress", str(error), f"{field}.uri") from error
    except FileNotFoundError as error:
        message = f"no file at {source.uri}: upload it, or correct the address"
        raise InvalidInputError("MissingFile", message, f"{field}.uri") from error
    except (OSError, obstore.exceptions.BaseError) as error:
        if "not found" in str(error).lower() or "No such file" in str(error):
            message = f"no file at {source.uri}: upload it, or correct the address"
            raise InvalidInputError("MissingFile", message, f"{field}.uri") from error
        found = trouble(error, source.uri)
        raise StoreError(found.reason, found.sentence) from error


def _parse(source: Source, content: bytes, field: str) -> pl.DataFrame:
    if not content.strip():
        raise InvalidInputError("EmptyData", f"{source.uri} is empty", f"{field}.uri")
    try:
        if source.format == "parquet":
            return pl.read_parquet(io.BytesIO(content))
        return pl.read_csv(io.BytesIO(content), infer_schema=False)
    except (pl.exceptions.PolarsError, ValueError) as error:
        message = (
            f"{source.uri} cannot be read as {source.format} ({type(error).__name__}): check spec.data.sources[].format"
        )
        raise InvalidInputError("UnreadableFile", message, f"{field}.format") from error


def _declared(frame: pl.DataFrame, data: Data) -> pl.DataFrame:
    """Only the declared columns, as text; what a column calls missing is null."""
    for index, column in enumerate(data.columns):
        if column.name not in frame.columns:
            present = ", ".join(sorted(frame.columns)[:20])
            message = f"no column {column.name!r} in the data; the data have: {present}"
            raise InvalidInputError("UnknownColumn", message, f"spec.data.columns[{index}].name")
    wanted = []
    for column in data.columns:
        text = pl.col(column.name).cast(pl.String).str.strip_chars()
        missing = ["", *column.missing_values]
        wanted.append(pl.when(text.is_in(missing)).then(None).otherwise(text).alias(column.name))
    return frame.select(wanted)
