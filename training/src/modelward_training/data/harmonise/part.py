"""One part in declared names, units and kinds, with its flags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from modelward_api import csv_errors
from modelward_api.resources.data import Data
from modelward_api.resources.reasons import Reason
from modelward_training.data.frame import SITE, Flag
from modelward_training.data.harmonise.cells import NEVER, Cell, Raw, cell
from modelward_training.data.harmonise.recording import Way, Ways
from modelward_training.data.parts import Part
from modelward_training.errors import InvalidInputError

OFFSET, UNLISTED = "qualifier", "qualifier-unknown"
KIND = "correct kind or missingValues"
CENSORED = f"{KIND}, or set censored if values such as <0.5 are meant"
TIME = "write 2016-03-28, 2016-03-28T14:30:00 or 2016-03-28T14:30:00+01:00 with a year of four digits, or set dialect.dateFormats"
OFFSETS = "name an offset (Z or +01:00) in all rows or in none, or set timeZone of the source"
DAYLIGHT = "this local time occurs twice or never because the clocks change: store times with their offset"


@dataclass(frozen=True)
class _Column:
    """One declared column of one part: a cell for all rows, and others for rows of some sites."""

    ways: Ways
    way: Way
    cell: Cell
    others: Mapping[str, tuple[Way, Cell]] = field(default_factory=dict)

    def pick(self, of: Callable[[Way, Cell], pl.Expr]) -> pl.Expr:
        """Return an expression by the row's site."""
        found = of(self.way, self.cell)
        for site, (way, made) in self.others.items():
            found = pl.when(pl.col(SITE) == site).then(of(way, made)).otherwise(found)
        return found

    def rule(self, name: str) -> pl.Expr:
        """Return whether a rule applies to the row."""
        return self.pick(lambda _, made: made.rules.get(name, NEVER))

    @property
    def cells(self) -> Iterator[Cell]:
        yield self.cell
        yield from (made for _, made in self.others.values())

    @property
    def all_ways(self) -> Iterator[Way]:
        yield self.way
        yield from (way for way, _ in self.others.values())


def harmonised(
    part: Part, data: Data, recorded: Mapping[str, Ways], aware: Mapping[str, bool]
) -> tuple[pl.LazyFrame, list[Flag]]:
    """Return the rows of a part, with SITE, the declared columns and its flags.

    Args:
        part: what was read.
        data: the declaration.
        recorded: how each column is recorded.
        aware: whether the times of each timestamp column are instants.

    Raises:
        InvalidInputError: UnknownColumn, DuplicateColumn, WrongKind.
    """
    reader = _Reader(part, data, aware)
    site_name = next((name for name, found in recorded.items() if found.default.column.role == "site"), None)
    columns: dict[str, _Column] = {}
    frame = part.frame
    is_by_site = site_name is not None and part.source.site is None
    site: pl.Expr = pl.lit(part.source.site, dtype=pl.String)
    if site_name is not None and is_by_site:
        columns[site_name] = reader.column(recorded[site_name], is_by_site=False)
        frame = _staged(frame, columns.values())
        site = columns[site_name].cell.value
    frame = frame.with_columns(site.alias(SITE))
    for name, found in recorded.items():
        if name == site_name and not is_by_site:
            columns[name] = reader.given_site(found)
        elif name != site_name:
            columns[name] = reader.column(found, is_by_site=is_by_site)
    frame = _staged(frame, (column for name, column in columns.items() if name != site_name or not is_by_site))
    flags = [flag for column in columns.values() for flag in _flags(column, data)]
    values = [columns[name].pick(lambda _, made: made.value).alias(name) for name in recorded]
    rules = [
        columns[flag.column].rule(flag.rule).alias(flag.name) for flag in flags if flag.rule not in (OFFSET, UNLISTED)
    ]
    frame = _qualified(frame.select(SITE, *values, *rules), columns, flags)
    if is_by_site and data.sites:
        flag = Flag(
            str(site_name), "site", "breaks", "spec.data.sites", Reason.UNKNOWN_SITE, "add the site to spec.data.sites"
        )
        unlisted = ~pl.col(SITE).is_in([site.name for site in data.sites])
        frame = frame.with_columns(unlisted.fill_null(value=False).alias(flag.name))
        flags.append(flag)
    return frame, flags


class _Reader:
    """Makes the columns of one part."""

    def __init__(self, part: Part, data: Data, aware: Mapping[str, bool]) -> None:
        self.part, self.data, self.aware = part, data, aware
        self.schema = part.frame.collect_schema()
        self.places: dict[str, list[int]] = {}
        for place, name in enumerate(part.names):
            self.places.setdefault(name, []).append(place)
        self.number = 0

    def column(self, found: Ways, *, is_by_site: bool) -> _Column:
        """Return a column of the data."""
        way = found.of(self.part.source.site)
        others = {}
        for site, other in found.sites.items() if is_by_site else ():
            others[site] = (other, self._cell(other) if other.source in self.places else self._absent(other))
        return _Column(found, way, self._cell(way), others)

    def given_site(self, found: Ways) -> _Column:
        """Return the column of the sites, which the source declares instead of the data."""
        way = found.of(self.part.source.site)
        if way.source in self.places:
            message = (
                f"{self.part.where} has column {way.column.name}, and its source declares a site: remove one of them"
            )
            raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, f"{self.part.path}.site")
        return _Column(found, way, Cell((), pl.col(SITE)))

    def _absent(self, way: Way) -> Cell:
        """Return a column that the data lack: its rows cannot be used, if there are any."""
        kind = pl.Datetime("us", "UTC") if self.aware.get(way.column.name, False) else DTYPES[way.column.kind]
        return Cell((), pl.lit(None, dtype=kind), {"column": pl.lit(value=True)})

    def _cell(self, way: Way) -> Cell:
        places = self.places.get(way.source, [])
        name_field = f"{way.path}.{'name' if way.source == way.column.name else 'source'}"
        if not places:
            hint = csv_errors.present(self.part.names, [way.source, *(c.name for c in self.data.columns)], way.source)
            message = f"no column {way.source!r} in {self.part.where}; {hint}"
            raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, name_field)
        if len(places) > 1:
            message = f"{self.part.where} has column {way.source} twice: rename or remove one"
            raise InvalidInputError(Reason.DUPLICATE_COLUMN, message, name_field)
        kind = self.schema[str(places[0])]
        if kind.is_nested() or kind in (pl.Binary, pl.Object, pl.Duration):
            message = (
                f"column {way.column.name} of {self.part.where} holds lists, structures, bytes or durations: store one "
                "value a row, and durations as numbers"
            )
            raise InvalidInputError(Reason.WRONG_KIND, message, f"{way.path}.kind")
        self.number += 1
        raw = Raw(
            str(places[0]),
            kind,
            self.part.dialect,
            self.part.is_trimmed,
            self.part.source.time_zone,
            self.aware.get(way.column.name, False),
        )
        return cell(raw, way, f"\x01{self.number}.")


DTYPES: Mapping[str, pl.DataType] = {
    "numeric": pl.Float64(),
    "integer": pl.Float64(),
    "boolean": pl.Float64(),
    "categorical": pl.String(),
    "timestamp": pl.Datetime("us"),
}


def _staged(frame: pl.LazyFrame, columns: Iterable[_Column]) -> pl.LazyFrame:
    """Add the stages of all cells, each in one step."""
    cells = [made for column in columns for made in column.cells]
    for stage in range(max((len(made.stages) for made in cells), default=0)):
        made = {name: e for c in cells if stage < len(c.stages) for name, e in c.stages[stage].items()}
        frame = frame.with_columns(**made)
    return frame


def _qualified(frame: pl.LazyFrame, columns: Mapping[str, _Column], flags: Iterable[Flag]) -> pl.LazyFrame:
    """Add the offsets of the qualifiers, which are other columns of the same row."""
    for flag in flags:
        if flag.rule != OFFSET:
            continue
        name, column = flag.column, columns[flag.column]
        offset = column.pick(lambda way, _: _offset(way))
        unlisted = f"\x00{UNLISTED}\x00{name}"
        is_present = pl.col(name).is_not_null()
        frame = (
            frame.with_columns(offset.alias("\x01offset"))
            .with_columns(
                (pl.col(name) + pl.col("\x01offset")).alias(name),
                (is_present & (pl.col("\x01offset") != 0).fill_null(value=False)).alias(flag.name),
                (is_present & pl.col("\x01offset").is_null()).alias(unlisted),
            )
            .drop("\x01offset")
        )
    return frame


def _offset(way: Way) -> pl.Expr:
    if way.qualifier is None:
        return pl.lit(0.0)
    return pl.col(way.qualifier.column).replace_strict(
        dict(way.qualifier.offsets), default=None, return_dtype=pl.Float64
    )


def _flags(column: _Column, data: Data) -> Iterator[Flag]:
    """Return the rules of a column in this part."""
    declared, name = column.ways.default.path, column.way.column.name
    rules = {rule for made in column.cells for rule in made.rules}
    is_time = column.way.column.kind == "timestamp"
    remedy = TIME if is_time else KIND if column.way.column.kind == "boolean" or column.way.censored else CENSORED
    breaks = {
        "kind": Flag(
            name, "kind", "breaks", declared if is_time else f"{declared}.kind",
            Reason.INVALID_TIME if is_time else Reason.WRONG_KIND, remedy,
        ),
        "offset": Flag(name, "offset", "breaks", declared, Reason.MIXED_OFFSETS, OFFSETS),
        "daylight": Flag(name, "daylight", "breaks", declared, Reason.AMBIGUOUS_TIME, DAYLIGHT),
        "column": Flag(
            name, "column", "breaks", f"{declared}.name", Reason.UNKNOWN_COLUMN,
            "correct source of the column at the sites of these rows",
        ),
    }  # fmt: skip
    for rule in sorted(rules):
        yield breaks.get(rule) or Flag(name, rule, "changed", f"{declared}.{rule}")
    if any(way.qualifier is not None for way in column.all_ways):
        path = f"{declared}.qualifier"
        yield Flag(name, OFFSET, "changed", path)
        yield Flag(
            name,
            UNLISTED,
            "breaks",
            path,
            Reason.UNKNOWN_CATEGORY,
            "list every measuring method in the qualifier's offsets",
        )
