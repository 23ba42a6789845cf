"""Validation of harmonised rows against what is declared: cohort, maturity, rules, quarantine, and the dataset that remains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from modelward_api import small_counts
from modelward_api.resources.columns import BOOLEANS, Column
from modelward_api.resources.data import DataColumn
from modelward_api.resources.reasons import FindingCode, Reason
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_training.data import fitness, rules, units
from modelward_training.data.dataset import Categories, Columns, Dataset
from modelward_training.data.findings import Finding
from modelward_training.data.frame import ROW, SITE, SOURCE, Flag, Harmonised, Tally
from modelward_training.errors import InvalidInputError

MIN_CLASS_ROWS = 10
MAX_CATEGORIES = 256
GROUP, EVENT, AT, COHORT, KNOWN = (
    "\x00\x00group",
    "\x00\x00event",
    "\x00\x00at",
    "\x00\x00cohort",
    "\x00\x00known",
)
"""Columns beside the declared ones: the group's hash, whether the label is the positive, the row's time, whether the row is in
each part of the cohort, and whether a feature is known only after the row's time."""
Tell = Callable[[dict[str | None, int], Sequence[Tally]], None]


@dataclass(frozen=True)
class Validated:
    """The rows that remain, and what was found on the way."""

    data: Dataset
    findings: tuple[Finding, ...]
    labels: np.ndarray
    """[n], the code of each row's label as it is declared: one number a value."""


def validate(
    spec: TrainingJobSpec, table: Harmonised, now: datetime, tell: Tell = lambda _rows, _tallies: None
) -> Validated:
    """Return the rows that hold what is declared.

    A row without a declared label fails the job, however many rows may be quarantined: leaving rows out by their outcome would
    bias the model without a word. ``quality.cohort`` leaves them out with a name.

    Args:
        spec: what is declared.
        table: the rows.
        now: with its offset; the age of the data is measured from it.
        tell: takes the rows that were read, by site, and what each rule counted: also if the data are refused afterwards.

    Raises:
        InvalidInputError: the declaration or the data are wrong.
    """
    _require_usable(spec)
    schema = table.frame.collect_schema()
    row_rules = _row_rules(spec, table)
    frame = _collected(spec, table, row_rules)
    if frame.height == 0:
        message = "the sources have a header but no rows: upload files with rows"
        raise InvalidInputError(Reason.EMPTY_DATA, message, "spec.data.sources[0]")
    read = dict(frame.group_by(SITE).len().sort(pl.col(SITE).cast(pl.String)).iter_rows())
    time = _role(spec, "time")
    has_offset = time is not None and isinstance(kind := schema[time.name], pl.Datetime) and kind.time_zone is not None
    frame, tallies = _belonging(spec, frame, has_offset=has_offset)
    between = rules.between_rows(spec.data, GROUP if _role(spec, "group") else SOURCE)
    frame = frame.with_columns(rule.expression.fill_null(value=False).alias(rule.flag.name) for rule in between)
    flags = (*table.flags, *(rule.flag for rule in row_rules), *(rule.flag for rule in between))
    tell(read, (*tallies, *_counted(frame, flags)))
    _require_labels(spec, frame, flags)
    _require_values(spec, frame)
    findings = [*_told(frame, flags), *units.findings(spec.data, frame)]
    frame, quarantined = _quarantine(spec, frame, flags)
    findings += quarantined
    findings += fitness.duplicates(frame, rules.WHOLE_ROW, rules.WITHOUT_GROUP)
    frame = frame.drop([flag.name for flag in flags], strict=False)
    _require_enough(spec, frame[EVENT])
    findings += fitness.fresh(spec.data, _times(frame), now, has_offset=has_offset)
    labels = frame[spec.data.label.column].to_physical().rank("dense").to_numpy()
    findings += _known_late(spec, frame)
    data = _dataset(spec, frame, has_offset=has_offset)
    return Validated(data, tuple(findings), labels)


def validate_variation(spec: TrainingJobSpec, data: Dataset) -> None:
    """Require at least two values of every feature: a constant carries no information and cannot be scaled.

    Raises:
        InvalidInputError: AllMissing, Constant.
    """
    for index, column in enumerate(spec.data.columns):
        if column.role != "feature":
            continue
        values = data.columns[column.name]
        present = values if values.dtype == object else values[~np.isnan(values)]
        if len(present) == 0:
            message = (
                f"column {column.name} is missing in every training row: set role: ignore, or choose another split"
            )
            raise InvalidInputError(Reason.ALL_MISSING, message, f"spec.data.columns[{index}].role")
        if (present == present[0]).all():
            message = f"column {column.name} has the same value in all {len(data)} training rows: set role: ignore"
            raise InvalidInputError(Reason.CONSTANT, message, f"spec.data.columns[{index}].role")


def _role(spec: TrainingJobSpec, role: str) -> DataColumn | None:
    return next((column for column in spec.data.columns if column.role == role), None)


def _require_usable(spec: TrainingJobSpec) -> None:
    """Refuse a declaration that cannot be trained on, whatever the rows are."""
    names = {column.name for column in spec.data.columns}
    if not any(column.role == "feature" for column in spec.data.columns):
        raise InvalidInputError(Reason.NO_FEATURES, "no column has the role feature", "spec.data.columns")
    for field, column in rules.in_use(spec.data):
        _require_unit(column, field)
        if column.kind == "timestamp" and column.role in ("feature", "label"):
            message = (
                f"column {column.name} is a timestamp, which cannot be a {column.role}: derive another column, or give it "
                "another role"
            )
            raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.kind")
        if column.role in rules.NAMED and (column.kind != "categorical" or not column.allowed_values):
            message = f"column {column.name} with the role {column.role} needs kind: categorical and allowedValues"
            raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"{field}.allowedValues")
        if column.role == "time" and column.kind not in (*rules.MEASURED, "timestamp"):
            message = (
                f"column {column.name} with the role time would sort as text: set kind: timestamp, numeric or integer"
            )
            raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.kind")
        if column.increasing and column.kind not in (*rules.MEASURED, "timestamp"):
            message = (
                f"column {column.name} cannot increase: set kind: timestamp, numeric or integer, or increasing: false"
            )
            raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.increasing")
        _require_availability(spec, column, field)
        _require_categories(column, field)
    _require_one_of_each_role(spec)
    if spec.data.label.column not in names:
        message = f"the label column {spec.data.label.column!r} is not declared: add it to spec.data.columns"
        raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, "spec.data.label.column")
    if (label := _role(spec, "label")) is None or label.name != spec.data.label.column:
        message = f"the label column {spec.data.label.column!r} needs role: label, and no other column may have it"
        raise InvalidInputError(Reason.INVALID_SPEC, message, "spec.data.label.column")
    for i, name in enumerate(spec.data.quality.key):
        if name not in {column.name for _, column in rules.in_use(spec.data)}:
            message = (
                f"the key names column {name!r}, which is not declared or has role: ignore: declare it, for example with role: "
                "context"
            )
            raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, f"spec.data.quality.key[{i}]")
    fitness.require_times(spec.data)


def _require_categories(column: Column, field: str) -> None:
    """Refuse categories that a column does not check, or that are listed twice."""
    if column.allowed_values and column.kind != "categorical":
        message = f"column {column.name} has allowedValues, which need kind: categorical: change kind, or remove them"
        raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.allowedValues")
    if len(set(column.allowed_values)) < len(column.allowed_values):
        message = f"column {column.name} has a value twice in allowedValues: remove the repetition"
        raise InvalidInputError(Reason.INVALID_SPEC, message, f"{field}.allowedValues")


def _require_one_of_each_role(spec: TrainingJobSpec) -> None:
    """Refuse two columns with a role of which the job reads only one."""
    found: set[str] = set()
    for field, column in rules.in_use(spec.data):
        if column.role in found:
            message = f"a second column has role: {column.role}: give column {column.name} another role"
            raise InvalidInputError(Reason.INVALID_SPEC, message, f"{field}.role")
        if column.role in ("label", "time", "group", "site"):
            found.add(column.role)


def _require_unit(column: Column, field: str) -> None:
    if column.unit is not None and not units.is_well_formed(column.unit):
        message = f"{column.unit!r} is not a UCUM unit: write for example mm[Hg], mmol/L, Cel, a or 1"
        raise InvalidInputError(Reason.INVALID_UNIT, message, f"{field}.unit")


def _require_availability(spec: TrainingJobSpec, column: DataColumn, field: str) -> None:
    if column.available_at in (None, "outcome"):
        return
    known = next((c for _, c in rules.in_use(spec.data) if c.name == column.available_at), None)
    time = _role(spec, "time")
    if known is None or known.kind != "timestamp" or time is None or time.kind != "timestamp":
        message = (
            "availableAt must be outcome, or name a declared column with kind: timestamp beside a column with role: time and "
            "kind: timestamp"
        )
        raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, f"{field}.availableAt")


def _row_rules(spec: TrainingJobSpec, table: Harmonised) -> tuple[rules.Rule, ...]:
    plain = table.frame.with_columns(rules.plain(spec.data, table.frame.collect_schema()))
    return rules.row_rules(spec.data, table.flags, plain.collect_schema())


def _collected(spec: TrainingJobSpec, table: Harmonised, row_rules: Sequence[rules.Rule]) -> pl.DataFrame:
    """Read all rows once: features as the model takes them, and what each rule says of each row."""
    frame = table.frame.with_columns(rules.plain(spec.data, table.frame.collect_schema()))
    schema = frame.collect_schema()
    cohort = [
        _belongs(predicate.expression, predicate.columns, table.flags).alias(f"{COHORT}{i}")
        for i, predicate in enumerate(rules.cohort(spec.data, schema))
    ]
    time, group = _role(spec, "time"), _role(spec, "group")
    beside = [
        pl.col(SOURCE).cast(pl.UInt8),
        pl.col(ROW).cast(pl.UInt32),
        _site(spec).alias(SITE),
        _event(spec).alias(EVENT),
        *cohort,
        *rules.compared(spec.data),
        *_late(spec, time),
    ]
    if time is not None:
        beside.append(pl.col(time.name).alias(AT))
    if group is not None:
        alone = (pl.col(SOURCE).hash(seed=1) + pl.col(ROW).hash(seed=2)).alias(GROUP)
        beside.append(
            pl.when(pl.col(group.name).is_null()).then(alone).otherwise(pl.col(group.name).hash()).alias(GROUP)
        )
    flagged = [
        *(pl.col(flag.name) for flag in table.flags),
        *(rule.expression.fill_null(value=False).alias(rule.flag.name) for rule in row_rules),
    ]
    kept = [_kept(column) for _, column in rules.in_use(spec.data) if column.role in ("feature", "label", *rules.NAMED)]
    return frame.select(*kept, *beside, *flagged).collect(engine="streaming")


def _site(spec: TrainingJobSpec) -> pl.Expr:
    """Return the site of each row, for counts. A site that is not declared is a value of the data, which no count may name."""
    site = _role(spec, "site")
    of_sources = (source.site for source in spec.data.sources if source.site is not None)
    declared = dict.fromkeys((*(() if site is None else site.allowed_values), *of_sources))
    named = pl.col(SITE) if site is None else pl.coalesce(SITE, site.name)
    return named.cast(pl.Enum(list(declared)), strict=False)


def _belongs(condition: pl.Expr, columns: Sequence[str], flags: Sequence[Flag]) -> pl.Expr:
    """Whether a row is in the cohort. Unknown is out, unless a value could not be read: then the row breaks a rule."""
    unread = [flag.name for flag in flags if flag.effect == "breaks" and flag.column in columns]
    if not unread:
        return condition.fill_null(value=False)
    return pl.coalesce(condition, pl.any_horizontal(unread))


def _event(spec: TrainingJobSpec) -> pl.Expr:
    """Whether the label is the positive value; null where it is missing."""
    name, positive = spec.data.label.column, spec.data.label.positive
    column = next(c for c in spec.data.columns if c.name == name)
    if column.kind not in rules.NUMERIC_KINDS:
        return pl.col(name) == positive
    number = _as_number(column, positive)
    if number is None:
        message = (
            f"the positive value is not {rules.a_kind(column.kind)}, as column {name} is declared: correct one of them"
        )
        raise InvalidInputError(Reason.WRONG_KIND, message, "spec.data.label.positive")
    return pl.col(name).cast(pl.Float64) == number


def _as_number(column: Column, text: str) -> float | None:
    if column.kind == "boolean":
        return BOOLEANS.get(text.lower())
    try:
        return float(text)
    except ValueError:
        return None


def _kept(column: DataColumn) -> pl.Expr:
    value = pl.col(column.name)
    if column.kind in rules.NUMERIC_KINDS:
        return value.cast(pl.Float64).cast(pl.Float32)
    if column.kind == "timestamp":
        return value
    return (
        value.cast(pl.Enum(column.allowed_values), strict=False)
        if column.allowed_values
        else value.cast(pl.Categorical)
    )


def _late(spec: TrainingJobSpec, time: DataColumn | None) -> list[pl.Expr]:
    """Return by feature whether it is known only after the row's time."""
    if time is None:
        return []
    features = [column for column in spec.data.columns if column.role == "feature"]
    return [
        (pl.col(column.available_at) > pl.col(time.name)).fill_null(value=False).alias(KNOWN + column.name)
        for column in features
        if column.available_at not in (None, "outcome")
    ]


def _belonging(spec: TrainingJobSpec, frame: pl.DataFrame, *, has_offset: bool) -> tuple[pl.DataFrame, list[Tally]]:
    """Return the rows in the cohort whose outcome can be known, and by condition how many are left out."""
    tallies: list[Tally] = []
    for i, condition in enumerate(spec.data.quality.cohort):
        flag = Flag(condition.name, "cohort", "excluded", f"spec.data.quality.cohort[{i}].where")
        frame, left_out = _without(frame, pl.col(f"{COHORT}{i}"), flag)
        tallies += left_out
    if (mature := fitness.mature(spec.data, _times(frame), has_offset=has_offset)) is not None:
        flag = Flag(spec.data.label.column, "horizon", "excluded", "spec.data.label.horizon")
        frame, left_out = _without(frame, pl.lit(mature), flag)
        tallies += left_out
    if frame.height == 0:
        message = "no row is left after spec.data.quality.cohort and spec.data.label.horizon: correct the conditions"
        raise InvalidInputError(Reason.NO_ROWS_LEFT, message, "spec.data.quality.cohort")
    return frame.drop([f"{COHORT}{i}" for i in range(len(spec.data.quality.cohort))]), tallies


def _without(frame: pl.DataFrame, condition: pl.Expr, flag: Flag) -> tuple[pl.DataFrame, list[Tally]]:
    left_out = frame.filter(~condition).group_by(SITE).len().sort(pl.col(SITE).cast(pl.String))
    tallies = [Tally(flag, site, rows) for site, rows in left_out.iter_rows()]
    return (frame.filter(condition) if tallies else frame), tallies


def _times(frame: pl.DataFrame) -> pl.Series | None:
    return frame[AT] if AT in frame.columns else None


def _require_labels(spec: TrainingJobSpec, frame: pl.DataFrame, flags: Sequence[Flag]) -> None:
    name = spec.data.label.column
    for flag in flags:
        if flag.column == name and flag.effect == "breaks" and (rows := int(frame[flag.name].sum())):
            raise _failure(spec, frame, flag, rows)
    column = next(c for c in spec.data.columns if c.name == name)
    if not column.allowed_values and frame[name].n_unique() > 2:
        message = (
            f"column {name} has more than two different values, of which one is the positive: list the positive and all "
            "negatives in allowedValues (kind: categorical), and correct the other rows"
        )
        index = [c.name for c in spec.data.columns].index(name)
        raise InvalidInputError(Reason.UNKNOWN_LABEL, message, f"spec.data.columns[{index}].allowedValues")


def _require_values(spec: TrainingJobSpec, frame: pl.DataFrame) -> None:
    for field, column in rules.in_use(spec.data):
        if column.role not in ("feature", *rules.NAMED):
            continue
        if frame[column.name].null_count() == frame.height and not _is_unread(frame, column.name):
            message = f"column {column.name} is missing in every row: set role: ignore, or remove it"
            raise InvalidInputError(Reason.ALL_MISSING, message, field)
        if (
            column.kind == "categorical"
            and not column.allowed_values
            and frame[column.name].n_unique() > MAX_CATEGORIES
        ):
            message = (
                f"column {column.name} has more than {MAX_CATEGORIES} different values: set role: ignore, or group them"
            )
            raise InvalidInputError(Reason.TOO_MANY_CATEGORIES, message, field)


def _is_unread(frame: pl.DataFrame, column: str) -> bool:
    """Whether values of a column are null because they could not be read."""
    suffix = f"\x00{column}"
    found = [
        n for n in frame.columns if n.endswith(suffix) and n != f"\x00missing{suffix}" and frame.schema[n] == pl.Boolean
    ]
    return any(frame[name].any() for name in found)


def _counted(frame: pl.DataFrame, flags: Sequence[Flag]) -> list[Tally]:
    """Count the rows of each flag by site."""
    names = [flag.name for flag in flags]
    totals = frame.select(pl.col(names).sum()).row(0) if names else ()
    used = [flag for flag, total in zip(flags, totals, strict=True) if total]
    if not used:
        return []
    by_site = frame.group_by(SITE).agg(pl.col([flag.name for flag in used]).sum()).sort(pl.col(SITE).cast(pl.String))
    return [
        Tally(flag, row[SITE], row[flag.name])
        for flag in used
        for row in by_site.iter_rows(named=True)
        if row[flag.name]
    ]


def _told(frame: pl.DataFrame, flags: Sequence[Flag]) -> list[Finding]:
    findings = []
    for flag in flags:
        if flag.rule == "range" and flag.effect == "told" and (rows := int(frame[flag.name].sum())):
            message = (
                f"column {flag.column} has values outside the declared range: correct them, their unit, or the range"
            )
            findings.append(Finding(FindingCode.BEYOND_RANGE, "warning", message, flag.field, flag.column, rows=rows))
    return findings


def _quarantine(
    spec: TrainingJobSpec, frame: pl.DataFrame, flags: Sequence[Flag]
) -> tuple[pl.DataFrame, list[Finding]]:
    """Set aside the rows that break a rule, or fail if there are too many."""
    breaks = [flag for flag in flags if flag.effect == "breaks"]
    rows = {flag: int(frame[flag.name].sum()) for flag in breaks}
    if not any(rows.values()):
        return frame, []
    broken = frame.select(pl.any_horizontal(flag.name for flag in breaks).alias("it"))["it"]
    worst = max(rows, key=lambda flag: rows[flag])
    if (set_aside := int(broken.sum())) > spec.data.quality.max_quarantined * frame.height:
        raise _failure(spec, frame, worst, rows[worst], set_aside)
    if set_aside == frame.height:
        message = f"every row breaks a rule; the worst: {_sentence(spec, frame, worst, rows[worst])}"
        raise InvalidInputError(Reason.NO_ROWS_LEFT, message, worst.field)
    columns = {column.name: column for column in spec.data.columns}
    findings = [
        Finding(
            FindingCode.ROWS_QUARANTINED,
            "warning",
            f"rows were set aside: {rules.broken(flag, columns.get(flag.column), 0, 0).rsplit(' in ', 1)[0]}; {flag.remedy}",
            flag.field,
            flag.column if flag.column in columns else None,
            rows=count,
        )
        for flag, count in rows.items()
        if count
    ]
    return frame.filter(~broken), findings


def _failure(
    spec: TrainingJobSpec, frame: pl.DataFrame, flag: Flag, rows: int, set_aside: int | None = None
) -> InvalidInputError:
    message = _sentence(spec, frame, flag, rows)
    if set_aside is not None and (set_aside != rows or spec.data.quality.max_quarantined > 0):
        message += (
            f". Some rule is broken by {small_counts.of_rows(set_aside, frame.height)}, more than the fraction "
            f"{spec.data.quality.max_quarantined:g} of spec.data.quality.maxQuarantined"
        )
    return InvalidInputError(flag.reason or Reason.RULE_BROKEN, message, flag.field)


def _sentence(spec: TrainingJobSpec, frame: pl.DataFrame, flag: Flag, rows: int) -> str:
    column = next((c for c in spec.data.columns if c.name == flag.column), None)
    first = frame[flag.name].arg_max() or 0
    place = f"first in row {frame[ROW][first]}"
    if len(spec.data.sources) > 1:
        place += f" of spec.data.sources[{frame[SOURCE][first]}]"
    return f"{rules.broken(flag, column, rows, frame.height)}, {place}: {flag.remedy}"


def _require_enough(spec: TrainingJobSpec, events: pl.Series) -> None:
    rows, positives = len(events), int(events.sum())
    label, quality = spec.data.label, spec.data.quality
    if positives in (0, rows):
        found = "no row has" if positives == 0 else "every row has"
        message = (
            f"{found} the positive value {label.positive!r} in {label.column}: training needs rows of both classes"
        )
        raise InvalidInputError(Reason.ONE_CLASS, message, "spec.data.label.positive")
    if rows < quality.min_rows or positives < quality.min_events or rows - positives < MIN_CLASS_ROWS:
        message = (
            f"the data have {small_counts.of(rows, 'rows')} with {small_counts.of(positives, 'events')}: training needs at least "
            f"{quality.min_rows} rows, {quality.min_events} events, and {MIN_CLASS_ROWS} rows of each class"
        )
        raise InvalidInputError(Reason.TOO_FEW_ROWS, message, "spec.data.sources")


def _known_late(spec: TrainingJobSpec, frame: pl.DataFrame) -> list[Finding]:
    findings = []
    for field, column in rules.in_use(spec.data):
        if column.role != "feature" or column.available_at is None:
            continue
        rows = frame.height if column.available_at == "outcome" else int(frame[KNOWN + column.name].sum())
        if rows:
            message = f"feature {column.name} is known only after the time of the row: set role: ignore, or use an earlier value"
            findings.append(
                Finding(
                    FindingCode.KNOWN_AFTER_OUTCOME, "error", message, f"{field}.availableAt", column.name, rows=rows
                )
            )
    return findings


def _dataset(spec: TrainingJobSpec, frame: pl.DataFrame, *, has_offset: bool) -> Dataset:
    """Turn the columns into arrays, one by one: each gives its memory back."""
    features = tuple(c for c in spec.data.columns if c.role == "feature")
    named = tuple(c for c in spec.data.columns if c.role in rules.NAMED)
    label = frame.drop_in_place(EVENT).cast(pl.Int8).to_numpy()
    time = frame.drop_in_place(AT).to_numpy() if AT in frame.columns else None
    group = frame.drop_in_place(GROUP).to_numpy() if GROUP in frame.columns else None
    columns = {c.name: _array(c, frame.drop_in_place(c.name)) for c in (*features, *named)}
    return Dataset(
        features,
        Columns({c.name: columns[c.name] for c in features}),
        label,
        time,
        group,
        has_offset,
        named,
        Columns({c.name: columns[c.name] for c in named}),
    )


def _array(column: Column, values: pl.Series) -> np.ndarray | Categories:
    if column.kind in rules.NUMERIC_KINDS:
        numbers: np.ndarray = values.fill_null(np.nan).to_numpy()
        return numbers
    if column.kind == "timestamp":
        moments: np.ndarray = values.to_numpy()
        return moments
    names = list(column.allowed_values) or values.cast(pl.String).unique().drop_nulls().sort().to_list()
    if not column.allowed_values:
        values = values.cast(pl.Enum(names))
    codes = (values.to_physical().cast(pl.UInt16) + 1).fill_null(0).to_numpy()
    return Categories(np.array(["", *names], dtype=object), codes)
