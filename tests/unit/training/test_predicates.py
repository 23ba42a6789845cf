"""SQL predicates of rules and cohorts: what they may use, what is refused, and what they say of rows."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from modelward_training.data.predicates import predicate
from modelward_training.errors import InvalidInputError

ROWS = pl.DataFrame(
    {
        "age": [50.0, 70.0, None],
        "low.limit": [60.0, 60.0, 60.0],
        "sex": ["m", "f", None],
        "smoker": [True, False, None],
        "visits": [0, 1, 2],
        "admission": [datetime(2024, 1, 1), datetime(2024, 1, 9), datetime(2024, 1, 1)],
        "discharge": [datetime(2024, 1, 3), datetime(2024, 1, 8), None],
    },
    schema_overrides={"admission": pl.Datetime("us"), "discharge": pl.Datetime("us")},
)
FIELD = "spec.data.quality.rules[0].check"


def says(text):
    return ROWS.select(predicate(text, ROWS.schema, FIELD).expression.alias("it"))["it"].to_list()


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("discharge >= admission", [True, False, None]),
        ("age > 60", [False, True, None]),
        ('age > "low.limit"', [False, True, None]),
        ("age BETWEEN 40 AND 60 OR sex = 'f'", [True, True, None]),
        ("age IS NULL", [False, False, True]),
        ("sex IS NOT NULL AND NOT sex IN ('m', 'd')", [False, True, False]),
        ("sex NOT IN ('m')", [False, True, None]),
        ("COALESCE(age, 0) < 60", [True, False, True]),
        ("CASE WHEN sex = 'm' THEN age < 60 ELSE age < 80 END", [True, True, None]),
        ("ABS(age - 55) <= 5", [True, False, None]),
        ("age / 2 + 1 = 26", [True, False, None]),
        ("age % 20 = 10", [True, True, None]),
        ("NOT smoker", [False, True, None]),
        ("smoker", [True, False, None]),
        ("smoker = TRUE", [True, False, None]),
        ("discharge - admission <= INTERVAL '3 days'", [True, True, None]),
        ("admission + INTERVAL '1 day' < discharge", [True, False, None]),
        ("admission < TIMESTAMP '2024-01-05 00:00:00'", [True, False, True]),
        ("admission < DATE '2024-01-05'", [True, False, True]),
        ("LOWER(sex) = 'm'", [True, False, None]),
        ("GREATEST(age, 60) = 60", [True, False, True]),
        ("age < 50.5", [True, False, None]),
        ("age <= 50.0", [True, False, None]),
        ("age > 50.5", [False, True, None]),
        ("age >= 50.5", [False, True, None]),
        ("age = 70.0", [False, True, None]),
        ("age <> 70.0", [True, False, None]),
        ("-age > -50.5", [True, False, None]),
        ("age BETWEEN 49.5 AND 50.5", [True, False, None]),
        ("age * 2 > 120", [False, True, None]),
        ("age * 0.5 = 25", [True, False, None]),
        ("age + 0.5 = 50.5", [True, False, None]),
        ("age - 0.5 = 49.5", [True, False, None]),
        ("COALESCE(admission, DATE '2024-01-01') < DATE '2024-01-05'", [True, False, True]),
        ("CASE WHEN smoker THEN 1.5 WHEN NOT smoker THEN age END > 2", [False, True, None]),
        ("NULLIF(age, 50.0) > 60", [None, True, None]),
        (" OR ".join(["age > 60"] * 50), [False, True, None]),
        ("+".join(["age"] * 30) + " > 1800", [False, True, None]),
        ("admission < TIMESTAMP '2024-01-05T00:00:00Z'", [True, False, True]),
        ("1 / (age - 50) > 0", [None, True, None]),
        ("(age - 50) / (age - 50) > 0", [None, True, None]),
        ("age % (age - 50) < 60", [None, True, None]),
        ("1.5 / (visits * 0.5) > 0", [None, True, True]),
        ("1 / (1 / visits) > 0", [None, True, True]),
        ("visits / 0.0 > 0", [None, None, None]),
        ("(discharge - admission) / (admission - TIMESTAMP '2024-01-01 00:00:00') > 1", [None, False, None]),
    ],
)
def test_a_predicate_is_true_false_or_unknown(text, answers):
    assert says(text) == answers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("age >", "not a valid SQL expression"),
        ("age > 1; DROP TABLE x", "not a valid SQL expression"),
        ("SELECT age FROM x", "not a valid SQL expression"),
        ("age > $1", "not a valid SQL expression"),
        ("(" * 400 + "age > 1" + ")" * 400, "not a valid SQL expression"),
        ("NOT " * 200 + "smoker", "not a valid SQL expression"),
        ("weight > 1", "'weight'"),
        ("low.limit > 1", "not allowed"),
        ("1 = 1", "names no declared column"),
        ("SUM(age) > 1", "not allowed"),
        ("COUNT(*) > 1 AND age > 1", "not allowed"),
        ("age > (SELECT 1)", "not allowed"),
        ("age IN (SELECT age FROM x)", "not a valid SQL expression"),
        ("EXTRACT(YEAR FROM admission) > 2000", "not allowed"),
        ("sex LIKE '%m%'", "not allowed"),
        ("sex ~ '(a+)+b'", "not allowed"),
        ("sex || 'x' = 'mx'", "CAST"),
        ("CAST(sex AS INT) > 1", "CAST"),
        ("CAST(sex AS BOOLEAN)", "CAST"),
        ("NOT sex", "NOT in front"),
        ("NOT age", "NOT in front"),
        ("age > 'x'", "different kinds (number and text)"),
        ("sex > 1", "different kinds (number and text)"),
        ("sex > 1.5", "different kinds (number and text)"),
        ("1.5 <> sex", "different kinds (number and text)"),
        ("discharge - admission > 3.5", "different kinds (duration and number)"),
        ("admission > '2024-01-01'", "different kinds (text and timestamp)"),
        ("discharge - admission > 3", "different kinds (duration and number)"),
        ("COALESCE(age, 'x') = '50.0'", "different kinds (number and text)"),
        ("COALESCE(sex, 1) = '1'", "different kinds (number and text)"),
        ("COALESCE(smoker, 0) = 1", "different kinds (boolean and number)"),
        ("GREATEST(smoker, age) > 1", "different kinds (boolean and number)"),
        ("LEAST(age, TRUE, 2) > 1", "different kinds (boolean and number)"),
        ("CASE WHEN smoker THEN age ELSE 'x' END = '50.0'", "different kinds (number and text)"),
        ("CASE WHEN smoker THEN 1 WHEN age > 2 THEN 'x' END = '1'", "different kinds (number and text)"),
        ("admission < TIMESTAMP '2024-01-05 00:00:00+02:00'", "in UTC"),
        ("admission < timestamp /* x */ '2024-01-05T00:00:00-0500'", "in UTC"),
        ("admission < DATETIME '2024-01-05T00:00:00.5+02'", "in UTC"),
        ("age < 1e400", "number is too large"),
        ("1 / (" * 22 + "age" + ")" * 22 + " > 1", "nested too deeply"),
        ("+".join(["age"] * 99) + " > 1", "nested too deeply"),
        ("+".join(["age"] * 500) + " > 1", "too long"),
        ("=".join(["age"] * 500), "too long"),
        (" OR ".join(["age > 1"] * 2000), "too long"),
        (" OR ".join(["age > 1"] * 51), "too long"),
        ("+" * 500 + "age > 1", "not a valid SQL expression"),
        ("sex IN (1, 2)", "not true or false"),
        ("age = NULL", "IS NULL"),
        ("age", "not true or false"),
        ("age AS x", "not allowed"),
    ],
)
def test_a_predicate_that_may_be_misread_is_refused_with_its_field_and_a_remedy(text, told):
    with pytest.raises(InvalidInputError) as caught:
        predicate(text, ROWS.schema, FIELD)
    assert (caught.value.reason, caught.value.field) == ("InvalidRule", FIELD)
    assert told in caught.value.message


def test_a_predicate_names_the_columns_that_it_reads():
    assert set(predicate("age > 60 AND sex = 'm' OR age IS NULL", ROWS.schema, FIELD).columns) == {"age", "sex"}
