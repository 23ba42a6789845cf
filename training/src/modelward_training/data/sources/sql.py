"""The rows of a query: read in chunks in a read-only transaction, and kept as Parquet."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from polars import selectors as cs

from modelward_api.base import seconds
from modelward_api.names import SQL_VARIABLE
from modelward_api.resources.data import Sql
from modelward_api.resources.reasons import Reason
from modelward_training.errors import InvalidInputError, StoreError

SCHEMES = ("postgresql://", "postgres://")
CONNECT_SECONDS = "15"
_DENIED = ("28000", "28P01", "password authentication failed", "no password supplied", "is not permitted to log in")
_READ_ONLY, _CANCELLED, _NO_RIGHT = "25006", "57014", "42501"
_UNKNOWN = {"42P01": "a table", "42703": "a column", "3F000": "a schema", "42883": "a function"}


def rows(sql: Sql, index: int, folder: Path, environ: Mapping[str, str] = os.environ) -> tuple[Path, bytes]:
    """Run the query, and return where its rows are and the SHA-256 over them as CSV.

    Raises:
        InvalidInputError: InvalidAddress, QueryFailed, QueryTimedOut.
        StoreError: SecretMissing, DatabaseUnreachable, DatabaseAccessDenied.
    """
    uri, field = _uri(sql, index, environ), f"spec.data.sources[{index}].sql"
    from adbc_driver_manager import Error
    from adbc_driver_postgresql import dbapi

    target, digest = folder / f"sql{index}.parquet", _Hash()
    os.environ.setdefault("PGCONNECT_TIMEOUT", CONNECT_SECONDS)
    try:
        connection = dbapi.connect(uri)
    except Error as error:
        raise _unconnected(error, index) from None
    started = time.monotonic()
    try:
        with connection, connection.cursor() as cursor:
            # The second statement takes a snapshot, after which nothing can make the transaction writable.
            for statement in (
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
                f"SET LOCAL statement_timeout = {max(1, int(seconds(sql.timeout) * 1000))}",
                "SELECT 1",
            ):
                cursor.execute(statement)
            cursor.fetchone()
            cursor.execute(sql.query)
            _stored(pl.scan_arrow_c_stream(cursor.fetch_arrow())).sink_parquet(target)
            connection.rollback()
    except (Error, pl.exceptions.PolarsError, ValueError, OSError, pl.exceptions.PanicException) as error:
        raise _failed(error, field, sql, time.monotonic() - started) from None
    if not pl.scan_parquet(target).collect_schema():
        message = "the query returns no column: write a SELECT statement"
        raise InvalidInputError(Reason.QUERY_FAILED, message, f"{field}.query")
    pl.scan_parquet(target).select(~(cs.nested() | cs.binary())).sink_csv(digest)  # type: ignore[call-overload]
    return target, digest.value.digest()


def _stored(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Take types that only PostgreSQL has, such as numeric, as the text in which they arrive."""
    kinds = frame.collect_schema().items()
    return frame.with_columns(pl.col(name).ext.storage() for name, kind in kinds if isinstance(kind, pl.BaseExtension))


class _Hash:
    """A file that only hashes."""

    def __init__(self) -> None:
        self.value = hashlib.sha256()

    def write(self, block: bytes) -> int:
        self.value.update(block)
        return len(block)

    def flush(self) -> None:
        """Keep nothing."""


def _uri(sql: Sql, index: int, environ: Mapping[str, str]) -> str:
    uri, secret = environ.get(f"{SQL_VARIABLE}{index}"), sql.uri_secret_ref
    if not uri:
        message = (
            f"the Secret {secret.name} is missing in the TrainingJob's namespace, or has no key {secret.key}: create it with the "
            "address of the database"
        )
        raise StoreError(Reason.SECRET_MISSING, message)
    if not uri.startswith(SCHEMES):
        message = (
            f"the key {secret.key} of the Secret {secret.name} is not the address of a PostgreSQL database: write "
            "postgresql://USER:PASSWORD@HOST/DATABASE"
        )
        raise InvalidInputError(Reason.INVALID_ADDRESS, message, f"spec.data.sources[{index}].sql.uriSecretRef")
    return uri.strip()


def _unconnected(error: Exception, index: int) -> StoreError:
    """Tell why there is no connection. The error's text holds the user and the host."""
    where = f"the database of spec.data.sources[{index}].sql"
    if any(word in f"{getattr(error, 'sqlstate', '')} {error}" for word in _DENIED):
        return StoreError(
            Reason.DATABASE_ACCESS_DENIED,
            f"{where} refuses the user or the password: correct the Secret of uriSecretRef",
        )
    why = "its name is unknown, it refuses connections, or something on the way drops them"
    return StoreError(
        Reason.DATABASE_UNREACHABLE, f"{where} does not answer: {why}. Check the Secret's address and NetworkPolicies"
    )


def _failed(error: BaseException, field: str, sql: Sql, taken: float) -> InvalidInputError:
    """Tell why a query failed, by its code and the time taken: the text quotes the query and values.

    An error in the midst of the rows comes without its code.
    """
    state = str(getattr(error, "sqlstate", None) or "")
    query = f"{field}.query"
    if state == _CANCELLED or taken >= seconds(sql.timeout):
        message = f"the query did not finish within {sql.timeout}: read fewer rows, add an index, or set timeout"
        return InvalidInputError(Reason.QUERY_TIMED_OUT, message, f"{field}.timeout")
    if state == _READ_ONLY:
        message = "the query writes, and runs in a read-only transaction: write a SELECT statement"
        return InvalidInputError(Reason.QUERY_FAILED, message, query)
    if state == _NO_RIGHT:
        message = "the database's user may not read what the query names: grant SELECT to it"
        return InvalidInputError(Reason.QUERY_FAILED, message, query)
    if state in _UNKNOWN:
        message = f"the query names {_UNKNOWN[state]} that the database does not have (SQLSTATE {state}): correct it"
        return InvalidInputError(Reason.QUERY_FAILED, message, query)
    told = f"SQLSTATE {state}" if state.isalnum() and len(state) == 5 else type(error).__name__
    message = (
        f"the query cannot be run and read as a table ({told}): write one SELECT statement that returns columns of numbers, text "
        "and timestamps, and cast others (::float8, ::text)"
    )
    return InvalidInputError(Reason.QUERY_FAILED, message, query)
