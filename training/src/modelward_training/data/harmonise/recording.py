"""How each site records each column: the declaration, and what a site declares otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelward_api.resources.columns import BOOLEANS
from modelward_api.resources.data import Data, DataColumn, Qualifier, Recording, SiteColumn
from modelward_api.resources.reasons import Reason
from modelward_training.data.units import IDENTITY, Conversion, UnitError, conversion
from modelward_training.errors import InvalidInputError


@dataclass(frozen=True)
class Way:
    """How one column is recorded, by all sites or by one."""

    column: DataColumn
    path: str
    """Path in the TrainingJob of what declares it."""
    source: str
    """Name in the data."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Declared value by value in the data; in lower case if case is ignored."""
    ignore_case: bool = False
    missing: tuple[str, ...] = ()
    """Texts that mean 'missing', without the empty one."""
    qualifier: Qualifier | None = None
    qualifier_field: str = ""
    censored: str | None = None
    conversion: Conversion = IDENTITY


@dataclass(frozen=True)
class Ways:
    """How a column is recorded."""

    default: Way
    sites: Mapping[str, Way]

    def of(self, site: str | None) -> Way:
        """Return how a site records the column."""
        return self.sites.get(site, self.default) if site is not None else self.default


def ways(data: Data, mappings: Mapping[str, Mapping[str, str]]) -> dict[str, Ways]:
    """Return how each column is recorded that has an effect.

    Raises:
        InvalidInputError: DuplicateColumn, UnknownColumn, UnknownSite, InvalidMapping, InvalidUnit, InvalidSpec.
    """
    _require_one_of_each_name((c.name for c in data.columns), "spec.data.columns")
    _require_one_of_each_name((s.name for s in data.sites), "spec.data.sites")
    declared = {c.name: c for c in data.columns if c.role != "ignore"}
    found = {
        column.name: _default(column, f"spec.data.columns[{index}]", mappings)
        for index, column in enumerate(data.columns)
        if column.role != "ignore"
    }
    by_site: dict[str, dict[str, Way]] = {name: {} for name in found}
    for i, site in enumerate(data.sites):
        _require_one_of_each_name((c.name for c in site.columns), f"spec.data.sites[{i}].columns")
        for j, given in enumerate(site.columns):
            path = f"spec.data.sites[{i}].columns[{j}]"
            if given.name not in {c.name for c in data.columns}:
                message = f"column {given.name} is not declared: add it to spec.data.columns"
                raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, f"{path}.name")
            if given.name in found:
                by_site[given.name][site.name] = _of_site(given, found[given.name], path, mappings)
    for at in ("", *(site.name for site in data.sites)):
        _require_one_column_each(by_site[name].get(at, found[name]) for name in found)
    for way in (way for name in found for way in (found[name], *by_site[name].values())):
        _check(way, declared)
    return {name: Ways(found[name], by_site[name]) for name in found}


def _require_one_column_each(recorded: Iterable[Way]) -> None:
    """Refuse one column of the data under two names: one of them is a mistake, or a copy that explains nothing."""
    seen: dict[str, str] = {}
    for way in recorded:
        if (other := seen.setdefault(way.source, way.column.name)) != way.column.name:
            message = (
                f"columns {other} and {way.column.name} read the same column of the data: correct source of one of them"
            )
            raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"{way.path}.source")


def _default(column: DataColumn, path: str, mappings: Mapping[str, Mapping[str, str]]) -> Way:
    values, ignores = _mapping(column, path, mappings)
    return Way(
        column=column,
        path=path,
        source=column.source or column.name,
        values=values,
        ignore_case=ignores,
        missing=tuple(text.strip() for text in column.missing_values if text.strip()),
        qualifier=column.qualifier,
        qualifier_field=f"{path}.qualifier",
        censored=column.censored,
    )


def _of_site(given: SiteColumn, default: Way, path: str, mappings: Mapping[str, Mapping[str, str]]) -> Way:
    has_mapping = bool(given.values) or given.values_from is not None
    values, ignores = _mapping(given, path, mappings) if has_mapping else (default.values, default.ignore_case)
    missing = default.missing
    if given.missing_values is not None:
        missing = tuple(text.strip() for text in given.missing_values if text.strip())
    return Way(
        column=default.column,
        path=path,
        source=given.source or default.source,
        values=values,
        ignore_case=ignores,
        missing=missing,
        qualifier=given.qualifier or default.qualifier,
        qualifier_field=f"{path}.qualifier" if given.qualifier else default.qualifier_field,
        censored=given.censored or default.censored,
        conversion=_conversion(given, default.column, path),
    )


def _conversion(given: SiteColumn, column: DataColumn, path: str) -> Conversion:
    if given.unit is None:
        return IDENTITY
    if column.unit is None:
        message = f"column {column.name} has no unit into which to convert: declare unit in spec.data.columns"
        raise InvalidInputError(Reason.INVALID_UNIT, message, f"{path}.unit")
    try:
        return conversion(given.unit, column.unit, column.molar_mass)
    except UnitError as error:
        raise InvalidInputError(Reason.INVALID_UNIT, f"column {column.name}: {error}", f"{path}.unit") from None


def _mapping(given: Recording, path: str, read: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, str], bool]:
    """Return the mapping, and whether it ignores case.

    Raises:
        InvalidInputError: InvalidMapping: one value has two targets.
    """
    pairs: Mapping[str, str] = given.values
    where = f"{path}.values"
    if given.values_from is not None:
        pairs, where = read[given.values_from.uri], f"{path}.valuesFrom.uri"
    found: dict[str, str] = {}
    for value, target in pairs.items():
        key = value.strip().lower() if given.ignore_case else value.strip()
        if found.setdefault(key, target.strip()) != target.strip():
            message = "one value has two targets" + (", because ignoreCase is set" if given.ignore_case else "")
            raise InvalidInputError(Reason.INVALID_MAPPING, f"{message}: keep one of them", where)
    return found, given.ignore_case


def _check(way: Way, declared: Mapping[str, DataColumn]) -> None:
    """Refuse what cannot be applied to the column's kind."""
    column = way.column
    is_measured = column.kind in ("numeric", "integer")
    if way.censored is not None and not is_measured:
        message = f"column {column.name} is not a number: remove censored, or set kind: numeric"
        raise InvalidInputError(Reason.INVALID_SPEC, message, f"{way.path}.censored")
    if way.conversion != IDENTITY and not is_measured:
        message = f"column {column.name} is not a number: remove unit, or set kind: numeric"
        raise InvalidInputError(Reason.INVALID_UNIT, message, f"{way.path}.unit")
    if column.kind == "boolean":
        for target in way.values.values():
            if target and target.lower() not in BOOLEANS:
                message = f"the mapping of column {column.name} has a target that is not a boolean: write true or false"
                raise InvalidInputError(Reason.INVALID_MAPPING, message, f"{way.path}.values")
    if way.qualifier is None:
        return
    if not is_measured:
        message = f"column {column.name} is not a number: remove qualifier, or set kind: numeric"
        raise InvalidInputError(Reason.INVALID_SPEC, message, way.qualifier_field)
    other = declared.get(way.qualifier.column)
    if other is None or other.kind != "categorical":
        message = (
            f"column {way.qualifier.column} of the qualifier must be declared with kind: categorical and a role other than "
            "ignore, such as context"
        )
        raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, f"{way.qualifier_field}.column")
    if other.role == "label" or other.available_at == "outcome":
        message = (
            f"column {other.name} of the qualifier is known only with the outcome, which would leak into column {column.name}: "
            "name a column that is known at the prediction"
        )
        raise InvalidInputError(Reason.INVALID_SPEC, message, f"{way.qualifier_field}.column")


def _require_one_of_each_name(names: Iterable[str], path: str) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            kind = "site" if path == "spec.data.sites" else "column"
            message = f"{kind} {name} is declared twice: remove one, or rename it"
            raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"{path}[{index}].name")
        seen.add(name)
