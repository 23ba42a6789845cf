"""Units: UCUM codes, conversions between them, and the units that a model's callers may send.

The grammar and the definitions are those of UCUM, as ucumvert reads them into pint. A conversion between an amount and a mass
needs the analyte's molar mass. pint takes a second to start, so it is imported when a unit is first converted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isclose
from typing import Any

import numpy as np
import polars as pl

from modelward_api.resources.columns import Column, Range, UnitConversion
from modelward_api.resources.data import Data
from modelward_api.resources.reasons import FindingCode
from modelward_training.data.findings import Finding
from modelward_training.data.frame import SITE

Quantity = Any
"""A quantity of pint, which has no types for a registry that is made at run time."""
_CHARACTERS = re.compile(r"^[A-Za-z0-9%\[\]{}()'\"*^._/+-]+$")
_DECIMAL = re.compile(r"[0-9]\.(?!10[*^])[0-9](?![^{]*})")
"""UCUM has no decimal numbers: mL/min/1.73.m2 would be read as 1 times 73. 173.10*-2 is a product."""
_ANNOTATION = re.compile(r"{[^}]*}")
_MEANING = re.compile(r"[0-9]|^{(?:FEU|DDU)}$")
"""UCUM ignores annotations, but mL/min/{1.73_m2} is not mL/min, and units of D-dimer differ by a factor of about 2."""
_ARBITRARY = re.compile(
    r"\[(?:[A-Za-z'0-9]*'U|iU|IU|arb'U|CCID_50|TCID_50|EID_50|PFU|FFU|CFU|IR|BAU|AU|PNU|Lf|FEU|ELU|EU|p'diop|slope)\]"
    r"|(?<![A-Za-z\[])[munkp]?(?:eq|osm)(?![A-Za-z\]])"
)
"""Units that convert into nothing else: arbitrary units, equivalents (charge), osmoles, and slopes, which are no angles."""

KNOWN = (
    "Cel", "[degF]", "K",
    "mmol/L", "umol/L", "nmol/L", "pmol/L", "mol/L", "g/L", "g/dL", "mg/dL", "mg/L", "ug/dL", "ug/L", "ng/mL", "ng/L", "pg/mL",
    "mm[Hg]", "kPa", "cm[H2O]", "mbar",
    "kg", "g", "mg", "ug", "[lb_av]", "[oz_av]",
    "m", "cm", "mm", "[in_i]", "[ft_i]",
    "s", "min", "h", "d", "wk", "mo", "a",
    "/s", "/min", "/h",
    "L", "dL", "mL", "L/min", "mL/min", "mL/h", "mL/s", "mL/kg/h",
    "10*9/L", "10*3/uL", "10*12/L", "10*6/uL", "/uL", "/L",
    "U/L", "kU/L", "mU/L", "[IU]/L", "m[IU]/L", "u[IU]/mL", "[IU]/mL", "k[IU]/L", "ukat/L", "nkat/L",
    "1", "%", "mg/g", "mg/mmol", "mmol/mol",
)  # fmt: skip
"""The units that are tried as alternatives: those in which laboratories and monitors usually report."""


class UnitError(ValueError):
    """A unit is not UCUM, or does not convert. The message quotes the declared units only."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """value in the target unit = value in the source unit * factor + offset."""

    factor: float
    offset: float = 0.0


MIN_VALUES = 20
"""With fewer values no unit is suspected."""
MAX_PLAUSIBLE, MIN_PLAUSIBLE = 0.5, 0.95
"""A unit is suspected if at most this share is plausible as declared, and at least that share in the other unit."""
IDENTITY = Conversion(1.0)
_STEP = 1000.0
"""The slope is taken over this length, which loses fewer digits than 1 beside an offset such as 459.67."""


def is_well_formed(unit: str) -> bool:
    """Return whether a text has the form of a UCUM code: its characters, and every bracket closed."""
    return bool(_CHARACTERS.match(unit)) and all(unit.count(a) == unit.count(b) for a, b in ("[]", "{}", "()"))


@cache
def conversion(source: str, target: str, molar_mass: float | None = None) -> Conversion:
    """Return how values in one unit become values in another.

    Args:
        source: UCUM code of the values.
        target: UCUM code of the result.
        molar_mass: grams a mole of the analyte, or None.

    Raises:
        UnitError: a code is not UCUM, or the units do not convert.
    """
    if source == target:
        return IDENTITY
    given, wanted = _quantity(source), _quantity(target)
    if _kind(source) != _kind(target) or _annotations_differ(source, target):
        raise UnitError(f"{source} does not convert into {target}: they measure different things")
    if given.dimensionality != wanted.dimensionality and molar_mass is not None:
        given, wanted = _as_mass(given, molar_mass), _as_mass(wanted, molar_mass)
    if given.dimensionality != wanted.dimensionality:
        raise UnitError(f"{source} does not convert into {target}{_hint(given, wanted, molar_mass)}")
    with np.errstate(over="ignore"):
        offset, middle, end = (_convert(value, given, wanted) for value in (0.0, _STEP / 2, _STEP))
    if not np.isfinite([offset, middle, end]).all() or not isclose(middle, (offset + end) / 2, rel_tol=1e-9):
        raise UnitError(f"{source} does not convert into {target}: their relation is not a factor and an offset")
    return Conversion((end - offset) / _STEP, _rounded(offset))


def alternatives(unit: str, molar_mass: float | None = None) -> tuple[UnitConversion, ...]:
    """Return the other usual units that convert into one, with their conversions; none if it is not a unit that converts."""
    found = []
    for other in KNOWN:
        try:
            way = conversion(other, unit, molar_mass)
        except UnitError:
            continue
        if other != unit:
            found.append(UnitConversion(unit=other, factor=_rounded(way.factor), offset=way.offset))
    return tuple(found)


def suspected(values: np.ndarray, limits: Range | None, others: Sequence[UnitConversion]) -> str | None:
    """Return the unit in which the values would be plausible, if they are implausible in the declared one.

    Args:
        values: [n] of present values in the declared unit.
        limits: the declared plausible range, without which nothing can be said.
        others: the units that convert into the declared one.
    """
    if limits is None or len(values) < MIN_VALUES or _share_within(values, limits) > MAX_PLAUSIBLE:
        return None
    shares = {other.unit: _share_within(values * other.factor + other.offset, limits) for other in others}
    best = max(shares, key=lambda unit: shares[unit], default=None)
    return best if best is not None and shares[best] >= MIN_PLAUSIBLE else None


def findings(data: Data, frame: pl.DataFrame) -> list[Finding]:
    """Return the columns whose values would be plausible in another unit, by site."""
    measured = [
        (index, column, column.range)
        for index, column in enumerate(data.columns)
        if column.unit is not None and column.range is not None and column.name in frame.columns
    ]
    if not measured:
        return []
    shares = frame.group_by(SITE, maintain_order=True).agg(
        _within(column.name, limits) for _, column, limits in measured
    )
    return [
        finding
        for site, *found in shares.iter_rows()
        for (index, column, limits), share in zip(measured, found, strict=True)
        if share is not None and share <= MAX_PLAUSIBLE
        for finding in _suspicion(index, column, limits, _at(frame, column.name, site), site)
    ]


def _within(name: str, limits: Range) -> pl.Expr:
    """The share of a column's present values that are plausible."""
    return pl.col(name).is_between(*_bounds(limits)).mean().alias(name)


def _at(frame: pl.DataFrame, name: str, site: str | None) -> pl.Series:
    """Return a column's values at one site, without copying the others."""
    return frame.select(SITE, name).filter(pl.col(SITE).eq_missing(site))[name]


def _suspicion(index: int, column: Column, limits: Range, values: pl.Series, site: str | None) -> list[Finding]:
    present = values.drop_nulls().to_numpy()
    unit = suspected(present, limits, alternatives(str(column.unit), column.molar_mass))
    if unit is None:
        return []
    where = "" if site is None else f" of site {site}"
    message = (
        f"column {column.name}{where} is declared in {column.unit}, and most of its values would be plausible in {unit}: declare "
        "the site's unit in spec.data.sites, or correct the data"
    )
    field = f"spec.data.columns[{index}].unit"
    return [Finding(FindingCode.SUSPECTED_UNIT, "error", message, field, column.name, site, len(present))]


def _bounds(limits: Range) -> tuple[float, float]:
    low, high = limits.minimum, limits.maximum
    return -np.inf if low is None else low, np.inf if high is None else high


def _share_within(values: np.ndarray, limits: Range) -> float:
    low, high = _bounds(limits)
    return float(((values >= low) & (values <= high)).mean())


def _kind(unit: str) -> tuple[object, ...]:
    """Return what must be equal in two units beside their dimensions, because UCUM drops it or cancels it.

    A ratio of amounts (mmol/mol, as of HbA1c) is no share (%): their relation depends on the analyte.
    """
    is_molar_ratio = unit.count("mol") == 2
    return (
        sorted(a.replace("[iU]", "[IU]").lstrip("munkp") for a in _ARBITRARY.findall(unit)),
        is_molar_ratio,
    )


def _annotations_differ(source: str, target: str) -> bool:
    """Whether both units have annotations and they differ, or only one unit has an annotation that changes its meaning."""
    here, there = (sorted(_ANNOTATION.findall(unit)) for unit in (source, target))
    return here != there and (bool(here and there) or any(_MEANING.search(a) for a in here + there))


def _convert(value: float, given: Quantity, wanted: Quantity) -> float:
    quantity = given._REGISTRY.Quantity(value * given.magnitude, given.units)
    return float(quantity.to(wanted.units).magnitude / wanted.magnitude)


def _rounded(number: float) -> float:
    """Drop the digits that are an artefact of binary arithmetic: the factors are published."""
    return float(f"{number:.13g}")


def _as_mass(quantity: Quantity, molar_mass: float) -> Quantity:
    """Return an amount as a mass; what holds no amount stays."""
    power = quantity.dimensionality.get("[substance]", 0)
    if not power:
        return quantity
    return quantity * quantity._REGISTRY.Quantity(molar_mass, "g/mol") ** power


def _hint(given: Quantity, wanted: Quantity, molar_mass: float | None) -> str:
    holds = {"[substance]" in quantity.dimensionality for quantity in (given, wanted)}
    if molar_mass is None and holds == {True, False}:
        return ": declare the analyte's molarMass"
    return ": they measure different things"


@cache
def _quantity(unit: str) -> Quantity:
    """Parse a UCUM code.

    Raises:
        UnitError: the code is not UCUM.
    """
    if not is_well_formed(unit) or _DECIMAL.search(unit):
        raise UnitError(f"{unit!r} is not a UCUM unit: write for example mm[Hg], mmol/L, Cel, a or 1")
    try:
        quantity = _registry().from_ucum(unit)
    except Exception:  # the parser and the registry each raise their own
        raise UnitError(
            f"{unit!r} is not a UCUM unit that converts: write for example mm[Hg], mmol/L, Cel, a or 1"
        ) from None
    return quantity


@cache
def _registry() -> Any:
    from ucumvert import PintUcumRegistry

    return PintUcumRegistry()
