"""Units convert as UCUM and the molar mass say, and what must not convert is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from modelward_api.resources.columns import Range
from modelward_api.resources.data import Data
from modelward_training.data.frame import SITE
from modelward_training.data.units import (
    KNOWN,
    UnitError,
    alternatives,
    conversion,
    findings,
    is_well_formed,
    suspected,
)

GLUCOSE, CREATININE = 180.156, 113.12


@pytest.mark.parametrize(
    ("value", "source", "target", "molar_mass", "expected"),
    [
        (98.6, "[degF]", "Cel", None, 37.0),
        (310.15, "K", "Cel", None, 37.0),
        (37.0, "Cel", "[degF]", None, 98.6),
        (100.0, "mg/dL", "mmol/L", GLUCOSE, 5.5507449),
        (5.5507449, "mmol/L", "mg/dL", GLUCOSE, 100.0),
        (88.4, "umol/L", "mg/dL", CREATININE, 1.0),
        (120.0, "mm[Hg]", "kPa", None, 15.99868),
        (13.6, "cm[H2O]", "mm[Hg]", None, 10.0031),
        (150.0, "[lb_av]", "kg", None, 68.0388555),
        (70.0, "[in_i]", "cm", None, 177.8),
        (250.0, "10*3/uL", "10*9/L", None, 250.0),
        (24.0, "mo", "a", None, 2.0),
        (1.0, "ukat/L", "U/L", None, 60.0),
        (30.0, "mg/mmol", "mg/g", CREATININE, 265.2051),
        (2.5, "m[IU]/L", "u[IU]/mL", None, 2.5),
        (60.0, "mL/min/(173.10*-2.m2)", "L/min/(173.10*-2.m2)", None, 0.06),
        (3.0, "[iU]/L", "[IU]/L", None, 3.0),
        (45.0, "%", "1", None, 0.45),
        (5.0, "{beats}/min", "/min", None, 5.0),
    ],
)
def test_values_convert_as_the_tables_of_laboratories_say(value, source, target, molar_mass, expected):
    way = conversion(source, target, molar_mass)
    assert value * way.factor + way.offset == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("source", "target", "molar_mass", "why"),
    [
        ("mg/dL", "mmol/L", None, "molarMass"),
        ("Cel", "kg", None, "different things"),
        ("mmol/mol", "%", None, "different things"),  # HbA1c: IFCC and NGSP are not a factor apart
        ("mL/min", "mL/min/{1.73_m2}", None, "different things"),
        ("[IU]/L", "/L", None, "different things"),
        ("meq/L", "mmol/L", None, "different things"),
        ("mL/min/1.73.m2", "mL/min", None, "not a UCUM unit"),
        ("ng/mL{DDU}", "ng/mL{FEU}", None, "different things"),
        ("ng/mL", "ng/mL{FEU}", None, "different things"),
        ("ng/mL{DDU}", "ng/mL", None, "different things"),
        ("g/L{albumin}", "g/L{protein}", None, "different things"),
        ("[p'diop]", "deg", None, "different things"),
        ("%[slope]", "deg", None, "different things"),
        ("B", "1", None, "not a factor"),
        ("Np", "1", None, "not a factor"),
        ("mL/min/(173.10*-2.m2)", "kg", None, "different things"),
        ("celsius", "Cel", None, "not a UCUM unit"),
        ("mm[Hg", "kPa", None, "not a UCUM unit"),
    ],
)
def test_what_measures_something_else_is_refused_with_a_remedy(source, target, molar_mass, why):
    with pytest.raises(UnitError, match=why):
        conversion(source, target, molar_mass)


@pytest.mark.parametrize("months", [12, 24, 36, 120, 600, 1200])
def test_whole_years_in_months_are_whole_years(months):
    assert months * conversion("mo", "a").factor == months / 12


def test_a_unit_that_no_library_converts_is_still_itself():
    assert conversion("[pH]", "[pH]").factor == 1.0


@pytest.mark.parametrize("unit", KNOWN)
def test_every_alternative_converts_there_and_back(unit):
    for other in alternatives(unit, GLUCOSE):
        back = conversion(unit, other.unit, GLUCOSE)
        assert (5.0 * other.factor + other.offset) * back.factor + back.offset == pytest.approx(5.0, rel=1e-9)


def test_the_usual_units_are_units():
    assert [unit for unit in KNOWN if not is_well_formed(unit)] == []


def test_fahrenheit_that_is_declared_as_celsius_is_suspected():
    body_heat = np.random.default_rng(1).normal(98.4, 1.0, 500)
    assert suspected(body_heat, Range(minimum=30, maximum=44), alternatives("Cel")) == "[degF]"


def test_glucose_in_mmol_that_is_declared_in_mg_is_suspected():
    values = np.random.default_rng(1).normal(5.5, 0.8, 500)
    assert suspected(values, Range(minimum=20, maximum=900), alternatives("mg/dL", GLUCOSE)) == "mmol/L"


@pytest.mark.parametrize("values", [np.full(500, 37.0), np.full(19, 98.6), np.full(500, 1e6)])
def test_plausible_values_few_values_and_nonsense_raise_no_suspicion(values):
    assert suspected(values, Range(minimum=30, maximum=44), alternatives("Cel")) is None


def sites(**values):
    """A table of temperatures by site."""
    return pl.concat(pl.DataFrame({SITE: [site] * len(v), "t": v}) for site, v in values.items())


TEMPERATURE = {"name": "t", "kind": "numeric", "unit": "Cel", "range": {"minimum": 30, "maximum": 44}}
DATA = Data.model_validate(
    {
        "sources": [{"uri": "store://d.csv"}],
        "columns": [{"name": "died", "kind": "boolean", "role": "label"}, TEMPERATURE],
        "label": {"column": "died", "positive": "1"},
    }
)


def test_the_site_that_measures_in_another_unit_is_named_and_not_the_others():
    table = sites(north=[37.0, 36.5] * 20, south=[98.6, 99.1, None] * 20)
    [finding] = findings(DATA, table)
    assert (finding.code, finding.site, finding.rows) == ("SuspectedUnit", "south", 40)
    assert (finding.field, "[degF]" in finding.message) == ("spec.data.columns[1].unit", True)


def test_a_site_without_values_raises_no_suspicion():
    assert findings(DATA, sites(north=[None] * 30 + [37.0] * 30, south=[None] * 30)) == []
