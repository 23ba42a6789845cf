"""Rows of a query: on a real PostgreSQL, with an account that may only read."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

from modelward_api.resources.data import Data
from modelward_training.data.harmonise import harmonise
from modelward_training.data.sources import read
from modelward_training.errors import InvalidInputError, StoreError
from tests.support import postgres

READER, SECRET = "reader", "hunter2 of the ward"
SET_UP = f"""
CREATE TABLE stays (age numeric(5,1), sex text, died boolean, at timestamptz, weight float8, tags text[]);
INSERT INTO stays SELECT 40 + i % 30 + 0.5, CASE WHEN i % 2 = 0 THEN 'm' ELSE 'f' END, i % 4 = 0,
  timestamptz '2024-01-01 00:00+00' + i * interval '1 hour', NULLIF(i % 10, 0), ARRAY['a'] FROM generate_series(1, 70000) i;
CREATE ROLE {READER} LOGIN PASSWORD '{SECRET}';
GRANT SELECT ON stays TO {READER};
CREATE TABLE hidden (age int)
"""
COLUMNS = [
    {"name": "age", "kind": "numeric"},
    {"name": "sex", "kind": "categorical"},
    {"name": "weight", "kind": "integer", "nullable": True},
    {"name": "at", "kind": "timestamp", "role": "time"},
    {"name": "died", "kind": "boolean", "role": "label"},
]
QUERY = "SELECT age::float8 AS age, sex, died, at, weight FROM stays ORDER BY at"


@pytest.fixture(scope="module")
def port():
    with postgres.postgres() as port:
        with (
            dbapi.connect(address(port, "postgres", postgres.PASSWORD), autocommit=True) as owner,
            owner.cursor() as cursor,
        ):
            for statement in SET_UP.split(";\n"):
                cursor.execute(statement)
        yield port


def address(port, user=READER, password=SECRET):
    return f"postgresql://{user}:{quote(password)}@127.0.0.1:{port}/postgres"


def declared(query=QUERY, **changes):
    secret = {"name": "registry", "key": "uri"}
    source = {"format": "sql", "sql": {"uriSecretRef": secret, "query": query, **changes}}
    return Data.model_validate(
        {"sources": [source], "columns": COLUMNS, "label": {"column": "died", "positive": "true"}}
    )


@pytest.fixture
def known(port, monkeypatch):
    """Set the address as the operator does."""
    monkeypatch.setenv("MODELWARD_SQL_0", address(port))
    return monkeypatch


def refusal(data, kind=InvalidInputError):
    with pytest.raises(kind) as caught:
        harmonise(data, read(data, None))
    assert not any(secret in str(caught.value) for secret in (SECRET, quote(SECRET), READER, "127.0.0.1"))
    return caught.value


def test_the_rows_of_a_query_become_declared_columns(known):
    data = declared()
    frame = harmonise(data, read(data, None)).frame.collect()
    assert frame.height == 70_000
    assert frame["age"].to_list()[:2] == [41.5, 42.5]
    assert frame["died"].sum() == 17_500
    assert frame["weight"].null_count() == 7_000
    assert frame["at"][0] == datetime(2024, 1, 1, 1, tzinfo=UTC)
    assert not frame.select(pl.any_horizontal(pl.col(pl.Boolean).any())).item()


def test_the_digest_is_that_of_the_rows(known):
    data = declared()
    first = read(data, None).digest
    assert read(data, None).digest == first
    assert read(declared(QUERY.replace("40", "41") + " LIMIT 60000"), None).digest != first


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("INSERT INTO stays (age) VALUES (1) RETURNING age", "SELECT statement"),
        ("WITH gone AS (DELETE FROM stays RETURNING age) SELECT * FROM gone", "SELECT statement"),
        ("SET TRANSACTION READ WRITE", "SELECT statement"),
        ("SELECT 1; DROP TABLE stays", "SELECT statement"),
        ("COMMIT", "SELECT statement"),
        ("SELECT nobody FROM stays", "a column that the database does not have"),
        ("SELECT age FROM nobody", "a table that the database does not have"),
        ("SELECT age FROM hidden", "grant SELECT"),
        ("SELECTED 'secret value'", "SQLSTATE 42601"),
        ("SELECT 1 / 0 AS age", "SQLSTATE 22012"),
    ],
)
def test_a_query_that_cannot_be_run_tells_why_and_no_value(known, query, told):
    error = refusal(declared(query))
    assert (error.reason, error.field) == ("QueryFailed", "spec.data.sources[0].sql.query")
    assert told in error.message
    assert "secret value" not in error.message


def test_nothing_is_written_whatever_the_query(known, port):
    known.setenv("MODELWARD_SQL_0", address(port, "postgres", postgres.PASSWORD))
    for query in ("DELETE FROM stays RETURNING age", "SELECT 1 AS age; DELETE FROM stays", "TRUNCATE stays", "COMMIT"):
        refusal(declared(query))
    with dbapi.connect(address(port)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM stays")
        assert cursor.fetchone() == (70_000,)


def test_a_query_without_a_declared_column_is_told_by_the_column(known):
    error = refusal(declared("SELECT age::float8 AS age, sex, died, at FROM stays"))
    assert (error.reason, error.field) == ("UnknownColumn", "spec.data.columns[2].name")


def test_a_query_without_columns_is_refused(known):
    assert refusal(declared("SELECT FROM stays")).reason == "QueryFailed"


def test_a_list_is_refused(known):
    error = refusal(declared(QUERY.replace("sex,", "tags AS sex,")))
    assert (error.reason, error.field) == ("WrongKind", "spec.data.columns[1].kind")


def test_a_query_that_takes_too_long_is_stopped(known):
    error = refusal(declared("SELECT pg_sleep(60)::text AS age", timeout="200ms"))
    assert (error.reason, error.field) == ("QueryTimedOut", "spec.data.sources[0].sql.timeout")


def test_a_wrong_password_is_told_without_it(known, port):
    known.setenv("MODELWARD_SQL_0", address(port, password="not the password"))
    error = refusal(declared(), StoreError)
    assert error.reason == "DatabaseAccessDenied"
    assert "not the password" not in str(error)


def test_a_database_that_does_not_answer_is_told(known):
    known.setenv("MODELWARD_SQL_0", address(1))
    assert refusal(declared(), StoreError).reason == "DatabaseUnreachable"


def test_a_missing_secret_is_told_by_its_name(known):
    known.delenv("MODELWARD_SQL_0")
    error = refusal(declared(), StoreError)
    assert error.reason == "SecretMissing"
    assert "registry" in str(error)


def test_an_address_of_something_else_is_refused(known):
    known.setenv("MODELWARD_SQL_0", "mysql://somebody@db/x")
    error = refusal(declared())
    assert (error.reason, error.field) == ("InvalidAddress", "spec.data.sources[0].sql.uriSecretRef")


def test_decimals_become_numbers(known):
    data = declared(QUERY.replace("age::float8 AS age", "age"))
    assert harmonise(data, read(data, None)).frame.collect()["age"][0] == 41.5
